"""Names of notes and chords: which pitches they mean, and which label of a memory means the same."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

NOTE = re.compile(r"([A-Ga-g])([#b]?)(-?\d)")
CHORD = re.compile(r"([A-G])([#b]?)([a-z]*[0-9]?)")
CLASSES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
SHIFTS = {"#": 1, "b": -1, "": 0}
SHARPS = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
# Semitones above the root, by what follows it in a chord's name. A sixth is left out: C6 is a note.
KINDS = {
    **dict.fromkeys(("", "maj"), (0, 4, 7)),
    **dict.fromkeys(("m", "min"), (0, 3, 7)),
    "dim": (0, 3, 6),
    "aug": (0, 4, 8),
    "sus": (0, 5, 7),
    "sus2": (0, 2, 7),
    "sus4": (0, 5, 7),
    "7": (0, 4, 7, 10),
    "maj7": (0, 4, 7, 11),
    **dict.fromkeys(("m7", "min7"), (0, 3, 7, 10)),
    "dim7": (0, 3, 6, 9),
}
VELOCITY_MOST = 127
Chord = tuple[int, tuple[int, ...]]  # pitch class of the root, and the semitones above it


def note_of(name: str) -> int | None:
    """Return the MIDI number (C4 = 60) of a note such as `E2`, `F#3` or `Bb2`; None if it is no note."""
    found = NOTE.fullmatch(name)
    return None if found is None else 12 * (int(found[3]) + 1) + CLASSES[found[1].upper()] + SHIFTS[found[2]]


def note_name(midi: int) -> str:
    """Return the name of a MIDI number, with sharps."""
    return f"{SHARPS[midi % 12]}{midi // 12 - 1}"


def chord_of(name: str) -> Chord | None:
    """Return the root's pitch class and the semitones above it of a chord such as `Am` or `F#7`; None if it is none."""
    found = CHORD.fullmatch(name)
    if found is None or found[3] not in KINDS:
        return None
    return (CLASSES[found[1]] + SHIFTS[found[2]]) % 12, KINDS[found[3]]


def velocity_db(velocity: float) -> float:
    """Return the level in dB of a MIDI velocity (above 0, up to 127): 127 is 0 dB, half of it 12 dB less."""
    return 40.0 * math.log10(velocity / VELOCITY_MOST)


def same(name: str, labels: Sequence[str]) -> str | None:
    """Return the label that means a name: the name itself, or the same note or chord in another spelling."""
    if name in labels:
        return name
    for meaning in (note_of, chord_of):
        meant = meaning(name)
        found = [label for label in labels if meant is not None and meaning(label) == meant]
        if found:
            return found[0]
    return None


def transposed(name: str, semitones: int, labels: Sequence[str] = ()) -> str | None:
    """Return a note or chord moved by semitones, spelled as among `labels` if it is there; None if it is neither."""
    midi, found = note_of(name), CHORD.fullmatch(name)
    if midi is not None:
        moved = note_name(midi + semitones)
    elif found is not None and found[3] in KINDS:
        moved = SHARPS[(CLASSES[found[1]] + SHIFTS[found[2]] + semitones) % 12] + found[3]
    else:
        return None
    return same(moved, labels) or moved
