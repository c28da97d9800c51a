"""A memory: what was learned, ready to be played."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fugue_state.audio.inverters import Inverter, make_inverter
from fugue_state.config import DEFAULT_INVERTER, MelSpec
from fugue_state.errors import CheckpointError, InputError, unknown
from fugue_state.memory.checkpoint import MemoryHeader, file_hash, load_memory
from fugue_state.memory.networks import FACTOR, Generator

SHIPPED = "memories"
LONGEST_S = 120.0
SUFFIX = ".safetensors"

StrengthsLike = npt.ArrayLike | Tensor


def shipped_memories() -> dict[str, Path]:
    """Return the memories that come with the package, by name."""
    folder = Path(str(resources.files("fugue_state"))) / SHIPPED
    return {path.stem: path for path in sorted(folder.glob(f"*{SUFFIX}"))}


def find_memory(name_or_path: str | Path) -> Path:
    """Return the checkpoint a name, a file or a run folder stands for; else raise InputError."""
    path = Path(name_or_path)
    if path.is_dir():
        path = path / f"memory{SUFFIX}"
    if path.is_file() or path.suffix or len(path.parts) > 1:
        return path
    shipped = shipped_memories()
    if str(name_or_path) not in shipped:
        raise unknown("memory", str(name_or_path), shipped)
    return shipped[str(name_or_path)]


class Memory:
    """Generator, MelSpec and inverter, as one instrument's voice."""

    def __init__(
        self, generator: Generator, header: MemoryHeader, *, inverter: Inverter | None = None, fingerprint: str = ""
    ) -> None:
        self.generator = generator.eval().requires_grad_(False)
        self.header = header
        self.inverter = inverter or make_inverter(DEFAULT_INVERTER, header.mel)
        self.fingerprint = fingerprint
        if self.inverter.spec != header.mel:
            raise CheckpointError(
                f"the inverter is made for another MelSpec than memory {header.name!r}: "
                f"{_difference(self.inverter.spec, header.mel)}"
            )

    @classmethod
    def load(cls, name_or_path: str | Path, *, inverter: str = DEFAULT_INVERTER, seed: int = 0) -> Self:
        """Load a shipped memory by name, or any by file or run folder.

        Raises InputError for a name or inverter that is not known, CheckpointError for a bad file.
        """
        path = find_memory(name_or_path)
        generator, header = load_memory(path)
        return cls(generator, header, inverter=make_inverter(inverter, header.mel, seed), fingerprint=file_hash(path))

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
        strengths: StrengthsLike | None = None,
        frames: int | None = None,
    ) -> Tensor:
        """Return mels (B, M, T) in [-1, 1] for latents (B, Z).

        `chord` is one for all or one for each; None takes the memory's labels in turn.
        `strengths` (U,) or (B, U), within 0..1, all units from `deconv1` on: 1 is intact.
        `frames`, a multiple of 32, stretches or shortens what happens to that length, pitch unchanged:
        inside the network, on the first feature map; None is as learned.
        Raises InputError for a wrong shape, an unknown chord or a strength out of range.
        """
        return self.observe(z, chord, strengths, frames)[0]

    def observe(
        self,
        z: Tensor,
        chord: str | Sequence[str] | None = None,
        strengths: StrengthsLike | None = None,
        frames: int | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return mels (B, M, T) as `generate` does, and every unit's mean activation (B, U)."""
        if z.ndim != 2 or z.shape[1] != self.header.model.latent_size:
            raise InputError(f"z must be (B, {self.header.model.latent_size}), got {tuple(z.shape)}")
        label = self._label_indices(chord, len(z))
        bent = None if strengths is None else self._by_layer(strengths, len(z))
        activations: dict[str, Tensor] = {}
        with torch.inference_mode():
            mel = self.generator(z, label, bent, activations, frames)[:, 0]
        return mel, torch.cat(list(activations.values()), dim=1)

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
        if chord not in self.labels:
            raise unknown("chord", chord, self.labels)
        return self.labels.index(chord)

    def _by_layer(self, strengths: StrengthsLike, count: int) -> Mapping[str, Tensor]:
        flat = torch.as_tensor(strengths, dtype=torch.float32)
        if flat.shape not in ((self.units,), (count, self.units)):
            raise InputError(f"strengths must be ({self.units},) or ({count}, {self.units}), got {tuple(flat.shape)}")
        if not bool(((flat >= 0.0) & (flat <= 1.0)).all()):
            raise InputError("strengths must be within 0..1 (0 forgotten, 1 intact)")
        parts = torch.split(flat, list(self.layers.values()), dim=-1)
        return dict(zip(self.layers, parts, strict=True))


def _difference(one: MelSpec, other: MelSpec) -> str:
    ours, theirs = one.model_dump(), other.model_dump()
    return ", ".join(f"{key} {ours[key]} instead of {theirs[key]}" for key in ours if ours[key] != theirs[key])
