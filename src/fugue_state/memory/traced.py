"""Finding the memory that a score was made for, even if the file has moved."""

from __future__ import annotations

from pathlib import Path

from fugue_state.errors import InputError, shown
from fugue_state.memory.catalogue import find_memory, memories_in, shipped_memories
from fugue_state.memory.checkpoint import file_hash
from fugue_state.score.model import Score


def traced(score: Score, folder: Path, name: str) -> Score:
    """Return a score that names the memory it was made for, identified by its hash.

    The memory is searched for where the score says, in `folder` and its run folders, in the working directory, and
    among the shipped ones. A score made for no memory in particular is returned as it is; so is one whose memory file
    is there but has changed. Raises InputError, with `name`, if no memory is found.
    """
    if score.made_for is None:
        return score
    sha256 = score.made_for.sha256
    said = _said(score)
    for path in ([said] if said else []) + [*memories_in(folder), *memories_in(Path()), *shipped_memories().values()]:
        if file_hash(path) == sha256:
            return score if path == said else score.model_copy(update={"memory": str(path)})
    if said:
        return score
    raise InputError(
        f"{name}: its memory, {shown(score.memory)} (SHA-256 {sha256[:12]}), is not there: not by that name, not in "
        f"{folder} or a run folder in it, not where you are, and it is none that ships; name it with -m"
    )


def _said(score: Score) -> Path | None:
    """Return the file that the score's memory name stands for, if it exists."""
    try:
        path = find_memory(score.memory)
    except InputError:
        return None
    return path if path.is_file() else None
