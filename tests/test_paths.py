from __future__ import annotations

import base64
import math
import re
from typing import Any

import pytest

from fugue_state.errors import InputError
from fugue_state.score.model import Score
from fugue_state.score.paths import PATHS, check, find, written
from fugue_state.settings import checked

NUMBERS = {"<n>": 2, "<k>": 17, "<b>": 16, "<m>": 0, "<c>": 12}


def test_a_path_is_found_with_its_numbers() -> None:
    for path in PATHS:
        named = path.pattern
        for mark, number in NUMBERS.items():
            named = named.replace(mark, str(number))
        found, numbers = find(named)
        assert found is path
        assert numbers == tuple(NUMBERS[part] for part in path.pattern.split("/") if "<" in part)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/forgot", "did you mean '/forget'"),
        ("/bank/17/fire", "banks 1 to 16"),
        ("/bank/0/arm", "banks 1 to 16"),
        ("/key/128", "keys 0 to 127"),
        ("/keys/0/chord", "pitch classes 1 to 12"),
        ("/keys/13/chord", "pitch classes 1 to 12"),
        ("/layer/-1/forget", "unknown path"),
        ("/layer/x/forget", "unknown path"),
        ("/layer/1/forget/../../x", "unknown path"),
        ("/layer/²/forget", "unknown path"),
        ("", "unknown path"),
    ],
)
def test_a_path_there_is_not(path: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find(path)


@pytest.mark.parametrize(
    ("path", "args", "value"),
    [
        ("/forget", [0.5], 0.5),
        ("/forget", [1], 1.0),
        ("/freeze", [1.0], 1),
        ("/freeze", [True], 1),
        ("/recall", [], None),
        ("/recall", [1.0], None),
        ("/chord", [""], ""),
        ("/grid/1", [b"\x00\xff"], b"\x00\xff"),
        ("/grid/1", [base64.b64encode(b"\x00\xff").decode()], b"\x00\xff"),
        ("/bank/3/fire", [], 0.0),
    ],
)
def test_values_that_fit(path: str, args: list[Any], value: Any) -> None:
    got = check(path, args)
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    ("path", "args", "message"),
    [
        ("/forget", [1.5], "a number from 0 to 1, got 1.5"),
        ("/forget", [math.nan], "got nan"),
        ("/forget", [math.inf], "got inf"),
        ("/forget", ["a" * 99], r"got 'a{39}\.\.\."),
        ("/forget", [], "needs a value"),
        ("/forget", [0.1, 0.2], "takes one value, got 2"),
        ("/forget", [None], "got None"),
        ("/freeze", [0.5], "whole number"),
        ("/seed", [2**31], "from 0 to 2147483647"),
        ("/chord", ["a\nb"], "a line"),
        ("/chord", [3], "a line"),
        ("/mark", ["m" * 121], "up to 120 characters"),
        ("/grid/1", ["?"], "base64"),
        ("/grid/1", ["é"], "base64"),
        ("/grid/1", [b""], "bytes"),
        ("/meter/peak", [1.0], "only told"),
    ],
)
def test_values_that_do_not_fit(path: str, args: list[Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check(path, args)


def test_defaults_are_in_range_and_written_values_read_back() -> None:
    for path in PATHS:
        if path.default is not None and path.default != "":
            assert check(re.sub("<.>", "1", path.pattern), [path.default]) == path.default
    assert check("/grid/2", [written(bytes(range(256)))]) == bytes(range(256))
    assert check("/recall", [written(None)]) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": "/undo"}, r"changes\[1\]\.path: /undo is no part of a take"),
        ({"path": "/layer/1/forget", "value": 2}, r"changes\[1\]\.value: .* from 0 to 1, got 2"),
        ({"path": "/freeze", "value": 1}, r'changes\[1\]\.path: /freeze is played with resolution = "block"'),
        ({"path": "/recall", "at": 200}, r"changes\[1\]\.at: .* past the end"),
    ],
)
def test_changes_that_cannot_be(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        checked(Score, {"changes": [{"at": 1} | change]})


def test_only_what_is_played_live_has_a_length_of_its_own() -> None:
    with pytest.raises(InputError, match="played_s"):
        checked(Score, {"played_s": 3})
    taken = checked(
        Score, {"played_s": 200, "duration_s": 20, "resolution": "block", "changes": [{"at": 150, "path": "/hush"}]}
    )
    assert taken.samples == 200 * 44_100
