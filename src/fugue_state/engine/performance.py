"""A piece played live: every change of a control is heard from the next block on."""

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

RUNAWAY = 100.0  # of full scale, before the limiter: anything louder is a fault
QUIETEST_DB = -120.0


@dataclass(frozen=True, eq=False)
class PlayedBlock:
    """A block as it is heard: samples (N, 2) from `position` on, and what sounds at its beginning.

    `strengths` (U,) are those of the newest event, `activations` (U,) say how strongly units fire, `mel` (M,) is its
    current column. In silence, `strengths` are those asked for now, `activations` are zero and `mel` is its floor.
    `peak` is in dB, `lufs` is momentary. `overloaded`: the sound was NaN or far too loud, and fades to silence here.
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
    """A block whose content is decided but that may not have sounded yet: what plays in it, what shows as it begins."""

    position: int
    passages: list[Passage]
    gain: Ramp
    failed: bool
    silenced: bool
    seen: Shown

    @property
    def settled(self) -> bool:
        """Whether everything heard in it is known by now."""
        return all(passage.voice.settled for passage in self.passages)


class Performance:
    """A score played live: changes come in between blocks, blocks come out. It uses no clock and no threads.

    The score's own changes are played at their times, so a take replays as it was and can be continued. The same
    score and changes give the same samples. The limiter delays the sound by `latency` samples after `position`.
    A score of quality `draft` is played without its vocoder. If `finer`, call `advance` and `sound` separately: a
    voice that is inverted as a whole can sound only once all of it is known. Otherwise `live` is the highest quality.
    Preparation uses `cores` threads.
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
        self._begun = 0  # the position at which the current memory took over
        self._parting: tuple[Player, int] | None = None  # a memory that fades out, and how many blocks it has left
        self._last = np.zeros((self.block, 2), dtype=np.float32)  # before the limiter
        self._quiet()

    def _quiet(self) -> None:
        """Clear the reverb tail."""
        self._ringing = self._player.chain.silence()

    def drop(self) -> None:
        """Cut off everything that sounds."""
        self._player.drop()
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
        """The score that is played, and the memory it is made for, without changes."""
        memory = self._player.piece.memory
        made_for = MadeFor(sha256=memory.fingerprint, chords=memory.labels, layers=memory.layers)
        fresh = {"changes": (), "played_s": None, "recorded_from_s": None, "made_for": made_for}
        return self._score.model_copy(update=fresh)

    @property
    def log(self) -> Log:
        """All changes since the current memory took over, by hand and by the score itself."""
        return self._player.conductor.log

    @property
    def values(self) -> dict[str, Any]:
        """The current value of every control, except those of single units."""
        return dict(self._player.conductor.values)

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

        `name` is how a take will find the memory: its name, or the path it was loaded from.
        """
        score = self.score.model_copy(update={"made_for": None, "memory": name or memory.header.name})
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

    def next(self) -> PlayedBlock:
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
        seen = self._seen(bar)
        passages = player.passages(bar, position, self.block) + self._parted()
        failed, player.failed = player.failed, False
        if failed or bar.silenced:
            self.drop()
        return PlannedBlock(self._begun + position, passages, bar.gain, failed, bar.silenced, seen)

    def sound(self, moment: PlannedBlock) -> PlayedBlock:
        """Render a block; all blocks before it must have been rendered."""
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
        """Return what is still heard of the memory that was swapped out."""
        if self._parting is None:
            return []
        player, left = self._parting
        total = self._parting_blocks
        bar = player.conductor.step()
        self._parting = (player, left - 1) if left > 1 else None
        passages = player.passages(bar, player.conductor.position - self.block, self.block)
        return faded(passages, (left / total, (left - 1) / total), self.block)

    def _seen(self, bar: Bar) -> Shown:
        """Return chord, strengths, activations and mel column of the newest voice that forgetting reaches."""
        memory, voices = self._player.piece.memory, self._player.voices
        quiet = np.zeros(memory.units, dtype=np.float32)
        if not voices or max(bar.gate) == 0.0:
            return None, bar.strengths, quiet, np.full(memory.spec.n_mels, -1.0, dtype=np.float32)
        newest = next((v for v in reversed(voices) if self._player.reached(v)), voices[-1])
        firing = np.maximum.reduce([quiet, *(voice.firing for voice in voices)])
        return newest.event.chord, newest.event.strengths, firing, newest.column


def played(piece: Piece) -> Iterator[PlayedBlock]:
    """Play a take to its end; the last block may be longer than what is left.

    At quality `final` every event is inverted as a whole by the memory's own inverter, once all changes to it are
    known. It therefore sounds better than it did live.
    """
    performance = Performance(piece.score, piece.memory, finer=piece.score.quality == "final")
    coming: deque[PlannedBlock] = deque()
    while performance.position < piece.score.samples:
        coming.append(performance.advance())
        while coming and coming[0].settled:
            yield performance.sound(coming.popleft())
    performance.drop()
    yield from map(performance.sound, coming)
