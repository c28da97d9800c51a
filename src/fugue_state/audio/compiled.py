"""How work runs: loops compiled, items beside each other, sums in one order whatever the threads."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

import numba
import torch

Function = TypeVar("Function", bound=Callable[..., Any])
Given = TypeVar("Given")
Made = TypeVar("Made")


def compiled(function: Function) -> Function:
    """Compile a function at its first call; the machine code is kept on disk where that is possible.

    It gives up the interpreter's lock, so that threads share the cores.
    """
    try:
        made = numba.njit(cache=True, fastmath=True, nogil=True)(function)
    except RuntimeError:  # nowhere to write
        made = numba.njit(fastmath=True, nogil=True)(function)
    return cast("Function", made)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread: several add up in another order, and round in another way.

    All that decides samples runs in it, so that they are the same whatever the environment says of threads. NumPy's
    matrix products share their work among threads, too, and nobody can limit that for a single thread: whoever needs
    a product for samples takes it from torch, or adds up in NumPy without one.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def in_threads(do: Callable[[Given], Made], items: Sequence[Given], at_once: int | None = None) -> list[Made]:
    """Do something with every item, so many at once, or as many as torch may use threads; each by itself uses one.

    Small transforms share their work badly, and what an item becomes must not depend on how many threads there are.
    """
    threads = torch.get_num_threads()

    def alone(item: Given) -> Made:
        with one_thread():
            return do(item)

    count = min(at_once or threads, len(items))
    if count <= 1:
        return [alone(item) for item in items]
    with ThreadPoolExecutor(count) as pool:
        made = list(pool.map(alone, items))
    torch.set_num_threads(threads)  # threads that begin later take theirs from the last that was set
    return made
