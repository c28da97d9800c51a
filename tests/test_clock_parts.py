"""What the clock is made of: what waits for it, how it goes on whatever fails, and what it hands to recorders."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from fugue_state.config import LiveConfig
from fugue_state.live.care import Care
from fugue_state.live.clients import Client
from fugue_state.live.inbox import Inbox
from fugue_state.live.taking import Takings
from fugue_state.live.wish import Wish
from fugue_state.score.model import Score

from .fake_performance import FakePerformance, fake_memory


def fail() -> Any:
    raise ZeroDivisionError("of our own making")


def test_what_fails_is_told_once_until_it_works_again() -> None:
    said: list[str] = []
    care = Care(said.append)
    results = [care.safely("the sound", act, 0) for act in (fail, fail, lambda: 1, fail)]
    assert results == [0, 0, 1, 0]
    assert said == ["the sound failed (ZeroDivisionError: of our own making)"] * 2
    assert care.fails("the sound", "something else")
    assert not care.fails("something else")


def test_who_is_to_be_told_of_an_error_is_told_and_nobody_else() -> None:
    said: list[str] = []
    failed: list[Exception] = []
    care = Care(said.append)
    assert care.safely("a job", fail, None, failed=failed.append) is None
    assert [type(error) for error in failed] == [ZeroDivisionError]
    assert said == []


def test_the_newest_wish_of_a_path_answers_for_those_it_replaces_but_not_across_a_job() -> None:
    inbox = Inbox()
    someone = Client(LiveConfig())
    wishes = [Wish("/forget", 0.1 * i, "one", waiting=[(someone, i)]) for i in range(3)]
    inbox.ask(wishes[0])
    inbox.ask(Wish("/freeze", 1, "one"))
    inbox.ask(wishes[1])
    inbox.do(fail, None)
    inbox.ask(wishes[2])
    items = inbox.wait(None)
    assert items is not None
    assert [item.path if isinstance(item, Wish) else "job" for item in items] == [
        "/freeze",
        "/forget",
        "job",
        "/forget",
    ]
    assert [number for _, number in wishes[1].waiting] == [0, 1]
    assert inbox.superseded == 1


def test_the_inbox_waits_for_a_block_or_for_something_to_do_and_ends_when_it_is_closed() -> None:
    inbox = Inbox()
    due = time.perf_counter() + 0.02
    assert inbox.wait(due) == []
    assert time.perf_counter() >= due
    inbox.do(fail, None)
    inbox.close()
    assert inbox.wait(0.0) is None
    assert inbox.rest() == [(fail, None)]


class Tape:
    """A recorder that keeps what it is given."""

    def __init__(self) -> None:
        self.given: list[Any] = []

    def begin(self, score: Score, before: Any, origin: int, start: int) -> None:
        self.given.append((score.memory, len(before), origin, start))

    def change(self, done: Any) -> None:
        self.given.append(done["path"])

    def sound(self, until: int, samples: Any) -> None:
        self.given.append((until, len(samples)))

    def stop(self) -> None:
        self.given.append("stop")


def test_a_recorder_is_given_what_went_before_and_then_each_change_and_block_once() -> None:
    performance = FakePerformance(Score(memory="fake"), fake_memory())
    takings, tape = Takings(Care(pytest.fail)), Tape()
    performance.change("/forget", 0.25)
    takings.record(tape)
    for path in ("/forget", "/freeze"):
        performance.change(path, 1)
        start = performance.position
        takings.keep(performance, start, performance.next().samples)
    takings.end(tape, soon=True)
    takings.keep(performance, 2048, np.zeros((1024, 2), dtype=np.float32))
    assert tape.given == [("fake", 2, 0, 0), (1024, 1024), "/freeze", (2048, 1024), "stop"]
