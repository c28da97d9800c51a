"""What shows of the events that sound: one rule for the page and the film."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fugue_state.arrays import Array
from fugue_state.bending.strengths import Strengths
from fugue_state.piece.event import Event
from fugue_state.piece.layout import Layout


@dataclass(frozen=True, eq=False)
class Seen:
    """Strengths (U,) within 0..1, activations (U,) of at least 0, and the chord that sounds; None in silence.

    Activations are of about the same size in every layer, as batch norm leaves them: a median of .27, seldom
    above 1.
    """

    chord: str | None
    strengths: Strengths
    activations: Array


def reached(piece: Layout, event: Event) -> bool:
    """Return whether forgetting reaches an event."""
    return piece.score.voices[event.voice].forgets


def newest(piece: Layout, sounding: Sequence[Event]) -> int:
    """Return the place of the newest event that forgetting reaches, or else of the newest of all.

    Events are given from the oldest on; there must be one.
    """
    forgetting = [place for place, event in enumerate(sounding) if reached(piece, event)]
    return forgetting[-1] if forgetting else len(sounding) - 1


def seen(piece: Layout, sounding: Sequence[tuple[Event, Array]], strengths: Strengths) -> Seen:
    """Return what shows while events sound, each with how strongly the units of its part fire under its envelope.

    That is the newest chord, the strengths (U,) given, and how strongly each unit of the piece fires at most.
    """
    activations = np.zeros(len(strengths), dtype=np.float32)
    for event, firing in sounding:
        units = activations[piece.part(event).within]
        np.maximum(units, firing, out=units)
    events = [event for event, _ in sounding]
    return Seen(events[newest(piece, events)].chord if events else None, strengths, activations)
