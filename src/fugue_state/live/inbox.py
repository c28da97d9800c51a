"""What waits for the clock: wishes and jobs, put in by any thread and taken out between two blocks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from fugue_state.live.care import Failed
from fugue_state.live.wish import Wish

Job = tuple[Callable[[], None], Failed | None]  # what is done, and who is told if it fails


class Inbox:
    """Keeps wishes and jobs in their order, of each path only the newest wish since the last job."""

    def __init__(self) -> None:
        self.is_closed = False
        self.superseded = 0  # wishes that a newer one replaced
        self._wake = threading.Condition()
        self._items: list[Wish | Job] = []
        self._newest: dict[str, Wish] = {}  # of each path, since the last job

    def ask(self, wish: Wish) -> None:
        """Put in a wish; it answers those who wait for the older one that it replaces, too."""
        with self._wake:
            older = self._newest.get(wish.path)
            if older is not None:
                self._items.remove(older)
                wish.waiting = older.waiting + wish.waiting
                self.superseded += 1
            self._newest[wish.path] = wish
            self._items.append(wish)
            self._wake.notify()

    def do(self, job: Callable[[], None], failed: Failed | None) -> None:
        """Put in a job."""
        with self._wake:
            self._items.append((job, failed))
            self._newest.clear()
            self._wake.notify()

    def close(self) -> None:
        """Let the clock end."""
        with self._wake:
            self.is_closed = True
            self._wake.notify()

    def wait(self, due: float | None) -> list[Wish | Job] | None:
        """Return all that is in it once a block is due, or, if none ever is, once there is something; None at the end.

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
        """Return what is left at the end."""
        with self._wake:
            return self._emptied()

    def _emptied(self) -> list[Wish | Job]:
        items, self._items = self._items, []
        self._newest.clear()
        return items
