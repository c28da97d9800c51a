"""Figures in a theme."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from fugue_state.look.text import SMALL_PT
from fugue_state.look.theme import Theme, font_file

if TYPE_CHECKING:
    from fugue_state.look.picture import Picture

WIDTH_IN = 11.0  # of all pictures except sheets
# Line styles that distinguish layers, in order, in addition to colours.
LINES: tuple[Any, ...] = ("-", (0, (6, 1.5)), (0, (6, 1.5, 1.2, 1.5)), (0, (3, 1.2)), (0, (1.2, 1.2)))


@contextlib.contextmanager
def drawing(theme: Theme) -> Iterator[None]:
    """Apply a theme to everything that matplotlib draws inside the `with` block."""
    import matplotlib as mpl

    with mpl.rc_context(_style(theme)):
        yield


@contextlib.contextmanager
def page(theme: Theme, height_in: float, width_in: float = WIDTH_IN, **options: Any) -> Iterator[Picture]:
    """Yield an empty figure in its theme, to draw on inside the `with` block; notebooks display it."""
    from fugue_state.look.picture import Picture

    with drawing(theme):
        yield Picture(theme, (width_in, height_in), **options)


def get_ready() -> None:
    """Import the drawing code in another thread while other work goes on; the import takes half a second."""
    threading.Thread(target=import_module, args=("fugue_state.look.picture",), daemon=True).start()


def _style(theme: Theme) -> dict[Any, Any]:
    from cycler import cycler

    return {
        "font.family": [_family(), "DejaVu Sans"],  # the second comes with matplotlib and covers more scripts
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
    """Register the typeface with matplotlib; return its name."""
    from matplotlib.font_manager import FontProperties, fontManager

    for weight in ("Light", "Regular"):
        fontManager.addfont(font_file(weight))
    return FontProperties(fname=font_file("Regular")).get_name()
