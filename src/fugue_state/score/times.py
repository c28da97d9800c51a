"""Times as one writes them: seconds, clock, a share of the piece, bars."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator

CLOCK = re.compile(r"^(?:(\d+):)?(\d{1,2}):(\d{1,2}(?:\.\d+)?)$")
PERCENT = re.compile(r"^(\d+(?:\.\d+)?) *%$")
BAR = re.compile(r"^bar +(\d+(?:\.\d+)?)$")
BARS = re.compile(r"^(\d+(?:\.\d+)?) +bars?$")
KNOWN = '90, "1:30", "25 %", "bar 5" or "2 bars"'


def _clock(value: Any) -> Any:
    """Turn numbers and clock times into seconds; leave the rest."""
    if isinstance(value, bool):
        raise ValueError(f"a time is {KNOWN}")  # noqa: TRY004 - pydantic turns only these into its own
    if isinstance(value, str):
        text = value.strip().casefold()
        if found := CLOCK.match(text):
            hours, minutes, seconds = found[1] or 0, found[2], found[3]
            if float(seconds) >= 60 or (found[1] and int(minutes) >= 60):
                raise ValueError("minutes and seconds after a colon go up to 59")
            return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
        try:
            return float(text)
        except ValueError:
            return text
    return value


def _time(value: Any) -> float | str:
    """Check a time; seconds become a number."""
    known = _clock(value)
    if isinstance(known, int | float):
        if not math.isfinite(known) or known < 0:
            raise ValueError(f"a time is finite and not negative: {KNOWN}")
        return float(known)
    if isinstance(known, str) and (PERCENT.match(known) or BAR.match(known) or BARS.match(known)):
        if (found := BAR.match(known)) and float(found[1]) < 1:
            raise ValueError("bars count from 1")
        return known
    raise ValueError(f"a time is {KNOWN}")


Time = Annotated[float | str, BeforeValidator(_time)]
Seconds = Annotated[float, BeforeValidator(_clock)]


@dataclass(frozen=True)
class Clock:
    """What shares and bars of a piece are measured by."""

    duration_s: float
    bar_s: float

    def seconds(self, time: float | str) -> float:
        """Return the seconds that a checked time stands for."""
        if not isinstance(time, str):
            return time
        if found := PERCENT.match(time):
            return float(found[1]) / 100.0 * self.duration_s
        if found := BAR.match(time):
            return (float(found[1]) - 1.0) * self.bar_s
        found = BARS.match(time)
        if found is None:
            raise ValueError(f"a time is {KNOWN}, got {time!r}")
        return float(found[1]) * self.bar_s


def told(seconds: float) -> str:
    """Return a time as one reads it: 1:30, 0:04.5, 6:30:00."""
    whole, part = divmod(round(seconds, 3), 60.0)
    hours, minutes = divmod(int(whole), 60)
    tail = f"{part:06.3f}".rstrip("0").rstrip(".")
    return f"{hours}:{minutes:02d}:{tail}" if hours else f"{minutes}:{tail}"
