"""The notebook runs from top to bottom, and what is committed of it is whole."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parent.parent / "notebooks" / "demo.ipynb"
LARGEST = 4_000_000  # bytes
EMBEDDED = re.compile(r"[A-Za-z0-9+/=]{200,}")
ABSOLUTE = re.compile(r"(?<![\w.~<:/])/[\w.-]+/|\b[A-Z]:\\")
FORBIDDEN = (
    ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef, ast.For, ast.AsyncFor, ast.While,
    ast.comprehension, ast.Try, ast.If, ast.With,
)  # fmt: skip
# What each section leaves in the page; `audio` and `video` are players.
SECTIONS = {"1": {"audio", "image"}, "2": {"image"}, "3": {"audio", "image"}, "4": {"audio", "image"}, "5": {"video"}}

SMALLEST = """
CLIPS, STEPS, MAPS, RATE = 3, 2, 2, 1e-3
LATENTS, FRACTIONS, DURATION = 2, 2, 4
FILM, QUALITY, SEED = "480x270", "draft", 7
"""


@pytest.fixture
def notebook() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]


def code_of(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def settings_of(notebook: Any) -> Any:
    (found,) = [cell for cell in code_of(notebook) if "parameters" in cell.metadata.get("tags", ())]
    return found


def assigned(source: str) -> set[str]:
    stored = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name))
    return {node.id for node in stored if isinstance(node.ctx, ast.Store)}


def shown(cell: Any) -> set[str]:
    """Say what kinds of things a cell has left in the page."""
    found = set()
    for output in cell.outputs:
        data = output.get("data", {})
        found |= {kind.split("/")[0] for kind in data if kind.startswith("image/")}
        found |= set(re.findall(r"<(audio|video)", data.get("text/html", "")))
    return found


def left_by_section(notebook: Any) -> dict[str, set[str]]:
    left: dict[str, set[str]] = {}
    number = ""
    for cell in notebook.cells:
        heading = re.search(r"^## (\d)\. ", cell.source, re.MULTILINE) if cell.cell_type == "markdown" else None
        number = heading[1] if heading else number
        if cell.cell_type == "code" and number:
            left[number] = left.get(number, set()) | shown(cell)
    return left


def test_it_runs_on_the_smallest_settings(
    notebook: Any, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path_factory.mktemp(name)))
    settings = settings_of(notebook)
    assert assigned(settings.source) - {"FAST"} == assigned(SMALLEST)
    settings.source = SMALLEST
    (tmp_path / "notebooks").mkdir()
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path / "notebooks")}}).execute()
    assert left_by_section(notebook) == SECTIONS
    assert not [output.text for cell in code_of(notebook) for output in cell.outputs if output.get("name") == "stderr"]
    assert {path.relative_to(tmp_path).parts[:2] for path in tmp_path.rglob("*") if path.is_file()} == {
        ("out", "notebook")
    }


def test_what_is_committed_was_run_whole(notebook: Any) -> None:
    assert [cell.execution_count for cell in code_of(notebook)] == list(range(1, len(code_of(notebook)) + 1))
    assert left_by_section(notebook) == SECTIONS
    assert not [output for cell in code_of(notebook) for output in cell.outputs if output.output_type == "error"]
    assert NOTEBOOK.stat().st_size < LARGEST


def test_what_is_committed_knows_no_place(notebook: Any) -> None:
    written = EMBEDDED.sub("", NOTEBOOK.read_text(encoding="utf-8"))
    assert ABSOLUTE.findall(written) == []
    assert ABSOLUTE.findall("in /home/somebody/fugue or C:\\fugue")


def test_it_holds_no_logic_of_its_own(notebook: Any) -> None:
    for cell in code_of(notebook):
        assert not [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, FORBIDDEN)], cell.source
        assert len(cell.source.splitlines()) <= 20
