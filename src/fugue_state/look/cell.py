"""The numbers by which units are drawn, the same in films and on the page that plays live."""

from __future__ import annotations

DIM = 0.16  # share of full brightness, for a unit that is remembered but silent
CONTRAST = 1.2
LOST_S, FOUND_S, FLARE_S = 0.22, 0.5, 0.3  # time constants
# The most by which a layer's relative luminance may change per second. A flash is a change by .1 and back
# (WCAG 2.3.1): at this pace there are fewer than three per second.
CALMEST_CHANGE = 0.5
STEPS = 16  # number of cell sizes
FILLED, ROUND, MARK = 0.8, 0.2, 0.58  # relative to a cell: side of its square, corner radius, length of its scar


def script() -> str:
    """Return these numbers as a module of JavaScript."""
    numbers = {name: value for name, value in globals().items() if name.isupper()}
    return "".join(f"export const {name} = {value};\n" for name, value in numbers.items())
