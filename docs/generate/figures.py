"""What was measured, from the files that the measuring commands wrote."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fugue_state.score.model import UNITS
from generate.markdown import block, code, plain, table

FOLDER = "measured"
INTRODUCTION = f"""\
# Measured figures

Every table here is made from a file in `docs/{FOLDER}`, which the command above it wrote. Times are of one machine:
compare them with each other only. `chords` and `long` are the corpora of the [memories' cards](models/guitar.md).
"""


@dataclass(frozen=True)
class Figures:
    """A file of figures: what it is about and what made it.

    `columns` are those of its tables that are shown, all if empty; what is left out is in the file.
    """

    file: str
    title: str
    commands: tuple[str, ...]
    about: str = ""
    columns: tuple[str, ...] = ()


LEFT_OUT = ("confusion", "per_class", "per_chord")
SOUNDS = ("steps", "chords/generated/accuracy", "chords/generated/worst_class", "chords/generated/clarity")
DISTANCES = ("distance/generated_to_real/frechet", "distance/generated_to_real/kid")
TIMBRES = ("timbre/generated/decay_s", "timbre/generated/brightness_hz", "timbre/generated/harmonic_to_noise_db")
AS_ASKED = "Chords named as asked (accuracy) by a chroma template, clips of guitars held out beside them."
BESIDE = "Sounds of the memory beside clips of guitars held out, and these after mel and sound."
FIGURES = (
    Figures(
        "chords.json",
        "Chords of guitar",
        ("python benchmarks/chords.py guitar --per-class 64 --against chords",),
        AS_ASKED,
    ),
    Figures(
        "chords-long.json",
        "Chords of guitar-long",
        ("python benchmarks/chords.py guitar-long --per-class 64 --against long",),
        AS_ASKED,
    ),
    Figures(
        "guitar.json",
        "guitar beside guitars",
        ("fugue measure guitar --against chords --per-class 64 --json",),
        BESIDE,
    ),
    Figures(
        "guitar-long.json",
        "guitar-long beside guitars",
        ("fugue measure guitar-long --against long --per-class 64 --json",),
        BESIDE,
    ),
    Figures(
        "curve.json",
        "What is left when it forgets",
        ("fugue curve guitar --json",),
        "Where half of the chords are still named, and where the last one is, as fractions of the units forgotten; of "
        "all units and of each layer alone. The curves themselves: [guitar](models/guitar.md).",
    ),
    Figures(
        "render.json", "The demo piece", ("python benchmarks/render.py",), "Beside the common way of inverting it."
    ),
    Figures(
        "commands.jsonl",
        "Whole commands",
        ("python benchmarks/commands.py --rounds 3 --before CHECKOUT",),
        "From start to end, in processes of their own; beside the common way, and beside the version before "
        "playing needed no PyTorch.",
    ),
    Figures(
        "composition.json",
        "A loop that is composed",
        ("python benchmarks/composition.py",),
        "Three minutes by the defaults, and the common way: random order, linear pace, no hold.",
    ),
    Figures("night.json", "A night", ("python benchmarks/night.py",), "A long piece beside a minute of it."),
    Figures(
        "kill.jsonl",
        "Killed at random points",
        ("python benchmarks/kill.py",),
        "Commands killed (SIGKILL) and asked for again: after how many kills all under a final name was whole, "
        "what was begun went on, and the end was that of the undisturbed command.",
    ),
    Figures(
        "film.json",
        "A film",
        ("python benchmarks/film.py",),
        "Ten minutes at 1080p and 30 frames a second, in which everything dies three times; decoded, when that is seen "
        "and when it is heard. Beside it a minute, and how fast matplotlib draws the same.",
    ),
    Figures(
        "performance.json",
        "Played block by block",
        ("python benchmarks/performance.py",),
        "Without a clock or a page, while two chords sound: load of a core, steps between samples, time from a change "
        "to its sound, level of a held sound, and how near chords come to their mels, live and rendered at `final`.",
    ),
    Figures(
        "live.json",
        "Played live",
        ("python benchmarks/live.py --minutes 30",),
        "A scripted performer, a listener and 200 OSC messages a second over the real sockets; the take of the first "
        "two minutes, rendered. Before, a page in a headless Chromium. Not the first start, which compiles loops.",
    ),
    Figures(
        "inversion.json",
        "From mel to sound",
        ("python benchmarks/inversion.py guitar --against chords --air wide --clips 24 --latents 1",),
        "What the columns are: [inversion](inversion.md).",
    ),
    Figures(
        "neural_vocoder.json",
        "A network straight from mel to sound",
        ("python benchmarks/neural_vocoder.py guitar --against chords --minutes 21",),
        "Tried beside the vocoder that ships, and left out.",
    ),
    Figures(
        "recipes.json",
        "Recipes of training",
        (
            "fugue train chords -o run --steps STEPS OPTIONS",
            "fugue measure run --against chords --per-class 16 --json",
        ),
        "The options of each run: [training](training.md#recipes-side-by-side).",
        (*SOUNDS, *DISTANCES, *TIMBRES),
    ),
    Figures(
        "ten-minutes.json",
        "Ten minutes from a folder",
        (
            "fugue train chords -o run --minutes 9",
            "fugue measure run --against chords --per-class 64 --json",
        ),
        BESIDE,
    ),
    Figures(
        "quarter-hour.json",
        "A quarter of an hour from a folder",
        (
            "fugue train chords -o run --minutes 12 --save-minutes 1.5",
            "fugue measure run --against chords --per-class 64 --json",
        ),
        "On two cores without bfloat16 instructions; " + BESIDE[:1].lower() + BESIDE[1:],
    ),
    Figures(
        "training.jsonl",
        "Steps of training",
        (
            "python benchmarks/training.py --rounds 5 --steps 6",
            "python benchmarks/training.py --device cuda --steps 100",
            "python benchmarks/training.py --device cuda --batch 128 --steps 50",
        ),
        "Beside the plain PyTorch loop, same networks and batch.",
    ),
    Figures(
        "unlabelled.json",
        "Without labels",
        ("python benchmarks/unlabelled.py chords --feature-maps 32 --steps 1500 --per-label 32",),
        "Clusters as labels, and none.",
    ),
)


def page(docs: Path) -> str:
    """Return the page for the figures in a folder of documents."""
    lines = [INTRODUCTION]
    for one in FIGURES:
        lines += _section(one, docs / FOLDER / one.file)
    return "\n".join(lines) + "\n"


def _section(one: Figures, path: Path) -> Iterator[str]:
    yield from ("", f"## {one.title}", "", one.about)
    yield from block("\n".join(one.commands))
    yield from tables(_read(path), one.columns)
    yield f"All of it: [{one.file}]({FOLDER}/{one.file})."


def _read(path: Path) -> dict[str, Any]:
    """Return what a file holds; lines of JSON are numbered from 1."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".jsonl":
        return {"run": {str(i): json.loads(line) for i, line in enumerate(text.splitlines(), 1)}}
    values: dict[str, Any] = json.loads(text)
    return values if any(not isinstance(value, dict) for value in values.values()) else {"": values}


def tables(values: dict[str, Any], columns: tuple[str, ...] = (), name: str = "") -> Iterator[str]:
    """Yield plain figures as one table, and groups that are alike as another one with a row for each."""
    groups = {key: value for key, value in values.items() if isinstance(value, dict)}
    single = {key: value for key, value in values.items() if _shown(value)}
    if single:
        yield from table((name or "figure", ""), ([_words(key), _value(value)] for key, value in single.items()))
    rows = {key: _flat(value) for key, value in groups.items()}
    shared = [set(row) for row in rows.values()]
    if len(rows) > 1 and set.intersection(*shared):
        heads = columns or tuple(dict.fromkeys(key for row in rows.values() for key in row))
        cells = ([_words(key), *(_value(row.get(head)) for head in heads)] for key, row in rows.items())
        yield from table((name, *map(_words, heads)), cells)
    else:
        for key, value in groups.items():
            yield from tables(value, columns, " ".join(filter(None, (name, _words(key)))))


def _shown(value: Any) -> bool:
    return isinstance(value, str | int | float) or value is None


def _flat(values: dict[str, Any], before: str = "") -> dict[str, Any]:
    """Return the figures of a group by their paths, without lists and what would need a column for each chord."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and key not in LEFT_OUT:
            found |= _flat(value, f"{before}{key}/")
        elif _shown(value):
            found[before + key] = value
    return found


def _words(path: str) -> str:
    """Return a path as one reads it, units of measure behind their names."""
    return plain(", ".join(map(_word, path.split("/"))))


def _word(key: str) -> str:
    name, _, unit = key.rpartition("_")
    measured = unit in UNITS and name and not name.endswith("per")
    return (f"{name}, {UNITS[unit]}" if measured else key).replace("_", " ")


def _value(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 10_000 else f"{value:.0f}"
    return code(value) if isinstance(value, str) else str(value)
