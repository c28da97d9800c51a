"""What hands did, kept small: the same again, in memory and from a file."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import pytest

from fugue_state.config import SEED_MAX
from fugue_state.errors import InputError
from fugue_state.score.log import TOGETHER, KeptChange, Log, read_log, taken
from fugue_state.score.model import Score
from fugue_state.score.paths import Value, written

DONE: list[tuple[int, str, Value]] = [
    (0, "/play", 1), (0, "/forget", 0.1), (1024, "/grid/1", bytes(range(8))), (1024, "/forget", 1 / 3),
    (2048, "/seed", SEED_MAX), (2048, "/chord", "Am"), (3072, "/recall", None), (3072, "/volume", 0.0),
    (2**40, "/unit/1/512/strength", 1.0),
]  # fmt: skip


def kept(times: int = 1) -> Log:
    log = Log()
    for change in times * DONE:
        log.add(*change)
    return log


def as_written(times: int = 1) -> list[KeptChange]:
    return [{"at": at, "path": path, "value": written(value)} for at, path, value in times * DONE]


def test_everything_is_kept_in_its_order() -> None:
    times = TOGETHER // 3
    log = kept(times)
    assert len(log) == times * len(DONE)
    for place in (0, 7, TOGETHER - 1, TOGETHER, TOGETHER + 1, len(log) - 1):
        assert list(log.since(place)) == as_written(times)[place:]
    assert [type(one["value"]) for one in log.since(0)] == [type(one["value"]) for one in as_written(times)]


def test_a_score_gets_what_was_heard_of_it() -> None:
    score = taken(Score(title="Night"), kept().since(0), 2048)
    assert [(change.at, change.path, change.played) for change in score.changes] == [
        (0.0, "/play", 1), (0.0, "/forget", 0.1), (1024 / 44_100, "/grid/1", bytes(range(8))),
        (1024 / 44_100, "/forget", 1 / 3),
    ]  # fmt: skip
    assert (score.title, score.played_s) == ("Night", 2048 / 44_100)


def test_a_copy_does_not_grow_with_it() -> None:
    log = kept()
    same = log.copy()
    for _ in range(TOGETHER):
        log.add(2**41, "/forget", 0.0)
    assert list(same.since(0)) == as_written()


@pytest.mark.parametrize("log", [Log(), kept(), kept(TOGETHER // 3), kept(TOGETHER)])
def test_it_is_the_same_from_a_file(tmp_path: Path, log: Log) -> None:
    log.save(tmp_path / "log.gz")
    assert list(read_log(tmp_path / "log.gz")) == list(log.since(0))


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "log.gz"
    kept(TOGETHER).save(path)
    whole = path.read_bytes()
    changed = bytearray(whole)
    changed[len(whole) // 2] ^= 255
    for damaged in (b"text", whole[: len(whole) // 2], bytes(changed), gzip.compress(b"text")):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"log\.gz: damaged"):
            list(read_log(path))
    path.unlink()
    with pytest.raises(InputError, match=r"log\.gz: damaged"):
        list(read_log(path))


def test_many_movements_are_small() -> None:
    log, draw = Log(), random.Random(1)
    for i in range(10 * TOGETHER):
        log.add(1024 * i, f"/unit/1/{i % 500 + 1}/strength", draw.random())
    assert sum(map(len, log._packed)) < 20 * len(log)
    assert len(log._newest) < TOGETHER
