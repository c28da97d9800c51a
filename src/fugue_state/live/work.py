"""Slow work beside the loop, and calls back onto the loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fugue_state.errors import why
from fugue_state.live.aside import be_patient


class Work:
    """Runs work beside the loop and reports its errors to `warn`."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self.tasks: set[asyncio.Task[None]] = set()
        self._loader = ThreadPoolExecutor(1, initializer=be_patient)

    def open(self) -> None:
        """Use the running loop."""
        self.loop = asyncio.get_running_loop()

    def close(self) -> None:
        """Accept no more work."""
        self._loader.shutdown(wait=False, cancel_futures=True)

    def keep(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run work to its end and report its errors, which nobody else would see."""
        task = self.loop.create_task(self._carefully(work))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def _carefully(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - whatever it is, playing goes on
            self._warn(f"{why(error)}; what plays plays on")

    async def load(self, work: Callable[..., Any], *given: Any) -> Any:
        """Run something slow at a lower priority than playing, and return its result."""
        return await self.loop.run_in_executor(self._loader, work, *given)

    def on_loop(self, hear: Callable[[Any], None]) -> Callable[[Any], None]:
        """Return a function that any thread can call; it calls `hear` on the loop."""

        def tell(told: Any) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, so nobody listens
                self.loop.call_soon_threadsafe(hear, told)

        return tell
