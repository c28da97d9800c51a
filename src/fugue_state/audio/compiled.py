"""How work runs: loops compiled, items beside each other, sums in one order whatever the threads."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numba
from numba.core.event import Event, Listener, register

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

Function = TypeVar("Function", bound=Callable[..., Any])
Given = TypeVar("Given")
Made = TypeVar("Made")

LOG = "fugue_state"
# Division like NumPy's: a check for zero in a loop keeps it from the vector units.
WAY: dict[str, Any] = {"fastmath": True, "nogil": True, "error_model": "numpy"}


def compiled(function: Function) -> Function:
    """Compile a function at its first call; the machine code is kept on disk where that is possible.

    It gives up the interpreter's lock, so that threads share the cores. That something is compiled is logged once.
    """
    _listen()
    try:
        made = numba.njit(cache=True, **WAY)(function)
    except RuntimeError:  # nowhere to write
        made = numba.njit(**WAY)(function)
    return cast("Function", made)


class _Compiling(Listener):  # type: ignore[misc]
    """Says when the first loop is compiled."""

    told = False

    def on_start(self, event: Event) -> None:  # noqa: ARG002
        """Say it, once."""
        if not self.told:
            self.told = True
            logging.getLogger(LOG).info("compiling for this machine, which takes some seconds the first time")

    def on_end(self, event: Event) -> None:
        """Say nothing."""


@cache
def _listen() -> None:
    register("numba:compile", _Compiling())


def cores() -> int:
    """Return how many cores this process may use; OMP_NUM_THREADS can ask for fewer."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return min(there, int(wanted)) if wanted.isdecimal() and int(wanted) else there


class _Alone:
    """Who asks that matrix products use one thread, and since when they do."""

    def __init__(self) -> None:
        self.lock, self.count = threading.Lock(), 0
        self.limit: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
        self.here = threading.local()


_alone = _Alone()


@cache
def _pools() -> ThreadpoolController:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let matrix products use one thread: several add up in another order, and round in another way.

    All that decides samples runs in it, so that they are the same whatever the environment says of threads. The
    limit holds for the whole process while anybody is inside.
    """
    if getattr(_alone.here, "inside", False):
        yield
        return
    with _alone.lock:
        if _alone.count == 0:
            _alone.limit = _pools().limit(limits=1, user_api="blas")
            _alone.limit.__enter__()
        _alone.count += 1
    _alone.here.inside = True
    try:
        yield
    finally:
        _alone.here.inside = False
        with _alone.lock:
            _alone.count -= 1
            if _alone.count == 0:
                _alone.limit.__exit__(None, None, None)


def in_threads(do: Callable[[Given], Made], items: Sequence[Given], at_once: int | None = None) -> list[Made]:
    """Do something with every item, so many at once, or as many as there are cores; each by itself uses one.

    Small transforms share their work badly, and what an item becomes must not depend on how many threads there are.
    Inside `one_thread` all runs in this thread.
    """
    inside = getattr(_alone.here, "inside", False)
    count = min(at_once or (1 if inside else cores()), len(items))

    def alone(item: Given) -> Made:
        with one_thread():
            return do(item)

    if count <= 1:
        return [alone(item) for item in items]
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(alone, items))


def ahead(items: Iterable[Given], most: int = 2) -> Iterator[Given]:
    """Yield items that another thread takes from where they come, so many before they are asked for."""
    source, end = iter(items), object()
    with ThreadPoolExecutor(1) as pool:
        waiting = deque(pool.submit(next, source, end) for _ in range(most))
        try:
            while (item := waiting.popleft().result()) is not end:
                waiting.append(pool.submit(next, source, end))
                yield cast("Given", item)
        finally:
            for asked in waiting:
                asked.cancel()
