"""Which label of a memory a key plays, and which changes of playing by keys a piece can follow."""

from __future__ import annotations

from collections.abc import Sequence

from fugue_state.config import TEMPO_TIMES
from fugue_state.errors import InputError, counted
from fugue_state.score.model import Score
from fugue_state.score.paths import Value
from fugue_state.score.pitches import KINDS, SHARPS, chord_of, note_of

MIDDLE_C = 60
FIRST_KINDS = (KINDS[""], KINDS["m"])  # major, minor: of several chords with a root, these come first


def key_label(key: int, labels: Sequence[str]) -> str | None:
    """Return the label that a key (a MIDI number) plays; None if there are none.

    Among notes it is that note, or else the nearest octave of it, or else the nearest note. Among chords it is the one
    with that root, or else the nearest root: major, minor, others. Other labels are played in turn, from middle C on.
    """
    notes = {label: note for label in labels if (note := note_of(label)) is not None}
    chords = {label: chord for label in labels if (chord := chord_of(label)) is not None}
    if len(notes) > len(chords):
        return min(notes, key=lambda label: ((notes[label] - key) % 12 != 0, abs(notes[label] - key)))
    if chords:
        return min(chords, key=lambda label: _far(key, *chords[label]))
    return labels[(key - MIDDLE_C) % len(labels)] if labels else None


def _far(key: int, root: int, kind: tuple[int, ...]) -> tuple[int, int, int]:
    """Return how far a chord is from a key's root, the root below before the one above, and the place of its kind."""
    above = (key - root) % len(SHARPS)
    place = FIRST_KINDS.index(kind) if kind in FIRST_KINDS else len(FIRST_KINDS)
    return min(above, len(SHARPS) - above), above, place


def octaves_away(key: int, labels: Sequence[str]) -> str | None:
    """Return the note that a key plays in a memory of notes that does not have its own; otherwise None."""
    label = key_label(key, labels)
    note = None if label is None or chord_of(label) else note_of(label)
    return None if note in {None, key} else label


def check_keyed(score: Score, path: str, value: Value) -> None:
    """Raise InputError for a voice or a tempo that a piece cannot be played with; other changes pass."""
    if path == "/keys/voice" and isinstance(value, int | float) and value > len(score.voices):
        raise InputError(f"{path}: the piece has {counted(len(score.voices), 'voice')}, got {value:g}")
    if path == "/tempo" and isinstance(value, int | float):
        slowest, fastest = score.tempo_bpm / TEMPO_TIMES, score.tempo_bpm * TEMPO_TIMES
        if not slowest <= value <= fastest:
            raise InputError(f"{path}: this piece goes at {slowest:g} to {fastest:g} beats a minute, got {value:g}")
