"""What the clock hands to recorders."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from fugue_state.live.care import Care
from fugue_state.score.log import KeptChange, Log
from fugue_state.score.model import Score

if TYPE_CHECKING:
    from fugue_state.engine.performance import Performance  # takes long to import


class Records(Protocol):
    """A recorder, as the clock sees it."""

    def begin(self, score: Score, before: Log, origin: int, start: int) -> None:
        """Begin with the block at sample `start`: the score, and the changes made `before`, since `origin`."""

    def change(self, done: KeptChange) -> None:
        """Keep a change, at a sample counted from the origin."""

    def sound(self, until: int, samples: npt.NDArray[np.float32]) -> None:
        """Keep a block that ends before a sample of the performance."""

    def stop(self) -> None:
        """Complete the take, soon."""


@dataclass(eq=False)
class Taking:
    """A take in the making: how much of the performance's log it has; None before its first block."""

    recorder: Records
    kept: int | None = None
    ending: bool = False  # after its first block


class Takings:
    """Hands blocks and changes to all recorders, and stops one that fails."""

    def __init__(self, care: Care) -> None:
        self._care = care
        self._takings: list[Taking] = []

    def record(self, recorder: Records) -> None:
        """Record from the next block on."""
        self._takings.append(Taking(recorder))

    def end(self, recorder: Records, *, soon: bool) -> None:
        """Complete a take; if `soon`, an empty one gets one block first."""
        for taking in [taking for taking in self._takings if taking.recorder is recorder]:
            if taking.kept is None and soon:
                taking.ending = True
            else:
                self._end(taking)

    def end_all(self) -> None:
        """Complete all takes."""
        for taking in self._takings[:]:
            self._end(taking)

    def _end(self, taking: Taking) -> None:
        self._takings.remove(taking)
        taking.recorder.stop()

    def keep(self, performance: Performance, start: int, samples: npt.NDArray[np.float32]) -> None:
        """Hand on a block that began at `start`; with a take's first block, also all earlier changes."""
        for taking in self._takings[:]:
            hand_on = partial(_hand_on, taking, performance, start, samples)
            kept = self._care.safely("recording", hand_on, otherwise=False)
            if taking.ending or not kept:
                self._end(taking)


def _hand_on(taking: Taking, performance: Performance, start: int, samples: npt.NDArray[np.float32]) -> bool:
    log, recorder = performance.log, taking.recorder
    if taking.kept is None:
        recorder.begin(performance.score, log.copy(), performance.origin, start)
    else:
        for change in log.since(taking.kept):
            recorder.change(change)
    taking.kept = len(log)
    recorder.sound(performance.position, samples)
    return True
