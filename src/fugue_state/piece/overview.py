"""A score at a glance: its voices, what is remembered of each layer, cues, planned level."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fugue_state.audio import io
from fugue_state.audio.picture import FAINT, GLOW, INK, PAPER
from fugue_state.piece.piece import Piece
from fugue_state.score.cues import spans
from fugue_state.score.times import told

ROWS = 11  # of the table
LAYERS = ("#f2a65a", "#e26d7f", "#b07cd8", "#6f9bea", "#5cc4b8")
LINES = ("-", "--", "-.", ":", (0, (6, 2, 1, 2)))
MOST_NAMED = 64  # chords whose names are written into the picture


@dataclass(frozen=True)
class Overview:
    """What a piece does over time: for each event its time (E,), voice, chord and planned level.

    `remembered` is what each layer remembers (F, L) at the times (F,) of the events that forgetting reaches.
    """

    times_s: npt.NDArray[np.float64]
    voices: npt.NDArray[np.int64]
    chords: tuple[str | None, ...]
    levels_lu: npt.NDArray[np.float64]
    reached_s: npt.NDArray[np.float64]
    remembered: npt.NDArray[np.float64]


def overview(piece: Piece) -> Overview:
    """Lay out all events of a piece."""
    rate, layers = piece.score.file.sample_rate_hz, piece.memory.layers
    ends = np.cumsum([0, *layers.values()])
    told_of, reached, rows = [], [0.0], [[1.0] * len(layers)]
    for event in piece.events():
        told_of.append((event.onset / rate, event.voice, event.chord))
        if piece.score.voices[event.voice].forgets:
            reached.append(event.onset / rate)
            rows.append([float(event.strengths[a:b].mean()) for a, b in pairwise(ends)])
    times, voices, chords = zip(*told_of, strict=True)
    levels = np.array([piece.planned_lu(time) for time in times])
    return Overview(np.array(times), np.array(voices), chords, levels, np.array(reached), np.array(rows))


def table(piece: Piece, seen: Overview) -> list[str]:
    """Return an overview as lines of text: what each layer remembers over time, and the cues."""
    names = list(piece.memory.layers)
    lines = ["    time  " + "  ".join(f"{name:>7}" for name in names) + "     all     level"]
    sizes = np.array(list(piece.memory.layers.values()))
    for time_s in np.linspace(0.0, piece.last_s, ROWS):
        row = seen.remembered[int(np.searchsorted(seen.reached_s, time_s + 1e-6, side="right")) - 1]
        every = float(row @ sizes / sizes.sum())
        shares = "  ".join(f"{share:6.0%} " for share in row)
        lines.append(
            f"{told(round(float(time_s), 1)):>8}  {shares} {every:6.0%}  {piece.planned_lu(float(time_s)):+5.1f} LU"
        )
    cues = spans(piece.score.cues, piece.score.clock)
    return [*lines, *(f"{told(round(span.start_s, 1)):>8}  {span.told}" for span in cues)]


def draw_overview(path: str | Path, piece: Piece, seen: Overview) -> None:
    """Draw an overview as PNG or SVG, by the ending."""
    from matplotlib.figure import Figure

    score = piece.score
    count = len(score.voices)
    figure = Figure(figsize=(14, 5.2 + 0.45 * count), facecolor=PAPER, layout="constrained")
    voices, layers, level = figure.subplots(3, 1, sharex=True, height_ratios=(0.35 * count + 0.25, 3.2, 0.9))
    _draw_voices(voices, piece, seen)
    _draw_layers(layers, piece, seen)
    level.step(seen.times_s, seen.levels_lu, where="post", color=GLOW, linewidth=1.5)
    level.set_ylabel("level, LU", color=FAINT)
    low = min(-6.0, float(seen.levels_lu.min()) - 3.0)
    level.set(ylim=(low, max(3.0, float(seen.levels_lu.max()) + 1.0)), xlim=(0, score.duration_s))
    level.xaxis.set_major_formatter(lambda seconds, _: told(round(seconds, 1)))
    for axes in (voices, layers, level):
        axes.set_facecolor(PAPER)
        axes.tick_params(colors=FAINT)
        axes.spines[:].set_visible(False)
        for span in spans(score.cues, score.clock):
            axes.axvline(span.start_s, color=INK, linewidth=0.8, alpha=0.5)
    with io.replacing(Path(path)) as beside:
        figure.savefig(beside, dpi=110, format=Path(path).suffix[1:])


def _draw_voices(axes: Any, piece: Piece, seen: Overview) -> None:
    score = piece.score
    names = [voice.name or f"voice {i}" for i, voice in enumerate(score.voices, 1)]
    for number in range(len(names)):
        mine = seen.voices == number
        axes.vlines(seen.times_s[mine], -number - 0.3, -number + 0.3, color=FAINT, linewidth=0.7)
        if mine.sum() <= MOST_NAMED:
            for i in np.flatnonzero(mine):
                axes.text(seen.times_s[i], -number, f" {seen.chords[i] or ''}", color=INK, fontsize=7, va="center")
    axes.set(ylim=(-len(names) + 0.4, 0.6), yticks=[-i for i in range(len(names))], yticklabels=names)
    axes.set_title(
        f"{score.title or 'untitled'}: {piece.memory.header.name}, {told(score.duration_s)}, "
        f"{len(seen.times_s)} chords",
        color=INK, loc="left", fontsize=12,
    )  # fmt: skip


def _draw_layers(axes: Any, piece: Piece, seen: Overview) -> None:
    """Draw what each layer remembers, and name what happens."""
    for i, (name, size) in enumerate(piece.memory.layers.items()):
        axes.step(
            seen.reached_s, 100 * seen.remembered[:, i], where="post", label=f"{name} ({size})",
            color=LAYERS[i % len(LAYERS)], linestyle=LINES[i % len(LINES)], linewidth=1.6,
        )  # fmt: skip
    axes.set_ylim(-3, 116)
    axes.set_yticks([0, 25, 50, 75, 100])
    axes.set_ylabel("% remembered", color=FAINT)
    axes.legend(loc="lower left", frameon=False, labelcolor=FAINT, fontsize=9)
    for span in spans(piece.score.cues, piece.score.clock):
        axes.text(span.start_s, 112, f" {span.cue.title}", color=INK, fontsize=9, va="top")
