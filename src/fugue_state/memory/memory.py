"""A memory: what was learned, ready to be played."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Self, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fugue_state.audio.compiled import one_thread
from fugue_state.audio.inverters import Inverter, SpectralInverter, make_inverter
from fugue_state.config import (
    DEFAULT_QUALITY,
    DEFAULT_REPLACEMENT,
    EVENT_BATCH,
    GAIN_MAX,
    MEAN_LATENTS,
    QUALITIES,
    SEED_MAX,
    VOCODER,
    WITHOUT_VOCODER,
    InverterName,
    MelSpec,
    QualityName,
)
from fugue_state.errors import InputError, unknown
from fugue_state.memory.bends import Bend, Moment, Source, UnitValues, per_unit, replacements
from fugue_state.memory.catalogue import (
    SUFFIX,
    VOCODER_KIND,
    MemoryHeader,
    VocoderHeader,
    check_same_mel,
    find_memory,
    kind_of,
)
from fugue_state.memory.checkpoint import file_hash, load_memory, load_vocoder
from fugue_state.memory.networks import FACTOR, Generator, Trail
from fugue_state.memory.vocoder import LearnedMagnitudes, MagnitudeNet, Stream, Unlearned
from fugue_state.score.names import quote, unquoted
from fugue_state.score.places import at_home

LONGEST_S = 120.0
VOCODER_FILE = f"vocoder{SUFFIX}"


def find_vocoder(name_or_path: str | Path) -> tuple[MagnitudeNet, VocoderHeader]:
    """Return the vocoder of a run folder or a file of its own, or the one that a memory has.

    Raises InputError for a memory without one or a name not known, CheckpointError for a bad file.
    """
    path = at_home(name_or_path)
    path = path / VOCODER_FILE if (path / VOCODER_FILE).is_file() else path
    if path.is_file() and kind_of(path) == VOCODER_KIND:
        return load_vocoder(path)
    _, header, net = load_memory(find_memory(name_or_path))
    if net is None or header.vocoder is None:
        raise InputError(f"memory {header.name!r} has no vocoder")
    return net, header.vocoder


class Memory:
    """Generator, MelSpec and inverter, as one instrument's voice."""

    def __init__(
        self,
        generator: Generator,
        header: MemoryHeader,
        *,
        net: MagnitudeNet | None = None,
        inverter: Inverter | None = None,
        fingerprint: str = "",
    ) -> None:
        self.generator = generator.eval().requires_grad_(False)
        self.generator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.header = header
        self.net = net
        self.inverter = inverter or self.make_inverter()
        self.fingerprint = fingerprint
        check_same_mel(self.inverter.spec, header.mel, f"the inverter of memory {header.name!r}")

    @classmethod
    def load(
        cls,
        name_or_path: str | Path,
        *,
        inverter: str | None = None,
        quality: QualityName = DEFAULT_QUALITY,
        seed: int = 0,
    ) -> Self:
        """Load a shipped memory by name, or any by file or run folder; how it inverts as in `make_inverter`.

        Raises InputError for a name or inverter that is not known, CheckpointError for a bad file.
        """
        path = find_memory(name_or_path)
        generator, header, net = load_memory(path)
        memory = cls(generator, header, net=net, fingerprint=file_hash(path))
        memory.inverter = memory.make_inverter(inverter, quality, seed)
        return memory

    @property
    def own_inverter(self) -> InverterName:
        """The name of its own way to sound: its vocoder, or what stands in for it."""
        return WITHOUT_VOCODER if self.net is None else VOCODER

    def make_inverter(self, name: str | None = None, quality: QualityName = DEFAULT_QUALITY, seed: int = 0) -> Inverter:
        """Return a way to sound for this memory's mels: its own vocoder unless another one is named.

        A memory without one uses what stands in for it. InputError for a name not known, or its vocoder
        if it has none.
        """
        name = name or self.own_inverter
        if name not in get_args(InverterName):
            raise unknown("inverter", name, get_args(InverterName))
        if name != VOCODER:
            return make_inverter(name, self.spec, quality, seed)
        return SpectralInverter(self._learned(), QUALITIES[quality], seed)

    def stream(self, seed: int = 0, *, learned: bool = True) -> Stream:
        """Return its vocoder for playing frame by frame; InputError if it has none.

        If not `learned`, what stands in for one, also where there is one: half the work.
        """
        return Stream(self._learned() if learned else LearnedMagnitudes(Unlearned(self.spec), self.spec), seed)

    def _learned(self) -> LearnedMagnitudes:
        if self.net is None:
            raise InputError(f"memory {self.header.name!r} has no vocoder; `fugue vocoder` trains and adds one")
        return LearnedMagnitudes(self.net, self.spec)

    @property
    def spec(self) -> MelSpec:
        """The MelSpec of everything it generates."""
        return self.header.mel

    @property
    def labels(self) -> tuple[str, ...]:
        """The chords it was taught by name; empty if it learned without labels."""
        return self.header.model.labels

    @property
    def layers(self) -> dict[str, int]:
        """Units per layer, nearest the latent first."""
        return self.header.model.layers

    @property
    def units(self) -> int:
        """Number of units U."""
        return self.header.model.units

    def latents(self, count: int, seed: int) -> Tensor:
        """Return latents (count, Z), the same for a seed on every machine."""
        values = np.random.default_rng(seed).standard_normal((count, self.header.model.latent_size))
        return torch.from_numpy(values.astype(np.float32))

    def generate(
        self,
        z: Tensor,
        chord: str | Sequence[str] | None = None,
        strengths: UnitValues | None = None,
        frames: int | None = None,
        bend: Bend | None = None,
    ) -> Tensor:
        """Return mels (B, M, T) in [-1, 1] for latents (B, Z).

        `chord` is one for all or one for each; None takes the memory's labels in turn.
        `strengths` (U,) or (B, U), within 0..1, all units from `deconv1` on: 1 is intact.
        `frames`, a multiple of 32, stretches or shortens what happens to that length, pitch unchanged:
        inside the network, on the first feature map; None is as learned.
        `bend`, from `bend()`, says what stands in for the forgotten part; None is zero.
        Raises InputError for a wrong shape, an unknown chord, a strength out of range or another memory's bend.
        """
        return self.observe(z, chord, strengths, frames, bend)[0]

    def observe(
        self,
        z: Tensor,
        chord: str | Sequence[str] | None = None,
        strengths: UnitValues | None = None,
        frames: int | None = None,
        bend: Bend | None = None,
        steps: int | None = None,
        trail: Trail | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return mels (B, M, T) as `generate` does, and every unit's mean activation (B, U).

        With `steps`, at least 1, its activation over time instead (B, U, steps), from the beginning to the end.
        With a `trail`, the same as long as all but `strengths` is the same, only what those change is made again.
        """
        if steps is not None and steps < 1:
            raise InputError(f"activations over time take at least 1 step, got {steps}")
        if z.ndim != 2 or z.shape[1] != self.header.model.latent_size:
            raise InputError(f"z must be (B, {self.header.model.latent_size}), got {tuple(z.shape)}")
        if bend is not None and bend.generator is not self.generator:
            raise InputError(f"the bend is another memory's; memory {self.header.name!r} needs one of its own")
        label = self._label_indices(chord, len(z))
        left = None if strengths is None else self._by_layer(strengths, len(z))
        bends = None if bend is None else bend.layers(frames)
        activations: dict[str, Tensor] = {}
        with torch.inference_mode(), one_thread():
            mel = self.generator(z, label, left, activations, frames, bends, trail)[:, 0]
            seen = [maps.mean(dim=2) if steps is None else _over_time(maps, steps) for maps in activations.values()]
        return mel, torch.cat(seen, dim=1)

    def bend(
        self,
        replacement: str | Mapping[str, str] | Sequence[str] = DEFAULT_REPLACEMENT,
        *,
        seed: int = 0,
        gain: UnitValues | None = None,
        invert: UnitValues | None = None,
        frozen: Source | None = None,
        other: Source | None = None,
    ) -> Bend:
        """Return what is done to units besides forgetting, for `generate` and `observe`.

        `replacement` stands in for the forgotten part: one for all units, one by layer (zero where a layer is
        not named) or one for each unit. `zero`; `mean`, the unit's average activation; `noise`, seeded, of the
        same mean and power spectrum as the unit's map; `frozen` and `other`, the maps of that Source.
        `gain` (U,), within 0..8, multiplies what is remembered, 1 is none; `invert` (U,), within 0..1, is how
        far it is turned upside down between its largest and smallest value, 0 is not at all.
        Raises InputError for a name not known, a wrong shape, a value out of range or a Source that is missing.
        """
        if not 0 <= seed <= SEED_MAX:
            raise InputError(f"seed must be within 0..{SEED_MAX}, got {seed}")
        names = replacements(replacement, self.layers)
        sources = {"frozen": frozen, "other": other}
        for name, source in sources.items():
            if name in names and source is None:
                raise InputError(f"replacement {name!r} needs a Source: {name}=Source(latent, chord)")
        return Bend(
            self.generator,
            names,
            seed,
            gain=None if gain is None else per_unit("gain", gain, self.units, GAIN_MAX),
            invert=None if invert is None else per_unit("invert", invert, self.units, 1.0),
            mean=self.mean_activations if "mean" in names else None,
            moments={name: self._moment(name, source) for name, source in sources.items() if source is not None},
        )

    @cached_property
    def mean_activations(self) -> Tensor:
        """Every unit's average activation (U,) over many latents and all labels."""
        chords = self.labels or (None,)
        parts = torch.split(self.latents(math.ceil(MEAN_LATENTS / len(chords)), seed=0), EVENT_BATCH)
        return torch.cat([self.observe(part, chord)[1] for chord in chords for part in parts]).mean(0)

    def _moment(self, name: str, source: Source) -> Moment:
        size = self.header.model.latent_size
        # Copies: what the caller does to its own later changes nothing.
        z = torch.as_tensor(source.latent, dtype=torch.float32).clone()
        if z.shape != (size,):
            raise InputError(f"the latent of {name} must be ({size},), got {tuple(z.shape)}")
        if not bool(z.isfinite().all()):
            raise InputError(f"the latent of {name} must be finite numbers")
        then = None if source.strengths is None else self._by_layer(torch.as_tensor(source.strengths).clone(), 1)
        return z[None], self._label_indices(source.chord, 1), then

    def frames(self, duration_s: float | None) -> int:
        """Return the frames (a multiple of 32) that last at least so long; None is as long as learned."""
        if duration_s is None:
            return self.spec.frames
        if not 0.0 < duration_s <= LONGEST_S:
            raise InputError(f"a segment lasts up to {LONGEST_S:g} s, got {duration_s:g}")
        return math.ceil(duration_s * self.spec.sample_rate_hz / self.spec.hop / FACTOR) * FACTOR

    def invert(self, mel: Tensor) -> Tensor:
        """Return audio (B, N) at the MelSpec's rate for mels (B, M, T)."""
        return self.inverter(mel)

    def _label_indices(self, chord: str | Sequence[str] | None, count: int) -> Tensor:
        if chord is None:
            return torch.arange(count) % max(len(self.labels), 1)
        chords = [chord] * count if isinstance(chord, str) else list(chord)
        if len(chords) != count:
            raise InputError(f"{len(chords)} chords for {count} latents; one for each is needed")
        return torch.tensor([self.label_index(name) for name in chords])

    def label_index(self, chord: str) -> int:
        """Return the index of a chord; InputError if this memory does not know it."""
        if not self.labels:
            raise InputError(f"memory {self.header.name!r} learned without labels: it knows no chord by name")
        name = chord if chord in self.labels else unquoted(chord)
        if name not in self.labels:
            raise unknown("chord", chord, map(quote, self.labels))
        return self.labels.index(name)

    def _by_layer(self, strengths: UnitValues, count: int) -> Mapping[str, Tensor]:
        flat = torch.as_tensor(strengths, dtype=torch.float32)
        if flat.shape not in ((self.units,), (count, self.units)):
            raise InputError(f"strengths must be ({self.units},) or ({count}, {self.units}), got {tuple(flat.shape)}")
        if not bool(((flat >= 0.0) & (flat <= 1.0)).all()):
            raise InputError("strengths must be within 0..1 (0 forgotten, 1 intact)")
        parts = torch.split(flat, list(self.layers.values()), dim=-1)
        return dict(zip(self.layers, parts, strict=True))


def _over_time(maps: Tensor, steps: int) -> Tensor:
    """Return the columns of maps (B, C, W) at even times: (B, C, steps)."""
    return functional.interpolate(maps, steps, mode="linear")
