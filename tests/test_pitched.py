"""Labels from pitch: what names and ears are trusted with, and what is said of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from fugue_state.audio import io
from fugue_state.audio.pitch import pitch_of
from fugue_state.config import MelSpec
from fugue_state.corpus.cache import Cache
from fugue_state.corpus.folder import Corpus, Understood, read_corpus
from fugue_state.corpus.pitched import NO_NOTE, OTHER_NOTE, UNTAUGHT, labelled, table
from fugue_state.errors import AudioError, CorpusError

from .conftest import CHORDS, RATE, Sound, chord, pluck
from .test_cli import refused, run

SMALL = ("--feature-maps", 2, "--batch", 2, "--latent-size", 4, "--frames", 64)
NOISE = 0.1 * np.random.default_rng(0).standard_normal(2 * RATE).astype(np.float32)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, Sound], Path]:
    def write(name: str, sound: Sound) -> Path:
        path = tmp_path / "own" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        io.write(path, sound, RATE)
        return tmp_path / "own"

    return write


def learned(root: Path, slicing: str = "auto", cache: Cache | None = None) -> Corpus:
    return labelled(read_corpus(root, classes=False), MelSpec(), slicing, cache=cache)


def labels(corpus: Corpus) -> dict[str, str | None]:
    return {clip.path.relative_to(corpus.root).as_posix(): clip.label for clip in corpus.clips}


def made(write: Callable[[str, Sound], Path], sounds: dict[str, Sound]) -> Path:
    return [write(name, sound) for name, sound in sounds.items()][-1]


@pytest.mark.parametrize(
    ("midi", "rate"),
    [*product([28, 40, 52.3, 69, 88], [RATE, 44_100, 96_000]), (96, 44_100), (100, 44_100)],
)
def test_any_pitch_of_a_piano_is_heard(midi: float, rate: int) -> None:
    found = pitch_of(pluck(midi, rate=rate), rate)
    assert found.midi == pytest.approx(midi, abs=0.1)
    assert found.clear > 0.9
    assert found.steady == 1.0
    assert found.fundamental_db > -20


def test_how_sure_a_pitch_is() -> None:
    assert pitch_of(NOISE, RATE).clear < 0.5
    assert pitch_of(np.zeros(RATE, np.float32), RATE).clear == 0
    assert pitch_of(np.concatenate([pluck(midi, 0.25) for midi in (60, 67, 62, 69)]), RATE).steady < 0.7
    for notes in CHORDS.values():
        assert pitch_of(chord(notes), RATE).fundamental_db < -45
    with pytest.raises(AudioError, match="too short"):
        pitch_of(pluck(60, 0.2), RATE)


def test_names_and_ears_give_notes(write: Callable[[str, Sound], Path]) -> None:
    root = made(write, {
        "Piano_C#3_loud.wav": pluck(49), "Piano_eb4_v2.wav": pluck(63), "Bb2.wav": pluck(46),
        "deep/Fs3 soft.wav": pluck(54), "deep/hum C3.wav": NOISE, "60.wav": pluck(60), "72.wav": pluck(72),
        "take 7.wav": pluck(45), "deep/A3 B3.wav": pluck(57), "E4_fret3.wav": pluck(67), "noise.wav": NOISE,
        "strummed.wav": chord((48, 52, 55)),
        "between.wav": pluck(60.46), "short.wav": pluck(60, 0.12),
    })  # fmt: skip
    found = learned(root)
    assert labels(found) == {
        "Piano_C#3_loud.wav": "C#3", "Piano_eb4_v2.wav": "D#4", "Bb2.wav": "A#2", "deep/Fs3 soft.wav": "F#3",
        "deep/hum C3.wav": "C3", "60.wav": "C4", "72.wav": "C5", "take 7.wav": "A2", "deep/A3 B3.wav": "A3",
        "E4_fret3.wav": "G4",
    }  # fmt: skip
    assert found.labels == ("A2", "A#2", "C3", "C#3", "F#3", "A3", "C4", "D#4", "G4", "C5")
    assert found.left_out[NO_NOTE] == [
        "between.wav: between C4 and C#4", "noise.wav: no clear pitch",
        "short.wav: too short for its pitch to be measured", "strummed.wav: several notes at once",
    ]  # fmt: skip
    assert found.understood["C3"] == Understood(by_name=1, by_ear=0, doubtful=1)
    assert found.understood["A2"] == Understood(by_name=0, by_ear=1, doubtful=0)
    assert found.warnings[-1] == "doubtful, labelled as named: 1 (deep/hum C3.wav: no clear pitch)"
    assert table(found)[:2] == ["note  clips  by name  by ear  doubtful", "  A2      1        0       1         0"]
    assert {c.group for c in found.clips if "Piano" in c.path.name} == {"piano__loud", "piano__v2"}


def test_one_wrong_name_among_right_ones_is_found_out(write: Callable[[str, Sound], Path]) -> None:
    sounds = {f"x_{name}.wav": pluck(midi) for name, midi in (("C3", 48), ("D3", 50), ("E3", 52), ("F3", 53))}
    found = learned(made(write, sounds | {"y_C3.wav": pluck(54), "z_C3.wav": pluck(60)}))
    assert found.left_out[OTHER_NOTE] == ["y_C3.wav: named C3, sounds F#3"]
    assert labels(found)["z_C3.wav"] == "C3"
    assert "z_C3.wav: named C3, sounds C4" in found.warnings[-1]


@pytest.mark.parametrize("moved", [12, -12, 2])
def test_names_that_count_octaves_otherwise_or_transpose_are_moved(
    moved: int, write: Callable[[str, Sound], Path]
) -> None:
    root = made(write, {f"x_{n}.wav": pluck(m + moved) for n, m in (("C3", 48), ("D3", 50), ("E3", 52))})
    write("x_G3_hiss.wav", NOISE)
    found = learned(root)
    assert [row.by_name for row in found.understood.values()] == [1, 1, 1, 1]
    assert found.warnings[0] == (f"4 named files sound {moved:+d} semitones from their names: the labels are moved")
    assert labels(found)["x_G3_hiss.wav"] == {12: "G4", -12: "G2", 2: "A3"}[moved]


def test_takes_that_look_like_notes_are_heard(write: Callable[[str, Sound], Path]) -> None:
    names = {"A1.wav": 60, "A2.wav": 62, "A3.wav": 64, "B1.wav": 65, "B2.wav": 67, "21.wav": 60, "22.wav": 60}
    found = learned(made(write, {name: pluck(midi) for name, midi in names.items()}))
    assert labels(found) == {
        "A1.wav": "C4", "A2.wav": "D4", "A3.wav": "E4", "B1.wav": "F4", "B2.wav": "G4", "21.wav": "C4", "22.wav": "C4",
    }  # fmt: skip
    assert found.warnings[:2] == [
        "most of 5 named files sound other than named: labelled by ear",
        "most of 2 named files sound other than named: labelled by ear",
    ]


def test_every_part_of_a_recording_has_its_own_note(write: Callable[[str, Sound], Path], tmp_path: Path) -> None:
    melody = np.concatenate([pluck(m, 3.0) for m in (48, 50, 52, 55, 48, 50)])
    root = made(write, {"melody_C3.wav": melody, "x_C3.wav": pluck(48, 9.0)})
    cache = Cache(tmp_path / "cache")
    found = learned(root, "3", cache)
    parts = [clip.label for clip in found.clips if clip.path.name == "melody_C3.wav"]
    assert parts == ["C3", "D3", "E3", "G3", "C3", "D3"]
    assert learned(root, "3", cache) == found  # as kept
    [kept] = (tmp_path / "cache" / "pitches").iterdir()
    kept.write_text("[1]")
    assert learned(root, "3", cache) == found
    # Labelled by its name, a long note is one sound, as with class folders.
    assert labels(learned(root))["x_C3.wav"] == "C3"
    assert [clip.start_s for clip in learned(root).clips if clip.path.name == "x_C3.wav"] == [None]


def test_splits_stay_and_folders_mean_nothing(write: Callable[[str, Sound], Path]) -> None:
    root = made(write, {
        "Training/loud/a.wav": pluck(60), "Training/b.wav": pluck(62), "Test/x/c.wav": pluck(60),
        "Test/d.wav": pluck(64),
    })  # fmt: skip
    found = learned(root)
    assert [(clip.path.name, clip.label, clip.split) for clip in found.clips] == [
        ("b.wav", "D4", "Training"), ("a.wav", "C4", "Training"), ("c.wav", "C4", "Test"),
    ]  # fmt: skip
    assert found.labels == ("C4", "D4")
    assert found.left_out[UNTAUGHT] == ["Test/d.wav: E4"]


def test_without_any_pitch_it_is_said(write: Callable[[str, Sound], Path], tmp_path: Path) -> None:
    root = made(write, {"a.wav": NOISE, "b.wav": chord(CHORDS["C"])})
    with pytest.raises(
        CorpusError, match=r"no sound for training has a note, by name or by ear \(2 left out; the first: a"
    ):
        learned(root)
    refused(run("corpus", "inspect", root, "--labels", "pitch"), 2, "no sound for training has a note")
    refused(run("train", root, "-o", tmp_path / "run", "--labels", "pitch", "--steps", 1), 2, "no sound for training")


def test_a_run_learns_notes_and_keeps_its_labels(write: Callable[[str, Sound], Path], tmp_path: Path) -> None:
    sounds = {
        f"{name}_{take}.wav": pluck(midi, seed=take) for name, midi in (("x C3", 48), ("y", 55)) for take in range(4)
    }
    root, out = made(write, sounds), tmp_path / "run"
    told = run("train", root, "-o", out, *SMALL, "--steps", 1, "--labels", "pitch", "--dry-run")
    assert json.loads(told.stdout)["run"]["labelling"] == "pitch"
    assert "  C3      4        4       0         0" in told.stderr
    trained = run("train", root, "-o", out, *SMALL, "--steps", 1, "--labels", "pitch")
    assert trained.exit_code == 0, trained.output
    assert "of the notes named as asked" in trained.stderr
    assert json.loads((out / "run.json").read_text())["model"]["labels"] == ["C3", "G3"]
    resumed = run("train", root, "-o", out, "--steps", 2, "--resume")
    assert resumed.exit_code == 0, resumed.output
    other = run("train", root, "-o", out, "--steps", 3, "--resume", "--labels", "auto")
    refused(other, 2, "the run was started with labelling = pitch, not auto")
    measured = json.loads(
        run("measure", out, "--against", root, "--labels", "pitch", "--per-class", 4, "--json").stdout
    )
    assert measured["notes"]["real"]["accuracy"] == 1.0
    assert measured["notes"]["real_through_mel"]["cents_95"] < 30


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--clusters", 2), "clusters: has no effect"),
        (("--labels", "Pitch"), "pitch"),
        ((), "all of its sounds are C3"),
    ],
)  # fmt: skip
def test_what_cannot_be_labelled_is_said(
    words: Sequence[object], told: str, write: Callable[[str, Sound], Path], tmp_path: Path
) -> None:
    root = made(write, {"C3_a.wav": pluck(48), "C3_b.wav": pluck(48)})
    result = run("train", root, "-o", tmp_path / "run", "--steps", 1, "--labels", "pitch", *words)
    refused(result, 2, told)


def test_an_inspection_shows_what_was_understood(write: Callable[[str, Sound], Path]) -> None:
    root = made(write, {"C3.wav": pluck(48), "x.wav": pluck(50), "noise.wav": NOISE})
    result = run("corpus", "inspect", root, "--labels", "pitch")
    assert "  D3      1        0       1         0" in result.stdout.splitlines()
    assert "left out, without a note: 1 (noise.wav: no clear pitch)" in result.stderr
    told = json.loads(run("corpus", "inspect", root, "--labels", "pitch", "--json").stdout)
    assert told["understood"]["C3"] == {"by_name": 1, "by_ear": 0, "doubtful": 0}
    assert "understood" not in json.loads(run("corpus", "inspect", root, "--json").stdout)
