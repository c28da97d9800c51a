"""A score at a glance, as a picture and as text: voices, what each layer remembers, cues, planned level."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from fugue_state.arrays import Wide
from fugue_state.errors import counted
from fugue_state.look.figure import page
from fugue_state.look.text import SMALL_PT, shortened, text_width_in
from fugue_state.look.theme import DEFAULT, Theme
from fugue_state.picture.panels import (
    LANE_IN,
    PLOT_IN,
    bands,
    draw_cues,
    draw_parts,
    named_cues,
    named_memories,
    set_times,
    told_apart,
)
from fugue_state.picture.summary import Overview, overview
from fugue_state.piece.parts import Part
from fugue_state.piece.piece import Piece
from fugue_state.score.model import Score
from fugue_state.score.times import told

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROWS = 11  # rows of the table
VOICE_IN, LAYERS_IN, LEVEL_IN, AROUND_IN = 0.34, 2.6, 0.7, 0.9
CHORD_PT, CHORD_IN = 7.5, 0.5
VOICE_NAME_IN = 1.1
MOST_BARS = 200  # more bars are not drawn


def table(piece: Piece, seen: Overview) -> list[str]:
    """Return an overview as lines of text: what each layer remembers over time, changes of time, and the cues."""
    lines = []
    for part in piece.parts:
        lines += [f"{part.name}: {part.memory.header.name}"] if len(piece.parts) > 1 else []
        lines += _rows(piece, part, seen)
    marks = [*_changes_of_time(piece.score), *((span.start_s, span.told) for span in piece.cues)]
    return [*lines, *(f"{told(round(time_s, 1)):>8}  {mark}" for time_s, mark in sorted(marks, key=lambda one: one[0]))]


def _changes_of_time(score: Score) -> Iterator[tuple[float, str]]:
    """Yield what changes tempo and metre within a piece, with the second at which it does."""
    tempo = score.clock.tempo
    marks = [(one.bar, f"{one.bpm:g} bpm{' is reached' if one.ramp else ''}") for one in score.tempo]
    marks += [(one.bar, f"{counted(one.beats, 'beat')} in a bar") for one in score.metre]
    for bar, mark in marks:
        if (time_s := tempo.bar_s(bar - 1.0)) < score.duration_s:
            yield time_s, f"bar {bar:g}: {mark}"


def _rows(piece: Piece, part: Part, seen: Overview) -> list[str]:
    """Return a table of what a part remembers over time."""
    remembered, whole = seen.of(part)
    lines = ["    time  " + "  ".join(f"{name:>7}" for name in part.memory.layers) + "     all     level"]
    last_s = piece.score.length_s if piece.score.resolution == "block" else piece.last_s
    for time_s in np.linspace(0.0, last_s, ROWS):
        now = int(np.searchsorted(seen.reached_s, time_s + 1e-6, side="right")) - 1
        shares = "  ".join(f"{share:6.0%} " for share in remembered[now])
        level = f"{piece.heard_lu(float(time_s)):+5.1f} LU"
        lines.append(f"{told(round(float(time_s), 1)):>8}  {shares} {whole[now]:6.0%}  {level}")
    return lines


def overview_figure(piece: Piece, theme: Theme = DEFAULT) -> Figure:
    """Draw a piece over time: the chords of every voice, cues, what each layer remembers, and the planned level."""
    seen, score = overview(piece), piece.score
    named, lanes = named_cues(piece)
    layers_in = bands(piece, LAYERS_IN)
    heights_in = {"voices": VOICE_IN * len(score.voices), "cues": LANE_IN * lanes, **layers_in}
    heights_in |= {"level": LEVEL_IN} if score.loudness.plan else {}
    heights_in = {name: height for name, height in heights_in.items() if height}
    with page(theme, sum(heights_in.values()) + AROUND_IN) as figure:
        about = f"{named_memories(piece)}, {told(round(score.length_s, 1))}, {counted(len(seen.times_s), 'chord')}"
        figure.headline(score.title or "untitled", about)
        axes = figure.subplots(len(heights_in), 1, sharex=True, height_ratios=list(heights_in.values()))
        panels = dict(zip(heights_in, axes, strict=True))
        set_times(list(panels.values()), score.length_s)
        _draw_bars(panels["voices"], score, theme)
        _draw_voices(panels["voices"], piece, seen, theme)
        draw_parts([panels[name] for name in layers_in], piece, seen, theme)
        if "level" in panels:
            _draw_level(panels["level"], seen, score.length_s, theme)
        strip = panels.pop("cues", None)
        draw_cues(strip, list(panels.values()), piece, named, theme)
    return figure


def _draw_bars(axes: Axes, score: Score, theme: Theme) -> None:
    """Draw where bars begin, where they are not all the same; a take stands still at times, so it has none."""
    tempo = score.clock.tempo
    bars = math.floor(tempo.bars(score.length_s))
    if (score.tempo or score.metre) and not score.changes and bars <= MOST_BARS:
        starts = [tempo.bar_s(float(bar)) for bar in range(1, bars + 1)]
        axes.vlines(starts, 0, 1, transform=axes.get_xaxis_transform(), colors=theme.faint, linewidths=0.5, alpha=0.5)


def _draw_voices(axes: Axes, piece: Piece, seen: Overview, theme: Theme) -> None:
    """Draw a line for every chord, and as many chord names as are legible; if not all are named, say how many."""
    voices = piece.score.voices
    names = [shortened(voice.name or f"voice {i}", VOICE_NAME_IN, SMALL_PT) for i, voice in enumerate(voices, 1)]
    for number, line in enumerate(piece.lines):
        mine = np.flatnonzero(seen.voices == number)
        times, chords = seen.times_s[mine], [seen.chords[i] or "" for i in mine]
        short = {chord: shortened(chord, CHORD_IN, CHORD_PT) for chord in set(chords)}
        per_in, widths_in = piece.score.length_s / PLOT_IN, {c: text_width_in(f" {short[c]} ", CHORD_PT) for c in short}
        needed_s = per_in * np.array([widths_in[chord] for chord in chords])
        nth = _nth(times, needed_s, sum(not turn.step.rest for turn in line.turns)) if any(chords) else 1
        # Right of the end it says what share is named, so no name may reach there.
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


def _nth(times_s: Wide, needed_s: Wide, loop: int) -> int:
    """Return n so that the names of every nth chord have room, and do not always hit the same chord of the loop."""
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
