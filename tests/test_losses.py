"""What the networks are taught by."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from fugue_state.learning.across import within  # noqa: E402
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
    real, same = torch.randn(16, 1, 8, 8), torch.zeros(16, dtype=torch.int64)
    assert mel_statistics(real, real[torch.randperm(16)], same, 1) == pytest.approx(0.0, abs=1e-6)
    assert mel_statistics(real, real + 0.5, same, 1) == pytest.approx(0.25, abs=1e-5)
    blurred = real.mean(0, keepdim=True).expand_as(real)
    assert mel_statistics(real, blurred, same, 1) > 0.5  # the average of all is punished, pairs would reward it


def test_the_mel_loss_punishes_one_sound_for_each_label() -> None:
    torch.manual_seed(0)
    label = torch.tensor([0, 1]).repeat(64)
    real = 3.0 * label[:, None, None, None] + torch.randn(128, 1, 8, 8)
    kinds = torch.stack([real[label == one].mean(0) for one in (0, 1)])
    single = kinds[label]
    assert mel_statistics(real, single, label, 2) > 0.9  # by what differs within a label: 1 in each band and frame
    assert mel_statistics(real, single, torch.zeros_like(label), 1) < 0.5  # the whole batch varies nearly as it should


def test_variance_within_labels_is_that_about_their_own_means() -> None:
    x, label = torch.tensor([[1.0], [3.0], [10.0], [14.0], [7.0]]), torch.tensor([0, 0, 2, 2, 1])
    assert within(x, label, 3).tolist() == [pytest.approx((1 + 1 + 4 + 4) / 2)]  # 7 is alone
    assert within(x[2:], torch.tensor([0, 1, 2]), 3).tolist() == [0.0]
    assert within(torch.randn(6, 2, 3), torch.zeros(6, dtype=torch.int64), 1).shape == (2, 3)
