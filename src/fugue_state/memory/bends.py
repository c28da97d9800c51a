"""Replacements for the forgotten part of a unit, and bends other than forgetting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import get_args

import numpy as np
import numpy.typing as npt
import scipy.fft

from fugue_state import asked
from fugue_state.arrays import Array
from fugue_state.config import DEFAULT_REPLACEMENT, ReplacementName
from fugue_state.errors import InputError, counted, shown
from fugue_state.memory.layers import Bender, Generator, Moments
from fugue_state.memory.units import for_units

REPLACEMENTS = get_args(ReplacementName)
LENGTHS_KEPT = 4  # number of lengths (in frames) for which a bend caches its layers

# One value for each unit, or values by name: {"deconv3:17": 0.0}, which leaves the other units as they are.
UnitValues = npt.ArrayLike | Mapping[str, float | npt.ArrayLike]


@dataclass(frozen=True, eq=False)
class Source:
    """A moment whose maps can replace others: latent (Z,), chord, and the strengths (U,) of that moment.

    Without a chord, it is the first that the memory knows; without strengths, it is intact.
    """

    latent: UnitValues
    chord: str | None = None
    strengths: UnitValues | None = None


@dataclass(frozen=True, eq=False)
class LayerBend:
    """The bend of one layer with C units, ready for maps of one size (H, W)."""

    fixed: Array  # (H or 1, W or 1, C): replacements that are the same for every item
    noisy: npt.NDArray[np.bool_]  # (C,): units replaced by noise
    phases: npt.NDArray[np.complex64] | None  # (H, W // 2 + 1, C)
    gain: Array | None  # (C,)
    invert: Array | None  # (C,)

    def __call__(self, h: Array, strength: Array | None) -> Array:
        """Bend maps (H, W, C), of which `strength` (C,) is remembered; None is fully remembered."""
        bent = self._bent(h)
        if strength is None:
            return bent
        return strength * bent + (np.float32(1.0) - strength) * self._replacement(h, strength)

    def _bent(self, h: Array) -> Array:
        if self.invert is not None:
            turned = h.max((0, 1)) + h.min((0, 1)) - h
            h = (np.float32(1.0) - self.invert) * h + self.invert * turned
        return h if self.gain is None else h * self.gain

    def _replacement(self, h: Array, strength: Array) -> Array:
        """Return the replacement of each unit, (..., C)."""
        units = self.noisy & (strength < 1.0)  # intact units need no replacement
        if self.phases is None or not units.any():
            return self.fixed
        every = np.broadcast_to(self.fixed, h.shape).copy()
        every[..., units] = scrambled(h[..., units], self.phases[..., units])
        return every


def scrambled(h: Array, phases: npt.NDArray[np.complex64]) -> Array:
    """Return maps (H, W, C) with the same power spectra and the phases `phases` (H, W // 2 + 1, C), of modulus 1."""
    spectrum = scipy.fft.rfft2(h, axes=(0, 1))
    return np.asarray(scipy.fft.irfft2(np.abs(spectrum) * phases, s=h.shape[:2], axes=(0, 1), overwrite_x=True))


def noise_phases(seed: int, layer: int, units: int, size: tuple[int, int]) -> npt.NDArray[np.complex64]:
    """Return the phases (H, W // 2 + 1, C) of real noise, of modulus 1; a unit's do not depend on other units."""
    noise = np.random.default_rng((seed, layer)).standard_normal((units, *size), dtype=np.float32)
    phases = np.sign(scipy.fft.rfft2(noise))
    phases[:, 0, 0] = 1.0  # keep the mean
    return np.ascontiguousarray(phases.transpose(1, 2, 0))


@dataclass(frozen=True, eq=False)
class Bend:
    """Replacements for forgotten units, and what is done to units besides forgetting; made by `Memory.bend`.

    `out = s * b(h) + (1 - s) * r` for a unit's map h and strength s; r is its replacement, b inverts and then
    amplifies. What is prepared for a length is cached, so one bend should serve many events.
    """

    generator: Generator
    replacement: tuple[str, ...]  # (U,)
    seed: int
    gain: Array | None  # (U,)
    invert: Array | None  # (U,)
    mean: Array | None  # (U,): average activations, if any unit is replaced by its mean
    moments: Mapping[str, Moments]
    lender: Generator | None = None  # whose maps are the replacement `other`, if not its own
    _made: dict[int, Mapping[str, Bender]] = field(default_factory=dict, init=False, repr=False)

    def layers(self, frames: int | None = None) -> Mapping[str, Bender]:
        """Return a function for each layer that bends its maps at this length; unchanged layers are left out."""
        frames = self.generator.frames if frames is None else frames
        if frames not in self._made:
            made = self._make(frames)
            if len(self._made) == LENGTHS_KEPT:
                del self._made[next(iter(self._made))]
            self._made[frames] = made
        return self._made[frames]

    def _make(self, frames: int) -> Mapping[str, Bender]:
        needed = {name: moment for name, moment in self.moments.items() if name in self.replacement}
        sources = {name: self.lender or self.generator if name == "other" else self.generator for name in needed}
        maps = {name: maps_of(sources[name], moment, 0, frames) for name, moment in needed.items()}
        made: dict[str, Bender] = {}
        first = 0
        for index, (name, size) in enumerate(self.generator.map_sizes(frames).items()):
            units = slice(first, first + self.generator.config.layers[name])
            first = units.stop
            layer = self._layer(index, units, size, {source: layers[name] for source, layers in maps.items()})
            if layer is not None:
                made[name] = layer
        return made

    def _layer(self, index: int, units: slice, size: tuple[int, int], maps: Mapping[str, Array]) -> LayerBend | None:
        names = np.array(self.replacement[units])
        gain, invert = _unless(self.gain, units, 1.0), _unless(self.invert, units, 0.0)
        if gain is None and invert is None and set(names) == {"zero"}:
            return None
        fixed = np.zeros((1, 1, len(names)), dtype=np.float32)
        if self.mean is not None:
            fixed = np.where(names == "mean", self.mean[units], fixed)
        for name, own in maps.items():
            if (names == name).any():
                fixed = np.where(names == name, spread(own, len(names)), fixed)
        noisy = names == "noise"
        phases = noise_phases(self.seed, index, len(names), size) if noisy.any() else None
        return LayerBend(fixed, noisy, phases, gain, invert)


def _unless(values: Array | None, units: slice, neutral: float) -> Array | None:
    """Return the values of a layer's units (C,); None if they change nothing."""
    if values is None or (values[units] == neutral).all():
        return None
    return values[units]


def spread(maps: Array, units: int) -> Array:
    """Return maps (H, W, units) for a layer with other units: unit k has that of k * C // units of the C there are."""
    lent = maps.shape[-1]
    return maps if lent == units else maps[..., np.arange(units) * lent // units]


def maps_of(generator: Generator, moments: Moments, item: int, frames: int) -> dict[str, Array]:
    """Return every unit's map for one item: maps (H, W, C) by layer."""
    maps: dict[str, Array] = {}
    generator(moments.z[item], int(moments.label[item]), moments.left(item), frames=frames, seen=maps.__setitem__)
    return maps


def replacements(chosen: str | Mapping[str, str] | Sequence[str], layers: Mapping[str, int]) -> tuple[str, ...]:
    """Return each unit's replacement (U,) from one name, names by layer (others: zero) or one name per unit.

    Raises InputError for an unknown name or layer, or for a wrong number of names.
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


def per_unit(name: str, values: UnitValues, layers: Mapping[str, int], most: float, default: float) -> Array:
    """Return values (U,), filled up with the default; InputError for a wrong number, or values outside 0..most."""
    flat, units = for_units(name, values, layers, default), sum(layers.values())
    if flat.shape != (units,):
        raise InputError(f"{name} must be ({units},), got {flat.shape}")
    wrong = flat[~((flat >= 0.0) & (flat <= most))]
    if len(wrong):
        raise InputError(f"{name} must be within 0..{most:g}, got {float(wrong[0]):g}")
    return flat.copy()  # the caller may change its own array later
