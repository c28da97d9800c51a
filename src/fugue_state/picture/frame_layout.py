"""The layout of the film's frame, for any size of frame and any memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from fugue_state.errors import InputError
from fugue_state.look.planes import width_of
from fugue_state.look.theme import Weight

# Measures in 1080ths of the frame's shorter side.
MARGIN, TEXT, LARGE = 64, 34, 92
HEADER, CAPTION, GAP, SPACE, APART = 104, 56, 32, 44, 20
SMALLEST_CELL = 3  # pixels; in smaller cells a unit's state cannot be seen
MEL_SHARE = 0.17  # least share of the frame's height for the spectrogram
LINES = 3


@dataclass(frozen=True)
class Box:
    """A part of the frame, in pixels; all numbers are even."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class UnitGrid:
    """A layer's units as cells of `pitch` pixels, row by row; its box may be a pixel wider and higher."""

    layer: str
    units: int
    columns: int
    rows: int
    pitch: int
    box: Box
    name: Box
    count: Box


@dataclass(frozen=True)
class FrameLayout:
    """The place of everything; text sizes in pixels."""

    width: int
    height: int
    text: int
    small: int
    large: int
    chord: Box
    remembered: Box
    time: Box
    title: Box
    mel: Box
    grids: tuple[UnitGrid, ...]


def fitting(text: str, size: int, room: float, weight: Weight = "Regular") -> int:
    """Return the largest size up to `size` at which a line of text is no wider than `room` pixels."""
    wide = width_of(text, size, weight)
    return size if wide <= room else max(1, math.floor(size * room / wide))


def lay_out(width: int, height: int, layers: dict[str, int], mel_share: float = MEL_SHARE) -> FrameLayout:
    """Place a memory's layers in a frame, in as many lines as make their cells largest.

    At least `mel_share` of the frame's height is left for the spectrogram.
    Raises InputError if the cells would be too small.
    """
    unit = min(width, height) / 1080
    margin, text = _even(MARGIN * unit), max(7, round(TEXT * unit))
    inside = width - 2 * margin
    top = margin + _even((HEADER + SPACE) * unit)
    foot = height - margin - _even(CAPTION * unit)
    tallest = foot - _even(height * mel_share) - _even(SPACE * unit) - top
    shapes = {name: _rows(units) for name, units in layers.items()}
    chosen = max(
        (_fit(split, shapes, inside, tallest, unit) for split in _splits(list(layers))),
        key=lambda one: (one[0], -len(one[1])),
    )
    side, split = chosen
    pitches = {name: side // rows for name, (_, rows) in shapes.items()}
    if side < 1 or min(pitches.values()) < SMALLEST_CELL:
        raise InputError(
            f"a frame of {width} x {height} is too small to show {sum(layers.values())} units; "
            "choose a larger or a wider one"
        )
    grids, bottom = _place(split, layers, shapes, side, Box(margin, top, inside, tallest), unit)
    small = min(fitting(f"{g.units}/{g.units}", text, g.count.width) for g in grids)
    small = min([small, *(fitting(g.layer, text, g.name.width) for g in grids)])
    mel_top = bottom + _even(SPACE * unit)
    head = _even(HEADER * unit)
    line = _even(1.4 * text)
    half = _even(inside / 2)
    return FrameLayout(
        width=width,
        height=height,
        text=text,
        small=small,
        large=max(8, round(LARGE * unit)),
        chord=Box(margin, margin - _even(12 * unit), half, head),
        remembered=Box(margin + half, margin - _even(12 * unit), inside - half, head),
        time=Box(margin, height - margin - line + _even(10 * unit), half, line),
        title=Box(margin + half, height - margin - line + _even(10 * unit), inside - half, line),
        mel=Box(margin, mel_top, inside, _even(foot - mel_top)),
        grids=tuple(grids),
    )


def _even(value: float) -> int:
    """Return the nearest even number, since colour is stored for two pixels at a time."""
    return 2 * round(value / 2)


def _up(value: int) -> int:
    return value + value % 2


def _rows(units: int) -> tuple[int, int]:
    """Return columns and rows for a block with the fewest empty cells: at most as wide as high, at least half that."""
    least = math.ceil(math.sqrt(units))
    candidates = range(least, max(least, math.isqrt(2 * units) + 1) + 1)
    rows = min(candidates, key=lambda r: (r * math.ceil(units / r) - units, r))
    return math.ceil(units / rows), rows


def _splits(names: list[str]) -> list[list[list[str]]]:
    """Return all ways to split layers, in order, into up to LINES lines."""
    ways = [[names]]
    for i in range(1, len(names)):
        ways.append([names[:i], names[i:]])
        ways.extend([names[:i], names[i:j], names[j:]] for j in range(i + 1, len(names)))
    return [way for way in ways if len(way) <= LINES]


def _fit(
    split: list[list[str]], shapes: dict[str, tuple[int, int]], inside: int, tallest: int, unit: float
) -> tuple[int, list[list[str]]]:
    """Return the greatest height of blocks with these lines: a multiple of the most rows, so that cells fill them."""
    gap, captions = GAP * unit, 2 * CAPTION * unit
    high = (tallest - (len(split) - 1) * SPACE * unit) / len(split) - captions
    for line in split:
        share = sum(columns / rows for columns, rows in (shapes[name] for name in line))
        high = min(high, (inside - gap * (len(line) - 1)) / share)
    most = max(rows for _, rows in shapes.values())
    return max(0, math.floor(high / most)) * most, split


def _place(
    split: Sequence[Sequence[str]],
    layers: dict[str, int],
    shapes: dict[str, tuple[int, int]],
    side: int,
    room: Box,
    unit: float,
) -> tuple[list[UnitGrid], int]:
    """Place every line of blocks from edge to edge; return them and where they end."""
    caption, space = _even(CAPTION * unit), _even(SPACE * unit)
    grids, y = [], room.y
    for line in split:
        widths = [_up(shapes[name][0] * (side // shapes[name][1])) for name in line]
        gap = (room.width - sum(widths)) // max(len(line) - 1, 1)
        gap = min(gap - gap % 2, _even(side))
        x = room.x
        for name, width in zip(line, widths, strict=True):
            columns, rows = shapes[name]
            pitch = side // rows
            box = Box(x, y + caption, width, _up(rows * pitch))
            slot = width + gap - _even(APART * unit) if name != line[-1] else room.x + room.width - x
            below = box.y + box.height + _even(12 * unit)
            grids.append(
                UnitGrid(
                    name,
                    layers[name],
                    columns,
                    rows,
                    pitch,
                    box,
                    Box(x, y, slot, caption),
                    Box(x, below, slot, caption),
                )
            )
            x += width + gap
        y += 2 * caption + side + space
    return grids, y - space


def edges(grids: Sequence[UnitGrid]) -> list[tuple[UnitGrid, slice]]:
    """Return each grid with the slice of all units (U,) that it shows."""
    ends = [0]
    for grid in grids:
        ends.append(ends[-1] + grid.units)
    return [(grid, slice(start, end)) for grid, (start, end) in zip(grids, pairwise(ends), strict=True)]
