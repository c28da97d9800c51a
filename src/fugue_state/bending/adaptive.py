"""Adaptive forgetting: a bounded control loop that sets how much is forgotten from how the chords sound."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fugue_state.errors import InputError
from fugue_state.score.model import Adaptive

CLARITY_STEP = 0.1  # `reaction` counts per this much clarity
NEWEST = 0.3  # weight of the newest sound in the running clarity


class Decided(NamedTuple):
    """How far forgetting has come at a time in seconds, and its speed from then on, as a share of the largest one."""

    time_s: float
    share: float
    drive: float


class Governor:
    """How far forgetting has come (0..1) over its own time in seconds, steered by each sound that it made.

    It forgets while chords are clearer than asked for. It recalls while they are less clear, or almost silent. It
    never moves faster than `rate`.
    """

    def __init__(self, config: Adaptive) -> None:
        self._config = config
        self._times_s = [0.0]
        self._shares = [0.0]
        self._clarity: float | None = None
        self._drives = [0.0]

    @property
    def decided(self) -> list[Decided]:
        """Everything it has decided, from the beginning on."""
        return list(map(Decided, self._times_s, self._shares, self._drives))

    def share(self, time_s: float) -> float:
        """Return how far forgetting is at a time; after the newest sound it continues at the speed decided then."""
        last_s, last = self._times_s[-1], self._shares[-1]
        if time_s <= last_s:
            return float(np.interp(time_s, self._times_s, self._shares))
        return min(1.0, max(0.0, last + self._config.rate * self._drives[-1] * (time_s - last_s)))

    def hear(self, time_s: float, clarity: float, level_db: float, sounding: int) -> None:
        """Decide from a sound: its chord's clarity, its level (dB) relative to intact, how many sound at once.

        Raises InputError for a sound that is earlier than the one before.
        """
        if time_s < self._times_s[-1]:
            raise InputError(f"a sound at {time_s:g} s came after one at {self._times_s[-1]:g} s was heard")
        self._shares.append(self.share(time_s))
        self._times_s.append(time_s)
        before = clarity if self._clarity is None else self._clarity
        self._clarity = before + NEWEST * (clarity - before)
        config = self._config
        drive = config.reaction * (self._clarity - config.clarity) / CLARITY_STEP
        if drive > 0:
            drive *= 1.0 + config.density * max(0, sounding - 1)
        if level_db < config.quiet_db:
            drive = -1.0
        self._drives.append(min(1.0, max(-1.0, drive)))
