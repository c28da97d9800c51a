"""Naming the chord of a sound, and how clear it is: chroma against templates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import fft

from fugue_state.arrays import Array, Whole, Wide
from fugue_state.audio.compiled import one_thread
from fugue_state.audio.mel import hann
from fugue_state.errors import InputError
from fugue_state.measure.named import Heard, NameTable, compared
from fugue_state.score.pitches import chord_of

LOWEST_HZ, HIGHEST_HZ = 63.6, 2093.0  # a quarter tone below C2, C7
APART_HZ = 2.7  # bin spacing: half a semitone at the lowest note
TINY = 1e-12  # as an energy, 120 dB below full scale
# The second overtone of a note is a fifth above it, and guitars have plenty of it.
OVERTONE = 0.15


@dataclass(frozen=True)
class Chord(Heard):
    """The chord heard: name, cosine with its template, and how far that is ahead of the runner-up's."""

    margin: float


@dataclass(frozen=True)
class ChordTable(NameTable):
    """How a set of chords was named; `margin` is the mean over all sounds."""

    margin: float


def tabulate(asked: Sequence[str], heard: Sequence[Chord]) -> ChordTable:
    """Compare asked chords with heard ones; InputError unless there are equally many, at least one."""
    return ChordTable(**compared(asked, heard, "chord"), margin=float(np.mean([chord.margin for chord in heard])))


def template(name: str) -> Wide:
    """Return the unit chroma (12,) of a chord such as `Am`, `Bb7`, `F#dim`; InputError otherwise."""
    chord = chord_of(name)
    if chord is None:
        raise InputError(f"{name!r} is no chord that can be named (like C, F#, Am, G7, Bdim)")
    root, intervals = chord
    chroma = np.zeros(12)
    for interval in intervals:
        chroma[(root + interval) % 12] += 1.0
        chroma[(root + interval + 7) % 12] += OVERTONE
    return chroma / np.linalg.norm(chroma)


@one_thread()
def chroma(samples: Array, sample_rate_hz: int) -> Wide:
    """Return the unit chroma (12,), C first, of a sound (N,), by its spectral peaks; zeros for silence."""
    magnitude, hz_per_bin = _spectrogram(samples, sample_rate_hz)
    return np.asarray(chroma_of_peaks(magnitude.T[None], hz_per_bin)[0])


def chroma_over_time(samples: Array, sample_rate_hz: int) -> Wide:
    """Return the unit chroma (T, 12) of a sound (N,), window by window."""
    magnitude, hz_per_bin = _spectrogram(samples, sample_rate_hz)
    return chroma_of_peaks(magnitude[:, :, None], hz_per_bin)


def _spectrogram(samples: Array, sample_rate_hz: int) -> tuple[Wide, float]:
    """Return magnitudes (T, F) fine enough to separate low notes, and the bin spacing in Hz."""
    n_fft = 2 ** max(1, round(math.log2(sample_rate_hz / APART_HZ)))
    around = np.pad(samples, n_fft // 2)
    frames = np.lib.stride_tricks.sliding_window_view(around, n_fft)[:: n_fft // 4] * hann(n_fft)
    return np.abs(fft.rfft(frames)).astype(np.float64) / n_fft, sample_rate_hz / n_fft


def chroma_of_peaks(magnitude: Wide, hz_per_bin: float) -> Wide:
    """Return the unit chroma (B, 12), C first, of magnitudes (B, F, T); zeros for silence.

    Only spectral peaks count, at the frequency of a parabola fitted to the log magnitudes: in a mel the
    partials of low notes are wider than a semitone, and folding every bin would smear them.
    """
    low, high = max(1, int(LOWEST_HZ / hz_per_bin)), min(int(HIGHEST_HZ / hz_per_bin) + 1, magnitude.shape[1] - 1)
    near = [magnitude[:, low + shift : high + shift] for shift in (-1, 0, 1)]
    below, here, above = (np.log(np.maximum(part, 1e-9)) for part in near)
    item, row, moment = np.nonzero((here > below) & (here >= above))
    a, b, c = (part[item, row, moment] for part in (below, here, above))
    pitch = 12.0 * np.log2((low + row + 0.5 * (a - c) / (a - 2.0 * b + c)) * hz_per_bin / 440.0) + 9.0
    weight = np.sum([part[item, row, moment] for part in near], axis=0)
    pitch -= _detuning(pitch, weight, item, len(magnitude))[item]
    chroma = np.zeros((len(magnitude), 12))
    lower = np.floor(pitch)
    upper_share = np.sin(0.5 * np.pi * (pitch - lower)) ** 2
    np.add.at(chroma, (item, lower.astype(int) % 12), weight * (1.0 - upper_share))
    np.add.at(chroma, (item, (lower.astype(int) + 1) % 12), weight * upper_share)
    return np.asarray(chroma / np.maximum(np.linalg.norm(chroma, axis=1, keepdims=True), TINY))


def _detuning(pitch: Wide, weight: Wide, item: Whole, count: int) -> Wide:
    """Return how far each sound's peaks lie from the nearest semitones: the circular mean, in semitones."""
    turned = weight * np.exp(2j * np.pi * pitch)
    total = np.bincount(item, turned.real, count) + 1j * np.bincount(item, turned.imag, count)
    return np.asarray(np.angle(total) / (2.0 * np.pi))


def name_chord(samples: Array, sample_rate_hz: int, names: Sequence[str]) -> Chord:
    """Name the chord of a sound (N,) as one of `names` (two or more)."""
    return match(chroma(samples, sample_rate_hz), names)


def match(heard: Wide, names: Sequence[str]) -> Chord:
    """Name the chord of a unit chroma (12,) as one of `names` (two or more)."""
    scores = [float(heard @ template(name)) for name in names]
    best, second = np.argsort(scores)[::-1][:2]
    return Chord(names[best], scores[best], scores[best] - scores[second])
