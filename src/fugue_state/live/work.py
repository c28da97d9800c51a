"""Work that goes on beside the loop, and how it comes back to it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fugue_state.errors import why
from fugue_state.live.aside import be_patient


class Work:
    """Lets work go on beside the loop; whatever goes wrong with it is told to `warn`."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self.tasks: set[asyncio.Task[None]] = set()
        self._loader = ThreadPoolExecutor(1, initializer=be_patient)

    def open(self) -> None:
        """Belong to the loop that runs now."""
        self.loop = asyncio.get_running_loop()

    def close(self) -> None:
        """Begin nothing more that takes its time."""
        self._loader.shutdown(wait=False, cancel_futures=True)

    def keep(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Let work go on until it is done; if it fails, say so: nobody else reads the errors of a task."""
        task = self.loop.create_task(self._carefully(work))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def _carefully(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - whatever it is, what plays plays on
            self._warn(f"{why(error)}; what plays plays on")

    async def load(self, work: Callable[..., Any], *given: Any) -> Any:
        """Do something that takes its time, less urgently than what plays; return what it returns."""
        return await self.loop.run_in_executor(self._loader, work, *given)

    def on_loop(self, hear: Callable[[Any], None]) -> Callable[[Any], None]:
        """Return a function that any thread may call, and that calls `hear` on the loop."""

        def tell(told: Any) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody is there any more
                self.loop.call_soon_threadsafe(hear, told)

        return tell
