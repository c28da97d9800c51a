"""No files import each other in a circle, neither at once nor inside functions nor for types alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import fugue_state


def imports(package: Path) -> dict[str, set[str]]:
    """The files of a package by their names, each with those of them that it imports.

    A folder's own file counts only where something is taken from it that is no file.
    """
    files = {name_of(path, package): path for path in package.rglob("*.py")}
    found: dict[str, set[str]] = {}
    for name, path in files.items():
        asked = ((module, f"{module}.{taken}") for module, taken in imported(path))
        found[name] = {inner if inner in files else module for module, inner in asked} & files.keys()
    return found


def name_of(path: Path, package: Path) -> str:
    inside = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(inside[:-1] if inside[-1] == "__init__" else inside)


def imported(path: Path) -> Iterator[tuple[str, str]]:
    """What a file imports: modules, each with what is taken from it, or nothing."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports by dots"
            yield from ((str(node.module), alias.name) for alias in node.names)


def circle(package: Path) -> list[str]:
    """A circle of imports, from a file back to itself; empty if there is none."""
    try:
        TopologicalSorter(imports(package)).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_files_import_each_other_in_a_circle() -> None:
    package = Path(fugue_state.__file__).parent
    found = imports(package)
    assert "fugue_state.audio.io" in found["fugue_state.output.render"]
    assert "fugue_state.asked" in found["fugue_state.output.render"]
    assert circle(package) == []


@pytest.mark.parametrize(
    "line",
    ["from house.rooms import one", "import house.rooms.one", "def f():\n    from house.rooms.one import x"],
)
def test_a_circle_is_found(tmp_path: Path, line: str) -> None:
    rooms = tmp_path / "house" / "rooms"
    rooms.mkdir(parents=True)
    files = {"one": "from house.rooms.two import x", "two": "from house.rooms import three", "three": ""}
    for name, text in files.items():
        (rooms / f"{name}.py").write_text(text)
    assert circle(tmp_path / "house") == []
    (rooms / "three.py").write_text(line)
    assert {name.rpartition(".")[2] for name in circle(tmp_path / "house")} == set(files)
