"""A live server on the test double, and clients that speak to its real sockets."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from websockets.sync.client import ClientConnection, connect

from fugue_state.config import LiveConfig
from fugue_state.errors import CheckpointError, OutputError
from fugue_state.live.clients import Client
from fugue_state.live.osc import osc_socket
from fugue_state.live.programme import House
from fugue_state.live.protocol import read_audio_block
from fugue_state.live.server import Server, bound
from fugue_state.live.session import Session
from fugue_state.score.model import Score

from .fake_performance import FakePerformance, fake_memory

PATIENCE_S = 120.0


def load(name: str) -> Any:
    """Memories by name; one is damaged."""
    if name == "damaged":
        raise CheckpointError("damaged.safetensors: damaged or not a checkpoint")
    return fake_memory(name, {"deconv1": 8, "deconv2": 4} if name == "small" else {"deconv1": 32, "deconv2": 16})


def render(take: Path, tell: Callable[[float], None]) -> None:
    """Render a take once there is a file `go` beside it, or fail if there is one `no`."""
    tell(0.25)
    wait_for(lambda: any((take.parent / name).exists() for name in ("go", "no")))
    if (take.parent / "no").exists():
        raise OutputError("the disk is full")
    take.with_suffix(".wav").write_bytes(b"finer")


HOUSE = House(("fake", "small", "damaged"), load, FakePerformance, render)


class Hand:
    """A control socket."""

    def __init__(self, where: str, *, hello: dict[str, Any] | None = None, **options: Any) -> None:
        self._open = contextlib.ExitStack()
        self.socket: ClientConnection = self._open.enter_context(
            connect(f"{where}/ws/control", compression=None, max_size=None, close_timeout=0.2, **options)
        )
        self.heard: list[dict[str, Any]] = []
        self._numbers = itertools.count(1)
        if hello is not None:
            self.send({"type": "hello", **hello})
            self.welcome = self.until("welcome")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._open.close()

    def send(self, message: Any) -> None:
        self.socket.send(message if isinstance(message, str | bytes) else json.dumps(message))

    def next(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self.socket.recv(timeout=PATIENCE_S))
        self.heard.append(message)
        return message

    def until(self, kind: str, **values: Any) -> dict[str, Any]:
        """The next message of a kind with these values."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            message = self.next()
            if message["type"] == kind and all(message.get(key) == value for key, value in values.items()):
                return message
        raise TimeoutError(f"no {kind} {values}")

    def seen(self, kind: str, **values: Any) -> dict[str, Any]:
        """The last message of a kind with these values, or the next one."""
        for message in self.heard[::-1]:
            if message["type"] == kind and all(message.get(key) == value for key, value in values.items()):
                return message
        return self.until(kind, **values)

    def set(self, path: str, *args: Any, **more: Any) -> dict[str, Any]:
        """Move a control; its answer."""
        number = next(self._numbers)
        self.send({"type": "set", "path": path, "args": args, "id": number, **more})
        while (message := self.next()).get("id") != number:
            pass
        return message

    def refused(self, code: str, path: str, *args: Any) -> str:
        answer = self.set(path, *args)
        assert answer["type"] == "nack", answer
        assert answer["code"] == code, answer
        return str(answer["message"])

    def keep(self) -> None:
        """End the take, and wait until it is complete."""
        self.done("/rec/stop")
        self.until("event", what="take", did="kept")

    def done(self, path: str, *args: Any, **more: Any) -> dict[str, Any]:
        answer = self.set(path, *args, **more)
        assert answer["type"] == "ack", answer
        return answer


class Ear:
    """An audio socket."""

    def __init__(self, stage: Stage, credit: int | None = 10_000, form: str = "float32") -> None:
        self._open = contextlib.ExitStack()
        self.socket: ClientConnection = self._open.enter_context(
            connect(f"{stage.ws}/ws/audio", compression=None, max_size=None, close_timeout=0.2)
        )
        if credit is not None:
            self.socket.send(json.dumps({"type": "credit", "blocks": credit, "format": form}))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._open.close()

    def block(self, timeout: float = PATIENCE_S) -> tuple[int, int, int, npt.NDArray[np.float32]]:
        message = self.socket.recv(timeout=timeout)
        assert isinstance(message, bytes)
        return read_audio_block(message)


class Noted(Session):
    """A session that keeps all that it was asked for; while it is deaf it hears of nothing."""

    def __init__(self, config: LiveConfig, house: House) -> None:
        super().__init__(config, house)
        self.sets: list[tuple[str, list[Any]]] = []
        self.deaf = False

    def set(self, client: Client, path: str, args: Sequence[Any], number: int, by: str | None = None) -> None:
        if not self.deaf:
            self.sets.append((path, list(args)))
            super().set(client, path, args, number, by)


class Stage:
    """A server in a thread, ready to play unless it is not waited for."""

    def __init__(
        self,
        takes: Path,
        house: House = HOUSE,
        token: str | None = None,
        *,
        score: Score | None = None,
        waits: bool = True,
        **settings: Any,
    ) -> None:
        takes.mkdir(exist_ok=True)
        self._waits = waits
        defaults = {
            "port": 0,
            "osc": False,
            "takes": str(takes),
            "buffer_ms": 500.0,
            "behind": 100.0,
            "sync_s": 0.05,
            "volume": 0.25,
        }
        self.config = LiveConfig.model_validate(defaults | settings)
        self.session = Noted(self.config, house)
        self._listening = bound("127.0.0.1", self.config.port)
        self.port = self._listening.getsockname()[1]
        self._osc = osc_socket(self.config.osc_host, self.config.osc_port) if self.config.osc else None
        self.server = Server(self.session, score or Score(memory="fake"), token, osc=self._osc)
        self._thread = threading.Thread(target=lambda: self.server.run(sockets=[self._listening]), daemon=True)

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def performance(self) -> FakePerformance:
        found = self.session.part.performance
        assert isinstance(found, FakePerformance)
        return found

    def __enter__(self) -> Self:
        self._thread.start()
        wait_for(lambda: self.session.ready or bool(self.server.problems) or not self._waits)
        return self

    def __exit__(self, *exc: object) -> None:
        self.end()

    def end(self) -> None:
        self.server.should_exit = True
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        self._listening.close()
        if self._osc is not None:
            self._osc.close()

    def kill(self) -> None:
        """End like a process that is killed: all sockets are cut, nobody is told."""
        [serving] = self.server.servers

        def cut() -> None:
            serving.close()
            for connection in list(self.server.server_state.connections):
                connection.transport.abort()

        serving.get_loop().call_soon_threadsafe(cut)
        self.end()

    def hand(self, **options: Any) -> Hand:
        hello = {"name": "someone"} | options
        return Hand(self.ws, hello=hello)


def wait_for(what: Callable[[], Any]) -> Any:
    """Wait until something is so."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.005)
    raise TimeoutError("it never came")


def strengths(grid: str) -> list[int]:
    """What a grid in base64 says."""
    return list(base64.b64decode(grid))
