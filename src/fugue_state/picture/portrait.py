"""The portrait of a piece: its spectrogram above what each layer remembers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fugue_state.errors import counted
from fugue_state.look.figure import page
from fugue_state.look.theme import DEFAULT, Theme
from fugue_state.picture.heard import RANGE_DB, Heard, loudest
from fugue_state.picture.panels import LANE_IN, bands, draw_cues, draw_parts, named_cues, named_memories, set_times
from fugue_state.picture.summary import overview
from fugue_state.piece.piece import Piece
from fugue_state.score.model import Score
from fugue_state.score.times import told

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 1000
SOUND_IN, LAYERS_IN, AROUND_IN = 3.3, 1.8, 0.9


def portrait_figure(piece: Piece, sound: str | Path, theme: Theme = DEFAULT, *, begin: int = 0) -> Figure:
    """Draw the spectrogram of a rendered file above what each layer remembers, with the cues.

    A file that holds only a part of the piece, from sample `begin` on, is drawn in its place.
    """
    score, parts = piece.score, len(piece.parts)
    named, lanes = named_cues(piece)
    heights_in = [SOUND_IN, *([LANE_IN * lanes] if lanes else []), *bands(piece, LAYERS_IN).values()]
    with Heard(sound) as heard, page(theme, sum(heights_in) + AROUND_IN) as figure:
        order = f" {score.forgetting.order} order," if parts == 1 else ""  # else each says its own
        about = f"{named_memories(piece)}, {told(round(score.length_s, 1))},{order} {counted(piece.units, 'unit')}"
        figure.headline(score.title or Path(sound).stem, about)
        panels = list(figure.subplots(len(heights_in), 1, sharex=True, height_ratios=heights_in))
        _draw_sound(panels[0], heard, score, begin, theme)
        draw_parts(panels[-parts:], piece, overview(piece), theme)
        set_times(panels, score.length_s)
        draw_cues(panels[1] if lanes else None, [panels[0], *panels[-parts:]], piece, named, theme)
    return figure


def _draw_sound(axes: Axes, heard: Heard, score: Score, begin: int, theme: Theme) -> None:
    levels = heard.overview(COLUMNS)
    loudest_db = loudest(levels)
    start_s, end_s = (score.length_s * sample / score.samples for sample in (begin, begin + heard.samples))
    edges = (start_s, end_s, 0.0, float(heard.spec.n_mels))
    axes.imshow(
        levels, origin="lower", aspect="auto", interpolation="nearest", extent=edges,
        cmap=theme.colours, vmin=loudest_db - RANGE_DB, vmax=loudest_db,
    )  # fmt: skip
    axes.set_yticks(*heard.marks())
    axes.set_ylabel("Hz")
