"""The benchmark of a direct neural vocoder trains what it says it trains, on what it says."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from fugue_state.audio.mel import MelTransform
from fugue_state.config import MelSpec
from fugue_state.errors import TrainingError

SPEC = MelSpec(frames=32)
WORDS = ["--against", "corpus", "--channels", "16", "--blocks", "2", "--batch", "2"]


@pytest.fixture
def neural(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "benchmarks"))
    module = importlib.import_module("neural_vocoder")
    monkeypatch.setattr(module, "CROP", 16)
    return module


def contest(neural: ModuleType, *words: str) -> Any:
    noise = torch.randn(4, round(1.25 * SPEC.samples), generator=torch.Generator().manual_seed(0))
    return neural.Contest(SPEC, (1000 * noise).to(torch.int16), neural.parsed([*WORDS, *words]))


def test_a_crop_is_heard_where_its_mel_is_read(neural: ModuleType) -> None:
    sounds, mels = contest(neural)._batch(torch.Generator().manual_seed(3))
    assert sounds.shape == (2, 16 * SPEC.hop)
    assert mels.shape == (2, SPEC.n_mels, 16)
    inside = slice(2, -2)  # frames that see nothing beyond the crop
    assert np.allclose(MelTransform(SPEC).encode(sounds.numpy())[..., inside], mels[..., inside], atol=1e-4)


def test_the_sound_is_as_long_as_its_mel_whatever_the_length(neural: ModuleType) -> None:
    sound = contest(neural).net(torch.zeros(2, SPEC.n_mels, 7))
    assert sound.shape == (2, 7 * SPEC.hop)
    assert bool(torch.isfinite(sound).all())


def test_judges_learn_only_from_their_share_of_the_time_on(neural: ModuleType) -> None:
    trained = contest(neural, "--adversarial-after", "0.5")
    before = {name: p.clone() for name, p in trained.judges.named_parameters()}
    assert trained.step(0.4)["judges"] == 0.0
    assert all(torch.equal(p, before[name]) for name, p in trained.judges.named_parameters())
    assert trained.step(0.5)["judges"] > 0.0
    assert not [name for name, p in trained.judges.named_parameters() if torch.equal(p, before[name])]


def test_what_it_makes_comes_nearer(neural: ModuleType) -> None:
    trained = contest(neural, "--adversarial-after", "1")
    sounds, mels = trained._batch(torch.Generator().manual_seed(99))

    def near() -> list[float]:
        with torch.no_grad():
            return [float(loss) for loss in trained._near(trained.net(mels), sounds)]

    before = near()
    for _ in range(40):
        trained.step(0.0)
    assert all(after < 0.8 * first for after, first in zip(near(), before, strict=True))


def test_steps_are_the_same_again(neural: ModuleType) -> None:
    one, other = contest(neural), contest(neural)
    assert [one.step(0.9) for _ in range(2)] == [other.step(0.9) for _ in range(2)]


def test_a_loss_that_is_no_number_ends_it(neural: ModuleType) -> None:
    broken = contest(neural)
    with torch.no_grad():
        broken.net.leave.bias.fill_(float("nan"))
    with pytest.raises(TrainingError, match="step 0"):
        broken.step(0.0)


def test_training_stops_on_request_with_what_there_is(neural: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    trained, step = contest(neural), neural.Contest.step

    def stop_after_two(self: Any, share: float) -> Any:
        if self.steps == 2:
            raise KeyboardInterrupt
        return step(self, share)

    monkeypatch.setattr(neural.Contest, "step", stop_after_two)
    said: list[str] = []
    told = neural.learn(trained, 60.0, said.append)
    assert told["steps"] == 2
    assert set(told["losses"]) == set(neural.LOSSES)
    assert said == ["stopped"]
