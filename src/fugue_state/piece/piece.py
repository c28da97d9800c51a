"""A piece: the events of a score for a memory, each with the strengths at its onset."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from fugue_state.bending.adaptive import Governor
from fugue_state.bending.strengths import Strengths
from fugue_state.piece.conductor import Conductor, Passing, moves
from fugue_state.piece.event import Event
from fugue_state.piece.layout import Layout
from fugue_state.piece.line import Line, Onset, merged
from fugue_state.score.cues import CueSpan, spans


class Outline(NamedTuple):
    """An event's onset in samples, its voice and chord, and the strengths at its onset (U,)."""

    onset: int
    voice: int
    chord: str | None
    strengths: Strengths


class Piece(Layout):
    """A score laid out for a memory: what happens when, including in a take.

    Raises MisplacedError for chords, layers and units that the memory does not have, InputError for a score made
    for another memory.
    """

    _decided: Governor | None = None  # what an adaptive forgetting has decided, once all of it was heard

    def events(self) -> Iterator[Event]:
        """Yield the events of all voices by onset, each with the strengths at its onset.

        With an adaptive forgetting, each event is listened to, and influences those that follow.
        """
        if self.score.resolution == "block":
            yield from Conductor(self).events()
            return
        adaptive = self.score.forgetting.adaptive
        governor = self._decided or (Governor(adaptive) if adaptive else None)
        timeline = self.timeline(governor)
        listening = self.listening(governor, timeline) if governor is not self._decided else None
        for onset, number, z in self.onsets():
            event = self.event(onset, number, z, self.strengths(timeline, onset.time_s))
            if listening is not None:
                listening(event, onset.time_s)
            yield event
        self._decided = governor  # a second pass need not listen again

    @cached_property
    def cues(self) -> tuple[CueSpan, ...]:
        """The cues, at the seconds at which they are heard; cues that a take never reached are left out."""
        found = spans(self.score.cues, self.score.clock)
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

        An adaptive forgetting has to listen to them, once.
        """
        if self.score.resolution == "block" or (self.score.forgetting.adaptive and self._decided is None):
            for event in self.events():
                yield Outline(event.onset, event.voice, event.chord, event.strengths)
            return
        timeline, rate = self.timeline(self._decided), self.score.file.sample_rate_hz
        intact = np.ones(self.units, dtype=np.float32)
        for onset, number in merged(map(_numbered, self.lines)):
            line = self.lines[number]
            strengths = self.strengths(timeline, onset.time_s) if line.voice.forgets else intact
            yield Outline(round(onset.time_s * rate), number, line.turns[onset.turn].chord, strengths)

    def moves(self) -> Iterator[tuple[float, Strengths]]:
        """Yield the strengths (U,) of voices that forget, each with the second from which they are heard."""
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
