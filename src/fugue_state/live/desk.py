"""The desk: banks of strengths, morphs between them, undo and redo."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from fugue_state.live.board import Bank, History, Morph
from fugue_state.live.protocol import RefusedError
from fugue_state.live.wish import Move


class Asks(Protocol):
    """Asks the clock for moves."""

    def __call__(self, moves: Sequence[Move], by: str, gesture: str = "") -> None:
        """Ask for moves in somebody's name; those with the same gesture are undone together."""


@dataclass(frozen=True)
class Going:
    """A running morph: where it began, how many samples it takes, in whose name, and as which gesture."""

    morph: Morph
    start: int
    length: int
    by: str
    gesture: str


class Desk:
    """Keeps banks and morphs from one to another.

    It says what it did by `tell(kind, **values)`, and moves controls by `ask(moves, by, gesture)`.
    """

    def __init__(self, tell: Callable[..., None], ask: Asks) -> None:
        self.banks: dict[int, Bank] = {}
        self.armed: int | None = None
        self._ab: tuple[int, Bank] | None = None  # the bank that was armed last, and the strengths at that time
        self._going: Going | None = None
        self._fired = itertools.count()
        self._tell, self._ask = tell, ask

    def store(self, number: int, bank: Bank, by: str, at: int) -> None:
        """Keep strengths in a bank."""
        self.banks[number] = bank
        self._tell_bank(number, "stored", by, at)

    def arm(self, number: int, now: Bank, by: str, at: int) -> None:
        """Choose the bank that A/B leads to, starting from the current strengths."""
        self._stored(number)
        self.armed, self._ab = number, (number, now)
        self._tell_bank(number, "armed", by, at)

    def fire(self, number: int, now: Bank, by: str, at: int, length: int) -> None:
        """Morph from the current strengths to a bank within so many samples."""
        bank = self._stored(number)
        gesture = f"bank {next(self._fired)}"
        self._going = Going(Morph(now, bank), at, length, f"bank {number}", gesture)
        self.step(at)
        self.armed = None if number == self.armed else self.armed
        self._tell_bank(number, "fired", by, at)

    def step(self, at: int) -> None:
        """Advance the running morph to a sample."""
        if self._going is None:
            return
        going = self._going
        share = min(1.0, max(0.0, (at - going.start) / going.length)) if going.length else 1.0
        self._ask(going.morph.at(share), going.by, going.gesture)
        if share >= 1.0:
            self._going = None

    def between(self, share: float) -> None:
        """Move to a position between the strengths at the time a bank was armed and that bank."""
        if self._ab is None:
            raise RefusedError("not_now", "no bank is armed to go to")
        number, start = self._ab
        self._ask(Morph(start, self._stored(number)).at(share), "a/b", f"a/b {number}")

    def undo(self, history: History) -> None:
        """Undo the last gesture."""
        self.halt()
        self._again(history.undo(), "undo")

    def redo(self, history: History) -> None:
        """Redo the gesture that was undone last."""
        self.halt()
        self._again(history.redo(), "redo")

    def _again(self, moves: Sequence[Move] | None, what: str) -> None:
        if moves is None:
            raise RefusedError("not_now", f"there is nothing to {what}")
        self._ask(moves, what)

    def let_go(self, path: str) -> None:
        """Leave a control out of the morph: a hand has taken it."""
        if self._going is not None:
            self._going.morph.leave(path)

    def halt(self) -> None:
        """Stop the running morph."""
        self._going = None

    def clear(self) -> None:
        """Empty all banks."""
        self.banks.clear()
        self.armed = self._ab = None

    def _stored(self, number: int) -> Bank:
        if number not in self.banks:
            raise RefusedError("not_now", f"bank {number} is empty; store it first")
        return self.banks[number]

    def _tell_bank(self, number: int, did: str, by: str, at: int) -> None:
        self._tell("event", what="bank", at_sample=at, bank=number, did=did, by=by)
