"""The mels of a corpus, made once and kept on disk."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from fugue_state.audio import io
from fugue_state.audio.mel import MelTransform
from fugue_state.config import ClipConfig, MelSpec
from fugue_state.corpus.clips import prepare
from fugue_state.corpus.folder import Clip, Corpus
from fugue_state.errors import AudioError, CorpusError
from fugue_state.memory.checkpoint import save_tensors
from fugue_state.progress import Track, untracked

FEWEST_CLIPS = 2
CHUNK = 64


@dataclass(frozen=True)
class MelSet:
    """Mels (n, M, T) as float16 with label indices (n,), and the files that were left out."""

    mels: Tensor
    label: Tensor
    labels: tuple[str, ...]
    left_out: list[tuple[str, str]]
    key: str


def load_mels(
    corpus: Corpus, spec: MelSpec, cache: Path, *, split: str = "Training", track: Track = untracked
) -> MelSet:
    """Return the mels of one split, from the cache if the files, sizes and settings are the same.

    Unreadable files are left out and named. Raises CorpusError if fewer than two clips or only
    one class of several is left.
    """
    clips = corpus.part(split)
    config = ClipConfig()
    key = corpus_key(corpus, spec, split=split)
    path = cache / "mels" / f"{key}.safetensors"
    found = _cached(path, corpus.labels)
    if found is None:
        found = _make(clips, corpus.labels, spec, config, key, track)
        io.output_folder(path.parent)
        left_out = json.dumps(found.left_out)
        save_tensors(path, {"mels": found.mels, "label": found.label}, {"key": key, "left_out": left_out})
    _check(found, corpus)
    return found


def corpus_key(corpus: Corpus, spec: MelSpec, *, split: str = "Training") -> str:
    """Return a hash of everything the mels of a split depend on: files, labels and settings."""
    digest = hashlib.sha256(json.dumps([spec.model_dump(), ClipConfig().model_dump()]).encode())
    for clip in corpus.part(split):
        stat = clip.path.stat()
        digest.update(
            f"{clip.path.resolve()}|{clip.label}|{stat.st_size}|{stat.st_mtime_ns}\n".encode("utf-8", "surrogateescape")
        )
    return digest.hexdigest()[:16]


def _cached(path: Path, labels: tuple[str, ...]) -> MelSet | None:
    """Return a cached set, or None if there is none or it is damaged (then it is made again)."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata()
            return MelSet(
                file.get_tensor("mels"),
                file.get_tensor("label"),
                labels,
                [(a, b) for a, b in json.loads(header["left_out"])],
                header["key"],
            )
    except (SafetensorError, KeyError, ValueError, OSError):
        return None


def _make(
    clips: list[Clip], labels: tuple[str, ...], spec: MelSpec, config: ClipConfig, key: str, track: Track
) -> MelSet:
    transform = MelTransform(spec)
    mels: list[Tensor] = []
    label: list[int] = []
    left_out: list[tuple[str, str]] = []
    waiting: list[Tensor] = []
    for clip in track(clips, len(clips), "mels"):
        try:
            samples, _ = io.read(clip.path, spec.sample_rate_hz)
        except AudioError as error:
            left_out.append((str(clip.path), str(error).removeprefix(f"{clip.path}: ")))
            continue
        waiting.append(torch.from_numpy(prepare(samples, spec.sample_rate_hz, spec.samples, config)))
        label.append(labels.index(clip.label) if clip.label is not None else 0)
        if len(waiting) == CHUNK:
            mels.append(transform.encode(torch.stack(waiting)).half())
            waiting.clear()
    if waiting:
        mels.append(transform.encode(torch.stack(waiting)).half())
    stacked = torch.cat(mels) if mels else torch.empty(0, spec.n_mels, spec.frames, dtype=torch.float16)
    return MelSet(stacked, torch.tensor(label, dtype=torch.int64), labels, left_out, key)


def _check(found: MelSet, corpus: Corpus) -> None:
    count = len(found.label)
    if count < FEWEST_CLIPS:
        first = f"; the first left out: {': '.join(found.left_out[0])}" if found.left_out else ""
        raise CorpusError(
            f"{corpus.root}: {count} usable clip(s), at least {FEWEST_CLIPS} are needed"
            f" ({len(found.left_out)} left out{first})"
        )
    if len(corpus.labels) == 1:
        raise CorpusError(
            f"{corpus.root}: only one class, {corpus.labels[0]!r}; to learn without labels, name its folder"
        )
    missing = sorted(set(range(len(corpus.labels))) - set(found.label.tolist()))
    if missing:
        names = ", ".join(corpus.labels[i] for i in missing)
        raise CorpusError(f"{corpus.root}: no usable training clip of {names}")
