"""A recording as a voice: heard in segments, each with what the memory would play in its place."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np

from fugue_state.arrays import Array
from fugue_state.audio import reading
from fugue_state.audio.io import resample
from fugue_state.audio.loudness import event_lufs
from fugue_state.audio.mel import MelTransform
from fugue_state.config import HELD_LUFS, RECORDING_CANDIDATES, RECORDING_EDGE_S, ClipConfig
from fugue_state.corpus.clips import loudest_rms
from fugue_state.errors import AudioError, InputError
from fugue_state.limits import SCORE_RECORDING_S
from fugue_state.memory.checkpoint import file_hash
from fugue_state.memory.memory import Memory
from fugue_state.piece.line import Line, Onset, Turn
from fugue_state.piece.orders import Described
from fugue_state.score.model import Score, Step
from fugue_state.score.places import at_home
from fugue_state.settings import placed

HALVES = 2  # segments begin half a segment after each other, so that every moment is in two


@dataclass(frozen=True, eq=False)
class Segment:
    """A part of a recording, as long as a sound of the memory: samples (N,) at the file's rate, and its window (N,).

    Windows of neighbours add up to 1. `lufs` is the loudness of the samples under the window. `sound` is the same part
    at the memory's rate, at the level that memories learn from, and `scale` undoes that level. `mel` (M, T) is that of
    `sound`; `intact` is what the memory plays in its place while nothing is forgotten. `level_db` makes the whole
    recording as loud as a chord.
    """

    samples: Array
    window: Array
    lufs: float
    sound: Array
    scale: float
    mel: Array
    intact: Array
    level_db: float

    def forgotten(self, remembered: Array, share: float) -> Array:
        """Return its mel (M, T) when the memory has come to `remembered` (M, T), and this share of it is left.

        What of the recording the memory does not know fades with the share; what it knows changes as it changes. So it
        is the recording when nothing is forgotten, and what is left of the memory when all is.
        """
        known = remembered - np.float32(share) * self.intact
        return np.asarray(np.clip(np.float32(share) * self.mel + known, np.float32(-1.0), np.float32(1.0)))


class RecordedLine(Line):
    """A recording laid out: its segments are the turns of the loop, each with the latent that sounds most like it.

    Raises MisplacedError for a file that is not there, is no sound, is silent, or too short or too long.
    """

    def __init__(
        self, score: Score, number: int, memory: Memory, described: Described, seed: int | None = None
    ) -> None:
        super().__init__(score, number, memory, described, seed)
        spec, rate = memory.spec, score.file.sample_rate_hz
        path = at_home(self.voice.recording or "")
        with placed(("voices", number, "recording")):
            self._samples = _read(path, rate, self.length_s)
            self.sha256 = file_hash(path)
        self.plays_s = len(self._samples) / rate
        self.hop_s = self.length_s / HALVES
        self._rate, self._size = rate, round(self.length_s * rate)
        sound = resample(self._samples, rate, spec.sample_rate_hz)
        self._level = 10.0 ** (ClipConfig().level_dbfs / 20.0) / loudest_rms(sound, spec.sample_rate_hz)
        self._sound, self._transform = sound * np.float32(self._level), MelTransform(spec)
        self._level_db = HELD_LUFS - event_lufs(self._samples, rate)
        places, labels = 1 + math.ceil(max(0.0, self.plays_s - self.length_s) / self.hop_s), memory.labels or (None,)
        each = -(-RECORDING_CANDIDATES // len(labels))
        latents = np.concatenate([memory.latents(each, (self.seed + i) % 2**32) for i in range(len(labels))])
        names = [label for label in labels for _ in range(each)]
        self._candidates = memory.generate(latents, None if names[0] is None else [str(name) for name in names])
        self._chosen = [self._nearest(self._mel(place)) for place in range(places)]
        pan = self.voice.pan
        self.turns = tuple(Turn(Step(), None, names[i], latents[i : i + 1], pan, None) for i in self._chosen)

    def _nearest(self, mel: Array) -> int:
        """Return the number of the candidate that a mel (M, T) is most like."""
        apart = [float(np.square(candidate - mel).mean()) for candidate in self._candidates]
        return int(np.argmin(apart))

    def _heard(self, place: int) -> Array:
        """Return a segment (N,) at the memory's rate, with silence after the recording's end."""
        spec = self._transform.spec
        start = place * spec.samples // HALVES
        part = self._sound[start : start + spec.samples]
        return np.pad(part, (0, spec.samples - len(part)))

    def _mel(self, place: int) -> Array:
        mel: Array = self._transform.encode(self._heard(place)[None])[0]
        return mel

    def segment(self, place: int) -> Segment:
        """Return a segment by its number."""
        start = round(place * self.hop_s * self._rate)
        samples = self._samples[start : start + self._size]
        half, edge = self._size - round(self.hop_s * self._rate), round(RECORDING_EDGE_S * self._rate)
        window = np.ones(len(samples), dtype=np.float32)
        rising = np.sin(np.arange(half, dtype=np.float32) * np.float32(math.pi / 2.0 / half)) ** 2
        abrupt = np.linspace(0.0, 1.0, edge, dtype=np.float32)
        first, last = place == 0, place == len(self.turns) - 1
        begin, end = abrupt if first else rising, abrupt[::-1] if last else 1.0 - rising
        window[: len(begin)] *= begin[: len(window)]
        window[-len(end) :] *= end[-len(window) :]
        return Segment(
            samples=samples,
            window=window,
            lufs=event_lufs(samples * window, self._rate),
            sound=self._heard(place),
            scale=1.0 / self._level,
            mel=self._mel(place),
            intact=self._candidates[self._chosen[place]],
            level_db=self._level_db,
        )

    def onsets(self, last_s: float | None = None) -> Iterator[Onset]:
        """Yield when the segments begin, up to `last_s`, or by default as long as one can end within the piece."""
        voice, clock = self.voice, self._score.clock
        until_s = math.inf if voice.until is None else clock.seconds(voice.until)
        start_s = clock.seconds(voice.start)
        for step in count():
            played, place = divmod(step, len(self.turns))
            time_s = start_s + played * self.plays_s + place * self.hop_s
            lasts_s = min(self.length_s, self.plays_s - place * self.hop_s)
            latest_s = max(0.0, self._score.duration_s - lasts_s) if last_s is None else last_s
            if time_s > latest_s or time_s >= until_s or (voice.rounds is not None and played >= voice.rounds):
                return
            yield Onset(time_s, place, step)


def _read(path: object, rate: int, least_s: float) -> Array:
    """Read a recording (N,) at a rate; InputError for one that cannot be a voice."""
    most = SCORE_RECORDING_S
    try:
        samples, _ = reading.read(str(path), rate)
    except AudioError as error:
        raise InputError(str(error)) from None
    if (seconds := len(samples) / rate) > most.most:
        raise InputError(f"{path}: {most.passed(seconds)}")
    if seconds < least_s / HALVES:
        raise InputError(
            f"{path}: {seconds:.2g} s are too short for a voice; at least {least_s / HALVES:.2g} s are needed"
        )
    return samples
