"""Keys over the sockets and OSC: none is lost, and whoever leaves lets go."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fugue_state.live.inbox import Inbox
from fugue_state.live.wish import Wish

from .fake_performance import FakePerformance
from .live_stage import Stage, wait_for
from .test_live_osc import Osc, free_port


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with Stage(tmp_path / "takes", osc=True, osc_port=free_port(), osc_reply_port=free_port()) as opened:
        yield opened


@pytest.fixture
def osc(stage: Stage) -> Iterator[Osc]:
    with Osc(stage.config.osc_port, stage.config.osc_reply_port) as opened:
        yield opened


def pressed(performance: FakePerformance) -> list[tuple[str, Any]]:
    """What was done to keys and the pedal, in order."""
    return [(one["path"], one["value"]) for one in performance.log.since(0) if one["path"][:4] in {"/key", "/ped"}]


def test_of_keys_every_wish_is_kept_and_of_faders_the_newest() -> None:
    inbox = Inbox()
    moves: list[tuple[str, Any]] = [
        ("/pedal", 1), ("/volume", 0.1), ("/key/60", 1.0), ("/key/60", 0.0), ("/key/60", 0.5), ("/volume", 0.2),
        ("/pedal", 0), ("/pedal", 1), ("/loop", 0), ("/loop", 1),
    ]  # fmt: skip
    for path, value in moves:
        inbox.ask(Wish(path, value, "one"))
    kept = [(wish.path, wish.value) for wish in inbox.rest() if isinstance(wish, Wish)]
    assert kept == [
        ("/pedal", 1), ("/key/60", 1.0), ("/key/60", 0.0), ("/key/60", 0.5), ("/volume", 0.2), ("/pedal", 0),
        ("/pedal", 1), ("/loop", 1),
    ]  # fmt: skip
    assert inbox.superseded == 2


def test_rapid_presses_are_all_done_in_order(stage: Stage) -> None:
    with stage.hand() as hand:
        hand.done("/play", 1)
        moves = [(f"/key/{60 + number % 3}", value) for number in range(20) for value in (0.5, 0.0)]
        for number, (path, value) in enumerate(moves):
            hand.send({"type": "set", "path": path, "args": [value], "id": 1000 + number})
        hand.done("/ping")
        hand.done("/key/99", 0)
        assert pressed(stage.performance) == [*moves, ("/key/99", 0.0)]


def test_whoever_leaves_lets_go(stage: Stage) -> None:
    with stage.hand() as one:
        one.done("/play", 1)
        with stage.hand() as other:
            other.done("/key/60", 1.0)
            other.done("/key/62", 1.0)
            other.done("/key/62", 0)
            other.done("/pedal", 1)
            other.done("/key/64", 1.0)
            one.done("/key/64", 0.5)  # both hold it
        wait_for(lambda: ("/pedal", 0) in pressed(stage.performance))
        assert pressed(stage.performance)[-2:] == [("/key/60", 0.0), ("/pedal", 0)]
        one.until("patch", by="someone")
    wait_for(lambda: pressed(stage.performance)[-1] == ("/key/64", 0.0))


def test_before_anything_plays_keys_are_refused(stage: Stage) -> None:
    with stage.hand() as hand:
        assert "press Play first" in hand.refused("not_now", "/key/60", 1.0)
        hand.done("/key/60", 0)
        hand.done("/pedal", 1)
        assert "there are keys 0 to 127" in hand.refused("unknown_path", "/key/128", 1.0)
        assert "0 to 1" in hand.refused("bad_value", "/key/1", 2.0)


def test_a_replay_lets_go_of_what_was_held(stage: Stage) -> None:
    with stage.hand() as hand:
        hand.done("/rec/start")
        hand.done("/play", 1)
        hand.keep()
        hand.done("/key/60", 1.0)
        played = stage.performance
        hand.done("/replay", "take-001")
        hand.until("event", what="state", state="replaying")
        assert pressed(played) == [("/key/60", 1.0), ("/key/60", 0.0)]
        assert "replaying" in hand.refused("not_now", "/key/60", 0)


def test_osc_has_keys_as_paths_and_as_notes(stage: Stage, osc: Osc) -> None:
    with stage.hand() as hand:
        hand.done("/play", 1)
        osc.send("/fugue/key/60", 0.5)
        assert hand.until("patch", by="osc")["changes"] == {"/key/60": 0.5}
        osc.send("/fugue/note", 62, 127)
        assert hand.until("patch", by="osc")["changes"] == {"/key/62": 1.0}
        osc.send("/fugue/note", 62, 0)
        assert hand.until("patch", by="osc")["changes"] == {"/key/62": 0.0}
        osc.send("/fugue/tempo", 90.0)
        assert hand.until("patch", by="osc")["changes"] == {"/tempo": 90.0}
        osc.send("/fugue/keys/1/chord", "G")
        assert hand.until("patch", by="osc")["changes"] == {"/keys/1/chord": "G"}
        osc.send("/fugue/keys/1/chord")
        assert osc.until("/fugue/keys/1/chord") == ["G"]
        osc.send("/fugue/key/*", 0)
        wait_for(lambda: pressed(stage.performance)[-1] == ("/key/127", 0.0))
        osc.send("/fugue/key/60")
        assert "no value" in osc.until("/fugue/error")[0]


@pytest.mark.parametrize("args", [[60], [60, 128], [-1, 3], [60, "loud"], [60.5, 1], [60, 64, 1]])
def test_a_wrong_note_is_refused(stage: Stage, osc: Osc, args: list[Any]) -> None:
    with stage.hand():
        osc.send("/fugue/note", *args)
        assert "takes a key and a velocity, each 0 to 127" in osc.until("/fugue/error")[0]


def test_oscquery_lists_keys_and_their_chords(stage: Stage) -> None:
    with stage.hand() as hand:
        hand.done("/keys/12/chord", "Am")
        hand.seen("patch")
        key = httpx.get(f"{stage.http}/fugue/key/127").json()
        assert (key["TYPE"], key["ACCESS"], key["RANGE"]) == ("f", 2, [{"MIN": 0, "MAX": 1}])
        assert httpx.get(f"{stage.http}/fugue/keys/12/chord").json()["VALUE"] == ["Am"]
        assert httpx.get(f"{stage.http}/fugue/key/128").status_code == 404


def test_another_octave_is_said_once(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    with stage.hand() as hand:
        hand.done("/play", 1)
        monkeypatch.setattr(stage.session.part.memory, "labels", ("E2", "F2"))
        hand.done("/key/40", 1.0)
        hand.done("/key/28", 1.0)
        hand.done("/key/29", 1.0)
        hand.done("/ping")
        said = [one["text"] for one in hand.heard if one["type"] == "notice"]
        assert said == ["this memory has no E1: the key plays E2"]
