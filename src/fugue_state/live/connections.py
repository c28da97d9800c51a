"""Connections: limits on their number and idle time, and the log of those that fail."""

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
    """A connection that is cut if the client does not read."""

    transport: asyncio.Transport
    loop: asyncio.AbstractEventLoop
    _cut: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        """Wait for the client to read, but not for ever."""
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
    """A web socket that is cut if the client does not read."""


class Connection(_Slow, H11Protocol):
    """A connection for requests: it is closed if none comes for long, or earlier if all places are taken."""

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
        """Whether it is idle, answering no request."""
        return self.cycle is None or self.cycle.response_complete

    def give_up(self) -> None:
        """Give up the place."""
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
        """Answer data that came; the waiting time ends with a whole request."""
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
        """Answer that a request is malformed, and close: earlier requests get no further answer."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        try:
            super().send_400_response(msg)
        except h11.LocalProtocolError:  # in the middle of an answer
            self.transport.close()


class SaidOnce(logging.Filter):
    """Lets each line of the log pass once a minute, and a client's mistakes without a traceback."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now = now
        self._said: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a line is to be logged."""
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
    """Log an error of the loop; in one line if the system accepts no more connections."""
    error = context.get("exception")
    if isinstance(error, OSError) and error.errno in FULL:
        logging.getLogger(LOG).warning("no more connections can be taken for now (%s)", error.strerror)
    else:
        loop.default_exception_handler(context)
