"""The strengths that a performer's changes result in, over time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from fugue_state.bending.orders import Order
from fugue_state.bending.setting import Setting
from fugue_state.bending.strengths import Strengths, forget
from fugue_state.errors import InputError, counted
from fugue_state.score.model import Change
from fugue_state.score.paths import HOLD, PART, Value, find

Planned = Callable[[float], Strengths]
PlannedNow = Callable[[], Strengths]
OrderOf = Callable[[str, str], Order]  # makes an order within a layer, from the order's name and the layer's


@dataclass(frozen=True, eq=False)
class Reach:
    """What forgets together under a hand: its layers, its order (of its own units, from 0 on) and the order's name.

    `order_of` makes other orders within a layer, if a hand may choose any.
    """

    layers: Mapping[str, int]
    order: Order
    order_of: OrderOf | None = None
    order_name: str = ""


class Hand:
    """Strengths (U,) as a performer set them: the result of a take's timed changes.

    The master fader forgets every part along the part's order, a part's fader that part alone. A layer's fader forgets
    along that order within the layer, or along an order of its own. Brushes set single units. All of these are
    multiplied with what is planned. Master and parts' faders do not reach locked layers. Frozen units keep their
    strength until they are released or recalled, or are given a strength to hold. Raises InputError for a part, layer
    or unit that does not exist.
    """

    def __init__(self, changes: Sequence[tuple[float, Change]], parts: Sequence[Reach]) -> None:
        self._changes = sorted(changes, key=lambda change: change[0])
        self._reaches = parts
        self._names = [name for part in parts for name in part.layers]
        self._of = [number for number, part in enumerate(parts) for _ in part.layers]  # a layer's part
        self._layers = _slices([units for part in parts for units in part.layers.values()])
        self._parts = _slices([sum(part.layers.values()) for part in parts])
        for _, change in self._changes:
            self.check(change)
        self._reset()

    def _reset(self) -> None:
        self._done = 0
        self._setting = Setting(self._layers, self._parts, [self._reaches[part].order_name for part in self._of])
        self._orders = [self._inside(number) for number in range(len(self._layers))]
        self._left: Strengths | None = None  # strengths from faders, brushes and locks, computed on demand
        self._values: Mapping[str, Value] | None = None  # told of all this, on demand

    @property
    def brushed(self) -> Strengths:
        """The strengths (U,) that brushes have left."""
        return self._setting.brush.copy()

    @property
    def frozen(self) -> npt.NDArray[np.bool_]:
        """Mask (U,) of the units that are frozen."""
        return self._setting.frozen.copy()

    @property
    def values(self) -> Mapping[str, Value]:
        """The value of every control of units but those of single ones."""
        self._values = self._setting.values() if self._values is None else self._values
        return self._values

    def play(self, change: Change, planned: PlannedNow) -> None:
        """Apply a change now, ignoring its time; `planned` returns the plan's strengths (U,). InputError if invalid."""
        self.check(change)
        self._apply(change, planned)

    def back(self, path: str) -> list[tuple[str, Value]]:
        """Return the changes that restore the units as they are now, after this control is moved.

        InputError for a part, layer or unit that does not exist.
        """
        return self._setting.back(path, self._slice(path, find(path)[1]))

    def __call__(self, time_s: float, planned: Planned | None = None) -> Strengths:
        """Return the strengths at a time in seconds: the plan's (by default, all intact), altered by the hand."""
        if self._done and self._changes[self._done - 1][0] > time_s:
            self._reset()
        while self._done < len(self._changes) and self._changes[self._done][0] <= time_s:
            at_s, change = self._changes[self._done]
            self._apply(change, None if planned is None else partial(planned, at_s))
            self._done += 1
        return self._strengths(None if planned is None else planned(time_s))

    def _strengths(self, planned: Strengths | None) -> Strengths:
        self._left = self._left_now() if self._left is None else self._left
        left, now = self._left.copy() if planned is None else planned * self._left, self._setting
        return np.where(now.frozen, now.held, left) if now.frozen.any() else left

    def _left_now(self) -> Strengths:
        now = self._setting
        left = self._along(lambda _: now.master)
        if any(now.part_faders):
            left = left * self._along(lambda part: now.part_faders[part])
        left[now.locked] = 1.0
        left = now.brush * left
        for inside, value in zip(self._orders, now.faders, strict=True):
            if value:
                left = left * forget(inside, value, len(left))
        return left

    def _along(self, fraction: Callable[[int], float]) -> Strengths:
        """Return the strengths (U,) after a fraction of each part, by the part's number, is forgotten in its order."""
        units = [part.stop - part.start for part in self._parts]
        return np.concatenate(
            [forget(one.order, fraction(i), units[i]) for i, one in enumerate(self._reaches)], dtype=np.float32
        )

    def _apply(self, change: Change, planned: PlannedNow | None) -> None:
        self._move(change, planned)
        self._left = self._values = None

    def _move(self, change: Change, planned: PlannedNow | None) -> None:
        (path, numbers), units, now = find(change.path), self._units(change), self._setting
        value, what = change.played, path.pattern.rpartition("/")[2]
        if what == "recall":
            now.recall(change.path)
        elif path.pattern == "/forget":
            now.master = float(change.value)
        elif path.pattern == PART:
            now.part_faders[numbers[0] - 1] = float(change.value)
        elif what == "forget":
            now.faders[numbers[0] - 1] = float(change.value)
        elif what == "order":
            now.orders[numbers[0] - 1] = str(change.value)
            self._orders[numbers[0] - 1] = self._ordered(change)
        elif what == "lock":
            now.locked[units] = bool(value)
        elif what == "freeze":
            # The plan may go on moving, but the held strength is that of this moment.
            left = self._strengths(None if planned is None else planned())
            now.held[units], now.frozen[units] = left[units], bool(value)
        elif path.pattern == HOLD and isinstance(value, bytes):
            now.hold(units, value)
        elif isinstance(value, bytes):
            now.brush[units] = np.frombuffer(value, dtype=np.uint8) / np.float32(255.0)
        else:
            now.brush[units] = float(change.value)

    def _inside(self, number: int) -> Order:
        """Return the order of a layer's units, by its number, as the order of its part has them."""
        layer, part = self._layers[number], self._of[number]
        order = self._reaches[part].order + self._parts[part].start
        inside: Order = order[(order >= layer.start) & (order < layer.stop)]
        return inside

    def _ordered(self, change: Change) -> Order:
        """Return the order that a change gives to a layer."""
        number = find(change.path)[1][0] - 1
        part = self._of[number]
        order_of = self._reaches[part].order_of
        if order_of is None or not change.value:
            return self._inside(number)
        own: Order = order_of(str(change.value), self._names[number]) + self._parts[part].start
        return own

    def check(self, change: Change) -> None:
        """Raise InputError for a change that names a missing part, layer or unit, or has a wrong number of bytes."""
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
        if path.startswith("/part/"):
            return self._part(path, numbers[0])
        if not 1 <= numbers[0] <= len(self._layers):
            raise InputError(f"{path}: there are layers 1 to {len(self._layers)}")
        layer = self._layers[numbers[0] - 1]
        if len(numbers) == 1:
            return layer
        size = layer.stop - layer.start
        if not 1 <= numbers[1] <= size:
            raise InputError(f"{path}: {self._names[numbers[0] - 1]} has units 1 to {size}")
        return slice(layer.start + numbers[1] - 1, layer.start + numbers[1])

    def _part(self, path: str, number: int) -> slice:
        if len(self._parts) == 1:
            raise InputError(f"{path}: all forgets together here: {path.replace(f'/part/{number}', '')} moves it")
        if not 1 <= number <= len(self._parts):
            raise InputError(f"{path}: there are parts 1 to {len(self._parts)}")
        return self._parts[number - 1]


def _slices(sizes: Sequence[int]) -> list[slice]:
    """Return where each of these many units lie, one after the other."""
    return [slice(start, end) for start, end in pairwise(np.cumsum([0, *sizes]).tolist())]
