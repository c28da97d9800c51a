"""The atlas of a memory: descriptions of a few thousand of its latents, and ways to search them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from fugue_state import asked
from fugue_state.arrays import Array, Whole, Wide
from fugue_state.config import AtlasConfig, MelSpec
from fugue_state.errors import InputError, counted, shown, unknown
from fugue_state.limits import MEMORY_LATENTS
from fugue_state.measure.chords import template
from fugue_state.measure.describe import Describer, Description, triads
from fugue_state.measure.kept import Tensors, kept, stored
from fugue_state.measure.ranks import ranks
from fugue_state.memory.memory import Memory
from fugue_state.progress import Track, untracked
from fugue_state.score.pitches import chord_of
from fugue_state.settings import Settings

KIND = "atlas"
FORMULA = 1  # raised whenever descriptions of the same mel change
CHUNK = 64
# Names of traits in queries, and the fields of a description they refer to.
TRAITS = {
    "clarity": "clarity",
    "margin": "margin",
    "bright": "brightness_hz",
    "attack": "attack_s",
    "sustain": "sustain_db",
    "level": "level_dbfs",
}
SUMMARY_QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)


class AtlasHeader(Settings):
    """Everything that an atlas on disk depends on."""

    fingerprint: str
    config: AtlasConfig
    mel: MelSpec
    chords: tuple[str, ...]
    formula: int = FORMULA


@dataclass(frozen=True)
class Entry:
    """A latent z (Z,), the label to generate it with (None without labels), what it sounds like.

    `index` is its number in the atlas, None for a latent outside it.
    """

    z: Array
    label: str | None
    description: Description
    index: int | None = None

    def told(self) -> dict[str, Any]:
        """Return everything except the latent, for a listing."""
        rounded = {
            key: value if isinstance(value, str) else round(value, 3) for key, value in asdict(self.description).items()
        }
        return {"index": self.index, "label": self.label} | rounded


class Atlas:
    """Descriptions of a memory's latents: `Memory.latents(count, seed)`, with its labels in turn."""

    def __init__(self, memory: Memory, config: AtlasConfig, chord: Whole, traits: Wide) -> None:
        self.memory = memory
        self.config = config
        self.names = triads(memory.labels)
        self._latents = memory.latents(config.count, config.seed)
        self._chord = chord  # (n,) index into names, -1 for silence
        self._traits = traits  # (n, len(TRAITS))
        # Quantiles: the share of the other latents with less of a trait; ties share their mean.
        self._quantiles = (ranks(traits) - 1.0) / (len(traits) - 1)

    @classmethod
    def of(
        cls,
        memory: Memory,
        name_or_path: str | Path | None = None,
        config: AtlasConfig | None = None,
        *,
        rebuild: bool = False,
        track: Track = untracked,
        say: Callable[[str], None] = lambda _: None,
    ) -> Self:
        """Return the atlas of a memory, from disk if it was made before.

        `kept` says where it is stored, and when it is made again.
        """
        asked.kind("memory", memory, Memory, "Memory.load reads one")
        config = asked.kind("config", config or AtlasConfig(), AtlasConfig, "AtlasConfig()")
        header = _header(memory, config)
        found = kept(
            KIND,
            header,
            memory,
            name_or_path,
            make=lambda: _describe(memory, config, track),
            fault=lambda tensors: _fault(tensors, header),
            rebuild=rebuild,
            say=say,
        )
        return cls(memory, config, found["chord"], found["traits"])

    @classmethod
    def made_before(cls, memory: Memory, name_or_path: str | Path | None = None) -> Self | None:
        """Return the atlas of a memory if it was made before; else None."""
        header = _header(memory, AtlasConfig())
        found = stored(KIND, header, memory, name_or_path, fault=lambda tensors: _fault(tensors, header))
        return None if found is None else cls(memory, header.config, found["chord"], found["traits"])

    def __len__(self) -> int:
        return self.config.count

    def __getitem__(self, index: int) -> Entry:
        """Return an entry by number; InputError if there is none."""
        if not isinstance(index, int | np.integer) or not 0 <= index < len(self):
            raise InputError(f"the atlas has no entry {shown(index)}: it has 0 to {len(self) - 1}")
        chord = int(self._chord[index])
        description = _description(self.names[chord] if chord >= 0 else "", self._traits[index])
        return Entry(self._latents[index], self._label(index), description, index)

    def _label(self, index: int) -> str | None:
        labels = self.memory.labels
        return labels[index % len(labels)] if labels else None

    @property
    def chords(self) -> dict[str, int]:
        """How many latents sound like each chord, most frequent first; silent ones do not count."""
        return dict(Counter(self.names[i] for i in self._chord if i >= 0).most_common())

    def summary(self) -> dict[str, Any]:
        """Return how often each chord occurs, and the minimum, quartiles and maximum of every trait."""
        spread = {
            field: {f"{q:g}": round(float(np.quantile(column, q)), 3) for q in SUMMARY_QUANTILES}
            for field, column in zip(TRAITS.values(), self._traits.T, strict=True)
        }
        return {"latents": len(self), "chords": self.chords} | spread

    def generated(self, chord: str) -> dict[str | None, int]:
        """Return how many latents that sound like a chord are generated with each label, most frequent first.

        It is empty if none sounds like it. Raises InputError for a chord that cannot be named.
        """
        among = np.flatnonzero(self._chord == _chord_index(chord, self.names))
        return dict(Counter(self._label(int(i)) for i in among).most_common())

    def choose(
        self,
        count: int,
        *,
        chord: str | None = None,
        label: str | None = None,
        seed: int = 0,
        **traits: float | None,
    ) -> list[Entry]:
        """Return the `count` latents nearest to a description, best first.

        They sound like `chord`, and are generated with `label`; None is any.
        `traits` are quantiles within the atlas (`clarity`, `margin`, `bright`, `attack`, `sustain`, `level`): 0.8 is
        more than 80 % of all latents have. Distance is the root of the summed squares. Ties are ordered randomly by
        `seed`; without traits, all latents are tied.
        Raises InputError for a chord that is unknown or does not occur, an unknown trait, a quantile
        outside 0..1, or more latents than there are.
        """
        seed = asked.whole("seed", seed, 0, math.inf)
        among, distance = self.distances(chord=chord, label=label, **traits)
        self._check_count(count, len(among), f" of chord {chord or label}" if chord or label else "")
        shuffled = np.random.default_rng(seed).permutation(len(among))
        return [self[int(i)] for i in among[shuffled[np.argsort(distance[shuffled], kind="stable")[:count]]]]

    def distances(
        self, *, chord: str | None = None, label: str | None = None, **traits: float | None
    ) -> tuple[Whole, Wide]:
        """Return the numbers (n,) of all latents of a chord and a label, and how far each is from a description.

        All is as in `choose`.
        """
        wanted = _checked(traits)
        among = np.arange(len(self)) if chord is None else self._sounding(chord)
        if label is not None:
            among = among[among % len(self.memory.labels) == self.memory.label_index(label)]
        columns = [list(TRAITS).index(name) for name in wanted]
        return among, np.linalg.norm(self._quantiles[among][:, columns] - list(wanted.values()), axis=1)

    @staticmethod
    def _check_count(count: int, most: int, of: str = "") -> None:
        if not isinstance(count, int | np.integer) or not 1 <= count <= most:
            raise InputError(
                f"the atlas has {counted(most, 'latent')}{of}; 1 to {most} can be chosen, not {shown(count)}"
            )

    def _latent(self, z: npt.ArrayLike) -> Array:
        """Return a latent as an array (Z,); InputError if it is not one."""
        taken, size = asked.floats("a latent", z), self._latents.shape[1]
        if taken.shape != (size,):
            raise InputError(f"a latent must be ({size},), got {taken.shape}")
        return taken

    def _sounding(self, chord: str) -> Whole:
        """Return the entries that sound like a chord; InputError if there are none."""
        among = np.flatnonzero(self._chord == _chord_index(chord, self.names))
        if not len(among):
            there = ", ".join(f"{name} ({number})" for name, number in self.chords.items())
            raise InputError(f"no latent of the atlas sounds like {chord}; it has {there or 'none but silent ones'}")
        return among

    def neighbours(self, one: npt.ArrayLike, count: int, label: str | None = None) -> list[Entry]:
        """Return the `count` entries that sound most like an entry or a latent (Z,), nearest first.

        Distance is between descriptions, because latents of this many dimensions are all about equally far from
        each other. It is Euclidean over the quantiles of all traits; a different chord counts as much as the whole
        range of one trait. An entry is its own first neighbour. A latent that is not an entry is described as
        generated with `label`; None is the memory's first label.
        """
        self._check_count(count, len(self))
        found = self[int(one)] if isinstance(one, int | np.integer) else self._found(self._latent(one), label)
        distance = self._distances(found.description)
        if found.index is not None:
            distance[found.index] = -1.0
        return [self[int(i)] for i in np.argsort(distance, kind="stable")[:count]]

    def place(self, z: npt.ArrayLike, label: str | None = None) -> Entry:
        """Describe any latent (Z,), generated with `label`; None is the memory's first label."""
        return self.places(self._latent(z)[None], [label])[0]

    def places(self, z: Array, labels: Sequence[str | None]) -> list[Entry]:
        """Describe latents (B, Z), each generated with its label; None is the memory's first label."""
        named = [self._named(label) for label in labels]
        told = _told(self.memory, z, [name for name in named if name is not None])
        return [Entry(*three) for three in zip(z, named, told, strict=True)]

    def _named(self, label: str | None) -> str | None:
        if label is not None:
            self.memory.label_index(label)
        return label or self._label(0)

    def path(self, one: int, other: int, steps: int) -> list[Entry]:
        """Return `steps` places on the spherical path from one entry to another, both ends included.

        Each is generated with the label of the nearer end.
        """
        ends = self[one], self[other]
        z = spherical_path(ends[0].z, ends[1].z, steps)
        if steps == 2:
            return list(ends)
        labels = [ends[2 * i >= steps - 1].label for i in range(1, steps - 1)]
        return [ends[0], *self.places(z[1:-1], labels), ends[1]]

    def _found(self, z: Array, label: str | None) -> Entry:
        """Return the entry that equals a latent (Z,), or else the latent with its description."""
        if z.shape == self._latents.shape[1:]:
            for index in np.flatnonzero((self._latents == z).all(axis=1)).tolist():
                if label in {None, self._label(index)}:
                    return self[index]
        return self.place(z, label)

    def _distances(self, description: Description) -> Wide:
        """Return the distance of every entry from a description (n,)."""
        values = asdict(description)
        traits = np.array([values[field] for field in TRAITS.values()])
        below = (self._traits < traits).sum(axis=0) + 0.5 * np.maximum((self._traits == traits).sum(axis=0) - 1, 0)
        quantiles = np.minimum(below / (len(self) - 1), 1.0)
        name = description.chord
        other = self._chord != (self.names.index(name) if name else -1)
        return np.asarray(np.sqrt(((self._quantiles - quantiles) ** 2).sum(axis=1) + other))


def _header(memory: Memory, config: AtlasConfig) -> AtlasHeader:
    return AtlasHeader(fingerprint=memory.fingerprint, config=config, mel=memory.spec, chords=triads(memory.labels))


def spherical_path(one: Array, other: Array, steps: int) -> Array:
    """Return (steps, Z) latents on the great circle from one (Z,) to another, exact at both ends.

    Direction turns evenly and length changes evenly, so latents in between are as long as latents usually are; a
    straight line would pass closer to the origin. For opposite directions one of the many great circles is taken.
    Raises InputError for fewer than two steps, other shapes, or zeros.
    """
    steps = asked.whole("a path takes at least 2 steps, its ends: they", steps, 2, MEMORY_LATENTS.most)
    one, other = (asked.floats("an end of a path", end) for end in (one, other))
    if one.ndim != 1 or one.shape != other.shape or one.size < 2:
        raise InputError(f"a path leads between two latents (Z,), got {one.shape} and {other.shape}")
    a, b = (end.astype(np.float64) for end in (one, other))
    lengths = np.linalg.norm(a), np.linalg.norm(b)
    if not min(lengths) > 0.0:
        raise InputError("a latent of zeros has no direction a path could start or end with")
    a, b = a / lengths[0], b / lengths[1]
    aside, angle = _turn(a, b)
    t = np.linspace(0.0, 1.0, steps)[:, None]
    length = lengths[0] + t * (lengths[1] - lengths[0])
    points = (length * (np.cos(t * angle) * a + np.sin(t * angle) * aside)).astype(np.float32)
    points[0], points[-1] = one, other
    return np.asarray(points)


def _turn(a: Wide, b: Wide) -> tuple[Wide, float]:
    """Return the unit vector perpendicular to `a` in the direction of `b`, and the angle between `a` and `b`."""
    across = b - (a @ b) * a
    size = float(np.linalg.norm(across))
    angle = float(np.arctan2(size, a @ b))
    if size < 1e-9:  # parallel or opposite: any perpendicular direction will do
        across = np.eye(len(a))[np.abs(a).argmin()]
    across -= (a @ across) * a
    return across / np.linalg.norm(across), angle


def check_description(memory: Memory, chord: str | None = None, **traits: float | None) -> None:
    """Raise the InputError that `Atlas.choose` would raise, as far as it can be known without an atlas."""
    _checked(traits)
    if chord is not None:
        _chord_index(chord, triads(memory.labels))


def can_be_found(chord: str, labels: Sequence[str]) -> bool:
    """Say whether the atlas of a memory with these labels tells a chord from others."""
    return chord_of(chord) is not None and any((template(name) == template(chord)).all() for name in triads(labels))


def _chord_index(chord: str, names: Sequence[str]) -> int:
    """Return the index of a chord among names, in any spelling; InputError if it is missing."""
    if not isinstance(chord, str):
        raise InputError(f"a chord is named by text ({', '.join(names)}), got {shown(chord)}")
    same = [i for i, name in enumerate(names) if chord_of(chord) and (template(name) == template(chord)).all()]
    if not same:
        raise unknown("chord", chord, names)
    return same[0]


def _checked(traits: Mapping[str, float | None]) -> dict[str, float]:
    """Return the traits that are given, validated."""
    wanted = {name: value for name, value in traits.items() if value is not None}
    for name, value in wanted.items():
        if name not in TRAITS:
            raise unknown("trait", name, TRAITS)
        asked.number(f"{name}: a quantile, as 0.8 for more than 80 % of the latents,", value, 0.0, 1.0)
    return wanted


def _description(chord: str, traits: Wide) -> Description:
    return Description(chord, **{field: float(v) for field, v in zip(TRAITS.values(), traits, strict=True)})


def _told(memory: Memory, z: Array, labels: Sequence[str], track: Track = untracked) -> list[Description]:
    """Describe latents (B, Z), each generated with its label (no labels for a memory without them)."""
    describer = Describer(memory.spec, triads(memory.labels))
    told: list[Description] = []
    for start in track(range(0, len(z), CHUNK), -(-len(z) // CHUNK), "describing"):
        part = slice(start, start + CHUNK)
        told += describer(memory.generate(z[part], labels[part] or None))
    return told


def _describe(memory: Memory, config: AtlasConfig, track: Track) -> Tensors:
    """Describe every latent of the atlas: index of its chord (n,), traits (n, len(TRAITS))."""
    names = triads(memory.labels)
    turns = [memory.labels[i % len(memory.labels)] for i in range(config.count)] if memory.labels else []
    told = [asdict(one) for one in _told(memory, memory.latents(config.count, config.seed), turns, track)]
    chord = [names.index(one["chord"]) if one["chord"] else -1 for one in told]
    traits = [[one[field] for field in TRAITS.values()] for one in told]
    return {"chord": np.array(chord, dtype=np.int64), "traits": np.array(traits, dtype=np.float64)}


def _fault(tensors: Tensors, header: AtlasHeader) -> str:
    """Say why these tensors cannot be an atlas; empty if they can."""
    chord, traits = tensors.get("chord"), tensors.get("traits")
    count, width = header.config.count, len(TRAITS)
    if chord is None or traits is None or chord.shape != (count,) or traits.shape != (count, width):
        return f"not an atlas of {counted(count, 'latent')}"
    whole = bool(np.isfinite(traits).all()) and bool(((chord >= -1) & (chord < len(header.chords))).all())
    return "" if whole else "holds values that cannot be"
