"""The clock's inbox: wishes and jobs, added by any thread and taken out between two blocks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from fugue_state.live.care import Failed
from fugue_state.live.wish import Wish
from fugue_state.score.paths import find

Job = tuple[Callable[[], None], Failed | None]  # the job, and who is told if it fails


class Inbox:
    """Keeps wishes and jobs in order; of each path, only the newest wish since the last job.

    Of keys and the pedal it keeps every wish: none that is pressed may be lost.
    """

    def __init__(self) -> None:
        self.is_closed = False
        self.superseded = 0  # number of wishes that a newer one replaced
        self._wake = threading.Condition()
        self._items: list[Wish | Job] = []
        self._newest: dict[str, Wish] = {}  # the newest wish of each path since the last job

    def ask(self, wish: Wish) -> None:
        """Add a wish. It replaces an older one of its path, and takes over those who wait for its answer."""
        with self._wake:
            each = find(wish.path)[0].each
            older = None if each else self._newest.get(wish.path)
            if older is not None:
                self._items.remove(older)
                wish.waiting = older.waiting + wish.waiting
                self.superseded += 1
            if not each:
                self._newest[wish.path] = wish
            self._items.append(wish)
            self._wake.notify()

    def do(self, job: Callable[[], None], failed: Failed | None) -> None:
        """Add a job."""
        with self._wake:
            self._items.append((job, failed))
            self._newest.clear()
            self._wake.notify()

    def close(self) -> None:
        """Make `wait` return None, which ends the clock."""
        with self._wake:
            self.is_closed = True
            self._wake.notify()

    def wait(self, due: float | None) -> list[Wish | Job] | None:
        """Return all items when a block is `due`; without a time, as soon as there are any; None at the end.

        The time is that of `time.perf_counter`.
        """
        with self._wake:
            while not self.is_closed:
                left = due - time.perf_counter() if due is not None else None
                if (left is not None and left <= 0) or (left is None and self._items):
                    return self._emptied()
                self._wake.wait(left)
        return None

    def rest(self) -> list[Wish | Job]:
        """Return the items that are left at the end."""
        with self._wake:
            return self._emptied()

    def _emptied(self) -> list[Wish | Job]:
        items, self._items = self._items, []
        self._newest.clear()
        return items
