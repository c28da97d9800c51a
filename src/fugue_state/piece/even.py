"""The even pace: the same amount of change in every minute, measured on the memory itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fugue_state.arrays import Wide
from fugue_state.bending.schedule import STRAIGHT, Points, even_shape
from fugue_state.bending.timeline import Path
from fugue_state.config import EVENT_BATCH
from fugue_state.measure.curve import distances
from fugue_state.memory.bends import Bend
from fugue_state.memory.memory import Memory
from fugue_state.piece.line import Line
from fugue_state.settings import Place


class EvenPace:
    """Measures the distance from intact along a path, on the chords of the first round; once per place in the score."""

    def __init__(self, memory: Memory, lines: Sequence[Line], bend: Bend | None) -> None:
        self._memory, self._lines, self._bend = memory, lines, bend
        self._shapes: dict[Place, Points] = {}

    def __call__(self, path: Path, place: Place) -> Points:
        """Return the even shape for the path at a place of the score: how far along it is at each share of its time."""
        if place not in self._shapes:
            turns = [turn for line in self._lines if line.voice.forgets for turn in line.turns if not turn.step.rest]
            if not turns or np.array_equal(path(0.0), path(1.0)):  # nothing forgets, or the path goes nowhere
                return STRAIGHT
            z = np.stack([turn.latents[0] for turn in turns[:EVENT_BATCH]])
            labels = [turn.label for turn in turns[:EVENT_BATCH] if turn.label is not None]

            def far(shares: list[float]) -> Wide:
                apart = distances(self._memory, z, labels or None, path, shares, bend=self._bend)
                return np.asarray(apart.mean(axis=1))

            self._shapes[place] = even_shape(far)
        return self._shapes[place]
