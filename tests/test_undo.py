"""Undo and redo, on the hand that plays: what is left is what the moves that were not taken back would leave."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fugue_state.bending.hand import Hand, Reach
from fugue_state.bending.strengths import Strengths
from fugue_state.live.board import History
from fugue_state.score.model import Change
from fugue_state.score.paths import Value, written

LAYERS = {"one": 4, "two": 3}
PLANNED = np.linspace(0.5, 1.0, 7, dtype=np.float32)
NEAR = 2 / 254  # what many units are at goes into a byte each
Move = tuple[str, Value]

layer = st.integers(1, 2)
share = st.sampled_from([0.0, 0.25, 0.5, 1.0])
switch = st.sampled_from([0, 1])
moves: st.SearchStrategy[Move] = st.one_of(
    st.tuples(st.just("/forget"), share),
    st.tuples(st.just("/recall"), st.none()),
    st.tuples(layer.map("/layer/{}/forget".format), share),
    st.tuples(layer.map("/layer/{}/recall".format), st.none()),
    st.tuples(layer.map("/layer/{}/lock".format), switch),
    st.tuples(layer.map("/layer/{}/freeze".format), switch),
    st.tuples(layer.map("/layer/{}/order".format), st.sampled_from(["", "random"])),
    st.tuples(st.builds("/unit/{}/{}/strength".format, layer, st.integers(1, 3)), share),
    st.tuples(st.builds("/unit/{}/{}/freeze".format, layer, st.integers(1, 3)), switch),
    st.tuples(st.just("/grid/2"), st.binary(min_size=3, max_size=3)),
    st.tuples(st.just("/hold/1"), st.binary(min_size=4, max_size=4)),
)
of_parts: st.SearchStrategy[Move] = st.one_of(
    moves,
    st.tuples(layer.map("/part/{}/forget".format), share),
    st.tuples(layer.map("/part/{}/recall".format), st.none()),
)


def reversed_order(_: str, layer: str) -> Any:
    return np.arange(4)[::-1] if layer == "one" else np.arange(4, 7)[::-1]


def a_hand() -> Hand:
    return Hand((), [Reach(LAYERS, np.arange(7), reversed_order)])


def a_hand_of_parts() -> Hand:
    orders = {"one": np.arange(4)[::-1], "two": np.arange(3)[::-1]}

    def own_order(_: str, name: str) -> Any:
        return orders[name]

    return Hand((), [Reach({name: len(order)}, order, own_order) for name, order in orders.items()])


def play(hand: Hand, move: Move) -> None:
    hand.play(Change(at=0.0, path=move[0], value=written(move[1])), lambda: PLANNED)


def left(hand: Hand) -> Strengths:
    return hand(0.0, lambda _: PLANNED)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(moves, st.sampled_from(["undo", "redo"])), max_size=24))
def test_undo_and_redo_leave_what_the_moves_that_stand_leave(asked: list[Move | str]) -> None:
    undone_as_asked(asked, a_hand)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(of_parts, st.sampled_from(["undo", "redo"])), max_size=24))
def test_undo_and_redo_of_several_parts(asked: list[Move | str]) -> None:
    undone_as_asked(asked, a_hand_of_parts)


def undone_as_asked(asked: list[Move | str], make: Callable[[], Hand]) -> None:
    hand, history = make(), History(longest=100, near=0)
    done: list[Move] = []
    undone: list[Move] = []
    for at, one in enumerate(asked):
        if isinstance(one, str):
            found = history.undo() if one == "undo" else history.redo()
            before, after = (done, undone) if one == "undo" else (undone, done)
            assert (found is None) == (not before)
            for move in found or []:
                play(hand, move)
            if before:
                after.append(before.pop())
        else:
            back = hand.back(one[0])
            play(hand, one)
            history.add(f"{at}", at, one, back)
            if back:
                done.append(one)
                undone.clear()
    fresh = make()
    for move in done:
        play(fresh, move)
    assert hand.values == fresh.values
    np.testing.assert_array_equal(hand.frozen, fresh.frozen)
    np.testing.assert_allclose(hand.brushed, fresh.brushed, atol=NEAR)
    np.testing.assert_allclose(left(hand), left(fresh), atol=NEAR)


def test_a_frozen_layer_comes_back_as_it_was_held() -> None:
    hand = a_hand()
    play(hand, ("/layer/1/forget", 0.5))
    play(hand, ("/layer/1/freeze", 1))
    held = left(hand)
    play(hand, ("/forget", 1.0))
    for path in ("/recall", "/layer/1/recall", "/layer/1/freeze", "/unit/1/2/freeze"):
        back = hand.back(path)
        play(hand, (path, None if path.endswith("recall") else 0))
        assert not hand.frozen[1]
        for move in reversed(back):
            play(hand, move)
        assert hand.frozen.tolist() == [True] * 4 + [False] * 3
        np.testing.assert_allclose(left(hand)[:4], held[:4], atol=NEAR)


def test_a_layer_shows_as_frozen_as_its_units_are() -> None:
    hand = a_hand()
    back = hand.back("/layer/1/freeze")
    play(hand, ("/layer/1/freeze", 1))
    assert hand.values["/layer/1/freeze"] == 1
    for move in reversed(back):
        play(hand, move)
    assert hand.values["/layer/1/freeze"] == 0
    play(hand, ("/hold/1", bytes([9, 9, 9, 9])))
    assert hand.values["/layer/1/freeze"] == 1
    play(hand, ("/unit/1/2/freeze", 0))
    assert hand.values["/layer/1/freeze"] == 0
