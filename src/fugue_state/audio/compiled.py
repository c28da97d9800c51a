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
from numba.core.caching import FunctionCache
from numba.core.event import Event, Listener, register

if TYPE_CHECKING:
    from threadpoolctl import LibController

Function = TypeVar("Function", bound=Callable[..., Any])
Given = TypeVar("Given")
Made = TypeVar("Made")

LOG = "fugue_state"
# Division like NumPy's: a check for zero in a loop keeps it from the vector units.
# A loop that calls another has it inside: a call would find the other one's own machine code in the run that compiles,
# and a copy that rounds in another way in those that load what is kept.
WAY: dict[str, Any] = {"fastmath": True, "nogil": True, "error_model": "numpy", "forceinline": True}


def compiled(function: Function) -> Function:
    """Compile a function at its first call; the machine code is kept on disk where that is possible.

    It gives up the interpreter's lock, so that threads share the cores. That something is compiled is logged once.
    """
    _listen()
    made = numba.njit(**WAY)(function)
    with contextlib.suppress(RuntimeError):  # nowhere to write
        made._cache = _Kept(function)  # type: ignore[no-untyped-call]
    return cast("Function", made)


class _Kept(FunctionCache):
    """Machine code on disk, which can always be made again: what is damaged is, and a full disk stops nobody."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return what is kept, or None."""
        try:
            return super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]
        except Exception:  # noqa: BLE001 - half a file can raise anything
            with contextlib.suppress(OSError):
                self.flush()  # type: ignore[no-untyped-call]
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep something, where there is room."""
        with contextlib.suppress(OSError):
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]


class _Compiling(Listener):
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
    """How many threads are inside `one_thread`, and what the limits were before the first of them came."""

    def __init__(self) -> None:
        self.lock, self.inside = threading.Lock(), 0
        self.before: list[int] = []
        self.here = threading.local()


_alone = _Alone()


@cache
def _libraries() -> list[LibController]:
    """Return the libraries that multiply matrices."""
    from threadpoolctl import ThreadpoolController

    return list(ThreadpoolController().select(user_api="blas").lib_controllers)


def _set(library: LibController, threads: int) -> None:
    # What is public does nothing in a thread if another one has set a limit, and may have ended with its own.
    getattr(library, "_real_set_num_threads", library.set_num_threads)(threads)


def _enter() -> list[int]:
    """Limit this thread, or all if a library knows one limit only; return what the limits were."""
    with _alone.lock:
        before = [library.get_num_threads() for library in _libraries()]
        for library in _libraries():
            _set(library, 1)
        if not _alone.inside:
            _alone.before = before
        _alone.inside += 1
    return before


def _leave(own: list[int]) -> None:
    """Give back the limits: this thread's own at once, those that all share when nobody is inside any more."""
    with _alone.lock:
        _alone.inside -= 1
        for library, mine, first in zip(_libraries(), own, _alone.before, strict=True):
            if library.internal_api == "mkl" or getattr(library, "threading_layer", "") == "openmp":
                _set(library, mine)
            elif not _alone.inside:
                _set(library, first)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let matrix products use one thread: several add up in another order, and round in another way.

    All that decides samples runs in it, so that they are the same whatever the environment says of threads. With
    most libraries the limit holds for the whole process while anybody is inside.
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
