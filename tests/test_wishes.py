"""What people ask for is done in its order and answered; without a server, a loop or a clock."""

from __future__ import annotations

from typing import Any

import pytest

from fugue_state.config import LiveConfig
from fugue_state.live.clients import Client
from fugue_state.live.protocol import RefusedError
from fugue_state.live.wish import Wish
from fugue_state.live.wishes import Wishes


class Asker(Client):
    """Someone who keeps the answers."""

    def __init__(self) -> None:
        super().__init__(LiveConfig(), "one")
        self.answers: list[tuple[str, int]] = []

    def answer(self, kind: str, **values: Any) -> None:
        self.answers.append((kind, values["id"]))


class Table:
    """Wishes whose clock does nothing by itself."""

    def __init__(self, most: int = 100) -> None:
        self.now: int | None = 0
        self.sent: list[Wish] = []
        self.acted: list[str] = []
        self.admits = True
        self.wishes = Wishes(most, lambda: self.now, self.sent.append, self._act, lambda _: self.admits, self._tell)
        self.asker = Asker()

    def _tell(self, client: Client, number: int, at: int) -> None:
        client.answer("ack", id=number)
        self.at = at

    def _act(self, wish: Wish) -> None:
        self.acted.append(wish.path)
        if wish.path == "/undo":
            self.wishes.ask([("/forget", 0.0)], "undo")
        elif wish.path == "/rec/stop":
            raise RefusedError("not_now", "no take is being recorded")

    def take(self, number: int, path: str, *args: Any) -> None:
        self.wishes.take(self.asker, path, args, number)

    def play(self, wrong: str = "") -> None:
        """Do all that was sent."""
        done = [(wish, wrong) for wish in self.sent]
        self.sent.clear()
        self.wishes.note(done)
        self.wishes.answer(done, 1024)
        self.wishes.go_on()


def test_a_move_is_answered_once_it_is_heard() -> None:
    table = Table()
    table.take(1, "/forget", 0.5)
    assert [(wish.path, wish.value, wish.by, wish.number) for wish in table.sent] == [("/forget", 0.5, "one", 1)]
    assert table.asker.answers == []
    table.play()
    table.take(2, "/layer/9/forget", 0.5)
    table.play(wrong="there are layers 1 to 5")
    assert table.asker.answers == [("ack", 1), ("nack", 2)]


def test_moves_of_one_hand_and_control_are_one_gesture() -> None:
    table, other = Table(), Asker()
    for path, args in (
        ("/forget", [0.5]),
        ("/forget", [0.6]),
        ("/unit/1/1/strength", [0]),
        ("/unit/1/2/strength", [0]),
    ):
        table.take(1, path, *args)
    table.wishes.take(other, "/forget", [0.5], 1)
    gestures = [wish.gesture for wish in table.sent]
    assert gestures[0] == gestures[1] != gestures[4]
    assert gestures[2] == gestures[3] != gestures[0]


def test_what_depends_on_all_before_waits_and_what_comes_after_waits_with_it() -> None:
    table = Table()
    table.take(1, "/forget", 0.5)
    table.take(2, "/bank/1/store")
    table.take(3, "/layer/1/forget", 0.5)
    assert (len(table.sent), table.acted) == (1, [])
    table.play()
    assert table.acted == ["/bank/1/store"]
    assert [wish.path for wish in table.sent] == ["/layer/1/forget"]
    assert table.asker.answers == [("ack", 1), ("ack", 2)]


def test_what_leads_to_moves_is_answered_after_them() -> None:
    table = Table()
    table.take(1, "/undo")
    assert [(wish.by, wish.gesture, wish.waiting) for wish in table.sent] == [("undo", "", [])]
    assert table.asker.answers == []
    table.play()
    assert table.asker.answers == [("ack", 1)]


def test_what_had_to_wait_may_be_refused_when_its_turn_comes() -> None:
    table = Table()
    with pytest.raises(RefusedError, match="no take"):
        table.take(1, "/rec/stop")
    table.take(2, "/forget", 0.5)
    table.take(3, "/bank/1/store")
    table.take(4, "/rec/stop")
    table.play()
    assert table.asker.answers == [("ack", 2), ("ack", 3), ("nack", 4)]


def test_what_is_not_admitted_is_not_sent_until_it_is_done_again() -> None:
    table = Table()
    table.admits = False
    table.take(1, "/layer/1/order", "saliency")
    assert table.sent == []


@pytest.mark.parametrize(
    ("code", "path", "args"),
    [("unknown_path", "/nowhere", []), ("bad_value", "/forget", [2]), ("bad_value", "/meter/peak", [1])],
)
def test_what_is_wrong_is_refused(code: str, path: str, args: list[Any]) -> None:
    table = Table()
    with pytest.raises(RefusedError) as refused:
        table.take(1, path, *args)
    assert refused.value.code == code
    assert not table.sent


def test_watchers_those_who_are_too_early_and_too_much_are_refused() -> None:
    table = Table(most=2)
    table.now = None
    with pytest.raises(RefusedError, match="the memory is loading"):
        table.take(1, "/forget", 0.5)
    table.now = 0
    table.take(1, "/forget", 0.5)
    table.take(2, "/undo")
    table.take(3, "/ping")
    with pytest.raises(RefusedError, match="too much waits"):
        table.take(4, "/ping")
    table.asker.view = True
    with pytest.raises(RefusedError, match="watchers"):
        table.take(5, "/ping")


def test_a_button_that_is_let_go_is_answered_and_nothing_is_done() -> None:
    table = Table()
    table.take(1, "/recall", 0)
    assert (table.sent, table.asker.answers) == ([], [("ack", 1)])
