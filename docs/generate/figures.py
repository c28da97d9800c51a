"""The page of measured figures, made from the files that the measuring commands wrote."""

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

Each table shows a file in `docs/{FOLDER}`. The command above the table wrote that file. All times come from one
machine, so compare them only with each other. The [memories' cards](models/guitar.md) describe the corpora `chords`,
`long`, `thirty-six` and `plucked`.
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
AS_ASKED = (
    "A chroma template names each chord; `accuracy` is the share that it names as asked. The same for clips of guitars "
    "that were held out."
)
BESIDE = (
    "The table compares sounds of the memory with clips of guitars that were held out, and with the same clips after "
    "they were made a mel and then sound again."
)
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
        "chords-36.json",
        "Chords of chords",
        ("python benchmarks/chords.py chords --per-class 64 --against thirty-six",),
        AS_ASKED,
    ),
    Figures(
        "notes.json",
        "Notes of notes",
        ("python benchmarks/notes.py notes --per-class 32 --against plucked",),
        "Another pitch tracker listens; `accuracy` is the share of notes within 50 cents of their label. The same for "
        "clips of guitars that were held out.",
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
        "The fraction of units forgotten at which half of the chords are still named, and that at which the last one "
        "is; for all units, and for each layer alone. [guitar](models/guitar.md) shows the curves.",
    ),
    Figures(
        "render.json",
        "The demo piece",
        ("python benchmarks/render.py",),
        "The table compares the project with the common way of inverting mels.",
    ),
    Figures(
        "commands.jsonl",
        "Whole commands",
        ("python benchmarks/commands.py --rounds 3 --before CHECKOUT",),
        "Each command ran from start to end in a process of its own. The table compares it with the common way, and "
        "with the last version whose playing needed PyTorch.",
    ),
    Figures(
        "composition.json",
        "A loop that is composed",
        ("python benchmarks/composition.py",),
        "Three minutes with the default settings, and the common way: random order, linear pace, no loudness hold.",
    ),
    Figures(
        "night.json",
        "A night",
        ("python benchmarks/night.py",),
        "The table compares a long piece with one minute of it.",
    ),
    Figures(
        "kill.jsonl",
        "Killed at random points",
        ("python benchmarks/kill.py",),
        "Commands were killed (SIGKILL) and started again. The table counts after how many kills every file under a "
        "final name was whole, the work went on, and the result was that of the undisturbed command.",
    ),
    Figures(
        "film.json",
        "A film",
        ("python benchmarks/film.py",),
        "A film of ten minutes at 1080p and 30 frames a second, in which everything dies three times. The film was "
        "decoded to find when this is seen and when it is heard. For comparison: a film of one minute, and how fast "
        "matplotlib draws the same.",
    ),
    Figures(
        "performance.json",
        "Played block by block",
        ("python benchmarks/performance.py",),
        "Two chords sound, without a clock or a page. The table shows the load of a core, steps between samples, the "
        "time from a change to its sound, the level of a held sound, and how close chords come to their mels, live and "
        "rendered at `final`.",
    ),
    Figures(
        "live.json",
        "Played live",
        ("python benchmarks/live.py --minutes 30",),
        "A script performs over the real sockets, beside a listener and 200 OSC messages a second. The take of the "
        "first two minutes is rendered. Before that, a page ran in a headless Chromium. The first start, which "
        "compiles loops, does not count.",
    ),
    Figures(
        "keys.json",
        "Played by keys",
        ("python benchmarks/keys.py two.toml --seconds 300 --voice 2 --loop",),
        "A script presses eight keys a second, which `notes` plays, over the loop of `guitar`, and moves the master "
        "fader. The take is rendered again.",
    ),
    Figures(
        "share.json",
        "A shared page",
        ("python benchmarks/share.py --minutes 10",),
        "A page was opened from the disk in a headless Chromium, and played. The table shows the time from the press "
        "to the sound, the engine's load of a core beside that of the engine in Python, the time from a control to its "
        "sound, gaps, pictures a second, and the memory of the page's process early and at the end.",
    ),
    Figures(
        "inversion.json",
        "From mel to sound",
        ("python benchmarks/inversion.py guitar --against chords --air wide --clips 24 --latents 1",),
        "[Inversion](inversion.md) explains the columns.",
    ),
    Figures(
        "neural_vocoder.json",
        "A network straight from mel to sound",
        ("python benchmarks/neural_vocoder.py guitar --against chords --minutes 21",),
        "This network was compared with the vocoder that ships. The project does not use it.",
    ),
    Figures(
        "recipes.json",
        "Recipes of training",
        (
            "fugue train chords -o run --steps STEPS OPTIONS",
            "fugue measure run --against chords --per-class 16 --json",
        ),
        "[Training](training.md#recipes-side-by-side) lists the options of each run.",
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
        "sampler.json",
        "The stages of a sampler's pack",
        ("python benchmarks/sampler.py guitar",),
    ),
    Figures(
        "few.json",
        "Forty clips in a quarter of an hour",
        ("python benchmarks/few.py --minutes 15",),
        "`-- --precision fp32` was added, as on a processor without bfloat16 instructions. " + BESIDE,
    ),
    Figures(
        "quarter-hour.json",
        "A quarter of an hour from a folder",
        (
            "fugue train chords -o run --minutes 12 --save-minutes 1.5",
            "fugue measure run --against chords --per-class 64 --json",
        ),
        "This run had two cores without bfloat16 instructions. " + BESIDE,
    ),
    Figures(
        "training.jsonl",
        "Steps of training",
        (
            "python benchmarks/training.py --rounds 5 --steps 6",
            "python benchmarks/training.py --device cuda --steps 100",
            "python benchmarks/training.py --device cuda --batch 128 --steps 50",
        ),
        "The table compares training here with a plain PyTorch loop of the same networks and batch.",
    ),
    Figures(
        "unlabelled.json",
        "Without labels",
        ("python benchmarks/unlabelled.py chords --feature-maps 32 --steps 1500 --per-label 32",),
        "One memory learned with clusters as labels, the other without labels.",
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
