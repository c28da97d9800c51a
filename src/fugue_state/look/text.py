"""Text in figures: its sizes, its width, and shortening to fit."""

from __future__ import annotations

from fugue_state.look.letters import width

HEADLINE_PT, SMALL_PT = 12.0, 9.0
MEASURED_PX = 200  # font size at which widths are measured


def text_width_in(text: str, size_pt: float) -> float:
    """Return the width of a line of text in inches."""
    return width(text, MEASURED_PX) / MEASURED_PX * size_pt / 72.0


def shortened(text: str, width_in: float, size_pt: float) -> str:
    """Return text on one line, cut with an ellipsis if it does not fit."""
    text = " ".join(text.split())
    if text_width_in(text, size_pt) <= width_in:
        return text
    while text and text_width_in(f"{text}…", size_pt) > width_in:
        text = text[:-1].rstrip()
    return f"{text}…"
