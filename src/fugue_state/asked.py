"""Validation of arguments of the public Python API; an InputError names the argument."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from fugue_state.arrays import Array
from fugue_state.errors import InputError, shown, unknown

Kind = TypeVar("Kind")


def whole(name: str, value: Any, least: int, most: float) -> int:
    """Return a whole number, checked to be within `least`..`most`."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        raise InputError(f"{name} must be a whole number within {least}..{most:.12g}, got {shown(value)}")
    if not least <= value <= most:
        raise InputError(f"{name} must be within {least}..{most:.12g}, got {shown(value)}")
    return int(value)


def number(name: str, value: Any, least: float, most: float) -> float:
    """Return a number as a float, checked to be within `least`..`most`."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        raise InputError(f"{name} must be a number within {least:g}..{most:g}, got {shown(value)}")
    if not least <= value <= most:  # NaN fails, too
        raise InputError(f"{name} must be within {least:g}..{most:g}, got {shown(value)}")
    return float(value)


def floats(name: str, values: Any, *, finite: bool = True) -> Array:
    """Return numbers in single precision from an array, a tensor or lists, checked to be `finite` if set."""
    if hasattr(values, "detach"):  # a tensor, which may require gradients or be on another device
        values = values.detach().cpu()
    try:
        found = np.asarray(values)
    except (TypeError, ValueError, RuntimeError, OverflowError, RecursionError):
        found = np.empty(0, dtype=object)
    if found.dtype.kind not in "fiu":
        kind = type(values).__name__ if found.dtype.kind in "OUSV" else str(found.dtype)
        raise InputError(f"{name} must be an array of numbers, got {kind} {shown(values)}")
    with np.errstate(over="ignore"):
        single = found.astype(np.float32, copy=False)
    if finite and not np.isfinite(single).all():
        wrong = found[~np.isfinite(single)].flat[0]
        raise InputError(f"{name} must be finite numbers of single precision, got {wrong:g}")
    return np.asarray(single, order="C")


def one_of(name: str, value: Any, choices: Collection[str]) -> str:
    """Return a name, checked to be among `choices`."""
    if not isinstance(value, str):
        raise InputError(f"{name} must be one of {', '.join(choices)}, got {shown(value)}")
    if value not in choices:
        raise unknown(name, value, choices)
    return value


def path(name: str, value: Any) -> Path:
    """Return a path given as text or as a Path."""
    if not isinstance(value, str | Path):
        raise InputError(f"{name} must be a path, as text or a Path, got {shown(value)}")
    if "\0" in str(value):
        raise InputError(f"{name} must be a path, got {shown(str(value))}")
    return Path(value)


def kind(name: str, value: Any, needed: type[Kind], made: str) -> Kind:
    """Return a value, checked to be of the class `needed`; `made` says how to get one."""
    if not isinstance(value, needed):
        raise InputError(f"{name} must be a {needed.__name__} ({made}), got {shown(value)}")
    return value
