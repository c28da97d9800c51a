from __future__ import annotations

import numpy as np
import pytest

from fugue_state.errors import InputError
from fugue_state.measure.chords import chroma, name_chord, template
from fugue_state.measure.sound import SoundCheck

from .conftest import CHORDS, RATE, chord, pluck

NAMES = ["Am", "Bb", "Bdim", "C", "Dm", "Em", "F", "G"]


@pytest.mark.parametrize("name", sorted(CHORDS))
def test_triads_are_named_with_a_margin(name: str) -> None:
    heard = name_chord(chord(CHORDS[name]), RATE, NAMES)
    assert heard.name == name
    assert heard.clarity > 0.85
    assert heard.margin > 0.05


def test_one_note_is_its_pitch_class_and_no_clear_chord() -> None:
    heard = chroma(pluck(69), RATE)
    assert int(heard.argmax()) == 9
    noise = np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    assert name_chord(noise, RATE, NAMES).margin < 0.05


def test_silence_has_no_chroma_and_does_not_warn() -> None:
    assert chroma(np.zeros(RATE, np.float32), RATE).tolist() == [0.0] * 12


def test_templates() -> None:
    assert np.flatnonzero(template("F#m") > 0.4).tolist() == [1, 6, 9]
    assert np.flatnonzero(template("Bb") > 0.4).tolist() == [2, 5, 10]
    with pytest.raises(InputError, match="'H7' is no triad"):
        template("H7")


def test_steps_and_silences_are_found_across_blocks() -> None:
    sound = np.full((1000, 2), 0.1, np.float32)
    sound[300:700] = 0
    sound[700:, 0] = 0.6
    for size in (1000, 7, 333):
        check = SoundCheck(100)
        for start in range(0, 1000, size):
            check.add(sound[start : start + size])
        assert check.largest_step == pytest.approx(0.6)
        assert check.longest_silence_s == pytest.approx(4.0)


def test_silence_at_the_end_counts() -> None:
    check = SoundCheck(10)
    check.add(np.concatenate([np.ones((5, 2), np.float32), np.zeros((20, 2), np.float32)]))
    check.add(np.zeros((10, 2), np.float32))
    assert check.longest_silence_s == pytest.approx(3.0)
