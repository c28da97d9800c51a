"""What stands in for the forgotten part of a unit, and bends that are not forgetting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import get_args

import numpy as np
import numpy.typing as npt
import scipy.fft
import torch
from torch import Tensor

from fugue_state import asked
from fugue_state.audio.compiled import one_thread
from fugue_state.config import DEFAULT_REPLACEMENT, ReplacementName
from fugue_state.errors import InputError, counted, shown
from fugue_state.memory.networks import Bender, Generator, remembered
from fugue_state.memory.units import for_units

REPLACEMENTS = get_args(ReplacementName)
LENGTHS_KEPT = 4  # lengths in frames for which a bend keeps what it has prepared

# One for each unit, or by name: {"deconv3:17": 0.0}, where the others are left as they are.
UnitValues = npt.ArrayLike | Tensor | Mapping[str, float | npt.ArrayLike | Tensor]
# Moments as the generator takes them: latents (B, Z), labels (B,), strengths (C,) or (B, C) by layer.
Moment = tuple[Tensor, Tensor, Mapping[str, Tensor] | None]


@dataclass(frozen=True, eq=False)
class Source:
    """A moment whose maps can stand in for others: latent (Z,), chord, strengths (U,) as they were then.

    No chord is the first that the memory knows, no strengths are intact.
    """

    latent: UnitValues
    chord: str | None = None
    strengths: UnitValues | None = None


@dataclass(frozen=True, eq=False)
class LayerBend:
    """The bend of one layer with C units, ready for maps of one size (H, W)."""

    fixed: Tensor  # (C, H or 1, W or 1): what stands in for a unit, if it is the same for every item
    noisy: Tensor  # (C,): units that noise stands in for
    phases: Tensor | None  # (C, H, W // 2 + 1)
    gain: Tensor | None  # (C, 1, 1)
    invert: Tensor | None  # (C, 1, 1)

    def __call__(self, h: Tensor, strength: Tensor | None) -> Tensor:
        """Bend maps (B, C, H, W), of which `strength` (C,) or (B, C) is remembered; None is all."""
        bent = self._bent(h)
        if strength is None:
            return bent
        s = strength[..., None, None]
        # No fused step: each of these rounds alike wherever an item lies in the batch.
        kept = s * bent
        kept += (1.0 - s) * self._replacement(h, strength)
        return kept

    def _bent(self, h: Tensor) -> Tensor:
        if self.invert is not None:
            turned = h.amax((2, 3), keepdim=True) + h.amin((2, 3), keepdim=True) - h
            h = (1.0 - self.invert) * h + self.invert * turned
        return h if self.gain is None else h * self.gain

    def _replacement(self, h: Tensor, strength: Tensor) -> Tensor:
        """Return what stands in for units, (C, ...) or (B, C, H, W)."""
        units = self.noisy & (strength < 1.0).reshape(-1, h.shape[1]).any(0)  # others would weigh nothing
        if self.phases is None or not bool(units.any()):
            return self.fixed
        every = self.fixed.expand_as(h).clone()
        every[:, units] = scrambled(h[:, units], self.phases[units])
        return every


def scrambled(h: Tensor, phases: Tensor) -> Tensor:
    """Return maps (B, C, H, W) with their power spectra, but with `phases` (C, H, W // 2 + 1) of length 1."""
    # SciPy's transform: PyTorch's rounds otherwise with another number of threads.
    spectrum = torch.from_numpy(scipy.fft.rfft2(h.numpy()))
    power = spectrum.real.square() + spectrum.imag.square()
    return torch.from_numpy(scipy.fft.irfft2((power.sqrt() * phases).numpy(), s=h.shape[2:], overwrite_x=True))


def noise_phases(seed: int, layer: int, units: int, size: tuple[int, int]) -> Tensor:
    """Return the phases (C, H, W // 2 + 1) of real noise, of length 1: a unit's do not depend on other units."""
    noise = np.random.default_rng((seed, layer)).standard_normal((units, *size), dtype=np.float32)
    phases = np.sign(scipy.fft.rfft2(noise))
    phases[:, 0, 0] = 1.0  # the mean stays
    return torch.from_numpy(phases)


@dataclass(frozen=True, eq=False)
class Bend:
    """What is done to units besides forgetting, and what stands in for the forgotten; `Memory.bend` makes it.

    `out = s * b(h) + (1 - s) * r` for a unit's map h and strength s; r is its replacement, b inverts and then
    amplifies. What it prepares for a length is kept, so that one bend serves many events.
    """

    generator: Generator
    replacement: tuple[str, ...]  # (U,)
    seed: int
    gain: Tensor | None  # (U,)
    invert: Tensor | None  # (U,)
    mean: Tensor | None  # (U,): average activations, if they stand in for any unit
    moments: Mapping[str, Moment]
    _made: dict[int, Mapping[str, Bender]] = field(default_factory=dict, init=False, repr=False)

    def layers(self, frames: int | None = None) -> Mapping[str, Bender]:
        """Return how to bend each layer's maps at this length; layers that nothing is done to are left out."""
        frames = self.generator.frames if frames is None else frames
        if frames not in self._made:
            made = self._make(frames)
            if len(self._made) == LENGTHS_KEPT:
                del self._made[next(iter(self._made))]
            self._made[frames] = made
        return self._made[frames]

    def _make(self, frames: int) -> Mapping[str, Bender]:
        with torch.inference_mode(), one_thread():
            needed = {name: moment for name, moment in self.moments.items() if name in self.replacement}
            maps = {name: maps_of(self.generator, moment, frames) for name, moment in needed.items()}
            made: dict[str, Bender] = {}
            first = 0
            for index, (name, size) in enumerate(self.generator.map_sizes(frames).items()):
                units = slice(first, first + self.generator.config.layers[name])
                first = units.stop
                layer = self._layer(index, units, size, {source: layers[name][0] for source, layers in maps.items()})
                if layer is not None:
                    made[name] = layer
            return made

    def _layer(self, index: int, units: slice, size: tuple[int, int], maps: Mapping[str, Tensor]) -> LayerBend | None:
        names = np.array(self.replacement[units])
        gain, invert = _unless(self.gain, units, 1.0), _unless(self.invert, units, 0.0)
        if gain is None and invert is None and set(names) == {"zero"}:
            return None
        chosen = {name: torch.from_numpy(names == name)[:, None, None] for name in REPLACEMENTS}
        fixed = torch.zeros(len(names), 1, 1)
        if self.mean is not None:
            fixed = torch.where(chosen["mean"], self.mean[units, None, None], fixed)
        for name, own in maps.items():
            if bool(chosen[name].any()):
                fixed = torch.where(chosen[name], own, fixed)
        noisy = chosen["noise"].flatten()
        phases = noise_phases(self.seed, index, len(names), size) if bool(noisy.any()) else None
        return LayerBend(fixed, noisy, phases, gain, invert)


def _unless(values: Tensor | None, units: slice, neutral: float) -> Tensor | None:
    """Return the values of a layer's units (C, 1, 1); None if they change nothing."""
    if values is None or bool((values[units] == neutral).all()):
        return None
    return values[units, None, None]


def maps_of(generator: Generator, moment: Moment, frames: int) -> dict[str, Tensor]:
    """Return what every unit does at moments: maps (B, C, H, W) by layer."""
    maps: dict[str, Tensor] = {}

    def keep(name: str) -> Bender:
        def kept(h: Tensor, strength: Tensor | None) -> Tensor:
            out = remembered(h, strength)
            maps[name] = out
            return out

        return kept

    z, label, strengths = moment
    generator(z, label, strengths, frames=frames, bends={name: keep(name) for name in generator.config.layers})
    return maps


def replacements(chosen: str | Mapping[str, str] | Sequence[str], layers: Mapping[str, int]) -> tuple[str, ...]:
    """Return each unit's replacement (U,) for one name, names by layer (zero for the others) or one for each unit.

    Raises InputError for a name or layer that is not known and for another number of units.
    """
    units = sum(layers.values())
    if isinstance(chosen, str):
        names = (chosen,) * units
    elif isinstance(chosen, Mapping):
        for layer in chosen:
            asked.one_of("layer", layer, layers)
        names = tuple(chosen.get(layer, DEFAULT_REPLACEMENT) for layer, count in layers.items() for _ in range(count))
    elif isinstance(chosen, Sequence | np.ndarray):
        names = tuple(chosen)
    else:
        raise InputError(f"replacement must be a name, names by layer or one for each unit, got {shown(chosen)}")
    if len(names) != units:
        raise InputError(f"{counted(len(names), 'replacement')} for {counted(units, 'unit')}; one for each is needed")
    for name in names:
        asked.one_of("replacement", name, REPLACEMENTS)
    return names


def per_unit(name: str, values: UnitValues, layers: Mapping[str, int], most: float, default: float) -> Tensor:
    """Return values (U,) within 0..most, the default where names leave units out; InputError for others."""
    flat, units = torch.from_numpy(for_units(name, values, layers, default)), sum(layers.values())
    if flat.shape != (units,):
        raise InputError(f"{name} must be ({units},), got {tuple(flat.shape)}")
    wrong = flat[~((flat >= 0.0) & (flat <= most))]
    if len(wrong):
        raise InputError(f"{name} must be within 0..{most:g}, got {float(wrong[0]):g}")
    return flat.clone()  # what the caller does to its own later changes nothing
