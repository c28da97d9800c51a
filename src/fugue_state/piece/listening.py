"""Listening to a piece while it is made, for adaptive forgetting."""

from __future__ import annotations

import numpy as np

from fugue_state.bending.adaptive import Governor
from fugue_state.measure.chords import template
from fugue_state.measure.describe import Describer, triads
from fugue_state.memory.memory import Memory
from fugue_state.piece.event import Event
from fugue_state.score.pitches import chord_of


class Ear:
    """Listens to each event's mel (no audio is made): how clear its chord is, and how loud it is."""

    def __init__(self, memory: Memory, governor: Governor) -> None:
        self.governor = governor
        self._memory = memory
        self._describe = Describer(memory.spec, triads(memory.labels))

    def hear(self, event: Event, time_s: float, sounding: int) -> None:
        """Let the governor decide from an event at `time_s`, with `sounding` events sounding at once."""
        z = np.stack([event.latent] * 2)
        strengths = np.stack([np.ones_like(event.strengths), event.strengths])
        mels = self._memory.generate(
            z, None if event.label is None else [event.label] * 2, strengths, event.frames, event.bend
        )
        intact, now = self._describe(mels)
        own = event.chord if event.chord and chord_of(event.chord) else intact.chord
        clarity = float(self._describe.chroma(mels[1:])[0] @ template(own)) if own else 0.0
        self.governor.hear(time_s, clarity, now.level_dbfs - intact.level_dbfs, sounding)
