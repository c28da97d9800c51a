"""Curves of voices: what sounds of a voice moves in level, in place and in how much of it the room hears."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from fugue_state.arrays import Array, Wide
from fugue_state.engine.voice import Passage
from fugue_state.piece.motion import Curve, Going
from fugue_state.score.model import Score


@dataclass(frozen=True, eq=False)
class _Curves:
    """The curves of one voice; None where nothing moves."""

    level_db: Curve | None
    pan: Curve | None
    wet_db: Curve | None


@dataclass(frozen=True, eq=False)
class _Moved:
    """What one voice's curves do in a block: gain (N,), what is added to pans (N,), gain into the room (N,)."""

    gain: Array | None
    pan: Wide | None
    send: Array | None

    def __call__(self, passage: Passage) -> Passage:
        heard = slice(passage.begin, passage.begin + len(passage.weights))
        return replace(
            passage,
            weights=passage.weights if self.gain is None else passage.weights * self.gain[heard],
            pan=None if self.pan is None else np.clip(passage.voice.event.pan + self.pan[heard], -1.0, 1.0),
            send=None if self.send is None else self.send[heard],
        )


class Moving:
    """Moves passages along the curves of their voices; those of voices without curves stay as they are."""

    def __init__(self, score: Score) -> None:
        clock, rate = score.clock, score.file.sample_rate_hz
        self._curves: dict[int, _Curves] = {}
        for number, voice in enumerate(score.voices):
            points = (voice.curves.level_db, voice.curves.pan, voice.curves.wet_db)
            if any(points):
                self._curves[number] = _Curves(*(Curve.of(each, clock, rate) for each in points))

    def __call__(self, passages: Iterable[Passage], going: Going, block: int) -> list[Passage]:
        """Return the passages of a block (N,), each as its voice's curves have it."""
        if not self._curves:
            return list(passages)
        samples, moved = going.samples(block), {}
        for number, curves in self._curves.items():
            pan = None if curves.pan is None else curves.pan(samples)
            moved[number] = _Moved(_gain(curves.level_db, samples), pan, _gain(curves.wet_db, samples))
        return [moved[n](one) if (n := one.voice.event.voice) in moved else one for one in passages]


def _gain(curve: Curve | None, samples: Wide) -> Array | None:
    """Return the gain (N,) that a curve in dB asks for."""
    return None if curve is None else (10.0 ** (curve(samples) / 20.0)).astype(np.float32)
