"""Ranks of values within their column."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fugue_state.arrays import Wide


def ranks(values: npt.NDArray[np.floating]) -> Wide:
    """Return the rank, from 1 on, of each value (n, k) within its column; ties share their mean rank."""
    return np.stack([_ranks(column) for column in values.T], axis=1)


def _ranks(column: npt.NDArray[np.floating]) -> Wide:
    _, place, count = np.unique(column, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return np.asarray((last - (count - 1) / 2.0)[place])
