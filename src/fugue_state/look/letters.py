"""Which font has which letters: the package's own typeface, otherwise fonts of the system."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from fugue_state.look.theme import Weight, font, font_file

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

FIRST = "DejaVu Sans"  # comes with matplotlib and is the same everywhere
BOX = "\u25a1"  # stands for a letter that no font has
NO_LETTERS = ("Last Resort", "STIX", "cm")  # boxes, and fonts for mathematics


class Font(NamedTuple):
    """A font of the system: its name and its file."""

    name: str
    file: str


class Run(NamedTuple):
    """A part of a line in one font; None is the package's own typeface."""

    font: Font | None
    text: str


@lru_cache(maxsize=1)
def system_fonts() -> tuple[Font, ...]:
    """Return the upright fonts that are installed, always in the same order."""
    from matplotlib.font_manager import fontManager

    found = {
        Font(entry.name, entry.fname)
        for entry in fontManager.ttflist
        if entry.style == "normal" and entry.weight in {400, "normal"} and not entry.name.startswith(NO_LETTERS)
    }
    return tuple(sorted(found, key=lambda one: (one.name != FIRST, one)))


@lru_cache(maxsize=512)
def letters_of(file: str) -> frozenset[int]:
    """Return the code points that a font file has; none if it cannot be read."""
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(FT2Font(file).get_charmap())
    except (RuntimeError, OSError):
        return frozenset()


def runs(text: str) -> list[Run]:
    """Split a line into parts of one font each, with boxes for letters that no font has.

    Spaces and combining marks go with the letter before them.
    """
    parts: list[Run] = []
    for letter in (BOX if missing(one) else one for one in text):
        found = parts[-1].font if parts and _goes_along(letter) else _font_of(letter)
        if parts and parts[-1].font == found:
            parts[-1] = Run(found, parts[-1].text + letter)
        else:
            parts.append(Run(found, letter))
    return parts


def missing(text: str) -> str:
    """Return the letters that no installed font has, each once."""
    lost = (letter for letter in text if not _goes_along(letter) and not _own(letter) and _font_of(letter) is None)
    return "".join(dict.fromkeys(lost))


def face(run: Run, size: int, weight: Weight) -> FreeTypeFont:
    """Return the font object that draws a run, at a size in pixels."""
    return font(size, weight) if run.font is None else _system_face(run.font.file, size)


def width(text: str, size: int, weight: Weight = "Regular") -> float:
    """Return how many pixels wide a line of text is."""
    return sum(float(face(run, size, weight).getlength(run.text)) for run in runs(text))


def _goes_along(letter: str) -> bool:
    return letter.isspace() or unicodedata.category(letter) in {"Mn", "Mc", "Me", "Cf", "Cc"}


def _own(letter: str) -> bool:
    # Without reading the font, which takes long to import what reads it, where the answer is known.
    return letter.isascii() or ord(letter) in letters_of(str(font_file("Regular")))


@lru_cache(maxsize=4096)
def _font_of(letter: str) -> Font | None:
    """Return the first font that has a letter; None if the package's own has it, or no font has."""
    if _own(letter):
        return None
    return next((one for one in system_fonts() if ord(letter) in letters_of(one.file)), None)


@lru_cache(maxsize=64)
def _system_face(file: str, size: int) -> FreeTypeFont:
    from PIL import ImageFont, features

    # Arabic and similar scripts need joined letters from right to left, which only the raqm library provides.
    engine = ImageFont.Layout.RAQM if features.check("raqm") else ImageFont.Layout.BASIC
    return ImageFont.truetype(file, size, layout_engine=engine)
