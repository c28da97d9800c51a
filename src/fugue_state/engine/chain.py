"""The effects that every sound passes through, offline and live: tone control, then the room."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fugue_state.arrays import Array, Wide
from fugue_state.audio.reverb import Convolver, Tail, room
from fugue_state.audio.tone import Tilt
from fugue_state.score.model import Score


@dataclass(frozen=True, eq=False)
class Ringing:
    """State that a chain carries from one block to the next; never modified in place."""

    tone: Wide
    tail: Tail


class Chain:
    """Tone control and reverb of a score."""

    def __init__(self, score: Score) -> None:
        rate = score.file.sample_rate_hz
        self._tilt = Tilt(score.tone, rate)
        self._convolver = Convolver(room(score.reverb, rate, score.seed))
        self._wet = np.float32(10.0 ** (score.reverb.wet_db / 20.0))

    @property
    def tone(self) -> tuple[float, float, float] | None:
        """The tone control's coefficients, for whoever filters elsewhere; None if it changes nothing."""
        return self._tilt.coefficients

    def silence(self, channels: int = 2) -> Ringing:
        """Return the state before any sound."""
        return Ringing(self._tilt.silence(channels), self._convolver.silence())

    def __call__(self, mix: Array, ringing: Ringing) -> tuple[Array, Array, Ringing]:
        """Filter a mix (N, 2 or more) and send its first two channels to the room: dry, wet (N, 2), new state."""
        dry, tone = self._tilt(mix, ringing.tone)
        wet, tail = self._convolver(dry[:, :2], ringing.tail)
        wet *= self._wet
        return dry, wet, Ringing(tone, tail)
