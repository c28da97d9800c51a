"""One voice of a score laid out for a memory: which latent sounds when."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import cycle
from typing import Any, NamedTuple, TypeVar

import numpy as np

from fugue_state.arrays import Array
from fugue_state.config import SEED_MAX, AtlasConfig
from fugue_state.errors import InputError
from fugue_state.memory.memory import Memory
from fugue_state.piece.orders import Described
from fugue_state.score.model import Score, Step
from fugue_state.settings import placed

PROGRESSION = ("Am", "F", "C", "G")
POOL = 16  # latents of a kind, from which a voice with `fresh` or `walk` latents draws
PLACES, NEW, VARIED = 1, 2, 3  # purposes of random numbers, each with its own stream


class Onset(NamedTuple):
    """When a turn of the loop sounds; `step` counts the voice's steps from its start."""

    time_s: float
    turn: int
    step: int


Numbered = TypeVar("Numbered", bound=tuple[Any, ...])


@dataclass(frozen=True, eq=False)
class Turn:
    """One step of the loop: its chord, the label to generate it with, its latents (n, Z) and its pan."""

    step: Step
    chord: str | None
    label: str | None
    latents: Array
    pan: float


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
        random = np.random.default_rng([score.seed, PLACES, *([number] if number else [])])
        self._places = random.uniform(-self.voice.spread, self.voice.spread, len(steps))
        self.turns = tuple(self._turn(i, step, described) for i, step in enumerate(steps))
        goal = self.voice.towards_seed
        self._towards = self._latents if goal is None else memory.latents(len(steps), goal)

    def _turn(self, index: int, step: Step, described: Described) -> Turn:
        with placed(("voices", self.number, "chords", index)):
            label, latents = self._found(index, step, described)
        place = self.voice.pan + float(self._places[index])
        pan = min(1.0, max(-1.0, place)) if step.pan is None else step.pan
        return Turn(step, step.chord or label, label if self._memory.labels else None, latents, pan)

    def _found(self, index: int, step: Step, described: Described) -> tuple[str | None, Array]:
        """Return a step's label and its latents (n, Z)."""
        memory, labels = self._memory, self._memory.labels
        label = step.chord or (labels[index % len(labels)] if labels else None)
        if labels and step.chord:
            memory.label_index(step.chord)
        if step.entry is not None:
            known = AtlasConfig()
            if step.entry >= known.count:
                raise InputError(f"the atlas has no entry {step.entry}: it has 0 to {known.count - 1}")
            label = step.chord or (labels[step.entry % len(labels)] if labels else None)
            return label, self._described[step.entry : step.entry + 1]
        if step.seed is not None:
            return label, memory.latents(1, step.seed)
        if self.draws(step):
            found = described.atlas.choose(POOL, chord=label, seed=self.seed + index, **self.voice.like)
            return label, np.stack([place.z for place in found])
        return label, self._latents[index : index + 1]

    def draws(self, step: Step) -> bool:
        """Return whether a step's latents are chosen from the atlas by how they sound."""
        fixed = step.rest or step.entry is not None or step.seed is not None
        return not fixed and bool(self.voice.like or (step.chord and not self._memory.labels))

    @cached_property
    def is_described(self) -> bool:
        """Whether latents of the voice are chosen by how they sound, so that the atlas is there."""
        return any(self.draws(turn.step) for turn in self.turns)

    @cached_property
    def _described(self) -> Array:
        """The latents that the atlas describes (n, Z)."""
        return self._memory.latents(AtlasConfig().count, AtlasConfig().seed)

    def onsets(self, last_s: float | None = None) -> Iterator[Onset]:
        """Yield when the voice sounds, up to `last_s`, or by default as long as an event can end within the piece."""
        score, voice = self._score, self.voice
        clock = score.clock
        last_s = max(0.0, score.duration_s - self.length_s) if last_s is None else last_s
        until_s = math.inf if voice.until is None else clock.seconds(voice.until)
        start_s, beats, beat_s, swing = clock.seconds(voice.start), 0.0, score.beat_s, voice.swing
        # A night-long piece has a million onsets: look up each step's length once.
        loop = [(turn, one.step.beats or voice.beats, one.step.rest) for turn, one in enumerate(self.turns)]
        for index, (turn, length, rest) in enumerate(cycle(loop)):
            late = swing * length if index % 2 else 0.0
            time_s = start_s + (beats + late) * beat_s
            if time_s > last_s or time_s >= until_s:
                return
            if not rest:
                yield Onset(time_s, turn, index)
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
        pool = self.turns[onset.turn].latents
        return self._drawn(NEW, onset) if len(pool) == 1 else pool[int(self._random(NEW, onset).integers(len(pool)))]

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
