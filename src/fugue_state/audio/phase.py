"""Phase for given magnitudes by iteration: the Griffin-Lim family."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import fft

from fugue_state.arrays import Array, Spectrum
from fugue_state.audio.compiled import compiled
from fugue_state.audio.integrate import Grid
from fugue_state.audio.mel import hann

LEAST_WEIGHT = np.float32(1e-3)  # lower bound for the sum of squared windows, at the ends
# Makes the next spectrum (T, F) from the one reached, the one reached before, the momentum, and whether there are
# iterations before and after this one.
Onward = Callable[[Spectrum, Spectrum, float, bool], Spectrum]


def polar(magnitude: Array, phase: Array) -> Spectrum:
    """Return complex numbers with these magnitudes and phases."""
    made = np.empty(magnitude.shape, dtype=np.complex64)
    np.multiply(magnitude, np.cos(phase), out=made.real)
    np.multiply(magnitude, np.sin(phase), out=made.imag)
    return made


def synthesize(spectrum: Spectrum, grid: Grid, window: Array) -> Array:
    """Return the samples ((T - 1) * hop + n_fft,) that fit a complex spectrum (T, F) best, by least squares."""
    frames: Array = fft.irfft(spectrum, n=grid.n_fft)
    added = np.zeros((2, (len(frames) - 1) * grid.hop + grid.n_fft), dtype=np.float32)
    overlap_add(frames, window, grid.hop, added)
    return np.asarray(added[0] / np.maximum(added[1], LEAST_WEIGHT))


@compiled
def overlap_add(frames: Array, window: Array, hop: int, out: Array) -> None:
    """Add windowed frames (T, n_fft), `hop` samples apart, and the window's square, to the two rows of (2, N)."""
    for t in range(len(frames)):
        frame, sound, weight = frames[t], out[0, t * hop :], out[1, t * hop :]
        for n in range(len(window)):
            sound[n] += frame[n] * window[n]
            weight[n] += window[n] * window[n]


def random_phase(magnitude: Array, seed: int) -> Array:
    """Return random phases (T, F) that depend only on the seed, so that an item sounds the same in any batch."""
    return np.random.default_rng(seed).random(magnitude.shape, dtype=np.float32) * np.float32(2.0 * np.pi)


def griffin_lim(
    magnitude: Array, phase: Array, grid: Grid, *, iterations: int, momentum: float, onward: Onward | None = None
) -> Array:
    """Return audio ((T - 1) * hop,) whose STFT magnitudes approach `magnitude` (T, F), starting from `phase`.

    Fast Griffin-Lim (Perraudin, Balazs and Sondergaard, 2013); momentum 0 is the original of 1984, above 1
    it collapses. Zero iterations is plain synthesis. `onward` makes the next spectrum; by default, that is the
    iteration's next step with the given magnitudes.
    """
    if not 0.0 <= momentum <= 1.0:
        raise ValueError(f"momentum must be within 0..1, got {momentum}")
    window = hann(grid.n_fft)
    count = len(magnitude)
    spectrum = polar(magnitude, phase)
    before: Spectrum | None = None
    for number in range(iterations):
        audio = synthesize(spectrum, grid, window)
        frames = np.lib.stride_tricks.sliding_window_view(audio, grid.n_fft)[:: grid.hop] * window
        reached: Spectrum = fft.rfft(frames, overwrite_x=True)
        last = reached if before is None else before
        if onward is None:
            spectrum = _with(magnitude, reached, last, momentum)
        else:
            spectrum = onward(reached, last, momentum, 0 < number < iterations - 1)
        before = reached
    audio = synthesize(spectrum, grid, window)
    start = grid.n_fft // 2  # frame 0 is centred on sample 0
    return audio[start : start + (count - 1) * grid.hop]


def _with(magnitude: Array, reached: Spectrum, before: Spectrum, momentum: float) -> Spectrum:
    moved = reached + np.float32(momentum) * (reached - before)
    return np.asarray(moved * (magnitude / np.maximum(np.abs(moved), np.float32(1e-12))))
