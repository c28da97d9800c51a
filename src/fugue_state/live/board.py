"""The history of gestures, for undo, and the banks of strengths, with moves between them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from fugue_state.bending.strengths import Strengths
from fugue_state.live.protocol import levels
from fugue_state.live.wish import Move
from fugue_state.score.paths import HOLD, KEY_CHORD, Value, find

# The controls that undo restores; transport and volume are not among them.
UNDONE = {
    "/forget", "/recall", "/part/<n>/forget", "/part/<n>/recall",
    "/layer/<n>/forget", "/layer/<n>/recall", "/layer/<n>/lock", "/layer/<n>/order",
    "/layer/<n>/freeze", "/unit/<n>/<k>/strength", "/unit/<n>/<k>/freeze", "/grid/<n>", HOLD, "/seed", "/chord",
    "/keys/voice", KEY_CHORD,
}  # fmt: skip
BRUSHED = {"/unit/<n>/<k>/strength", "/grid/<n>"}


@dataclass(frozen=True)
class Bank:
    """Stored strengths: the faders, and what the brush left of each layer, one byte per unit."""

    faders: Mapping[str, float]
    brushed: Mapping[str, bytes]

    @classmethod
    def of(cls, values: Mapping[str, Any], brushed: Strengths, layers: Mapping[str, int]) -> Self:
        """Return the strengths that controls and brushes (U,) have set."""
        faders = {path: value for path, value in values.items() if path.endswith("/forget")}
        parts = np.split(brushed, np.cumsum([*layers.values()])[:-1])
        return cls(faders, {f"/grid/{n}": levels(units) for n, units in enumerate(parts, 1)})


@dataclass
class Gesture:
    """Moves that belong together: those that undo them and those that redo them."""

    key: str
    at: int
    back: dict[str, Value] = field(default_factory=dict)
    again: dict[str, Value] = field(default_factory=dict)


class History:
    """Gestures that can be undone and redone; moves of one control shortly after each other are one gesture."""

    def __init__(self, longest: int, near: int) -> None:
        self._done: deque[Gesture] = deque(maxlen=longest)
        self._undone: list[Gesture] = []
        self._near = near

    def add(self, key: str, at: int, move: Move, back: Iterable[Move]) -> None:
        """Note a move at a sample with the moves that undo it, last first; a move that changed nothing is ignored."""
        back = list(back)
        if not back or find(move[0])[0].pattern not in UNDONE:
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
        """Return the moves that undo the last gesture; None if there is none."""
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
    """Return what the moves of one gesture share: who made them and which control; a brush counts as one control."""
    pattern = find(path)[0].pattern
    return f"{author} {'brush' if pattern in BRUSHED else path}"


class Morph:
    """A move from some strengths to others."""

    def __init__(self, start: Bank, end: Bank) -> None:
        self._faders = {p: (start.faders[p], v) for p, v in end.faders.items() if start.faders[p] != v}
        self._brushed = {p: (start.brushed[p], v) for p, v in end.brushed.items() if start.brushed[p] != v}

    def leave(self, path: str) -> None:
        """Leave out a control that a hand has taken over."""
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
        """Return the moves that lead to a position on the way, 0..1."""
        moves: list[Move] = [(path, a + share * (b - a)) for path, (a, b) in self._faders.items()]
        for path, (a, b) in self._brushed.items():
            one, other = np.frombuffer(a, np.uint8).astype(np.float32), np.frombuffer(b, np.uint8)
            moves.append((path, np.rint(one + share * (other - one)).astype(np.uint8).tobytes()))
        return moves
