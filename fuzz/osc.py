"""Datagrams that are malformed, or OSC that asks for what cannot be."""

from __future__ import annotations

import asyncio
import contextlib
import random
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pythonosc.osc_message import OscMessage

from fugue_state.limits import OSC_AHEAD_S
from fugue_state.live.addresses import ROOT
from fugue_state.live.agenda import Agenda
from fugue_state.live.osc import OscDoor, written

from .mutations import mutated, wild
from .running import PATIENCE_S, Case, Make
from .stage import RefusedError, Stage, moved

NEAR = "127.0.0.1"
SENDERS = (NEAR, NEAR, NEAR, "192.0.2.7", "::1", "2001:db8::7")  # those of documentation: nothing is sent to them
PORT = 9700
NOW = 1_700_000_000.0  # by the clock of these bundles
FROM_1900 = 2_208_988_800
TIMES = (0.0, 0.0, 0.0, NOW - 60, NOW + 0.5, NOW + 599, NOW + 601, NOW + 2e8)
PATTERNS = (
    "*", "?", "[1-3]", "[!a]", "{1,2}", "{,}", "[", "]", "{", "}", "{a,[b]}", "[z-a]", "[]", "[!]", "**", "*" * 20,
    "{" * 9, "[\x00-\x7f]", "x" * 300, "",
)  # fmt: skip
TAGS = "ifsbhdSTFINrmtc[]\x00\xff,"
FLOATS = (0x7FC00000, 0x7F800000, 0xFF800000, 0x00000001, 0x80000000)  # NaN, infinities, the smallest, minus nothing


class Lent(asyncio.DatagramTransport):
    """A transport by which nothing leaves: what is sent is kept."""

    def __init__(self) -> None:
        super().__init__({"sockname": (NEAR, PORT)})
        self.sent: list[tuple[bytes, Any]] = []

    def sendto(self, data: Any, addr: Any = None) -> None:
        """Keep a datagram."""
        self.sent.append((bytes(data), addr))

    def close(self) -> None:
        """Do nothing."""


class Heard:
    """A door for OSC whose datagrams are handed in on the loop of a server, and whose clock is moved by hand."""

    def __init__(self, stage: Stage) -> None:
        self._now, self._stage, self._transport = NOW, stage, Lent()
        stage.do(self._open())

    async def _open(self) -> None:
        self._door = OscDoor(self._stage.session)
        self._door.connection_made(self._transport)
        self._door._agenda = Agenda(asyncio.get_running_loop(), lambda: self._now)
        self._stage.session.people.followers.append(self._door.follow)

    async def follow(self, datagrams: list[bytes], sender: tuple[str, int]) -> list[tuple[bytes, Any]]:
        """Follow datagrams, also those that are to wait; return what is answered. What is said next is heard, too."""
        door, sent = self._door, self._transport.sent
        sent.clear()
        for data in datagrams:
            door.datagram_received(data, sender)
        self._now += OSC_AHEAD_S.most + 1
        door._agenda._work()
        async with asyncio.timeout(PATIENCE_S):
            while door._agenda._entries:
                await asyncio.sleep(0)
        answered = sent[:]
        sent.clear()
        door.datagram_received(written("/ping", []), (NEAR, 9))
        if not any(data == written("/pong", []) for data, _ in sent):
            raise AssertionError(f"a ping is answered by {sent}")
        return answered

    def close(self) -> None:
        """Hear no more."""
        self._stage.session.people.followers.remove(self._door.follow)


@contextlib.contextmanager
def osc(folder: Path) -> Iterator[Make]:
    """Messages, patterns and bundles of which bytes, types, lengths or times are wrong, some after each other."""
    with Stage(folder).opened() as stage, contextlib.closing(Heard(stage)) as heard:

        def make(source: random.Random) -> Case:
            datagrams = [_datagram(source, stage) for _ in range(source.choice((1, 1, 2, 5)))]
            sender = source.choice(SENDERS), source.choice((9, 9701, PORT, 65_535))
            return Case(repr(datagrams)[:300], lambda: _tried(stage, heard, datagrams, sender))

        yield make


def _tried(stage: Stage, heard: Heard, datagrams: list[bytes], sender: tuple[str, int]) -> None:
    try:
        refused = ""
        for data, _ in stage.do(heard.follow(datagrams, sender)):
            message = OscMessage(data)
            if not message.address.startswith(f"{ROOT}/"):
                raise AssertionError(f"answered by {message.address}")
            if message.address == f"{ROOT}/error":
                stage.note(message.params[0])
                refused = refused or message.params[0]
        if refused:
            raise RefusedError(refused)
    finally:
        stage.check()


def _datagram(source: random.Random, stage: Stage) -> bytes:
    """Return a datagram."""
    what = source.random()
    if what < 0.05:
        return source.randbytes(source.choice((0, 1, 4, 40, 8192, 8193, 65_507)))
    data = _message(source, stage)
    if what < 0.4:
        count, depth = source.choice(((1, 1), (1, 2), (1, 8), (1, 9), (1, 400), (150, 2), (600, 1)))
        parts = [data, *(_message(source, stage) for _ in range(source.choice((0, 1, 3))))] * count
        for _ in range(depth):
            parts = [_bundle(source, parts), *source.choice(([], [], [data]))]
        data = parts[0]
    return mutated(source, data) if source.random() < 0.3 else data


def _bundle(source: random.Random, parts: list[bytes]) -> bytes:
    time = source.choice(TIMES)
    tag = source.choice((1, round((time + FROM_1900) * 2**32) if time else 1, 0, 2**64 - 1, source.randrange(2**64)))
    return b"#bundle\x00" + tag.to_bytes(8) + b"".join(len(part).to_bytes(4) + part for part in parts)


def _message(source: random.Random, stage: Stage) -> bytes:
    """Return a message: a control with its value, or with others, or with what its types do not say."""
    path, args = moved(source, stage)
    if source.random() < 0.2:
        parts = path.split("/")
        parts[source.randrange(1, len(parts))] = source.choice(PATTERNS)
        path = "/".join(parts)
    if source.random() < 0.2:
        args = [wild(source) for _ in range(source.choice((0, 1, 2, 60)))]
    address = (ROOT if source.random() < 0.9 else source.choice(("", "/other", "/*", "fugue"))) + path
    tags, data = "", b""
    for arg in args:
        tag, value = _value(source, arg)
        tags, data = tags + tag, data + value
    if source.random() < 0.1:
        tags = "".join(source.choice(TAGS) for _ in range(source.choice((1, 3, 200))))
    head = _string(address.encode("utf-8", "surrogateescape"))
    return head + _string(f",{tags}".encode("latin-1")) + data if tags or source.random() < 0.7 else head


def _value(source: random.Random, value: Any) -> tuple[str, bytes]:
    """Return a value as OSC writes it, and its type."""
    if source.random() < 0.1:
        return "f", source.choice(FLOATS).to_bytes(4)
    if value is None or isinstance(value, bool):
        return {None: "N", True: "T", False: "F"}[value], b""
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        wide = source.random() < 0.3 or not -(2**31) <= value < 2**31
        return ("h", value.to_bytes(8, signed=True)) if wide else ("i", value.to_bytes(4, signed=True))
    if isinstance(value, float):
        tag = source.choice("fd") if abs(value) < 1e38 else "d"
        return tag, struct.pack(f">{tag}", value)
    if isinstance(value, bytes):
        return "b", len(value).to_bytes(4) + value + bytes(-len(value) % 4)
    return "s", _string(str(value)[:5000].encode("utf-8", source.choice(("surrogateescape", "replace"))))


def _string(text: bytes) -> bytes:
    """Return a text, filled up as OSC wants it."""
    return text + bytes(4 - len(text) % 4)
