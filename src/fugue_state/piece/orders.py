"""The orders that a score or a hand asks for, and the measurements of the memory that they need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import cast

from fugue_state.bending.orders import Order, make_order, needs_measured
from fugue_state.config import OrderName
from fugue_state.measure.atlas import Atlas
from fugue_state.measure.profile import Profile
from fugue_state.memory.memory import Memory
from fugue_state.progress import Track
from fugue_state.score.model import Forgetting
from fugue_state.settings import Place, placed


class Described:
    """Measurements of a memory: a profile of its units, an atlas of its latents; each is made on first use.

    `name` is what they are stored under: the memory's name or path.
    """

    def __init__(self, memory: Memory, name: str, track: Track, say: Callable[[str], None]) -> None:
        self._memory, self._name, self._track, self._say = memory, name, track, say

    @cached_property
    def profile(self) -> Profile:
        """What each unit does; slow to measure."""
        return Profile.of(self._memory, self._name, track=self._track, say=self._say)

    @property
    def has_profile(self) -> bool:
        """Whether the units were measured already."""
        return "profile" in vars(self)

    @cached_property
    def atlas(self) -> Atlas:
        """What latents sound like."""
        return Atlas.of(self._memory, self._name, track=self._track, say=self._say)


class Orders:
    """The orders of a memory's units that a score or a hand asks for; the memory is measured at most once for them.

    `plan` says what is locked and what the score's own order is; it stands at `place` in the score.
    """

    def __init__(self, seed: int, plan: Forgetting, place: Place, memory: Memory, described: Described) -> None:
        self._seed, self._plan, self._place = seed, plan, place
        self._memory, self._described = memory, described
        self._known: dict[tuple[object, ...], Order] = {}

    def measured(self, name: str, *units: Sequence[str]) -> Profile | None:
        """Return the profile of the memory's units if the order or these unit names need it."""
        needed = needs_measured(name, [unit for some in units for unit in some])
        return self._described.profile if needed else None

    def needs(self, name: str) -> bool:
        """Return whether the memory must be measured before a hand can choose an order."""
        return needs_measured(name) and not self._described.has_profile

    def measure(self) -> None:
        """Measure the memory for any order a hand may choose."""
        self._described.profile  # noqa: B018 - measured on first use

    def __call__(
        self, name: OrderName, *, reverse: bool, units: Sequence[str], scope: Sequence[str], place: Place
    ) -> Order:
        """Return an order; `place` is the part of the score that asks for it, for error messages."""
        locks, asked = self._plan.locks, (name, reverse, tuple(units), tuple(scope))
        if asked in self._known:
            return self._known[asked]
        with placed(place):
            self._known[asked] = make_order(
                name,
                self._memory.layers,
                self._seed,
                units=units,
                scope=scope,
                locks=locks,
                reverse=reverse,
                measured=self.measured(name, units, scope, locks),
            )
        return self._known[asked]

    def base(self) -> Order:
        """Return the order that the score says."""
        plan = self._plan
        return self(plan.order, reverse=plan.reverse, units=plan.units, scope=plan.scope, place=self._place)

    def inside(self, name: str, layer: str) -> Order:
        """Return an order within a layer, chosen by hand."""
        # The caller names the place in errors: a layer's order is not part of the score.
        return self(cast("OrderName", name), reverse=False, units=(), scope=(layer,), place=("order",))
