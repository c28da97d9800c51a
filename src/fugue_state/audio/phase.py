"""Phase for given magnitudes by iteration: the Griffin-Lim family."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import fft

from fugue_state.arrays import Array, Spectrum
from fugue_state.audio.compiled import compiled, in_threads
from fugue_state.audio.integrate import Grid
from fugue_state.audio.mel import hann

LEAST_WEIGHT = np.float32(1e-3)  # lower bound for the sum of squared windows, at the ends
# Makes the next spectrum (T, F) from the one reached, the one reached before, the momentum, and whether there are
# iterations before and after this one.
Onward = Callable[[Spectrum, Spectrum, float, bool], Spectrum]
# How much a neighbour counts in the phase of a sound that is crossfaded with it: with more, quality is lost; with less,
# some crossfades cancel.
NEIGHBOUR = np.float32(0.5)


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
        reached = _reached(spectrum, grid, window)
        last = reached if before is None else before
        if onward is None:
            spectrum = _with(magnitude, reached, last, momentum)
        else:
            spectrum = onward(reached, last, momentum, 0 < number < iterations - 1)
        before = reached
    return _cut(synthesize(spectrum, grid, window), count, grid)


def crossfading(
    magnitudes: Array, phase: Array, grid: Grid, *, iterations: int, momentum: float, onward: Sequence[Onward]
) -> Array:
    """Return audio (K, (T - 1) * hop) for magnitudes (K, T, F), of which each can be crossfaded with the next.

    As `griffin_lim`, starting from a phase (T, F) that all share. After every iteration, a sound's phase is that of the
    sum of itself and its neighbours, all at one level: where two have something in common, it does not cancel.
    `onward` makes the next spectrum of each.
    """
    window, count = hann(grid.n_fft), magnitudes.shape[1]
    levels = np.sqrt(np.mean(magnitudes**2, axis=(1, 2)))
    weights = np.where(levels > 0.0, 1.0 / np.maximum(levels, np.float32(1e-12)), 0.0).astype(np.float32)
    spectra = [polar(magnitude, phase) for magnitude in magnitudes]
    before: list[Spectrum] = []
    for number in range(iterations):
        reached = in_threads(lambda spectrum: _reached(spectrum, grid, window), spectra)
        between = 0 < number < iterations - 1
        moves = list(zip(onward, reached, before or reached, strict=True))
        following = in_threads(lambda move: move[0](move[1], move[2], momentum, between), moves)  # noqa: B023
        spectra, before = _agreed(following, weights), reached
    return np.stack([_cut(synthesize(spectrum, grid, window), count, grid) for spectrum in spectra])


def _agreed(spectra: Sequence[Spectrum], weights: Array) -> list[Spectrum]:
    """Return spectra with their own magnitudes, each with the phase of itself and its neighbours, weighted."""
    even = [spectrum * weight for spectrum, weight in zip(spectra, weights, strict=True)]
    found = []
    for place, own in enumerate(spectra):
        beside = even[max(0, place - 1) : place] + even[place + 1 : place + 2]
        found.append(_with_phase(np.abs(own), sum((NEIGHBOUR * one for one in beside), even[place])))
    return found


def _reached(spectrum: Spectrum, grid: Grid, window: Array) -> Spectrum:
    """Return the spectrum (T, F) of the sound that fits a spectrum best."""
    audio = synthesize(spectrum, grid, window)
    frames = np.lib.stride_tricks.sliding_window_view(audio, grid.n_fft)[:: grid.hop] * window
    reached: Spectrum = fft.rfft(frames, overwrite_x=True)
    return reached


def _cut(audio: Array, frames: int, grid: Grid) -> Array:
    start = grid.n_fft // 2  # frame 0 is centred on sample 0
    return audio[start : start + (frames - 1) * grid.hop]


def _with(magnitude: Array, reached: Spectrum, before: Spectrum, momentum: float) -> Spectrum:
    return _with_phase(magnitude, reached + np.float32(momentum) * (reached - before))


def _with_phase(magnitude: Array, spectrum: Spectrum) -> Spectrum:
    """Return magnitudes (T, F) with the phases of a spectrum."""
    return np.asarray(spectrum * (magnitude / np.maximum(np.abs(spectrum), np.float32(1e-12))))
