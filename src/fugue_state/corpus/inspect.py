"""An inventory of a folder of sounds, file by file."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fugue_state.audio.mel import MelTransform
from fugue_state.config import ClipConfig, MelSpec
from fugue_state.corpus.advice import ClipFacts, advise, clip_facts
from fugue_state.corpus.folder import Corpus, Understood
from fugue_state.corpus.slices import read_clips, ready
from fugue_state.errors import counted
from fugue_state.look.sheet import Row, sheet_figure
from fugue_state.look.theme import DEFAULT, Theme
from fugue_state.progress import Track, untracked

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHEET_COLUMNS = 8
FLAT = "(no label)"


@dataclass(frozen=True)
class Inspection:
    """Counts of a corpus, and every unreadable file with its reason."""

    root: str
    readable: int
    classes: dict[str, dict[str, int]]
    recordings: dict[str, int]
    groups: dict[str, int]
    sample_rates_hz: dict[int, int]
    channels: dict[int, int]
    duration_s: dict[str, float]
    unreadable: dict[str, str]
    understood: dict[str, Understood]
    left_out: dict[str, list[str]]
    warnings: list[str]


def inspect_corpus(corpus: Corpus, track: Track = untracked) -> Inspection:
    """Open every file of a corpus and count; unreadable, silent and damaged files are listed."""
    durations: list[float] = []
    classes: dict[str, Counter[str]] = {}
    groups: dict[str, set[str]] = {}
    recordings: dict[str, set[Path]] = {}
    rates: Counter[int] = Counter()
    channels: Counter[int] = Counter()
    unreadable: dict[str, str] = {}
    learned: list[tuple[ClipFacts, str]] = []
    for heard in track(read_clips(corpus.clips), len(corpus.clips), "reading"):
        clip, rate = heard.clip, heard.sample_rate_hz
        if heard.fault:
            unreadable[clip.name] = heard.fault
            continue
        durations.append(len(heard.samples) / rate)
        if clip.split == "Training":
            learned.append((clip_facts(clip, heard.samples, rate), clip.label or ""))
        classes.setdefault(clip.split, Counter())[clip.label or FLAT] += 1
        groups.setdefault(clip.split, set()).add(clip.group)
        recordings.setdefault(clip.split, set()).add(clip.path)
        rates[rate] += 1
        channels[heard.channels] += 1
    named = [label for _, label in learned] if corpus.labels else []
    spread = np.quantile(durations, (0.0, 0.5, 1.0)) if durations else (0.0, 0.0, 0.0)
    return Inspection(
        root=str(corpus.root),
        readable=len(durations),
        classes={split: dict(sorted(count.items())) for split, count in classes.items()},
        recordings={split: len(paths) for split, paths in recordings.items()},
        groups={split: len(names) for split, names in groups.items()},
        sample_rates_hz=dict(rates),
        channels=dict(channels),
        duration_s=dict(zip(("shortest", "median", "longest"), (round(float(d), 2) for d in spread), strict=True)),
        unreadable=unreadable,
        understood=corpus.understood,
        left_out=corpus.left_out,
        warnings=[*corpus.warnings, *advise([facts for facts, _ in learned], MelSpec(), classes=named)],
    )


def corpus_figure(corpus: Corpus, spec: MelSpec, theme: Theme = DEFAULT) -> Figure:
    """Draw the mels of some clips of each class, picked evenly over the class."""
    transform, config = MelTransform(spec), ClipConfig()
    rows: list[Row] = []
    for label in corpus.labels or (None,):
        clips = [c for c in corpus.clips if c.label == label]
        mels = []
        for heard in read_clips(clips[:: max(1, len(clips) // SHEET_COLUMNS)][:SHEET_COLUMNS]):
            if not heard.fault:
                sound = ready(heard, spec.sample_rate_hz, spec.samples, config)
                mels.append(transform.encode(sound[None])[0])
        rows.append(((f"{label or FLAT}: {counted(len(clips), 'clip')}",), mels))
    return sheet_figure(rows, theme)
