"""Reading charts: chords in bars, as musicians write them down."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from fugue_state import asked
from fugue_state.errors import InputError, a_file, shown
from fugue_state.limits import CHART_BYTES, SCORE_STEPS

COMMENT = re.compile(r"(?:^|(?<=\s))#.*")
TIMES = r"(?P<times>(?:[x\u00d7] ?\d{1,4}|\d{1,4}[x\u00d7])(?![^\s|]))"
TOKEN = re.compile(
    r"(?P<turn>:\|{1,2}:)|(?P<open>\|{1,2}:)|(?P<close>:\|{1,2}\]?)|(?P<bar>\|{1,2}\]?)|(?P<label>\[[^\[\]|]*\])|"
    + TIMES
    + r"|(?P<word>[^\s|:\[\]]+)|(?P<odd>\S)"
)
RESTS = {"-", "N.C.", "NC", "n.c.", "N.C"}
AGAIN, BAR_AGAIN = {".", "/"}, "%"
TWICE = 2
SHOWN_BAR = "bars stand between |, like | Am | F G | C |"


class Slot(NamedTuple):
    """A share of a bar: a name, or None for a rest, and the line in which it was written."""

    name: str | None
    line: int


class Label(NamedTuple):
    """A text before a bar, counted from 0."""

    bar: int
    text: str


@dataclass(frozen=True)
class Chart:
    """Bars, each shared evenly by its slots, and texts; `name` is that of its file."""

    name: str
    bars: tuple[tuple[Slot, ...], ...]
    labels: tuple[Label, ...] = ()


def load_chart(path: str | Path) -> Chart:
    """Read a chart from a file; InputError as `read_chart`, and for a file that is no text."""
    path = asked.path("chart", path)
    if not path.is_file():
        raise InputError(a_file(path))
    if (size := path.stat().st_size) > CHART_BYTES.most:
        raise InputError(f"{path}: {CHART_BYTES.passed(size)}")
    return chart_of(path.read_bytes(), str(path))


def chart_of(data: bytes, name: str = "chart") -> Chart:
    """Read a chart from bytes, which are text in UTF-8; InputError as `read_chart`."""
    try:
        return read_chart(data.decode("utf-8-sig"), name)
    except UnicodeDecodeError:
        raise InputError(f"{name}: no chart (not text in UTF-8)") from None


def read_chart(text: str, name: str = "chart") -> Chart:
    """Read a chart: `| Am | F G | C % |`, with repeats, comments and `[texts]`.

    Raises InputError, with `name` and line, for what is not closed, empty or says nothing.
    """
    if (size := len(text.encode("utf-8", "surrogatepass"))) > CHART_BYTES.most:
        raise InputError(f"{name}: {CHART_BYTES.passed(size)}")
    reading = _Reading(name)
    for number, line in enumerate(text.splitlines(), 1):
        reading.read(number, COMMENT.sub("", line.replace("♯", "#").replace("♭", "b")))
    return reading.chart()


@dataclass
class _Reading:
    """What was read so far, and what is open."""

    name: str
    line: int = 0
    bars: list[tuple[Slot, ...]] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    row: int = 0  # bars before this line, or before what was repeated last in it
    words: list[str] | None = None  # of the bar that is open
    after_bar: bool = False  # whether a plain bar line has just opened it
    opened: tuple[int, int] | None = None  # by a repeat sign: bars before it, and its line
    closed: int | None = None  # bars before what is to be repeated

    def read(self, number: int, text: str) -> None:
        """Read a line."""
        self.line, self.words, self.row = number, None, len(self.bars)
        for found in TOKEN.finditer(text):
            self._take(str(found.lastgroup), found[0])
        if self.words:
            raise self._wrong(f"the bar {shown(' '.join(self.words))} is not closed: {SHOWN_BAR}")
        self._repeat_closed()

    def chart(self) -> Chart:
        """Return all of it."""
        if self.opened is not None:
            self.line = self.opened[1]
            raise self._wrong("the repeat |: is not closed by :|")
        if not self.bars:
            raise InputError(f"{self.name}: no bars; {SHOWN_BAR}")
        if all(slot.name is None for bar in self.bars for slot in bar):
            raise InputError(f"{self.name}: no chords, only rests")
        if (slots := sum(map(len, self.bars))) > SCORE_STEPS.most:
            raise InputError(f"{self.name}: {SCORE_STEPS.passed(slots)}")
        return Chart(self.name, tuple(self.bars), tuple(self.labels))

    def _take(self, kind: str, text: str) -> None:
        if kind == "times":
            self._times(int(re.sub(r"\D", "", text)), text)
            return
        self._repeat_closed()
        if kind == "word":
            if self.words is None:
                raise self._wrong(f"{shown(text)} stands before the first |: {SHOWN_BAR}")
            self.words.append(text)
        elif kind == "label":
            self._outside(text)
            self.labels.append(Label(len(self.bars), text[1:-1].strip()))
        elif kind == "odd":
            raise self._wrong(f"{shown(text)} means nothing here: {SHOWN_BAR}")
        else:
            self._end_bar()
            if kind in {"close", "turn"}:
                self._close()
            if kind == "turn":
                self._repeat_closed()
            if kind in {"open", "turn"}:
                self._open()
            self.after_bar = kind == "bar"

    def _end_bar(self) -> None:
        if self.words:
            self.bars.append(self._slots(self.words))
        elif self.words is not None and self.after_bar:
            raise self._wrong(f"bar {len(self.bars) + 1} is empty: - is a rest, {BAR_AGAIN} the bar before again")
        self.words = []

    def _slots(self, words: list[str]) -> tuple[Slot, ...]:
        if words == [BAR_AGAIN] and self.bars:
            return self.bars[-1]
        before = self.bars[-1][-1] if self.bars else None
        slots: list[Slot] = []
        for word in words:
            if word == BAR_AGAIN or (word in AGAIN and before is None):
                what = (
                    "stands alone in a bar, for the bar before"
                    if word == BAR_AGAIN and self.bars
                    else "has nothing before it"
                )
                raise self._wrong(f"{word} {what}")
            before = (
                before if word in AGAIN and before is not None else Slot(None if word in RESTS else word, self.line)
            )
            slots.append(before)
        return tuple(slots)

    def _open(self) -> None:
        if self.opened is not None:
            raise self._wrong(f"a repeat within the one that began in line {self.opened[1]}")
        self.opened = len(self.bars), self.line

    def _close(self) -> None:
        if self.opened is None:
            raise self._wrong("the repeat :| was not opened by |:")
        self.closed, self.opened = self.opened[0], None

    def _times(self, times: int, text: str) -> None:
        self._outside(text)
        self._repeat(self.row if self.closed is None else self.closed, times, text)
        self.after_bar = False

    def _repeat_closed(self) -> None:
        if self.closed is not None:
            self._repeat(self.closed, TWICE, ":|")

    def _repeat(self, begin: int, times: int, text: str) -> None:
        repeated = self.bars[begin:]
        if not repeated or not times:
            raise self._wrong(f"{text} repeats nothing")
        if (bars := len(self.bars) + (times - 1) * len(repeated)) > SCORE_STEPS.most:
            raise self._wrong(SCORE_STEPS.passed(bars))
        self.bars += repeated * (times - 1)
        self.row, self.closed = len(self.bars), None

    def _outside(self, text: str) -> None:
        if self.words:
            raise self._wrong(f"{shown(text)} stands within a bar")
        self.after_bar = False

    def _wrong(self, why: str) -> InputError:
        return InputError(f"{self.name}:{self.line}: {why}")
