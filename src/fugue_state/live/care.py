"""Keeps the clock going whatever fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from fugue_state.errors import why

Made = TypeVar("Made")
Failed = Callable[[Exception], None]


class Care:
    """Does things that may fail and tells `complain` of each failure once, until it works again."""

    def __init__(self, complain: Callable[[str], None]) -> None:
        self.complain = complain
        self._failing: set[str] = set()  # what failed last time

    def safely(
        self, what: str, act: Callable[[], Made], otherwise: Made, and_so: str = "", failed: Failed | None = None
    ) -> Made:
        """Return what `act` returns; if it fails, tell `failed`, or everyone once, and return `otherwise`.

        Every error is caught: whatever is wrong with a memory, a take or a wish, the clock goes on.
        """
        try:
            made = act()
        except Exception as error:  # noqa: BLE001 - see above
            if failed is None:
                self.once(what, f"{what} failed ({why(error)}){and_so}")
            else:
                failed(error)
            return otherwise
        self.works(what)
        return made

    def once(self, what: str, text: str) -> None:
        """Complain that something fails, unless it failed last time."""
        if what not in self._failing:
            self.complain(text)
        self._failing.add(what)

    def works(self, what: str) -> None:
        """Note that something works, so that its next failure is reported."""
        self._failing.discard(what)

    def fails(self, *what: str) -> bool:
        """Return whether one of these failed last time."""
        return not self._failing.isdisjoint(what)
