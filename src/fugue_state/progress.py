"""How long work tells where it is, without the library printing anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

Item = TypeVar("Item")


class Track(Protocol):
    """Pass items through, one by one, while showing how many of `total` have gone by."""

    def __call__(self, items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
        """Yield every item unchanged."""


def untracked(items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
    """Show nothing."""
    del total, what
    yield from items
