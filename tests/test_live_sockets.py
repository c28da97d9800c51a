"""Sockets under fire: too many, too slow, too fast, and what is no HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import errno
import json
import logging
import random
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import httpx
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from fugue_state.config import LiveConfig
from fugue_state.limits import LISTENERS, PAUSE_S
from fugue_state.live import clients, connections
from fugue_state.live.clients import Bucket, Listener, PageClient
from fugue_state.live.connections import SaidOnce, troubled
from fugue_state.live.protocol import Credit, write
from fugue_state.live.server import _talk

from .live_stage import PATIENCE_S, Ear, Stage, wait_for


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with Stage(tmp_path / "takes") as opened:
        yield opened


def limited(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, most: float) -> None:
    monkeypatch.setattr(module, name, dataclasses.replace(getattr(module, name), most=most))


def raw(stage: Stage, *parts: bytes) -> bytes:
    """All that is answered to some bytes."""
    with socket.create_connection(("127.0.0.1", stage.port), PATIENCE_S) as line:
        heard = b""
        with contextlib.suppress(ConnectionError):
            for part in parts:
                line.sendall(part)
            with contextlib.suppress(OSError):  # the server may have hung up
                line.shutdown(socket.SHUT_WR)
            while more := line.recv(65_536):
                heard += more
        return heard


class Lines(logging.Handler):
    """What is logged while it is open; the server's log is set up anew with every server."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def saying(self, text: str) -> int:
        return sum(text in record.getMessage() for record in self.records)

    @property
    def tracebacks(self) -> list[logging.LogRecord]:
        return [record for record in self.records if record.exc_info]

    def __enter__(self) -> Self:
        for name in (connections.LOG, "asyncio"):
            logging.getLogger(name).addHandler(self)
        return self

    def __exit__(self, *exc: object) -> None:
        for name in (connections.LOG, "asyncio"):
            logging.getLogger(name).removeHandler(self)


GOOD = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
ODD = [
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"\x00\x01\x02\r\n\r\n",
    b"GET / HTTP/1.1\r\n no: header\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /%ff%00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /?token=%ff HTTP/1.1\r\nHost: localhost\r\nCookie: \xff=\xfe\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
    b"GET /ws/control HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"GET /ws/control HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
    b"POST /ws/control HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
]


def test_what_is_no_http_is_a_line_and_never_a_traceback(stage: Stage) -> None:
    with Lines() as lines:
        send_odd(stage)
        assert httpx.get(f"{stage.http}/health").status_code == 200
    assert not lines.tracebacks
    assert lines.saying("Invalid HTTP") == 1


def send_odd(stage: Stage) -> None:
    draw = random.Random(3)
    for odd in ODD:
        for parts in ([odd], [GOOD + odd], [GOOD, odd], [odd, GOOD], [odd + odd + GOOD]):
            raw(stage, *parts)
    for _ in range(150):
        data = bytearray(GOOD + draw.choice(ODD)[:300] + GOOD)
        for _ in range(draw.randrange(1, 4)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        raw(stage, bytes(data))


def test_text_that_is_none_closes_the_socket_and_is_no_traceback(stage: Stage) -> None:
    with Lines() as lines, connect(f"{stage.ws}/ws/control", compression=None) as client:
        client.socket.sendall(b"\x81\x82\x00\x00\x00\x00\xff\xfe")
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=PATIENCE_S)
    assert not lines.tracebacks
    assert lines.saying("Invalid UTF-8") == 1


@pytest.mark.parametrize("where", ["control", "audio"])
@pytest.mark.parametrize("wrong", [b"\x83\x80\0\0\0\0", b"\x81\x82\0\0\0\0\xff\xfe"])
def test_who_breaks_the_rules_while_being_answered_is_no_traceback(stage: Stage, where: str, wrong: bytes) -> None:
    with Lines() as lines, connect(f"{stage.ws}/ws/{where}", compression=None) as client:
        client.socket.sendall(b"\x81\x82\0\0\0\0{}" + wrong)
        with contextlib.suppress(ConnectionClosed):
            while True:
                client.recv(timeout=PATIENCE_S)
    wait_for(lambda: not stage.session.people.listeners and not stage.session.people.clients)
    assert not lines.tracebacks


def is_cut(line: socket.socket) -> bool:
    line.settimeout(PATIENCE_S)
    try:
        return line.recv(1) == b""
    except ConnectionError:
        return True


@pytest.mark.parametrize(
    "said", [b"", b"GET / HT", GOOD + b"GET /", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"]
)
def test_who_never_asks_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    limited(monkeypatch, connections, "REQUEST_S", 0.1)
    with Stage(tmp_path / "takes") as stage, socket.create_connection(("127.0.0.1", stage.port)) as line:
        line.sendall(said)
        line.settimeout(PATIENCE_S)
        with contextlib.suppress(ConnectionError):
            while line.recv(65_536):
                pass


def test_of_too_many_connections_the_one_that_waits_longest_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited(monkeypatch, connections, "CONNECTIONS", 6)
    opened = contextlib.ExitStack()
    with Stage(tmp_path / "takes") as stage, stage.hand() as hand, Lines() as lines_said, opened:
        lines = [opened.enter_context(socket.create_connection(("127.0.0.1", stage.port))) for _ in range(60)]
        assert all(is_cut(line) for line in lines[:54])
        assert httpx.get(f"{stage.http}/health").status_code == 200
        hand.done("/ping")
        assert len(stage.server.server_state.connections) <= 6
    assert lines_said.saying("at most 6 connections") == 1


def test_no_more_files_is_one_line_and_no_traceback() -> None:
    async def fail() -> None:
        loop = asyncio.get_running_loop()
        for _ in range(3):
            error = OSError(errno.EMFILE, "Too many open files")
            troubled(loop, {"message": "socket.accept() out of system resource", "exception": error})

    with Lines() as lines:
        asyncio.run(fail())
    assert lines.saying("no more connections") == 3
    assert not lines.tracebacks
    now = [0.0]
    said = SaidOnce(lambda: now[0])
    news = [said.filter(record) for record in lines.records]
    now[0] = 61.0
    assert [*news, said.filter(lines.records[0])] == [True, False, False, True]


def test_errors_of_the_program_itself_are_told_in_full() -> None:
    said = SaidOnce()
    for error in (ValueError("x"), ValueError("x")):
        record = logging.LogRecord("a", logging.ERROR, "", 0, "it failed", (), (ValueError, error, None))
        assert said.filter(record)
        assert record.exc_info


def test_a_listener_too_many_is_told_so(stage: Stage) -> None:
    with contextlib.ExitStack() as opened:
        for _ in range(int(LISTENERS.most)):
            opened.enter_context(Ear(stage))
        wait_for(lambda: len(stage.session.people.listeners) == LISTENERS.most)
        with connect(f"{stage.ws}/ws/audio", compression=None) as late:
            told = json.loads(late.recv(timeout=PATIENCE_S))
            assert told == {"type": "bye", "reason": "33 listeners are too many: at most 32 listeners"}
            with pytest.raises(ConnectionClosed):
                late.recv(timeout=PATIENCE_S)
        assert len(stage.session.people.listeners) == LISTENERS.most
    wait_for(lambda: not stage.session.people.listeners)


def test_who_asks_for_no_sound_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, clients, "IDLE_S", 1.0)
    with Stage(tmp_path / "takes") as stage, Ear(stage) as waiting, Ear(stage, credit=None) as idle:
        assert json.loads(idle.socket.recv(timeout=PATIENCE_S))["type"] == "bye"
        with pytest.raises(ConnectionClosed):
            idle.socket.recv(timeout=PATIENCE_S)
        with stage.hand() as hand:  # who has asked waits as long as nothing plays
            hand.done("/play", 1)
            assert waiting.block()[0] == 44_100


def test_who_does_not_read_is_let_go_and_told_nothing_more() -> None:
    async def meet() -> list[str | None]:
        client = PageClient(LiveConfig(waiting=16))
        for number in range(40):
            client.say(write("notice", text=str(number)))
            client.show("frame", write("frame"))
        return [await client.next(), await client.next()]

    told, end = asyncio.run(meet())
    assert told is not None
    assert json.loads(told)["reason"].startswith("too slow")
    assert end is None


def test_who_reads_ever_later_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    async def meet() -> str:
        client = PageClient(LiveConfig())
        for _ in range(40):
            now[0] += 1.0
            client.say(write("notice"))
        return str(await client.next())

    assert json.loads(asyncio.run(meet()))["type"] == "bye"


def test_who_reads_nothing_at_all_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, connections, "SLOW_S", 0.2)
    with Stage(tmp_path / "takes") as stage, stage.hand() as hand, socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", stage.port))
        deaf.sendall(b"GET /osc HTTP/1.1\r\nHost: localhost\r\n\r\n" * 400)
        wait_for(lambda: len(stage.server.server_state.connections) == 2)
        wait_for(lambda: len(stage.server.server_state.connections) == 1)
        hand.done("/ping")


class Talker:
    """A socket on which everything has come already."""

    def __init__(self, messages: int) -> None:
        self.left = messages

    client_state = application_state = None

    async def receive(self) -> dict[str, Any]:
        self.left -= 1
        return {"type": "websocket.receive", "text": "x"} if self.left >= 0 else {"type": "websocket.disconnect"}


def test_whoever_says_much_lets_others_have_their_turn() -> None:
    async def turns(bucket: Bucket, messages: int) -> tuple[int, list[float]]:
        others, pauses, sleep = 0, [], asyncio.sleep

        async def slept(seconds: float) -> None:
            pauses.append(seconds)
            await sleep(0)

        async def read(_: str | bytes) -> None:
            bucket.take()

        async def tell() -> None:
            nonlocal others
            while True:
                others += 1
                await sleep(0)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(asyncio, "sleep", slept)
            talker: Any = Talker(messages)
            await _talk(talker, read, tell, bucket)
        return others, pauses

    calm, none = asyncio.run(turns(Bucket(1e9, 1e9), 1600))
    assert calm >= 100
    assert set(none) == {0}
    _, pauses = asyncio.run(turns(Bucket(1e-9, 160), 1600))
    assert pauses[:9] == [0] * 9
    assert set(pauses[10:]) == {PAUSE_S.most}


@pytest.mark.alone  # it must hear every block
def test_a_burst_does_not_hold_up_the_sound(stage: Stage) -> None:
    with stage.hand() as hand, Ear(stage) as ear, connect(f"{stage.ws}/ws/control", compression=None) as loud:
        hand.done("/play", 1)
        ear.block()
        loud.send('{"type":"hello"}')
        for number in range(5000):
            loud.send(json.dumps({"type": "set", "path": "/forget", "args": [0.5], "id": number}))
        at = ear.block()[2]
        for _ in range(40):
            block = ear.block()
            assert block[2] == at + 1024
            at = block[2]
        hand.done("/ping")


def test_hello_again_and_again_is_refused(tmp_path: Path) -> None:
    with Stage(tmp_path / "takes", messages_per_s=0.001, messages_at_once=120) as stage, stage.hand() as hand:
        for _ in range(4):
            hand.send({"type": "hello"})
        assert [hand.next()["type"] for _ in range(4)] == ["welcome", "welcome", "nack", "nack"]


def test_credit_is_asked_for_only_so_often(tmp_path: Path) -> None:
    with Stage(tmp_path / "takes", messages_per_s=0.001, messages_at_once=5) as stage, Ear(stage, credit=None) as ear:
        for _ in range(6):
            ear.socket.send('{"type":"credit","blocks":1}')
        assert json.loads(ear.socket.recv(timeout=PATIENCE_S))["code"] == "too_fast"


def test_a_listener_takes_credit_as_before() -> None:
    async def listen() -> bytes | None:
        listener = Listener(LiveConfig())
        listener.give(Credit(type="credit", blocks=1))
        listener.push(0, np.zeros((4, 2), np.float32), 44_100)
        return await listener.next()

    assert asyncio.run(listen())
