"""Tempo and metre: seconds, beats and bars are one map, whatever changes."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fugue_state.errors import InputError
from fugue_state.memory.memory import Memory
from fugue_state.piece.piece import Piece
from fugue_state.score.cues import spans
from fugue_state.score.explained import editable
from fugue_state.score.model import Score
from fugue_state.score.tempo import FASTEST_BPM, SLOWEST_BPM, MetreChange, Tempo, TempoChange, tempo_of
from fugue_state.score.text import dump_score, parse_score
from fugue_state.settings import checked

BPM = st.floats(SLOWEST_BPM, FASTEST_BPM)
BEATS = st.integers(1, 64)


@st.composite
def tempos(draw: st.DrawFn) -> Tempo:
    """A map of any changes."""
    bars = sorted(draw(st.sets(st.floats(1, 500), max_size=8)))
    metre_bars = sorted(draw(st.sets(st.integers(1, 500), max_size=5)))
    changes = [TempoChange(bar=bar, bpm=draw(BPM), ramp=draw(st.booleans())) for bar in bars]
    return tempo_of(draw(BPM), draw(BEATS), changes, [MetreChange(bar=bar, beats=draw(BEATS)) for bar in metre_bars])


@given(tempos(), st.floats(0, 40_000))
def test_seconds_and_beats_are_inverse(tempo: Tempo, beats: float) -> None:
    assert tempo.beats(tempo.seconds(beats)) == pytest.approx(beats, rel=1e-9, abs=1e-6)
    bars = beats / 64
    assert tempo.bars(tempo.bar_s(bars)) == pytest.approx(bars, rel=1e-9, abs=1e-6)


@given(tempos(), st.lists(st.floats(0, 40_000), min_size=2, max_size=20))
def test_time_rises_no_faster_and_no_slower_than_the_tempos_allow(tempo: Tempo, beats: list[float]) -> None:
    slowest_s = max(one.beat_s for one in tempo.stretches)
    for one, other in pairwise(sorted(beats)):
        took = tempo.seconds(other) - tempo.seconds(one)
        room = 1e-9 * (1 + tempo.seconds(other))
        assert (other - one) * tempo.shortest_beat_s - room <= took <= (other - one) * slowest_s + room


@given(BPM, BPM, st.integers(2, 300), BEATS)
def test_a_ramp_lies_between_the_tempos_at_its_ends(begin: float, end: float, bar: int, beats_per_bar: int) -> None:
    ramp = tempo_of(begin, beats_per_bar, [TempoChange(bar=bar, bpm=end, ramp=True)], [])
    fast, slow = (
        tempo_of(bpm, beats_per_bar, [TempoChange(bar=bar, bpm=end)], []) for bpm in (max(begin, end), min(begin, end))
    )
    for beats in np.linspace(0, (bar - 1) * beats_per_bar, 7):
        assert fast.seconds(beats) * (1 - 1e-9) <= ramp.seconds(beats) <= slow.seconds(beats) * (1 + 1e-9)
    assert ramp.stretches[-1].beat_s == pytest.approx(60 / end)
    assert ramp.stretches[-1].rise == 0


def test_a_ramp_is_the_integral_of_its_tempo() -> None:
    tempo = tempo_of(90, 4, [TempoChange(bar=9, bpm=30, ramp=True)], [MetreChange(bar=3, beats=3)])
    beats = np.linspace(0, 26, 200_001)  # 2 bars of four and 6 of three
    seconds = np.trapezoid(60 / (90 - 60 * beats / 26), beats)
    assert tempo.seconds(26) == pytest.approx(seconds, rel=1e-9)
    assert tempo.bar_s(8) == pytest.approx(seconds, rel=1e-9)
    assert tempo.seconds(30) == pytest.approx(seconds + 8)


@given(tempos(), st.floats(0, 5_000), st.floats(0, 5_000))
def test_the_map_since_a_second_is_the_same_map(tempo: Tempo, second: float, beats: float) -> None:
    since = tempo.since(second)
    wanted = tempo.seconds(tempo.beats(second) + beats) - second
    assert since.seconds(beats) == pytest.approx(wanted, rel=1e-6, abs=1e-6 * (1 + second))


@given(tempos(), st.floats(0, 5_000), st.floats(0, 50))
def test_bars_are_counted_from_where_they_begin(tempo: Tempo, start_s: float, bars: float) -> None:
    ends_s = start_s + tempo.lasting_s(bars, start_s)
    assert tempo.bars(ends_s) == pytest.approx(tempo.bars(start_s) + bars, rel=1e-6, abs=1e-6)


def score(**values: Any) -> Score:
    return checked(Score, {"duration_s": 60, "tempo_bpm": 60} | values)


CHANGES: dict[str, Any] = {
    "tempo": [{"bar": 3, "bpm": 120}, {"bar": 7, "bpm": 60, "ramp": True}],
    "metre": [{"bar": 2, "beats": 3}],
}


def test_bars_follow_tempo_and_metre() -> None:
    clock = score(**CHANGES).clock
    assert [clock.seconds(f"bar {bar}") for bar in (1, 2, 3)] == [0, 4, 7]  # four beats, then three, a second each
    twelve_s = math.log(2) * 12 / (120 - 60) * 60  # twelve beats from 120 to 60 bpm
    assert clock.seconds("bar 7") == pytest.approx(7 + twelve_s)
    assert clock.seconds("bar 8") == pytest.approx(10 + twelve_s)
    assert clock.seconds("2 bars") == 7
    assert clock.lasting_s("2 bars", clock.seconds("bar 7")) == pytest.approx(6)
    assert clock.lasting_s("1 bar", 1.0) == pytest.approx(3.75)  # a quarter of it is the next bar
    assert clock.lasting_s(5.0, 1.0) == 5
    assert clock.lasting_s("10 %", 50.0) == 6


def test_cues_follow_the_bars() -> None:
    found = score(
        **CHANGES,
        cues=[
            {"do": "forget", "name": "a", "at": "bar 7", "over": "2 bars"},
            {"do": "recall", "after": "a", "at": "1 bar", "over": 1},
        ],
    )
    one, other = spans(found.cues, found.clock)
    assert one.end_s == pytest.approx(one.start_s + 6)
    assert other.start_s == pytest.approx(one.start_s + 9)


@pytest.mark.parametrize("bpm", [37.3, 50, 111.1])
@pytest.mark.parametrize("beats_per_bar", [3, 4, 7])
def test_without_changes_every_time_is_what_it_was_to_the_bit(
    tiny_memory: Memory, bpm: float, beats_per_bar: int
) -> None:
    voice = {"chords": ["Am", "C*0.7", "-*1.3", "G"], "swing": 0.31, "start": "bar 2.3", "beats": 0.9}
    plan = {"order": "random", "pace": "linear"}
    plain = score(tempo_bpm=bpm, beats_per_bar=beats_per_bar, voices=[voice], forgetting=plan)
    bar_s = 60.0 / bpm * beats_per_bar
    start_s = (float("2.3") - 1.0) * bar_s
    assert plain.clock.seconds("bar 2.3") == start_s
    assert plain.clock.seconds("3.7 bars") == 3.7 * bar_s
    assert plain.clock.lasting_s("3.7 bars", 0.1) == 3.7 * bar_s
    beats, wanted = 0.0, []
    for index in range(30):
        length = (0.9, 0.7, 1.3, 0.9)[index % 4]
        late = 0.31 * length if index % 2 else 0.0
        if index % 4 != 2:
            wanted.append(start_s + (beats + late) * (60.0 / bpm))
        beats += length
    line = Piece(plain, tiny_memory).lines[0]
    assert [onset.time_s for onset in line.onsets(1e3)][: len(wanted)] == wanted


def test_onsets_follow_the_tempo(tiny_memory: Memory) -> None:
    plan = {"order": "random", "pace": "linear"}
    found = score(**CHANGES, forgetting=plan, voices=[{"chords": ["Am", "C*2"], "swing": 0.5, "start": "bar 2"}])
    line = Piece(found, tiny_memory).lines[0]
    times = [onset.time_s for onset in line.onsets()]
    assert times[:3] == pytest.approx([4, 6, 7])  # the second is delayed by half of its two beats
    assert times[3] == pytest.approx(found.clock.tempo.seconds(7 + 1 + 1))
    last = score(duration_s=40, forgetting=plan, tempo=[{"bar": 2, "bpm": 120}], voices=[{"chords": ["Am"]}])
    assert np.diff([onset.time_s for onset in Piece(last, tiny_memory).lines[0].onsets()])[[2, 5]].tolist() == [1, 0.5]


def test_scores_with_changes_are_written_and_read() -> None:
    found = score(**CHANGES)
    assert parse_score(dump_score(found)) == found
    text = editable(found)
    assert parse_score(text) == found
    assert "\n[[tempo]]\nbar = 7.0\nbpm = 60.0\nramp = true\n" in text
    assert "\n[[metre]]\nbar = 2\nbeats = 3\n" in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tempo": [{"bar": 3, "bpm": 60}, {"bar": 3, "bpm": 90}]},
         r"tempo\[2\]\.bar: bars must rise from change to change: 3 comes after 3"),
        ({"metre": [{"bar": 9, "beats": 3}, {"bar": 5, "beats": 4}]}, r"metre\[2\]\.bar: .*5 comes after 9"),
        ({"tempo": [{"bar": 3, "bpm": -60}]}, r"tempo\[1\]\.bpm: must be greater than or equal to 0.05 \(got -60\)"),
        ({"tempo": [{"bar": 3, "bpm": 601}]}, r"tempo\[1\]\.bpm: .*600 \(got 601\)"),
        ({"tempo": [{"bar": 0, "bpm": 60}]}, r"tempo\[1\]\.bar: .*1 \(got 0\)"),
        ({"tempo": [{"bar": 3}]}, r"tempo\[1\]\.bpm: Field required"),
        ({"tempo": [{"bar": 3, "bmp": 60}]}, r"unknown key of tempo\[1\] 'bmp'; did you mean 'bpm'"),
        ({"metre": [{"bar": 2.5, "beats": 3}]}, r"metre\[1\]\.bar: .*integer.*2.5"),
        ({"metre": [{"bar": 2, "beats": 65}]}, r"metre\[1\]\.beats: .*64 \(got 65\)"),
        ({"tempo": [{"bar": 1 + i, "bpm": 60} for i in range(5000)]}, r"tempo: 5000 changes .* at most 4,096"),
        ({"tempo": [{"bar": 5, "bpm": 600}], "voices": [{"beats": 0.05}]}, r"voices\[1\]\.beats: .* every 0\.005 s"),
        ({"duration_s": 86_400, "tempo": [{"bar": 2, "bpm": 600}], "voices": [{"beats": 0.5}]},
         r"voices\[1\]: about 17279\d\d chords would sound, too many"),
        ({"tempo": [{"bar": 2, "bpm": 10}], "cues": [{"do": "recall", "at": "bar 5"}]}, "past the end of the piece"),
    ],
)  # fmt: skip
def test_mistakes(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        score(**changes)
    assert "\n" not in str(caught.value)


def test_limits_know_rounds_and_changes() -> None:
    dense = {"duration_s": 86_400, "tempo": [{"bar": 2, "bpm": 600}]}
    assert score(**dense, voices=[{"beats": 0.5, "rounds": 100}])
    assert score(**dense, voices=[{"beats": 0.5, "until": "bar 9"}])
    assert score(tempo=[{"bar": 1, "bpm": 90, "ramp": True}]).clock.tempo.shortest_beat_s == 60 / 90
