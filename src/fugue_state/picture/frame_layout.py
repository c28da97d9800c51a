"""The layout of the film's frame, for any size of frame and any memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

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
class Heading:
    """Where one of several parts is named, where its chord is, and where it is said how much of it is remembered."""

    chord: Box
    name: Box
    share: Box


@dataclass(frozen=True)
class FrameLayout:
    """The place of everything; text sizes in pixels. There are headings only where there are several parts."""

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
    headings: tuple[Heading, ...] = ()


@dataclass(frozen=True)
class Room:
    """What a frame has room for between its first line and its spectrogram: the box of all units."""

    width: int
    height: int
    unit: float  # pixels
    box: Box

    @classmethod
    def of(cls, width: int, height: int, mel_share: float) -> Self:
        """Return the room in a frame of this size, with a share of its height left for the spectrogram."""
        unit = min(width, height) / 1080
        margin, space = even(MARGIN * unit), even(SPACE * unit)
        top = margin + even((HEADER + SPACE) * unit)
        tallest = height - margin - even(CAPTION * unit) - even(height * mel_share) - space - top
        return cls(width, height, unit, Box(margin, top, width - 2 * margin, tallest))

    @property
    def text(self) -> int:
        """The size of text in pixels."""
        return max(7, round(TEXT * self.unit))

    @property
    def large(self) -> int:
        """The size of chords and of the number in the first line in pixels."""
        return max(8, round(LARGE * self.unit))

    def first_line(self, x: int, width: int) -> Box:
        """Return a place in the first line."""
        return Box(x, self.box.x - even(12 * self.unit), width, even(HEADER * self.unit))

    def too_small_for(self, units: int) -> InputError:
        """Return the error for cells that would be too small to be seen."""
        return InputError(
            f"a frame of {self.width} x {self.height} is too small to show {units} units; "
            "choose a larger or a wider one"
        )

    def filled(
        self, grids: Sequence[UnitGrid], bottom: int, small: int, headings: Sequence[Heading] = (), said: int = 0
    ) -> FrameLayout:
        """Return the layout with these grids, which end at `bottom`, and their text of size `small`.

        What is remembered is said in the right half of the first line, or in its last `said` pixels.
        """
        unit, text, inside = self.unit, self.text, self.box.width
        margin = self.box.x
        foot = self.height - margin - even(CAPTION * unit)
        mel_top = bottom + even(SPACE * unit)
        line, half = even(1.4 * text), even(inside / 2)
        below = self.height - margin - line + even(10 * unit)
        return FrameLayout(
            width=self.width,
            height=self.height,
            text=text,
            small=small,
            large=self.large,
            chord=self.first_line(margin, half),
            remembered=self.first_line(margin + inside - (said or inside - half), said or inside - half),
            time=Box(margin, below, half, line),
            title=Box(margin + half, below, inside - half, line),
            mel=Box(margin, mel_top, inside, even(foot - mel_top)),
            grids=tuple(grids),
            headings=tuple(headings),
        )


def fitting(text: str, size: int, room: float, weight: Weight = "Regular") -> int:
    """Return the largest size up to `size` at which a line of text is no wider than `room` pixels."""
    wide = width_of(text, size, weight)
    return size if wide <= room else max(1, math.floor(size * room / wide))


def lay_out(width: int, height: int, layers: dict[str, int], mel_share: float = MEL_SHARE) -> FrameLayout:
    """Place a memory's layers in a frame, in as many lines as make their cells largest.

    At least `mel_share` of the frame's height is left for the spectrogram.
    Raises InputError if the cells would be too small.
    """
    room = Room.of(width, height, mel_share)
    shapes = {name: _rows(units) for name, units in layers.items()}
    side, split = max(
        (_fit(split, shapes, room) for split in _splits(list(layers))),
        key=lambda one: (one[0], -len(one[1])),
    )
    pitches = {name: side // rows for name, (_, rows) in shapes.items()}
    if side < 1 or min(pitches.values()) < SMALLEST_CELL:
        raise room.too_small_for(sum(layers.values()))
    grids, bottom = _place(split, layers, shapes, side, room)
    return room.filled(grids, bottom, small_text(grids, room.text))


def small_text(grids: Sequence[UnitGrid], size: int) -> int:
    """Return the largest size up to `size` at which the text of all grids has room."""
    small = min(fitting(f"{grid.units}/{grid.units}", size, grid.count.width) for grid in grids)
    return min([small, *(fitting(grid.layer, size, grid.name.width) for grid in grids)])


def even(value: float) -> int:
    """Return the nearest even number, since colour is stored for two pixels at a time."""
    return 2 * round(value / 2)


def up(value: int) -> int:
    """Return a number, or the next one if it is odd."""
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


def _fit(split: list[list[str]], shapes: dict[str, tuple[int, int]], room: Room) -> tuple[int, list[list[str]]]:
    """Return the greatest height of blocks with these lines: a multiple of the most rows, so that cells fill them."""
    gap, captions, inside = GAP * room.unit, 2 * CAPTION * room.unit, room.box.width
    high = (room.box.height - (len(split) - 1) * SPACE * room.unit) / len(split) - captions
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
    frame: Room,
) -> tuple[list[UnitGrid], int]:
    """Place every line of blocks from edge to edge; return them and where they end."""
    room, unit = frame.box, frame.unit
    caption, space = even(CAPTION * unit), even(SPACE * unit)
    grids, y = [], room.y
    for line in split:
        widths = [up(shapes[name][0] * (side // shapes[name][1])) for name in line]
        gap = (room.width - sum(widths)) // max(len(line) - 1, 1)
        gap = min(gap - gap % 2, even(side))
        x = room.x
        for name, width in zip(line, widths, strict=True):
            columns, rows = shapes[name]
            pitch = side // rows
            box = Box(x, y + caption, width, up(rows * pitch))
            slot = width + gap - even(APART * unit) if name != line[-1] else room.x + room.width - x
            below = box.y + box.height + even(12 * unit)
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
