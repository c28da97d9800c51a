"""The strengths that a performer's changes result in: faders, brushes, freezes and locks over time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from fugue_state.bending.orders import Order
from fugue_state.bending.strengths import Strengths, forget
from fugue_state.errors import InputError, counted
from fugue_state.score.model import Change
from fugue_state.score.paths import HOLD, Value, find

HELD_STEPS = 254  # steps of a held strength in a byte: 0 is not frozen, 1 is forgotten, 255 intact
Planned = Callable[[float], Strengths]
PlannedNow = Callable[[], Strengths]
OrderOf = Callable[[str, str], Order]  # makes an order within a layer, from the order's name and the layer's


class Hand:
    """Strengths (U,) as a performer set them: the result of a take's timed changes.

    The master fader forgets along the score's order. A layer's fader forgets along that order within the layer, or
    along an order of its own. Brushes set single units. All of these are multiplied with what is planned. The master
    does not reach locked layers. Frozen units keep their strength until they are released or recalled, or are given a
    strength to hold. Raises InputError for a layer or unit that does not exist.
    """

    def __init__(
        self,
        changes: Sequence[tuple[float, Change]],
        layers: Mapping[str, int],
        order: Order,
        order_of: OrderOf | None = None,
    ) -> None:
        self._changes = sorted(changes, key=lambda change: change[0])
        self._names = list(layers)
        ends = np.cumsum([0, *layers.values()]).tolist()
        self._layers = [slice(start, end) for start, end in pairwise(ends)]
        self._order, self._order_of = order, order_of
        for _, change in self._changes:
            self.check(change)
        self._reset()

    def _reset(self) -> None:
        units = self._layers[-1].stop
        self._done = 0
        self._master = 0.0
        self._faders = [0.0] * len(self._layers)
        self._orders = [self._inside(self._order, layer) for layer in self._layers]
        self._named = [""] * len(self._layers)  # the names of these orders
        self._brush = np.ones(units, dtype=np.float32)
        self._locked = np.zeros(units, dtype=np.bool_)
        self.frozen: npt.NDArray[np.bool_] = np.zeros(units, dtype=np.bool_)
        self._held = np.ones(units, dtype=np.float32)
        self._set: Strengths | None = None  # strengths from faders, brushes and locks, computed on demand

    @property
    def brushed(self) -> Strengths:
        """The strengths (U,) that brushes have left."""
        return self._brush.copy()

    def play(self, change: Change, planned: PlannedNow) -> None:
        """Apply a change now, ignoring its time; `planned` returns the plan's strengths (U,). InputError if invalid."""
        self.check(change)
        self._apply(change, planned)

    def back(self, path: str) -> list[tuple[str, Value]]:
        """Return the changes that restore the units as they are now, after this control is moved.

        Many units at once are stored as one byte each, so a brushed unit is restored to within half a step.
        InputError for a layer or unit that does not exist.
        """
        known, numbers = find(path)
        where = self._slice(path, numbers)
        what = known.pattern.rpartition("/")[2]
        if what == "recall":
            return self._all_back(numbers)
        if what == "freeze" or known.pattern == HOLD:
            return [self._hold_back(numbers[0])]
        if known.kind == "bytes":
            return [self._brush_back(numbers[0])]
        now: dict[str, Callable[[], Value]] = {
            "strength": lambda: float(self._brush[where][0]),
            "lock": lambda: int(self._locked[where].all()),
            "order": lambda: self._named[numbers[0] - 1],
            "forget": lambda: self._faders[numbers[0] - 1] if numbers else self._master,
        }
        return [(path, now[what]())]

    def _numbers(self, numbers: Sequence[int]) -> Sequence[int]:
        """Return the layers that a control affects, from 1 on: all of them if it names none."""
        return numbers[:1] or range(1, len(self._layers) + 1)

    def _all_back(self, numbers: Sequence[int]) -> list[tuple[str, Value]]:
        """Return the changes that undo a recall."""
        moves: list[tuple[str, Value]] = []
        if not numbers and self._master:
            moves.append(("/forget", self._master))
        for number in self._numbers(numbers):
            layer = self._layers[number - 1]
            if self._faders[number - 1]:
                moves.append((f"/layer/{number}/forget", self._faders[number - 1]))
            if (self._brush[layer] != 1.0).any():
                moves.append(self._brush_back(number))
            if self.frozen[layer].any():
                moves.append(self._hold_back(number))
        return moves

    def _brush_back(self, number: int) -> tuple[str, Value]:
        return f"/grid/{number}", _bytes(255.0 * self._brush[self._layers[number - 1]])

    def _hold_back(self, number: int) -> tuple[str, Value]:
        layer = self._layers[number - 1]
        held = np.where(self.frozen[layer], 1.0 + HELD_STEPS * self._held[layer], 0.0)
        return HOLD.replace("<n>", str(number)), _bytes(held)

    def __call__(self, time_s: float, planned: Planned | None = None) -> Strengths:
        """Return the strengths at a time in seconds: the plan's (by default, all intact), altered by the hand."""
        if self._done and self._changes[self._done - 1][0] > time_s:
            self._reset()
        while self._done < len(self._changes) and self._changes[self._done][0] <= time_s:
            at_s, change = self._changes[self._done]
            self._apply(change, None if planned is None else partial(planned, at_s))
            self._done += 1
        return self._left(None if planned is None else planned(time_s))

    def _left(self, planned: Strengths | None) -> Strengths:
        self._set = self._set_now() if self._set is None else self._set
        left = self._set.copy() if planned is None else planned * self._set
        return np.where(self.frozen, self._held, left) if self.frozen.any() else left

    def _set_now(self) -> Strengths:
        left = forget(self._order, self._master, len(self._brush))
        left[self._locked] = 1.0
        left = self._brush * left
        for inside, value in zip(self._orders, self._faders, strict=True):
            if value:
                left = left * forget(inside, value, len(left))
        return left

    def _apply(self, change: Change, planned: PlannedNow | None) -> None:
        self._move(change, planned)
        self._set = None

    def _move(self, change: Change, planned: PlannedNow | None) -> None:
        path, numbers = find(change.path)
        value, what = change.played, path.pattern.rpartition("/")[2]
        if path.pattern == "/forget":
            self._master = float(change.value)
        elif path.pattern == "/recall":
            self._master, self._faders = 0.0, [0.0] * len(self._faders)
            self._brush[:], self.frozen[:] = 1.0, False
        elif what == "recall":
            layer = self._layers[numbers[0] - 1]
            self._faders[numbers[0] - 1], self._brush[layer], self.frozen[layer] = 0.0, 1.0, False
        elif what == "forget":
            self._faders[numbers[0] - 1] = float(change.value)
        elif what == "order":
            self._orders[numbers[0] - 1] = self._ordered(change)
            self._named[numbers[0] - 1] = str(change.value)
        elif what == "lock":
            self._locked[self._units(change)] = bool(value)
        elif what == "freeze":
            # The plan may go on moving, but the held strength is that of this moment.
            now = self._left(None if planned is None else planned())
            units = self._units(change)
            self._held[units], self.frozen[units] = now[units], bool(value)
        elif path.pattern == HOLD and isinstance(value, bytes):
            units, held = self._units(change), np.frombuffer(value, dtype=np.uint8)
            self.frozen[units] = held > 0
            self._held[units] = np.maximum(held.astype(np.float32) - 1.0, 0.0) / np.float32(HELD_STEPS)
        elif isinstance(value, bytes):
            self._brush[self._units(change)] = np.frombuffer(value, dtype=np.uint8) / np.float32(255.0)
        else:
            self._brush[self._units(change)] = float(change.value)

    @staticmethod
    def _inside(order: Order, layer: slice) -> Order:
        inside: Order = order[(order >= layer.start) & (order < layer.stop)]
        return inside

    def _ordered(self, change: Change) -> Order:
        """Return the order that a change gives to a layer."""
        number = find(change.path)[1][0] - 1
        if self._order_of is None or not change.value:
            return self._inside(self._order, self._layers[number])
        return self._order_of(str(change.value), self._names[number])

    def check(self, change: Change) -> None:
        """Raise InputError for a change that names a missing layer or unit, or has a wrong number of bytes."""
        units = self._units(change)
        value = change.played
        if isinstance(value, bytes) and len(value) != units.stop - units.start:
            raise InputError(
                f"{change.path} takes {counted(units.stop - units.start, 'byte')}, one a unit, got {len(value)}"
            )
        if change.path.endswith("/order"):
            self._ordered(change)

    def _units(self, change: Change) -> slice:
        """Return the units that a change affects."""
        return self._slice(change.path, find(change.path)[1])

    def _slice(self, path: str, numbers: Sequence[int]) -> slice:
        if not numbers:
            return slice(0, self._layers[-1].stop)
        if not 1 <= numbers[0] <= len(self._layers):
            raise InputError(f"{path}: there are layers 1 to {len(self._layers)}")
        layer = self._layers[numbers[0] - 1]
        if len(numbers) == 1:
            return layer
        size = layer.stop - layer.start
        if not 1 <= numbers[1] <= size:
            raise InputError(f"{path}: {self._names[numbers[0] - 1]} has units 1 to {size}")
        return slice(layer.start + numbers[1] - 1, layer.start + numbers[1])


def _bytes(values: npt.NDArray[np.floating[Any]]) -> bytes:
    return bytes(np.rint(values).astype(np.uint8).data)
