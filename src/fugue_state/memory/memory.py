"""A memory: a trained generator, ready to be played."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self, get_args

import numpy as np
import numpy.typing as npt

from fugue_state import asked
from fugue_state.arrays import Array
from fugue_state.audio.compiled import in_threads
from fugue_state.audio.inverters import Inverter, SpectralInverter, make_inverter
from fugue_state.config import (
    DEFAULT_QUALITY,
    DEFAULT_REPLACEMENT,
    EVENT_BATCH,
    GAIN_MAX,
    MEAN_LATENTS,
    QUALITIES,
    ROUGH,
    SEED_MAX,
    VOCODER,
    WITHOUT_VOCODER,
    InverterName,
    MelSpec,
    QualityName,
)
from fugue_state.errors import InputError
from fugue_state.limits import MEMORY_LATENTS, MEMORY_STEPS
from fugue_state.memory.bends import Bend, Source, UnitValues, maps_of, per_unit, replacements
from fugue_state.memory.catalogue import (
    MEMORY_FILE,
    SUFFIX,
    VOCODER_KIND,
    MemoryHeader,
    VocoderHeader,
    check_same_mel,
    find_memory,
    kind_of,
)
from fugue_state.memory.checkpoint import file_hash, load_memory, load_vocoder
from fugue_state.memory.layers import Bender, Generator, Moments, Trail, resized
from fugue_state.memory.requests import Requests
from fugue_state.memory.vocoder import LearnedMagnitudes, MagnitudeNet, Stream, Unlearned
from fugue_state.score.names import quote
from fugue_state.score.places import at_home

VOCODER_FILE = f"vocoder{SUFFIX}"


def find_vocoder(name_or_path: str | Path) -> tuple[MagnitudeNet, VocoderHeader]:
    """Return a vocoder from a run folder, from its own file, or from the memory that has it.

    Raises InputError for a memory without a vocoder or an unknown name, CheckpointError for a bad file.
    """
    path = at_home(asked.path("vocoder", name_or_path))
    path = path / VOCODER_FILE if (path / VOCODER_FILE).is_file() else path
    if path.is_dir() and not (path / MEMORY_FILE).is_file():
        raise InputError(
            f"{path}: neither {VOCODER_FILE} nor {MEMORY_FILE} is in this folder; name a vocoder or its run"
        )
    if path.is_file() and kind_of(path) == VOCODER_KIND:
        return load_vocoder(path)
    _, header, net = load_memory(find_memory(name_or_path))
    if net is None or header.vocoder is None:
        raise InputError(f"memory {header.name!r} has no vocoder")
    return net, header.vocoder


class Memory:
    """Generator, MelSpec and inverter, together the voice of the instrument."""

    def __init__(
        self,
        generator: Generator,
        header: MemoryHeader,
        *,
        net: MagnitudeNet | None = None,
        inverter: Inverter | None = None,
        fingerprint: str = "",
    ) -> None:
        self.generator = generator
        self.header = header
        self.net = net
        self.fingerprint = fingerprint
        self._requests = Requests(header)
        if inverter is not None:
            check_same_mel(inverter.spec, header.mel, f"the inverter of memory {header.name!r}")
            self.inverter = inverter

    @classmethod
    def load(
        cls,
        name_or_path: str | Path,
        *,
        inverter: str | None = None,
        quality: QualityName = DEFAULT_QUALITY,
        seed: int = 0,
    ) -> Self:
        """Load a shipped memory by name, or any by file or run folder; `inverter` and `quality` as in `make_inverter`.

        Raises InputError for an unknown name or inverter, CheckpointError for a bad file.
        """
        path = find_memory(name_or_path)
        generator, header, net = load_memory(path)
        memory = cls(generator, header, net=net, fingerprint=file_hash(path))
        memory.inverter = memory.make_inverter(inverter, quality, seed)
        return memory

    def __repr__(self) -> str:
        labels = f"labels {', '.join(map(quote, self.labels))}" if self.labels else "no labels"
        layers = ", ".join(f"{name} {units}" for name, units in self.layers.items())
        rate, length_s = self.spec.sample_rate_hz, self.spec.duration_s
        return f"<Memory {self.header.name!r}: {labels}; units {layers}; {rate} Hz, {length_s:.3g} s>"

    @cached_property
    def inverter(self) -> Inverter:
        """Its inverter: its own, unless another one was given."""
        return self.make_inverter()

    @property
    def own_inverter(self) -> InverterName:
        """The name of its own inverter: its vocoder, or the fallback if it has none."""
        return WITHOUT_VOCODER if self.net is None else VOCODER

    def make_inverter(self, name: str | None = None, quality: QualityName = DEFAULT_QUALITY, seed: int = 0) -> Inverter:
        """Return an inverter for this memory's mels: its own vocoder, unless another one is named.

        A memory without a vocoder uses the fallback instead. So does every memory at quality `draft`, since the network
        takes most of the time. InputError for an unknown name, or for `vocoder` if it has none.
        """
        name = asked.one_of("inverter", name or self.own_inverter, get_args(InverterName))
        if name != VOCODER:
            return make_inverter(name, self.spec, quality, seed)
        asked.one_of("quality", quality, QUALITIES)
        return SpectralInverter(
            self._learned(rough=quality == ROUGH), QUALITIES[quality], asked.whole("seed", seed, 0, SEED_MAX)
        )

    def recast(self, mel: Array, sound: Array) -> Array:
        """Return a sound (T * hop,) with this mel (M, T), and with the phases of another sound (N,) of that length.

        InputError if its inverter finds no phases (`original`).
        """
        if not isinstance(self.inverter, SpectralInverter):
            raise InputError("the inverter `original` cannot take the phases of a recording; choose another")
        return self.inverter.recast(mel, sound)

    def stream(self, seed: int = 0, *, learned: bool = True) -> Stream:
        """Return its vocoder for playing frame by frame; InputError if it has none.

        If not `learned`, return the fallback without a network, even if it has a vocoder: half the work.
        """
        seed = asked.whole("seed", seed, 0, SEED_MAX)
        return Stream(self._learned() if learned else self._plain(), seed)

    def _plain(self) -> LearnedMagnitudes:
        return LearnedMagnitudes(Unlearned(self.spec), self.spec)

    def _learned(self, *, rough: bool = False) -> LearnedMagnitudes:
        if self.net is None:
            raise InputError(f"memory {self.header.name!r} has no vocoder; `fugue vocoder` trains and adds one")
        return self._plain() if rough else LearnedMagnitudes(self.net, self.spec)

    @property
    def spec(self) -> MelSpec:
        """The MelSpec of everything it generates."""
        return self.header.mel

    @property
    def labels(self) -> tuple[str, ...]:
        """The chords it learned by name; empty if it learned without labels."""
        return self.header.model.labels

    @property
    def layers(self) -> dict[str, int]:
        """Units per layer, nearest the latent first."""
        return self.header.model.layers

    @property
    def units(self) -> int:
        """Number of units U."""
        return self.header.model.units

    def latents(self, count: int, seed: int) -> Array:
        """Return latents (count, Z), the same for a seed on every machine; InputError for a wrong count or seed."""
        count = asked.whole("the count of latents", count, 0, MEMORY_LATENTS.most)
        seed = asked.whole("seed", seed, 0, SEED_MAX)
        values = np.random.default_rng(seed).standard_normal((count, self.header.model.latent_size))
        return values.astype(np.float32)

    def generate(
        self,
        z: npt.ArrayLike,
        chord: str | Sequence[str] | None = None,
        strengths: UnitValues | None = None,
        frames: int | None = None,
        bend: Bend | None = None,
    ) -> Array:
        """Return mels (B, M, T) in [-1, 1] for latents (B, Z).

        `chord` is one name for all or one for each; None takes the memory's labels in turn.
        `strengths` (U,) or (B, U), within 0..1, cover all units from `deconv1` on: 1 is intact. By name, as in
        {"deconv3:17": 0.0, "deconv4": 0.5}, all other units stay intact.
        `frames`, a multiple of 32, stretches or shortens the sound to that length at the same pitch, by resizing the
        first feature map inside the network; None is the length learned.
        `bend`, from `bend()`, says what replaces the forgotten part; None is zero.
        Raises InputError for a wrong shape, an unknown chord, a strength out of range or another memory's bend.
        """
        moments, frames = self._requests.moments(z, chord, strengths, frames)
        if not len(moments):
            return np.zeros((0, self.spec.n_mels, frames or self.spec.frames), dtype=np.float32)
        bends = self._bends(bend, frames)
        return np.stack(in_threads(lambda item: self._generated(moments, item, frames, bends), range(len(moments))))

    def _generated(
        self, moments: Moments, item: int, frames: int | None, bends: Mapping[str, Bender] | None, **how: Any
    ) -> Array:
        label = int(moments.label[item])
        return self.generator(moments.z[item], label, moments.left(item), frames=frames, bends=bends, **how)

    def _bends(self, bend: Bend | None, frames: int | None) -> Mapping[str, Bender] | None:
        if bend is not None and asked.kind("bend", bend, Bend, "Memory.bend").generator is not self.generator:
            raise InputError(f"the bend is another memory's; memory {self.header.name!r} needs one of its own")
        return None if bend is None else bend.layers(frames)

    def observe(
        self,
        z: npt.ArrayLike,
        chord: str | Sequence[str] | None = None,
        strengths: UnitValues | None = None,
        frames: int | None = None,
        bend: Bend | None = None,
        steps: int | None = None,
        trail: Trail | None = None,
    ) -> tuple[Array, Array]:
        """Return mels (B, M, T) as `generate` does, and every unit's mean activation (B, U).

        With `steps`, at least 1, return its activation over time instead (B, U, steps), from the beginning to the end.
        A `trail` saves time when the same latent is generated again and only `strengths` differ: layers before the
        first change are reused.
        """
        steps = None if steps is None else asked.whole("steps", steps, 1, MEMORY_STEPS.most)
        moments, frames = self._requests.moments(z, chord, strengths, frames)
        if not len(moments):
            shape = (0, self.units) if steps is None else (0, self.units, steps)
            return (
                np.zeros((0, self.spec.n_mels, frames or self.spec.frames), dtype=np.float32),
                np.zeros(shape, dtype=np.float32),
            )
        if trail is not None and len(moments) > 1:
            raise InputError(f"a trail is that of one latent, got {len(moments)}")
        bends = self._bends(bend, frames)

        def one(item: int) -> tuple[Array, Array]:
            seen: list[Array] = []

            def see(_: str, maps: Array) -> None:
                firing = maps.sum(axis=0) / np.float32(len(maps))  # (W, C)
                seen.append(firing.mean(axis=0) if steps is None else resized(firing, steps, 0).T)

            mel = self._generated(moments, item, frames, bends, trail=trail, seen=see)
            return mel, np.concatenate(seen)

        mels, activations = zip(*in_threads(one, range(len(moments))), strict=True)
        return np.stack(mels), np.stack(activations)

    def maps(
        self,
        z: npt.ArrayLike,
        chord: str | Sequence[str] | None = None,
        strengths: UnitValues | None = None,
        frames: int | None = None,
    ) -> dict[str, Array]:
        """Return the maps (B, C, H, W) of every layer, nearest the latent first, for latents (B, Z).

        Maps are the units' outputs, at least 0, and the input of the next layer; with `strengths`, only the remembered
        part. Height is frequency, width is time. Everything else is as in `generate`.
        """
        moments, length = self._requests.moments(z, chord, strengths, frames)
        length = length or self.spec.frames
        if not len(moments):
            sizes = self.generator.map_sizes(length)
            return {name: np.zeros((0, self.layers[name], *size), dtype=np.float32) for name, size in sizes.items()}
        items = in_threads(lambda item: maps_of(self.generator, moments, item, length), range(len(moments)))
        return {name: np.stack([item[name].transpose(2, 0, 1) for item in items]) for name in self.layers}

    def bend(
        self,
        replacement: str | Mapping[str, str] | Sequence[str] = DEFAULT_REPLACEMENT,
        *,
        seed: int = 0,
        gain: UnitValues | None = None,
        invert: UnitValues | None = None,
        frozen: Source | None = None,
        other: Source | None = None,
        other_memory: Memory | None = None,
    ) -> Bend:
        """Return a bend for `generate` and `observe`: replacements, and what is done to units besides forgetting.

        `replacement` replaces the forgotten part: one for all units, one by layer (zero for layers not named) or one
        for each unit. `zero`; `mean`, the unit's average activation; `noise`, seeded, with the same mean and power
        spectrum as the unit's map; `frozen` and `other`, the maps of that Source. With an `other_memory`, `other` is a
        Source of that memory, and unit k of a layer is replaced by unit k * C // units of its C in the same layer.
        `gain` (U,), within 0..8, multiplies the remembered part; 1 changes nothing. `invert` (U,), within 0..1, is how
        far a map is flipped between its smallest and largest value; 0 changes nothing. Both can also be given by name.
        Raises InputError for an unknown name, a wrong shape, a value out of range, a missing Source, or another memory
        that learned another number of frames.
        """
        seed = asked.whole("seed", seed, 0, SEED_MAX)
        lender = self if other_memory is None else asked.kind("other_memory", other_memory, Memory, "Memory.load")
        if lender.spec.frames != self.spec.frames:
            frames, wanted = lender.spec.frames, f"{self.spec.frames}, like {self.header.name!r}"
            raise InputError(
                f"memory {lender.header.name!r} has {frames} frames: only one with {wanted}, can be `other`"
            )
        names = replacements(replacement, self.layers)
        sources = {"frozen": frozen, "other": other}
        for name, source in sources.items():
            if name in names and source is None:
                raise InputError(f"replacement {name!r} needs a Source: {name}=Source(latent, chord)")
        return Bend(
            self.generator,
            names,
            seed,
            gain=None if gain is None else per_unit("gain", gain, self.layers, GAIN_MAX, 1.0),
            invert=None if invert is None else per_unit("invert", invert, self.layers, 1.0, 0.0),
            mean=self.mean_activations if "mean" in names else None,
            moments={
                name: (lender if name == "other" else self)._requests.moment(name, source)
                for name, source in sources.items()
                if source is not None
            },
            lender=None if other_memory is None else lender.generator,
        )

    @cached_property
    def mean_activations(self) -> Array:
        """Every unit's average activation (U,) over many latents and all labels."""
        chords = self.labels or (None,)
        latents = self.latents(math.ceil(MEAN_LATENTS / len(chords)), seed=0)
        parts = [latents[i : i + EVENT_BATCH] for i in range(0, len(latents), EVENT_BATCH)]
        every = np.concatenate([self.observe(part, chord)[1] for chord in chords for part in parts])
        return np.asarray(every.mean(axis=0))

    def frames(self, duration_s: float | None) -> int:
        """Return the fewest frames (a multiple of 32) that last `duration_s` or more; None is the length learned."""
        return self._requests.frames(duration_s)

    def label_of(self, name: str) -> str | None:
        """Return the label that a name means, in any spelling, quoted or not; None if there is none."""
        return self._requests.label_of(name)

    def label_index(self, chord: str) -> int:
        """Return the index of a chord; InputError if this memory does not know it."""
        return self._requests.label_index(chord)

    def knows(self, chord: str) -> bool:
        """Return whether it learned a chord by this name."""
        return self._requests.label_of(chord) is not None

    def invert(self, mel: npt.ArrayLike) -> Array:
        """Return audio (B, N) at the MelSpec's rate for mels (B, M, T); values outside [-1, 1] are clipped.

        Raises InputError for mels of a wrong shape, or with values that are not finite.
        """
        return self.inverter(asked.floats("mel", mel, finite=False))
