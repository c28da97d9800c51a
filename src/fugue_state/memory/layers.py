"""The generator for playing: it runs layer by layer, and applies each unit's strength in between."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np

from fugue_state.arrays import Array, Whole
from fugue_state.audio.compiled import compiled, one_thread
from fugue_state.config import ModelConfig
from fugue_state.errors import InputError

BANDS = 128  # mel bands of the image
FACTOR = 32  # how many frames of the mel one column of the first map becomes
SIDE = 4  # side length of every kernel, and height of the first map
EPSILON = 1e-5  # added to the variance in batch normalization

# Bends a layer's maps (H, W, C), of which strengths (C,) are remembered; None is fully remembered.
Bender = Callable[[Array, Array | None], Array]
# Is told of every layer's maps (H, W, C), as they are after they were bent.
OnMaps = Callable[[str, Array], None]
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class Moments:
    """What to generate: latents (B, Z), labels (B,), and by layer strengths (C,) or (B, C); None is intact."""

    z: Array
    label: Whole
    strengths: Mapping[str, Array] | None = None

    def __len__(self) -> int:
        return len(self.z)

    def left(self, item: int) -> Mapping[str, Array | None]:
        """Return the strengths (C,) of each layer for one item."""
        return {name: each if each.ndim == 1 else each[item] for name, each in (self.strengths or {}).items()}


class Trail:
    """A cache of one latent's maps, for generating it again with other strengths.

    Generation restarts at the first layer whose strengths changed; the maps before it are identical to the bit.
    """

    def __init__(self) -> None:
        self._maps: dict[str, Array] = {}  # (H, W, C) by layer, before bending
        self._strengths: dict[str, Array | None] = {}

    def through(self, layer: str, strength: Array | None, make: Callable[[], Array]) -> Array:
        """Return a layer's maps, made on first use.

        If the strength changed, cached maps of later layers are dropped.
        """
        before = self._strengths.get(layer)
        same = before is strength or (before is not None and strength is not None and np.array_equal(before, strength))
        if layer not in self._maps:
            self._maps[layer] = make()
        elif not same:
            names = list(self._maps)
            for name in names[names.index(layer) + 1 :]:
                del self._maps[name]
        self._strengths[layer] = strength
        return self._maps[layer]


class Deconv:
    """One layer of units: transposed convolution, batch normalization by label, ReLU.

    The convolution is a matrix product whose columns are then summed where they overlap. For small maps most of the
    time goes into fetching the weights, and this fetches each only once.
    """

    def __init__(self, tensors: Mapping[str, Array], name: str) -> None:
        weights = tensors[f"deconv.{name}.conv.weight"]  # (inputs, C, high, wide)
        own = f"deconv.{name}.norm"
        # Normalization by label is maps * gain + shift, each (labels, C).
        self.units = weights.shape[1]
        self._weights = np.ascontiguousarray(weights.transpose(0, 2, 3, 1)).reshape(len(weights), -1)
        scale = 1.0 / np.sqrt(tensors[f"{own}.norm.running_var"] + np.float32(EPSILON))
        self.gain = np.ascontiguousarray(tensors[f"{own}.gain"] * scale)
        shift = tensors[f"{own}.shift"] - tensors[f"{own}.norm.running_mean"] * self.gain
        self.shift = np.ascontiguousarray(shift)

    def first(self, z: Array, label: int) -> Array:
        """Return the first maps (4, W, C) of a latent (Z,)."""
        maps = (z[None] @ self._weights).reshape(SIDE, -1, self.units)
        return np.asarray(np.maximum(maps * self.gain[label] + self.shift[label], np.float32(0.0)))

    def __call__(self, maps: Array, label: int) -> Array:
        """Return maps twice as high and wide (2 H, 2 W, C), all at least 0, for maps (H, W, inputs)."""
        height, width, inputs = maps.shape
        columns = (maps.reshape(height * width, inputs) @ self._weights).reshape(height, width, SIDE, SIDE, self.units)
        out = np.empty((2 * height, 2 * width, self.units), dtype=np.float32)
        _gather(columns, self.gain[label], self.shift[label], out)
        return out


class Output:
    """The last layer, which has no units: transposed convolution to one map, tanh."""

    def __init__(self, tensors: Mapping[str, Array]) -> None:
        weights = tensors["output.weight"]
        self._weights = np.ascontiguousarray(weights[:, 0]).reshape(len(weights), -1)
        self._bias = tensors["output.bias"]

    def __call__(self, maps: Array) -> Array:
        """Return the mel (2 H, 2 W) for maps (H, W, inputs)."""
        height, width, inputs = maps.shape
        columns = (maps.reshape(height * width, inputs) @ self._weights).reshape(height, width, SIDE, SIDE)
        out = np.zeros((2 * height + 2, 2 * width + 2), dtype=np.float32)
        for y in range(SIDE):
            for x in range(SIDE):
                out[y : y + 2 * height : 2, x : x + 2 * width : 2] += columns[:, :, y, x]
        return np.tanh(out[1:-1, 1:-1] + self._bias)


class Generator:
    """DCGAN generator (Radford et al., 2016): latent (Z,) and label to mel (M, T).

    M is 128, T is `frames`, a multiple of 32. `tensors` come from a checkpoint, and have the shapes given by `shapes`.
    """

    def __init__(self, config: ModelConfig, frames: int, tensors: Mapping[str, Array]) -> None:
        self.config, self.frames, self.tensors = config, frames, dict(tensors)
        for name in config.layers:  # stored only once, in the layout used for multiplying
            weights = f"deconv.{name}.conv.weight"
            self.tensors[weights] = np.ascontiguousarray(tensors[weights].transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
        self._deconv = {name: Deconv(self.tensors, name) for name in config.layers}
        self._output = Output(self.tensors)

    @staticmethod
    def shapes(config: ModelConfig, frames: int = BANDS) -> Shapes:
        """Return the shape of each tensor; InputError unless `frames` is a multiple of 32."""
        found: Shapes = {}
        inputs, labels = config.latent_size, max(len(config.labels), 1)
        for name, units in config.layers.items():
            wide = SIDE if found else first_width(frames)
            found |= {f"deconv.{name}.conv.weight": (inputs, units, SIDE, wide)}
            found |= {f"deconv.{name}.norm.{each}": (labels, units) for each in ("gain", "shift")}
            found |= {f"deconv.{name}.norm.norm.running_{each}": (units,) for each in ("mean", "var")}
            found |= {f"deconv.{name}.norm.norm.num_batches_tracked": ()}
            inputs = units
        return found | {"output.weight": (inputs, 1, SIDE, SIDE), "output.bias": (1,)}

    def layer(self, name: str) -> Deconv:
        """Return the layer of units called `name`."""
        return self._deconv[name]

    @one_thread()
    def __call__(
        self,
        z: Array,
        label: int,
        strengths: Mapping[str, Array | None] | None = None,
        *,
        frames: int | None = None,
        bends: Mapping[str, Bender] | None = None,
        trail: Trail | None = None,
        seen: OnMaps | None = None,
    ) -> Array:
        """Generate the mel (M, T), in [-1, 1], of a latent (Z,).

        With `frames` (a multiple of 32) other than its own, the first feature map is resized along
        time: the same sound, slower or faster, at the same pitch.

        `strengths` gives, for each layer to be bent, how much of every unit is remembered (C,). The forgotten part is
        replaced by zero, or as the layer's entry in `bends` says. `seen` is called with every layer's maps.

        A `trail` must be new, or come from the same latent, label, frames and bends; maps that it holds are reused.
        """
        maps = z
        for name, layer in self._deconv.items():
            strength = None if strengths is None else strengths.get(name)
            make = partial(layer.first if maps is z else layer, maps, label)
            maps = make() if trail is None else trail.through(name, strength, make)
            if bends is not None and name in bends:
                maps = bends[name](maps, strength)
            elif strength is not None:  # the forgotten part becomes zero
                maps = np.multiply(maps, strength, out=maps if trail is None else None)
            if seen is not None:
                seen(name, maps)
            if name == "deconv1" and frames is not None and frames != self.frames:
                maps = resized(maps, first_width(frames), 1, ends=True)
        return self._output(maps)

    @one_thread()
    def after(self, layer: str, maps: Array, label: int) -> Array:
        """Return the mel (M, T) that a layer's maps (H, W, C) lead to."""
        names = list(self._deconv)
        for name in names[names.index(layer) + 1 :]:
            maps = self._deconv[name](maps, label)
        return self._output(maps)

    def map_sizes(self, frames: int) -> dict[str, tuple[int, int]]:
        """Return the height and width of each layer's maps for mels of `frames`."""
        # The first map is resized only after bending, so it keeps its own width.
        widths = [first_width(frames if i else self.frames) << i for i in range(len(self._deconv))]
        return {name: (SIDE << i, width) for i, (name, width) in enumerate(zip(self._deconv, widths, strict=True))}


def first_width(frames: int) -> int:
    """Return the width of the first map for a mel's frames; InputError unless they are a multiple of 32."""
    if frames < FACTOR or frames % FACTOR:
        raise InputError(f"frames must be a multiple of {FACTOR}, got {frames}")
    return frames // FACTOR


def resized(values: Array, count: int, axis: int, *, ends: bool = False) -> Array:
    """Return values at `count` evenly spaced places along an axis, linearly interpolated.

    With `ends`, the first and last values stay in place; otherwise each value covers an equal share of the axis.
    """
    low, high, share = _places(values.shape[axis], count, ends=ends)
    share = share.reshape([-1 if i == axis % values.ndim else 1 for i in range(values.ndim)])
    below, above = values.take(low, axis), values.take(high, axis)
    above -= below
    above *= share
    above += below
    return above


@lru_cache(maxsize=64)
def _places(size: int, count: int, *, ends: bool) -> tuple[Whole, Whole, Array]:
    """Return for each of `count` places the indices of its neighbouring values, and the weight of the upper one."""
    number = np.arange(count, dtype=np.float32)
    if ends:
        places = number * np.float32((size - 1) / max(count - 1, 1))
    else:
        places = np.maximum((number + np.float32(0.5)) * np.float32(size / count) - np.float32(0.5), np.float32(0.0))
    low = np.minimum(places.astype(np.int64), size - 1)
    return low, np.minimum(low + 1, size - 1), places - low.astype(np.float32)


@compiled
def _gather(columns: Array, gain: Array, shift: Array, out: Array) -> None:
    """Sum the columns (H, W, 4, 4, C) that overlap at each place of a map (2 H, 2 W, C). Then scale, shift, ReLU."""
    height, width, units = columns.shape[0], columns.shape[1], columns.shape[4]
    for y in range(2 * height):
        for x in range(2 * width):
            place = out[y, x]
            for c in range(units):
                place[c] = np.float32(0.0)
            for down in range(2):
                i = ((y + 1) >> 1) - down
                if i < 0 or i >= height:
                    continue
                for right in range(2):
                    j = ((x + 1) >> 1) - right
                    if j < 0 or j >= width:
                        continue
                    column = columns[i, j, ((y + 1) & 1) + 2 * down, ((x + 1) & 1) + 2 * right]
                    for c in range(units):
                        place[c] += column[c]
            for c in range(units):
                place[c] = max(place[c] * gain[c] + shift[c], np.float32(0.0))
