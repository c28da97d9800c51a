"""What is heard at once: kept from running away, limited and metered."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fugue_state.audio.limiter import Limiter
from fugue_state.audio.loudness import LoudnessMeter
from fugue_state.audio.mix import dying
from fugue_state.config import LIVE_LOOK_AHEAD_S
from fugue_state.engine.chain import Block

RUNAWAY = 100.0  # of full scale, before the limiter: anything louder is a fault


class Monitor:
    """Makes blocks safe to be heard as they come: never NaN, never above the ceiling, `latency` samples later."""

    def __init__(self, ceiling_dbtp: float, rate: int, block: int) -> None:
        self._limiter = Limiter(ceiling_dbtp, rate, LIVE_LOOK_AHEAD_S)
        self.latency: int = self._limiter.delay
        self._past = self._limiter.silence()
        self._meter = LoudnessMeter(rate, peak=False)
        self._last = np.zeros((block, 2), dtype=np.float32)  # before the limiter

    def __call__(self, block: Block, *, failed: bool) -> Block:
        """Return a block as it is heard; one that failed, or runs away, leads from the one before to silence."""
        wild = failed or not bool((np.abs(block.samples) < RUNAWAY).all())
        sound = dying(self._last, len(block.samples)) if wild else block.samples
        self._last = np.zeros_like(sound) if wild else sound
        sound, self._past = self._limiter(sound, self._past)
        self._meter.add(sound)
        return replace(block, samples=sound, lufs=self._meter.momentary_lufs, overloaded=wild)
