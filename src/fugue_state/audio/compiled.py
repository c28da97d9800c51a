"""How work is run: compiled loops, items in parallel, and sums whose order does not depend on threads."""

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
from numba.core.caching import FunctionCache
from numba.core.event import Event, Listener, register

if TYPE_CHECKING:
    from threadpoolctl import LibController

Function = TypeVar("Function", bound=Callable[..., Any])
Given = TypeVar("Given")
Made = TypeVar("Made")

LOG = "fugue_state"
# Division as in NumPy: a check for zero would prevent vectorizing.
# Loops that call others are compiled with these inlined. Otherwise a call would link to freshly compiled code in the
# first run, and to a copy that rounds differently in runs that load from the cache.
WAY: dict[str, Any] = {"fastmath": True, "nogil": True, "error_model": "numpy", "forceinline": True}


def compiled(function: Function) -> Function:
    """Compile a function at its first call; the machine code is cached on disk if possible.

    It releases the interpreter's lock, so that threads run in parallel. The first compilation is logged.
    """
    _listen()
    made = numba.njit(**WAY)(function)
    with contextlib.suppress(RuntimeError):  # no folder for the cache can be written
        made._cache = _Kept(function)  # type: ignore[no-untyped-call]
    return cast("Function", made)


class _Kept(FunctionCache):
    """A cache of machine code on disk. It can always be rebuilt, so damaged files and a full disk do no harm."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the cached code, or None."""
        try:
            return super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]
        except Exception:  # noqa: BLE001 - a damaged file can raise anything
            with contextlib.suppress(OSError):
                self.flush()  # type: ignore[no-untyped-call]
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Store code in the cache, if there is room."""
        with contextlib.suppress(OSError):
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]


class _Compiling(Listener):
    """Logs when the first loop is compiled."""

    told = False

    def on_start(self, event: Event) -> None:  # noqa: ARG002
        """Log it, once."""
        if not self.told:
            self.told = True
            logging.getLogger(LOG).info("compiling for this machine, which takes some seconds the first time")

    def on_end(self, event: Event) -> None:
        """Do nothing."""


@cache
def _listen() -> None:
    register("numba:compile", _Compiling())


def cores() -> int:
    """Return how many cores this process may use; OMP_NUM_THREADS can ask for fewer."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return min(there, int(wanted)) if wanted.isdecimal() and int(wanted) else there


class _Alone:
    """How many threads are inside `one_thread`, and the limits before the first of them entered."""

    def __init__(self) -> None:
        self.lock, self.inside = threading.Lock(), 0
        self.before: list[int] = []
        self.here = threading.local()


_alone = _Alone()


@cache
def _libraries() -> list[LibController]:
    """Return the linear algebra libraries in use."""
    from threadpoolctl import ThreadpoolController

    return list(ThreadpoolController().select(user_api="blas").lib_controllers)


def _set(library: LibController, threads: int) -> None:
    # The public call has no effect in a thread if another thread has set a limit, even one that has ended.
    getattr(library, "_real_set_num_threads", library.set_num_threads)(threads)


def _enter() -> list[int]:
    """Limit this thread, or the whole process if a library has only one limit; return the previous limits."""
    with _alone.lock:
        before = [library.get_num_threads() for library in _libraries()]
        for library in _libraries():
            _set(library, 1)
        if not _alone.inside:
            _alone.before = before
        _alone.inside += 1
    return before


def _leave(own: list[int]) -> None:
    """Restore the limits: a thread's own at once, those of the whole process when the last thread leaves."""
    with _alone.lock:
        _alone.inside -= 1
        for library, mine, first in zip(_libraries(), own, _alone.before, strict=True):
            if library.internal_api == "mkl" or getattr(library, "threading_layer", "") == "openmp":
                _set(library, mine)
            elif not _alone.inside:
                _set(library, first)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Run matrix products on one thread: with several, the order of sums changes, and so does the rounding.

    Everything that affects samples runs inside, so that they do not depend on the thread settings of the environment.
    With most libraries the limit holds for the whole process while any thread is inside.
    """
    if getattr(_alone.here, "inside", False):
        yield
        return
    before, _alone.here.inside = _enter(), True
    try:
        yield
    finally:
        _alone.here.inside = False
        _leave(before)


def in_threads(do: Callable[[Given], Made], items: Sequence[Given], at_once: int | None = None) -> list[Made]:
    """Apply a function to every item, `at_once` in parallel (default: as many as there are cores), one thread each.

    Small transforms parallelize badly, and an item's result must not depend on the number of threads.
    Inside `one_thread` everything runs in the calling thread by default.
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
    """Yield items while another thread fetches up to `most` of them in advance."""
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
