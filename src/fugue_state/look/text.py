"""Text in figures: its sizes, how wide a line gets, and what of it has room."""

from __future__ import annotations

from fugue_state.look.letters import width

HEADLINE_PT, SMALL_PT = 12.0, 9.0
MEASURED_PX = 200  # size that widths of text are measured at


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
