"""Frames of the film: strengths, activations and the spectrogram, drawn moment by moment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from fugue_state.arrays import Array
from fugue_state.config import FilmConfig
from fugue_state.look.planes import Planes, width_of, words, ycbcr
from fugue_state.look.text import shortened
from fugue_state.look.theme import Theme, Weight, find_theme, font
from fugue_state.picture.cells import Cells, Shapes, block, colours
from fugue_state.picture.frame_layout import MEL_SHARE, Box, FrameLayout, Heading, UnitGrid, edges, fitting, lay_out
from fugue_state.picture.frame_parts import lay_out_parts
from fugue_state.picture.heard import RANGE_DB, Heard, loudest
from fugue_state.picture.watch import Watch
from fugue_state.piece.parts import Part
from fugue_state.piece.piece import Piece
from fugue_state.piece.seen import Seen
from fugue_state.score.times import told

Pixels = npt.NDArray[np.uint8]
Side = Literal["left", "right"]

PLAYHEAD = 2 / 3  # position, as a share of the spectrogram's width
SHOWN_S = 14.0  # about how many seconds the spectrogram shows
TO_COME, EDGE = 0.5, 0.06  # opacity of the future; share of the width over which the ends fade
LOUDEST_OF = 400  # number of places used to find a sound's loudest level
CARD_S, CARD_FADE_S, CARD_PART, VEIL = 4.0, 1.5, 0.25, 0.88
FAINTEST_CHORD = 0.3
SMALLEST_TITLE = 0.7  # relative to other text; longer titles are cut off


class Run(NamedTuple):
    """Words in one style within a line."""

    text: str
    size: int
    colour: str
    weight: Weight = "Regular"
    opacity: float = 1.0


class Frames:
    """Draws the frames of a piece one after the other, from number `first` on; each is shown for 1 / fps seconds.

    A frame shows the moment at its middle, so that picture and sound are never more than half a frame apart. Where
    nothing is `heard` there is no spectrogram, and no card covers the units. InputError if the frame is too small for
    the memory.
    """

    def __init__(self, piece: Piece, heard: Heard | None, config: FilmConfig, first: int = 0) -> None:
        width, height = config.pixels
        self._piece, self._config, self._number = piece, config, first
        self._theme = find_theme(config.theme)
        self._layout = _laid_out(width, height, piece.parts, 0.0 if heard is None else MEL_SHARE)
        self._planes = Planes(width, height, self._theme.ground)
        self._shown = self._planes
        self._watch = Watch(piece)
        sizes = [list(part.layers.values()) for part in piece.parts]
        self._colours = colours(sizes, self._theme)
        self._cells = Cells(sizes, self._theme, self._watch.at(self._middle_s))
        self._count_side: Side = "right" if self._layout.headings else "left"
        self._shapes = {grid.pitch: Shapes(grid.pitch) for grid in self._layout.grids}
        self._strip = None if heard is None else Strip(self._layout.mel, heard, config.fps, self._theme, first)
        self._written: dict[Box, object] = {}
        for grid in self._layout.grids:
            self._line(grid.name, [Run(grid.layer, self._layout.small, self._theme.faint)])
        for heading, part in self._headed:
            self._line(heading.name, self._named(part, heading.name.width))
        if piece.score.title:
            room, text = self._layout.title.width, self._layout.text
            size = max(fitting(piece.score.title, text, room), round(SMALLEST_TITLE * text))
            title = shortened(piece.score.title, room / 72.0, size)  # here a point equals a pixel
            on_line = Run("", text, self._theme.faint)  # aligns the baseline with the time's
            self._line(self._layout.title, [on_line, Run(title, size, self._theme.faint)], "right")

    @property
    def _headed(self) -> list[tuple[Heading, Part]]:
        """The parts that have a heading: all, where there are several."""
        return list(zip(self._layout.headings, self._piece.parts, strict=False))

    def _named(self, part: Part, room: int) -> list[Run]:
        """Return the name of a part, and of its memory if that is another; what has no room is left out."""
        text, theme = self._layout.text, self._theme
        of_memory = Run(f"  {Path(part.memory_name).stem}", self._layout.small, theme.faint)
        name = shortened(part.name, room / 72.0, text)  # here a point equals a pixel
        left = room - width_of(name, text) - width_of(of_memory.text, of_memory.size)
        return [Run(name, text, theme.ink), *([of_memory] if part.name != part.memory_name and left >= 0 else [])]

    @property
    def _middle_s(self) -> float:
        return (self._number + 0.5) / self._config.fps

    def draw(self) -> Pixels:
        """Draw the next frame and return it as planes of YUV 4:2:0 (3 H / 2, W), valid until the next call."""
        seen = self._watch.at(self._middle_s)
        self._cells.step(seen, 1.0 / self._config.fps)
        self._draw_words(seen)
        for number, (grid, part) in enumerate(edges(self._layout.grids)):
            self._draw_grid(grid, part, number, seen)
        self._shown = self._planes
        if self._strip is not None:
            self._strip.draw(self._planes)
            self._shown = self._with_card()
            self._strip.move()
        self._number += 1
        return self._shown.pixels

    def _draw_words(self, seen: Seen) -> None:
        layout, theme = self._layout, self._theme
        remembered = float(seen.strengths.mean())
        if not self._headed:
            self._draw_chord(layout.chord, seen.chord, remembered)
        share = f"{_whole(100 * remembered, 100)}"
        self._line(
            layout.remembered,
            [
                Run("remembered  ", layout.text, theme.faint),
                Run(share, layout.large, theme.ink, "Light"),
                Run(" %", layout.text, theme.faint),
            ],
            "right",
        )
        for heading, part in self._headed:
            left = float(seen.strengths[part.within].mean())
            self._draw_chord(heading.chord, self._watch.chord(part), left)
            number = Run(str(_whole(100 * left, 100)), layout.text, theme.ink)
            self._line(heading.share, [number, Run(" %", layout.small, theme.faint)], "right")
        now = told(int(self._middle_s))
        whole = told(round(self._piece.score.length_s))
        self._line(layout.time, [Run(now, layout.text, theme.ink), Run(f" / {whole}", layout.text, theme.faint)])

    def _draw_chord(self, box: Box, chord: str | None, remembered: float) -> None:
        """Write a chord, the fainter the less is remembered."""
        opacity = FAINTEST_CHORD + (1 - FAINTEST_CHORD) * round(16 * remembered) / 16
        size = fitting(chord or "", self._layout.large, box.width, "Light")
        self._line(box, [Run(chord or "", size, self._theme.ink, "Light", opacity)])

    def _draw_grid(self, grid: UnitGrid, part: slice, number: int, seen: Seen) -> None:
        theme = self._theme
        light, flares, scars = block(grid, self._shapes[grid.pitch], self._cells, part)
        colour, side = self._colours[number], self._count_side
        self._planes.blend(grid.box.x, grid.box.y, [(light, colour), (flares, theme.flare), (scars, theme.scar)])
        left = _whole(float(seen.strengths[part].sum()), grid.units)
        size = self._layout.small
        self._line(grid.count, [Run(str(left), size, theme.ink), Run(f"/{grid.units}", size, theme.faint)], side)

    def _line(self, box: Box, runs: list[Run], side: Side = "left") -> None:
        """Write a line of text on one baseline into a box, unless it is already there."""
        if self._written.get(box) == runs:
            return
        self._written[box] = runs
        self._planes.clear(box.x, box.y, box.width, box.height)
        self._planes.blend(box.x, box.y, _set(box, runs, side))

    def _with_card(self) -> Planes:
        """Return the frame; near the piece's beginning or end, covered by a card with title or credits."""
        score = self._piece.score
        length = min(CARD_S, CARD_PART * score.length_s)
        fade = min(CARD_FADE_S, length / 2)
        before_end = score.length_s - self._middle_s
        for lines, shown in (
            ((score.title,) if score.title else (), (length - self._middle_s) / fade),
            (score.credits, (length + fade - before_end) / fade),
        ):
            if lines and shown > 0.0:
                return self._card(lines, min(1.0, shown))
        return self._planes

    def _card(self, lines: tuple[str, ...], opacity: float) -> Planes:
        layout, theme = self._layout, self._theme
        card = self._planes.copy()
        veil = np.full((layout.height, layout.width), VEIL * opacity, dtype=np.float32)
        card.cover(veil, theme.ground)
        room = layout.mel.width
        wanted = layout.large if len(lines) == 1 else layout.text
        size = min(fitting(line, wanted, room, "Light") for line in lines)
        height = round(1.5 * size)
        text = np.zeros_like(veil)
        top = layout.height // 2 - len(lines) * height // 2
        for i, line in enumerate(lines):
            drawn = words(line, size, "Light")
            y, x = max(0, top + i * height), (layout.width - drawn.shape[1]) // 2
            part = text[y : y + drawn.shape[0], x : x + drawn.shape[1]]
            np.maximum(part, opacity * drawn[: part.shape[0]], out=part)
        card.cover(text, theme.ink)
        return card

    def rgb(self) -> Pixels:
        """Return the last drawn frame as red, green and blue (H, W, 3)."""
        return self._shown.rgb()


def _laid_out(width: int, height: int, parts: Sequence[Part], mel_share: float) -> FrameLayout:
    """Lay out a frame for the units of a piece's parts."""
    if len(parts) == 1:
        return lay_out(width, height, parts[0].memory.layers, mel_share)
    return lay_out_parts(width, height, [part.memory.layers for part in parts], mel_share)


class Strip:
    """The spectrogram that scrolls under a playhead: the past to its left, the future to its right."""

    def __init__(self, box: Box, heard: Heard, fps: int, theme: Theme, first: int) -> None:
        self._box, self._heard = box, heard
        self._columns = max(2, 2 * round(box.width / (SHOWN_S * fps) / 2))  # per frame
        self._head = int(box.width * PLAYHEAD) // 2 * 2
        self._samples = heard.sample_rate_hz / fps / self._columns
        self._loudest_db = loudest(heard.overview(LOUDEST_OF))
        self._rows = np.linspace(heard.spec.n_mels - 1, 0, box.height)
        colours = theme.colours(np.linspace(0, 1, 256))[:, :3]
        self._palette = np.rint([ycbcr("#{:02x}{:02x}{:02x}".format(*c)) for c in np.rint(255 * colours).astype(int)])
        self._palette = self._palette.astype(np.uint8)
        self._ink = np.rint(ycbcr(theme.ink)).astype(np.uint8)
        place = np.arange(box.width)
        near = np.minimum(place, box.width - 1 - place) / (EDGE * box.width)
        self._gain = (np.clip(near, 0, 1) * np.where(place < self._head, 1.0, TO_COME)).astype(np.float32)
        self._next = first * self._columns - self._head
        self._levels = np.zeros((box.height, box.width), dtype=np.uint8)
        for x in range(box.width):
            self._levels[:, x] = self._column()

    def move(self) -> None:
        """Scroll by one frame."""
        step = self._columns
        self._levels[:, :-step] = self._levels[:, step:]
        for x in range(self._box.width - step, self._box.width):
            self._levels[:, x] = self._column()

    def draw(self, planes: Planes) -> None:
        """Draw the strip."""
        x, y, width, height = self._box.x, self._box.y, self._box.width, self._box.height
        shown = (self._levels * self._gain).astype(np.uint8)
        planes.luma[y : y + height, x : x + width] = self._palette[:, 0][shown]
        small = shown[::2, ::2]
        for number, plane in enumerate(planes.chroma, 1):
            plane[y // 2 : (y + height) // 2, x // 2 : (x + width) // 2] = self._palette[:, number][small]
            plane[y // 2 : (y + height) // 2, (x + self._head) // 2] = self._ink[number]
        planes.luma[y : y + height, x + self._head : x + self._head + 2] = self._ink[0]

    def _column(self) -> Pixels:
        """Return the next column, from the highest band down."""
        centre = round((self._next + self._columns / 2) * self._samples)
        self._next += 1
        if not 0 <= centre < self._heard.samples:
            return np.zeros(self._box.height, dtype=np.uint8)
        above_db = self._heard.column(centre) - self._loudest_db + RANGE_DB
        levels = np.interp(self._rows, np.arange(len(above_db)), above_db)
        return np.asarray(np.clip(255 * levels / RANGE_DB, 0, 255), dtype=np.uint8)


def _whole(value: float, most: int) -> int:
    """Return a rounded number that is 0 or `most` only if the value is."""
    if value <= 0.0 or value >= most:
        return round(value)
    return min(max(1, round(value)), most - 1)


def _set(box: Box, runs: list[Run], side: Side) -> list[tuple[Array, str]]:
    """Return the weights of each run of text within a box, and its colour; what does not fit is cut off."""
    drawn = [words(run.text, run.size, run.weight) for run in runs]
    ascents = [font(run.size, run.weight).getmetrics()[0] for run in runs]
    x = 0 if side == "left" else box.width - sum(part.shape[1] for part in drawn)
    layers = []
    for run, part, ascent in zip(runs, drawn, ascents, strict=True):
        weights = np.zeros((box.height, box.width), dtype=np.float32)
        y = max(ascents) - ascent
        into = weights[y : y + part.shape[0], max(x, 0) : x + part.shape[1]]
        into[:] = run.opacity * part[: into.shape[0], max(0, -x) : max(0, -x) + into.shape[1]]
        layers.append((weights, run.colour))
        x += part.shape[1]
    return layers
