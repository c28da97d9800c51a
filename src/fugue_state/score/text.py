"""Scores as text: reading TOML, with line numbers for mistakes, and writing TOML."""

from __future__ import annotations

import codecs
import contextlib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import tomli_w
from pydantic import ValidationError

from fugue_state import asked
from fugue_state.errors import LONGEST_SHOWN, InputError, shown
from fugue_state.limits import SCORE_BYTES, SCORE_DIGITS, SCORE_NESTING
from fugue_state.score.model import Score
from fugue_state.settings import MisplacedError, Place, first_problem

HEADER = re.compile(r"^\s*(\[\[?)([^\]]+)\]\]?\s*(?:#.*)?$")
KEY = re.compile(r"""^\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")


def load_score(path: str | Path) -> Score:
    """Read a score; InputError with file, line and key of the first mistake."""
    return parse_score(_read(asked.path("score", path)), str(path))


def _read(path: Path) -> str:
    """Return the text of a score, without a byte order mark."""
    if not path.is_file():
        raise InputError(f"{path}: is a folder, a score is a file" if path.is_dir() else f"{path}: no such score")
    if (size := path.stat().st_size) > SCORE_BYTES.most:
        raise InputError(f"{path}: {SCORE_BYTES.passed(size)}")
    with path.open("rb") as file:
        start = file.read(4)
    if start[:2] in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE} or start[:3:2] == b"\0\0" or start[1::2] == b"\0\0":
        raise InputError(f"{path}: text in UTF-16 or UTF-32; save it as UTF-8")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a score (not text in UTF-8)") from None


def parse_score(text: str, name: str = "score") -> Score:
    """Read a score from TOML; InputError with `name`, line and key of the first mistake."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        where = re.search(r"\(at line (\d+), column (\d+)\)$", str(error))
        line = f":{where[1]}" if where else ""
        raise InputError(f"{name}{line}: not TOML: {str(error).split(' (at ')[0][:LONGEST_SHOWN]}") from None
    except RecursionError:
        raise InputError(f"{_at_line(name, text, _deepest(text))}: {SCORE_NESTING.passed('')}") from None
    except ValueError:  # Python refuses numbers of thousands of digits
        raise _too_many_digits(name, text) from None
    try:
        return Score.model_validate(values)
    except ValidationError as error:
        place, message = first_problem(error, Score)
        raise InputError(f"{_at(name, text, place)}: {message}") from None


@contextlib.contextmanager
def located(path: str | Path) -> Iterator[None]:
    """Add the line in the score to an error that only shows when the score meets a memory."""
    try:
        yield
    except MisplacedError as error:
        raise InputError(f"{_at(str(path), _read(Path(path)), error.place)}: {error}") from None


def _too_many_digits(name: str, text: str) -> InputError:
    """Return the error for a number that has more digits than Python reads."""
    longest = max(re.finditer(r"[0-9_]+", text), key=lambda found: len(found[0]))
    return InputError(f"{_at_line(name, text, longest.start())}: {SCORE_DIGITS.passed(len(longest[0]))}")


def _deepest(text: str) -> int:
    """Return the position at which brackets are first nested too deeply; brackets inside strings count, too."""
    depth = 0
    for bracket in re.finditer(r"[\[\]{}]", text):
        depth = depth + 1 if bracket[0] in "[{" else max(0, depth - 1)
        if depth > SCORE_NESTING.most:
            return bracket.start()
    return 0


def _at_line(name: str, text: str, position: int) -> str:
    """Return the name of a score with the line, and the key if the line has one, of a position in its text."""
    number = text.count("\n", 0, position) + 1
    key = KEY.match(text.split("\n")[number - 1])
    return f"{name}:{number}: {shown(key[1])[1:-1]}" if key else f"{name}:{number}"


def _at(name: str, text: str, place: Place) -> str:
    number = line_of(text, place)
    return f"{name}:{number}" if number else name


def dump_score(score: Score) -> str:
    """Return a score as TOML, containing only what differs from the defaults."""
    return tomli_w.dumps(score.model_dump(mode="json", exclude_defaults=True))


def line_of(text: str, place: Place) -> int | None:
    """Return the line, from 1, of the key at a place, or of the nearest table around it."""
    best, depth = None, 0
    for number, found in _keys(text):
        shared = 0
        while shared < min(len(found), len(place)) and found[shared] == place[shared]:
            shared += 1
        if shared in {len(found), len(place)} and shared > depth:
            best, depth = number, shared
    return best


def _keys(text: str) -> Iterator[tuple[int, Place]]:
    """Yield tables and keys with their line numbers; tables of an array count from 0."""
    table: Place = ()
    counts: dict[Place, int] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if header := HEADER.match(line):
            table = _resolved(_parts(header[2]), counts, new=header[1] == "[[")
            yield number, table
        elif key := KEY.match(line):
            yield number, (*table, *_parts(key[1]))


def _resolved(parts: Place, counts: dict[Place, int], *, new: bool) -> Place:
    """Return the place of a table; within an array, that is its newest table."""
    place: Place = ()
    for part in parts:
        place = (*place, part)
        if new and len(place) - sum(isinstance(p, int) for p in place) == len(parts):
            counts[place] = counts.get(place, -1) + 1
        if place in counts:
            place = (*place, counts[place])
    return place


def _parts(text: str) -> Place:
    return tuple(part.strip().strip("\"'") for part in text.split("."))
