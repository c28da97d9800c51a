"""Takes: what is kept of a performance, whatever happens."""

from __future__ import annotations

import contextlib
import errno
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from click.testing import CliRunner
from filelock import FileLock

from fugue_state.cli import main
from fugue_state.config import LiveConfig, MelSpec
from fugue_state.engine.performance import Performance, played
from fugue_state.errors import InputError, OutputError
from fugue_state.limits import TAKE_WAITING
from fugue_state.live import recorder as recorders
from fugue_state.live import takes
from fugue_state.live.aside import Aside, aside
from fugue_state.live.pace import QUALITY, REST
from fugue_state.live.programme import House
from fugue_state.live.recorder import Recorder
from fugue_state.live.tapes import Tapes
from fugue_state.memory.catalogue import MemoryHeader
from fugue_state.memory.layers import Generator
from fugue_state.memory.memory import Memory
from fugue_state.output.provenance import read_provenance
from fugue_state.piece.piece import Piece
from fugue_state.score.log import Log
from fugue_state.score.model import Forgetting, Score
from fugue_state.score.text import dump_score, load_score
from fugue_state.settings import checked

from .fake_performance import FakePerformance
from .live_stage import HOUSE, PATIENCE_S, Ear, Hand, Stage, wait_for


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with Stage(tmp_path / "takes") as opened:
        yield opened


def rendered(take: Path) -> npt.NDArray[np.int32]:
    """Play a take again, offline, to 24 bits."""
    score = load_score(take)
    performance = FakePerformance(score.model_copy(update={"changes": ()}), HOUSE.load(score.memory))
    changes = [(round(float(c.at) * performance.rate), c) for c in score.changes]
    blocks = []
    while performance.position < score.samples:
        for at, change in changes:
            if at == performance.position:
                performance.change(change.path, change.played)
        blocks.append(performance.next().samples)
    beside = take.with_name("again.flac")
    soundfile.write(beside, np.concatenate(blocks), performance.rate, "PCM_24")
    samples: npt.NDArray[np.int32] = soundfile.read(beside, dtype="int32")[0]
    return samples


def recorded(take: Path) -> npt.NDArray[np.int32]:
    samples: npt.NDArray[np.int32] = soundfile.read(take.with_suffix(".flac"), dtype="int32")[0]
    return samples


def left_over(folder: Path, journal: str, before: str = "") -> Path:
    """What a killed server leaves of a take."""
    folder.mkdir(parents=True)
    (folder / takes.JOURNAL).write_text(journal)
    (folder / takes.BEFORE).write_bytes(gzip.compress(before.encode()))
    return folder


FIRST = '{"made_by": {}, "start": 0, "score": {"resolution": "block"}}\n'
MOVED = '{"at": 44100, "path": "/forget", "value": 0.5}\n'


def play_something(hand: Hand) -> None:
    for i in range(6):
        hand.done("/forget", i / 8)
        hand.done("/unit/2/3/strength", 1 - i / 6)
        hand.done("/chord", "C" if i % 2 else "")


def test_a_take_plays_again_to_the_same_samples(stage: Stage) -> None:
    with stage.hand() as hand:
        hand.done("/layer/1/forget", 0.25)
        hand.done("/rec/start")
        assert hand.set("/rec/start")["code"] == "not_now"
        hand.done("/play", 1)
        play_something(hand)
        hand.done("/mark", "here it goes")
        hand.done("/rec/stop")
        event = hand.until("event", what="take", did="kept")
        assert event["take"] == "take-001"
        assert event["takes"] == {"take-001": ["toml", "flac", "txt"]}
        hand.done("/forget", 0.9)
    take = stage.session.tapes.folder / "take-001.toml"
    paths = [change.path for change in load_score(take).changes]
    assert paths[:2] == ["/layer/1/forget", "/play"]
    assert "/mark" not in paths
    assert 0.9 not in [change.value for change in load_score(take).changes]
    np.testing.assert_array_equal(recorded(take), rendered(take))
    assert take.with_suffix(".txt").read_text().strip().endswith("\there it goes")
    assert read_provenance(take.with_suffix(".flac"))["memory"] == "fake"
    assert not list(stage.session.tapes.folder.glob("*.take"))
    for suffix in (".toml", ".flac", ".txt"):
        answer = httpx.get(f"{stage.http}/takes/take-001{suffix}")
        assert answer.content == take.with_suffix(suffix).read_bytes()


def test_a_take_that_begins_late_knows_what_went_before(stage: Stage) -> None:
    with stage.hand() as hand:
        hand.done("/play", 1)
        play_something(hand)
        hand.done("/rec/start")
        hand.done("/layer/1/forget", 0.5)
        hand.until("stats")
        hand.keep()
    take = stage.session.tapes.folder / "take-001.toml"
    heard, again = recorded(take), rendered(take)
    assert 1024 < len(heard) < len(again)
    np.testing.assert_array_equal(heard, again[-len(heard) :])


def test_a_page_that_goes_does_not_end_the_take(stage: Stage) -> None:
    with stage.hand() as hand:
        hand.done("/play", 1)
        hand.done("/rec/start")
    with stage.hand() as back:
        assert back.welcome["recording"] is True
        assert back.until("stats")["recording_s"] > 0
        back.keep()
        assert back.set("/rec/stop")["code"] == "not_now"


def test_the_end_of_the_server_completes_the_take(tmp_path: Path) -> None:
    with Stage(tmp_path / "takes") as stage, stage.hand() as hand:
        hand.done("/rec/start")
        hand.done("/play", 1)
        play_something(hand)
        stage.end()
        assert hand.until("bye")
    take = tmp_path / "takes" / "take-001.toml"
    np.testing.assert_array_equal(recorded(take), rendered(take))


def test_a_take_without_a_sound_is_none(stage: Stage) -> None:
    with stage.hand() as hand:
        hand.done("/rec/start")
        hand.done("/rec/stop")
        hand.until("event", what="take", did="failed")
    assert not list(stage.session.tapes.folder.iterdir())


KILLED = """
import sys, time
from pathlib import Path
from tests.live_stage import Stage
with Stage(Path(sys.argv[1])) as stage, stage.hand() as hand:
    hand.done("/rec/start")
    hand.done("/play", 1)
    for i in range(1000):
        hand.done("/forget", (i % 50) / 50)
        print(stage.session.player.at, flush=True)
"""


def test_a_killed_server_leaves_a_take_that_the_next_one_completes(tmp_path: Path) -> None:
    folder = tmp_path / "takes"
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(folder)], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent
    ) as process:
        assert process.stdout is not None
        at = 0
        while at < 2.5 * 44_100:
            at = int(process.stdout.readline())
        process.kill()
    assert (folder / "take-001.take").is_dir()
    with Stage(folder) as stage, stage.hand() as hand:
        assert "take-001 was completed" in hand.seen("notice", level="info")["text"]
        with stage.hand() as late:
            assert late.welcome["takes"] == {"take-001": ["toml", "flac"]}
    take = folder / "take-001.toml"
    heard, again = recorded(take), rendered(take)
    assert len(again) >= at - 44_100
    assert len(heard) >= at - 44_100
    length = min(len(heard), len(again))
    np.testing.assert_array_equal(heard[:length], again[:length])


def killed_take(folder: Path, lines: int | None = None) -> Path:
    """A take whose server is killed long before it is made safe; of its journal only some lines may be on the disk."""
    performance = FakePerformance(Score(memory="fake"), HOUSE.load("fake"))
    recorder = Recorder(folder, {}, LiveConfig(sync_s=3600.0), print, print, print)
    recorder.begin(performance.score, performance.log.copy(), 0, 0)
    recorder.start()
    for number in range(40):
        known = len(performance.log)
        performance.change("/forget", number / 40)
        for change in performance.log.since(known):
            recorder.change(change)
        samples = performance.next().samples
        recorder.sound(performance.position, samples)
    wait_for(lambda: recorder._track.written == performance.position)
    left = folder / "killed" / f"take-001{takes.OPEN}"
    shutil.copytree(folder / left.name, left)
    recorder.stop()
    recorder.join()
    journal = left / takes.JOURNAL
    journal.write_text("".join(journal.read_text().splitlines(keepends=True)[:lines]))
    return left


def test_all_that_sounds_of_a_killed_take_is_known(tmp_path: Path) -> None:
    left = killed_take(tmp_path)
    assert takes.recover([left]) == (["take-001"], [])
    take = left.with_suffix(".toml")
    assert len(load_score(take).changes) == 40
    again, heard = rendered(take), recorded(take)
    assert len(again) == 40 * 1024
    assert len(heard) > 30 * 1024  # the rest had not been packed yet
    np.testing.assert_array_equal(heard, again[: len(heard)])


def test_what_sounds_of_a_take_but_is_not_known_is_left_out(tmp_path: Path) -> None:
    """As after a power cut, when more of the sound than of the journal had come to the disk."""
    left = killed_take(tmp_path, lines=1 + 2 * 20)
    assert takes.recover([left]) == (["take-001"], [])
    take = left.with_suffix(".toml")
    np.testing.assert_array_equal(recorded(take), rendered(take))
    assert len(recorded(take)) == 20 * 1024


@pytest.mark.parametrize(
    "left", [[], [takes.LOCK], [takes.BEFORE], [takes.SOUND], [takes.BEFORE, takes.SOUND, takes.LOCK]]
)
def test_what_is_left_of_a_take_that_was_complete_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: list[str]
) -> None:
    folder = killed_take(tmp_path)
    takes.finish(folder)
    before = {path.name: path.read_bytes() for path in folder.parent.glob("take-001.*") if path.is_file()}
    assert set(before) == {"take-001.toml", "take-001.flac"}

    def killed(_: Path) -> None:
        for path in folder.iterdir():
            if path.name in {takes.BEFORE, takes.SOUND, takes.LOCK} - set(left):
                path.unlink()
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt), FileLock(folder / takes.LOCK) as lock:
        takes.Claim(folder, lock).remove()
    monkeypatch.undo()
    assert takes.recover([folder]) == (["take-001"], [])
    assert {path.name: path.read_bytes() for path in folder.parent.iterdir()} == before


@pytest.mark.parametrize("journal", [None, "", '{"made_by": {}, "sta', FIRST])
def test_a_take_killed_before_its_first_block_is_removed(tmp_path: Path, journal: str | None) -> None:
    left = left_over(tmp_path / "take-001.take", journal or "")
    if journal is None:
        (left / takes.JOURNAL).unlink()
    done, [told] = takes.recover([left])
    assert done == []
    assert told == "take-001.take held nothing and was removed: the server had been killed"
    assert not left.exists()


def test_a_take_that_another_server_makes_is_left_alone(stage: Stage) -> None:
    with stage.hand() as hand:
        hand.done("/play", 1)
        hand.done("/rec/start")
        wait_for((stage.session.tapes.folder / "take-001.take" / takes.SOUND).exists)
        left = takes.unfinished(stage.session.tapes.folder)
        assert [folder.name for folder in left] == ["take-001.take"]
        assert takes.recover(left) == ([], [])
        hand.keep()


def test_a_take_that_cannot_begin_is_told(stage: Stage) -> None:
    with stage.hand() as hand:
        stage.session.tapes.folder.rmdir()
        hand.done("/rec/start")
        hand.done("/play", 1)
        assert "could not be kept" in hand.seen("notice", level="warning")["text"]
        hand.seen("event", what="take", did="failed")
        stage.session.tapes.folder.mkdir()
        hand.done("/rec/start")
        hand.until("stats")
        hand.keep()


@pytest.mark.parametrize(
    "text",
    ["not json\n", '{"at": 3}\n', "[]\n", '{"score": {"seed": "x"}, "start": 0, "made_by": {}}\n{"until": 9}\n'],
)
def test_a_damaged_journal_is_kept_and_told(tmp_path: Path, text: str) -> None:
    left = tmp_path / "takes" / "take-004.take"
    left.mkdir(parents=True)
    (left / takes.JOURNAL).write_text(text)
    with Stage(tmp_path / "takes") as stage, stage.hand() as hand:
        assert "take-004.take could not be completed" in hand.seen("notice")["text"]
        assert hand.welcome["takes"] == {}
    assert left.is_dir()
    assert takes.unused(tmp_path / "takes") == "take-001"


@pytest.mark.parametrize(
    ("journal", "before"),
    [
        *((f"{text}\n", "") for text in ("[]", "3", "null", '"x"', "[" * 100_000, "{}", '{"start": 0}')),
        *((f"{FIRST}{text}\n{MOVED}", "") for text in ("[]", "7", "null", "[" * 100_000, "half a li")),
        (FIRST + '{"until": "late"}\n', ""),
        (FIRST + '{"until": 1' + "0" * 400 + "}\n", ""),
        (FIRST + '{"until": 1e400}\n', ""),
        (FIRST + '{"until": -5}\n', ""),
        (FIRST + '{"at": -44100, "path": "/forget", "value": 0.5}\n', ""),
        (FIRST + '{"at": 1, "path": "/forget", "value": null}\n', ""),
        (FIRST + '{"at": 1, "path": "/forget", "value": 7}\n{"until": 9}\n', ""),
        (FIRST + '{"at": 1, "path": "/no/such", "value": 0}\n{"until": 9}\n', ""),
        (FIRST + '{"at": 1, "mark": "two\\nlines"}\n', ""),
        ('{"made_by": [], "start": 0, "score": {}}\n', ""),
        ('{"made_by": {}, "start": 0, "score": {"seed": -1}}\n{"until": 9}\n', ""),
        (FIRST + '{"until": 9}\n', "[]\n"),
        (FIRST + '{"until": 9}\n', "[" * 100_000 + "\n"),
        (FIRST + '{"until": 9}\n', '{"at": "x", "path": "/forget", "value": 0}\n'),
    ],
)
def test_a_damaged_take_is_named_and_left_and_the_others_are_completed(
    tmp_path: Path, journal: str, before: str
) -> None:
    bad = left_over(tmp_path / "take-001.take", journal, before)
    good = left_over(tmp_path / "take-002.take", FIRST + MOVED + '{"until": 88200}\n{"unt')
    kept = {path.name: path.read_bytes() for path in bad.iterdir()}
    done, [told] = takes.recover([bad, good])
    assert done == ["take-002"]
    assert told.startswith("take-001.take could not be completed (")
    assert len(told) < 2000
    assert {path.name: path.read_bytes() for path in bad.iterdir() if path.name != takes.LOCK} == kept
    assert not good.exists()
    assert load_score(tmp_path / "take-002.toml").played_s == 2.0


@pytest.mark.parametrize("kind", ["text", "WAV", "mono", "16 bits", "a film without sound"])
def test_a_take_whose_sound_is_none_is_completed_without_it(tmp_path: Path, kind: str) -> None:
    left = left_over(tmp_path / "take-001.take", FIRST + MOVED + '{"until": 88200}\n')
    sound, quiet = left / takes.SOUND, np.zeros((4410, 2), dtype=np.float32)
    if kind == "text":
        sound.write_text("no sound")
    elif kind == "WAV":
        soundfile.write(sound, quiet, 44_100, takes.SUBTYPE, format="WAV")
    elif kind == "mono":
        soundfile.write(sound, quiet[1:, 0], 44_100, takes.SUBTYPE)
    elif kind == "16 bits":
        soundfile.write(sound, quiet, 44_100, "PCM_16")
    else:
        with av.open(sound, "w", format="mp4") as film:
            pictures = film.add_stream("mpeg4", 10, width=16, height=16)
            film.mux(pictures.encode(av.VideoFrame(16, 16)))
            film.mux(pictures.encode(None))
    assert takes.recover([left]) == (["take-001"], [])
    assert takes.listed(tmp_path) == {"take-001": ["toml"]}


def test_a_server_starts_whatever_lies_in_its_takes(tmp_path: Path) -> None:
    folder = tmp_path / "takes"
    left_over(folder / "take-001.take", FIRST + "[]\n")
    (folder / "take-002.take").write_text("a file")
    (folder / "take-003.take").mkdir()
    left_over(folder / "take-004.take", "")
    (folder / "take-005.toml").mkdir()
    with Stage(folder) as stage, stage.hand() as hand:
        for name in ("take-001.take could not", "take-002.take could not", "take-003.take held nothing"):
            while not any(name in str(message.get("text")) for message in hand.heard):
                hand.next()
        hand.until("notice")
        assert hand.welcome["takes"] == {}
        hand.done("/play", 1)
    assert sorted(path.name for path in folder.iterdir()) == ["take-001.take", "take-002.take", "take-005.toml"]


def test_marks_before_the_first_block_are_kept(stage: Stage) -> None:
    with stage.hand() as hand:
        hand.done("/rec/start")
        hand.done("/mark", "it begins")
        hand.done("/play", 1)
        hand.seen("event", what="take", did="recording")
        hand.keep()
    assert (stage.session.tapes.folder / "take-001.txt").read_text().endswith("\tit begins\n")


def test_every_take_that_was_recorded_is_kept(stage: Stage) -> None:
    """Two press Record and Stop, as fast as they can."""
    with stage.hand() as one, stage.hand() as two:
        one.done("/play", 1)
        for number in range(3):
            for hand, path in ((one, "/rec/start"), (two, "/rec/stop"), (two, "/rec/start"), (one, "/rec/stop")):
                hand.send({"type": "set", "path": path, "args": [], "id": 1000 + number})
        one.done("/ping")
        two.done("/ping")
        if stage.session.tapes.recorder is not None:
            one.done("/rec/stop")
        wait_for(lambda: not stage.session.tapes.finishing)
        one.done("/ping")
        told = [message for message in one.heard if message.get("what") == "take"]
        names = {did: sorted(m["take"] for m in told if m["did"] == did) for did in ("recording", "kept", "failed")}
        assert names["recording"] == names["kept"] != []
        assert not names["failed"]
        assert told[-1]["recording"] is False
    assert sorted(takes.listed(stage.session.tapes.folder)) == names["kept"]
    assert not takes.unfinished(stage.session.tapes.folder)


def test_two_servers_may_keep_their_takes_in_one_folder(tmp_path: Path) -> None:
    with Stage(tmp_path / "takes") as one, Stage(tmp_path / "takes") as two, one.hand() as left, two.hand() as right:
        for hand in (left, right):
            hand.done("/play", 1)
            hand.done("/rec/start")
        names = {hand.seen("event", what="take", did="recording")["take"] for hand in (left, right)}
        assert names == {"take-001", "take-002"}
        assert takes.recover(takes.unfinished(tmp_path / "takes")) == ([], [])
        left.keep()
        right.keep()
    assert set(takes.listed(tmp_path / "takes")) == names


def test_names_of_takes_do_not_collide(tmp_path: Path) -> None:
    (tmp_path / "take-002.flac").touch()

    def claim(_: int) -> str:
        with takes.claimed(tmp_path) as claim:
            (claim.folder / takes.JOURNAL).write_text(FIRST + MOVED)
            return claim.folder.stem

    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(claim, range(24)))
    assert len(set(names)) == 24
    assert "take-002" not in names


def test_the_beginning_is_on_the_disk_when_recording_is_said(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    safe: list[bytes] = []
    began = Tapes._began

    def noted(self: Tapes, name: str) -> None:
        safe.append((self.folder / f"{name}.take" / takes.JOURNAL).read_bytes())
        began(self, name)

    monkeypatch.setattr(Tapes, "_began", noted)
    with stage.hand() as hand:
        hand.done("/rec/start")
        hand.done("/play", 1)
        hand.seen("event", what="take", did="recording")
        hand.keep()
    assert safe[0].startswith(b'{"made_by":')


def test_a_recorder_that_fails_keeps_what_it_has_and_lets_go(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError("of our own making")

    with stage.hand() as hand:
        hand.done("/rec/start")
        hand.done("/play", 1)
        hand.seen("event", what="take", did="recording")
        hand.until("stats")
        recorder = stage.session.tapes.recorder
        assert recorder is not None
        with monkeypatch.context() as patched:
            patched.setattr(recorder, "_write_sound", fail)
            assert "ZeroDivisionError" in hand.seen("notice", level="warning")["text"]
            hand.until("event", what="take", did="kept", recording=False)
        recorder.join()
        before = recorder._items.qsize()
        recorder.sound(5, np.zeros((4, 2), dtype=np.float32))
        assert recorder._items.qsize() == before
        hand.done("/rec/start")
        hand.seen("event", what="take", did="recording")
        hand.keep()
    take = stage.session.tapes.folder / "take-001.toml"
    heard, again = recorded(take), rendered(take)
    np.testing.assert_array_equal(heard, again[: len(heard)])


def test_what_waits_for_the_disk_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorders, "TAKE_WAITING", replace(TAKE_WAITING, most=50))
    ends: list[bool] = []
    said: list[str] = []
    recorder = Recorder(tmp_path, {}, LiveConfig(take_waiting_s=1e-3), said.append, said.append, ends.append)
    recorder.begin(Score(memory="fake", resolution="block"), Log(), 0, 0)
    for number in range(1, 500):
        recorder.sound(64 * number, np.full((64, 2), 0.25, dtype=np.float32))
    assert recorder._items.qsize() <= 51
    recorder.start()
    recorder.join()
    assert said[0] == "take-001"
    assert "too slow" in said[1]
    assert "50" in said[2]
    assert ends == [True]
    assert load_score(tmp_path / "take-001.toml").played_s == pytest.approx(49 * 64 / 44_100)


def test_what_may_not_come_while_a_take_loads_or_replays_is_refused(tmp_path: Path) -> None:
    go = threading.Event()

    def perform(score: Score, memory: Any) -> Any:
        assert score.played_s is None or go.wait(PATIENCE_S)
        return FakePerformance(score, memory)

    with Stage(tmp_path / "takes", House(HOUSE.memories, HOUSE.load, perform)) as stage, stage.hand() as hand:
        hand.done("/play", 1)
        hand.done("/bank/1/store")
        hand.done("/rec/start")
        hand.until("stats")
        hand.until("stats")
        hand.keep()
        hand.done("/replay", "take-001")
        assert "take-001 is loading" in hand.refused("not_now", "/rec/start")
        assert "take-001 is loading" in hand.refused("not_now", "/memory", "small")
        go.set()
        hand.until("welcome", state="replaying")
        assert "replaying" in hand.refused("not_now", "/memory", "small")
        assert "replaying" in hand.refused("not_now", "/bank/1/arm")
        assert "replaying" in hand.refused("not_now", "/rec/start")
        hand.done("/replay", "")
        assert hand.seen("welcome")["memory"]["units"] == 48
        assert hand.done("/bank/1/fire")


@pytest.mark.parametrize("text", ["a = " + "[" * 10_000, '[[changes]]\nat = 1e400\npath = "/forget"\n', "a = 1\n"])
def test_a_damaged_take_is_refused_from_the_page_as_by_the_command(stage: Stage, text: str) -> None:
    take = stage.session.tapes.folder / "take-001.toml"
    take.write_text(text)
    with stage.hand() as hand:
        for _ in range(2):  # nothing loads for ever
            hand.done("/replay", "take-001")
            assert "plays on" in hand.until("notice", level="warning")["text"]
            hand.done("/ping")
        said = CliRunner().invoke(main, ["render", str(take), "-o", str(take.with_name("again.wav"))])
        assert said.exit_code == 2
        assert hand.seen("notice", level="warning")["text"].split(";")[0] in said.output.replace("\n", " ")


def test_work_that_is_ended_before_it_begins_does_not_begin(tmp_path: Path) -> None:
    work = Aside(Path.touch, tmp_path / "done")
    work.end()
    with pytest.raises(OutputError, match="before it began"):
        work.result()
    assert not (tmp_path / "done").exists()


def test_what_goes_wrong_aside_is_a_line(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="FileNotFoundError"):
        aside(Path.read_text, tmp_path / "none")


def test_a_full_disk_ends_the_sound_and_not_the_take(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    with stage.hand() as hand:
        hand.done("/rec/start")
        hand.done("/play", 1)
        hand.until("stats")

        def full(*_: Any) -> None:
            raise soundfile.LibsndfileError(2)

        with monkeypatch.context() as patched:
            patched.setattr(soundfile.SoundFile, "write", full)
            assert "what is played is still kept" in hand.seen("notice", level="warning")["text"]
        hand.done("/forget", 0.75)
        hand.until("stats")
        hand.keep()
    take = stage.session.tapes.folder / "take-001.toml"
    heard, again = recorded(take), rendered(take)
    assert 0 < len(heard) < len(again)
    np.testing.assert_array_equal(heard, again[: len(heard)])
    assert load_score(take).changes[-1].value == 0.75


def test_a_journal_waits_until_there_is_room(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    with stage.hand() as hand:
        hand.done("/rec/start")
        hand.done("/play", 1)
        hand.until("stats")

        def full(_: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", full)
            assert "the disk is full" in hand.seen("notice", level="warning")["text"]
            hand.done("/forget", 0.625)
            hand.until("stats")
        hand.keep()
    take = stage.session.tapes.folder / "take-001.toml"
    assert [change.value for change in load_score(take).changes].count(0.625) == 1
    np.testing.assert_array_equal(recorded(take), rendered(take))


def test_work_aside_returns_raises_or_is_missed(tmp_path: Path) -> None:
    (tmp_path / "take.toml").write_text("seed = 5\n")
    assert aside(load_score, tmp_path / "take.toml").seed == 5
    with pytest.raises(InputError, match="no such score"):
        aside(load_score, tmp_path / "none.toml")
    with pytest.raises(OutputError, match="was ended"):
        aside(os._exit, 3)


def test_another_memory_ends_the_take(stage: Stage) -> None:
    with stage.hand() as hand:
        hand.done("/play", 1)
        hand.done("/rec/start")
        hand.until("stats")
        hand.done("/memory", "small")
        assert hand.until("welcome")["recording"] is False
        hand.seen("event", what="take", did="kept")
        hand.done("/rec/start")
        hand.done("/layer/2/forget", 1.0)
        hand.until("stats")
        hand.done("/layer/2/forget", 0.5)
        hand.until("stats")
        hand.keep()
    take = stage.session.tapes.folder / "take-002.toml"
    assert load_score(take).memory == "small"
    heard, again = recorded(take), rendered(take)
    np.testing.assert_array_equal(heard, again[-len(heard) :])


def test_what_a_score_changes_by_itself_is_part_of_the_take(stage: Stage) -> None:
    """Its own changes come at their times, as those of hands do."""
    with stage.hand() as hand:
        hand.done("/play", 1)
        stage.session.player.do(lambda: stage.performance.change("/layer/1/forget", 0.5))
        hand.done("/rec/start")
        hand.until("stats")
        stage.session.player.do(lambda: stage.performance.change("/layer/2/forget", 1.0))
        hand.until("stats")
        hand.keep()
    take = stage.session.tapes.folder / "take-001.toml"
    assert [change.path for change in load_score(take).changes] == ["/play", "/layer/1/forget", "/layer/2/forget"]
    heard, again = recorded(take), rendered(take)
    np.testing.assert_array_equal(heard, again[-len(heard) :])


def test_a_late_take_of_a_long_night_holds_nothing_up(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """What went before is turned into a score by another process."""

    def made_here(*_: Any) -> None:
        raise AssertionError("the clock had to wait for this")

    with stage.hand() as hand:
        hand.done("/play", 1)

        def much() -> None:
            for i in range(20_000):
                stage.performance.log.add(0, "/forget", i / 20_000)

        stage.session.player.do(much)
        with monkeypatch.context() as patched:
            patched.setattr(takes, "taken", made_here)
            hand.done("/rec/start")
            hand.until("stats")
            hand.keep()
    assert len(load_score(stage.session.tapes.folder / "take-001.toml").changes) > 20_000


def test_a_take_is_replayed_and_then_all_is_as_before(stage: Stage) -> None:
    with stage.hand() as hand:
        hand.done("/play", 1)
        hand.done("/rec/start")
        hand.done("/forget", 0.75)
        hand.until("stats")
        hand.keep()
        hand.done("/forget", 0.125)
        hand.done("/replay", "take-001")
        assert hand.until("welcome")["state"] == "replaying"
        assert hand.set("/forget", 0.5)["code"] == "not_now"
        assert hand.set("/undo")["code"] == "not_now"
        back = hand.until("welcome")
        assert back["state"] == "playing"
        assert back["values"]["/forget"] == 0.125
        hand.done("/undo")
        assert hand.seen("patch", by="undo")["changes"]["/forget"] in {0.0, 0.75}
        hand.done("/replay", "take-001")
        hand.until("welcome")
        hand.done("/replay", "")
        assert hand.seen("welcome")["state"] == "playing"


def test_a_take_of_a_memory_of_another_hop_is_replayed_while_this_one_plays(
    tmp_path: Path, tiny_generator: Generator, tiny_header: MemoryHeader
) -> None:
    memories = {
        name: Memory(tiny_generator, tiny_header.model_copy(update={"name": name, "mel": MelSpec(hop=hop)}))
        for name, hop in {"fake": 512, "other": 256}.items()
    }

    def perform(score: Score, memory: Any) -> Any:
        plain = {"order": "random", "pace": "linear", "to": 0.0}
        asked = score if score.played_s is not None else score.model_copy(update={"forgetting": Forgetting(**plain)})
        return Performance(asked.model_copy(update={"quality": "live"}), memory)

    house = House(tuple(memories), memories.__getitem__, perform)
    with Stage(tmp_path / "takes", house, buffer_ms=2000.0) as stage, stage.hand() as hand, Ear(stage) as ear:

        def loudest(blocks: int = 40) -> float:
            return max(float(np.abs(ear.block()[3]).max()) for _ in range(blocks))

        hand.done("/play", 1)
        hand.done("/memory", "other")
        hand.until("notice", text="memory other plays")
        hand.done("/rec/start")
        hand.done("/forget", 0.25)
        hand.until("stats")
        hand.keep()
        hand.done("/memory", "fake")
        hand.until("notice", text="memory fake plays")
        assert loudest() > 0
        hand.done("/replay", "take-001")
        assert hand.until("welcome", state="replaying")["memory"]["name"] == "other"
        assert hand.until("welcome")["memory"]["name"] == "fake"
        at = ear.block()[1]
        assert loudest() > 0
        assert ear.block()[1] > at
        assert stage.session.player.is_alive()
        assert not [one for one in hand.heard if one["type"] == "notice" and one["level"] == "warning"]
        hand.done("/forget", 0.5)


@pytest.fixture
def kept(stage: Stage) -> Stage:
    """Return a stage with a take."""
    with stage.hand() as hand:
        hand.done("/rec/start")
        hand.done("/play", 1)
        hand.until("stats")
        hand.keep()
    return stage


def test_a_take_is_rendered_beside_what_plays(kept: Stage) -> None:
    with kept.hand() as hand, Ear(kept) as ear:
        hand.refused("bad_value", "/render", "../take-001")
        hand.done("/render", "take-001")
        assert hand.seen("event", what="take", did="rendering")["share"] == 0.25
        assert "one at a time" in hand.refused("not_now", "/render", "take-001")
        with kept.hand() as late:
            assert late.welcome["rendering"] == "take-001"
        assert ear.block()[3].any()
        (kept.session.tapes.folder / "go").touch()
        done = hand.until("event", what="take", did="rendered")
        assert done["takes"] == {"take-001": ["toml", "flac", "wav"]}
        assert httpx.get(f"{kept.http}/takes/take-001.wav").content == b"finer"
        assert "there already" in hand.refused("not_now", "/render", "take-001")


def test_a_take_that_cannot_be_rendered_can_be_asked_for_again(kept: Stage) -> None:
    with kept.hand() as hand:
        (kept.session.tapes.folder / "no").touch()
        hand.done("/render", "take-001")
        hand.until("event", what="take", did="not rendered")
        assert "the disk is full" in hand.seen("notice", level="warning")["text"]
        (kept.session.tapes.folder / "no").unlink()
        (kept.session.tapes.folder / "go").touch()
        hand.done("/render", "take-001")
        hand.until("event", what="take", did="rendered")


def test_a_server_that_ends_does_not_wait_for_a_render(kept: Stage) -> None:
    with kept.hand() as hand:
        hand.done("/render", "take-001")
        hand.seen("event", what="take", did="rendering")
        kept.end()
        assert hand.seen("event", what="take", did="not rendered")["takes"] == {"take-001": ["toml", "flac"]}


def test_a_take_rendered_from_the_page_is_the_commands_finer_one(tmp_path: Path, tiny_path: Path) -> None:
    performance = Performance(Score(memory=str(tiny_path), quality="live"), Memory.load(tiny_path))
    for number in range(60):
        performance.change("/forget", number / 60)
        if number == 30:
            performance.change("/quality", "draft")
        performance.next()
    take = tmp_path / "take-001.toml"
    take.write_text(dump_score(performance.take()))
    shares: list[float] = []
    takes.render_finer(take, shares.append)
    assert shares == sorted(set(shares))
    assert (shares[0], shares[-1] > 0.9) == (0.0, True)
    words = ["render", str(take), "-o", str(tmp_path / "again.wav"), "--quality", "final"]
    assert CliRunner().invoke(main, words).exit_code == 0
    ours, theirs = (soundfile.read(tmp_path / name)[0] for name in ("take-001.wav", "again.wav"))
    np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(InputError, match="exists"):
        takes.render_finer(take, shares.append)


def test_ctrl_c_keeps_the_take(tmp_path: Path, tiny_path: Path) -> None:
    command = "from fugue_state.cli import main; main()"
    words = ["play", tiny_path, "--port", "0", "--no-osc", "--takes", tmp_path / "takes", "--buffer", "2000"]
    process = subprocess.Popen([sys.executable, "-c", command, *map(str, words)], stderr=subprocess.PIPE, text=True)
    with process, contextlib.ExitStack() as stack:
        stack.callback(process.kill)
        assert process.stderr is not None
        where = process.stderr.readline().split(" at ")[1].split()[0]
        hand = stack.enter_context(Hand(where.replace("http", "ws").rstrip("/"), hello={"name": "one"}))
        assert hand.welcome["memory"]["name"] == "tiny"
        hand.done("/rec/start")
        hand.done("/play", 1)
        hand.done("/forget", 0.5)
        hand.until("stats")
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        hand.until("bye")
        assert process.wait(20) == 0
        assert process.stderr.read().strip() == "ended"
    score = load_score(tmp_path / "takes" / "take-001.toml")
    # A busy machine rests, or steps its quality down.
    done = [change.path for change in score.changes if change.path not in {REST, QUALITY}]
    assert done == ["/volume", "/play", "/forget"]
    assert len(recorded(tmp_path / "takes" / "take-001.toml")) == score.samples


def refuse_with(held: str) -> None:
    """Raise an error that holds what no other process can have."""
    error = InputError("seed: must be a number")
    vars(error)["held"] = (lambda: held) if held else threading.Lock()
    raise error


@pytest.mark.parametrize("held", ["a function", ""])
def test_what_an_error_aside_says_is_not_lost(held: str) -> None:
    with pytest.raises(InputError, match="seed: must be a number"):
        aside(refuse_with, held)


def test_the_volume_to_start_with_is_in_every_take(
    tmp_path: Path, tiny_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def perform(score: Score, memory: Any) -> Any:
        plain = {"order": "random", "pace": "linear", "to": 0.0}
        return Performance(score.model_copy(update={"forgetting": Forgetting(**plain), "quality": "live"}), memory)

    house = House((str(tiny_path),), lambda _: Memory.load(tiny_path), perform)
    with Stage(tmp_path / "takes", house, volume=LiveConfig().volume) as stage, stage.hand() as hand:
        assert hand.welcome["values"]["/volume"] == 1.0
        hand.done("/rec/start")
        hand.done("/play", 1)
        hand.until("stats")
        hand.keep()
    take = tmp_path / "takes" / "take-001.toml"
    first = load_score(take).changes[0]
    assert (first.at, first.path, first.value) == (0.0, "/volume", 1.0)
    take.write_text(take.read_text().replace('memory = "fake"', f'memory = "{tiny_path}"'))
    score = load_score(take)
    again = np.concatenate([one.samples for one in played(Piece(score, Memory.load(tiny_path)))])[: score.samples]
    beside = tmp_path / "again.flac"
    soundfile.write(beside, again, 44_100, "PCM_24")
    np.testing.assert_array_equal(soundfile.read(beside, dtype="int32")[0], recorded(take))


@pytest.fixture
def late(tmp_path: Path, tiny_path: Path) -> Path:
    """Return a take of a real memory, recorded some time after it began to play."""

    def perform(score: Score, memory: Any) -> Any:
        plain = {"order": "random", "pace": "linear", "to": 0.0}
        return Performance(score.model_copy(update={"forgetting": Forgetting(**plain), "quality": "live"}), memory)

    house = House((str(tiny_path),), lambda _: Memory.load(tiny_path), perform)
    with Stage(tmp_path / "takes", house) as stage, stage.hand() as hand:
        hand.done("/play", 1)
        hand.until("stats")
        hand.done("/forget", 0.25)
        hand.until("stats")
        hand.done("/rec/start")
        hand.seen("event", what="take", did="recording")
        hand.until("stats")
        hand.keep()
    return tmp_path / "takes" / "take-001.toml"


def test_a_render_may_start_where_the_recording_began(late: Path, tiny_path: Path) -> None:
    score = load_score(late)
    assert score.recorded_from_s is not None
    assert score.recorded_from_s > 0.5
    words = ["render", str(late), "-m", str(tiny_path), "-o"]
    whole, part = late.with_name("whole.wav"), late.with_name("part.wav")
    for more in ([str(whole)], [str(part), "--from-record"]):
        done = CliRunner().invoke(main, [*words, *more])
        assert done.exit_code == 0, done.output
    assert "fugue film" not in done.stderr
    heard = soundfile.read(part, dtype="int32")[0]
    np.testing.assert_array_equal(heard, soundfile.read(whole, dtype="int32")[0][-len(heard) :])
    np.testing.assert_allclose(heard, recorded(late), atol=256)  # both are rounded to 24 bits, each in its way
    assert len(heard) == score.samples - round(score.recorded_from_s * 44_100)
    assert json.loads(part.with_suffix(".json").read_text())["measured"]["duration_s"] == round(len(heard) / 44_100, 3)
    assert part.with_suffix(".png").is_file()
    filmed = CliRunner().invoke(main, ["film", str(part), "-m", str(tiny_path)])
    assert filmed.exit_code == 2
    assert "render it without --from, --until and --from-record" in filmed.stderr
    never = CliRunner().invoke(main, [*words, str(late.with_name("b.wav")), "--from-record", "--film", "b.mp4"])
    assert never.exit_code == 2
    assert "do not go with --film" in never.stderr


def test_what_was_not_recorded_cannot_start_there(tmp_path: Path, tiny_path: Path) -> None:
    score = tmp_path / "piece.toml"
    score.write_text(f'memory = "{tiny_path}"\n', encoding="utf-8")
    done = CliRunner().invoke(main, ["render", str(score), "-o", str(tmp_path / "a.wav"), "--from-record"])
    assert done.exit_code == 2
    assert "says where its recording began" in done.stderr
    assert not list(tmp_path.glob("a.*"))
    for wrong in ({"recorded_from_s": 1.0}, {"recorded_from_s": 3.0, "played_s": 3.0, "resolution": "block"}):
        with pytest.raises(InputError, match="recorded_from_s"):
            checked(Score, wrong)


@pytest.mark.parametrize("own", [{"played_s": 1.0}, {"changes": [{"at": 0.5, "path": "/volume", "value": 0.5}]}])
def test_a_take_that_is_played_on_keeps_its_volume(tmp_path: Path, own: dict[str, Any]) -> None:
    stage = Stage(tmp_path / "takes", volume=1.0)
    stage.server._score = checked(Score, {"memory": "fake", "resolution": "block", **own})
    with stage, stage.hand() as hand:
        assert hand.welcome["values"]["/volume"] == 0.25
