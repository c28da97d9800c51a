"""What a memory plays for the notes and chords of a song: its labels, or the nearest of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from fugue_state.errors import InputError, shown
from fugue_state.score.names import quote
from fugue_state.score.pitches import SHARPS, Chord, charted, chord_of, near, note_name, note_of, same

MOST_TOLD = 6  # labels in a message


class Fitting:
    """The labels of a memory, and in `changed` how often something else was asked of it: (asked, played)."""

    def __init__(self, memory: str, labels: Sequence[str]) -> None:
        self.memory, self.labels = memory, tuple(labels)
        self.changed: Counter[tuple[str, str]] = Counter()
        chords = {label: chord for label in labels if (chord := chord_of(label)) is not None}
        self._chords = {label: (chord[0], _classes(chord)) for label, chord in chords.items()}
        self._notes = [label for label in labels if note_of(label) is not None]
        # A name like E7 is that of a note and of a chord: what most others are decides.
        self.of_chords = len(self._chords) >= len(self._notes)
        self.nameless = not self._chords and not self._notes

    def check(self) -> None:
        """Raise InputError unless it knows notes or chords by name."""
        if self.nameless:
            raise InputError(f"memory {shown(self.memory)} knows no notes and no chords by name ({self._told()})")

    def note(self, pitch: int) -> str:
        """Return the label for a MIDI number: the note, or the same in the nearest octave, or the nearest."""
        name = note_name(pitch)
        found = same(name, self._notes)
        return found if found is not None else self._instead(name, near(name, self._notes, 1)[0])

    def struck(self, pitches: Iterable[int]) -> str:
        """Return the label for notes that sound together; the lowest is taken for the root where several chords fit."""
        low_first = list(dict.fromkeys(pitch % 12 for pitch in sorted(pitches)))
        found = self._nearest(low_first[0], frozenset(low_first))
        played = self._chords[found][1] == set(low_first)
        return found if played else self._instead(" ".join(SHARPS[pitch] for pitch in low_first), found)

    def named(self, name: str) -> str:
        """Return the label for a name in a chart; InputError for one that means nothing to this memory."""
        found = same(name, self.labels)
        if found is not None:
            return found
        pitch, (chord, bass) = note_of(name), _slashed(name)
        if not self.of_chords and pitch is not None:
            return self._instead(name, near(name, self._notes, 1)[0])
        if chord is None:
            raise InputError(f"{shown(name)} is no chord, like Am, F#m7, Bbmaj7 or C/E, and no label of {self._told()}")
        if not self.of_chords or not self._chords:
            raise InputError(f"{shown(name)} is a chord, and memory {shown(self.memory)} knows none ({self._told()})")
        root, classes = chord[0], _classes(chord)
        label = self._nearest(root, classes)
        exact = self._chords[label] == (root, classes) and not bass
        return label if exact else self._instead(name, label)

    def _nearest(self, root: int, classes: frozenset[int]) -> str:
        """Return the chord that differs in the fewest pitch classes; of several the one on the root, then the first."""
        return min(
            self._chords,
            key=lambda label: (len(self._chords[label][1] ^ classes), self._chords[label][0] != root),
        )

    def _instead(self, asked: str, played: str) -> str:
        self.changed[asked, played] += 1
        return played

    def _told(self) -> str:
        more = ", ..." if len(self.labels) > MOST_TOLD else ""
        return f"{', '.join(map(quote, self.labels[:MOST_TOLD]))}{more}" if self.labels else "it has no labels"


def _classes(chord: Chord) -> frozenset[int]:
    """Return the pitch classes of a chord."""
    root, above = chord
    return frozenset((root + step) % 12 for step in above)


def _slashed(name: str) -> tuple[Chord | None, str]:
    """Return the chord that a chart means, and the bass after a slash; that of C6/9 is none."""
    chord, slash, bass = name.rpartition("/")
    if slash and note_of(f"{bass}0") is not None:
        return charted(chord), bass
    return charted(name), ""
