"""Where the samples of a WAV file lie, even if the sizes in its header are wrong."""

from __future__ import annotations

import io
import os
import struct
from dataclasses import dataclass
from typing import BinaryIO

from fugue_state.audio import speakers

LONG = (b"RF64", b"BW64")
NAMES = (b"RIFF", b"RIFX", *LONG)
UNKNOWN = 0x7FFF_0000  # bytes; programs that write into a pipe claim at least this size
OTHERWHERE = 2**32 - 1  # a placeholder: RF64 stores the size in its first chunk
ENDLESS = 2**63 - 1  # the size given there if it is unknown, too
EXTENSIBLE = 0xFFFE
LONGEST_FORMAT = 2**16


@dataclass(frozen=True)
class Chunk:
    """A chunk of a file: its name, where its content begins, and its claimed size."""

    name: bytes
    start: int
    size: int


@dataclass(frozen=True)
class Wave:
    """A WAV file's format and where its samples lie; `plain` if the header is right, `cut` if samples are missing."""

    order: str
    format: bytes
    fact: bytes
    start: int
    size: int
    plain: bool
    cut: bool

    @property
    def codec(self) -> int:
        """The number of the codec."""
        return int(struct.unpack_from(self.order + "H", self.format)[0])

    @property
    def channels(self) -> int:
        """The number of channels."""
        return int(struct.unpack_from(self.order + "H", self.format, 2)[0])

    @property
    def sample_rate_hz(self) -> int:
        """The sample rate in Hz."""
        return int(struct.unpack_from(self.order + "I", self.format, 4)[0])

    @property
    def speakers(self) -> tuple[str, ...]:
        """The speaker of each channel; empty if unknown."""
        if self.codec == EXTENSIBLE and len(self.format) >= 24:
            return speakers.of_mask(struct.unpack_from(self.order + "I", self.format, 20)[0])
        return speakers.USUAL.get(self.channels, ())

    def header(self) -> bytes:
        """Return a corrected header."""
        parts = [(b"fmt ", self.format), (b"fact", self.fact)]
        chunks = b"".join(
            name + struct.pack(self.order + "I", len(part)) + part + bytes(len(part) % 2)
            for name, part in parts
            if part
        )
        size = self.size
        if size >= UNKNOWN and self.order == "<":
            long = b"ds64" + struct.pack("<IQQQI", 28, 48 + len(chunks) + size, size, 0, 0)
            none = b"\xff" * 4
            return b"RF64" + none + b"WAVE" + long + chunks + b"data" + none
        kind = b"RIFF" if self.order == "<" else b"RIFX"
        whole, data = (struct.pack(self.order + "I", n) for n in (12 + len(chunks) + size, size))
        return kind + whole + b"WAVE" + chunks + b"data" + data


def find(file: BinaryIO) -> Wave | None:
    """Find the samples of a WAV file; None if it is not a WAV file, or has no format or no samples."""
    whole = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(12)
    if head[:4] not in NAMES or head[8:12] != b"WAVE":
        return None
    order = ">" if head[:4] == b"RIFX" else "<"
    said = struct.unpack_from(order + "I", head, 4)[0]
    form, fact, long, plain, at = b"", b"", 0, head[:4] != b"BW64", 12
    while (found := _chunk(file, at, order)) is not None:
        if found.name == b"data":
            if len(form) < 14:
                return None
            claimed = long if head[:4] in LONG and found.size == OTHERWHERE else found.size
            size, cut = _size(file, found.start, claimed, whole, order, said)
            plain = plain and size == claimed
            return Wave(order, form, fact, found.start, size, plain, cut)
        if found.name in {b"fmt ", b"fact", b"ds64"}:
            content = file.read(min(found.size, LONGEST_FORMAT))
            form = content if found.name == b"fmt " else form
            fact = content if found.name == b"fact" else fact
            if found.name == b"ds64" and len(content) >= 16:
                long = int(struct.unpack_from("<Q", content, 8)[0])
        end = found.start + found.size
        at = end + found.size % 2
        if found.size % 2 and _named(file, end, order) and not _named(file, at, order):
            at, plain = end, False  # padding is missing
    return None


def _chunk(file: BinaryIO, at: int, order: str) -> Chunk | None:
    file.seek(at)
    head = file.read(8)
    return Chunk(head[:4], at + 8, struct.unpack_from(order + "I", head, 4)[0]) if len(head) == 8 else None


def _named(file: BinaryIO, at: int, order: str) -> bool:
    """Say whether a chunk with a plausible name begins here."""
    found = _chunk(file, at, order)
    return found is not None and all(32 <= letter < 127 for letter in found.name)


def _size(file: BinaryIO, start: int, claimed: int, whole: int, order: str, said: int) -> tuple[int, bool]:
    """Return how many bytes of samples there are from `start` on, and whether some are missing."""
    there = whole - start
    if claimed == 0:  # the writer stopped before the size was known, unless other chunks follow
        return (0 if _chunks_follow(file, start, whole, order) else there), False
    if claimed <= there:
        return claimed, False
    unknown = UNKNOWN <= claimed <= OTHERWHERE or claimed >= ENDLESS
    # If the header's total size is right but its sample size is too large, the sample size is miscounted.
    miscounted = said in {whole, whole - 8} and claimed <= whole
    return there, not (unknown or miscounted)


def _chunks_follow(file: BinaryIO, at: int, whole: int, order: str) -> bool:
    """Say whether the rest of a file consists of chunks only."""
    while at < whole - 1:
        found = _chunk(file, at, order) if _named(file, at, order) else None
        if found is None:
            return False
        at = found.start + found.size + found.size % 2
    return at <= whole + 1


class Mended(io.RawIOBase):
    """A file presented with another header, followed by a part of the original."""

    def __init__(self, header: bytes, file: BinaryIO, start: int, size: int) -> None:
        super().__init__()
        self._header, self._file, self._start = header, file, start
        self._whole, self._at = len(header) + size, 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a position and return it."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._whole}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        """Return the current position."""
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        end = self._whole if size < 0 else min(self._whole, self._at + size)
        known = self._header[self._at : end]
        self._at += len(known)
        if self._at >= end:
            return known
        self._file.seek(self._start + self._at - len(self._header))
        rest = self._file.read(end - self._at)
        self._at += len(rest)
        return known + rest

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill a buffer with the next bytes; return how many there were."""
        found = self.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)
