"""Measuring a memory while it is being trained, in the same way every time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from scipy.spatial.distance import pdist

from fugue_state.arrays import Array, Wide
from fugue_state.audio.inverters import make_inverter
from fugue_state.config import EXAMINE_HEARD_S, EXAMINE_MELS, EXAMINE_PER_CLASS, WITHOUT_VOCODER, MelSpec
from fugue_state.corpus.folder import Corpus
from fugue_state.corpus.mels import MelSet
from fugue_state.errors import CheckpointError, InputError, TrainingError
from fugue_state.measure.distance import FEWEST, SMALL, Mels, embed, frechet, kid
from fugue_state.measure.memory import SoundSet, generated_mels, inverted, name_table, real
from fugue_state.measure.naming import naming_of
from fugue_state.measure.notes import NoteTable
from fugue_state.memory.catalogue import MemoryHeader
from fugue_state.memory.layers import Generator
from fugue_state.memory.memory import Memory
from fugue_state.progress import Track, untracked

# One percentage point of accuracy weighs as much as 8 % of distance.
ACCURACY_POWER = 8
LEAST_ACCURACY, LEAST_SPREAD = 0.01, 0.01  # lower ones count as this, so that the score stays finite

Classes = Mapping[str, Mels]


def score(distance: float, accuracy: float | None = None, spread: float | None = None) -> float:
    """Return a single figure for choosing the best memory, lower is better: distance / accuracy ** 8 / spread.

    More spread than real clips have does not count: a memory whose sounds are all alike can be near to few clips.
    """
    named = 1.0 if accuracy is None else max(accuracy, LEAST_ACCURACY)
    apart = 1.0 if spread is None else min(1.0, max(spread, LEAST_SPREAD))
    return distance / named**ACCURACY_POWER / apart


class Examiner:
    """Examines the memories of a run one after another, with the same latents and the same real clips.

    The real clips are held-out ones if the corpus has at least four, otherwise up to half of the training clips.
    `per_class` sounds of each chord or note are named. `mels` in total, at least `per_class` of each class,
    are compared with as many real ones (or with all there are, in a class with fewer clips).
    Raises InputError if `labels` are not those of the training mels, or the inverter is unknown.
    """

    def __init__(
        self,
        spec: MelSpec,
        labels: Sequence[str],
        learned: MelSet,
        corpus: Corpus,
        *,
        inverter: str = WITHOUT_VOCODER,
        per_class: int = EXAMINE_PER_CLASS,
        mels: int = EXAMINE_MELS,
        seed: int = 0,
        track: Track = untracked,
    ) -> None:
        self._spec, self._labels, self._seed = spec, tuple(labels), seed
        if self._labels and self._labels != learned.labels:
            raise InputError(f"labels {self._labels} are not those of the training mels, {learned.labels}")
        names = self._labels or ("",)
        self._inverter = make_inverter(inverter, spec, "draft", seed)
        self._named = per_class if naming_of(self._labels) else 0
        self._each = max(per_class, -(-mels // len(names)))
        taught = _shuffled(learned, names, seed)
        compared = self._held_out(corpus, names, track)
        self.held_out = sum(map(len, compared.values()))
        if self.held_out < FEWEST:
            self.held_out = 0
            compared = {name: part[: max(1, min(self._each, len(part) // 2))] for name, part in taught.items()}
        self._counts = {name: len(part) for name, part in compared.items()}
        self._real = self._points(compared)
        self._apart = self._within(taught)
        rest = taught if self.held_out else {name: part[self._counts[name] :] for name, part in taught.items()}
        self._between_real = {"frechet_real": frechet(self._points(rest), self._real)} if self._suffice(rest) else {}

    def __call__(self, generator: Generator, header: MemoryHeader) -> dict[str, float]:
        """Examine a generator.

        Returns, if there are enough clips for it:
        `score`, lower is better;
        `accuracy`, `worst_class`, `clarity` of chords or notes named as asked, 0..1, if the labels are such;
        `cents`, the median distance from the notes asked, if the labels are notes;
        `frechet`, `kid` to the real clips, and `frechet_real`, from training clips to them;
        `spread`, how far samples of a class lie apart: 1 as far as training clips, 0 all the same;
        `held_out`, the number of held-out clips compared with, 0 if training clips were used instead.
        Raises CheckpointError for a header of another MelSpec or other labels, TrainingError for a
        mel that is not finite.
        """
        if header.model.labels != self._labels:
            raise CheckpointError(f"memory {header.name!r} has labels {header.model.labels}, not {self._labels}")
        memory = Memory(generator, header, inverter=self._inverter)
        mels, asked = generated_mels(memory, self._each, self._seed)
        if not np.isfinite(mels).all():
            raise TrainingError("the memory generates values that are not numbers (NaN or infinity)")
        names = dict.fromkeys(asked)
        made = {name: mels[i * self._each : (i + 1) * self._each] for i, name in enumerate(names)}
        figures, spread = self._names(made, memory), self._spread(made)
        if self._suffice(made):
            ours = self._points(made)
            figures |= {"frechet": frechet(ours, self._real), "kid": kid(ours, self._real)} | self._between_real
            found = score(figures["frechet"], figures.get("accuracy"), spread.get("spread"))
            figures = {"score": found} | figures
        return figures | spread | {"held_out": float(self.held_out)}

    def _names(self, made: Mapping[str, Array], memory: Memory) -> dict[str, float]:
        """Name the first sounds of every class by their beginning, because inverting is most of the work."""
        if not self._named:
            return {}
        frames = round(EXAMINE_HEARD_S * self._spec.sample_rate_hz / self._spec.hop)
        mels = np.concatenate([part[: self._named, :, :frames] for part in made.values()])
        asked = tuple(name for name in made for _ in range(self._named))
        table = name_table(SoundSet(inverted(mels, memory), mels, asked, ("",) * len(asked)), memory)
        tuned = {"cents": table.cents} if isinstance(table, NoteTable) else {}
        return {"accuracy": table.accuracy, "worst_class": table.worst_class, "clarity": table.clarity} | tuned

    def _spread(self, made: Classes) -> dict[str, float]:
        """Compare how far mels of a class are apart with how far training clips of that class are."""
        ours = self._within(made)
        real_apart = sum(self._apart.values())
        return {"spread": sum(ours[name] for name in self._apart) / real_apart} if real_apart > 0 else {}

    def _within(self, classes: Classes) -> dict[str, float]:
        """Return the mean distance within each class that has at least two mels."""
        points = {name: self._embedded(part[: self._each]) for name, part in classes.items()}
        return {name: float(pdist(part).mean()) for name, part in points.items() if len(part) > 1}

    def _suffice(self, classes: Classes) -> bool:
        """Say whether there are enough mels, and as many as real ones to compare with."""
        enough = sum(self._counts.values()) >= FEWEST
        return enough and all(len(classes[name]) >= count for name, count in self._counts.items())

    def _points(self, classes: Classes) -> Wide:
        """Return as many points of every class as there are real ones to compare with."""
        return self._embedded(np.concatenate([classes[name][:count] for name, count in self._counts.items()]))

    def _embedded(self, mels: Mels) -> Wide:
        return embed(mels, SMALL, range_db=self._spec.range_db)

    def _held_out(self, corpus: Corpus, names: Sequence[str], track: Track) -> Classes:
        """Return the mels of held-out clips by class."""
        clips = corpus.part("Test")
        if not self._labels:
            clips = [replace(clip, label=None) for clip in clips]
        if not clips:
            return {}
        found = real(clips, self._spec, self._each, self._seed, track)
        return {name: found.mels[np.array([label == name for label in found.labels])] for name in names}


def _shuffled(learned: MelSet, names: Sequence[str], seed: int) -> Classes:
    """Return the training mels by class, each class in an order drawn by seed."""
    order = np.random.default_rng(seed).permutation(len(learned.label))
    mels, label = learned.mels, learned.label
    if names == ("",):
        return {"": mels[order]}
    return {name: mels[order[label[order] == i]] for i, name in enumerate(names)}
