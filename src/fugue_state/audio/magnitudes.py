"""From mel to linear magnitudes: one protocol, and the ways that follow it."""

from __future__ import annotations

from functools import cache
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fugue_state.audio.compiled import compiled, in_threads, one_thread
from fugue_state.audio.mel import MelTransform, filterbank
from fugue_state.config import MelSpec

Array = npt.NDArray[np.float32]
Rows = tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], Array]

UPDATES = 30  # from the pseudo-inverse on; more add nothing that can be measured
LOBE_UPDATES, PLAIN_UPDATES = 64, 2
DENSE_HZ, PER_BIN = 1000.0, 2  # below it, partials are told apart by less than a bin
LOBE_BINS = 2  # half the width of a Hann window's main lobe
LEAST = 1e-9
SLOWEST = 1e-2  # by which an update shrinks a lobe at most, or it could never come back
START = 1e-3  # of the loudest band
CHUNK = 64  # frames: enough for vector units, and a single mel is shared between threads
FEW = 4  # frames up to which sums stay in registers


class Magnitudes(Protocol):
    """Anything that turns a mel (B, M, T) in [-1, 1] into magnitudes (B, T, F), a full-scale sine reading 1."""

    @property
    def transform(self) -> MelTransform:
        """The transform whose mels it reads."""

    def __call__(self, mel: Tensor) -> Tensor:
        """Return the magnitudes. Raises AudioError for a mel that is not of this spec, empty or not finite."""


class PseudoInverse:
    """The least-squares inverse of the filters, without what is negative."""

    def __init__(self, spec: MelSpec) -> None:
        self.transform = MelTransform(spec)
        with one_thread():
            self._inverse = torch.linalg.pinv(self.transform.filters)

    def __call__(self, mel: Tensor) -> Tensor:
        """Return the magnitudes."""
        return self._bins(mel) ** (1.0 / self.transform.spec.power)

    def _bins(self, mel: Tensor) -> Tensor:
        bins: Tensor = self.transform.bands(mel).transpose(1, 2) @ self._inverse.T
        return bins.clamp_min(0.0)


class Updates(PseudoInverse):
    """Multiplicative updates from the pseudo-inverse on, which sharpen the partials.

    They lower the Kullback-Leibler divergence of the bands (Lee and Seung, 2001).
    """

    def __init__(self, spec: MelSpec) -> None:
        super().__init__(spec)
        reach = self.transform.filters.sum(0)
        self._heard = reach > 0  # what is in no filter stays silent
        self._filters = self.transform.filters[:, self._heard].contiguous()
        self._back = self._filters / reach[self._heard].clamp_min(LEAST)

    def __call__(self, mel: Tensor) -> Tensor:
        """Return the magnitudes."""
        bands = self.transform.bands(mel).transpose(1, 2)
        every = self._bins(mel)
        bins = every[..., self._heard].clamp_min(LEAST)  # what is in a filter must not begin at nothing
        for _ in range(UPDATES):
            bins = bins * ((bands / (bins @ self._filters.T).clamp_min(LEAST)) @ self._back)
        magnitude = torch.zeros_like(every)
        magnitude[..., self._heard] = bins ** (1.0 / self.transform.spec.power)
        return magnitude


class Lobes:
    """Magnitudes as sums of window lobes: what a mel says if sound is made of partials.

    A non-negative factorization with a fixed dictionary: each atom is the main lobe of the Hann window at one
    frequency. The updates of `Updates`, over-relaxed with the exponent 1.75 (they converge below 2).
    """

    def __init__(self, spec: MelSpec) -> None:
        self.transform = MelTransform(spec)
        self._by_band, self._by_atom, self._by_bin = _dictionary(spec)

    def __call__(self, mel: Tensor) -> Tensor:
        """Return the magnitudes."""
        bands = np.ascontiguousarray(self.transform.bands(mel).numpy())
        spec = self.transform.spec
        out = np.empty((len(bands), bands.shape[2], spec.n_fft // 2 + 1), dtype=np.float32)
        parts = [(i, slice(t, t + CHUNK)) for i in range(len(bands)) for t in range(0, bands.shape[2], CHUNK)]
        in_threads(
            lambda part: _factorize(
                np.ascontiguousarray(bands[part[0], :, part[1]]), self._by_band, self._by_atom, self._by_bin, out[part]
            ),
            parts,
        )
        return torch.from_numpy(out) ** (1.0 / spec.power)


class Refit:
    """One multiplicative update inside an iteration for the phase: the magnitudes that go on show the mel.

    What the iteration reached is scaled so that its bands become those of the mel, and takes the phase of where the
    iteration moves.
    """

    def __init__(self, transform: MelTransform) -> None:
        self._transform = transform
        filters = transform.filters.numpy()
        reach = filters.sum(axis=0)
        self._by_band = _rows(filters)
        self._by_bin = _rows((filters / np.maximum(reach, LEAST)).T)

    def wanted(self, mel: Tensor) -> Tensor:
        """Return the band values (B, T, M) that a spectrum of this unit must have to read as the mel (B, M, T)."""
        wanted: Tensor = self._transform.bands_above_floor(mel) / self._transform.unit_gain**self._transform.spec.power
        return wanted.transpose(1, 2).contiguous()

    def __call__(self, wanted: Tensor, reached: Tensor, moved: Tensor) -> Tensor:
        """Return the next spectrum (B, T, F) of the one reached and the one moved to."""
        out = torch.empty_like(moved)
        before, after, made = (torch.view_as_real(t).numpy() for t in (reached, moved, out))
        rows = self._by_band, self._by_bin
        for item, bands in enumerate(wanted.numpy()):
            _refit(bands, before[item], after[item], made[item], *rows, self._transform.spec.power)
        return out


@cache
def _dictionary(spec: MelSpec) -> tuple[Rows, Rows, Rows]:
    """Return the atoms that a mel can tell: what bands see of them, the same by atoms, and the atoms by bins."""
    bins, lobes = _atoms(spec)
    filters = filterbank(spec)
    seen = np.zeros((len(filters), len(bins)))  # (M, K)
    for near, height in zip(bins.T, lobes.T, strict=True):
        seen += filters[:, near] * height
    heard = seen.sum(axis=0) > LEAST
    bands, bins, lobes = seen[:, heard].astype(np.float32), bins[heard], lobes[heard]
    atoms = np.repeat(np.arange(len(bins)), bins.shape[1])
    by_bin = _compressed(bins.ravel(), atoms, lobes.ravel(), filters.shape[1])
    return _rows(bands), _rows(bands.T / bands.sum(axis=0)[:, None]), by_bin


def _atoms(spec: MelSpec) -> tuple[npt.NDArray[np.int64], Array]:
    """Return the lobes of partials, from the lowest bin to just above the highest band: bins (K, n), heights there."""
    bins = spec.n_fft // 2 + 1
    per_hz = spec.n_fft / spec.sample_rate_hz
    dense = min(bins, int(DENSE_HZ * per_hz))
    top = min(bins, int(np.ceil(spec.fmax_hz * per_hz)) + LOBE_BINS)
    centres = np.concatenate([np.arange(0, dense, 1.0 / PER_BIN), np.arange(dense, top)])
    near = np.ceil(centres)[:, None].astype(np.int64) + np.arange(-LOBE_BINS, LOBE_BINS + 1)
    away = near - centres[:, None]
    lobe = np.abs(np.sinc(away) + 0.5 * np.sinc(away - 1) + 0.5 * np.sinc(away + 1)) ** spec.power
    inside = (np.abs(away) <= LOBE_BINS) & (near >= 0) & (near < bins)
    return near.clip(0, bins - 1), np.where(inside, lobe, 0.0).astype(np.float32)


def _rows(matrix: Array) -> Rows:
    """Return a matrix as compressed sparse rows."""
    rows, columns = np.nonzero(np.abs(matrix) > LEAST)
    return _compressed(rows, columns, matrix[rows, columns], len(matrix))


def _compressed(rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64], values: Array, count: int) -> Rows:
    """Return entries of a matrix of so many rows as compressed sparse rows: starts, columns, values."""
    kept = np.abs(values) > LEAST
    rows, columns, values = rows[kept], columns[kept], values[kept]
    order = np.lexsort((columns, rows))
    starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=count))]).astype(np.int32)
    return starts, columns[order].astype(np.int32), np.ascontiguousarray(values[order], dtype=np.float32)


@compiled
def _product(rows: Rows, given: Array, out: Array) -> None:
    """Multiply sparse rows with a matrix (K, T) into another (R, T); time is innermost, for vector units.

    Of a stream T is 1 or `FEW`: the sums stay in registers.
    """
    starts, columns, values = rows
    frames = given.shape[1]
    for row in range(len(starts) - 1):
        if frames == 1:
            total = np.float32(0.0)
            for entry in range(starts[row], starts[row + 1]):
                total += values[entry] * given[columns[entry], 0]
            out[row, 0] = total
            continue
        if frames == FEW:
            first = second = third = fourth = np.float32(0.0)
            for entry in range(starts[row], starts[row + 1]):
                value, column = values[entry], columns[entry]
                first += value * given[column, 0]
                second += value * given[column, 1]
                third += value * given[column, 2]
                fourth += value * given[column, 3]
            out[row, 0], out[row, 1], out[row, 2], out[row, 3] = first, second, third, fourth
            continue
        out[row] = 0.0
        for entry in range(starts[row], starts[row + 1]):
            value, column = values[entry], columns[entry]
            for t in range(frames):
                out[row, t] += value * given[column, t]


@compiled
def _factorize(bands: Array, by_band: Rows, by_atom: Rows, by_bin: Rows, out: Array) -> None:
    """Find the lobes that show these bands (M, T), and write what they add up to: (T, F)."""
    count, frames = bands.shape
    width = frames if frames == 1 else max(frames, FEW)  # what is added stays zero
    atoms = len(by_atom[0]) - 1
    ratio = np.empty((count, width), dtype=np.float32)
    turn, weight = np.empty((atoms, width), dtype=np.float32), np.zeros((atoms, width), dtype=np.float32)
    all_turns, all_weights = turn.ravel(), weight.ravel()
    for t in range(frames):
        weight[:, t] = np.float32(START) * bands[:, t].max()
    for number in range(LOBE_UPDATES + PLAIN_UPDATES):
        _product(by_band, weight, ratio)
        for m in range(count):
            for t in range(frames):
                ratio[m, t] = bands[m, t] / max(ratio[m, t], np.float32(LEAST))
        _product(by_atom, ratio, turn)
        for place in range(atoms * width):
            by = max(all_turns[place], np.float32(SLOWEST))
            if number < LOBE_UPDATES:
                half = np.sqrt(by)
                by = by * half * np.sqrt(half)
            all_weights[place] *= by
    spread = np.empty((out.shape[1], width), dtype=np.float32)
    _product(by_bin, weight, spread)
    out[:] = spread[:, :frames].T


@compiled
def _refit(
    wanted: Array, reached: Array, moved: Array, out: Array, by_band: Rows, by_bin: Rows, power: int
) -> None:  # fmt: skip
    frames, bins = reached.shape[0], reached.shape[1]
    magnitude, ratio = np.empty(bins, dtype=np.float32), np.empty(wanted.shape[1], dtype=np.float32)
    least = np.float32(LEAST)
    for t in range(frames):
        for f in range(bins):
            square = reached[t, f, 0] ** 2 + reached[t, f, 1] ** 2
            magnitude[f] = square if power == 2 else np.sqrt(square)
        for m in range(wanted.shape[1]):
            total = np.float32(0.0)
            for entry in range(by_band[0][m], by_band[0][m + 1]):
                total += by_band[2][entry] * magnitude[by_band[1][entry]]
            ratio[m] = wanted[t, m] / max(total, least)
        for f in range(bins):
            begin, end = by_bin[0][f], by_bin[0][f + 1]
            turn = np.float32(1.0 if begin == end else 0.0)
            for entry in range(begin, end):
                turn += by_bin[2][entry] * ratio[by_bin[1][entry]]
            value = magnitude[f] * turn
            length = np.sqrt(moved[t, f, 0] ** 2 + moved[t, f, 1] ** 2)
            scale = (np.sqrt(value) if power == 2 else value) / max(length, np.float32(1e-12))
            out[t, f, 0] = moved[t, f, 0] * scale
            out[t, f, 1] = moved[t, f, 1] * scale
