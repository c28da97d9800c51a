"""The page on limits, made from the constants and settings that set them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

from fugue_state import limits
from fugue_state.config import LiveConfig
from fugue_state.limits import Area, Limit
from generate.markdown import code, plain, table

INTRODUCTION = """\
# Limits

These are the limits for everything that comes from outside: sounds, folders, memories, scores, takes, sockets and OSC.
The last column says what happens beyond a limit: the program refuses the input with this line, or does what is written
there. It never takes part of an input without saying so. [Every key of a score](score-keys.md) lists the ranges of
single keys.
"""
# Limits that are settings, with what they are about, the unit and what happens beyond.
SETTINGS: tuple[tuple[Area, str, str, str, str], ...] = (
    ("takes", "take_waiting_s", "sound that waits for a slow disk", "s", "`the sound of the take ends here`"),
    ("takes", "sync_s", "what is played and not yet safe on the disk", "s", "it is made safe"),
    ("sockets", "clients", "who plays or watches", "clients", "`{got} clients are here already`"),
    (
        "sockets",
        "messages_per_s",
        "messages in a second, of each",
        "messages",
        "`more than {got} messages in a second`",
    ),
    ("sockets", "messages_at_once", "messages at once, of each", "messages", "the same line"),
    ("sockets", "message_bytes", "a message", "characters", "`a message has up to {got} characters, this one ...`"),
    ("sockets", "socket_bytes", "a message that is still read", "bytes", "the socket is closed"),
    ("sockets", "waiting", "messages for one who does not read", "", "`too slow: what was told was not read`"),
    ("sockets", "blocks_waiting", "blocks of sound for a listener", "", "the oldest are left out, and counted"),
    ("sockets", "patches", "changes kept for those who come back", "", "they are told everything anew"),
    ("sockets", "gestures", "gestures that can be undone", "", "the oldest are forgotten"),
    ("OSC", "lease_s", "a subscription that is not asked for again", "s", "it ends"),
)


def named() -> dict[str, Limit]:
    """Return all limits that are constants, by their names."""
    return {name: value for name, value in vars(limits).items() if isinstance(value, Limit)}


def page() -> str:
    """Return the page."""
    parts = [INTRODUCTION]
    for area in get_args(Area):
        if rows := [*_constants(area), *_settings(area)]:
            title = area if area.isupper() else area.capitalize()
            parts += [f"## {title}", *table(("what", "at most", "beyond"), rows)]
    return "\n".join(parts) + "\n"


def _constants(area: Area) -> Iterator[tuple[str, str, str]]:
    for limit in named().values():
        if limit.area == area:
            line = limit.line.format(got="...", most=_most(limit.most, limit.unit))
            yield plain(limit.what), plain(_most(limit.most, limit.unit)), code(line)


def _settings(area: Area) -> Iterator[tuple[str, str, str]]:
    values = LiveConfig()
    for where, key, what, unit, line in SETTINGS:
        if where == area:
            most = getattr(values, key)
            yield plain(what), plain(_most(most, unit)), plain(line.format(got=f"{most:g}"))


def _most(most: float, unit: str) -> str:
    return f"{most:,.12g} {unit}".strip()
