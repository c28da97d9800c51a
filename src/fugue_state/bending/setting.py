"""What hands have set: kept here alone; what is shown, undone or stored in banks is read from here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from fugue_state.bending.strengths import Strengths
from fugue_state.score.paths import HOLD, PART, Path, Value, find

HELD_STEPS = 254  # steps of a held strength in a byte: 0 is not frozen, 1 is forgotten, 255 intact


@dataclass(eq=False)
class Setting:
    """Faders, brushes, locks, orders and freezes of all units (U,), which lie in `layers`, and those in `parts`.

    `master`, `part_faders`, one a part, and `faders`, one a layer, are how much is forgotten, 0..1. `orders` are the
    names of orders that layers were given; an empty one is the score's, which `composed` names for each layer. Brushes
    leave `brush` of each unit. The master and the parts' faders do not reach `locked` units. Those that are `frozen`
    are `held` at a strength.
    """

    layers: Sequence[slice]
    parts: Sequence[slice]
    composed: Sequence[str]
    master: float = field(init=False, default=0.0)
    part_faders: list[float] = field(init=False)
    faders: list[float] = field(init=False)
    orders: list[str] = field(init=False)
    brush: Strengths = field(init=False)
    locked: npt.NDArray[np.bool_] = field(init=False)
    frozen: npt.NDArray[np.bool_] = field(init=False)
    held: Strengths = field(init=False)

    def __post_init__(self) -> None:
        units = self.layers[-1].stop
        self.part_faders = [0.0] * len(self.parts)
        self.faders, self.orders = [0.0] * len(self.layers), [""] * len(self.layers)
        self.brush, self.held = np.ones((2, units), dtype=np.float32)
        self.locked, self.frozen = np.zeros((2, units), dtype=np.bool_)

    def recall(self, path: str) -> None:
        """Bring back a layer, a part or everything, as a control says."""
        parts, layers = self._reached(path)
        if not find(path)[1]:
            self.master = 0.0
        for number in parts:
            self.part_faders[number - 1] = 0.0
        for number in layers:
            layer = self.layers[number - 1]
            self.faders[number - 1], self.brush[layer], self.frozen[layer] = 0.0, 1.0, False

    def hold(self, units: slice, levels: bytes) -> None:
        """Freeze units (n,) at the strengths that bytes tell, or release them."""
        values = np.frombuffer(levels, dtype=np.uint8)
        self.frozen[units] = values > 0
        self.held[units] = np.maximum(values.astype(np.float32) - 1.0, 0.0) / np.float32(HELD_STEPS)

    def values(self) -> dict[str, Value]:
        """Return the value of every control but those of single units."""
        numbers = range(1, len(self.layers) + 1)
        found: dict[str, Value] = {"/forget": self.master}
        if len(self.parts) > 1:
            found |= {PART.replace("<n>", str(n)): value for n, value in enumerate(self.part_faders, 1)}
        found |= {f"/layer/{n}/forget": self.faders[n - 1] for n in numbers}
        found |= {f"/layer/{n}/lock": self._all(self.locked, n) for n in numbers}
        found |= {f"/layer/{n}/order": self.orders[n - 1] or self.composed[n - 1] for n in numbers}
        return found | {f"/layer/{n}/freeze": self._all(self.frozen, n) for n in numbers}

    def _all(self, mask: npt.NDArray[np.bool_], number: int) -> int:
        return int(mask[self.layers[number - 1]].all())

    def back(self, path: str, where: slice) -> list[tuple[str, Value]]:
        """Return the changes that restore the units as they are now, after a control of units `where` is moved.

        Many units at once are stored as one byte each, so a brushed unit is restored to within half a step.
        """
        known, numbers = find(path)
        what = known.pattern.rpartition("/")[2]
        if what == "recall":
            return self._all_back(path)
        if what == "freeze" or known.pattern == HOLD:
            return [self._hold_back(numbers[0])]
        if known.kind == "bytes":
            return [self._brush_back(numbers[0])]
        now: dict[str, Callable[[], Value]] = {
            "strength": lambda: float(self.brush[where][0]),
            "lock": lambda: int(self.locked[where].all()),
            "order": lambda: self.orders[numbers[0] - 1],
            "forget": lambda: self._fader(known, numbers),
        }
        return [(path, now[what]())]

    def _fader(self, known: Path, numbers: Sequence[int]) -> float:
        """Return where the fader of a layer, a part or everything is."""
        if not numbers:
            return self.master
        return (self.part_faders if known.pattern == PART else self.faders)[numbers[0] - 1]

    def _reached(self, path: str) -> tuple[Sequence[int], Sequence[int]]:
        """Return the parts and the layers, from 1 on, that a recall brings back."""
        known, numbers = find(path)
        every = range(1, len(self.layers) + 1)
        if not numbers:
            return range(1, len(self.parts) + 1), every
        if not known.pattern.startswith("/part/"):
            return (), numbers
        part = self.parts[numbers[0] - 1]
        return numbers, [n for n in every if part.start <= self.layers[n - 1].start < part.stop]

    def _all_back(self, path: str) -> list[tuple[str, Value]]:
        """Return the changes that undo a recall."""
        parts, layers = self._reached(path)
        moves: list[tuple[str, Value]] = []
        if self.master and not find(path)[1]:
            moves.append(("/forget", self.master))
        moves += [(PART.replace("<n>", str(n)), self.part_faders[n - 1]) for n in parts if self.part_faders[n - 1]]
        for number in layers:
            layer = self.layers[number - 1]
            if self.faders[number - 1]:
                moves.append((f"/layer/{number}/forget", self.faders[number - 1]))
            if (self.brush[layer] != 1.0).any():
                moves.append(self._brush_back(number))
            if self.frozen[layer].any():
                moves.append(self._hold_back(number))
        return moves

    def _brush_back(self, number: int) -> tuple[str, Value]:
        return f"/grid/{number}", _bytes(255.0 * self.brush[self.layers[number - 1]])

    def _hold_back(self, number: int) -> tuple[str, Value]:
        layer = self.layers[number - 1]
        held = np.where(self.frozen[layer], 1.0 + HELD_STEPS * self.held[layer], 0.0)
        return HOLD.replace("<n>", str(number)), _bytes(held)


def _bytes(values: npt.NDArray[np.floating[Any]]) -> bytes:
    return bytes(np.rint(values).astype(np.uint8).data)
