"""Times in a score: seconds, clock times, shares of the piece, bars."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator

from fugue_state.errors import InputError, shown
from fugue_state.limits import SCORE_NAME, SCORE_TIME_S
from fugue_state.score.tempo import Tempo

NUMBER = r"(\d{1,9}(?:\.\d{1,20})?)"
CLOCK = re.compile(r"(?:(\d{1,9}):)?(\d{1,2}):(\d{1,2}(?:\.\d{1,20})?)")
PERCENT = re.compile(rf"{NUMBER} *%")
BAR = re.compile(rf"bar +{NUMBER}")
BARS = re.compile(rf"{NUMBER} +bars?")
KNOWN = '90, "1:30", "25 %", "bar 5" or "2 bars"'


def _clock(value: Any) -> Any:
    """Turn numbers and clock times into seconds; leave the rest."""
    if isinstance(value, bool):
        raise ValueError(f"a time is {KNOWN}")  # noqa: TRY004 - pydantic turns only these into its own
    if isinstance(value, str):
        if len(value) > SCORE_NAME.most:
            raise ValueError(SCORE_NAME.passed(len(value)))
        text = value.strip().casefold()
        if found := CLOCK.fullmatch(text):
            hours, minutes, seconds = found[1] or 0, found[2], found[3]
            if float(seconds) >= 60 or (found[1] and int(minutes) >= 60):
                raise ValueError("minutes and seconds after a colon go up to 59")
            return _bounded(3600 * int(hours) + 60 * int(minutes) + float(seconds))
        try:
            number = float(text)
        except ValueError:
            return text
        return _bounded(number)
    return _bounded(value) if isinstance(value, int | float) else value


def _length(value: Any) -> Any:
    """Turn a length into seconds; it cannot be a share of the piece or count its bars."""
    known = _clock(value)
    if isinstance(known, str):
        raise ValueError(f'a length is seconds or a clock time, 90 or "1:30", not {shown(value)}')  # noqa: TRY004
    return known


def _bounded(seconds: float) -> float:
    """Return seconds as a float, within bounds; integers could be too large to convert."""
    if abs(seconds) > SCORE_TIME_S.most and not (isinstance(seconds, float) and math.isinf(seconds)):
        raise ValueError(SCORE_TIME_S.passed(seconds))
    return float(seconds)


def _time(value: Any) -> float | str:
    """Validate a time; seconds and clock times become floats."""
    known = _clock(value)
    if isinstance(known, int | float):
        if not math.isfinite(known) or known < 0:
            raise ValueError(f"a time is finite and not negative: {KNOWN}")
        return float(known)
    if isinstance(known, str) and (PERCENT.fullmatch(known) or BAR.fullmatch(known) or BARS.fullmatch(known)):
        if (found := BAR.fullmatch(known)) and float(found[1]) < 1:
            raise ValueError("bars count from 1")
        return known
    raise ValueError(f"a time is {KNOWN}")


def read_time(value: Any) -> float | str:
    """Return a time as a score has it, checked; InputError for anything else."""
    try:
        return _time(value)
    except ValueError as error:
        raise InputError(f"{error}, got {shown(value)}") from None


Time = Annotated[float | str, BeforeValidator(_time)]
Seconds = Annotated[float, BeforeValidator(_length)]


@dataclass(frozen=True)
class Clock:
    """What shares and bars refer to: the duration of the piece, its tempo and its metre."""

    duration_s: float
    tempo: Tempo

    def seconds(self, time: float | str) -> float:
        """Return a validated time in seconds from the beginning of the piece."""
        if not isinstance(time, str):
            return time
        if found := PERCENT.fullmatch(time):
            return float(found[1]) / 100.0 * self.duration_s
        if found := BAR.fullmatch(time):
            return self.tempo.bar_s(float(found[1]) - 1.0)
        return self.tempo.bar_s(_bars(time))

    def lasting_s(self, length: float | str, start_s: float) -> float:
        """Return the seconds of a validated time as a length that begins at a second; bars are counted from there."""
        if isinstance(length, str) and BARS.fullmatch(length):
            return self.tempo.lasting_s(_bars(length), start_s)
        return self.seconds(length)


def _bars(time: str) -> float:
    """Return the number of bars in `2 bars`."""
    found = BARS.fullmatch(time)
    if found is None:
        raise ValueError(f"a time is {KNOWN}, got {time!r}")
    return float(found[1])


def told(seconds: float) -> str:
    """Return a time in readable form: 1:30, 0:04.5, 6:30:00."""
    whole, part = divmod(round(seconds, 3), 60.0)
    hours, minutes = divmod(int(whole), 60)
    tail = f"{part:06.3f}".rstrip("0").rstrip(".")
    return f"{hours}:{minutes:02d}:{tail}" if hours else f"{minutes}:{tail}"
