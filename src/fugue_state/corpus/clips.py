"""Preparing a recording for training: trimmed to its onset, brought to level, cut or padded."""

from __future__ import annotations

import math

import numpy as np
from scipy import signal

from fugue_state.arrays import Array
from fugue_state.config import ClipConfig

BLOCK_S = 0.005
LEVEL_WINDOW_S = 1.0
RUMBLE_HZ = 40.0
QUIET_BLOCKS = 6
LONG_S = 60.0  # longer recordings are cut before they are resampled
SPARE_S = 0.1  # margin for the resampler's filter
OFFSET = 1e-4  # -80 dBFS: any short sound may have a smaller mean


def onset(samples: Array, sample_rate_hz: int, threshold_db: float) -> int:
    """Return the sample at which the loudest sound of a recording begins.

    Walks back from the loudest 5 ms to the end of the last quiet stretch before it (30 ms that are `threshold_db` below
    the loudest), so that hum and handling noise before it are not taken for the onset.
    """
    size = max(1, int(BLOCK_S * sample_rate_hz))
    high_pass = signal.butter(2, min(RUMBLE_HZ, sample_rate_hz / 4), "high", fs=sample_rate_hz, output="sos")
    quick = signal.sosfilt(high_pass, centred(samples))
    blocks = quick[: len(quick) // size * size].reshape(-1, size)
    power = (blocks**2).mean(axis=1)
    if len(power) <= QUIET_BLOCKS:
        return 0
    peak = int(power.argmax())
    loud = power[: peak + 1] >= power[peak] * 10.0 ** (threshold_db / 10.0)
    quiet = np.convolve(~loud, np.ones(QUIET_BLOCKS), mode="valid") == QUIET_BLOCKS
    # quiet[i] covers blocks i .. i + QUIET_BLOCKS - 1
    return (int(np.flatnonzero(quiet)[-1]) + QUIET_BLOCKS) * size if quiet.any() else 0


def prepare(samples: Array, sample_rate_hz: int, length: int, config: ClipConfig, *, from_onset: bool = True) -> Array:
    """Return `length` samples that start just before the onset (or at the first sample), at the configured level.

    The level is the RMS of the loudest second. An offset is removed, a cut end is faded out, a short clip is padded.
    """
    start = _start(samples, sample_rate_hz, config) if from_onset else 0
    body = centred(samples[start : start + length])
    leveled = body * 10.0 ** (config.level_dbfs / 20.0) / loudest_rms(body, sample_rate_hz)
    fade = min(int(config.fade_s * sample_rate_hz), len(leveled))
    if fade:
        leveled[-fade:] *= np.linspace(1.0, 0.0, fade, dtype=np.float32)
    out = np.zeros(length, dtype=np.float32)
    out[: len(leveled)] = leveled
    return out


def _start(samples: Array, sample_rate_hz: int, config: ClipConfig) -> int:
    return max(0, onset(samples, sample_rate_hz, config.onset_db) - int(config.lead_s * sample_rate_hz))


def cut(samples: Array, sample_rate_hz: int, length_s: float, config: ClipConfig) -> Array:
    """Return the part of a recording that a clip of `length_s` needs, from just before its onset, plus a margin.

    Used before resampling a long recording, which would take many times its memory.
    """
    start = _start(samples, sample_rate_hz, config)
    return samples[start : start + math.ceil((length_s + SPARE_S) * sample_rate_hz)]


def loudest_rms(samples: Array, sample_rate_hz: int) -> float:
    """Return the RMS of the loudest second, ignoring an offset; at least -120 dBFS."""
    size = min(len(samples), int(LEVEL_WINDOW_S * sample_rate_hz))
    if size == 0:
        return 1e-6
    energy = np.concatenate([[0.0], np.cumsum(centred(samples).astype(np.float64) ** 2)])
    return max(1e-6, float(np.sqrt(np.max(energy[size:] - energy[:-size]) / size)))


def centred(samples: Array) -> Array:
    """Return a sound (N,) without the DC offset that some recorders add; unchanged if it has none."""
    offset = samples.mean(dtype=np.float64) if len(samples) else 0.0
    return samples if abs(offset) < OFFSET else samples - np.float32(offset)
