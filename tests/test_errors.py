from __future__ import annotations

import importlib
import inspect
import pickle
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fugue_state
from fugue_state.errors import FugueError, InputError, counted
from fugue_state.live.aside import aside
from fugue_state.settings import MisplacedError

GIVEN: dict[str, Any] = {"place": ("voices", 0, "chords"), "message": "no such chord"}


def every_error() -> Iterator[type[FugueError]]:
    """Yield every class of error there is, wherever it is defined."""
    for module in pkgutil.walk_packages(fugue_state.__path__, "fugue_state."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    waiting = [FugueError]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        yield kind


def made(kind: type[FugueError]) -> FugueError:
    if not inspect.isfunction(kind.__init__):  # made as any exception is
        return kind("what would be right")
    takes = list(inspect.signature(kind).parameters)
    return kind(*(GIVEN[name] for name in takes))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_error_comes_whole_from_another_process(protocol: int) -> None:
    kinds = list(every_error())
    assert MisplacedError in kinds
    for kind in kinds:
        error = made(kind)
        again = pickle.loads(pickle.dumps(error, protocol))  # noqa: S301
        assert type(again) is kind
        assert (str(again), again.args, vars(again)) == (str(error), error.args, vars(error))


def test_one_is_told_as_one() -> None:
    assert [counted(n, "clip") for n in (0, 1, 2)] == ["0 clips", "1 clip", "2 clips"]
    assert [counted(n, "clip is", "clips are") for n in (1, 10**6)] == ["1 clip is", "1000000 clips are"]
    assert [counted(n, "minute") for n in (0.5, 1.0)] == ["0.5 minutes", "1 minute"]


def test_what_is_counted_is_told_by_one_function() -> None:
    for path in Path(fugue_state.__file__).parent.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"\{len\([^{}]*\)\} [a-z]+s\b|\{[^{}]*count[^{}]*\} [a-z]+s\b|[a-z]\(e?s\) [a-z]", text), (
            path
        )


def test_whatever_it_names_an_error_is_one_line() -> None:
    assert str(InputError("a\nb\x1b[31m\udc80.wav: no café")) == r"a\nb\x1b[31m\udc80.wav: no café"


def misplaced() -> None:
    raise MisplacedError(GIVEN["place"], GIVEN["message"])


def test_what_is_misplaced_is_named_by_a_worker() -> None:
    with pytest.raises(MisplacedError, match=r"voices\[1\]\.chords: no such chord") as caught:
        aside(misplaced)
    assert caught.value.place == GIVEN["place"]
