"""What moves sample by sample: curves of voices, fades, and the freeze that ends a piece."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from fugue_state.arrays import Array
from fugue_state.engine.chain import Block
from fugue_state.engine.moving import Moving
from fugue_state.engine.performance import Performance, played
from fugue_state.engine.whole import Instrument, play
from fugue_state.errors import InputError
from fugue_state.memory.memory import Memory
from fugue_state.output.render import render
from fugue_state.piece.motion import Fade, Going
from fugue_state.piece.piece import Piece
from fugue_state.score.model import Score
from fugue_state.score.text import dump_score, parse_score
from fugue_state.settings import checked

RATE, BLOCK = 44_100, 1024
# Two chords sound at a time, and nothing is forgotten: what differs is what moves.
BASE: dict[str, Any] = {
    "duration_s": 4.0,
    "tempo_bpm": 60,
    "seed": 4,
    "quality": "draft",
    "voices": [{"chords": ["Am", "C", "G"], "event_s": 1.4}],
    "forgetting": {"order": "random", "pace": "linear", "to": 0},
    "reverb": {"rt60_s": 0.3},
    "tone": {"tilt_db": 2},
    "file": {"subtype": "FLOAT"},
}
LEVEL = [[0.5, -12], ["50 %", 3], [3, -120]]
PAN = [[0, -2], ["bar 1.5", 1.5], [4, 0]]
WET = [[1, -120], [3, 6]]
MOVES = {"level_db": LEVEL, "pan": PAN, "wet_db": WET}
FADES = {"fade_in_s": 1.5, "fade_out_s": 1.2}


def score(*curves: dict[str, Any], **changes: Any) -> Score:
    """A score whose voices have these curves, a voice each."""
    voice = BASE["voices"][0]
    voices = [voice | {"curves": one, "name": f"v{number}"} for number, one in enumerate(curves)]
    return checked(Score, BASE | ({"voices": voices} if voices else {}) | changes)


def whole(score: Score, memory: Memory, block: int = RATE) -> Array:
    """The stems (N, 2 S) of a piece: dry, reverb, voices; and before them the mix."""
    piece = Piece(score, memory)
    heard = play(Instrument(piece, stems=True), piece.events(), score.samples, block)
    return np.concatenate([np.concatenate([one.samples, one.stems], axis=1) for one in heard if one.stems is not None])


def live(score: Score, memory: Memory, hands: dict[int, tuple[Any, ...]] | None = None, blocks: int = 0) -> list[Block]:
    """What is heard live; before a block, a hand may move a control."""
    performance, heard = Performance(score, memory), []
    for number in range(blocks or -(-score.samples // performance.block)):
        if number in (hands or {}):
            performance.change(*(hands or {})[number])
        heard.append(performance.next())
    return heard


def sound(heard: list[Block]) -> Array:
    return np.concatenate([one.samples for one in heard])


def line(points: list[list[float]], count: int = 4 * RATE) -> Array:
    """Straight lines through points in seconds."""
    at, values = np.array(points).T
    return np.asarray(np.interp(np.arange(count) / RATE, at, values))


def gain(points: list[list[float]], count: int = 4 * RATE) -> Array:
    return np.asarray(10.0 ** (line(points, count) / 20.0))


def test_a_level_moves_while_chords_sound(tiny_memory: Memory) -> None:
    flat = {"tone": {"tilt_db": 0}}
    plain, moved = (whole(score(one, **flat), tiny_memory)[:, 2:4] for one in ({}, {"level_db": LEVEL}))
    wanted = gain([[0.5, -12], [2, 3], [3, -120]])
    np.testing.assert_allclose(moved, plain * wanted[:, None], atol=1e-6)
    assert np.abs(plain[3 * RATE :]).max() > 1e-3
    assert np.abs(moved[3 * RATE :]).max() < 1e-5


def test_a_place_moves_and_goes_no_further_than_the_side(tiny_memory: Memory) -> None:
    flat = {"tone": {"tilt_db": 0}}
    middle = [{"chords": ["Am", {"chord": "C", "pan": 0.25}], "event_s": 0.7, "spread": 0}]
    moving = [middle[0] | {"curves": {"pan": PAN}}]
    plain, moved = (whole(score(voices=voices, **flat), tiny_memory)[:, 2:4] for voices in (middle, moving))
    own = np.where(np.arange(4 * RATE) // RATE % 2, 0.25, 0.0)
    place = np.clip(own + line([[0, -2], [2, 1.5], [4, 0]]), -1, 1)
    mono = plain[:, 0] / np.cos((own + 1) * np.pi / 4)
    np.testing.assert_allclose(moved[:, 0], mono * np.cos((place + 1) * np.pi / 4), atol=1e-6)
    np.testing.assert_allclose(moved[:, 1], mono * np.sin((place + 1) * np.pi / 4), atol=1e-6)
    assert np.abs(moved[: RATE // 4, 1]).max() < 1e-6 < np.abs(moved[: RATE // 4, 0]).max()


def test_the_room_hears_of_each_voice_what_its_curve_says(tiny_memory: Memory) -> None:
    both = whole(score({"wet_db": [[0, -120]]}, {}), tiny_memory)
    second = whole(score({"level_db": [[0, -120]]}, {}), tiny_memory)
    np.testing.assert_allclose(both[:, 4:6], second[:, 4:6], atol=2e-6)
    assert np.abs(both[:, 2:4] - second[:, 2:4]).max() > 0.01
    dry = whole(score({}, {}), tiny_memory)
    np.testing.assert_array_equal(both[:, 2:4], dry[:, 2:4])
    even = whole(score({"wet_db": [[0, 0]]}, {}), tiny_memory)
    np.testing.assert_allclose(even, dry, atol=1e-6)


@pytest.mark.parametrize("block", [512, 777, 50_000])
def test_what_moves_does_not_hang_on_the_length_of_blocks(block: int, tiny_memory: Memory) -> None:
    moving = score(MOVES, {}, **FADES)
    np.testing.assert_allclose(whole(moving, tiny_memory, block), whole(moving, tiny_memory), atol=1e-6)


def test_stems_add_up_whatever_moves(tiny_memory: Memory) -> None:
    mix, dry, reverb, first, second = np.split(whole(score(MOVES, {"pan": PAN}, **FADES), tiny_memory), 5, axis=1)
    np.testing.assert_allclose(dry + reverb, mix, atol=1e-6)
    np.testing.assert_allclose(first + second, dry, atol=1e-6)
    assert min(np.abs(one).max() for one in (reverb, first, second)) > 1e-3


def test_what_has_no_curves_is_left_alone(tiny_memory: Memory) -> None:
    passages: list[Any] = [object()]
    assert Moving(score({}))(passages, Going(0), 512) == passages
    assert Fade(score())(Going(0), 512) is None
    np.testing.assert_array_equal(whole(score({}), tiny_memory), whole(score(), tiny_memory))


def test_live_it_moves_as_offline(tiny_memory: Memory) -> None:
    quiet = {"tone": {"tilt_db": 0}, "reverb": {"rt60_s": 0.1, "wet_db": -120}, "forgetting": {"to": 0}}
    plain, moved = (sound(live(score(one, **quiet), tiny_memory)) for one in ({}, {"level_db": LEVEL}))
    late = Performance(score(**quiet), tiny_memory).latency
    wanted = gain([[0.5, -12], [2, 3], [3, -120]], len(plain) - late)
    assert np.abs(plain).max() < 0.5  # the limiter does nothing
    np.testing.assert_allclose(moved[late:], plain[late:] * wanted[:, None], atol=1e-5)


def test_curves_stand_still_with_the_piece(tiny_memory: Memory) -> None:
    def peaks(**curves: Any) -> Array:
        return np.array([np.abs(one.samples).max() for one in live(score(curves), tiny_memory, hands, 150)])

    hands: dict[int, tuple[Any, ...]] = {40: ("/freeze", 1), 120: ("/freeze", 0)}
    one = peaks(level_db=[[0, 0], [40 * BLOCK / RATE, 0], [40 * BLOCK / RATE + 0.2, -40]])
    np.testing.assert_allclose(one[:119], peaks()[:119], rtol=1e-4)
    assert one[149] < 0.05 * one[115]


def test_a_swapped_memory_moves_along_its_own_time(tiny_memory: Memory) -> None:
    performance = Performance(score({"level_db": [[0, 0], [0.5, -60]]}, fade_in_s=0.5), tiny_memory)
    before = [np.abs(performance.next().samples).max() for _ in range(60)]
    performance.swap(tiny_memory)
    after = [np.abs(performance.next().samples).max() for _ in range(60)]
    assert max(before[:5]) < 3e-3
    assert max(after[:5]) > 1e-2  # a new beginning, which does not fade in
    assert max(before[50:] + after[50:]) < 0.1 * max(after)
    assert performance.score.fade_in_s == 0.0


def test_fades_are_of_everything_sample_by_sample(tiny_memory: Memory) -> None:
    plain, faded = (whole(score(**fades), tiny_memory) for fades in ({}, FADES))
    n = np.arange(4 * RATE)
    rising = np.clip(n / (1.5 * RATE), 0, 1)
    falling = np.clip((4 * RATE - 1 - n) / (1.2 * RATE), 0, 1)
    wanted = np.sin(np.pi / 2 * rising) ** 2 * np.sin(np.pi / 2 * falling) ** 2
    np.testing.assert_allclose(faded, plain * wanted[:, None], atol=1e-6)
    assert (faded[[0, -1]] == 0).all()
    assert np.abs(plain[3 * RATE :]).max() > 1e-3


def test_live_a_piece_fades_and_stops_and_may_be_played_on(tiny_memory: Memory) -> None:
    plain, faded = (live(score(**fades), tiny_memory, blocks=300) for fades in ({}, FADES))
    late, end = Performance(score(), tiny_memory).latency, 4 * RATE
    gain = Fade(score(**FADES))(Going(0), end)
    assert gain is not None
    wanted = sound(plain)[late : late + end] * gain[:, None]
    np.testing.assert_allclose(sound(faded)[late : late + end], wanted, atol=2e-4)
    assert not sound(faded)[late + end :].any()
    assert np.abs(sound(plain)[late + end :]).max() > 0.01
    performance = Performance(score(**FADES), tiny_memory)
    heard = [performance.next() for _ in range(200)]
    assert performance.values["/play"] == 0
    performance.change("/play", 1)
    heard += [performance.next() for _ in range(60)]
    assert np.abs(heard[-1].samples).max() > 1e-3
    take = performance.take()
    np.testing.assert_array_equal(sound(list(played(Piece(take, tiny_memory)))), sound(heard))


def test_fades_wait_while_the_piece_is_paused(tiny_memory: Memory) -> None:
    hands: dict[int, tuple[Any, ...]] = {60: ("/play", 0), 200: ("/play", 1)}
    heard = live(score(fade_out_s=2.0), tiny_memory, hands, 330)
    silent = [not one.samples.any() for one in heard]
    last, paused = -(-4 * RATE // BLOCK), 139  # blocks: in the first of the pause the sound still closes
    assert not any(silent[201 : last + paused - 3])
    assert all(silent[last + paused + 2 :])


def test_the_sound_of_a_moment_goes_on_to_the_end(tiny_memory: Memory) -> None:
    ends = {"resolution": "block", "freeze_at": "40 %", "fade_out_s": 1.2}
    frozen = list(played(Piece(score(**ends), tiny_memory)))
    by_hand = live(score(), tiny_memory, {69: ("/freeze", 1)})  # the first block after 1.6 s
    before = round(2.6 * RATE)
    np.testing.assert_array_equal(sound(frozen)[:before], sound(by_hand)[:before])
    assert np.abs(sound(frozen)[before:]).max() < np.abs(sound(by_hand)[before:]).max()
    assert np.abs(sound(frozen)[-10:]).max() < 1e-5  # the limiter is late by some samples
    assert np.abs(sound(by_hand)[-10:]).max() > 1e-3
    assert {one.seen.chord for one in frozen[70:170]} == {frozen[70].seen.chord}


def test_a_freeze_of_the_score_can_be_let_go(tiny_memory: Memory) -> None:
    performance = Performance(score(resolution="block", freeze_at=1.6, fade_out_s=1.0), tiny_memory)
    heard = [performance.next() for _ in range(100)]
    assert performance.values["/freeze"] == 1
    performance.change("/freeze", 0)
    heard += [performance.next() for _ in range(100)]
    assert performance.values["/freeze"] == 0
    assert len({one.seen.chord for one in heard[100:]}) > 1
    take = performance.take()
    assert [change.path for change in take.changes] == ["/freeze"]
    np.testing.assert_array_equal(sound(list(played(Piece(take, tiny_memory)))), sound(heard))


def test_a_frozen_end_is_rendered(tmp_path: Any, tiny_memory: Memory) -> None:
    ends = {"resolution": "block", "freeze_at": 1.6, "fade_out_s": 1.2, "quality": "final"}
    report = render(Piece(score(**ends), tiny_memory), tmp_path / "a.wav")
    assert report.duration_s == 4.0
    assert report.longest_silence_s < 0.5


def test_curves_and_fades_are_written_as_they_are_read() -> None:
    one = score(MOVES, {}, **FADES)
    assert parse_score(dump_score(one)) == one
    assert "[voices.curves]" in dump_score(one)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fade_in_s = 100", "fade_in_s: it takes 1:40, and the piece 1:30"),
        ("fade_in_s = 60\nfade_out_s = 40", "fade_out_s: fading in and out takes 1:40, and the piece 1:30"),
        ('fade_out_s = "10 %"', "fade_out_s: a length is seconds or a clock time"),
        ("fade_out_s = -1", "fade_out_s: must be greater than or equal to 0"),
        ("freeze_at = 40", 'freeze_at: a sound is frozen while it sounds: with resolution = "block"'),
        ('resolution = "block"\nfreeze_at = "101 %"', "freeze_at: 101 % is past the end of the piece (1:30)"),
        ("[[voices]]\ncurves = {pan = [[0, 3]]}", "pan[1][2]: must be less than or equal to 2 (got 3)"),
        ("[[voices]]\ncurves = {pan = [[0, 0], [0, 1]]}", "voices[1].curves.pan: the times of a curve must rise"),
        ("[[voices]]\ncurves = {wet_db = [[91, 0]]}", "wet_db[1]: 91.0 is past the end of the piece (1:30)"),
        ("[[voices]]\ncurves = {level = [[1, 0]]}", "level"),
        ("[[voices]]\ncurves = {level_db = [[1]]}", "level_db"),
        ("[[voices]]\ncurves = {level_db = -3}", "level_db"),
    ],
)
def test_what_cannot_move_is_told(text: str, message: str) -> None:
    with pytest.raises(InputError) as refused:
        parse_score(text)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_nothing_is_frozen_before_it_sounds(tiny_memory: Memory) -> None:
    late = [{"chords": ["Am"], "start": 2, "event_s": 1.4}]
    with pytest.raises(InputError, match="nothing sounds yet at 0:01, the first chord begins at 0:02"):
        Piece(score(voices=late, resolution="block", freeze_at=1), tiny_memory)


def test_a_gain_is_even_from_sample_to_sample() -> None:
    fade = Fade(score(**FADES))
    parts = [fade(Going(begin), end - begin) for begin, end in pairwise([0, 5, 512, 66_000, 70_000, 4 * RATE])]
    joined = np.concatenate([np.ones(4000, np.float32) if one is None else one for one in parts])
    np.testing.assert_array_equal(joined, fade(Going(0), 4 * RATE))
    assert np.abs(np.diff(joined, 2)).max() < 1e-6
