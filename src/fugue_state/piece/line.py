"""One voice of a score laid out for a memory: which latent sounds when."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import cycle
from typing import Any, NamedTuple, TypeVar

import numpy as np

from fugue_state.arrays import Array
from fugue_state.config import SEED_MAX
from fugue_state.memory.memory import Memory
from fugue_state.piece.chords import Chords, Sought
from fugue_state.piece.orders import Described
from fugue_state.score.model import Score, Step
from fugue_state.settings import placed

PROGRESSION = ("Am", "F", "C", "G")
PLACES, NEW, VARIED = 1, 2, 3  # purposes of random numbers, each with its own stream


class Onset(NamedTuple):
    """When a turn of the loop sounds; `step` counts the voice's steps from its start.

    After `held_s` seconds it is let go; None: it rings out.
    """

    time_s: float
    turn: int
    step: int
    held_s: float | None = None


Numbered = TypeVar("Numbered", bound=tuple[Any, ...])


@dataclass(frozen=True, eq=False)
class Turn:
    """One step of the loop: its chord, the label to generate it with, its latents (n, Z) and its pan.

    `sought` is what its latents were chosen by from the atlas; None if they were not.
    """

    step: Step
    chord: str | None
    label: str | None
    latents: Array
    pan: float
    sought: Sought | None


class Line:
    """A voice laid out: its onsets in time, and the latent of each; the atlas is measured only if needed.

    `latent_seed`, if given, replaces the voice's own.

    Raises MisplacedError for a chord or an entry of the atlas that the memory does not have.
    """

    def __init__(
        self, score: Score, number: int, memory: Memory, described: Described, latent_seed: int | None = None
    ) -> None:
        self.voice, self.number = score.voices[number], number
        self.frames = memory.frames(self.voice.event_s)
        self.length_s = self.frames * memory.spec.hop / memory.spec.sample_rate_hz
        self._score, self._memory = score, memory
        own = self.voice.latent_seed if latent_seed is None else latent_seed
        self.seed = (score.seed + number) % (SEED_MAX + 1) if own is None else own
        steps = self.voice.chords or familiar(memory)
        self._latents = memory.latents(len(steps), self.seed)
        self._chords = Chords(score, self.voice, memory, described)
        random = np.random.default_rng([score.seed, PLACES, *([number] if number else [])])
        self._places = random.uniform(-self.voice.spread, self.voice.spread, len(steps))
        self.turns = tuple(self._turn(i, step) for i, step in enumerate(steps))
        goal = self.voice.towards_seed
        self._towards = self._latents if goal is None else memory.latents(len(steps), goal)

    def _turn(self, index: int, step: Step) -> Turn:
        with placed(("voices", self.number, "chords", index)):
            step, label, sought = self._chords.named(index, step)
            latents = self._found(index, step, sought)
        place = self.voice.pan + float(self._places[index])
        pan = min(1.0, max(-1.0, place)) if step.pan is None else step.pan
        return Turn(step, step.chord or label, label, latents, pan, sought)

    def _found(self, index: int, step: Step, sought: Sought | None) -> Array:
        """Return a step's latents (n, Z)."""
        if sought is not None:
            return self._chords.pool(sought, self.seed + index)
        if step.entry is not None:
            return self._chords.entry(step.entry)
        return self._latents[index : index + 1] if step.seed is None else self._memory.latents(1, step.seed)

    @property
    def is_described(self) -> bool:
        """Whether latents of the voice are chosen by how they sound, so that the atlas is there."""
        return any(turn.sought is not None for turn in self.turns)

    def pool(self, chord: str | None, label: str | None, seed: int) -> Array | None:
        """Return latents (n, Z) that sound as the voice asks for, as a chord or generated with a label; None: no such.

        None, too, if none of the voice's own are chosen so.
        """
        return self._chords.pool_of(chord, label, seed) if self.is_described else None

    def onsets(self, last_s: float | None = None) -> Iterator[Onset]:
        """Yield when the voice sounds, up to `last_s`, or by default as long as an event can end within the piece."""
        voice, clock = self.voice, self._score.clock
        last_s = max(0.0, self._score.duration_s - self.length_s) if last_s is None else last_s
        until_s = math.inf if voice.until is None else clock.seconds(voice.until)
        start_s, beats, swing, gate = clock.seconds(voice.start), 0.0, voice.swing, voice.gate
        tempo, most = clock.tempo.since(start_s), math.inf if voice.rounds is None else voice.rounds * len(self.turns)
        # A night-long piece has a million onsets: look up each step's length once.
        loop = [(turn, one.step.beats or voice.beats, one.step.rest) for turn, one in enumerate(self.turns)]
        for index, (turn, length, rest) in enumerate(cycle(loop)):
            late = swing * length if index % 2 else 0.0
            time_s = start_s + tempo.seconds(beats + late)
            if time_s > last_s or time_s >= until_s or index >= most:
                return
            if not rest:
                let_go = None if gate is None else beats + late + gate * (length - late)
                yield Onset(time_s, turn, index, None if let_go is None else start_s + tempo.seconds(let_go) - time_s)
            beats += length

    def latents(self, last_s: float, begin_s: float = 0.0, end_s: float | None = None) -> Iterator[tuple[Onset, Array]]:
        """Yield every onset from `begin_s` up to `end_s` with its latent (Z,); a path reaches its goal at `last_s`."""
        voice = self.voice
        now = {turn: self.turns[turn].latents[0] for turn in range(len(self.turns))}
        for onset in self.onsets(end_s):
            if onset.time_s < begin_s:
                continue
            turn, repeated = onset.turn, onset.step >= len(self.turns)
            if voice.latents == "walk" and repeated:
                now[turn] = blend(now[turn], self._new(onset), voice.wander)
            elif voice.latents == "fresh" and repeated:
                now[turn] = self._new(onset)
            z = now[turn]
            if voice.latents == "path":
                z = blend(z, self._towards[turn], min(1.0, onset.time_s / last_s) if last_s else 0.0)
            yield onset, blend(z, self._drawn(VARIED, onset), voice.variation) if voice.variation else z

    def _new(self, onset: Onset) -> Array:
        """Return a new latent for a turn: from its pool if it has one, otherwise drawn at random."""
        turn = self.turns[onset.turn]
        if turn.sought is None:
            return self._drawn(NEW, onset)
        chosen: Array = turn.latents[int(self._random(NEW, onset).integers(len(turn.latents)))]
        return chosen

    def _drawn(self, purpose: int, onset: Onset) -> Array:
        values = self._random(purpose, onset).standard_normal(self._latents.shape[1:])
        return values.astype(np.float32)

    def _random(self, purpose: int, onset: Onset) -> np.random.Generator:
        return np.random.default_rng([self.seed, purpose, self.number, onset.step])


def merged(voices: Iterable[Iterable[Numbered]]) -> Iterator[Numbered]:
    """Merge what voices do, (onset, number of the voice, ...), by time; at the same time the first voice is first."""
    return heapq.merge(*voices, key=lambda one: (one[0].time_s, one[1]))


def blend(one: Array, other: Array, share: float) -> Array:
    """Return the point a share (0..1) of the way from one latent to another, exact at both ends.

    The weights lie on a quarter circle, so that a blend of independent latents has the same variance as they have.
    """
    if share in {0.0, 1.0}:
        return other if share else one
    angle = share * math.pi / 2.0
    return np.float32(math.cos(angle)) * one + np.float32(math.sin(angle)) * other


def familiar(memory: Memory) -> tuple[Step, ...]:
    """Return a familiar loop of the chords that the memory knows; steps without a chord if it has no labels."""
    if not memory.labels:
        return (Step(),) * len(PROGRESSION)
    known = tuple(chord for chord in PROGRESSION if chord in memory.labels) or memory.labels
    return tuple(Step(chord=chord) for chord in known)
