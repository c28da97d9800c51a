"""OSC over UDP: receives controls, sends answers and changes."""

from __future__ import annotations

import asyncio
import base64
import socket
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Self, cast

from pythonosc.osc_message_builder import BuildError, OscMessageBuilder

from fugue_state.errors import InputError, shown
from fugue_state.limits import OSC_SENDERS, OSC_UNPROVED
from fugue_state.live.addresses import ERROR, NOTE, ROOT, Node, is_pattern, matching
from fugue_state.live.agenda import Agenda, Job
from fugue_state.live.clients import Client
from fugue_state.live.guard import is_local
from fugue_state.live.leases import Address, Leases, is_own
from fugue_state.live.packet import Heard, PacketError, read_packet
from fugue_state.live.protocol import RefusedError
from fugue_state.live.session import Session
from fugue_state.score.paths import KEY, KEYS, Path, Value, check, find, pressed
from fugue_state.score.pitches import VELOCITY_MOST

TELLS_GONE = 64  # most units of one event that are sent
MOST_ALLOWED = 65_536  # most bytes that may be owed to an address that has not proved that it receives
LONGEST_ERROR = 200  # characters
# Paths that act without a value instead of being queried. Buttons send 0 on release, which does nothing.
BUTTONS: dict[str, tuple[Value, ...]] = {"/bank/<b>/fire": (), "/mark": ("",)}
SUBSCRIBE = "/subscribe"


class Sender(Client):
    """A sender of OSC; answers go to its machine, to the port it asked for.

    The sender of a datagram can be forged. An address that has not proved that it receives gets only a few times as
    many bytes as came from it.
    """

    def __init__(self, door: OscDoor, address: Address) -> None:
        super().__init__(door.session.config, "osc")
        self.address = address
        self.answers = (address[0], door.session.config.osc_reply_port)
        self._door = door
        self._allowed = 0.0  # bytes that may still be sent without proof

    def heard(self, size: int) -> None:
        """Note the size of a datagram from it."""
        self._allowed = min(self._allowed + size * OSC_UNPROVED.most, MOST_ALLOWED)

    def answer(self, kind: str, **values: Any) -> None:
        """Send an error; success is not answered."""
        if kind == "nack":
            self.refuse(values["message"])

    def refuse(self, why: str) -> None:
        """Send an error message, shortened to the bytes that may be sent."""
        longest = LONGEST_ERROR
        while longest and not self.send(ERROR.pattern, why[:longest]):
            longest //= 2

    def send(self, path: str, *values: Any) -> bool:
        """Send a message; False if it exceeds what this address may be sent."""
        data = written(path, values)
        if not is_local(self.answers[0]) and self.answers not in self._door.leases:
            if len(data) > self._allowed:
                return False
            self._allowed -= len(data)
        self._door.send(self.answers, data)
        return True


def osc_socket(host: str, port: int) -> socket.socket:
    """Return a socket that receives OSC; InputError if the port is taken or the address not this machine's."""
    try:
        named = socket.getaddrinfo(host.removeprefix("[").removesuffix("]"), port, type=socket.SOCK_DGRAM)
        kind, form, protocol, _, address = named[0]
        listening = socket.socket(kind, form, protocol)
        try:
            listening.bind(address)
        except OSError:
            listening.close()
            raise
    except (OSError, UnicodeError) as error:  # a name whose parts are too long is no OSError
        why = getattr(error, "strerror", None) or "no machine's name"
        raise InputError(f"OSC cannot be heard at {host}:{port} ({why}); choose another --osc-port") from None
    return listening


class OscDoor(asyncio.DatagramProtocol):
    """Receives OSC and acts on it as a client of the session."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.leases = Leases(session.config.lease_s)
        self.port = session.config.osc_port
        self._agenda = Agenda(asyncio.get_running_loop())
        self._senders: OrderedDict[Address, Sender] = OrderedDict()
        self._is_full = False

    @classmethod
    async def open(cls, session: Session, listening: socket.socket) -> Self:
        """Receive what comes to a socket."""
        loop = asyncio.get_running_loop()
        _, door = await loop.create_datagram_endpoint(lambda: cls(session), sock=listening)
        session.people.followers.append(door.follow)
        return door

    def close(self) -> None:
        """Stop receiving."""
        self.session.people.followers.remove(self.follow)
        self._agenda.close()
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport, for sending."""
        self._transport = cast("asyncio.DatagramTransport", transport)
        self.port = int(transport.get_extra_info("sockname")[1])

    def pause_writing(self) -> None:
        """Stop sending: the system's buffer is full."""
        self._is_full = True

    def resume_writing(self) -> None:
        """Go on sending."""
        self._is_full = False

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        """Act on all messages of a datagram, each at its time, or answer with an error."""
        sender = self._sender((addr[0], addr[1]))
        sender.heard(len(data))
        try:
            messages = read_packet(data)
        except PacketError as error:
            sender.refuse(f"not an OSC message ({error})")
            return
        try:
            for message in messages:
                self._agenda.add(partial(self._follow, sender, message), sender.address, message.when)
        except RefusedError as refused:
            sender.refuse(refused.message)

    def _sender(self, address: Address) -> Sender:
        sender = self._senders.pop(address, None) or Sender(self, address)
        self._senders[address] = sender
        if len(self._senders) > OSC_SENDERS.most:
            self._senders.popitem(last=False)
        return sender

    def _follow(self, sender: Sender, message: Heard) -> Iterable[Job] | None:
        """Act on a message; for a pattern, return the jobs it stands for."""
        if message.address == f"{ROOT}{ERROR.pattern}":
            return None  # from another server; answering it could go on for ever
        if is_pattern(message.address):
            return self._all(sender, message)
        self._try(sender, message.address, message.args, [])
        return None

    def _all(self, sender: Sender, message: Heard) -> Iterable[Job]:
        """Return the jobs that a pattern stands for; errors are answered only once."""
        session, told = self.session, list[str]()
        if not session.ready:
            sender.refuse("the memory is loading")
            return ()
        try:
            nodes = matching(message.address, session.part.sizes)
        except InputError as error:
            sender.refuse(str(error))
            return ()
        chosen = [node for node in nodes if self._is_meant(node, bool(message.args))] or nodes[:1]
        if not message.args and any(self._is_asked(node) for node in chosen):  # a query must press nothing
            chosen = [node for node in chosen if self._is_asked(node)]
        return [partial(self._try, sender, node.address, message.args, told) for node in chosen]

    def _is_meant(self, node: Node, sets: bool) -> bool:
        known = node.known
        return known is not None and known.pattern != SUBSCRIBE and not (sets and known.told)

    def _is_asked(self, node: Node) -> bool:
        """Return whether an address has a value that can be queried."""
        return self.session.value(node.address.removeprefix(ROOT)) is not None

    def _try(self, sender: Sender, address: str, args: Sequence[Any], told: list[str]) -> None:
        """Act on a message for one address; answer errors once for all messages of a pattern."""
        if "too_fast" in told:
            return
        try:
            self._do(sender, address, args)
        except RefusedError as refused:
            if not told:
                sender.refuse(refused.message)
            told.append(refused.code)

    def _do(self, sender: Sender, address: str, args: Sequence[Any]) -> None:
        if not address.startswith(f"{ROOT}/"):
            raise RefusedError("unknown_path", f"unknown address {shown(address)}; all begin with {ROOT}/")
        path, args = _noted(address.removeprefix(ROOT), args)
        try:
            known, _ = find(path)
        except InputError as error:
            raise RefusedError("unknown_path", str(error)) from None
        if path == SUBSCRIBE:
            self._subscribe(sender, args)
            return
        try:
            acts = pressed(path, args)
        except InputError as error:
            raise RefusedError("bad_value", str(error)) from None
        if known.pattern in BUTTONS:
            acts, args = _button(known, args)
        elif not args and known.kind != "trigger":
            sender.send(path, self._asked(path, known))
            return
        if not acts:
            return
        self.session.set(sender, path, args, 0)
        if path == "/ping":
            sender.send("/pong")

    def _subscribe(self, sender: Sender, args: Sequence[Any]) -> None:
        """Subscribe a sender, once it has proved that it receives."""
        self.session.people.let_through(sender)
        try:
            port = int(cast("int", check(SUBSCRIBE, args[:1]))) if args else self.session.config.osc_reply_port
        except InputError as error:
            raise RefusedError("bad_value", str(error)) from None
        target = (sender.address[0], port)
        if is_own(target, self.port):
            raise RefusedError("bad_value", f"port {port} is the server's own: what is told would come back")
        answer = args[1] if len(args) == 2 and isinstance(args[1], int) else None
        if not self.leases.take(target, answer):
            self.send(target, written("/challenge", [self.leases.challenge(target)]))
            return
        sender.answers = target
        for told, value in self.session.values.items() if self.session.ready else ():
            sender.send(told, value)

    def _asked(self, path: str, known: Path) -> Any:
        """Return the value of a queried control."""
        value = self.session.value(path)
        if value is None:
            raise RefusedError("not_now", f"{path} has no value to tell")
        if known.kind == "bytes":
            return base64.b64decode(value)
        return int(value) if known.kind == "int" else value

    def send(self, address: Address, data: bytes) -> None:
        """Send a message, except to this port itself; if nobody receives, it is lost."""
        if not data or self._is_full or is_own(address, self.port):
            return
        self._transport.sendto(data, address)

    def follow(self, kind: str, values: Mapping[str, Any]) -> None:
        """Forward a message for all clients to the subscribers."""
        targets = self.leases.targets()
        if not targets:
            return
        for path, *told in _told(kind, values):
            data = written(path, told)
            for target in targets:
                self.send(target, data)


def written(path: str, values: Iterable[Any]) -> bytes:
    """Return a message as bytes; empty if a value is too large for OSC."""
    builder = OscMessageBuilder(f"{ROOT}{path}")
    try:
        for value in values:
            builder.add_arg(value)
        return bytes(builder.build().dgram)
    except (BuildError, ValueError):
        return b""


def _noted(path: str, args: Sequence[Any]) -> tuple[str, Sequence[Any]]:
    """Return a message as it is, or `/note` with key and velocity as the key's own; RefusedError for a wrong one."""
    if path != NOTE.pattern:
        return path, args
    if len(args) != 2 or not all(isinstance(value, int | float) and value in KEYS for value in args):
        raise RefusedError("bad_value", f"{NOTE.pattern} takes a key and a velocity, each 0 to 127, got {shown(args)}")
    return KEY.replace("<m>", str(int(args[0]))), [args[1] / VELOCITY_MOST]


def _button(known: Path, args: Sequence[Any]) -> tuple[bool, Sequence[Any]]:
    """Return whether a message to a button with an optional value acts, and the value."""
    if args and isinstance(args[0], int | float) and not args[0]:
        return False, args
    says_nothing = not args or args[0] is True or (known.kind == "string" and isinstance(args[0], int | float))
    return True, BUTTONS[known.pattern] if says_nothing else args


def _told(kind: str, values: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Translate a message of the session into OSC messages."""
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
