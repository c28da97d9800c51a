"""Markers and a comment in WAV and RF64 files, as chunks after the samples."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fugue_state.errors import InputError
from fugue_state.limits import SOUND_TOLD

OTHERWHERE = 2**32 - 1  # a placeholder: RF64 stores the size in its first chunk


@dataclass(frozen=True)
class Marker:
    """A named place in a sound, `sample` samples from its start."""

    sample: int
    name: str

    @property
    def label(self) -> str:
        """The name on one line, without tabs."""
        return " ".join(self.name.replace("\0", " ").split())


def check_markers(markers: Sequence[Marker], frames: int) -> None:
    """Raise InputError for a marker outside a sound of `frames` samples."""
    last = min(frames, OTHERWHERE)
    for marker in markers:
        if not 0 <= marker.sample <= last:
            raise InputError(f"marker {marker.name!r} at sample {marker.sample}: must be within 0..{last}")


def marker_chunks(markers: Sequence[Marker]) -> bytes:
    """Return the chunks `cue ` and `LIST` `adtl` for markers; empty if there are none."""
    if not markers:
        return b""
    cues = [struct.pack("<II4sIII", i, m.sample, b"data", 0, 0, m.sample) for i, m in enumerate(markers, 1)]
    labels = [_chunk(b"labl", struct.pack("<I", i) + _text(m.label)) for i, m in enumerate(markers, 1)]
    return _chunk(b"cue ", struct.pack("<I", len(cues)) + b"".join(cues)) + _chunk(b"LIST", b"adtl" + b"".join(labels))


def comment_chunk(comment: str) -> bytes:
    """Return the chunk `LIST` `INFO` for a comment of any length; empty if there is none."""
    return _chunk(b"LIST", b"INFO" + _chunk(b"ICMT", _text(comment))) if comment else b""


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


def _text(text: str) -> bytes:
    return text.encode("utf-8", "replace") + b"\0"


def append(path: Path, chunks: bytes) -> None:
    """Append chunks to a complete WAV or RF64 file, and correct its size."""
    with path.open("r+b") as file:
        long = file.read(4) == b"RF64"
        file.seek(0, os.SEEK_END)
        file.write(chunks)
        size = file.tell() - 8
        file.seek(20 if long else 4)
        file.write(struct.pack("<Q" if long else "<I", size))


def read_comments(path: Path) -> Iterator[bytes]:
    """Yield all comments in a WAV or RF64 file, in order; lists of implausible length are skipped."""
    with path.open("rb") as file:
        whole, at, long = file.seek(0, os.SEEK_END), 12, 0
        while at + 8 <= whole:
            file.seek(at)
            name, size = struct.unpack("<4sI", file.read(8))
            if name == b"ds64":
                long = int.from_bytes(file.read(16)[8:], "little")
            elif name == b"LIST" and size < SOUND_TOLD.most:
                yield from _comments(file.read(size))
            size = long if name == b"data" and size == OTHERWHERE else size
            at += 8 + size + size % 2


def _comments(body: bytes) -> Iterator[bytes]:
    """Yield the non-empty comments in the body of a `LIST` chunk."""
    at = 4
    while body[:4] == b"INFO" and at + 8 <= len(body):
        name, size = struct.unpack_from("<4sI", body, at)
        if name == b"ICMT" and (said := body[at + 8 : at + 8 + size].split(b"\0")[0]):
            yield said
        at += 8 + size + size % 2
