"""Chords strummed from single notes, with the variation between players."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import signal

from fugue_state.arrays import Array
from fugue_state.audio.io import resample
from fugue_state.config import ClipConfig, StrumConfig, StrumSetName
from fugue_state.corpus.clips import prepare
from fugue_state.corpus.notes import FADE_S, Guitar
from fugue_state.errors import InputError
from fugue_state.score.pitches import KINDS, chord_of, note_name

OPEN_STRINGS = (40, 45, 50, 55, 59, 64)  # E2 A2 D3 G3 B3 E4
GRAIN_S = 0.5
SLOWEST_DECAY = 0.98  # upper bound for the level ratio of successive grains
DETUNED = 0.04  # semitones, standard deviation of a string
FARTHEST_SHIFT = 4.5  # semitones; beyond it a resampled string sounds like a toy

# Low E to high e; x is not played, frets above 9 are letters (a = 10).
VOICINGS = {
    "Am": ("x02210", "577555", "xx7555"),
    "Bb": ("x13331", "xx3331", "688766"),
    "Bdim": ("x2343x", "xx3431", "7897xx"),
    "C": ("x32010", "x35553", "8aa988"),
    "Dm": ("xx0231", "x57765", "accaaa"),
    "Em": ("022000", "x79987", "022003"),
    "F": ("133211", "xx3211", "x8aaa8"),
    "G": ("320003", "355433", "320033"),
}
# Shapes with their root on an open string (E, A, D) that a barre moves to any fret, by the kind of chord.
SHAPES = {
    "": ("022100", "x02220", "xx0232"),
    "m": ("022000", "x02210", "xx0231"),
    "7": ("020130", "x02023", "xx0212"),
    "dim": ("0120xx", "x0121x", "xx0131"),
    "sus4": ("022200", "x02230", "xx0233"),
}
ROOT_STRINGS = (40, 45, 50)
# Open chords that no barre moves.
OPEN = {"C": ("x32010",), "G": ("320003", "320033"), "B7": ("x21202",), "G7": ("320001",)}
COMMON = (
    *("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B"),
    *("Cm", "C#m", "Dm", "Ebm", "Em", "Fm", "F#m", "Gm", "G#m", "Am", "Bbm", "Bm"),
    *("A7", "B7", "C7", "D7", "E7", "F7", "G7", "Bdim", "F#dim", "Asus4", "Dsus4", "Esus4"),
)
LOWEST_NOTE, HIGHEST_NOTE = 40, 76  # E2 and E5
POSITION_WEIGHTS = (0.55, 0.25, 0.2)


@dataclass(frozen=True)
class Stroke:
    """One player's stroke, drawn at random: times in seconds, levels in dB, pitches in semitones."""

    down: bool
    sweep_s: float
    dynamics: float
    tuning: float
    pick_position: float
    damp_s: float | None

    @classmethod
    def draw(cls, rng: np.random.Generator, duration_s: float) -> Stroke:
        """Draw a random stroke."""
        damped = rng.random() < 0.15
        return cls(
            down=bool(rng.random() < 0.7),
            sweep_s=float(rng.uniform(0.010, 0.090)),
            dynamics=float(rng.beta(2.0, 1.6)),
            tuning=float(rng.uniform(-0.20, 0.20)),
            pick_position=float(rng.uniform(0.08, 0.3)),
            damp_s=float(rng.uniform(0.4, 0.9)) * duration_s if damped else None,
        )


def strings_of(voicing: str) -> list[int]:
    """Return the MIDI notes of a voicing, lowest string first."""
    return [open_ + int(fret, 16) for open_, fret in zip(OPEN_STRINGS, voicing, strict=True) if fret != "x"]


def positions(chord: str) -> list[str]:
    """Return the voicings of a chord: open ones, then its shapes on three strings, from the lowest fret up."""
    found = chord_of(chord)
    if found is None:
        raise InputError(f"{chord!r} is no chord")
    root, intervals = found
    shapes = next(shapes for kind, shapes in SHAPES.items() if KINDS[kind] == intervals)
    barred = sorted(((root - low) % 12, shape) for low, shape in zip(ROOT_STRINGS, shapes, strict=True))
    moved = ["".join(f if f == "x" else f"{int(f, 16) + fret:x}" for f in shape) for fret, shape in barred]
    return [*OPEN.get(chord, ()), *moved]


def playable(what: StrumSetName) -> dict[str, list[list[int]]]:
    """Return the labels of a set, each with the MIDI notes of the ways to play it, the usual one first."""
    if what == "notes":
        return {note_name(midi): [[midi]] for midi in range(LOWEST_NOTE, HIGHEST_NOTE + 1)}
    named = VOICINGS if what == "guitar" else {chord: positions(chord) for chord in COMMON}
    return {chord: [strings_of(voicing) for voicing in voicings] for chord, voicings in named.items()}


def choose_voicing(guitar: Guitar, options: Sequence[list[int]], rng: np.random.Generator) -> list[int]:
    """Choose a voicing that this guitar's notes can reach without large pitch shifts."""
    shifts = [max(guitar.reach(m) for m in option) for option in options]
    usual = [POSITION_WEIGHTS[min(place, len(POSITION_WEIGHTS) - 1)] for place in range(len(options))]
    weights = np.array([w if s <= FARTHEST_SHIFT else 0.0 for w, s in zip(usual, shifts, strict=True)])
    if not weights.any():
        return options[int(np.argmin(shifts))]
    return options[int(rng.choice(len(options), p=weights / weights.sum()))]


def strum(guitar: Guitar, options: Sequence[list[int]], rng: np.random.Generator, config: StrumConfig) -> Array:
    """Return one strummed chord, or one note, (N,) of `config.duration_s`, by one of these voicings."""
    rate = config.sample_rate_hz
    length = int(config.duration_s * rate)
    stroke = Stroke.draw(rng, config.duration_s)
    if config.what == "notes":
        stroke = replace(stroke, tuning=0.0)
    dry = _ring(guitar, choose_voicing(guitar, options, rng), stroke, length, rng, rate)
    heard = _microphone(_body(dry, stroke, rng, rate), rng, rate)
    if stroke.damp_s is not None:
        heard *= _damping(stroke.damp_s, length, rng, rate)
    noisy = heard + _noise(length, rng) * float(np.abs(heard).max())
    return prepare(noisy.astype(np.float32), rate, length, ClipConfig(level_dbfs=float(rng.uniform(-24, -16))))


def _ring(guitar: Guitar, notes: list[int], stroke: Stroke, length: int, rng: np.random.Generator, rate: int) -> Array:
    """Sum the strings, each detuned, delayed by the sweep, and comb-filtered for the pick's position."""
    out = np.zeros(length, dtype=np.float32)
    order = notes if stroke.down else notes[::-1]
    gaps = np.cumsum(rng.uniform(0.6, 1.4, len(order)))
    for place, midi in enumerate(order):
        note = guitar.pick(midi, stroke.dynamics, rng)
        pitch = midi + stroke.tuning + rng.normal(0.0, DETUNED)
        string = resample(note.samples, rate * 2.0 ** ((pitch - note.midi) / 12.0), rate)
        string = ring_on(string, length, rate)
        lag = round(rate * stroke.pick_position / (440.0 * 2.0 ** ((pitch - 69.0) / 12.0)))
        if 0 < lag < len(string):
            depth = np.float32(rng.uniform(0.1, 0.5))
            string = np.asarray(string - depth * np.concatenate([np.zeros(lag, np.float32), string[:-lag]]))
        # Recordings differ in level; the stroke decides the level, not the recording.
        gain = 10.0 ** ((-20.0 - note.level_db + rng.normal(0.0, 2.0)) / 20.0)
        start = int(stroke.sweep_s * rate * (gaps[place] - gaps[0]) / max(gaps[-1] - gaps[0], 1e-9))
        room = min(len(string), length - start)
        out[start : start + room] += np.float32(gain) * string[:room]
    return out


def ring_on(string: Array, length: int, rate: int) -> Array:
    """Extend a recording (N,) that is shorter than `length`, as samplers do.

    Its last half second is repeated and cross-faded, each time quieter by as much as the recording decayed in its last
    half second. Recordings shorter than 1.5 s stay as they are.
    """
    grain, fade = int(GRAIN_S * rate), int(FADE_S * rate)
    body = string[: len(string) - fade]
    if len(string) >= length or len(body) < 3 * grain:
        return string
    last = body[-grain:]
    before = float(np.sqrt(np.mean(body[-2 * grain : -grain] ** 2)))
    ratio = min(SLOWEST_DECAY, float(np.sqrt(np.mean(last**2))) / max(before, 1e-9))
    step = grain // 2
    out = np.zeros(length + grain, dtype=np.float32)
    out[: len(body)] = body
    turn = np.linspace(0.0, np.pi / 2, grain - step, dtype=np.float32)
    for number, place in enumerate(range(len(body) - (grain - step), length, step), 1):
        out[place : place + grain - step] *= np.cos(turn)
        quieter = last * np.float32(ratio ** (number * step / grain))
        quieter[: grain - step] *= np.sin(turn)
        out[place : place + grain] += quieter
    return out[:length]


def _body(dry: Array, stroke: Stroke, rng: np.random.Generator, rate: int) -> Array:
    """Give a direct recording a body: air and top-plate resonances, and a brightness that depends on the dynamics."""
    out = dry
    for low, high, most_db in ((85.0, 130.0, 5.0), (170.0, 260.0, 5.0), (350.0, 600.0, 3.0)):
        out = _peak(out, rng.uniform(low, high), rng.uniform(0.0, most_db), rng.uniform(2.0, 5.0), rate)
    cutoff = min(2500.0 + 5500.0 * stroke.dynamics + rng.uniform(0.0, 1500.0), 0.45 * rate)
    return np.asarray(signal.lfilter(*signal.butter(1, cutoff, fs=rate), out), dtype=np.float32)


def _microphone(sound: Array, rng: np.random.Generator, rate: int) -> Array:
    """Colour the sound as a microphone position would, and add a small room."""
    out = _peak(sound, rng.uniform(150.0, 800.0), rng.normal(0.0, 2.5), 0.8, rate)
    out = _peak(out, rng.uniform(1500.0, 5000.0), rng.normal(0.0, 3.0), 0.8, rate)
    high_pass = signal.butter(2, rng.uniform(40.0, 75.0), "high", fs=rate, output="sos")
    out = np.asarray(signal.sosfilt(high_pass, out), dtype=np.float32)
    size = int(rng.uniform(0.12, 0.45) * rate)
    tail = rng.normal(size=size) * 10.0 ** (-3.0 * np.arange(size) / size)
    tail /= np.sqrt(np.sum(tail**2))
    wet = signal.oaconvolve(out, tail.astype(np.float32))[: len(out)]
    return np.asarray(out + 10.0 ** (rng.uniform(-26.0, -13.0) / 20.0) * wet, dtype=np.float32)


def _peak(sound: Array, hz: float, gain_db: float, q: float, rate: int) -> Array:
    """Apply a peaking equalizer (Bristow-Johnson, Audio EQ Cookbook)."""
    a, w = 10.0 ** (gain_db / 40.0), 2.0 * np.pi * hz / rate
    alpha = np.sin(w) / (2.0 * q)
    b = np.array([1.0 + alpha * a, -2.0 * np.cos(w), 1.0 - alpha * a])
    c = np.array([1.0 + alpha / a, -2.0 * np.cos(w), 1.0 - alpha / a])
    return np.asarray(signal.lfilter(b / c[0], c / c[0], sound), dtype=np.float32)


def _damping(at_s: float, length: int, rng: np.random.Generator, rate: int) -> Array:
    """Return the gain (N,) of a hand laid on the strings at `at_s`."""
    late = np.maximum(0.0, np.arange(length) / rate - at_s)
    return np.exp(-late / rng.uniform(0.03, 0.08)).astype(np.float32)


def _noise(length: int, rng: np.random.Generator) -> Array:
    """Return room noise, -6 dB per octave above 1 kHz, 72 to 48 dB below the peak."""
    noise = signal.lfilter([0.25], [1.0, -0.75], rng.normal(size=length))
    level = 10.0 ** (rng.uniform(-72.0, -48.0) / 20.0)
    return np.asarray(noise * (level / np.sqrt(np.mean(noise**2))), dtype=np.float32)
