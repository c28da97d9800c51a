"""Another sample rate, for any part of a sound by itself."""

from __future__ import annotations

import math

import numpy as np

from fugue_state.arrays import Array, Wide
from fugue_state.audio.compiled import compiled

REACH = 32  # samples on either side that an output sample is made of
PASSED = 0.95  # of the lower half rate: where the low-pass is half down
SHAPE = 9.0  # of the Kaiser window: -90 dB beside


def low_pass(count: int, share: float, shape: float) -> Wide:
    """Return the taps of a low-pass at a share of half the rate: a sinc under a Kaiser window, 1 at 0 Hz."""
    taps = np.sinc(share * (np.arange(count) - (count - 1) / 2.0)) * np.kaiser(count, shape)
    return np.asarray(taps / taps.sum())


class Converter:
    """Sound at one rate to another, sample by sample: block size never changes the samples."""

    def __init__(self, from_hz: int, to_hz: int) -> None:
        shared = math.gcd(from_hz, to_hz)
        self._up, self._down = to_hz // shared, from_hz // shared
        self.reach = 0 if self._up == self._down else REACH
        share = min(1.0, self._up / self._down) * PASSED
        taps = low_pass(2 * self.reach * self._up + 1, share / self._up, SHAPE) * self._up
        # For each phase, what every sample around counts, the earliest first.
        self._taps = np.ascontiguousarray(taps[:-1].reshape(2 * self.reach, self._up).T[:, ::-1], dtype=np.float32)

    def needed(self, end: int) -> int:
        """Return how many samples are needed for all before output sample `end`."""
        return ((end - 1) * self._down) // self._up + 1 + self.reach

    def first(self, start: int) -> int:
        """Return the first sample, which may be before the first, that output sample `start` is made of."""
        return (start * self._down) // self._up - max(0, self.reach - 1)

    def __call__(self, sound: Array, begin: int, start: int, count: int) -> Array:
        """Return output samples (count,) from `start` on; `sound` (n,) begins at sample `begin` and has all needed."""
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
