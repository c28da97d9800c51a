"""The map of the house: the folders of the code from top to bottom, and which imports from which."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "fugue_state"


def rooms() -> tuple[str, ...]:
    """Return the folders and files of the package from the top layer to the bottom one, as the contract has them."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    layers = next(one["layers"] for one in contracts if one["type"] == "layers")
    return tuple(name.strip().removeprefix("fugue_state.") for layer in layers for name in layer.split("|"))


def said(room: str) -> str:
    """Return the first sentence of what a folder or file says of itself."""
    folder = PACKAGE / room / "__init__.py"
    path = folder if folder.exists() else PACKAGE / f"{room}.py"
    told = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return re.split(r"\.(?:\s|$)", " ".join(told.split()), maxsplit=1)[0].replace("`", "")


def imported(room: str) -> set[str]:
    """Return the rooms that the files of a room import from."""
    files = (PACKAGE / room).rglob("*.py") if (PACKAGE / room).is_dir() else [PACKAGE / f"{room}.py"]
    found = {name for path in files for name in _imported(path)}
    return found & set(rooms()) - {room}


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "fugue_state":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fugue_state."):
            yield str(node.module).split(".")[1]
