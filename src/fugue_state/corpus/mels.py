"""The mels of a corpus, computed once and cached on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass, replace
from itertools import repeat
from pathlib import Path

import numpy as np
from joblib import Parallel, cpu_count, delayed
from safetensors import SafetensorError, safe_open

from fugue_state.arrays import Array, Whole
from fugue_state.audio.mel import MelTransform
from fugue_state.config import ClipConfig, MelSpec
from fugue_state.corpus.advice import ClipFacts, Mels, clip_facts
from fugue_state.corpus.cache import Cache
from fugue_state.corpus.folder import Clip, Corpus
from fugue_state.corpus.slices import identity, read_clips, ready
from fugue_state.errors import CorpusError, OutputError, counted
from fugue_state.progress import Track, untracked
from fugue_state.tensors import save_tensors

FEWEST_CLIPS = 2
CHUNK = 64
METHOD = 2  # raised whenever the same file would give a different mel
CLIPS_PER_WORKER = 400  # with fewer, starting a process does not pay off


@dataclass(frozen=True)
class MelSet:
    """Mels (n, M, T) as float16 with label indices (n,), the facts of their clips, and the files left out."""

    mels: Mels
    label: Whole
    labels: tuple[str, ...]
    left_out: list[tuple[str, str]]
    key: str
    facts: tuple[ClipFacts, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """The label of every mel; empty without labels."""
        return tuple(self.labels[i] for i in self.label.tolist()) if self.labels else ()


def load_mels(
    corpus: Corpus,
    spec: MelSpec,
    cache: Cache,
    *,
    split: str = "Training",
    labelled: bool = True,
    track: Track = untracked,
) -> MelSet:
    """Return the mels of one split, from the cache if files, sizes and settings are the same.

    Unreadable files are left out and listed; a cache that is damaged or not writable is reported. If not
    `labelled`, the corpus's labels are ignored. Raises CorpusError if fewer than two clips, or only
    one class of several, are left.
    """
    clips = corpus.part(split)
    config = ClipConfig()
    key = corpus_key(corpus, spec, split=split)
    path = cache.path("mels", f"{key}.safetensors")
    found = _cached(path, corpus.labels, cache.say)
    if found is None:
        found = _make(clips, corpus.labels, spec, config, key, track)
        _keep(found, path, cache)
    _check_count(found, corpus)
    if not labelled:
        return replace(found, label=np.zeros_like(found.label), labels=())
    _check_labels(found, corpus)
    return found


def corpus_key(corpus: Corpus, spec: MelSpec, *, split: str = "Training") -> str:
    """Return a hash of everything that the mels of a split depend on: files, labels and settings."""
    settings = [METHOD, spec.model_dump(), ClipConfig().model_dump(), corpus.labels]
    digest = hashlib.sha256(json.dumps(settings).encode())
    for clip in corpus.part(split):
        digest.update(identity(clip))
    return digest.hexdigest()[:16]


def _keep(found: MelSet, path: Path | None, cache: Cache) -> None:
    """Write mels to the cache; a full disk is reported, but does not stop the work."""
    if path is None:
        return
    facts = json.dumps([astuple(f) for f in found.facts])
    about = {"key": found.key, "left_out": json.dumps(found.left_out), "facts": facts}
    try:
        save_tensors(path, {"mels": found.mels, "label": found.label}, about)
    except OutputError as error:
        cache.say(f"{error}; the mels are not kept for the next time")


def _cached(path: Path | None, labels: tuple[str, ...], say: Callable[[str], None]) -> MelSet | None:
    """Return a cached set, or None if there is none, an older version made it, or it is damaged."""
    if path is None or not path.is_file():
        return None
    try:
        with safe_open(path, "np") as file:
            header = file.metadata()
            if "facts" not in header:
                return None
            found = MelSet(
                file.get_tensor("mels"),
                file.get_tensor("label"),
                labels,
                [(a, b) for a, b in json.loads(header["left_out"])],
                header["key"],
                tuple(ClipFacts(*values) for values in json.loads(header["facts"])),
            )
        if not len(found.mels) == len(found.label) == len(found.facts):
            raise ValueError(f"mels: {len(found.mels)}, labels: {len(found.label)}, facts: {len(found.facts)}")
    except (SafetensorError, KeyError, TypeError, ValueError, OSError):
        say(f"the mels kept in {path} are damaged and are made again")
        return None
    return found


@dataclass(frozen=True)
class _Part:
    """Results for some clips: mels (n, M, T) of those that could be read, in order."""

    mels: Mels
    facts: list[ClipFacts]
    left_out: list[tuple[str, str]]
    kept: list[Clip]


def _make(
    clips: list[Clip], labels: tuple[str, ...], spec: MelSpec, config: ClipConfig, key: str, track: Track
) -> MelSet:
    """Make all mels, on several cores if there are many."""
    chunks = [clips[i : i + CHUNK] for i in range(0, len(clips), CHUNK)]
    workers = min(cpu_count(), max(1, len(clips) // CLIPS_PER_WORKER))
    jobs = (delayed(_make_part)(chunk, spec, config) for chunk in chunks)
    parts: list[_Part] = []

    def made() -> Iterator[None]:
        for chunk, part in zip(chunks, Parallel(n_jobs=workers, return_as="generator")(jobs), strict=True):
            parts.append(part)
            yield from repeat(None, len(chunk))

    for _ in track(made(), len(clips), "mels"):
        pass
    kept = [clip for part in parts for clip in part.kept]
    label = [labels.index(clip.label) if clip.label is not None else 0 for clip in kept]
    return MelSet(
        np.concatenate([part.mels for part in parts]),
        np.array(label, dtype=np.int64),
        labels,
        [pair for part in parts for pair in part.left_out],
        key,
        tuple(facts for part in parts for facts in part.facts),
    )


def _make_part(clips: list[Clip], spec: MelSpec, config: ClipConfig) -> _Part:
    sounds: list[Array] = []
    part = _Part(np.empty((0, spec.n_mels, spec.frames), dtype=np.float16), [], [], [])
    for heard in read_clips(clips):
        if heard.fault:
            part.left_out.append((heard.clip.name, heard.fault))
            continue
        part.facts.append(clip_facts(heard.clip, heard.samples, heard.sample_rate_hz))
        sounds.append(ready(heard, spec.sample_rate_hz, spec.samples, config))
        part.kept.append(heard.clip)
    if not sounds:
        return part
    mels = MelTransform(spec).encode(np.stack(sounds))
    return replace(part, mels=mels.astype(np.float16))


def _check_count(found: MelSet, corpus: Corpus) -> None:
    count = len(found.label)
    if count < FEWEST_CLIPS:
        first = f"; the first left out: {': '.join(found.left_out[0])}" if found.left_out else ""
        raise CorpusError(
            f"{corpus.root}: {counted(count, 'usable clip')}, at least {FEWEST_CLIPS} are needed"
            f" ({len(found.left_out)} left out{first})"
        )


def _check_labels(found: MelSet, corpus: Corpus) -> None:
    if len(corpus.labels) == 1:
        raise CorpusError(
            f"{corpus.root}: only one class, {corpus.labels[0]!r}; to learn without labels, name its folder"
        )
    missing = sorted(set(range(len(corpus.labels))) - set(found.label.tolist()))
    if missing:
        names = ", ".join(corpus.labels[i] for i in missing)
        raise CorpusError(f"{corpus.root}: no usable training clip of {names}")
