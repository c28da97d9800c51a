"""Folders of sounds: the layout of Guitar Chords V2, class folders, or one flat folder."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from fugue_state.audio.reading import is_sound
from fugue_state.corpus.scan import APART, BESIDE, MANIFEST, Folder, LeftOut, scan, told
from fugue_state.errors import CorpusError, counted, shown
from fugue_state.progress import Track, untracked
from fugue_state.score.names import MISREAD, quote

SPLITS = {"training": "Training", "train": "Training", "test": "Test", "testing": "Test"}
HELD_OUT = {"validation", "valid", "val", "dev", "eval", "evaluation"}  # Test if there is none, else left out
V2_LABELS = ("Am", "Bb", "Bdim", "C", "Dm", "Em", "F", "G")
V2_CLIPS = {"Training": 180, "Test": 40}
# The number of a take at the end of a name: `_1`, `_-01`, `_4.`, `_1 17.51.39`.
TAKE = re.compile(r"(_-?\d[\d.]*)+\.?$")
SPELLINGS = (("acustiic", "acustic"), ("acusticbg", "acusticgb"))
DEEPEST = 3
MOST_NAMED = 3  # names shown in one line


@dataclass(frozen=True)
class Clip:
    """A sound file, or a part of it: its label (None in a flat folder), group and split.

    `group` is the part of the file name that clips of one guitar or player share. `start_s` and `length_s` are set for
    a part cut from a longer recording, None for a whole file.
    """

    path: Path
    label: str | None
    group: str
    split: str
    start_s: float | None = None
    length_s: float | None = None

    @property
    def name(self) -> str:
        """The file, and for a part where it begins."""
        return str(self.path) if self.start_s is None else f"{self.path} from {self.start_s:.2f} s"


@dataclass(frozen=True)
class Understood:
    """How many clips got a note as their label by the file's name and by ear, and how many of these are doubtful."""

    by_name: int = 0
    by_ear: int = 0
    doubtful: int = 0


@dataclass
class Corpus:
    """All clips of a folder, their labels in order, warnings, and the files left out.

    `understood` has an entry for every label, if labels are notes found by the name or pitch of each sound.
    """

    root: Path
    clips: list[Clip]
    labels: tuple[str, ...]
    warnings: list[str] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=dict)
    understood: dict[str, Understood] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of its folder, reduced to printable characters."""
        return readable(self.root.resolve().name)

    def part(self, split: str) -> list[Clip]:
        """Return the clips of one split."""
        return [c for c in self.clips if c.split == split]

    def notes(self) -> list[str]:
        """Return a line for every warning, and for every kind of files left out."""
        return [*self.warnings, *told(self.left_out)]


def read_corpus(root: str | Path, track: Track = untracked, *, classes: bool = True) -> Corpus:
    """Find the clips of a folder without reading them.

    `root` may contain Training and Test, be a parent of such a folder or one of its splits, contain
    class folders, or be flat. Labels are the names of the class folders, ignoring case; without `classes`, folders
    mean nothing, and no clip has a label.
    Raises CorpusError if there is no folder or no sound in it.
    """
    root = Path(root)
    tree, left_out = scan(root, track)
    corpus = Corpus(root, [], (), left_out=left_out)
    corpus.clips, labels = _clips(tree if classes else _flat(tree), corpus)
    if not corpus.clips:
        why = "; ".join(told(left_out))
        raise CorpusError(f"{root}: no sound file in it" + (f" ({why})" if why else ""))
    corpus.labels = tuple(sorted(labels))
    corpus.clips = _merge_groups(corpus.clips)
    corpus.warnings += _names(corpus.labels)
    return corpus


def _flat(folder: Folder) -> Folder:
    """Return a folder, or each of the splits in it, with all of its sounds directly in it."""
    splits = _splits(folder)
    if splits is None:
        return Folder(folder.path, folder.all_sounds())
    inner = [Folder(each.path, each.all_sounds()) for each in splits.folders]
    return Folder(splits.path, splits.sounds, inner, splits.built)


def _clips(tree: Folder, corpus: Corpus) -> tuple[list[Clip], Iterable[str]]:
    """Return the clips of the splits found, or else of the folder itself, and their labels."""
    splits = _splits(tree)
    labels: dict[str, str] = {}
    clips: list[Clip] = []
    if splits is None:
        odd = [f.path.name for f in tree.folders if f.path.name.casefold() in SPLITS and f.holds_sound()]
        if "Training" in {SPLITS[name.casefold()] for name in odd}:
            corpus.warnings.append(f"{', '.join(odd)}: taken for classes, since beside them other folders hold sounds")
        return _read_split(tree, "Training", labels, corpus), labels.values()
    chosen = _by_split(splits, corpus)
    for folder, split in chosen:
        clips += _read_split(folder, split, labels, corpus)
    _leave_out(corpus, BESIDE, splits.sounds)
    corpus.clips = clips
    corpus.labels = tuple(labels.values())
    if not (splits.path / MANIFEST).is_file():
        corpus.warnings += _unlike_v2(corpus)
    return clips, labels.values()


def _splits(folder: Folder, depth: int = 0) -> Folder | None:
    """Return the folder that contains Training, and sounds only in splits: this one, or the only one below it."""
    full = [inner for inner in folder.folders if inner.holds_sound()]
    names = [inner.path.name.casefold() for inner in full]
    if any(SPLITS.get(name) == "Training" for name in names):
        return folder if all(name in SPLITS or name in HELD_OUT for name in names) else None
    if depth < DEEPEST and len(full) == 1 and not folder.sounds:
        return _splits(full[0], depth + 1)
    return None


def _by_split(folder: Folder, corpus: Corpus) -> list[tuple[Folder, str]]:
    """Return the splits in a folder, Training first, because its spelling of labels is kept."""
    by_split: dict[str, list[Folder]] = defaultdict(list)
    for inner in folder.folders:
        by_split[SPLITS.get(inner.path.name.casefold(), "")].append(inner)
    others = by_split.pop("", [])
    if not any(inner.holds_sound() for inner in by_split["Test"]):
        by_split["Test"] = others
    else:
        _leave_out(corpus, APART, [path for inner in others for path in inner.all_sounds()])
    return [(inner, split) for split in ("Training", "Test") for inner in by_split[split]]


def _read_split(folder: Folder, split: str, labels: dict[str, str], corpus: Corpus) -> list[Clip]:
    """Read one split: class folders if any contains a sound, else flat. Adds to `labels`, by case-folded name."""
    by_class = {inner.path: inner.all_sounds() for inner in folder.folders}
    by_class = {path: files for path, files in by_class.items() if files}
    if not by_class:
        return [Clip(path, None, group_of(path, ""), split) for path in folder.sounds]
    if folder.sounds:
        _leave_out(corpus, BESIDE, folder.sounds)
    clips, renamed = [], []
    for place, files in by_class.items():
        name = readable(place.name)
        label = labels.setdefault(name.casefold(), name)
        clips += [Clip(path, label, group_of(path, place.name), split) for path in files]
        if name != unicodedata.normalize("NFC", place.name):
            renamed.append(f"{shown(os.fsencode(place.name))} is called {label}")
    if renamed:
        more = f" and {len(renamed) - MOST_NAMED} more" if len(renamed) > MOST_NAMED else ""
        corpus.warnings.append(
            f"names of class folders in {split} that are not UTF-8, or cannot be written: "
            f"{', '.join(renamed[:MOST_NAMED])}{more}"
        )
    return clips


def _leave_out(corpus: Corpus, kind: str, paths: list[Path]) -> None:
    if paths:
        corpus.left_out.setdefault(kind, []).extend(path.relative_to(corpus.root).as_posix() for path in paths)


def readable(name: str) -> str:
    """Return a file name in printable characters; if it is not UTF-8, it is decoded as Latin-1."""
    raw = os.fsencode(name)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    plain = "".join(c if c.isprintable() else "_" for c in unicodedata.normalize("NFC", text))
    return plain.strip() or "_"


def _names(labels: Iterable[str]) -> list[str]:
    """Say which classes must be quoted in a score or in --chords."""
    quoted = [quote(label) for label in labels if MISREAD.search(label)]
    if not quoted:
        return []
    return [f"in a score and in --chords, quotes go around names like {', '.join(quoted[:MOST_NAMED])}"]


def group_of(path: Path, label: str) -> str:
    """Return the guitar, or other group, that a file name tells: the name without chord and take, spelling unified."""
    stem = path.name
    while is_sound(stem):
        stem = Path(stem).stem
    name = re.sub(r"\s+", "", stem).casefold()
    name = name.removeprefix(f"{label.casefold()}_") if label else name
    name = TAKE.sub("", name)
    for wrong, right in SPELLINGS:
        name = name.replace(wrong, right)
    return name


def _merge_groups(clips: list[Clip]) -> list[Clip]:
    """Where a name lacks the player, join its group to the only longer one that it can belong to."""
    longer: dict[tuple[str, str], set[str]] = defaultdict(set)
    for split, group in {(clip.split, clip.group) for clip in clips}:
        for at in (i for i, c in enumerate(group) if c == "_"):
            longer[split, group[:at]].add(group)
    merged = []
    for clip in clips:
        fuller = longer.get((clip.split, clip.group), set())
        merged.append(replace(clip, group=next(iter(fuller))) if len(fuller) == 1 else clip)
    return merged


def _unlike_v2(corpus: Corpus) -> list[str]:
    """Say where a corpus with the labels of Guitar Chords V2 has other numbers of clips."""
    if {x.casefold() for x in corpus.labels} != {x.casefold() for x in V2_LABELS}:
        return []
    counts = Counter((c.split, c.label) for c in corpus.clips)
    odd = [
        f"{split}/{label} has {counted(counts[split, label], 'clip')}, not {usual}"
        for split, usual in V2_CLIPS.items()
        for label in corpus.labels
        if counts[split, label] != usual
    ]
    return [f"counts differ from Guitar Chords V2: {'; '.join(odd)}"] if odd else []
