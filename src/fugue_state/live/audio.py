"""The clock: plays block after block on a thread of its own, at the pace they are heard."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from fugue_state.bending.strengths import Strengths
from fugue_state.config import LiveConfig, QualityName
from fugue_state.errors import FugueError, InputError
from fugue_state.score.log import Done, Log
from fugue_state.score.model import Score
from fugue_state.score.paths import Value

QUALITY, REST = "/quality", "/rest"
DRAFT: QualityName = "draft"
SMOOTHED_S = 1.0  # over which the load is taken


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

    def prepare(self, memory: Any) -> Any:
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


@dataclass
class Ask:
    """A control that someone wants to move, counted by `number`; `waiting` are all messages that it stands for."""

    path: str
    value: Value
    by: str
    gesture: str
    number: int = 0
    waiting: list[Any] = field(default_factory=list)


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


class BlockClock(threading.Thread):
    """Drives a performance by the clock: `ask` from any thread, `hear` is told of every block on this one.

    It waits, armed, until `/play` is asked for; then it plays a block each time one is due. What is asked for
    between two blocks is done before the next, of each path the newest value. Sound that fails or is not a number
    is silence, and `complain` is told.
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
        self._wanted = performance.values[QUALITY]
        self._offset = 0
        self._wake = threading.Condition()
        self._items: list[Ask | Callable[[], None]] = []
        self._newest: dict[str, Ask] = {}  # of each path, since the last job
        self._stopped = False
        self._due = 0.0
        self._told = 0  # when units were told of last
        self._recover_s = config.recover_s / 2  # twice as long with each step down
        self._lately = 0.0  # the load, smoothed over that time
        self._late = 0
        self._failing = False
        self._tail: npt.NDArray[np.float32] | None = None
        self._recorder: Records | None = None
        self._kept: int | None = None  # how much of the performance's log the recorder has

    @property
    def at(self) -> int:
        """First sample of the next block; grows through swaps and replays."""
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

    def do(self, job: Callable[[], None]) -> None:
        """Do something before the next block, on the clock's thread, in turn with what is asked for."""
        with self._wake:
            self._items.append(job)
            self._newest.clear()
            self._wake.notify()

    def stop(self) -> None:
        """End after the present block and what is still to be done."""
        with self._wake:
            self._stopped = True
            self._wake.notify()

    def change_to(self, performance: Performs) -> None:
        """Go on with another performance, cross-faded within a block; only on the clock's thread."""
        at = self.at
        self._tail = self._played()[1] if self.running else None
        self._offset = at - performance.position
        self.performance = performance
        self._wanted = performance.values[QUALITY]

    def record(self, recorder: Records | None) -> None:
        """Record from the next block on, or no more; only on the clock's thread."""
        self._recorder, self._kept = recorder, None

    def run(self) -> None:
        """Play until stopped."""
        try:
            while (turn := self._next()) is not None:
                self._hear(self._turn(turn))
            self._follow(self._items)
        finally:
            if not self._stopped:
                self._complain("the clock stopped; nothing can be heard any more")

    def _next(self) -> list[Ask | Callable[[], None]] | None:
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

    def _turn(self, items: list[Ask | Callable[[], None]]) -> Report:
        begin = time.perf_counter()
        at, asked = self.at, self._follow(items)
        performance = self.performance
        # A score forgets by itself, too.
        due = (at - self._told) * self._config.units_per_s >= performance.rate
        units = Units.of(performance) if asked or due else None
        self._told = at if units is not None else self._told
        if not self.running:
            return Report(at, performance, dict(performance.values), asked, units)
        start = performance.position
        sounding, samples = self._played()
        if self._tail is not None:
            rise = np.linspace(0.0, 1.0, len(samples), dtype=np.float32)[:, None]
            samples, self._tail = rise * samples + (1.0 - rise) * self._tail, None
        self._keep(start, samples)
        self._keep_time(time.perf_counter() - begin)
        return Report(at, performance, dict(performance.values), asked, units, samples, sounding)

    def _follow(self, items: list[Ask | Callable[[], None]]) -> tuple[tuple[Ask, str], ...]:
        """Do what was asked, in its order; return what became of it."""
        asked = []
        for item in items:
            if isinstance(item, Ask):
                asked.append((item, self._change(item)))
            else:
                item()
        return tuple(asked)

    def _keep(self, start: int, samples: npt.NDArray[np.float32]) -> None:
        """Hand a block to the recorder; with the first one all that went before."""
        if self._recorder is None:
            return
        performance, recorder = self.performance, self._recorder
        log = performance.log
        if self._kept is None:
            recorder.begin(performance.score, log.copy(), performance.origin, start)
        else:
            for change in log.since(self._kept):
                recorder.change(change)
        self._kept = len(log)
        recorder.sound(performance.position, samples)

    def _change(self, ask: Ask) -> str:
        try:
            self.performance.change(ask.path, ask.value)
        except InputError as error:
            return str(error)
        if ask.path == QUALITY:
            self._wanted = ask.value
        if ask.path == "/play" and ask.value and not self.running:
            self.running, self._due = True, time.perf_counter()
        return ""

    def _played(self) -> tuple[Sounds | None, npt.NDArray[np.float32]]:
        """Play a block; a performance that fails is silent for a block, and goes on."""
        wrong = ""
        sounding: Sounds | None = None
        samples = np.zeros((self.performance.block, 2), dtype=np.float32)
        after = self.at + len(samples)
        try:
            sounding = self.performance.next()
        except (FugueError, ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
            wrong = f"the sound failed ({error})"
            self._offset += after - self.at  # time goes on
        if sounding is not None and np.isfinite(sounding.samples).all():
            samples = sounding.samples
        elif sounding is not None:
            sounding, wrong = None, "the sound was not a number"
        if sounding is not None and sounding.overloaded:
            wrong = "the sound ran away"
        if wrong and not self._failing:
            self._complain(f"{wrong} and is muted; Recall all brings it back")
        self._failing = bool(wrong)
        return sounding, samples

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
