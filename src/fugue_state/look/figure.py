"""Figures in a theme, as PNG or SVG."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fugue_state.audio.io import replacing
from fugue_state.look.theme import Theme, font_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOTS_PER_INCH = 110
PICTURES = (".png", ".svg")


@contextlib.contextmanager
def drawing(theme: Theme) -> Iterator[None]:
    """Let everything that matplotlib makes meanwhile look like the theme."""
    import matplotlib as mpl

    with mpl.rc_context(_style(theme)):
        yield


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG or SVG, by the ending; the same figure gives the same bytes."""
    import matplotlib as mpl

    form = Path(path).suffix[1:].lower()
    unsigned = {"Software": None} if form == "png" else {"Date": None, "Creator": None}
    with replacing(path) as beside, mpl.rc_context({"svg.fonttype": "path", "svg.hashsalt": "fugue"}):
        figure.savefig(beside, dpi=DOTS_PER_INCH, format=form, metadata=unsigned)


def _style(theme: Theme) -> dict[Any, Any]:
    from cycler import cycler

    return {
        "font.family": _family(),
        "font.size": 10.0,
        "figure.facecolor": theme.ground,
        "figure.constrained_layout.use": True,
        "savefig.facecolor": "auto",
        "text.color": theme.ink,
        "axes.facecolor": theme.ground,
        "axes.labelcolor": theme.faint,
        "axes.titlecolor": theme.ink,
        "axes.titlelocation": "left",
        "axes.titlesize": 12.0,
        "axes.prop_cycle": cycler(color=list(theme.layers)),
        **{f"axes.spines.{side}": False for side in ("left", "right", "top", "bottom")},
        "xtick.color": theme.faint,
        "ytick.color": theme.faint,
        "legend.frameon": False,
        "legend.labelcolor": theme.faint,
        "legend.fontsize": 9.0,
        "lines.linewidth": 1.6,
    }


@lru_cache(maxsize=1)
def _family() -> str:
    """Tell matplotlib of the typeface; return its name."""
    from matplotlib.font_manager import FontProperties, fontManager

    for weight in ("Light", "Regular"):
        fontManager.addfont(font_file(weight))
    return FontProperties(fname=font_file("Regular")).get_name()
