"""What is remembered when: the moves of a score, one taking over from the other."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Protocol

import numpy as np

from fugue_state.bending.orders import Order
from fugue_state.bending.schedule import Shape, shape_of
from fugue_state.bending.strengths import Strengths
from fugue_state.config import OrderName
from fugue_state.score.cues import Cue, CueSpan, spans
from fugue_state.score.model import Forgetting, Score
from fugue_state.settings import Place

FORGETTING: Place = ("forgetting",)
GOING = 64  # ways that are kept once they are found: one after another is gone
FADE_POINTS = 16  # a power of two: the mean of ones is one

Path = Callable[[float], Strengths]


Even = Callable[[Path, Place], Shape]
Listened = Callable[[float], float]


class Orders(Protocol):
    """Give the units that go, in order, for what a score says at a place."""

    def __call__(
        self, name: OrderName, *, reverse: bool, units: Sequence[str], scope: Sequence[str], place: Place
    ) -> Order:
        """Return the order; InputError where it cannot be."""


def along(begin: Strengths, order: Order, to: float, direction: int = 0) -> Path:
    """Return the way from strengths (U,) until a fraction `to` (0..1) of an order's units is forgotten.

    Unit after unit is forgotten, or recalled if more than that is: the share of the way (0..1) counts what
    units lose or gain. It begins exactly at `begin`; units that are through are exactly 0 or 1. With a
    `direction` it only forgets (-1) or only recalls (1): where the other would be needed, nothing changes.
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
        if begun := int(before.searchsorted(gone)):  # all but the last of them are through
            last = begun - 1
            now[order[:last]] = through[:last]
            now[order[last]] = held[last] + sign * min(gone - before[last], room[last])
        return now

    return strengths


@dataclass(frozen=True)
class Move:
    """A way taken from `start_s` on for `length_s`, not counting its pauses (start, length)."""

    start_s: float
    length_s: float
    path: Path
    shape: Shape
    pauses: tuple[tuple[float, float], ...] = ()

    def elapsed_s(self, time_s: float) -> float:
        """Return the seconds, without pauses, that it has had at a time."""
        paused_s = sum(min(max(0.0, time_s - at), length) for at, length in self.pauses) if self.pauses else 0.0
        return min(self.length_s, max(0.0, time_s - self.start_s - paused_s))

    def strengths(self, time_s: float) -> Strengths:
        """Return what is remembered at a time not before its start."""
        return self.path(self.shape(self.elapsed_s(time_s) / self.length_s if self.length_s > 0 else 1.0))


@dataclass(frozen=True)
class Timeline:
    """Strengths (U,) over time: moves in the order of their starts; before the first all is intact.

    `forgetting` is the one that no cue began.
    """

    units: int
    moves: tuple[Move, ...]
    fade_s: float = 0.0
    forgetting: Move | None = None
    _starts: tuple[float, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_starts", tuple(move.start_s for move in self.moves))

    def __call__(self, time_s: float) -> Strengths:
        """Return what is remembered at a time, in seconds; each unit's way takes `fade_s`."""
        if self.fade_s == 0.0:
            return self.planned(time_s)
        times = time_s - self.fade_s * np.arange(FADE_POINTS) / FADE_POINTS
        return np.asarray(np.mean([self.planned(float(time)) for time in times], axis=0, dtype=np.float32))

    def listening_s(self, time_s: float) -> float:
        """Return the seconds that the forgetting itself has had at a time."""
        return 0.0 if self.forgetting is None else self.forgetting.elapsed_s(time_s)

    def planned(self, time_s: float) -> Strengths:
        """Return strengths as if units changed at once."""
        index = bisect_right(self._starts, time_s)
        return self.moves[index - 1].strengths(time_s) if index else np.ones(self.units, dtype=np.float32)


def compose(
    score: Score, units: int, last_s: float, orders: Orders, even: Even, listened: Listened | None = None
) -> Timeline:
    """Return the timeline of a score: what its forgetting and its cues do until the last onset at `last_s`.

    Each goes on from where the one before it is when it begins. `even` measures the shape of a path, and what an
    adaptive forgetting has come to after so many seconds is `listened` to when it is asked for.
    """
    plans = sorted(_plans(score), key=lambda plan: plan.start_s)
    holds = [span for span in spans(score.cues, score.clock) if span.cue.do == "hold"]
    moves: list[Move] = []
    begun = _Begun(units, moves)
    ways: list[tuple[Order, float, int]] = []
    going = lru_cache(GOING)(lambda number: along(begun(number), *ways[number]))
    forgetting: Move | None = None
    for plan, after in zip(plans, [*plans[1:], None], strict=True):
        ends_s = last_s if after is None else after.start_s
        pauses = _pauses(holds, plan.start_s, math.inf if after is None else ends_s)
        paused_s = sum(min(length, max(0.0, ends_s - at)) for at, length in pauses)
        length_s = max(0.0, ends_s - plan.start_s - paused_s) if plan.length_s is None else plan.length_s
        ways.append(_way(score, plan, orders))
        path = partial(_go, going, len(moves))
        begun.starts_s.append(plan.start_s)
        adaptive = plan.place == FORGETTING and score.forgetting.adaptive is not None
        shape = _shape(plan, path, even, partial(_listened, listened, length_s) if adaptive else None)
        moves.append(Move(plan.start_s, length_s, path, shape, pauses))
        forgetting = moves[-1] if plan.place == FORGETTING else forgetting
    return Timeline(units, tuple(moves), score.forgetting.fade_s, forgetting)


def _listened(listened: Listened | None, length_s: float, time: float) -> float:
    return 0.0 if listened is None else listened(time * length_s)


def _shape(plan: _Plan, path: Path, even: Even, adaptive: Shape | None) -> Shape:
    if adaptive is not None:
        return adaptive
    return even(path, plan.place) if plan.course.pace == "even" else shape_of(plan.course)


@dataclass(frozen=True)
class _Plan:
    """A move before it is known where it begins; without a length it lasts as long as there is time."""

    start_s: float
    length_s: float | None
    course: Forgetting | Cue
    place: Place


def _plans(score: Score) -> Iterator[_Plan]:
    """List what moves strengths: the forgetting first, then the cues but for holds."""
    clock, plan = score.clock, score.forgetting
    start_s = clock.seconds(plan.start)
    yield _Plan(start_s, None if plan.until is None else clock.seconds(plan.until) - start_s, plan, FORGETTING)
    for span in spans(score.cues, clock):
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
    """What is remembered when each move begins, found one after the other: thousands of cues may lie between chords."""

    units: int
    moves: Sequence[Move]
    starts_s: list[float] = field(default_factory=list)
    _found: list[Strengths] = field(default_factory=list)

    def __call__(self, number: int) -> Strengths:
        """Return the strengths (U,) that a move begins with, by its number."""
        while len(self._found) <= number:
            following = len(self._found)
            before = self.moves[following - 1] if following else None
            intact = np.ones(self.units, dtype=np.float32)
            self._found.append(intact if before is None else before.strengths(self.starts_s[following]))
        return self._found[number]


def _go(going: Callable[[int], Path], number: int, share: float) -> Strengths:
    """Return how far a share of the way of a move leads, by its number.

    The way is found when it is gone: an adaptive forgetting has to have been heard until then.
    """
    return going(number)(share)


def _way(score: Score, plan: _Plan, orders: Orders) -> tuple[Order, float, int]:
    """Return the way of a plan, whatever it begins with: its order, the fraction at its end, its direction."""
    base, course = score.forgetting, plan.course
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
        order = order[::-1]  # what was forgotten last is recalled first
    return order, to, direction
