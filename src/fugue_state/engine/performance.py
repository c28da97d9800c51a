"""A piece played live: every change of a control is heard from the next block on."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fugue_state.audio.compiled import one_thread
from fugue_state.bending.strengths import Strengths
from fugue_state.config import SWAP_S
from fugue_state.engine.chain import Block, Chain, PlannedBlock
from fugue_state.engine.monitor import Monitor
from fugue_state.engine.player import Player
from fugue_state.engine.voice import Passage, faded, weighed
from fugue_state.errors import InputError
from fugue_state.memory.memory import Memory
from fugue_state.piece.parts import Part
from fugue_state.piece.piece import Piece
from fugue_state.score.log import Log, taken
from fugue_state.score.model import LIVE_RECORDING, Score
from fugue_state.score.paths import Value
from fugue_state.settings import MisplacedError


class Performance:
    """A score played live: changes come in between blocks, blocks come out. It uses no clock and no threads.

    The score's own changes are played at their times, so a take replays as it was and can be continued. The same
    score and changes give the same samples. The limiter delays the sound by `latency` samples after `position`.
    A score of quality `draft` is played without its vocoder. If `finer`, call `advance` and `sound` separately: a
    voice that is inverted as a whole can sound only once all of it is known. Otherwise `live` is the highest quality.
    Preparation uses `cores` threads. Memories that voices name are taken from `memories` or loaded, as a Layout does.
    """

    def __init__(
        self,
        score: Score,
        memory: Memory,
        memories: Mapping[str, Memory] | None = None,
        *,
        finer: bool = False,
        cores: int = 1,
    ) -> None:
        for place in score.recordings.values():
            raise MisplacedError(place, LIVE_RECORDING)
        master = score.master.model_copy(update={"normalize": False})
        quality = "live" if score.quality == "final" and not finer else score.quality
        self._score = score.model_copy(update={"resolution": "block", "master": master, "quality": quality})
        with one_thread():
            self._player = Player(Piece(self._score, memory, memories), finer=finer, cores=cores)
            self._chain = Chain(self._score)
        self.block, self.rate = self._player.conductor.block, self._player.conductor.rate
        self._monitor = Monitor(score.master.ceiling_dbtp, self.rate, self.block)
        self.latency = self._monitor.latency
        self._ringing = self._chain.silence()
        self._begun = 0  # the position at which the current memory took over
        self._parting: tuple[Player, int] | None = None  # a memory that fades out, and how many blocks it has left

    def drop(self) -> None:
        """Cut off everything that sounds."""
        self._player.voices.drop()
        self._parting = None

    @property
    def position(self) -> int:
        """First sample of the next block."""
        return self._begun + self._player.conductor.position

    @property
    def origin(self) -> int:
        """Position at which the current memory took over; its log counts from there."""
        return self._begun

    @property
    def score(self) -> Score:
        """The score that is played, and the memories it is made for, without changes."""
        fresh = {"changes": (), "played_s": None, "recorded_from_s": None, "made_for": self._player.piece.made_for}
        return self._score.model_copy(update=fresh)

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts of the piece that is played, each with its memory."""
        return self._player.piece.parts

    @property
    def log(self) -> Log:
        """All changes since the current memory took over, by hand and by the score itself."""
        return self._player.conductor.log

    @property
    def values(self) -> dict[str, Any]:
        """The current value of every control, except those of single units."""
        return self._player.conductor.values

    @property
    def strengths(self) -> Strengths:
        """The strengths that are asked for now (U,)."""
        return self._player.conductor.strengths

    @property
    def brushed(self) -> Strengths:
        """The strengths (U,) that brushes alone have left, without faders and the plan."""
        return self._player.conductor.brushed

    @property
    def frozen(self) -> npt.NDArray[np.bool_]:
        """Mask (U,) of the units that are frozen."""
        return self._player.conductor.frozen

    def change(self, path: str, value: Value = None) -> None:
        """Move a control that takes record, from the next block on; InputError if it cannot be moved."""
        self._player.conductor.change(path, value)

    def back(self, path: str) -> list[tuple[str, Value]]:
        """Return the changes that restore the present state after this control is moved."""
        return self._player.conductor.back(path)

    @property
    def held(self) -> list[tuple[str, Value]]:
        """The changes that let go of all keys and the pedal."""
        return self._player.conductor.held

    def needs(self, path: str, value: Value) -> bool:
        """Return whether the memory must be measured before a control can be moved to a value."""
        return self._player.conductor.needs(path, value)

    def measure(self) -> None:
        """Measure the memory for any order a hand may choose; slow, and independent of what plays."""
        self._player.conductor.measure()

    def take(self) -> Score:
        """Return the score with all changes so far, as long as was played; it renders to the same samples."""
        played = self._player.conductor.position
        if not played:
            raise InputError("nothing was played yet: a take needs a block at least")
        return taken(self.score, self.log.since(0), played)

    def prepare(self, memory: Memory, name: str | None = None) -> Player:
        """Prepare another memory to be swapped in; takes about a second, and is independent of what plays.

        `name` is how a take will find the memory: its name, or the path it was loaded from. InputError if voices have
        memories of their own.
        """
        if any(voice.memory is not None for voice in self._score.voices):
            raise InputError("voices of this piece have memories of their own: another memory cannot take their place")
        # What sounds goes on, so nothing fades in.
        update = {"made_for": None, "memory": name or memory.header.name, "fade_in_s": 0.0}
        score = self.score.model_copy(update=update)
        orders = [(path, value) for path, value in self.values.items() if path.endswith("/order")]
        with one_thread():
            player = Player(Piece(score, memory), self.block)
            if any(player.conductor.needs(*order) for order in orders):
                player.conductor.measure()
            return player

    def swap(self, memory: Memory | Player) -> None:
        """Continue with another memory, preferably a prepared one: the old sound fades out, the piece starts again.

        Controls keep their values, except for those of single units and freeze. A take starts afresh with the swap.
        """
        player = memory if isinstance(memory, Player) else self.prepare(memory)
        player.conductor.carry_on(self._player.conductor)
        self._begun, self._score = self.position, player.piece.score
        self._parting = (self._player, self._parting_blocks)
        self._player = player

    @property
    def _parting_blocks(self) -> int:
        return math.ceil(SWAP_S * self.rate / self.block)

    def next(self) -> Block:
        """Play one block; its samples are never NaN and never above the ceiling."""
        return self.sound(self.advance())

    def advance(self) -> PlannedBlock:
        """Decide what one block plays, and move on to the next."""
        with one_thread():
            return self._advance()

    def _advance(self) -> PlannedBlock:
        player, position = self._player, self._player.conductor.position
        bar = player.conductor.step()
        player.take_in(bar)
        silent = max(bar.gate) == 0.0
        shown = player.voices.show(bar.strengths, player.piece.memory.spec.n_mels, silent=silent)
        passages = player.passages(bar, position, self.block) + self._parted()
        failed, player.failed = player.failed, False
        if failed or bar.silenced:
            self.drop()
        at = self._begun + position
        return PlannedBlock(at, self.block, passages, *shown, bar.gain, failed, bar.silenced, bar.fade)

    def sound(self, planned: PlannedBlock) -> Block:
        """Render a block; all blocks before it must have been rendered."""
        with one_thread():
            return self._sound(planned)

    def _sound(self, planned: PlannedBlock) -> Block:
        block, self._ringing = self._chain(planned, self._ringing)
        heard = self._monitor(block, failed=planned.failed)
        if heard.overloaded:
            for passage in planned.passages:
                passage.voice.drop()
            self._player.voices.leave()
        if heard.overloaded or planned.silenced:
            self._ringing = self._chain.silence()
        return heard

    def _parted(self) -> list[Passage]:
        """Return what is still heard of the memory that was swapped out."""
        if self._parting is None:
            return []
        player, left = self._parting
        total = self._parting_blocks
        bar = player.conductor.step()
        self._parting = (player, left - 1) if left > 1 else None
        passages = player.passages(bar, player.conductor.position - self.block, self.block)
        passages = passages if bar.fade is None else weighed(passages, bar.fade)
        return faded(passages, (left / total, (left - 1) / total), self.block)


def played(piece: Piece) -> Iterator[Block]:
    """Play a take to its end.

    At quality `final` every event is inverted as a whole by the memory's own inverter, once all changes to it are
    known. It therefore sounds better than it did live.
    """
    samples = piece.score.samples
    for block in _played(piece):
        left = samples - block.position
        yield block if left >= len(block.samples) else replace(block, samples=block.samples[:left])


def _played(piece: Piece) -> Iterator[Block]:
    performance = Performance(piece.score, piece.memory, piece.memories, finer=piece.score.quality == "final")
    coming: deque[PlannedBlock] = deque()
    while performance.position < piece.score.samples:
        coming.append(performance.advance())
        while coming and coming[0].settled:
            yield performance.sound(coming.popleft())
    performance.drop()
    yield from map(performance.sound, coming)
