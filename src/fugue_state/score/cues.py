"""Courses and cues: how something moves in time, and what happens when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from fugue_state.config import MisplacedError, OrderName, Settings
from fugue_state.score.times import Clock, Time, told

PaceName = Literal["linear", "exponential", "sigmoid", "steps", "points", "even"]
PACE = "linear, exponential, sigmoid, steps, points, or even: as much change in every minute."
CueName = Literal["forget", "recall", "hold", "jump"]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Texts = Annotated[tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]


class Course(Settings):
    """How far something has come at a time: the shape of its way."""

    pace: PaceName = Field("linear", description=PACE)
    steepness: float = Field(4.0, ge=-20, le=20, description="Of exponential (negative: fast first) and sigmoid.")
    steps: int = Field(8, ge=1, le=10_000, description="Jumps of the pace `steps`.")
    points: tuple[tuple[Share, Share], ...] = Field(
        (), description="Of the pace `points`: pairs of time within the move and share of its way, 0 to 1."
    )

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if (self.pace == "points") != bool(self.points):
            raise ValueError('pace = "points" and points go together')
        times = [time for time, _ in self.points]
        if times != sorted(set(times)):
            raise MisplacedError(("points",), f"the times of points must rise, got {times}")
        return self


class Cue(Course):
    """What happens at a time: units are forgotten, recalled, held as they are, or all at once at a fraction."""

    do: CueName = Field(description="forget, recall, hold or jump.")
    at: Time = Field(0.0, description="When; after the cue named in `after`, how much later.")
    after: str | None = Field(None, description="Name of the cue whose end it follows.")
    name: str = Field("", description="What markers and `after` call it.")
    over: Time | None = Field(None, description="How long it takes; default: until the next cue or the last chord.")
    to: Share | None = Field(
        None, description="Fraction forgotten at its end; default: all for forget, none for recall."
    )
    order: OrderName | None = Field(None, description="Default: the forgetting's, last forgotten first recalled.")
    reverse: bool = Field(False, description="The other way round.")
    units: Texts = Field((), description='The units of the order "list", as they go.')
    scope: Texts = Field((), description="Units it is about; default: the forgetting's.")

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
        return f"{self.cue.title} at {told(self.start_s)}{end}"


def spans(cues: Sequence[Cue], clock: Clock) -> tuple[CueSpan, ...]:
    """Return cues with their times in seconds, in the order in which they come.

    A hold may fall into another cue, which then ends so much later. Raises MisplacedError for cues that wait for
    each other or for one that there is not, that overlap, or that begin past the end.
    """
    found = [CueSpan(cue, i, _start(cues, clock, i, ()), _end(cues, clock, i, ())) for i, cue in enumerate(cues)]
    found.sort(key=lambda span: span.start_s)
    running: CueSpan | None = None
    holding: CueSpan | None = None
    ends_s: float | None = None
    for last, span in zip([None, *found], found, strict=False):
        if span.start_s >= clock.duration_s:
            at = f"it begins at {told(span.start_s)}, past the end of the piece ({told(clock.duration_s)})"
            raise MisplacedError(("cues", span.index), at)
        if last is not None and span.start_s == last.start_s:
            raise _overlap(span, last)
        if holding is not None and holding.end_s is not None and span.start_s < holding.end_s:
            raise _overlap(span, holding)
        if span.cue.do != "hold":
            if running is not None and ends_s is not None and span.start_s < ends_s:
                raise _overlap(span, running)
            running, ends_s = span, span.end_s
        elif ends_s is not None and span.start_s < ends_s:
            ends_s = None if span.end_s is None else ends_s + span.end_s - span.start_s
        holding = span if span.cue.do == "hold" else None
    return tuple(found)


def _overlap(span: CueSpan, other: CueSpan) -> MisplacedError:
    return MisplacedError(("cues", span.index), f"{span.told} begins before {other.told} has ended")


def _start(cues: Sequence[Cue], clock: Clock, index: int, waiting: tuple[int, ...]) -> float:
    cue = cues[index]
    at_s = clock.seconds(cue.at)
    if cue.after is None:
        return at_s
    place = ("cues", index, "after")
    if index in waiting:
        circle = " -> ".join(cues[i].title for i in (*waiting[waiting.index(index) :], index))
        raise MisplacedError(place, f"cues wait for each other: {circle}")
    named = [i for i, other in enumerate(cues) if other.name == cue.after]
    if len(named) != 1:
        names = ", ".join(sorted({other.name for other in cues if other.name})) or "none has a name"
        raise MisplacedError(
            place, f"{'more than one' if named else 'no'} cue is called {cue.after!r} (there are: {names})"
        )
    end_s = _end(cues, clock, named[0], (*waiting, index))
    if end_s is None:
        raise MisplacedError(place, f"{cue.after!r} has no end of its own: give it `over`")
    return end_s + at_s


def _end(cues: Sequence[Cue], clock: Clock, index: int, waiting: tuple[int, ...]) -> float | None:
    cue, start_s = cues[index], _start(cues, clock, index, waiting)
    if cue.do == "jump":
        return start_s
    return None if cue.over is None else start_s + clock.seconds(cue.over)
