"""Reads datagrams of OSC 1.0: messages, their values, and their times."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pythonosc.parsing import osc_types

from fugue_state.errors import counted, shown
from fugue_state.limits import OSC_BYTES, OSC_MESSAGES, OSC_NESTED

BUNDLE = b"#bundle\x00"
READERS: dict[str, Callable[[bytes, int], tuple[Any, int]]] = {
    "i": osc_types.get_int,
    "h": osc_types.get_int64,
    "f": osc_types.get_float,
    "d": osc_types.get_double,
    "s": osc_types.get_string,
    "S": osc_types.get_string,
    "b": osc_types.get_blob,
}
WITHOUT_BYTES = {"T": True, "F": False, "N": None, "I": True}  # I (impulse) means "now", like a press


class PacketError(ValueError):
    """A datagram that is not OSC, or holds too much."""


@dataclass(frozen=True)
class Heard:
    """A message: address or pattern, values, and time in seconds of the wall clock (0: at once)."""

    address: str
    args: tuple[Any, ...]
    when: float = 0.0


def read_packet(data: bytes) -> list[Heard]:
    """Return all messages of a datagram in order; PacketError if anything in it is wrong."""
    if len(data) > OSC_BYTES.most:
        raise PacketError(OSC_BYTES.passed(len(data)))
    heard: list[Heard] = []
    try:
        for message in _messages(data, 0.0, 1):
            heard.append(message)
            if len(heard) > OSC_MESSAGES.most:
                raise PacketError(OSC_MESSAGES.passed(len(heard)))
    except (osc_types.ParseError, struct.error, UnicodeDecodeError, IndexError) as error:
        raise PacketError(str(error)) from None
    if not heard:
        raise PacketError("a bundle of nothing")
    return heard


def _messages(data: bytes, when: float, depth: int) -> Iterator[Heard]:
    if not data.startswith(BUNDLE):
        yield _message(data, when)
        return
    if depth > OSC_NESTED.most:
        raise PacketError(OSC_NESTED.passed(depth))
    time, at = osc_types.get_date(data, len(BUNDLE))
    while at < len(data):
        size, at = osc_types.get_int(data, at)
        if not 0 < size <= len(data) - at:
            raise PacketError(f"a part of {counted(size, 'byte')}, {len(data) - at} are left")
        # A bundle takes effect no earlier than the one around it.
        yield from _messages(data[at : at + size], max(when, time), depth + 1)
        at += size


def _message(data: bytes, when: float) -> Heard:
    if not data.startswith(b"/"):
        raise PacketError("an address begins with /, a bundle with #bundle")
    address, at = osc_types.get_string(data, 0)
    if at >= len(data):
        return Heard(address, (), when)  # old senders omit the type tags if there is no value
    tags, at = osc_types.get_string(data, at)
    if not tags.startswith(","):
        raise PacketError("the types of the values begin with a comma")
    args = []
    for tag in tags[1:]:
        if tag in WITHOUT_BYTES:
            args.append(WITHOUT_BYTES[tag])
            continue
        if tag not in READERS:
            raise PacketError(f"values of type {shown(tag)} are not read; i f s b h d T F I N are")
        value, after = READERS[tag](data, at)
        if after <= at:
            raise PacketError("a blob of negative length")
        args.append(value)
        at = after
    return Heard(address, tuple(args), when)
