"""What shows of the events that sound: one rule for the page and the film."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fugue_state.arrays import Array
from fugue_state.bending.strengths import Strengths
from fugue_state.piece.event import Event
from fugue_state.score.model import Score


@dataclass(frozen=True, eq=False)
class Seen:
    """Strengths (U,) within 0..1, activations (U,) of at least 0, and the chord that sounds; None in silence.

    Activations are of about the same size in every layer, as batch norm leaves them: a median of .27, seldom
    above 1.
    """

    chord: str | None
    strengths: Strengths
    activations: Array


def reached(score: Score, event: Event) -> bool:
    """Return whether forgetting reaches an event."""
    return score.voices[event.voice].forgets


def newest(score: Score, sounding: Sequence[Event]) -> int:
    """Return the place of the newest event that forgetting reaches, or else of the newest of all.

    Events are given from the oldest on; there must be one.
    """
    forgetting = [place for place, event in enumerate(sounding) if reached(score, event)]
    return forgetting[-1] if forgetting else len(sounding) - 1


def seen(score: Score, sounding: Sequence[tuple[Event, Array]], strengths: Strengths) -> Seen:
    """Return what shows while events sound, each with how strongly units (U,) fire under its envelope.

    That is the newest chord, the strengths (U,) given, and how strongly each unit fires at most.
    """
    quiet = np.zeros(len(strengths), dtype=np.float32)
    if not sounding:
        return Seen(None, strengths, quiet)
    events = [event for event, _ in sounding]
    chord = events[newest(score, events)].chord
    return Seen(chord, strengths, np.maximum.reduce([quiet, *(firing for _, firing in sounding)]))
