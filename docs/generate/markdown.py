"""Pieces of Markdown."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Sequence

MARKS = str.maketrans({mark: f"&#{ord(mark)};" for mark in "\\*_[]|"})


def code(text: str) -> str:
    """Return text as code that may stand anywhere, also in a table."""
    return f"<code>{_unmarked(text)}</code>"


def plain(text: str) -> str:
    """Return words in which only `code` is marked up."""
    return "".join(code(part) if i % 2 else _unmarked(part) for i, part in enumerate(text.split("`")))


def _unmarked(text: str) -> str:
    return html.escape(text, quote=False).translate(MARKS)


def block(text: str, language: str = "bash") -> Iterator[str]:
    """Yield the lines of a block of code."""
    yield from ("", f"```{language}", *text.splitlines(), "```", "")


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table."""
    yield ""
    for cells in (header, ["---"] * len(header), *rows):
        yield f"| {' | '.join(cells)} |"
    yield ""


def section(text: str, heading: str) -> str:
    """Return what is under a heading of the second level, up to the next one; ValueError if there is none."""
    _, found, rest = f"\n{text}".partition(f"\n## {heading}\n")
    if not found:
        raise ValueError(f"there is no section {heading!r}")
    return rest.partition("\n## ")[0].strip() + "\n"
