"""Effects as pure functions, state in and out; block size never changes the samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage, signal

from fugue_state.audio.io import Samples, read
from fugue_state.config import ReverbConfig
from fugue_state.errors import AudioError

LONGEST_IMPULSE_S = 30.0
LOOK_AHEAD_S = 0.02
OVERSAMPLING, PEAK_TAPS = 4, 12
MARGIN_DB = 0.3  # what a peak between four-fold samples can exceed them by


def room(config: ReverbConfig, sample_rate_hz: int, seed: int) -> Samples:
    """Return a stereo impulse response (N, 2) of unit energy for each ear.

    Noise that decays by 60 dB in `rt60_s`, twice as fast above `damping_hz`, after a pre-delay; or
    the user's own recording. Raises AudioError if that one cannot be used.
    """
    if config.impulse is not None:
        impulse = _recorded_room(config.impulse, sample_rate_hz)
    else:
        impulse = _synthetic_room(config, sample_rate_hz, seed)
    loudest_ear = np.sqrt((impulse.astype(np.float64) ** 2).sum(axis=0).max())
    return np.asarray(impulse / loudest_ear, dtype=np.float32)


def _synthetic_room(config: ReverbConfig, sample_rate_hz: int, seed: int) -> Samples:
    length = int(1.2 * config.rt60_s * sample_rate_hz)
    noise = np.random.default_rng(seed).standard_normal((length, 2))
    low_pass = signal.butter(2, min(config.damping_hz, 0.45 * sample_rate_hz), fs=sample_rate_hz, output="sos")
    low = signal.sosfilt(low_pass, noise, axis=0)
    decay = 10.0 ** (-3.0 * np.arange(length) / (config.rt60_s * sample_rate_hz))[:, None]
    tail = low * decay + (noise - low) * decay**2
    return np.concatenate([np.zeros((int(config.pre_delay_s * sample_rate_hz), 2)), tail]).astype(np.float32)


def _recorded_room(path: str, sample_rate_hz: int) -> Samples:
    impulse, _ = read(path, sample_rate_hz, stereo=True)
    if len(impulse) > LONGEST_IMPULSE_S * sample_rate_hz:
        raise AudioError(
            f"{path}: {len(impulse) / sample_rate_hz:.0f} s are too long for an impulse response "
            f"(at most {LONGEST_IMPULSE_S:.0f} s)"
        )
    return impulse


class Convolver:
    """An impulse response (N, 2), with its spectra kept for the block sizes met so far."""

    def __init__(self, impulse: Samples) -> None:
        self._impulse = impulse
        self._spectra: dict[int, npt.NDArray[np.complex64]] = {}

    def silence(self) -> Samples:
        """Return the state before any sound: a tail (N - 1, 2) of zeros."""
        return np.zeros((len(self._impulse) - 1, 2), dtype=np.float32)

    def __call__(self, block: Samples, tail: Samples) -> tuple[Samples, Samples]:
        """Convolve a block (n, 2), given the tail of the blocks before it; return it and the new tail."""
        length = len(block) + len(self._impulse) - 1
        size = fft.next_fast_len(length, real=True)
        if size not in self._spectra:
            self._spectra[size] = fft.rfft(self._impulse, size, axis=0)
        out = fft.irfft(fft.rfft(block, size, axis=0) * self._spectra[size], size, axis=0)[:length]
        out[: len(tail)] += tail
        return out[: len(block)], out[len(block) :]


@dataclass(frozen=True)
class Limiter:
    """A true-peak limiter with look-ahead: its output lags by `delay` samples and has no overs."""

    ceiling_dbtp: float
    sample_rate_hz: int

    @property
    def look_ahead(self) -> int:
        """Samples over which the gain moves; a multiple of four keeps both averages centred."""
        return 4 * int(LOOK_AHEAD_S * self.sample_rate_hz / 4)

    @property
    def delay(self) -> int:
        """Samples by which the output lags."""
        return self.look_ahead + PEAK_TAPS

    def silence(self) -> Samples:
        """Return the state before any sound."""
        return np.zeros((2 * self.delay, 2), dtype=np.float32)

    def __call__(self, block: Samples, past: Samples) -> tuple[Samples, Samples]:
        """Limit a block (n, 2), given the input before it; return it and the new past."""
        heard = np.concatenate([past, block])
        ceiling = 10.0 ** ((self.ceiling_dbtp - MARGIN_DB) / 20.0)
        wanted = np.minimum(1.0, ceiling / np.maximum(true_peaks(heard), 1e-9))
        late = heard[len(past) - self.delay : len(heard) - self.delay]
        if wanted.min() >= 1.0:
            return late.copy(), heard[len(block) :]
        # Each gain is the smoothed minimum over a span that reaches as far as the smoothing does,
        # so the gain is down in full when the peak comes, and never later.
        half = self.look_ahead // 2
        lowest = ndimage.minimum_filter1d(wanted, 2 * half + 1, mode="nearest")
        smooth = ndimage.uniform_filter1d(ndimage.uniform_filter1d(lowest, half + 1), half + 1)
        gain = smooth[len(past) - self.delay : len(heard) - self.delay]
        return (late * gain[:, None]).astype(np.float32), heard[len(block) :]


def true_peaks(samples: Samples) -> npt.NDArray[np.float64]:
    """Return the largest of both channels (n,) around each sample, four-fold oversampled (BS.1770-4)."""
    taps = signal.firwin(2 * PEAK_TAPS * OVERSAMPLING + 1, 1.0 / OVERSAMPLING, window=("kaiser", 6.0)) * OVERSAMPLING
    dense = signal.upfirdn(taps, samples, up=OVERSAMPLING, axis=0)[PEAK_TAPS * OVERSAMPLING :]
    louder_ear = np.maximum(np.abs(dense[:, 0]), np.abs(dense[:, -1]))[: len(samples) * OVERSAMPLING]
    phases = louder_ear.reshape(-1, OVERSAMPLING)
    peaks = np.maximum(np.maximum(phases[:, 0], phases[:, 1]), np.maximum(phases[:, 2], phases[:, 3]))
    # A peak between this sample and the next belongs to both.
    return np.asarray(np.maximum(peaks, np.concatenate([peaks[:1], peaks[:-1]])))
