"""Mel-spectrograms as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fugue_state.audio.io import replacing

COLOURS = "magma"
GAP = 6
TEXT = 16
PAPER, INK, FAINT, GLOW = "#0e0c12", "#e1dce6", "#6f6878", "#f2a65a"


def write_sheet(path: str | Path, rows: Sequence[tuple[str, Sequence[npt.NDArray[np.float32]]]]) -> None:
    """Draw rows of mels (M, T) in [-1, 1], each row under its title, low notes at the bottom."""
    from matplotlib import colormaps
    from PIL import Image, ImageDraw

    height = max((m.shape[0] for _, row in rows for m in row), default=1)
    width = max((m.shape[1] for _, row in rows for m in row), default=1)
    across = max(len(row) for _, row in rows)
    size = (GAP + across * (width + GAP), GAP + len(rows) * (height + TEXT + GAP))
    page = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(page)
    for y, (title, row) in enumerate(rows):
        top = GAP + y * (height + TEXT + GAP)
        draw.text((GAP, top), title, fill=INK)
        for x, mel in enumerate(row):
            tile = colormaps[COLOURS]((mel[::-1] + 1.0) / 2.0, bytes=True)[..., :3]
            page.paste(Image.fromarray(np.ascontiguousarray(tile)), (GAP + x * (width + GAP), top + TEXT))
    with replacing(path) as beside:
        page.save(beside, format="PNG")
