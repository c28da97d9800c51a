"""The timbre of a plucked sound: attack, decay, brightness, noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from fugue_state.arrays import Array, Wide
from fugue_state.errors import InputError, counted

FRAME_S = 0.01
WINDOW = 4096
FLOOR_BINS = 201  # wide enough that most bins within it are not partials of a chord


@dataclass(frozen=True)
class Timbre:
    """Attack in seconds, decay time by 60 dB in seconds, brightness in Hz, harmonic-to-noise ratio in dB."""

    attack_s: float
    decay_s: float
    brightness_hz: float
    harmonic_to_noise_db: float


def timbre(sound: Array, sample_rate_hz: int) -> Timbre:
    """Measure a sound (N,) of at least a fifth of a second; InputError if it is shorter or silent."""
    if len(sound) < 0.2 * sample_rate_hz or not np.abs(sound).max() > 0:
        raise InputError(f"{counted(len(sound), 'sample')}, or silence: not enough to measure a timbre")
    level_db = envelope_db(sound, sample_rate_hz)
    power = np.abs(_spectrum(sound, sample_rate_hz)) ** 2
    mean = power.mean(axis=1)
    hz = np.fft.rfftfreq(2 * (len(mean) - 1), 1.0 / sample_rate_hz)
    return Timbre(
        attack_s=attack(level_db),
        decay_s=decay(level_db),
        brightness_hz=float((hz * mean).sum() / mean.sum()),
        harmonic_to_noise_db=harmonic_to_noise(mean),
    )


def envelope_db(sound: Array, sample_rate_hz: int) -> Wide:
    """Return the level in dB of every 10 ms."""
    size = int(FRAME_S * sample_rate_hz)
    frames = sound[: len(sound) // size * size].reshape(-1, size).astype(np.float64)
    return np.asarray(10.0 * np.log10((frames**2).mean(axis=1) + 1e-12))


def attack(level_db: Wide) -> float:
    """Return the time in seconds from 20 dB below the peak to 3 dB below it, in steps of 10 ms."""
    peak = level_db.max()
    late = int(np.argmax(level_db >= peak - 3.0))
    return float((late - int(np.argmax(level_db >= peak - 20.0))) * FRAME_S)


def decay(level_db: Wide) -> float:
    """Return the time of a decay by 60 dB in seconds, from a straight line through the levels after the peak.

    The line ends where the level is 40 dB down; infinity if it does not fall.
    """
    peak = int(level_db.argmax())
    falling = level_db[peak:]
    low = np.flatnonzero(falling < falling[0] - 40.0)
    part = falling[: max(3, int(low[0]) if len(low) else len(falling))]
    if len(part) < 3:
        return float("inf")
    slope = np.polyfit(np.arange(len(part)) * FRAME_S, part, 1)[0]
    return float(-60.0 / slope) if slope < 0 else float("inf")


def harmonic_to_noise(power: Wide) -> float:
    """Return the energy of the peaks of a mean power spectrum (F,) relative to that of its floor, in dB.

    The floor is the running median over frequency: partials are narrow and few, noise is neither.
    """
    floor = np.minimum(ndimage.median_filter(power, FLOOR_BINS, mode="nearest"), power)
    noise = float(floor.sum())
    return float(10.0 * np.log10(max(float(power.sum()) - noise, 1e-12) / max(noise, 1e-12)))


def _spectrum(sound: Array, sample_rate_hz: int) -> npt.NDArray[np.complex128]:
    from scipy import signal

    size = min(WINDOW, len(sound))
    return np.asarray(signal.stft(sound.astype(np.float64), sample_rate_hz, "blackmanharris", size, boundary=None)[2])
