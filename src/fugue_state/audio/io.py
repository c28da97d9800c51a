"""Sound files written block by block from float32 arrays, and resampling."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import soundfile
import soxr

from fugue_state.arrays import Array
from fugue_state.audio import riff
from fugue_state.audio.riff import Marker
from fugue_state.errors import InputError, OutputError, unknown
from fugue_state.files import replacing

OUTPUT_FORMATS = {".wav": "WAV", ".flac": "FLAC"}
BYTES = {"PCM_16": 2, "PCM_24": 3, "FLOAT": 4}
LARGEST_WAV = 2**32 - 2**20  # bytes, leaving room for the header


def resample(samples: Array, from_hz: float, to_hz: float) -> Array:
    """Band-limited resampling along the first axis; (N,) or (N, channels)."""
    if from_hz == to_hz:
        return samples
    result: Array = soxr.resample(samples, from_hz, to_hz, quality="HQ")
    return result


def check_format(path: Path, subtype: str) -> str:
    """Return the format for the suffix of `path`; InputError if it cannot hold samples of `subtype`."""
    kind = OUTPUT_FORMATS.get(path.suffix.casefold())
    if kind is None:
        raise unknown("file ending", path.suffix, OUTPUT_FORMATS)
    if kind == "FLAC" and subtype == "FLOAT":
        raise InputError("FLAC holds no float samples; choose 16 or 24 bit, or a .wav file")
    return kind


@contextlib.contextmanager
def _errors_told(path: Path) -> Iterator[None]:
    """Turn an error of libsndfile into an OutputError."""
    try:
        yield
    except soundfile.LibsndfileError as error:
        raise OutputError(f"{path}: could not be written ({error}; is the disk full?)") from error


class Writer:
    """A sound file that is written block by block and appears only when it is complete.

    Blocks are (N, channels) float32, `frames` samples in total. The suffix decides the format: WAV (RF64 where 4 GB
    are not enough) or FLAC. `comment` is embedded in the file; in a WAV, so are `markers`. If the `with` block is left
    by an exception, the partial file is removed. Raises InputError for an unsupported format.
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
            stack.enter_context(_errors_told(path))
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
        """Finish the closed file before it is renamed."""
        del error, trace
        if kind is None and self._undated:
            _remove_date(self._beside)
        if kind is None and self._chunks:
            riff.append(self._beside, self._chunks)

    def write(self, block: Array) -> None:
        """Append a block (N, channels)."""
        self._file.write(block)


def _remove_date(path: Path) -> None:
    """Clear the time of writing that libsndfile puts into a float WAV's PEAK chunk.

    Chunk: name, size, version, time, then the peaks. Without this, the same piece would not give the same bytes.
    """
    with path.open("r+b") as file:
        at = file.read(65_536).find(b"PEAK")
        if at >= 0:
            file.seek(at + 12)
            file.write(bytes(4))


def write(path: str | Path, samples: Array, sample_rate_hz: int, *, subtype: str = "PCM_24", comment: str = "") -> None:
    """Write a whole sound, (N,) or (N, channels)."""
    block = samples[:, None] if samples.ndim == 1 else samples
    frames, channels = block.shape
    with Writer(path, sample_rate_hz, frames=frames, channels=channels, subtype=subtype, comment=comment) as writer:
        writer.write(block)
