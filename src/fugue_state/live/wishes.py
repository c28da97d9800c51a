"""The wishes of clients: done in order, each with an answer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from fugue_state.errors import InputError
from fugue_state.live.board import gesture_key
from fugue_state.live.clients import Client
from fugue_state.live.protocol import RefusedError
from fugue_state.live.wish import Move, Wish
from fugue_state.score.paths import Value, check, find, pressed

# Wishes that depend on the current state, and so on earlier wishes.
ORDERED = {"/bank/<b>/store", "/bank/<b>/arm", "/bank/<b>/fire", "/undo", "/redo"}


class Wishes:
    """Checks wishes, does them in order, and answers when they are done.

    Moves of the sound go to the clock by `send`, if `admit` allows it. All others are done by `act`, which may `ask`
    for moves itself; the answer then waits for those. `acknowledge(client, number, at)` answers a client; `now` returns
    the current sample, or None as long as nothing can be played.
    """

    def __init__(
        self,
        most: int,
        now: Callable[[], int | None],
        send: Callable[[Wish], None],
        act: Callable[[Wish], None],
        admit: Callable[[Wish], bool],
        acknowledge: Callable[[Client, int, int], None],
    ) -> None:
        self._most, self._now = most, now
        self._send, self._act, self._admit, self._acknowledge = send, act, admit, acknowledge
        self._asked = self._answered = 0
        self._later: deque[Wish] = deque()  # wishes in order, waiting for those they depend on
        self._led: deque[tuple[int, Wish]] = deque()  # answers, each with the number of the last move it waits for

    def take(self, client: Client, path: str, args: Sequence[Any], number: int, by: str | None = None) -> None:
        """Do a client's wish, now or in its turn; RefusedError if it cannot be done."""
        acts, value = _checked(client, path, args)
        now = self._now()
        if now is None:
            raise RefusedError("not_now", "the memory is loading")
        if not acts:
            self._acknowledge(client, number, now)
            return
        if len(self._later) >= self._most:
            raise RefusedError("too_fast", "too much waits to be done")
        gesture = gesture_key(str(client.number), path)
        wish = Wish(path, value, by or client.name, gesture, [(client, number)])
        if self._later or self._must_wait(wish):
            self._later.append(wish)
        else:
            self.do(wish)

    def _must_wait(self, wish: Wish) -> bool:
        """Return whether a wish must wait for an earlier one."""
        return self._asked != self._answered and find(wish.path)[0].pattern in ORDERED

    def do(self, wish: Wish) -> None:
        """Do a wish; RefusedError if it cannot be done."""
        if not find(wish.path)[0].recorded:
            asked = self._asked
            self._act(wish)
            if self._asked > asked:
                self._led.append((self._asked, wish))
            else:
                self._fulfilled(wish, self._now() or 0)
        elif self._admit(wish):
            self._pass_on(wish)

    def ask(self, moves: Iterable[Move], by: str, gesture: str = "") -> None:
        """Ask the clock for moves in a client's name, without an answer."""
        for path, value in moves:
            self._pass_on(Wish(path, value, by, gesture))

    def _pass_on(self, wish: Wish) -> None:
        self._asked += 1
        wish.number = self._asked
        self._send(wish)

    def note(self, done: Iterable[tuple[Wish, str]]) -> None:
        """Note which moves the clock has done."""
        self._answered = max([self._answered, *(wish.number for wish, _ in done)])

    def answer(self, done: Iterable[tuple[Wish, str]], at: int) -> None:
        """Answer the clients of wishes that are done, each with its error or ""."""
        for wish, wrong in done:
            if wrong:
                wish.refuse("bad_value", wrong)
            else:
                self._fulfilled(wish, at)
        while self._led and self._led[0][0] <= self._answered:
            self._fulfilled(self._led.popleft()[1], at)

    def _fulfilled(self, wish: Wish, at: int) -> None:
        for client, number in wish.waiting:
            self._acknowledge(client, number, at)

    def go_on(self) -> None:
        """Do waiting wishes whose turn has come."""
        while self._later and not self._must_wait(self._later[0]):
            wish = self._later.popleft()
            try:
                self.do(wish)
            except RefusedError as refused:
                wish.refuse(refused.code, refused.message)


def _checked(client: Client, path: str, args: Sequence[Any]) -> tuple[bool, Value]:
    """Return whether a message acts, and its value; RefusedError for a wrong one."""
    try:
        find(path)
    except InputError as error:
        raise RefusedError("unknown_path", str(error)[:200]) from None
    if client.view:
        raise RefusedError("view_only", "watchers cannot set anything")
    try:
        return pressed(path, args), check(path, args)
    except InputError as error:
        raise RefusedError("bad_value", str(error)) from None
