"""Panels shared by pictures of a piece: the time axis, what each layer remembers, cues."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fugue_state.arrays import Whole, Wide
from fugue_state.errors import counted
from fugue_state.look.figure import LINES
from fugue_state.look.text import SMALL_PT, shortened, text_width_in
from fugue_state.look.theme import Theme
from fugue_state.picture.summary import Overview
from fugue_state.piece.parts import Part
from fugue_state.piece.piece import Piece
from fugue_state.score.cues import CueSpan
from fugue_state.score.times import told

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PLOT_IN, BESIDE_IN = 8.4, 1.2  # least width of a panel, and of the space to its right
COLUMNS = 4000  # horizontal resolution for lines: three per pixel
TICKS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)
MOST_TICKS = 12
MOST_LANES = 6
LANE_IN = 0.19
BAND_IN, BAND_PAD_PT, HEADING_PT = 1.6, 4.0, 10.0  # height of what one of several parts remembers; its heading
NAME_IN, SPACE_IN = 2.2, 0.15  # the longest name of a cue; the space between two


@dataclass(frozen=True)
class Named:
    """A cue, the lane its name is written in (from 0, the top), and whether the name ends at the cue's line."""

    span: CueSpan
    name: str
    lane: int
    before: bool


def set_times(panels: Sequence[Axes], length_s: float) -> None:
    """Give stacked panels a common time axis, labelled only at the bottom."""
    from matplotlib.ticker import MultipleLocator

    step_s = next((step for step in TICKS_S if length_s / step <= MOST_TICKS), TICKS_S[-1])
    for axes in panels:
        axes.set_xlim(0.0, length_s)
        axes.xaxis.set_major_locator(MultipleLocator(step_s))
        axes.xaxis.set_major_formatter(lambda seconds, _: told(round(seconds, 1)))
        axes.tick_params(axis="x", bottom=axes is panels[-1], labelbottom=axes is panels[-1])


def told_apart(times_s: Wide, length_s: float, *rows: Wide) -> Whole:
    """Return the indices (n,) of those sorted times (F,) that a picture can show separately: all, if they are few.

    Of each column of the picture the first is kept, and for each row (F,) of values the last, the least and the most.
    """
    if len(times_s) <= COLUMNS:
        return np.arange(len(times_s))
    column = np.floor(times_s / length_s * COLUMNS).astype(np.int64)
    kept = [_firsts(column)]
    for row in rows:
        by_size = np.lexsort((row, column))
        kept += [by_size[_firsts(column)], by_size[_lasts(column)], _lasts(column)]
    return np.unique(np.concatenate(kept))


def _firsts(column: Whole) -> Whole:
    return np.flatnonzero(np.diff(column, prepend=-1))


def _lasts(column: Whole) -> Whole:
    return np.flatnonzero(np.diff(column, append=COLUMNS + 1))


def bands(piece: Piece, height_in: float) -> dict[str, float]:
    """Return a panel for what each part remembers, and its height; those of several parts are lower than one."""
    if len(piece.parts) == 1:
        return {"layers": height_in}
    return {f"layers {number}": BAND_IN for number in range(len(piece.parts))}


def named_memories(piece: Piece) -> str:
    """Return the names of a piece's memories, each once."""
    return " and ".join(dict.fromkeys(part.memory.header.name for part in piece.parts))


def draw_parts(panels: Sequence[Axes], piece: Piece, seen: Overview, theme: Theme) -> None:
    """Draw what the layers of each part remember in a panel for each; where there are several, with their names."""
    for axes, part in zip(panels, piece.parts, strict=True):
        _draw_layers(axes, part, seen, piece.score.length_s, theme)
        if len(panels) > 1:
            order = f"{part.plan.order} order" if part.forgets else "forgets nothing"
            about = f"{part.memory.header.name}, {order}, {counted(part.units, 'unit')}"
            name = shortened(part.name, NAME_IN, HEADING_PT)
            beside_in = text_width_in(name, HEADING_PT) + SPACE_IN
            axes.set_title(name, fontsize=HEADING_PT, pad=BAND_PAD_PT)
            axes.annotate(
                shortened(about, PLOT_IN - beside_in, SMALL_PT), (0.0, 1.0), (72.0 * beside_in, BAND_PAD_PT),
                xycoords="axes fraction", textcoords="offset points", fontsize=SMALL_PT, color=theme.faint,
                annotation_clip=False,
            )  # fmt: skip


def _draw_layers(axes: Axes, part: Part, seen: Overview, length_s: float, theme: Theme) -> None:
    """Draw what each layer of a part and all of its units together remember, in percent."""
    remembered, whole = seen.of(part)
    shown = told_apart(seen.reached_s, length_s, whole, *remembered.T)
    times = np.append(seen.reached_s[shown], length_s)
    shown = np.append(shown, len(whole) - 1)
    percent, whole = 100.0 * remembered[shown], 100.0 * whole[shown]
    axes.fill_between(times, whole, step="post", color=theme.glow, alpha=0.18, linewidth=0)
    layers = part.memory.layers
    for i, (name, size) in enumerate(layers.items()):
        axes.step(
            times, percent[:, i], where="post", label=f"{name} ({size})",
            color=theme.layer(i, len(layers)), linestyle=LINES[i % len(LINES)], linewidth=1.3,
        )  # fmt: skip
    axes.step(times, whole, where="post", label=f"all ({part.units})", color=theme.ink, linewidth=2.0)
    axes.set_ylim(-2, 102)
    axes.set_yticks([0, 25, 50, 75, 100])
    axes.set_ylabel("% remembered")
    axes.grid(visible=True, axis="y")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=2.6)


def named_cues(piece: Piece) -> tuple[list[Named], int]:
    """Return the cues whose names have room, and the number of lanes."""
    found: list[Named] = []
    per_s = PLOT_IN / piece.score.length_s
    free_in = [0.0] * MOST_LANES
    for span in piece.cues:
        name = shortened(span.cue.title, NAME_IN, SMALL_PT)
        width, place = text_width_in(name, SMALL_PT) + SPACE_IN, span.start_s * per_s
        before = place + width > PLOT_IN + BESIDE_IN
        left = place - width if before else place
        lane = next((number for number, begin in enumerate(free_in) if begin <= left), None)
        if lane is not None:
            free_in[lane] = left + width
            found.append(Named(span, name, lane, before))
    return found, 1 + max((one.lane for one in found), default=-1)


def draw_cues(strip: Axes | None, panels: Sequence[Axes], piece: Piece, named: Sequence[Named], theme: Theme) -> None:
    """Draw a line through the panels for every cue, and the names into the strip above them."""
    starts = np.array([span.start_s for span in piece.cues])
    starts = starts[told_apart(starts, piece.score.length_s)]
    for axes in panels:
        axes.vlines(
            starts, 0, 1, transform=axes.get_xaxis_transform(), colors=theme.ink, linewidths=0.8, alpha=0.4, zorder=1.5
        )
    if strip is None:
        return
    strip.set_yticks([])
    strip.set_ylim(max(one.lane for one in named) + 0.5, -0.5)
    for one in named:
        strip.vlines(one.span.start_s, one.lane - 0.4, strip.get_ylim()[0], colors=theme.ink, linewidths=0.8, alpha=0.4)
        strip.annotate(
            one.name, (one.span.start_s, one.lane), (-4 if one.before else 4, 0), textcoords="offset points",
            ha="right" if one.before else "left", va="center", fontsize=SMALL_PT, annotation_clip=False,
            bbox={"facecolor": theme.ground, "edgecolor": "none", "pad": 1.0},
        )  # fmt: skip
