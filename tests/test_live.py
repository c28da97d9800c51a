"""The live server, over its real sockets, on a test double of the engine."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from fugue_state.config import LiveConfig
from fugue_state.live.audio import BlockClock
from fugue_state.live.programme import House
from fugue_state.score.model import Score

from .fake_performance import FakePerformance
from .live_stage import HOUSE, Ear, Stage, strengths, wait_for


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with Stage(tmp_path / "takes") as opened:
        yield opened


def test_someone_who_comes_is_told_all_there_is(stage: Stage) -> None:
    with stage.hand() as hand:
        told = hand.welcome
        assert told["memory"] == {
            "name": "fake", "layers": [["deconv1", 32], ["deconv2", 16]], "chords": ["Am", "C", "G"], "units": 48,
            "keys": ["C", "C", "C", "C", "G", "G", "G", "G", "G", "Am", "Am", "C"],
        }  # fmt: skip
        assert told["state"] == "armed"
        assert told["values"]["/play"] == 0
        assert strengths(told["grid"]["strengths"]) == strengths(told["grid"]["brushed"]) == [255] * 48
        assert {"path": "/forget", "kind": "float", "min": 0, "max": 1, "default": 0}.items() <= told["tree"][0].items()
        assert told["resumed"] is False
        assert told["latency_samples"] == 22_050


def test_a_change_is_answered_told_and_heard(stage: Stage) -> None:
    with stage.hand(name="one") as one, stage.hand(name="two") as two, Ear(stage) as ear:
        one.done("/play", 1)
        first = ear.block()
        assert first[0] == 44_100
        ack = one.done("/layer/1/forget", 1.0)
        patch = two.until("patch", rev=ack["rev"])
        assert patch["by"] == "one"
        assert patch["at_sample"] == ack["at_sample"]
        assert patch["changes"]["/layer/1/forget"] == 1.0
        assert strengths(patch["changes"]["/strengths/1"]) == [0] * 32
        assert not {"/strengths/2", "/grid/1"} & set(patch["changes"])
        before = after = first
        while after[2] < ack["at_sample"]:
            before, after = after, ear.block()
        assert after[2] == ack["at_sample"]
        assert np.abs(after[3]).max() < 0.9 * np.abs(before[3]).max()
        assert two.until("event", what="forgotten")["units"] == list(range(1, 33))


def test_what_brushes_left_is_told_apart_from_what_faders_leave_of_it(stage: Stage) -> None:
    with stage.hand() as hand:
        hand.done("/grid/2", base64.b64encode(bytes([51] * 16)).decode())
        hand.done("/layer/2/forget", 0.5)
        changes = hand.seen("patch", rev=2)["changes"]
        assert "/grid/2" not in changes
        assert set(strengths(changes["/strengths/2"])) == {26}
        assert stage.session.value("/unit/2/3/strength") == pytest.approx(0.2)
        hand.done("/unit/2/3/strength", 1.0)
        changes = hand.seen("patch", rev=3)["changes"]
        assert strengths(changes["/grid/2"])[1:4] == [51, 255, 51]
        assert strengths(changes["/strengths/2"])[1:4] == [26, 128, 26]
        with stage.hand() as other:
            assert strengths(other.welcome["grid"]["brushed"])[32:35] == [51, 51, 255]
            assert strengths(other.welcome["grid"]["strengths"])[32:35] == [26, 26, 128]


def test_what_a_score_forgets_by_itself_is_told_to_those_who_do_nothing(stage: Stage) -> None:
    with stage.hand() as hand:
        hand.done("/play", 1)
        stage.performance.change("/layer/1/forget", 1.0)  # as a plan does: nobody asked
        patch = hand.until("patch", by="score")
        while "/strengths/1" not in patch["changes"]:
            patch = hand.until("patch", by="score")
        assert strengths(patch["changes"]["/strengths/1"]) == [0] * 32
        stage.performance.change("/grid/2", bytes(16))
        hand.until("patch", by="score")
        wait_for(lambda: not stage.session.part.units.brushed[32:].any())
        hand.done("/unit/2/1/strength", 1.0)
        hand.done("/undo")
        assert stage.performance.brushed[32] == 0.0


def test_a_session_that_cannot_be_opened_ends_whatever_the_reason(tmp_path: Path) -> None:
    def load(_: str) -> Any:
        raise ZeroDivisionError("of our own making")

    with Stage(tmp_path / "takes", House(("fake",), load, FakePerformance)) as stage:
        wait_for(lambda: stage.server.should_exit)
        assert [str(problem) for problem in stage.server.problems] == ["of our own making"]


def test_nothing_plays_before_it_is_asked_for(stage: Stage) -> None:
    with stage.hand() as hand, Ear(stage) as ear:
        assert hand.done("/forget", 0.5)["at_sample"] == 0
        with pytest.raises(TimeoutError):
            ear.block(timeout=0.2)
        hand.done("/play", 1)
        assert ear.block()[2] == 0


def test_a_listener_gets_no_more_than_the_credit(stage: Stage) -> None:
    with stage.hand() as hand, Ear(stage, credit=3) as ear, Ear(stage, form="pcm16") as other:
        hand.done("/play", 1)
        blocks = [ear.block() for _ in range(3)]
        with pytest.raises(TimeoutError):
            ear.block(timeout=0.3)
        assert [(block[1], block[2]) for block in blocks] == [(0, 0), (1, 1024), (2, 2048)]
        same = [other.block() for _ in range(3)]
        for block, rough in zip(blocks, same, strict=True):
            assert rough[2] == block[2]
            assert np.abs(rough[3] - block[3]).max() <= 0.5 / 32_767 + 1e-7
        ear.socket.send('{"type": "credit", "blocks": 1}')
        assert ear.block()[1] == 3


@pytest.mark.parametrize(
    ("code", "path", "args"),
    [
        ("unknown_path", "/../../etc/passwd", []),
        ("unknown_path", "/layer/x/forget", []),
        ("bad_value", "/forget", [1.5]),
        ("bad_value", "/forget", []),
        ("bad_value", "/forget", ["much"]),
        ("bad_value", "/layer/9/forget", [0.5]),
        ("bad_value", "/unit/1/33/strength", [0.5]),
        ("bad_value", "/grid/1", ["AAAA"]),
        ("bad_value", "/grid/1", ["!"]),
        ("bad_value", "/meter/peak", [1]),
        ("bad_value", "/memory", ["../../secret"]),
        ("bad_value", "/replay", ["../../secret"]),
        ("not_now", "/bank/3/fire", []),
        ("not_now", "/bank/3/arm", []),
        ("not_now", "/ab", [0.5]),
        ("not_now", "/undo", []),
        ("not_now", "/redo", []),
        ("not_now", "/rec/stop", []),
        ("not_now", "/replay", [""]),
    ],
)
def test_what_cannot_be_is_refused_with_a_reason(stage: Stage, code: str, path: str, args: list[object]) -> None:
    with stage.hand() as hand:
        assert hand.refused(code, path, *args)
        assert hand.done("/ping")


def test_watchers_see_and_cannot_set(stage: Stage) -> None:
    with stage.hand(name="one") as one, stage.hand(name="two") as two, stage.hand(view=True) as watcher:
        assert watcher.welcome["view"] is True
        watcher.refused("view_only", "/forget", 0.5)
        watcher.refused("view_only", "/rec/start")
        one.done("/layer/1/forget", 0.25)
        two.done("/layer/2/forget", 0.75)
        for hand in (one, two, watcher):
            hand.done("/ping") if hand is not watcher else None
            patches = [m for m in hand.heard if m["type"] == "patch"] or [hand.until("patch"), hand.until("patch")]
            assert [patch["by"] for patch in patches] == ["one", "two"]


def test_of_one_path_the_newest_value_wins_and_all_are_answered(stage: Stage) -> None:
    with stage.hand() as hand:
        hand.done("/play", 1)
        for number in range(1000, 1200):
            hand.send({"type": "set", "path": "/forget", "args": [(number - 1000) / 199], "id": number})
        acks = {hand.until("ack", id=number)["at_sample"] for number in range(1000, 1200)}
        assert len(acks) < 100
        assert stage.session.values["/forget"] == 1.0
        assert stage.session.player.stats["superseded"] >= 100


def test_undo_brings_back_a_gesture_and_redo_does_it_again(stage: Stage) -> None:
    with stage.hand() as hand:
        for k in range(1, 5):
            hand.done(f"/unit/1/{k}/strength", 0.0)
        hand.done("/layer/2/forget", 0.3)
        hand.done("/layer/2/forget", 0.6)
        hand.done("/recall")
        performance = stage.performance
        assert (performance.strengths == 1).all()
        hand.done("/undo")
        assert performance.values["/layer/2/forget"] == 0.6
        assert performance.strengths[:5].tolist() == [0, 0, 0, 0, 1]
        hand.done("/undo")
        assert performance.values["/layer/2/forget"] == 0.0
        hand.done("/undo")
        assert (performance.strengths == 1).all()
        for _ in range(2):
            hand.done("/redo")
        assert performance.values["/layer/2/forget"] == 0.6
        assert performance.strengths[:5].tolist() == [0, 0, 0, 0, 1]
        hand.done("/layer/1/forget", 0.5)
        hand.refused("not_now", "/redo")
        assert {m["by"] for m in hand.heard if m["type"] == "patch"} == {"someone", "undo", "redo"}


def test_a_bank_is_fired_at_once_or_over_time(stage: Stage) -> None:
    with stage.hand() as hand:
        hand.done("/play", 1)
        hand.done("/bank/1/store")
        hand.done("/grid/1", base64.b64encode(bytes(32)).decode())
        hand.done("/layer/2/forget", 1.0)
        hand.done("/bank/2/store")
        hand.done("/bank/1/fire")
        assert (stage.performance.strengths == 1).all()
        start = hand.done("/bank/2/fire", 0.4)["at_sample"]
        faders: list[float] = []
        while not faders or faders[-1] < 1.0:
            patch = hand.until("patch", by="bank 2")
            faders.append(patch["changes"]["/layer/2/forget"])
        assert len(faders) > 8
        assert np.all(np.diff(faders) > 0)
        assert patch["at_sample"] - start == pytest.approx(0.4 * 44_100, abs=3 * 1024)
        assert (stage.performance.strengths == 0).all()
        hand.done("/undo")
        assert (stage.performance.strengths == 1).all()


def test_what_waits_for_others_does_not_hold_up_what_comes_after(stage: Stage) -> None:
    with stage.hand() as hand:
        hand.done("/play", 1)
        for number in range(1000, 2000):
            path, args = ("/bank/1/store", []) if number % 50 == 0 else (f"/unit/1/{number % 32 + 1}/strength", [0.5])
            hand.send({"type": "set", "path": path, "args": args, "id": number})
        last = hand.until("ack", id=1999)["at_sample"]
        first = next(m for m in hand.heard if m.get("id") == 1000)["at_sample"]
        assert last - first < 40 * 1024


def test_a_hand_takes_over_from_a_bank(stage: Stage) -> None:
    with stage.hand() as hand:
        hand.done("/play", 1)
        hand.done("/forget", 1.0)
        hand.done("/layer/1/forget", 1.0)
        hand.done("/bank/16/store")
        hand.done("/recall")
        hand.done("/bank/16/fire", 0.5)
        hand.done("/layer/1/forget", 0.25)
        wait_for(lambda: stage.performance.values["/forget"] == 1.0)
        assert stage.performance.values["/layer/1/forget"] == 0.25


def test_between_what_is_and_the_armed_bank(stage: Stage) -> None:
    with stage.hand() as hand:
        hand.done("/forget", 1.0)
        hand.done("/bank/4/store")
        hand.done("/forget", 0.0)
        hand.done("/bank/4/arm")
        assert hand.seen("event", what="bank", did="armed")["bank"] == 4
        for share in (0.5, 1.0, 0.0):
            hand.done("/ab", share)
            assert stage.performance.values["/forget"] == share
        hand.done("/bank/4/fire")
        hand.done("/ab", 0.25)  # also when it has fired, and is armed no more
        assert stage.performance.values["/forget"] == 0.25
        with stage.hand() as late:
            assert late.welcome["armed"] is None


def test_who_comes_back_gets_what_was_missed(stage: Stage) -> None:
    with stage.hand() as one, stage.hand() as two:
        one.done("/forget", 0.1)
        known = one.seen("patch")["rev"]
        one.socket.close()
        two.done("/forget", 0.2)
        two.done("/layer/1/forget", 0.3)
        with stage.hand(session=one.welcome["session"], rev=known) as back:
            assert back.welcome["resumed"] is True
            assert back.welcome["rev"] == known + 2
            missed = [back.next(), back.next()]
            assert [m["rev"] for m in missed] == [known + 1, known + 2]
            assert missed[0]["changes"]["/forget"] == 0.2
        with stage.hand(session="another", rev=known) as stranger:
            assert stranger.welcome["resumed"] is False
            assert stranger.welcome["values"]["/forget"] == 0.2
        with stage.hand(session=one.welcome["session"], rev=10_000) as wrong:
            assert wrong.welcome["resumed"] is False


def test_more_was_missed_than_is_kept(tmp_path: Path) -> None:
    with Stage(tmp_path / "takes", patches=3) as stage, stage.hand() as hand:
        for i in range(8):
            hand.done("/forget", i / 10)
        session = hand.welcome["session"]
        with stage.hand(session=session, rev=2) as late:
            assert late.welcome["resumed"] is False
        with stage.hand(session=session, rev=5) as early:
            assert early.welcome["resumed"] is True
            assert early.next()["rev"] == 6


def test_too_many_messages_are_refused(tmp_path: Path) -> None:
    with Stage(tmp_path / "takes", messages_per_s=0.001, messages_at_once=6) as stage, stage.hand() as hand:
        answers = [hand.set("/forget", i / 10)["type"] for i in range(8)]
        assert answers == ["ack"] * 5 + ["nack"] * 3
        with stage.hand() as other:
            assert other.done("/forget", 0.5)


def test_a_message_that_is_too_long_is_refused(stage: Stage) -> None:
    with stage.hand() as hand:
        hand.send('{"type":"set","path":"/forget","args":[0.5],"id":3}' + " " * stage.config.message_bytes)
        assert hand.until("nack")["code"] == "bad_message"
        hand.done("/ping")
        assert stage.performance.values["/forget"] == 0.0


def test_what_is_refused_is_said_in_one_line(stage: Stage) -> None:
    with stage.hand() as hand:
        hand.send('{"type":"a\\nb\\u001b[31m"}')
        assert r"'a\nb\x1b[31m'" in hand.until("nack")["message"]


def test_a_number_beyond_all_numbers_is_refused_or_pressed(stage: Stage) -> None:
    with stage.hand() as hand:
        assert "0 to 1" in hand.refused("bad_value", "/forget", 10**400)
        assert "0 to 1" in hand.refused("bad_value", "/freeze", -(10**400))
        assert hand.done("/recall", 10**400)


def test_a_client_too_many_is_told_so(tmp_path: Path) -> None:
    with Stage(tmp_path / "takes", clients=1) as stage, stage.hand(), connect(f"{stage.ws}/ws/control") as other:
        assert "1 client is here already" in str(other.recv(timeout=5))


def test_before_hello_nothing_can_be_set(stage: Stage) -> None:
    with connect(f"{stage.ws}/ws/control") as socket:
        socket.send('{"type":"set","path":"/forget","args":[1],"id":7}')
        answer = str(socket.recv(timeout=5))
        assert '"not_now"' in answer
        assert '"id":7' in answer
    assert stage.performance.values["/forget"] == 0.0


@pytest.mark.alone  # it counts what comes in a second
def test_meters_frames_and_statistics_come_by_themselves(stage: Stage) -> None:
    with stage.hand() as hand:
        hand.done("/play", 1)
        frame = hand.until("frame")
        assert strengths(frame["strengths"]) == [255] * 48
        assert strengths(frame["activations"])[0] == round(255 * (1 - np.exp(-0.3 / 0.28)))
        assert strengths(frame["mel"]) == [64] * 128
        meter = hand.until("meter")
        assert meter["remembered"] == [1.0, 1.0]
        assert -60 < meter["peak_db"] < 0
        stats = hand.until("stats")
        assert stats["underruns"] == 0
        assert stats["quality"] == "live"
        count = sum(m["type"] == "frame" for m in hand.heard)
        hand.until("stats")
        assert 25 <= sum(m["type"] == "frame" for m in hand.heard) - count <= 31


@pytest.mark.alone  # it must hear every block from the first
def test_another_memory_plays_on_and_a_bad_one_does_not(stage: Stage) -> None:
    with stage.hand() as hand, Ear(stage) as ear:
        hand.done("/play", 1)
        hand.done("/memory", "damaged")
        assert "damaged.safetensors" in hand.seen("notice", level="warning")["text"]
        hand.done("/forget", 0.5)
        hand.done("/memory", "small")
        welcome = hand.until("welcome")
        assert welcome["memory"]["units"] == 12
        assert len(strengths(welcome["grid"]["strengths"])) == 12
        at = -1024
        for _ in range(50):
            _, _, first, samples = ear.block()
            assert first == at + 1024
            at = first
            assert np.isfinite(samples).all()


def test_what_is_not_a_number_is_silence_with_a_notice(stage: Stage) -> None:
    with stage.hand() as hand, Ear(stage) as ear:
        hand.done("/play", 1)
        stage.performance.broken = True
        assert "not a number" in hand.seen("notice", level="warning")["text"]
        while ear.block()[3].any():
            pass
        stage.performance.broken = False
        while not ear.block()[3].any():
            pass


def test_a_performance_that_fails_is_silent_and_goes_on(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    with stage.hand() as hand, Ear(stage) as ear:
        hand.done("/play", 1)

        def fail() -> None:
            raise RuntimeError("no sound today")

        with monkeypatch.context() as patched:
            patched.setattr(stage.performance, "next", fail)
            assert "no sound today" in hand.until("notice")["text"]
            while ear.block()[3].any():
                pass
        at = ear.block()[2]
        while not (block := ear.block())[3].any():
            assert block[2] == at + 1024
            at = block[2]
        assert block[2] == at + 1024


def test_overload_steps_the_quality_down_before_it_breaks(tmp_path: Path) -> None:
    with Stage(tmp_path / "takes", load_high=1e-9, load_low=1e-12) as stage, stage.hand() as hand:
        hand.done("/play", 1)
        assert "quality steps down" in hand.seen("notice", level="warning")["text"]
        assert stage.performance.values["/quality"] == "draft"


def test_quality_comes_back_when_it_is_calm(tmp_path: Path) -> None:
    with Stage(tmp_path / "takes", load_high=1e9, load_low=1e9, recover_s=0.1) as stage, stage.hand() as hand:
        stage.session.player.performance.change("/quality", "draft")
        assert stage.session.player._pace.wanted == "live"
        hand.done("/play", 1)
        wait_for(lambda: stage.performance.values["/quality"] == "live")


def test_quality_comes_back_to_busy_hands_but_later_each_time() -> None:
    performance = FakePerformance(Score(memory="fake"), HOUSE.load("fake"))
    clock = BlockClock(performance, LiveConfig(), lambda _: None, lambda _: None)
    block_s = clock.performance.block / clock.performance.rate

    def work(load: float, seconds: float) -> str:
        for _ in range(round(seconds / block_s)):
            clock._pace.keep(clock.performance, load * block_s)
        return str(clock.performance.values["/quality"])

    assert work(0.3, 60) == "live"
    assert work(1.0, 3) == "draft"
    assert work(0.55, 20) == "draft"
    assert work(0.55, 60) == "live"
    assert work(1.0, 3) == "draft"
    assert work(0.55, 70) == "draft"
    assert work(0.55, 60) == "live"
    assert work(1.0, 3) == "draft"
    assert work(0.7, 600) == "draft"


def test_a_clock_that_is_behind_lets_what_sounds_rest() -> None:
    performance = FakePerformance(Score(memory="fake"), HOUSE.load("fake"))
    clock = BlockClock(performance, LiveConfig(buffer_ms=2000.0), lambda _: None, lambda _: None)
    block_s = performance.block / performance.rate
    for behind_s, rests in ((-60.0, 0), (0.1, 0), (0.4, 1)):  # an eighth of the buffer is .25 s
        clock._pace.due = time.perf_counter() - block_s - behind_s
        clock._pace.keep(performance, block_s)
        assert [done["path"] for done in performance.log.since(0)] == ["/rest"] * rests


def test_late_blocks_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Stage(tmp_path / "takes", buffer_ms=20) as stage, stage.hand() as hand:
        real = stage.performance.next
        slow = iter([True])

        def late() -> object:
            if next(slow, False):
                wait_for(iter([False] * 20 + [True]).__next__)
            return real()

        monkeypatch.setattr(stage.performance, "next", late)
        hand.done("/play", 1)
        while hand.until("stats")["underruns"] == 0:
            pass


# Who may come in.


def test_pages_of_others_are_refused(stage: Stage) -> None:
    for path in ("/ws/control", "/ws/audio"):
        with pytest.raises(InvalidStatus), connect(f"{stage.ws}{path}", origin=Origin("http://evil.example")):
            pass
        with pytest.raises(InvalidStatus), connect(f"{stage.ws}{path}", additional_headers={"Host": "evil.example"}):
            pass
        with connect(f"{stage.ws}{path}", origin=Origin(stage.http)):
            pass
    assert httpx.get(f"{stage.http}/health", headers={"Origin": "http://evil.example"}).status_code == 403
    assert httpx.get(f"{stage.http}/health", headers={"Host": f"evil.example:{stage.port}"}).status_code == 403
    assert httpx.get(f"{stage.http}/health", headers={"Host": f"192.168.1.9:{stage.port}"}).status_code == 403
    assert httpx.get(f"{stage.http}/health", headers={"Origin": "null"}).status_code == 403
    assert httpx.get(f"{stage.http}/health", headers={"Host": "[::1"}).status_code == 403
    ours = httpx.get(f"{stage.http}/health", headers={"Origin": stage.http})
    assert ours.json() == {"state": "armed"}
    assert "default-src 'self'" in ours.headers["content-security-policy"]


def test_the_token_is_needed_where_there_is_one(tmp_path: Path) -> None:
    with Stage(tmp_path / "takes", token="secret-token") as stage:  # noqa: S106 - of this test
        assert httpx.get(f"{stage.http}/health").status_code == 403
        assert httpx.get(f"{stage.http}/health?token=guess").status_code == 403
        assert httpx.get(f"{stage.http}/health?token=%C3%A9").status_code == 403
        with pytest.raises(InvalidStatus), connect(f"{stage.ws}/ws/control"):
            pass
        with connect(f"{stage.ws}/ws/control?token=secret-token"):
            pass
        with httpx.Client(base_url=stage.http) as page:
            assert page.get("/?token=secret-token").status_code == 200
            assert page.get("/health").status_code == 200  # by its cookie
        assert "HttpOnly" in httpx.get(f"{stage.http}/?token=secret-token").headers["set-cookie"]


def test_no_address_leads_out_of_the_takes(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "secret.toml").write_text("secret")
    (tmp_path / "takes" / "notes.toml").write_text("secret")
    for name in ("../secret.toml", "..%2Fsecret.toml", "%2e%2e/secret.toml", "notes.toml", "take-001.toml", ""):
        assert httpx.get(f"{stage.http}/takes/{name}").status_code == 404
    for name in ("../../config.py", "..%2f..%2fconfig.py"):
        assert httpx.get(f"{stage.http}/static/fonts/{name}").status_code == 404


def test_colours_and_typeface_are_served(stage: Stage) -> None:
    colours = httpx.get(f"{stage.http}/static/theme.css")
    assert colours.headers["content-type"].startswith("text/css")
    assert "--ground: #0b0a0e;" in colours.text
    assert "--layer-5: " in colours.text
    assert httpx.get(f"{stage.http}/static/fonts/Inter-Regular.otf").status_code == 200
