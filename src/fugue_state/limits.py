"""How much may come from outside: sizes, counts, rates and times, each with the line that is said when it is passed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fugue_state.errors import shown

Area = Literal["sounds", "folders", "memories", "scores", "takes", "sockets", "OSC"]


@dataclass(frozen=True)
class Limit:
    """The most of something that is taken from outside.

    `line` is what is said when there is more; `{got}` in it is the value, `{most}` the limit with its unit.
    """

    area: Area
    what: str
    most: float
    unit: str
    line: str

    def passed(self, got: object) -> str:
        """Return the line for a value above the limit."""
        return self.line.format(got=shown(got), most=f"{self.most:,g} {self.unit}".strip())


SOUND_CHANNELS = Limit("sounds", "channels of a file", 64, "channels", "{got} channels are too many (at most {most})")
SOUND_RATE = Limit(
    "sounds", "sample rate of a file", 768_000, "Hz", "{got} Hz is too high a sample rate (at most {most})"
)
SOUND_HELD = Limit(
    "sounds",
    "samples of a file that are held at once, over all channels that are kept",
    2**29,
    "samples",
    "too long to be read at once: more than {most}; cut it into parts",
)
SOUND_LENGTH = Limit(
    "sounds", "length of a file of which parts are read", 48 * 3600, "s", "too long: it goes on after {most}"
)
