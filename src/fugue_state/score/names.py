"""Chord names as a score writes them: quoted where they would be misread."""

from __future__ import annotations

import re

MISREAD = re.compile(r"[@*^,\"'\\]|^-$|^\s|\s$")
PART = re.compile(r"""\s*((?:"[^"]*"|'[^']*'|[^,"'])(?:[^,])*)\s*(?:,|$)|\s*,""")


def quote(name: str) -> str:
    """Return a chord's name for the short form of a step, quoted if necessary."""
    if not MISREAD.search(name):
        return name
    return f"'{name}'" if '"' in name else f'"{name}"'


def unquoted(name: str) -> str:
    """Return a name without surrounding quotes."""
    return name[1:-1] if len(name) > 2 and name[0] == name[-1] and name[0] in "\"'" else name


def split(text: str) -> list[str]:
    """Return the steps of a comma-separated list; commas inside quoted names do not separate."""
    return [found.strip() for found in PART.findall(text) if found.strip()]
