"""Work in a separate process, because Python's threads would slow down the clock."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, Generic, TypeVar

from fugue_state.errors import FugueError, InputError, OutputError, why

NICE = 10  # lower priority than playing
TOLD, MADE, RAISED = "told", "made", "raised"
Made = TypeVar("Made")


def aside(work: Callable[..., Made], *given: Any) -> Made:
    """Run something in another process and wait for its result; any failure raises a FugueError."""
    return Aside(work, *given).result()


class Aside(Generic[Made]):
    """A task in another process; `result` waits for it.

    With `hear`, the task also gets a function `tell`; whatever it passes to `tell` arrives at `hear`.
    """

    def __init__(self, work: Callable[..., Made], *given: Any, hear: Callable[[Any], None] | None = None) -> None:
        context = get_context("spawn")
        self._hear = hear
        self._here, self._there = context.Pipe(duplex=False)
        self._starting = threading.Lock()
        self._ended = False
        self._process = context.Process(target=_do, args=(self._there, hear is not None, work, *given), daemon=True)

    def result(self) -> Made:
        """Return the task's result or raise its error; OutputError if the process dies or cannot be started."""
        try:
            self._start()
        except OutputError:
            self._there.close()
            self._here.close()
            raise
        _leave_room(self._process.pid)
        self._there.close()
        try:
            while (said := self._here.recv())[0] == TOLD:
                if self._hear is not None:
                    self._hear(said[1])
        except EOFError:
            raise OutputError("the process that worked on it was ended") from None
        finally:
            self._process.join()
            self._here.close()
        if said[0] == RAISED:
            raise said[1]
        made: Made = said[1]
        return made

    def _start(self) -> None:
        with self._starting:
            if self._ended:
                raise OutputError("it was ended before it began")
            try:
                self._process.start()
            except OSError as error:
                raise OutputError(f"no process could be made for it ({why(error)})") from None

    def end(self) -> None:
        """Ask a running task to clean up and end; one that has not started never starts."""
        with self._starting:
            self._ended = True
            if self._process.is_alive():
                self._process.terminate()


def _do(there: Connection, tells: bool, work: Callable[..., Any], *given: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server handles Ctrl-C itself and waits for this task
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that no half-written file is left
    tell = {"tell": lambda what: there.send((TOLD, what))} if tells else {}
    try:
        there.send((MADE, work(*given, **tell)))
    except FugueError as error:
        _send(there, error)
    except Exception as error:  # noqa: BLE001 - `result` raises it again as one line
        there.send((RAISED, OutputError(why(error))))


def _send(there: Connection, error: FugueError) -> None:
    """Send an error, or only its message if it cannot be pickled."""
    try:
        there.send((RAISED, error))
    except Exception:  # noqa: BLE001 - pickling may raise anything
        there.send((RAISED, (InputError if isinstance(error, InputError) else OutputError)(why(error))))


def be_patient() -> None:
    """Lower the priority of this thread, where the system allows it."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


def _leave_room(process: int | None) -> None:
    """Give a new process only idle time, where the system allows it."""
    if sys.platform == "linux" and process is not None:
        with contextlib.suppress(OSError):
            os.sched_setscheduler(process, os.SCHED_IDLE, os.sched_param(0))
