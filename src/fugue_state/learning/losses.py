"""The losses of the generator and of the discriminator."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from fugue_state.learning.across import moments, within


def discriminator_hinge(real: Tensor, fake: Tensor) -> Tensor:
    """Hinge loss of the discriminator on scores (B,) (Lim and Ye, 2017)."""
    return functional.relu(1.0 - real).mean() + functional.relu(1.0 + fake).mean()


def generator_hinge(real: Tensor, fake: Tensor) -> Tensor:
    """Hinge loss of the generator on scores (B,)."""
    del real
    return -fake.mean()


def discriminator_relativistic(real: Tensor, fake: Tensor) -> Tensor:
    """Relativistic pairing loss of the discriminator on scores (B,) of pairs (Jolicoeur-Martineau, 2019)."""
    return functional.softplus(fake - real).mean()


def generator_relativistic(real: Tensor, fake: Tensor) -> Tensor:
    """Relativistic pairing loss of the generator on scores (B,) of pairs."""
    return functional.softplus(real - fake).mean()


def roughness(scores: Tensor, moved: Tensor, step: float) -> Tensor:
    """Squared gradient of the discriminator: scores (B,) of mels, and of the mels moved by noise of size `step`.

    The gradient penalties R1 and R2 (Mescheder et al., 2018), taken over a finite distance: no second derivatives.
    """
    return 0.5 * ((moved - scores) / step).square().mean()


def mel_statistics(real: Tensor, fake: Tensor, label: Tensor, labels: int) -> Tensor:
    """Squared distance between the statistics of two batches of mels (B, 1, M, T), both with these labels (B,).

    A generated mel has no real counterpart, so comparing pairs would pull every sample towards the
    average chord. Two batches with the same labels should instead have the same distribution:
    the same mean and standard deviation of every band in every frame, and the same standard deviation
    within a label: otherwise a network that makes one sound for each label goes unpunished. The squared distance of
    means has the gradient of the true distance, since the noise of the batches only adds a constant.
    """
    (real_mean, real_variance), (fake_mean, fake_variance) = moments(real, (0,)), moments(fake, (0,))
    mean = functional.mse_loss(fake_mean, real_mean)
    fake_within, real_within = within(fake, label, labels), within(real, label, labels)
    return mean + _spread_apart(fake_variance, real_variance) + _spread_apart(fake_within, real_within)


def _spread_apart(one: Tensor, other: Tensor) -> Tensor:
    return functional.mse_loss(torch.sqrt(one + 1e-8), torch.sqrt(other + 1e-8))
