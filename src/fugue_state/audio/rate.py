"""Resampling that can convert any part of a sound on its own."""

from __future__ import annotations

import math

import numpy as np

from fugue_state.arrays import Array, Wide
from fugue_state.audio.compiled import compiled

REACH = 32  # input samples on either side of an output sample
PASSED = 0.95  # cutoff (-6 dB) as a share of half the lower rate
SHAPE = 9.0  # beta of the Kaiser window: -90 dB in the stop band


def low_pass(count: int, share: float, shape: float) -> Wide:
    """Return the taps of a low-pass whose cutoff is a share of half the rate: a windowed sinc (Kaiser), 1 at 0 Hz."""
    taps = np.sinc(share * (np.arange(count) - (count - 1) / 2.0)) * np.kaiser(count, shape)
    return np.asarray(taps / taps.sum())


class Converter:
    """Resampler from one rate to another, sample by sample; the block size never changes the samples."""

    def __init__(self, from_hz: int, to_hz: int) -> None:
        shared = math.gcd(from_hz, to_hz)
        self._up, self._down = to_hz // shared, from_hz // shared
        self.reach = 0 if self._up == self._down else REACH
        share = min(1.0, self._up / self._down) * PASSED
        taps = low_pass(2 * self.reach * self._up + 1, share / self._up, SHAPE) * self._up
        # For each phase, the weights of the samples around it, the earliest first.
        self._taps = np.ascontiguousarray(taps[:-1].reshape(2 * self.reach, self._up).T[:, ::-1], dtype=np.float32)

    def needed(self, end: int) -> int:
        """Return how many input samples are needed for all output before sample `end`."""
        return ((end - 1) * self._down) // self._up + 1 + self.reach

    def first(self, start: int) -> int:
        """Return the first input sample that output sample `start` depends on; it may be negative."""
        return (start * self._down) // self._up - max(0, self.reach - 1)

    def __call__(self, sound: Array, begin: int, start: int, count: int) -> Array:
        """Return output samples (count,) from `start` on; `sound` (n,) begins at input sample `begin`.

        It must hold all the input that they need.
        """
        if not self.reach:
            return sound[start - begin : start - begin + count]
        out = np.empty(count, dtype=np.float32)
        _convert(np.ascontiguousarray(sound, dtype=np.float32), self._taps, self._up, self._down, begin, start, out)
        return out


@compiled
def _convert(sound: Array, taps: Array, up: int, down: int, begin: int, start: int, out: Array) -> None:
    width = taps.shape[1]
    for n in range(len(out)):
        place = (start + n) * down
        first = place // up - width // 2 + 1 - begin
        around, own, total = sound[first : first + width], taps[place % up], np.float32(0.0)
        for k in range(width):
            total += around[k] * own[k]
        out[n] = total
