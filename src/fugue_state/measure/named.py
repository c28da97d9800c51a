"""How a set of sounds was named, whatever names there are: what tables of chords and of notes share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fugue_state.errors import InputError, counted


@dataclass(frozen=True)
class Heard:
    """What a sound was named, and how clear it is (0 to 1)."""

    name: str
    clarity: float


@dataclass(frozen=True)
class NameTable:
    """How a set of sounds was named: overall, per class, and which name was taken for which.

    `confusion[asked][heard]` counts; `clarity` is the mean over all sounds.
    """

    count: int
    accuracy: float
    worst_class: float
    per_class: dict[str, float]
    clarity: float
    confusion: dict[str, dict[str, int]]


def compared(asked: Sequence[str], heard: Sequence[Heard], what: str) -> dict[str, Any]:
    """Return the fields of a NameTable; InputError unless there are equally many asked and heard, at least one."""
    if len(asked) != len(heard) or not asked:
        raise InputError(f"{counted(len(asked), what)} asked and {len(heard)} heard; as many are needed, at least one")
    confusion: dict[str, dict[str, int]] = {name: {} for name in sorted(set(asked))}
    for name, one in zip(asked, heard, strict=True):
        confusion[name][one.name] = confusion[name].get(one.name, 0) + 1
    per_class = {name: row.get(name, 0) / sum(row.values()) for name, row in confusion.items()}
    return {
        "count": len(asked),
        "accuracy": sum(row.get(name, 0) for name, row in confusion.items()) / len(asked),
        "worst_class": min(per_class.values()),
        "per_class": per_class,
        "clarity": float(np.mean([one.clarity for one in heard])),
        "confusion": confusion,
    }
