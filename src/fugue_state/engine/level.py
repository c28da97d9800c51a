"""How loud an event is, and the gain that holds its loudness."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache, partial

import numpy as np

from fugue_state.arrays import Array, Wide
from fugue_state.audio.compiled import in_threads, one_thread
from fugue_state.audio.loudness import SILENT_LUFS, event_lufs, k_weighting
from fugue_state.audio.mel import MelTransform, hz_to_mel, mel_to_hz
from fugue_state.audio.mix import envelope
from fugue_state.bending.strengths import forget
from fugue_state.config import HELD_LUFS, EnvelopeConfig
from fugue_state.memory.memory import Memory
from fugue_state.memory.vocoder import Stream
from fugue_state.piece.layout import Layout
from fugue_state.score.model import Loudness

COMPARED = 4  # chords that are rendered, intact and half forgotten, to calibrate loudness from mels
CLOSE_DB = 1.0  # if the chords differ by less, no slope is fitted


class Envelopes:
    """Envelopes of events at one sample rate; each is computed once."""

    def __init__(self, rate: int) -> None:
        # Not a cached method: that would be a reference cycle, freed only by the garbage collector.
        self._made = lru_cache(maxsize=8)(partial(_envelope, rate))

    def __call__(self, length: int, config: EnvelopeConfig) -> tuple[Array, float]:
        """Return an envelope (N,), and by how many dB it lowers a steady sound."""
        return self._made(length, config)


def _envelope(rate: int, length: int, config: EnvelopeConfig) -> tuple[Array, float]:
    gain = envelope(length, rate, config)
    return gain, -10.0 * float(np.log10(np.mean(gain**2)))


def held_db(level_db: float, lufs: float, taken_db: float, loudness: Loudness) -> float:
    """Return an event's level (dB) after its loudness is held; the envelope's loss is intended and not made up for."""
    if not loudness.hold:
        return level_db
    return level_db + min(HELD_LUFS - taken_db - lufs, loudness.lift_db)


class Level:
    """The gain that holds the loudness of a memory's events, as a score asks for.

    Loudness is estimated from a mel: the power of its bands, K-weighted. The estimate is off by an amount that
    depends on how peaky the bands are, since partials fill bands differently from noise. That offset is measured on
    the memory's first chords in the piece, `at_once` of them in parallel.
    """

    def __init__(self, piece: Layout, memory: Memory, stream: Stream, at_once: int = 1) -> None:
        spec = memory.spec
        self._loudness = piece.score.loudness
        self._transform = MelTransform(spec)
        ends = hz_to_mel(np.array([spec.fmin_hz, spec.fmax_hz]), spec.scale)
        centres = mel_to_hz(np.linspace(ends[0], ends[1], spec.n_mels + 2)[1:-1], spec.scale)
        self._weights = k_weighting(centres).astype(np.float32)
        self._line = np.zeros(2), np.zeros(2)  # peakiness (dB) at both ends, and the offset (LU) there
        if self._loudness.hold:
            self._measure(piece, memory, stream, at_once)

    @property
    def weights(self) -> Array:
        """The K-weighting of each band's power (M,)."""
        return self._weights

    @property
    def line(self) -> tuple[Wide, Wide]:
        """The offset that is added to an estimate: how peaky bands are (dB) at two ends, and the offsets (LU) there."""
        return self._line

    def _measure(self, piece: Layout, memory: Memory, stream: Stream, at_once: int) -> None:
        mels = list(_heard(piece, memory))
        bands = [self._bands(mel) for mel in mels]
        even = np.ones(1, dtype=np.float32)
        peaks = np.array([_peaked_db(each) for each in bands])
        sounds = np.array(in_threads(lambda mel: _lufs(mel, stream), mels, at_once))
        off = sounds - np.array([self._seeming(each, even) for each in bands])
        slope = np.polyfit(peaks, off, 1)[0] if np.ptp(peaks) > CLOSE_DB else 0.0
        ends = np.array([peaks.min(), peaks.max()])
        self._line = ends, off.mean() + slope * (ends - peaks.mean())

    def _bands(self, mel: Array) -> Array:
        return np.asarray(self._transform.amplitude(mel[None])[0])

    def _seeming(self, bands: Array, envelope: Array) -> float:
        """Return the loudness estimated from a mel's bands (M, T) under an envelope (N,)."""
        with one_thread():
            power = self._weights @ bands**2
        gains = envelope[np.arange(len(power)) * len(envelope) // len(power)]
        return _db((power * gains**2).mean())

    def __call__(self, mel: Array, level_db: float, envelope: Array, taken_db: float) -> float:
        """Return the gain for a mel (M, T) under an envelope (N,) that lowers a steady sound by `taken_db`."""
        lufs = 0.0
        if self._loudness.hold:
            bands = self._bands(mel)
            off_lu = float(np.interp(_peaked_db(bands), *self._line))
            lufs = max(SILENT_LUFS, self._seeming(bands, envelope) + off_lu)
        return float(10.0 ** (held_db(level_db, lufs, taken_db, self._loudness) / 20.0))


def _db(power: np.float32) -> float:
    return 10.0 * math.log10(max(float(power), 1e-12))


def _peaked_db(bands: Array) -> float:
    """Return how peaky a mel's bands (M, T) are, in dB: 0 if only one band has power."""
    return _db((bands**2).sum()) - _db((bands.sum(axis=0) ** 2).sum())


def _lufs(mel: Array, stream: Stream) -> float:
    """Return the loudness of a mel (M, T) once it is inverted."""
    return event_lufs(stream.whole(mel), stream.spec.sample_rate_hz)


def _heard(piece: Layout, memory: Memory) -> Iterator[Array]:
    """Yield the mels (M, T) of a memory's first chords in a piece, intact and half forgotten."""
    lines = [line for line in piece.lines if piece.parts[piece.part_of[line.number]].memory is memory]
    turns = [(line, turn) for line in lines for turn in line.turns if not turn.step.rest]
    order = np.random.default_rng(piece.score.seed).permutation(memory.units)
    for line, turn in turns[:COMPARED]:
        for fraction in (0.0, 0.5):
            strengths = forget(order, fraction, memory.units)
            yield memory.generate(turn.latents[:1], turn.label, strengths, line.frames)[0]
