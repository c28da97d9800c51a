from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from fugue_state.audio import io, reading
from fugue_state.cli.telling import note, plain_streams
from fugue_state.config import MelSpec, SliceConfig
from fugue_state.corpus.cache import Cache, find_cache
from fugue_state.corpus.folder import read_corpus, readable
from fugue_state.corpus.mels import corpus_key, load_mels
from fugue_state.corpus.scan import MANIFEST
from fugue_state.corpus.slices import cut_corpus, read_clips
from fugue_state.errors import AudioError, CorpusError, InputError
from fugue_state.memory.claim import claimed
from fugue_state.score.model import Voice
from fugue_state.score.names import quote, split

from .test_cli import run

RATE = 8000
SPEC = MelSpec()


def write(path: Path, duration_s: float = 0.2) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:  # libsndfile takes no name that is not UTF-8
        soundfile.write(file, drone(duration_s), RATE, format="WAV")
    return path


def drone(duration_s: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    time = np.arange(round(duration_s * RATE)) / RATE
    return (0.2 * np.sin(2 * np.pi * 220 * time)).astype(np.float32)


def test_what_systems_leave_behind_is_passed_over_and_told(tmp_path: Path) -> None:
    for name in ("Am/a.wav", "C/b.wav"):
        write(tmp_path / name)
    before = corpus_key(read_corpus(tmp_path), SPEC)
    junk = (
        "__MACOSX/Am/._a.wav", "Am/._a.wav", "C/.hidden/x.wav", ".Trash-1000/files/x.wav", "$RECYCLE.BIN/x.wav",
        "System Volume Information/x.wav", "Am/@eaDir/a.wav", "lost+found/x.wav",
    )  # fmt: skip
    for name in junk:
        write(tmp_path / name)
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store", "C/notes.txt", "C/song.mid"):
        (tmp_path / name).write_bytes(b"x")
    found = read_corpus(tmp_path)
    assert found.labels == ("Am", "C")
    assert [clip.path.name for clip in found.clips] == ["a.wav", "b.wav"]
    assert corpus_key(found, SPEC) == before
    assert len(found.left_out["left behind by systems"]) == len(junk) + 3
    assert "left out, no sounds: 2 (1 .mid, 1 .txt)" in found.notes()


def test_what_this_program_wrote_is_no_material(tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav"):
        write(tmp_path / name)
    before = corpus_key(read_corpus(tmp_path), SPEC)
    write(tmp_path / "run" / "sounds" / "000_1.wav")
    (tmp_path / "run" / "run.json").write_text(json.dumps({"mel": {}, "data": [], "train": {}}))
    write(tmp_path / "strummed" / "Training" / "Am" / "x.wav")
    (tmp_path / "strummed" / "corpus.json").write_text("{}")
    told = {"made_by": "fugue-state 1.0", "memory": "guitar"}
    for name in ("piece.wav", "piece.flac"):
        for spaced, between in (("", ",:"), ("spaced-", (", ", ": "))):  # as pieces tell it, and as samples do
            comment = json.dumps(told, separators=(between[0], between[1]))
            io.write(tmp_path / f"{spaced}{name}", drone(0.2), RATE, subtype="PCM_16", comment=comment)
    found = read_corpus(tmp_path)
    assert [clip.path.name for clip in found.clips] == ["a.wav", "b.wav"]
    assert corpus_key(found, SPEC) == before
    assert sorted(found.left_out["made by this program"]) == [
        "piece.flac", "piece.wav", "run", "spaced-piece.flac", "spaced-piece.wav", "strummed",
    ]  # fmt: skip


def test_only_own_sounds_are_taken_as_meant(tmp_path: Path) -> None:
    io.write(tmp_path / "piece.wav", drone(0.2), RATE, comment=json.dumps({"made_by": "fugue-state 1.0"}))
    write(tmp_path / "built" / "x" / "Training" / "Am" / "x.wav")
    (tmp_path / "built" / "x" / "corpus.json").write_text("{}")
    assert [clip.path.name for clip in read_corpus(tmp_path / "built").clips] == ["x.wav"]
    (tmp_path / "own").mkdir()
    (tmp_path / "piece.wav").rename(tmp_path / "own" / "piece.wav")
    assert len(read_corpus(tmp_path / "own").clips) == 1


def test_another_programs_run_json_is_no_run(tmp_path: Path) -> None:
    write(tmp_path / "Dog" / "a.wav")
    (tmp_path / "Dog" / "run.json").write_text("[1, 2]")
    write(tmp_path / "Rain" / "b.wav")
    assert read_corpus(tmp_path).labels == ("Dog", "Rain")


def test_a_split_has_no_other_sounds_beside_it(tmp_path: Path) -> None:
    for name in ("Train", "Dog", "Rain"):
        write(tmp_path / name / "a.wav")
    found = read_corpus(tmp_path)
    assert found.labels == ("Dog", "Rain", "Train")
    assert "Train: taken for classes" in found.notes()[0]
    for name in ("train/Am/1.wav", "test/Am/2.wav", "validation/Am/3.wav", "loose.wav"):
        write(tmp_path / "split" / name)
    split = read_corpus(tmp_path / "split")
    assert [(clip.split, clip.path.name) for clip in split.clips] == [("Training", "1.wav"), ("Test", "2.wav")]
    assert split.left_out == {"of other splits": ["validation/Am/3.wav"], "beside the class folders": ["loose.wav"]}
    # Not looked for below a folder that holds other sounds.
    for name in ("deep/Dog/1.wav", "deep/more/Train/1.wav", "deep/more/Test/2.wav"):
        write(tmp_path / name)
    assert read_corpus(tmp_path / "deep").labels == ("Dog", "more")


def test_links_in_circles_end(tmp_path: Path) -> None:
    write(tmp_path / "Am" / "a.wav")
    write(tmp_path / "C" / "a.wav")
    (tmp_path / "C" / "back").symlink_to(tmp_path)
    (tmp_path / "C" / "self.wav").symlink_to(tmp_path / "C" / "self.wav")
    (tmp_path / "C" / "gone.wav").symlink_to(tmp_path / "nothing.wav")
    found = read_corpus(tmp_path)
    assert len(found.clips) == 2
    assert sorted(next(iter(found.left_out.values()))) == ["C/back", "C/gone.wav", "C/self.wav"]


@pytest.mark.skipif(sys.platform in {"darwin", "win32"}, reason="names are UTF-8 there")
def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    for name in (b"gr\xfcn", b"rot"):
        write(Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name + b"/kl\xe4nge.wav")))
    found = read_corpus(tmp_path)
    assert found.labels == ("grün", "rot")
    renamed = r"that are not UTF-8, or cannot be written: b'gr\xfcn' is called grün"
    assert [line for line in found.warnings if renamed in line] == found.warnings
    assert len(load_mels(found, SPEC, Cache(tmp_path / ".cache")).label) == 2
    env = os.environ | {"PYTHONIOENCODING": "cp1252", "FUGUE_CACHE": str(tmp_path / ".cache")}
    for how in (env, env | {"PYTHONIOENCODING": "ascii", "LANG": "C", "LC_ALL": "C"}):
        command = [sys.executable, "-m", "fugue_state.cli", "corpus", "inspect", str(tmp_path)]
        done = subprocess.run(command, capture_output=True, check=False, env=how)
        assert done.returncode == 0, done.stderr
        assert b"Traceback" not in done.stderr
        assert rb"b'gr\xfcn' is called gr" in done.stderr
    told = run("train", tmp_path, "-o", tmp_path.with_name("run"), "--dry-run", "--steps", 1)
    assert f"note: names of class folders in Training {renamed}" in told.stderr
    (tmp_path / "e\u0301").mkdir()  # the same letters, written otherwise, are no other name
    write(tmp_path / "e\u0301" / "a.wav")
    assert read_corpus(tmp_path).warnings == found.warnings


def test_names_are_shown_in_characters_that_can_be_written() -> None:
    assert readable("Ge\udce9") == "Geé"
    assert readable("e\u0301") == "é"
    assert readable("a\nb") == "a_b"


def test_output_that_cannot_be_encoded_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    import io as streams

    raw = streams.BytesIO()
    monkeypatch.setattr(sys, "stdout", streams.TextIOWrapper(raw, encoding="cp1252"))
    plain_streams()
    sys.stdout.write("Cт ♯ \udcff\n")
    sys.stdout.flush()
    assert raw.getvalue() == b"C\\u0442 \\u266f \\udcff" + os.linesep.encode()


@pytest.mark.skipif(sys.platform == "win32", reason="no such names there")
def test_a_name_that_breaks_lines_breaks_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a\nb\x1b[31m.mp4").symlink_to(tmp_path / "nowhere")
    with pytest.raises(CorpusError, match=r"\(a\\nb\\x1b\[31m\.mp4\)"):
        read_corpus(tmp_path)
    write(tmp_path / "c.wav")
    for line in read_corpus(tmp_path).notes():
        note(line)
    assert r"(a\nb\x1b[31m.mp4)" in capsys.readouterr().err


def test_many_files_are_found_in_one_walk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(300):
        (tmp_path / f"Kick {number:05d} (C2).wav").write_bytes(b"RIFF")
    walked: list[Path] = []
    scandir = os.scandir

    def counted(path: Path) -> object:
        walked.append(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", counted)
    seen: list[int] = []

    def track(items: object, total: int, what: str) -> object:
        seen.append(total)
        return items

    assert len(read_corpus(tmp_path, track).clips) == 300  # type: ignore[arg-type]
    assert (len(walked), seen) == (1, [300])


def test_a_file_where_a_folder_is_needed(tmp_path: Path) -> None:
    song = write(tmp_path / "song.wav")
    with pytest.raises(CorpusError, match=r"song\.wav: is a file, a folder is needed"):
        read_corpus(song)
    with pytest.raises(AudioError, match="is a folder, a file is needed"):
        reading.read(tmp_path)


def test_classes_that_a_score_would_misread_are_told(tmp_path: Path) -> None:
    for name in ("F*2", "C, low", "pad@120"):
        write(tmp_path / name / "a.wav")
    assert 'quotes go around names like "C, low", "F*2", "pad@120"' in read_corpus(tmp_path).notes()[0]
    assert quote("Am") == "Am"
    assert quote('7" disc*2') == "'7\" disc*2'"
    steps = split('Am, "C, low"@3*2 , "F*2",-, pad,')
    assert steps == ["Am", '"C, low"@3*2', '"F*2"', "-", "pad"]
    read = Voice.model_validate({"chords": steps})
    assert [(step.chord, step.entry, step.beats) for step in read.chords] == [
        ("Am", None, None), ("C, low", 3, 2.0), ("F*2", None, None), (None, None, None), ("pad", None, None),
    ]  # fmt: skip
    assert read.model_dump()["chords"] == ("Am", '"C, low"@3*2', '"F*2"', "-", "pad")
    assert Voice.model_validate(read.model_dump()) == read


def test_the_mels_depend_on_the_list_of_labels(tmp_path: Path) -> None:
    for name in ("Training/C/1.wav", "Training/G/2.wav", "Test/Am/3.wav"):
        write(tmp_path / name)
    cache = Cache(tmp_path / ".cache")
    with pytest.raises(CorpusError, match="no usable training clip of Am"):
        load_mels(read_corpus(tmp_path), SPEC, cache)
    (tmp_path / "Test" / "Am" / "3.wav").unlink()
    assert load_mels(read_corpus(tmp_path), SPEC, cache).classes == ("C", "G")


def test_a_cache_that_cannot_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.wav", "b.wav"):
        write(tmp_path / "sounds" / name)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FUGUE_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    said: list[str] = []
    elsewhere = find_cache(said.append)
    assert elsewhere.folder is not None
    assert elsewhere.folder.parent == tmp_path
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "file"))
    none = find_cache(said.append)
    assert none.folder is None
    assert all("FUGUE_CACHE names another folder" in line for line in said)
    assert len(load_mels(read_corpus(tmp_path / "sounds"), SPEC, none).label) == 2


def test_two_runs_in_one_folder(tmp_path: Path) -> None:
    run = tmp_path / "run"
    holding = (
        "import os, sys; from pathlib import Path; from fugue_state.memory.claim import claimed\n"
        "with claimed(Path(sys.argv[1])): print('in', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", holding, str(run)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline().strip() == b"in"
        with pytest.raises(InputError, match=r"run: another run is at work in this folder .*\.run\.lock"), claimed(run):
            pass
        other.kill()
        other.wait()
    assert (run / ".run.lock").exists()
    with claimed(run):  # what a killed process left is in nobody's way
        pass
    with claimed(tmp_path / "new"):
        pass
    assert not (tmp_path / "new").exists()


def test_one_drone_is_cut_into_clips(tmp_path: Path) -> None:
    write(tmp_path / "drone.wav", 300.5)
    cache = Cache(tmp_path / ".cache")
    found = cut_corpus(read_corpus(tmp_path), SPEC, cache=cache)
    length = round(SPEC.duration_s, 2)
    count = int(300.5 / length)
    assert len(found.clips) == count
    assert [clip.start_s for clip in found.clips[:3]] == [0.0, length, 2 * length]
    # One recording: the end of it is held out.
    assert {clip.split for clip in found.clips[-10:]} == {"Test"}
    assert len(found.part("Test")) == count // 10
    assert f"{count} clips were cut from 1 long recording of 5:00 min" in found.warnings[0]
    again = cut_corpus(read_corpus(tmp_path), SPEC, cache=cache)
    assert again.clips == found.clips
    heard = list(read_clips(found.clips[:3]))
    assert [len(one.samples) for one in heard] == [round(SPEC.duration_s * RATE)] * 3
    mels = load_mels(found, SPEC, cache)
    assert len(mels.label) == len(found.part("Training"))
    assert mels.mels[5].astype(np.float32).std() > 0
    assert mels.facts[1].name.endswith(f"drone.wav from {length:.2f} s")
    whole = cut_corpus(read_corpus(tmp_path), SPEC, "off")
    assert [clip.start_s for clip in whole.clips] == [None]
    assert "1 of 1 recording is longer than an image" in whole.warnings[0]
    keys = {corpus_key(c, SPEC) for c in (found, whole, cut_corpus(read_corpus(tmp_path), SPEC, "5"))}
    assert len(keys) == 3


def test_whole_recordings_are_held_out_where_there_are_several(tmp_path: Path) -> None:
    for number in range(6):
        write(tmp_path / f"{number}.wav", 60.0)
    found = cut_corpus(read_corpus(tmp_path), SPEC)
    held = {clip.path for clip in found.part("Test")}
    assert len(held) == 1
    assert not held & {clip.path for clip in found.part("Training")}
    assert len(found.clips) == 6 * int(60 / SPEC.duration_s)


def test_onsets_start_the_parts_and_what_died_away_is_left_out(tmp_path: Path) -> None:
    sound = np.zeros(40 * RATE, dtype=np.float32)
    for start in (1.0, 12.5, 25.0):
        time = np.arange(10 * RATE) / RATE
        at = round(start * RATE)
        sound[at : at + len(time)] += 0.5 * np.sin(2 * np.pi * 330 * time) * np.exp(-1.5 * time)
    io.write(tmp_path / "notes.wav", sound, RATE)
    starts = [clip.start_s for clip in cut_corpus(read_corpus(tmp_path), SPEC).clips]
    assert starts == pytest.approx([1.0, 12.5, 25.0], abs=0.03)


def test_short_labelled_recordings_stay_as_they_are(tmp_path: Path) -> None:
    for name in ("Am/1.wav", "C/2.wav"):
        write(tmp_path / name, 14.9)
    found = cut_corpus(read_corpus(tmp_path), SPEC)
    assert found.clips == read_corpus(tmp_path).clips
    assert "2 of 2 recordings are longer than an image of 3.0 s" in found.warnings[0]
    write(tmp_path / "C" / "loop.wav", 16.0)
    assert len(cut_corpus(read_corpus(tmp_path), SPEC).clips) == 2 + int(16 / SPEC.duration_s)


@pytest.mark.parametrize("slicing", ["never", "0", "-3", "nan", "1e9", ""])
def test_other_ways_to_cut_are_refused(tmp_path: Path, slicing: str) -> None:
    write(tmp_path / "a.wav")
    with pytest.raises(InputError, match="slice: auto, off or a number of seconds"):
        cut_corpus(read_corpus(tmp_path), SPEC, slicing, config=SliceConfig())


def test_a_built_corpus_knows_its_own_record(tmp_path: Path, make_corpus: Callable[..., Path]) -> None:
    root = make_corpus({"Am": 2, "C": 2})
    (root / MANIFEST).write_text("{}")
    (root / "notes.txt").write_text("")
    assert read_corpus(root).left_out == {"no sounds": ["notes.txt"]}
