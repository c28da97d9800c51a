"""Requests that are not controls of the sound: banks, undo, takes, memories."""

from __future__ import annotations

from collections.abc import Callable

from fugue_state.live.desk import Desk
from fugue_state.live.people import People
from fugue_state.live.programme import Programme
from fugue_state.live.protocol import RefusedError
from fugue_state.live.tapes import Tapes
from fugue_state.live.wish import Wish
from fugue_state.score.paths import Value, find


class Acts:
    """Carries out requests that do not move the sound, and refuses those that something else forbids at the moment.

    `render(name)` starts to render a take.
    """

    def __init__(
        self, people: People, desk: Desk, tapes: Tapes, programme: Programme, render: Callable[[str], None]
    ) -> None:
        self._people, self._desk, self._tapes, self._programme = people, desk, tapes, programme
        self._render = render

    def do(self, wish: Wish) -> None:
        """Carry out a wish; RefusedError if that is impossible. A ping or a page's subscription needs nothing done."""
        known, numbers = find(wish.path)
        number, value, by = numbers[0] if numbers else 0, wish.value, wish.by
        acts: dict[str, Callable[[], None]] = {
            "/bank/<b>/store": lambda: self._store(number, by),
            "/bank/<b>/arm": lambda: self._arm(number, by),
            "/bank/<b>/fire": lambda: self.fire(number, _number(value), by),
            "/ab": lambda: self._playable_desk().between(_number(value)),
            "/undo": lambda: self._playable_desk().undo(self._programme.part.history),
            "/redo": lambda: self._playable_desk().redo(self._programme.part.history),
            "/mark": lambda: self._tapes.mark(str(value), by),
            "/rec/start": self._record,
            "/rec/stop": self._tapes.stop,
            "/memory": lambda: self._change_memory(str(value)),
            "/replay": lambda: self._replay_or_return(str(value)),
            "/render": lambda: self._render(str(value)),
        }
        if known.pattern in acts:
            acts[known.pattern]()

    def _playable_desk(self) -> Desk:
        """Return the desk; RefusedError while a take replays."""
        self._programme.check_playable()
        return self._desk

    def _store(self, number: int, by: str) -> None:
        programme = self._programme
        if programme.parked is not None and programme.parked.named != programme.part.named:
            raise RefusedError("not_now", "the take that replays is of a memory with other layers")
        self._desk.store(number, programme.part.bank(), by, programme.player.at)

    def _arm(self, number: int, by: str) -> None:
        self._playable_desk().arm(number, self._programme.part.bank(), by, self._programme.player.at)

    def fire(self, number: int, seconds: float, by: str) -> None:
        """Move to a bank within some seconds, or at once while nothing plays."""
        part, player = self._programme.part, self._programme.player
        length = round(seconds * part.performance.rate) if player.running else 0
        self._playable_desk().fire(number, part.bank(), by, player.at, length)

    def _record(self) -> None:
        self._programme.check_playable()
        self._tapes.check_idle(" already")
        if self._programme.loading:
            raise RefusedError("not_now", f"{self._programme.loading} is loading; record when it plays")
        from fugue_state.output.provenance import known_of

        self._tapes.start(known_of(self._programme.part.memory))

    def _change_memory(self, name: str) -> None:
        self._programme.check_playable()
        self._programme.change_memory(name, self._end_take, lambda: self._people.inform(f"memory {name} plays"))

    def _end_take(self) -> None:
        """Complete the take, if one is being recorded, before another memory plays."""
        if self._tapes.recorder is not None:
            self._tapes.stop(at_once=True)
            self._people.warn("the take ends here: it belongs to one memory")

    def _replay_or_return(self, name: str) -> None:
        if name:
            self._programme.check_playable()
            self._tapes.check_idle("; end it first")
            self._programme.replay(name, self._tapes.folder)
        else:
            self._programme.go_back()


def _number(value: Value) -> float:
    """Return a checked value that is a number."""
    return float(value) if isinstance(value, int | float) else 0.0
