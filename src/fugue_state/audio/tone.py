"""One gentle tone control, state in and out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import signal

from fugue_state.audio.io import Samples
from fugue_state.config import ToneConfig

Memory = npt.NDArray[np.float64]

TURN_HZ = 800.0


class Tilt:
    """A tilt of the spectrum around 800 Hz: one shelf of first order, half of `tilt_db` down, half up."""

    def __init__(self, config: ToneConfig, sample_rate_hz: int) -> None:
        self._flat = config.tilt_db == 0.0
        root = 10.0 ** (config.tilt_db / 40.0)
        turn = 2.0 * sample_rate_hz * np.tan(np.pi * TURN_HZ / sample_rate_hz)  # where the bilinear map has 800 Hz
        b, a = signal.bilinear([root, turn], [1.0, turn * root], fs=sample_rate_hz)
        self._sections = np.array([[*b, 0.0, *a, 0.0]])

    def silence(self, channels: int = 2) -> Memory:
        """Return the state before any sound."""
        return np.zeros((1, 2, channels))

    def __call__(self, block: Samples, memory: Memory) -> tuple[Samples, Memory]:
        """Filter a block (n, channels), given what the blocks before it left; return it and what it leaves."""
        if self._flat or len(block) == 0:
            return block, memory
        out, memory = signal.sosfilt(self._sections, block, axis=0, zi=memory)
        return out.astype(np.float32), memory
