from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from fugue_state.cli import main
from fugue_state.config import Budget, ComputeConfig, MelSpec, ModelConfig, TrainConfig
from fugue_state.corpus.mels import MelSet
from fugue_state.learning import pace as pace_module
from fugue_state.learning.learner import RunSettings
from fugue_state.learning.log import LOSS_FILE
from fugue_state.learning.memory_training import MemoryRun, Trainer
from fugue_state.learning.pace import LEARNING, Pace, find_pace, reached, told
from fugue_state.learning.run import Begin, Run, make_fabric, read_settings
from fugue_state.learning.trend import is_noise
from fugue_state.memory.catalogue import RUN_FILE


class Loop(RunSettings):
    way: str
    others: tuple[str, ...] = ()
    size: int = 64
    long: bool = True

    @property
    def needed(self) -> int:
        return 1000

    @property
    def width(self) -> int:
        return self.size

    def as_wide(self, width: int) -> Self:
        return self.model_copy(update={"size": width})

    def shrunk(self, processes: int) -> Self:
        del processes
        return self.model_copy(update={"size": 4, "long": False})

    def ways(self, before: Self | None) -> dict[str, Self]:
        del before
        return {way: self.model_copy(update={"way": way, "others": ()}) for way in (self.way, *self.others)}


Build = Callable[[Loop], Callable[[], None]]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Build:
    """A machine whose steps last as long as it is said: `slow` is 20 times `fast`, and size counts."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def build(run: Loop) -> Callable[[], None]:
        if run.way == "impossible":
            raise RuntimeError("no such instruction")

        def step() -> None:
            now[0] += {"fast": 1.0, "near": 0.9, "slow": 20.0}[run.way] * run.size / 64

        return step

    return build


@pytest.fixture
def find(tmp_path: Path) -> Callable[..., Pace[Loop]]:
    """Find the pace of a run of these ways, in a folder where a run has made so many steps."""

    def found(build: Build, budget: Budget, *names: str, done: int = 0) -> Pace[Loop]:
        settings = Loop(way=names[0], others=names[1:])
        if done:
            (tmp_path / RUN_FILE).write_text(json.dumps(settings.model_dump()))
            (tmp_path / LOSS_FILE).write_text(f"step,loss,seconds\n{done},1.0,2.0\n")
        run = Run(tmp_path, budget, Begin.RESUME if done else Begin.NEW)
        return find_pace(run, settings, build, (32, 16))

    return found


def test_the_fastest_way_is_taken_and_a_hopeless_one_is_never_tried_at_length(
    find: Callable[..., Pace[Loop]],
    clock: Build,
) -> None:
    tried: list[Loop] = []

    def build(run: Loop) -> Callable[[], None]:
        tried.append(run)
        return clock(run)

    found = find(build, Budget(minutes=60), "slow", "fast", "impossible")
    assert (found.way, found.run.size, found.step_s) == ("fast", 64, 1.0)
    assert found.slower == {"slow": 20.0, "fast": 1.0}
    assert [run.way for run in tried if run.long] == ["fast"]
    assert found.steps == int(LEARNING * 3600)


def test_chance_does_not_decide_between_ways_that_are_as_fast(find: Callable[..., Pace[Loop]], clock: Build) -> None:
    found = find(clock, Budget(minutes=60), "fast", "near")
    assert found.way == "fast"


def test_a_device_that_can_do_nothing_says_so(find: Callable[..., Pace[Loop]], clock: Build) -> None:
    with pytest.raises(RuntimeError, match="no such instruction"):
        find(clock, Budget(minutes=60), "impossible")


@pytest.mark.parametrize(("minutes", "size"), [(20.0, 64), (10.0, 32), (6.0, 16), (1.0, 16)])
def test_the_widest_network_whose_steps_fit_is_taken(
    find: Callable[..., Pace[Loop]], clock: Build, minutes: float, size: int
) -> None:
    budget = Budget(minutes=minutes)
    found = find(clock, budget, "fast")
    assert (found.run.size, found.asked.size) == (size, 64)
    lines = told(found, budget, "--size")
    assert any(f"--size {size} is taken" in line for line in lines) == (size < 64)
    assert any("too few steps" in line and "5 minutes help" in line for line in lines) == (minutes == 1.0)


def test_a_guess_is_told_as_one(find: Callable[..., Pace[Loop]], clock: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    budget = Budget(minutes=1)
    found = find(clock, budget, "fast")
    known = " ".join(told(found, budget, "--size"))
    monkeypatch.setattr(Loop, "guessed", True)
    guess = " ".join(told(found, budget, "--size"))
    assert "are needed" in known
    assert "guess" not in known
    assert "may be needed, a guess that no run has confirmed" in guess
    assert "perhaps too few steps; " in guess
    assert "are needed" not in guess
    assert "noise" not in guess


def test_a_run_of_very_few_steps_is_not_timed(find: Callable[..., Pace[Loop]], clock: Build) -> None:
    found = find(clock, Budget(steps=10), "slow", "fast")
    assert (found.way, found.step_s, found.steps) == ("slow", 0.0, 10)
    assert not told(found, Budget(steps=10), "--size")


def test_what_was_done_before_counts(find: Callable[..., Pace[Loop]], clock: Build) -> None:
    found = find(clock, Budget(minutes=10), "fast", done=900)
    assert (found.run.size, found.steps) == (64, 900 + int(LEARNING * 600))
    assert reached(Budget(steps=50), 1.0, 900) == 900
    assert reached(Budget(steps=1000, minutes=1), 1.0, 900) == 900 + int(LEARNING * 60)


def run_config(**train: object) -> MemoryRun:
    return MemoryRun(
        name="t", mel=MelSpec(), model=ModelConfig(feature_maps=2, latent_size=4, labels=("Am", "C")),
        train=TrainConfig.model_validate({"batch": 4} | train), data_key="key",
    )  # fmt: skip


def mel_set() -> MelSet:
    mels = torch.rand((12, 128, 128), generator=torch.Generator().manual_seed(0)).mul(2).sub(1).half()
    return MelSet(mels.numpy(), np.arange(12) % 2, ("Am", "C"), [], "key")


def timed(folder: Path, settings: MemoryRun) -> Pace[MemoryRun]:
    run, data = Run(folder, Budget(steps=99)), mel_set()
    return find_pace(run, settings, lambda trial: Trainer(trial, data, run.fabric).step)


def test_a_run_is_computed_as_asked_or_as_is_fastest(tmp_path: Path) -> None:
    found = timed(tmp_path, run_config())
    assert found.way in {"fp32, channels last", "bf16, channels last", "fp32, contiguous"}
    assert "auto" not in {found.run.train.precision, found.run.train.layout}
    assert found.run.model_copy(update={"train": run_config().train}) == run_config()
    asked = timed(tmp_path, run_config(precision="bf16", layout="contiguous"))
    assert (asked.way, asked.slower) == ("bf16, contiguous", {"bf16, contiguous": 1.0})


def test_timing_a_run_changes_nothing_of_what_it_learns(tmp_path: Path) -> None:
    settings, data = run_config(precision="fp32", layout="channels_last"), mel_set()
    fabric = make_fabric(ComputeConfig(accelerator="cpu"))
    plain = Trainer(settings, data, fabric)
    expected = [plain.step() for _ in range(2)]
    timed(tmp_path, settings)
    after = Trainer(settings, data, fabric)
    assert [after.step() for _ in range(2)] == expected


@pytest.mark.parametrize("layout", ["channels_last", "contiguous"])
def test_layouts_and_precisions_learn_the_same_but_for_rounding(layout: str) -> None:
    def first_step(**train: object) -> dict[str, float]:
        return Trainer(run_config(**train), mel_set(), make_fabric(ComputeConfig(accelerator="cpu"))).step()

    exact = first_step(precision="fp32", layout="channels_last")
    other, rough = first_step(precision="fp32", layout=layout), first_step(precision="bf16", layout=layout)
    assert other == pytest.approx(exact, abs=1e-4)
    assert rough == pytest.approx(exact, abs=0.05)
    assert rough != exact


@pytest.mark.parametrize(("before", "after"), [("bf16", "fp32"), ("fp32", "fp32")])
def test_a_run_from_another_machine_goes_on_in_the_way_that_is_fast_here(
    tmp_path: Path, make_corpus: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, before: str, after: str
) -> None:
    root, out = make_corpus({"Am": 4, "C": 4}), tmp_path / "run"
    monkeypatch.setattr(pace_module, "WORTH_TIMING", 1)
    small = ["--feature-maps", "2", "--latent-size", "4", "--batch", "2", "--accelerator", "cpu"]
    began = CliRunner().invoke(
        main, ["train", str(root), "-o", str(out), *small, "--steps", "2", "--precision", before]
    )
    assert began.exit_code == 0, began.output
    assert read_settings(out, MemoryRun).train.precision == before
    monkeypatch.setattr(pace_module, "_timed", lambda runs, _: {n: 9.0 if "bf16" in n else 1.0 for n in runs})
    went_on = CliRunner().invoke(main, ["train", str(root), "-o", str(out), "--steps", "4", "--resume"])
    assert went_on.exit_code == 0, went_on.output
    assert "bf16, channels last takes far longer" in went_on.output
    assert read_settings(out, MemoryRun).train.precision == after
    assert (out / RUN_FILE).is_file()


@pytest.mark.parametrize(
    ("found", "noise"),
    [
        ({"step": 100, "accuracy": 0.12, "frechet": 900.0, "frechet_real": 617.0}, True),
        ({"step": 100, "accuracy": 1.0, "frechet": 1300.0, "frechet_real": 617.0}, False),
        ({"step": 100, "accuracy": 1.0, "frechet": 700.0, "frechet_real": 617.0}, False),
        ({"step": 2000, "frechet": 2000.0, "frechet_real": 617.0}, True),
        ({"step": 4}, True),
        ({"step": 1500}, False),
    ],
)
def test_a_memory_is_noise_until_it_comes_near_to_what_it_learns(found: dict[str, float], noise: bool) -> None:
    assert is_noise(found) == noise
