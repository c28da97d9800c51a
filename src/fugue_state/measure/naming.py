"""What the labels of a memory are, and so what its sounds can be named as: chords, notes, or neither."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from fugue_state.arrays import Array
from fugue_state.measure.chords import Chord, name_chord, tabulate
from fugue_state.measure.named import Heard, NameTable
from fugue_state.measure.notes import Note, name_note, tabulate_notes
from fugue_state.score.pitches import chord_of, note_of

NamingName = Literal["chords", "notes"]


def naming_of(labels: Sequence[str]) -> NamingName | None:
    """Return what these labels are, if they are two or more that can be told apart: chords, or notes; else None."""
    if len(labels) > 1 and all(chord_of(label) for label in labels):
        return "chords"
    # In octave 7 a note is also a chord, as in G7; only where others are no chords is it read as a note.
    if len({note_of(label) for label in labels} - {None}) == len(labels) > 1:
        return "notes"
    return None


def name_sound(samples: Array, sample_rate_hz: int, labels: Sequence[str]) -> Heard:
    """Name the chord of a sound (N,) as one of the labels, or its note, whichever labels these are."""
    if naming_of(labels) == "notes":
        return name_note(samples, sample_rate_hz, labels)
    return name_chord(samples, sample_rate_hz, labels)


def tabulated(asked: Sequence[str], heard: Sequence[Heard]) -> NameTable:
    """Compare what was asked with what was heard, as chords or as notes; InputError as `tabulate` raises it."""
    notes = [one for one in heard if isinstance(one, Note)]
    if notes:
        return tabulate_notes(asked, notes)
    return tabulate(asked, [one for one in heard if isinstance(one, Chord)])
