"""The memories of a piece at work: the events that sound, kept up to date with the strengths asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fugue_state.bending.strengths import Strengths
from fugue_state.config import KEYS_AT_ONCE, VOCODER, QualityName
from fugue_state.engine.level import Envelopes, Level
from fugue_state.engine.moving import Moving
from fugue_state.engine.stream import Sketch, StreamedVoice, read
from fugue_state.engine.voice import Made, Passage, Voices, faded
from fugue_state.memory.layers import Trail
from fugue_state.memory.memory import Memory
from fugue_state.memory.vocoder import Stream
from fugue_state.piece.conductor import Bar, Conductor
from fugue_state.piece.event import Event, observed
from fugue_state.piece.layout import Layout

RESTS: dict[QualityName, int] = {"draft": 2, "live": 1, "final": 1}  # blocks without generating, after one with


class _Source:
    """What a memory's events are made to sound with: its streams, by quality, and their level."""

    def __init__(self, piece: Layout, memory: Memory, cores: int) -> None:
        score = piece.score
        learned = (score.inverter or memory.own_inverter) == VOCODER
        plain = memory.stream(score.seed, learned=False)
        full = memory.stream(score.seed) if learned else plain
        self.streams: dict[QualityName, Stream] = {"draft": plain, "live": full, "final": full}
        self.level = Level(piece, memory, self.streams[score.quality], cores)


class Player:
    """The memories of a piece at work: makes its events sound and follows the strengths asked for.

    If `finer`, voices are inverted only when they are over. Calibration beforehand is shared between `cores` threads.
    """

    def __init__(self, piece: Layout, block: int | None = None, *, finer: bool = False, cores: int = 1) -> None:
        self.piece = piece
        self.conductor = Conductor(piece, block)
        self._envelopes = Envelopes(self.conductor.rate)
        memories = {part.memory: None for part in piece.parts}
        self._sources = {memory: _Source(piece, memory, cores) for memory in memories}
        self.voices: Voices[StreamedVoice] = Voices(piece)
        self._moving = Moving(piece.score)
        self._finer = finer
        self._resting = 0  # blocks left in which only new events are generated
        self._frozen = False
        self.failed = False  # a memory generated a NaN or an infinity

    def take_in(self, bar: Bar) -> None:
        """Start a bar's events, and update a sounding voice to the strengths asked for."""
        if bar.frozen != self._frozen:  # what keys begin meanwhile sounds over the moment that is held
            for voice in self.voices.all:
                voice.hold(bar.frozen)
            self._frozen = bar.frozen
        for voice in self.voices.all:
            if voice.event.press in bar.let_go:
                voice.release()
        for event in bar.events:
            self.voices.all.append(self._voice(event, bar.quality))
        self._make_room()
        if bar.events or (not self._resting and not bar.rests and self._renew(bar.strengths)):
            self._resting = RESTS[bar.quality]
        else:
            self._resting = max(0, self._resting - 1)

    def _make_room(self) -> None:
        """Let go of the oldest that keys began, if there are too many."""
        keyed = [voice for voice in self.voices.all if voice.event.press is not None and not voice.released]
        for voice in keyed[:-KEYS_AT_ONCE]:
            voice.release()

    def _voice(self, event: Event, quality: QualityName) -> StreamedVoice:
        memory, rate = self.piece.part(event).memory, self.conductor.rate
        made, stream = self._made(event, Trail()), self._sources[memory].streams[quality]
        if self._finer:
            return Sketch(made, stream, rate, memory.invert)
        return StreamedVoice(made, stream, rate)

    def _renew(self, strengths: Strengths) -> bool:
        """Generate one voice again whose strengths are out of date; return whether there was one.

        Generating is slow, so a block renews one voice at most, and the blocks after it none. The newest voice goes
        first; while strengths keep moving, all voices take turns.
        """
        of = self.piece.part
        sounding = [v for v in self.voices.reached() if not v.released]
        stale = [v for v in sounding if not np.array_equal(v.event.strengths, strengths[of(v.event).within])]
        if stale:
            voice = max(stale, key=lambda v: (min(v.waited, 2 * len(self.voices.all)), v.event.onset))
            own = strengths[of(voice.event).within]
            voice.renew(self._made(replace(voice.event, strengths=own), voice.trail))
        return bool(stale)

    def _made(self, event: Event, trail: Trail) -> Made:
        """Generate an event; a mel with NaN or infinities becomes silence."""
        memory = self.piece.part(event).memory
        mel, activations = observed(memory, event, trail)
        if not np.isfinite(mel).all():
            self.failed = True
            mel = np.full_like(mel, -1.0)
        length = round(mel.shape[1] * memory.spec.hop * self.conductor.rate / memory.spec.sample_rate_hz)
        envelope, taken_db = self._envelopes(length, event.envelope)
        gain = self._sources[memory].level(mel, event.level_db, envelope, taken_db)
        return Made(event, mel, np.nan_to_num(activations), envelope, gain, trail)

    def passages(self, bar: Bar, position: int, block: int) -> list[Passage]:
        """Advance all voices by a block, and return what is heard of them, before the room."""
        if max(bar.gate) == 0.0:
            return []
        read(self.voices.lengths(position, block))
        return faded(self._moving(self.voices.play(position, block), bar.going, block), bar.gate, block)
