"""What a performer's hand leaves of the units: faders and brushes over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fugue_state.bending.orders import Order
from fugue_state.bending.strengths import Strengths, forget
from fugue_state.errors import InputError
from fugue_state.score.model import Change


class Hand:
    """Strengths (U,) as a performer set them: the timed changes of a take, folded.

    A master fader forgets along the order, a layer's along that order within the layer, a unit's strength is its
    own; what each leaves is multiplied. Raises InputError for a layer or unit that there is not.
    """

    def __init__(self, changes: Sequence[tuple[float, Change]], layers: Mapping[str, int], order: Order) -> None:
        self._changes = sorted(changes, key=lambda change: change[0])
        self._sizes = list(layers.values())
        self._names = list(layers)
        self._starts = np.cumsum([0, *self._sizes])
        self._order = order
        for _, change in self._changes:
            self._target(change)
        self._reset()

    def _reset(self) -> None:
        self._done = 0
        self._master = 0.0
        self._faders = [0.0] * len(self._sizes)
        self._brush = np.ones(int(self._starts[-1]), dtype=np.float32)

    def __call__(self, time_s: float) -> Strengths:
        """Return what the hand leaves at a time in seconds."""
        if self._done and self._changes[self._done - 1][0] > time_s:
            self._reset()
        while self._done < len(self._changes) and self._changes[self._done][0] <= time_s:
            self._apply(self._changes[self._done][1])
            self._done += 1
        left = self._brush * forget(self._order, self._master, len(self._brush))
        for i, value in enumerate(self._faders):
            if value:
                inside = self._order[(self._order >= self._starts[i]) & (self._order < self._starts[i + 1])]
                left = left * forget(inside, value, len(left))
        return left

    def _apply(self, change: Change) -> None:
        parts = change.path.split("/")[1:]
        target = self._target(change)
        if parts[0] == "recall":
            self._master, self._faders = 0.0, [0.0] * len(self._faders)
            self._brush = np.ones_like(self._brush)
        elif parts[0] == "forget":
            self._master = change.value
        elif parts[0] == "layer":
            self._faders[target] = change.value
        else:
            self._brush[target] = change.value

    def _target(self, change: Change) -> int:
        """Return the index of the layer, or of the unit, that a change is about."""
        numbers = [int(part) for part in change.path.split("/") if part.isdecimal()]
        if not numbers:
            return 0
        layer = numbers[0] - 1
        if not 0 <= layer < len(self._sizes):
            raise InputError(f"{change.path}: there are layers 1 to {len(self._sizes)}")
        if len(numbers) == 1:
            return layer
        if not 1 <= numbers[1] <= self._sizes[layer]:
            raise InputError(f"{change.path}: {self._names[layer]} has units 1 to {self._sizes[layer]}")
        return int(self._starts[layer]) + numbers[1] - 1
