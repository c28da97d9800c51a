"""What a memory learns from a corpus whose labels are hidden: with clusters, and with nothing; prints JSON.

    python benchmarks/unlabelled.py CORPUS [--steps 4000] [--minutes M] [--clusters N] [--per-label 64]

Both memories are trained alike and as long, in a temporary folder. As many sounds are generated of each: from every
cluster --per-label, and as many in all without labels. Each sound is named among all 36 major, minor and diminished
triads, and counts if that is a chord of the corpus. With clusters, a sound is also right if it is the chord that most
clips of its cluster are.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from fugue_state.config import EVENT_BATCH, Budget, ComputeConfig, MelSpec, ModelConfig, TrainConfig
from fugue_state.corpus.cache import find_cache
from fugue_state.corpus.folder import read_corpus
from fugue_state.corpus.mels import MelSet, load_mels
from fugue_state.learning.clusters import cluster_mels
from fugue_state.learning.memory_training import MemoryRun, train
from fugue_state.learning.run import Run
from fugue_state.measure.chords import Chord, name_chord, tabulate, template
from fugue_state.memory.memory import Memory

PITCHES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
KINDS = ("", "m", "dim")


def spelling(name: str) -> str:
    """Return the one of the 36 names that is the same triad."""
    own = template(name)
    return max((f"{p}{k}" for p in PITCHES for k in KINDS), key=lambda other: float(own @ template(other)))


def majorities(clusters: MelSet, chords: Sequence[str]) -> tuple[dict[str, str], float]:
    """Return the chord that most clips of each cluster are, and the share of clips that are it."""
    inside = {label: Counter[str]() for label in clusters.labels or ("",)}
    for label, chord in zip(clusters.classes or [""] * len(chords), chords, strict=True):
        inside[label][chord] += 1
    most = {label: counted.most_common(1)[0] for label, counted in inside.items()}
    return {label: name for label, (name, _) in most.items()}, sum(count for _, count in most.values()) / len(chords)


def learn(data: MelSet, spec: MelSpec, options: argparse.Namespace, folder: Path) -> Memory:
    """Train a memory on these mels for as long as asked."""
    settings = MemoryRun(
        name=folder.name,
        mel=spec,
        clusters=max(len(data.labels), 1),
        model=ModelConfig(feature_maps=options.feature_maps, latent_size=options.latent_size, labels=data.labels),
        train=TrainConfig(batch=options.batch, seed=options.seed),
        data_key=data.key,
    )
    budget = Budget(steps=options.steps, minutes=options.minutes)
    with Run(folder, budget, compute=ComputeConfig(accelerator=options.accelerator)) as run:
        train(run, settings, data)
    return Memory.load(folder)


def name_all(memory: Memory, asked: Sequence[str], seed: int) -> list[Chord]:
    """Generate one sound for each label (empty without labels) and name it among the 36 triads."""
    names = [f"{p}{k}" for p in PITCHES for k in KINDS]
    z = memory.latents(len(asked), seed)
    heard = []
    for start in range(0, len(asked), EVENT_BATCH):
        part = slice(start, start + EVENT_BATCH)
        sounds = memory.invert(memory.generate(z[part], asked[part] if memory.labels else None))
        heard += [name_chord(sound, memory.spec.sample_rate_hz, names) for sound in sounds]
    return heard


def figures(memory: Memory, count: int, chords: set[str], most: dict[str, str], seed: int) -> dict[str, Any]:
    """Return how much of what a memory makes is a chord of the corpus, and which are reached."""
    asked = [label for label in memory.labels or ("",) for _ in range(count // max(len(memory.labels), 1))]
    heard = name_all(memory, asked, seed)
    reached = Counter(c.name for c in heard if c.name in chords)
    told: dict[str, Any] = {
        "steps": memory.header.steps,
        "sounds": len(heard),
        "named_as_chord_of_corpus": round(sum(reached.values()) / len(heard), 4),
        "chords_reached": len(reached),
        "per_chord": {name: reached[name] for name in sorted(chords)},
    }
    if memory.labels:
        told["table"] = asdict(tabulate([most[label] for label in asked], heard))
    return told


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus")
    parser.add_argument("--mel", default="default")
    parser.add_argument("--clusters", type=int, help="default: auto")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--per-label", type=int, default=64)
    parser.add_argument("--feature-maps", type=int, default=ModelConfig().feature_maps)
    parser.add_argument("--latent-size", type=int, default=ModelConfig().latent_size)
    parser.add_argument("--batch", type=int, default=TrainConfig().batch)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--accelerator", default=ComputeConfig().accelerator)
    options = parser.parse_args()
    if options.steps is None and options.minutes is None:
        options.steps = 4000
    corpus, spec = read_corpus(options.corpus), MelSpec.preset(options.mel)
    chords = [spelling(name) for name in load_mels(corpus, spec, find_cache()).classes]
    hidden = load_mels(corpus, spec, find_cache(), labelled=False)
    clustered, plain = cluster_mels(hidden, spec, options.clusters), cluster_mels(hidden, spec, 1)
    most, purity = majorities(clustered, chords)
    count = options.per_label * max(len(clustered.labels), 1)
    told: dict[str, Any] = {
        "clusters": len(clustered.labels),
        "purity": round(purity, 4),
        "chords_with_a_cluster": len(set(most.values())),
        "threads": torch.get_num_threads(),
    }
    with tempfile.TemporaryDirectory() as folder:
        for name, data in (("clustered", clustered), ("unconditional", plain)):
            memory = learn(data, spec, options, Path(folder) / name)
            told[name] = figures(memory, count, set(chords), most, options.seed)
    print(json.dumps(told))


if __name__ == "__main__":
    main()
