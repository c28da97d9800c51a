"""Some malformed inputs of every kind, each from a seed: taken or refused in a line; `make fuzz` tries thousands."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from fuzz.__main__ import KINDS
from fuzz.mutations import changed, mutated, wild
from fuzz.running import FAILURES, Case, Kind, Make, Outcome, Tally, in_a_process, outcomes
from fuzz.stage import TAKE, TINY, Stage
from fuzz.tiny import encoded

from fugue_state.errors import InputError
from fugue_state.output.provenance import reopened
from fugue_state.score.model import Score
from fugue_state.settings import checked

SEED = 1


@pytest.mark.parametrize("name", KINDS)
def test_malformed_inputs_are_taken_or_refused_in_a_line(name: str) -> None:
    kind = KINDS[name]
    for told in outcomes(name, kind, SEED, range(kind.count // 100), watched=False):
        assert not isinstance(told, Outcome) or told.fate not in FAILURES, told


def prepared(read: Callable[[int], object]) -> Callable[[Path], AbstractContextManager[Make]]:
    @contextmanager
    def prepare(_: Path) -> Iterator[Make]:
        yield lambda source: Case("a number", lambda: read(source.randrange(4)))

    return prepare


def refuse(number: int) -> None:
    if number == 0:
        raise InputError("no")
    if number == 1:
        raise InputError("no" * 1000)
    if number == 2:
        raise ValueError("nobody caught it")


def test_what_becomes_of_inputs_is_counted_and_repeated() -> None:
    kind, tally = Kind(40, prepared(refuse)), Tally("numbers", 7)
    found = [told for told in outcomes("numbers", kind, 7, range(40), watched=False) if isinstance(told, Outcome)]
    for outcome in found:
        tally.add(outcome)
    told = tally.told()
    assert told["tried"] == 40
    assert min(told[fate] for fate in ("accepted", "refused", "tracebacks", "lines")) > 0
    assert tally.failed == told["tracebacks"] + told["lines"]
    assert {failure["fate"] for failure in told["failures"]} == {"tracebacks", "lines"}
    first = found[[outcome.fate for outcome in found].index("tracebacks")]
    assert told["failures"][0]["repeat"].startswith("python -m fuzz --kind numbers --seed 7 --only ")
    again = list(outcomes("numbers", kind, 7, [first.number], watched=False))[-1]
    assert again == first


def test_the_same_seed_gives_the_same_input() -> None:
    def three(seed: int) -> object:
        source = random.Random(seed)
        return mutated(source, b"abcdefgh" * 40), changed(source, {"a": [1, {"b": "c"}]}), repr(wild(source))

    assert three(3) == three(3)
    assert three(3) != three(4)


@contextmanager
def printing(_: Path) -> Iterator[Make]:
    written = iter((b"", b"beside all that is said", b""))
    yield lambda _: Case("", lambda: os.write(2, next(written)))


def test_inputs_are_tried_in_a_process_of_their_own_where_nothing_prints() -> None:
    found = list(in_a_process("printing", Kind(3, printing), SEED, range(3)))
    assert [(outcome.number, outcome.fate, outcome.error) for outcome in found] == [
        (0, "accepted", ""), (1, "prints", "beside all that is said"), (2, "accepted", ""),
    ]  # fmt: skip


def divide() -> None:
    raise ZeroDivisionError


async def later() -> None:
    asyncio.get_running_loop().call_soon(divide)


async def beside(stage: Stage) -> None:
    stage.session.work.keep(divided())


async def divided() -> None:
    divide()


def test_what_fails_in_a_server_is_found_on_whatever_thread(tmp_path: Path) -> None:
    with Stage(tmp_path).opened() as stage:
        stage.check()
        stage.session.player.do(divide)
        with pytest.raises(AssertionError, match=r"told: .*ZeroDivisionError"):
            stage.check()
        stage.do(beside(stage))
        with pytest.raises(AssertionError, match=r"told: .*ZeroDivisionError"):
            stage.check()
        stage.do(later())
        with pytest.raises(ZeroDivisionError):
            stage.check()
        stage.check()


def test_whatever_was_done_to_a_server_it_is_as_before(tmp_path: Path) -> None:
    with Stage(tmp_path).opened() as stage:
        with stage.hand() as hand:
            for path, *args in (("/play", 1), ("/freeze", 1), ("/rec/start",), ("/memory", stage.memories[1])):
                hand.set(path, *args)
        stage.settle()
        with stage.hand() as hand:
            said = hand.welcome
            assert (said["state"], said["recording"], said["memory"]["name"]) == ("armed", False, TINY)
            assert list(said["takes"]) == [TAKE]


def test_a_key_with_a_bracket_is_named() -> None:
    with pytest.raises(InputError, match=r"unknown Score key '\['"):
        checked(Score, {"[": 1})


def test_a_comment_of_a_film_that_is_not_text_is_refused_in_a_line(tmp_path: Path) -> None:
    film = encoded(tmp_path / "piece.mp4", "aac", "comment")
    film.write_bytes(film.read_bytes().replace(b"comment", b"com\xffent"))
    with pytest.raises(InputError, match=r"piece\.mp4"):
        reopened(film)
