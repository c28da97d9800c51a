"""A single walk through a folder: the sounds in it, and everything that is not material to learn from."""

from __future__ import annotations

import json
import os
import struct
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import soundfile

from fugue_state.audio.made import RECORD
from fugue_state.audio.reading import is_sound
from fugue_state.audio.riff import read_comments
from fugue_state.errors import CorpusError, a_folder
from fugue_state.progress import Track, untracked

# Left behind by operating systems, archives and file servers; names beginning with a dot count, too.
SYSTEM_NAMES = frozenset(
    {
        "__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "recycler", "recycled",
        "system volume information", "found.000", "lost+found", "@eadir", "#recycle", "#snapshot", "@recycle",
        "@recently-snapshot", "network trash folder", "temporary items", "icon\r", "__pycache__", "$extend",
    }
)  # fmt: skip
MANIFEST = "corpus.json"  # written by `build_corpus` beside its splits
RUN, RUN_PARTS = "run.json", ("mel", "data")
OWN_FILES = ("memory.safetensors", "vocoder.safetensors")
OWN_FOLDERS = frozenset({"previews", "log"})  # in a run whose folder is also that of the sounds
LARGEST_RUN = 2**20
NAMED = 3

SYSTEM = "left behind by systems"
OURS = "made by this program"
OTHERS = "no sounds"
BROKEN = "links that lead nowhere or round in circles"
CLOSED = "folders that may not be read"
BESIDE = "beside the class folders"
APART = "of other splits"

LeftOut = dict[str, list[str]]
Item = TypeVar("Item")


@dataclass
class Folder:
    """A folder: the sounds directly in it, and its subfolders, both sorted by name."""

    path: Path
    sounds: list[Path] = field(default_factory=list)
    folders: list[Folder] = field(default_factory=list)
    built: bool = False  # made by `build_corpus`

    def all_sounds(self) -> list[Path]:
        """Return the sounds in it and below, folder by folder."""
        return sorted(self._below())

    def _below(self) -> Iterator[Path]:
        yield from self.sounds
        for folder in self.folders:
            yield from folder._below()

    def holds_sound(self) -> bool:
        """Say whether a sound lies in it or below."""
        return bool(self.sounds) or any(folder.holds_sound() for folder in self.folders)


def scan(root: Path, track: Track = untracked) -> tuple[Folder, LeftOut]:
    """Walk once through a folder; return its contents, and what is left out by kind, as paths below `root`.

    Left out are files of the operating system, anything this program wrote (runs, samples, pieces, takes, built
    corpora), and files that are not sounds. But if this program made all of the sounds, they are kept.
    Raises CorpusError if there is no such folder, or it is a file.
    """
    if not root.is_dir():
        raise CorpusError(a_folder(root))
    left_out: LeftOut = defaultdict(list)
    walk = _Walk(root, left_out)
    found = walk.folder(root, (), at_root=True)
    if _holds_others(found):
        _drop_built(found, walk)
    sounds = found.all_sounds()
    ours = {path for path in track(sounds, len(sounds), "looking") if is_ours(path)}
    if len(ours) < len(sounds):
        left_out[OURS] += [walk.name(path) for path in sorted(ours)]
        _drop(found, ours)
    return found, {kind: names for kind, names in left_out.items() if names}


@dataclass
class _Walk:
    """A walk from `root`, and what it leaves out."""

    root: Path
    left_out: LeftOut

    def name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def folder(self, path: Path, above: tuple[tuple[int, int], ...], *, at_root: bool = False) -> Folder:
        """Return the contents of a folder; `above` are the folders around it, to detect links in circles."""
        found = Folder(path)
        try:
            here = path.stat()
            entries = sorted(os.scandir(path), key=lambda entry: entry.name)
        except OSError:
            self.left_out[CLOSED].append(self.name(path))
            return found
        place = (here.st_dev, here.st_ino)
        if place in above:
            self.left_out[BROKEN].append(self.name(path))
            return found
        own_run = at_root and is_run(path)
        for entry in entries:
            if entry.name == MANIFEST:  # it says how its sounds were made
                continue
            child = path / entry.name
            kind = _kind(entry, child, own_run)
            if kind:
                self.left_out[kind].append(self.name(child))
            elif entry.is_dir():
                found.folders.append(self.folder(child, (*above, place)))
            else:
                found.sounds.append(child)
        found.built = not at_root and (path / MANIFEST).is_file()
        return found


def _holds_others(folder: Folder) -> bool:
    """Say whether a folder contains sounds, at any depth, that do not belong to a built corpus."""
    return not folder.built and (bool(folder.sounds) or any(map(_holds_others, folder.folders)))


def _drop_built(folder: Folder, walk: _Walk) -> None:
    walk.left_out[OURS] += [walk.name(inner.path) for inner in folder.folders if inner.built]
    folder.folders = [inner for inner in folder.folders if not inner.built]
    for inner in folder.folders:
        _drop_built(inner, walk)


def _kind(entry: os.DirEntry[str], path: Path, in_own_run: bool) -> str:
    """Return why an entry of a folder is left out; empty for a sound or a folder to look into."""
    if is_systems(entry.name):
        return SYSTEM
    try:
        if entry.is_dir():
            return OURS if is_run(path) or (in_own_run and entry.name in OWN_FOLDERS) else ""
        if not entry.is_file():
            return BROKEN
    except OSError:  # a link to itself
        return BROKEN
    return "" if is_sound(path) else OTHERS


def is_systems(name: str) -> bool:
    """Say whether a name is one that systems leave behind, including hidden files."""
    return name.startswith(".") or name.casefold() in SYSTEM_NAMES


def is_run(folder: Path) -> bool:
    """Say whether a folder contains a training run or a memory."""
    if any((folder / name).is_file() for name in OWN_FILES):
        return True
    path = folder / RUN
    try:
        if not path.is_file() or path.stat().st_size > LARGEST_RUN:
            return False
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(values, dict) and all(part in values for part in RUN_PARTS)


def is_ours(path: Path) -> bool:
    """Say whether a sound file contains a record that this program made it."""
    try:
        with path.open("rb") as file:
            start, kind = file.read(4), file.read(4)
        if kind == b"ftyp":
            return RECORD.search(_film_comment(path)) is not None
        if start in {b"RIFF", b"RF64"}:
            return any(map(RECORD.search, read_comments(path)))
        if start == b"fLaC":
            # Opened here, because libsndfile rejects names that are not UTF-8.
            with path.open("rb") as file, soundfile.SoundFile(file) as sound:
                return RECORD.search(str(sound.comment).encode()) is not None
    except (OSError, soundfile.LibsndfileError, RuntimeError, ValueError, struct.error):
        return False  # unreadable files are reported when they are read for training
    return False


def _film_comment(path: Path) -> bytes:
    import av

    try:
        with av.open(os.fsencode(path).decode("utf-8"), metadata_errors="replace") as film:
            return str(film.metadata.get("comment", "")).encode()
    except av.FFmpegError:
        return b""


def _drop(folder: Folder, paths: set[Path]) -> None:
    folder.sounds = [path for path in folder.sounds if path not in paths]
    for inner in folder.folders:
        _drop(inner, paths)


def told(left_out: LeftOut) -> list[str]:
    """Return a line for every kind of files left out: how many, and the first names."""
    lines = []
    for kind, names in left_out.items():
        first = ", ".join(_endings(names) if kind == OTHERS else names[:NAMED])
        more = " ..." if len(names) > NAMED and kind != OTHERS else ""
        lines.append(f"left out, {kind}: {len(names)} ({first}{more})")
    return lines


def _endings(names: list[str]) -> list[str]:
    """Return the suffixes of files, most frequent first; the whole name if there is no suffix."""
    counts: dict[str, int] = defaultdict(int)
    for name in names:
        counts[Path(name).suffix.casefold() or Path(name).name] += 1
    by_count = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return [f"{count} {ending}" for ending, count in by_count[: 2 * NAMED]] + (
        ["..."] if len(by_count) > 2 * NAMED else []
    )
