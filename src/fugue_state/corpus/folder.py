"""Folders of sounds: the Guitar Chords V2 layout, class folders, or one flat folder."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from fugue_state.audio import reading
from fugue_state.errors import CorpusError

SPLITS = {"training": "Training", "train": "Training", "test": "Test"}
V2_LABELS = ("Am", "Bb", "Bdim", "C", "Dm", "Em", "F", "G")
V2_CLIPS = {"Training": 180, "Test": 40}
# The take at the end of a name: `_1`, `_-01`, `_4.`, `_1 17.51.39`.
TAKE = re.compile(r"(_-?\d[\d.]*)+\.?$")
SPELLINGS = (("acustiic", "acustic"), ("acusticbg", "acusticgb"))
DEEPEST = 3
MANIFEST = "corpus.json"  # left by the builder beside the splits


@dataclass(frozen=True)
class Clip:
    """One sound file: its label (None in a flat folder), guitar and split."""

    path: Path
    label: str | None
    guitar: str
    split: str


@dataclass
class Corpus:
    """All clips of a folder, their labels in order, and what is odd about them."""

    root: Path
    clips: list[Clip]
    labels: tuple[str, ...]
    warnings: list[str] = field(default_factory=list)

    def part(self, split: str) -> list[Clip]:
        """Return the clips of one split."""
        return [c for c in self.clips if c.split == split]


def read_corpus(root: str | Path) -> Corpus:
    """Find the clips of a folder without opening them.

    `root` may hold Training and Test, be any parent of such a folder or one split of it, hold
    class folders, or be flat. Labels are the names of the class folders, whatever their case.
    Raises CorpusError if there is no folder or no sound in it.
    """
    root = Path(root)
    if not root.is_dir():
        raise CorpusError(f"{root}: no such folder")
    splits = _splits(root)
    corpus = Corpus(root, [], ())
    labels: dict[str, str] = {}
    for folder, split in splits or [(root, "Training")]:
        corpus.clips += _read_split(folder, split, labels, corpus.warnings)
    if not corpus.clips:
        raise CorpusError(f"{root}: no sound file in it (looked for {', '.join(reading.ENDINGS)})")
    corpus.labels = tuple(sorted(labels.values()))
    corpus.clips = _merge_guitars(corpus.clips)
    if splits and not any((folder.parent / MANIFEST).is_file() for folder, _ in splits):
        corpus.warnings += _unlike_v2(corpus)
    return corpus


def _splits(folder: Path, depth: int = 0) -> list[tuple[Path, str]]:
    """Return the split folders of the nearest folder below that holds a Training or a Test."""
    children = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    found = [(p, SPLITS[p.name.casefold()]) for p in children if p.name.casefold() in SPLITS]
    if any(split == "Training" for _, split in found):
        return sorted(found, key=lambda pair: pair[1] != "Training")  # its spelling of a label is the one kept
    for child in children if depth < DEEPEST else []:
        below = _splits(child, depth + 1)
        if below:
            return below
    return []


def _read_split(folder: Path, split: str, labels: dict[str, str], warnings: list[str]) -> list[Clip]:
    """Read one split: class folders if any holds a sound, else flat. `labels` grows by fold."""
    by_class = {p: reading.sound_files(p) for p in sorted(folder.iterdir()) if p.is_dir()}
    by_class = {p: files for p, files in by_class.items() if files}
    loose = [p for p in reading.sound_files(folder) if p.parent == folder]
    if not by_class:
        return [Clip(path, None, guitar_of(path, ""), split) for path in loose]
    if loose:
        warnings.append(f"{folder}: {len(loose)} file(s) lie beside the class folders and are left out")
    clips = []
    for place, files in by_class.items():
        label = labels.setdefault(place.name.casefold(), place.name)
        clips += [Clip(path, label, guitar_of(path, place.name), split) for path in files]
    return clips


def guitar_of(path: Path, label: str) -> str:
    """Return the guitar a file name tells of: the name without chord and take, spelt one way."""
    stem = path.name
    while Path(stem).suffix.casefold() in reading.ENDINGS:
        stem = Path(stem).stem
    name = re.sub(r"\s+", "", stem).casefold()
    name = name.removeprefix(f"{label.casefold()}_") if label else name
    name = TAKE.sub("", name)
    for wrong, right in SPELLINGS:
        name = name.replace(wrong, right)
    return name


def _merge_guitars(clips: list[Clip]) -> list[Clip]:
    """Join a guitar whose player is missing from some names to the only one that it can be."""
    names: dict[str, set[str]] = defaultdict(set)
    for clip in clips:
        names[clip.split].add(clip.guitar)
    merged = []
    for clip in clips:
        longer = [n for n in names[clip.split] if n.startswith(f"{clip.guitar}_")]
        guitar = longer[0] if len(longer) == 1 else clip.guitar
        merged.append(Clip(clip.path, clip.label, guitar, clip.split))
    return merged


def _unlike_v2(corpus: Corpus) -> list[str]:
    """Say where a corpus with the labels of Guitar Chords V2 has other counts than that one."""
    if {x.casefold() for x in corpus.labels} != {x.casefold() for x in V2_LABELS}:
        return []
    counts = Counter((c.split, c.label) for c in corpus.clips)
    odd = [
        f"{split}/{label} has {counts[split, label]} clips, not {usual}"
        for split, usual in V2_CLIPS.items()
        for label in corpus.labels
        if counts[split, label] != usual
    ]
    return [f"counts differ from Guitar Chords V2: {'; '.join(odd)}"] if odd else []
