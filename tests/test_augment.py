from __future__ import annotations

import numpy as np
import pytest
import torch

from fugue_state.audio.mel import MelTransform
from fugue_state.config import AugmentConfig, MelSpec
from fugue_state.learning.augment import Augment

from .conftest import RATE, pluck

SPEC = MelSpec(frames=64)


def draw(shift: float = 0.0, level: float = 0.0, pitch: float = 0.0, tilt: float = 0.0) -> torch.Tensor:
    return torch.tensor([[shift, level, pitch, tilt]])


def mel_of(midi: float, delay_s: float = 0.0, gain: float = 1.0) -> torch.Tensor:
    sound = np.zeros((1, SPEC.samples), dtype=np.float32)
    start = int(delay_s * RATE)
    tone = pluck(midi, 2.0)[: SPEC.samples - start]
    sound[0, start : start + len(tone)] = gain * tone
    return torch.from_numpy(MelTransform(SPEC).encode(sound)[:, None])


def test_nothing_drawn_changes_nothing() -> None:
    mel = mel_of(57)
    config = AugmentConfig(shift_s=0.1, level_db=6, pitch_semitones=1, tilt_db=6)
    assert torch.equal(Augment(SPEC, config)(mel, draw()), mel)


@pytest.mark.parametrize(
    ("config", "drawn", "changed"),
    [
        (AugmentConfig(shift_s=4 * SPEC.hop / RATE), draw(shift=1.0), mel_of(57, 4 * SPEC.hop / RATE)),
        (AugmentConfig(level_db=6), draw(level=-1.0), mel_of(57, gain=10 ** (-6 / 20))),
        (AugmentConfig(pitch_semitones=1), draw(pitch=1.0), mel_of(58)),
        (AugmentConfig(pitch_semitones=1), draw(pitch=-0.5), mel_of(56.5)),
    ],
)
def test_a_change_is_what_the_sound_would_have_been(
    config: AugmentConfig, drawn: torch.Tensor, changed: torch.Tensor
) -> None:
    mel = mel_of(57)
    found = Augment(SPEC, config)(mel, drawn)
    # Where the tone is: the floor has no pitch.
    loud = changed > -0.2
    before, after = (mel - changed)[loud].abs().mean(), (found - changed)[loud].abs().mean()
    assert after < 0.35 * before


def test_tilt_turns_about_the_middle_and_nothing_leaves_the_range() -> None:
    mel = torch.zeros(1, 1, 128, 64)
    tilted = Augment(SPEC, AugmentConfig(tilt_db=8))(mel, draw(tilt=1.0))[0, 0, :, 0] * SPEC.range_db / 2
    assert tilted[0] == pytest.approx(-8.0, abs=0.01)
    assert tilted[-1] == pytest.approx(8.0, abs=0.01)
    loud = Augment(SPEC, AugmentConfig(level_db=20))(torch.ones(1, 1, 128, 64), draw(level=1.0))
    assert float(loud.max()) == 1.0


def test_the_gradient_goes_through() -> None:
    mel = (torch.rand(2, 1, 128, 64) - 0.5).requires_grad_()
    config = AugmentConfig(shift_s=0.1, level_db=3, pitch_semitones=0.5, tilt_db=3)
    moved = Augment(SPEC, config)(mel, torch.tensor([[0.5, 0.5, 0.5, 0.5], [-1.0, -1, -1, -1]]))
    torch.autograd.backward(moved.sum())
    assert mel.grad is not None
    assert float((mel.grad != 0).float().mean()) > 0.8  # all but what was moved out of the image
