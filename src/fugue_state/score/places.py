"""Resolving the files that a score refers to."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from pathlib import Path

from fugue_state.errors import InputError
from fugue_state.score.model import Score


def at_home(path: str | Path) -> Path:
    """Return a path with ~ expanded to the home folder; InputError for one that the system keeps closed."""
    try:
        found = Path(path).expanduser()
    except RuntimeError:  # no such user: an ordinary name
        found = Path(path)
    try:
        found.stat()
        closed = not os.access(found, os.R_OK)
    except PermissionError:
        closed = True
    except (OSError, ValueError):  # not there, or no path at all: whoever needs it says so
        closed = False
    if closed:
        raise InputError(f"{found}: permission denied; choose what you may read, or change its permissions")
    return found


def settled(score: Score, folder: Path, names: Collection[str]) -> Score:
    """Return a score read from `folder`, with its paths changed so that they hold from the working directory.

    Files are looked for beside the score, then in the working directory. Memories called by one of `names` are not
    files.
    """

    def beside(text: str) -> str:
        near = folder / at_home(text)
        return text if _is_fixed(text) or not _is_there(near) else _told(near)

    return _moved(score, beside, names)


def travelling(score: Score, folder: Path, names: Collection[str]) -> Score:
    """Return a score with its paths changed so that they hold from `folder`: the inverse of `settled`."""

    def from_there(text: str) -> str:
        try:
            return text if _is_fixed(text) or not _is_there(Path(text)) else _told(os.path.relpath(text, folder))
        except ValueError:  # another drive
            return str(Path(text).resolve())

    return _moved(score, from_there, names)


def _moved(score: Score, move: Callable[[str], str], names: Collection[str]) -> Score:
    impulse = score.reverb.impulse
    reverb = score.reverb if impulse is None else score.reverb.model_copy(update={"impulse": move(impulse)})
    moved = score.with_memories(lambda name: name if name in names else move(name))
    return moved.with_recordings(move).model_copy(update={"reverb": reverb})


def _is_fixed(text: str) -> bool:
    return text.startswith("~") or Path(text).is_absolute()


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # too long, or not a path at all
        return False


def _told(path: str | Path) -> str:
    """Return a path with slashes, at least one, so that it is not taken for the name of a shipped memory."""
    text = Path(path).as_posix()
    return text if "/" in text else f"./{text}"
