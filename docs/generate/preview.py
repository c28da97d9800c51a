"""The moving preview of a film, for pages that play no sound.

    python docs/generate/preview.py out/demo/forgetting.mp4 docs/images/film.webp

A few seconds from its beginning to its end, small.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
from PIL import Image

WIDTH, FPS = 640, 12
PARTS, PART_S = (0.07, 0.4, 0.72, 0.93), 2.4  # where in the film, how long each
QUALITY = 42


def parts(film: Path) -> Iterator[Image.Image]:
    """Yield frames from a film, a few seconds at each place."""
    with av.open(film) as file:
        video = file.streams.video[0]
        length_s = float((video.duration or 0) * (video.time_base or 0))
        for share in PARTS:
            start_s = share * length_s
            file.seek(int(start_s * av.time_base))
            wanted = 0
            for frame in file.decode(video):
                at_s = (frame.time or 0.0) - start_s
                if at_s >= PART_S:
                    break
                if at_s >= wanted / FPS:
                    wanted += 1
                    picture = Image.fromarray(frame.to_ndarray(format="rgb24"))
                    yield picture.resize((WIDTH, round(WIDTH * frame.height / frame.width)), Image.Resampling.LANCZOS)


def main() -> None:
    """Write the preview."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("film", type=Path)
    parser.add_argument("out", type=Path)
    asked = parser.parse_args()
    first, *rest = parts(asked.film)
    form: dict[str, Any] = {"duration": round(1000 / FPS), "loop": 0, "quality": QUALITY, "method": 6}
    first.save(asked.out, save_all=True, append_images=rest, **form)


if __name__ == "__main__":
    main()
