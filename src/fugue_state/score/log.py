"""What hands did, change by change, as small as can be: of a long night there are millions."""

from __future__ import annotations

import json
import zipfile
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import numpy as np

from fugue_state.errors import InputError
from fugue_state.score.model import Change
from fugue_state.score.paths import Value, check, written


class Log:
    """Changes in their order: the sample each came at, its path and its value; 20 bytes for a movement of a fader."""

    def __init__(self) -> None:
        self._at, self._paths, self._numbers = array("q"), array("I"), array("d")
        self._known: dict[str, int] = {}
        self._others: dict[int, Value] = {}  # values that are no fractions, by their place

    def __len__(self) -> int:
        return len(self._at)

    def add(self, at: int, path: str, value: Value) -> None:
        """Keep a change at a sample."""
        if not isinstance(value, float):
            self._others[len(self)] = value
        self._at.append(at)
        self._paths.append(self._known.setdefault(path, len(self._known)))
        self._numbers.append(value if isinstance(value, float) else 0.0)

    def since(self, place: int) -> Iterator[tuple[int, str, Value]]:
        """Yield sample, path and value of the changes from a place on."""
        names = list(self._known)
        for i in range(place, len(self)):
            yield self._at[i], names[self._paths[i]], self._others.get(i, self._numbers[i])

    def changes(self, rate: int, until: int) -> Iterator[Change]:
        """Yield what came before a sample, of so many a second, as a score has it."""
        for at, path, value in self.since(0):
            if at < until:
                yield Change(at=at / rate, path=path, value=written(value))

    def copy(self) -> Self:
        """Return what there is by now."""
        same = type(self)()
        same._at, same._paths, same._numbers = self._at[:], self._paths[:], self._numbers[:]
        same._known, same._others = dict(self._known), dict(self._others)
        return same

    def save(self, path: Path) -> None:
        """Write it to a file, quickly."""
        others = {place: written(value) for place, value in self._others.items()}
        words = np.frombuffer(json.dumps([list(self._known), others]).encode(), np.uint8)
        np.savez(path, at=self._at, paths=self._paths, numbers=self._numbers, words=words)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read it again; InputError for a file that is damaged."""
        try:
            with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                names, others = json.loads(file["words"].tobytes())
                whole = zip(file["at"].tolist(), file["paths"].tolist(), file["numbers"].tolist(), strict=True)
                log = cls()
                for place, (at, number, value) in enumerate(whole):
                    name = names[number]
                    log.add(at, name, check(name, (others[str(place)],)) if str(place) in others else value)
        except (OSError, EOFError, ValueError, LookupError, AttributeError, TypeError, zipfile.BadZipFile) as error:
            raise InputError(f"{path}: damaged ({error})") from None
        return log
