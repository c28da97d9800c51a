"""Schedules: from the time within a move to how far along it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fugue_state.arrays import Wide
from fugue_state.errors import InputError
from fugue_state.score.cues import Course

# The fewest and the most shares at which distances are measured, and the largest step wanted between two of them.
EVEN_FEWEST, EVEN_MOST, EVEN_STEP = 17, 65, 1 / 32

EVEN_REST = 0.05  # share of the time for the rest of the path, once the sound moves no further away

Shape = Callable[[float], float]
Distances = Callable[[list[float]], Wide]


@dataclass(frozen=True)
class Points:
    """A shape made of straight lines through points: times, and the shares done by then, both from 0 to 1."""

    times: Sequence[float]
    shares: Sequence[float]

    def __call__(self, time: float) -> float:
        """Return the share done at a time."""
        return float(np.interp(time, self.times, self.shares))


STRAIGHT = Points((0.0, 1.0), (0.0, 1.0))


def shape_of(course: Course) -> Shape:
    """Return a course's shape: a function from time within it (0..1) to the share of its path done (0..1).

    The function raises InputError for a time outside 0..1, as `shape_of` does for `even`: see `even_shape`.
    """
    if course.pace == "even":
        raise InputError("the pace `even` has no shape of its own: it is measured on a memory")

    def shape(time: float) -> float:
        if not 0.0 <= time <= 1.0:
            raise InputError(f"time within a move must be within 0..1, got {time}")
        return min(1.0, max(0.0, _share(course, time)))

    return shape


def _share(course: Course, time: float) -> float:
    steepness = course.steepness
    if course.pace == "steps":
        return min(math.floor(time * (course.steps + 1)), course.steps) / course.steps
    if course.pace == "points":
        times, shares = zip((0.0, 0.0), *course.points, (1.0, 1.0), strict=True)
        return float(np.interp(time, times, shares))
    if course.pace == "exponential" and steepness:
        return math.expm1(steepness * time) / math.expm1(steepness)
    if course.pace == "sigmoid" and steepness:
        ends = math.tanh(steepness / 2.0)
        return 0.5 + 0.5 * math.tanh(steepness * (time - 0.5)) / ends
    return time


def even_shape(distances: Distances) -> Points:
    """Return the shape along which a distance grows evenly with time.

    `distances` measures how far from intact the sound is at shares (n,) of the path. Shares are taken closer together
    where the distance changes fast; where it shrinks, it counts as constant. If the distance peaks before the path
    ends, the rest of the path takes the last few percent of the time.
    """
    shares = [float(share) for share in np.linspace(0.0, 1.0, EVEN_FEWEST)]
    measured = dict(zip(shares, distances(shares).tolist(), strict=True))

    def gone() -> Wide:
        values = np.array([measured[share] for share in sorted(measured)])
        return np.maximum.accumulate(np.abs(values - values[0]))

    while len(measured) < EVEN_MOST:
        shares, grown = sorted(measured), gone()
        steep = np.flatnonzero(np.diff(grown) > EVEN_STEP * max(grown[-1], 1e-9))
        between = [(shares[i] + shares[i + 1]) / 2.0 for i in steep if shares[i + 1] - shares[i] > 1e-4]
        if not between:
            break
        measured |= dict(zip(between, distances(between).tolist(), strict=True))
    shares = sorted(measured)
    # Rounded, so that rounding errors of a measurement do not matter.
    grown = np.round(gone(), 6)
    if grown[-1] == 0.0:
        return STRAIGHT
    furthest = int(grown.argmax())
    rising = 1.0 if furthest == len(shares) - 1 else 1.0 - EVEN_REST
    # Of shares at the same distance only the last is kept: inaudible stretches take no time.
    kept = [i for i in range(furthest) if grown[i + 1] > grown[i]]
    times = [*(rising * grown[kept] / grown[-1]).tolist(), rising, 1.0]
    reached = [*(shares[i] for i in kept), shares[furthest], 1.0]
    return Points(times, reached)
