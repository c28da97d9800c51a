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

import numpy as np

from fugue_state.arrays import Array
from fugue_state.audio.io import resample
from fugue_state.audio.mix import let_go
from fugue_state.audio.rate import Converter
from fugue_state.config import RELEASE_S
from fugue_state.engine.voice import Made, Passage
from fugue_state.memory.layers import Trail
from fugue_state.memory.vocoder import Reading, Stream, StreamState
from fugue_state.piece.event import Event

RISE = 0.12  # share of the way to a higher gain covered in one block; a lower gain is reached within the block
LONGEST = 4096  # the most frames inverted as a whole: more would take gigabytes of memory


class _Converted:
    """A stream's output converted to the file's rate: samples are added as they are made, and taken in order."""

    def __init__(self, stream: Stream, rate: int) -> None:
        self._converter = Converter(stream.spec.sample_rate_hz, rate)
        self._begin = self._converter.first(0)
        self._sound = np.zeros(-self._begin, dtype=np.float32)
        self._to_skip = stream.latency

    def needed(self, end: int) -> int:
        """Return how many samples of the stream are needed to produce all output before sample `end`."""
        return self._converter.needed(end)

    def add(self, sound: Array) -> None:
        """Append the stream's next samples (n,)."""
        skipped = min(self._to_skip, len(sound))
        self._to_skip -= skipped
        self._sound = np.concatenate([self._sound, sound[skipped:]])

    def take(self, start: int, count: int) -> Array:
        """Return samples (count,) from `start` on; they can only be taken in order, without gaps."""
        sound = self._converter(self._sound, self._begin, start, count)
        kept = self._converter.first(start + count)
        self._sound, self._begin = self._sound[kept - self._begin :], kept
        return sound


class StreamedVoice:
    """An event at the file's rate, sample by sample, from its onset on.

    It reads as many frames ahead as the stream needs. When the event is generated anew, frames whose phase is not yet
    decided are read again, so that the sound continues without a click. While held, it repeats the frame that
    sounds, and its envelope stands still. Once let go, it fades within RELEASE_S.
    """

    def __init__(self, made: Made, stream: Stream, rate: int) -> None:
        self._made, self.stream = made, stream
        self.waited = 0  # blocks since it was last generated
        self._converted = _Converted(stream, rate)
        self._hop = stream.spec.hop * rate / stream.spec.sample_rate_hz
        self._gain = made.gain
        self._state = stream.start()
        self._fed = 0
        self._stale = False  # the frames read ahead are out of date
        self._offset = 0  # frames that were read while it was held
        self._held: int | None = None
        self._position = self._age = 0
        self._dropped = False
        self._let_go_at = made.event.held  # its age when it is let go
        self._release = round(RELEASE_S * rate)

    @property
    def event(self) -> Event:
        """The event it plays."""
        return self._made.event

    @property
    def trail(self) -> Trail:
        """Intermediate results of generating it, for the next time."""
        return self._made.trail

    @property
    def over(self) -> bool:
        """Whether it has ended or was dropped."""
        return self._dropped or self._age >= self._end

    @property
    def _end(self) -> int:
        """Its age when it has ended."""
        whole, at = len(self._made.envelope), self._let_go_at
        return whole if at is None else min(whole, at + self._release)

    @property
    def released(self) -> bool:
        """Whether it was let go."""
        return self._let_go_at is not None and self._let_go_at <= self._age

    @property
    def settled(self) -> bool:
        """Whether its sound is known by now."""
        return True

    def drop(self) -> None:
        """Cut off the rest of it."""
        self._dropped = True

    def release(self) -> None:
        """Let it go now, if it was not let go before: it fades within RELEASE_S."""
        if not self.released:
            self._let_go_at = self._age

    def renew(self, made: Made) -> None:
        """Continue with a newly generated event of the same length."""
        self._made, self.waited, self._stale = made, 0, True

    def hold(self, held: bool) -> None:
        """Hold the frame that sounds, or go on from it."""
        if held == (self._held is not None) or not self._fed:
            return
        first = self._fed - self.stream.open
        if self._held is None:
            self._held = self._index(first - 1)
        else:
            self._offset, self._held = first - 1 - self._held, None
        self._stale = True

    def _index(self, number: int) -> int:
        """Return which frame of the mel to read as frame `number` of the voice; beyond the end, the last one."""
        return min(max(0, number - self._offset), self._made.mel.shape[1] - 1) if self._held is None else self._held

    def _frames(self, start: int, end: int) -> Array:
        return self._made.mel[:, [self._index(number) for number in range(start, end)]]

    def due(self, count: int) -> Reading | None:
        """Return what must be read before its next samples (count,) can sound; None if nothing is missing."""
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
        """Take the sound and the state that came of a reading."""
        self._state = state
        self._converted.add(sound)

    def play(self, count: int, begin: int = 0) -> Passage:
        """Advance by `count` samples, all read already; they are heard from `begin` on, with envelope and gain."""
        start = self._position
        self._position += count
        before, target = self._gain, self._made.gain
        self._gain = target if target < before else before + RISE * (target - before)
        self.waited += 1
        gain = np.linspace(before, self._gain, count + 1, dtype=np.float32)[1:]
        return Passage(self, start, gain * self._shape(count), begin)

    def sound(self, start: int, count: int) -> Array:
        """Return its samples (count,) from `start` on, without envelope and gain; they can only be taken in order."""
        return self._converted.take(start, count)

    def _shape(self, count: int) -> Array:
        """Return the envelope of the next samples (count,); constant while held."""
        envelope, start = self._made.envelope, self._age
        if self._held is not None:
            now = envelope[min(start, len(envelope) - 1)]
            return np.full(count, now * self._falling(1)[0], dtype=np.float32)
        shape = envelope[start : start + count]
        shape = np.pad(shape, (0, count - len(shape))) * self._falling(count)
        self._age += count
        return shape

    def _falling(self, count: int) -> Array:
        """Return the gain (count,) of being let go, from its age on."""
        if self._let_go_at is None:
            return np.ones(count, dtype=np.float32)
        return let_go(self._age - self._let_go_at, count, self._release)

    @property
    def column(self) -> Array:
        """The column (M,) of the mel that sounds now."""
        return self._made.mel[:, self._now]

    @property
    def firing(self) -> Array:
        """How strongly units (U,) fire now, under its envelope."""
        return self._made.firing(self._now, self._age) * self._falling(1)

    @property
    def _now(self) -> int:
        """The frame of the mel that sounds now."""
        return self._index(int(self._position / self._hop))


class Sketch(StreamedVoice):
    """A voice that only notes what it would read, and sounds once it is over: inverted as a whole, as well as can be.

    If it was held for so long that it has more than LONGEST frames, it falls back to its live sound.
    """

    def __init__(self, made: Made, stream: Stream, rate: int, invert: Callable[[Array], Array]) -> None:
        super().__init__(made, stream, rate)
        self._rate, self._invert = rate, invert
        self._noted: list[Array] = []  # frames (M,)
        self._noted_as: list[tuple[Array, bool]] = []  # the same as readings, until it is too long
        self._whole: Array | None = None

    @property
    def settled(self) -> bool:
        """Whether its sound is known by now."""
        return self.over or self._long

    @property
    def _long(self) -> bool:
        return len(self._noted) > LONGEST

    @property
    def mel(self) -> Array:
        """Its noted frames (M, T), without those only read ahead."""
        whole = self._made.mel.shape[1] + self._offset
        return np.stack(self._noted[:whole] if self._held is None else self._noted, axis=1)

    def sound(self, start: int, count: int) -> Array:
        """Return its bare samples (count,) from `start` on, as Voice does; long voices can only be read in order."""
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
        """Note frames instead of reading them; return whether it is too long now. If so, read all noted before."""
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
    """Let each voice read what its next samples (as many as its number says) need; one batch per stream."""
    readings: dict[Stream, list[tuple[StreamedVoice, Reading]]] = {}
    for voice, count in voices:
        if (reading := voice.due(count)) is not None:
            readings.setdefault(voice.stream, []).append((voice, reading))
    for stream, due in readings.items():
        found = stream.steps([reading for _, reading in due])
        for (voice, _), one in zip(due, found, strict=True):
            voice.take(*one)
