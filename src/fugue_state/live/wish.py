"""A wish: a control, a value, and the clients who wait for the answer.

Four words for what hands do. A *move* is a control and a value, nothing more. A *wish* is a move that somebody asked
for and that is not done yet. A *gesture* is the moves that one undo takes back together. A *change* is a move that was
done and is kept in a score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from fugue_state.live.clients import Client
from fugue_state.score.paths import Value

Move = tuple[str, Value]
PLAY = "/play"  # starts the clock


@dataclass(eq=False)
class Wish:
    """A move that somebody asked for, counted by `number` on its way to the clock.

    `waiting` lists whom to answer, each with the number of their message. If the wish belongs to a gesture, the clock
    adds the moves that lead `back`, and the `origin` of the performance it moved.
    """

    path: str
    value: Value
    by: str
    gesture: str = ""
    waiting: list[tuple[Client, int]] = field(default_factory=list)
    number: int = 0
    back: Sequence[Move] = ()
    origin: int = 0

    def refuse(self, code: str, why: str) -> None:
        """Tell all waiting clients that it was not done."""
        for client, number in self.waiting:
            client.answer("nack", id=number, code=code, message=why)
