"""A piece of two memories, played live by the real engine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile

from fugue_state.engine.performance import Performance, played
from fugue_state.live.programme import House
from fugue_state.memory.memory import Memory
from fugue_state.piece.piece import Piece
from fugue_state.score.model import Score
from fugue_state.score.text import load_score
from fugue_state.settings import checked

from .live_stage import Hand, Stage, strengths, wait_for
from .test_live_osc import Osc, free_port

PIECE: dict[str, Any] = {
    "memory": "fake",
    "tempo_bpm": 100,
    "duration_s": 600,
    "quality": "draft",
    "voices": [
        {"name": "ground", "chords": ["Am", "C"]},
        {"name": "melody", "memory": "notes", "chords": ["E3", "G3"], "beats": 2},
    ],
    "forgetting": {"order": "random", "pace": "linear", "to": 0.0},
    "reverb": {"rt60_s": 0.3},
}
GROUND, MELODY = [32, 16, 8, 4, 2], [48, 24, 12, 6, 3]  # units of the layers of each part


@pytest.fixture
def memories(tiny_memory: Memory, notes_memory: Memory) -> dict[str, Memory]:
    return {"fake": tiny_memory, "notes": notes_memory}


def playing(takes: Path, memories: Mapping[str, Memory], **changes: Any) -> Stage:
    """A server that plays the piece."""
    house = House(tuple(memories), memories.__getitem__, lambda score, memory: Performance(score, memory, memories))
    ports: dict[str, Any] = {
        "osc": True,
        "osc_port": free_port(),
        "osc_reply_port": free_port(),
        "messages_at_once": 1e6,
    }
    return Stage(takes, house, score=checked(Score, PIECE | changes), buffer_ms=2000.0, **ports)


@pytest.fixture
def stage(tmp_path: Path, memories: dict[str, Memory]) -> Iterator[Stage]:
    with playing(tmp_path / "takes", memories) as opened:
        yield opened


@pytest.fixture
def hand(stage: Stage) -> Iterator[Hand]:
    with stage.hand() as opened:
        yield opened


def test_the_parts_are_told(hand: Hand) -> None:
    told = hand.welcome
    assert told["parts"] == [
        {"name": "ground", "memory": "tiny", "chords": ["Am", "C", "G"], "first": 1, "layers": 5},
        {"name": "melody", "memory": "notes", "chords": ["E3", "G3", "B3"], "first": 6, "layers": 5},
    ]
    about = told["memory"]
    assert (about["name"], about["units"]) == ("tiny and notes", sum(GROUND + MELODY))
    assert about["chords"] == ["Am", "C", "G", "E3", "G3", "B3"]
    assert [units for _, units in about["layers"]] == GROUND + MELODY
    assert [name for name, _ in about["layers"]][4:6] == ["ground/deconv5", "melody/deconv1"]
    assert strengths(told["grid"]["strengths"]) == [255] * sum(GROUND + MELODY)
    assert {"/part/1/forget", "/part/2/forget", "/layer/10/forget"} < set(told["values"])


def test_a_part_is_forgotten_undone_and_recalled(hand: Hand) -> None:
    hand.done("/play", 1)
    rev = hand.done("/part/2/forget", 1.0)["rev"]
    changes = hand.seen("patch", rev=rev)["changes"]
    assert {path for path in changes if path.startswith("/strengths/")} == {f"/strengths/{n}" for n in range(6, 11)}
    assert strengths(changes["/strengths/6"]) == [0] * 48
    assert hand.seen("event", what="forgotten", layer=6)["units"] == list(range(1, 49))
    hand.done("/undo")
    assert hand.seen("patch", by="undo")["changes"]["/part/2/forget"] == 0.0
    hand.done("/redo")
    hand.done("/layer/2/forget", 1.0)
    rev = hand.done("/part/2/recall")["rev"]
    recalled = hand.seen("patch", rev=rev)["changes"]
    assert recalled["/part/2/forget"] == 0.0
    assert strengths(recalled["/strengths/10"]) == [255] * 3
    assert "/strengths/2" not in recalled  # of the other part
    assert "parts 1 to 2" in hand.refused("bad_value", "/part/3/forget", 1.0)


def test_banks_keep_parts_and_a_recall_takes_its_part_out_of_a_morph(stage: Stage, hand: Hand) -> None:
    hand.done("/play", 1)
    for path in ("/part/1/forget", "/part/2/forget", "/layer/7/forget"):
        hand.done(path, 1.0)
    hand.done("/bank/1/store")
    hand.done("/recall")
    assert stage.session.value("/part/2/forget") == 0.0
    hand.done("/bank/1/fire", 1.0)
    hand.done("/part/2/recall")
    wait_for(lambda: stage.session.value("/part/1/forget") == 1.0)
    assert (stage.session.value("/part/2/forget"), stage.session.value("/layer/7/forget")) == (0.0, 0.0)
    hand.done("/bank/1/fire")
    wait_for(lambda: stage.session.value("/part/2/forget") == 1.0)
    assert stage.session.value("/layer/7/forget") == 1.0


def test_what_hands_do_to_the_second_part_is_recorded_and_replayed(
    stage: Stage, hand: Hand, memories: dict[str, Memory]
) -> None:
    hand.done("/rec/start")
    hand.done("/play", 1)
    hand.until("stats")
    hand.done("/layer/6/forget", 0.75)
    hand.done("/unit/7/3/strength", 0.0)
    hand.until("stats")
    hand.done("/part/2/forget", 0.5)
    hand.until("stats")
    hand.keep()
    take = stage.session.tapes.folder / "take-001.toml"
    score = load_score(take)
    assert [change.path for change in score.changes][-3:] == ["/layer/6/forget", "/unit/7/3/strength", "/part/2/forget"]
    again = np.concatenate([block.samples for block in played(Piece(score, memories["fake"], memories))])
    heard = soundfile.read(take.with_suffix(".flac"))[0]
    assert np.abs(heard).max() > 0.01
    np.testing.assert_allclose(again[: len(heard)], heard, atol=2e-7)
    hand.done("/recall")
    hand.done("/replay", "take-001")
    hand.until("welcome", state="replaying")
    wait_for(lambda: stage.session.value("/part/2/forget") == 0.5)
    assert stage.session.value("/layer/6/forget") == 0.75
    assert stage.session.value("/unit/7/3/strength") == 0.0


def test_osc_knows_all_parts_and_layers(stage: Stage, hand: Hand) -> None:
    with Osc(stage.config.osc_port, stage.config.osc_reply_port) as osc:
        osc.send("/fugue/part/2/forget", 0.5)
        assert hand.until("patch", by="osc")["changes"]["/part/2/forget"] == 0.5
        osc.send("/fugue/part/*/forget", 1.0)
        osc.send("/fugue/layer/[6-9]/forget", 0.25)
        osc.send("/fugue/unit/10/3/strength", 0.0)
        wait_for(lambda: stage.session.value("/unit/10/3/strength") == 0.0)
        osc.send("/fugue/part/1/forget")
        assert osc.until("/fugue/part/1/forget") == [1.0]
        osc.send("/fugue/layer/9/forget")
        assert osc.until("/fugue/layer/9/forget") == [0.25]
        osc.send("/fugue/part/3/forget", 1.0)
        assert "parts 1 to 2" in osc.until("/fugue/error")[0]
    fugue = httpx.get(f"{stage.http}/osc").json()["CONTENTS"]["fugue"]["CONTENTS"]
    assert [len(layer["CONTENTS"]) for layer in fugue["unit"]["CONTENTS"].values()] == GROUND + MELODY
    assert set(fugue["part"]["CONTENTS"]) == {"1", "2"}
    forget = fugue["part"]["CONTENTS"]["2"]["CONTENTS"]["forget"]
    assert (forget["VALUE"], forget["RANGE"]) == ([1.0], [{"MIN": 0, "MAX": 1}])
    assert fugue["unit"]["CONTENTS"]["10"]["CONTENTS"]["3"]["CONTENTS"]["strength"]["VALUE"] == [0.0]


def test_where_all_forgets_together_there_are_no_parts_to_move(tmp_path: Path, memories: dict[str, Memory]) -> None:
    with playing(tmp_path / "takes", memories, voices=[{}]) as stage, stage.hand() as hand:
        assert hand.welcome["parts"] == [
            {"name": "", "memory": "tiny", "chords": ["Am", "C", "G"], "first": 1, "layers": 5}
        ]
        assert not any(path.startswith("/part") for path in hand.welcome["values"])
        assert "/forget moves it" in hand.refused("bad_value", "/part/1/forget", 1.0)
        assert "part" not in httpx.get(f"{stage.http}/osc").json()["CONTENTS"]["fugue"]["CONTENTS"]


def test_another_memory_is_refused_where_voices_have_their_own(hand: Hand) -> None:
    hand.done("/play", 1)
    hand.done("/memory", "notes")
    assert "memories of their own" in hand.until("notice", level="warning")["text"]
