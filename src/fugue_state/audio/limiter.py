"""A true-peak limiter, state in and out; block size never changes the samples."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import ndimage

from fugue_state.arrays import Array, Wide
from fugue_state.audio.compiled import one_thread
from fugue_state.audio.rate import low_pass

LOOK_AHEAD_S = 0.02
OVERSAMPLING, PEAK_TAPS = 4, 12
SHAPE = 6.0  # beta of the Kaiser window of the interpolation
PEAK_STEP = 32  # samples whose peaks one matrix product finds
MARGIN_DB = 0.3  # by how much a true peak can exceed the four-fold oversampled one


@dataclass(frozen=True, eq=False)
class Past:
    """The state of a limiter; never modified in place.

    `sound` (delay, channels) is the newest input. `wanted` (2 look_ahead,) are the gains at which its peaks would
    just reach the ceiling, known up to PEAK_TAPS samples before the newest.
    """

    sound: Array
    wanted: Wide


@dataclass(frozen=True)
class Limiter:
    """A true-peak limiter with look-ahead: its output lags by `delay` samples and never exceeds the ceiling."""

    ceiling_dbtp: float
    sample_rate_hz: int
    look_ahead_s: float = LOOK_AHEAD_S

    @property
    def look_ahead(self) -> int:
        """Samples over which the gain moves; a multiple of four keeps both averages centred."""
        return 4 * int(self.look_ahead_s * self.sample_rate_hz / 4)

    @property
    def delay(self) -> int:
        """Samples by which the output lags."""
        return self.look_ahead + PEAK_TAPS

    def silence(self, channels: int = 2) -> Past:
        """Return the state before any sound."""
        return Past(np.zeros((self.delay, channels), dtype=np.float32), np.ones(2 * self.look_ahead))

    def __call__(self, block: Array, past: Past) -> tuple[Array, Past]:
        """Limit a block (n, channels), given the state; return the block, delayed, and the new state.

        The first two channels decide the gain, which applies to all.
        """
        count, ahead = len(block), self.look_ahead
        heard = np.concatenate([past.sound, block])
        ceiling = 10.0 ** ((self.ceiling_dbtp - MARGIN_DB) / 20.0)
        # Only peaks that can now be computed; each needs its neighbours on both sides.
        peaks = true_peaks(heard[self.delay - 2 * PEAK_TAPS - 1 :, :2])[PEAK_TAPS + 1 : PEAK_TAPS + 1 + count]
        wanted = np.concatenate([past.wanted, np.minimum(1.0, ceiling / np.maximum(peaks, 1e-9))])
        left = Past(heard[count:], wanted[count:])
        late = heard[:count]
        if wanted.min() >= 1.0:
            return late.copy(), left
        # The minimum is taken over the same span as the smoothing,
        # so the gain is fully down when the peak arrives.
        half = ahead // 2
        lowest = ndimage.minimum_filter1d(wanted, 2 * half + 1, mode="nearest")
        smooth = ndimage.uniform_filter1d(ndimage.uniform_filter1d(lowest, half + 1), half + 1)
        return (late * smooth[ahead : ahead + count, None]).astype(np.float32), left


@one_thread()
def true_peaks(samples: Array) -> Wide:
    """Return the four-fold oversampled peak around each sample of (n, channels), over all channels: (n,).

    Reference: ITU-R BS.1770-4.
    """
    count, channels = samples.shape
    rows = -(-count // PEAK_STEP)
    padded = np.zeros((channels, rows * PEAK_STEP + 2 * PEAK_TAPS), dtype=np.float32)
    padded[:, PEAK_TAPS : PEAK_TAPS + count] = samples.T
    spans = np.lib.stride_tricks.sliding_window_view(padded, PEAK_STEP + 2 * PEAK_TAPS, axis=1)[:, ::PEAK_STEP]
    dense = np.array(spans, order="C").reshape(channels * rows, -1) @ _interpolation()
    peaks = np.abs(dense).reshape(channels, rows, OVERSAMPLING, PEAK_STEP).max(axis=(0, 2)).reshape(-1)[:count]
    # A peak between two samples counts for both.
    return np.asarray(np.maximum(peaks, np.concatenate([peaks[:1], peaks[:-1]])), dtype=np.float64)


@cache
def _interpolation() -> Array:
    """Return a matrix from a span of samples to PEAK_STEP of them and the points in between, phase by phase."""
    taps = low_pass(2 * PEAK_TAPS * OVERSAMPLING + 1, 1.0 / OVERSAMPLING, SHAPE) * OVERSAMPLING
    spikes = PEAK_STEP + 2 * PEAK_TAPS
    dense = np.zeros((spikes, (spikes - 1) * OVERSAMPLING + len(taps)))
    for spike in range(spikes):
        dense[spike, spike * OVERSAMPLING : spike * OVERSAMPLING + len(taps)] = taps
    begin = 2 * PEAK_TAPS * OVERSAMPLING
    dense = dense[:, begin : begin + PEAK_STEP * OVERSAMPLING]
    phases = dense.reshape(spikes, PEAK_STEP, OVERSAMPLING).transpose(0, 2, 1)
    return np.ascontiguousarray(phases.reshape(spikes, -1), dtype=np.float32)
