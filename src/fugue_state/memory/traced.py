"""Finding the memories that a score was made for, even if their files have moved."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fugue_state.errors import InputError, shown
from fugue_state.memory.catalogue import find_memory, memories_in, named_memories
from fugue_state.memory.checkpoint import file_hash
from fugue_state.score.model import Score


def traced(score: Score, folder: Path, name: str, memory: str | None = None) -> Score:
    """Return a score that names the memories it was made for, identified by their hashes.

    They are searched for where the score says, in `folder` and its run folders, in the working directory, and among the
    shipped ones. A `memory` that is named here takes the place of the score's own. A score made for no memory in
    particular keeps its names; so does a memory whose file is there but has changed. Raises InputError, with `name`, if
    a memory is not found.
    """
    found = {said: _found(*wanted, folder, name) for said, wanted in _wanted(score, own=memory is None).items()}
    if any(said != called for said, called in found.items()):
        score = score.with_memories(lambda said: found.get(said, said))
    return score if memory is None else score.model_copy(update={"memory": memory})


def _wanted(score: Score, *, own: bool) -> dict[str, tuple[str, str, str, str]]:
    """Return, by the memories' names, the name again, the hash, whose memory it is, and what could be done."""
    wanted: dict[str, tuple[str, str, str, str]] = {}
    if score.made_for is None:
        return wanted
    for said, place, whose in score.memories():
        its = place == ("memory",)
        made = score.made_for if its else score.made_for.others.get(said)
        if made is not None and (own or not its):
            remedy = "name it with -m" if its else "name it in the score"
            wanted.setdefault(said, (said, made.sha256, whose, remedy))
    return wanted


def _found(said: str, sha256: str, whose: str, remedy: str, folder: Path, name: str) -> str:
    """Return what to call a memory so that it is found; InputError if it is not."""
    path = _said(said)
    for candidate in _candidates(path, folder):
        if file_hash(candidate) == sha256:
            return said if candidate == path else str(candidate)
    if path:
        return said
    raise InputError(
        f"{name}: {whose}, {shown(said)} (SHA-256 {sha256[:12]}), is not there: not by that name, not in "
        f"{folder} or a run folder in it, not where you are, and it is none that ships; {remedy}"
    )


def _candidates(said: Path | None, folder: Path) -> Iterator[Path]:
    if said:
        yield said
    yield from memories_in(folder)
    yield from memories_in(Path())
    yield from named_memories().values()


def _said(memory: str) -> Path | None:
    """Return the file that a memory's name stands for, if it exists."""
    try:
        path = find_memory(memory)
    except InputError:
        return None
    return path if path.is_file() else None
