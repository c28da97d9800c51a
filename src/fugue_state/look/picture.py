"""A figure with a headline that notebooks can display."""

from __future__ import annotations

import warnings
from typing import Any

from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure
from matplotlib.text import Text

from fugue_state.look.letters import runs
from fugue_state.look.saved import DOTS_PER_INCH, png
from fugue_state.look.text import HEADLINE_PT, SMALL_PT, shortened, text_width_in
from fugue_state.look.theme import Theme

MARGIN_IN, HEADLINE_IN = 0.12, 0.38
ABOUT_SHARE = 0.7  # the most of the width that the text to the right of a title may take


class Picture(Figure):
    """A matplotlib figure of a size in inches; create it inside `drawing`, with the same theme."""

    def __init__(self, theme: Theme, size_in: tuple[float, float], **options: Any) -> None:
        super().__init__(figsize=size_in, dpi=DOTS_PER_INCH, **options)
        self.theme = theme

    def headline(self, title: str, about: str = "") -> None:
        """Write a title at the top, and at the right `about`, a short description."""
        width_in, height_in = self.get_size_inches()
        free_in = width_in - 2 * MARGIN_IN
        about = shortened(about, ABOUT_SHARE * free_in, SMALL_PT)
        title = shortened(title, free_in - text_width_in(about, SMALL_PT) - 2 * MARGIN_IN, HEADLINE_PT)
        left, line = MARGIN_IN / width_in, 1.0 - 0.7 * HEADLINE_IN / height_in
        self.text(left, line, title, fontsize=HEADLINE_PT)
        self.text(1.0 - left, line, about, ha="right", fontsize=SMALL_PT, color=self.theme.faint)
        self.set_layout_engine("constrained", rect=(0.0, 0.0, 1.0, 1.0 - HEADLINE_IN / height_in))

    def draw(self, renderer: RendererBase) -> None:
        """Draw it, each text in fonts that have its letters, with boxes for letters that no font has."""
        for text in self.findobj(Text):
            others = [run.font.name for run in runs(text.get_text()) if run.font is not None]
            known = text.get_fontfamily()
            if new := [name for name in dict.fromkeys(others) if name not in known]:
                text.set_fontfamily([*known, *new])
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing")
            super().draw(renderer)

    def _repr_png_(self) -> bytes:
        """Return the PNG that a notebook displays."""
        return png(self)
