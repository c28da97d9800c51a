"""The state of every unit of a piece over time: its strength and its activation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from fugue_state.arrays import Array
from fugue_state.audio.compiled import in_threads
from fugue_state.audio.mix import envelope
from fugue_state.bending.strengths import Strengths
from fugue_state.config import ACTIVATION_STEPS, EVENT_BATCH
from fugue_state.piece.event import Event, observed
from fugue_state.piece.parts import Part
from fugue_state.piece.piece import Piece
from fugue_state.piece.seen import Seen, newest, reached, seen


@dataclass(frozen=True, eq=False)
class _Sounding:
    """An event from start to end, with its activations under its envelope (U, steps)."""

    event: Event
    start_s: float
    length_s: float
    activations: Array

    def at(self, time_s: float) -> Array:
        """Return its activations (U,) at a time."""
        place = (time_s - self.start_s) / self.length_s * ACTIVATION_STEPS - 0.5
        left = int(np.clip(np.floor(place), 0, ACTIVATION_STEPS - 1))
        right = min(left + 1, ACTIVATION_STEPS - 1)
        share = np.float32(np.clip(place - left, 0.0, 1.0))
        return (1 - share) * self.activations[:, left] + share * self.activations[:, right]


class Watch:
    """Follows a piece through time without making its sound, so an event costs only milliseconds."""

    def __init__(self, piece: Piece) -> None:
        self._piece = piece
        self._coming = self._observed(piece.events())
        self._next = next(self._coming, None)
        self._sounding: list[_Sounding] = []
        self._strengths: Strengths = np.ones(piece.units, dtype=np.float32)
        # In a take strengths move at any time, otherwise with the events.
        self._moves = piece.moves() if piece.score.resolution == "block" else iter(())
        self._move = next(self._moves, None)

    def at(self, time_s: float) -> Seen:
        """Return what is seen at a time; times must be asked for in order."""
        while self._next is not None and self._next.start_s <= time_s:
            self._sounding.append(self._next)
            if reached(self._piece, self._next.event):
                self._strengths = self._strengths.copy()
                self._strengths[self._piece.part(self._next.event).within] = self._next.event.strengths
            self._next = next(self._coming, None)
        while self._move is not None and self._move[0] <= time_s:
            self._strengths = self._move[1]
            self._move = next(self._moves, None)
        self._sounding = [one for one in self._sounding if time_s < one.start_s + one.length_s]
        sounding = [(one.event, one.at(time_s)) for one in self._sounding]
        return seen(self._piece, sounding, self._strengths)

    def chord(self, part: Part) -> str | None:
        """Return the chord of a part that sounds at the time that was asked for last; None in silence."""
        events = [one.event for one in self._sounding if self._piece.part(one.event) is part]
        return events[newest(self._piece, events)].chord if events else None

    def _observed(self, events: Iterator[Event]) -> Iterator[_Sounding]:
        piece, rate = self._piece, self._piece.score.file.sample_rate_hz
        while batch := tuple(islice(events, EVENT_BATCH)):
            made = in_threads(lambda event: observed(piece.part(event).memory, event), batch)
            for event, (mel, firing) in zip(batch, made, strict=True):
                spec = piece.part(event).memory.spec
                length = mel.shape[1] * spec.hop
                gains = envelope(length, spec.sample_rate_hz, event.envelope)
                gain = np.array([part.max() for part in np.array_split(gains, ACTIVATION_STEPS)])
                yield _Sounding(event, event.onset / rate, length / spec.sample_rate_hz, firing * gain)
