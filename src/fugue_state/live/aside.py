"""Work beside the clock: in a process of its own, since Python's threads wait for each other."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import ParamSpec, TypeVar

from fugue_state.errors import OutputError

NICE = 10  # less urgent than what plays
Given = ParamSpec("Given")
Made = TypeVar("Made")


def aside(work: Callable[Given, Made], *given: Given.args, **named: Given.kwargs) -> Made:
    """Do something in another process and wait for what it returns or raises; OutputError if that is killed."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_begin) as pool:
        try:
            return pool.submit(work, *given, **named).result()
        except BrokenProcessPool:
            raise OutputError("the process that worked on it was ended") from None


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server ends in order, and waits
    be_patient()


def be_patient() -> None:
    """Let this thread be less urgent than others, where the system can tell them apart."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
