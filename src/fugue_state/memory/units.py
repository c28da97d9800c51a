"""Units by name: `deconv3` is a layer, `deconv3:17` its 17th unit, `deconv3:1-64` its first 64."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fugue_state import asked
from fugue_state.arrays import Array
from fugue_state.errors import InputError, shown, unknown

# A layer, optionally with one of its units or a range of them.
UNITS = re.compile(r"([^:]+)(?::([0-9]{1,9})(?:-([0-9]{1,9}))?)?")


def units_of(name: str, layers: Mapping[str, int], also: Sequence[str] = ()) -> range:
    """Return the units that a name stands for, as numbers within U.

    Raises InputError for a name that is malformed or unknown; `also` are further names to suggest.
    """
    parts = UNITS.fullmatch(name) if isinstance(name, str) else None
    if parts is None:
        raise InputError(f"{shown(name)} names no units; they are written like deconv2, deconv2:17 or deconv2:1-64")
    layer, first, last = parts.groups()
    if layer not in layers:
        raise unknown("layer", layer, [*layers, *also])
    size, low = layers[layer], int(first or 1)
    high = int(last or first or size)
    if low > high:
        raise InputError(f"{name}: a range goes up, like {layer}:{high}-{low}")
    if not 1 <= low <= high <= size:
        raise InputError(f"{name}: {layer} has units 1 to {size}")
    before = sum(list(layers.values())[: list(layers).index(layer)])
    return range(before + low - 1, before + high)


def for_units(what: str, values: Any, layers: Mapping[str, int], default: float) -> Array:
    """Return values for units: an array as it is, or values (U,) made from a mapping by name.

    Each name has one number, or one for every unit that it stands for. Later names override earlier ones, all other
    units get the default. Raises InputError for unknown names or wrong counts; the range is not checked.
    """
    if not isinstance(values, Mapping):
        return asked.floats(what, values, finite=False)
    made = np.full(sum(layers.values()), default, dtype=np.float32)
    for name, value in values.items():
        units = units_of(name, layers)
        given = asked.floats(f"{what} of {name}", value, finite=False)
        if given.shape not in ((), (len(units),)):
            raise InputError(
                f"{what} of {name} must be a number or {len(units)} of them, one for each unit, got {given.shape}"
            )
        made[units.start : units.stop] = given
    return made
