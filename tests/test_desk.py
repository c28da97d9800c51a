"""Banks, the way to them, and undo; without a server, a loop or a clock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from fugue_state.live.board import Bank, History
from fugue_state.live.desk import Desk
from fugue_state.live.protocol import RefusedError
from fugue_state.live.wish import Move

LAYERS = {"one": 2}


def bank(forget: float) -> Bank:
    return Bank.of({"/forget": forget, "/layer/1/forget": 0.0}, np.ones(2, dtype=np.float32), LAYERS)


class Told:
    """A desk, and what it asked for and told."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[Move], str, str]] = []
        self.told: list[dict[str, Any]] = []
        self.desk = Desk(lambda _, **values: self.told.append(values), self._ask)

    def _ask(self, moves: Sequence[Move], by: str, gesture: str = "") -> None:
        self.asked.append((list(moves), by, gesture))

    def values(self) -> list[Any]:
        """What the master fader was moved to."""
        return [value for moves, _, _ in self.asked for path, value in moves if path == "/forget"]


def test_a_bank_is_fired_step_by_step_in_one_gesture() -> None:
    told = Told()
    told.desk.store(3, bank(1.0), "one", 10)
    told.desk.fire(3, bank(0.0), "one", 100, 1000)
    for at in (600, 1100, 1600):
        told.desk.step(at)
    assert told.values() == [0.0, 0.5, 1.0]
    assert {(by, gesture) for _, by, gesture in told.asked} == {("bank 3", "bank 0")}
    assert [(event["did"], event["bank"], event["at_sample"]) for event in told.told] == [
        ("stored", 3, 10), ("fired", 3, 100),
    ]  # fmt: skip


def test_without_a_time_a_bank_is_there_at_once() -> None:
    told = Told()
    told.desk.store(1, bank(1.0), "one", 0)
    told.desk.fire(1, bank(0.0), "one", 0, 0)
    told.desk.step(1)
    assert told.values() == [1.0]


def test_what_a_hand_has_taken_or_something_else_that_plays_ends_the_way() -> None:
    for end in (lambda desk: desk.let_go("/forget"), Desk.halt):
        told = Told()
        told.desk.store(1, bank(1.0), "one", 0)
        told.desk.fire(1, bank(0.0), "one", 0, 1000)
        end(told.desk)
        told.desk.step(500)
        assert told.values() == [0.0]


def test_between_what_was_when_a_bank_was_armed_and_that_bank() -> None:
    told = Told()
    with pytest.raises(RefusedError, match="no bank is armed"):
        told.desk.between(0.5)
    told.desk.store(1, bank(1.0), "one", 0)
    told.desk.arm(1, bank(0.5), "one", 0)
    armed = [told.desk.armed]
    told.desk.between(0.5)
    told.desk.fire(1, bank(0.0), "one", 0, 0)
    assert [*armed, told.desk.armed] == [1, None]
    told.desk.between(0.0)
    assert told.values() == [0.75, 1.0, 0.5]


def test_an_empty_bank_leads_nowhere() -> None:
    told = Told()
    told.desk.store(1, bank(1.0), "one", 0)
    told.desk.arm(1, bank(0.0), "one", 0)
    told.desk.clear()
    with pytest.raises(RefusedError, match="bank 1 is empty"):
        told.desk.arm(1, bank(0.0), "one", 0)
    with pytest.raises(RefusedError, match="bank 1 is empty"):
        told.desk.fire(1, bank(0.0), "one", 0, 0)
    assert told.desk.armed is None
    with pytest.raises(RefusedError, match="no bank is armed"):
        told.desk.between(0.5)


def test_undo_and_redo_ask_for_the_moves_of_a_gesture_and_stop_the_way() -> None:
    told, history = Told(), History(8, 0)
    history.add("one", 0, ("/forget", 0.5), [("/forget", 0.25)])
    told.desk.store(1, bank(1.0), "one", 0)
    told.desk.fire(1, bank(0.0), "one", 0, 1000)
    told.desk.undo(history)
    told.desk.redo(history)
    told.desk.step(500)
    assert told.asked[1:] == [([("/forget", 0.25)], "undo", ""), ([("/forget", 0.5)], "redo", "")]
    told.desk.undo(history)
    with pytest.raises(RefusedError, match="there is nothing to undo"):
        told.desk.undo(history)
