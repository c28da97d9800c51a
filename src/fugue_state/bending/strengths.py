"""Strengths: how much of each unit is remembered."""

from __future__ import annotations

import numpy as np

from fugue_state import asked
from fugue_state.arrays import Array
from fugue_state.bending.orders import Order

Strengths = Array


def forget(order: Order, fraction: float, units: int) -> Strengths:
    """Return strengths (U,) of all `units` after this fraction (0..1) of the order is forgotten.

    Nested: units forgotten at a smaller fraction are forgotten at a larger one. The unit at the border is partly
    remembered, so that strengths move without steps. Units that are not in the order stay intact.
    """
    fraction = asked.number("the fraction forgotten", fraction, 0.0, 1.0)
    strengths = np.ones(units, dtype=np.float32)
    strengths[order] = np.clip(np.arange(1, len(order) + 1) - fraction * len(order), 0.0, 1.0)
    return strengths
