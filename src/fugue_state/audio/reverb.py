"""A room: its impulse response, and a convolution whose result does not depend on how sound is split into blocks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import fft, ndimage

from fugue_state.arrays import Array, Spectrum, Wide
from fugue_state.audio.compiled import compiled, cores, in_threads
from fugue_state.audio.reading import read_impulse
from fugue_state.config import ReverbConfig
from fugue_state.score.places import at_home

LONGEST_IMPULSE_S = 30.0
OCTAVES_HZ = (31.25, 62.5, 125.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0, 16_000.0)
CROSSOVER_OCTAVES = 2.0  # width of the transition from one decay time to another
EDGE_OCTAVES = 0.1  # width of the crossfade between neighbouring bands
EVEN_PART = 0.05  # share of a decay time: span over which the noise's loudness is evened out
LENGTH_PART = 1.2  # length relative to the longest decay: -72 dB
# Chosen by measurement: cheap for blocks of 256 as well as of 44,100 samples.
PARTITION = 4096


def room(config: ReverbConfig, sample_rate_hz: int, seed: int) -> Array:
    """Return a stereo impulse response (N, 2); the louder ear has unit energy.

    After a pre-delay, noise that decays by 60 dB in the `decay_times` of each octave; or the user's own recording.
    Raises AudioError if the recording cannot be used.
    """
    if config.impulse is not None:
        impulse = read_impulse(at_home(config.impulse), sample_rate_hz, LONGEST_IMPULSE_S)
    else:
        impulse = _synthetic_room(config, sample_rate_hz, seed)
    loudest_ear = np.sqrt((impulse.astype(np.float64) ** 2).sum(axis=0).max())
    return np.asarray(impulse / loudest_ear, dtype=np.float32)


def decay_times(config: ReverbConfig) -> dict[float, float]:
    """Return how many seconds each octave of a synthetic room takes to decay by 60 dB, by its centre in Hz.

    `rt60_s` in the middle; multiplied by `low_ratio` below `low_hz` and by `high_ratio` above `damping_hz`, with a
    transition of one octave to either side.
    """
    centres = np.array(OCTAVES_HZ)
    below = np.clip(0.5 - np.log2(centres / config.low_hz) / CROSSOVER_OCTAVES, 0.0, 1.0)
    above = np.clip(0.5 + np.log2(centres / config.damping_hz) / CROSSOVER_OCTAVES, 0.0, 1.0)
    times = config.rt60_s * config.low_ratio**below * config.high_ratio**above
    return dict(zip(OCTAVES_HZ, times.tolist(), strict=True))


def _synthetic_room(config: ReverbConfig, sample_rate_hz: int, seed: int) -> Array:
    times = {centre: time for centre, time in decay_times(config).items() if centre < sample_rate_hz / 2}
    length = int(LENGTH_PART * max(times.values()) * sample_rate_hz)
    size = fft.next_fast_len(length, real=True)
    noise = np.random.default_rng(seed).standard_normal((2, size))
    spectrum = fft.rfft(noise)
    frequencies = fft.rfftfreq(size, 1.0 / sample_rate_hz)
    sample = np.arange(length)

    def ringing(octave: tuple[float, float]) -> Wide:
        centre, time_s = octave
        share = _octave(frequencies, centre, max(times))
        band = _even(fft.irfft(spectrum * share, size), share, int(EVEN_PART * time_s * sample_rate_hz))
        decay = np.exp(sample * (-3.0 * math.log(10.0) / (time_s * sample_rate_hz)))
        return np.asarray(band[:, :length] * decay)

    octaves, tail = list(times.items()), np.zeros((2, length))
    for start in range(0, len(octaves), cores()):  # no more at once than are made at once
        for band in in_threads(ringing, octaves[start : start + cores()]):
            tail += band
    silence = np.zeros((round(config.pre_delay_s * sample_rate_hz), 2))
    return np.concatenate([silence, tail.T]).astype(np.float32)


def _octave(frequencies: Wide, centre: float, highest: float) -> Wide:
    """Return the share of each frequency that belongs to an octave; the shares of all octaves add up to 1."""
    octaves = np.log2(np.maximum(frequencies, 1.0) / centre)
    share = np.ones_like(frequencies)
    if centre > OCTAVES_HZ[0]:
        share *= _crossing(octaves + 0.5)
    if centre < highest:
        share *= _crossing(0.5 - octaves)
    return share


def _crossing(octaves: Wide) -> Wide:
    """Rise from 0 to 1 around 0 octaves."""
    return 0.5 + 0.5 * np.sin(np.pi * np.clip(octaves / EDGE_OCTAVES, -0.5, 0.5))


def _even(band: Wide, share: Wide, span: int) -> Wide:
    """Even out slow swells in a band (2, N) of noise.

    They arise by chance, and in a narrow band are large enough to distort the decay.
    """
    power = ndimage.uniform_filter1d(band**2, max(1, span), mode="wrap")
    asked = np.mean(share**2)
    # The lower bound also avoids 0 / 0 in a band that contains no frequency, in very short rooms.
    return np.asarray(band * np.sqrt(asked / np.maximum(power, 1e-3 * asked + 1e-30)))


@dataclass(frozen=True, eq=False)
class Tail:
    """The state of a convolution; never modified in place.

    `window` (2, 2 P) holds the last complete partition of input and the first `filled` samples of the next.
    `spectra` are those of earlier windows, newest first, real and imaginary parts separated (2, 2, F).
    `ringing` (2, P) is what they add to the partition that is being filled.
    """

    window: Array
    filled: int
    spectra: tuple[Array, ...]
    ringing: Array


class Convolver:
    """Convolution with an impulse response (N, 2), uniformly partitioned, without latency.

    The first partition of the impulse is applied at once to as much of the newest input partition as has come. The
    contributions of the others are computed when a partition is complete. Reference:
    Wefers, Partitioned convolution algorithms for real-time auralization (2015).
    """

    def __init__(self, impulse: Array, partition: int = PARTITION) -> None:
        self._size = partition
        starts = range(0, len(impulse), partition)
        self._first = fft.rfft(impulse[:partition].T, 2 * partition)
        self._later = tuple(_apart(fft.rfft(impulse[s : s + partition].T, 2 * partition)) for s in starts[1:])

    def silence(self) -> Tail:
        """Return the state before any sound."""
        size = self._size
        return Tail(np.zeros((2, 2 * size), np.float32), 0, (), np.zeros((2, size), np.float32))

    def __call__(self, block: Array, tail: Tail) -> tuple[Array, Tail]:
        """Convolve a block (n, 2), given the state; return the result and the new state."""
        out = np.empty((len(block), 2), dtype=np.float32)
        start = 0
        while start < len(block):
            end = min(len(block), start + self._size - tail.filled)
            heard, tail = self._part(block[start:end].T, tail)
            out[start:end] = heard.T
            start = end
        return out, tail

    def _part(self, part: Array, tail: Tail) -> tuple[Array, Tail]:
        """Convolve a part (2, n) that does not reach past the end of the partition."""
        begin, end = tail.filled, tail.filled + part.shape[1]
        window = tail.window.copy()
        window[:, self._size + begin : self._size + end] = part
        spectrum = fft.rfft(window)
        heard = self._heard(spectrum * self._first)[:, begin:end] + tail.ringing[:, begin:end]
        if end < self._size:
            return heard, Tail(window, end, tail.spectra, tail.ringing)
        spectra = (_apart(spectrum), *tail.spectra)[: len(self._later)]
        window = np.concatenate([window[:, self._size :], np.zeros_like(window[:, self._size :])], axis=1)
        return heard, Tail(window, 0, spectra, self._ringing(spectra))

    def _ringing(self, spectra: tuple[Array, ...]) -> Array:
        """Return what past partitions add to the next one (2, P)."""
        total = np.zeros((2, *self._first.shape), dtype=np.float32)
        for past, response in zip(spectra, self._later, strict=False):
            _add_product(past, response, total)
        return self._heard(total[0] + 1j * total[1])

    def _heard(self, spectrum: Spectrum) -> Array:
        """Return the half of a circular convolution that equals the linear one (2, P)."""
        return np.asarray(fft.irfft(spectrum, 2 * self._size)[:, self._size :], dtype=np.float32)


def _apart(spectrum: Spectrum) -> Array:
    """Return real and imaginary parts of a spectrum (2, F) as separate arrays, which vectorize better: (2, 2, F)."""
    return np.stack([spectrum.real, spectrum.imag])


@compiled
def _add_product(one: Array, other: Array, out: Array) -> None:
    """Add the product of two spectra (2, 2, F) to a third."""
    for channel in range(out.shape[1]):
        a, b, c, d = one[0, channel], one[1, channel], other[0, channel], other[1, channel]
        real, imaginary = out[0, channel], out[1, channel]
        for f in range(out.shape[2]):
            real[f] += a[f] * c[f] - b[f] * d[f]
            imaginary[f] += a[f] * d[f] + b[f] * c[f]
