"""The shipped scores, by name."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from fugue_state.errors import InputError, unknown
from fugue_state.score.places import at_home

FOLDER = "scores"
SUFFIX = ".toml"


def shipped_scores() -> dict[str, Path]:
    """Return the shipped scores, by name."""
    folder = Path(str(resources.files("fugue_state"))) / FOLDER
    return {path.stem: path for path in sorted(folder.glob(f"*{SUFFIX}"))}


def shipped_score(name: str) -> Path:
    """Return the file of a shipped score; InputError, suggesting the nearest name, if there is none."""
    shipped = shipped_scores()
    if name not in shipped:
        raise unknown("score", name, shipped)
    return shipped[name]


def find_score(name_or_path: str | Path) -> Path:
    """Return the file that a path or the name of a shipped score stands for; an existing file takes precedence.

    Raises InputError for a name that is neither.
    """
    path = at_home(name_or_path)
    try:
        if path.exists():
            return path
    except (OSError, ValueError):  # too long, or not a valid path
        return path
    if len(path.parts) == 1 and not path.suffix:
        return shipped_score(str(path))
    if path.stem in shipped_scores():
        raise InputError(f"{path}: no such score; the one that ships is called {path.stem}")
    return path
