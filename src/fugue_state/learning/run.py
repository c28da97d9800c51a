"""A run: a network learns in a folder. It can be stopped at any step and continued as if uninterrupted."""

from __future__ import annotations

import contextlib
import json
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.utilities.exceptions import MisconfigurationException

from fugue_state.config import Budget, ComputeConfig
from fugue_state.errors import InputError
from fugue_state.files import output_folder, replacing
from fugue_state.learning.learner import Learner
from fugue_state.learning.log import Log, steps_logged
from fugue_state.memory.catalogue import RUN_FILE
from fugue_state.memory.checkpoint import read_tensors, write_tensors
from fugue_state.memory.claim import claimed
from fugue_state.progress import Track, untracked
from fugue_state.settings import AnySettings, Settings, checked

STATE_FILE = "state.safetensors"
# Signals of schedulers: at the end of a job's time, or shortly before it. Windows has only the first.
SCHEDULERS = (signal.SIGTERM, *([signal.SIGUSR1] if hasattr(signal, "SIGUSR1") else []))
# Exit code of a run that a scheduler stopped and that --resume goes on with: EX_TEMPFAIL of sysexits.h.
PUT_OFF_CODE = 75
LEAST_S = 1e-6  # shortest duration assumed, for coarse clocks
ROUNDS = {"precision", "layout"}  # settings that may differ when a run continues, since they only affect rounding


class Begin(Enum):
    """How a run begins: in a folder without a run, by continuing the one there, or by replacing it."""

    NEW = "new"
    RESUME = "resume"
    OVER = "over"


@dataclass(frozen=True)
class Progress:
    """A step of a run, for progress displays."""

    step: int
    losses: dict[str, float]
    elapsed_s: float
    remaining_s: float


@dataclass(frozen=True)
class Watcher:
    """Callbacks of whoever waits for a run: gets steps, news and notes, and may stop it."""

    step: Callable[[Progress], None] = lambda _: None
    say: Callable[[str], None] = lambda _: None
    track: Track = untracked
    stop: Callable[[], bool] = lambda: False

    def note(self, line: str) -> None:
        """Report something worth knowing before going on."""
        self.say(f"note: {line}")


class Run:
    """A folder in which a network learns until a budget is spent, in one process or in several.

    It holds the settings, the state to continue from and the logs; what was learned is stored beside them. As a context
    manager, which may be entered again inside, it locks the folder against other processes; Ctrl-C then stops after the
    current step, a second Ctrl-C at once. SIGTERM and SIGUSR1, which schedulers send, stop it in the same way, and then
    `put_off` is set: the run is to be resumed. A budget in minutes counts from the first step on, one in steps from the
    run's beginning.
    """

    def __init__(
        self,
        folder: Path,
        budget: Budget,
        begin: Begin = Begin.NEW,
        watcher: Watcher | None = None,
        compute: ComputeConfig | None = None,
    ) -> None:
        self.folder, self.budget, self.begin = folder, budget, begin
        self.watcher = watcher or Watcher()
        self.stopped = self.put_off = False
        self.log: Log  # set at the first step, in the first process only
        self._compute = compute or ComputeConfig(accelerator="cpu")
        self._open = contextlib.ExitStack()
        self._entered = 0  # times: whoever trains enters it again inside of whoever prepares

    @cached_property
    def fabric(self) -> Fabric:
        """The Fabric that runs steps on the devices asked for; InputError if they are not available."""
        return make_fabric(self._compute)

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and reports."""
        return bool(self.fabric.is_global_zero)

    def __enter__(self) -> Run:
        if self._entered == 0:
            self.fabric.launch()
            if self.first:
                self._open.enter_context(claimed(self.folder))
            else:
                self.watcher = Watcher()
            self._open.enter_context(self._stoppable())
        self._entered += 1
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._entered -= 1
        if self._entered:
            return
        self._open.close()
        if kind is None:  # together: if one process leaves early, others may abort when connections break
            self.fabric.barrier()
            if torch.distributed.is_initialized():
                torch.distributed.destroy_process_group()

    @contextlib.contextmanager
    def _stoppable(self) -> Iterator[None]:
        """Let Ctrl-C and a scheduler's signals ask for a stop; only possible in the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, *SCHEDULERS)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _ask(self, number: int, *_: object) -> None:
        if number in SCHEDULERS:
            self.put_off = True
        elif self.stopped:
            raise KeyboardInterrupt
        if self.stopped:  # a scheduler may send several signals: the save that has begun is not broken off
            return
        self.stopped = True
        self.watcher.say("")  # below the progress bar
        self.watcher.say("stopping after this step; everything is kept")

    def check(self, settings: Settings) -> None:
        """Check that these settings may be learned here: a new run, or the same as the run in the folder.

        Raises InputError if a run exists that is neither to be continued nor replaced, if there is none to resume, or
        if it has other settings; the first difference is named. How a step is computed may differ.
        """
        before = self.before(type(settings))
        if before is not None:
            then = _decisive(before.model_dump(mode="json"))
            for key, now in _decisive(settings.model_dump(mode="json")).items():
                # An older version may not have stored this setting.
                if key in before.model_fields_set and then[key] != now:
                    difference = _first_difference(key, then[key], now)
                    raise InputError(f"{self.folder}: the run was started with {difference}")
        elif self.begin is Begin.NEW and (self.folder / RUN_FILE).exists():
            raise InputError(f"{self.folder}: holds a run already; --resume continues it, --force starts over")

    def before(self, kind: type[AnySettings]) -> AnySettings | None:
        """Return the settings that a continued run was started with; InputError if it cannot be continued."""
        return read_settings(self.folder, kind) if self.begin is Begin.RESUME else None

    @property
    def done(self) -> int:
        """Steps made before this start."""
        return steps_logged(self.folder) if self.begin is Begin.RESUME else 0

    def learn(self, learner: Learner, keep: Callable[[bool], None], stepped: Callable[[], None] = lambda: None) -> None:
        """Train a learner until the budget is spent or a stop is asked for.

        In the first process, `keep` is called at every save to store what was learned; its argument says whether it is
        the last save. `stepped` is called after each step. Raises as `check` does, and TrainingError if a loss is NaN
        or infinite; the last good state stays.
        """
        self._take_up(learner)
        first = learner.step_count
        if self.first:
            self.log = Log(self.folder, learner.columns, first, self.watcher.say)
        begin = saved = time.monotonic()

        def times_s() -> tuple[float, float]:
            elapsed = max(time.monotonic() - begin, LEAST_S)
            return elapsed, _left_s(self.budget, learner.step_count, learner.step_count - first, elapsed)

        with self.log if self.first else contextlib.nullcontext():
            while True:
                elapsed, left = times_s()
                due = time.monotonic() - saved > self.budget.save_minutes * 60.0
                ends, due = self._agreed(left == 0.0 or self.stopped or self.watcher.stop(), due)
                if self.first and (ends or due):
                    self.log.flush()
                    write_tensors(self.folder / STATE_FILE, learner.kind, learner.settings, learner.state())
                    keep(ends)
                if ends:
                    return
                if due:
                    saved = time.monotonic()
                losses = learner.step(left / (left + elapsed))
                if self.first:
                    progress = Progress(learner.step_count, losses, *times_s())
                    self.log.losses(progress.step, losses, progress.elapsed_s)
                    self.watcher.step(progress)
                    stepped()

    def _take_up(self, learner: Learner) -> None:
        """Begin in the folder after deleting an older run's files, or continue from the state in it."""
        self.check(learner.settings)
        self.fabric.barrier()  # all processes must have looked before the first one writes
        state = self.folder / STATE_FILE
        if self.first:
            output_folder(self.folder)
            if self.begin is not Begin.RESUME:
                for name in (STATE_FILE, *Log.FILES, *learner.leaves):
                    (self.folder / name).unlink(missing_ok=True)
            # Also for a continued run, since it may be computed in another way from now on.
            with replacing(self.folder / RUN_FILE) as beside:
                text = json.dumps(learner.settings.model_dump(mode="json"), indent=1)
                beside.write_text(text, encoding="utf-8")
        self.fabric.barrier()
        if self.begin is Begin.RESUME and state.is_file():
            learner.restore(read_tensors(state, learner.kind)[1], state)

    def _agreed(self, ends: bool, due: bool) -> tuple[bool, bool]:
        """Return the first process's flags, `put_off` among them, since clocks and signals differ between processes."""
        if self.fabric.world_size > 1:
            ends, due, self.put_off = self.fabric.broadcast((ends, due, self.put_off))
        return ends, due


def _left_s(budget: Budget, step: int, done: int, elapsed_s: float) -> float:
    """Return the seconds left of a budget; for one in steps, estimated from the speed so far."""
    ends = []
    if budget.minutes is not None:
        ends.append(budget.minutes * 60.0 - elapsed_s)
    if budget.steps is not None:
        ends.append((budget.steps - step) * elapsed_s / max(done, 1))
    return max(0.0, min(ends))


def make_fabric(compute: ComputeConfig) -> Fabric:
    """Return a Fabric for the devices asked for; it joins the processes of a launcher such as torchrun."""
    # Fabric's own messages are of no interest to users.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    try:
        return Fabric(
            accelerator=compute.accelerator,
            devices=compute.devices,
            num_nodes=compute.nodes,
            strategy=compute.strategy,
        )
    except (RuntimeError, ValueError, MisconfigurationException) as error:
        raise InputError(f"cannot train on {compute.devices} x {compute.accelerator}: {error}") from None


def read_settings(folder: Path, kind: type[AnySettings]) -> AnySettings:
    """Return the settings of the run in a folder; InputError if there is none."""
    path = folder / RUN_FILE
    if not path.is_file():
        raise InputError(f"{folder}: no run to resume")
    try:
        return checked(kind, json.loads(path.read_text(encoding="utf-8")))
    except ValueError:
        raise InputError(f"{path}: damaged; --force starts over") from None


def _decisive(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that decide what a run learns, leaving out those that only affect rounding."""
    return {
        key: _decisive(value) if isinstance(value, dict) else value
        for key, value in values.items()
        if key not in ROUNDS
    }


def _first_difference(key: str, before: object, now: object) -> str:
    if isinstance(before, dict) and isinstance(now, dict):
        inner = next(k for k in now if before.get(k) != now[k])
        return _first_difference(f"{key}.{inner}", before.get(inner), now[inner])
    return f"{key} = {before}, not {now}"
