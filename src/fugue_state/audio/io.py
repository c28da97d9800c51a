"""Sound files written: float32 arrays into a file beside, which is then renamed; and what all writing needs."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from fugue_state.audio import riff
from fugue_state.audio.riff import Marker
from fugue_state.errors import InputError, OutputError, unknown

Samples = npt.NDArray[np.float32]

OUTPUT_FORMATS = {".wav": "WAV", ".flac": "FLAC"}
BYTES = {"PCM_16": 2, "PCM_24": 3, "FLOAT": 4}
PART = ".part"  # the ending of what is half-written
LARGEST_WAV = 2**32 - 2**20  # with room for the header


def resample(samples: Samples, from_hz: float, to_hz: float) -> Samples:
    """Band-limited resampling along the first axis; (N,) or (N, channels)."""
    if from_hz == to_hz:
        return samples
    result: Samples = soxr.resample(samples, from_hz, to_hz, quality="HQ")
    return result


def belonging(sound: Path, ending: str) -> Path:
    """Return the name of a file that belongs to a sound: `a.png` to `a.wav`, but `a.flac.png` to `a.flac`."""
    return sound.with_name(f"{sound.stem if sound.suffix == '.wav' else sound.name}{ending}")


def output_path(path: str | Path, *, force: bool, suffixes: tuple[str, ...] = ()) -> Path:
    """Check, before any work is done, that a file can be written at `path`.

    Raises InputError if it exists (without `force`), its ending is not one of `suffixes`,
    or its folder is missing or read-only.
    """
    path = Path(path)
    if suffixes and path.suffix.casefold() not in suffixes:
        raise unknown("file ending", path.suffix, suffixes)
    if path.is_dir():
        raise InputError(f"{path}: is a folder, a file name is needed")
    if path.exists() and not force:
        raise InputError(f"{path}: exists already; choose another name or add --force")
    if not path.parent.is_dir():
        raise InputError(f"{path.parent}: no such folder; make it first")
    if not _writable(path.parent):
        raise InputError(f"{path.parent}: the folder cannot be written to")
    return path


def _writable(folder: Path) -> bool:
    # os.access says yes to root even where the file system refuses, so try.
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def output_folder(path: str | Path) -> Path:
    """Make sure that `path` is a folder which can be written to; InputError if it cannot be."""
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise InputError(f"{path}: is a file, a folder is needed")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be made ({error.strerror})") from None
    if not _writable(path):
        raise InputError(f"{path}: the folder cannot be written to")
    return path


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; it takes the place of `path` only on success.

    Raises OutputError when the disk is full or the folder refuses; nothing half-written stays, nor what a process
    that was killed left here.
    """
    path = Path(path)
    _remove_leftovers(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part{path.suffix}")
    try:
        yield beside
        with beside.open("r+b") as handle:
            os.fsync(handle.fileno())
        beside.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: could not be written ({reason(error)})") from error
    except soundfile.LibsndfileError as error:
        raise OutputError(f"{path}: could not be written ({error}; is the disk full?)") from error
    finally:
        beside.unlink(missing_ok=True)


def _remove_leftovers(path: Path) -> None:
    """Remove what a process that was killed while `replacing` left beside `path`; others may be at work there."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.part{glob.escape(path.suffix)}"):
        number = left.name.removeprefix(f".{path.name}.").partition(".")[0]
        if number.isdecimal() and not _runs(int(number)):
            left.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    """Say whether a process runs on this machine; yes where nobody can tell."""
    if sys.platform == "win32":  # where to ask would be to end it
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # somebody else's
        return True
    return True


def reason(error: OSError) -> str:
    """Return what the system says went wrong, in plain words."""
    return "the disk is full" if error.errno == errno.ENOSPC else (error.strerror or str(error))


@contextlib.contextmanager
def scratch_file(folder: Path) -> Iterator[IO[bytes]]:
    """Yield a nameless file in `folder` that vanishes in any case; OutputError if the disk is full."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            yield file
    except OSError as error:
        raise OutputError(f"{folder}: could not be written to ({reason(error)})") from error


def check_format(path: Path, subtype: str) -> str:
    """Return the format that the ending of `path` stands for; InputError if it cannot hold samples of `subtype`."""
    kind = OUTPUT_FORMATS.get(path.suffix.casefold())
    if kind is None:
        raise unknown("file ending", path.suffix, OUTPUT_FORMATS)
    if kind == "FLAC" and subtype == "FLOAT":
        raise InputError("FLAC holds no float samples; choose 16 or 24 bit, or a .wav file")
    return kind


class Writer:
    """A sound file that is written block by block and appears only when it is complete.

    Blocks are (N, channels) float32, `frames` samples in all. Format by the ending, WAV (RF64 where
    4 GB are not enough) or FLAC. `comment` is embedded in the file, in a WAV also `markers`. Leaving the
    `with` block by an exception removes what was written. Raises InputError for a format that there is not.
    """

    def __init__(
        self,
        path: str | Path,
        sample_rate_hz: int,
        *,
        frames: int,
        channels: int = 2,
        subtype: str = "PCM_24",
        comment: str = "",
        markers: Sequence[Marker] = (),
    ) -> None:
        path = Path(path)
        kind = check_format(path, subtype)
        # libsndfile drops long comments from a WAV.
        self._chunks = b"" if kind == "FLAC" else riff.marker_chunks(markers) + riff.comment_chunk(comment)
        if kind == "WAV" and frames * channels * BYTES[subtype] + len(self._chunks) > LARGEST_WAV:
            kind = "RF64"
        self._undated = kind != "FLAC" and subtype == "FLOAT"
        with contextlib.ExitStack() as stack:
            self._beside = stack.enter_context(replacing(path))
            stack.push(self._complete)
            self._file = stack.enter_context(
                soundfile.SoundFile(self._beside, "w", sample_rate_hz, channels, subtype, format=kind)
            )
            if comment and kind == "FLAC":
                self._file.comment = comment
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def _complete(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish the closed file, before it appears."""
        del error, trace
        if kind is None and self._undated:
            _remove_date(self._beside)
        if kind is None and self._chunks:
            riff.append(self._beside, self._chunks)

    def write(self, block: Samples) -> None:
        """Append a block (N, channels)."""
        self._file.write(block)


def _remove_date(path: Path) -> None:
    """Clear the time of writing that libsndfile puts into a float WAV's PEAK chunk.

    Chunk: name, size, version, time, then the peaks. The same piece must give the same bytes.
    """
    with path.open("r+b") as file:
        at = file.read(65_536).find(b"PEAK")
        if at >= 0:
            file.seek(at + 12)
            file.write(bytes(4))


def write(
    path: str | Path, samples: Samples, sample_rate_hz: int, *, subtype: str = "PCM_24", comment: str = ""
) -> None:
    """Write a whole sound, (N,) or (N, channels)."""
    block = samples[:, None] if samples.ndim == 1 else samples
    frames, channels = block.shape
    with Writer(path, sample_rate_hz, frames=frames, channels=channels, subtype=subtype, comment=comment) as writer:
        writer.write(block)
