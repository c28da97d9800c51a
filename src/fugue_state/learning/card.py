"""The card of a memory: what it learned from, how, how well, and how to play it."""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from fugue_state.config import MEASURE_PER_CLASS, MelSpec, ModelConfig, Seed, TrainConfig
from fugue_state.corpus.cache import Cache, find_cache
from fugue_state.corpus.folder import Corpus
from fugue_state.corpus.mels import load_mels
from fugue_state.errors import InputError, counted
from fugue_state.files import output_path, replacing
from fugue_state.learning.memory_exam import Examiner
from fugue_state.learning.memory_training import MemoryRun
from fugue_state.learning.run import Watcher, read_settings
from fugue_state.learning.trend import trend
from fugue_state.look.saved import save_figure
from fugue_state.look.theme import DEFAULT, Theme
from fugue_state.measure.memory import measure_memory, memory_figure
from fugue_state.memory.catalogue import MEMORY_FILE, RUN_FILE, DataSource, MemoryHeader
from fugue_state.memory.checkpoint import file_hash
from fugue_state.memory.memory import Memory
from fugue_state.output.provenance import made_with
from fugue_state.settings import Settings, checked

CARD_TEXT, CARD_FILE, CARD_SHEET = "card.md", "card.json", "card.png"
UNKNOWN = "unknown"
HISTORY_ROWS = 12
ALIKE = 0.7  # a smaller spread is mentioned under the limits
WEAK = 0.9  # ... and so is a chord that is named correctly less often than this
SHARES = ("accuracy", "worst_class")
SPECIAL = re.compile(r"([\\`*_{}\[\]<>|~#&!:@$])")
MEASURED = "`fugue measure` found this; its distances see more detail, so they are larger:"
MEANINGS = {
    "score": "score, lower is better: distance / accuracy^8",
    "accuracy": "named as asked",
    "worst_class": "... of the label it knows worst",
    "clarity": "clarity, 0 to 1",
    "cents": "median distance from the note asked, in cents",
    "frechet": "Frechet distance to real clips",
    "frechet_real": "... of training clips to the same clips",
    "kid": "kernel distance to real clips, about 0 if they are alike",
    "spread": "how far samples of a class lie apart, 1 as far as training clips",
    "held_out": "held-out clips it was compared with",
}


class Card(Settings):
    """The contents of `card.json`.

    `measures` are the figures of an Examiner, `history` those of every checkpoint (as for `trend`), `measured` those of
    `measure_memory`. `minutes` is how long it was trained, `sheet` the path of a picture within the folder.
    """

    name: str
    version: str
    fingerprint: str = ""
    data: tuple[DataSource, ...] = ()
    mel: MelSpec
    model: ModelConfig
    train: TrainConfig | None = None
    seed: int = Seed
    steps: int = Field(ge=0)
    minutes: float | None = Field(default=None, ge=0)
    measures: dict[str, float] = Field(default_factory=dict)
    measured: dict[str, Any] = Field(default_factory=dict)
    history: tuple[dict[str, float], ...] = ()
    sheet: str | None = None

    @classmethod
    def of(cls, header: MemoryHeader, **known: Any) -> Card:
        """Return the card of a memory, with further known values; InputError for a figure that is not finite.

        Without `minutes`, they are taken from the history.
        """
        about = {key: value for key, value in header.model_dump().items() if key in cls.model_fields}
        history: Sequence[Mapping[str, float]] = known.get("history") or ({},)
        if known.get("minutes") is None:
            known["minutes"] = history[-1].get("minutes")
        return checked(cls, about | known | {"measured": _finite(known.get("measured", {}))})


def write_card(folder: Path, card: Card, *, force: bool = False) -> tuple[Path, Path]:
    """Write `card.md` and `card.json` of the memory in a run folder; return both paths.

    Raises InputError if a card exists and `force` is not set.
    """
    text, values = (output_path(folder / name, force=force) for name in (CARD_TEXT, CARD_FILE))
    card = card.model_copy(update={"fingerprint": _fingerprint(folder)})
    with replacing(values) as beside:
        beside.write_text(json.dumps(card.model_dump(mode="json"), indent=1), encoding="utf-8")
    with replacing(text) as beside:
        beside.write_text(as_markdown(card, folder.resolve().name), encoding="utf-8")
    return text, values


def read_card(folder: Path) -> Card:
    """Return the card in a run folder; InputError if there is none or it is damaged."""
    path = folder / CARD_FILE
    if not path.is_file():
        raise InputError(f"{path}: no such card")
    try:
        return checked(Card, dict(json.loads(path.read_text(encoding="utf-8"))))
    except (ValueError, TypeError, InputError) as error:
        raise InputError(f"{path}: damaged or of another version ({error})") from None


def write_run_card(
    folder: Path,
    against: Corpus | None = None,
    *,
    per_class: int = MEASURE_PER_CLASS,
    force: bool = False,
    cache: Cache | None = None,
    theme: Theme = DEFAULT,
    watcher: Watcher | None = None,
) -> tuple[Path, Path]:
    """Write the card of a run from what is in its folder, with a new sheet; measure it against a corpus if given.

    Values of an earlier card of the same memory are kept. Raises InputError if there is no such
    folder, or a card exists and `force` is not set; CheckpointError if there is no complete memory.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such run folder")
    for name in (CARD_TEXT, CARD_FILE, CARD_SHEET):
        output_path(folder / name, force=force)
    memory, watcher = Memory.load(folder), watcher or Watcher()
    before = _card_before(folder, memory, watcher)
    figures, measured = memory.header.metrics or before.measures, before.measured
    if against is not None:
        cache = cache or find_cache(watcher.note)
        learned = load_mels(against, memory.spec, cache, track=watcher.track)
        examiner = Examiner(memory.spec, memory.labels, learned, against, track=watcher.track)
        figures = examiner(memory.generator, memory.header)
        measured = measure_memory(memory, against, per_class=per_class, cache=cache, track=watcher.track)[0]
    save_figure(memory_figure(memory, theme), folder / CARD_SHEET, made_with(memory))
    train = read_settings(folder, MemoryRun).train if (folder / RUN_FILE).is_file() else before.train
    card = Card.of(
        memory.header,
        train=train,
        minutes=before.minutes,
        measures=figures,
        measured=measured,
        history=before.history,
        sheet=CARD_SHEET,
    )
    return write_card(folder, card, force=force)


def _card_before(folder: Path, memory: Memory, watcher: Watcher) -> Card:
    """Return the earlier card: its history and settings in any case, its figures only if the memory is the same."""
    empty = Card.of(memory.header)
    if not (folder / CARD_FILE).is_file():
        return empty
    try:
        before = read_card(folder)
    except InputError as error:
        watcher.note(f"{error}; nothing is taken over from it")
        return empty
    if before.fingerprint == memory.fingerprint:
        return before
    return empty.model_copy(update={"history": before.history, "train": before.train})


def _fingerprint(folder: Path) -> str:
    path = folder / MEMORY_FILE
    return file_hash(path) if path.is_file() else ""


def _finite(value: Any) -> Any:
    """Return nested figures with None for values that JSON cannot hold, such as an infinite decay time."""
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def as_markdown(card: Card, folder: str) -> str:
    """Return the card as Markdown; `folder` is the name of the run folder, for the examples."""
    classes = f"{counted(len(card.model.labels), 'class', 'classes')} ({', '.join(map(escape, card.model.labels))})"
    parts = [
        f"# {escape(card.name)}",
        f"A memory of {classes if card.model.labels else 'sounds without labels'}, {card.mel.duration_s:.2f} s each.",
        f"![Samples of every class, from the same latents]({card.sheet})" if card.sheet else "",
        _table(("", ""), _about(card)),
        "## What it learned from",
        *_sources(card),
        "## How to play it",
        _commands(folder),
        "## What it measures",
        *_measures(card),
        "## Limits",
        "\n".join(f"- {line}" for line in _limits(card)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def escape(text: str) -> str:
    """Return text that Markdown shows literally, on one line, even in a table."""
    return SPECIAL.sub(r"\\\1", _plain(text))


def _words(key: str) -> str:
    return escape(key.replace("_", " "))


def _plain(text: str) -> str:
    """Return text on one line that can be encoded as UTF-8, whatever bytes a file name contained."""
    readable = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(c if c.isprintable() else " " for c in readable)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _about(card: Card) -> list[tuple[str, str]]:
    mel, model, train = card.mel, card.model, card.train
    image = (
        f"{mel.sample_rate_hz} Hz, {mel.n_fft}/{mel.hop}, {mel.n_mels} {mel.scale} bands "
        f"{mel.fmin_hz:g}-{mel.fmax_hz:g} Hz, {mel.frames} frames, {mel.range_db:g} dB"
    )
    network = (
        f"DCGAN, {model.latent_size}-d latent, {counted(model.feature_maps, 'feature map')}, "
        f"{counted(model.units, 'unit')} in {counted(len(model.layers), 'layer')}"
    )
    took = "" if card.minutes is None else f", {counted(round(card.minutes), 'minute')}"
    rows = [("mel", image), ("network", network), ("trained", f"{counted(card.steps, 'step')}{took}")]
    if train is not None:
        settings = [f"{_words(key)} {escape(str(value))}" for key, value in train.model_dump().items()]
        rows.append(("settings", ", ".join(settings)))
    return [*rows, ("made with", f"version {escape(card.version)}, seed {card.seed}")]


def _sources(card: Card) -> list[str]:
    parts = []
    if card.data:
        rows = [(escape(source.name), str(source.clips), escape(source.licence)) for source in card.data]
        parts.append(_table(("sounds", "clips", "licence"), rows))
    if not card.data or any(source.licence.strip().casefold() in ("", UNKNOWN) for source in card.data):
        parts.append("> **Warning:** the licence of these sounds is not known; ask before you share what it plays.")
    return parts


def _commands(folder: str) -> str:
    name = shlex.quote(_plain(folder))
    return (
        "In the folder that holds this run:\n\n"
        f"```\nfugue sample -m {name} -o sounds\nfugue forget -m {name} -o piece.wav\n```"
    )


def _measures(card: Card) -> list[str]:
    if not card.measures and not card.measured:
        return ["Nothing was measured; `fugue card RUN --against CORPUS` does it."]
    parts = []
    if card.measures:
        keys = [key for key in MEANINGS if key in card.measures]
        keys += [key for key in card.measures if key not in MEANINGS]
        rows = [(MEANINGS.get(key, escape(key)), _number(key, card.measures[key])) for key in keys]
        parts.append(_table(("", ""), rows))
    if card.history:
        parts += [trend(card.history), _history(card.history)]
    if card.measured:
        parts += [MEASURED, *_measured(card.measured)]
    return parts


def _history(history: Sequence[Mapping[str, float]]) -> str:
    """Return a table of evenly chosen checkpoints, including the first and the last."""
    keys = [key for key in ("step", "minutes", *MEANINGS) if any(key in entry for entry in history)]
    last = len(history) - 1
    chosen = sorted({round(i * last / (HISTORY_ROWS - 1)) for i in range(HISTORY_ROWS)})
    rows = [[_number(k, history[i][k]) if k in history[i] else "" for k in keys] for i in chosen]
    return _table([_words(key) for key in keys], rows)


def _measured(measured: Mapping[str, Any]) -> list[str]:
    """Return a table for each group of sound sets, and one for all other numbers."""
    parts = []
    for group in ("chords", "notes", "distance", "timbre"):
        sets: Mapping[str, Mapping[str, Any]] = measured.get(group, {})
        keys = list(dict.fromkeys(k for values in sets.values() for k, v in values.items() if _is_number(v)))
        if keys:
            rows = [(_words(name), *(_number(k, values.get(k)) for k in keys)) for name, values in sets.items()]
            parts.append(_table((group, *map(_words, keys)), rows))
    guitars = measured.get("coverage", {}).get("guitars", {})
    rows = [(_words(key), _number(key, value)) for key, value in measured.get("novelty", {}).items()]
    rows += [(f"nearest to {escape(name)}", f"{100 * share:.0f} %") for name, share in guitars.items()]
    return [*parts, _table(("", ""), rows)] if rows else parts


def _limits(card: Card) -> list[str]:
    figures, mel = card.measures, card.mel
    lines = [
        f"Every sound is mono, {mel.duration_s:.2f} s long, and holds nothing above {mel.fmax_hz:g} Hz.",
        _held_out(figures.get("held_out")),
        _copies(card.measured.get("novelty", {}).get("copies")),
    ]
    if not card.model.labels:
        lines.append("It learned without labels: one cannot ask it for a chord.")
    if "cents" in figures:
        lines.append("Notes are named by a pitch tracker after the way back to sound, not by a listener.")
    elif "accuracy" in figures:
        lines.append("Chords are named by a chroma template after the way back to sound, not by a listener.")
    if figures.get("worst_class", 1.0) < WEAK:
        lines.append(f"What it knows worst is named as asked {_number('worst_class', figures['worst_class'])}.")
    if figures.get("spread", 1.0) < ALIKE:
        lines.append(f"Its samples of a class are alike: they lie {figures['spread']:.2f} times as far apart as clips.")
    return lines


def _held_out(clips: float | None) -> str:
    if clips is None:
        return "It was not compared with held-out clips."
    if clips == 0:
        return "No clips were held out: it was compared with training clips, which flatters it."
    return f"It was compared with {counted(round(clips), 'clip that was', 'clips that were')} held out."


def _copies(copies: float | None) -> str:
    if copies is None:
        return "Whether it copies training clips was not measured; `fugue card RUN --against CORPUS` does it."
    if copies == 0:
        return "None of the sounds measured is a copy: training clips lie as near to each other."
    one, many = "sound is nearly a copy of a training clip", "sounds are nearly copies of training clips"
    return f"Of what was measured, {counted(round(copies), one, many)}."


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _number(key: str, value: Any) -> str:
    if not _is_number(value):
        return ""
    if key in SHARES:
        return f"{100 * value:.1f} %"
    return f"{value:.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
