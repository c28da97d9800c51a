"""Fugue State from TouchDesigner: the text of a CHOP Execute DAT.

Make an OSC Out DAT named `oscout1` (network address: localhost, port: 9700), a CHOP with channels of 0 to 1 named
`forget`, `layer1`, `layer2` ..., and a CHOP Execute DAT with this text, its CHOP set and Value Change on. For what
comes back make an OSC In DAT with port 9701, and call subscribe() from a Timer every ten seconds.
"""

import re
from typing import Any


def address(name: str) -> str | None:
    """Return the OSC address of a channel, or None."""
    if name in ("forget", "volume", "freeze", "play"):
        return "/fugue/" + name
    layer = re.fullmatch(r"layer(\d+)", name)
    return "/fugue/layer/" + layer[1] + "/forget" if layer else None


def onValueChange(channel: Any, sampleIndex: int, val: float, prev: float) -> None:
    """Send a channel that changed."""
    path = address(channel.name)
    if path:
        op("oscout1").sendOSC(path, [min(1.0, max(0.0, val))])  # type: ignore[name-defined]


def subscribe() -> None:
    """Ask for changes and meters, for half a minute."""
    op("oscout1").sendOSC("/fugue/subscribe", [9701])  # type: ignore[name-defined]
