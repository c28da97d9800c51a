"""The tapes: recording, marking, rendering and recovering takes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping
from pathlib import Path
from typing import Any

from fugue_state.config import LiveConfig
from fugue_state.errors import FugueError, unknown
from fugue_state.live.aside import Aside, aside
from fugue_state.live.audio import BlockClock
from fugue_state.live.protocol import RefusedError
from fugue_state.live.recorder import Recorder
from fugue_state.live.takes import FINER, listed, recover, unfinished

Hear = Callable[[Any], None]
Keep = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]
OnClock = Callable[[Callable[[BlockClock], None]], None]


class Tapes:
    """Records takes and renders them, one at a time.

    It reports by `tell(kind, **values)`. `now` returns the current sample, `on_clock` runs a job between two blocks,
    and `on_loop` makes a function that other threads can call.
    """

    def __init__(
        self,
        config: LiveConfig,
        tell: Callable[..., None],
        now: Callable[[], int | None],
        on_clock: OnClock,
        on_loop: Callable[[Hear], Hear],
    ) -> None:
        self.folder = Path(config.takes)
        self.recorder: Recorder | None = None
        self.finishing: set[Recorder] = set()
        self.begun_at: int | None = None  # the sample at which the take's beginning was safe on the disk
        self._rendering: tuple[str, Aside[None], asyncio.Task[None]] | None = None
        self._config, self._tell, self._now = config, tell, now
        self._on_clock, self._on_loop = on_clock, on_loop

    def overview(self) -> dict[str, Any]:
        """Return what a welcome says about takes."""
        return {
            "recording": self.recorder is not None,
            "takes": listed(self.folder),
            "rendering": None if self._rendering is None else self._rendering[0],
        }

    def check_idle(self, then: str) -> None:
        """Raise RefusedError if a take is being recorded."""
        if self.recorder is not None:
            raise RefusedError("not_now", f"a take is being recorded{then}")

    def start(self, made_by: Mapping[str, Any]) -> None:
        """Record from the next block on."""
        recorder = Recorder(
            self.folder,
            made_by,
            self._config,
            self._on_loop(self._warn),
            self._on_loop(self._began),
            self._on_loop(lambda complete: self._taken(recorder, complete)),
        )
        self.recorder, self.begun_at = recorder, None
        self.finishing.add(recorder)
        recorder.start()
        self._on_clock(lambda clock: clock.record(recorder))
        self._tell_take("armed", "")

    def _began(self, name: str) -> None:
        """Tell that a take is being recorded: its beginning is on the disk."""
        self.begun_at = self._now()
        self._tell_take("recording", name)

    def stop(self, *, at_once: bool = False) -> None:
        """Complete the take that is being recorded; RefusedError if there is none."""
        if self.recorder is None:
            raise RefusedError("not_now", "no take is being recorded")
        recorder, self.recorder = self.recorder, None
        self._on_clock(lambda clock: clock.end_take(recorder, at_once=at_once))

    def _taken(self, recorder: Recorder, finished: bool) -> None:
        self.finishing.discard(recorder)
        if self.recorder is recorder:  # it ended without `stop`
            self.stop(at_once=True)
        self._tell_take("kept" if finished else "failed", recorder.take)

    def mark(self, text: str, by: str) -> None:
        """Mark the current moment, also in the take if one is being recorded."""
        recorder = self.recorder
        if recorder is not None:
            self._on_clock(lambda clock: recorder.mark(clock.performance.position, text))
        self._tell("event", what="mark", at_sample=self._now(), text=text, by=by)

    async def recover(self, note: Callable[[list[str]], None]) -> None:
        """Complete the takes that a killed server left; `note` gets the messages for later clients."""
        if not (left := unfinished(self.folder)):
            return
        try:
            done, wrong = await asyncio.to_thread(aside, recover, left)
        except FugueError as error:
            done, wrong = [], [f"what a killed server left could not be completed ({error})"]
        notes = [*(f"{name} was completed: the server had been killed" for name in done), *wrong]
        note(notes)
        if self._now() is None:
            return
        for line in notes:
            self._tell("notice", level="info", text=line)
        for name in done:
            self._tell_take("completed", name)

    def render(self, name: str, render: Callable[..., None], keep: Keep) -> None:
        """Render a take in another process; `keep` holds the task that waits for it. RefusedError if that fails."""
        takes = listed(self.folder)
        check_known("take", name, takes)
        if self._rendering is not None:
            raise RefusedError("not_now", f"{self._rendering[0]} is being rendered; one at a time")
        if FINER in takes[name]:
            raise RefusedError("not_now", f"{name}.{FINER} is there already")
        hear = self._on_loop(lambda share: self._tell_take("rendering", name, share=share))
        work = Aside(render, self.folder / f"{name}.toml", hear=hear)
        self._rendering = name, work, keep(self._rendered(name, work))

    async def _rendered(self, name: str, work: Aside[None]) -> None:
        did = "not rendered"
        try:
            await asyncio.to_thread(work.result)
            did = "rendered"
        except FugueError as error:
            self._warn(f"{name} could not be rendered ({error})")
        finally:
            self._rendering = None
            self._tell_take(did, name)

    async def close(self) -> None:
        """Wait until all takes are complete, and stop rendering."""
        for recorder in list(self.finishing):
            await asyncio.to_thread(recorder.join)
        if self._rendering is not None:
            _, work, task = self._rendering
            work.end()
            await task

    def _tell_take(self, did: str, name: str, **more: Any) -> None:
        told = {"did": did, "take": name, "takes": listed(self.folder), "recording": self.recorder is not None}
        self._tell("event", what="take", at_sample=self._now(), **told, **more)

    def _warn(self, text: str) -> None:
        self._tell("notice", level="warning", text=text)


def check_known(what: str, name: str, known: Collection[str]) -> None:
    """Refuse a name that is not listed, so that clients cannot reach other files."""
    if name not in known:
        raise RefusedError("bad_value", str(unknown(what, name, known)))
