"""What a step's name stands for in a memory: a label, or what the atlas finds by its sound."""

from __future__ import annotations

import contextlib
from typing import NamedTuple

import numpy as np

from fugue_state.arrays import Array
from fugue_state.config import AtlasConfig
from fugue_state.errors import InputError, shown, unknown
from fugue_state.measure.atlas import Atlas, can_be_found
from fugue_state.memory.catalogue import find_memory, named_memories, read_header
from fugue_state.memory.memory import Memory
from fugue_state.piece.orders import Described
from fugue_state.score.model import Score, Step, Voice
from fugue_state.score.names import quote
from fugue_state.score.pitches import chord_of, near, note_of, same, transposed

POOL = 16  # latents of a kind, from which a voice with `fresh` or `walk` latents draws


class Sought(NamedTuple):
    """What latents are chosen by from the atlas: the chord they sound like, the label they are generated with."""

    chord: str | None
    label: str | None


class Named(NamedTuple):
    """A step with its chord's name moved as its voice asks, the label to generate it with, and what it is sought by.

    A memory without labels has no `label`. `sought` is None unless its latents are chosen from the atlas.
    """

    step: Step
    label: str | None
    sought: Sought | None


class Chords:
    """Finds what a voice's steps ask for in a memory; the atlas is measured only if needed."""

    def __init__(self, score: Score, voice: Voice, memory: Memory, described: Described) -> None:
        self._score, self._voice, self._memory, self._described = score, voice, memory, described

    def named(self, index: int, step: Step) -> Named:
        """Return what a step, the loop's number `index`, stands for; InputError if the memory does not have it."""
        asked, labels = step, self._memory.labels
        step = self._moved(step)
        fixed = step.rest or step.entry is not None or step.seed is not None
        chosen = not fixed and bool(self._voice.like)
        if step.chord is None:
            label = labels[(index if step.entry is None else step.entry) % len(labels)] if labels else None
            return Named(step, label, self._described_by(label) if chosen else None)
        label = self._memory.label_of(step.chord)
        if label is not None:
            return Named(step, label, self._described_by(label) if chosen else None)
        if fixed and not labels:
            return Named(step, None, None)
        if step.seed is not None:
            raise InputError(f"{shown(step.chord)} is no label of the memory: it is found by its sound, not by a seed")
        label = self._heard_with(step.chord, asked)
        if step.entry is not None:
            return Named(step, labels[step.entry % len(labels)], None)
        return Named(step, label, None if fixed else Sought(step.chord, label))

    def pool(self, sought: Sought, seed: int) -> Array:
        """Return the latents (n, Z) nearest to what the voice asks for, best first; n is at most POOL."""
        like = self._voice.like
        among, _ = self._atlas.distances(chord=sought.chord, label=sought.label, **like)
        count = min(POOL, len(among))
        found = self._atlas.choose(count, chord=sought.chord, label=sought.label, seed=seed, **like)
        return np.stack([place.z for place in found])

    def pool_of(self, chord: str | None, label: str | None, seed: int) -> Array | None:
        """Return such latents for a label, or else for a chord that some sound like; None if there are none."""
        if label is None and chord not in self._atlas.chords:
            return None
        return self.pool(Sought(chord, None) if label is None else self._described_by(label), seed)

    def entry(self, number: int) -> Array:
        """Return the latent (1, Z) of an entry of the atlas."""
        known = AtlasConfig()
        if number >= known.count:
            raise InputError(f"the atlas has no entry {number}: it has 0 to {known.count - 1}")
        return self._memory.latents(known.count, known.seed)[number : number + 1]

    @property
    def _atlas(self) -> Atlas:
        return self._described.atlas

    def _moved(self, step: Step) -> Step:
        """Return a step with its chord moved by the semitones of the voice."""
        semitones = self._voice.transpose
        if step.chord is None or not semitones:
            return step
        name = transposed(step.chord, semitones, self._memory.labels)
        if name is None:
            raise InputError(f"{shown(step.chord)} is no note and no chord, so it cannot be moved by {semitones:+d}")
        return step.model_copy(update={"chord": name})

    def _described_by(self, label: str | None) -> Sought:
        """Return what latents for a label are chosen by: they sound like its chord if any of them does."""
        if label is None or chord_of(label) is None:
            return Sought(None, label)
        return Sought(label if label in self._atlas.generated(label) else None, label)

    def _heard_with(self, name: str, asked: Step) -> str | None:
        """Return the label with which most latents that sound like a chord are generated; InputError if none does."""
        labels = self._memory.labels
        only_notes = bool(labels) and all(note_of(label) is not None for label in labels)
        findable = not only_notes and can_be_found(name, labels)
        found = self._atlas.generated(name) if findable else {}
        if not found:
            heard = self._atlas.chords if findable or not labels else {}
            raise self._missing(name, asked, [*labels, *(chord for chord in heard if chord not in labels)])
        return next(iter(found))

    def _missing(self, name: str, asked: Step, has: list[str]) -> InputError:
        """Return the error for a chord that the memory, which `has` others, does not have."""
        what = "note" if chord_of(name) is None and note_of(name) is not None else "chord"
        close, elsewhere = near(name, has), self._elsewhere(name)
        text = f"unknown {what} {shown(name)}; near it: {', '.join(close)}" if close else ""
        text = text or str(unknown(what, name, map(quote, has)))
        if asked.chord != name:
            text = f"{shown(asked.chord)} moved by {self._voice.transpose:+d} semitones: {text}"
        return InputError(f"{text}; known to {' and '.join(elsewhere)}" if elsewhere else text)

    def _elsewhere(self, name: str) -> list[str]:
        """Return the memories of the score, and those that ship, that know a chord by name."""
        found = []
        for memory in dict.fromkeys([*(named for named, _, _ in self._score.memories()), *named_memories()]):
            with contextlib.suppress(InputError):  # one of the score that is not there is told of elsewhere
                if same(name, read_header(find_memory(memory)).model.labels):
                    found.append(shown(memory))
        return found
