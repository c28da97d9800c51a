"""The clock: a thread that plays block after block in real time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fugue_state.audio.mix import dying
from fugue_state.config import LiveConfig
from fugue_state.errors import InputError
from fugue_state.live.care import Care, Failed
from fugue_state.live.inbox import Inbox, Job
from fugue_state.live.pace import QUALITY, Pace
from fugue_state.live.report import Report, Units
from fugue_state.live.taking import Records, Takings
from fugue_state.live.wish import PLAY, Wish

if TYPE_CHECKING:
    from fugue_state.engine.chain import Block  # takes long to import
    from fugue_state.engine.performance import Performance

MUTED = " and is muted; Recall all brings it back"


class BlockClock(threading.Thread):
    """Drives a performance by the clock: `ask` from any thread, `hear` is told of every block on this one.

    It waits until `/play` is asked for, then plays a block each time one is due. Wishes that arrive between two blocks
    are done before the next, only the newest of each path. No failure ends it: `complain` is told, sound that fails or
    is NaN fades to silence, and the next block is played.
    """

    def __init__(
        self,
        performance: Performance,
        config: LiveConfig,
        hear: Callable[[Report], None],
        complain: Callable[[str], None],
    ) -> None:
        super().__init__(name="clock", daemon=True)
        self.performance = performance
        self.running = False
        self._hear = hear
        self._care = Care(complain)
        self._inbox = Inbox()
        self._pace = Pace(config, performance.values[QUALITY], complain)
        self._takings = Takings(self._care)
        self._units_per_s = config.units_per_s
        self._told = 0  # sample at which units were told last
        self._offset = 0  # to be added to the performance's position to get the sample that is heard
        self._at = performance.position
        self._last = np.zeros((performance.block, 2), dtype=np.float32)  # the block heard last
        self._tail: npt.NDArray[np.float32] | None = None  # of a performance that was swapped out

    @property
    def at(self) -> int:
        """First sample of the next block; grows through swaps and replays. Another thread may ask for it."""
        return self._at

    def _here(self) -> int:
        """Return the first sample of the next block; only on the clock's thread, since both parts change there."""
        return self._offset + self.performance.position

    @property
    def stats(self) -> dict[str, Any]:
        """Figures on how it keeps up."""
        health = self._pace.health
        return {
            "load": round(health.load, 3),
            "underruns": health.underruns,
            "rested": health.rested,
            "superseded": self._inbox.superseded,
        }

    def ask(self, wish: Wish) -> None:
        """Move a control at the next block."""
        self._inbox.ask(wish)

    def do(self, job: Callable[[], None], failed: Failed | None = None) -> None:
        """Run a job before the next block, on the clock's thread, in order with the wishes.

        If it fails, `failed` is called on that thread; without it, everyone is told.
        """
        self._inbox.do(job, failed)

    def stop(self) -> None:
        """End after the current block and the jobs that still wait."""
        self._inbox.close()

    def change_to(self, performance: Performance) -> None:
        """Go on with another performance, cross-faded within a block; only on the clock's thread."""
        at = self._here()
        for path, value in self.performance.held:  # whoever holds a key may let it go meanwhile
            self.performance.change(path, value)
        if self._tail is None and self.running:
            self._tail = self._played()[1]
        self._offset = at - performance.position
        self.performance = performance
        self._pace.wanted = performance.values[QUALITY]
        self._at = at

    def record(self, recorder: Records) -> None:
        """Record from the next block on; only on the clock's thread."""
        self._takings.record(recorder)

    def end_take(self, recorder: Records, *, at_once: bool = False) -> None:
        """Complete a take. If it is still empty, it gets one block first, unless it ends `at_once` or nothing plays.

        Only on the clock's thread.
        """
        self._takings.end(recorder, soon=self.running and not at_once)

    def run(self) -> None:
        """Play until stopped."""
        try:
            while (items := self._inbox.wait(self._pace.due if self.running else None)) is not None:
                report = self._turn(items)
                self._care.safely("telling of a block", partial(self._hear, report), None)
            self._follow(self._inbox.rest())
            self._takings.end_all()
        finally:
            if not self._inbox.is_closed:
                self._care.complain("the clock stopped; nothing can be heard any more")

    def _turn(self, items: list[Wish | Job]) -> Report:
        """Do the wishes and jobs, then play a block."""
        begin = time.perf_counter()
        asked = self._follow(items)
        at, performance = self._here(), self.performance
        units = self._units(at, wanted=bool(asked))
        if not self.running:
            return Report(at, performance, self._values(), asked, units)
        start = performance.position
        sounding, samples = self._faded_in(*self._played())
        self._takings.keep(performance, start, samples)
        self._at = self._here()
        self._care.safely("keeping time", lambda: self._pace.keep(performance, time.perf_counter() - begin), None)
        return Report(at, performance, self._values(), asked, units, samples, sounding)

    def _units(self, at: int, *, wanted: bool) -> Units | None:
        """Return a copy of the units if wanted or due; a score also changes them by itself."""
        performance = self.performance
        if not wanted and (at - self._told) * self._units_per_s < performance.rate:
            return None
        units = self._care.safely("telling of units", partial(Units.of, performance), None)
        self._told = at if units is not None else self._told
        return units

    def _values(self) -> Mapping[str, Any] | None:
        """Return a copy of what is set now; None if that fails."""
        return self._care.safely("telling of values", lambda: dict(self.performance.values), None)

    def _faded_in(
        self, sounding: Block | None, samples: npt.NDArray[np.float32]
    ) -> tuple[Block | None, npt.NDArray[np.float32]]:
        """Blend a block with what is left of another performance, whose blocks may be longer or shorter."""
        if self._tail is not None:
            count = min(len(samples), len(self._tail))
            rise = np.linspace(0.0, 1.0, count, dtype=np.float32)[:, None]
            samples = samples.copy()
            samples[:count] = rise * samples[:count] + (1.0 - rise) * self._tail[:count]
            self._tail = None
        self._last = np.zeros_like(samples) if sounding is None else samples
        return sounding, samples

    def _follow(self, items: list[Wish | Job]) -> tuple[tuple[Wish, str], ...]:
        """Do wishes and jobs in order; return the wishes, each with its error or an empty string."""
        asked = []
        for item in items:
            if isinstance(item, Wish):
                wrong = self._care.safely(item.path, partial(self._change, item), f"{item.path} failed")
                asked.append((item, wrong))
            else:
                self._care.safely("what was asked for", item[0], None, failed=item[1])
        return tuple(asked)

    def _change(self, wish: Wish) -> str:
        """Move a control; return the reason if that is impossible."""
        performance = self.performance
        wish.origin = performance.origin
        try:
            back = performance.back(wish.path) if wish.gesture else ()
            performance.change(wish.path, wish.value)
        except InputError as error:
            return str(error)
        wish.back = back
        if wish.path == QUALITY:
            self._pace.wanted = str(wish.value)
        if wish.path == PLAY and wish.value and not self.running:
            self._pace.start()
            self.running = True
        return ""

    def _played(self) -> tuple[Block | None, npt.NDArray[np.float32]]:
        """Play a block; one that fails leads from what was heard to silence, and time goes on."""
        performance, care = self.performance, self._care
        after = self._here() + performance.block
        failed = care.fails("the sound", "the samples")
        sounding = care.safely("the sound", performance.next, None, MUTED)
        if sounding is None:
            self._offset += after - self._here()
        elif not np.isfinite(sounding.samples).all():
            care.once("the samples", f"the sound was not a number{MUTED}")
            sounding = None
        else:
            care.works("the samples")
        if sounding is None:
            return None, dying(self._last, performance.block)
        if sounding.overloaded:
            care.once("loudness", f"the sound ran away{MUTED}")
        else:
            care.works("loudness")
        rise = np.linspace(0.0, 1.0, len(sounding.samples), dtype=np.float32)[:, None]
        return sounding, sounding.samples * rise if failed else sounding.samples
