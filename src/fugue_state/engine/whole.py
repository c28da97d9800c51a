"""Offline playing: voices inverted as a whole, and blocks of events that are all known beforehand.

How a block comes to be: every event is generated, inverted and shaped by itself (`Instrument.voice`), on all cores
some time before it is due (`Coming`). A block adds up the parts of voices that fall in it, tones the mix and puts it
into the room (`Instrument.step`). What one block leaves to the next is a `State`; a `ResumePoint` is what is kept of it
on the disk, to go on from after a break.
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
from fugue_state.audio.mix import add_at, pan
from fugue_state.engine.chain import Chain, Ringing
from fugue_state.engine.level import Envelopes, held_db
from fugue_state.errors import InputError
from fugue_state.memory.memory import Memory
from fugue_state.piece.event import Event, generated
from fugue_state.score.model import Score

EACH_AHEAD = 3  # voices per core that are made ahead of time, so that no core waits


@dataclass(frozen=True, eq=False)
class WholeVoice:
    """A rendered event: stereo samples (N, 2)."""

    event: Event
    samples: Array

    @property
    def ends(self) -> int:
        """The sample after its last one."""
        return self.event.onset + len(self.samples)


@dataclass(frozen=True)
class State:
    """Everything that one block hands on to the next."""

    position: int
    voices: tuple[WholeVoice, ...]
    ringing: Ringing


@dataclass(frozen=True, eq=False)
class ResumePoint:
    """Where playing can go on: a state, its voices told by their events.

    `handed` events had begun before `position`; of these, none before number `first` still rings.
    """

    position: int
    handed: int
    first: int
    ringing: Ringing


@dataclass(frozen=True, eq=False)
class Block:
    """Sound (N, 2) from sample `position` on.

    `stems`, where asked for, are (N, 2 S): dry, reverb, then (if there are several voices) each voice, dry. Dry and
    reverb add up to `samples`, the voices add up to dry.
    """

    position: int
    samples: Array
    stems: Array | None = None


class Instrument:
    """A memory played according to a score: events become voices, which are mixed, toned and put into a room."""

    def __init__(self, memory: Memory, score: Score, *, stems: bool = False) -> None:
        self.memory = memory
        self._rate, self._loudness = score.file.sample_rate_hz, score.loudness
        self._chain, self._envelopes = Chain(score), Envelopes(self._rate)
        self._stems = stems
        voices = len(score.voices)
        self._apart = voices if stems and voices > 1 else 0  # voices that are also mixed by themselves

    def start(self) -> State:
        """Return the state before the first block."""
        return State(0, (), self._chain.silence(2 + 2 * self._apart))

    def resume(self, place: ResumePoint, voices: Iterable[WholeVoice]) -> State:
        """Return the state at a place; `voices` are those begun before it that may still ring."""
        return State(place.position, _ringing(voices, place.position), place.ringing)

    def step(self, samples: int, voices: Iterable[WholeVoice], state: State) -> tuple[Block, State]:
        """Play one block of so many samples, in which these voices begin.

        Raises InputError for a voice that begins in the past, or whose number is out of range.
        """
        new = tuple(voices)
        self._check([voice.event for voice in new], state.position)
        all_ = state.voices + new
        dry, wet, ringing = self._chain(self._mixed(all_, state.position, samples), state.ringing)
        stems = np.concatenate([dry[:, :2], wet, dry[:, 2:]], axis=1) if self._stems else None
        end = state.position + samples
        return Block(state.position, dry[:, :2] + wet, stems), State(end, _ringing(all_, end), ringing)

    def _check(self, events: list[Event], position: int) -> None:
        late = [event.onset for event in events if event.onset < position]
        if late:
            raise InputError(f"an event at sample {late[0]} came after sample {position} was played")
        strange = [event.voice for event in events if self._apart and not 0 <= event.voice < self._apart]
        if strange:
            raise InputError(f"an event of voice {strange[0]}; there are voices 0 to {self._apart - 1}")

    def _mixed(self, voices: tuple[WholeVoice, ...], position: int, samples: int) -> Array:
        """Sum what sounds from `position` on (N, 2 or more): the mix, then each voice that is kept apart."""
        dry = np.zeros((samples, 2 + 2 * self._apart), dtype=np.float32)
        for voice in voices:
            add_at(dry[:, :2], position, voice.samples, voice.event.onset)
            if self._apart:
                begin = 2 + 2 * voice.event.voice
                add_at(dry[:, begin : begin + 2], position, voice.samples, voice.event.onset)
        return dry

    def voice(self, event: Event) -> WholeVoice:
        """Render an event; the result does not depend on other events."""
        sound = self.memory.invert(generated(self.memory, event)[None])[0]
        placed = resample(sound, self.memory.spec.sample_rate_hz, self._rate)
        return WholeVoice(event, pan(self._shaped(event, placed), event.pan))

    def _shaped(self, event: Event, sound: Array) -> Array:
        """Apply to a sound (N,) its envelope, its level, and the gain that holds its loudness."""
        gain, taken_db = self._envelopes(len(sound), event.envelope)
        shaped = sound * gain
        lufs = event_lufs(shaped, self._rate) if self._loudness.hold else 0.0
        level_db = held_db(event.level_db, lufs, taken_db, self._loudness)
        return shaped * np.float32(10.0 ** (level_db / 20.0))


def _ringing(voices: Iterable[WholeVoice], position: int) -> tuple[WholeVoice, ...]:
    """Return the voices that still sound after `position`."""
    return tuple(voice for voice in voices if voice.ends > position)


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
    state, handed = instrument.start(), 0
    sounding: deque[Event] = deque()  # from the oldest that still rings
    waiting = iter(events) if place is None else islice(events, place.first, None)
    with ThreadPoolExecutor(cores()) as pool:
        coming = Coming(instrument.voice, waiting, pool)
        try:
            if place is not None:
                before = coming.take(place.handed - place.first)
                state, handed = instrument.resume(place, before), place.handed
                sounding.extend(voice.event for voice in before)
            while state.position < samples:
                length = min(block, samples - state.position)
                due = tuple(coming.before(state.position + length))
                handed += len(due)
                sounding.extend(voice.event for voice in due)
                heard, state = instrument.step(length, due, state)
                oldest = state.voices[0].event if state.voices else None
                while sounding and sounding[0] is not oldest:
                    sounding.popleft()
                yield heard, ResumePoint(state.position, handed, handed - len(sounding), state.ringing)
        finally:
            coming.stop()
