"""Tempo and metre: at which second a beat or a bar of a piece begins."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from pydantic import Field

from fugue_state.settings import MisplacedError, Settings

SLOWEST_BPM, FASTEST_BPM = 0.05, 600.0
MOST_BEATS = 64  # in a bar
LAST_BAR = 1_000_000


class TempoChange(Settings):
    """A change of tempo."""

    bar: float = Field(ge=1, le=LAST_BAR, description="Where the tempo is reached; the first bar is 1.")
    bpm: float = Field(ge=SLOWEST_BPM, le=FASTEST_BPM, description="Beats in a minute from there on.")
    ramp: bool = Field(
        False, description="Reach it gradually, by as much with every beat, from the change before; default: at once."
    )


class MetreChange(Settings):
    """A change of metre."""

    bar: int = Field(ge=1, le=LAST_BAR, description="The first bar that has so many beats; the first of all is 1.")
    beats: int = Field(ge=1, le=MOST_BEATS, description="Beats in a bar from there on.")


def check_rises(key: str, bars: Sequence[float]) -> None:
    """Raise MisplacedError unless the bars of all changes, a list of the score, rise."""
    for i, (before, bar) in enumerate(pairwise(bars), 1):
        if bar <= before:
            raise MisplacedError(
                (key, i, "bar"), f"bars must rise from change to change: {bar:g} comes after {before:g}"
            )


class Stretch(NamedTuple):
    """Beats of one metre at a steady or steadily changing tempo; it begins at a second, beat and bar, each from 0.

    A beat at its beginning lasts `beat_s`; with every beat the tempo rises by a share `rise` of the tempo there.
    """

    second: float
    beat: float
    bar: float
    beat_s: float
    rise: float
    beats_per_bar: int

    def beats_s(self, beats: float) -> float:
        """Return how many seconds its first beats last."""
        return math.log1p(self.rise * beats) / self.rise * self.beat_s if self.rise else beats * self.beat_s

    def beats_in(self, seconds: float) -> float:
        """Return how many beats pass in its first seconds."""
        passed = seconds / self.beat_s
        return math.expm1(self.rise * passed) / self.rise if self.rise else passed

    def bars_s(self, bars: float) -> float:
        """Return how many seconds its first bars last."""
        return self.beats_s(bars * self.beats_per_bar) if self.rise else bars * (self.beat_s * self.beats_per_bar)


@dataclass(frozen=True)
class Tempo:
    """Maps between seconds, beats and bars of a piece, all counted from 0; the last stretch never ends."""

    stretches: tuple[Stretch, ...]
    _seconds: tuple[float, ...] = field(init=False, repr=False, compare=False)
    _beats: tuple[float, ...] = field(init=False, repr=False, compare=False)
    _bars: tuple[float, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, number in (("_seconds", 0), ("_beats", 1), ("_bars", 2)):
            object.__setattr__(self, name, tuple(stretch[number] for stretch in self.stretches))

    def seconds(self, beats: float) -> float:
        """Return the second at which so many beats have passed."""
        one = self.stretches[max(0, bisect_right(self._beats, beats) - 1)]
        return one.second + one.beats_s(beats - one.beat)

    def beats(self, seconds: float) -> float:
        """Return how many beats have passed at a second."""
        one = self.stretches[self._number(seconds)]
        return one.beat + one.beats_in(seconds - one.second)

    def bar_s(self, bars: float) -> float:
        """Return the second at which so many bars have passed."""
        one = self.stretches[max(0, bisect_right(self._bars, bars) - 1)]
        return one.second + one.bars_s(bars - one.bar)

    def bars(self, seconds: float) -> float:
        """Return how many bars have passed at a second."""
        one = self.stretches[self._number(seconds)]
        return one.bar + one.beats_in(seconds - one.second) / one.beats_per_bar

    def lasting_s(self, bars: float, start_s: float) -> float:
        """Return how many seconds so many bars last that begin at a second."""
        number, ends = self._number(start_s), self.bars(start_s) + bars
        one, within = self.stretches[number], all(ends <= bar for bar in self._bars[number + 1 : number + 2])
        return one.bars_s(bars) if within and not one.rise else self.bar_s(ends) - start_s

    def since(self, second: float) -> Tempo:
        """Return the same map with everything counted from a second on."""
        number = self._number(second)
        one, later = self.stretches[number], self.stretches[number + 1 :]
        passed = one.beats_in(second - one.second)
        grown = 1.0 + one.rise * passed
        beat, bar = one.beat + passed, one.bar + passed / one.beats_per_bar
        first = Stretch(0.0, 0.0, 0.0, one.beat_s / grown, one.rise / grown, one.beats_per_bar)
        moved = (two._replace(second=two.second - second, beat=two.beat - beat, bar=two.bar - bar) for two in later)
        return Tempo((first, *moved))

    @property
    def shortest_beat_s(self) -> float:
        """Seconds of a beat where the tempo is fastest."""
        return min(one.beat_s for one in self.stretches)

    def _number(self, seconds: float) -> int:
        """Return the number of the stretch in which a second lies."""
        return max(0, bisect_right(self._seconds, seconds) - 1)


def tempo_of(bpm: float, beats_per_bar: int, tempos: Sequence[TempoChange], metres: Sequence[MetreChange]) -> Tempo:
    """Return the map of a piece that begins at a tempo, in a metre; the bars of the changes rise."""
    edges = sorted({0.0, *(one.bar - 1.0 for one in tempos), *(one.bar - 1.0 for one in metres)})
    metre_bars, metre_beats = [0.0, *(one.bar - 1.0 for one in metres)], [beats_per_bar, *(one.beats for one in metres)]
    beats = {0.0: 0.0}
    for edge, after in pairwise(edges):
        beats[after] = beats[edge] + (after - edge) * metre_beats[bisect_right(metre_bars, edge) - 1]
    marks = [TempoChange.model_construct(bar=1.0, bpm=bpm, ramp=False), *tempos]
    mark_bars = [mark.bar - 1.0 for mark in marks]
    found: list[Stretch] = []
    for edge in edges:
        number = bisect_right(mark_bars, edge) - 1
        mark, goal = marks[number], marks[number + 1] if number + 1 < len(marks) else None
        now, gained = mark.bpm, 0.0
        if goal is not None and goal.ramp:
            begins, ends = beats[mark.bar - 1.0], beats[goal.bar - 1.0]
            gained = (goal.bpm - mark.bpm) / (ends - begins)
            now += gained * (beats[edge] - begins)
        second = found[-1].second + found[-1].beats_s(beats[edge] - found[-1].beat) if found else 0.0
        per_bar = metre_beats[bisect_right(metre_bars, edge) - 1]
        found.append(Stretch(second, beats[edge], edge, 60.0 / now, gained / now, per_bar))
    return Tempo(tuple(found))
