"""Forgetting curves of a memory on its own: over all units in an order, and over each layer alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fugue_state.bending.orders import Order, make_order, needs_measured
from fugue_state.bending.strengths import forget
from fugue_state.config import CurveConfig
from fugue_state.measure.curve import Curve, Way, measure_curves
from fugue_state.measure.profile import Profile
from fugue_state.memory.memory import Memory
from fugue_state.progress import Track, untracked


def forgetting_curves(
    memory: Memory,
    name_or_path: str | Path | None = None,
    config: CurveConfig | None = None,
    *,
    track: Track = untracked,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Curve]:
    """Return the curve of all units in the order asked for, as `overall`, and of each layer alone, shuffled.

    `name_or_path` says where the memory's profile is stored, for orders that need it. Raises InputError for an order
    that needs a list of units.
    """
    config = config or CurveConfig()
    measured = Profile.of(memory, name_or_path, track=track, say=say) if needs_measured(config.order) else None
    overall = make_order(config.order, memory.layers, config.seed, reverse=config.reverse, measured=measured)
    alone = {name: make_order("random", memory.layers, config.seed, scope=(name,)) for name in memory.layers}
    layers = {name: _way(order, memory.units) for name, order in alone.items()}
    return measure_curves(memory, _way(overall, memory.units), layers, config, track=track)


def _way(order: Order, units: int) -> Way:
    return lambda fraction: forget(order, fraction, units)
