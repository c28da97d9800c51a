"""Progress reports of long work, without the library printing anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

Item = TypeVar("Item")


class Track(Protocol):
    """Passes items through one by one, while showing how many of `total` are done."""

    def __call__(self, items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
        """Yield every item unchanged."""


def untracked(items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
    """Yield every item unchanged, showing nothing."""
    del total, what
    yield from items
