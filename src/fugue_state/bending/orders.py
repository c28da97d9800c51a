"""Which units are forgotten, and in which order."""

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
    """The measurements of every unit (U,) that orders need; a profile provides them."""

    @property
    def saliency(self) -> Wide:
        """How much the sound changes without the unit."""

    @property
    def activation(self) -> Wide:
        """How active the unit is."""

    @property
    def centroid_hz(self) -> Wide:
        """Where in frequency the unit is heard."""

    @property
    def cluster(self) -> Order:
        """The number, from 0 on, of the unit's cluster: units that fire alike."""

    @property
    def region(self) -> Order:
        """The number of the region where the unit is heard most; -1 if it is not heard."""


def needs_measured(name: str, units: Sequence[str] = ()) -> bool:
    """Say whether an order or these unit names need measurements of the memory."""
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
    """Return the units (k,), as numbers within U, in the order in which they are forgotten.

    `random`; `layerwise`, from the latent on, shuffled within each layer; `saliency`, `activation` and `frequency`,
    smallest first; `cluster`, cluster by cluster, with clusters and their units shuffled; `list`, the units named in
    `units` as written. Ties are shuffled by seed. `reverse` starts from the end. Units outside `scope` (if given) and
    those in `locks` are never forgotten; for unit names see `parse_units`.
    Raises InputError for an unknown order or unit, if no unit is left to forget, for an order that needs measurements
    without them, and if only one of `units` and the order `list` is given.
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
    """Return all units (U,) in an order, before scope and locks."""
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
    are the units that are heard most in that region. Raises InputError for a name that is malformed or unknown,
    and for a region without measurements.
    """
    found = [unit for name in names for unit in _named(name, layers, measured)]
    return np.array(list(dict.fromkeys(found)), dtype=np.int64)


def _named(name: str, layers: Mapping[str, int], measured: Measured | None) -> Sequence[int]:
    if name in REGIONS:
        region = _of_all(measured, "region", sum(layers.values()), f"{name!r}")
        return [int(unit) for unit in np.flatnonzero(region == REGIONS.index(name))]
    return units_of(name, layers, REGIONS)


def _of_all(measured: Measured | None, key: str, count: int, what: str) -> npt.NDArray[np.generic]:
    """Return a measurement of all units; InputError if there is none, or it belongs to another memory."""
    if measured is None:
        raise InputError(f"{what} needs what is measured of the memory's units: its profile")
    values: npt.NDArray[np.generic] = getattr(measured, key)
    if len(values) != count:
        raise InputError(f"what was measured is of {counted(len(values), 'unit')}, the memory has {count}")
    return values
