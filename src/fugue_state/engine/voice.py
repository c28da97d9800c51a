"""An event that sounds while it may still change: its mel, read frame by frame."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fugue_state.arrays import Array
from fugue_state.audio.io import Samples, resample
from fugue_state.audio.mix import pan
from fugue_state.audio.rate import Converter
from fugue_state.memory.layers import Trail
from fugue_state.memory.vocoder import Reading, Stream, StreamState
from fugue_state.piece.event import Event

RISE = 0.12  # of the way to a higher gain, in a block; to a lower one it goes at once
LONGEST = 4096  # frames that are inverted as a whole: more would take gigabytes


@dataclass(frozen=True, eq=False)
class Made:
    """What an event is made into: mel (M, T), activations (U, steps), envelope (N,) at the file's rate, and gain.

    Where only its strengths change, the `trail` saves work.
    """

    event: Event
    mel: Array
    activations: npt.NDArray[np.float32]
    envelope: Samples
    gain: float
    trail: Trail = field(default_factory=Trail)


@dataclass(frozen=True, eq=False)
class Passage:
    """A part of a voice, from its sample `start` on, that is heard from sample `begin` of a block on; weights (N,)."""

    voice: Voice
    start: int
    weights: Samples
    begin: int = 0

    def add_to(self, mix: Samples) -> None:
        """Make it sound, in a block (N, 2)."""
        sound = self.voice.sound(self.start, len(self.weights)) * self.weights
        mix[self.begin :] += pan(sound, self.voice.event.pan)


class Voice:
    """An event at the file's rate, sample by sample, from its onset on.

    It reads as many frames ahead as the stream needs. When it is made into something else, frames whose phase is not
    decided are read again: what was sounded goes on into what comes, without a click. Held, it reads the frame that
    sounds for as long as it takes, and its envelope stands still.
    """

    def __init__(self, made: Made, stream: Stream, rate: int) -> None:
        self._made, self.stream = made, stream
        self.waited = 0  # blocks since it was made
        self._converter = Converter(stream.spec.sample_rate_hz, rate)
        self._hop = stream.spec.hop * rate / stream.spec.sample_rate_hz
        self._gain = made.gain
        self._state = stream.start()
        self._fed = 0
        self._stale = False  # what was read, but has no phase, is another now
        self._offset = 0  # frames that were read while it was held
        self._held: int | None = None
        self._begin = self._converter.first(0)
        self._sound: Samples = np.zeros(-self._begin, dtype=np.float32)
        self._to_skip = stream.latency
        self._position = self._age = 0
        self._dropped = False

    @property
    def event(self) -> Event:
        """What it plays."""
        return self._made.event

    @property
    def trail(self) -> Trail:
        """What making it left on the way."""
        return self._made.trail

    @property
    def over(self) -> bool:
        """Whether nothing of it is left."""
        return self._dropped or self._age >= len(self._made.envelope)

    @property
    def settled(self) -> bool:
        """Whether what it sounds like is known."""
        return True

    def drop(self) -> None:
        """Leave out what is left of it."""
        self._dropped = True

    def renew(self, made: Made) -> None:
        """Go on as something else of the same length."""
        self._made, self.waited, self._stale = made, 0, True

    def hold(self, held: bool) -> None:
        """Stay at what sounds, or go on from there."""
        if held == (self._held is not None) or not self._fed:
            return
        first = self._fed - self.stream.open
        if self._held is None:
            self._held = self._index(first - 1)
        else:
            self._offset, self._held = first - 1 - self._held, None
        self._stale = True

    def _index(self, number: int) -> int:
        """Return which frame of the mel is read at a time, in frames; after the last it stays."""
        return min(max(0, number - self._offset), self._made.mel.shape[1] - 1) if self._held is None else self._held

    def _frames(self, start: int, end: int) -> Array:
        return self._made.mel[:, [self._index(number) for number in range(start, end)]]

    def due(self, count: int) -> Reading | None:
        """Return what is to be read before its next samples (count,) can sound; None if nothing is."""
        needed = self._converter.needed(self._position + count)
        until = math.ceil((needed + self.stream.latency) / self.stream.spec.hop)
        if until <= self._fed:
            return None
        anew = self._stale and self._fed > 0
        frames = self._frames(self._fed - (self.stream.open if anew else 0), until)
        self._fed, self._stale = until, False
        return Reading(frames, self._state, anew)

    def take(self, sound: Array, state: StreamState) -> None:
        """Take what came of what was due."""
        self._state = state
        skipped = min(self._to_skip, len(sound))
        self._to_skip -= skipped
        self._sound = np.concatenate([self._sound, sound[skipped:]])

    def play(self, count: int, begin: int = 0) -> Passage:
        """Go on by samples for which all was read; they are heard from `begin` on, with envelope and gain."""
        start = self._position
        self._position += count
        before, target = self._gain, self._made.gain
        self._gain = target if target < before else before + RISE * (target - before)
        self.waited += 1
        gain = np.linspace(before, self._gain, count + 1, dtype=np.float32)[1:]
        return Passage(self, start, gain * self._shape(count), begin)

    def sound(self, start: int, count: int) -> Samples:
        """Return its bare samples (count,) from `start` on, which must be where those before ended."""
        sound = self._converter(self._sound, self._begin, start, count)
        kept = self._converter.first(start + count)
        self._sound, self._begin = self._sound[kept - self._begin :], kept
        return sound

    def _shape(self, count: int) -> Samples:
        """Return the envelope of the next samples (count,); held, it stays as it is."""
        envelope = self._made.envelope
        if self._held is not None:
            return np.full(count, envelope[min(self._age, len(envelope) - 1)], dtype=np.float32)
        self._age += count
        shape = envelope[self._age - count : self._age]
        return np.pad(shape, (0, count - len(shape)))

    @property
    def column(self) -> npt.NDArray[np.float32]:
        """The column (M,) of the mel that sounds now."""
        return self._made.mel[:, self._now]

    @property
    def firing(self) -> npt.NDArray[np.float32]:
        """How strongly units (U,) fire now, under its envelope."""
        activations, envelope = self._made.activations, self._made.envelope
        steps = activations.shape[1]
        gain = envelope[self._age : self._age + len(envelope) // steps].max(initial=0.0)
        firing: npt.NDArray[np.float32] = activations[:, self._now * steps // self._made.mel.shape[1]] * gain
        return firing

    @property
    def _now(self) -> int:
        """The frame of the mel that sounds now."""
        return self._index(int(self._position / self._hop))


class Sketch(Voice):
    """A voice that also notes what it reads, and sounds once it is over: inverted as a whole, as well as can be.

    What it was held too long for that sounds as it does live.
    """

    def __init__(self, made: Made, stream: Stream, rate: int, invert: Callable[[Array], Array]) -> None:
        super().__init__(made, stream, rate)
        self._rate, self._invert = rate, invert
        self._noted: list[Array] = []
        self._whole: Samples | None = None

    @property
    def settled(self) -> bool:
        """Whether what it sounds like is known."""
        return self.over or self._long

    @property
    def _long(self) -> bool:
        return len(self._noted) > LONGEST

    @property
    def mel(self) -> Array:
        """What it has read (M, T), without what was only read ahead."""
        whole = self._made.mel.shape[1] + self._offset
        return np.stack(self._noted[:whole] if self._held is None else self._noted, axis=1)

    def sound(self, start: int, count: int) -> Samples:
        """Return its bare samples (count,) from `start` on; of what is long, they must be where those before ended."""
        if self._long:
            return super().sound(start, count)
        if self._whole is None:
            whole = self._invert(self.mel[None])[0]
            self._whole = resample(whole, self.stream.spec.sample_rate_hz, self._rate)
        sound = self._whole[start : start + count]
        return np.pad(sound, (0, count - len(sound)))

    def due(self, count: int) -> Reading | None:
        """Return what is to be read before its next samples (count,) can sound, which it notes."""
        reading = super().due(count)
        if reading is not None and not self._long:
            kept = len(self._noted) - (self.stream.open if reading.anew else 0)
            self._noted[kept:] = list(reading.frames.T)
        return reading


def read(voices: Iterable[tuple[Voice, int]]) -> None:
    """Let voices read all that their next samples need, so many of each; those of one stream together."""
    readings: dict[Stream, list[tuple[Voice, Reading]]] = {}
    for voice, count in voices:
        if (reading := voice.due(count)) is not None:
            readings.setdefault(voice.stream, []).append((voice, reading))
    for stream, due in readings.items():
        found = stream.steps([reading for _, reading in due])
        for (voice, _), one in zip(due, found, strict=True):
            voice.take(*one)
