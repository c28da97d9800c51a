from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import pytest
import torch

from fugue_state.config import Budget
from fugue_state.errors import InputError
from fugue_state.learning.learner import Learner, RunSettings
from fugue_state.learning.run import STATE_FILE, Begin, Progress, Run, Watcher
from fugue_state.memory.checkpoint import read_tensors


class Count(RunSettings):
    needed: ClassVar[int] = 10
    by: int = 1
    precision: str = "auto"

    @property
    def width(self) -> int:
        return 1

    def as_wide(self, width: int) -> Self:
        raise NotImplementedError

    def shrunk(self, processes: int) -> Self:
        raise NotImplementedError

    def ways(self, before: Self | None) -> dict[str, Self]:
        raise NotImplementedError


class Counter(Learner):
    """What it learns is to count; `then` is done within each step."""

    kind: ClassVar[str] = "count"
    columns: ClassVar[tuple[str, ...]] = ("loss",)
    leaves: ClassVar[tuple[str, ...]] = ("count.txt",)

    def __init__(self, settings: Count, then: Callable[[int], None] = lambda _: None) -> None:
        super().__init__(settings)
        self.by, self.then, self.lefts = settings.by, then, list[float]()
        self.net = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.zeros_(self.net.weight)

    def step(self, left: float = 1.0) -> dict[str, float]:
        self.lefts.append(left)
        self.then(self.step_count)
        self.net.weight.data += self.by
        self.step_count += 1
        return {"loss": float(self.step_count)}

    def networks(self) -> Mapping[str, torch.nn.Module]:
        return {"net": self.net}

    def optimizers(self) -> Mapping[str, Any]:
        return {}


def saves(run: Run, learner: Counter) -> list[tuple[int, bool]]:
    """Let it learn, and return at which steps it was saved, and whether as the last."""
    found: list[tuple[int, bool]] = []
    with run:
        run.learn(learner, lambda last: found.append((learner.step_count, last)))
    return found


def test_a_run_ends_at_its_step_or_with_its_time(tmp_path: Path) -> None:
    seen: list[Progress] = []
    counter = Counter(Count())
    run = Run(tmp_path / "steps", Budget(steps=5, minutes=60), watcher=Watcher(step=seen.append))
    assert saves(run, counter) == [(5, True)]
    assert [now.step for now in seen] == [1, 2, 3, 4, 5]
    assert seen[-1].remaining_s == 0.0
    assert counter.lefts[0] > counter.lefts[2] > counter.lefts[4] > 0.0
    last = saves(Run(tmp_path / "time", Budget(steps=10**9, minutes=1e-4)), Counter(Count()))[-1]
    assert 0 < last[0] < 10**9
    assert last[1]


def test_a_run_is_saved_as_often_as_asked(tmp_path: Path) -> None:
    often = saves(Run(tmp_path / "run", Budget(steps=3, save_minutes=1e-9)), Counter(Count()))
    assert often == [(0, False), (1, False), (2, False), (3, True)]


def test_a_run_goes_on_from_its_state_whatever_only_rounds(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    saves(Run(folder, Budget(steps=3)), Counter(Count(by=2)))
    again = Counter(Count(by=2, precision="bf16"))
    assert saves(Run(folder, Budget(steps=5), Begin.RESUME), again) == [(5, True)]
    assert float(again.net.weight.detach()) == 10.0
    assert json.loads((folder / "run.json").read_text()) == {"by": 2, "precision": "bf16"}
    with pytest.raises(InputError, match="started with by = 2, not 3"):
        saves(Run(folder, Budget(steps=9), Begin.RESUME), Counter(Count(by=3)))
    (folder / "count.txt").touch()
    over = Counter(Count(by=3))
    saves(Run(folder, Budget(steps=1), Begin.OVER), over)
    assert read_tensors(folder / STATE_FILE, Counter.kind)[1]["net/weight"].item() == 3.0
    assert not (folder / "count.txt").exists()


def test_ctrl_c_ends_a_run_after_the_step_and_a_second_one_at_once(tmp_path: Path) -> None:
    said: list[str] = []
    before = signal.getsignal(signal.SIGINT)

    def once(step: int) -> None:
        if step == 2:
            signal.raise_signal(signal.SIGINT)

    def twice(step: int) -> None:
        once(step)
        once(step)

    run = Run(tmp_path / "run", Budget(steps=9), watcher=Watcher(say=said.append))
    assert saves(run, Counter(Count(), once)) == [(3, True)]
    assert run.stopped
    assert said[-1] == "stopping after this step; everything is kept"
    with pytest.raises(KeyboardInterrupt):
        saves(Run(tmp_path / "other", Budget(steps=9)), Counter(Count(), twice))
    assert signal.getsignal(signal.SIGINT) is before
    assert not (tmp_path / "other" / ".run.lock").exists()


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_signals_of_a_scheduler_end_a_run_after_the_step_however_many(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGUSR1)

    def both(step: int) -> None:
        if step == 2:
            signal.raise_signal(signal.SIGUSR1)
            signal.raise_signal(signal.SIGTERM)

    run = Run(tmp_path / "run", Budget(steps=9))
    assert saves(run, Counter(Count(), both)) == [(3, True)]
    assert run.put_off
    assert saves(Run(tmp_path / "run", Budget(steps=5), Begin.RESUME), Counter(Count())) == [(5, True)]
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGUSR1)) == before


def test_a_run_beside_the_main_thread_is_no_error(tmp_path: Path) -> None:
    found: list[tuple[int, bool]] = []
    thread = threading.Thread(target=lambda: found.extend(saves(Run(tmp_path, Budget(steps=2)), Counter(Count()))))
    thread.start()
    thread.join()
    assert found == [(2, True)]


def test_a_folder_belongs_to_one_run(tmp_path: Path) -> None:
    with Run(tmp_path / "run", Budget(steps=1)):
        other = Run(tmp_path / "run", Budget(steps=1))
        with pytest.raises(InputError, match="another run is at work in this folder"):
            other.__enter__()
