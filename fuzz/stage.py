"""A server that is played on while it is sent what is malformed; whatever goes wrong in it, on any thread, is found."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import random
import re
import shutil
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Self
from unittest import mock

from websockets.sync.client import connect

from fugue_state.config import LiveConfig
from fugue_state.engine.performance import Performance
from fugue_state.errors import FugueError, OutputError, why
from fugue_state.live import aside, tapes
from fugue_state.live.programme import House
from fugue_state.live.server import Server, bound
from fugue_state.live.session import Session
from fugue_state.memory.memory import Memory
from fugue_state.score.model import Score
from fugue_state.score.paths import PATHS
from fugue_state.settings import checked

from .running import PATIENCE_S, HangError
from .tiny import memory

TOKEN = "token"  # noqa: S105 - of this server
TINY = "tiny"
TAKE = "take-001"
AT_ONCE = 300  # messages of a client; those that come in a burst are more
LOGS = (None, "uvicorn.error", "asyncio")
# As a line names an error that nobody meant.
AN_ERROR = re.compile(r"\b[A-Z]\w*(Error|Exception|Iteration)\b|(^| )/\S+ failed")
NUMBERS = (1, 1, 1, 1, 1, 2, 2, 3, 5, 6, 16, 17, 0, 9999)  # of layers, units and banks
TEXTS = ("", "Am", "C", "H", "saliency", "random", "draft", "live", "take-999", "here")
SET = tuple(known for known in PATHS if not known.told)


class RefusedError(Exception):
    """What the server says of what it does not follow."""


class Stage:
    """A server on a tiny memory, in a thread of its own."""

    def __init__(self, folder: Path) -> None:
        self._tiny = str(memory(folder / f"{TINY}.safetensors"))
        self.memories = (self._tiny, str(memory(folder / "other.safetensors", 2)), "damaged")
        self.takes = folder / "takes"
        self.takes.mkdir()
        config = LiveConfig(
            port=0, osc=False, takes=str(self.takes), buffer_ms=500.0, messages_at_once=AT_ONCE, lease_s=1.0
        )
        house = House(self.memories, Memory.load, Performance, _render)
        self.session = Session(config, house)
        self._listening = bound("127.0.0.1", 0)
        self.port = self._listening.getsockname()[1]
        voices = [{"chords": ["Am", "-", "C", "-"]}]
        score = checked(Score, {"memory": self._tiny, "quality": "draft", "voices": voices, "forgetting": {"to": 0.0}})
        self._server = Server(self.session, score, TOKEN)
        self._thread = threading.Thread(target=lambda: self._server.run(sockets=[self._listening]), daemon=True)
        self.wrong: list[BaseException] = []

    @contextlib.contextmanager
    def opened(self) -> Iterator[Self]:
        """Serve, and note what goes wrong."""
        lines = _Lines(self.wrong)
        for name in LOGS:
            logging.getLogger(name).addHandler(lines)
        self.session.people.followers.append(self._hear)
        with mock.patch.object(aside, "Aside", Here), mock.patch.object(tapes, "Aside", Here):
            self._thread.start()
            try:
                self._begin()
                yield self
            finally:
                self._server.should_exit = True
                self._thread.join(PATIENCE_S)
                self._listening.close()
                for name in LOGS:
                    logging.getLogger(name).removeHandler(lines)

    def _begin(self) -> None:
        """Wait until all is ready, and record a take."""
        waited(lambda: self.session.ready or self._server.problems)
        for problem in self._server.problems:
            raise problem
        with self.hand() as hand:
            for path, *args in (("/rec/start",), ("/play", 1), ("/rec/stop",), ("/hush",)):
                hand.set(path, *args)
        self.settle()

    def _hear(self, kind: str, values: Mapping[str, Any]) -> None:
        if kind == "notice":
            self.note(values["text"])

    def note(self, text: str) -> None:
        """Note a line that tells of an error which nobody meant."""
        if AN_ERROR.search(text):
            self.wrong.append(AssertionError(f"told: {text}"))

    def hand(self) -> Hand:
        """Return somebody who says hello at the control socket."""
        hand = Hand(self)
        hand.send({"type": "hello"})
        hand.welcome = hand.until(lambda message: message["type"] == "welcome")
        return hand

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Do something on the loop of the server."""
        try:
            return asyncio.run_coroutine_threadsafe(work, self._server.servers[0].get_loop()).result(PATIENCE_S)
        except TimeoutError:
            raise HangError from None

    def check(self) -> None:
        """Raise what went wrong; HangError if the session or its clock no longer answers. Then all is as before."""
        self.settle()
        if self.wrong:
            first, self.wrong[:] = self.wrong[0], []
            raise first

    def settle(self) -> None:
        """Ask how things are until they are as they were in the beginning."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            with self.hand() as hand:
                left = self._left(hand.welcome)
                for path, *args in left:
                    hand.set(path, *args)
            done = threading.Event()
            self.session.player.do(done.set)
            if not done.wait(PATIENCE_S):
                raise HangError
            self.do(asyncio.sleep(0))  # what the clock told before is heard
            if not left:
                return
            time.sleep(0.005)
        raise HangError

    def _left(self, welcome: dict[str, Any]) -> list[tuple[Any, ...]]:
        """Return what is still to be done until all is as it was."""
        if welcome["recording"]:
            return [("/rec/stop",)]
        if self.session.programme.loading or self.session.tapes.finishing or self.session.work.tasks:
            return [("/ping",)]
        if welcome["state"] == "replaying":
            return [("/replay", "")]
        if welcome["memory"]["name"] != TINY:
            return [("/memory", self._tiny)]
        for path in self.takes.iterdir():
            if path.stem != TAKE or path.suffix == ".wav":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        return [("/freeze", 0), ("/play", 0)] if welcome["state"] in {"playing", "frozen"} else []


class Hand:
    """A control socket that somebody holds who says what is right."""

    def __init__(self, stage: Stage) -> None:
        self._open = contextlib.ExitStack()
        address = f"ws://127.0.0.1:{stage.port}/ws/control?token={TOKEN}"
        self.socket = self._open.enter_context(connect(address, compression=None, max_size=None, close_timeout=0.2))
        self.welcome: dict[str, Any] = {}
        self._numbers = itertools.count(2**40)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._open.close()

    def send(self, message: Any) -> None:
        """Send a message."""
        self.socket.send(json.dumps(message))

    def until(self, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Return the next message that fits; HangError if none comes."""
        end = time.monotonic() + PATIENCE_S
        while (left := end - time.monotonic()) > 0:
            with contextlib.suppress(TimeoutError):
                message: dict[str, Any] = json.loads(self.socket.recv(timeout=left))
                if fits(message):
                    return message
        raise HangError

    def set(self, path: str, *args: Any) -> dict[str, Any]:
        """Move a control; return what is said of it."""
        number = next(self._numbers)
        self.send({"type": "set", "path": path, "args": args, "id": number})
        return self.until(lambda message: message.get("id") == number)


class _Lines(logging.Handler):
    """Notes what is logged with a traceback."""

    def __init__(self, wrong: list[BaseException]) -> None:
        super().__init__()
        self._wrong = wrong

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            self._wrong.append(record.exc_info[1])


class Here:
    """Work that is done here: another process takes seconds to begin."""

    def __init__(self, work: Callable[..., Any], *given: Any, hear: Callable[[Any], None] | None = None) -> None:
        self._work = partial(work, *given, **({"tell": hear} if hear else {}))

    def result(self) -> Any:
        """Return what it returns; what goes wrong is told as by another process."""
        try:
            return self._work()
        except FugueError:
            raise
        except Exception as error:
            raise OutputError(why(error)) from error

    def end(self) -> None:
        """Let it end by itself."""


def _render(take: Path, tell: Callable[[float], None]) -> None:
    """Render a take, as far as the session can tell."""
    tell(0.5)
    take.with_suffix(".wav").write_bytes(b"finer")


@contextlib.contextmanager
def cut_at_will() -> Iterator[None]:
    """Let the other side end a connection at any time; HangError if it does nothing."""
    try:
        yield
    except TimeoutError:
        raise HangError from None
    except OSError:
        pass


def waited(what: Callable[[], Any]) -> Any:
    """Wait until something is so; HangError if it never is."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.005)
    raise HangError


def moved(source: random.Random, stage: Stage) -> tuple[str, list[Any]]:
    """Return a control and values for it that are mostly right."""
    known = source.choice(SET if source.random() < 0.9 else PATHS)
    path = re.sub("<[nkb]>", lambda _: str(source.choice(NUMBERS)), known.pattern)
    if known.kind == "trigger":
        return path, source.choice(([], [], [1], [0]))
    if known.kind == "bytes":
        return path, [source.randbytes(source.choice((1, 4, 8, 16, 32, 64, 4096, 4097)))]
    if known.kind == "string":
        named = {"/memory": stage.memories, "/replay": (TAKE, "", "take-999"), "/render": (TAKE, "take-999")}
        return path, [source.choice(named.get(path, known.choices or TEXTS))]
    low, high = max(-1e6, known.minimum), min(1e6, known.maximum)
    value = source.choice((low, high, source.uniform(low, high), 0, 1))
    return path, [round(value) if known.kind == "int" else value]
