"""How units are drawn: their brightness, the flare when they are lost, the scar that stays."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, pairwise

import numpy as np

from fugue_state.arrays import Array, Wide
from fugue_state.config import FULL_ACTIVATION
from fugue_state.look.cell import CALMEST_CHANGE, CONTRAST, DIM, FILLED, FLARE_S, FOUND_S, LOST_S, MARK, ROUND, STEPS
from fugue_state.look.theme import Theme, rgb
from fugue_state.picture.frame_layout import UnitGrid
from fugue_state.piece.seen import Seen


def colours(parts: Sequence[Sequence[int]], theme: Theme) -> list[str]:
    """Return the colour of every layer of some parts, given the sizes of the layers of each."""
    return [theme.layer(i, len(sizes)) for sizes in parts for i in range(len(sizes))]


class Cells:
    """How every unit (U,) is shown: size and brightness within 0..1, flare, and strength.

    `parts` are the sizes of the layers of each part.
    """

    def __init__(self, parts: Sequence[Sequence[int]], theme: Theme, seen: Seen) -> None:
        ends = np.cumsum([0, *chain.from_iterable(parts)])
        self._layers = [slice(int(a), int(b)) for a, b in pairwise(ends)]
        self._lights = [_luminance(colour) for colour in colours(parts, theme)]
        self._flare_light = abs(_luminance(theme.flare) - _luminance(theme.ground))
        self._ground_light = _luminance(theme.ground)
        self.strength: Array = seen.strengths.astype(np.float32)
        self.size: Array = self.strength.copy()
        self.glow: Array = _brightness(seen)
        self.flare: Array = np.zeros_like(self.glow)

    def step(self, seen: Seen, seconds: float) -> None:
        """Advance by `seconds` to what is seen then."""
        lost = np.maximum(self.strength - seen.strengths, 0.0)
        flare = np.maximum(self.flare * np.float32(np.exp(-seconds / FLARE_S)), lost)
        fading, growing = (np.float32(1.0 - np.exp(-seconds / pace)) for pace in (LOST_S, FOUND_S))
        size = self.size + (seen.strengths - self.size) * np.where(seen.strengths < self.size, fading, growing)
        wanted, now = (size, _brightness(seen), flare), (self.size, self.glow, self.flare)
        for layer, light in zip(self._layers, self._lights, strict=True):
            before, then = ([values[layer] for values in both] for both in (now, wanted))
            share = _calm(self._light(before, light), self._light(then, light), seconds)
            for shown, target in zip(before, then, strict=True):
                np.add(shown, share * (target - shown), out=shown)
        self.strength = seen.strengths.astype(np.float32)

    def _light(self, shown: Sequence[Array], light: float) -> float:
        """Return about how much the mean luminance from size, glow and flare differs from the ground's."""
        size, glow, flare = shown
        lit = size * glow**2.2 * abs(light - self._ground_light) + flare**2.2 * self._flare_light
        return FILLED**2 * float(lit.mean())


def _calm(now: float, then: float, seconds: float) -> np.float32:
    """Return how far a layer may move towards another luminance without flashing."""
    # Luminance falls with a power of brightness, so it falls fastest at first.
    allowed = CALMEST_CHANGE * seconds / (1.0 if then > now else 2.2)
    return np.float32(min(1.0, allowed / max(abs(then - now), 1e-9)))


def _brightness(seen: Seen) -> Array:
    bright: Array = DIM + (1.0 - DIM) * (1.0 - np.exp(-seen.activations / FULL_ACTIVATION)) ** CONTRAST
    return bright


def _luminance(colour: str) -> float:
    """Return the relative luminance of a colour (WCAG 2)."""
    value = rgb(colour)
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


class Shapes:
    """The shapes of a cell: squares from empty to full (STEPS + 1, p, p), and the scar (p, p)."""

    def __init__(self, pitch: int) -> None:
        places = np.arange(pitch) + 0.5 - pitch / 2
        y, x = np.meshgrid(-places, places, indexing="ij")
        inner = min(FILLED * pitch, pitch - 1.0)
        sides = inner * np.sqrt(np.arange(STEPS + 1) / STEPS)
        self.squares: Array = np.stack([_square(x, y, side) for side in sides])
        self.full: Array = self.squares[-1]
        self.scar: Array = _stroke(x, y, MARK * pitch / 2, max(0.6, pitch / 11))


def _square(x: Wide, y: Wide, side: float) -> Array:
    """Return how much of each pixel a rounded square covers."""
    corner = ROUND * side
    reach_x, reach_y = np.abs(x) - side / 2 + corner, np.abs(y) - side / 2 + corner
    away = np.hypot(np.maximum(reach_x, 0), np.maximum(reach_y, 0)) + np.minimum(np.maximum(reach_x, reach_y), 0)
    covered: Array = np.clip(0.5 - (away - corner), 0.0, min(1.0, side)).astype(np.float32)
    return covered


def _stroke(x: Wide, y: Wide, reach: float, thick: float) -> Array:
    """Return how much of each pixel a stroke rising to the right covers."""
    along = np.clip((x + y) / np.sqrt(2), -reach, reach)
    away = np.hypot(x - along / np.sqrt(2), y - along / np.sqrt(2))
    covered: Array = np.clip(0.5 - (away - thick / 2), 0.0, 1.0).astype(np.float32)
    return covered


def block(grid: UnitGrid, shapes: Shapes, cells: Cells, part: slice) -> tuple[Array, Array, Array]:
    """Return the weights (h, w) of a layer's light, flares and scars within its box."""
    size, glow, flare = cells.size[part], cells.glow[part], cells.flare[part]
    levels = np.rint(size * STEPS).astype(np.intp)
    light = _tiled(grid, shapes.squares[levels] * glow[:, None, None])
    flares = np.zeros_like(light)
    if flare.max() > 0.01:
        flares = _tiled(grid, shapes.full * flare[:, None, None])
    gone: Array = np.equal(cells.strength[part], 0.0).astype(np.float32)
    scars = _tiled(grid, shapes.scar * gone[:, None, None])
    scars *= 1.0 - np.maximum(light, flares)
    return light * (1.0 - flares), flares, scars


def _tiled(grid: UnitGrid, tiles: Array) -> Array:
    """Arrange cells (n, p, p) in rows within the grid's box (h, w)."""
    p = grid.pitch
    whole = np.zeros((grid.rows * grid.columns, p, p), dtype=np.float32)
    whole[: grid.units] = tiles
    field = np.zeros((grid.box.height, grid.box.width), dtype=np.float32)
    field[: grid.rows * p, : grid.columns * p] = (
        whole.reshape(grid.rows, grid.columns, p, p).swapaxes(1, 2).reshape(grid.rows * p, grid.columns * p)
    )
    return field
