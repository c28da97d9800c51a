"""What the networks are taught by."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from fugue_state.learning.losses import (  # noqa: E402
    discriminator_hinge,
    discriminator_relativistic,
    generator_hinge,
    generator_relativistic,
    mel_statistics,
    roughness,
)


def test_hinge_losses_at_their_corners() -> None:
    real, fake = torch.tensor([2.0, 0.0]), torch.tensor([-2.0, 1.0])
    assert discriminator_hinge(real, fake) == pytest.approx(0.5 + 1.0)
    assert generator_hinge(real, fake) == pytest.approx(0.5)


def test_relativistic_losses_look_at_pairs() -> None:
    real, fake = torch.tensor([3.0, 0.0]), torch.tensor([1.0, 0.0])
    pairs = [float(torch.log1p(torch.exp(torch.tensor(-2.0)))), float(torch.log(torch.tensor(2.0)))]
    assert discriminator_relativistic(real, fake) == pytest.approx(sum(pairs) / 2)
    assert generator_relativistic(fake, real) == pytest.approx(sum(pairs) / 2)
    moved = real + 7.0, fake + 7.0
    assert discriminator_relativistic(*moved) == pytest.approx(sum(pairs) / 2)


def test_roughness_is_half_the_squared_gradient() -> None:
    torch.manual_seed(0)
    slope, mels = torch.randn(64), torch.randn(20_000, 64)
    moved = mels + 0.01 * torch.randn(20_000, 64)
    found = roughness(mels @ slope, moved @ slope, 0.01)
    assert found == pytest.approx(0.5 * float(slope.square().sum()), rel=0.05)


def test_the_mel_loss_compares_distributions_not_pairs() -> None:
    torch.manual_seed(0)
    real = torch.randn(16, 1, 8, 8)
    assert mel_statistics(real, real[torch.randperm(16)]) == pytest.approx(0.0, abs=1e-6)
    assert mel_statistics(real, real + 0.5) == pytest.approx(0.25, abs=1e-5)
    blurred = real.mean(0, keepdim=True).expand_as(real)
    assert mel_statistics(real, blurred) > 0.5  # the average of all is punished, pairs would reward it
