from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from fugue_state.arrays import Array
from fugue_state.audio import io
from fugue_state.audio.riff import Marker
from fugue_state.cli import main
from fugue_state.config import MelSpec, ReverbConfig, ToneConfig
from fugue_state.engine.playing import blocks
from fugue_state.engine.whole import Instrument, play, play_on
from fugue_state.errors import FugueError, InputError, OutputError
from fugue_state.memory.catalogue import MemoryHeader
from fugue_state.memory.claim import LOCK
from fugue_state.memory.layers import Generator
from fugue_state.memory.memory import Memory
from fugue_state.output import part
from fugue_state.output import render as rendering
from fugue_state.output.markers import markers, write_labels
from fugue_state.output.part import part_folder, read_place, write_place
from fugue_state.output.provenance import provenance, read_provenance
from fugue_state.output.render import render
from fugue_state.piece.piece import Piece
from fugue_state.score.model import Score
from fugue_state.settings import checked

from .conftest import Sound
from .test_riff import marked

LONG_ENOUGH = {
    "duration_s": 8.0,
    "tempo_bpm": 500,
    "reverb": ReverbConfig(rt60_s=0.5),
    "tone": ToneConfig(tilt_db=3),
    "seed": 4,
}


def piece(**changes: Any) -> Score:
    plan = {"order": "random", "pace": "linear"} | changes.pop("forgetting", {})
    return checked(Score, LONG_ENOUGH | changes | {"forgetting": plan})


class Break:
    """Break off before item `at` of the work called `what`."""

    def __init__(self, what: str, at: int, how: Callable[[], None]) -> None:
        self.what, self.at, self.how = what, at, how

    def __call__(self, items: Iterable[Any], total: int, what: str) -> Iterator[Any]:
        del total
        for number, item in enumerate(items):
            if (what, number) == (self.what, self.at):
                self.how()
            yield item


def interrupt() -> None:
    raise KeyboardInterrupt


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


KILLED = """
import sys
from pathlib import Path
from fugue_state.memory.layers import Generator
from fugue_state.memory.memory import Memory
from fugue_state.piece.piece import Piece
from fugue_state.output.render import render
from fugue_state.score.model import Score
sys.path.insert(0, sys.argv[1])
from tests.test_render import Break, kill
score = Score.model_validate_json(sys.argv[2])
piece = Piece(score, Memory.load(sys.argv[3], quality="draft"))
render(piece, sys.argv[4], track=Break(sys.argv[5], int(sys.argv[6]), kill),
       checkpoint_s=float(sys.argv[7]), stems=True)
"""


def killed(tmp_path: Path, tiny_path: Path, score: Score, what: str, at: int, checkpoint_s: float = 0.0) -> Path:
    """Render in another process that is killed; return the file that was to be."""
    out = tmp_path / "killed" / "a.wav"
    out.parent.mkdir()
    root = Path(__file__).parents[1]
    words = [root, score.model_dump_json(), tiny_path, out, what, at, checkpoint_s]
    done = subprocess.run([sys.executable, "-c", KILLED, *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not out.exists()
    return out


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.parametrize(("what", "at"), [("playing", 1), ("playing", 5), ("mastering", 3)])
def test_after_a_kill_a_render_goes_on_to_the_same_bytes(tmp_path: Path, tiny_path: Path, what: str, at: int) -> None:
    score, memory = piece(), Memory.load(tiny_path, quality="draft")
    (tmp_path / "whole").mkdir()
    whole = render(Piece(score, memory), tmp_path / "whole" / "a.wav", stems=True)
    out = killed(tmp_path, tiny_path, score, what, at)
    place = read_place(part_folder(out) / part.PLACE)
    assert place.position == (8 if what == "mastering" else at) * 44_100
    played = []

    def watch(items: Iterable[Any], total: int, what: str) -> Iterator[Any]:
        played.append((what, total))
        yield from items

    again = render(Piece(score, memory), out, resume=True, stems=True, track=watch)
    assert played[0] == ("playing", 8 - place.position // 44_100)
    assert replace(again, path=whole.path) == whole
    assert names(out.parent) == names(tmp_path / "whole") == ["a-dry.wav", "a-reverb.wav", "a.json", "a.wav"]
    for name in ("a.wav", "a-dry.wav", "a-reverb.wav"):
        assert (out.parent / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.parametrize("resume", [False, True])
def test_after_a_kill_before_anything_was_kept_a_render_begins_again(
    tmp_path: Path, tiny_path: Path, resume: bool
) -> None:
    out = killed(tmp_path, tiny_path, piece(duration_s=4.0), "playing", 2, checkpoint_s=1000.0)
    assert not (part_folder(out) / part.PLACE).exists()
    memory = Memory.load(tiny_path, quality="draft")
    render(Piece(piece(duration_s=4.0), memory), out, resume=resume, stems=True)
    render(Piece(piece(duration_s=4.0), memory), tmp_path / "b.wav")
    assert (tmp_path / "b.wav").read_bytes() == out.read_bytes()


class Crowd:
    """An inverter whose sounds depend on the batch they are made in, and on what they are of."""

    spec = MelSpec()

    def __call__(self, mel: Any) -> Array:
        rows = np.arange(1, len(mel) + 1) + mel.mean(axis=(1, 2))
        sound = 0.02 * np.sin(0.01 * rows[:, None] * np.arange(mel.shape[2] * self.spec.hop))
        return np.asarray(sound, dtype=np.float32)


def test_every_place_of_a_piece_is_one_to_go_on_from(
    tmp_path: Path, tiny_generator: Generator, tiny_header: MemoryHeader
) -> None:
    score, block = piece(), 30_000
    memory = Memory(tiny_generator, tiny_header, inverter=Crowd())
    laid = Piece(score, memory)
    player, made = Instrument(laid), list(laid.events())
    whole = list(play_on(player, made, score.samples, block))
    assert len({place.first for _, place in whole}) > 2
    for number, (_, place) in enumerate(whole):
        write_place(tmp_path / "p.safetensors", place)
        again = play_on(player, made, score.samples, block, read_place(tmp_path / "p.safetensors"))
        after, _ = next(again, (None, None))
        if number + 1 == len(whole):
            assert after is None
            continue
        assert after is not None
        assert np.array_equal(after.samples, whole[number + 1][0].samples)


def test_a_break_keeps_what_was_played_only_if_it_is_worth_it(tmp_path: Path, tiny_memory: Memory) -> None:
    out = tmp_path / "a.wav"
    score = piece(duration_s=5.0)
    for what in ("playing", "mastering"):
        with pytest.raises(KeyboardInterrupt):
            render(Piece(score, tiny_memory), out, track=Break(what, 2, interrupt))
        assert names(tmp_path) == []
    for resume in (False, True):  # a second break changes nothing
        with pytest.raises(KeyboardInterrupt):
            render(
                Piece(score, tiny_memory), out, track=Break("mastering", 2, interrupt), checkpoint_s=0, resume=resume
            )
        assert names(tmp_path) == ["a.wav.part"]
        assert names(tmp_path / "a.wav.part") == ["played.f32", "render.json", "state.safetensors"]
    with pytest.raises(InputError, match="--resume goes on"):
        render(Piece(score, tiny_memory), out)
    render(Piece(score, tiny_memory), out, force=True)
    assert names(tmp_path) == ["a.json", "a.wav"]


def test_a_working_folder_that_does_not_fit_is_refused(tmp_path: Path, tiny_memory: Memory, tiny_path: Path) -> None:
    out = tmp_path / "a.wav"
    score = piece(duration_s=4.0, forgetting={"to": 0.5})
    with pytest.raises(InputError, match="no interrupted render to resume"):
        render(Piece(score, tiny_memory), out, resume=True)
    assert not part_folder(out).exists()
    with pytest.raises(KeyboardInterrupt):
        render(Piece(score, tiny_memory), out, track=Break("playing", 2, interrupt), checkpoint_s=0)
    before = {p.name: p.read_bytes() for p in part_folder(out).iterdir()}

    def refused(match: str, *, piece: Score = score, memory: Memory = tiny_memory, **changes: Any) -> None:
        with pytest.raises(InputError, match=match):
            render(Piece(piece, memory), out, resume=True, **changes)
        assert {p.name: p.read_bytes() for p in part_folder(out).iterdir()} == before

    other = score.model_copy(update={"forgetting": score.forgetting.model_copy(update={"to": 0.6})})
    refused(r"started with score\.forgetting\.to = 0\.5, not 0\.6", piece=other)
    refused("started with memory_sha256 = , not [0-9a-f]{16}", memory=Memory.load(tiny_path))
    refused("started with block = 44100, not 22050", block_s=0.5)
    refused(r"started with stems = \[\], not \['dry', 'reverb'\]", stems=True)
    about = part_folder(out) / part.ABOUT
    about.write_text(about.read_text().replace("fugue-state ", "fugue-state 9"))
    before[about.name] = about.read_bytes()
    refused("started with made_by = fugue-state 9")


@pytest.mark.parametrize("name", [part.ABOUT, part.PLACE, part.PLAYED])
def test_a_damaged_working_folder_is_refused(tmp_path: Path, tiny_memory: Memory, name: str) -> None:
    out = tmp_path / "a.wav"
    with pytest.raises(KeyboardInterrupt):
        render(Piece(piece(duration_s=4.0), tiny_memory), out, track=Break("playing", 2, interrupt), checkpoint_s=0)
    path = part_folder(out) / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match="damaged"):
        render(Piece(piece(duration_s=4.0), tiny_memory), out, resume=True)
    assert path.exists()


def test_a_folder_that_only_bears_the_name_is_left_alone(tmp_path: Path, tiny_memory: Memory) -> None:
    (tmp_path / "a.wav.part").mkdir()
    (tmp_path / "a.wav.part" / "mine.txt").touch()
    with pytest.raises(InputError, match="not what a render left"):
        render(Piece(piece(), tiny_memory), tmp_path / "a.wav", force=True)
    assert names(tmp_path / "a.wav.part") == ["mine.txt"]


def test_sound_that_is_no_number_is_not_kept(
    tmp_path: Path, tiny_memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*words: Any, **how: Any) -> Iterator[Any]:
        for number, (block, place) in enumerate(blocks(*words, **how)):
            yield replace(block, samples=block.samples * (np.nan if number == 2 else 1)), place

    monkeypatch.setattr(rendering, "blocks", broken)
    with pytest.raises(FugueError, match="not a number before sample 132300; nothing was written"):
        render(Piece(piece(duration_s=4.0), tiny_memory), tmp_path / "a.wav", checkpoint_s=0)
    assert names(tmp_path) == []


def test_a_full_disk_keeps_what_was_played(
    tmp_path: Path, tiny_memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(io.Writer, "write", full)
    with pytest.raises(OutputError, match="the disk is full"):
        render(Piece(piece(duration_s=2.0), tiny_memory), tmp_path / "a.wav", checkpoint_s=0)
    assert names(tmp_path) == ["a.wav.part"]
    monkeypatch.undo()
    render(Piece(piece(duration_s=2.0), tiny_memory), tmp_path / "a.wav", resume=True)
    assert names(tmp_path) == ["a.json", "a.wav"]


def test_mastering_writes_once_where_nothing_is_limited(
    tmp_path: Path, tiny_memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = []

    def watch(items: Iterable[Any], total: int, what: str) -> Iterator[Any]:
        passes.append(what)
        yield from items

    quiet = piece(duration_s=4.0, master={"loudness_lufs": -40.0})
    assert render(Piece(quiet, tiny_memory), tmp_path / "a.wav", track=watch).loudness_lufs == pytest.approx(
        -40, abs=0.1
    )
    assert passes == ["playing", "mastering"]
    loud = piece(duration_s=4.0, master={"loudness_lufs": -8.0})
    passes.clear()
    assert render(Piece(loud, tiny_memory), tmp_path / "b.wav", track=watch).true_peak_dbtp <= -1.0
    assert len(passes) > 2
    assert names(tmp_path) == ["a.json", "a.wav", "b.json", "b.wav"]


THREE = [{"beats": 3}, {"chords": ["G", "Am"], "beats": 2, "start": 0.1}, {"beats": 5, "start": 1}]


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_stems_add_up(tmp_path: Path, tiny_memory: Memory, name: str) -> None:
    score = piece(voices=THREE, master={"loudness_lufs": -8.0})  # so that the limiter works
    render(Piece(score, tiny_memory), tmp_path / f"plain-{name}")
    render(Piece(score, tiny_memory), tmp_path / name, stems=True)
    stems = {}
    base = name.removesuffix(".wav")
    for stem in ("dry", "reverb", "voice-1", "voice-2", "voice-3"):
        stems[stem], rate = soundfile.read(tmp_path / f"{base}-{stem}.wav", dtype="float32")
        assert rate == 44_100
        assert np.abs(stems[stem]).max() > 0.01
        told = read_provenance(tmp_path / f"{base}-{stem}.wav")
        assert told == provenance(Piece(score, tiny_memory)) | {"stem": stem}
    mix, _ = soundfile.read(tmp_path / name, dtype="float32")
    assert np.abs(stems["dry"] + stems["reverb"] - mix).max() < 3e-7
    assert np.abs(stems["voice-1"] + stems["voice-2"] + stems["voice-3"] - stems["dry"]).max() < 3e-6
    assert np.array_equal(mix, soundfile.read(tmp_path / f"plain-{name}", dtype="float32")[0])


def test_a_voice_by_itself_is_its_events_alone(tiny_memory: Memory) -> None:
    score = piece(duration_s=5.0, voices=THREE)
    laid = Piece(score, tiny_memory)
    events = list(laid.events())
    blocks = list(play(Instrument(laid, stems=True), events, score.samples, 44_100))
    stems = np.concatenate([b.stems for b in blocks if b.stems is not None])
    assert stems.shape == (score.samples, 10)
    made = [e.onset for e in events if e.voice == 2]
    assert np.abs(stems[: made[0], 8:]).max() == 0
    assert np.abs(stems[made[0] : made[0] + 4410, 8:]).max() > 0
    plain = list(play(Instrument(laid), laid.events(), score.samples, 44_100))
    assert all(b.stems is None for b in plain)
    assert np.array_equal(np.concatenate([b.samples for b in blocks]), np.concatenate([b.samples for b in plain]))
    strange = replace(events[0], voice=3)
    with pytest.raises(InputError, match="an event of voice 3; there are voices 0 to 2"):
        Instrument(laid, stems=True).voice(strange)


def test_stems_go_on_after_a_break_too(tmp_path: Path, tiny_memory: Memory) -> None:
    score = piece(duration_s=5.0, voices=THREE)
    render(Piece(score, tiny_memory), tmp_path / "a.wav", stems=True)
    with pytest.raises(KeyboardInterrupt):
        render(
            Piece(score, tiny_memory),
            tmp_path / "b.wav",
            stems=True,
            checkpoint_s=0,
            track=Break("playing", 3, interrupt),
        )
    with (part_folder(tmp_path / "b.wav") / part.PLAYED).open("ab") as file:
        file.write(b"played after the last place was kept" * 1000)
    render(Piece(score, tiny_memory), tmp_path / "b.wav", stems=True, resume=True)
    for name in ("", "-dry", "-reverb", "-voice-1", "-voice-2", "-voice-3"):
        assert (tmp_path / f"a{name}.wav").read_bytes() == (tmp_path / f"b{name}.wav").read_bytes()


def test_nothing_beside_the_piece_is_overwritten(tmp_path: Path, tiny_memory: Memory) -> None:
    for name in ("a-reverb.wav", "a.txt"):
        (tmp_path / name).write_bytes(b"mine")
        with pytest.raises(InputError, match=f"{name}: exists already"):
            render(Piece(piece(), tiny_memory), tmp_path / "a.wav", stems=True, labels=True)
        assert names(tmp_path) == [name]
        (tmp_path / name).unlink()


def test_chords_and_cues_are_marked_where_they_begin(tmp_path: Path, tiny_memory: Memory) -> None:
    cues = [{"do": "recall", "at": 0.3}, {"do": "hold", "name": "stay", "at": 0.8}]
    score = piece(voices=[{"chords": ["Am", "Am", "C"]}], duration_s=4.0, tempo_bpm=240, cues=cues)
    found = markers(Piece(score, tiny_memory))
    places = [(0, "Am"), (13_230, "recall"), (22_050, "C"), (33_075, "Am"), (35_280, "stay")]
    assert [(m.sample, m.name) for m in found] == places
    render(Piece(score, tiny_memory), tmp_path / "a.wav", labels=True)
    assert marked(tmp_path / "a.wav") == places
    lines = (tmp_path / "a.txt").read_text(encoding="utf-8").splitlines()
    assert lines[1:3] == ["0.300000\t0.300000\trecall", "0.500000\t0.500000\tC"]
    assert len(lines) == len(found)
    render(Piece(score, tiny_memory), tmp_path / "b.flac", labels=True)
    assert (tmp_path / "b.flac.txt").read_bytes() == (tmp_path / "a.txt").read_bytes()


def test_labels_stay_on_their_lines(tmp_path: Path) -> None:
    write_labels(tmp_path / "a.txt", [Marker(1, "a\tb\nc\r\u2028 é"), Marker(44_100, "")], 44_100)
    assert (tmp_path / "a.txt").read_bytes().decode() == "0.000023\t0.000023\ta b c é\n1.000000\t1.000000\t\n"


def test_a_file_says_how_it_was_made(tmp_path: Path, tiny_path: Path) -> None:
    memory, score = Memory.load(tiny_path), piece(duration_s=1.0)
    for name in ("a.wav", "b.flac"):
        render(Piece(score, memory), tmp_path / name)
    for name in ("a.wav", "a.json", "b.flac", "b.flac.json"):
        assert read_provenance(tmp_path / name) == provenance(Piece(score, memory))
    told = read_provenance(tmp_path / "a.wav")
    assert checked(Score, told["score"]) == score
    assert told["memory_sha256"] == memory.fingerprint


def test_what_tells_nothing_of_how_it_was_made_is_refused(tmp_path: Path, tiny_memory: Memory) -> None:
    tone: Sound = 0.1 * np.ones(100, dtype=np.float32)

    def refused(name: str, match: str, comment: str | None = None) -> None:
        if comment is not None:
            path = tmp_path / name
            path.write_text(comment) if name.endswith(".json") else io.write(path, tone, 44_100, comment=comment)
        with pytest.raises(InputError, match=f"{name}: {match}") as caught:
            read_provenance(tmp_path / name)
        assert "\n" not in str(caught.value)

    told = provenance(Piece(piece(), tiny_memory))
    refused("none.wav", "no such file")
    (tmp_path / "folder").mkdir()
    refused("folder", "is a folder, a file is needed")
    for name in ("a.wav", "a.flac", "a.json"):
        refused(name, "does not say how it was made", "")
        refused(name, r"how it was made is damaged \(not JSON\)", json.dumps(told)[:-5])
        refused(name, "was not made by fugue-state", '{"made_by": "another"}')
        refused(name, r"how it was made is damaged \(a list or a number\)", "[1, 2]")
        lacking = {k: v for k, v in told.items() if k not in {"score", "memory"}}
        refused(name, r"how it was made is damaged \(no memory and no score\)", json.dumps(lacking))
        refused(name, r"how it was made is damaged \(no score\)", json.dumps(told | {"score": 3}))
    (tmp_path / "a.flac").write_bytes(b"fLaC and then nothing")
    refused("a.flac", "not a readable sound file")
    refused("a.json", r"how it was made is damaged \(not JSON\)", "[" * 100_000)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.json"])
def test_damaged_files_are_refused_and_never_worse(tmp_path: Path, tiny_memory: Memory, name: str) -> None:
    told = provenance(Piece(piece(), tiny_memory))
    path = tmp_path / name
    if name == "a.json":
        path.write_text(json.dumps(told, indent=1))
    else:
        io.write(path, 0.1 * np.ones(100, dtype=np.float32), 44_100, comment=json.dumps(told))
    whole, rng, read = path.read_bytes(), np.random.default_rng(1), 0
    for _ in range(300):
        data = bytearray(whole[: int(rng.integers(1, len(whole)))] if rng.random() < 0.3 else whole)
        for place in rng.integers(0, len(data), 5):
            data[place] = int(rng.integers(256))
        path.write_bytes(bytes(data))
        with contextlib.suppress(InputError):
            read += set(told) <= set(read_provenance(path))
    assert read < 300


def forget_words(tmp_path: Path, tiny_path: Path, *words: object) -> list[str]:
    given = ["forget", "-m", tiny_path, "-o", tmp_path / "a.wav", "--rt60", 0.5, "--quality", "draft", *words]
    return [str(word) for word in given]


def test_the_command_writes_stems_markers_and_labels(tmp_path: Path, tiny_path: Path) -> None:
    (tmp_path / "out").mkdir()
    words = forget_words(tmp_path / "out", tiny_path, "--duration", 4, "--stems", "--labels", "--chords", "Am,C")
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    assert names(tmp_path / "out") == ["a-dry.wav", "a-reverb.wav", "a.json", "a.png", "a.txt", "a.wav"]
    assert marked(tmp_path / "out" / "a.wav")[0] == (0, "Am")
    again = CliRunner().invoke(main, [*words, "--resume", "--force"])
    assert again.exit_code == 2
    assert "no interrupted render to resume" in again.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_command_says_how_to_go_on(tmp_path: Path, tiny_path: Path, number: int) -> None:
    code = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored by what runs in the background
        "from fugue_state import cli\n"
        "from fugue_state.output import part, render\n"
        "whole = render._master\n"
        f"render._master = lambda *a: (os.kill(os.getpid(), {int(number)}), whole(*a))\n"
        "sets = part.Part.__init__\n"
        "part.Part.__init__ = lambda self, *a: sets(self, *a[:3], float(os.environ['EVERY_S']))\n"
        "cli.main(sys.argv[1:])\n"
    )
    for every_s, kept in ((1000, False), (0, True)):
        done = subprocess.run(
            [sys.executable, "-c", code, *forget_words(tmp_path, tiny_path, "--duration", 3)],
            capture_output=True, text=True, check=False, env=os.environ | {"EVERY_S": str(every_s)},
        )  # fmt: skip
        assert done.returncode == 1, done.stderr
        assert "Traceback" not in done.stderr
        assert ("a.wav.part keeps what was played; the same command with --resume goes on" in done.stderr) == kept
        assert (tmp_path / "a.wav.part").exists() == kept
    result = CliRunner().invoke(main, forget_words(tmp_path, tiny_path, "--duration", 3, "--resume"))
    assert result.exit_code == 0, result.output
    assert sorted(p.name for p in tmp_path.glob("a.*")) == ["a.json", "a.png", "a.wav"]


class _KilledError(BaseException):
    """As if the process had ended: nothing that follows is done."""


def broken_off(step: int, act: Callable[[], None]) -> bool:
    """Act, and end at a file that is renamed, removed or made a folder, as a kill would: what cleans up does not run.

    Say whether it came to that.
    """
    left, dead = step, False

    def counted(plain: Callable[..., Any]) -> Callable[..., Any]:
        def change(path: Path, *given: Any, **named: Any) -> Any:
            nonlocal left, dead
            left -= 1
            dead = dead or left == 0
            if dead:
                raise _KilledError
            return plain(path, *given, **named)

        return change

    with pytest.MonkeyPatch.context() as patched:
        for name in ("replace", "unlink", "mkdir", "rmdir"):
            patched.setattr(Path, name, counted(getattr(Path, name)))
        with contextlib.suppress(_KilledError):
            act()
    return dead


@pytest.fixture
def drawn(tiny_memory: Memory) -> Callable[..., None]:
    """Render a piece with all that may belong to it into a folder."""

    def made(folder: Path, *, seed: int = 4, **asked: Any) -> None:
        def draw() -> None:
            (folder / "a.png").write_bytes(b"%d" % seed)

        score = piece(
            duration_s=1.0, seed=seed, reverb=ReverbConfig(rt60_s=0.3), voices=[{"name": "low"}, {"name": "high"}]
        )
        render(
            Piece(score, tiny_memory), folder / "a.wav", stems=True, labels=True, checkpoint_s=0, then=draw, **asked,
        )  # fmt: skip

    return made


def as_told(act: Callable[..., None]) -> None:
    """Go on with a render, in the way that its errors name."""
    how = {"resume": True}
    for _ in range(3):
        try:
            act(**how)
        except InputError as error:
            if "without --resume" in str(error):
                how.pop("resume")
            elif "add --force" in str(error):
                how["force"] = True
            else:
                raise
        else:
            return
    raise AssertionError(how)


def held_in(folder: Path) -> dict[str, bytes]:
    """Return what lies in a folder, wherever that is; it holds no other folder."""
    return {path.name: path.read_bytes().replace(str(folder).encode(), b"") for path in folder.iterdir()}


def test_after_a_break_at_any_step_one_command_goes_on_to_the_same_bytes(
    tmp_path: Path, drawn: Callable[..., None]
) -> None:
    (tmp_path / "whole").mkdir()
    drawn(tmp_path / "whole")
    whole = held_in(tmp_path / "whole")
    assert sorted(whole) == [
        "a-dry.wav", "a-high.wav", "a-low.wav", "a-reverb.wav", "a.json", "a.png", "a.txt", "a.wav",
    ]  # fmt: skip
    for step in range(1, 500):
        folder = tmp_path / str(step)
        folder.mkdir()
        if not broken_off(step, partial(drawn, folder)):
            break
        kept = any((folder / "a.wav.part" / name).exists() for name in (part.FINISHED, part.PLACE))
        if kept or (folder / "a.wav").exists():
            with pytest.raises(InputError, match=r"exists already|--resume goes on"):
                drawn(folder)
        if (folder / "a.wav.part").exists() and (kept or step % 2 or (folder / "a.wav").exists()):
            drawn(folder, resume=True)
        elif not (folder / "a.wav").exists():
            drawn(folder)
        assert held_in(folder) == whole
    assert 15 < step < 499


@pytest.mark.parametrize("seed", [4, 9])
def test_what_replaces_a_piece_can_be_broken_off_at_any_step_and_once_more(
    tmp_path: Path, drawn: Callable[..., None], seed: int
) -> None:
    """The piece that is there is the same or another one: it is never taken for what was asked for."""
    (tmp_path / "before").mkdir()
    drawn(tmp_path / "before")
    (tmp_path / "whole").mkdir()
    drawn(tmp_path / "whole", seed=seed)
    whole = held_in(tmp_path / "whole")
    recipe = (tmp_path / "before" / "a.json").read_text()
    for step in range(1 + seed % 2, 500, 2):
        folder = tmp_path / str(step)
        shutil.copytree(tmp_path / "before", folder)
        (folder / "a.json").write_text(recipe.replace(str(tmp_path / "before"), str(folder)))
        (folder / "a.png").unlink()
        if not broken_off(step, partial(drawn, folder, seed=seed, force=True)):
            break
        broken_off(1 + step % 7, partial(as_told, partial(drawn, folder, seed=seed)))
        as_told(partial(drawn, folder, seed=seed))
        assert held_in(folder) == whole
    assert 15 < step < 499


@pytest.mark.parametrize(
    "left",
    [
        [], [LOCK], [part.ABOUT], [part.ABOUT, LOCK], [part.ABOUT, part.PLAYED], [f".{part.ABOUT}.7.part.json"],
        [part.FINISHED], [part.ABOUT, part.FINISHED], [part.ABOUT, part.FINISHED, part.PLAYED, LOCK],
    ],
)  # fmt: skip
def test_whatever_is_left_of_a_working_folder_beside_a_whole_piece_goes(
    tmp_path: Path, drawn: Callable[..., None], left: list[str]
) -> None:
    drawn(tmp_path)
    whole = held_in(tmp_path)
    told = json.loads(whole["a.json"])
    about = {key: value for key, value in told.items() if key != "measured"}
    kept = {
        part.ABOUT: json.dumps(about | {"stems": ["dry", "reverb", "low", "high"], "block": 44_100}),
        part.FINISHED: json.dumps({"files": [name for name in whole if name != "a.png"]}),
    }
    working = part_folder(tmp_path / "a.wav")
    working.mkdir()
    for name in left:
        (working / name).write_text(kept.get(name, ""))
    (tmp_path / "a.png").unlink()
    drawn(tmp_path, resume=True)
    assert held_in(tmp_path) == whole


HOLDING = """
import sys
from pathlib import Path
from fugue_state.output.part import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_file_is_rendered_by_one_process_at_a_time(tmp_path: Path, tiny_memory: Memory) -> None:
    out, score = tmp_path / "a.wav", piece(duration_s=1.0)
    words = [sys.executable, "-c", HOLDING, str(part_folder(out))]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        wishes: list[dict[str, Any]] = [{}, {"force": True}, {"resume": True}]
        for wish in wishes:
            with pytest.raises(InputError, match=r"a\.wav\.part: another run is at work in this folder"):
                render(Piece(score, tiny_memory), out, **wish)
            assert names(tmp_path) == ["a.wav.part"]
        other.kill()
    render(Piece(score, tiny_memory), out)
    assert names(tmp_path) == ["a.json", "a.wav"]


def test_what_was_finished_meanwhile_is_not_overwritten(tmp_path: Path, tiny_memory: Memory) -> None:
    out = tmp_path / "a.wav"

    plain = provenance

    def finished_by_another(*words: Any) -> dict[str, Any]:
        out.write_bytes(b"of another render")
        return plain(*words)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(rendering, "provenance", finished_by_another)
        with pytest.raises(InputError, match="exists already"):
            render(Piece(piece(duration_s=1.0), tiny_memory), out)
    assert out.read_bytes() == b"of another render"
    assert names(tmp_path) == ["a.wav"]


def test_an_empty_folder_beside_another_piece_is_no_render_to_go_on_with(
    tmp_path: Path, drawn: Callable[..., None]
) -> None:
    drawn(tmp_path)
    part_folder(tmp_path / "a.wav").mkdir()
    before = (tmp_path / "a.wav").read_bytes()
    with pytest.raises(InputError, match="exists already and is another piece"):
        drawn(tmp_path, seed=9, resume=True)
    assert (tmp_path / "a.wav").read_bytes() == before


def test_a_stem_of_another_piece_is_not_taken_for_one_of_this(tmp_path: Path, drawn: Callable[..., None]) -> None:
    for name, seed in (("other", 9), ("this", 4)):
        (tmp_path / name).mkdir()
        drawn(tmp_path / name, seed=seed)
    shutil.copy(tmp_path / "other" / "a-low.wav", tmp_path / "this" / "a-low.wav")
    part_folder(tmp_path / "this" / "a.wav").mkdir()
    with pytest.raises(InputError, match="exists already and is another piece"):
        drawn(tmp_path / "this", resume=True)


def test_what_was_played_is_let_go_before_pictures_are_drawn(tmp_path: Path, tiny_memory: Memory) -> None:
    played = part_folder(tmp_path / "a.wav") / part.PLAYED
    sizes = []
    render(
        Piece(piece(duration_s=1.0), tiny_memory), tmp_path / "a.wav", checkpoint_s=0,
        then=lambda: sizes.append(played.stat().st_size),
    )  # fmt: skip
    assert sizes == [0]


def test_stems_have_the_names_of_voices_that_a_file_can_have() -> None:
    names = rendering._stem_names(["Bass / low", "", "dry", "../x", "bass low", "Höhe"])
    assert names == ("dry", "reverb", "Bass-low", "voice-2", "dry-3", "x", "bass-low-5", "Höhe")
    assert rendering._stem_names(["alone"]) == ("dry", "reverb")
    assert len(set(map(str.casefold, rendering._stem_names(["a" * 90, "a" * 90])))) == 4


def test_a_sound_of_another_form_has_files_of_its_own(tmp_path: Path, tiny_path: Path) -> None:
    words = forget_words(tmp_path, tiny_path, "--duration", 1, "--stems", "--chords", "Am")
    for name in ("a.wav", "a.flac"):
        words[words.index("-o") + 1] = str(tmp_path / name)
        done = CliRunner().invoke(main, words)
        assert done.exit_code == 0, done.output
    found = {path.name for path in tmp_path.glob("a.*")}
    flac = {"a.flac", "a.flac.png", "a.flac.json", "a.flac-dry.wav", "a.flac-reverb.wav"}
    assert found == flac | {"a.wav", "a.png", "a.json"}


def test_what_cannot_be_written_is_refused_before_anything_is_laid_out(
    tmp_path: Path, tiny_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(Piece, "__init__", never)
    for name in ("a.wav", "a.json", "a.png", "a.txt", "a-dry.wav", "a.mp4", "p.png"):
        (tmp_path / name).touch()
        words = forget_words(tmp_path, tiny_path, "--stems", "--labels", "--film", tmp_path / "a.mp4")
        done = CliRunner().invoke(main, [*words, "--poster", str(tmp_path / "p.png")])
        assert done.exit_code == 2, done.output
        assert f"{name}: exists already" in done.output
        (tmp_path / name).unlink()
