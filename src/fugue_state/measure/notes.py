"""Naming the note of a sound, and how well it is in tune."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fugue_state.arrays import Array
from fugue_state.audio.pitch import pitch_of
from fugue_state.errors import AudioError, InputError
from fugue_state.measure.named import Heard, NameTable, compared
from fugue_state.score.pitches import note_name, note_of, same

NAMED_CENTS = 50.0  # nearer to a label than this, a pitch is named as asked
LEVEL_QUANTILE = 0.95


@dataclass(frozen=True)
class Note(Heard):
    """The note heard: the nearest one's name, how well each period repeats the one before, and its MIDI number."""

    midi: float


@dataclass(frozen=True)
class NoteTable(NameTable):
    """How a set of notes was named, and how well they are in tune.

    `cents` is the median distance from the notes asked, `cents_95` what 95 % stay within, `octave_errors` the share
    of sounds that are off by octaves; `per_class_cents` are medians, `per_class_octave_errors` shares.
    """

    cents: float
    cents_95: float
    octave_errors: float
    per_class_cents: dict[str, float]
    per_class_octave_errors: dict[str, float]


def name_note(samples: Array, sample_rate_hz: int, names: Sequence[str] = ()) -> Note:
    """Name the note of a sound (N,), spelled as among `names` if it is there; without a name if it is too short."""
    try:
        heard = pitch_of(samples, sample_rate_hz)
    except AudioError:
        return Note("", 0.0, 0.0)
    return note(heard.midi, heard.clear, names)


def note(midi: float, clarity: float, names: Sequence[str] = ()) -> Note:
    """Return a note that was heard."""
    name = note_name(math.floor(midi + 0.5))
    return Note(same(name, names) or name, clarity, midi)


def tabulate_notes(asked: Sequence[str], heard: Sequence[Note]) -> NoteTable:
    """Compare asked notes with heard ones; InputError unless there are as many, at least one, all of them notes."""
    counts = compared(asked, heard, "note")
    off = np.array([100.0 * (one.midi - _midi(name)) for name, one in zip(asked, heard, strict=True)])
    octaves = np.round(off / 1200.0)
    wrong = (octaves != 0) & (np.abs(off - 1200.0 * octaves) <= NAMED_CENTS)
    classes = {name: np.array([one == name for one in asked]) for name in counts["per_class"]}
    return NoteTable(
        **counts,
        cents=float(np.median(np.abs(off))),
        cents_95=float(np.quantile(np.abs(off), LEVEL_QUANTILE)),
        octave_errors=float(wrong.mean()),
        per_class_cents={name: float(np.median(np.abs(off[own]))) for name, own in classes.items()},
        per_class_octave_errors={name: float(wrong[own].mean()) for name, own in classes.items()},
    )


def _midi(name: str) -> int:
    midi = note_of(name)
    if midi is None:
        raise InputError(f"{name!r} is no note (like C4, F#3, Bb2)")
    return midi
