"""A piece: the events of a score for its memories, each with the strengths at its onset."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from fugue_state.bending.strengths import Strengths
from fugue_state.piece.conductor import Conductor, Passing, moves
from fugue_state.piece.event import Event
from fugue_state.piece.layout import Layout
from fugue_state.piece.line import Line, Onset, merged
from fugue_state.piece.parts import Plan
from fugue_state.score.cues import CueSpan, spans


class Outline(NamedTuple):
    """An event's onset in samples, its voice and chord, and the strengths (U,) that are heard from its onset on."""

    onset: int
    voice: int
    chord: str | None
    strengths: Strengths


class Piece(Layout):
    """A score laid out for its memories: what happens when, including in a take; InputError as Layout raises it."""

    _decided: Plan | None = None  # with what adaptive parts have decided, once all was heard

    def events(self) -> Iterator[Event]:
        """Yield the events of all voices by onset, each with the strengths at its onset.

        With an adaptive forgetting, each event is listened to, and influences those that follow.
        """
        if self.score.resolution == "block":
            yield from Conductor(self).events()
            return
        plan = self._decided or self.planned()
        for onset, number, z in self.onsets():
            event = self.event(onset, number, z, self.strengths(plan, onset.time_s))
            if plan is not self._decided:
                self.hear(plan, event, onset.time_s)
            yield event
        if any(plan.governors):
            self._decided = plan  # a second pass need not listen again

    @cached_property
    def cues(self) -> tuple[CueSpan, ...]:
        """The cues, at the seconds at which they are heard; cues that a take never reached are left out."""
        found = spans(self.score.cues, self.score.clock, ())
        if self._passing is None:
            return found
        heard = []
        for span in found:
            start_s = self._passing.heard_s(span.start_s)
            end_s = None if span.end_s is None else self._passing.heard_s(span.end_s)
            if start_s is not None:
                heard.append(replace(span, start_s=start_s, end_s=end_s))
        return tuple(heard)

    @cached_property
    def _passing(self) -> Passing | None:
        """The map between a take's time and the piece's; None if the score is not a take."""
        return Passing(self) if self.score.resolution == "block" else None

    def outline(self) -> Iterator[Outline]:
        """Yield the events of all voices by onset, without their sound: a night-long piece has a million.

        An adaptive forgetting has to listen to them, once. Of parts other than the event's own, the strengths are those
        of what was heard last; in a take, those of the moment.
        """
        heard = np.ones(self.units, dtype=np.float32)
        for onset, number, chord, strengths, moment in self._outlined():
            now, forgets = heard if moment is None else moment, self.lines[number].voice.forgets
            now = now.copy()
            now[self.parts[self.part_of[number]].within] = strengths
            heard = now if forgets else heard
            yield Outline(onset, number, chord, now)

    def _outlined(self) -> Iterator[tuple[int, int, str | None, Strengths, Strengths | None]]:
        """Yield each event's onset, voice, chord, own strengths and, in a take, the strengths (U,) of that moment."""
        if self.score.resolution == "block":
            for event, moment in Conductor(self).events_in_bars():
                yield event.onset, event.voice, event.chord, event.strengths, moment
            return
        if self._decided is None and any(part.plan.adaptive for part in self.parts):
            for event in self.events():
                yield event.onset, event.voice, event.chord, event.strengths, None
            return
        plan, rate = self._decided or self.planned(), self.score.file.sample_rate_hz
        for onset, number in merged(map(_numbered, self.lines)):
            line, part = self.lines[number], self.parts[self.part_of[number]]
            intact = np.ones(part.units, dtype=np.float32)
            strengths = self.strengths(plan, onset.time_s)[part.within] if line.voice.forgets else intact
            yield round(onset.time_s * rate), number, line.turns[onset.turn].chord, strengths, None

    def moves(self) -> Iterator[tuple[float, Strengths]]:
        """Yield the strengths (U,) of what forgets, whenever they change, with the second from which they are heard."""
        if self.score.resolution == "block":
            yield from moves(self)
            return
        rate = self.score.file.sample_rate_hz
        for one in self.outline():
            if self.lines[one.voice].voice.forgets:
                yield one.onset / rate, one.strengths

    def heard_lu(self, time_s: float) -> float:
        """Return the planned level of what is heard at a time, in LU relative to the beginning."""
        return self.planned_lu(time_s if self._passing is None else self._passing.passed_s(time_s))


def _numbered(line: Line) -> Iterator[tuple[Onset, int]]:
    for onset in line.onsets():
        yield onset, line.number
