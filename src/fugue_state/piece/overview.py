"""A score at a glance: its voices, what is remembered of each layer, cues, planned level."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fugue_state.bending.strengths import Strengths
from fugue_state.errors import counted
from fugue_state.look.figure import SMALL_PT, page, shortened, text_width_in
from fugue_state.look.theme import DEFAULT, Theme
from fugue_state.piece.panels import LANE_IN, PLOT_IN, draw_cues, draw_layers, named_cues, set_times, told_apart
from fugue_state.piece.piece import Piece
from fugue_state.score.times import told

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROWS = 11  # of the table
VOICE_IN, LAYERS_IN, LEVEL_IN, AROUND_IN = 0.34, 2.6, 0.7, 0.9
CHORD_PT, CHORD_IN = 7.5, 0.5
VOICE_NAME_IN = 1.1
TOGETHER = 1000  # moves that are summed up at a time
Times = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Overview:
    """What a piece does over time: for each event its time (E,), voice, chord and planned level.

    `remembered` is what each layer remembers (F, L), `whole` what all units together do (F,), from the times (F,)
    on at which that moves: the onsets of events that forgetting reaches, any time in a take.
    """

    times_s: npt.NDArray[np.float64]
    voices: npt.NDArray[np.int64]
    chords: tuple[str | None, ...]
    levels_lu: npt.NDArray[np.float64]
    reached_s: npt.NDArray[np.float64]
    remembered: npt.NDArray[np.float64]
    whole: npt.NDArray[np.float64]


class _Remembered:
    """What layers and all units remember over time, summed up a thousand moves at a time."""

    def __init__(self, layers: Mapping[str, int]) -> None:
        self._ends = np.cumsum([0, *layers.values()])
        self._times: list[float] = [0.0]
        self._waiting: list[Strengths] = [np.ones(self._ends[-1], dtype=np.float32)]
        self._shares: list[npt.NDArray[np.float32]] = []

    def add(self, time_s: float, strengths: Strengths) -> None:
        """Note what is remembered (U,) from a second on."""
        self._times.append(time_s)
        self._waiting.append(strengths)
        if len(self._waiting) == TOGETHER:
            self._sum_up()

    def _sum_up(self) -> None:
        units = np.stack(self._waiting)
        means = [units[:, a:b].mean(axis=1) for a, b in pairwise(self._ends)]
        self._shares.append(np.stack([*means, units.mean(axis=1)], axis=1))
        self._waiting.clear()

    def found(self) -> tuple[Times, Times, Times]:
        """Return the times (F,), what each layer remembers then (F, L), and all units (F,)."""
        if self._waiting:
            self._sum_up()
        shares = np.concatenate(self._shares).astype(np.float64)
        return np.array(self._times), shares[:, :-1], shares[:, -1]


def overview(piece: Piece) -> Overview:
    """Lay out all events of a piece; in a take there may be none."""
    rate, is_take = piece.score.file.sample_rate_hz, piece.score.resolution == "block"
    remembered = _Remembered(piece.memory.layers)
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
        np.array(times, dtype=float), np.array(voices, dtype=np.int64), tuple(chords), np.array(levels, dtype=float),
        *remembered.found(),
    )  # fmt: skip


def table(piece: Piece, seen: Overview) -> list[str]:
    """Return an overview as lines of text: what each layer remembers over time, and the cues."""
    names = list(piece.memory.layers)
    lines = ["    time  " + "  ".join(f"{name:>7}" for name in names) + "     all     level"]
    last_s = piece.score.length_s if piece.score.resolution == "block" else piece.last_s
    for time_s in np.linspace(0.0, last_s, ROWS):
        now = int(np.searchsorted(seen.reached_s, time_s + 1e-6, side="right")) - 1
        shares = "  ".join(f"{share:6.0%} " for share in seen.remembered[now])
        level = f"{piece.heard_lu(float(time_s)):+5.1f} LU"
        lines.append(f"{told(round(float(time_s), 1)):>8}  {shares} {seen.whole[now]:6.0%}  {level}")
    return [*lines, *(f"{told(round(span.start_s, 1)):>8}  {span.told}" for span in piece.cues)]


def overview_figure(piece: Piece, theme: Theme = DEFAULT) -> Figure:
    """Draw what happens when: the chords of every voice, cues, what each layer remembers, the level if planned."""
    seen, score = overview(piece), piece.score
    named, lanes = named_cues(piece)
    heights_in = {"voices": VOICE_IN * len(score.voices), "cues": LANE_IN * lanes, "layers": LAYERS_IN}
    heights_in |= {"level": LEVEL_IN} if score.loudness.plan else {}
    heights_in = {name: height for name, height in heights_in.items() if height}
    with page(theme, sum(heights_in.values()) + AROUND_IN) as figure:
        about = f"{piece.memory.header.name}, {told(round(score.length_s, 1))}, {counted(len(seen.times_s), 'chord')}"
        figure.headline(score.title or "untitled", about)
        axes = figure.subplots(len(heights_in), 1, sharex=True, height_ratios=list(heights_in.values()))
        panels = dict(zip(heights_in, axes, strict=True))
        set_times(list(panels.values()), score.length_s)
        _draw_voices(panels["voices"], piece, seen, theme)
        draw_layers(panels["layers"], piece, seen, theme)
        if "level" in panels:
            _draw_level(panels["level"], seen, score.length_s, theme)
        strip = panels.pop("cues", None)
        draw_cues(strip, list(panels.values()), piece, named, theme)
    return figure


def _draw_voices(axes: Axes, piece: Piece, seen: Overview, theme: Theme) -> None:
    """Draw a line for every chord, with the names of as many as are legible; what share that is stands beside."""
    voices = piece.score.voices
    names = [shortened(voice.name or f"voice {i}", VOICE_NAME_IN, SMALL_PT) for i, voice in enumerate(voices, 1)]
    for number, line in enumerate(piece.lines):
        mine = np.flatnonzero(seen.voices == number)
        times, chords = seen.times_s[mine], [seen.chords[i] or "" for i in mine]
        short = {chord: shortened(chord, CHORD_IN, CHORD_PT) for chord in set(chords)}
        per_in, widths_in = piece.score.length_s / PLOT_IN, {c: text_width_in(f" {short[c]} ", CHORD_PT) for c in short}
        needed_s = per_in * np.array([widths_in[chord] for chord in chords])
        nth = _nth(times, needed_s, sum(not turn.step.rest for turn in line.turns)) if any(chords) else 1
        # Beside the end stands what share is named: a name of that share ends within the piece.
        named = [i for i in range(0, len(mine), nth) if nth == 1 or times[i] + needed_s[i] <= piece.score.length_s]
        seen_s = times[told_apart(times, piece.score.length_s)]
        axes.vlines(seen_s, number + 0.06, number + 0.32, colors=theme.faint, linewidths=0.7)
        axes.vlines(times[named], number - 0.32, number + 0.06, colors=theme.faint, linewidths=0.7)
        for i in named:
            axes.text(times[i], number - 0.13, f" {short[chords[i]]}", fontsize=CHORD_PT, va="center")
        if nth > 1:
            axes.annotate(
                f"one in {nth} is named", (1.0, number), (6, 0), xycoords=("axes fraction", "data"),
                textcoords="offset points", fontsize=CHORD_PT, color=theme.faint, va="center",
            )  # fmt: skip
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_yticks(range(len(names)), names, fontsize=SMALL_PT)
    axes.tick_params(axis="y", length=0)


def _nth(times_s: Times, needed_s: Times, loop: int) -> int:
    """Return n for which the names of every nth chord have room; it is never always the same chord of a loop."""
    for nth in range(1, len(times_s)):
        if math.gcd(nth, loop) == 1 and (np.diff(times_s[::nth]) >= needed_s[::nth][:-1]).all():
            return nth
    return max(1, len(times_s))


def _draw_level(axes: Axes, seen: Overview, length_s: float, theme: Theme) -> None:
    shown = told_apart(seen.times_s, length_s, seen.levels_lu)
    axes.step(seen.times_s[shown], seen.levels_lu[shown], where="post", color=theme.glow)
    axes.set_ylabel("level, LU")
    lowest, highest = float(seen.levels_lu.min(initial=0.0)), float(seen.levels_lu.max(initial=0.0))
    axes.set_ylim(min(-6.0, lowest - 3.0), max(3.0, highest + 1.0))
    axes.grid(visible=True, axis="y")
