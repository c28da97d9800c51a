"""What a page plays, block by block, is what Python's conductor plays: the same events, strengths, gains and values."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fugue_state.audio.loudness import LoudnessMeter
from fugue_state.audio.reverb import room
from fugue_state.audio.tone import Tilt
from fugue_state.config import SEED_MAX, AtlasConfig, MelSpec, ModelConfig
from fugue_state.engine.performance import Performance
from fugue_state.engine.voice import Made
from fugue_state.engine.whole import Instrument, WholeVoice
from fugue_state.errors import InputError
from fugue_state.measure.atlas import TRAITS, Atlas
from fugue_state.measure.describe import triads
from fugue_state.measure.profile import Profile
from fugue_state.memory.catalogue import MemoryHeader
from fugue_state.memory.memory import Memory
from fugue_state.output.render import samples
from fugue_state.piece.conductor import Conductor
from fugue_state.piece.event import Event
from fugue_state.piece.piece import Piece
from fugue_state.progress import untracked
from fugue_state.score.model import Score
from fugue_state.score.paths import find
from fugue_state.score.shipped import shipped_scores
from fugue_state.score.text import load_score
from fugue_state.settings import checked
from fugue_state.share import loudness, plan
from fugue_state.share import parcel as parcels
from fugue_state.share.bends import described
from fugue_state.share.parcel import Parcel, parcel
from fugue_state.tensors import save_tensors

from .conftest import untrained
from .node import needs_node, run_node
from .test_vocoder import tiny_net

pytestmark = needs_node
CLOSE = 1e-6
LABELS = ("Am", "Bb", "C", "Dm", "Em", "F", "G", "F*2")
Hands = Mapping[int, Sequence[tuple[Any, ...]]]
BASE: dict[str, Any] = {
    "memory": "tiny",
    "duration_s": 6.0,
    "tempo_bpm": 150,
    "seed": 4,
    "voices": [{"chords": ["Am", "C", "G"], "event_s": 1.4}],
    "forgetting": {"order": "random", "pace": "linear"},
    "loudness": {"hold": False},
    "reverb": {"rt60_s": 0.3},
}
QUIET_DB = -3.5
MEASURE = Profile.of


def memory_with(labels: tuple[str, ...]) -> Memory:
    header = MemoryHeader(
        name="tiny", mel=MelSpec(), model=ModelConfig(feature_maps=4, latent_size=16, labels=labels), steps=1
    )
    return Memory(untrained(header.model), header)


@pytest.fixture(scope="module")
def memory() -> Memory:
    return memory_with(LABELS)


@pytest.fixture(autouse=True)
def _measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes long is measured once, drawn at random (the atlas), or set (the gain of a score)."""
    monkeypatch.setattr(parcels, "gain_db", lambda *_: QUIET_DB)
    monkeypatch.setattr(Profile, "of", _profile)
    monkeypatch.setattr(Atlas, "of", _atlas)


@cache
def _profile_of(memory: Memory) -> Profile:
    return MEASURE(memory)


def _profile(memory: Memory, *_: object, **__: object) -> Profile:
    return _profile_of(memory)


def _atlas(memory: Memory, *_: object, **__: object) -> Atlas:
    """An atlas of which every other latent is as bright as the one before."""
    config, rng = AtlasConfig(), np.random.default_rng(1)
    chord = rng.integers(0, len(triads(memory.labels)), config.count)
    return Atlas(memory, config, chord, np.repeat(rng.standard_normal((config.count // 2, len(TRAITS))), 2, axis=0))


def score(**changes: Any) -> Score:
    return checked(Score, BASE | changes)


def forgetting(**changes: Any) -> dict[str, Any]:
    return {"order": "random", "pace": "linear"} | changes


@pytest.fixture
def play(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Play a parcel's bars in JavaScript."""

    def played(packed: Parcel, memory: Memory, blocks: int, hands: Hands, block: int | None) -> dict[str, Any]:
        (tmp_path / "piece.json").write_text(packed.text, encoding="utf-8")
        save_tensors(tmp_path / "arrays.safetensors", packed.arrays, {})
        job = {
            "piece": str(tmp_path / "piece.json"),
            "arrays": str(tmp_path / "arrays.safetensors"),
            "labels": memory.labels,
            "latentSize": memory.header.model.latent_size,
            "block": block,
            "blocks": blocks,
            "hands": {number: [list(map(_as_json, move)) for move in moves] for number, moves in hands.items()},
            "out": str(tmp_path / "out.json"),
        }
        (tmp_path / "job.json").write_text(json.dumps(job), encoding="utf-8")
        run_node("conductor.mjs", str(tmp_path / "job.json"))
        found: dict[str, Any] = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
        return found

    return played


def _as_json(value: object) -> object:
    return {"bytes": list(value)} if isinstance(value, bytes) else value


def _compare_bar(bar: Any, one: dict[str, Any], memory: Memory) -> None:
    np.testing.assert_allclose(one["strengths"], bar.strengths, atol=CLOSE)
    np.testing.assert_allclose([one["gate"], one["gain"]], [bar.gate, bar.gain], atol=CLOSE)
    for key in ("frozen", "quality", "rests", "silenced"):
        assert one[key] == getattr(bar, key), key
    assert len(one["events"]) == len(bar.events)
    for event, other in zip(bar.events, one["events"], strict=True):
        label = None if event.label is None else memory.labels[memory.label_index(event.label)]
        assert other["label"] == label
        for key in ("onset", "chord", "frames", "voice", "held"):
            assert other[key] == getattr(event, key), key
        assert other["envelope"] == event.envelope.model_dump()
        assert (other["bend"] is None) == (event.bend is None)
        np.testing.assert_allclose(other["latent"], event.latent, atol=CLOSE)
        np.testing.assert_allclose(other["strengths"], event.strengths, atol=CLOSE)
        np.testing.assert_allclose([other["pan"], other["levelDb"]], [event.pan, event.level_db], atol=CLOSE)


def _compare_bend(packed: Parcel, piece: Piece) -> None:
    told, arrays = described(piece.parts[0].bend)
    assert json.loads(packed.text)["bend"] == told
    assert {name for name in packed.arrays if name.startswith("bend.")} == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(packed.arrays[name], array)


def compare(
    piece: Piece,
    play: Callable[..., dict[str, Any]],
    blocks: int = 200,
    hands: Hands | None = None,
    block: int | None = 4096,
) -> tuple[Parcel, dict[str, Any], Conductor]:
    """Play a piece on both sides and compare every bar."""
    memory, hands = piece.memory, hands or {}
    packed = parcel(piece)
    found = play(packed, memory, blocks, hands, block)
    reference = Piece(packed.score, memory)
    _compare_bend(packed, reference)
    conductor = Conductor(reference, block)
    conductor.measure()
    events = 0
    for number, one in enumerate(found["bars"]):
        said: list[Any] = []
        for path, *value in hands.get(number, []):
            try:
                back = [[way, _as_json(before)] for way, before in conductor.back(path)]
                conductor.change(path, *value)
                said.append(back)
            except InputError:
                said.append("refused")
        assert one["said"] == said, number
        bar = conductor.step()
        events += len(bar.events)
        _compare_bar(bar, one, memory)
        assert one["values"] == {path: now for path, now in conductor.values.items() if not find(path)[0].by_keys}
        assert one["position"] == conductor.position
        assert one["playedS"] == conductor.played_s
    assert events
    np.testing.assert_allclose(found["strengths"], conductor.strengths, atol=CLOSE)
    np.testing.assert_allclose(found["brushed"], conductor.brushed, atol=CLOSE)
    assert found["frozen"] == conductor.frozen.astype(int).tolist()
    assert found["log"] == list(conductor.log.since(0))
    return packed, found, conductor


SCORES: dict[str, dict[str, Any]] = {
    "the default": {},
    "two voices, one of which keeps everything": {
        "voices": [
            {"chords": ["Am*1.5", "-", "F"], "swing": 0.3, "level_db": -4, "pan": -0.4},
            {"chords": ["C@7", {"chord": "G", "seed": 5, "pan": 1, "level_db": -2}], "forgets": False, "start": "bar 2",
             "until": "90 %", "beats": 0.75},
        ],
        "loudness": {"hold": False, "plan": [["10 %", -2], ["70 %", 0], ["100 %", -9]]},
    },
    "walks and variation": {
        "voices": [
            {"chords": ["Am", "C"], "latents": "walk", "wander": 0.3, "variation": 0.2},
            {"chords": ["F"], "latents": "fresh", "latent_seed": 77},
            {"chords": ["G", "Em"], "latents": "path", "towards_seed": 9},
        ],
        "seed": SEED_MAX,
    },
    "chosen by how they sound": {
        "voices": [{"chords": ["Am", "-", "G"], "like": {"bright": 0.8, "level": 0.3}, "latents": "fresh"}]
    },
    "notes, tempos and metres": {
        "duration_s": 24, "tempo_bpm": 90,
        "tempo": [{"bar": 2, "bpm": 170}, {"bar": 6.5, "bpm": 47, "ramp": True}, {"bar": 9, "bpm": 300, "ramp": True}],
        "metre": [{"bar": 3, "beats": 3}, {"bar": 8, "beats": 7}],
        "voices": [
            {"chords": ["Am*0.5^64", "-*0.75", {"chord": "F", "velocity": 1, "level_db": 3}],
             "swing": 0.2, "gate": 0.7},
            {"chords": ["D", "Bb*1.3^127"], "transpose": -2, "start": "bar 2.3", "rounds": 5, "gate": 1.4},
            {"chords": ["G"], "start": "bar 2.3", "until": "bar 7"},
        ],
        "cues": [{"do": "recall", "at": "bar 5", "over": "2 bars"}],
    },
    "chords that are no labels, found by their sound": {
        "voices": [{"chords": ["B", "Am", "D"], "latents": "fresh"}, {"chords": ["D"], "like": {"bright": 0.3}}]
    },
    "cues of all kinds": {
        "duration_s": 24,
        "forgetting": forgetting(to=0.7, until="40 %", pace="sigmoid", steepness=6, start=1),
        "cues": [
            {"do": "hold", "at": 3, "over": 1.5},
            {"do": "jump", "to": 0.2, "at": "55 %"},
            {"do": "recall", "at": "60 %", "over": 2, "order": "layerwise", "pace": "exponential", "steepness": -3},
            {"do": "forget", "at": "70 %", "over": "1 bar", "scope": "deconv2", "pace": "steps", "steps": 5},
            {"do": "hold", "at": "72 %", "over": 0.5},
            {"do": "forget", "at": "85 %", "pace": "points", "points": [[0.2, 0.5], [0.3, 0.6], [0.8, 0.7]]},
            {"do": "hold", "at": "95 %"},
        ],
    },
    "a fade and a bend": {
        "forgetting": forgetting(
            order="list", units=["deconv3", "deconv1:1-20"], fade_s=1.3, replacement="frozen", frozen_at=2,
            bends=[{"units": "deconv2:1-8", "gain": 2}],
        )
    },
    "frozen while a hand plays": {
        "forgetting": forgetting(replacement="frozen", frozen_at=3, fade_s=1),
        "changes": [{"at": 1, "path": "/forget", "value": 0.5}],
    },
    "even": {"forgetting": {"order": "saliency", "pace": "even", "to": 0.8, "locks": ["deconv4"], "reverse": True}},
    "adaptive": {
        "forgetting": {"order": "random", "adaptive": {"rate": 0.3, "clarity": 0.4}, "fade_s": 0.5, "start": 0.7}
    },
    "adaptive, paused and played on": {
        "resolution": "block", "master": {"normalize": False}, "played_s": 9,
        "forgetting": {"order": "random", "adaptive": {"rate": 0.3, "clarity": 0.4}},
        "changes": [{"at": 1, "path": "/play", "value": 0}, {"at": 2.2, "path": "/play", "value": 1}],
    },
    "changes by hand": {
        "changes": [
            {"at": 1, "path": "/layer/1/forget", "value": 0.3},
            {"at": 1.5, "path": "/layer/2/order", "value": "layerwise"},
            {"at": 2, "path": "/layer/2/forget", "value": 0.5},
            {"at": 3, "path": "/unit/3/2/strength", "value": 0},
            {"at": 4, "path": "/recall"},
            {"at": "80 %", "path": "/forget", "value": 0.4},
        ],
    },
    "a take": {
        "resolution": "block", "master": {"normalize": False}, "played_s": 30,
        "changes": [
            {"at": 0.1, "path": "/volume", "value": 0.6},
            {"at": 0.5, "path": "/freeze", "value": 1},
            {"at": 1.5, "path": "/freeze", "value": 0},
            {"at": 2, "path": "/layer/3/freeze", "value": 1},
            {"at": 2.5, "path": "/play", "value": 0},
            {"at": 4, "path": "/play", "value": 1},
            {"at": 4.5, "path": "/seed", "value": 12},
            {"at": 5, "path": "/chord", "value": '"F*2"'},
            {"at": 6, "path": "/hold/2", "value": "AP//gAEBAQEB/w0AAAAAAA=="},
            {"at": 7, "path": "/hush"},
            {"at": 9, "path": "/play", "value": 1},
            {"at": 9.5, "path": "/quality", "value": "draft"},
        ],
    },
}  # fmt: skip


@pytest.mark.parametrize("name", SCORES)
def test_every_bar_is_the_same(name: str, memory: Memory, play: Callable[..., dict[str, Any]]) -> None:
    packed, _, _ = compare(Piece(score(**SCORES[name]), memory), play)
    assert len(packed.text) < 100_000


@pytest.mark.parametrize("name", sorted(shipped_scores()))
def test_the_shipped_scores_are_played_the_same(name: str, memory: Memory, play: Callable[..., dict[str, Any]]) -> None:
    shipped = load_score(shipped_scores()[name])
    piece = Piece(shipped.model_copy(update={"memory": "tiny"}), memory)
    compare(piece, play, blocks=math.ceil(shipped.duration_s * 1.1 * 44_100 / 40_000), block=40_000)


def test_a_memory_without_labels_is_played_the_same(play: Callable[..., dict[str, Any]]) -> None:
    piece = Piece(score(voices=[{}, {"chords": ["Am", "-"], "latents": "fresh"}]), memory_with(()))
    compare(piece, play, hands={20: [("/chord", "Am"), ("/seed", 8)]})


def _drawn(memory: Memory, seed: int) -> Hands:
    """Changes drawn at random, some of them impossible."""
    rng = np.random.default_rng(seed)
    orders = ["", "random", "saliency", "cluster", "frequency", "activation", "layerwise", "list", "no such"]
    units = list(memory.layers.values())
    hands: dict[int, list[tuple[Any, ...]]] = {}
    for _ in range(160):
        layer = int(rng.integers(1, 7))
        count = units[min(layer, len(units)) - 1]
        share = float(rng.choice([0.0, 1.0, round(float(rng.random()), 3), -0.1], p=[0.3, 0.2, 0.45, 0.05]))
        switch = int(rng.integers(2))
        grid = bytes(rng.integers(0, 256, count, dtype=np.uint8))
        hold = bytes(rng.integers(0, 256, count, dtype=np.uint8) * rng.integers(0, 2, count, dtype=np.uint8))
        unit = int(rng.integers(1, count + 2))
        moves: list[tuple[Any, ...]] = [
            ("/forget", share), (f"/layer/{layer}/forget", share), (f"/layer/{layer}/lock", switch), ("/recall",),
            (f"/layer/{layer}/order", str(rng.choice(orders))), (f"/layer/{layer}/freeze", switch),
            (f"/unit/{layer}/{unit}/strength", share), (f"/unit/{layer}/{unit}/freeze", switch), ("/volume", share),
            (f"/grid/{layer}", grid), (f"/hold/{layer}", hold), (f"/layer/{layer}/recall",), ("/freeze", switch),
            ("/hush",), ("/play", 1), ("/play", switch), ("/seed", int(rng.integers(5))), ("/rest",),
            ("/quality", str(rng.choice(["draft", "live", "final"]))), ("/chord", str(rng.choice(["", "Am", "H"]))),
            ("/mark", "a note"), ("/nothing", 1), ("/volume",), ("/freeze", 0.5), (f"/grid/{layer}", b"\x01"),
        ]  # fmt: skip
        hands.setdefault(int(rng.integers(200)), []).append(moves[int(rng.integers(len(moves)))])
    return hands


@pytest.mark.parametrize("seed", range(6))
def test_whatever_hands_do_every_bar_is_the_same(
    seed: int, memory: Memory, play: Callable[..., dict[str, Any]]
) -> None:
    asked = score(
        duration_s=20, forgetting=forgetting(fade_s=0.2 * (seed % 2)), cues=[{"do": "recall", "at": 9, "over": 4}]
    )
    compare(Piece(asked, memory), play, hands=_drawn(memory, seed))


def test_the_take_that_a_page_writes_is_read_and_rendered(
    memory: Memory, play: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    title = 'Say "so"\n\\ \x7f 夜'
    asked = score(title=title, cues=[{"do": "forget", "at": 2, "over": 1}], forgetting=forgetting(to=0))
    hands: Hands = {
        3: [("/forget", 0.25), ("/grid/5", b"\x00\xff"), ("/chord", '"F*2"')],
        9: [("/recall",), ("/seed", 7), ("/volume", 1), ("/layer/1/order", "cluster")],
    }
    packed, found, conductor = compare(Piece(asked, memory), play, blocks=20, hands=hands, block=None)
    path = tmp_path / "take.toml"
    path.write_text(found["take"], encoding="utf-8")
    take = load_score(path)
    assert take.title == title
    assert take.played_s == pytest.approx(20 * 1024 / 44_100)
    rate = take.file.sample_rate_hz
    log = [
        {"at": round(take.clock.seconds(one.at) * rate), "path": one.path, "value": one.value} for one in take.changes
    ]
    assert log == list(conductor.log.since(0))
    assert [type(one.value) for one in take.changes if one.path in {"/seed", "/volume", "/forget"}] == [
        float, float, int, float
    ]  # fmt: skip
    assert take.model_copy(update={"changes": (), "played_s": None}) == packed.score.model_copy(update={"changes": ()})
    heard = samples(Piece(take, memory))
    assert heard.shape == (20 * 1024, 2)
    assert np.abs(heard).max() > 1e-4


def test_nothing_of_the_machine_travels(memory: Memory, tmp_path: Path) -> None:
    import soundfile

    room = tmp_path / "secret-room.wav"
    soundfile.write(room, np.eye(1, 500).T * np.ones((1, 2)), 44_100)
    packed = parcel(Piece(score(memory=str(tmp_path / "mine.safetensors"), reverb={"impulse": str(room)}), memory))
    assert str(tmp_path) not in packed.text
    assert "secret" not in packed.text
    assert "secret" not in repr(packed.score)
    assert packed.arrays["room.impulse"].shape[1] == 2
    assert packed.arrays["room.impulse"][0].max() == 1.0
    assert any("recording travels" in notice for notice in packed.notices)
    assert any("'tiny'" in notice for notice in packed.notices)


def test_a_room_that_is_too_large_is_refused(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parcels, "SHARED_ROOM_BYTES", 10_000)
    with pytest.raises(InputError, match=r"reverb: a room of 0\.\d s takes 0\.\d MB.*at most 0\.01 MB"):
        parcel(Piece(score(), memory))


def test_a_page_without_hands_measures_nothing_for_them(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    piece = Piece(score(), memory)
    monkeypatch.setattr(Profile, "of", lambda *_, **__: pytest.fail("measured"))
    packed = parcel(piece, hands=False)
    assert set(json.loads(packed.text)["hand"]["inside"]) == {"random", "layerwise", "list"}


def heard_lufs(played: Score, memory: Memory, length_s: float) -> float:
    """The loudness of what is played live."""
    performance = Performance(played, memory)
    meter = LoudnessMeter(performance.rate, peak=False)
    while performance.position < length_s * performance.rate:
        meter.add(performance.next().samples)
    meter.finish()
    return meter.integrated_lufs


@pytest.mark.parametrize("lufs", [-30.0, -14.0])
def test_a_page_is_as_loud_as_the_file(lufs: float, memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parcels, "gain_db", loudness.gain_db)
    asked = score(duration_s=8, loudness={}, forgetting=forgetting(to=0), master={"loudness_lufs": lufs})
    packed = parcel(Piece(asked, memory), hands=False)
    assert heard_lufs(packed.score, memory, 8) == pytest.approx(lufs, abs=0.5)
    assert packed.score.changes[0].path == "/volume"
    assert not any("quieter" in notice for notice in packed.notices)
    as_it_is = parcel(Piece(score(master={"normalize": False}), memory), hands=False)
    assert as_it_is.score.changes[0].value == 1.0


def test_a_take_keeps_its_volume(memory: Memory) -> None:
    asked: dict[str, Any] = {"resolution": "block", "played_s": 6, "loudness": {}, "forgetting": forgetting(to=0)}
    kept = parcel(Piece(score(**asked, master={"normalize": False}), memory), hands=False)
    assert kept.score.changes == ()
    assert kept.score.voices == score().voices
    brought = parcel(Piece(score(**asked, master={"loudness_lufs": -28}), memory), hands=False)
    assert brought.score.changes == ()
    assert heard_lufs(brought.score, memory, 6) == pytest.approx(-28, abs=0.5)


def test_what_voices_cannot_reach_is_told(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parcels, "gain_db", lambda *_: 14.5)
    packed = parcel(Piece(score(voices=[{}, {"level_db": -7}]), memory), hands=False)
    assert [voice.level_db for voice in packed.score.voices] == [12.0, 5.0]
    assert "the page is 2.5 dB quieter than the file: its voices cannot be louder" in packed.notices


def test_of_a_long_piece_little_is_rendered(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    onsets: list[int] = []

    def silent(_: object, event: Event) -> WholeVoice:
        onsets.append(event.onset)
        silence = np.zeros(100, dtype=np.float32)
        fires = np.zeros((memory.units, 1), dtype=np.float32)
        return WholeVoice(Made(event, silence[None], fires, silence, 1.0), silence)

    monkeypatch.setattr(Instrument, "voice", silent)
    asked = score(duration_s=7200, tempo_bpm=600, voices=[{"chords": ["Am"]}, {"chords": ["C"], "beats": 0.5}])
    piece = Piece(asked, memory)
    assert loudness.gain_db(piece, None, untracked) == 0.0  # silence keeps its level
    assert 200 <= len(onsets) <= 300


def test_an_adaptive_forgetting_listens_to_so_much(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "SHARED_LISTENED", 5)
    packed = parcel(Piece(score(forgetting={"order": "random", "adaptive": {}}), memory), hands=False)
    assert any("listens to the first 5 chords" in notice for notice in packed.notices)
    decided = json.loads(packed.text)["decided"]
    assert len(decided["times"]) == 6
    assert decided["drives"][-1] == 0.0


def test_the_sound_is_described(memory: Memory) -> None:
    plain = json.loads(parcel(Piece(score(), memory), hands=False).text)["sound"]
    assert not plain["learned"]
    assert plain["tone"] is None
    assert plain["quality"] == "live"
    voiced = Memory(memory.generator, memory.header, net=tiny_net(memory.spec))
    asked = score(tone={"tilt_db": -6}, voices=[{}, {"forgets": False}], reverb={"rt60_s": 2, "wet_db": -3})
    packed = parcel(Piece(asked, voiced), hands=False)
    sound = json.loads(packed.text)["sound"]
    assert sound["learned"]
    assert [voice["forgets"] for voice in sound["voices"]] == [True, False]
    assert (sound["wet_db"], sound["block"], sound["rate_hz"]) == (-3.0, 1024, 44_100)
    tilt = Tilt(asked.tone, 44_100).coefficients
    assert tilt == (sound["tone"]["now"], sound["tone"]["before"], sound["tone"]["back"])
    impulse, whole = packed.arrays["room.impulse"], room(asked.reverb, 44_100, asked.seed)
    assert len(impulse) < len(whole)
    assert ((impulse - whole[: len(impulse)]) ** 2).sum() < 1e-6
    assert (whole[len(impulse) :] ** 2).sum() < 3e-6
    unvoiced = parcel(Piece(asked, voiced), hands=False, vocoder=False)
    assert not json.loads(unvoiced.text)["sound"]["learned"]
    assert any("without its vocoder" in notice for notice in unvoiced.notices)
    other = parcel(Piece(score(inverter="joint"), voiced), hands=False)
    assert any("inverter = 'joint'" in notice for notice in other.notices)
