"""The two themes and the typeface of every picture and film."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from fugue_state.arrays import Wide
from fugue_state.config import DEFAULT_THEME, ThemeName
from fugue_state.errors import unknown

if TYPE_CHECKING:
    from matplotlib.colors import LinearSegmentedColormap
    from PIL.ImageFont import FreeTypeFont

Weight = Literal["Light", "Regular"]
FONTS = "look/fonts"
LEVELS = 256


@dataclass(frozen=True)
class Theme:
    """Colours as #rrggbb.

    `ground` is the background, `ink` is for text, `faint` for secondary text, `glow` for what is remembered, `flare`
    for what is just being lost, `scar` for what is gone. `layers` run from the latent to the sound, `levels` from
    silence to loud; both rise evenly in lightness, so that they can be read without colour.
    """

    name: ThemeName
    ground: str
    ink: str
    faint: str
    glow: str
    flare: str
    scar: str
    layers: tuple[str, ...]
    levels: tuple[str, ...]

    @property
    def colours(self) -> LinearSegmentedColormap:
        """The colour map of its levels."""
        from matplotlib.colors import LinearSegmentedColormap

        return LinearSegmentedColormap.from_list(self.name, list(self.levels), LEVELS)

    def layer(self, number: int, count: int) -> str:
        """Return the colour of a layer by its number (from 0) among `count`."""
        return self.layers[round(number * (len(self.layers) - 1) / max(count - 1, 1))]


THEMES: dict[str, Theme] = {
    "night": Theme(
        name="night",
        ground="#0b0a0e",
        ink="#e9e4dd",
        faint="#857e89",
        glow="#f2a65a",
        flare="#fff3dc",
        scar="#5d5563",
        layers=("#7f7bd6", "#a97fd0", "#d685b4", "#ee9a86", "#f6c27a"),
        levels=("#0b0a0e", "#241a45", "#6f2c73", "#c84f55", "#f2a65a", "#fff0c9"),
    ),
    "paper": Theme(
        name="paper",
        ground="#f5f2eb",
        ink="#1e1b22",
        faint="#6f686a",
        glow="#b4541a",
        flare="#1e1b22",
        scar="#b0a89d",
        layers=("#37308a", "#65318c", "#96306f", "#b5482f", "#a9741c"),
        levels=("#f5f2eb", "#ecd0a4", "#db8f58", "#a8405a", "#55276c", "#17131f"),
    ),
}

DEFAULT = THEMES[DEFAULT_THEME]


def find_theme(name: str = DEFAULT_THEME) -> Theme:
    """Return a theme by name; InputError for an unknown name."""
    if name not in THEMES:
        raise unknown("theme", name, THEMES)
    return THEMES[name]


def stylesheet(theme: Theme) -> str:
    """Return the colours of a theme as CSS variables: --ground, --ink, ... --layer-1 ..., --level-1 ..."""
    plain = {name: getattr(theme, name) for name in ("ground", "ink", "faint", "glow", "flare", "scar")}
    lists = {"layer": theme.layers, "level": theme.levels}
    plain |= {f"{name}-{i}": colour for name, colours in lists.items() for i, colour in enumerate(colours, 1)}
    return ":root {\n" + "".join(f"  --{name}: {colour};\n" for name, colour in plain.items()) + "}\n"


def rgb(colour: str) -> Wide:
    """Return a colour (#rrggbb) as three values within 0..1."""
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255.0


@cache
def font_file(weight: Weight) -> Path:
    """Return the font file for a weight of the typeface (Inter, OFL-1.1; with tabular digits)."""
    return Path(str(resources.files("fugue_state"))) / FONTS / f"Inter-{weight}.otf"


@lru_cache(maxsize=64)
def font(size: int, weight: Weight = "Regular") -> FreeTypeFont:
    """Return the typeface at a size in pixels."""
    from PIL import ImageFont

    # The basic layout engine, so that text looks the same with and without system libraries for complex scripts.
    return ImageFont.truetype(str(font_file(weight)), size, layout_engine=ImageFont.Layout.BASIC)
