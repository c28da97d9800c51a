"""What a memory was learned from, and under which licences, as text for those who get it."""

from __future__ import annotations

from collections.abc import Iterator

from fugue_state.memory.catalogue import DataSource, MemoryHeader


def sources_told(header: MemoryHeader) -> list[str]:
    """Return lines about the sources of a memory and of its vocoder, with their licences."""
    lines = ["The network learned from:", *_told(header.data)]
    if header.vocoder is not None:
        lines += ["The vocoder learned from:", *_told(header.vocoder.data)]
    return [*lines, "What may be done with these files follows from these licences; this text adds none."]


def licences(header: MemoryHeader) -> list[str]:
    """Return the licences of all sources, each once; `unknown` if none is told."""
    data = (*header.data, *(header.vocoder.data if header.vocoder else ()))
    return list(dict.fromkeys(source.licence for source in data)) or ["unknown"]


def _told(data: tuple[DataSource, ...]) -> Iterator[str]:
    for source in data:
        yield f"- {source.name}: {source.licence}"
    if not data:
        yield "- unknown: the memory does not say"
