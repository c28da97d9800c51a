"""From mel to linear magnitudes: one protocol and several methods."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fugue_state.arrays import Array, Spectrum, Whole
from fugue_state.audio.compiled import compiled, in_threads, one_thread
from fugue_state.audio.mel import MelTransform, filterbank
from fugue_state.config import MelSpec

Places = npt.NDArray[np.int32]
Rows = tuple[Places, Places, Array]

UPDATES = 30  # after the pseudo-inverse; more bring no measurable gain
LOBE_UPDATES, PLAIN_UPDATES = 64, 2
DENSE_HZ, PER_BIN = 1000.0, 2  # below DENSE_HZ there are PER_BIN atoms per bin
LOBE_BINS = 2  # half the width of a Hann window's main lobe
LEAST = np.float32(1e-9)
SLOWEST = 1e-2  # the strongest shrinking of a lobe per update, so that it can recover
START = 1e-3  # initial weights, relative to the loudest band
CHUNK = 64  # frames: enough to vectorize, and few enough to spread one mel over threads
FEW = 12  # up to this many frames are done one by one


class Magnitudes(Protocol):
    """Anything that turns a mel (B, M, T) in [-1, 1] into magnitudes (B, T, F), where a full-scale sine reads 1."""

    @property
    def transform(self) -> MelTransform:
        """The transform whose mels it reads."""

    def __call__(self, mel: Array) -> Array:
        """Return the magnitudes. Raises AudioError for a mel that is not of this spec, empty or not finite."""


class PseudoInverse:
    """The least-squares inverse of the filters, with negative values set to 0."""

    def __init__(self, spec: MelSpec) -> None:
        self.transform = MelTransform(spec)
        with one_thread():
            self._inverse = np.linalg.pinv(self.transform.filters)

    @one_thread()
    def __call__(self, mel: Array) -> Array:
        """Return the magnitudes."""
        return self._bins(self.transform.bands(mel).swapaxes(1, 2)) ** np.float32(1.0 / self.transform.spec.power)

    def _bins(self, bands: Array) -> Array:
        """Return the bins (B, T, F) of bands (B, T, M)."""
        return np.maximum(bands @ self._inverse.T, np.float32(0.0))


class Updates(PseudoInverse):
    """Multiplicative updates starting from the pseudo-inverse; they sharpen the partials.

    They lower the Kullback-Leibler divergence of the bands (Lee and Seung, 2001).
    """

    def __init__(self, spec: MelSpec) -> None:
        super().__init__(spec)
        reach = self.transform.filters.sum(0)
        self._heard = reach > 0  # bins outside all filters stay silent
        self._filters = np.ascontiguousarray(self.transform.filters[:, self._heard])
        self._back = self._filters / np.maximum(reach[self._heard], LEAST)

    @one_thread()
    def __call__(self, mel: Array) -> Array:
        """Return the magnitudes."""
        bands = self.transform.bands(mel).swapaxes(1, 2)
        every = self._bins(bands)
        bins = np.maximum(every[..., self._heard], LEAST)  # multiplicative updates cannot leave 0
        for _ in range(UPDATES):
            bins = bins * ((bands / np.maximum(bins @ self._filters.T, LEAST)) @ self._back)
        magnitude = np.zeros_like(every)
        magnitude[..., self._heard] = bins ** np.float32(1.0 / self.transform.spec.power)
        return magnitude


class Lobes:
    """Magnitudes as sums of window lobes, on the assumption that sound consists of partials.

    A non-negative factorization with a fixed dictionary: each atom is the main lobe of the Hann window at one
    frequency. It uses the updates of `Updates`, over-relaxed: near 1 as by the exponent 1.75 (they converge below 2).
    """

    def __init__(self, spec: MelSpec) -> None:
        self.transform = MelTransform(spec)
        self._atoms = dictionary(spec)

    def __call__(self, mel: Array) -> Array:
        """Return the magnitudes."""
        bands, spec = self.transform.bands(mel), self.transform.spec
        out = np.empty((len(bands), bands.shape[2], spec.n_fft // 2 + 1), dtype=np.float32)
        parts = [(i, slice(t, t + CHUNK)) for i in range(len(bands)) for t in range(0, bands.shape[2], CHUNK)]
        in_threads(lambda part: self._find(bands[part[0], :, part[1]], out[part]), parts)
        return out if spec.power == 1 else np.sqrt(out, out=out)

    def _find(self, bands: Array, out: Array) -> None:
        """Find the lobes that produce these bands (M, T), and write their sum (T, F)."""
        atoms, few = self._atoms, bands.shape[1] <= FEW
        begun = np.float32(START) * bands.max(axis=0)
        count = len(atoms.by_atom[0]) - 1
        if few:
            weight = np.repeat(begun[:, None], count, axis=1)
            _factorize_few(np.ascontiguousarray(bands.T), *atoms.by_band, atoms.back, weight, np.empty_like(weight))
            weight = np.ascontiguousarray(weight.T)
        else:
            weight = _factorize(np.ascontiguousarray(bands), atoms.by_band, atoms.by_atom, begun)
        spread = np.empty((out.shape[1], bands.shape[1]), dtype=np.float32)
        _product(atoms.by_bin, weight, spread)
        out[:] = spread.T


class Refit:
    """A multiplicative update inside phase iterations, so that the magnitudes keep matching the mel.

    The spectrum reached is scaled so that its bands match the mel's; the phase is that of the next step with momentum.
    Scaling twice as far in between gets as near to the mel in fewer iterations.
    """

    def __init__(self, transform: MelTransform) -> None:
        self._transform = transform
        filters = transform.filters
        reach = filters.sum(axis=0)
        # Each filter covers consecutive bins, and each bin lies in at most two filters, which are neighbours.
        self._by_band = starts, columns, _ = _rows(filters)
        self._firsts = columns[np.minimum(starts[:-1], len(columns) - 1)]
        self._lower = np.minimum((filters > 0).argmax(axis=0), len(filters) - 2).astype(np.int32)
        shares, bins = filters / np.maximum(reach, LEAST), np.arange(len(reach))
        self._shares = np.stack(
            [shares[self._lower, bins], shares[self._lower + 1, bins], (reach == 0).astype(np.float32)]
        )

    def wanted(self, mel: Array) -> Array:
        """Return the band values (B, T, M) that an unnormalized spectrum must have to read as the mel (B, M, T)."""
        unit = np.float32(self._transform.unit_gain**self._transform.spec.power)
        return np.ascontiguousarray((self._transform.bands_above_floor(mel) / unit).swapaxes(1, 2))

    def __call__(
        self, wanted: Array, reached: Spectrum, before: Spectrum, momentum: float, between: bool = False
    ) -> Spectrum:
        """Return the next spectrum (T, F) from the one reached, the one reached before, and the momentum.

        `between` says that the update is neither the first nor the last.
        """
        out = np.empty_like(reached)
        how = self._firsts, self._by_band, self._lower, self._shares
        now, last = (np.ascontiguousarray(each).view(np.float32) for each in (reached, before))
        _refit(wanted, now, last, momentum, between, out.view(np.float32), *how, self._transform.spec.power)
        return out


@dataclass(frozen=True, eq=False)
class Atoms:
    """The atoms that the mel bands can register, as sparse rows: bands by atoms, atoms by bands, bins by atoms.

    `back` holds the values of `by_atom` in the order of `by_band`.
    """

    by_band: Rows
    by_atom: Rows
    by_bin: Rows
    back: Array


@cache
def dictionary(spec: MelSpec) -> Atoms:
    """Return the lobes that a spec's mels can register."""
    bins, lobes = _atoms(spec)
    filters = filterbank(spec)
    seen = np.zeros((len(filters), len(bins)))  # (M, K)
    for near, height in zip(bins.T, lobes.T, strict=True):
        seen += filters[:, near] * height
    heard = seen.sum(axis=0) > LEAST
    bands, bins, lobes = seen[:, heard].astype(np.float32), bins[heard], lobes[heard]
    back = bands / bands.sum(axis=0)
    by_band = _rows(bands)
    rows = np.repeat(np.arange(len(bands)), np.diff(by_band[0]))
    atoms = np.repeat(np.arange(len(bins)), bins.shape[1])
    by_bin = _compressed(bins.ravel(), atoms, lobes.ravel(), filters.shape[1])
    return Atoms(by_band, _rows(back.T), by_bin, back[rows, by_band[1]])


def _atoms(spec: MelSpec) -> tuple[Whole, Array]:
    """Return lobes from the lowest bin to just above the highest band: their bins (K, n) and heights there."""
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


def _compressed(rows: Whole, columns: Whole, values: Array, count: int) -> Rows:
    """Return the entries of a matrix of `count` rows as compressed sparse rows: starts, columns, values."""
    kept = np.abs(values) > LEAST
    rows, columns, values = rows[kept], columns[kept], values[kept]
    order = np.lexsort((columns, rows))
    starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=count))]).astype(np.int32)
    return starts, columns[order].astype(np.int32), np.ascontiguousarray(values[order], dtype=np.float32)


# Compiled loops never assign to a whole array: numba would spend seconds compiling its error messages.


@compiled
def _product(rows: Rows, given: Array, out: Array) -> None:
    """Multiply sparse rows by a matrix (K, T) into (R, T); time is the inner loop, so that it vectorizes."""
    starts, columns, values = rows
    frames = given.shape[1]
    for row in range(len(starts) - 1):
        for t in range(frames):
            out[row, t] = np.float32(0.0)
        for entry in range(starts[row], starts[row + 1]):
            value, column = values[entry], columns[entry]
            for t in range(frames):
                out[row, t] += value * given[column, t]


@compiled
def _factorize(bands: Array, by_band: Rows, by_atom: Rows, begun: Array) -> Array:
    """Return the weights of the lobes (K, T) that produce these bands (M, T), from those to begin with (T,)."""
    (count, frames), atoms = bands.shape, len(by_atom[0]) - 1
    # Made here, since memory allocated by compiled code is aligned for vectors: that halves the time.
    ratio = np.empty((count, frames), dtype=np.float32)
    weight, turn = np.empty((atoms, frames), dtype=np.float32), np.empty((atoms, frames), dtype=np.float32)
    for k in range(atoms):
        for t in range(frames):
            weight[k, t] = begun[t]
    for number in range(LOBE_UPDATES + PLAIN_UPDATES):
        _product(by_band, weight, ratio)
        for m in range(count):
            for t in range(frames):
                ratio[m, t] = bands[m, t] / max(ratio[m, t], np.float32(1e-9))
        _product(by_atom, ratio, turn)
        _relax(turn.ravel(), weight.ravel(), number)
    return weight


@compiled
def _factorize_few(
    bands: Array, starts: Places, columns: Places, ahead: Array, back: Array, weight: Array, turn: Array
) -> None:  # fmt: skip
    """Do the same frame by frame, (T, M) and (T, K); a band's atoms are consecutive, so the inner loop vectorizes."""
    for t in range(len(bands)):
        for number in range(LOBE_UPDATES + PLAIN_UPDATES):
            _turn(bands[t], starts, columns, ahead, back, weight[t], turn[t])
            _relax(turn[t], weight[t], number)


@compiled
def _turn(
    bands: Array, starts: Places, columns: Places, ahead: Array, back: Array, weight: Array, turn: Array
) -> None:  # fmt: skip
    """Compute the factor of each atom (K,) for these bands (M,)."""
    for k in range(len(turn)):
        turn[k] = np.float32(0.0)
    for m in range(len(bands)):
        begin, end = starts[m], starts[m + 1]
        if begin == end:
            continue
        seen, given = ahead[begin:end], back[begin:end]
        first, last = columns[begin], columns[begin] + end - begin
        own, turned, total = weight[first:last], turn[first:last], np.float32(0.0)
        for k in range(end - begin):
            total += seen[k] * own[k]
        ratio = bands[m] / max(total, np.float32(1e-9))
        for k in range(end - begin):
            turned[k] += given[k] * ratio


@compiled
def _relax(turn: Array, weight: Array, number: int) -> None:
    """Multiply weights by their factors, over-relaxed except in the last updates."""
    slowest, one = np.float32(SLOWEST), np.float32(1.0)
    for k in range(len(turn)):
        by = max(turn[k], slowest)
        if number < LOBE_UPDATES:
            by = by * (np.float32(7.0) * by + one) / (by + np.float32(7.0))  # close to by ** 1.75, and cheaper
        weight[k] *= by


@compiled
def _refit(
    wanted: Array, reached: Array, before: Array, momentum: float, between: bool, out: Array,
    firsts: Places, by_band: Rows, lower: Places, shares: Array, power: int,
) -> None:  # fmt: skip
    """Do one update; spectra are (T, 2 F), real and imaginary parts in turn, which vectorizes better than complex."""
    bins = reached.shape[1] // 2
    magnitude, ratio = np.empty(bins, dtype=np.float32), np.zeros(wanted.shape[1], dtype=np.float32)
    starts, _, values = by_band
    least, tiny, push = np.float32(1e-9), np.float32(1e-24), np.float32(momentum)
    for t in range(len(reached)):
        now, last, onto = reached[t], before[t], out[t]
        for f in range(bins):
            square = now[2 * f] ** 2 + now[2 * f + 1] ** 2
            magnitude[f] = square if power == 2 else np.sqrt(square)
        for m in range(wanted.shape[1]):
            own, total = values[starts[m] : starts[m + 1]], np.float32(0.0)
            seen = magnitude[firsts[m] : firsts[m] + len(own)]
            for k in range(len(own)):
                total += own[k] * seen[k]
            ratio[m] = wanted[t, m] / max(total, least)
        for f in range(bins):
            # Bins outside all filters stay as they are.
            turn = shares[0, f] * ratio[lower[f]] + shares[1, f] * ratio[lower[f] + 1] + shares[2, f]
            magnitude[f] *= turn * turn if between else turn
        for f in range(bins):
            real = now[2 * f] + push * (now[2 * f] - last[2 * f])
            imag = now[2 * f + 1] + push * (now[2 * f + 1] - last[2 * f + 1])
            value = np.sqrt(magnitude[f]) if power == 2 else magnitude[f]
            scale = value / np.sqrt(max(real * real + imag * imag, tiny))
            onto[2 * f], onto[2 * f + 1] = real * scale, imag * scale
