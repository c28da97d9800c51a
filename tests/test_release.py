"""A sound that is let go fades smoothly, whichever voice plays it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fugue_state.arrays import Array
from fugue_state.audio.mix import let_go
from fugue_state.config import RELEASE_S
from fugue_state.engine.player import Player
from fugue_state.engine.stream import StreamedVoice, read
from fugue_state.engine.whole import Instrument
from fugue_state.memory.memory import Memory
from fugue_state.piece.event import Event
from fugue_state.piece.piece import Piece
from fugue_state.score.model import Score

from .test_share_sound import NODE, ask

RATE = 44_100
RELEASE = round(RELEASE_S * RATE)
SCORE = Score(duration_s=6.0, resolution="block")
HELD = 20_000


def first(memory: Memory) -> Event:
    return next(Piece(SCORE, memory).events())


def sung(voice: StreamedVoice, lengths: list[int]) -> Array:
    """The next samples of a voice, in parts of these lengths."""
    parts = []
    for count in lengths:
        read([(voice, count)])
        passage = voice.play(count)
        parts.append(voice.sound(passage.start, count) * passage.weights)
    return np.concatenate(parts)


def streamed(memory: Memory, event: Event) -> StreamedVoice:
    return Player(Piece(SCORE, memory))._voice(event, "draft")


def falling(count: int) -> Array:
    return let_go(-HELD, count, RELEASE)


def test_a_whole_voice_is_let_go(tiny_memory: Memory) -> None:
    instrument, event = Instrument(Piece(SCORE, tiny_memory)), first(tiny_memory)
    rings = instrument.voice(event)
    voice = instrument.voice(replace(event, held=HELD))
    whole, found = rings.sound(0, 60_000), voice.sound(0, 60_000)
    np.testing.assert_array_equal(found[:HELD], whole[:HELD])  # held in loudness as if it rang out
    np.testing.assert_allclose(found, (whole * falling(60_000))[: HELD + RELEASE], atol=1e-7)
    assert np.abs(found[-20:]).max() < 1e-4 * np.abs(whole).max()
    over = []
    for count in (HELD + RELEASE - 1, 1):
        voice.play(count)
        over.append(voice.over)
    assert over == [False, True]
    assert np.abs(whole[HELD + RELEASE :]).max() > 0.001


def test_a_whole_voice_fires_no_longer_than_it_sounds(tiny_memory: Memory) -> None:
    instrument, event = Instrument(Piece(SCORE, tiny_memory)), first(tiny_memory)
    rings, voice = instrument.voice(event), instrument.voice(replace(event, held=HELD))
    for one in (rings, voice):
        one.play(HELD + RELEASE // 2)
    np.testing.assert_array_equal(voice.column, rings.column)
    assert 0.0 < voice.firing.max() < 0.8 * rings.firing.max()


@pytest.mark.parametrize("lengths", [[50_000], [10_000, 9_000, 3_000, 28_000]])
def test_a_streamed_voice_is_let_go_by_its_event(tiny_memory: Memory, lengths: list[int]) -> None:
    event = first(tiny_memory)
    voice = streamed(tiny_memory, replace(event, held=HELD))
    found, whole = sung(voice, lengths), sung(streamed(tiny_memory, event), lengths)
    np.testing.assert_allclose(found, whole * falling(50_000), atol=1e-7)
    assert voice.over
    assert voice.released
    assert np.abs(whole[HELD + RELEASE :]).max() > 0.001


def test_a_streamed_voice_is_let_go_by_hand_once(tiny_memory: Memory) -> None:
    event = first(tiny_memory)
    voice = streamed(tiny_memory, event)
    before = sung(voice, [HELD])
    assert not voice.released
    voice.release()
    parts = [before, sung(voice, [1000])]
    firing = voice.firing
    voice.release()  # it goes on as it was let go
    parts.append(sung(voice, [29_000]))
    same = sung(streamed(tiny_memory, replace(event, held=HELD)), [HELD, 1000, 29_000])
    np.testing.assert_array_equal(np.concatenate(parts), same)
    assert firing.max() > 0.0
    assert voice.firing.max() == 0.0


def test_while_time_stands_still_it_does_not_fade(tiny_memory: Memory) -> None:
    voice = streamed(tiny_memory, replace(first(tiny_memory), held=HELD))
    sung(voice, [HELD + RELEASE // 2])
    voice.hold(True)
    weights = voice.play(2000).weights
    assert (weights == weights[0]).all()
    assert weights[0] > 0.0
    assert not voice.over


@pytest.mark.skipif(NODE is None, reason="there is no node")
def test_a_page_lets_go_as_python_does() -> None:
    found = ask(do="voice", held=500, release_s=0.05, rate=8000, length=4000, blocks=[300, 700, 200])
    gains = np.array(found["samples"]).reshape(-1, 2)[:, 0] * np.sqrt(2.0)
    np.testing.assert_allclose(gains, let_go(-500, 1200, 400), atol=1e-6)
    assert found["over"] == [False, True, True]
