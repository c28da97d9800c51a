"""How whole inputs become malformed ones."""

from __future__ import annotations

import copy
import math
import random
from typing import Any

EXTREMES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 2**62, 2**63 - 1, 2**64 - 1)
NEAR = 256  # bytes in which headers lie
TEXTS = (
    "", " ", "x", "x" * 5000, "\0", "a\nb", "\x1b[31m", "\u202e", "\U0001f3b8", "\udc80", "e\u0301", "../../x",
    "/dev/zero", "~", "1:30", "25 %", "bar 5", "2 bars", "-1 %", "1e999", "nan", "inf", "99999999999999999999:00",
    "%s{}{0}", "Am*2", "Am*1e400", "-", "*", "#", "[", "deconv1", "deconv1:3", "/forget",
    "/layer/1/forget", "saliency",
    "even", "0" * 5000,
)  # fmt: skip
NUMBERS = (
    0, 1, -1, 2, 3, 255, 65_536, 10**6, -(10**6), 2**31, 2**53, 2**63, -(2**63), 10**30, 10**400, 0.5, -0.0, 1e-320,
    1e-9, 1e9, 1e300, math.nan, math.inf, -math.inf,
)  # fmt: skip


def mutated(source: random.Random, data: bytes) -> bytes:
    """Return bytes of which something is changed, missing, doubled or added."""
    for _ in range(source.randint(1, 6)):
        data = _once(source, data)
    return data


def _once(source: random.Random, data: bytes) -> bytes:
    size = len(data)
    at = source.randrange(min(size, NEAR) if source.random() < 0.6 else size) if size else 0
    end = min(size, at + source.choice((1, 2, 4, 8, 16, 64, size)))
    what = source.randrange(8)
    if what < 2:
        return data[:at] + bytes([source.randrange(256)]) + data[at + 1 :]
    if what < 4:
        width = source.choice((1, 2, 4, 8))
        value = source.choice(EXTREMES) & ((1 << 8 * width) - 1)
        return data[:at] + value.to_bytes(width, source.choice(("little", "big"))) + data[at + width :]
    if what == 4:
        return data[:at]
    if what == 5:
        return data[:at] + data[end:]
    if what == 6:
        return data[:end] + data[at:end] * source.choice((1, 2, 10)) + data[end:]
    return data[:at] + source.randbytes(source.choice((1, 3, 4, 40))) + data[at:]


def wild(source: random.Random, depth: int = 0) -> Any:
    """Return some value of JSON or TOML that hardly anybody means."""
    what = source.randrange(8 if depth < 3 else 6)
    if what < 3:
        return source.choice(NUMBERS)
    if what < 5:
        return source.choice(TEXTS)
    if what == 5:
        return source.choice((None, True, False))
    if what == 6:
        return [wild(source, depth + 1) for _ in range(source.choice((0, 1, 2, 3, 20)))]
    return {source.choice(TEXTS): wild(source, depth + 1) for _ in range(source.choice((0, 1, 2)))}


def changed(source: random.Random, values: Any) -> Any:
    """Return a copy of values as of JSON in which some are others, missing or added."""
    copied = copy.deepcopy(values)
    for _ in range(source.choice((1, 1, 1, 2, 3))):
        holders = [holder for holder in _holders(copied) if len(holder)]
        if not holders:
            return wild(source)
        holder = source.choice(holders)
        place = source.choice(sorted(holder, key=str) if isinstance(holder, dict) else range(len(holder)))
        what = source.randrange(10)
        if what == 0:
            del holder[place]
        elif what == 1 and isinstance(holder, dict):
            holder[source.choice(TEXTS)] = wild(source)
        elif what == 1:
            holder.extend(holder * source.choice((1, 50)))
        elif what < 5 and isinstance(holder[place], int | float) and not isinstance(holder[place], bool):
            holder[place] = source.choice((-1, 0, 0.5, 2, 1000, 1e6)) * min(abs(holder[place]), 1e6)
        else:
            holder[place] = wild(source)
    return copied


def _holders(values: Any) -> list[Any]:
    """Return all lists and tables within values."""
    if not isinstance(values, dict | list):
        return []
    inside = values.values() if isinstance(values, dict) else values
    return [values, *(holder for value in inside for holder in _holders(value))]
