"""Sounds, checkpoints and scores that are malformed."""

from __future__ import annotations

import contextlib
import itertools
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from fugue_state.audio import reading
from fugue_state.audio.riff import read_comments
from fugue_state.memory.catalogue import HEADER, kind_of, read_header
from fugue_state.memory.memory import Memory
from fugue_state.piece.piece import Piece
from fugue_state.score.explained import beginning, template
from fugue_state.score.model import Score
from fugue_state.score.text import dump_score, load_score, located
from fugue_state.settings import checked

from .mutations import changed, mutated
from .running import Case, Make
from .tiny import memory, sounds

READERS: tuple[Callable[[Path], object], ...] = (
    reading.probe,
    reading.read,
    reading.read_channels,
    reading.read_with_facts,
    lambda path: list(read_comments(path)),
    lambda path: reading.read(path, 22_050, stereo=True, longest_s=60.0),
    lambda path: reading.read_impulse(path, 44_100, 10.0),
    lambda path: list(reading.read_parts(path, [(0.0, 0.05), (0.04, 0.1), (1e6, 1.0)], 16_000)),
)
EVENTS = 20  # of a piece, that are laid out


@contextlib.contextmanager
def sound_files(folder: Path) -> Iterator[Make]:
    """Sounds of every form, of which bytes are wrong, and two that became one."""
    whole = sounds(folder)
    path = folder / "fuzzed.wav"

    def make(source: random.Random) -> Case:
        data = source.choice(whole)
        if source.random() < 0.1:
            other = source.choice(whole)
            data = data[: source.randrange(len(data))] + other[source.randrange(len(other)) :]
        data = mutated(source, data)
        reader = source.choice(READERS)
        path.write_bytes(data)
        return Case(f"{len(data)} bytes {data[:12]!r}", lambda: reader(path))

    yield make


@contextlib.contextmanager
def checkpoints(folder: Path) -> Iterator[Make]:
    """Memories of which bytes, tensors or what they say about themselves are wrong."""
    whole = memory(folder / "whole.safetensors")
    path = folder / "fuzzed.safetensors"
    data, tensors = whole.read_bytes(), load_file(whole)
    with safe_open(whole, "np") as stored:
        envelope = json.loads(stored.metadata()[HEADER])

    def make(source: random.Random) -> Case:
        if source.random() < 0.5:
            path.write_bytes(mutated(source, data))
            what = "bytes"
        else:
            told = changed(source, envelope)
            kept = dict(tensors)
            if source.random() < 0.2:
                name = source.choice(sorted(kept))
                kept[name] = source.choice(
                    (kept[name].ravel()[:0], kept[name].astype(np.int32), kept[name].ravel(), kept[name] + np.nan)
                )
            save_file(kept, path, {HEADER: json.dumps(told)})
            what = json.dumps(told)[:200]
        return Case(what, lambda: (kind_of(path), read_header(path), Memory.load(path)))

    yield make


RICH: dict[str, Any] = {
    "title": "x", "duration_s": "0:20", "tempo_bpm": 60, "seed": 3, "memory": "MEMORY", "about": "y",
    "voices": [
        {"chords": ["Am*2", "-", "C", "G"], "latents": "walk", "event_s": 3.0, "spread": 0.5},
        {"chords": ["F"], "level_db": -3, "pan": 0.5, "octave": -1},
    ],
    "forgetting": {
        "order": "layerwise", "pace": "linear", "to": 0.9, "locks": ["deconv1"], "replacement": {"deconv2": "mean"},
    },
    "cues": [
        {"do": "recall", "at": "50 %", "over": 3},
        {"do": "forget", "at": "bar 2", "units": ["deconv3"], "to": 0.4},
        {"do": "hold", "at": 12, "over": 1},
    ],
    "changes": [{"at": 1.5, "path": "/forget", "value": 0.25}, {"at": 2, "path": "/chord", "value": "C"}],
}  # fmt: skip


@contextlib.contextmanager
def scores(folder: Path) -> Iterator[Make]:
    """Scores of which text or values are wrong; those that are understood are written again, and some laid out."""
    played = Memory.load(memory(folder / "tiny.safetensors"))
    rich = _understood(RICH | {"memory": str(folder / "tiny.safetensors")})
    full = Score().model_dump(mode="json")
    texts = [dump_score(beginning()), template(), tomli_w.dumps(rich)]
    path = folder / "fuzzed.toml"

    def make(source: random.Random) -> Case:
        if source.random() < 0.4:
            text = mutated(source, source.choice(texts).encode())
        else:
            told = _stated(changed(source, source.choice((rich, rich, full | rich))))
            text = _written(told if isinstance(told, dict) else {"value": told})
        path.write_bytes(text)
        laid_out = source.random() < 0.3
        return Case(text[:300].decode(errors="replace"), lambda: _played(path, played if laid_out else None))

    yield make


def _understood(values: dict[str, Any]) -> dict[str, Any]:
    """Return values of a score without the keys that there are not."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        with contextlib.suppress(Exception):
            checked(Score, {key: value})
            found[key] = value
    return found


def _stated(values: Any) -> Any:
    """Return values without what TOML cannot say."""
    if isinstance(values, dict):
        return {str(key): _stated(value) for key, value in values.items() if value is not None}
    if isinstance(values, list):
        return [_stated(value) for value in values if value is not None]
    return values


def _written(values: dict[str, Any]) -> bytes:
    return tomli_w.dumps(values).encode(errors="surrogateescape")


def _played(path: Path, played: Memory | None) -> None:
    score = load_score(path)
    again = path.with_name("again.toml")
    again.write_text(dump_score(score), encoding="utf-8")
    if load_score(again) != score:
        raise AssertionError("written and read again it is another score")
    if played is not None:
        with located(path):
            list(itertools.islice(Piece(score, played).events(), EVENTS))
