"""What the networks are taught by."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from fugue_state.learning.losses import discriminator_hinge, generator_hinge, mel_statistics  # noqa: E402


def test_hinge_losses_at_their_corners() -> None:
    real, fake = torch.tensor([2.0, 0.0]), torch.tensor([-2.0, 1.0])
    assert discriminator_hinge(real, fake) == pytest.approx(0.5 + 1.0)
    assert generator_hinge(fake) == pytest.approx(0.5)


def test_the_mel_loss_compares_distributions_not_pairs() -> None:
    torch.manual_seed(0)
    real = torch.randn(16, 1, 8, 8)
    assert mel_statistics(real, real[torch.randperm(16)]) == pytest.approx(0.0, abs=1e-6)
    assert mel_statistics(real, real + 0.5) == pytest.approx(0.25, abs=1e-5)
    blurred = real.mean(0, keepdim=True).expand_as(real)
    assert mel_statistics(real, blurred) > 0.5  # the average of all is punished, pairs would reward it
