"""Which units go first, and how much of each is remembered."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from fugue_state.errors import InputError, unknown

Strengths = npt.NDArray[np.float32]
Order = npt.NDArray[np.int64]


def random_order(layers: Mapping[str, int], seed: int) -> Order:
    """Return all units (U,) shuffled by seed, whatever their layer."""
    return np.random.default_rng(seed).permutation(sum(layers.values()))


def layerwise_order(layers: Mapping[str, int], seed: int) -> Order:
    """Return all units (U,), layer after layer from the latent on, shuffled within each."""
    rng = np.random.default_rng(seed)
    starts = np.cumsum([0, *layers.values()])
    return np.concatenate(
        [start + rng.permutation(size) for start, size in zip(starts[:-1], layers.values(), strict=True)]
    )


ORDERS: dict[str, Callable[[Mapping[str, int], int], Order]] = {
    "random": random_order,
    "layerwise": layerwise_order,
}


def make_order(name: str, layers: Mapping[str, int], seed: int) -> Order:
    """Return the units in the sequence in which they go; InputError for an order not known."""
    if name not in ORDERS:
        raise unknown("order", name, ORDERS)
    return ORDERS[name](layers, seed)


def forget(order: Order, fraction: float) -> Strengths:
    """Return strengths (U,) after this fraction (0..1) of the units, in order, is forgotten.

    Nested: what is forgotten at a smaller fraction is forgotten at a larger one. The unit at the
    border is remembered in part, so that the strengths move without steps.
    """
    if not 0.0 <= fraction <= 1.0:
        raise InputError(f"the fraction forgotten must be within 0..1, got {fraction}")
    strengths = np.empty(len(order), dtype=np.float32)
    strengths[order] = np.clip(np.arange(1, len(order) + 1) - fraction * len(order), 0.0, 1.0)
    return strengths
