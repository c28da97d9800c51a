"""Jobs to be done at once or at a set time, a limited number in each turn of the loop."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field

from fugue_state.limits import OSC_AHEAD_S, OSC_EACH_TURN, OSC_WAITING, OSC_WAITING_EACH
from fugue_state.live.protocol import RefusedError

Job = Callable[[], "Iterable[Job] | None"]  # jobs that a job leads to come right after it


@dataclass(order=True)
class Entry:
    """Someone's job and when it is due; jobs due at the same time keep their order."""

    due: float
    place: tuple[int, int]
    who: Hashable = field(compare=False)
    job: Job = field(compare=False)


class Agenda:
    """Does jobs in the order of their times, by the wall clock; limits how many wait, per sender and in all."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float] = time.time) -> None:
        self._loop, self._clock = loop, clock
        self._latest = 0.0
        self._entries: list[Entry] = []
        self._waiting: Counter[Hashable] = Counter()
        self._numbers = itertools.count()
        self._next: asyncio.Handle | None = None
        self._soon = False

    @property
    def _now(self) -> float:
        """The wall clock's time; it stands still if the clock is set back."""
        self._latest = max(self._latest, self._clock())
        return self._latest

    def add(self, job: Job, who: Hashable, when: float = 0.0) -> None:
        """Do a job at a time, or at once; RefusedError if it is too far ahead or too many jobs wait."""
        now = self._now
        if when - now > OSC_AHEAD_S.most:
            raise RefusedError("bad_value", OSC_AHEAD_S.passed(round(when - now)))
        for limit, waiting in ((OSC_WAITING_EACH, self._waiting[who]), (OSC_WAITING, len(self._entries))):
            if waiting >= limit.most:
                raise RefusedError("too_fast", limit.passed(waiting))
        entry = Entry(max(now, when), (next(self._numbers), 0), who, job)
        self._push(entry)
        if not self._soon and self._entries[0] is entry:
            self._work()

    def close(self) -> None:
        """Drop all jobs."""
        self._entries.clear()
        if self._next is not None:
            self._next.cancel()

    def _push(self, entry: Entry) -> None:
        heapq.heappush(self._entries, entry)
        self._waiting[entry.who] += 1

    def _work(self) -> None:
        """Do as many due jobs as one turn allows, then wait for the next."""
        if self._next is not None:
            self._next.cancel()
        now = self._now
        try:
            for _ in range(int(OSC_EACH_TURN.most)):
                if not self._entries or self._entries[0].due > now:
                    break
                self._do(heapq.heappop(self._entries))
        finally:  # a failing job must not stop the others
            self._soon = bool(self._entries) and self._entries[0].due <= now
            if self._soon:
                self._next = self._loop.call_soon(self._work)
            elif self._entries:
                self._next = self._loop.call_later(self._entries[0].due - now, self._work)

    def _do(self, entry: Entry) -> None:
        self._waiting[entry.who] -= 1
        if not self._waiting[entry.who]:
            del self._waiting[entry.who]
        for number, job in enumerate(entry.job() or (), 1):
            self._push(Entry(entry.due, (entry.place[0], number), entry.who, job))
