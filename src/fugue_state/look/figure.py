"""Figures in a theme, as PNG or SVG."""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Iterator
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fugue_state.audio.io import replacing
from fugue_state.look.letters import width
from fugue_state.look.theme import Theme, font_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fugue_state.look.picture import Picture

DOTS_PER_INCH = 110
PICTURES = (".png", ".svg")
WIDTH_IN = 11.0  # of all pictures but sheets
HEADLINE_PT, SMALL_PT = 12.0, 9.0
MARGIN_IN, HEADLINE_IN = 0.12, 0.38
MEASURED_PX = 200  # size that widths of text are measured at
# Line styles beside colours, for layers in their order.
LINES: tuple[Any, ...] = ("-", (0, (6, 1.5)), (0, (6, 1.5, 1.2, 1.5)), (0, (3, 1.2)), (0, (1.2, 1.2)))


@contextlib.contextmanager
def drawing(theme: Theme) -> Iterator[None]:
    """Let everything that matplotlib makes meanwhile look like the theme."""
    import matplotlib as mpl

    with mpl.rc_context(_style(theme)):
        yield


@contextlib.contextmanager
def page(theme: Theme, height_in: float, width_in: float = WIDTH_IN, **options: Any) -> Iterator[Picture]:
    """Yield an empty figure to draw on meanwhile, in its theme; a notebook shows it."""
    from fugue_state.look.picture import Picture

    with drawing(theme):
        yield Picture(theme, (width_in, height_in), **options)


def get_ready() -> None:
    """Import what draws in another thread, while there is other work: it takes half a second."""
    threading.Thread(target=import_module, args=("fugue_state.look.picture",), daemon=True).start()


def text_width_in(text: str, size_pt: float) -> float:
    """Return how wide a line of text gets, in inches."""
    return width(text, MEASURED_PX) / MEASURED_PX * size_pt / 72.0


def shortened(text: str, width_in: float, size_pt: float) -> str:
    """Return text on one line, with dots for what does not fit."""
    text = " ".join(text.split())
    if text_width_in(text, size_pt) <= width_in:
        return text
    while text and text_width_in(f"{text}…", size_pt) > width_in:
        text = text[:-1].rstrip()
    return f"{text}…"


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG or SVG, by the ending; the same figure gives the same bytes."""
    import matplotlib as mpl

    with replacing(path) as beside:
        if Path(path).suffix.casefold() == ".png":
            beside.write_bytes(png(figure))
            return
        with mpl.rc_context({"svg.fonttype": "path", "svg.hashsalt": "fugue"}):
            figure.savefig(beside, dpi=DOTS_PER_INCH, format="svg", metadata={"Date": None, "Creator": None})


def png(figure: Figure) -> bytes:
    """Return a figure as PNG, of those 256 colours that tell it best: nothing to see, a third of the size."""
    from PIL import Image

    drawn, written = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, dpi=DOTS_PER_INCH, format="rgba")
    width, height = (int(side * DOTS_PER_INCH) for side in figure.get_size_inches())
    image = Image.frombytes("RGBA", (width, height), drawn.getvalue()).convert("RGB")
    image.quantize(method=Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE).save(written, "PNG")
    return written.getvalue()


def _style(theme: Theme) -> dict[Any, Any]:
    from cycler import cycler

    return {
        "font.family": [_family(), "DejaVu Sans"],  # which comes with matplotlib and knows more scripts
        "font.size": 10.0,
        "figure.facecolor": theme.ground,
        "figure.constrained_layout.use": True,
        "savefig.facecolor": "auto",
        "text.color": theme.ink,
        "text.parse_math": False,  # names may hold a $
        "axes.facecolor": theme.ground,
        "axes.labelcolor": theme.faint,
        "axes.labelsize": SMALL_PT,
        "axes.titlecolor": theme.ink,
        "axes.titlelocation": "left",
        "axes.titlesize": 10.0,
        "axes.prop_cycle": cycler(color=list(theme.layers)),
        **{f"axes.spines.{side}": False for side in ("left", "right", "top", "bottom")},
        "axes.axisbelow": True,
        "grid.color": theme.faint,
        "grid.alpha": 0.18,
        "grid.linewidth": 0.6,
        **{f"{axis}tick.color": theme.faint for axis in "xy"},
        **{f"{axis}tick.labelsize": SMALL_PT for axis in "xy"},
        "legend.frameon": False,
        "legend.labelcolor": theme.faint,
        "legend.fontsize": SMALL_PT,
        "lines.linewidth": 1.6,
    }


@lru_cache(maxsize=1)
def _family() -> str:
    """Tell matplotlib of the typeface; return its name."""
    from matplotlib.font_manager import FontProperties, fontManager

    for weight in ("Light", "Regular"):
        fontManager.addfont(font_file(weight))
    return FontProperties(fname=font_file("Regular")).get_name()
