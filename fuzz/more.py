"""Side files, ways of making, takes and folders that are malformed."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from PIL import Image

from fugue_state.audio.riff import append, comment_chunk
from fugue_state.config import AtlasConfig, ProfileConfig
from fugue_state.corpus.folder import read_corpus
from fugue_state.live import takes
from fugue_state.measure.atlas import Atlas
from fugue_state.measure.profile import Profile
from fugue_state.memory.checkpoint import load_vocoder
from fugue_state.memory.memory import Memory, find_vocoder
from fugue_state.output.provenance import known_of, reopened
from fugue_state.score.model import Score

from .mutations import TEXTS, changed, mutated
from .running import Case, Make
from .tiny import RATE, encoded, memory, sound, vocoder

NAMES = (
    "Am", "C", "train", "valid", "test", "a b", "e\u0301", "\U0001f3b8", "\udc80", ".hidden", "__MACOSX",
    "x" * 250, "-", "a\nb", "\x1b[31m", "Am.wav", "CON", "..a", " ", "'", "$(x)", "%s", "*", "[", "piece.toml",
)  # fmt: skip


@contextlib.contextmanager
def side_files(folder: Path) -> Iterator[Make]:
    """Profiles, atlases and vocoders beside a memory: read, made anew, or refused."""
    path = memory(folder / "tiny.safetensors")
    own = Memory.load(path)
    profiled, described = ProfileConfig(latents=1, observed=2), AtlasConfig(count=2)
    Profile.of(own, path, profiled)
    Atlas.of(own, path, described)
    profile, atlas, alone = (path.with_name(f"tiny.{kind}.safetensors") for kind in ("profile", "atlas", "vocoder"))
    whole = {profile: profile.read_bytes(), atlas: atlas.read_bytes(), alone: vocoder(alone).read_bytes()}
    readers = {
        profile: lambda: Profile.of(own, path, profiled),
        atlas: lambda: Atlas.of(own, path, described).summary(),
        alone: lambda: (find_vocoder(alone), load_vocoder(alone)),
    }

    def make(source: random.Random) -> Case:
        which = source.choice((profile, atlas, alone, alone, alone, alone))
        which.write_bytes(mutated(source, whole[which]))
        return Case(which.name, readers[which])

    yield make


@contextlib.contextmanager
def made(folder: Path) -> Iterator[Make]:
    """Pieces, films, pictures and files beside them, of which bytes or what they tell is wrong."""
    told = known_of(Memory.load(memory(folder / "tiny.safetensors"))) | {"score": Score().model_dump(mode="json")}

    def written(told: Any, ending: str) -> Path:
        comment, path = json.dumps(told), folder / f"piece{ending}"
        if ending == ".wav":
            soundfile.write(path, sound(), RATE)
            append(path, comment_chunk(comment))
        elif ending == ".flac":
            with soundfile.SoundFile(path, "w", RATE, 1) as file:
                file.comment = comment
                file.write(sound())
        elif ending == ".mp4":
            encoded(path, "aac", comment)
        elif ending == ".png":
            Image.fromarray(np.zeros((4, 4), dtype=np.uint8)).save(path)
        else:
            path.write_text(comment, encoding="utf-8")
        return path

    endings = (".wav", ".flac", ".mp4", ".png", ".json")
    whole = {ending: written(told, ending).read_bytes() for ending in endings}

    def make(source: random.Random) -> Case:
        ending = source.choice(endings)
        if source.random() < 0.4 and ending != ".png":
            path = written(changed(source, told), source.choice((ending, ".json", ".wav")))
        else:
            path = folder / f"piece{ending}"
            path.write_bytes(mutated(source, whole[ending]))
        return Case(path.name, lambda: reopened(path))

    yield make


@contextlib.contextmanager
def left_takes(folder: Path) -> Iterator[Make]:
    """Journals, logs and sounds that a killed server left, cut off or saying what cannot be."""
    left = folder / f"take-001{takes.OPEN}"
    lines = [
        {"made_by": {"made_by": "x"}, "score": {"title": "x"}, "start": 1024},
        {"at": 2048, "path": "/forget", "value": 0.5},
        {"at": 3000, "mark": "here"},
        {"at": 4096, "path": "/grid/1", "value": "AAAA"},
        {"until": 9000},
    ]
    before = [{"at": 0, "path": "/volume", "value": 0.5}]
    soundfile.write(folder / "whole.flac", sound(2), 44_100, takes.SUBTYPE)
    heard = (folder / "whole.flac").read_bytes()

    def text(values: Any) -> bytes:
        listed = values if isinstance(values, list) else [values]
        return "".join(f"{json.dumps(value)}\n" for value in listed).encode()

    def make(source: random.Random) -> Case:
        shutil.rmtree(left, ignore_errors=True)
        for path in folder.glob("take-001.*"):
            path.unlink()
        left.mkdir()
        which = source.randrange(5)
        told = changed(source, lines) if which < 2 else lines
        journal = text(told)
        done = text(changed(source, before)) if which == 2 else text(before)
        packed = gzip.compress(done)
        (left / takes.JOURNAL).write_bytes(mutated(source, journal) if which == 3 else journal)
        (left / takes.BEFORE).write_bytes(mutated(source, packed) if which == 4 else packed)
        (left / takes.SOUND).write_bytes(mutated(source, heard) if source.random() < 0.5 else heard)
        reader = takes.finish if source.random() < 0.8 else lambda path: takes.recover([path])
        return Case(journal[:300].decode(errors="replace"), lambda: reader(left))

    yield make


@contextlib.contextmanager
def folders(folder: Path) -> Iterator[Make]:
    """Folders with odd names, empty files, links in circles, pipes, and runs within them."""
    soundfile.write(folder / "whole.wav", sound(), RATE)
    heard, root = (folder / "whole.wav").read_bytes(), folder / "sounds"

    def make(source: random.Random) -> Case:
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir()
        inside = [root]
        for _ in range(source.randint(1, 14)):
            path = source.choice(inside) / source.choice((*NAMES, source.choice(TEXTS).replace("\0", "") or "x"))
            with contextlib.suppress(OSError, ValueError):  # there already, or the system does not like the name
                _put(source, path, heard, inside)
        return Case(f"{len(inside)} folders", lambda: read_corpus(root).notes())

    yield make


def _put(source: random.Random, path: Path, heard: bytes, inside: list[Path]) -> None:
    """Put something at a path."""
    what = source.randrange(9)
    named = path.with_name(f"{path.name}{source.choice(('.wav', '.flac', '.WAV', '.txt', '.mp4'))}")
    if os.path.lexists(named):  # whoever wrote into a pipe would wait
        return
    if what < 3:
        path.mkdir()
        inside.append(path)
    elif what == 3:
        os.mkfifo(named)
    elif what == 4:
        named.symlink_to(source.choice((*inside, named, Path("/dev/zero"), Path("/nowhere"))))
    elif what == 5:
        named.write_bytes(mutated(source, heard))
    elif what == 6:
        named.touch()
    else:
        named.write_bytes(heard)
