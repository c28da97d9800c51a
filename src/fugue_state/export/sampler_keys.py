"""Which key of a keyboard plays which label, and which keys switch between kinds of chords."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from fugue_state.errors import InputError
from fugue_state.limits import KEYS
from fugue_state.piece.keyboard import MIDDLE_C
from fugue_state.score.pitches import KINDS, SHARPS, chord_of, note_of

FIRST_ROOT = 48  # chords lie from C3 to B3, ...
FIRST_SWITCH = 24  # ... and the keys that switch between their kinds from C1 on
STRETCH = 2  # semitones by which a sound is transposed at most, for a key that has none of its own
SPOKEN = {"": "major", "m": "minor", "dim": "diminished", "aug": "augmented", "7": "seventh"}


@dataclass(frozen=True)
class Zone:
    """Keys that play a label, by its number: from `low` to `high`, as it is on the key `centre`.

    `kind` is the number of the kind of chords to which it belongs.
    """

    label: int
    low: int
    high: int
    centre: int
    kind: int = 0


@dataclass(frozen=True)
class Keys:
    """A keyboard: its zones, by kind and key; the `kinds` of chords that keys switch between, if there are several."""

    zones: tuple[Zone, ...]
    kinds: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """How many keys play."""
        return len({key for zone in self.zones for key in range(zone.low, zone.high + 1)})

    def switch(self, kind: int) -> int:
        """Return the key that chooses a kind."""
        return FIRST_SWITCH + kind


def keys_of(labels: Sequence[str]) -> Keys:
    """Return the keyboard for labels: notes on their keys, chords on their roots, others one by one from middle C on.

    A key between notes or roots plays the nearest one, transposed by up to STRETCH semitones. Raises InputError for
    more labels than there are keys.
    """
    chords, notes = [chord_of(label) for label in labels], [note_of(label) for label in labels]
    known = [chord for chord in chords if chord is not None]
    if len(set(known)) == len(labels):
        return _chords(known)
    numbers = [note for note in notes if note is not None and 0 <= note < KEYS.most]
    if len(set(numbers)) == len(labels):
        return Keys(tuple(_zones({note: label for label, note in enumerate(numbers)}, range(int(KEYS.most)))))
    if len(labels) > KEYS.most:
        raise InputError(f"{KEYS.passed(len(labels))}; --chords chooses some")
    first = min(MIDDLE_C, int(KEYS.most) - len(labels))
    return Keys(tuple(Zone(label, first + label, first + label, first + label) for label in range(len(labels))))


def in_order(labels: Sequence[str]) -> tuple[str, ...]:
    """Return labels in the order of their keys."""

    def place(label: int) -> tuple[int, int]:
        zone = first[label]
        return zone.kind, zone.centre % len(SHARPS) if chord_of(labels[label]) else zone.centre

    first = {zone.label: zone for zone in reversed(keys_of(labels).zones)}
    return tuple(labels[label] for label in sorted(range(len(labels)), key=place))


def _chords(chords: Sequence[tuple[int, tuple[int, ...]]]) -> Keys:
    names = {kind: name for name, kind in reversed(KINDS.items())}  # of several names, the first
    kinds = [kind for kind in dict.fromkeys(KINDS.values()) if any(kind == own for _, own in chords)]
    octave = range(FIRST_ROOT, FIRST_ROOT + len(SHARPS))
    zones: list[Zone] = []
    for number, kind in enumerate(kinds):
        roots = {FIRST_ROOT + root: label for label, (root, own) in enumerate(chords) if own == kind}
        around = {key + shift: label for key, label in roots.items() for shift in (-len(SHARPS), 0, len(SHARPS))}
        zones += _zones(around, octave, number)
    spoken = tuple(SPOKEN.get(names[kind], names[kind]) for kind in kinds)
    return Keys(tuple(zones), spoken if len(spoken) > 1 else ())


def _zones(centres: Mapping[int, int], keys: Sequence[int], kind: int = 0) -> Iterator[Zone]:
    """Yield the zones of these keys: each key belongs to the nearest centre, of two as near to the lower one."""

    def nearest(key: int) -> int:
        return min(centres, key=lambda centre: (abs(centre - key), centre))

    near = [key for key in keys if abs(nearest(key) - key) <= STRETCH]
    for centre, together in groupby(near, key=nearest):
        zone = list(together)
        yield Zone(centres[centre], zone[0], zone[-1], centre, kind)
