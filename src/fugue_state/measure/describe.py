"""What a mel sounds like, told without making it sound: no phase is needed for that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.nn import functional

from fugue_state.audio.compiled import one_thread
from fugue_state.audio.magnitudes import Updates
from fugue_state.audio.mel import hz_to_mel, mel_to_hz
from fugue_state.config import MelSpec
from fugue_state.measure.chords import NAME, match, template

Array = npt.NDArray[np.float64]

PITCHES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B")
# Linear magnitudes are estimated at this many moments: as good as at every frame, and much cheaper.
MOMENTS = 16
LOWEST_HZ, HIGHEST_HZ = 63.6, 2093.0  # a quarter tone below C2, C7: where chords are heard elsewhere, too
END = 4  # the last quarter is the end of a sound
TINY = 1e-12  # as an energy, 120 dB below full scale


@dataclass(frozen=True)
class Description:
    """What a sound is like.

    `chord` is empty for silence; `clarity` and `margin` as in `Chord`; `attack_s` from 20 dB below
    the loudest frame to 3 dB below it; `sustain_db` the last quarter's level relative to that frame.
    """

    chord: str
    clarity: float
    margin: float
    brightness_hz: float
    attack_s: float
    sustain_db: float
    level_dbfs: float


def triads(labels: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the chords that can be named: the labels that are triads, then the other major and minor ones."""
    every = [*(name for name in labels if NAME.match(name)), *PITCHES, *(f"{pitch}m" for pitch in PITCHES)]
    found: dict[bytes, str] = {}
    for name in every:
        found.setdefault(template(name).tobytes(), name)  # Bb and A# are one chord; the label's spelling stays
    return tuple(found.values())


class Describer:
    """Describe mels of one MelSpec; chords are named among `names`."""

    def __init__(self, spec: MelSpec, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._spec = spec
        self._magnitudes = Updates(spec)
        self._low = Updates(_lower(spec, HIGHEST_HZ))
        self._transform = self._magnitudes.transform
        # By Parseval's theorem: mean square of a sound from the magnitudes of half its spectrum.
        self._mean_square = 2.0 / (spec.n_fft * float((self._transform.window**2).sum()))

    @one_thread()
    def __call__(self, mel: Tensor) -> list[Description]:
        """Describe mels (B, M, T) in [-1, 1]; AudioError for others."""
        magnitude = self._at_moments(mel, self._magnitudes)
        power = (magnitude**2).mean(axis=2)
        hz = np.fft.rfftfreq(self._spec.n_fft, 1.0 / self._spec.sample_rate_hz)
        bright = np.einsum("bf,f->b", power, hz) / np.maximum(power.sum(axis=1), TINY)
        level = _db(power.sum(axis=1) * self._mean_square)
        frames = (self._transform.amplitude(mel).numpy().astype(np.float64) ** 2).sum(axis=1)
        shape = zip(self._attack_s(frames), self._sustain_db(frames), level, bright, strict=True)
        return [
            self._described(heard, float(a), float(s), float(v), float(b))
            for heard, (a, s, v, b) in zip(chroma_of_peaks(magnitude, self._spec), shape, strict=True)
        ]

    @one_thread()
    def chroma(self, mel: Tensor) -> Array:
        """Return the unit chroma (B, 12), C first, of mels (B, M, T), without looking at what is above its range.

        That is several times faster, and within a hundredth of the chroma that a whole description is made with.
        """
        return chroma_of_peaks(self._at_moments(mel[:, : self._low.transform.spec.n_mels], self._low), self._spec)

    def _at_moments(self, mel: Tensor, magnitudes: Updates) -> Array:
        pooled = functional.adaptive_avg_pool1d(mel, min(MOMENTS, mel.shape[2]))
        magnitude = magnitudes(pooled).transpose(1, 2).numpy().astype(np.float64)
        return np.asarray(magnitude / self._transform.unit_gain)

    def _described(self, heard: Array, attack: float, sustain: float, level: float, bright: float) -> Description:
        chord = match(heard, self.names)
        name = chord.name if heard.any() else ""
        return Description(name, chord.clarity, chord.margin, bright, attack, sustain, level)

    def _attack_s(self, frames: Array) -> Array:
        level_db = _db(frames)
        frames_taken = _reaches(level_db, 3.0) - _reaches(level_db, 20.0)
        return np.asarray(frames_taken * self._spec.hop / self._spec.sample_rate_hz)

    @staticmethod
    def _sustain_db(frames: Array) -> Array:
        end = frames[:, -max(1, frames.shape[1] // END) :].mean(axis=1)
        return np.asarray(_db(end) - _db(frames.max(axis=1)))


def _lower(spec: MelSpec, highest_hz: float) -> MelSpec:
    """Return the spec whose bands are the lowest of this one, up to the first wholly above `highest_hz`."""
    low, high = hz_to_mel(np.array([spec.fmin_hz, spec.fmax_hz]), spec.scale)
    edges_hz = mel_to_hz(np.linspace(low, high, spec.n_mels + 2), spec.scale)
    count = max(1, int((edges_hz[:-2] < highest_hz).sum()))
    return spec.model_copy(update={"n_mels": count, "fmax_hz": float(edges_hz[count + 1])})


def chroma_of_peaks(magnitude: Array, spec: MelSpec) -> Array:
    """Return the unit chroma (B, 12), C first, of magnitudes (B, F, T); zeros for silence.

    Only spectral peaks count, at the frequency of the parabola through their logarithm: in a mel the
    partials of low notes are wider than a semitone, and folding every bin would smear them.
    """
    hz_per_bin = spec.sample_rate_hz / spec.n_fft
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


def _detuning(pitch: Array, weight: Array, item: npt.NDArray[np.int64], count: int) -> Array:
    """Return how far each sound's peaks lie from the nearest semitones: the circular mean, in semitones."""
    turned = weight * np.exp(2j * np.pi * pitch)
    total = np.bincount(item, turned.real, count) + 1j * np.bincount(item, turned.imag, count)
    return np.asarray(np.angle(total) / (2.0 * np.pi))


def _reaches(level_db: Array, below_db: float) -> Array:
    """Return when levels (B, T) first come within `below_db` of their peak, in frames, between two if need be."""
    wanted = level_db.max(axis=1) - below_db
    first = (level_db >= wanted[:, None]).argmax(axis=1)
    rows = np.arange(len(level_db))
    before, after = level_db[rows, np.maximum(first - 1, 0)], level_db[rows, first]
    return np.where(first > 0, first - (after - wanted) / np.maximum(after - before, TINY), 0.0)


def _db(energy: Array) -> Array:
    return np.asarray(10.0 * np.log10(np.maximum(energy, TINY)))
