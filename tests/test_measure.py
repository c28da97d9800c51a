from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy import stats

from fugue_state.corpus.folder import read_corpus
from fugue_state.corpus.strum import VOICINGS, strings_of
from fugue_state.errors import InputError
from fugue_state.measure.chords import Chord, chroma, chroma_over_time, match, name_chord, tabulate, template
from fugue_state.measure.distance import embed, frechet, kid, nearest
from fugue_state.measure.memory import coverage, measure_figure, measure_memory, novelty
from fugue_state.measure.naming import name_sound, naming_of
from fugue_state.measure.notes import Note, name_note, note, tabulate_notes
from fugue_state.measure.ranks import ranks
from fugue_state.measure.sound import SoundCheck
from fugue_state.measure.timbre import attack, decay, envelope_db, timbre
from fugue_state.memory.memory import Memory

from .conftest import CHORDS, RATE, chord, pluck

NAMES = ["Am", "Bb", "Bdim", "C", "Dm", "Em", "F", "G"]


@pytest.mark.parametrize("name", sorted(CHORDS))
def test_triads_are_named_with_a_margin(name: str) -> None:
    heard = name_chord(chord(CHORDS[name]), RATE, NAMES)
    assert heard.name == name
    assert heard.clarity > 0.85
    assert heard.margin > 0.05


@pytest.mark.parametrize("name", sorted(VOICINGS))
def test_every_voicing_is_named_in_any_tuning_at_any_rate_and_level(name: str) -> None:
    notes = tuple(strings_of(VOICINGS[name][0]))
    plain = chroma(chord(notes), RATE)
    assert match(plain, list(VOICINGS)).name == name
    assert plain @ template(name) > 0.94
    for off in (-0.4, 0.25):
        heard = chroma(chord([note + off for note in notes]), RATE)
        assert heard @ plain > 0.97
    for rate in (16_000, 44_100, 96_000):
        heard = chroma(np.sum([pluck(note, rate=rate) for note in notes], axis=0), rate)
        assert match(heard, list(VOICINGS)).name == name
        assert heard @ plain > 0.98
    assert np.allclose(chroma(1e-4 * chord(notes), RATE), plain, atol=1e-3)


@pytest.mark.parametrize("name", sorted(VOICINGS))
def test_chroma_is_that_of_librosa(name: str, librosa: ModuleType) -> None:
    sounds = [chord(tuple(strings_of(voicing))) for voicing in VOICINGS[name]] + [pluck(36 + len(name) * 7)]
    for sound in sounds:
        frames = librosa.feature.chroma_cqt(
            y=sound, sr=RATE, norm=None, fmin=float(librosa.note_to_hz("C2")), n_octaves=5, bins_per_octave=36
        ).sum(axis=1)
        assert chroma(sound, RATE) @ frames / np.linalg.norm(frames) > 0.985


def test_one_note_is_its_pitch_class_and_no_clear_chord() -> None:
    heard = chroma(pluck(69), RATE)
    assert int(heard.argmax()) == 9
    noise = np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    assert name_chord(noise, RATE, NAMES).margin < 0.05


def test_silence_has_no_chroma_and_does_not_warn() -> None:
    assert chroma(np.zeros(RATE, np.float32), RATE).tolist() == [0.0] * 12


def test_a_sound_of_a_few_samples_has_a_chroma_too() -> None:
    for count in (1, 2, 100):
        heard = chroma(chord(CHORDS["C"])[:count], RATE)
        assert heard.shape == (12,)
        assert np.linalg.norm(heard) == pytest.approx(1.0) or not heard.any()


def test_chroma_over_time_follows_the_sound() -> None:
    both = np.concatenate([chord(CHORDS["C"]), np.zeros(2 * RATE, np.float32), chord(CHORDS["Am"])])
    heard = chroma_over_time(both, RATE)
    assert heard.shape[1] == 12
    first, silent, last = (heard[int(share * len(heard))] for share in (0.1, 0.5, 0.85))
    assert match(first, NAMES).name == "C"
    assert match(last, NAMES).name == "Am"
    assert not silent.any()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ranks_are_those_of_scipy(seed: int, dtype: type[np.floating]) -> None:
    rng = np.random.default_rng(seed)
    for values in (rng.standard_normal((50, 3)), rng.integers(0, 5, (40, 4)), np.zeros((6, 1)), np.ones((1, 2))):
        assert np.array_equal(ranks(values.astype(dtype)), stats.rankdata(values, axis=0))


def test_templates() -> None:
    assert np.flatnonzero(template("F#m") > 0.4).tolist() == [1, 6, 9]
    assert np.flatnonzero(template("Bb") > 0.4).tolist() == [2, 5, 10]
    with pytest.raises(InputError, match="'H7' is no chord"):
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


def test_the_table_counts_what_was_taken_for_what() -> None:
    heard = [Chord("C", 0.9, 0.1), Chord("G", 0.8, 0.2), Chord("G", 0.7, 0.3), Chord("G", 0.6, 0.2)]
    table = tabulate(["C", "C", "G", "G"], heard)
    assert table.confusion == {"C": {"C": 1, "G": 1}, "G": {"G": 2}}
    assert (table.accuracy, table.worst_class, table.per_class) == (0.75, 0.5, {"C": 0.5, "G": 1.0})
    assert [table.clarity, table.margin] == pytest.approx([0.75, 0.2])
    with pytest.raises(InputError, match="1 chord asked and 0 heard"):
        tabulate(["C"], [])


def test_frechet_distance_of_known_gaussians() -> None:
    rng = np.random.default_rng(0)
    one = rng.standard_normal((20_000, 3))
    shifted = rng.standard_normal((20_000, 3)) * [1, 1, 3] + [2, 0, 0]
    assert frechet(one, shifted) == pytest.approx(2**2 + (3 - 1) ** 2, rel=0.03)
    assert frechet(one, rng.standard_normal((20_000, 3))) < 0.01
    assert frechet(one, one) == pytest.approx(0, abs=1e-6)


def test_kernel_distance_is_unbiased_for_few_points() -> None:
    rng = np.random.default_rng(1)
    same = [kid(20 * rng.standard_normal((12, 4)), 20 * rng.standard_normal((12, 4))) for _ in range(300)]
    assert abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(len(same))
    other = [kid(20 * rng.standard_normal((12, 4)) + 20, 20 * rng.standard_normal((12, 4))) for _ in range(50)]
    assert np.mean(other) > 10 * abs(np.mean(same))
    with pytest.raises(InputError, match="too small to compare"):
        kid(np.zeros((3, 2)), np.zeros((9, 2)))


def test_embedding_is_block_averages_in_db() -> None:
    mels = np.full((300, 128, 128), -1.0, np.float32)
    mels[7, :8, :16] = 1.0
    points = embed(mels, range_db=80)
    assert points.shape == (300, 128)
    assert (points[0] == -40).all()
    assert points[7, 0] == 40
    assert (points[7, 1:] == -40).all()
    with pytest.raises(InputError, match=r"do not divide into 16 x 8"):
        embed(mels[:, :100], range_db=80)


def test_nearest_neighbours() -> None:
    others = np.array([[0.0, 0.0], [10.0, 0.0]])
    found = nearest(np.array([[1.0, 0.0], [10.0, 4.0]]), others)
    assert found.index.tolist() == [0, 1]
    assert found.distance_db.tolist() == pytest.approx([np.sqrt(0.5), np.sqrt(8.0)])


def test_decay_and_attack_of_a_known_envelope() -> None:
    time = np.arange(3 * RATE) / RATE
    sound = np.sin(2 * np.pi * 500 * time) * 10 ** (-3 * time / 1.7) * np.minimum(1, time / 0.1)
    level = envelope_db(sound.astype(np.float32), RATE)
    assert decay(level) == pytest.approx(1.7, rel=0.05)
    assert attack(level) == pytest.approx(0.06, abs=0.02)  # a linear rise: from 10 to about 70 % of its peak
    assert attack(envelope_db(pluck(57), RATE)) == 0
    assert decay(np.zeros(50)) == float("inf")


@pytest.mark.parametrize("snr_db", [0.0, 15.0, 30.0])
def test_harmonic_to_noise_of_a_known_mixture(snr_db: float) -> None:
    time = np.arange(3 * RATE) / RATE
    tones = sum(np.sin(2 * np.pi * f * time) for f in (220.0, 277.2, 329.6, 440.0))
    noise = np.random.default_rng(0).standard_normal(len(time))
    noise *= np.std(tones) / np.std(noise) * 10 ** (-snr_db / 20)
    heard = timbre((0.1 * (tones + noise)).astype(np.float32), RATE)
    assert heard.harmonic_to_noise_db == pytest.approx(snr_db, abs=1.0)


def test_brightness_of_a_tone_is_its_frequency() -> None:
    time = np.arange(RATE) / RATE
    assert timbre(np.sin(2 * np.pi * 1000 * time).astype(np.float32), RATE).brightness_hz == pytest.approx(
        1000, rel=0.01
    )
    with pytest.raises(InputError, match="not enough to measure"):
        timbre(np.zeros(RATE, np.float32), RATE)


def test_a_memory_is_measured_beside_its_corpus(tiny_memory: Memory, make_corpus: Callable[..., Path]) -> None:
    corpus = read_corpus(make_corpus({"Am": 6, "C": 6, "G": 6}))
    figures, made = measure_memory(tiny_memory, corpus, per_class=4)
    assert figures["chords"]["real"]["accuracy"] == 1.0
    assert figures["chords"]["real_through_mel"]["accuracy"] == 1.0
    assert figures["chords"]["generated"]["count"] == 12
    distance = figures["distance"]
    # An untrained network is far from guitars; guitars are near each other.
    assert distance["generated_to_real"]["frechet"] > 3 * distance["real_to_real"]["frechet"]
    assert figures["novelty"]["copies"] == 0
    assert sum(figures["coverage"]["guitars"].values()) == pytest.approx(1.0)
    assert [text.get_text() for text in measure_figure(made).axes[0].texts] == ["Am", "C", "G"]


def test_a_copy_is_found_out(tiny_memory: Memory) -> None:
    rng = np.random.default_rng(0)
    taught = rng.uniform(-1, 1, (20, 32, 1, 32, 1)).repeat(4, 2).repeat(4, 4).reshape(20, 128, 128).astype(np.float32)
    fresh = rng.uniform(-1, 1, (10, 32, 1, 32, 1)).repeat(4, 2).repeat(4, 4).reshape(10, 128, 128).astype(np.float32)
    copied = np.concatenate([fresh[:3], taught[:2] + 0.02])
    found = novelty(copied, fresh, taught, tiny_memory)
    assert found["copies"] == 2
    shares = coverage(copied[3:], taught, ["a"] * 10 + ["b"] * 10, tiny_memory)
    assert shares == {"guitars": {"a": pytest.approx(1.0), "b": 0.0}, "guitars_reached": 1}


@pytest.mark.parametrize(
    ("labels", "naming"),
    [
        (["C", "Am"], "chords"), (["C3", "Bb2", "F#4"], "notes"), (["G7", "A7"], "chords"), (["G7", "C3"], "notes"),
        (["C", "C3"], None), (["C#3", "Db3"], None), (["C3"], None), (["C"], None), (["1", "2"], None), ([], None),
    ],
)  # fmt: skip
def test_labels_are_chords_or_notes_or_neither(labels: list[str], naming: str | None) -> None:
    assert naming_of(labels) == naming


def test_a_note_is_named_as_its_label_spells_it() -> None:
    heard = name_sound(pluck(58.3), RATE, ["Bb3", "C4"])
    assert isinstance(heard, Note)
    assert heard.name == "Bb3"
    assert heard.midi == pytest.approx(58.3, abs=0.02)
    assert heard.clarity > 0.9
    assert name_note(pluck(59), RATE, ["Bb3", "C4"]).name == "B3"
    assert name_note(pluck(60, 0.1), RATE) == Note("", 0.0, 0.0)


def test_the_table_of_notes_counts_cents_and_octaves() -> None:
    heard = [note(midi, 0.9) for midi in (48.1, 60.2, 47.0, 50.0)]
    table = tabulate_notes(["C3", "C3", "C3", "D3"], heard)
    assert (table.accuracy, table.octave_errors) == (0.5, 0.25)
    assert table.worst_class == pytest.approx(1 / 3)
    assert table.cents == pytest.approx((10 + 100) / 2)
    assert table.per_class_cents == pytest.approx({"C3": 100.0, "D3": 0.0})
    assert table.per_class_octave_errors == pytest.approx({"C3": 1 / 3, "D3": 0.0})
    assert table.confusion == {"C3": {"C3": 1, "C4": 1, "B2": 1}, "D3": {"D3": 1}}
    with pytest.raises(InputError, match="'Am' is no note"):
        tabulate_notes(["Am"], heard[:1])
    with pytest.raises(InputError, match="1 note asked and 0 heard"):
        tabulate_notes(["C3"], [])
