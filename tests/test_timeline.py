from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fugue_state.bending.adaptive import Governor
from fugue_state.bending.hand import Hand, Reach
from fugue_state.bending.orders import Order
from fugue_state.bending.schedule import even_shape, shape_of
from fugue_state.bending.strengths import forget
from fugue_state.bending.timeline import GOING, Path, Timeline, along, compose
from fugue_state.errors import InputError
from fugue_state.score.cues import Course
from fugue_state.score.model import Adaptive, Change, Score
from fugue_state.settings import Place, checked

UNITS = 20
LAYERS = {"deconv1": 12, "deconv2": 8}
ORDER = np.random.default_rng(1).permutation(UNITS)


def orders(name: str, *, reverse: bool, units: Sequence[str], scope: Sequence[str], place: Place) -> Order:
    order = ORDER if name == "random" else np.arange(UNITS)
    order = order[order < 12] if "deconv1" in scope else order
    return order[::-1] if reverse else order


def never(path: Path, place: Place) -> Any:
    raise AssertionError("nothing here is even")


def timeline(last_s: float = 100.0, **score: Any) -> Timeline:
    plan = {"order": "random", "pace": "linear"} | score.pop("forgetting", {})
    return compose(checked(Score, {"duration_s": 100, "forgetting": plan} | score), UNITS, last_s, orders, never)


def forgotten(line: Timeline, *times_s: float) -> list[float]:
    return [round(1.0 - float(line(time).mean()), 4) for time in times_s]


@pytest.mark.parametrize(
    ("course", "middle"),
    [
        ({}, 0.5),
        ({"pace": "exponential"}, 0.1192),
        ({"pace": "exponential", "steepness": -4}, 0.8808),
        ({"pace": "exponential", "steepness": 0}, 0.5),
        ({"pace": "sigmoid"}, 0.5),
        ({"pace": "steps", "steps": 3}, 2 / 3),
        ({"pace": "points", "points": [[0.25, 0.8], [0.75, 0.4]]}, 0.6),
    ],
)
def test_courses_begin_and_end_and_pass_where_they_should(course: dict[str, Any], middle: float) -> None:
    shape = shape_of(checked(Course, course))
    assert shape(0.0) == 0.0
    assert shape(1.0) == 1.0
    assert shape(0.5) == pytest.approx(middle, abs=1e-4)


def test_sigmoid_is_flat_at_both_ends() -> None:
    shape = shape_of(Course(pace="sigmoid", steepness=8))
    assert shape(0.1) < 0.05
    assert shape(0.9) > 0.95


@pytest.mark.parametrize("time", [-0.1, 1.1, float("nan")])
def test_times_outside_a_move_are_refused(time: float) -> None:
    with pytest.raises(InputError, match=r"within 0..1"):
        shape_of(Course())(time)


def test_even_undoes_what_is_measured() -> None:
    def far(shares: list[float]) -> np.ndarray[Any, np.dtype[np.float64]]:
        return 7.0 * np.array(shares) ** 3

    shape = even_shape(far)
    times = np.linspace(0, 1, 101)
    heard = far([shape(float(time)) for time in times])
    assert np.abs(heard / 7.0 - times).max() < 0.01
    assert all(a <= b for a, b in pairwise(map(shape, map(float, times))))


def test_even_goes_back_evenly_too() -> None:
    shape = even_shape(lambda shares: 5.0 - 5.0 * np.array(shares) ** 2)
    assert shape(0.25) == pytest.approx(0.5, abs=0.01)


def test_even_leaves_the_last_of_the_time_for_what_gets_no_further_away() -> None:
    shape = even_shape(lambda shares: np.minimum(np.array(shares), 1.0 - np.array(shares)))
    assert shape(0.475) == pytest.approx(0.25, abs=0.01)
    assert shape(0.95) == pytest.approx(0.5, abs=0.01)
    assert shape(0.975) == pytest.approx(0.75, abs=0.01)
    assert shape(1.0) == 1.0


def test_even_does_not_wait_where_nothing_changes_and_survives_silence() -> None:
    flat = even_shape(lambda shares: np.maximum(0.0, np.array(shares) - 0.5))
    assert flat(0.0) == pytest.approx(0.5, abs=0.07)
    assert even_shape(lambda shares: np.zeros(len(shares)))(0.3) == 0.3
    with pytest.raises(InputError, match="measured"):
        shape_of(Course(pace="even"))


@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 2**16))
@settings(deadline=None)
def test_ways_lead_where_they_should_unit_after_unit(begun: float, to: float, seed: int) -> None:
    begin = forget(ORDER, begun, UNITS)
    order = np.random.default_rng(seed).permutation(UNITS)
    path = along(begin, order, to)
    assert (path(0.0) == begin).all()
    assert float(path(1.0).mean()) == pytest.approx(1.0 - to, abs=1e-6)
    moved = [(path(share) != begin).sum() for share in np.linspace(0, 1, 9)]
    assert moved == sorted(moved)
    between = path(0.4)
    partial = (between != begin) & (between > 0) & (between < 1)
    assert partial.sum() <= 1


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.integers(0, 2**16))
@settings(deadline=None)
def test_a_way_moves_each_unit_by_what_is_left_for_it(begun: float, to: float, share: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    begin = random.choice([0.0, 1.0, begun, 1 / 3], UNITS).astype(np.float32)
    order = random.permutation(UNITS)[: random.integers(1, UNITS + 1)]
    held = begin[order].astype(np.float64)
    change = len(order) * (1.0 - to) - held.sum()
    room = np.abs(float(change > 0) - held)
    before = np.concatenate([[0.0], np.cumsum(room)[:-1]])
    wanted = begin.copy()
    wanted[order] = held + np.sign(change) * np.clip(share * abs(change) - before, 0.0, room)
    assert along(begin, order, to)(share).tobytes() == wanted.tobytes()


def test_times_may_be_asked_for_in_any_order() -> None:
    cues = [{"do": ("recall", "forget")[i % 2], "at": i / 4, "over": 0.2, "to": (i % 7) / 7} for i in range(4 * GOING)]
    times = np.linspace(0, GOING, 700).tolist()
    forwards = timeline(cues=cues)
    there = [forwards(time) for time in times]
    back = [forwards(time) for time in times[::-1]]
    assert np.array_equal(there, back[::-1])
    assert np.array_equal(timeline(cues=cues)(times[-1]), there[-1])


def test_a_way_of_one_direction_does_not_go_the_other() -> None:
    half = forget(ORDER, 0.5, UNITS)
    assert (along(half, ORDER, 0.2, -1)(1.0) == half).all()
    assert (along(half, ORDER, 0.8, 1)(1.0) == half).all()
    assert float(along(half, ORDER, 0.2, 1)(1.0).mean()) == pytest.approx(0.8)


def test_forgetting_alone_is_the_plain_fraction() -> None:
    line = timeline()
    for time in (0.0, 13.0, 50.0, 99.9, 100.0):
        assert np.allclose(line(time), forget(ORDER, time / 100.0, UNITS), atol=1e-6)
    assert (line(0.0) == 1.0).all()
    assert (line(100.0) == 0.0).all()


def test_start_until_and_to() -> None:
    line = timeline(forgetting={"start": 20, "until": "60 %", "to": 0.5})
    assert forgotten(line, 0, 20, 40, 60, 90) == [0, 0, 0.25, 0.5, 0.5]


def test_recall_goes_on_from_where_it_is_and_ends_intact_exactly() -> None:
    line = timeline(forgetting={"to": 0.5}, cues=[{"do": "recall", "at": 50, "over": 20}])
    assert forgotten(line, 40, 50, 60, 70, 90) == [0.4, 0.5, 0.25, 0, 0]
    assert (line(70.0) == 1.0).all()
    # What was forgotten last comes back first.
    assert np.allclose(line(60.0), forget(ORDER, 0.25, UNITS), atol=1e-6)


def test_a_recall_in_its_own_order_and_a_forget_after_it() -> None:
    cues = [
        {"do": "recall", "at": 50, "over": 10, "order": "layerwise", "to": 0.2},
        {"do": "forget", "at": 70, "over": 10},
    ]
    line = timeline(cues=cues)
    assert forgotten(line, 60, 65, 75, 80) == [0.2, 0.2, 0.6, 1.0]
    gone = np.flatnonzero(line(50.0) == 0)
    back = np.flatnonzero((line(60.0) == 1) & (line(50.0) == 0))
    assert set(back) == set(np.sort(gone)[: len(back)])


def test_holds_stop_the_clock_of_what_they_interrupt() -> None:
    line = timeline(forgetting={"until": 40}, cues=[{"do": "hold", "at": 20, "over": 30}])
    assert forgotten(line, 20, 35, 50, 60, 70, 90) == [0.5, 0.5, 0.5, 0.75, 1, 1]
    # Without an end of its own, what is interrupted is done in time all the same.
    line = timeline(cues=[{"do": "hold", "at": 50, "over": 25}])
    assert forgotten(line, 50, 75, 100) == [round(50 / 75, 4), round(50 / 75, 4), 1]
    # A hold without an end lasts until something else happens.
    line = timeline(cues=[{"do": "hold", "at": 50}, {"do": "jump", "at": 80, "to": 0.9}])
    assert forgotten(line, 79.9, 80)[1] == 0.9
    assert forgotten(line, 51)[0] == forgotten(line, 79.9)[0]


def test_jumps_go_either_way_at_once() -> None:
    cues = [{"do": "jump", "at": 10, "to": 0.8}, {"do": "jump", "at": 20, "to": 0.1}]
    line = timeline(forgetting={"to": 0}, cues=cues)
    assert forgotten(line, 9.9, 10, 19, 20, 99) == [0, 0.8, 0.8, 0.1, 0.1]


def test_cues_after_others_at_bars_and_within_their_scope() -> None:
    cues: list[dict[str, Any]] = [
        {"do": "forget", "name": "fall", "at": "bar 3", "over": "2 bars", "scope": ["deconv1"]},
        {"do": "recall", "after": "fall", "at": 5, "over": 10},
    ]
    line = timeline(tempo_bpm=60, beats_per_bar=5, forgetting={"to": 0}, cues=cues)
    assert forgotten(line, 10, 20, 25, 35) == [0, 0.6, 0.6, 0]
    assert (line(20.0)[:12] == 0).all()
    assert (line(20.0)[12:] == 1).all()


def test_units_fade_and_recall_is_exact_after_the_fade() -> None:
    line = timeline(
        forgetting={"to": 0, "fade_s": 4}, cues=[{"do": "jump", "at": 10, "to": 1}, {"do": "jump", "at": 30, "to": 0}]
    )
    levels = [float(line(time).mean()) for time in np.arange(10, 14.5, 0.5)]
    assert levels == sorted(levels, reverse=True)
    assert 0.4 < float(line(12.0).mean()) < 0.6
    assert (line(14.0) == 0).all()
    assert (line(34.0) == 1).all()


def test_adaptive_forgets_what_is_clear_and_recalls_what_is_not() -> None:
    governor = Governor(Adaptive(clarity=0.7, rate=0.01))
    for time in range(1, 40):
        governor.hear(time, 0.95, 0.0, 1)
    forgot = governor.share(40.0)
    assert forgot == pytest.approx(0.39, abs=0.02)
    for time in range(40, 60):
        governor.hear(time, 0.2, 0.0, 1)
    assert governor.share(60.0) < forgot - 0.1
    assert governor.share(20.0) == pytest.approx(0.19, abs=0.02)  # the past stays as it was
    with pytest.raises(InputError, match="came after"):
        governor.hear(3, 1, 0, 1)


def test_adaptive_is_bounded_and_stops_before_silence() -> None:
    governor = Governor(Adaptive(clarity=0.0, rate=0.05, quiet_db=-20, density=4))
    shares = [0.0]
    for time in range(1, 30):
        governor.hear(time, 1.0, 0.0 if time < 15 else -30.0, 5)
        shares.append(governor.share(time))
    assert max(abs(b - a) for a, b in pairwise(shares)) <= 0.05 + 1e-9
    assert shares[-1] < shares[15]
    assert all(0 <= share <= 1 for share in shares)


def test_adaptive_is_faster_where_much_sounds_at_once() -> None:
    def reached(sounding: int) -> float:
        governor = Governor(Adaptive(clarity=0.7, rate=0.02, reaction=0.2, density=1))
        for time in range(1, 20):
            governor.hear(time, 0.9, 0.0, sounding)
        return governor.share(20.0)

    assert reached(1) < reached(2) < reached(3)


def test_an_adaptive_forgetting_is_taken_over_where_it_has_come_to() -> None:
    governor = Governor(Adaptive(clarity=0.5, rate=0.01))
    score = checked(
        Score, {"duration_s": 100, "forgetting": {"adaptive": {}}, "cues": [{"do": "recall", "at": 50, "over": 10}]}
    )
    line = compose(score, UNITS, 100.0, orders, never, governor.share)
    for time in range(1, 50):
        governor.hear(line.listening_s(time), 0.9, 0.0, 1)
    assert forgotten(line, 50) == [pytest.approx(0.49, abs=0.01)]
    assert forgotten(line, 60) == [0]


def change(at: float, path: str, value: float = 0.0) -> tuple[float, Change]:
    return at, Change(at=at, path=path, value=value)


def test_the_hand_of_a_performer() -> None:
    hand = Hand(
        [
            change(1, "/forget", 0.25),
            change(2, "/layer/2/forget", 1.0),
            change(3, "/unit/1/5/strength", 0.25),
            change(4, "/recall"),
        ],
        [Reach(LAYERS, ORDER)],
    )
    assert (hand(0.5) == 1).all()
    assert np.allclose(hand(1.5), forget(ORDER, 0.25, UNITS))
    assert (hand(2.5)[12:] == 0).all()
    assert hand(3.5)[4] == 0.25 * hand(2.5)[4]
    assert np.array_equal(np.delete(hand(3.5), 4), np.delete(hand(2.5), 4))
    assert (hand(4.0) == 1).all()
    assert np.allclose(hand(1.5), forget(ORDER, 0.25, UNITS))  # asked again, the past is the same


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/layer/3/forget", "layers 1 to 2"),
        ("/unit/2/9/strength", "deconv2 has units 1 to 8"),
        ("/unit/2/0/strength", "1 to 8"),
    ],
)
def test_a_hand_that_reaches_beside_the_units(path: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Hand([change(0, path, 0.5)], [Reach(LAYERS, ORDER)])
