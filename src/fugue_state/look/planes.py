"""A frame of video: one plane of luma, two of chroma at half the size, and text drawn on them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from fugue_state.arrays import Array
from fugue_state.look.letters import face, runs, width
from fugue_state.look.theme import Weight, font, rgb

Pixels = npt.NDArray[np.uint8]

# From R'G'B' to Y'CbCr, ITU-R BT.709, in the limited range of 8 bits.
_LUMA = np.array([0.2126, 0.7152, 0.0722])
_RANGE = np.array([219.0, 224.0, 224.0])
_LOWEST = np.array([16.0, 128.0, 128.0])


@lru_cache(maxsize=512)
def ycbcr(colour: str) -> Array:
    """Return a colour (#rrggbb) as Y', Cb, Cr of 8-bit video (3,), not rounded."""
    red, green, blue = rgb(colour)
    luma = float(_LUMA @ (red, green, blue))
    parts = np.array([luma, (blue - luma) / 1.8556, (red - luma) / 1.5748])
    levels: Array = (_LOWEST + _RANGE * parts).astype(np.float32)
    return levels


class Planes:
    """A frame to draw on: `pixels` (3 H / 2, W) in YUV 4:2:0 layout, filled with a ground colour."""

    def __init__(self, width: int, height: int, ground: str) -> None:
        self.ground = ycbcr(ground)
        self._over(np.empty((height * 3 // 2, width), dtype=np.uint8))
        self.clear(0, 0, width, height)

    def _over(self, pixels: Pixels) -> None:
        width, height = pixels.shape[1], pixels.shape[0] * 2 // 3
        half = (height // 2, width // 2)
        flat, quarter = pixels.reshape(-1)[height * width :], half[0] * half[1]
        self.pixels = pixels
        self.luma: Pixels = pixels[:height]
        self.chroma: tuple[Pixels, Pixels] = (flat[:quarter].reshape(half), flat[quarter:].reshape(half))

    def copy(self) -> Planes:
        """Return an independent copy."""
        other = Planes.__new__(Planes)
        other.ground = self.ground
        other._over(self.pixels.copy())
        return other

    def clear(self, x: int, y: int, width: int, height: int) -> None:
        """Fill a rectangle with the ground colour; all numbers must be even."""
        self._part(self.luma, x, y, width, height)[:] = round(float(self.ground[0]))
        for plane, level in zip(self.chroma, self.ground[1:], strict=True):
            self._part(plane, x // 2, y // 2, width // 2, height // 2)[:] = round(float(level))

    def blend(self, x: int, y: int, layers: list[tuple[Array, str]]) -> None:
        """Draw colours on the ground, weighted by (h, w) within 0..1; position and size must be even."""
        height, width = layers[0][0].shape
        self._mix(self._part(self.luma, x, y, width, height), 0, [(w, ycbcr(colour)) for w, colour in layers])
        small = [(_halved(w), ycbcr(colour)) for w, colour in layers]
        for number, plane in enumerate(self.chroma, 1):
            self._mix(self._part(plane, x // 2, y // 2, width // 2, height // 2), number, small)

    def cover(self, weights: Array, colour: str) -> None:
        """Draw a colour over what is already there, weighted by (H, W)."""
        value = ycbcr(colour)
        for plane, w, level in zip((self.luma, *self.chroma), (weights, *[_halved(weights)] * 2), value, strict=True):
            plane[:] = np.rint(plane + w * (level - plane)).astype(np.uint8)

    def rgb(self) -> Pixels:
        """Return the frame as red, green and blue (H, W, 3)."""
        from av import VideoFrame

        frame = VideoFrame.from_ndarray(self.pixels, format="yuv420p")
        picture = frame.to_ndarray(format="rgb24", src_colorspace="ITU709", dst_colorspace="ITU709")
        return picture.astype(np.uint8, copy=False)

    def _mix(self, out: Pixels, number: int, layers: list[tuple[Array, Array]]) -> None:
        ground = self.ground[number]
        total = np.full(out.shape, ground)
        for weights, colour in layers:
            total += (colour[number] - ground) * weights
        low, high = (16.0, 235.0) if number == 0 else (16.0, 240.0)
        out[:] = np.rint(total).clip(low, high)

    @staticmethod
    def _part(plane: Pixels, x: int, y: int, width: int, height: int) -> Pixels:
        return plane[y : y + height, x : x + width]


def _halved(weights: Array) -> Array:
    """Return the means of 2 x 2 blocks."""
    rows = weights[::2] + weights[1::2]
    mean: Array = np.float32(0.25) * (rows[:, ::2] + rows[:, 1::2])
    return mean


@lru_cache(maxsize=512)
def words(text: str, size: int, weight: Weight = "Regular") -> Array:
    """Return a line of text as weights (h, w), at a size in pixels, from ascender to descender."""
    from PIL import Image, ImageDraw

    ascent, descent = font(size, weight).getmetrics()
    image = Image.new("L", (max(1, round(width_of(text, size, weight)) + 2), ascent + descent))
    pen, x = ImageDraw.Draw(image), 0.0
    for run in runs(text):
        drawn_with = face(run, size, weight)
        pen.text((x, ascent), run.text, fill=255, font=drawn_with, anchor="ls")
        x += float(drawn_with.getlength(run.text))
    return np.asarray(image, dtype=np.float32) / 255.0


def width_of(text: str, size: int, weight: Weight = "Regular") -> float:
    """Return the width of a line of text in pixels."""
    return width(text, size, weight)
