"""Courses and cues: how something moves in time, and what happens when."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema, core_schema

from fugue_state.config import OrderName
from fugue_state.errors import shown
from fugue_state.limits import SCORE_NAME, SCORE_POINTS, SCORE_UNITS, Limit
from fugue_state.score.times import Clock, Time, told
from fugue_state.settings import MisplacedError, Settings


@dataclass(frozen=True)
class AtMost:
    """Refuses text or lists longer than a limit, before anything in them is looked at; for the type of a setting."""

    limit: Limit

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        found = handler(schema)
        return found | {"maxItems": int(self.limit.most)} if found.get("type") == "array" else found

    def _checked(self, value: Any) -> Any:
        if isinstance(value, str | list | tuple | dict) and len(value) > self.limit.most:
            raise ValueError(self.limit.passed(len(value)))
        return value


PaceName = Literal["linear", "exponential", "sigmoid", "steps", "points", "even"]
PACE = "How fast: linear, exponential, sigmoid, steps, points, or even (the same amount of change every minute)."
CueName = Literal["forget", "recall", "hold", "jump"]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
ShortText = Annotated[str, AtMost(SCORE_NAME)]
Texts = Annotated[
    tuple[ShortText, ...],
    AtMost(SCORE_UNITS),
    BeforeValidator(lambda value: (value,) if isinstance(value, str) else value),
]
MOST_TOLD = 5  # names in a message


class Course(Settings):
    """How a move progresses over time."""

    pace: PaceName = Field("linear", description=PACE)
    steepness: float = Field(
        4.0, ge=-20, le=20, description="Steepness of the paces exponential (negative: fast first) and sigmoid."
    )
    steps: int = Field(8, ge=1, le=10_000, description="Number of jumps of the pace `steps`.")
    points: Annotated[tuple[tuple[Share, Share], ...], AtMost(SCORE_POINTS)] = Field(
        (), description="For the pace `points`: pairs of time and progress within the move, both 0 to 1."
    )

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if (self.pace == "points") != bool(self.points):
            raise ValueError('pace = "points" and points go together')
        times = [time for time, _ in self.points]
        if times != sorted(set(times)):
            raise MisplacedError(("points",), f"the times of points must rise, got {shown(times)}")
        return self


class Cue(Course):
    """A move at a set time: forget units, recall them, hold them as they are, or jump to a fraction at once."""

    do: CueName = Field(description="forget, recall, hold or jump.")
    at: Time = Field(0.0, description="When it starts; with `after`, how long after the end of that cue.")
    after: ShortText | None = Field(None, description="Name of a cue: start when that cue ends.")
    name: ShortText = Field("", description="Name for markers and `after`.")
    over: Time | None = Field(None, description="How long it takes; default: until the next cue or the last chord.")
    to: Share | None = Field(None, description="Fraction forgotten at its end; default: 1 for forget, 0 for recall.")
    order: OrderName | None = Field(
        None, description="Order of the units; default: the forgetting's, and a recall begins with the last forgotten."
    )
    reverse: bool = Field(False, description="Reverse the order.")
    units: Texts = Field((), description='The units of the order "list", first to go first.')
    scope: Texts = Field((), description="Units it acts on; default: the forgetting's scope.")
    voices: Texts = Field((), description="Voices it reaches, by name; empty: all.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.order == "list") != bool(self.units):
            raise ValueError('order = "list" and units go together')
        if self.do == "jump" and (self.to is None or self.over is not None):
            raise ValueError("a jump needs `to` and takes no time: no `over`")
        if self.do == "hold" and (self.to is not None or self.order is not None):
            raise ValueError("a hold keeps what is: no `to` and no `order`")
        return self

    @property
    def title(self) -> str:
        """What it is called: its name, or what it does."""
        return self.name or self.do


@dataclass(frozen=True)
class CueSpan:
    """A cue with its times in seconds; `end_s` is None where it ends by what comes next."""

    cue: Cue
    index: int
    start_s: float
    end_s: float | None

    @property
    def told(self) -> str:
        """Name and times, for a message."""
        end = "" if self.end_s is None else f" to {told(self.end_s)}"
        return f"{shown(self.cue.title)[1:-1]} at {told(self.start_s)}{end}"


def spans(cues: Sequence[Cue], clock: Clock, together: Sequence[Collection[int]] | None = None) -> tuple[CueSpan, ...]:
    """Return cues with their times in seconds, in the order in which they come.

    A hold may interrupt another cue, which then ends later by the length of the hold; one that takes no time is a place
    with a name, and may lie within any cue. Only cues that reach the same voices may not overlap: `together` lists, by
    number, those that reach each; by default all do. Raises MisplacedError for cues that wait for each other or for an
    unknown cue, that overlap, or that begin past the end.
    """
    found = [CueSpan(cue, i, *times) for i, (cue, times) in enumerate(zip(cues, _times(cues, clock), strict=True))]
    found.sort(key=lambda span: span.start_s)
    for reaching in [range(len(cues))] if together is None else together:
        _check_apart([span for span in found if span.index in reaching], clock)
    return tuple(found)


def _check_apart(found: Sequence[CueSpan], clock: Clock) -> None:
    """Refuse cues, in the order in which they come, that overlap or begin past the end."""
    running: CueSpan | None = None
    holding: CueSpan | None = None
    ends_s: float | None = None
    for last, span in zip([None, *found], found, strict=False):
        if span.start_s >= clock.duration_s:
            at = f"it begins at {told(span.start_s)}, past the end of the piece ({told(clock.duration_s)})"
            raise MisplacedError(("cues", span.index), at)
        if last is not None and span.start_s == last.start_s:
            raise _overlap(span, last)
        if span.cue.do == "hold" and span.end_s == span.start_s:
            continue
        if holding is not None and holding.end_s is not None and span.start_s < holding.end_s:
            raise _overlap(span, holding)
        if span.cue.do != "hold":
            if running is not None and ends_s is not None and span.start_s < ends_s:
                raise _overlap(span, running)
            running, ends_s = span, span.end_s
        elif ends_s is not None and span.start_s < ends_s:
            ends_s = None if span.end_s is None else ends_s + span.end_s - span.start_s
        holding = span if span.cue.do == "hold" else None


def _overlap(span: CueSpan, other: CueSpan) -> MisplacedError:
    return MisplacedError(("cues", span.index), f"{span.told} begins before {other.told} has ended")


Times = tuple[float, float | None]


def _times(cues: Sequence[Cue], clock: Clock) -> list[Times]:
    """Return when each cue starts and ends, in one pass over all, however long the chains of `after` are."""
    named: dict[str, list[int]] = {}
    for i, cue in enumerate(cues):
        named.setdefault(cue.name, []).append(i)
    found: dict[int, Times] = {}
    for i in range(len(cues)):
        for waiting in reversed(list(_chain(cues, named, i, found))):
            found[waiting] = _timed(cues, clock, named, waiting, found)
    return [found[i] for i in range(len(cues))]


def _chain(cues: Sequence[Cue], named: dict[str, list[int]], index: int, found: dict[int, Times]) -> Iterator[int]:
    """Yield a cue, the one it waits for, the one that waits for, as far as their times are not known."""
    chain: dict[int, None] = {}
    while index not in found:
        if index in chain:
            place = list(chain).index(index)
            circle = [cues[i].title for i in (*list(chain)[place:], index)]
            middle = [f"({len(circle) - MOST_TOLD} more)"] if len(circle) > MOST_TOLD else []
            told_of = [*circle[: MOST_TOLD - 1], *middle, circle[-1]] if middle else circle
            names = " -> ".join(shown(title)[1:-1] for title in told_of)
            raise MisplacedError(("cues", index, "after"), f"cues wait for each other: {names}")
        chain[index] = None
        yield index
        if cues[index].after is None:
            return
        index = _followed(cues, named, index)


def _followed(cues: Sequence[Cue], named: dict[str, list[int]], index: int) -> int:
    """Return the number of the cue that one follows."""
    after = cues[index].after or ""
    candidates = named.get(after, []) if after else []
    if len(candidates) == 1:
        return candidates[0]
    many = "more than one" if candidates else "no"
    names = sorted(name for name in named if name)
    more = f", and {len(names) - MOST_TOLD} more" if len(names) > MOST_TOLD else ""
    there = ", ".join(shown(name)[1:-1] for name in names[:MOST_TOLD]) + more if names else "none has a name"
    raise MisplacedError(("cues", index, "after"), f"{many} cue is called {shown(after)} (there are: {there})")


def _timed(
    cues: Sequence[Cue], clock: Clock, named: dict[str, list[int]], index: int, found: dict[int, Times]
) -> Times:
    """Return when a cue starts and ends; what it follows is found already."""
    cue = cues[index]
    if cue.after is None:
        start_s = clock.seconds(cue.at)
    else:
        ends_s = found[_followed(cues, named, index)][1]
        if ends_s is None:
            raise MisplacedError(("cues", index, "after"), f"{shown(cue.after)} has no end of its own: give it `over`")
        start_s = ends_s + clock.lasting_s(cue.at, ends_s)
    if cue.do == "jump":
        return start_s, start_s
    return start_s, None if cue.over is None else start_s + clock.lasting_s(cue.over, start_s)
