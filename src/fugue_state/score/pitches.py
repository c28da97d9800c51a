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
MOST_NEAR = 5  # names in a message
Chord = tuple[int, tuple[int, ...]]  # pitch class of the root, and the semitones above it
# How people write chords in charts: what kind, which number, and what is altered or added.
CHARTED = re.compile(
    r"([A-G])([#b]?)(maj|Maj|ma(?!dd)|M|min|mi|m|-|dim|°|o|aug|\+|ø|Δ|△)?(maj|Maj|M|Δ|△)?(13|11|9|7|69|6|5|4|2)?(.*)"
)
ALTERED = re.compile(r"(b5|[#+]5|b9|#9|#11|b13|add(?:2|4|6|9|11|13)|sus[24]?|(?:no|omit)[35]|maj7|M7)")
MAJOR, MINOR = {"maj", "Maj", "ma", "M", "Δ", "△"}, {"min", "mi", "m", "-"}
DIMINISHED = {"dim", "°", "o"}
NUMBERED = {"6": (9,), "69": (9, 2), "2": (2,), "4": (5,), "9": (2,), "11": (2, 5), "13": (2, 9)}
ADDED = {"2": 2, "4": 5, "6": 9, "9": 2, "11": 5, "13": 9}


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


def charted(name: str) -> Chord | None:
    """Return the chord that a chart means, such as `Am7`, `Bbmaj7`, `F#m7b5` or `C7(b9)`; None if it is none.

    Semitones are within an octave, and rise. A bass after a slash is no part of a chord's name.
    """
    found = CHARTED.fullmatch(re.sub(r"[(), ]", "", name).replace("6/9", "69"))
    if found is None:
        return None
    root, shift, kind, seventh, number, rest = (part or "" for part in found.groups())
    if ALTERED.sub("", rest):
        return None
    above = _built(kind, seventh, number)
    for alteration in ALTERED.findall(rest):
        _alter(above, alteration)
    return (CLASSES[root] + SHIFTS[shift]) % 12, tuple(sorted(above))


def _built(kind: str, seventh: str, number: str) -> set[int]:
    """Return the semitones of a chord before anything in it is altered."""
    if number == "5" and not kind:
        return {0, 7}
    third = 3 if kind in MINOR | DIMINISHED | {"ø"} else 4
    fifth = {**dict.fromkeys((*DIMINISHED, "ø"), 6), **dict.fromkeys(("aug", "+"), 8)}.get(kind, 7)
    above = {0, third, fifth, *NUMBERED.get(number, ())}
    if number in {"7", "9", "11", "13"} or seventh or kind in {"ø", "Δ", "△"}:
        large = bool(seventh) or kind in MAJOR
        above.add(11 if large else 9 if kind in DIMINISHED else 10)
    return above


def _alter(above: set[int], alteration: str) -> None:
    """Change the semitones of a chord as one of its alterations says."""
    if alteration.startswith("add"):
        above.add(ADDED[alteration[3:]])
    elif alteration.startswith("sus"):
        above.difference_update((3, 4))
        above.add(2 if alteration == "sus2" else 5)
    elif alteration.startswith(("no", "omit")):
        above.difference_update((3, 4) if alteration.endswith("3") else (6, 7, 8))
    elif alteration in {"maj7", "M7"}:
        above.discard(10)
        above.add(11)
    elif alteration in {"b5", "#5", "+5"}:
        above.difference_update((6, 7, 8))
        above.add(6 if alteration == "b5" else 8)
    else:
        above.add({"b9": 1, "#9": 3, "#11": 6, "b13": 8}[alteration])


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


def near(name: str, labels: Sequence[str], most: int = MOST_NEAR) -> list[str]:
    """Return the labels that are nearest to a note or chord, nearest first.

    Near a chord are those on its root, then those of its kind; near a note are the same note in other octaves, then
    its neighbours. Last come chords on that note, or notes that are the chord's root.
    """
    apart = [(_apart(name, label), label) for label in labels]
    found = [(far, label) for far, label in apart if far is not None]
    return [label for _, label in sorted(found, key=lambda one: one[0])[:most]]


def _apart(name: str, label: str) -> tuple[int, int] | None:
    """Return how far a label is from a note or chord: less is nearer; None if they have nothing in common."""
    chords, notes = (chord_of(name), chord_of(label)), (note_of(name), note_of(label))
    if chords[0] is not None and chords[1] is not None:
        semitones = min((chords[0][0] - chords[1][0]) % 12, (chords[1][0] - chords[0][0]) % 12)
        return (int(semitones > 0), semitones) if semitones == 0 or chords[0][1] == chords[1][1] else None
    if notes[0] is not None and notes[1] is not None:
        semitones = abs(notes[0] - notes[1])
        return int(semitones % 12 > 0), semitones
    roots = {chord[0] for chord in chords if chord} | {note % 12 for note in notes if note is not None}
    alike = len(roots) == 1 and any(chords) and any(note is not None for note in notes)
    return (2, 0) if alike else None


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
