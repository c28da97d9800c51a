"""A piece as it is played: every change of a hand is heard in the next block."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fugue_state.audio.compiled import one_thread
from fugue_state.audio.io import Samples
from fugue_state.audio.limiter import Limiter
from fugue_state.audio.loudness import LoudnessMeter
from fugue_state.audio.mix import pan
from fugue_state.bending.strengths import Strengths
from fugue_state.config import HELD_LUFS, LIVE_LOOK_AHEAD_S, SWAP_S, VOCODER, QualityName
from fugue_state.errors import InputError
from fugue_state.memory.memory import Memory
from fugue_state.memory.vocoder import Stream
from fugue_state.piece.conductor import Bar, Conductor, Ramp
from fugue_state.piece.instrument import Event, Instrument, observed
from fugue_state.piece.level import Level
from fugue_state.piece.piece import Piece
from fugue_state.piece.voice import Made, Voice
from fugue_state.score.model import MadeFor, Score
from fugue_state.score.paths import Value

RUNAWAY = 100.0  # of full scale, before the limiter: what is no music any more
QUIETEST_DB = -120.0


@dataclass(frozen=True, eq=False)
class Sounding:
    """A block as it is heard: samples (N, 2) from `position` on, and what sounds at its beginning.

    `strengths` (U,) are what the newest event is made with, `activations` (U,) how strongly units fire, `mel` (M,)
    its column; in silence all that is asked for, nothing, and the floor. `peak` is in dB, `lufs` momentary.
    `overloaded` says that the block was muted, as it was not a number or beyond all bounds.
    """

    position: int
    samples: Samples
    chord: str | None
    strengths: Strengths
    activations: npt.NDArray[np.float32]
    mel: npt.NDArray[np.float32]
    peak: float
    lufs: float
    overloaded: bool


class Player:
    """A memory at work: makes the events of a piece sound and keeps them true to what is asked for."""

    def __init__(self, piece: Piece, block: int | None = None) -> None:
        self.piece, score, memory = piece, piece.score, piece.memory
        self.conductor = Conductor(piece, block)
        self.instrument = Instrument(memory, score)
        learned = (score.inverter or memory.own_inverter) == VOCODER
        plain = memory.stream(score.seed, learned=False)
        full = memory.stream(score.seed) if learned else plain
        self._streams: dict[QualityName, Stream] = {"draft": plain, "live": full, "final": full}
        self._level = Level(piece, self._streams[score.quality])
        self.voices: list[Voice] = []
        self._busy = False  # something was generated in the block before
        self.failed = False  # something was no number

    def take_in(self, bar: Bar) -> None:
        """Begin what begins, and bring what sounds nearer to the strengths asked for."""
        for voice in self.voices:
            voice.hold(bar.frozen)
        for event in bar.events:
            self.voices.append(
                Voice(self._made(event), self._streams[self.conductor.values["/quality"]], self.conductor.rate)
            )
        self._busy = bool(bar.events) or (not self._busy and self._renew(bar.strengths))

    def _renew(self, strengths: Strengths) -> bool:
        """Make one event anew that is not as it is asked for, if there is one.

        Generating is what takes time: so one in a block, and none in the next. The newest goes first; while strengths
        keep moving, all in turn.
        """
        stale = [v for v in self.voices if self.reached(v) and not np.array_equal(v.event.strengths, strengths)]
        if stale:
            voice = max(stale, key=lambda v: (min(v.waited, 2 * len(self.voices)), v.event.onset))
            voice.renew(self._made(replace(voice.event, strengths=strengths)))
        return bool(stale)

    def reached(self, voice: Voice) -> bool:
        """Return whether forgetting reaches a voice."""
        return self.piece.score.voices[voice.event.voice].forgets

    def _made(self, event: Event) -> Made:
        """Generate an event; what is not a number is silence."""
        memory = self.piece.memory
        _, mels, activations = next(observed(memory, (event,)))
        mel = mels[0]
        if not bool(mel.isfinite().all()):
            self.failed = True
            mel = torch.full_like(mel, -1.0)
        length = round(mel.shape[1] * memory.spec.hop * self.conductor.rate / memory.spec.sample_rate_hz)
        envelope, taken_db = self.instrument.envelope(length, event.envelope)
        gain = self._level(mel, event.level_db, envelope, HELD_LUFS - taken_db)
        return Made(event, mel, np.nan_to_num(activations[0].numpy()), envelope, gain)

    def mixed(self, bar: Bar, position: int, block: int) -> Samples:
        """Return what the events sound like (block, 2), before the room."""
        mix = np.zeros((block, 2), dtype=np.float32)
        if max(bar.gate) > 0.0:
            for voice in self.voices:
                begin = max(0, voice.event.onset - position)
                mix[begin:] += pan(voice.play(block - begin), voice.event.pan)
            self.voices = [voice for voice in self.voices if not voice.over]
        return mix * _ramp(bar.gate, block)


class Performance:
    """A score played live: changes come in between blocks, blocks come out; it knows no clock and no threads.

    Its own changes are played at their times, so a take plays again as it was, and can be played on. The same
    score and changes give the same samples. What is heard comes `latency` samples after `position`, for the limiter.
    A score of quality `draft` is played without its vocoder.
    """

    def __init__(self, score: Score, memory: Memory) -> None:
        master = score.master.model_copy(update={"normalize": False})
        self._score = score.model_copy(update={"resolution": "block", "master": master})
        with one_thread():
            self._player = Player(Piece(self._score, memory))
        self.block, self.rate = self._player.conductor.block, self._player.conductor.rate
        self._limiter = Limiter(score.master.ceiling_dbtp, self.rate, LIVE_LOOK_AHEAD_S)
        self.latency = self._limiter.delay
        self._past = self._limiter.silence()
        self._meter = LoudnessMeter(self.rate, peak=False)
        self._begun = 0  # where the present memory set in
        self._silence()

    def _silence(self) -> None:
        """Forget all that rings."""
        self._player.voices = []
        self._parting: tuple[Player, int] | None = None  # a memory that fades, and its blocks left
        start = self._player.instrument.start()
        self._tone, self._tail = start.tone, start.tail

    @property
    def position(self) -> int:
        """First sample of the next block."""
        return self._begun + self._player.conductor.position

    @property
    def values(self) -> dict[str, Any]:
        """What every control is at, but those of single units."""
        return dict(self._player.conductor.values)

    @property
    def strengths(self) -> Strengths:
        """What is asked for of every unit now (U,)."""
        return self._player.conductor.strengths

    @property
    def frozen(self) -> npt.NDArray[np.bool_]:
        """The units (U,) that stay as they are."""
        return self._player.conductor.frozen

    def change(self, path: str, value: Value = None) -> None:
        """Move a control that a take records, from the next block on; InputError if it cannot be."""
        self._player.conductor.change(path, value)

    def take(self) -> Score:
        """Return the score with all changes so far, as long as was played: it renders to the same samples."""
        conductor, memory = self._player.conductor, self._player.piece.memory
        if not conductor.position:
            raise InputError("nothing was played yet: a take needs a block at least")
        made_for = MadeFor(sha256=memory.fingerprint, chords=memory.labels, layers=memory.layers)
        played_s = conductor.position / self.rate
        done = {"changes": conductor.changes, "played_s": played_s, "made_for": made_for}
        return self._score.model_copy(update=done)

    def prepare(self, memory: Memory) -> Player:
        """Make another memory ready to be swapped for: this takes a second, and needs nothing of what plays."""
        score = self._score.model_copy(update={"changes": (), "played_s": None, "made_for": None})
        with one_thread():
            return Player(Piece(score, memory), self.block)

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

    def next(self) -> Sounding:
        """Play one block: never a NaN, never over the ceiling."""
        with one_thread(), torch.inference_mode():
            return self._next()

    def _next(self) -> Sounding:
        player, position = self._player, self._player.conductor.position
        bar = player.conductor.step()
        player.take_in(bar)
        seen = self._seen(bar)
        mix = player.mixed(bar, position, self.block) + self._parted()
        dry, wet, self._tone, self._tail = player.instrument.toned(mix, self._tone, self._tail)
        sound = (dry + wet) * _ramp(bar.gain, self.block)
        wild = player.failed or not bool((np.abs(sound) < RUNAWAY).all())
        if wild:
            player.failed = False
            sound = np.zeros_like(sound)
        if wild or bar.silenced:
            self._silence()
        sound, self._past = self._limiter(sound, self._past)
        self._meter.add(sound)
        peak = max(QUIETEST_DB, 20.0 * math.log10(max(float(np.abs(sound).max()), 1e-9)))
        return Sounding(self._begun + position, sound, *seen, peak, self._meter.momentary_lufs, wild)

    def _parted(self) -> Samples | float:
        """Return what is still heard of a memory that was swapped for another."""
        if self._parting is None:
            return 0.0
        player, left = self._parting
        total = self._parting_blocks
        bar = player.conductor.step()
        self._parting = (player, left - 1) if left > 1 else None
        ramp = _ramp((left / total, (left - 1) / total), self.block)
        return player.mixed(bar, player.conductor.position - self.block, self.block) * ramp

    def _seen(self, bar: Bar) -> tuple[str | None, Strengths, npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return chord, strengths, activations and mel column of what sounds."""
        memory, voices = self._player.piece.memory, self._player.voices
        quiet = np.zeros(memory.units, dtype=np.float32)
        if not voices or max(bar.gate) == 0.0:
            return None, bar.strengths, quiet, np.full(memory.spec.n_mels, -1.0, dtype=np.float32)
        newest = next((v for v in reversed(voices) if self._player.reached(v)), voices[-1])
        firing = np.maximum.reduce([quiet, *(voice.firing for voice in voices)])
        return newest.event.chord, newest.event.strengths, firing, newest.column


def _ramp(ends: Ramp, block: int) -> npt.NDArray[np.float32]:
    """Return a gain (block, 1) that moves evenly and arrives with the last sample."""
    begin, end = ends
    share = np.arange(1, block + 1, dtype=np.float32)[:, None] / np.float32(block)
    return np.float32(begin) + np.float32(end - begin) * share


def played(piece: Piece) -> Iterator[Sounding]:
    """Play a take to its end; the last block may be longer than what is left."""
    performance = Performance(piece.score, piece.memory)
    while performance.position < piece.score.samples:
        yield performance.next()
