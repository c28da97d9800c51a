"""Phase for magnitudes by iteration: the Griffin-Lim family, batched."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fugue_state.audio.integrate import Grid

LEAST_WEIGHT = 1e-3  # where hardly any window reaches


def synthesize(spectrum: Tensor, grid: Grid, window: Tensor) -> Tensor:
    """Overlap-add a complex spectrum (B, T, F) into (B, (T - 1) * hop + n_fft) windowed samples.

    The least-squares inverse once divided by the summed squared window. `hop` divides `n_fft`.
    torch.istft does the same five times more slowly, and this is the inner loop.
    """
    return overlap_add(torch.fft.irfft(spectrum, n=grid.n_fft) * window, grid.hop)


def overlap_add(frames: Tensor, hop: int) -> Tensor:
    """Add frames (B, T, L) that begin `hop` samples after each other: (B, (T - 1) * hop + L)."""
    batch, count, length = frames.shape
    parts = length // hop
    pieces = frames.view(batch, count, parts, hop)
    out = frames.new_zeros(batch, count + parts - 1, hop)
    for k in range(parts):
        out[:, k : k + count] += pieces[:, :, k]
    return out.flatten(1)


def overlap(count: int, grid: Grid, window: Tensor) -> Tensor:
    """Return the summed squared window (1, (T - 1) * hop + n_fft) of `count` frames, never quite zero."""
    return overlap_add((window**2).expand(1, count, grid.n_fft).contiguous(), grid.hop).clamp_min(LEAST_WEIGHT)


def random_phase(magnitude: Tensor, seed: int) -> Tensor:
    """Return phases (1, T, F) for magnitudes (B, T, F): from the seed alone, so an item sounds alike in any batch."""
    return torch.rand((1, *magnitude.shape[1:]), generator=torch.Generator().manual_seed(seed)) * (2 * torch.pi)


def griffin_lim(
    magnitude: Tensor,
    phase: Tensor,
    grid: Grid,
    *,
    iterations: int,
    momentum: float,
    refit: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> Tensor:
    """Return audio (B, (T - 1) * hop) whose STFT magnitudes approach `magnitude` (B, T, F), from `phase` on.

    Fast Griffin-Lim (Perraudin, Balazs and Sondergaard, 2013); momentum 0 is the original of 1984, above 1
    it collapses. No iterations at all is plain synthesis. `refit` makes the next spectrum of the one reached
    and the one moved to; without it, that is the latter with the magnitudes given.
    """
    if not 0.0 <= momentum <= 1.0:
        raise ValueError(f"momentum must be within 0..1, got {momentum}")
    window = torch.hann_window(grid.n_fft)
    count = magnitude.shape[1]
    weight = overlap(count, grid, window)
    spectrum = torch.polar(magnitude, phase.expand_as(magnitude))
    onward = refit or (lambda _, moved: moved * (magnitude / moved.abs().clamp_min(1e-12)))
    previous: Tensor | None = None
    for _ in range(iterations):
        audio = synthesize(spectrum, grid, window) / weight
        projected: Tensor = torch.fft.rfft(audio.unfold(1, grid.n_fft, grid.hop) * window)
        moved = projected if previous is None else projected + momentum * (projected - previous)
        previous = projected
        spectrum = onward(projected, moved)
    audio = synthesize(spectrum, grid, window) / weight
    start = grid.n_fft // 2  # frame 0 is centred on sample 0
    return audio[:, start : start + (count - 1) * grid.hop]
