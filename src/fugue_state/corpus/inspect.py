"""What is in a folder of sounds, file by file."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import soundfile
import torch

from fugue_state.audio import reading
from fugue_state.audio.mel import MelTransform
from fugue_state.config import ClipConfig, MelSpec
from fugue_state.corpus.advice import ClipFacts, advise, clip_facts
from fugue_state.corpus.clips import prepare
from fugue_state.corpus.folder import Corpus
from fugue_state.errors import AudioError
from fugue_state.look.sheet import Row, sheet_figure
from fugue_state.look.theme import DEFAULT, Theme
from fugue_state.progress import Track, untracked

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHEET_COLUMNS = 8
FLAT = "(no label)"


@dataclass(frozen=True)
class Inspection:
    """Counts of a corpus; every unreadable file with its reason."""

    root: str
    readable: int
    classes: dict[str, dict[str, int]]
    guitars: dict[str, int]
    sample_rates_hz: dict[int, int]
    channels: dict[int, int]
    duration_s: dict[str, float]
    unreadable: dict[str, str]
    warnings: list[str]


def inspect_corpus(corpus: Corpus, track: Track = untracked) -> Inspection:
    """Open every file of a corpus and count; unreadable, silent and damaged ones are named."""
    durations: list[float] = []
    classes: dict[str, Counter[str]] = {}
    guitars: dict[str, set[str]] = {}
    rates: Counter[int] = Counter()
    channels: Counter[int] = Counter()
    unreadable: dict[str, str] = {}
    learned: list[tuple[ClipFacts, str]] = []
    for clip in track(corpus.clips, len(corpus.clips), "reading"):
        try:
            samples, rate = reading.read(clip.path)
        except AudioError as error:
            unreadable[str(clip.path)] = str(error).removeprefix(f"{clip.path}: ")
            continue
        durations.append(len(samples) / rate)
        if clip.split == "Training":
            learned.append((clip_facts(clip.path, samples, rate), clip.label or ""))
        classes.setdefault(clip.split, Counter())[clip.label or FLAT] += 1
        guitars.setdefault(clip.split, set()).add(clip.guitar)
        rates[rate] += 1
        channels[soundfile.info(clip.path).channels] += 1
    named = [label for _, label in learned] if corpus.labels else []
    spread = np.quantile(durations, (0.0, 0.5, 1.0)) if durations else (0.0, 0.0, 0.0)
    return Inspection(
        root=str(corpus.root),
        readable=len(durations),
        classes={split: dict(sorted(count.items())) for split, count in classes.items()},
        guitars={split: len(names) for split, names in guitars.items()},
        sample_rates_hz=dict(rates),
        channels=dict(channels),
        duration_s=dict(zip(("shortest", "median", "longest"), (round(float(d), 2) for d in spread), strict=True)),
        unreadable=unreadable,
        warnings=[*corpus.warnings, *advise([facts for facts, _ in learned], MelSpec(), classes=named)],
    )


def corpus_figure(corpus: Corpus, spec: MelSpec, theme: Theme = DEFAULT) -> Figure:
    """Draw the mels of some clips of each class, spread evenly over the class."""
    transform, config = MelTransform(spec), ClipConfig()
    rows: list[Row] = []
    for label in corpus.labels or (None,):
        clips = [c for c in corpus.clips if c.label == label]
        mels = []
        for clip in clips[:: max(1, len(clips) // SHEET_COLUMNS)][:SHEET_COLUMNS]:
            try:
                samples, _ = reading.read(clip.path, spec.sample_rate_hz)
            except AudioError:
                continue
            ready = prepare(samples, spec.sample_rate_hz, spec.samples, config)
            mels.append(transform.encode(torch.from_numpy(ready)[None])[0].numpy())
        rows.append(((f"{label or FLAT}: {len(clips)} clips",), mels))
    return sheet_figure(rows, theme)
