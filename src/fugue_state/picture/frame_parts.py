"""The layout of the film's frame where several parts are shown: each has its name and its own grids of units."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from fugue_state.look.planes import width_of
from fugue_state.picture.frame_layout import (
    APART,
    MEL_SHARE,
    SMALLEST_CELL,
    SPACE,
    Box,
    FrameLayout,
    Heading,
    Room,
    UnitGrid,
    even,
    small_text,
    up,
)

# Measures in 1080ths of the frame's shorter side.
CAPTION, HEADING, GAP, LARGEST_CELL = 40, 56, 72, 84
SMALL = 0.82  # of the text in captions, relative to other text
GROWTH = 0.25  # cells of smaller layers are larger: by the ratio of units to this power
LEAST_CHORD = 2  # width of a chord's place, relative to the size of its text
STRETCH = 1.5  # how much larger cells may be so that a band is as wide as its part

Part = Mapping[str, int]  # its layers by name, and their units
Band = tuple[int, int, int]  # columns and rows of a layer's cells, and their size


def lay_out_parts(width: int, height: int, parts: Sequence[Part], mel_share: float = MEL_SHARE) -> FrameLayout:
    """Place several parts side by side or below each other: where captions have room, so that cells are largest.

    Each layer is a band across its part, below its name. At least `mel_share` of the frame's height is left for the
    spectrogram. Raises InputError if the cells would be too small.
    """
    room = Room.of(width, height, mel_share)
    fitted = [found for panels in _arranged(room, len(parts)) if (found := _fit(parts, panels, room))]
    if not fitted:
        raise room.too_small_for(sum(sum(part.values()) for part in parts))
    small = max(7, round(SMALL * room.text))
    line = max(width_of(f"{name}{units}/{units}", small) for part in parts for name, units in part.items())
    _, panels, bands = max(fitted, key=lambda one: (one[1][0].width >= line, one[0], -len({p.y for p in one[1]})))
    heading, grids, headings, bottom = even(HEADING * room.unit), list[UnitGrid](), list[Heading](), 0
    said = _said(room)
    chords = _chords(panels, room, said)
    for part, panel, shapes, chord in zip(parts, panels, bands, chords, strict=True):
        half = even(panel.width * 0.7)
        name = Box(panel.x, panel.y, half, heading)
        headings.append(Heading(chord, name, Box(panel.x + half, panel.y, panel.width - half, heading)))
        placed = _place(part, shapes, panel, room)
        grids += placed
        bottom = max(bottom, placed[-1].box.y + placed[-1].box.height)
    return room.filled(grids, bottom, small_text(grids, small), headings, said)


def _said(room: Room) -> int:
    """Return how wide the words are that say what is remembered."""
    words = width_of("remembered  ", room.text) + width_of("100", room.large, "Light") + width_of(" %", room.text)
    return min(up(math.ceil(words) + APART), even(room.box.width / 2))


def _chords(panels: Sequence[Box], room: Room, said: int) -> list[Box]:
    """Return the place of each part's chord: above the part where that has room, or else beside each other."""
    end = room.box.x + room.box.width - said
    above = [room.first_line(panel.x, min(panel.width, end - panel.x)) for panel in panels]
    if len({panel.y for panel in panels}) == 1 and above[-1].width >= LEAST_CHORD * room.large:
        return above
    wide = (end - room.box.x) // len(panels) // 2 * 2
    return [room.first_line(room.box.x + i * wide, wide) for i in range(len(panels))]


def _arranged(room: Room, count: int) -> list[list[Box]]:
    """Return all ways to divide the room among parts: from one column to a column for each."""
    ways, box = [], room.box
    gap, space = even(GAP * room.unit), even(SPACE * room.unit)
    for columns in range(1, count + 1):
        rows = math.ceil(count / columns)
        width = (box.width - gap * (columns - 1)) // columns // 2 * 2
        height = (box.height - space * (rows - 1)) // rows // 2 * 2
        places = [divmod(number, columns) for number in range(count)]
        ways.append([Box(box.x + x * (width + gap), box.y + y * (height + space), width, height) for y, x in places])
    return ways


def _fit(parts: Sequence[Part], panels: list[Box], room: Room) -> tuple[int, list[Box], list[list[Band]]] | None:
    """Return the greatest size of the largest layer's cells at which all parts fit, and their bands; None if none."""
    largest, heading, caption = round(LARGEST_CELL * room.unit), even(HEADING * room.unit), even(CAPTION * room.unit)
    most = max(max(part.values()) for part in parts)
    for size in range(largest, SMALLEST_CELL - 1, -1):
        found = []
        for part, panel in zip(parts, panels, strict=True):
            least = [min(largest, int(size * (most / units) ** GROWTH)) for units in part.values()]
            if panel.width < max(least):
                break
            bands = [_band(units, own, panel.width, largest) for units, own in zip(part.values(), least, strict=True)]
            if heading + sum(caption + up(rows * pitch) for _, rows, pitch in bands) > panel.height:
                break
            found.append(bands)
        else:
            return size, panels, found
    return None


def _band(units: int, least: int, width: int, largest: int) -> Band:
    """Arrange a layer's cells in the fewest rows in which they have at least this size, across the full width."""
    rows = math.ceil(units / max(1, width // least))
    columns = math.ceil(units / rows)
    return columns, rows, min(width // columns, int(STRETCH * least), largest)


def _place(part: Part, bands: Sequence[Band], panel: Box, room: Room) -> list[UnitGrid]:
    """Place a part's layers below each other; room that is left goes between them."""
    caption, heading = even(CAPTION * room.unit), even(HEADING * room.unit)
    used = heading + sum(caption + up(rows * pitch) for _, rows, pitch in bands)
    between = min(caption // 2, (panel.height - used) // max(1, len(bands) - 1)) // 2 * 2
    grids, y, half = list[UnitGrid](), panel.y + heading, even(panel.width / 2)
    for (name, units), (columns, rows, pitch) in zip(part.items(), bands, strict=True):
        box = Box(panel.x, y + caption, up(columns * pitch), up(rows * pitch))
        title = Box(panel.x, y, half, caption)
        count = Box(panel.x + half, y, panel.width - half, caption)
        grids.append(UnitGrid(name, units, columns, rows, pitch, box, title, count))
        y = box.y + box.height + between
    return grids
