"""A piece as it is played: every change of a hand is heard in the next block."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fugue_state.arrays import Array
from fugue_state.audio.compiled import one_thread
from fugue_state.audio.limiter import Limiter
from fugue_state.audio.loudness import LoudnessMeter
from fugue_state.audio.mix import dying
from fugue_state.bending.strengths import Strengths
from fugue_state.config import LIVE_LOOK_AHEAD_S, SWAP_S
from fugue_state.engine.player import Player, faded, ramp_of
from fugue_state.engine.stream import Passage
from fugue_state.errors import InputError
from fugue_state.memory.memory import Memory
from fugue_state.piece.conductor import Bar, Ramp
from fugue_state.piece.piece import Piece
from fugue_state.score.log import Log, taken
from fugue_state.score.model import MadeFor, Score
from fugue_state.score.paths import Value

RUNAWAY = 100.0  # of full scale, before the limiter: what is no music any more
QUIETEST_DB = -120.0


@dataclass(frozen=True, eq=False)
class PlayedBlock:
    """A block as it is heard: samples (N, 2) from `position` on, and what sounds at its beginning.

    `strengths` (U,) are what the newest event is made with, `activations` (U,) how strongly units fire, `mel` (M,)
    its column; in silence all that is asked for, nothing, and the floor. `peak` is in dB, `lufs` momentary.
    `overloaded` says that the block fades to silence, as it was not a number or beyond all bounds.
    """

    position: int
    samples: Array
    chord: str | None
    strengths: Strengths
    activations: Array
    mel: Array
    peak: float
    lufs: float
    overloaded: bool


Shown = tuple[str | None, Strengths, Array, Array]


@dataclass(frozen=True, eq=False)
class PlannedBlock:
    """A block that is decided, but may not have sounded: what is heard in it, and what is seen at its beginning."""

    position: int
    passages: list[Passage]
    gain: Ramp
    failed: bool
    silenced: bool
    seen: Shown

    @property
    def settled(self) -> bool:
        """Whether all that is heard in it is known."""
        return all(passage.voice.settled for passage in self.passages)


class Performance:
    """A score played live: changes come in between blocks, blocks come out; it knows no clock and no threads.

    Its own changes are played at their times, so a take plays again as it was, and can be played on. The same
    score and changes give the same samples. What is heard comes `latency` samples after `position`, for the limiter.
    A score of quality `draft` is played without its vocoder. If `finer`, `advance` and `sound` go apart: what is
    inverted as a whole sounds when all of it is known. Otherwise nothing is finer than `live`. It is made ready on so
    many `cores`.
    """

    def __init__(self, score: Score, memory: Memory, *, finer: bool = False, cores: int = 1) -> None:
        master = score.master.model_copy(update={"normalize": False})
        quality = "live" if score.quality == "final" and not finer else score.quality
        self._score = score.model_copy(update={"resolution": "block", "master": master, "quality": quality})
        with one_thread():
            self._player = Player(Piece(self._score, memory), finer=finer, cores=cores)
        self.block, self.rate = self._player.conductor.block, self._player.conductor.rate
        self._limiter = Limiter(score.master.ceiling_dbtp, self.rate, LIVE_LOOK_AHEAD_S)
        self.latency: int = self._limiter.delay
        self._past = self._limiter.silence()
        self._meter = LoudnessMeter(self.rate, peak=False)
        self._begun = 0  # where the present memory set in
        self._parting: tuple[Player, int] | None = None  # a memory that fades, and its blocks left
        self._last = np.zeros((self.block, 2), dtype=np.float32)  # before the limiter
        self._quiet()

    def _quiet(self) -> None:
        """Forget what rings in the room."""
        self._ringing = self._player.chain.silence()

    def drop(self) -> None:
        """Leave out what is left of all that sounds."""
        self._player.drop()
        self._parting = None

    @property
    def position(self) -> int:
        """First sample of the next block."""
        return self._begun + self._player.conductor.position

    @property
    def origin(self) -> int:
        """Position at which the present memory set in; its log counts from there."""
        return self._begun

    @property
    def score(self) -> Score:
        """What is played, and what it was made for, without changes."""
        memory = self._player.piece.memory
        made_for = MadeFor(sha256=memory.fingerprint, chords=memory.labels, layers=memory.layers)
        return self._score.model_copy(update={"changes": (), "played_s": None, "made_for": made_for})

    @property
    def log(self) -> Log:
        """All that was done since the present memory set in, by hands and by the score's own changes."""
        return self._player.conductor.log

    @property
    def values(self) -> dict[str, Any]:
        """What every control is at, but those of single units."""
        return dict(self._player.conductor.values)

    @property
    def strengths(self) -> Strengths:
        """What is asked for of every unit now (U,)."""
        return self._player.conductor.strengths

    @property
    def brushed(self) -> Strengths:
        """What brushes alone have left of every unit (U,), without faders and what is planned."""
        return self._player.conductor.brushed

    @property
    def frozen(self) -> npt.NDArray[np.bool_]:
        """The units (U,) that stay as they are."""
        return self._player.conductor.frozen

    def change(self, path: str, value: Value = None) -> None:
        """Move a control that a take records, from the next block on; InputError if it cannot be."""
        self._player.conductor.change(path, value)

    def back(self, path: str) -> list[tuple[str, Value]]:
        """Return the moves that lead back to how things are now, once a control has moved."""
        return self._player.conductor.back(path)

    def needs(self, path: str, value: Value) -> bool:
        """Return whether the memory must be measured before a control can be moved to a value."""
        return self._player.conductor.needs(path, value)

    def measure(self) -> None:
        """Measure the memory for what a hand may ask for: takes its time, and needs nothing of what plays."""
        self._player.conductor.measure()

    def take(self) -> Score:
        """Return the score with all changes so far, as long as was played: it renders to the same samples."""
        played = self._player.conductor.position
        if not played:
            raise InputError("nothing was played yet: a take needs a block at least")
        return taken(self.score, self.log.since(0), played)

    def prepare(self, memory: Memory, name: str | None = None) -> Player:
        """Make another memory ready to be swapped for: this takes a second, and needs nothing of what plays.

        `name` is what a take is to find it by: what it is called, or the path it was loaded from.
        """
        score = self.score.model_copy(update={"made_for": None, "memory": name or memory.header.name})
        orders = [(path, value) for path, value in self.values.items() if path.endswith("/order")]
        with one_thread():
            player = Player(Piece(score, memory), self.block)
            if any(player.conductor.needs(*order) for order in orders):
                player.conductor.measure()
            return player

    def swap(self, memory: Memory | Player) -> None:
        """Play on with another memory, best a prepared one: what sounds fades, the piece begins again.

        Controls stay where they are, but what is done to single units, and freeze, do not. A take begins anew with it.
        """
        player = memory if isinstance(memory, Player) else self.prepare(memory)
        player.conductor.carry_on(self._player.conductor)
        self._begun, self._score = self.position, player.piece.score
        self._parting = (self._player, self._parting_blocks)
        self._player = player

    @property
    def _parting_blocks(self) -> int:
        return math.ceil(SWAP_S * self.rate / self.block)

    def next(self) -> PlayedBlock:
        """Play one block: never a NaN, never over the ceiling."""
        return self.sound(self.advance())

    def advance(self) -> PlannedBlock:
        """Decide on one block, and go on to the next."""
        with one_thread():
            return self._advance()

    def _advance(self) -> PlannedBlock:
        player, position = self._player, self._player.conductor.position
        bar = player.conductor.step()
        player.take_in(bar)
        seen = self._seen(bar)
        passages = player.passages(bar, position, self.block) + self._parted()
        failed, player.failed = player.failed, False
        if failed or bar.silenced:
            self.drop()
        return PlannedBlock(self._begun + position, passages, bar.gain, failed, bar.silenced, seen)

    def sound(self, moment: PlannedBlock) -> PlayedBlock:
        """Make a block sound, after all that were before it."""
        with one_thread():
            return self._sound(moment)

    def _sound(self, moment: PlannedBlock) -> PlayedBlock:
        mix = np.zeros((self.block, 2), dtype=np.float32)
        for passage in moment.passages:
            passage.add_to(mix)
        dry, wet, self._ringing = self._player.chain(mix, self._ringing)
        sound = (dry + wet) * ramp_of(moment.gain, self.block)
        wild = moment.failed or not bool((np.abs(sound) < RUNAWAY).all())
        if wild:
            sound = dying(self._last, self.block)
            for passage in moment.passages:
                passage.voice.drop()
            self._player.leave()
        self._last = np.zeros_like(sound) if wild else sound
        if wild or moment.silenced:
            self._quiet()
        sound, self._past = self._limiter(sound, self._past)
        self._meter.add(sound)
        peak = max(QUIETEST_DB, 20.0 * math.log10(max(float(np.abs(sound).max()), 1e-9)))
        return PlayedBlock(moment.position, sound, *moment.seen, peak, self._meter.momentary_lufs, wild)

    def _parted(self) -> list[Passage]:
        """Return what is still heard of a memory that was swapped for another."""
        if self._parting is None:
            return []
        player, left = self._parting
        total = self._parting_blocks
        bar = player.conductor.step()
        self._parting = (player, left - 1) if left > 1 else None
        passages = player.passages(bar, player.conductor.position - self.block, self.block)
        return faded(passages, (left / total, (left - 1) / total), self.block)

    def _seen(self, bar: Bar) -> Shown:
        """Return chord, strengths, activations and mel column of what sounds."""
        memory, voices = self._player.piece.memory, self._player.voices
        quiet = np.zeros(memory.units, dtype=np.float32)
        if not voices or max(bar.gate) == 0.0:
            return None, bar.strengths, quiet, np.full(memory.spec.n_mels, -1.0, dtype=np.float32)
        newest = next((v for v in reversed(voices) if self._player.reached(v)), voices[-1])
        firing = np.maximum.reduce([quiet, *(voice.firing for voice in voices)])
        return newest.event.chord, newest.event.strengths, firing, newest.column


def played(piece: Piece) -> Iterator[PlayedBlock]:
    """Play a take to its end; the last block may be longer than what is left.

    At quality `final` every event is inverted as a whole, by the memory's own inverter, when all that hands did to it
    is known: nothing was heard so live.
    """
    performance = Performance(piece.score, piece.memory, finer=piece.score.quality == "final")
    coming: deque[PlannedBlock] = deque()
    while performance.position < piece.score.samples:
        coming.append(performance.advance())
        while coming and coming[0].settled:
            yield performance.sound(coming.popleft())
    performance.drop()
    yield from map(performance.sound, coming)
