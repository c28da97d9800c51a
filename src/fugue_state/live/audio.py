"""The clock: plays block after block on a thread of its own, at the pace they are heard."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt

from fugue_state.audio.mix import dying
from fugue_state.bending.strengths import Strengths
from fugue_state.config import LiveConfig, QualityName
from fugue_state.errors import InputError, why
from fugue_state.score.log import Done, Log
from fugue_state.score.model import Score
from fugue_state.score.paths import Value

QUALITY, REST = "/quality", "/rest"
DRAFT: QualityName = "draft"
SMOOTHED_S = 1.0  # over which the load is taken
Made = TypeVar("Made")
Failed = Callable[[Exception], None]
Job = tuple[Callable[[], None], Failed | None]


class Sounds(Protocol):
    """What a block of a performance tells."""

    @property
    def samples(self) -> npt.NDArray[np.float32]:
        """Samples (block, 2)."""

    @property
    def chord(self) -> str | None:
        """The chord that sounds."""

    @property
    def strengths(self) -> Strengths:
        """Strengths (U,) as they are heard."""

    @property
    def activations(self) -> npt.NDArray[np.float32]:
        """Activations (U,), from 0 on."""

    @property
    def mel(self) -> npt.NDArray[np.float32]:
        """A column of the mel (M,), within -1..1."""

    @property
    def lufs(self) -> float:
        """Momentary loudness."""

    @property
    def overloaded(self) -> bool:
        """Whether the sound ran away and was muted."""


class Performs(Protocol):
    """A performance, as the clock drives it."""

    @property
    def rate(self) -> int:
        """Samples in a second."""

    @property
    def block(self) -> int:
        """Samples of a block."""

    @property
    def latency(self) -> int:
        """Samples by which what is heard comes later than its position."""

    @property
    def position(self) -> int:
        """First sample of the next block."""

    @property
    def values(self) -> Mapping[str, Any]:
        """The present value of every control."""

    @property
    def strengths(self) -> Strengths:
        """Strengths (U,) that are asked for."""

    @property
    def brushed(self) -> Strengths:
        """What brushes alone leave (U,)."""

    @property
    def frozen(self) -> npt.NDArray[np.bool_]:
        """Which units (U,) are frozen."""

    def change(self, path: str, value: Value = None) -> None:
        """Move a control, from the next block on; InputError if it cannot be."""

    def back(self, path: str) -> Sequence[tuple[str, Value]]:
        """Return the moves that lead back to how things are now, once a control has moved."""

    def needs(self, path: str, value: Value) -> bool:
        """Return whether the memory must be measured before a control can be moved to a value."""

    def measure(self) -> None:
        """Measure the memory; takes its time."""

    def next(self) -> Sounds:
        """Play a block."""

    @property
    def origin(self) -> int:
        """Position that the log counts from."""

    @property
    def score(self) -> Score:
        """What is played, without changes."""

    @property
    def log(self) -> Log:
        """All changes so far, those of the score itself, too."""

    def prepare(self, memory: Any, name: str | None = None) -> Any:
        """Return what another memory needs to play on; takes its time."""

    def swap(self, memory: Any) -> None:
        """Go on with another memory that was prepared."""


class Records(Protocol):
    """Where a take goes."""

    def begin(self, score: Score, before: Log, origin: int, start: int) -> None:
        """Begin with a block at `start` of a performance: what is played, and what was done since `origin`."""

    def change(self, done: Done) -> None:
        """Keep a change, at a sample counted from the origin."""

    def sound(self, until: int, samples: npt.NDArray[np.float32]) -> None:
        """Keep a block that ends before a sample of the performance."""

    def stop(self) -> None:
        """Complete the take, soon."""


@dataclass
class Ask:
    """A control that someone wants to move, counted by `number`; `waiting` are all messages that it stands for.

    Of one that belongs to a gesture the clock notes the moves that take it `back`, and the `origin` of what it moved.
    """

    path: str
    value: Value
    by: str
    gesture: str
    number: int = 0
    waiting: list[Any] = field(default_factory=list)
    back: Sequence[tuple[str, Value]] = ()
    origin: int = 0


@dataclass(frozen=True)
class Units:
    """What is asked for of all units (U,): strengths, what brushes alone leave, and which are frozen."""

    strengths: Strengths
    brushed: Strengths
    frozen: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, performance: Performs) -> Self:
        """Return a copy of what a performance has now."""
        return cls(performance.strengths.copy(), performance.brushed.copy(), performance.frozen.copy())


@dataclass(frozen=True)
class Report:
    """What a block brought: what was asked, and why not if it was refused; what is set; and the sound, if any.

    `units` are those after what was asked, and now and then where nothing was. `samples` are None while nothing
    plays, `sounding` also where the sound failed. `at` is the first sample, counted through replays.
    """

    at: int
    performance: Performs
    values: Mapping[str, Any]
    asked: tuple[tuple[Ask, str], ...] = ()
    units: Units | None = None
    samples: npt.NDArray[np.float32] | None = None
    sounding: Sounds | None = None


@dataclass
class Health:
    """How the clock keeps up."""

    load: float = 0.0
    underruns: int = 0
    rested: int = 0  # blocks that made nothing anew, to catch up
    superseded: int = 0  # values that a newer one replaced before they were heard


@dataclass
class Taking:
    """A take that is being recorded: how much of the performance's log it has; None before its first block."""

    recorder: Records
    kept: int | None = None
    ending: bool = False  # with its first block


class BlockClock(threading.Thread):
    """Drives a performance by the clock: `ask` from any thread, `hear` is told of every block on this one.

    It waits, armed, until `/play` is asked for; then it plays a block each time one is due. What is asked for
    between two blocks is done before the next, of each path the newest value. Nothing that fails ends it: `complain`
    is told, a sound that fails or is not a number fades to silence, and the next block is played.
    """

    def __init__(
        self,
        performance: Performs,
        config: LiveConfig,
        hear: Callable[[Report], None],
        complain: Callable[[str], None],
    ) -> None:
        super().__init__(name="clock", daemon=True)
        self.performance = performance
        self.health = Health()
        self.running = False
        self._config, self._hear, self._complain = config, hear, complain
        self._values = dict(performance.values)
        self._wanted = self._values[QUALITY]
        self._offset = 0
        self._at = performance.position
        self._wake = threading.Condition()
        self._items: list[Ask | Job] = []
        self._newest: dict[str, Ask] = {}  # of each path, since the last job
        self._stopped = False
        self._due = 0.0
        self._told = 0  # when units were told of last
        self._recover_s = config.recover_s / 2  # twice as long with each step down
        self._lately = 0.0  # the load, smoothed over that time
        self._late = 0
        self._failing: set[str] = set()  # what failed last time: it is told once
        self._last = np.zeros((performance.block, 2), dtype=np.float32)  # what was heard last
        self._tail: npt.NDArray[np.float32] | None = None
        self._takings: list[Taking] = []

    @property
    def at(self) -> int:
        """First sample of the next block; grows through swaps and replays. Another thread may ask for it."""
        return self._at

    def _here(self) -> int:
        """Return the first sample of the next block; only on the clock's thread, since both parts change there."""
        return self._offset + self.performance.position

    @property
    def degraded(self) -> bool:
        """Whether the quality has stepped down."""
        return bool(self.performance.values[QUALITY] != self._wanted)

    def ask(self, ask: Ask) -> None:
        """Move a control with the next block."""
        with self._wake:
            older = self._newest.get(ask.path)
            if older is not None:
                self._items.remove(older)
                ask.waiting = older.waiting + ask.waiting
                self.health.superseded += 1
            self._newest[ask.path] = ask
            self._items.append(ask)
            self._wake.notify()

    def do(self, job: Callable[[], None], failed: Failed | None = None) -> None:
        """Do something before the next block, on the clock's thread, in turn with what is asked for.

        If it fails, `failed` is told on that thread, or else everyone.
        """
        with self._wake:
            self._items.append((job, failed))
            self._newest.clear()
            self._wake.notify()

    def stop(self) -> None:
        """End after the present block and what is still to be done."""
        with self._wake:
            self._stopped = True
            self._wake.notify()

    def change_to(self, performance: Performs) -> None:
        """Go on with another performance, cross-faded within a block; only on the clock's thread."""
        at = self._here()
        if self._tail is None and self.running:
            self._tail = self._played()[1]
        self._offset = at - performance.position
        self.performance = performance
        self._wanted = performance.values[QUALITY]
        self._at = at

    def record(self, recorder: Records) -> None:
        """Record from the next block on; only on the clock's thread."""
        self._takings.append(Taking(recorder))

    def end_take(self, recorder: Records, *, at_once: bool = False) -> None:
        """Complete a take; one that has nothing yet has a block, unless it ends `at_once` or nothing plays.

        Only on the clock's thread.
        """
        for taking in [taking for taking in self._takings if taking.recorder is recorder]:
            if taking.kept is None and self.running and not at_once:
                taking.ending = True
            else:
                self._end(taking)

    def _end(self, taking: Taking) -> None:
        self._takings.remove(taking)
        taking.recorder.stop()

    def run(self) -> None:
        """Play until stopped."""
        try:
            while (items := self._next()) is not None:
                report = self._turn(items)
                self._safely("telling of a block", partial(self._hear, report), None)
            self._follow(self._items)
            for taking in self._takings[:]:
                self._end(taking)
        finally:
            if not self._stopped:
                self._complain("the clock stopped; nothing can be heard any more")

    def _safely(
        self, what: str, act: Callable[[], Made], otherwise: Made, and_so: str = "", failed: Failed | None = None
    ) -> Made:
        """Do something on the clock's thread; if it fails, tell `failed`, or everyone once, and go on.

        Here everything is caught: whatever is wrong with a memory, a take or a wish, the clock goes on.
        """
        try:
            made = act()
        except Exception as error:  # noqa: BLE001 - see above
            if failed is None:
                self._tell_once(what, f"{what} failed ({why(error)}){and_so}")
            else:
                failed(error)
            return otherwise
        self._failing.discard(what)
        return made

    def _tell_once(self, what: str, text: str) -> None:
        if what not in self._failing:
            self._complain(text)
        self._failing.add(what)

    def _next(self) -> list[Ask | Job] | None:
        """Return what is to be done before the next block, once it is due; None at the end."""
        with self._wake:
            self._wait()
            if self._stopped:
                return None
            items, self._items = self._items, []
            self._newest.clear()
        return items

    def _wait(self) -> None:
        """Wait until a block is due, or, while nothing plays, until something is asked for."""
        while not self._stopped:
            left = self._due - time.perf_counter() if self.running else None
            if (left is not None and left <= 0) or (left is None and self._items):
                return
            self._wake.wait(left)

    def _turn(self, items: list[Ask | Job]) -> Report:
        begin = time.perf_counter()
        asked = self._follow(items)
        at, performance = self._here(), self.performance
        # A score forgets by itself, too.
        due = (at - self._told) * self._config.units_per_s >= performance.rate
        units = self._safely("telling of units", partial(Units.of, performance), None) if asked or due else None
        self._told = at if units is not None else self._told
        if not self.running:
            return Report(at, performance, self._told_values(), asked, units)
        start = performance.position
        sounding, samples = self._faded_in(*self._played())
        self._keep(start, samples)
        self._at = self._here()
        self._safely("keeping time", partial(self._keep_time, time.perf_counter() - begin), None)
        return Report(at, performance, self._told_values(), asked, units, samples, sounding)

    def _told_values(self) -> Mapping[str, Any]:
        """Return a copy of what is set now."""
        values = self._safely("telling of values", lambda: dict(self.performance.values), self._values)
        self._values = values
        return values

    def _faded_in(
        self, sounding: Sounds | None, samples: npt.NDArray[np.float32]
    ) -> tuple[Sounds | None, npt.NDArray[np.float32]]:
        """Blend a block with what is left of another performance, whose blocks may be longer or shorter."""
        if self._tail is not None:
            count = min(len(samples), len(self._tail))
            rise = np.linspace(0.0, 1.0, count, dtype=np.float32)[:, None]
            samples = samples.copy()
            samples[:count] = rise * samples[:count] + (1.0 - rise) * self._tail[:count]
            self._tail = None
        self._last = np.zeros_like(samples) if sounding is None else samples
        return sounding, samples

    def _follow(self, items: list[Ask | Job]) -> tuple[tuple[Ask, str], ...]:
        """Do what was asked, in its order; return what became of it."""
        asked = []
        for item in items:
            if isinstance(item, Ask):
                asked.append((item, self._asked(item)))
            else:
                self._safely("what was asked for", item[0], None, failed=item[1])
        return tuple(asked)

    def _keep(self, start: int, samples: npt.NDArray[np.float32]) -> None:
        """Hand a block to those that record, with the first one all that went before."""
        for taking in self._takings[:]:
            kept = self._safely("recording", partial(self._hand_on, taking, start, samples), otherwise=False)
            if taking.ending or not kept:
                self._end(taking)

    def _hand_on(self, taking: Taking, start: int, samples: npt.NDArray[np.float32]) -> bool:
        performance, recorder = self.performance, taking.recorder
        log = performance.log
        if taking.kept is None:
            recorder.begin(performance.score, log.copy(), performance.origin, start)
        else:
            for change in log.since(taking.kept):
                recorder.change(change)
        taking.kept = len(log)
        recorder.sound(performance.position, samples)
        return True

    def _asked(self, ask: Ask) -> str:
        """Move a control; return why not."""
        wrong = f"{ask.path} failed"
        return self._safely(ask.path, partial(self._change, ask), wrong)

    def _change(self, ask: Ask) -> str:
        performance = self.performance
        ask.origin = performance.origin
        try:
            back = performance.back(ask.path) if ask.gesture else ()
            performance.change(ask.path, ask.value)
        except InputError as error:
            return str(error)
        ask.back = back
        if ask.path == QUALITY:
            self._wanted = ask.value
        if ask.path == "/play" and ask.value and not self.running:
            self.running, self._due = True, time.perf_counter()
        return ""

    def _played(self) -> tuple[Sounds | None, npt.NDArray[np.float32]]:
        """Play a block; one that fails leads from what was heard to silence, and time goes on."""
        performance, muted = self.performance, " and is muted; Recall all brings it back"
        after = self._here() + performance.block
        failed = bool(self._failing & {"the sound", "the samples"})
        sounding = self._safely("the sound", performance.next, None, muted)
        if sounding is None:
            self._offset += after - self._here()
        elif not np.isfinite(sounding.samples).all():
            self._tell_once("the samples", f"the sound was not a number{muted}")
            sounding = None
        else:
            self._failing.discard("the samples")
        if sounding is None:
            return None, dying(self._last, performance.block)
        if sounding.overloaded:
            self._tell_once("loudness", f"the sound ran away{muted}")
        else:
            self._failing.discard("loudness")
        rise = np.linspace(0.0, 1.0, len(sounding.samples), dtype=np.float32)[:, None]
        return sounding, sounding.samples * rise if failed else sounding.samples

    def _keep_time(self, busy_s: float) -> None:
        """Say when the next block is due, count what came too late, and care for the load."""
        block_s = self.performance.block / self.performance.rate
        load = busy_s / block_s
        self.health.load += (load - self.health.load) * min(1.0, block_s / SMOOTHED_S)
        self._lately += (load - self._lately) * min(1.0, block_s / self._recover_s)
        late_s = time.perf_counter() - self._due
        if late_s > self._config.buffer_ms / 1000.0:
            self.health.underruns += 1
            self._due += late_s
        self._due += block_s
        if time.perf_counter() - self._due > self._config.behind * self._config.buffer_ms / 1000.0:
            self.performance.change(REST)  # a change of strengths can wait for a block, the sound cannot
            self.health.rested += 1
        self._late = self._late + 1 if late_s > self._config.buffer_ms / 2000.0 else 0
        strained = self.health.load > self._config.load_high or self._late > self._config.late_blocks
        if strained:
            self._lately = max(self.health.load, self._config.load_high)
        if strained and self.performance.values[QUALITY] != DRAFT:
            self.performance.change(QUALITY, DRAFT)
            self._recover_s *= 2
            self._complain(f"the engine is at its limit: quality steps down to {DRAFT} for a while")
        elif self.degraded and self._lately < self._config.load_low:
            self.performance.change(QUALITY, self._wanted)
