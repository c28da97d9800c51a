"""Which units go, and in which order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, get_args

import numpy as np
import numpy.typing as npt

from fugue_state.arrays import Whole, Wide
from fugue_state.config import REGIONS, OrderName
from fugue_state.errors import InputError, counted, unknown
from fugue_state.memory.units import units_of

Order = Whole

MEASURED = {
    "saliency": "saliency",
    "activation": "activation",
    "cluster": "cluster",
    "frequency": "centroid_hz",
}


class Measured(Protocol):
    """What orders need to know of every unit (U,); a profile knows it."""

    @property
    def saliency(self) -> Wide:
        """How much the sound changes without it."""

    @property
    def activation(self) -> Wide:
        """How active it is."""

    @property
    def centroid_hz(self) -> Wide:
        """Where in frequency it is heard."""

    @property
    def cluster(self) -> Order:
        """The number, from 0 on, of the units that fire alike."""

    @property
    def region(self) -> Order:
        """The number of the region where it is heard most; -1 if it is not heard."""


def needs_measured(name: str, units: Sequence[str] = ()) -> bool:
    """Say whether an order, or these names of units, take what is measured of a memory."""
    return name in MEASURED or not set(REGIONS).isdisjoint(units)


def make_order(
    name: str,
    layers: Mapping[str, int],
    seed: int,
    *,
    units: Sequence[str] = (),
    scope: Sequence[str] = (),
    locks: Sequence[str] = (),
    reverse: bool = False,
    measured: Measured | None = None,
) -> Order:
    """Return the units (k,), as numbers within U, in the order in which they go.

    `random`; `layerwise`, from the latent on, shuffled inside; `saliency`, `activation` and `frequency`, the
    least first; `cluster`, one after another, both clusters and what is inside shuffled; `list`, what `units`
    names as it is written. Equals are shuffled by seed. `reverse` begins at the end. Units outside `scope` (if
    there is one) and those in `locks` never go; what units are called is told in `parse_units`.
    Raises InputError for an unknown order or unit, if nothing is left to go, for an order that takes what is
    measured without it, and if `units` and the order `list` are not given together.
    """
    if name not in get_args(OrderName):
        raise unknown("order", name, get_args(OrderName))
    if (name == "list") != bool(units):
        raise InputError("order 'list' needs units to list" if name == "list" else f"order {name!r} takes no units")
    count = sum(layers.values())
    goes = np.zeros(count, dtype=bool)
    goes[parse_units(scope, layers, measured) if scope else slice(None)] = True
    goes[parse_units(locks, layers, measured)] = False
    order = parse_units(units, layers, measured) if units else _whole(name, layers, seed, measured)
    if reverse:
        order = order[::-1]
    left = order[goes[order]]
    if not len(left):
        raise InputError("nothing is left to forget: every unit is locked or out of scope")
    return left


def _whole(name: str, layers: Mapping[str, int], seed: int, measured: Measured | None) -> Order:
    """Return all units (U,) in an order."""
    rng = np.random.default_rng(seed)
    count = sum(layers.values())
    if name == "layerwise":
        starts = np.cumsum([0, *layers.values()])
        parts = [start + rng.permutation(size) for start, size in zip(starts[:-1], layers.values(), strict=True)]
        return np.concatenate(parts)
    shuffled = rng.permutation(count)
    if name == "random":
        return shuffled
    values = _of_all(measured, MEASURED[name], count, f"order {name!r}")
    if name == "cluster":
        values = rng.permutation(int(values.max()) + 1)[values]
    return shuffled[np.argsort(values[shuffled], kind="stable")]


def parse_units(names: Sequence[str], layers: Mapping[str, int], measured: Measured | None = None) -> Order:
    """Return units by name, as numbers within U, in the order in which they are written, each once.

    `deconv2` is a whole layer, `deconv2:17` its 17th unit, `deconv2:1-64` its first 64; `bass`, `body` and `air`
    are the units that are heard most there. Raises InputError for a name that is not understood or not there,
    and for a region if nothing is measured.
    """
    found = [unit for name in names for unit in _named(name, layers, measured)]
    return np.array(list(dict.fromkeys(found)), dtype=np.int64)


def _named(name: str, layers: Mapping[str, int], measured: Measured | None) -> Sequence[int]:
    if name in REGIONS:
        region = _of_all(measured, "region", sum(layers.values()), f"{name!r}")
        return [int(unit) for unit in np.flatnonzero(region == REGIONS.index(name))]
    return units_of(name, layers, REGIONS)


def _of_all(measured: Measured | None, key: str, count: int, what: str) -> npt.NDArray[np.generic]:
    """Return what was measured of all units; InputError if nothing was, or it is of another memory."""
    if measured is None:
        raise InputError(f"{what} needs what is measured of the memory's units: its profile")
    values: npt.NDArray[np.generic] = getattr(measured, key)
    if len(values) != count:
        raise InputError(f"what was measured is of {counted(len(values), 'unit')}, the memory has {count}")
    return values
