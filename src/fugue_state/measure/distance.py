"""Distances between sets of sounds, and whether one set copies the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fugue_state.arrays import Whole, Wide
from fugue_state.errors import InputError

Mels = npt.NDArray[np.float16 | np.float32]

COARSE = (16, 8)  # bands x frames of the embedding, for distances between sets
SMALL = (8, 8)  # ... if there are only a few hundred points: the bias of the Frechet distance grows with size
FINE = (32, 32)  # ... for nearest neighbours, where detail distinguishes copies from similar sounds
FEWEST = 4
CHUNK = 256
KERNEL_DB = 20.0


def embed(mels: Mels, shape: tuple[int, int] = COARSE, *, range_db: float) -> Wide:
    """Return mels (n, M, T) in [-1, 1] as points (n, bands * frames): block averages of the level in dB.

    Raises InputError if the mels cannot be divided into `shape`.
    """
    count, bands, frames = mels.shape
    if bands % shape[0] or frames % shape[1]:
        raise InputError(f"mels of {bands} x {frames} do not divide into {shape[0]} x {shape[1]} blocks")
    points = np.empty((count, shape[0] * shape[1]))
    for start in range(0, count, CHUNK):
        part = mels[start : start + CHUNK].astype(np.float64)
        blocks = part.reshape(len(part), shape[0], bands // shape[0], shape[1], frames // shape[1])
        points[start : start + CHUNK] = blocks.mean(axis=(2, 4)).reshape(len(part), -1) * (range_db / 2.0)
    return points


def frechet(one: Wide, other: Wide) -> float:
    """Return the Frechet distance between the Gaussians of two sets of points (n, D) (Heusel et al., 2017).

    Biased upwards for few points: compare only distances between sets of the same sizes.
    """
    _enough(one, other)
    mean = float(np.sum((one.mean(axis=0) - other.mean(axis=0)) ** 2))
    first, second = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    shared = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ second @ root), 0.0)).sum()
    return max(0.0, mean + float(np.trace(first) + np.trace(second) - 2.0 * shared))


def kid(one: Wide, other: Wide) -> float:
    """Return the kernel distance of two sets (n, D), unbiased for any n (Binkowski et al., 2018).

    The squared maximum mean discrepancy of a cubic kernel on points in units of 20 dB, a scale that
    does not depend on the sets; about 0, of either sign, for sets from the same distribution.
    """
    _enough(one, other)
    x, y = one / KERNEL_DB, other / KERNEL_DB
    size = x.shape[1]
    within_x, within_y, between = ((a @ b.T / size + 1.0) ** 3 for a, b in ((x, x), (y, y), (x, y)))
    n, m = len(x), len(y)
    inner_x = (within_x.sum() - np.trace(within_x)) / (n * (n - 1))
    inner_y = (within_y.sum() - np.trace(within_y)) / (m * (m - 1))
    return float(inner_x + inner_y - 2.0 * between.mean())


def _enough(one: Wide, other: Wide) -> None:
    if min(len(one), len(other)) < FEWEST:
        raise InputError(f"sets of {len(one)} and {len(other)} are too small to compare; at least {FEWEST} are needed")


@dataclass(frozen=True)
class Neighbours:
    """For each point, the nearest among others: index (n,), and root-mean-square distance (n,) in dB."""

    index: Whole
    distance_db: Wide


def nearest(points: Wide, others: Wide, *, selves: Whole | None = None) -> Neighbours:
    """Find the nearest of `others` (m, D) for every point (n, D).

    `selves` (n,) gives each point's own index among the others, which is skipped.
    """
    squares = (points**2).sum(axis=1)[:, None] + (others**2).sum(axis=1)[None] - 2.0 * points @ others.T
    if selves is not None:
        squares[np.arange(len(points)), selves] = np.inf
    index = squares.argmin(axis=1)
    distance = np.sqrt(np.maximum(squares[np.arange(len(points)), index], 0.0) / points.shape[1])
    return Neighbours(index, distance)
