"""Descriptions of sounds computed from mels alone: they need no phase, so no sound is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fugue_state.arrays import Array, Wide
from fugue_state.audio.compiled import one_thread
from fugue_state.audio.magnitudes import Updates
from fugue_state.audio.mel import hz_to_mel, mel_to_hz
from fugue_state.config import MelSpec
from fugue_state.measure.chords import HIGHEST_HZ, TINY, chroma_of_peaks, match, template
from fugue_state.score.pitches import chord_of

PITCHES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B")
# Linear magnitudes are estimated at this many moments: as good as at every frame, and much faster.
MOMENTS = 16
END = 4  # the last 1/END of a sound counts as its end


@dataclass(frozen=True)
class Description:
    """What a sound is like.

    `chord` is empty for silence; `clarity` and `margin` are as in `Chord`. `attack_s` is the time from 20 dB below
    the loudest frame to 3 dB below it; `sustain_db` is the level of the last quarter relative to that frame.
    """

    chord: str
    clarity: float
    margin: float
    brightness_hz: float
    attack_s: float
    sustain_db: float
    level_dbfs: float


def triads(labels: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the chords that can be named: the labels that are chords, then the other major and minor ones."""
    every = [*(name for name in labels if chord_of(name)), *PITCHES, *(f"{pitch}m" for pitch in PITCHES)]
    found: dict[bytes, str] = {}
    for name in every:
        found.setdefault(template(name).tobytes(), name)  # Bb and A# are the same chord; the label's spelling wins
    return tuple(found.values())


class Describer:
    """Describes mels of one MelSpec; chords are named among `names`."""

    def __init__(self, spec: MelSpec, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._spec, self._hz_per_bin = spec, spec.sample_rate_hz / spec.n_fft
        self._magnitudes = Updates(spec)
        self._low = Updates(_lower(spec, HIGHEST_HZ))
        self._transform = self._magnitudes.transform
        # By Parseval's theorem, this converts the power of half a spectrum to a sound's mean square.
        self._mean_square = 2.0 / (spec.n_fft * float((self._transform.window**2).sum()))

    @one_thread()
    def __call__(self, mel: Array) -> list[Description]:
        """Describe mels (B, M, T) in [-1, 1]; AudioError for mels of another shape or with non-finite values."""
        magnitude = self._at_moments(mel, self._magnitudes)
        power = (magnitude**2).mean(axis=2)
        hz = np.fft.rfftfreq(self._spec.n_fft, 1.0 / self._spec.sample_rate_hz)
        bright = np.einsum("bf,f->b", power, hz) / np.maximum(power.sum(axis=1), TINY)
        level = _db(power.sum(axis=1) * self._mean_square)
        frames = (self._transform.amplitude(mel).astype(np.float64) ** 2).sum(axis=1)
        shape = zip(self._attack_s(frames), self._sustain_db(frames), level, bright, strict=True)
        return [
            self._described(heard, float(a), float(s), float(v), float(b))
            for heard, (a, s, v, b) in zip(chroma_of_peaks(magnitude, self._hz_per_bin), shape, strict=True)
        ]

    @one_thread()
    def chroma(self, mel: Array) -> Wide:
        """Return the unit chroma (B, 12), C first, of mels (B, M, T), ignoring bands above the chroma's range.

        Several times faster than a full description, and within a hundredth of its chroma.
        """
        lower = mel[:, : self._low.transform.spec.n_mels]
        return chroma_of_peaks(self._at_moments(lower, self._low), self._hz_per_bin)

    def _at_moments(self, mel: Array, magnitudes: Updates) -> Wide:
        magnitude = magnitudes(_pooled(mel)).swapaxes(1, 2).astype(np.float64)
        return np.asarray(magnitude / self._transform.unit_gain)

    def _described(self, heard: Wide, attack: float, sustain: float, level: float, bright: float) -> Description:
        chord = match(heard, self.names)
        name = chord.name if heard.any() else ""
        return Description(name, chord.clarity, chord.margin, bright, attack, sustain, level)

    def _attack_s(self, frames: Wide) -> Wide:
        level_db = _db(frames)
        frames_taken = _reaches(level_db, 3.0) - _reaches(level_db, 20.0)
        return np.asarray(frames_taken * self._spec.hop / self._spec.sample_rate_hz)

    @staticmethod
    def _sustain_db(frames: Wide) -> Wide:
        end = frames[:, -max(1, frames.shape[1] // END) :].mean(axis=1)
        return np.asarray(_db(end) - _db(frames.max(axis=1)))


def _pooled(mel: Array) -> Array:
    """Return the means (B, M, moments) of equal parts of a mel; neighbouring parts may share a frame."""
    frames = mel.shape[2]
    count = min(MOMENTS, frames)
    parts = [slice(frames * i // count, -(-frames * (i + 1) // count)) for i in range(count)]
    return np.stack([mel[:, :, part].mean(axis=2) for part in parts], axis=2)


def _lower(spec: MelSpec, highest_hz: float) -> MelSpec:
    """Return the spec of this one's lowest bands, up to the first that lies wholly above `highest_hz`."""
    low, high = hz_to_mel(np.array([spec.fmin_hz, spec.fmax_hz]), spec.scale)
    edges_hz = mel_to_hz(np.linspace(low, high, spec.n_mels + 2), spec.scale)
    count = max(1, int((edges_hz[:-2] < highest_hz).sum()))
    return spec.model_copy(update={"n_mels": count, "fmax_hz": float(edges_hz[count + 1])})


def _reaches(level_db: Wide, below_db: float) -> Wide:
    """Return when levels (B, T) first come within `below_db` of their peak, in interpolated frames."""
    wanted = level_db.max(axis=1) - below_db
    first = (level_db >= wanted[:, None]).argmax(axis=1)
    rows = np.arange(len(level_db))
    before, after = level_db[rows, np.maximum(first - 1, 0)], level_db[rows, first]
    return np.where(first > 0, first - (after - wanted) / np.maximum(after - before, TINY), 0.0)


def _db(energy: Wide) -> Wide:
    return np.asarray(10.0 * np.log10(np.maximum(energy, TINY)))
