"""A gentle tone control; state goes in and comes out."""

from __future__ import annotations

import math

import numpy as np

from fugue_state.arrays import Array, Wide
from fugue_state.audio.compiled import compiled
from fugue_state.config import ToneConfig

TURN_HZ = 800.0


class Tilt:
    """A tilt of the spectrum around 800 Hz: a first-order shelf, half of `tilt_db` down below, half up above."""

    def __init__(self, config: ToneConfig, sample_rate_hz: int) -> None:
        self._flat = config.tilt_db == 0.0
        root = 10.0 ** (config.tilt_db / 40.0)
        # The analogue shelf (root s + turn) / (s + root turn) through the bilinear map, which keeps 800 Hz in place.
        turn = math.tan(math.pi * TURN_HZ / sample_rate_hz)
        scale = 1.0 + root * turn
        self._ahead = (root + turn) / scale, (turn - root) / scale
        self._back = (root * turn - 1.0) / scale

    @property
    def coefficients(self) -> tuple[float, float, float] | None:
        """Weights of the present sample, of the one before and of the last result; None if nothing changes."""
        return None if self._flat else (*self._ahead, self._back)

    def silence(self, channels: int = 2) -> Wide:
        """Return the state before any sound (channels,)."""
        return np.zeros(channels)

    def __call__(self, block: Array, memory: Wide) -> tuple[Array, Wide]:
        """Filter a block (n, channels), given the state; return the result and the new state."""
        if self._flat or len(block) == 0:
            return block, memory
        out, memory = np.empty_like(block, dtype=np.float32), memory.copy()
        _filter(np.ascontiguousarray(block, dtype=np.float32), *self._ahead, self._back, memory, out)
        return out, memory


@compiled
def _filter(block: Array, now: float, before: float, back: float, memory: Wide, out: Array) -> None:
    for channel in range(block.shape[1]):
        left = memory[channel]
        for n in range(len(block)):
            made = now * block[n, channel] + left
            left = before * block[n, channel] - back * made
            out[n, channel] = made
        memory[channel] = left
