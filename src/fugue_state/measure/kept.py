"""What is measured of a memory once, and then kept on disk."""

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
    """Return what `header` tells of, from disk if it was made before; otherwise make and keep it.

    It is kept beside the checkpoint that `name_or_path` stands for; in the cache folder if there is none,
    or if its folder cannot be written to. Of a memory that came with the package, what came with it is
    looked at first, and what is made goes to the cache folder. Where nothing can be written it is made each time, and
    that is said. What belongs to another memory or other
    settings, or is damaged (`fault` says how), is made again, and that is said.
    """
    if not memory.fingerprint:  # it never was a file: nothing on disk could be recognised as its own
        return make()
    beside, shipped = _beside(kind, name_or_path)
    cached = cache_folder() / kind / f"{memory.fingerprint}{SUFFIX}"
    found = None if rebuild else _stored(kind, header, [*beside, cached], fault, say)
    if found is None:
        found = make()
        _keep([cached] if shipped else [*beside, cached], kind, header, found, say)
    return found


def _beside(kind: str, name_or_path: str | Path | None) -> tuple[list[Path], bool]:
    """Return the place beside the checkpoint, if there is one, and whether that came with the package."""
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
    """Return the first that fits; say what is wrong with others only if none does."""
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
    """Write what was made to the best place that lets itself be written to; if none does, say so."""
    for path in places:
        try:
            output_folder(path.parent)
            write_tensors(path, kind, header, found)
        except (InputError, OutputError, OSError) as error:
            reason = why(error)
        else:
            return
    say(f"{reason}; the {kind} is not kept for the next time; {VARIABLE} names another folder")
