"""What hands have set so far, so that it can be undone, stored in banks, and moved between them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from fugue_state.bending.strengths import Strengths
from fugue_state.live.protocol import levels
from fugue_state.score.paths import Value, find

Move = tuple[str, Value]
# What an undo brings back; transport and volume are no part of it.
UNDONE = {
    "/forget", "/recall", "/layer/<n>/forget", "/layer/<n>/recall", "/layer/<n>/lock", "/layer/<n>/order",
    "/layer/<n>/freeze", "/unit/<n>/<k>/strength", "/unit/<n>/<k>/freeze", "/grid/<n>", "/seed", "/chord",
}  # fmt: skip
BRUSHED = {"/unit/<n>/<k>/strength", "/grid/<n>"}


@dataclass(frozen=True)
class Bank:
    """Strengths that are kept: the faders, and of each layer what the brush left, a byte a unit."""

    faders: Mapping[str, float]
    brushed: Mapping[str, bytes]


class Board:
    """The faders, switches and brushed units, as the moves so far have left them."""

    def __init__(self, layers: Mapping[str, int], values: Mapping[str, Any]) -> None:
        sizes = list(enumerate(layers.values(), 1))
        self.faders = {"/forget": 0.0} | {f"/layer/{n}/forget": 0.0 for n, _ in sizes}
        self.switches: dict[str, Value] = {}
        self.brushed = {n: np.ones(size, dtype=np.float32) for n, size in sizes}
        self.frozen = {n: np.zeros(size, dtype=np.int8) for n, size in sizes}
        self.follow(values)

    def follow(self, values: Mapping[str, Any]) -> None:
        """Take over what the performance itself says."""
        for path, value in values.items():
            (self.faders if path in self.faders else self.switches)[path] = value

    def brush(self, brushed: Strengths) -> None:
        """Take over what brushes have left of all units (U,), those of a score, too."""
        ends = np.cumsum([len(units) for units in self.brushed.values()])[:-1]
        for units, now in zip(self.brushed.values(), np.split(brushed, ends), strict=True):
            units[:] = now

    def bank(self) -> Bank:
        """Return the strengths as they are."""
        return Bank(dict(self.faders), {f"/grid/{n}": levels(units) for n, units in self.brushed.items()})

    def moved(self, path: str, value: Value) -> list[Move]:
        """Note a move; return what would take it back, last first."""
        known, numbers = find(path)
        if known.pattern == "/recall":
            return self._recalled(self.faders, self.brushed)
        if known.pattern == "/layer/<n>/recall":
            fader = f"/layer/{numbers[0]}/forget"
            return self._recalled([fader], [numbers[0]])
        if isinstance(value, bytes):
            before = levels(self.brushed[numbers[0]])
            self.brushed[numbers[0]] = np.frombuffer(value, np.uint8).astype(np.float32) / np.float32(255.0)
            return [(path, before)]
        if known.pattern.startswith("/unit"):
            units: npt.NDArray[Any] = (self.brushed if known.kind == "float" else self.frozen)[numbers[0]]
            old = units[numbers[1] - 1].item()
            units[numbers[1] - 1] = value
            return [(path, old)]
        held = self.faders if path in self.faders else self.switches
        undone = held.get(path, known.default)
        held[path] = value  # type: ignore[assignment]
        return [(path, undone)]

    def _recalled(self, faders: Iterable[str], layers: Iterable[int]) -> list[Move]:
        undo: list[Move] = []
        for path in faders:
            if self.faders[path]:
                undo.append((path, self.faders[path]))
                self.faders[path] = 0.0
        for n in layers:
            if (self.brushed[n] != 1.0).any():
                undo.append((f"/grid/{n}", levels(self.brushed[n])))
                self.brushed[n] = np.ones_like(self.brushed[n])
        return undo


@dataclass
class Gesture:
    """Moves that belong together: what takes them back, and what does them again."""

    key: str
    at: int
    back: dict[str, Value] = field(default_factory=dict)
    again: dict[str, Value] = field(default_factory=dict)


class History:
    """Gestures that can be undone and done again; moves of one control, near in time, are one."""

    def __init__(self, longest: int, near: int) -> None:
        self._done: deque[Gesture] = deque(maxlen=longest)
        self._undone: list[Gesture] = []
        self._near = near

    def add(self, key: str, at: int, move: Move, back: Iterable[Move]) -> None:
        """Note a move at a sample, and what would take it back."""
        if find(move[0])[0].pattern not in UNDONE:
            return
        self._undone.clear()
        if not self._done or self._done[-1].key != key or at - self._done[-1].at > self._near:
            self._done.append(Gesture(key, at))
        gesture = self._done[-1]
        gesture.at = at
        for path, value in back:
            gesture.back.setdefault(path, value)
        gesture.again.pop(move[0], None)  # so that it comes last
        gesture.again[move[0]] = move[1]

    def undo(self) -> list[Move] | None:
        """Return the moves that take the last gesture back; None if there is none."""
        if not self._done:
            return None
        self._undone.append(self._done.pop())
        return list(reversed(self._undone[-1].back.items()))

    def redo(self) -> list[Move] | None:
        """Return the moves of the gesture that was undone last; None if there is none."""
        if not self._undone:
            return None
        self._done.append(self._undone.pop())
        return list(self._done[-1].again.items())


def gesture_key(author: str, path: str) -> str:
    """Return what the moves of one gesture have in common: who, and which control; a brush is one control."""
    pattern = find(path)[0].pattern
    return f"{author} {'brush' if pattern in BRUSHED else path}"


class Morph:
    """The way from some strengths to others."""

    def __init__(self, start: Bank, end: Bank) -> None:
        self._faders = {p: (start.faders[p], v) for p, v in end.faders.items() if start.faders[p] != v}
        self._brushed = {p: (start.brushed[p], v) for p, v in end.brushed.items() if start.brushed[p] != v}

    def leave(self, path: str) -> None:
        """Leave what a hand has taken over as the hand has it."""
        known, numbers = find(path)
        if known.pattern == "/recall":
            self._faders, self._brushed = {}, {}
        elif known.pattern == "/layer/<n>/recall":
            self._faders.pop(f"/layer/{numbers[0]}/forget", None)
            self._brushed.pop(f"/grid/{numbers[0]}", None)
        elif known.pattern in BRUSHED:
            self._brushed.pop(f"/grid/{numbers[0]}", None)
        else:
            self._faders.pop(path, None)

    def at(self, share: float) -> list[Move]:
        """Return the moves that lead to a share of the way, 0..1."""
        moves: list[Move] = [(path, a + share * (b - a)) for path, (a, b) in self._faders.items()]
        for path, (a, b) in self._brushed.items():
            one, other = np.frombuffer(a, np.uint8).astype(np.float32), np.frombuffer(b, np.uint8)
            moves.append((path, np.rint(one + share * (other - one)).astype(np.uint8).tobytes()))
        return moves
