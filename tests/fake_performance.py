"""A performance that needs no memory: a chord of sines whose amplitudes follow the strengths."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fugue_state.bending.strengths import Strengths
from fugue_state.engine.chain import Block
from fugue_state.engine.performance import Performance
from fugue_state.errors import InputError
from fugue_state.piece.seen import Seen
from fugue_state.score.log import Log
from fugue_state.score.model import Score
from fugue_state.score.paths import KEY, Value, check, find

if TYPE_CHECKING:
    Played = Performance  # has all that the clock knows of one
else:
    Played = object

LAYERS = {"deconv1": 32, "deconv2": 16, "deconv3": 8, "deconv4": 4, "deconv5": 2}
PARTIALS = 8


def fake_memory(
    name: str = "fake", layers: Mapping[str, int] = LAYERS, labels: tuple[str, ...] = ("Am", "C", "G")
) -> Any:
    """What the session wants to know of a memory."""
    return SimpleNamespace(
        header=SimpleNamespace(name=name),
        fingerprint="0" * 64,
        labels=labels,
        layers=dict(layers),
        units=sum(layers.values()),
    )


@dataclass
class FakePerformance(Played):
    """Deterministic: the same changes at the same positions give the same samples."""

    score: Score
    memory: Any
    block: int = 1024
    latency: int = 0
    position: int = 0
    broken: bool = False  # gives what is not a number
    is_measured: bool = False
    held: list[tuple[str, Value]] = field(default_factory=list)
    origin: int = field(init=False)
    log: Log = field(init=False, compare=False)
    frozen: npt.NDArray[np.bool_] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        self.origin = self.position  # a take counts from where its memory set in
        self.log = Log()
        self.score = self.score.model_copy(update={"resolution": "block"})
        self.rate = self.score.file.sample_rate_hz
        self.values: dict[str, Any] = {
            "/forget": 0.0, "/freeze": 0, "/play": 1, "/volume": 0.25, "/seed": 0, "/chord": "", "/quality": "live",
            **{f"/part/{n}/forget": 0.0 for n in range(1, len(self.parts) + 1) if len(self.parts) > 1},
            "/pedal": 0, "/loop": 1, "/tempo": self.score.tempo_bpm, "/keys/voice": 1,
            **{f"/keys/{number}/chord": "" for number in range(1, 13)},
            **{f"/layer/{n}/forget": 0.0 for n in range(1, len(self.memory.layers) + 1)},
        }  # fmt: skip
        sizes = list(self.memory.layers.values())
        self._starts = np.concatenate([[0], np.cumsum(sizes)])
        self._layer = np.repeat(np.arange(len(sizes)), sizes)
        self._brush = np.ones(sum(sizes), dtype=np.float32)
        self.frozen = np.zeros(sum(sizes), dtype=np.bool_)

    @property
    def parts(self) -> tuple[Any, ...]:
        """The parts: layers whose names begin alike, up to a stroke, are one, and have a memory of that name."""
        found: dict[str, dict[str, int]] = {}
        for layer, units in self.memory.layers.items():
            found.setdefault(layer.rpartition("/")[0], {})[layer] = units
        if len(found) == 1:
            return (SimpleNamespace(name="", memory=self.memory, layers=self.memory.layers, voices=()),)

        def memory(name: str) -> Any:
            return fake_memory(f"of {name}", found[name], (*self.memory.labels, f"{name}7"))

        return tuple(SimpleNamespace(name=name, memory=memory(name), layers=found[name], voices=()) for name in found)

    def _inside(self, part: int) -> range:
        """The numbers of a part's layers, from 1 on."""
        firsts = np.cumsum([1, *(len(one.layers) for one in self.parts)])
        return range(int(firsts[part - 1]), int(firsts[part]))

    @property
    def strengths(self) -> Strengths:
        layer = np.array([1 - self.values[f"/layer/{n}/forget"] for n in range(1, len(self._starts))])
        for part in range(1, len(self.parts) + 1) if len(self.parts) > 1 else ():
            layer[self._inside(part).start - 1 : self._inside(part).stop - 1] *= 1 - self.values[f"/part/{part}/forget"]
        left: Strengths = (self._brush * layer[self._layer] * (1 - self.values["/forget"])).astype(np.float32)
        return left

    @property
    def brushed(self) -> Strengths:
        return self._brush

    def _keyed(self, path: str, value: Value) -> None:
        """Follow what keys do, as far as it can be asked for."""
        known, _ = find(path)
        if known.by_keys and known.pattern != KEY:
            self.values[path] = value
        if known.each:
            self.held = [move for move in self.held if move[0] != path] + ([(path, 0)] if value else [])

    def _units(self, path: str, numbers: tuple[int, ...]) -> slice:
        if path.startswith("/part/"):
            if not 1 <= numbers[0] <= len(self.parts):
                raise InputError(f"{path}: there are parts 1 to {len(self.parts)}")
            inside = self._inside(numbers[0])
            return slice(int(self._starts[inside.start - 1]), int(self._starts[inside.stop - 1]))
        if find(path)[0].by_keys:
            return slice(None)
        if not 1 <= numbers[0] < len(self._starts):
            raise InputError(f"{path}: there are layers 1 to {len(self._starts) - 1}")
        start, end = (int(i) for i in self._starts[numbers[0] - 1 : numbers[0] + 1])
        if len(numbers) == 1:
            return slice(start, end)
        if not 1 <= numbers[1] <= end - start:
            raise InputError(f"{path}: there are units 1 to {end - start}")
        return slice(start + numbers[1] - 1, start + numbers[1])

    def change(self, path: str, value: Value = None) -> None:
        known, numbers = find(path)
        if not known.recorded:
            raise InputError(f"{path}: not a control of the sound")
        value = check(path, [] if known.kind == "trigger" else [value])
        units = self._units(path, numbers) if numbers else slice(None)
        if known.pattern.endswith("recall"):
            self._brush[units] = 1.0
            self.values.update(dict.fromkeys(self._faders(path, numbers), 0.0))
        elif isinstance(value, bytes):
            if len(value) != units.stop - units.start:
                raise InputError(f"{path}: {units.stop - units.start} bytes are needed, got {len(value)}")
            self._brush[units] = np.frombuffer(value, np.uint8) / 255
        elif known.pattern.endswith("strength"):
            self._brush[units] = value
        elif known.pattern.startswith("/unit"):
            self.frozen[units] = value
        elif known.by_keys:
            self._keyed(path, value)
        elif path == "/hush":
            self.values["/play"] = 0
        elif known.kind != "trigger":
            self.values[path] = value
        self.log.add(self.position - self.origin, path, value)

    def _faders(self, path: str, numbers: tuple[int, ...]) -> list[str]:
        """The faders that a recall brings back."""
        if not numbers:
            return [path for path in self.values if path.endswith("/forget")]
        layers = self._inside(numbers[0]) if path.startswith("/part/") else numbers
        own = [path.replace("recall", "forget")] if path.startswith("/part/") else []
        return own + [f"/layer/{n}/forget" for n in layers]

    def back(self, path: str) -> list[tuple[str, Value]]:
        known, numbers = find(path)
        units = self._units(path, numbers) if numbers else slice(None)
        if known.pattern.endswith("recall"):
            faders = self._faders(path, numbers)
            moves: list[tuple[str, Value]] = [(fader, self.values[fader]) for fader in faders if self.values[fader]]
            grids = [fader.replace("layer", "grid").removesuffix("/forget") for fader in faders if "layer" in fader]
            return moves + [self.back(grid)[0] for grid in grids]
        if known.kind == "bytes":
            return [(path, np.rint(255 * self._brush[units]).astype(np.uint8).tobytes())]
        if known.pattern.startswith("/unit"):
            return [(path, (self._brush if known.kind == "float" else self.frozen)[units][0].item())]
        return [(path, self.values.get(path, known.default))]

    def needs(self, path: str, value: Value) -> bool:
        return path.endswith("/order") and value == "saliency" and not self.is_measured

    def measure(self) -> None:
        self.is_measured = True

    def next(self) -> Block:
        time = (np.arange(self.block) + self.position - self.origin) / self.rate
        left = [part.mean() for part in np.array_split(self.strengths, PARTIALS)]
        sound = sum(a * np.sin(2 * math.pi * 110 * (i + 1) * time) for i, a in enumerate(left)) / PARTIALS
        samples = np.repeat((sound * self.values["/play"] * self.values["/volume"])[:, None], 2, 1).astype(np.float32)
        if self.broken:
            samples[:] = np.nan
        self.position += self.block
        return Block(
            position=self.position - self.block,
            samples=samples,
            seen=Seen("Am", self.strengths, 0.3 * self.strengths),
            mel=np.full(128, -0.5, dtype=np.float32),
            lufs=-23.0,
        )

    def prepare(self, memory: Any, name: str | None = None) -> Any:
        del name  # as a memory of this house is called
        return memory

    def swap(self, memory: Any) -> None:
        self.memory = memory
        self.score = self.score.model_copy(update={"memory": memory.header.name})
        self.__post_init__()
