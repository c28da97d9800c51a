"""Degraded spectrograms with known magnitudes, like those that forgetting will produce."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

Random = torch.Generator


def degrade(magnitude: Tensor, random: Random, share: float) -> tuple[Tensor, Tensor]:
    """Return magnitudes (B, T, F), about a `share` of them masked, smeared or mixed, and which are intact (B,).

    Covers the kinds of damage that bending a network causes: regions missing in frequency and in time,
    energy spread along either, and two memories at once.
    """
    out = magnitude.clone()
    whole = torch.rand(len(out), generator=random) >= share
    for item in torch.nonzero(~whole).flatten().tolist():
        kind = KINDS[int(torch.randint(len(KINDS), (1,), generator=random))]
        out[item] = kind(out[item], magnitude[item - 1], random)
    return out, whole


def _masked(item: Tensor, _: Tensor, random: Random) -> Tensor:
    points = int(torch.randint(4, 40, (1,), generator=random))
    gain = _curve(points, item.shape[1], -50.0, 6.0, random)
    late = _curve(int(torch.randint(2, 12, (1,), generator=random)), item.shape[0], -40.0, 3.0, random)
    if torch.rand(1, generator=random) < 0.5:
        late = torch.zeros_like(late)
    return item * 10.0 ** ((gain[None, :] + late[:, None]) / 20.0)


def _smeared_in_time(item: Tensor, _: Tensor, random: Random) -> Tensor:
    width = 2 * int(torch.randint(1, 9, (1,), generator=random)) + 1
    return functional.avg_pool1d(item.T[None], width, 1, width // 2, count_include_pad=False)[0].T


def _smeared_in_frequency(item: Tensor, _: Tensor, random: Random) -> Tensor:
    width = 2 * int(torch.randint(1, 13, (1,), generator=random)) + 1
    return functional.avg_pool1d(item[None], width, 1, width // 2, count_include_pad=False)[0]


def _mixed(item: Tensor, other: Tensor, random: Random) -> Tensor:
    share = _curve(int(torch.randint(2, 20, (1,), generator=random)), item.shape[1], 0.0, 1.0, random)
    return item * share + other.flip(0) * (1.0 - share)


KINDS: tuple[Callable[[Tensor, Tensor, Random], Tensor], ...] = (
    _masked, _masked, _smeared_in_time, _smeared_in_frequency, _mixed,
)  # fmt: skip


def _curve(points: int, length: int, low: float, high: float, random: Random) -> Tensor:
    """Return a random curve (length,) through `points` values between low and high."""
    values = low + (high - low) * torch.rand(1, 1, points, generator=random)
    return functional.interpolate(values, length, mode="linear", align_corners=True)[0, 0]


def noise_like(sound: Tensor, random: Random) -> Tensor:
    """Return noise (N,) of a random colour, 0 to 40 dB below a sound (N,)."""
    noise = torch.fft.rfft(torch.randn(len(sound), generator=random))
    coloured: Tensor = torch.fft.irfft(noise * 10.0 ** (_curve(8, len(noise), -60.0, 0.0, random) / 20.0), n=len(sound))
    level = 10.0 ** (-2.0 * float(torch.rand(1, generator=random)))
    noise_level: Tensor = level * sound.std() / coloured.std().clamp_min(1e-9)
    return coloured * noise_level
