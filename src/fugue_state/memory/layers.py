"""The generator as it is played: layer by layer, with what is remembered of each unit in between."""

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
FACTOR = 32  # how often the first feature map's frames are doubled, as a factor
SIDE = 4  # of the first map, and of every kernel
EPSILON = 1e-5  # that batch normalization adds to the variance

# What is done to a layer's maps (H, W, C), of which strengths (C,) are remembered; None is all.
Bender = Callable[[Array, Array | None], Array]
# Is told of every layer's maps (H, W, C), as they are after they were bent.
OnMaps = Callable[[str, Array], None]
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class Moments:
    """What is to be generated: latents (B, Z), labels (B,), and strengths (C,) or (B, C) of layers; None is intact."""

    z: Array
    label: Whole
    strengths: Mapping[str, Array] | None = None

    def __len__(self) -> int:
        return len(self.z)

    def left(self, item: int) -> Mapping[str, Array | None]:
        """Return what is remembered (C,) of each layer of one item."""
        return {name: each if each.ndim == 1 else each[item] for name, each in (self.strengths or {}).items()}


class Trail:
    """What the generation of one latent left on its way, for others that differ from it in strengths alone.

    They begin with the first layer that is bent in another way: what leads there is the same to the bit.
    """

    def __init__(self) -> None:
        self._maps: dict[str, Array] = {}  # (H, W, C) by layer, before they are bent
        self._strengths: dict[str, Array | None] = {}

    def through(self, layer: str, strength: Array | None, make: Callable[[], Array]) -> Array:
        """Return a layer's maps, made if need be; bent by another strength than before, those after it are no more."""
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

    The convolution is a product of matrices, whose columns are then added up where they overlap: most of the work of
    small maps is to fetch the weights, once each.
    """

    def __init__(self, tensors: Mapping[str, Array], name: str) -> None:
        weights = tensors[f"deconv.{name}.conv.weight"]  # (inputs, C, high, wide)
        own = f"deconv.{name}.norm"
        self.units = weights.shape[1]
        self._weights = np.ascontiguousarray(weights.transpose(0, 2, 3, 1)).reshape(len(weights), -1)
        scale = 1.0 / np.sqrt(tensors[f"{own}.norm.running_var"] + np.float32(EPSILON))
        self._gain = np.ascontiguousarray(tensors[f"{own}.gain"] * scale)  # (labels, C)
        shift = tensors[f"{own}.shift"] - tensors[f"{own}.norm.running_mean"] * self._gain
        self._shift = np.ascontiguousarray(shift)

    def first(self, z: Array, label: int) -> Array:
        """Return the first maps (4, W, C) of a latent (Z,)."""
        maps = (z[None] @ self._weights).reshape(SIDE, -1, self.units)
        return np.asarray(np.maximum(maps * self._gain[label] + self._shift[label], np.float32(0.0)))

    def __call__(self, maps: Array, label: int) -> Array:
        """Return maps twice as high and wide (2 H, 2 W, C), all at least 0, of those before (H, W, inputs)."""
        height, width, inputs = maps.shape
        columns = (maps.reshape(height * width, inputs) @ self._weights).reshape(height, width, SIDE, SIDE, self.units)
        out = np.empty((2 * height, 2 * width, self.units), dtype=np.float32)
        _gather(columns, self._gain[label], self._shift[label], out)
        return out


class Output:
    """The last layer, which is no unit: transposed convolution to one map, tanh."""

    def __init__(self, tensors: Mapping[str, Array]) -> None:
        weights = tensors["output.weight"]
        self._weights = np.ascontiguousarray(weights[:, 0]).reshape(len(weights), -1)
        self._bias = tensors["output.bias"]

    def __call__(self, maps: Array) -> Array:
        """Return the mel (2 H, 2 W) of maps (H, W, inputs)."""
        height, width, inputs = maps.shape
        columns = (maps.reshape(height * width, inputs) @ self._weights).reshape(height, width, SIDE, SIDE)
        out = np.zeros((2 * height + 2, 2 * width + 2), dtype=np.float32)
        for y in range(SIDE):
            for x in range(SIDE):
                out[y : y + 2 * height : 2, x : x + 2 * width : 2] += columns[:, :, y, x]
        return np.tanh(out[1:-1, 1:-1] + self._bias)


class Generator:
    """DCGAN generator (Radford et al., 2016): latent (Z,) and label to mel (M, T).

    M is 128, T is `frames`, a multiple of 32. `tensors` are those of a checkpoint, of the `shapes` it needs.
    """

    def __init__(self, config: ModelConfig, frames: int, tensors: Mapping[str, Array]) -> None:
        self.config, self.frames, self.tensors = config, frames, dict(tensors)
        for name in config.layers:  # kept once, as they are multiplied with
            weights = f"deconv.{name}.conv.weight"
            self.tensors[weights] = np.ascontiguousarray(tensors[weights].transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
        self._deconv = {name: Deconv(self.tensors, name) for name in config.layers}
        self._output = Output(self.tensors)

    @staticmethod
    def shapes(config: ModelConfig, frames: int = BANDS) -> Shapes:
        """Return what tensors a generator has; InputError for frames that are no multiple of 32."""
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

        `strengths` holds, for each layer to be bent, how much of every unit is remembered (C,): the forgotten part is
        replaced by zero, or as `bends` has it for the layer. `seen` is told of every layer's maps.

        A `trail` is that of the same latent, label, frames and bends, or new; what it has is not made again.
        """
        maps = z
        for name, layer in self._deconv.items():
            strength = None if strengths is None else strengths.get(name)
            make = partial(layer.first if maps is z else layer, maps, label)
            maps = make() if trail is None else trail.through(name, strength, make)
            if bends is not None and name in bends:
                maps = bends[name](maps, strength)
            elif strength is not None:  # zero stands in for the forgotten part
                maps = np.multiply(maps, strength, out=maps if trail is None else None)
            if seen is not None:
                seen(name, maps)
            if name == "deconv1" and frames is not None and frames != self.frames:
                maps = resized(maps, first_width(frames), 1, ends=True)
        return self._output(maps)

    @one_thread()
    def after(self, layer: str, maps: Array, label: int) -> Array:
        """Return the mel (M, T) that follows from the maps (H, W, C) of a layer."""
        names = list(self._deconv)
        for name in names[names.index(layer) + 1 :]:
            maps = self._deconv[name](maps, label)
        return self._output(maps)

    def map_sizes(self, frames: int) -> dict[str, tuple[int, int]]:
        """Return height and width of each layer's maps when mels of `frames` are generated."""
        # The first map is resized after it was bent.
        widths = [first_width(frames if i else self.frames) << i for i in range(len(self._deconv))]
        return {name: (SIDE << i, width) for i, (name, width) in enumerate(zip(self._deconv, widths, strict=True))}


def first_width(frames: int) -> int:
    """Return the width of the first map of a mel; InputError for frames that are no multiple of 32."""
    if frames < FACTOR or frames % FACTOR:
        raise InputError(f"frames must be a multiple of {FACTOR}, got {frames}")
    return frames // FACTOR


def resized(values: Array, count: int, axis: int, *, ends: bool = False) -> Array:
    """Return values at `count` even places along an axis, by straight lines.

    With `ends`, the first and the last stay the first and the last; else each is as wide as before.
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
    """Return which of `size` values lie below and above each of `count` places, and the share of the upper one."""
    number = np.arange(count, dtype=np.float32)
    if ends:
        places = number * np.float32((size - 1) / max(count - 1, 1))
    else:
        places = np.maximum((number + np.float32(0.5)) * np.float32(size / count) - np.float32(0.5), np.float32(0.0))
    low = np.minimum(places.astype(np.int64), size - 1)
    return low, np.minimum(low + 1, size - 1), places - low.astype(np.float32)


@compiled
def _gather(columns: Array, gain: Array, shift: Array, out: Array) -> None:
    """Add up what falls on each place of a map (2 H, 2 W, C); columns are (H, W, 4, 4, C). Then scale, shift, ReLU."""
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
