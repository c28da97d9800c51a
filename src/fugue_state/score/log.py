"""A compact log of changes made by hand: a long night has millions."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Self, TypedDict

from fugue_state.errors import InputError
from fugue_state.score.model import Change, Score
from fugue_state.score.paths import Value, written

TOGETHER = 128  # changes packed at a time: few, because the audio clock waits for the packing
LEVEL = 6  # of gzip's 9 levels; higher ones take much longer
ENCODER = json.JSONEncoder(separators=(",", ":"))


class KeptChange(TypedDict):
    """A change as it is kept: the sample it came at, its path, and its value as it is written."""

    at: int
    path: str
    value: float | str


class Log:
    """Changes in order; a movement of a fader takes less than 20 bytes."""

    def __init__(self) -> None:
        self._packed: list[bytes] = []
        self._newest: list[KeptChange] = []

    def __len__(self) -> int:
        return TOGETHER * len(self._packed) + len(self._newest)

    def add(self, at: int, path: str, value: Value) -> None:
        """Append a change made at sample `at`."""
        self._newest.append({"at": at, "path": path, "value": written(value)})
        if len(self._newest) == TOGETHER:
            self._packed.append(_pack(self._newest))
            self._newest = []

    def since(self, place: int) -> Iterator[KeptChange]:
        """Yield the changes from number `place` on."""
        first, inside = divmod(place, TOGETHER)
        for packed in self._packed[first:]:
            yield from _lines(gzip.decompress(packed).decode())[inside:]
            inside = 0
        yield from self._newest[inside:]

    def copy(self) -> Self:
        """Return a copy of the log so far."""
        same = type(self)()
        same._packed, same._newest = self._packed[:], self._newest[:]
        return same

    def save(self, path: Path) -> None:
        """Write it to a file as gzipped JSON lines, and flush it to the disk."""
        with path.open("wb") as file:
            file.writelines([*self._packed, _pack(self._newest)])
            file.flush()
            os.fsync(file.fileno())


def _pack(changes: Sequence[KeptChange]) -> bytes:
    text = "".join(f"{ENCODER.encode(change)}\n" for change in changes)
    return gzip.compress(text.encode(), LEVEL, mtime=0)


def _lines(text: str) -> list[KeptChange]:
    return [json.loads(line) for line in text.splitlines()]


def read_log(path: Path) -> Iterator[KeptChange]:
    """Yield the changes stored in a file; InputError if it is damaged."""
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)
    except (OSError, EOFError, ValueError, RecursionError, zlib.error) as error:
        raise InputError(f"{path}: damaged ({error})") from None


def taken(score: Score, done: Iterable[KeptChange], until: int) -> Score:
    """Return a score as a take of that length, with the changes before sample `until`; later ones were not heard."""
    rate = score.file.sample_rate_hz
    heard = (one for one in done if one["at"] < until)
    changes = tuple(Change(at=one["at"] / rate, path=one["path"], value=one["value"]) for one in heard)
    return score.model_copy(update={"changes": changes, "played_s": until / rate})
