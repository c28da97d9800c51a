"""Drawings of how it works: SVG with the colours and typeface of its page, and files for places that have none.

    cd docs && python -m generate.drawings

writes these files into docs/images.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from fugue_state.config import MelSpec, ModelConfig
from fugue_state.look.theme import THEMES
from generate.house import imported, rooms, said

MARGIN = 8
BOX = (108, 46)
STEP = 126  # from one box to the next
LAYER = 88  # from one layer to the next
UNITS_A_DOT = 16
ACROSS = 4  # dots
DOT = 11  # from one to the next
CELL = 24  # of the map of the house
SAID = 560  # of what a folder says of itself
REMEMBERED = (0.55, 0.7, 0.8, 0.9, 1.0)  # of each layer, in the drawing: what is near the latent goes first
LEARNING = (("recordings", "a folder"), ("mels", "3 s each"), ("learning", "minutes"), ("memory", "two networks"))
PLAYING = (
    ("score", "what, when"),
    ("strengths", "1 to 0 a unit"),
    ("mels", "what is left"),
    ("vocoder", "levels, phase"),
    ("mix", "overlap, room"),
)


def pipeline() -> str:
    """Return the way from recordings to a memory, and from a score to sound."""
    above, below, half = 30, 140, BOX[1] / 2
    lines = [_text(MARGIN, 18, "once, for a memory", "second"), _text(MARGIN, below - 12, "for every piece", "second")]
    for y, boxes in ((above, LEARNING), (below, PLAYING)):
        for i, (title, about) in enumerate(boxes):
            lines += _box(MARGIN + i * STEP, y, title, about, lit=title == LEARNING[-1][0])
    lines += [_arrow(MARGIN + i * STEP + BOX[0], above + half, STEP - BOX[0]) for i in range(len(LEARNING) - 1)]
    lines += [_arrow(MARGIN + i * STEP + BOX[0], below + half, STEP - BOX[0]) for i in range(len(PLAYING))]
    # Of the memory, one network makes the mels, the other one turns them into sound.
    right = MARGIN + 3 * STEP + BOX[0] / 2
    left, fork = right - STEP, above + BOX[1] + 26
    lines += [_path(f"M{right:g} {above + BOX[1]}V{below - 7}"), _head(right, below, down=True)]
    lines += [_path(f"M{right:g} {fork}H{left:g}V{below - 7}"), _head(left, below, down=True)]
    end = MARGIN + len(PLAYING) * STEP + 4
    lines += [_text(end, below + 20, "sound"), _text(end, below + 36, "and score", "second")]
    return _drawing("From recordings to a memory, and from a score to sound", end + 60, below + BOX[1] + 8, lines)


def network() -> str:
    """Return the layers of the generator, some of their units forgotten."""
    model, spec = ModelConfig(), MelSpec()
    middle, under, first = 132, 206, MARGIN + BOX[0] + 34
    lines = [
        *_box(MARGIN, 8, "chord", "in every layer"),
        *_box(MARGIN, middle - 23, "latent", f"{model.latent_size} numbers"),
    ]
    lines.append(_arrow(MARGIN + BOX[0], middle, 30))
    for i, (name, units) in enumerate(model.layers.items(), 1):
        x = first + (i - 1) * LAYER
        size = spec.n_mels >> (len(model.layers) + 1 - i)
        lines += _dots(x, middle, i, units // UNITS_A_DOT)
        lines += _below(x - 4, under, name, f"{units} units", f"{size} x {size * spec.frames // spec.n_mels}")
        lines += [_arrow(x + ACROSS * DOT, middle, LAYER - ACROSS * DOT - 4)]
        lines += [_path(f"M{x + 16:g} 31V{middle - 61}"), _head(x + 16, middle - 54, down=True)]
    x = first + len(model.layers) * LAYER
    lines.append(_path(f"M{MARGIN + BOX[0]} 31H{x - LAYER + 16:g}"))
    lines += [*_mel(x, middle, 96), *_below(x, under, "output", "a mel", f"{spec.n_mels} x {spec.frames}")]
    title = f"The generator and its {model.units} units, {UNITS_A_DOT} to a dot; dots without colour are forgotten"
    return _drawing(title, x + 104, under + 40, lines)


def house() -> str:
    """Return the folders of the code from top to bottom, each with a dot for every one that it imports from."""
    names = rooms()
    left, top = MARGIN + BOX[0] + SAID, 96
    lines = []
    for column, name in enumerate(names):
        x = left + column * CELL
        lines.append(f'<text class="second" transform="translate({x + 4:g} {top - 14}) rotate(-60)">{name}</text>')
    for row, name in enumerate(names):
        y = top + row * CELL
        lines += [_text(MARGIN, y + 4, name), _text(MARGIN + BOX[0], y + 4, said(name), "second")]
        lines.append(_path(f"M{MARGIN:g} {y + CELL / 2:g}H{left + len(names) * CELL:g}"))
        for column, other in enumerate(names):
            if other in imported(name):
                lines.append(
                    f'<circle cx="{left + column * CELL:g}" cy="{y:g}" r="4" style="fill: var(--fugue-glow)"/>'
                )
    title = "The folders of the code: each imports only from those at its right, which stand below it"
    return _drawing(title, left + len(names) * CELL + 40, top + len(names) * CELL, lines)


def _dots(x: float, y: float, layer: int, count: int) -> Iterator[str]:
    """Yield the units of a layer around a height, those in its colour that are left."""
    across = min(ACROSS, count)
    for k, turn in enumerate(np.random.default_rng(layer).permutation(count)):
        cx, cy = x + k % across * DOT, y + (k // across - (count // across - 1) / 2) * DOT
        colour = f"--fugue-layer-{layer}" if turn < REMEMBERED[layer - 1] * count else "--fugue-scar"
        yield f'<circle cx="{cx:g}" cy="{cy:g}" r="3.6" style="fill: var({colour})"/>'


def _below(x: float, y: float, title: str, *about: str) -> Iterator[str]:
    """Yield what is written under a layer."""
    yield _text(x, y, title)
    for i, words in enumerate(about, 1):
        yield _text(x, y + 16 * i, words, "second")


def _mel(x: float, y: float, size: float) -> Iterator[str]:
    """Yield a sketch of a mel: partials that decay, the high ones sooner."""
    yield f'<rect class="box" x="{x:g}" y="{y - size / 2:g}" width="{size:g}" height="{size:g}" rx="2"/>'
    for k in range(1, 9):
        up = y + size / 2 - 8 - 27 * np.log2(k)
        yield (
            f'<rect x="{x + 6:g}" y="{up:.1f}" width="{(size - 14) / k**0.5:.1f}" height="3" rx="1.5" '
            f'style="fill: var(--fugue-glow); opacity: {1.1 - 0.1 * k:.1f}"/>'
        )


def _drawing(title: str, width: float, height: float, lines: Iterable[str]) -> str:
    inside = "".join(lines)
    return (
        f'<div class="drawing"><svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{html.escape(title)}">'
        f"<title>{html.escape(title)}</title>{inside}</svg></div>"
    )


def _box(x: float, y: float, title: str, about: str, *, lit: bool = False) -> Iterator[str]:
    kind = "box lit" if lit else "box"
    yield f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{BOX[0]}" height="{BOX[1]}" rx="3"/>'
    yield _text(x + 9, y + 20, title)
    yield _text(x + 9, y + 36, about, "second")


def _text(x: float, y: float, words: str, kind: str = "first") -> str:
    return f'<text class="{kind}" x="{x:g}" y="{y:g}">{html.escape(words)}</text>'


def _arrow(x: float, y: float, length: float) -> str:
    return _path(f"M{x + 6:g} {y:g}h{length - 13:g}") + _head(x + length, y)


def _path(way: str) -> str:
    return f'<path class="arrow" d="{way}"/>'


def _head(x: float, y: float, *, down: bool = False) -> str:
    """Return the head of an arrow that ends short of a place."""
    back = (
        (f"{x - 4:g},{y - 8:g}", f"{x + 4:g},{y - 8:g}") if down else (f"{x - 8:g},{y - 4:g}", f"{x - 8:g},{y + 4:g}")
    )
    tip = f"{x:g},{y - 1:g}" if down else f"{x - 1:g},{y:g}"
    return f'<polygon class="head" points="{tip} {back[0]} {back[1]}"/>'


DRAWINGS = {"pipeline": pipeline, "network": network, "house": house}
ALONE = "paper"  # the theme of a drawing that stands by itself, and the rules of its page in docs/stylesheets/site.css
RULES = """\
text { fill: INK; font: 13px Inter, sans-serif; } text.second { fill: FAINT; font-size: 11.5px; }
.box, .arrow { fill: none; stroke: FAINT; } .lit { stroke: GLOW; } .head { fill: FAINT; }
"""


def alone(name: str) -> str:
    """Return a drawing as a file of its own, on the ground of a theme."""
    theme = THEMES[ALONE]
    colours = {one: getattr(theme, one) for one in ("ink", "faint", "glow", "scar")}
    colours |= {f"layer-{i}": colour for i, colour in enumerate(theme.layers, 1)}
    rules = re.sub("INK|FAINT|GLOW", lambda word: colours[word[0].lower()], RULES)
    inside = DRAWINGS[name]().removeprefix('<div class="drawing">').removesuffix("</div>")
    inside = re.sub(r"var\(--fugue-([\w-]+)\)", lambda mark: colours[mark[1]], inside)
    ground = f'<style>{rules}</style><rect width="100%" height="100%" style="fill: {theme.ground}"/>'
    return (
        inside.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ').replace("<title>", f"{ground}<title>", 1)
        + "\n"
    )


def main() -> None:
    """Write every drawing."""
    for name in DRAWINGS:
        (Path(__file__).parents[1] / "images" / f"{name}.svg").write_text(alone(name), encoding="utf-8")


if __name__ == "__main__":
    main()
