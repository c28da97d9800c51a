"""The working folder of a render: what has been played, and where to continue after an interruption."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from fugue_state.arrays import Array
from fugue_state.audio.reverb import Tail
from fugue_state.engine.chain import Ringing
from fugue_state.engine.whole import ResumePoint
from fugue_state.errors import FugueError, InputError, OutputError
from fugue_state.files import PART, reason
from fugue_state.memory.checkpoint import read_tensors, write_tensors
from fugue_state.memory.claim import LOCK, claimed
from fugue_state.output.provenance import write_json
from fugue_state.settings import Settings, checked

PLAYED, PLACE, ABOUT = "played.f32", "state.safetensors", "render.json"
FINISHED = "finished.json"  # names of the complete files in the folder, still to be moved to their places
KIND = "place"


class PlaceHeader(Settings):
    """The numbers of a place; its arrays are tensors."""

    position: int = Field(ge=0)
    handed: int = Field(ge=0)
    first: int = Field(ge=0)
    filled: int = Field(ge=0)


class Part:
    """Blocks (N, channels) played so far, and a place to continue from, saved every `interval_s`."""

    def __init__(self, folder: Path, file: IO[bytes], channels: int, interval_s: float) -> None:
        self._file, self.channels, self._interval_s = file, channels, interval_s
        self._path = folder / PLACE
        self.place = read_place(self._path) if self._path.exists() else None
        self._saved_s = time.monotonic()
        kept = self.place.position * channels * 4 if self.place else 0
        if file.seek(0, os.SEEK_END) < kept:
            raise InputError(f"{folder}: damaged, holds less than it says; --force starts over")
        file.truncate(kept)

    def add(self, block: Array, place: ResumePoint | None = None) -> None:
        """Append a block and take its end as the place to go on from; without one there is nothing to go on from.

        Raises FugueError for samples that are NaN or infinite; then nothing is kept.
        """
        if not np.isfinite(block).all():
            self._path.unlink(missing_ok=True)
            before = "" if place is None else f" before sample {place.position}"
            raise FugueError(f"sound that is not a number{before}; nothing was written")
        self._file.seek(0, os.SEEK_END)
        self._file.write(block.astype("<f4").tobytes())
        self.place = place
        if place is not None and time.monotonic() - self._saved_s >= self._interval_s:
            self._save(place)

    def finish(self) -> None:
        """Save the final place, but only if one was saved before: a short piece is quickly played again."""
        if self.place is not None and self._path.exists():
            self._save(self.place)

    def let_go(self) -> None:
        """Discard what was played: the files are complete, and what follows may take long."""
        self._path.unlink(missing_ok=True)
        self._file.truncate(0)

    def blocks(self, length: int) -> Iterator[Array]:
        """Yield what has been played, in blocks of `length`."""
        self._file.seek(0)
        while data := self._file.read(length * self.channels * 4):
            yield np.frombuffer(data, dtype="<f4").reshape(-1, self.channels)

    def _save(self, place: ResumePoint) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        write_place(self._path, place)
        self._saved_s = time.monotonic()


def part_folder(out: str | Path) -> Path:
    """Return the working folder of a render to `out`."""
    out = Path(out)
    return out.with_name(f"{out.name}{PART}")


@contextlib.contextmanager
def working(
    out: Path, about: dict[str, Any], channels: int, *, resume: bool, force: bool, interval_s: float
) -> Iterator[Part]:
    """Yield the working folder of a render to `out`; on success it is removed.

    After an error it stays if a place was saved. Raises InputError for a folder that exists (without `resume` or
    `force`), is missing (with `resume`), is in use by another process, or belongs to a different render, naming the
    difference; OutputError if the disk is full.
    """
    check_part(out, resume=resume, force=force)
    folder = part_folder(out)
    with held(folder), _begun(folder, about, resume=resume):
        played = folder / PLAYED
        with played.open("r+b" if played.exists() else "w+b") as file:
            yield Part(folder, file, channels, interval_s)


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Lock a working folder against other processes; at the end it is removed if empty. Raises InputError."""
    try:
        with claimed(folder):
            yield
    finally:
        with contextlib.suppress(OSError):  # the folder is not empty
            folder.rmdir()


@contextlib.contextmanager
def _begun(folder: Path, about: dict[str, Any], *, resume: bool) -> Iterator[None]:
    """Store in a working folder what it is about; it is cleared on success, or if nothing was kept."""
    if resume:
        _check_same(folder, about)
    else:
        _clear(folder)
    done = False
    try:
        if not (folder / ABOUT).exists():
            write_json(folder / ABOUT, about)
        yield
        done = True
    except OSError as error:
        raise OutputError(f"{folder}: could not be written to ({reason(error)})") from error
    finally:
        if done or not _keeps(folder):
            _clear(folder)


def check_part(out: Path, *, resume: bool, force: bool) -> None:
    """Raise InputError, before any work, if a piece's working folder does not allow the render.

    A folder without anything to continue from does not count: a render starts afresh in it, with `resume` or without.
    """
    folder = part_folder(out)
    if folder.exists() and not _is_ours(folder):
        raise InputError(f"{folder}: not what a render left; move it away")
    if resume and not folder.exists():
        raise InputError(f"{folder}: no interrupted render to resume; without --resume it begins")
    if not resume and not force and _keeps(folder):
        raise InputError(f"{folder}: a render was interrupted; --resume goes on with it, --force starts over")


def _keeps(folder: Path) -> bool:
    """Say whether there is anything to continue from."""
    return (folder / PLACE).exists() or (folder / FINISHED).exists()


def is_over(out: Path) -> bool:
    """Say whether `out` exists next to a working folder with nothing to continue from.

    Its render was interrupted at the very end, or another render that was to replace it at the beginning.
    """
    folder = part_folder(out)
    return out.exists() and folder.is_dir() and _is_ours(folder) and not _keeps(folder)


@contextlib.contextmanager
def emptied(folder: Path) -> Iterator[None]:
    """Lock a working folder that has nothing to continue from; on success it is removed."""
    with held(folder):
        yield
        _clear(folder)


def _is_ours(folder: Path) -> bool:
    """Say whether a render made this folder; early and late in a render it may be empty or hold a half-written file."""
    inside = [path.name for path in folder.iterdir()] if folder.is_dir() else ["a file"]
    return not {ABOUT, FINISHED}.isdisjoint(inside) or all(
        name == LOCK or name.startswith(f".{ABOUT}.") for name in inside
    )


def _clear(folder: Path) -> None:
    """Empty a working folder. FINISHED is deleted last, so that an interruption can still be resumed."""
    last = {PLACE: -1, ABOUT: 1, FINISHED: 2}  # a place is useless without the samples before it
    for path in sorted(folder.iterdir(), key=lambda path: last.get(path.name, 0)):
        if path.name != LOCK:
            path.unlink(missing_ok=True)


def finish(folder: Path, files: Sequence[Path]) -> None:
    """Move complete files from a working folder to the folder beside it.

    Their names are noted first, so that `put_in_place` can complete the move after an interruption.
    """
    write_json(folder / FINISHED, {"files": [path.name for path in files]})
    put_in_place(folder)


def finished(out: Path) -> set[Path]:
    """Return the files that an interrupted render of `out` had completed; empty if it did not get that far."""
    path = part_folder(out) / FINISHED
    try:
        names = json.loads(path.read_text(encoding="utf-8"))["files"]
        return {out.with_name(Path(name).name) for name in names}
    except FileNotFoundError:
        return set()
    except (ValueError, TypeError, KeyError, OSError):
        raise InputError(f"{path}: damaged; --force starts over") from None


def put_in_place(folder: Path) -> None:
    """Move the files that are still in the folder to their places; may be repeated."""
    for path in sorted(finished(folder.with_suffix(""))):
        staged = folder / path.name
        if staged.exists():
            staged.replace(path)


def _check_same(folder: Path, about: dict[str, Any]) -> None:
    path = folder / ABOUT
    if not path.is_file():
        return
    try:
        before = _flat(json.loads(path.read_text(encoding="utf-8")))
    except ValueError:
        raise InputError(f"{path}: damaged; --force starts over") from None
    now = _flat(about)
    for key in before | now:
        if before.get(key) != now.get(key):
            raise InputError(f"{folder}: was started with {key} = {before.get(key)}, not {now.get(key)}")


def _flat(values: object, name: str = "") -> dict[str, object]:
    """Flatten nested values to names like `score.seed`."""
    if not isinstance(values, dict):
        return {name: values}
    return {k: v for key, inner in values.items() for k, v in _flat(inner, f"{name}.{key}".lstrip(".")).items()}


def write_place(path: Path, place: ResumePoint) -> None:
    """Write a place, all or nothing; OutputError if it cannot be written."""
    tail = place.ringing.tail
    header = PlaceHeader(position=place.position, handed=place.handed, first=place.first, filled=tail.filled)
    arrays: dict[str, npt.NDArray[Any]] = {
        "tone": place.ringing.tone,
        "window": tail.window,
        "spectra": np.array(tail.spectra, dtype=np.float32),
        "ringing": tail.ringing,
    }
    write_tensors(path, KIND, header, arrays)


def read_place(path: Path) -> ResumePoint:
    """Read what `write_place` wrote; CheckpointError for any other file."""
    values, arrays = read_tensors(path, KIND)
    header = checked(PlaceHeader, values)
    spectra = tuple(arrays["spectra"])
    tail = Tail(arrays["window"], header.filled, spectra, arrays["ringing"])
    return ResumePoint(header.position, header.handed, header.first, Ringing(arrays["tone"], tail))
