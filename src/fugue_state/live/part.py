"""A part: one performance with its memory, its values and its history for undo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from fugue_state.config import LiveConfig
from fugue_state.live.addresses import Sizes
from fugue_state.live.board import Bank, History
from fugue_state.live.protocol import bytes_of
from fugue_state.live.report import Report, Units
from fugue_state.piece.keyboard import MIDDLE_C, key_label
from fugue_state.score.paths import find, written
from fugue_state.score.pitches import SHARPS

if TYPE_CHECKING:
    from fugue_state.engine.performance import Performance  # takes long to import

# The values of units by their paths: for whole layers, and for single units.
OF_LAYERS = {"/grid/<n>": "brushed", "/strengths/<n>": "strengths", "/frozen/<n>": "frozen"}
PART_RECALL = "/part/<n>/recall"
OF_WHOLE = ("/grid", "/hold")  # controls that clients see as changes of the paths above
OF_UNITS = OF_LAYERS | {"/unit/<n>/<k>/strength": "brushed", "/unit/<n>/<k>/freeze": "frozen"}


@dataclass
class Part:
    """A performance as the clock told of it last: only the clock may look at the performance itself.

    `parts` are those of its piece, each with its memory. `values` and `units` are notes of what was set then; the
    performance alone keeps what is set.
    """

    memory: Any
    parts: Sequence[Any]
    performance: Performance
    origin: int
    history: History
    values: Mapping[str, Any]
    units: Units

    @classmethod
    def of(cls, memory: Any, performance: Performance, config: LiveConfig) -> Part:
        """Return the part of a performance; if that plays already, call this only on the clock's thread."""
        history = History(config.gestures, round(config.gesture_s * performance.rate))
        values, units = dict(performance.values), Units.of(performance)
        return cls(memory, performance.parts, performance, performance.origin, history, values, units)

    def bank(self) -> Bank:
        """Return the current strengths as a bank."""
        return Bank.of(self.values, self.units.brushed, self.named)

    @property
    def named(self) -> dict[str, int]:
        """The layers of all parts, and how many units each has."""
        return {name: units for part in self.parts for name, units in part.layers.items()}

    @property
    def sizes(self) -> Sizes:
        """The numbers of units of the layers of each part."""
        return tuple(tuple(part.layers.values()) for part in self.parts)

    @property
    def keyed(self) -> Any:
        """The memory of the voice that keys play."""
        voice = self.values["/keys/voice"] - 1
        return next((part.memory for part in self.parts if voice in part.voices), self.memory)

    def layers(self) -> list[slice]:
        """Return the slice of each layer's units."""
        return [slice(*ends) for ends in pairwise(accumulate(self.named.values(), initial=0))]

    def moved(self, path: str) -> list[str]:
        """Return the controls that this one moves: for the recall of a part, its fader and the recall of its layers."""
        known, numbers = find(path)
        if known.pattern != PART_RECALL or not 1 <= numbers[0] <= len(self.parts):
            return [path]
        firsts = list(accumulate(map(len, self.sizes), initial=1))
        layers = range(firsts[numbers[0] - 1], firsts[numbers[0]])
        return [path.replace("recall", "forget"), *(f"/layer/{n}/recall" for n in layers)]

    def value(self, path: str) -> Any:
        """Return the value of a control of units, bytes as base64; None if it has none."""
        known, numbers = find(path)
        layers = self.layers()
        if known.pattern not in OF_UNITS or not 1 <= numbers[0] <= len(layers):
            return None
        inside = getattr(self.units, OF_UNITS[known.pattern])[layers[numbers[0] - 1]]
        if known.kind == "bytes":
            return bytes_of(inside)
        return inside[numbers[-1] - 1].item() if 1 <= numbers[-1] <= len(inside) else None

    def follow(self, report: Report) -> dict[str, Any]:
        """Take over how a block left the performance, and return what is new, as it is told."""
        was, self.values = self.values, self.values if report.values is None else report.values
        new = {path: written(value) for path, value in self.values.items() if was.get(path) != value}
        if report.units is None or len(report.units.strengths) != self.layers()[-1].stop:  # another memory just set in
            return new
        before, self.units = self.units, report.units
        for path, name in OF_LAYERS.items():
            old, now = getattr(before, name), getattr(self.units, name)
            for n, units in enumerate(self.layers(), 1):
                if not np.array_equal(old[units], now[units]):
                    new[path.replace("<n>", str(n))] = bytes_of(now[units])
        return new

    def note(self, report: Report) -> None:
        """Add the moves of a block to the history for undo."""
        for wish, wrong in report.asked:
            if not wrong and wish.gesture and wish.origin == self.origin:
                self.history.add(wish.gesture, report.at, (wish.path, wish.value), wish.back)

    def about_memory(self) -> dict[str, Any]:
        """Describe the memory, or all of them as one, to a new client."""
        return {
            "name": " and ".join(dict.fromkeys(part.memory.header.name for part in self.parts)),
            "layers": [list(layer) for layer in self.named.items()],
            "chords": list(dict.fromkeys(label for part in self.parts for label in part.memory.labels)),
            "units": self.layers()[-1].stop,
            "keys": [key_label(MIDDLE_C + above, self.memory.labels) for above in range(len(SHARPS))],
        }

    def about_parts(self) -> list[dict[str, Any]]:
        """Describe the parts to a new client: name, memory, its chords, numbers of the first layer and of layers."""
        firsts = accumulate(map(len, self.sizes), initial=1)
        return [
            {
                "name": part.name,
                "memory": part.memory.header.name,
                "chords": list(part.memory.labels),
                "first": first,
                "layers": len(part.layers),
            }
            for part, first in zip(self.parts, firsts, strict=False)
        ]

    def grid(self) -> dict[str, str]:
        """Describe the units to a new client."""
        return {name: bytes_of(getattr(self.units, name)) for name in ("strengths", "brushed", "frozen")}
