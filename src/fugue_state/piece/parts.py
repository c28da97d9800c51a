"""The parts of a piece: voices that forget together, and where their units are among all of the piece's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fugue_state.memory.memory import Memory


@dataclass(frozen=True, eq=False)
class Part:
    """Voices that forget together: one memory and one forgetting.

    `name` is empty if it is the piece's only part. `memory_name` is what the score calls the memory. Its units are
    those from `start` on in the piece's vector of units. `layers` are its layers as the piece calls them.
    """

    name: str
    memory: Memory
    memory_name: str
    voices: tuple[int, ...]
    start: int
    layers: Mapping[str, int]

    @property
    def units(self) -> int:
        """Number of its units."""
        return self.memory.units

    @property
    def within(self) -> slice:
        """Its units in a vector (U,) of all units of the piece."""
        return slice(self.start, self.start + self.units)
