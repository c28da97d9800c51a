"""Checks for faults in a stream of sound: clicks and unwanted silence."""

from __future__ import annotations

import numpy as np

from fugue_state.arrays import Array

SILENCE_DBFS = -70.0


class SoundCheck:
    """The largest step between samples and the longest silence of blocks (N, 2), in constant memory."""

    def __init__(self, sample_rate_hz: int) -> None:
        self._rate = sample_rate_hz
        self._last = np.zeros((1, 2), dtype=np.float32)
        self._quiet = 0
        self._longest = 0
        self.largest_step = 0.0

    def add(self, block: Array) -> None:
        """Add a block."""
        joined = np.concatenate([self._last, block])
        self._last = joined[-1:]
        self.largest_step = max(self.largest_step, float(np.abs(np.diff(joined, axis=0)).max(initial=0.0)))
        loud = np.flatnonzero((np.abs(block) > 10.0 ** (SILENCE_DBFS / 20.0)).any(axis=1))
        if len(loud) == 0:
            self._quiet += len(block)
        else:
            self._longest = max(self._longest, self._quiet + int(loud[0]), int(np.diff(loud).max(initial=1)) - 1)
            self._quiet = len(block) - 1 - int(loud[-1])

    @property
    def longest_silence_s(self) -> float:
        """Seconds of the longest stretch in which both channels stay below -70 dBFS."""
        return max(self._longest, self._quiet) / self._rate
