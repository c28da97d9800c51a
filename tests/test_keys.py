"""Playing by keys: what is pressed sounds, is let go, and sounds the same again from its take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from fugue_state.config import KEYS_AT_ONCE, RELEASE_S
from fugue_state.engine.chain import Block
from fugue_state.engine.performance import Performance, played
from fugue_state.errors import InputError
from fugue_state.memory.catalogue import MemoryHeader
from fugue_state.memory.layers import Generator
from fugue_state.memory.memory import Memory
from fugue_state.output.render import render
from fugue_state.piece.conductor import Bar, Conductor, Passing
from fugue_state.piece.event import Event
from fugue_state.piece.keyboard import key_label, octaves_away
from fugue_state.piece.piece import Piece
from fugue_state.score.model import Score
from fugue_state.score.pitches import velocity_db
from fugue_state.score.text import dump_score, load_score
from fugue_state.settings import checked
from fugue_state.share.parcel import parcel

BASE: dict[str, Any] = {
    "duration_s": 6.0,
    "tempo_bpm": 60,
    "seed": 4,
    "quality": "live",
    "resolution": "block",
    "voices": [{"chords": ["Am", "C", "G"], "event_s": 1.4}],
    "forgetting": {"order": "random", "pace": "linear", "to": 0},
    "reverb": {"rt60_s": 0.3},
    "file": {"subtype": "FLOAT"},
}
BLOCK, RATE = 1024, 44_100
RELEASE_BLOCKS = int(RELEASE_S * RATE / BLOCK) + 1
Moves = dict[int, list[tuple[str, Any]]]


def score(**changes: Any) -> Score:
    return checked(Score, BASE | changes)


def bars(memory: Memory, count: int, moves: Moves, **changes: Any) -> list[Bar]:
    """Step through blocks; before the one of a number, make changes."""
    conductor, found = Conductor(Piece(score(**changes), memory)), []
    for number in range(count):
        for path, value in moves.get(number, []):
            conductor.change(path, value)
        found.append(conductor.step())
    return found


def keyed(found: list[Bar]) -> list[Event]:
    return [event for bar in found for event in bar.events if event.press is not None]


def play(performance: Performance, blocks: int, moves: Moves) -> list[Block]:
    heard = []
    for number in range(blocks):
        for path, value in moves.get(number, []):
            performance.change(path, value)
        heard.append(performance.next())
    return heard


def sound(heard: list[Block]) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.concatenate([one.samples for one in heard])


def tuned(generator: Generator, header: MemoryHeader, *labels: str) -> Memory:
    """A memory that calls its labels by other names."""
    model = header.model.model_copy(update={"labels": labels})
    return Memory(generator, header.model_copy(update={"model": model}))


ALONE: Moves = {0: [("/loop", 0)]}

# Which label a key plays.


@pytest.mark.parametrize(
    ("key", "labels", "label"),
    [
        (40, ["E2", "F2", "E3"], "E2"),
        (28, ["E2", "F2", "E3"], "E2"),  # an octave below: the nearest one there is
        (127, ["E2", "G5", "G2"], "G5"),
        (62, ["E2", "E4"], "E4"),  # no D at all: the nearest note
        (46, ["Bb2", "A2"], "Bb2"),
        (60, ["Am", "Cm", "C7", "C"], "C"),
        (60, ["Am", "C7", "Cm"], "Cm"),
        (60, ["Am", "C7"], "C7"),
        (70, ["Am", "A#m"], "A#m"),
        (62, ["C", "E"], "C"),  # as near: the root below
        (63, ["C", "E"], "E"),
        (55, ["G7", "C7", "A7"], "G7"),  # chords, although G7 is a note's name, too
        (60, ["bell", "drum", "wind"], "bell"),
        (64, ["bell", "drum", "wind"], "drum"),
        (59, ["bell", "drum", "wind"], "wind"),
        (60, [], None),
    ],
)
def test_a_key_plays_a_label(key: int, labels: list[str], label: str | None) -> None:
    assert key_label(key, labels) == label


def test_only_notes_have_octaves() -> None:
    assert octaves_away(28, ["E2", "F2"]) == "E2"
    assert octaves_away(40, ["E2", "F2"]) is None
    assert octaves_away(62, ["Am", "C"]) is None
    assert octaves_away(62, []) is None


def test_velocity_is_level() -> None:
    assert velocity_db(127) == 0.0
    assert velocity_db(63.5) == pytest.approx(-12.04, abs=0.01)


# What a press begins.


def test_a_press_begins_an_event_in_the_next_block(tiny_memory: Memory) -> None:
    voices = [{"chords": ["Am"]}, {"chords": ["C"], "level_db": -3, "pan": -0.5, "spread": 0, "forgets": False}]
    moves = {0: [("/loop", 0), ("/keys/voice", 2), ("/forget", 1.0)], 5: [("/key/67", 0.5)], 9: [("/key/57", 1.0)]}
    found = bars(tiny_memory, 20, moves, voices=voices)
    first, second = keyed(found)
    assert found[5].events == (first,)
    assert (first.onset, first.voice, first.label, first.chord, first.pan) == (5 * BLOCK, 1, "G", "G", -0.5)
    assert first.level_db == pytest.approx(-3 + velocity_db(63.5))
    assert (first.strengths == 1.0).all()  # its voice does not forget
    assert (second.label, second.level_db, second.press) == ("Am", -3, 2)


def test_what_keys_play_is_forgotten(tiny_memory: Memory) -> None:
    found = keyed(bars(tiny_memory, 3, {1: [("/forget", 0.5), ("/key/60", 1.0)]}))
    assert 0.4 < found[0].strengths.mean() < 0.6


def test_the_loop_goes_on_or_not(tiny_memory: Memory) -> None:
    moves = {0: [("/loop", 0)], 50: [("/loop", 1)]}
    onsets = [event.onset for bar in bars(tiny_memory, 150, moves) for event in bar.events]
    assert onsets == [2 * RATE, 3 * RATE]  # as if it had gone on all the time


def test_keys_wait_for_each_other_in_order(tiny_memory: Memory) -> None:
    chord: list[tuple[str, Any]] = [("/key/60", 1.0), ("/key/57", 1.0), ("/key/67", 1.0), ("/key/57", 0.0)]
    found = bars(tiny_memory, 9, ALONE | {2: chord})
    assert [(event.onset // BLOCK, event.label) for event in keyed(found)] == [(2, "C"), (3, "Am"), (4, "G")]
    assert [event.held for event in keyed(found)] == [None, BLOCK, None]  # let go while it waited


def test_a_chord_for_a_pitch_class(tiny_memory: Memory) -> None:
    moves: Moves = {
        0: [("/keys/1/chord", "G")],
        1: [("/key/60", 1.0)],
        2: [("/key/62", 1.0)],
        3: [("/keys/1/chord", "")],
        4: [("/key/48", 1.0)],
    }
    assert [event.label for event in keyed(bars(tiny_memory, 6, moves))] == ["G", "C", "C"]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("/keys/voice", 2, "/keys/voice: the piece has 1 voice, got 2"),
        ("/keys/3/chord", "Xm", "Xm"),
        ("/tempo", 500.0, "7.5 to 480 beats a minute, got 500"),
        ("/key/60", 1.1, "from 0 to 1"),
        ("/loop", 2, "from 0 to 1"),
    ],
)
def test_what_keys_cannot_do(tiny_memory: Memory, path: str, value: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Conductor(Piece(score(), tiny_memory)).change(path, value)
    if path not in {"/key/60", "/loop"}:
        with pytest.raises(InputError, match=r"changes\[1\]\.value"):
            Piece(score(changes=[{"at": 1, "path": path, "value": value}]), tiny_memory)


@pytest.mark.parametrize("stop", ["/hush", "/play"])
def test_nothing_is_pressed_in_silence_or_heard_later(tiny_memory: Memory, stop: str) -> None:
    conductor = Conductor(Piece(score(), tiny_memory))
    conductor.change("/loop", 0)
    for key in (60, 61, 62):
        conductor.change(f"/key/{key}", 1.0)
    assert len(conductor.step().events) == 1
    conductor.change(stop, None if stop == "/hush" else 0)
    with pytest.raises(InputError, match="nothing sounds now"):
        conductor.change("/key/63", 1.0)
    conductor.change("/key/60", 0.0)
    for _ in range(40):
        assert not conductor.step().events
    conductor.change("/play", 1)
    assert not any(conductor.step().events for _ in range(10))


def test_too_many_at_once_are_refused(tiny_memory: Memory) -> None:
    conductor = Conductor(Piece(score(), tiny_memory))
    for key in range(KEYS_AT_ONCE):
        conductor.change(f"/key/{key}", 1.0)
    with pytest.raises(InputError, match="8 keys wait"):
        conductor.change("/key/99", 1.0)


@pytest.mark.parametrize(
    ("rule", "same", "other"),
    [
        ({}, True, False),
        ({"latents": "fresh"}, False, False),
        ({"latents": "walk", "wander": 0.1}, False, False),
        ({"variation": 0.3}, False, False),
    ],
)
def test_latents_follow_the_rule_of_the_voice(
    tiny_memory: Memory, rule: dict[str, Any], same: bool, other: bool
) -> None:
    moves = {number: [(f"/key/{key}", 1.0)] for number, key in enumerate((60, 60, 72, 60))}

    def drawn(**changes: Any) -> list[Any]:
        voices = [{"chords": ["Am"], **rule}]
        return [event.latent for event in keyed(bars(tiny_memory, 5, moves, voices=voices, **changes))]

    first, again, octave, third = drawn()
    assert np.array_equal(first, again) == np.array_equal(first, third) == same
    assert np.array_equal(first, octave) == other
    for one, two in zip(drawn(), drawn(), strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.array_equal(first, drawn(seed=5)[0])
    if "wander" in rule:
        near, far = np.linalg.norm(again - first), np.linalg.norm(third - first)
        assert 0.0 < near < far


def test_a_path_leads_to_another_latent(tiny_memory: Memory) -> None:
    voices = [{"chords": ["Am"], "latents": "path", "towards_seed": 9, "event_s": 1.4}]
    moves = {0: [("/key/60", 1.0)], 100: [("/key/60", 1.0)], 250: [("/key/60", 1.0)], 260: [("/key/60", 1.0)]}
    one, two, three, four = (event.latent for event in keyed(bars(tiny_memory, 262, moves, voices=voices)))
    assert not np.array_equal(one, two)
    np.testing.assert_array_equal(three, four)


def test_a_memory_without_labels_plays_the_chords_of_its_atlas(
    tiny_generator: Generator, tiny_header: MemoryHeader
) -> None:
    memory = tuned(tiny_generator, tiny_header)
    moves = ALONE | {key - 59: [(f"/key/{key}", 1.0)] for key in range(60, 72)}
    found = keyed(bars(memory, 14, moves, voices=[{"chords": [{}]}]))
    assert {(event.label, event.chord) for event in found} == {(None, None)}
    described = Piece(score(voices=[{"chords": [{}], "like": {"bright": 0.5}}]), memory)
    there = described.parts[0].described.atlas.chords
    found = keyed(bars(memory, 14, moves, voices=[{"chords": [{}], "like": {"bright": 0.5}}]))
    assert any(event.chord for event in found)
    for event in found:
        assert event.label is None
        assert event.chord is None or event.chord in there


def test_latents_are_sought_for_the_label_of_a_key(tiny_memory: Memory) -> None:
    voices = [{"chords": ["Am"], "like": {"bright": 0.9}, "latents": "fresh"}]
    moves = {number: [("/key/60", 1.0)] for number in range(20)}
    made = Piece(score(voices=voices), tiny_memory)
    atlas = made.parts[0].described.atlas
    among = {tuple(entry.z[:3]) for entry in atlas.choose(16, label="C", seed=4 + 60, bright=0.9)}
    found = keyed(bars(tiny_memory, 21, moves, voices=voices))
    assert {event.label for event in found} == {"C"}
    assert 5 < len({tuple(event.latent[:3]) for event in found}) <= 16
    assert {tuple(event.latent[:3]) for event in found} <= among


def test_a_memory_of_notes_plays_notes(tiny_generator: Generator, tiny_header: MemoryHeader) -> None:
    memory = tuned(tiny_generator, tiny_header, "C3", "D3", "D4")
    moves = {0: [("/key/48", 1.0)], 1: [("/key/38", 1.0)], 2: [("/key/86", 1.0)], 3: [("/key/87", 1.0)]}
    assert [event.label for event in keyed(bars(memory, 5, moves, voices=[{"chords": ["C3"]}]))] == [
        "C3", "D3", "D4", "D4",
    ]  # fmt: skip


def test_keys_play_the_memory_of_their_voice(
    tiny_memory: Memory, tiny_generator: Generator, tiny_header: MemoryHeader
) -> None:
    notes = tuned(tiny_generator, tiny_header, "C3", "D3", "D4")
    voices = [{"chords": ["Am"]}, {"chords": ["C3"], "memory": "notes"}]
    performance = Performance(score(memory="tiny", voices=voices), tiny_memory, {"notes": notes})
    moves: Moves = {
        0: [("/loop", 0), ("/keys/1/chord", "G"), ("/keys/3/chord", "D4"), ("/key/60", 1.0)],
        1: [("/keys/voice", 2), ("/key/60", 1.0), ("/part/2/forget", 0.5)],
        2: [("/key/50", 1.0)],
        9: [("/key/60", 0.0)],
    }
    heard = sound(play(performance, 60, moves))
    events = list(Piece(performance.take(), tiny_memory, {"notes": notes}).events())
    assert [(event.voice, event.label, float(event.strengths.mean()) < 1) for event in events] == [
        (0, "G", False),
        (1, "C3", True),
        (1, "D4", True),
    ]
    again = played(Piece(performance.take(), tiny_memory, {"notes": notes}))
    np.testing.assert_array_equal(heard, sound(list(again)))


# Letting go.


def test_a_key_is_let_go_in_the_next_block(tiny_memory: Memory) -> None:
    moves = ALONE | {1: [("/key/60", 1.0)], 5: [("/key/60", 0.0)], 6: [("/key/60", 0.0), ("/key/3", 0.0)]}
    assert [bar.let_go for bar in bars(tiny_memory, 8, moves)] == [frozenset()] * 5 + [{1}] + [frozenset()] * 2


def test_a_key_that_is_pressed_again_lets_go_of_what_it_played(tiny_memory: Memory) -> None:
    moves = ALONE | {1: [("/key/60", 1.0)], 5: [("/key/60", 0.5)], 9: [("/key/60", 0.0)]}
    assert [bar.let_go for bar in bars(tiny_memory, 11, moves)] == [
        {1} if number == 5 else {2} if number == 9 else frozenset() for number in range(11)
    ]


def test_the_pedal_keeps_what_is_let_go(tiny_memory: Memory) -> None:
    moves = ALONE | {
        1: [("/key/60", 1.0), ("/pedal", 1)],
        2: [("/key/57", 1.0)],
        4: [("/key/60", 0.0)],
        6: [("/pedal", 0)],
        8: [("/pedal", 1), ("/key/57", 0.0)],
        9: [("/key/57", 1.0)],
    }
    let_go = {6: {1}, 9: {2}}  # 57 is still down at 6, and pressed again at 9
    assert [bar.let_go for bar in bars(tiny_memory, 12, moves)] == [let_go.get(n, frozenset()) for n in range(12)]


def test_all_that_is_held_can_be_let_go(tiny_memory: Memory) -> None:
    conductor = Conductor(Piece(score(), tiny_memory))
    for path, value in [("/key/60", 1.0), ("/key/64", 1.0), ("/key/64", 0.0), ("/pedal", 1)]:
        conductor.change(path, value)
    assert conductor.held == [("/key/60", 0.0), ("/pedal", 0)]
    for move in conductor.held:
        conductor.change(*move)
    assert conductor.held == []
    conductor.step()
    assert conductor.step().let_go | conductor.step().let_go == set()  # both were let go as they began


# What is heard.


def level(heard: list[Block]) -> list[float]:
    return [float(np.abs(one.samples).max()) for one in heard]


QUIET = {"reverb": {"wet_db": -120, "rt60_s": 0.3}, "loudness": {"hold": False}}


def test_a_key_sounds_until_it_is_let_go(tiny_memory: Memory) -> None:
    moves = ALONE | {2: [("/key/60", 1.0)], 20: [("/key/60", 0.0)]}
    performance = Performance(score(**QUIET), tiny_memory)
    loud = level(play(performance, 40, moves))
    late = performance.latency // BLOCK + 1
    assert max(loud[:2]) == 0.0
    assert min(loud[3:20]) > 0.001
    assert loud[20 + RELEASE_BLOCKS // 2] > 0.0
    assert max(loud[20 + RELEASE_BLOCKS + late :]) < 1e-6  # the room


def test_a_key_clicks_neither_when_it_is_let_go_nor_when_it_is_stolen(tiny_memory: Memory) -> None:
    def steps(moves: Moves) -> float:
        played = sound(play(Performance(score(**QUIET), tiny_memory), 60, ALONE | moves))
        return float(np.abs(np.diff(played[30 * BLOCK :], axis=0)).max())

    held = steps({2: [("/key/60", 1.0)]})
    assert steps({2: [("/key/60", 1.0)], 30: [("/key/60", 0.0)]}) <= 1.05 * held


def test_softer_is_quieter(tiny_memory: Memory) -> None:
    hard, soft = (
        max(level(play(Performance(score(**QUIET), tiny_memory), 20, ALONE | {2: [("/key/60", value)]})))
        for value in (1.0, 0.5)
    )
    assert soft == pytest.approx(hard / 4.0, rel=0.01)


def test_the_oldest_makes_room(tiny_memory: Memory) -> None:
    performance = Performance(score(**QUIET), tiny_memory)
    moves = ALONE | {number + 1: [(f"/key/{50 + number}", 1.0)] for number in range(KEYS_AT_ONCE + 2)}
    play(performance, KEYS_AT_ONCE + 4, moves)
    voices = performance._player.voices.all
    assert [voice.event.press for voice in voices if voice.released] == [1, 2]
    assert len(voices) == KEYS_AT_ONCE + 2
    play(performance, RELEASE_BLOCKS, {})
    assert [voice.event.press for voice in performance._player.voices.all] == list(range(3, KEYS_AT_ONCE + 3))


def test_keys_sound_over_a_held_moment(tiny_memory: Memory) -> None:
    moves: Moves = {20: [("/freeze", 1)], 40: [("/key/60", 1.0)], 50: [("/key/60", 0.0)]}
    still = level(play(Performance(score(**QUIET), tiny_memory), 120, {20: [("/freeze", 1)]}))
    performance = Performance(score(**QUIET), tiny_memory)
    heard = play(performance, 120, moves)
    assert {one.seen.chord for one in heard[42:50]} == {"C"}
    assert level(heard)[:40] == still[:40]
    assert not np.allclose(level(heard)[42:50], still[42:50])
    assert len(performance._player.voices.all) == 1  # what is held; the key has faded meanwhile
    np.testing.assert_allclose(level(heard)[100:], still[100:], rtol=0.01)


def wild(seed: int, blocks: int) -> Moves:
    """All that keys can do, at random, with hands that forget."""
    random = np.random.default_rng(seed)

    def one() -> tuple[str, Any]:
        share, key = float(random.random()), int(random.integers(48, 72))
        choices: list[tuple[str, Any]] = [
            (f"/key/{key}", share), (f"/key/{key}", share), (f"/key/{key}", 0.0), (f"/key/{key}", 0.0),
            ("/pedal", int(share < 0.3)), ("/loop", int(share < 0.5)), ("/keys/voice", 1 + int(share < 0.3)),
            (f"/keys/{1 + key % 12}/chord", "G" if share < 0.3 else ""), ("/tempo", 30.0 + 90.0 * share),
            ("/forget", share / 2), ("/seed", key), ("/freeze", int(share < 0.1)), ("/rest", None),
            ("/chord", "Am" if share < 0.2 else ""), ("/quality", "draft" if share < 0.3 else "live"),
        ]  # fmt: skip
        return choices[int(random.integers(len(choices)))]

    return {number: [one() for _ in range(random.poisson(1))] for number in range(blocks)}


VOICES = [{"chords": ["Am", "C"], "latents": "walk"}, {"chords": ["G"], "variation": 0.2, "event_s": 0.9}]


@pytest.mark.parametrize("values", [{}, {"forgetting": {"adaptive": {"rate": 0.5}, "order": "random"}}])
def test_a_take_with_keys_renders_to_what_was_heard(tmp_path: Path, tiny_memory: Memory, values: Any) -> None:
    performance = Performance(score(voices=VOICES, **values), tiny_memory)
    heard = sound(play(performance, 300, wild(3, 300)))
    assert np.abs(heard).max() > 0.01
    (tmp_path / "take.toml").write_text(dump_score(performance.take()))
    take = load_score(tmp_path / "take.toml")
    assert sum(change.path.startswith("/key/") for change in take.changes) > 40
    render(Piece(take, tiny_memory), tmp_path / "take.wav")
    again, _ = soundfile.read(tmp_path / "take.wav", dtype="float32")
    np.testing.assert_array_equal(heard, again)


def test_a_final_take_with_keys_is_as_long_and_as_loud(tiny_memory: Memory) -> None:
    performance = Performance(score(voices=VOICES, **QUIET), tiny_memory)
    moves: Moves = ALONE | {5: [("/key/60", 1.0), ("/key/60", 0.0)], 20: [("/key/57", 1.0)], 30: [("/key/57", 0.0)]}
    heard = play(performance, 60, moves)
    take = performance.take().model_copy(update={"quality": "final"})
    finer = list(played(Piece(take, tiny_memory)))
    assert len(finer) == 60
    for one, other in zip(heard, finer, strict=True):
        assert one.samples.any() == other.samples.any()
        assert one.seen.chord == other.seen.chord


def test_another_memory_takes_over_what_is_set_but_no_key(
    tiny_memory: Memory, tiny_generator: Generator, tiny_header: MemoryHeader
) -> None:
    performance = Performance(score(voices=[{}]), tiny_memory)
    moves: Moves = {0: [("/keys/1/chord", "G"), ("/keys/2/chord", "Am"), ("/loop", 0), ("/tempo", 90.0)],
                    1: [("/key/60", 1.0)]}  # fmt: skip
    play(performance, 10, moves)
    performance.swap(tuned(tiny_generator, tiny_header, "Am", "E", "F"))
    values = performance.values
    assert (values["/keys/1/chord"], values["/keys/2/chord"], values["/loop"], values["/tempo"]) == ("", "Am", 0, 90.0)
    assert performance.held == []
    play(performance, 60, {0: [("/key/60", 0.0)]})
    assert performance._player.voices.all == []


# Tempo.


def test_the_tempo_moves_the_pieces_time(tiny_memory: Memory) -> None:
    moves: Moves = {0: [("/tempo", 120.0)], 43: [("/tempo", 60.0)]}
    onsets = [event.onset for bar in bars(tiny_memory, 130, moves) for event in bar.events]
    double = 43 * BLOCK  # at which twice as much of the piece has passed
    assert onsets[:2] == [0, RATE // 2]
    assert onsets[2:] == [(2 + number) * RATE - double for number in range(3)]
    conductor = Conductor(Piece(score(), tiny_memory))
    conductor.change("/tempo", 30.0)
    for _ in range(10):
        conductor.step()
    assert conductor.played_s == pytest.approx(5 * BLOCK / RATE)


def test_what_a_gate_holds_is_shorter_at_a_faster_tempo(tiny_memory: Memory) -> None:
    voices = [{"chords": ["Am", "C"], "event_s": 1.4, "gate": 0.5}]
    first, second = (bars(tiny_memory, 2, {0: [("/tempo", bpm)]}, voices=voices)[0].events[0] for bpm in (60.0, 120.0))
    assert (first.held, second.held) == (RATE // 2, RATE // 4)


def test_a_takes_own_time_follows_its_tempo(tiny_memory: Memory) -> None:
    take = score(played_s=3.0, changes=[{"at": 0, "path": "/tempo", "value": 120.0}])
    passing = Passing(Piece(take, tiny_memory))
    assert passing.heard_s(2.0) == pytest.approx(1.0)
    assert passing.heard_s(2.01) == pytest.approx(1.005)
    assert passing.passed_s(1.5) == pytest.approx(3.0)
    plain = Passing(Piece(replace_played(take), tiny_memory))
    assert plain.heard_s(2.01) == pytest.approx(2.01, abs=1e-12)


def replace_played(take: Score) -> Score:
    return take.model_copy(update={"changes": ()})


# Shared pages.


def test_a_page_of_a_take_with_keys_is_refused(tiny_memory: Memory) -> None:
    take = score(
        played_s=3.0, changes=[{"at": 1, "path": "/volume", "value": 0.5}, {"at": 1, "path": "/key/60", "value": 1}]
    )
    with pytest.raises(InputError, match=r"changes\[2\]\.path: /key/60: a shared page cannot play by keys"):
        parcel(Piece(take, tiny_memory))
