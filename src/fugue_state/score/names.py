"""Names of chords as a score writes them: in quotes where they would be misread."""

from __future__ import annotations

import re

MISREAD = re.compile(r"[@*,\"'\\]|^-$|^\s|\s$")
PART = re.compile(r"""\s*((?:"[^"]*"|'[^']*'|[^,"'])(?:[^,])*)\s*(?:,|$)|\s*,""")


def quote(name: str) -> str:
    """Return a chord's name as the short form of a step takes it."""
    if not MISREAD.search(name):
        return name
    return f"'{name}'" if '"' in name else f'"{name}"'


def unquoted(name: str) -> str:
    """Return a name without the quotes around it."""
    return name[1:-1] if len(name) > 2 and name[0] == name[-1] and name[0] in "\"'" else name


def split(text: str) -> list[str]:
    """Return the steps of a list with commas between them; a comma in a name in quotes is the name's own."""
    return [found.strip() for found in PART.findall(text) if found.strip()]
