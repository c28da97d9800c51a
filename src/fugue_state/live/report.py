"""The clock's report of each block."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from fugue_state.bending.strengths import Strengths
from fugue_state.live.wish import Wish

if TYPE_CHECKING:
    from fugue_state.engine.chain import Block  # takes long to import
    from fugue_state.engine.performance import Performance


@dataclass(frozen=True)
class Units:
    """The state of all units (U,): strengths asked for, strengths left by brushes alone, and which are frozen."""

    strengths: Strengths
    brushed: Strengths
    frozen: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, performance: Performance) -> Self:
        """Return a copy of a performance's current state."""
        return cls(performance.strengths.copy(), performance.brushed.copy(), performance.frozen.copy())


@dataclass(frozen=True)
class Report:
    """The result of a block: the wishes done, each with its error or ""; the values; and the sound, if any.

    `values` are None if they could not be told. `units` are given after a wish, and now and then without one.
    `samples` are None while nothing plays, `sounding` also if the sound failed. `at` is the first sample, counted
    through replays.
    """

    at: int
    performance: Performance
    values: Mapping[str, Any] | None
    asked: tuple[tuple[Wish, str], ...] = ()
    units: Units | None = None
    samples: npt.NDArray[np.float32] | None = None
    sounding: Block | None = None
