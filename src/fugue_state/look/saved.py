"""Saving pictures as PNG or SVG, with the record of how they were made; the same picture gives the same bytes."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fugue_state.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

DOTS_PER_INCH = 110
PICTURES = (".png", ".svg")


# As JSON writes them within text; so the record is the same text in an SVG, too.
_IN_XML = {ord(sign): f"\\u{ord(sign):04x}" for sign in "&<>"}


def save_figure(figure: Figure, path: str | Path, made: Mapping[str, Any] | None = None) -> None:
    """Write a figure as PNG or SVG, by suffix, with the record of how it was `made`.

    The same figure and record give the same bytes.
    """
    import matplotlib as mpl

    if Path(path).suffix.casefold() == ".png":
        save_png(_drawn(figure), path, made)
        return
    metadata = {"Date": None, "Creator": None} | ({"Description": _told(made)} if made else {})
    with replacing(path) as beside, mpl.rc_context({"svg.fonttype": "path", "svg.hashsalt": "fugue"}):
        figure.savefig(beside, dpi=DOTS_PER_INCH, format="svg", metadata=metadata)


def save_png(image: Image, path: str | Path, made: Mapping[str, Any] | None = None) -> None:
    """Write an image as PNG with the record of how it was `made`, in a text chunk called Comment."""
    from PIL.PngImagePlugin import PngInfo

    told = PngInfo()
    if made:
        told.add_text("Comment", _told(made))
    with replacing(path) as beside:
        image.save(beside, "PNG", pnginfo=told)


def png(figure: Figure) -> bytes:
    """Return a figure as PNG."""
    written = io.BytesIO()
    _drawn(figure).save(written, "PNG")
    return written.getvalue()


def _told(made: Mapping[str, Any]) -> str:
    return json.dumps(made, separators=(",", ":")).translate(_IN_XML)


def _drawn(figure: Figure) -> Image:
    """Return a figure with the 256 best-fitting colours: no visible difference, a third of the size."""
    from PIL import Image

    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=DOTS_PER_INCH, format="rgba")
    width, height = (int(side * DOTS_PER_INCH) for side in figure.get_size_inches())
    image = Image.frombytes("RGBA", (width, height), drawn.getvalue()).convert("RGB")
    return image.quantize(method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
