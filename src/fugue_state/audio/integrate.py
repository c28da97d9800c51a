"""Phase from magnitudes alone: the phase gradient is integrated from the loudest bins outwards."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fugue_state.arrays import Array, Wide
from fugue_state.audio.compiled import compiled

# The Gaussian nearest to a Hann window of length L has the time-frequency ratio .25645 L^2.
HANN_GAMMA = 0.25645
TOLERANCE = 1e-3  # bins quieter than this share of the loudest just advance at their own frequency
TURN = 2.0 * math.pi
LEAST = 1e-9
STEP_BITS = 16  # of a float that are left out: the others count steps of .05 dB


@dataclass(frozen=True)
class Grid:
    """The frames of an STFT with a Hann window of `n_fft` samples, `hop` samples apart."""

    n_fft: int
    hop: int

    @property
    def bins(self) -> int:
        """Number of frequencies F."""
        return self.n_fft // 2 + 1

    @property
    def by_time(self) -> float:
        """Factor from the slope of log magnitude along frequency to the phase advance from frame to frame."""
        return self.hop / (2.0 * HANN_GAMMA * self.n_fft)

    @property
    def by_frequency(self) -> float:
        """Factor from the slope of log magnitude along time to the phase step from bin to bin."""
        return -HANN_GAMMA * self.n_fft / (2.0 * self.hop)

    def from_centre(self) -> Array:
        """Return the phases (F,), in radians, that convert from a frame's centre to the transform's own origin."""
        return np.where(np.arange(self.bins) % 2 == 1, math.pi, 0.0).astype(np.float32)


@dataclass(frozen=True, eq=False)
class PhaseState:
    """What the frames already played hand on: magnitude, phase and phase advance per frame, each (F,)."""

    magnitude: Array
    phase: Wide
    turn: Wide


def start_phase(grid: Grid, seed: int) -> PhaseState:
    """Return the state before any sound: silence, with phases that depend only on the seed."""
    turn = TURN * grid.hop * np.arange(grid.bins) / grid.n_fft
    phase = np.random.default_rng(seed).uniform(0.0, TURN, grid.bins)
    return PhaseState(np.zeros(grid.bins, dtype=np.float32), phase, turn)


def follow(magnitude: Array, state: PhaseState, grid: Grid) -> tuple[Array, PhaseState]:
    """Return phases (T - 1, F) for magnitudes (T, F), except the last frame, and the new state.

    Integrates from the frame played before and looks one frame ahead, so magnitudes may change at any
    frame (real-time phase gradient heap integration, Prusa and Soendergaard, 2016).
    """
    phase, turn = state.phase.copy(), state.turn.copy()
    out = np.empty((len(magnitude) - 1, grid.bins), dtype=np.float32)
    _follow(magnitude, state.magnitude, phase, turn, grid.n_fft, grid.hop, grid.by_time, grid.by_frequency, out)
    last = magnitude[-2] if len(magnitude) > 1 else state.magnitude
    return out, PhaseState(last, phase, turn)


def realtime_phase(magnitude: Array, grid: Grid, seed: int) -> Array:
    """Return phases (T, F) for magnitudes (T, F), by `follow` from silence."""
    return follow(np.concatenate([magnitude, magnitude[-1:]]), start_phase(grid, seed), grid)[0]


def gradient_phase(magnitude: Array, grid: Grid, seed: int) -> Array:
    """Return phases (T, F) for magnitudes (T, F), using all frames at once.

    Phase gradient heap integration (Prusa, Balazs and Soendergaard, 2017). In place of a heap stand lists of bins that
    are equally loud to .05 dB: no worse, and four times faster where most bins are heard.
    """
    out = np.empty(magnitude.shape, dtype=np.float32)
    first = start_phase(grid, seed).phase
    _spread(magnitude, _loudness(magnitude), first, grid.n_fft, grid.hop, grid.by_time, grid.by_frequency, out)
    return out


def _loudness(magnitude: Array) -> npt.NDArray[np.int32]:
    """Return how loud bins (T, F) are in steps of .05 dB, from 0 on; -1 where they are not heard."""
    limit = np.float32(TOLERANCE) * magnitude.max()
    steps, least = (np.ascontiguousarray(each).view(np.int32) >> STEP_BITS for each in (magnitude, limit[None]))
    return np.where(magnitude > limit, steps - least, -1).astype(np.int32)


@compiled
def _push(keys: Array, places: npt.NDArray[np.int32], count: int, key: float, place: int) -> int:
    """Add an entry to a heap whose largest key comes first; return the new count."""
    at = count
    while at > 0:
        above = (at - 1) >> 1
        if keys[above] >= key:
            break
        keys[at], places[at] = keys[above], places[above]
        at = above
    keys[at], places[at] = key, place
    return count + 1


@compiled
def _pop(keys: Array, places: npt.NDArray[np.int32], count: int) -> tuple[int, int]:
    """Remove the entry with the largest key; return its place and the new count."""
    top, count = places[0], count - 1
    key, place, at = keys[count], places[count], 0
    while 2 * at + 1 < count:
        below = 2 * at + 1
        if below + 1 < count and keys[below + 1] > keys[below]:
            below += 1
        if keys[below] <= key:
            break
        keys[at], places[at] = keys[below], places[below]
        at = below
    keys[at], places[at] = key, place
    return top, count


@compiled
def _turns(logs: Array, n_fft: int, hop: int, by_time: float, out: Wide) -> None:
    """Write the phase advance (F,) to the next frame, from the slope of log magnitude (F,) along frequency."""
    last = len(logs) - 1
    for m in range(last + 1):
        out[m] = by_time * (logs[min(m + 1, last)] - logs[max(m - 1, 0)]) + TURN * hop * m / n_fft


@compiled
def _follow(
    magnitude: Array, before: Array, phase: Wide, turn: Wide,
    n_fft: int, hop: int, by_time: float, by_frequency: float, out: Array,
) -> None:  # fmt: skip
    frames, bins = magnitude.shape
    keys, places = np.empty(2 * bins, dtype=np.float32), np.empty(2 * bins, dtype=np.int32)
    open_, step = np.empty(bins, dtype=np.bool_), np.empty(bins, dtype=np.float32)
    logs = np.log(magnitude + np.float32(LEAST))
    past, now = np.log(before + np.float32(LEAST)), np.empty(bins, dtype=np.float64)
    for t in range(frames - 1):
        current = magnitude[t]
        _turns(logs[t], n_fft, hop, by_time, now)
        limit = TOLERANCE * max(current.max(), before.max())
        count = left = 0
        for m in range(bins):
            step[m] = by_frequency * (logs[t + 1, m] - past[m])
            open_[m] = current[m] > limit
            if open_[m]:
                left += 1
                count = _push(keys, places, count, before[m], m)
            else:
                phase[m] += TURN * hop * m / n_fft
        while left > 0:
            place, count = _pop(keys, places, count)
            if place < bins:  # a bin of the previous frame: continue to the same bin of this one
                if open_[place]:
                    phase[place] += 0.5 * (turn[place] + now[place])
                    open_[place] = False
                    left -= 1
                    count = _push(keys, places, count, current[place], place + bins)
                continue
            m = place - bins
            if m > 0 and open_[m - 1]:
                phase[m - 1] = phase[m] - 0.5 * (step[m] + step[m - 1])
                open_[m - 1] = False
                left -= 1
                count = _push(keys, places, count, current[m - 1], place - 1)
            if m < bins - 1 and open_[m + 1]:
                phase[m + 1] = phase[m] + 0.5 * (step[m] + step[m + 1])
                open_[m + 1] = False
                left -= 1
                count = _push(keys, places, count, current[m + 1], place + 1)
        for m in range(bins):
            phase[m] -= TURN * math.floor(phase[m] / TURN)
            turn[m] = now[m]
            out[t, m] = phase[m]
        before, past = current, logs[t]


@compiled
def _by_loudness(steps: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Return the places of what is heard in steps (N,), the loudest first."""
    most = -1
    for step in steps:
        most = max(most, step)
    ends = np.zeros(most + 2, dtype=np.int32)
    for step in steps:
        ends[most - step + 1] += step >= 0
    for n in range(most + 1):
        ends[n + 1] += ends[n]
    order = np.empty(ends[most + 1], dtype=np.int32)
    for place in range(len(steps)):
        step = steps[place]
        if step >= 0:
            order[ends[most - step]] = place
            ends[most - step] += 1
    return order


@compiled
def _spread(  # noqa: C901 - one loop, compiled
    magnitude: Array, loudness: npt.NDArray[np.int32], first: Wide,
    n_fft: int, hop: int, by_time: float, by_frequency: float, out: Array,
) -> None:  # fmt: skip
    frames, bins = magnitude.shape
    logs = np.log(magnitude + np.float32(LEAST))
    turn, step = np.empty((frames, bins), dtype=np.float64), np.empty((frames, bins), dtype=np.float32)
    phase, open_ = np.empty((frames, bins), dtype=np.float64), np.empty((frames, bins), dtype=np.bool_)
    for t in range(frames):
        _turns(logs[t], n_fft, hop, by_time, turn[t])
        for m in range(bins):
            step[t, m] = by_frequency * (logs[min(t + 1, frames - 1), m] - logs[max(t - 1, 0), m])
            open_[t, m] = loudness[t, m] >= 0
            phase[t, m] = first[m] + TURN * hop * m / n_fft * t
    order = _by_loudness(loudness.ravel())
    # Of every loudness the bin that was reached last, and of every bin the one before it; -1 is none.
    newest = np.full(loudness[order[0] // bins, order[0] % bins] + 1 if len(order) else 0, -1, dtype=np.int32)
    older = np.empty(frames * bins, dtype=np.int32)
    for start in order:
        if not open_[start // bins, start % bins]:
            continue
        open_[start // bins, start % bins] = False
        place, waiting, loud = start, 0, loudness[start // bins, start % bins]
        while True:
            t, m = place // bins, place % bins
            for dt, dm in ((-1, 0), (1, 0), (0, -1), (0, 1)):
                u, n = t + dt, m + dm
                if u < 0 or u >= frames or n < 0 or n >= bins or not open_[u, n]:
                    continue
                along = dt * (turn[t, m] + turn[u, n]) + dm * (step[t, m] + step[u, n])
                phase[u, n] = phase[t, m] + 0.5 * along
                open_[u, n] = False
                other = loudness[u, n]
                older[u * bins + n], newest[other] = newest[other], u * bins + n
                waiting, loud = waiting + 1, max(loud, other)
            if waiting == 0:
                break
            while newest[loud] < 0:
                loud -= 1
            place, waiting = newest[loud], waiting - 1
            newest[loud] = older[place]
    for t in range(frames):
        for m in range(bins):
            out[t, m] = phase[t, m] - TURN * math.floor(phase[t, m] / TURN)
