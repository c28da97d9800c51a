"""Voices that may change while they sound: an event's mel, read frame by frame.

Three clocks run in a streamed voice. Its mel has frames, `hop` samples apart at the memory's rate. The stream that
reads them sounds `latency` samples late, at that same rate. What is heard is counted in samples at the file's rate.

    mel frames        |  0  |  1  |  2  |  3  |  4  | ...      `_fed` were read; the newest `open` may still change
    stream samples          |<-- latency -->|0 ... hop ...     those not yet converted wait in `_Converted`
    output samples                          |0 1 2 ...         `_position` were heard, `_age` of them not held
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from fugue_state.arrays import Array
from fugue_state.audio.io import resample
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
    activations: Array
    envelope: Array
    gain: float
    trail: Trail = field(default_factory=Trail)


@dataclass(frozen=True, eq=False)
class Passage:
    """A part of a voice, from its sample `start` on, that is heard from sample `begin` of a block on; weights (N,)."""

    voice: StreamedVoice
    start: int
    weights: Array
    begin: int = 0

    def add_to(self, mix: Array) -> None:
        """Make it sound, in a block (N, 2)."""
        sound = self.voice.sound(self.start, len(self.weights)) * self.weights
        mix[self.begin :] += pan(sound, self.voice.event.pan)


class _Converted:
    """What a stream has sounded, at the file's rate: samples come in as they are made, and go out in order."""

    def __init__(self, stream: Stream, rate: int) -> None:
        self._converter = Converter(stream.spec.sample_rate_hz, rate)
        self._begin = self._converter.first(0)
        self._sound = np.zeros(-self._begin, dtype=np.float32)
        self._to_skip = stream.latency

    def needed(self, end: int) -> int:
        """Return how many samples of the stream are needed for all before sample `end`."""
        return self._converter.needed(end)

    def add(self, sound: Array) -> None:
        """Take the stream's next samples (n,)."""
        skipped = min(self._to_skip, len(sound))
        self._to_skip -= skipped
        self._sound = np.concatenate([self._sound, sound[skipped:]])

    def take(self, start: int, count: int) -> Array:
        """Return samples (count,) from `start` on, which must be where those before ended."""
        sound = self._converter(self._sound, self._begin, start, count)
        kept = self._converter.first(start + count)
        self._sound, self._begin = self._sound[kept - self._begin :], kept
        return sound


class StreamedVoice:
    """An event at the file's rate, sample by sample, from its onset on.

    It reads as many frames ahead as the stream needs. When it is made into something else, frames whose phase is not
    decided are read again: what was sounded goes on into what comes, without a click. Held, it reads the frame that
    sounds for as long as it takes, and its envelope stands still.
    """

    def __init__(self, made: Made, stream: Stream, rate: int) -> None:
        self._made, self.stream = made, stream
        self.waited = 0  # blocks since it was made
        self._converted = _Converted(stream, rate)
        self._hop = stream.spec.hop * rate / stream.spec.sample_rate_hz
        self._gain = made.gain
        self._state = stream.start()
        self._fed = 0
        self._stale = False  # what was read, but has no phase, is another now
        self._offset = 0  # frames that were read while it was held
        self._held: int | None = None
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
        needed = self._converted.needed(self._position + count)
        until = math.ceil((needed + self.stream.latency) / self.stream.spec.hop)
        if until <= self._fed:
            return None
        anew = self._stale and self._fed > 0
        frames = self._frames(self._fed - (self.stream.open if anew else 0), until)
        self._fed, self._stale = until, False
        return self._reading(frames, anew=anew)

    def _reading(self, frames: Array, *, anew: bool) -> Reading | None:
        return Reading(frames, self._state, anew)

    def take(self, sound: Array, state: StreamState) -> None:
        """Take what came of what was due."""
        self._state = state
        self._converted.add(sound)

    def play(self, count: int, begin: int = 0) -> Passage:
        """Go on by samples for which all was read; they are heard from `begin` on, with envelope and gain."""
        start = self._position
        self._position += count
        before, target = self._gain, self._made.gain
        self._gain = target if target < before else before + RISE * (target - before)
        self.waited += 1
        gain = np.linspace(before, self._gain, count + 1, dtype=np.float32)[1:]
        return Passage(self, start, gain * self._shape(count), begin)

    def sound(self, start: int, count: int) -> Array:
        """Return its bare samples (count,) from `start` on, which must be where those before ended."""
        return self._converted.take(start, count)

    def _shape(self, count: int) -> Array:
        """Return the envelope of the next samples (count,); held, it stays as it is."""
        envelope = self._made.envelope
        if self._held is not None:
            return np.full(count, envelope[min(self._age, len(envelope) - 1)], dtype=np.float32)
        self._age += count
        shape = envelope[self._age - count : self._age]
        return np.pad(shape, (0, count - len(shape)))

    @property
    def column(self) -> Array:
        """The column (M,) of the mel that sounds now."""
        return self._made.mel[:, self._now]

    @property
    def firing(self) -> Array:
        """How strongly units (U,) fire now, under its envelope."""
        activations, envelope = self._made.activations, self._made.envelope
        steps = activations.shape[1]
        gain = envelope[self._age : self._age + len(envelope) // steps].max(initial=0.0)
        firing: Array = activations[:, self._now * steps // self._made.mel.shape[1]] * gain
        return firing

    @property
    def _now(self) -> int:
        """The frame of the mel that sounds now."""
        return self._index(int(self._position / self._hop))


class Sketch(StreamedVoice):
    """A voice that only notes what it would read, and sounds once it is over: inverted as a whole, as well as can be.

    Held for more than LONGEST frames, it falls back to the sound that it has live.
    """

    def __init__(self, made: Made, stream: Stream, rate: int, invert: Callable[[Array], Array]) -> None:
        super().__init__(made, stream, rate)
        self._rate, self._invert = rate, invert
        self._noted: list[Array] = []  # frames (M,)
        self._noted_as: list[tuple[Array, bool]] = []  # the same, as they would have been read, until it is long
        self._whole: Array | None = None

    @property
    def settled(self) -> bool:
        """Whether what it sounds like is known."""
        return self.over or self._long

    @property
    def _long(self) -> bool:
        return len(self._noted) > LONGEST

    @property
    def mel(self) -> Array:
        """What it has noted (M, T), without what was only read ahead."""
        whole = self._made.mel.shape[1] + self._offset
        return np.stack(self._noted[:whole] if self._held is None else self._noted, axis=1)

    def sound(self, start: int, count: int) -> Array:
        """Return its bare samples (count,) from `start` on; a long voice can only be read in order."""
        if self._long:
            return super().sound(start, count)
        if self._whole is None:
            whole = self._invert(self.mel[None])[0]
            self._whole = resample(whole, self.stream.spec.sample_rate_hz, self._rate)
        sound = self._whole[start : start + count]
        return np.pad(sound, (0, count - len(sound)))

    def _reading(self, frames: Array, *, anew: bool) -> Reading | None:
        if self._long or self._note(frames, anew=anew):
            return super()._reading(frames, anew=anew)
        return None

    def _note(self, frames: Array, *, anew: bool) -> bool:
        """Note what would be read; return whether it has become too long. Then all before has been read as well."""
        kept = len(self._noted) - (self.stream.open if anew else 0)
        self._noted[kept:] = list(frames.T)
        if self._long:
            for noted, again in self._noted_as:
                self.take(*self.stream.step(noted, self._state, anew=again))
            self._noted_as.clear()
        else:
            self._noted_as.append((frames, anew))
        return self._long


def read(voices: Iterable[tuple[StreamedVoice, int]]) -> None:
    """Let voices read all that their next samples need, so many of each; those of one stream together."""
    readings: dict[Stream, list[tuple[StreamedVoice, Reading]]] = {}
    for voice, count in voices:
        if (reading := voice.due(count)) is not None:
            readings.setdefault(voice.stream, []).append((voice, reading))
    for stream, due in readings.items():
        found = stream.steps([reading for _, reading in due])
        for (voice, _), one in zip(due, found, strict=True):
            voice.take(*one)
