from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from fugue_state.cli import main
from fugue_state.config import Budget, ComputeConfig, MelSpec, ModelConfig, Settings, TrainConfig
from fugue_state.measure.trend import is_noise
from fugue_state.memory import pace as pace_module
from fugue_state.memory.catalogue import RUN_FILE
from fugue_state.memory.dataset import MelSet
from fugue_state.memory.pace import LEARNING, find_pace, reached, told
from fugue_state.memory.training import RunConfig, Trainer, make_fabric, read_run, suit


class Loop(Settings):
    way: str
    size: int = 64
    long: bool = True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[Loop], Callable[[], None]]:
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


def ways(*names: str) -> dict[str, Loop]:
    return {name: Loop(way=name) for name in names}


def find(build: Callable[[Loop], Callable[[], None]], budget: Budget, *names: str, done: int = 0) -> object:
    return find_pace(
        ways(*names), budget, build, shrink=lambda run: run.model_copy(update={"size": 4, "long": False}),
        smaller=lambda run: [run.model_copy(update={"size": size}) for size in (32, 16)], needed=1000, done=done,
    )  # fmt: skip


def test_the_fastest_way_is_taken_and_a_hopeless_one_is_never_tried_at_length(
    clock: Callable[[Loop], Callable[[], None]],
) -> None:
    tried: list[Loop] = []

    def build(run: Loop) -> Callable[[], None]:
        tried.append(run)
        return clock(run)

    found = find(build, Budget(minutes=60), "slow", "fast", "impossible")
    assert isinstance(found, pace_module.Pace)
    assert (found.way, found.run.size, found.step_s) == ("fast", 64, 1.0)
    assert found.slower == {"slow": 20.0, "fast": 1.0}
    assert [run.way for run in tried if run.long] == ["fast"]
    assert found.steps == int(LEARNING * 3600)


def test_chance_does_not_decide_between_ways_that_are_as_fast(clock: Callable[[Loop], Callable[[], None]]) -> None:
    found = find(clock, Budget(minutes=60), "fast", "near")
    assert isinstance(found, pace_module.Pace)
    assert found.way == "fast"


def test_a_device_that_can_do_nothing_says_so(clock: Callable[[Loop], Callable[[], None]]) -> None:
    with pytest.raises(RuntimeError, match="no such instruction"):
        find(clock, Budget(minutes=60), "impossible")


@pytest.mark.parametrize(("minutes", "size"), [(20.0, 64), (10.0, 32), (6.0, 16), (1.0, 16)])
def test_the_widest_network_whose_steps_fit_is_taken(
    clock: Callable[[Loop], Callable[[], None]], minutes: float, size: int
) -> None:
    budget = Budget(minutes=minutes)
    found = find(clock, budget, "fast")
    assert isinstance(found, pace_module.Pace)
    assert (found.run.size, found.asked.size) == (size, 64)
    lines = told(found, budget, option="--size", size=lambda run: run.size)
    assert any(f"--size {size} is taken" in line for line in lines) == (size < 64)
    assert any("too few steps" in line and "--minutes 5 helps" in line for line in lines) == (minutes == 1.0)


def test_a_guess_is_told_as_one(clock: Callable[[Loop], Callable[[], None]]) -> None:
    budget = Budget(minutes=1)
    found = find(clock, budget, "fast")
    assert isinstance(found, pace_module.Pace)
    known, guess = (
        " ".join(told(found, budget, option="--size", size=lambda run: run.size, guessed=guessed))
        for guessed in (False, True)
    )
    assert "are needed" in known
    assert "guess" not in known
    assert "may be needed, a guess that no run has confirmed" in guess
    assert "perhaps too few steps; --minutes" in guess
    assert "are needed" not in guess
    assert "noise" not in guess


def test_a_run_of_very_few_steps_is_not_timed(clock: Callable[[Loop], Callable[[], None]]) -> None:
    found = find(clock, Budget(steps=10), "slow", "fast")
    assert isinstance(found, pace_module.Pace)
    assert (found.way, found.step_s, found.steps) == ("slow", 0.0, 10)
    assert not told(found, Budget(steps=10), option="--size", size=lambda run: run.size)


def test_what_was_done_before_counts(clock: Callable[[Loop], Callable[[], None]]) -> None:
    found = find(clock, Budget(minutes=10), "fast", done=900)
    assert isinstance(found, pace_module.Pace)
    assert (found.run.size, found.steps) == (64, 900 + int(LEARNING * 600))
    assert reached(Budget(steps=50), 1.0, 900) == 900
    assert reached(Budget(steps=1000, minutes=1), 1.0, 900) == 900 + int(LEARNING * 60)


def run_config(**train: object) -> RunConfig:
    return RunConfig(
        name="t", mel=MelSpec(), model=ModelConfig(feature_maps=2, latent_size=4, labels=("Am", "C")),
        train=TrainConfig.model_validate({"batch": 4} | train), data_key="key",
    )  # fmt: skip


def mel_set() -> MelSet:
    mels = torch.rand((12, 128, 128), generator=torch.Generator().manual_seed(0)).mul(2).sub(1).half()
    return MelSet(mels, torch.arange(12) % 2, ("Am", "C"), [], "key")


def test_a_run_is_computed_as_asked_or_as_is_fastest() -> None:
    fabric = make_fabric(ComputeConfig(accelerator="cpu"))
    found = suit(run_config(), mel_set(), Budget(steps=99), fabric)
    assert found.way in {"fp32, channels last", "bf16, channels last", "fp32, contiguous"}
    assert "auto" not in {found.run.train.precision, found.run.train.layout}
    assert found.run.model_copy(update={"train": run_config().train}) == run_config()
    asked = suit(run_config(precision="bf16", layout="contiguous"), mel_set(), Budget(steps=99), fabric)
    assert (asked.way, asked.slower) == ("bf16, contiguous", {"bf16, contiguous": 1.0})


def test_timing_a_run_changes_nothing_of_what_it_learns() -> None:
    fabric = make_fabric(ComputeConfig(accelerator="cpu"))
    run, data = run_config(precision="fp32", layout="channels_last"), mel_set()
    plain = Trainer(run, data, fabric)
    expected = [plain.step() for _ in range(2)]
    suit(run, data, Budget(steps=99), fabric)
    timed = Trainer(run, data, fabric)
    assert [timed.step() for _ in range(2)] == expected


@pytest.mark.parametrize("layout", ["channels_last", "contiguous"])
def test_layouts_and_precisions_learn_the_same_but_for_rounding(layout: str) -> None:
    exact = Trainer(run_config(precision="fp32", layout="channels_last"), mel_set()).step()
    other = Trainer(run_config(precision="fp32", layout=layout), mel_set()).step()
    rough = Trainer(run_config(precision="bf16", layout=layout), mel_set()).step()
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
    assert read_run(out, RunConfig).train.precision == before
    monkeypatch.setattr(pace_module, "_timed", lambda runs, _: {n: 9.0 if "bf16" in n else 1.0 for n in runs})
    went_on = CliRunner().invoke(main, ["train", str(root), "-o", str(out), "--steps", "4", "--resume"])
    assert went_on.exit_code == 0, went_on.output
    assert "bf16, channels last takes far longer" in went_on.output
    assert read_run(out, RunConfig).train.precision == after
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
