"""Makes a take of recorded sensor data, which `fugue render` plays.

python take_from_csv.py sensors.csv --map light=/forget --map touch=/layer/1/forget:0.2..0.8 -o take.toml

The column `time` is in seconds. What a sensor gave from its least to its most becomes the control's range; LOW..HIGH
are other values of the sensor for its least and most (HIGH..LOW turns it round).
"""

from __future__ import annotations

import argparse
import csv
import math
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from fugue_state.errors import FugueError, InputError, shown, unknown
from fugue_state.files import output_path, replacing
from fugue_state.score.model import Change, Score
from fugue_state.score.paths import Path as Control
from fugue_state.score.paths import find
from fugue_state.score.shipped import find_score
from fugue_state.score.text import dump_score, load_score

TIME = "time"
STEP = 0.002  # share of a control's range below which a sensor's move is noise
MAP = re.compile(r"(?P<column>[^=]+)=(?P<path>/[^:]+)(:(?P<low>[^.:][^:]*?)\.\.(?P<high>.+))?")


@dataclass(frozen=True)
class Mapped:
    """A column, the control that it moves, and the sensor's values for the ends of the control's range."""

    column: str
    path: str
    ends: tuple[float, float] | None

    @classmethod
    def read(cls, text: str) -> Mapped:
        """Read COLUMN=/PATH or COLUMN=/PATH:LOW..HIGH."""
        found = MAP.fullmatch(text)
        if found is None:
            raise InputError(f"--map is COLUMN=/PATH or COLUMN=/PATH:LOW..HIGH, not {shown(text)}")
        ends = None
        if found["low"] is not None:
            ends = number(found["low"], f"--map {text}"), number(found["high"], f"--map {text}")
            if ends[0] == ends[1]:
                raise InputError(f"--map {text}: LOW and HIGH are the same")
        control = find(found["path"])[0]
        if control.kind not in {"float", "int"} or not control.recorded:
            raise InputError(f"--map {text}: a sensor moves faders and switches, {control.pattern} is none")
        return cls(found["column"], found["path"], ends)

    def changes(self, times: Sequence[float], values: Sequence[float]) -> Iterator[Change]:
        """Yield a change of the control wherever the sensor moved."""
        low, high = self.ends or (min(values), max(values))
        control, before = find(self.path)[0], math.nan
        for at, value in zip(times, values, strict=True):
            share = min(1.0, max(0.0, (value - low) / (high - low))) if high != low else 0.0
            if abs(share - before) < STEP:
                continue
            before = share
            yield Change(at=at, path=self.path, value=_within(control, share))


def _within(control: Control, share: float) -> float:
    value = control.minimum + share * (control.maximum - control.minimum)
    return round(value) if control.kind == "int" else round(value, 4)


def number(text: str | None, where: str) -> float:
    """Read a finite number; InputError that says where there is none."""
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{where}: {shown(text or '')} is no number")
    return value


def columns(path: Path, names: Sequence[str]) -> dict[str, list[float]]:
    """Return columns of a CSV by name; InputError with the line of the first value that is no number."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            there = list(rows.fieldnames or ())
            for name in names:
                if name not in there:
                    raise unknown("column", name, there)
            found: dict[str, list[float]] = {name: [] for name in names}
            for row in rows:
                for name in names:
                    found[name].append(number(row[name], f"{path}:{rows.line_num}: {name}"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (UnicodeDecodeError, csv.Error):
        raise InputError(f"{path}: no CSV in UTF-8") from None
    if not found[TIME]:
        raise InputError(f"{path}: has no rows")
    return found


def take(path: Path, mapped: Sequence[Mapped], score: Score) -> Score:
    """Return a score as a take that the sensors played; its own plan forgets nothing."""
    found = columns(path, list(dict.fromkeys([TIME, *(one.column for one in mapped)])))
    times = [at - found[TIME][0] for at in found[TIME]]
    for before, after in pairwise(times):
        if after < before:
            raise InputError(f"{path}: the time goes back, from {before:g} to {after:g} s")
    changes = [change for one in mapped for change in one.changes(times, found[one.column])]
    settings = score.model_dump(exclude_unset=True) | {
        "resolution": "block",
        "duration_s": max(1.0, times[-1]),
        "forgetting": score.forgetting.model_dump(exclude_unset=True) | {"to": 0.0},
        "changes": sorted(changes, key=lambda change: change.at),
    }
    try:
        return Score(**settings)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def main() -> None:
    """Write a take."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv", type=Path, help="sensor data with a column `time`")
    parser.add_argument("--map", action="append", required=True, metavar="COLUMN=/PATH[:LOW..HIGH]")
    parser.add_argument("--score", help="the score that is played (default: a loop of chords)")
    parser.add_argument("-o", "--out", type=Path, default=Path("take.toml"))
    parser.add_argument("--force", action="store_true", help="overwrite a take")
    asked = parser.parse_args()
    try:
        out = output_path(asked.out, force=asked.force, suffixes=(".toml",), reads=[asked.csv])
        score = load_score(find_score(asked.score)) if asked.score else Score()
        made = take(asked.csv, [Mapped.read(text) for text in asked.map], score)
        with replacing(out) as beside:
            beside.write_text(dump_score(made), encoding="utf-8", newline="\n")
    except FugueError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    print(f"{out}: {len(made.changes)} changes in {made.duration_s:g} s")


if __name__ == "__main__":
    main()
