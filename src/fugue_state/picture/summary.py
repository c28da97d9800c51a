"""What a piece does over time, summarized for pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from fugue_state.arrays import Array, Whole, Wide
from fugue_state.bending.strengths import Strengths
from fugue_state.piece.parts import Part
from fugue_state.piece.piece import Piece

TOGETHER = 1000  # moves summarized at a time


@dataclass(frozen=True)
class Overview:
    """What a piece does over time: for each event its time (E,), voice, chord and planned level.

    `remembered` is the mean strength of each of the `layers` (F, L), `whole` that of all units (F,), each from the time
    `reached_s` (F,) on. Those are the onsets of events that forgetting reaches, or any times in a take.
    """

    layers: tuple[str, ...]
    times_s: Wide
    voices: Whole
    chords: tuple[str | None, ...]
    levels_lu: Wide
    reached_s: Wide
    remembered: Wide
    whole: Wide

    def of(self, part: Part) -> tuple[Wide, Wide]:
        """Return what a part remembers: the mean strength of its layers (F, L), and of all its units (F,)."""
        names = list(part.layers)
        if len(names) == self.remembered.shape[1]:
            return self.remembered, self.whole
        first = self.layers.index(names[0])
        layers = self.remembered[:, first : first + len(names)]
        return layers, layers @ np.array(list(part.layers.values())) / part.units


class _Remembered:
    """The mean strengths of layers and of all units over time, summarized a thousand moves at a time."""

    def __init__(self, layers: Mapping[str, int]) -> None:
        self._ends = np.cumsum([0, *layers.values()])
        self._times: list[float] = [0.0]
        self._waiting: list[Strengths] = [np.ones(self._ends[-1], dtype=np.float32)]
        self._shares: list[Array] = []

    def add(self, time_s: float, strengths: Strengths) -> None:
        """Add the strengths (U,) that hold from a second on."""
        self._times.append(time_s)
        self._waiting.append(strengths)
        if len(self._waiting) == TOGETHER:
            self._sum_up()

    def _sum_up(self) -> None:
        units = np.stack(self._waiting)
        means = [units[:, a:b].mean(axis=1) for a, b in pairwise(self._ends)]
        self._shares.append(np.stack([*means, units.mean(axis=1)], axis=1))
        self._waiting.clear()

    def found(self) -> tuple[Wide, Wide, Wide]:
        """Return the times (F,), the mean strength of each layer from then on (F, L), and of all units (F,)."""
        if self._waiting:
            self._sum_up()
        shares = np.concatenate(self._shares).astype(np.float64)
        return np.array(self._times), shares[:, :-1], shares[:, -1]


def overview(piece: Piece) -> Overview:
    """Summarize all events of a piece; a take may have none."""
    rate, is_take = piece.score.file.sample_rate_hz, piece.score.resolution == "block"
    remembered = _Remembered(piece.layers)
    times, voices, chords = [], [], []
    for one in piece.outline():
        times.append(one.onset / rate)
        voices.append(one.voice)
        chords.append(one.chord)
        if not is_take and piece.lines[one.voice].voice.forgets:
            remembered.add(times[-1], one.strengths)
    for time_s, strengths in piece.moves() if is_take else ():
        remembered.add(time_s, strengths)
    levels = [piece.heard_lu(time) if piece.score.loudness.plan else 0.0 for time in times]
    return Overview(
        tuple(piece.layers), np.array(times, dtype=float), np.array(voices, dtype=np.int64), tuple(chords),
        np.array(levels, dtype=float), *remembered.found(),
    )  # fmt: skip
