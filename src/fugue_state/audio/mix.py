"""Placing sounds: envelope, pan, and summing overlaps."""

from __future__ import annotations

import numpy as np

from fugue_state.arrays import Array, Wide
from fugue_state.config import EnvelopeConfig


def envelope(length: int, sample_rate_hz: int, config: EnvelopeConfig) -> Array:
    """Return a gain (N,): attack, hold, an exponential decay, and a release that ends at 0.

    Attack and release are a sine and a cosine, so that overlapping unrelated sounds keep their total power.
    """
    time_s = np.arange(length) / sample_rate_hz
    decaying_s = np.maximum(0.0, time_s - config.attack_s - config.hold_s)
    gain = 10.0 ** (-3.0 * decaying_s / config.decay_rt60_s)
    gain *= _rise(time_s, config.attack_s) * _rise(time_s[::-1], config.release_s)
    return gain.astype(np.float32)


def _rise(
    time_s: np.ndarray[tuple[int], np.dtype[np.float64]], length_s: float
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    if length_s == 0.0:
        return np.ones_like(time_s)
    return np.sin(np.pi / 2 * np.clip(time_s / length_s, 0.0, 1.0))


def let_go(start: int, count: int, length: int) -> Array:
    """Return a gain (count,) from sample `start` on, counted from where a sound is let go: from 1 smoothly to 0.

    It is 1 before sample 0 and 0 from sample `length` on; half a cosine, so that neither end clicks.
    """
    passed = np.clip(np.arange(start, start + count) / max(1, length), 0.0, 1.0)
    return (0.5 + 0.5 * np.cos(np.pi * passed)).astype(np.float32)


def pan(samples: Array, position: float) -> Array:
    """Place mono (N,) at -1 (left) .. 1 (right) with equal power: (N, 2)."""
    angle = (position + 1.0) * np.pi / 4.0
    return np.outer(samples, np.array([np.cos(angle), np.sin(angle)], dtype=np.float32))


def pan_along(samples: Array, positions: Wide) -> Array:
    """Place each sample of mono (N,) at its own position (N,), as `pan` does: (N, 2)."""
    angle = (positions + 1.0) * np.pi / 4.0
    return samples[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


def add_at(block: Array, start: int, samples: Array, onset: int) -> None:
    """Add the part of `samples` (beginning at `onset`) that falls within a block beginning at sample `start`."""
    begin, end = max(start, onset), min(start + len(block), onset + len(samples))
    if begin < end:
        block[begin - start : end - start] += samples[begin - onset : end - onset]


def dying(last: Array, length: int) -> Array:
    """Return samples (length, C) that fade out a sound (N, C) that broke off: its end, reversed and faded."""
    count = min(len(last), length)
    silence = np.zeros((length, last.shape[1]), dtype=np.float32)
    silence[:count] = last[::-1][:count] * np.linspace(1.0, 0.0, count, dtype=np.float32)[:, None]
    return silence
