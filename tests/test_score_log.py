"""What hands did, kept small: the same again, in memory and from a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fugue_state.config import SEED_MAX
from fugue_state.errors import InputError
from fugue_state.score.log import Log
from fugue_state.score.paths import Value

DONE: list[tuple[int, str, Value]] = [
    (0, "/play", 1), (0, "/forget", 0.1), (1024, "/grid/1", bytes(range(8))), (1024, "/forget", 1 / 3),
    (2048, "/seed", SEED_MAX), (2048, "/chord", "Am"), (3072, "/recall", None), (3072, "/volume", 0.0),
    (2**40, "/unit/1/512/strength", 1.0),
]  # fmt: skip


def kept() -> Log:
    log = Log()
    for change in DONE:
        log.add(*change)
    return log


def test_everything_is_kept_in_its_order() -> None:
    log = kept()
    assert len(log) == len(DONE)
    assert list(log.since(0)) == DONE
    assert list(log.since(7)) == DONE[7:]
    assert [type(value) for _, _, value in log.since(0)] == [type(value) for _, _, value in DONE]


def test_a_score_gets_what_was_heard_of_it() -> None:
    changes = list(kept().changes(44_100, 2048))
    assert [(change.at, change.path, change.played) for change in changes] == [
        (0.0, "/play", 1), (0.0, "/forget", 0.1), (1024 / 44_100, "/grid/1", bytes(range(8))),
        (1024 / 44_100, "/forget", 1 / 3),
    ]  # fmt: skip


def test_a_copy_does_not_grow_with_it() -> None:
    log = kept()
    same = log.copy()
    log.add(2**41, "/mark", "later")
    assert list(same.since(0)) == DONE


@pytest.mark.parametrize("log", [kept(), Log()])
def test_it_is_the_same_from_a_file(tmp_path: Path, log: Log) -> None:
    log.save(tmp_path / "log.npz")
    again = Log.load(tmp_path / "log.npz")
    assert list(again.since(0)) == list(log.since(0))
    again.add(2**42, "/forget", 0.5)
    assert len(again) == len(log) + 1


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "log.npz"
    kept().save(path)
    whole = path.read_bytes()
    for damaged in (b"", b"text", whole[: len(whole) // 2], whole.replace(b"/forget", b"/farget")):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"log\.npz: damaged"):
            Log.load(path)
    np.savez(path, at=np.zeros(2), paths=np.zeros(1), numbers=np.zeros(2), words=np.frombuffer(b"[[], {}]", np.uint8))
    with pytest.raises(InputError, match=r"log\.npz: damaged"):
        Log.load(path)


def test_a_movement_is_small() -> None:
    log = Log()
    for i in range(10_000):
        log.add(i, f"/unit/1/{i % 500 + 1}/strength", i / 10_000)
    assert log._at.itemsize + log._paths.itemsize + log._numbers.itemsize <= 20
    assert not log._others
