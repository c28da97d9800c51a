"""A memory at work: events that sound, and follow what is asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fugue_state.arrays import Array
from fugue_state.bending.strengths import Strengths
from fugue_state.config import VOCODER, QualityName
from fugue_state.engine.chain import Chain
from fugue_state.engine.level import Envelopes, Level
from fugue_state.engine.stream import Made, Passage, Sketch, StreamedVoice, read
from fugue_state.memory.layers import Trail
from fugue_state.memory.vocoder import Stream
from fugue_state.piece.conductor import Bar, Conductor, Ramp
from fugue_state.piece.event import Event, observed
from fugue_state.piece.layout import Layout

RESTS: dict[QualityName, int] = {"draft": 2, "live": 1, "final": 1}  # blocks, after one in which something is generated


class Player:
    """A memory at work: makes the events of a piece sound and keeps them true to what is asked for.

    If `finer`, what they sound like is only known when they are over. What is to be measured before is shared between
    so many `cores`.
    """

    def __init__(self, piece: Layout, block: int | None = None, *, finer: bool = False, cores: int = 1) -> None:
        self.piece, score, memory = piece, piece.score, piece.memory
        self.conductor = Conductor(piece, block)
        self.chain = Chain(score)
        learned = (score.inverter or memory.own_inverter) == VOCODER
        plain = memory.stream(score.seed, learned=False)
        full = memory.stream(score.seed) if learned else plain
        self._streams: dict[QualityName, Stream] = {"draft": plain, "live": full, "final": full}
        self._envelopes = Envelopes(self.conductor.rate)
        self._level = Level(piece, self._streams[score.quality], cores)
        self.voices: list[StreamedVoice] = []
        self._finer = finer
        self._resting = 0  # blocks in which nothing is generated but what begins
        self.failed = False  # something was no number

    def take_in(self, bar: Bar) -> None:
        """Begin what begins, and bring what sounds nearer to the strengths asked for."""
        for voice in self.voices:
            voice.hold(bar.frozen)
        for event in bar.events:
            self.voices.append(self._voice(event, bar.quality))
        if bar.events or (not self._resting and not bar.rests and self._renew(bar.strengths)):
            self._resting = RESTS[bar.quality]
        else:
            self._resting = max(0, self._resting - 1)

    def _voice(self, event: Event, quality: QualityName) -> StreamedVoice:
        made, rate, stream = self._made(event, Trail()), self.conductor.rate, self._streams[quality]
        return (
            Sketch(made, stream, rate, self.piece.memory.invert) if self._finer else StreamedVoice(made, stream, rate)
        )

    def _renew(self, strengths: Strengths) -> bool:
        """Make one event anew that is not as it is asked for, if there is one.

        Generating is what takes time: so one in a block, and none in those that follow. The newest goes first; while
        strengths keep moving, all in turn.
        """
        stale = [v for v in self.voices if self.reached(v) and not np.array_equal(v.event.strengths, strengths)]
        if stale:
            voice = max(stale, key=lambda v: (min(v.waited, 2 * len(self.voices)), v.event.onset))
            voice.renew(self._made(replace(voice.event, strengths=strengths), voice.trail))
        return bool(stale)

    def reached(self, voice: StreamedVoice) -> bool:
        """Return whether forgetting reaches a voice."""
        return self.piece.score.voices[voice.event.voice].forgets

    def _made(self, event: Event, trail: Trail) -> Made:
        """Generate an event; what is not a number is silence."""
        memory = self.piece.memory
        mel, activations = observed(memory, event, trail)
        if not np.isfinite(mel).all():
            self.failed = True
            mel = np.full_like(mel, -1.0)
        length = round(mel.shape[1] * memory.spec.hop * self.conductor.rate / memory.spec.sample_rate_hz)
        envelope, taken_db = self._envelopes(length, event.envelope)
        gain = self._level(mel, event.level_db, envelope, taken_db)
        return Made(event, mel, np.nan_to_num(activations), envelope, gain, trail)

    def passages(self, bar: Bar, position: int, block: int) -> list[Passage]:
        """Play on by a block, and return what is heard in it, before the room."""
        if max(bar.gate) == 0.0:
            return []
        lengths = [(voice, block - max(0, voice.event.onset - position)) for voice in self.voices]
        read(lengths)
        played = [voice.play(length, block - length) for voice, length in lengths]
        self.leave()
        return faded(played, bar.gate, block)

    def leave(self) -> None:
        """Part from voices that are over."""
        self.voices = [voice for voice in self.voices if not voice.over]

    def drop(self) -> None:
        """Leave out what is left of all that sounds."""
        for voice in self.voices:
            voice.drop()
        self.voices = []


def ramp_of(ends: Ramp, block: int) -> Array:
    """Return a gain (block, 1) that moves evenly and arrives with the last sample."""
    begin, end = ends
    share = np.arange(1, block + 1, dtype=np.float32)[:, None] / np.float32(block)
    return np.float32(begin) + np.float32(end - begin) * share


def faded(passages: list[Passage], ramp: Ramp, block: int) -> list[Passage]:
    """Return passages under a gain that moves within a block."""
    if ramp == (1.0, 1.0):
        return passages
    gain = ramp_of(ramp, block)[:, 0]
    return [replace(passage, weights=passage.weights * gain[passage.begin :]) for passage in passages]
