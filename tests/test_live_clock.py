"""The clock: whatever fails, it goes on, and what is heard has no click."""

from __future__ import annotations

import base64
import gc
import sys
import threading
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fugue_state.config import LiveConfig
from fugue_state.engine.performance import Performance
from fugue_state.errors import InputError
from fugue_state.live.audio import BlockClock
from fugue_state.live.board import Morph
from fugue_state.live.programme import House
from fugue_state.live.report import Report
from fugue_state.live.wish import Wish
from fugue_state.memory.catalogue import MemoryHeader
from fugue_state.memory.layers import Generator
from fugue_state.memory.memory import Memory
from fugue_state.score.model import Score

from .fake_performance import FakePerformance
from .live_stage import HOUSE, Ear, Stage, render, wait_for


class OddError(Exception):
    """What nobody has thought of."""


def fail(*_: Any) -> Any:
    raise OddError("of no known kind")


class Driven:
    """A clock without its thread: its turns are taken one by one."""

    def __init__(self) -> None:
        self.performance = FakePerformance(Score(memory="fake"), HOUSE.load("fake"))
        self.said: list[str] = []
        self.clock = BlockClock(self.performance, LiveConfig(), lambda _: None, self.said.append)
        self.clock.running = True

    def turn(self, *items: Any) -> Report:
        return self.clock._turn(list(items))


def steps(samples: npt.NDArray[np.float32]) -> float:
    """The largest step from a sample to the next."""
    return float(np.abs(np.diff(samples, axis=0)).max())


def test_a_block_that_fails_fades_to_silence_and_the_next_one_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    driven = Driven()
    heard = [driven.turn() for _ in range(4)]
    smooth = steps(np.concatenate([one.samples for one in heard if one.samples is not None]))
    with monkeypatch.context() as patched:
        patched.setattr(driven.performance, "next", fail)
        heard += [driven.turn() for _ in range(3)]
    heard += [driven.turn() for _ in range(4)]
    blocks = [one.samples for one in heard if one.samples is not None]
    assert [one.at for one in heard] == [1024 * i for i in range(11)]
    assert [bool(block.any()) for block in blocks] == [True] * 5 + [False] * 2 + [True] * 4
    assert steps(np.concatenate(blocks)) < 1.5 * smooth
    assert driven.said == ["the sound failed (OddError: of no known kind) and is muted; Recall all brings it back"]


@pytest.mark.parametrize("what", ["next", "change", "back", "strengths"])
def test_no_error_of_a_performance_ends_the_clock(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    driven = Driven()
    with monkeypatch.context() as patched:
        if what == "strengths":
            patched.setattr(FakePerformance, what, property(fail))
        else:
            patched.setattr(driven.performance, what, fail)
        [(_, wrong)] = driven.turn(Wish("/forget", 0.5, "one", "gesture")).asked
    assert bool(wrong) == (what in {"change", "back"})
    assert "OddError: of no known kind" in driven.said[0]
    [(_, wrong)] = driven.turn(Wish("/forget", 0.25, "one", "gesture")).asked
    assert not wrong
    samples = driven.turn().samples
    assert samples is not None
    assert samples.any()
    assert driven.performance.values["/forget"] == 0.25


def test_a_job_that_fails_is_told_and_the_others_are_done() -> None:
    driven, done = Driven(), []
    failed: list[Exception] = []
    report = driven.turn((fail, None), (lambda: done.append(1), None), (fail, failed.append))
    assert report.samples is not None
    assert done == [1]
    assert driven.said == ["what was asked for failed (OddError: of no known kind)"]
    assert [type(error) for error in failed] == [OddError]


class Tape:
    """A recorder that keeps what it is given."""

    def __init__(self, broken: bool = False) -> None:
        self.broken, self.stopped = broken, 0
        self.blocks: list[int] = []

    def begin(self, *_: Any) -> None:
        if self.broken:
            fail()

    def change(self, done: Any) -> None:
        pass

    def sound(self, until: int, _: npt.NDArray[np.float32]) -> None:
        self.blocks.append(until)

    def stop(self) -> None:
        self.stopped += 1


def test_takes_that_begin_and_end_between_two_blocks_have_a_block_each() -> None:
    driven, tapes, broken = Driven(), [Tape(), Tape()], Tape(broken=True)
    for tape in (broken, *tapes):
        driven.clock.record(tape)
        driven.clock.end_take(tape)
    driven.turn()
    driven.turn()
    assert [(tape.blocks, tape.stopped) for tape in tapes] == [([1024], 1)] * 2
    assert (broken.blocks, broken.stopped) == ([], 1)
    driven.clock.running, late = False, Tape()
    driven.clock.record(late)
    driven.clock.end_take(late)
    assert (late.blocks, late.stopped) == ([], 1)


@pytest.mark.parametrize("block", [256, 1024, 3000])
def test_another_performance_may_have_blocks_of_another_length(block: int) -> None:
    driven = Driven()
    other = FakePerformance(Score(memory="fake"), HOUSE.load("small"), block=block)
    heard = [driven.turn(), driven.turn((lambda: driven.clock.change_to(other), None)), driven.turn()]
    blocks = [one.samples for one in heard if one.samples is not None]
    assert [len(samples) for samples in blocks] == [1024, block, block]
    assert [one.at for one in heard] == [0, 1024, 1024 + block]
    assert not driven.said
    assert steps(np.concatenate(blocks)) < 0.05
    driven.turn((lambda: driven.clock.change_to(driven.performance), None))
    assert driven.clock.at == 1024 + 2 * block + 1024
    assert not driven.said


def read_at_every_line(clock: BlockClock, act: Callable[[], object]) -> list[int]:
    """Return what another thread could read of the time, at any line of what the clock does."""
    read: list[int] = []

    def look(*_: Any) -> Any:
        read.append(clock.at)
        return look

    before = sys.gettrace()
    sys.settrace(look)
    try:
        act()
    finally:
        sys.settrace(before)
    return read


def test_whoever_reads_the_time_meanwhile_never_sees_it_go_back(monkeypatch: pytest.MonkeyPatch) -> None:
    driven = Driven()
    others = [FakePerformance(Score(memory="fake"), HOUSE.load("fake"), position=at) for at in (0, 50_000)]

    def act() -> None:
        for other in others:
            driven.turn()
            driven.turn((partial(driven.clock.change_to, other), None))
        with monkeypatch.context() as patched:
            patched.setattr(others[-1], "next", fail)
            driven.turn()
        driven.turn()

    read = read_at_every_line(driven.clock, act)
    assert sorted(read) == read
    assert {at // 1024 for at in read} == set(range(7))
    assert not {at % 1024 for at in read} - {0}


def test_a_bank_that_is_fired_while_blocks_wait_to_be_heard_of_begins_at_its_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares: list[float] = []
    at = Morph.at

    def noted(self: Morph, share: float) -> Any:
        shares.append(share)
        return at(self, share)

    monkeypatch.setattr(Morph, "at", noted)
    with Stage(tmp_path / "takes") as stage, stage.hand() as hand:
        hand.done("/play", 1)
        hand.done("/grid/1", base64.b64encode(bytes(32)).decode())
        hand.done("/bank/1/store")
        hand.done("/recall")
        session = stage.session

        def busy() -> None:
            before = session.player.at
            wait_for(lambda: session.player.at > before + 8 * 1024)
            session.acts.fire(1, 0.5, "someone")

        session.work.loop.call_soon_threadsafe(busy)
        wait_for(lambda: shares and shares[-1] == 1.0)
    assert shares[0] == 0.0
    assert sorted(shares) == shares
    assert len(shares) > 8


STATE = {"values", "strengths", "brushed", "frozen", "position", "origin", "log", "back", "change", "next"}


def test_only_the_clock_looks_at_what_it_plays(tmp_path: Path) -> None:
    reads: set[tuple[threading.Thread, str]] = set()

    class Watched(FakePerformance):
        """Notes who looks at what changes while it plays."""

        def __getattribute__(self, name: str) -> Any:
            if name in STATE:
                reads.add((threading.current_thread(), name))
            return super().__getattribute__(name)

    house = House(HOUSE.memories, HOUSE.load, Watched, render)
    with Stage(tmp_path / "takes", house) as stage, stage.hand() as hand:
        reads.clear()
        hand.done("/play", 1)
        hand.done("/rec/start")
        hand.done("/forget", 0.5)
        hand.done("/bank/1/store")
        hand.done("/bank/1/arm")
        hand.done("/recall")
        hand.done("/ab", 0.5)
        hand.done("/bank/1/fire", 0.1)
        hand.done("/mark", "here")
        hand.done("/undo")
        hand.done("/redo")
        hand.until("stats")
        hand.keep()
        hand.done("/memory", "small")
        hand.until("notice", text="memory small plays")
        hand.done("/replay", "take-001")
        hand.until("welcome", state="replaying")
        hand.done("/replay", "")
        with stage.hand():
            hand.done("/forget", 0.25)
        loop = stage._thread
    assert sorted(name for thread, name in reads if thread is loop) == []
    assert {name for thread, name in reads if thread.name == "clock"} == STATE


def test_a_memory_that_fails_on_the_clock_is_told_and_the_old_one_plays_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Stage(tmp_path / "takes") as stage, stage.hand() as hand, Ear(stage) as ear:
        hand.done("/play", 1)
        with monkeypatch.context() as patched:
            patched.setattr(stage.performance, "swap", fail)
            hand.done("/memory", "small")
            assert "OddError: of no known kind" in hand.seen("notice", level="warning")["text"]
        ear.block()
        hand.done("/memory", "small")
        assert hand.until("welcome")["memory"]["units"] == 12


def test_an_order_that_must_be_measured_is_measured_beside_the_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []
    measure = FakePerformance.measure

    def noted(self: FakePerformance) -> None:
        threads.append(threading.current_thread().name)
        measure(self)

    monkeypatch.setattr(FakePerformance, "measure", noted)
    with Stage(tmp_path / "takes") as stage, stage.hand() as hand:
        hand.done("/play", 1)
        hand.done("/layer/1/order", "saliency")
        hand.done("/layer/2/order", "saliency")
        assert stage.performance.values["/layer/1/order"] == "saliency"
        assert len(threads) == 1
        assert threads[0] != "clock"


def test_an_order_that_cannot_be_measured_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakePerformance, "measure", fail)
    with Stage(tmp_path / "takes") as stage, stage.hand() as hand:
        assert "of no known kind" in hand.refused("not_now", "/layer/1/order", "saliency")
        hand.done("/forget", 0.5)


def test_memories_that_were_swapped_for_others_are_held_by_nothing(tmp_path: Path) -> None:
    class Named:
        """A memory that can be referred to weakly."""

        def __init__(self, **values: Any) -> None:
            vars(self).update(values)

    memories: list[weakref.ref[Named]] = []

    def load(name: str) -> Any:
        memory = Named(**vars(HOUSE.load(name)))
        memories.append(weakref.ref(memory))
        return memory

    with Stage(tmp_path / "takes", House(HOUSE.memories, load, FakePerformance, render)) as stage, stage.hand() as hand:
        hand.done("/play", 1)
        for number in range(16):
            hand.done("/memory", ("small", "fake")[number % 2])
            hand.seen("welcome")
            hand.until("notice", level="info")
            hand.until("stats")
        gc.collect()
        assert sum(memory() is not None for memory in memories) <= 2


def test_a_memory_that_has_faded_needs_no_collector(tiny_generator: Generator, tiny_header: MemoryHeader) -> None:
    """The one that a server begins with is out of the collector's sight."""

    def memory() -> Memory:
        return Memory(tiny_generator, tiny_header)

    plan: dict[str, Any] = {"voices": [{"chords": ["Am", "C"]}], "forgetting": {"order": "random", "pace": "linear"}}
    performance = Performance(Score.model_validate(plan | {"quality": "draft"}), memory())
    gc.collect()
    gc.disable()
    try:
        players: list[weakref.ref[Any]] = []
        memories: list[weakref.ref[Memory]] = []
        for _ in range(3):
            players.append(weakref.ref(performance._player.conductor))
            memories.append(weakref.ref(performance._player.piece.memory))
            performance.next()
            performance.swap(performance.prepare(memory()))
            while performance._parting is not None:
                performance.next()
        assert [one() for one in [*players, *memories]] == [None] * 6
    finally:
        gc.enable()


def test_an_order_is_not_measured_when_a_hand_moves_it(tiny_path: Path) -> None:
    plan: dict[str, Any] = {"voices": [{"chords": ["Am", "C"]}], "forgetting": {"order": "random", "pace": "linear"}}
    performance = Performance(Score.model_validate(plan | {"memory": str(tiny_path)}), Memory.load(tiny_path))
    assert performance.needs("/layer/5/order", "saliency")
    assert not performance.needs("/layer/5/order", "random")
    with pytest.raises(InputError, match="not measured"):
        performance.change("/layer/5/order", "saliency")
    performance.measure()
    assert not performance.needs("/layer/5/order", "saliency")
    performance.change("/layer/5/order", "saliency")
    assert performance.values["/layer/5/order"] == "saliency"
    performance.change("/layer/5/order", "")
    assert performance.values["/layer/5/order"] == "random"
