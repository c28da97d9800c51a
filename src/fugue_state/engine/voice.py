"""What all voices have in common, and those that sound at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, Protocol, TypeVar

import numpy as np

from fugue_state.arrays import Array, Wide
from fugue_state.audio.mix import pan, pan_along
from fugue_state.bending.strengths import Strengths
from fugue_state.memory.layers import Trail
from fugue_state.piece.conductor import Ramp
from fugue_state.piece.event import Event
from fugue_state.piece.layout import Layout
from fugue_state.piece.seen import Seen, newest, reached, seen


@dataclass(frozen=True, eq=False)
class Made:
    """A generated event: mel (M, T), activations (U, steps), envelope (N,) at the file's rate, and gain.

    The `trail` saves work when the event is generated again with other strengths.
    """

    event: Event
    mel: Array
    activations: Array
    envelope: Array
    gain: float
    trail: Trail = field(default_factory=Trail)

    def firing(self, frame: int, age: int) -> Array:
        """Return how strongly units (U,) fire in a frame, under the envelope from sample `age` on."""
        steps = self.activations.shape[1]
        gain = self.envelope[age : age + len(self.envelope) // steps].max(initial=0.0)
        firing: Array = self.activations[:, frame * steps // self.mel.shape[1]] * gain
        return firing


class Voice(Protocol):
    """An event at the file's rate, from its onset on; it is played block by block."""

    @property
    def event(self) -> Event:
        """The event it plays."""

    @property
    def firing(self) -> Array:
        """How strongly units (U,) fire now, under its envelope."""

    @property
    def column(self) -> Array:
        """The column (M,) of its mel that sounds now."""

    @property
    def over(self) -> bool:
        """Whether it has ended or was dropped."""

    @property
    def settled(self) -> bool:
        """Whether its sound is known by now."""

    def play(self, count: int, begin: int = 0) -> Passage:
        """Advance by `count` samples, which are heard from sample `begin` of a block on."""

    def sound(self, start: int, count: int) -> Array:
        """Return its bare samples (count,) from `start` on."""

    def drop(self) -> None:
        """Cut off the rest of it."""


@dataclass(frozen=True, eq=False)
class Passage:
    """A part of a voice, from its sample `start`, that is heard from sample `begin` of a block on; weights (n,).

    Where its voice's curves move them: `pan` (n,) instead of its event's, `send` (n,), its gain into the room.
    """

    voice: Voice
    start: int
    weights: Array
    begin: int = 0
    pan: Wide | None = None
    send: Array | None = None

    def add_to(self, mix: Array, send: Array | None = None) -> None:
        """Add it to a block (N, 2 or more): to the mix, and to the channels of its own voice if there are any.

        What the room hears of it is added to `send` (N, 2), where that is not the mix itself.
        """
        bare = self.voice.sound(self.start, len(self.weights)) * self.weights
        sound = pan(bare, self.voice.event.pan) if self.pan is None else pan_along(bare, self.pan)
        part = mix[self.begin : self.begin + len(sound)]
        part[:, :2] += sound
        if mix.shape[1] > 2:
            own = 2 + 2 * self.voice.event.voice
            part[:, own : own + 2] += sound
        if send is not None:
            send[self.begin : self.begin + len(sound)] += sound if self.send is None else sound * self.send[:, None]


One = TypeVar("One", bound=Voice)


class Voices(Generic[One]):
    """The voices of a piece that sound, from the oldest on."""

    def __init__(self, piece: Layout) -> None:
        self._piece = piece
        self.all: list[One] = []

    def lengths(self, position: int, block: int) -> list[tuple[One, int]]:
        """Return each voice with how many of its samples fall into a block; it may begin within."""
        return [(voice, block - max(0, voice.event.onset - position)) for voice in self.all]

    def play(self, position: int, block: int) -> list[Passage]:
        """Advance all voices by a block, and return what is heard of them."""
        played = [voice.play(length, block - length) for voice, length in self.lengths(position, block)]
        self.leave()
        return played

    def leave(self) -> None:
        """Remove voices that are over."""
        self.all = [voice for voice in self.all if not voice.over]

    def drop(self) -> None:
        """Cut off everything that sounds."""
        for voice in self.all:
            voice.drop()
        self.all = []

    def reached(self) -> list[One]:
        """Return the voices that forgetting reaches."""
        return [voice for voice in self.all if reached(self._piece, voice.event)]

    def show(self, asked: Strengths, n_mels: int, *, silent: bool = False) -> tuple[Seen, Array]:
        """Return what shows now, and the mel column (M,) of the newest voice.

        Of each part, strengths are those of its newest voice that forgetting reaches; without one, those that are asked
        for (U,). In silence the column is at its floor.
        """
        piece, sounding, strengths = self._piece, [] if silent else self.all, asked.copy()
        if not sounding:
            return seen(piece, (), strengths), np.full(n_mels, -1.0, dtype=np.float32)
        one = sounding[newest(piece, [voice.event for voice in sounding])]
        for voice in sounding:
            if reached(piece, voice.event):
                strengths[piece.part(voice.event).within] = voice.event.strengths
        return seen(piece, [(voice.event, voice.firing) for voice in sounding], strengths), one.column


def ramp_of(ends: Ramp, block: int) -> Array:
    """Return a gain (block, 1) that moves linearly and reaches its end at the last sample."""
    begin, end = ends
    share = np.arange(1, block + 1, dtype=np.float32)[:, None] / np.float32(block)
    return np.float32(begin) + np.float32(end - begin) * share


def faded(passages: Sequence[Passage], ramp: Ramp, block: int) -> list[Passage]:
    """Return passages of a block multiplied by a gain ramp."""
    if ramp == (1.0, 1.0):
        return list(passages)
    return weighed(passages, ramp_of(ramp, block)[:, 0])


def weighed(passages: Sequence[Passage], gain: Array) -> list[Passage]:
    """Return passages of a block multiplied by a gain (N,)."""
    return [replace(one, weights=one.weights * gain[one.begin : one.begin + len(one.weights)]) for one in passages]
