"""Names of notes and chords."""

from __future__ import annotations

import pytest

from fugue_state.score.pitches import chord_of, note_name, note_of, same, transposed


def test_notes_are_numbered_as_midi_does() -> None:
    assert [note_of(name) for name in ("E2", "F#3", "Gb3", "C4", "a4", "B-1", "Cb4", "B#3")] == [
        *(40, 54, 54, 60, 69, 11, 59, 60)
    ]
    assert [note_of(name) for name in ("E", "H2", "E2x", "Am", "", "E##2")] == [None] * 6
    assert [note_name(midi) for midi in (40, 54, 60, 0)] == ["E2", "F#3", "C4", "C-1"]


def test_chords_are_roots_and_intervals() -> None:
    assert chord_of("Am") == chord_of("Amin") == (9, (0, 3, 7))
    assert chord_of("Bb") == chord_of("A#maj") == (10, (0, 4, 7))
    assert chord_of("F#7") == chord_of("Gb7") == (6, (0, 4, 7, 10))
    assert chord_of("Dsus") == chord_of("Dsus4")
    assert [chord_of(name) for name in ("E2", "H", "am", "C6", "Cm8", "")] == [None] * 6


@pytest.mark.parametrize(
    ("name", "labels", "found"),
    [
        ("Bb2", ("A2", "A#2"), "A#2"),
        ("Gbm", ("F#m", "Gm"), "F#m"),
        ("Dmin", ("D", "Dm"), "Dm"),
        ("rain", ("rain", "wind"), "rain"),
        ("Rain", ("rain", "wind"), None),
        ("C", ("Cm", "C4"), None),
        ("E7", ("E7",), "E7"),
    ],
)
def test_a_label_is_found_in_any_spelling(name: str, labels: tuple[str, ...], found: str | None) -> None:
    assert same(name, labels) == found


def test_names_are_transposed_and_spelled_as_the_labels_are() -> None:
    assert transposed("E2", 13) == "F3"
    assert transposed("Am", 1) == "A#m"
    assert transposed("Am", 1, ("Am", "Bbm")) == "Bbm"
    assert transposed("C4", -1, ("B3",)) == "B3"
    assert transposed("rain", 1) is None
