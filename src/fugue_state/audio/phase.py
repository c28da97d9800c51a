"""Phase for magnitudes: the Griffin-Lim family, batched."""

from __future__ import annotations

import torch
from torch import Tensor


def synthesize(spectrum: Tensor, n_fft: int, hop: int, window: Tensor) -> Tensor:
    """Overlap-add a complex spectrum (B, F, T) into (B, (T - 1) * hop + n_fft) windowed samples.

    The least-squares inverse once divided by the summed squared window. `hop` divides `n_fft`.
    torch.istft does the same five times more slowly, and this is the inner loop.
    """
    frames: Tensor = torch.fft.irfft(spectrum.transpose(1, 2), n=n_fft) * window  # (B, F, T) -> (B, T, n_fft)
    parts = n_fft // hop
    batch, count, _ = frames.shape
    pieces = frames.view(batch, count, parts, hop)
    out = frames.new_zeros(batch, count + parts - 1, hop)
    for k in range(parts):
        out[:, k : k + count] += pieces[:, :, k]
    return out.flatten(1)


def griffin_lim(magnitude: Tensor, *, n_fft: int, hop: int, iterations: int, momentum: float, seed: int) -> Tensor:
    """Return audio (B, T * hop) whose STFT magnitudes approach `magnitude` (B, F, T).

    Fast Griffin-Lim (Perraudin, Balazs and Sondergaard, 2013); momentum 0 is the original of
    1984, above 1 it collapses. The random starting phase depends on the seed alone and is the
    same for every item, so that an item sounds alike in any batch.
    """
    if not 0.0 <= momentum <= 1.0:
        raise ValueError(f"momentum must be within 0..1, got {momentum}")
    window = torch.hann_window(n_fft)
    # One more frame, or the last samples would have no full overlap.
    magnitude = torch.cat([magnitude, magnitude[..., -1:]], dim=-1)
    bins, count = magnitude.shape[1:]
    envelope = _envelope(window, n_fft, hop, count)
    noise = torch.rand((1, bins, count), generator=torch.Generator().manual_seed(seed))
    angle = torch.polar(torch.ones_like(noise), noise * (2 * torch.pi))
    spectrum = magnitude * angle
    previous = torch.zeros_like(spectrum)
    for _ in range(iterations):
        audio = synthesize(spectrum, n_fft, hop, window) / envelope
        projected = _analyse(audio, n_fft, hop, window)
        accelerated = projected + momentum * (projected - previous)
        previous = projected
        spectrum = accelerated * (magnitude / accelerated.abs().clamp_min(1e-12))
    audio = synthesize(spectrum, n_fft, hop, window) / envelope
    start = n_fft // 2  # frame 0 is centred on sample 0
    return audio[:, start : start + (count - 1) * hop]


def _envelope(window: Tensor, n_fft: int, hop: int, count: int) -> Tensor:
    squares = (window**2).expand(1, count, n_fft)
    parts = n_fft // hop
    out = torch.zeros(1, count + parts - 1, hop)
    for k in range(parts):
        out[:, k : k + count] += squares.view(1, count, parts, hop)[:, :, k]
    return out.flatten(1).clamp_min(1e-3)


def _analyse(audio: Tensor, n_fft: int, hop: int, window: Tensor) -> Tensor:
    frames = audio.unfold(1, n_fft, hop) * window
    spectrum: Tensor = torch.fft.rfft(frames)
    return spectrum.transpose(1, 2)  # (B, T, F) -> (B, F, T)
