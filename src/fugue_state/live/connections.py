"""Connections: how many there are, how long they may keep others waiting, and what is said of those that go wrong."""

from __future__ import annotations

import asyncio
import errno
import logging
import time
from collections.abc import Callable
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from fugue_state.limits import CONNECTIONS, REQUEST_S, SLOW_S

LOG = "uvicorn.error"
SAID_AGAIN_S = 60.0
FULL = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class _Slow(asyncio.Protocol):
    """A connection that is cut if nothing is read of what was sent."""

    transport: asyncio.Transport
    loop: asyncio.AbstractEventLoop
    _cut: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        """Wait, but not for ever."""
        super().pause_writing()
        self._cut = self.loop.call_later(SLOW_S.most, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on."""
        self._wait_no_more()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._wait_no_more()
        super().connection_lost(exc)

    def _wait_no_more(self) -> None:
        if self._cut is not None:
            self._cut.cancel()


class Socket(_Slow, WebSocketsSansIOProtocol):
    """A web socket that is cut if nothing is read."""


class Connection(_Slow, H11Protocol):
    """A connection for requests: it waits for one only so long, and gives up its place when all are taken."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a request, if there is a place."""
        super().connection_made(transport)
        self._await()
        if len(self.connections) > CONNECTIONS.most:
            self.logger.warning(CONNECTIONS.passed(len(self.connections)))
            waiting = [other for other in self.connections if isinstance(other, Connection) and other.waits]
            min(waiting, key=lambda other: other.since, default=self).give_up()

    @property
    def waits(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def give_up(self) -> None:
        """Leave the place to others."""
        self.connections.discard(self)
        self.transport.abort()

    def _await(self) -> None:
        self.since = self.loop.time()
        self._stop()
        self._deadline = self.loop.call_later(REQUEST_S.most, self.give_up)

    def _stop(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()

    def handle_events(self) -> None:
        """Answer what came; from a whole request on nobody is waited for."""
        before = self.cycle
        super().handle_events()
        if self.cycle is not before:
            self._stop()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._await()
        super().on_response_complete()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hand over to a web socket."""
        self._stop()
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._stop()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Say that a request is none, and nothing more: what came before it is not answered any further."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        try:
            super().send_400_response(msg)
        except h11.LocalProtocolError:  # in the middle of an answer
            self.transport.close()


class SaidOnce(logging.Filter):
    """Lets a line pass once a minute, and what a client did wrong without a traceback."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now = now
        self._said: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether a line is news."""
        if record.exc_info and isinstance(record.exc_info[1], UnicodeDecodeError):
            record.exc_info = None
        if record.exc_info:
            return True
        now = self._now()
        self._said = {line: at for line, at in self._said.items() if now - at < SAID_AGAIN_S}
        line = str(record.msg)
        news = line not in self._said
        self._said.setdefault(line, now)
        return news


def troubled(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Tell of an error of the loop: in one line, if the system takes no more connections."""
    error = context.get("exception")
    if isinstance(error, OSError) and error.errno in FULL:
        logging.getLogger(LOG).warning("no more connections can be taken for now (%s)", error.strerror)
    else:
        loop.default_exception_handler(context)
