"""Sheets of mel spectrograms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fugue_state.arrays import Array
from fugue_state.errors import counted
from fugue_state.look.figure import page
from fugue_state.look.saved import DOTS_PER_INCH
from fugue_state.look.text import SMALL_PT, shortened
from fugue_state.look.theme import DEFAULT, Theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Row = tuple[Sequence[str], Sequence[npt.ArrayLike]]  # captions and mels

GAP, CAPTION = 8, 20  # pixels between tiles, and above a row
NARROWEST, LARGEST = 128, 256  # pixels of a tile
BASELINE = 5  # pixels below a caption
MOST_ROWS = 64


def sheet_figure(rows: Sequence[Row], theme: Theme = DEFAULT) -> Figure:
    """Draw rows of mels (M, T) in [-1, 1], pixel by pixel, low notes at the bottom.

    Captions stand above the mels; a row's only caption may be as long as the row. Mels larger than `LARGEST` are
    reduced; rows beyond `MOST_ROWS` are only counted.
    """
    tiles = [(captions, [_tile(mel) for mel in mels]) for captions, mels in rows[:MOST_ROWS]]
    if len(rows) > MOST_ROWS:
        tiles.append(([f"… and {counted(len(rows) - MOST_ROWS, 'row')} more"], []))
    height = max((tile.shape[0] for _, row in tiles for tile in row), default=0)
    width = max((tile.shape[1] for _, row in tiles for tile in row), default=0)
    down, right = CAPTION + height + GAP, max(width, NARROWEST) + GAP
    across = max([1, *(len(row) for _, row in tiles)])
    whole = np.full((GAP + len(tiles) * down, GAP + across * right), -1.0, dtype=np.float32)
    # Slightly more than these pixels, since a size in inches may be rounded down.
    height_in, width_in = ((side + 0.01) / DOTS_PER_INCH for side in whole.shape)
    with page(theme, height_in, width_in, layout="none") as figure:
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set_axis_off()
        for y, (captions, row) in enumerate(tiles):
            top = GAP + y * down + CAPTION
            for x, tile in enumerate(row):
                left = GAP + x * right
                whole[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
            room = (across if len(captions) == 1 else 1) * right - GAP
            for x, caption in enumerate(captions):
                told = shortened(caption, room / DOTS_PER_INCH, SMALL_PT)
                axes.text(GAP + x * right, top - BASELINE, told, fontsize=SMALL_PT)
        edges = (0.0, whole.shape[1], whole.shape[0], 0.0)
        axes.imshow(
            whole, cmap=theme.colours, vmin=-1.0, vmax=1.0, aspect="auto", interpolation="none", extent=edges
        )  # fmt: skip
    return figure


def _tile(mel: npt.ArrayLike) -> Array:
    """Return a mel as drawn: high notes first, reduced if it is too large."""
    from PIL import Image

    whole = np.ascontiguousarray(np.asarray(mel, dtype=np.float32)[::-1])
    height, width = (min(side, LARGEST) for side in whole.shape)
    if (height, width) == whole.shape:
        return whole
    image = Image.fromarray(whole)
    return np.asarray(image.resize((width, height), Image.Resampling.BOX))
