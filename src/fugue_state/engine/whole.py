"""Offline playing: voices inverted as a whole, of events that are all known beforehand.

Every event is generated, inverted and shaped by itself (`Instrument.voice`), on all cores some time before it is due
(`Coming`). A `ResumePoint` is what is kept on the disk after a block, to go on from after a break.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np

from fugue_state.arrays import Array
from fugue_state.audio.compiled import cores
from fugue_state.audio.io import resample
from fugue_state.audio.loudness import event_lufs
from fugue_state.audio.mix import let_go
from fugue_state.config import ACTIVATION_STEPS, RELEASE_S
from fugue_state.engine.chain import Block, Chain, PlannedBlock, Ringing
from fugue_state.engine.level import Envelopes, held_db
from fugue_state.engine.moving import Moving
from fugue_state.engine.voice import Made, Passage, Voices
from fugue_state.errors import InputError
from fugue_state.memory.memory import Memory
from fugue_state.piece.event import Event, observed
from fugue_state.piece.layout import Layout
from fugue_state.piece.motion import Fade, Going
from fugue_state.piece.recorded import RecordedLine, Segment

EACH_AHEAD = 3  # voices per core that are made ahead of time, so that no core waits
AS_IT_IS = np.float32(1.0)  # weight of samples that are shaped already


class WholeVoice:
    """An event inverted as a whole: its samples (N,), with envelope and gain, are known before it begins."""

    settled = True

    def __init__(self, made: Made, samples: Array) -> None:
        self._made, self._samples = made, samples
        self._position = 0

    @property
    def event(self) -> Event:
        """The event it plays."""
        return self._made.event

    @property
    def over(self) -> bool:
        """Whether it has ended or was dropped."""
        return self._position >= len(self._samples)

    def drop(self) -> None:
        """Cut off the rest of it."""
        self._samples = self._samples[: self._position]

    def play(self, count: int, begin: int = 0) -> Passage:
        """Advance by `count` samples, which are heard from sample `begin` of a block on."""
        start, left = self._position, max(0, len(self._samples) - self._position)
        self._position += count
        return Passage(self, start, np.broadcast_to(AS_IT_IS, min(count, left)), begin)

    def sound(self, start: int, count: int) -> Array:
        """Return its samples (count,) from `start` on."""
        return self._samples[start : start + count]

    @property
    def column(self) -> Array:
        """The column (M,) of the mel that sounds now."""
        return self._made.mel[:, self._now]

    @property
    def firing(self) -> Array:
        """How strongly units (U,) fire now, under its envelope."""
        return self._made.firing(self._now, self._position)

    @property
    def _now(self) -> int:
        """The frame of the mel that sounds now."""
        frames: int = self._made.mel.shape[1]
        return min(self._position * frames // max(1, len(self._made.envelope)), frames - 1)


@dataclass(frozen=True, eq=False)
class ResumePoint:
    """Where playing can go on: what still rings in the room, and which voices.

    `handed` events had begun before `position`; of these, none before number `first` still rings.
    """

    position: int
    handed: int
    first: int
    ringing: Ringing


class Instrument:
    """The memories of a piece, played according to its score: makes voices of events, and the chain they go through."""

    def __init__(self, piece: Layout, *, stems: bool = False) -> None:
        self.piece, score = piece, piece.score
        self.chain = Chain(score, stems=stems)
        self._rate, self._loudness = score.file.sample_rate_hz, score.loudness
        self._envelopes = Envelopes(self._rate)

    def voice(self, event: Event) -> WholeVoice:
        """Make a voice of an event; it does not depend on other events.

        Raises InputError for an event of a voice that the score does not have.
        """
        voices = len(self.piece.score.voices)
        if not 0 <= event.voice < voices:
            raise InputError(f"an event of voice {event.voice}; there are voices 0 to {voices - 1}")
        memory = self.piece.part(event).memory
        line = self.piece.lines[event.voice]
        if isinstance(line, RecordedLine) and event.segment is not None:
            return self._recording(event, line.segment(event.segment), memory)
        mel, activations = observed(memory, event)
        sound = resample(memory.invert(mel[None])[0], memory.spec.sample_rate_hz, self._rate)
        envelope, taken_db = self._envelopes(len(sound), event.envelope)
        shaped = sound * envelope
        lufs = event_lufs(shaped, self._rate) if self._loudness.hold else 0.0
        gain = np.float32(10.0 ** (held_db(event.level_db, lufs, taken_db, self._loudness) / 20.0))
        shaped *= gain
        if event.held is not None:  # after its loudness is held, which would make up for what is missing
            release = round(RELEASE_S * self._rate)
            falling = let_go(-event.held, len(envelope), release)
            envelope, shaped = envelope * falling, (shaped * falling)[: event.held + release]
        return WholeVoice(Made(event, mel, activations, envelope, float(gain)), shaped)

    def _recording(self, event: Event, segment: Segment, memory: Memory) -> WholeVoice:
        """Make a voice of a part of a recording: as it is, or as much as is left of it."""
        if self.piece.score.voices[event.voice].forgets:
            remembered, activations = observed(memory, event)
            mel, shaped = self._left(event, segment, memory, remembered)
        else:  # nothing of the memory is heard
            activations = np.zeros((memory.units, ACTIVATION_STEPS), dtype=np.float32)
            mel, shaped = segment.mel, segment.samples * segment.window
        level_db = event.level_db
        if self._loudness.hold:
            lifted_db = min(segment.lufs - event_lufs(shaped, self._rate), self._loudness.lift_db)
            level_db += segment.level_db + lifted_db
        gain = np.float32(10.0 ** (level_db / 20.0))
        return WholeVoice(Made(event, mel, activations, segment.window, float(gain)), shaped * gain)

    def _left(self, event: Event, segment: Segment, memory: Memory, remembered: Array) -> tuple[Array, Array]:
        """Return what is left of a part of a recording: its mel (M, T), and its samples (N,) under the window.

        With the share that is remembered, the recording's own phases give way to others: speech could be understood
        by its phases alone. Where phases are its own, neighbours fit each other; elsewhere they meet at equal power.
        """
        share = float(event.strengths.mean())
        mel, rate = segment.forgotten(remembered, share), memory.spec.sample_rate_hz
        window, scale = segment.window, np.float32(segment.scale)
        left = resample(memory.recast(mel, segment.sound) * scale, rate, self._rate)[: len(window)] * window
        if share < 1.0:
            other = resample(memory.invert(mel[None])[0] * scale, rate, self._rate)[: len(window)] * np.sqrt(window)
            left = np.float32(share**0.5) * left + np.float32((1.0 - share) ** 0.5) * other
        return mel, left


class Coming:
    """The voices of events in order, rendered in parallel some time before they are due."""

    def __init__(self, make: Callable[[Event], WholeVoice], events: Iterable[Event], pool: Executor) -> None:
        self._make, self._events, self._pool = make, iter(events), pool
        self._waiting: deque[tuple[Event, Future[WholeVoice]]] = deque()

    def before(self, position: int) -> list[WholeVoice]:
        """Return the voices that begin before a sample and have not been returned yet."""
        found = []
        while self._ahead() and self._waiting[0][0].onset < position:
            found.append(self._waiting.popleft()[1].result())
        return found

    def take(self, count: int) -> list[WholeVoice]:
        """Return the next `count` voices."""
        return [self._waiting.popleft()[1].result() for _ in range(count) if self._ahead()]

    def _ahead(self) -> bool:
        """Start rendering enough voices ahead of time; return whether any are left."""
        for event in islice(self._events, EACH_AHEAD * cores() - len(self._waiting)):
            self._waiting.append((event, self._pool.submit(self._make, event)))
        return bool(self._waiting)

    def stop(self) -> None:
        """Cancel the voices that have not been started."""
        for _, voice in self._waiting:
            voice.cancel()


class Planner:
    """Plans the blocks of events that are all known beforehand, and knows where to go on after each."""

    def __init__(self, instrument: Instrument, coming: Coming, place: ResumePoint | None) -> None:
        self._piece = piece = instrument.piece
        self._coming, self._n_mels = coming, piece.memory.spec.n_mels
        self._voices: Voices[WholeVoice] = Voices(piece)
        self._moving, self._fade = Moving(piece.score), Fade(piece.score)
        self._asked = np.ones(piece.units, dtype=np.float32)  # the strengths that the newest events were made with
        self._handed = 0
        self._sounding: deque[Event] = deque()  # from the oldest that still rings
        self.position = 0
        if place is not None:
            self._go_on(place)

    def _go_on(self, place: ResumePoint) -> None:
        """Bring the voices to where they were at a place."""
        self._take_in(self._coming.take(place.handed - place.first))
        for voice in self._voices.all:
            voice.play(place.position - voice.event.onset)
        self._voices.leave()
        self.position, self._handed = place.position, place.handed

    def _take_in(self, voices: list[WholeVoice]) -> None:
        self._voices.all += voices
        self._handed += len(voices)
        self._sounding.extend(voice.event for voice in voices)
        for voice in self._voices.reached():
            self._asked[self._piece.part(voice.event).within] = voice.event.strengths

    def advance(self, length: int) -> PlannedBlock:
        """Plan the next block; InputError for an event that begins before it."""
        position = self.position
        due = self._coming.before(position + length)
        late = [voice.event.onset for voice in due if voice.event.onset < position]
        if late:
            raise InputError(f"an event at sample {late[0]} came after sample {position} was played")
        self._take_in(due)
        shown = self._voices.show(self._asked, self._n_mels)
        self.position += length
        going = Going(position)
        passages = self._moving(self._voices.play(position, length), going, length)
        return PlannedBlock(position, length, passages, *shown, fade=self._fade(going, length))

    def place(self, ringing: Ringing) -> ResumePoint:
        """Return where to go on after the blocks planned so far, with what rings in the room."""
        oldest = self._voices.all[0].event if self._voices.all else None
        while self._sounding and self._sounding[0] is not oldest:
            self._sounding.popleft()
        return ResumePoint(self.position, self._handed, self._handed - len(self._sounding), ringing)


def play(instrument: Instrument, events: Iterable[Event], samples: int, block: int) -> Iterator[Block]:
    """Play events that are all known beforehand: `samples` samples, in blocks of `block`.

    The sound does not depend on the block length, nor on the number of cores.
    """
    return (heard for heard, _ in play_on(instrument, events, samples, block))


def play_on(
    instrument: Instrument, events: Iterable[Event], samples: int, block: int, place: ResumePoint | None = None
) -> Iterator[tuple[Block, ResumePoint]]:
    """Play as `play` does, each block with the place after it; from `place` on as if there had been no break.

    `events` must be all events of the piece, and `block` the same as before the interruption.
    """
    if block < 1:
        raise InputError(f"a block holds at least 1 sample, got {block}")
    waiting = iter(events) if place is None else islice(events, place.first, None)
    ringing = instrument.chain.silence() if place is None else place.ringing
    with ThreadPoolExecutor(cores()) as pool:
        coming = Coming(instrument.voice, waiting, pool)
        try:
            planner = Planner(instrument, coming, place)
            while planner.position < samples:
                planned = planner.advance(min(block, samples - planner.position))
                heard, ringing = instrument.chain(planned, ringing)
                yield heard, planner.place(ringing)
        finally:
            coming.stop()
