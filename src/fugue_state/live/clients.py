"""Clients: the messages that wait for them, and limits on how fast they may send."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from typing import Any

import numpy as np
import numpy.typing as npt

from fugue_state.config import LiveConfig
from fugue_state.limits import BEHIND_S, IDLE_S
from fugue_state.live.protocol import Credit, Format, audio_block, write

_numbers = itertools.count(1)


class Bucket:
    """A rate limit: so many messages per second, and some more in a burst."""

    def __init__(self, per_s: float, at_once: float) -> None:
        self._per_s, self._most = per_s, at_once
        self._left, self._seen = at_once, time.monotonic()

    @property
    def is_empty(self) -> bool:
        """Whether the last message found the limit reached."""
        return self._left < 1.0

    def take(self, count: float = 1.0) -> bool:
        """Return whether one more message may pass; it counts as `count` messages."""
        now = time.monotonic()
        self._left = min(self._most, self._left + (now - self._seen) * self._per_s)
        self._seen = now
        if self._left < count:
            return False
        self._left -= count
        return True


class Client:
    """Someone who moves controls; `answer` reaches only them."""

    def __init__(self, config: LiveConfig, name: str = "someone") -> None:
        self.number = next(_numbers)
        self.name = name
        self.view = False
        self.bucket = Bucket(config.messages_per_s, config.messages_at_once)

    def answer(self, kind: str, **values: Any) -> None:
        """Tell them something."""
        raise NotImplementedError


class PageClient(Client):
    """A page's control socket: messages wait in order, of frames and meters only the newest.

    A client that does not read is disconnected.
    """

    def __init__(self, config: LiveConfig) -> None:
        super().__init__(config)
        self.greeted = False
        self._most = config.waiting
        self._waiting: deque[tuple[float, str]] = deque()
        self._newest: dict[str, str] = {}
        self._any = asyncio.Event()
        self._gone = False

    def answer(self, kind: str, **values: Any) -> None:
        """Tell them something."""
        self.say(write(kind, **values))

    def say(self, text: str) -> None:
        """Queue a message that must not be missed."""
        if self._gone:
            return
        now = time.monotonic()
        self._waiting.append((now, text))
        if len(self._waiting) > self._most or now - self._waiting[0][0] > BEHIND_S.most:
            self._waiting.clear()
            self.leave("too slow: what was told was not read")
        self._any.set()

    def show(self, kind: str, text: str) -> None:
        """Queue a message that the next of its kind replaces."""
        if not self._gone:
            self._newest[kind] = text
            self._any.set()

    def leave(self, why: str) -> None:
        """Disconnect them: they are told so, and nothing more."""
        if self._gone:
            return
        self._waiting.append((time.monotonic(), write("bye", reason=why)))
        self._newest.clear()
        self._gone = True
        self._any.set()

    async def next(self) -> str | None:
        """Return the next message to send; None once they are disconnected."""
        while not self._waiting and not self._newest:
            if self._gone:
                return None
            self._any.clear()
            await self._any.wait()
        if self._waiting:
            return self._waiting.popleft()[1]
        return self._newest.pop(next(iter(self._newest)))


class Listener:
    """An audio socket: it gets as many blocks as it gave credit for; if too many wait, the oldest are dropped.

    A listener that gives no credit for long is disconnected.
    """

    def __init__(self, config: LiveConfig) -> None:
        self.left_out = 0
        self.bucket = Bucket(config.messages_per_s, config.messages_at_once)
        self._form: Format = "float32"
        self._credit = 0
        self._sequence = 0
        self._blocks: deque[tuple[int, npt.NDArray[np.float32], int]] = deque()
        self._most = config.blocks_waiting
        self._any = asyncio.Event()

    def give(self, credit: Credit) -> None:
        """Accept credit for more blocks."""
        self._credit += credit.blocks
        self._form = credit.format
        self._any.set()

    def push(self, at: int, samples: npt.NDArray[np.float32], rate: int) -> None:
        """Queue a block that begins at a sample."""
        self._blocks.append((at, samples, rate))
        if len(self._blocks) > self._most:
            self._blocks.popleft()
            self.left_out += 1
        self._any.set()

    async def next(self) -> bytes | None:
        """Wait for a block and the credit to send it; None if that takes too long."""
        try:
            async with asyncio.timeout(None if self._credit else IDLE_S.most) as idle:
                while not self._blocks or not self._credit:
                    self._any.clear()
                    await self._any.wait()
                    if self._credit:
                        idle.reschedule(None)
        except TimeoutError:
            return None
        at, samples, rate = self._blocks.popleft()
        self._credit -= 1
        self._sequence += 1
        return audio_block(samples, self._form, rate, self._sequence - 1, at)
