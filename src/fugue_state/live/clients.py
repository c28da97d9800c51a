"""Those who play and those who watch: what they are told, and how fast they may speak."""

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
    """Lets so many through in a second, and some more at once."""

    def __init__(self, per_s: float, at_once: float) -> None:
        self._per_s, self._most = per_s, at_once
        self._left, self._seen = at_once, time.monotonic()

    @property
    def is_empty(self) -> bool:
        """Whether none more could pass when one last came."""
        return self._left < 1.0

    def take(self, count: float = 1.0) -> bool:
        """Say whether one more may pass, or one that counts for so many."""
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
    """A control socket: what it is told waits in order; of frames and meters only the newest.

    One who does not read is let go.
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
        """Tell them something that must not be missed."""
        if self._gone:
            return
        now = time.monotonic()
        self._waiting.append((now, text))
        if len(self._waiting) > self._most or now - self._waiting[0][0] > BEHIND_S.most:
            self._waiting.clear()
            self.leave("too slow: what was told was not read")
        self._any.set()

    def show(self, kind: str, text: str) -> None:
        """Tell them something that what comes later replaces."""
        if not self._gone:
            self._newest[kind] = text
            self._any.set()

    def leave(self, why: str) -> None:
        """Let them go: they are told so, and nothing more."""
        if self._gone:
            return
        self._waiting.append((time.monotonic(), write("bye", reason=why)))
        self._newest.clear()
        self._gone = True
        self._any.set()

    async def next(self) -> str | None:
        """Return what to send next; None when they are let go."""
        while not self._waiting and not self._newest:
            if self._gone:
                return None
            self._any.clear()
            await self._any.wait()
        if self._waiting:
            return self._waiting.popleft()[1]
        return self._newest.pop(next(iter(self._newest)))


class Listener:
    """An audio socket: it gets as many blocks as it gave credit for; what waits too long is left out.

    One who gives none for long is let go.
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
        """Take so many more blocks."""
        self._credit += credit.blocks
        self._form = credit.format
        self._any.set()

    def push(self, at: int, samples: npt.NDArray[np.float32], rate: int) -> None:
        """Hand on a block that begins at a sample."""
        self._blocks.append((at, samples, rate))
        if len(self._blocks) > self._most:
            self._blocks.popleft()
            self.left_out += 1
        self._any.set()

    async def next(self) -> bytes | None:
        """Return the next block to send, as soon as there is one and credit for it; None if there is none for long."""
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
