from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

from fugue_state.audio import io
from fugue_state.audio.pitch import GUITAR, pitch_of
from fugue_state.config import ClipConfig, MelSpec, StrumConfig
from fugue_state.corpus import fetch
from fugue_state.corpus.build import build_corpus
from fugue_state.corpus.clips import loudest_rms, onset, prepare
from fugue_state.corpus.folder import group_of, read_corpus
from fugue_state.corpus.inspect import corpus_figure, inspect_corpus
from fugue_state.corpus.notes import (
    Guitar,
    Note,
    make_note,
    named_pitch_classes,
    read_guitars,
)
from fugue_state.corpus.soundfont import read_soundfont
from fugue_state.corpus.strum import VOICINGS, playable, ring_on, strum
from fugue_state.errors import AudioError, CorpusError, InputError
from fugue_state.measure.chords import name_chord
from fugue_state.score.pitches import chord_of, note_of

from .conftest import RATE, Sound, pluck

# How the archive spells a Portuguese name.
BROKEN = "C\u0442\u0425\u0430\u252c\u2551Andrade"
# One of each irregularity of Guitar Chords V2, with the guitar that it must give.
V2_NAMES = {
    "Training/Am/Am_AcusticPlug1_1.wav": "acusticplug1",
    "Training/Am/Am_AcustiicPlug10_2.wav": "acusticplug10",
    "Training/C/C_AcusticPlug10_1.wav": "acusticplug10",
    "Training/Dm/Dm_AcusticPlug29 _1.wav": "acusticplug29",
    "Training/C/C_AcusticPlug29_1.wav": "acusticplug29",
    "Training/Dm/Dm_ClassicCleanGB_1.wav": "classiccleangb_jo",
    "Training/Em/Em_ClassicCleanGB_JO_1.wav": "classiccleangb_jo",
    "Training/F/F_Retro GB_JO_1.wav": "retrogb_jo",
    "Training/F/F_RetroGB_JO_2.wav": "retrogb_jo",
    "Training/G/G_acousticguitar_Mari_1 17.51.39.wav": "acousticguitar_mari",
    "Training/G/G_acousticguitar_Mari_2.wav": "acousticguitar_mari",
    "Training/Bb/Bb_acusticBG_JO_1.wav": "acusticgb_jo",
    "Training/Bdim/Bdim_acusticGB_JO_1.wav": "acusticgb_jo",
    f"Training/Bdim/Bdim_acousticguitar_Salom{BROKEN}_1.wav": f"acousticguitar_salom{BROKEN.casefold()}",
    "Test/Am/Am_classical_AfonsoLemos_-01.wav": "classical_afonsolemos",
    "Test/Em/Em_classical_AfonsoLemos_01.wav": "classical_afonsolemos",
    "Test/F/F_Classic_Jo_1..wav": "classic_jo",
    "Test/Em/Em_Electric2_LInda_4..wav": "electric2_linda",
    "Test/G/G_Electric2_LInda_1.wav": "electric2_linda",
}


@pytest.fixture
def v2(tmp_path: Path) -> Path:
    sound = pluck(57, 0.2)
    for name in V2_NAMES:
        path = tmp_path / "kaggle" / "Guitar Chords V2" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        io.write(path, sound, RATE)
    return tmp_path / "kaggle" / "Guitar Chords V2"


def test_v2_labels_guitars_and_splits(v2: Path) -> None:
    corpus = read_corpus(v2)
    assert corpus.labels == ("Am", "Bb", "Bdim", "C", "Dm", "Em", "F", "G")
    found = {f"{c.split}/{c.label}/{c.path.name}": c.group for c in corpus.clips}
    assert found == V2_NAMES
    assert len(corpus.part("Training")) == 14
    assert not {c.group for c in corpus.part("Training")} & {c.group for c in corpus.part("Test")}
    assert "Training/Am has 2 clips, not 180" in corpus.warnings[0]


def test_v2_is_found_from_any_parent_or_one_split(v2: Path) -> None:
    for root in (v2.parent, v2.parent.parent):
        assert [c.path for c in read_corpus(root).clips] == [c.path for c in read_corpus(v2).clips]
    split = read_corpus(v2 / "Training")
    assert len(split.clips) == 14
    assert {c.split for c in split.clips} == {"Training"}


def test_labels_ignore_case(v2: Path) -> None:
    (v2 / "Test" / "Am").rename(v2 / "Test" / "am")
    corpus = read_corpus(v2)
    assert corpus.labels == ("Am", "Bb", "Bdim", "C", "Dm", "Em", "F", "G")
    assert {c.label for c in corpus.part("Test")} == {"Am", "Em", "F", "G"}


def test_class_folders_and_flat_folders(tmp_path: Path, make_corpus: Callable[..., Path]) -> None:
    classes = make_corpus({"Am": 2, "G": 3})
    corpus = read_corpus(classes)
    assert corpus.labels == ("Am", "G")
    assert corpus.warnings == []
    io.write(classes / "loose.wav", pluck(50, 0.2), RATE)
    assert read_corpus(classes).left_out == {"beside the class folders": ["loose.wav"]}
    flat = read_corpus(classes / "G")
    assert flat.labels == ()
    assert len(flat.clips) == 3


def test_nothing_to_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "a.txt").write_text("no sound")
    for name, message in (("none", "no such folder"), ("empty", "no sound file"), ("words", "no sound file")):
        with pytest.raises(CorpusError, match=message):
            read_corpus(tmp_path / name)


def test_guitar_names() -> None:
    assert group_of(Path("Am_x_1.wav.wav"), "Am") == "x"
    assert group_of(Path("my take 3.wav"), "") == "mytake3"


def test_inspection_counts_and_names_what_cannot_be_read(tmp_path: Path, make_corpus: Callable[..., Path]) -> None:
    root = make_corpus({"Am": 2, "C": 1})
    stereo = np.stack([pluck(57, 0.5, 44_100)] * 2, axis=1)
    io.write(root / "C" / "C_g1_9.wav", stereo, 44_100)
    (root / "C" / "C_bad_1.wav").write_bytes(b"RIFF")
    io.write(root / "C" / "C_mute_1.wav", np.zeros(500, np.float32), RATE)
    found = inspect_corpus(read_corpus(root))
    assert found.classes == {"Training": {"Am": 2, "C": 2}}
    assert found.sample_rates_hz == {RATE: 3, 44_100: 1}
    assert found.channels == {1: 3, 2: 1}
    assert found.groups == {"Training": 2}
    assert found.duration_s == {"shortest": 0.5, "median": 1.5, "longest": 1.5}
    assert {Path(p).name for p in found.unreadable} == {"C_bad_1.wav", "C_mute_1.wav"}
    captions = [text.get_text() for text in corpus_figure(read_corpus(root), MelSpec()).axes[0].texts]
    assert captions == ["Am: 2 clips", "C: 4 clips"]


def test_onset_is_where_the_loudest_sound_sets_in() -> None:
    rng = np.random.default_rng(0)
    waiting = (0.01 * rng.standard_normal(RATE)).astype(np.float32)
    waiting[3000:3400] *= 6  # a bump while waiting
    sound = np.concatenate([waiting, pluck(57)])
    assert abs(onset(sound, RATE, -20) - RATE) < 0.006 * RATE
    assert onset(pluck(57), RATE, -20) == 0
    assert onset(np.ones(3, np.float32), RATE, -20) == 0


def test_prepared_clips_are_level_trimmed_and_as_long_as_asked() -> None:
    config = ClipConfig()
    sound = np.concatenate([np.zeros(5000, np.float32), 0.01 * pluck(57, 3.0)])
    for length in (RATE, 4 * RATE):
        clip = prepare(sound, RATE, length, config)
        assert len(clip) == length
        assert 20 * np.log10(loudest_rms(clip, RATE)) == pytest.approx(config.level_dbfs, abs=0.5)
        assert np.argmax(np.abs(clip) > 0.05) < 0.02 * RATE
        assert abs(clip[-1]) < 1e-3


@pytest.mark.parametrize(
    ("stem", "classes"),
    [
        ("A#3", {10}),
        ("gb5_vl4_rr2_1", {6}),
        ("E2_Ab3_mp_1", {4, 8}),
        ("A3_fret2", {11}),
        ("Carbon_A5", {9}),
        ("N Guitar Ab3", {8}),
        ("take 7", set()),
    ],
)
def test_names_tell_pitch_classes(stem: str, classes: set[int]) -> None:
    assert named_pitch_classes(stem) == classes


def test_notes_are_believed_by_ear() -> None:
    assert pitch_of(pluck(52.3), RATE, GUITAR).midi == pytest.approx(52.3, abs=0.1)
    assert make_note(pluck(45), RATE, {9}).midi == pytest.approx(45, abs=0.1)  # octaves by ear alone
    with pytest.raises(AudioError, match=r"sounds (99|100|101) cents off the note it names"):
        make_note(pluck(45), RATE, {10})
    with pytest.raises(AudioError, match="too short"):
        make_note(pluck(45, 0.1), RATE, {9})


PITCHES = (36.0, 40.37, 43.0, 52.0, 61.81, 69.0, 76.5, 84.0, 88.0)


def tone(midi: float, rate: int) -> Sound:
    hz = 440.0 * 2.0 ** ((midi - 69.0) / 12.0)
    return np.asarray(0.2 * np.sin(2 * np.pi * hz * np.arange(int(1.2 * rate)) / rate), dtype=np.float32)


@pytest.mark.parametrize("rate", [RATE, 44_100, 48_000])
@pytest.mark.parametrize("midi", PITCHES)
def test_a_pitch_is_measured_within_two_cents(midi: float, rate: int) -> None:
    assert pitch_of(pluck(midi, rate=rate), rate, GUITAR).midi == pytest.approx(midi, abs=0.02)
    assert pitch_of(tone(midi, rate), rate, GUITAR).midi == pytest.approx(midi, abs=0.02)


@pytest.mark.parametrize("midi", PITCHES)
def test_a_pitch_is_that_of_librosa_s_yin_also_in_noise(midi: float, librosa: ModuleType) -> None:
    noise = np.random.default_rng(0).standard_normal(len(pluck(midi)), dtype=np.float32)
    for level in (0.0, 0.003, 0.01):
        sound = pluck(midi) + level * noise
        part = sound[int(0.1 * RATE) : int(0.9 * RATE)]
        hz = np.median(
            librosa.yin(part, fmin=GUITAR.lowest_hz, fmax=GUITAR.highest_hz, sr=RATE, frame_length=GUITAR.window)
        )
        # Librosa rounds to less: alone it is off by up to 5 cents.
        assert pitch_of(sound, RATE, GUITAR).midi == pytest.approx(69.0 + 12.0 * np.log2(hz / 440.0), abs=0.06)


def test_what_has_no_period_has_some_pitch() -> None:
    noise = np.random.default_rng(0).standard_normal(RATE, dtype=np.float32)
    for sound in (noise, np.zeros(RATE, np.float32), np.ones(RATE, np.float32)):
        found = pitch_of(sound, RATE, GUITAR)
        assert GUITAR.lowest_hz / 2 < 440.0 * 2.0 ** ((found.midi - 69.0) / 12.0) < 2 * GUITAR.highest_hz
        assert found.clear < 0.5


def guitar(name: str = "g", lowest: int = 38, highest: int = 78) -> Guitar:
    notes = [Note(pluck(m, 2.0, seed=m), float(m), -20.0) for m in range(lowest, highest, 3)]
    return Guitar(name, notes)


def test_voicings_are_the_chords_they_are_called() -> None:
    for name, voicings in {**playable("guitar"), **playable("chords")}.items():
        root, intervals = chord_of(name) or (0, ())
        for voicing in voicings:
            assert {m % 12 for m in voicing} == {(root + interval) % 12 for interval in intervals}, (name, voicing)


def test_the_sets_are_eight_chords_thirty_six_chords_and_three_octaves() -> None:
    chords, notes = playable("chords"), playable("notes")
    assert set(playable("guitar")) <= set(chords)
    assert len(chords) == 36
    assert len({chord_of(name) for name in chords}) == 36
    assert list(notes)[::36] == ["E2", "E5"]
    assert notes["A4"] == [[69]]


def test_a_note_sounds_as_its_label() -> None:
    config = StrumConfig(what="notes", duration_s=2.0)
    for name in ("E2", "Bb2", "F#3", "E5"):
        midi = note_of(name) or 0
        clip = strum(guitar(), [[midi]], np.random.default_rng(midi), config)
        assert pitch_of(clip, RATE, GUITAR).midi == pytest.approx(midi, abs=0.15)


@pytest.mark.parametrize("chord", sorted(VOICINGS))
def test_a_strum_sounds_as_its_chord(chord: str) -> None:
    config = StrumConfig(duration_s=2.0)
    clips = [strum(guitar(), playable("guitar")[chord], np.random.default_rng(seed), config) for seed in range(3)]
    for clip in clips:
        assert len(clip) == 2 * RATE
        assert np.isfinite(clip).all()
        assert name_chord(clip, RATE, list(VOICINGS)).name == chord
    assert np.abs(clips[0] - clips[1]).max() > 0.01  # no two players alike


def write_notes(folder: Path, guitars: int = 3) -> Path:
    for g in range(guitars):
        (folder / f"guitar{g}").mkdir(parents=True)
        for midi in range(40, 72, 4):
            letter = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")[midi % 12]
            io.write(folder / f"guitar{g}" / f"{letter}{midi // 12 - 1}.wav", pluck(midi, 1.2, seed=g), RATE)
    return folder


def test_a_corpus_is_built_with_whole_guitars_held_out_and_goes_on(tmp_path: Path) -> None:
    notes = write_notes(tmp_path / "notes")
    io.write(notes / "guitar0" / "F7.wav", pluck(50, 1.2), RATE)  # wrongly named
    config = StrumConfig(clips=16, test_clips=8, duration_s=0.5, hold_out=("guitar1",))
    said: list[str] = []
    out = build_corpus(tmp_path / "out", [notes], config, say=said.append)
    assert any("left out F7.wav" in line for line in said)
    corpus = read_corpus(out)
    assert corpus.warnings == []
    assert {c.group for c in corpus.part("Test")} == {"guitar1"}
    assert {c.group for c in corpus.part("Training")} == {"guitar0", "guitar2"}
    assert len(corpus.part("Training")) == 16
    assert len(corpus.part("Test")) == 8
    paths = [c.path for c in corpus.clips]
    before = {p: p.read_bytes() for p in paths}
    paths[3].unlink()
    stamp = paths[0].stat().st_mtime_ns
    build_corpus(tmp_path / "out", [notes], config)
    assert {p: p.read_bytes() for p in paths} == before
    assert paths[0].stat().st_mtime_ns == stamp
    with pytest.raises(InputError, match="made with other settings"):
        build_corpus(tmp_path / "out", [notes], config.model_copy(update={"seed": 4}))


def test_a_corpus_does_not_mix_with_other_files(tmp_path: Path) -> None:
    notes = write_notes(tmp_path / "notes", 2)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="not empty"):
        build_corpus(tmp_path / "mine", [notes], StrumConfig())
    with pytest.raises(InputError, match=r"letter\.txt: is a file, a folder is needed"):
        build_corpus(tmp_path / "mine" / "letter.txt", [], StrumConfig())  # before any note is fetched
    with pytest.raises(InputError, match="unknown guitar to hold out 'gitar1'; did you mean 'guitar1'"):
        build_corpus(tmp_path / "o1", [notes], StrumConfig(hold_out=("gitar1",)))
    with pytest.raises(AudioError, match="no such folder"):
        build_corpus(tmp_path / "o3", [tmp_path / "none"], StrumConfig())
    assert not (tmp_path / "o1").exists()  # a mistake leaves nothing that would be in the way of the next try
    assert not (tmp_path / "o3").exists()
    with pytest.raises(InputError, match="at least one is needed"):
        build_corpus(tmp_path / "o2", [notes], StrumConfig(hold_out=("guitar0", "guitar1")))


def test_folders_without_notes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    io.write(tmp_path / "a" / "C4.wav", pluck(60, 0.05), RATE)
    with pytest.raises(CorpusError, match=r"no usable note.*\(1 left out\)"):
        read_guitars([tmp_path / "a"], RATE)
    with pytest.raises(AudioError, match="no such folder"):
        read_guitars([tmp_path / "b"], RATE)


def sound_font(path: Path, wave: Sound, names: list[str]) -> Path:
    data = (wave * 32767).astype("<i2").tobytes()
    headers = b"".join(
        struct.pack("<20s5IBbHH", n.encode(), 0, len(wave), 2 * 441, 5 * 441, 44_100, 60, 0, 0, 1) for n in names
    )
    body = b"sfbk" + b"smpl" + struct.pack("<I", len(data)) + data + b"shdr" + struct.pack("<I", len(headers)) + headers
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    return path


def test_a_sound_font_becomes_guitars_that_die_away(tmp_path: Path) -> None:
    time = np.arange(5 * 441) / 44_100
    wave = (0.5 * np.sin(2 * np.pi * 200 * time) + 0.2 * np.sin(2 * np.pi * 400 * time)).astype(np.float32)
    font = sound_font(tmp_path / "f.sf2", wave, ["N Guitar G3", "Piano C4", "Strat C4"])
    guitars = read_soundfont(font, ["N Guitar", "Strat"], RATE)
    assert [g.name for g in guitars] == ["NGuitar", "Strat"]
    note = guitars[0].notes[0]
    assert note.midi == pytest.approx(69 + 12 * np.log2(200 / 440), abs=0.1)
    assert np.abs(note.samples[3 * RATE :]).max() < 0.3 * np.abs(note.samples).max()
    (tmp_path / "no.sf2").write_bytes(b"RIFF")
    with pytest.raises(CorpusError, match="not a SoundFont"):
        read_soundfont(tmp_path / "no.sf2", ["N Guitar"], RATE)


def test_fetching_asks_pip_for_the_exact_file_and_says_what_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import subprocess
    import tarfile
    import zipfile

    asked: list[str] = []

    def pip(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        folder = Path(command[command.index("--dest") + 1])
        asked.append(Path(command[-1]).read_text())
        assert "--require-hashes" in command
        source = tmp_path / "example_sounds" / "Wood_Guitar"
        source.mkdir(parents=True, exist_ok=True)
        io.write(source / "Wood_A5.wav", pluck(45), RATE)
        if "--no-binary" in command:
            with tarfile.open(folder / "p.tar.gz", "w:gz") as tar:
                tar.add(source, "guitarsounds/example_sounds/Wood_Guitar")
                tar.add(__file__, "guitarsounds/code.py")
        else:
            with zipfile.ZipFile(folder / "p.whl", "w") as wheel:
                wheel.writestr("pretty_midi/TimGM6mb.sf2", b"RIFF")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", pip)
    said: list[str] = []
    strings, font = fetch.fetch_notes(said.append)
    assert asked == [f"{s.package}=={s.version} --hash=sha256:{s.sha256}\n" for s in fetch.SOURCES]
    assert [p.relative_to(strings).as_posix() for p in strings.rglob("*") if p.is_file()] == ["Wood_Guitar/Wood_A5.wav"]
    assert next(font.rglob("*.sf2")).read_bytes() == b"RIFF"
    assert any("GPL-2.0" in line for line in said)
    fetch.fetch_notes(said.append)
    assert len(asked) == 2  # the second time they are there


def test_a_fetch_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess

    def pip(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "ERROR: hashes do not match")

    monkeypatch.setattr(subprocess, "run", pip)
    with pytest.raises(CorpusError, match=r"could not be fetched: ERROR: hashes do not match; or name folders"):
        fetch.fetch_notes(lambda _: None)


def test_the_manifest_says_how_it_was_made(tmp_path: Path) -> None:
    out = build_corpus(
        tmp_path / "o", [write_notes(tmp_path / "n", 1)], StrumConfig(clips=8, test_clips=0, duration_s=0.3)
    )
    assert json.loads((out / "corpus.json").read_text())["strum"]["clips"] == 8
    assert soundfile.info(str(read_corpus(out).clips[0].path)).subtype == "PCM_16"


def test_a_note_that_ends_too_early_rings_on() -> None:
    rate, seconds = RATE, 6.0
    time = np.arange(int(3.0 * rate)) / rate
    decay_db_per_s = 6.0
    tone = (0.5 * np.sin(2 * np.pi * 220.0 * time) * 10 ** (-decay_db_per_s * time / 20)).astype(np.float32)
    tone[-int(0.05 * rate) :] *= np.linspace(1, 0, int(0.05 * rate), dtype=np.float32)
    long = ring_on(tone, int(seconds * rate), rate)
    assert len(long) == int(seconds * rate)
    assert np.array_equal(long[: int(2.4 * rate)], tone[: int(2.4 * rate)])
    level = [20 * np.log10(np.sqrt(np.mean(long[int(t * rate) : int((t + 1) * rate)] ** 2))) for t in (1, 3, 5)]
    assert level[0] - level[1] == pytest.approx(2 * decay_db_per_s, abs=2.5)
    assert level[1] - level[2] == pytest.approx(2 * decay_db_per_s, abs=2.5)
    assert pitch_of(long[int(4 * rate) :], rate, GUITAR).midi == pytest.approx(57.0, abs=0.05)
    assert np.abs(np.diff(long)).max() <= 1.05 * np.abs(np.diff(tone)).max()  # no click
    assert ring_on(tone, rate, rate) is tone
