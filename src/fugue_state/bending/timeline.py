"""Strengths over time: the moves of a score, each taking over from the one before."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import NamedTuple, Protocol

import numpy as np

from fugue_state.bending.orders import Order
from fugue_state.bending.schedule import Shape, shape_of
from fugue_state.bending.strengths import Strengths
from fugue_state.config import OrderName
from fugue_state.score.cues import Course, Cue, CueSpan, spans
from fugue_state.score.model import Forgetting, Score, Together
from fugue_state.score.times import Clock
from fugue_state.settings import Place

GOING = 64  # paths that are cached: only one is in use at a time
FADE_POINTS = 16  # a power of two, so that the mean of ones is exactly one

Path = Callable[[float], Strengths]


Even = Callable[[Path, Place], Shape]
Listened = Callable[[float], float]


class Orders(Protocol):
    """Returns the units that are forgotten, in order, as a place in the score asks for."""

    def __call__(
        self, name: OrderName, *, reverse: bool, units: Sequence[str], scope: Sequence[str], place: Place
    ) -> Order:
        """Return the order; InputError if it is invalid."""


def along(begin: Strengths, order: Order, to: float, direction: int = 0) -> Path:
    """Return the path from strengths (U,) to the point where a fraction `to` (0..1) of an order's units is forgotten.

    Unit after unit is forgotten, or recalled if more than `to` is forgotten already. Shares of the path (0..1) are
    measured in strength lost or gained. It begins exactly at `begin`; finished units are exactly 0 or 1. With a
    `direction` it only forgets (-1) or only recalls (1): if the opposite were needed, nothing changes.
    """
    held = begin[order].astype(np.float64)
    change = len(order) * (1.0 - to) - held.sum()
    if change * direction < 0:
        return lambda _: begin.copy()
    goal = 1.0 if change > 0 else 0.0
    room = np.abs(goal - held)
    before = np.concatenate([[0.0], np.cumsum(room)[:-1]])
    sign = np.sign(change)
    through = (held + sign * room).astype(np.float32)

    def strengths(share: float) -> Strengths:
        gone = share * abs(change)
        now = begin.copy()
        if begun := int(before.searchsorted(gone)):  # all but the last of these are finished
            last = begun - 1
            now[order[:last]] = through[:last]
            now[order[last]] = held[last] + sign * min(gone - before[last], room[last])
        return now

    return strengths


class Way(NamedTuple):
    """Which units a move forgets or recalls, whatever it starts from: the arguments of `along`."""

    order: Order
    to: float
    direction: int


@dataclass(frozen=True)
class Move:
    """A path that takes `length_s` from `start_s` on, not counting its pauses (start, length).

    `way` and `course` are what `path` and `shape` were made from.
    """

    start_s: float
    length_s: float
    path: Path
    shape: Shape
    way: Way
    course: Course
    pauses: tuple[tuple[float, float], ...] = ()

    def elapsed_s(self, time_s: float) -> float:
        """Return how many seconds of the move have passed at a time, without pauses."""
        paused_s = sum(min(max(0.0, time_s - at), length) for at, length in self.pauses) if self.pauses else 0.0
        return min(self.length_s, max(0.0, time_s - self.start_s - paused_s))

    def strengths(self, time_s: float) -> Strengths:
        """Return the strengths (U,) at a time not before its start."""
        return self.path(self.shape(self.elapsed_s(time_s) / self.length_s if self.length_s > 0 else 1.0))


@dataclass(frozen=True)
class Timeline:
    """Strengths (U,) over time: moves sorted by start; before the first, all units are intact.

    `forgetting` is the move of the score's own plan, as opposed to those of cues.
    """

    units: int
    moves: tuple[Move, ...]
    fade_s: float = 0.0
    forgetting: Move | None = None
    _starts: tuple[float, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_starts", tuple(move.start_s for move in self.moves))

    def __call__(self, time_s: float) -> Strengths:
        """Return the strengths (U,) at a time in seconds; each change of a unit is spread over `fade_s`."""
        if self.fade_s == 0.0:
            return self.planned(time_s)
        times = time_s - self.fade_s * np.arange(FADE_POINTS) / FADE_POINTS
        return np.asarray(np.mean([self.planned(float(time)) for time in times], axis=0, dtype=np.float32))

    def listening_s(self, time_s: float) -> float:
        """Return how many seconds of the forgetting itself have passed at a time."""
        return 0.0 if self.forgetting is None else self.forgetting.elapsed_s(time_s)

    def planned(self, time_s: float) -> Strengths:
        """Return the strengths (U,) without the fade."""
        index = bisect_right(self._starts, time_s)
        return self.moves[index - 1].strengths(time_s) if index else np.ones(self.units, dtype=np.float32)


def compose(
    score: Score, units: int, last_s: float, orders: Orders, even: Even, listened: Listened | None = None, part: int = 0
) -> Timeline:
    """Return the timeline of a part, by its number: its forgetting and its cues, up to the last onset at `last_s`.

    Each move starts from where the one before has come to. `even` measures the shape of a path. `listened` is asked,
    when needed, how far an adaptive forgetting has come after a number of seconds.
    """
    together = score.together[part]
    base, cues = (
        together.forgetting,
        [span for span in spans(score.cues, score.clock, ()) if span.index in together.cues],
    )
    plans = sorted(_plans(score.clock, together, cues), key=lambda plan: plan.start_s)
    holds = [span for span in cues if span.cue.do == "hold"]
    moves: list[Move] = []
    begun = _Begun(units, moves)
    ways: list[Way] = []
    going = lru_cache(GOING)(lambda number: along(begun(number), *ways[number]))
    forgetting: Move | None = None
    for plan, after in zip(plans, [*plans[1:], None], strict=True):
        ends_s = last_s if after is None else after.start_s
        pauses = _pauses(holds, plan.start_s, math.inf if after is None else ends_s)
        paused_s = sum(min(length, max(0.0, ends_s - at)) for at, length in pauses)
        length_s = max(0.0, ends_s - plan.start_s - paused_s) if plan.length_s is None else plan.length_s
        ways.append(_way(base, plan, orders))
        path = partial(_go, going, len(moves))
        begun.starts_s.append(plan.start_s)
        adaptive = plan.course is base and base.adaptive is not None
        shape = _shape(plan, path, even, partial(_listened, listened, length_s) if adaptive else None)
        moves.append(Move(plan.start_s, length_s, path, shape, ways[-1], plan.course, pauses))
        forgetting = moves[-1] if plan.course is base else forgetting
    return Timeline(units, tuple(moves), base.fade_s, forgetting)


def _listened(listened: Listened | None, length_s: float, time: float) -> float:
    return 0.0 if listened is None else listened(time * length_s)


def _shape(plan: _Plan, path: Path, even: Even, adaptive: Shape | None) -> Shape:
    if adaptive is not None:
        return adaptive
    return even(path, plan.place) if plan.course.pace == "even" else shape_of(plan.course)


@dataclass(frozen=True)
class _Plan:
    """A move whose starting strengths are not known yet; without a length it lasts until the next begins."""

    start_s: float
    length_s: float | None
    course: Forgetting | Cue
    place: Place


def _plans(clock: Clock, together: Together, cues: Sequence[CueSpan]) -> Iterator[_Plan]:
    """List what moves strengths: the forgetting first, then all cues except holds."""
    plan = together.forgetting
    start_s = clock.seconds(plan.start)
    yield _Plan(start_s, None if plan.until is None else clock.seconds(plan.until) - start_s, plan, together.place)
    for span in cues:
        if span.cue.do != "hold":
            yield _Plan(
                span.start_s, None if span.end_s is None else span.end_s - span.start_s, span.cue, ("cues", span.index)
            )


def _pauses(holds: Sequence[CueSpan], start_s: float, end_s: float) -> tuple[tuple[float, float], ...]:
    """Return the holds that begin within a span, as (start, length)."""
    first, last = (bisect_left(holds, time_s, key=lambda hold: hold.start_s) for time_s in (start_s, end_s))
    inside = holds[first:last]
    return tuple((hold.start_s, (end_s if hold.end_s is None else hold.end_s) - hold.start_s) for hold in inside)


@dataclass(frozen=True)
class _Begun:
    """The strengths at the start of each move, computed in order: thousands of cues may lie between two chords."""

    units: int
    moves: Sequence[Move]
    starts_s: list[float] = field(default_factory=list)
    _found: list[Strengths] = field(default_factory=list)

    def __call__(self, number: int) -> Strengths:
        """Return the strengths (U,) that a move begins with, by the move's number."""
        while len(self._found) <= number:
            following = len(self._found)
            before = self.moves[following - 1] if following else None
            intact = np.ones(self.units, dtype=np.float32)
            self._found.append(intact if before is None else before.strengths(self.starts_s[following]))
        return self._found[number]


def _go(going: Callable[[int], Path], number: int, share: float) -> Strengths:
    """Return the strengths at a share of a move's path, by the move's number.

    The path is made only when it is used: an adaptive forgetting must have heard everything before it.
    """
    return going(number)(share)


def _way(base: Forgetting, plan: _Plan, orders: Orders) -> Way:
    """Return a plan's order, the fraction forgotten at its end, and its direction, whatever it starts from."""
    course = plan.course
    if isinstance(course, Forgetting):
        own, recall, to, direction = True, False, base.to, -1
    else:
        own, recall = course.order is None, course.do == "recall"
        to = course.to if course.to is not None else float(not recall)
        direction = {"forget": -1, "recall": 1}.get(course.do, 0)
    said = base if own else course
    scope = course.scope or base.scope
    order = orders(said.order or base.order, reverse=said.reverse, units=said.units, scope=scope, place=plan.place)
    if own and course is not base and recall != course.reverse:
        order = order[::-1]  # recall the latest forgotten first
    return Way(order, to, direction)
