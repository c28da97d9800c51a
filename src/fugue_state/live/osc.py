"""OSC: controls in by UDP, answers and changes out."""

from __future__ import annotations

import asyncio
import base64
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any, Self, cast

from pythonosc.osc_message import OscMessage
from pythonosc.osc_message_builder import BuildError, OscMessageBuilder
from pythonosc.osc_packet import OscPacket, ParseError

from fugue_state.errors import InputError
from fugue_state.live.clients import Client
from fugue_state.live.protocol import RefusedError
from fugue_state.live.session import Session
from fugue_state.score.paths import BANKS, PATHS, Path, find

ROOT = "/fugue"
SENDERS = 64  # that are remembered
LONGEST = 8192  # bytes of a datagram that is read
TELLS_GONE = 64  # units, of those that go at once
TAGS = {"float": "f", "int": "i", "string": "s", "bytes": "b", "trigger": ""}
# What may be sent without a value, and then is no question.
OPTIONAL = {"/bank/<b>/fire", "/subscribe"}
Address = tuple[str, int]


class Sender(Client):
    """Someone who sends OSC; answers go to their machine, at the port they asked for."""

    def __init__(self, door: OscDoor, address: Address) -> None:
        super().__init__(door.session.config, "osc")
        self.answers = (address[0], door.session.config.osc_reply_port)
        self.until = 0.0  # when a subscription ends
        self._door = door

    def answer(self, kind: str, **values: Any) -> None:
        """Send what went wrong; what went right is silent."""
        if kind == "nack":
            self.send("/error", values["message"])

    def send(self, path: str, *values: Any) -> None:
        """Send a message."""
        self._door.send(self.answers, path, values)


class OscDoor(asyncio.DatagramProtocol):
    """Hears OSC and follows it as a client of the session."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._senders: OrderedDict[Address, Sender] = OrderedDict()

    @classmethod
    async def open(cls, session: Session) -> Self:
        """Listen at the port of the session's settings; InputError if it is taken."""
        config = session.config
        try:
            _, door = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: cls(session), (config.osc_host, config.osc_port)
            )
        except OSError as error:
            where = f"{config.osc_host}:{config.osc_port}"
            raise InputError(f"OSC cannot be heard at {where} ({error.strerror}); choose another --osc-port") from None
        session.followers.append(door.follow)
        return door

    def close(self) -> None:
        """Hear no more."""
        self.session.followers.remove(self.follow)
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep where to send."""
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        """Follow all messages of a datagram, or say what is wrong."""
        sender = self._sender((addr[0], addr[1]))
        try:
            if len(data) > LONGEST:
                raise ParseError(f"more than {LONGEST} bytes")
            messages = [timed.message for timed in OscPacket(data).messages]
        except (ParseError, ValueError, ArithmeticError, LookupError, RecursionError) as error:
            sender.send("/error", f"not an OSC message ({error})"[:200])
            return
        if not messages:
            sender.send("/error", "a bundle of nothing")
        for message in messages:
            try:
                self._follow(sender, message)
            except RefusedError as refused:
                sender.send("/error", refused.message)

    def _sender(self, address: Address) -> Sender:
        sender = self._senders.pop(address, None) or Sender(self, address)
        self._senders[address] = sender
        if len(self._senders) > SENDERS:
            self._senders.popitem(last=False)
        return sender

    def _follow(self, sender: Sender, message: OscMessage) -> None:
        if not message.address.startswith(f"{ROOT}/"):
            raise RefusedError("unknown_path", f"unknown address {message.address[:64]!r}; all begin with {ROOT}/")
        path, args = message.address.removeprefix(ROOT), message.params
        try:
            known, _ = find(path)
        except InputError as error:
            raise RefusedError("unknown_path", str(error)[:200]) from None
        if not args and known.kind != "trigger" and known.pattern not in OPTIONAL:
            sender.send(path, self._asked(path, known))
            return
        self.session.set(sender, path, args, 0)
        if path == "/ping":
            sender.send("/pong")
        elif path == "/subscribe":
            sender.answers = (sender.answers[0], int(args[0]) if args else self.session.config.osc_reply_port)
            sender.until = time.monotonic() + self.session.config.lease_s
            for told, value in self.session.values.items():
                sender.send(told, value)

    def _asked(self, path: str, known: Path) -> Any:
        """Return the value of a control that is asked for."""
        value = self.session.value(path)
        if value is None:
            raise RefusedError("not_now", f"{path} has no value to tell")
        return base64.b64decode(value) if known.kind == "bytes" else value

    def send(self, address: Address, path: str, values: Any) -> None:
        """Send a message; where nobody hears, it is lost."""
        builder = OscMessageBuilder(f"{ROOT}{path}")
        try:
            for value in values:
                builder.add_arg(value)
            data = builder.build().dgram
        except (BuildError, ValueError):
            return  # a number too large for OSC
        self._transport.sendto(data, address)

    def follow(self, kind: str, values: Mapping[str, Any]) -> None:
        """Send on what all are told, to those who subscribed."""
        now = time.monotonic()
        subscribed = [sender for sender in self._senders.values() if sender.until > now]
        if not subscribed:
            return
        for path, *told in _told(kind, values):
            for sender in subscribed:
                sender.send(path, *told)


def _told(kind: str, values: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Return what the session tells, as OSC says it."""
    if kind == "patch":
        for path, value in values["changes"].items():
            yield path, base64.b64decode(value) if find(path)[0].kind == "bytes" else value
    elif kind == "meter":
        yield "/meter/peak", values["peak_db"]
        yield "/meter/lufs", values["lufs"]
        yield "/clock", values["at_sample"]
        for n, share in enumerate(values["remembered"], 1):
            yield "/state/remembered", n, share
    elif kind == "stats":
        yield "/stats/underruns", values["underruns"]
    elif kind == "event" and values["what"] == "forgotten":
        for unit in values["units"][:TELLS_GONE]:
            yield "/event/forgotten", values["layer"], unit


def described(session: Session, *, host_info: bool = False) -> dict[str, Any]:
    """Return the OSCQuery description of every address: type, range, value; or that of the server itself."""
    config = session.config
    if host_info:
        return {
            "NAME": "Fugue State",
            "OSC_IP": config.osc_host,
            "OSC_PORT": config.osc_port,
            "OSC_TRANSPORT": "UDP",
            "EXTENSIONS": {"ACCESS": True, "VALUE": True, "RANGE": True, "DESCRIPTION": True},
        }
    top: dict[str, Any] = {"FULL_PATH": "/", "CONTENTS": {}}
    for known in PATHS:
        for path in _filled(known.pattern, list(session.part.memory.layers.values())):
            _place(top, f"{ROOT}{path}", _described(known, session.value(path)))
    return top


def _filled(pattern: str, sizes: list[int]) -> Iterator[str]:
    """Yield every path that a pattern stands for."""
    if "<b>" in pattern:
        yield from (pattern.replace("<b>", str(b)) for b in range(1, BANKS + 1))
    elif "<n>" in pattern:
        for n, size in enumerate(sizes, 1):
            layer = pattern.replace("<n>", str(n))
            yield from (layer.replace("<k>", str(k)) for k in range(1, size + 1)) if "<k>" in layer else (layer,)
    else:
        yield pattern


def _described(known: Path, value: Any) -> dict[str, Any]:
    access = 1 if known.told else 2 if known.kind == "trigger" or not known.recorded else 3
    told: dict[str, Any] = {"TYPE": TAGS[known.kind], "ACCESS": access, "DESCRIPTION": known.about}
    if known.kind in {"float", "int"} and not known.told:
        told["RANGE"] = [{"MIN": known.minimum, "MAX": known.maximum}]
    if value is not None and access == 3:
        told["VALUE"] = [value]
    return told


def _place(top: dict[str, Any], path: str, told: Mapping[str, Any]) -> None:
    node, full = top, ""
    for part in path.split("/")[1:]:
        full = f"{full}/{part}"
        node = node.setdefault("CONTENTS", {}).setdefault(part, {"FULL_PATH": full})
    node.update(told)
