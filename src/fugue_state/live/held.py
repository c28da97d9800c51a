"""What each client holds down: keys and the pedal. They are let go when whoever holds them leaves."""

from __future__ import annotations

from collections.abc import Sequence

from fugue_state.live.clients import Client
from fugue_state.live.wish import Move
from fugue_state.piece.keyboard import octaves_away
from fugue_state.score.paths import KEY, Value, find
from fugue_state.score.pitches import note_name


class Held:
    """Keeps by client which keys are down, and whether the pedal is."""

    def __init__(self) -> None:
        self._by: dict[int, set[str]] = {}
        self._told = False  # that a key plays another octave

    def note(self, client: Client, path: str, value: Value) -> None:
        """Note what a client pressed or let go."""
        if not find(path)[0].each:
            return
        mine = self._by.setdefault(client.number, set())
        if value:
            mine.add(path)
        else:
            mine.discard(path)

    def leave(self, client: Client) -> list[Move]:
        """Return the moves that let go of what a client alone holds; they have left."""
        mine = self._by.pop(client.number, set())
        return [(path, 0) for path in sorted(mine.difference(*self._by.values()))]

    def clear(self) -> None:
        """Forget what is held: something else plays."""
        self._by.clear()
        self._told = False

    def octave(self, path: str, labels: Sequence[str]) -> str:
        """Return, once, that a key plays another octave than its own; otherwise an empty string."""
        known, numbers = find(path)
        if known.pattern != KEY or self._told:
            return ""
        label = octaves_away(numbers[0], labels)
        self._told = label is not None
        return f"this memory has no {note_name(numbers[0])}: the key plays {label}" if label else ""
