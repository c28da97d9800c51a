"""The server: the page, its two sockets, and who may reach them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from importlib import resources
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from fugue_state.config import LiveConfig
from fugue_state.errors import LONGEST_SHOWN, InputError, counted, shown
from fugue_state.files import output_folder
from fugue_state.limits import CONNECTIONS, EACH_TURN, IDLE_S, LISTENERS, PAUSE_S
from fugue_state.live import takes
from fugue_state.live.addresses import ROOT
from fugue_state.live.clients import Bucket, Listener
from fugue_state.live.connections import LOG, Connection, SaidOnce, Socket, troubled
from fugue_state.live.guard import CLOSED, Guard, Origin, address, is_local
from fugue_state.live.osc import OscDoor, osc_socket
from fugue_state.live.programme import House
from fugue_state.live.protocol import RefusedError, read_audio, write
from fugue_state.live.query import ATTRIBUTES, HOST_INFO, Query, asked_of
from fugue_state.live.session import Session
from fugue_state.look import cell
from fugue_state.look.theme import FONTS, Theme, find_theme, stylesheet
from fugue_state.score.model import Score

STATIC = "live/static"
SHARED = "look/page"  # what other pages use, too
JSON = "application/json"
GONE = (WebSocketDisconnect, RuntimeError)  # raised for a socket that closes while something is sent


class Pages:
    """The routes: page, files, takes, OSC addresses and the two sockets.

    `osc_port` returns the port that receives OSC, or None.
    """

    def __init__(self, session: Session, theme: Theme, osc_port: Callable[[], int | None]) -> None:
        self._session, self._theme, self._osc_port = session, theme, osc_port
        self._query = Query(session)
        self._folder = Path(str(resources.files("fugue_state")))

    def routes(self) -> list[Route | Mount | WebSocketRoute]:
        """Return all routes."""
        return [
            Route("/", self._page),
            Route("/health", self._health),
            Route("/osc", self._osc),
            Route(ROOT, self._osc),
            Route(f"{ROOT}/{{path:path}}", self._osc),
            Route("/takes/{name}", self._take),
            Route("/static/theme.css", self._colours),
            Route("/static/cell.js", self._numbers),
            Mount("/static/fonts", StaticFiles(directory=self._folder / FONTS)),
            Mount("/static", StaticFiles(packages=[("fugue_state", STATIC), ("fugue_state", SHARED)])),
            WebSocketRoute("/ws/control", self._control),
            WebSocketRoute("/ws/audio", self._audio),
        ]

    async def _page(self, request: Request) -> Response:
        """Return the page, or the OSC addresses to an OSCQuery client, which does not ask for HTML as browsers do."""
        for_people = "text/html" in request.headers.get("accept", "")
        if asked_of(request.query_params)[0] or (not for_people and self._session.ready):
            return await self._osc(request)
        page = self._folder / STATIC / "index.html"
        return FileResponse(page) if page.is_file() else PlainTextResponse("Fugue State is here; it has no page.\n")

    async def _health(self, _: Request) -> Response:
        return JSONResponse({"state": self._session.state})

    async def _osc(self, request: Request) -> Response:
        asked, strange = asked_of(request.query_params)
        if strange:
            return JSONResponse(
                {"error": f"there is no attribute {shown(strange)}; {', '.join(sorted(ATTRIBUTES))} are"}, 400
            )
        if HOST_INFO in asked:
            return Response(self._query.host(self._osc_port()), media_type=JSON)
        if not self._session.ready:
            return JSONResponse({"state": self._session.state}, 503)
        path = request.url.path
        found = self._query.one("/" if path == "/osc" else path, asked)
        if found is None:
            return JSONResponse({"error": "there is no such address"}, 404)
        return Response(found, media_type=JSON) if found else Response(status_code=204)

    async def _take(self, request: Request) -> Response:
        name, folder = request.path_params["name"], self._session.tapes.folder
        take, _, form = name.rpartition(".")
        if form not in takes.listed(folder).get(take, ()):
            return PlainTextResponse("no such take\n", 404)
        return FileResponse(folder / name, filename=name)

    async def _colours(self, _: Request) -> Response:
        return Response(stylesheet(self._theme), media_type="text/css")

    async def _numbers(self, _: Request) -> Response:
        return Response(cell.script(), media_type="text/javascript")

    async def _control(self, socket: WebSocket) -> None:
        await socket.accept()
        session = self._session
        try:
            client = session.people.join()
        except RefusedError as refused:
            await _turn_away(socket, refused.message)
            return

        async def read(message: str | bytes) -> None:
            session.read(client, message)

        async def tell() -> None:
            while (text := await client.next()) is not None:
                await socket.send_text(text)

        try:
            await _talk(socket, read, tell, client.bucket)
        finally:
            session.leave(client)

    async def _audio(self, socket: WebSocket) -> None:
        await socket.accept()
        session = self._session
        if len(session.people.listeners) >= LISTENERS.most:
            await _turn_away(socket, LISTENERS.passed(len(session.people.listeners) + 1))
            return
        listener = Listener(session.config)
        session.people.listeners.append(listener)

        async def read(message: str | bytes) -> None:
            try:
                credit = read_audio(message, session.config.message_bytes)
                if not listener.bucket.take():
                    raise RefusedError(
                        "too_fast", f"more than {counted(session.config.messages_per_s, 'message')} in a second"
                    )
                listener.give(credit)
            except RefusedError as refused:
                listener.bucket.take()
                await socket.send_text(write("nack", id=None, code=refused.code, message=refused.message))

        async def tell() -> None:
            while (block := await listener.next()) is not None:
                await socket.send_bytes(block)
            await socket.send_text(write("bye", reason=IDLE_S.passed("")))

        try:
            await _talk(socket, read, tell, listener.bucket)
        finally:
            session.people.listeners.remove(listener)


async def _talk(
    socket: WebSocket, read: Callable[[str | bytes], Awaitable[None]], tell: Callable[[], Any], bucket: Bucket
) -> None:
    """Receive and send until one of both ends; a client that sends much yields to the others."""

    async def listen() -> None:
        left = EACH_TURN.most
        while (message := await socket.receive())["type"] != "websocket.disconnect":
            text = message.get("text")
            await read(message["bytes"] if text is None else text)
            left -= 1
            if not left:
                left = EACH_TURN.most
                await asyncio.sleep(PAUSE_S.most if bucket.is_empty else 0)

    work = [asyncio.create_task(listen()), asyncio.create_task(tell())]
    try:
        done, _ = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)
    for task in done:
        with contextlib.suppress(*GONE):
            task.result()
    if socket.client_state is WebSocketState.CONNECTED and socket.application_state is WebSocketState.CONNECTED:
        with contextlib.suppress(*GONE):
            await socket.close()


async def _turn_away(socket: WebSocket, why: str) -> None:
    with contextlib.suppress(*GONE):
        await socket.send_text(write("bye", reason=why))
        await socket.close(CLOSED)


class Server(uvicorn.Server):
    """Serves a session: answers while the session still opens, and closes it before the sockets.

    OSC comes to the socket `osc`, if there is one. `problems` are what kept the session from being opened; then the
    server ends.
    """

    def __init__(
        self,
        session: Session,
        score: Score,
        token: str | None,
        origins: Sequence[Origin] = (),
        osc: socket.socket | None = None,
    ) -> None:
        app = Starlette(routes=Pages(session, find_theme(), self._osc_port).routes(), lifespan=self._lifespan)
        super().__init__(
            uvicorn.Config(
                Guard(app, session.config.host, token, origins),
                http=Connection,
                ws=Socket,
                backlog=int(CONNECTIONS.most),
                log_level="warning",
                lifespan="on",
                ws_max_size=session.config.socket_bytes,
                ws_per_message_deflate=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=2,
            )
        )
        self.problems: list[BaseException] = []
        self._session, self._score, self._osc = session, score, osc
        self._door: OscDoor | None = None

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        asyncio.get_running_loop().set_exception_handler(troubled)
        self._opening = asyncio.create_task(self._open())
        self._opening.add_done_callback(self._opened)
        log, said = logging.getLogger(LOG), SaidOnce()
        log.addFilter(said)
        yield
        log.removeFilter(said)

    async def _open(self) -> None:
        if self._osc is not None:
            self._door = await OscDoor.open(self._session, self._osc)
        await asyncio.gather(self._session.open(self._score), self._session.recover())

    def _osc_port(self) -> int | None:
        return None if self._door is None else self._door.port

    def _opened(self, opening: asyncio.Task[None]) -> None:
        """End the server if the session could not be opened."""
        problem = None if opening.cancelled() else opening.exception()
        if problem is not None:
            self.problems.append(problem)
            self.should_exit = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's
        """End in order, even on repeated Ctrl-C."""
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Complete the take and say goodbye to clients before the sockets close."""
        self._opening.cancel()
        if self._door is not None:
            self._door.close()
        await self._session.close()
        await super().shutdown(sockets)


def bound(host: str, port: int) -> socket.socket:
    """Return a socket that listens; InputError if the address is taken or not this machine's."""
    host = host.removeprefix("[").removesuffix("]")
    kind = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(kind)
    if sys.platform != "win32":  # there, this option would share the port with another server
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if kind == socket.AF_INET6:
        listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # so that "::" listens on IPv4, too
    try:
        listening.bind((host, port))
        listening.listen()
    except (OSError, UnicodeError) as error:  # UnicodeError: a part of the name is too long
        listening.close()
        why = getattr(error, "strerror", None) or "no name of a machine"
        raise InputError(
            f"{host[:LONGEST_SHOWN]}:{port} cannot be used ({why}); choose another --port or --host"
        ) from None
    return listening


@contextlib.contextmanager
def _takes(folder: Path) -> Iterator[None]:
    """Make sure that takes can be kept in a folder; if it is made for a session that fails, it goes again."""
    was_there = folder.exists()
    output_folder(folder)
    try:
        yield
    except Exception:
        if not was_there:
            with contextlib.suppress(OSError):  # it holds takes
                folder.rmdir()
        raise


def play(score: Score, config: LiveConfig, house: House, tell: Callable[[Sequence[str]], None]) -> None:
    """Serve until Ctrl-C; `tell` is told the addresses of the page, the best one first, once all ports are bound.

    Clients from the network, or through a proxy at one of the origins of `config`, need the token in the address.
    Raises InputError for an address that cannot be used, or a score that cannot be played.
    """
    origins = [Origin.named(text) for text in config.origins]
    session = Session(config, house)
    opened = not all(is_local(host) for host in (config.host, *(origin.name for origin in origins)))
    token = secrets.token_urlsafe(12) if opened else None
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(bound(config.host, config.port))
        osc = stack.enter_context(osc_socket(config.osc_host, config.osc_port)) if config.osc else None
        stack.enter_context(_takes(Path(config.takes)))
        port = listening.getsockname()[1]
        server = Server(session, score, token, origins, osc)
        tell([address(config.host, port, token, origin) for origin in (*origins, None)])
        server.run(sockets=[listening])
        for error in server.problems:
            raise error
