"""The one engine: controls in, blocks of sound out, offline and live alike."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import islice

import numpy as np
import numpy.typing as npt

from fugue_state.audio.compiled import cores
from fugue_state.audio.io import Samples, resample
from fugue_state.audio.loudness import event_lufs
from fugue_state.audio.mix import add_at, envelope, pan
from fugue_state.audio.reverb import Convolver, Tail, room
from fugue_state.audio.tone import Tilt
from fugue_state.bending.strengths import Strengths
from fugue_state.config import HELD_LUFS, EnvelopeConfig
from fugue_state.errors import InputError
from fugue_state.memory.memory import Memory
from fugue_state.piece.event import Event, observed
from fugue_state.score.model import Score

EACH_AHEAD = 3  # voices for every core that are made before they are due, so that none has to wait


@dataclass(frozen=True)
class Controls:
    """What the player asks for in one block: its length, and voices from now on."""

    samples: int
    voices: tuple[Voice, ...] = ()


@dataclass(frozen=True, eq=False)
class Voice:
    """An event made audible: stereo samples (N, 2), its mel (M, T) and unit activations over time (U, steps)."""

    event: Event
    samples: Samples
    mel: npt.NDArray[np.float32]
    activations: npt.NDArray[np.float32]


@dataclass(frozen=True)
class State:
    """All that one block leaves to the next."""

    position: int
    voices: tuple[Voice, ...]
    tone: npt.NDArray[np.float64]
    tail: Tail


@dataclass(frozen=True, eq=False)
class Place:
    """Where playing can go on: a state, its voices told by their events.

    `handed` events were handed over before `position`; of these, none before number `first` rings on.
    """

    position: int
    handed: int
    first: int
    tone: npt.NDArray[np.float64]
    tail: Tail


@dataclass(frozen=True, eq=False)
class Block:
    """Sound (N, 2) from sample `position` on, and what the newest sounding event shows at its start.

    `stems`, where asked for, are (N, 2 S): dry, reverb and, of several voices, each by itself, dry; dry and
    reverb add up to `samples`, the voices to dry. `strengths` and `activations` are (U,), `mel` is the column
    (M,) heard; None in silence.
    """

    position: int
    samples: Samples
    stems: Samples | None = None
    chord: str | None = None
    strengths: Strengths | None = None
    activations: npt.NDArray[np.float32] | None = None
    mel: npt.NDArray[np.float32] | None = None


class Instrument:
    """A memory that is played as a score wants it: events become voices, mixed, toned and put into a room."""

    def __init__(self, memory: Memory, score: Score, *, stems: bool = False) -> None:
        self.memory = memory
        self._rate = score.file.sample_rate_hz
        self._loudness = score.loudness
        self._tilt = Tilt(score.tone, self._rate)
        self._convolver = Convolver(room(score.reverb, self._rate, score.seed))
        self._wet = np.float32(10.0 ** (score.reverb.wet_db / 20.0))
        self._stems = stems
        voices = len(score.voices)
        self._apart = voices if stems and voices > 1 else 0  # voices that are also mixed by themselves
        # Not a method of this one: an instrument that holds itself goes only when the collector comes by.
        self.envelope = lru_cache(maxsize=8)(partial(_envelope, self._rate))

    def start(self) -> State:
        """Return the state before the first block."""
        return State(0, (), self._tilt.silence(2 + 2 * self._apart), self._convolver.silence())

    def resume(self, place: Place, voices: Iterable[Voice]) -> State:
        """Return the state at a place; `voices` are those handed over before that may ring."""
        return State(place.position, self._ringing(voices, place.position), place.tone, place.tail)

    def step(self, controls: Controls, state: State) -> tuple[Block, State]:
        """Play one block. Raises InputError for an event that lies in the past, or of a voice there is not."""
        events = [voice.event for voice in controls.voices]
        late = [e.onset for e in events if e.onset < state.position]
        if late:
            raise InputError(f"an event at sample {late[0]} came after sample {state.position} was played")
        strange = [e.voice for e in events if self._apart and not 0 <= e.voice < self._apart]
        if strange:
            raise InputError(f"an event of voice {strange[0]}; there are voices 0 to {self._apart - 1}")
        voices = state.voices + controls.voices
        dry, wet, tone, tail = self.toned(self._mixed(voices, state.position, controls.samples), state.tone, state.tail)
        stems = np.concatenate([dry[:, :2], wet, dry[:, 2:]], axis=1) if self._stems else None
        block = self._seen(Block(state.position, dry[:, :2] + wet, stems), voices)
        end = state.position + controls.samples
        return block, State(end, self._ringing(voices, end), tone, tail)

    def toned(
        self, mix: Samples, tone: npt.NDArray[np.float64], tail: Tail
    ) -> tuple[Samples, Samples, npt.NDArray[np.float64], Tail]:
        """Tone a mix (N, 2 or more) and put its first two channels into the room: dry, wet, and what they leave."""
        dry, tone = self._tilt(mix, tone)
        wet, tail = self._convolver(dry[:, :2], tail)
        wet *= self._wet
        return dry, wet, tone, tail

    def _mixed(self, voices: tuple[Voice, ...], position: int, samples: int) -> Samples:
        """Add up what sounds from `position` on (N, 2 or more): all of it, then each voice that is kept apart."""
        dry = np.zeros((samples, 2 + 2 * self._apart), dtype=np.float32)
        for voice in voices:
            add_at(dry[:, :2], position, voice.samples, voice.event.onset)
            if self._apart:
                begin = 2 + 2 * voice.event.voice
                add_at(dry[:, begin : begin + 2], position, voice.samples, voice.event.onset)
        return dry

    @staticmethod
    def _ringing(voices: Iterable[Voice], position: int) -> tuple[Voice, ...]:
        """Return the voices that sound beyond `position`."""
        return tuple(v for v in voices if v.event.onset + len(v.samples) > position)

    def voice(self, event: Event) -> Voice:
        """Make an event audible: the same whatever is made beside it."""
        mel, activations = observed(self.memory, event)
        sound = self.memory.invert(mel[None])[0]
        placed = resample(sound, self.memory.spec.sample_rate_hz, self._rate)
        return Voice(event, pan(self._shaped(event, placed), event.pan), mel, activations)

    def _shaped(self, event: Event, sound: Samples) -> Samples:
        """Give a sound (N,) its envelope, its level, and the gain that holds its loudness."""
        gain, taken_db = self.envelope(len(sound), event.envelope)
        shaped = sound * gain
        level_db = event.level_db
        if self._loudness.hold:
            wanted = HELD_LUFS - taken_db  # that is the composer's wish
            level_db += min(wanted - event_lufs(shaped, self._rate), self._loudness.lift_db)
        return shaped * np.float32(10.0 ** (level_db / 20.0))

    def _seen(self, block: Block, voices: tuple[Voice, ...]) -> Block:
        """Add to a block what the newest voice that sounds at its start shows."""
        sounding = [v for v in voices if v.event.onset <= block.position < v.event.onset + len(v.samples)]
        if not sounding:
            return block
        voice = sounding[-1]
        share = (block.position - voice.event.onset) / len(voice.samples)
        return replace(
            block,
            chord=voice.event.chord,
            strengths=voice.event.strengths,
            activations=voice.activations[:, int(share * voice.activations.shape[1])],
            mel=voice.mel[:, int(share * voice.mel.shape[1])],
        )


def _envelope(rate: int, length: int, config: EnvelopeConfig) -> tuple[Samples, float]:
    """Return an envelope (N,), and how many dB it takes from a steady sound."""
    gain = envelope(length, rate, config)
    return gain, -10.0 * float(np.log10(np.mean(gain**2)))


class Coming:
    """The voices of events in their order, made beside each other some time before they are due."""

    def __init__(self, make: Callable[[Event], Voice], events: Iterable[Event], pool: Executor) -> None:
        self._make, self._events, self._pool = make, iter(events), pool
        self._waiting: deque[tuple[Event, Future[Voice]]] = deque()

    def before(self, position: int) -> list[Voice]:
        """Return the voices that begin before a sample, and were not returned yet."""
        found = []
        while self._ahead() and self._waiting[0][0].onset < position:
            found.append(self._waiting.popleft()[1].result())
        return found

    def take(self, count: int) -> list[Voice]:
        """Return the next voices, so many."""
        return [self._waiting.popleft()[1].result() for _ in range(count) if self._ahead()]

    def _ahead(self) -> bool:
        """Have as many voices made as are wanted ahead of time; return whether any is left."""
        for event in islice(self._events, EACH_AHEAD * cores() - len(self._waiting)):
            self._waiting.append((event, self._pool.submit(self._make, event)))
        return bool(self._waiting)

    def stop(self) -> None:
        """Make no more."""
        for _, voice in self._waiting:
            voice.cancel()


def play(instrument: Instrument, events: Iterable[Event], samples: int, block: int) -> Iterator[Block]:
    """Play events that are known beforehand, for `samples` samples in blocks of `block`.

    The sound does not depend on the block's length, nor on how many cores make it.
    """
    return (heard for heard, _ in play_on(instrument, events, samples, block))


def play_on(
    instrument: Instrument, events: Iterable[Event], samples: int, block: int, place: Place | None = None
) -> Iterator[tuple[Block, Place]]:
    """Play as `play` does, each block with the place after it; from `place` on as if there had been no break.

    `events` are all those of the piece, `block` is what it was before the break.
    """
    if block < 1:
        raise InputError(f"a block holds at least 1 sample, got {block}")
    state, handed = instrument.start(), 0
    sounding: deque[Event] = deque()  # from the oldest that rings on
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
                heard, state = instrument.step(Controls(length, due), state)
                oldest = state.voices[0].event if state.voices else None
                while sounding and sounding[0] is not oldest:
                    sounding.popleft()
                yield heard, Place(state.position, handed, handed - len(sounding), state.tone, state.tail)
        finally:
            coming.stop()
