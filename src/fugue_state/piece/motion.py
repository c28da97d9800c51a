"""What moves sample by sample as a piece goes on: curves of voices, and the fades of the whole."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from fugue_state.arrays import Array, Wide
from fugue_state.score.model import Score
from fugue_state.score.times import Clock


class Going(NamedTuple):
    """The time of a piece in a block: samples played before it, and the speed at which it goes on; 0 stands still."""

    begin: float
    speed: float = 1.0

    def samples(self, count: int) -> Wide:
        """Return the sample of the piece (count,) that each sample of the block is at."""
        return np.asarray(self.begin + np.arange(count, dtype=np.float64) * self.speed)


@dataclass(frozen=True, eq=False)
class Curve:
    """Straight lines through points over time, held at both ends; times (P,) in samples of the piece, values (P,)."""

    at: Wide
    values: Wide

    @classmethod
    def of(cls, points: Sequence[tuple[float | str, float]], clock: Clock, rate: int) -> Self | None:
        """Return the curve through points of a score; None if there are none."""
        if not points:
            return None
        return cls(
            np.array([clock.seconds(time) * rate for time, _ in points]), np.array([value for _, value in points])
        )

    def __call__(self, samples: Wide) -> Wide:
        """Return its values at samples of the piece (n,)."""
        return np.asarray(np.interp(samples, self.at, self.values))


class Fade:
    """The gain of a whole piece: half a cosine from silence at the beginning, and to silence at its end."""

    def __init__(self, score: Score) -> None:
        rate = score.file.sample_rate_hz
        self.rising, self.falling = round(score.fade_in_s * rate), round(score.fade_out_s * rate)
        self.end = round(score.duration_s * rate)
        self.stops = self.end if self.falling else math.inf  # the sample from which there is silence

    def __call__(self, going: Going, count: int) -> Array | None:
        """Return the gain of a block (count,); None where it is 1 throughout."""
        falls = self.falling > 0 and going.begin + count * going.speed > self.end - self.falling - 1
        if going.begin >= self.rising and not falls:
            return None
        samples = going.samples(count)
        gain = np.ones(count)
        if self.rising:
            gain *= _rise(samples / self.rising)
        if falls:
            gain *= _rise((self.end - 1.0 - samples) / self.falling)
        return gain.astype(np.float32)


def _rise(share: Wide) -> Wide:
    """Return a gain that rises smoothly from 0 at share 0 to 1 at share 1."""
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * np.clip(share, 0.0, 1.0)))
