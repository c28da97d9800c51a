"""The pace: when the next block is due, and how late blocks are handled."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fugue_state.config import LiveConfig, QualityName

if TYPE_CHECKING:
    from fugue_state.engine.performance import Performance  # takes long to import

QUALITY, REST = "/quality", "/rest"
DRAFT: QualityName = "draft"
SMOOTHED_S = 1.0  # seconds over which the load is averaged


@dataclass
class Health:
    """How the clock keeps up."""

    load: float = 0.0
    underruns: int = 0
    rested: int = 0  # blocks that regenerated no chord, to catch up


class Pace:
    """Keeps a performance in real time: if it cannot keep up, its quality steps down to draft for a while."""

    def __init__(self, config: LiveConfig, wanted: str, complain: Callable[[str], None]) -> None:
        self.health = Health()
        self.wanted = wanted  # the quality asked for
        self.due = 0.0  # time of the next block, by `time.perf_counter`
        self._config, self._complain = config, complain
        self._recover_s = config.recover_s / 2  # doubles with each step down
        self._lately = 0.0  # the load, smoothed over that time
        self._late = 0  # number of late blocks in a row

    def start(self) -> None:
        """Let the next block be due now."""
        self.due = time.perf_counter()

    def keep(self, performance: Performance, busy_s: float) -> None:
        """Set the time of the next block, count late blocks and react to the load."""
        block_s = performance.block / performance.rate
        load = busy_s / block_s
        self.health.load += (load - self.health.load) * min(1.0, block_s / SMOOTHED_S)
        self._lately += (load - self._lately) * min(1.0, block_s / self._recover_s)
        self._count_late(block_s)
        if time.perf_counter() - self.due > self._config.behind * self._config.buffer_ms / 1000.0:
            performance.change(REST)  # changed strengths can wait for a block, the sound cannot
            self.health.rested += 1
        self._choose_quality(performance)

    def _count_late(self, block_s: float) -> None:
        late_s = time.perf_counter() - self.due
        if late_s > self._config.buffer_ms / 1000.0:
            self.health.underruns += 1
            self.due += late_s
        self.due += block_s
        self._late = self._late + 1 if late_s > self._config.buffer_ms / 2000.0 else 0

    def _choose_quality(self, performance: Performance) -> None:
        """Step the quality down under too much load, and up again after a calm time."""
        strained = self.health.load > self._config.load_high or self._late > self._config.late_blocks
        if strained:
            self._lately = max(self.health.load, self._config.load_high)
        quality = performance.values[QUALITY]
        if strained and quality != DRAFT:
            performance.change(QUALITY, DRAFT)
            self._recover_s *= 2
            self._complain(f"the engine is at its limit: quality steps down to {DRAFT} for a while")
        elif quality != self.wanted and self._lately < self._config.load_low:
            performance.change(QUALITY, self.wanted)
