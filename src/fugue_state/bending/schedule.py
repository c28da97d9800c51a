"""How far a move has come: time within it to share of its way."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from fugue_state.arrays import Wide
from fugue_state.errors import InputError
from fugue_state.score.cues import Course

# The fewest shares of a way at which its distance is measured, the most, and the largest distance between two.
EVEN_FEWEST, EVEN_MOST, EVEN_STEP = 17, 65, 1 / 32

EVEN_REST = 0.05  # of the time, for what is left of a way when the sound gets no further away

Shape = Callable[[float], float]
Distances = Callable[[list[float]], Wide]


def shape_of(course: Course) -> Shape:
    """Return the share of its way (0..1) that a course has come by a time within it (0..1).

    Raises InputError for a time outside 0..1, and for `even`, whose shape is measured: see `even_shape`.
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


def even_shape(distances: Distances) -> Shape:
    """Return the shape along which a distance changes evenly with time.

    `distances` measures how far from intact the sound is at shares (n,) of the way. They are taken closer where
    it changes fast; where it turns back it counts as standing still. What is left of the way when the sound is
    furthest away goes in the last of the time.
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
    # Rounded, so that the last digits of a measurement decide nothing.
    grown = np.round(gone(), 6)
    if grown[-1] == 0.0:
        return lambda time: time
    furthest = int(grown.argmax())
    rising = 1.0 if furthest == len(shares) - 1 else 1.0 - EVEN_REST
    # Of shares at the same distance the last counts: what is not heard takes no time.
    kept = [i for i in range(furthest) if grown[i + 1] > grown[i]]
    times = [*(rising * grown[kept] / grown[-1]), rising, 1.0]
    reached = [*(shares[i] for i in kept), shares[furthest], 1.0]
    return lambda time: float(np.interp(time, times, reached))
