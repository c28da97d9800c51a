"""Measurements of a memory that are made once and stored on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from fugue_state.corpus.cache import VARIABLE, cache_folder
from fugue_state.errors import CheckpointError, InputError, OutputError, why
from fugue_state.files import output_folder
from fugue_state.memory.catalogue import SUFFIX, find_memory, shipped_memories
from fugue_state.memory.checkpoint import read_tensors, write_tensors
from fugue_state.memory.memory import Memory
from fugue_state.settings import Settings

Tensors = dict[str, npt.NDArray[Any]]


def kept(
    kind: str,
    header: Settings,
    memory: Memory,
    name_or_path: str | Path | None,
    *,
    make: Callable[[], Tensors],
    fault: Callable[[Tensors], str],
    rebuild: bool,
    say: Callable[[str], None],
) -> Tensors:
    """Return the tensors that `header` describes, from disk if they were made before; otherwise make and store them.

    They are stored beside the checkpoint that `name_or_path` stands for, or in the cache folder if there is no
    checkpoint or its folder is not writable. For a shipped memory, the shipped file is tried first, and newly made
    tensors go to the cache folder. If nothing can be written, they are made every time, with a message. Tensors of
    another memory or other settings, or damaged ones (`fault` says how), are made again, with a message.
    """
    if not memory.fingerprint:  # without a file behind it, no stored tensors can be matched to it
        return make()
    beside, shipped = _beside(kind, name_or_path)
    cached = _cached(kind, memory)
    found = None if rebuild else _stored(kind, header, [*beside, cached], fault, say)
    if found is None:
        found = make()
        _keep([cached] if shipped else [*beside, cached], kind, header, found, say)
    return found


def stored(
    kind: str, header: Settings, memory: Memory, name_or_path: str | Path | None, *, fault: Callable[[Tensors], str]
) -> Tensors | None:
    """Return the tensors that `kept` would return, if they were made before; else None."""
    if not memory.fingerprint:
        return None
    places = [*_beside(kind, name_or_path)[0], _cached(kind, memory)]
    return _stored(kind, header, places, fault, lambda _: None)


def _cached(kind: str, memory: Memory) -> Path:
    return cache_folder() / kind / f"{memory.fingerprint}{SUFFIX}"


def _beside(kind: str, name_or_path: str | Path | None) -> tuple[list[Path], bool]:
    """Return the path beside the checkpoint, if there is one, and whether the checkpoint is a shipped one."""
    if name_or_path is None:
        return [], False
    checkpoint = find_memory(name_or_path).resolve()
    shipped = checkpoint in {path.resolve() for path in shipped_memories().values()}
    return [checkpoint.with_name(f"{checkpoint.stem}.{kind}{SUFFIX}")], shipped


def _stored(
    kind: str,
    header: Settings,
    places: Sequence[Path],
    fault: Callable[[Tensors], str],
    say: Callable[[str], None],
) -> Tensors | None:
    """Return the first that fits; report what is wrong with the others only if none does."""
    wrong = []
    for path in places:
        if path.is_file():
            try:
                return _read(kind, header, path, fault)
            except CheckpointError as error:
                wrong.append(str(error))
    for line in wrong:
        say(f"{line}; making the {kind} again")
    return None


def _read(kind: str, header: Settings, path: Path, fault: Callable[[Tensors], str]) -> Tensors:
    values, tensors = read_tensors(path, kind)
    if values != header.model_dump(mode="json"):
        raise CheckpointError(f"{path}: made for another memory or other settings")
    if any(t.dtype.kind not in "fiu" for t in tensors.values()):
        raise CheckpointError(f"{path}: damaged, its values are not real numbers")
    if wrong := fault(tensors):
        raise CheckpointError(f"{path}: damaged, {wrong}")
    return tensors


def _keep(places: Sequence[Path], kind: str, header: Settings, found: Tensors, say: Callable[[str], None]) -> None:
    """Write tensors to the first writable path; if there is none, report it."""
    for path in places:
        try:
            output_folder(path.parent, parents=True)
            write_tensors(path, kind, header, found)
        except (InputError, OutputError, OSError) as error:
            reason = why(error)
        else:
            return
    say(f"{reason}; the {kind} is not kept for the next time; {VARIABLE} names another folder")
