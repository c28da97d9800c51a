"""How often a memory's intact chords are named as asked, through its inverter; prints JSON.

    python benchmarks/chords.py [MODEL] [--per-class 32] [--inverter fast] [--against CORPUS]

With --against, the held-out clips of a corpus are named too: straight, and after mel -> sound.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from fugue_state.audio import io
from fugue_state.audio.mel import MelTransform
from fugue_state.config import DEFAULT_INVERTER, DEFAULT_MEMORY, ClipConfig
from fugue_state.corpus.clips import prepare
from fugue_state.corpus.folder import read_corpus
from fugue_state.measure.chords import name_chord
from fugue_state.memory.memory import Memory

BATCH = 16


def judge(sounds: Sequence[npt.NDArray[np.float32]], asked: Sequence[str], memory: Memory) -> dict[str, object]:
    """Name every sound; return accuracy overall and per class, and mean clarity."""
    heard = [name_chord(sound, memory.spec.sample_rate_hz, memory.labels) for sound in sounds]
    right = np.array([h.name == a for h, a in zip(heard, asked, strict=True)])
    names = np.array(asked)
    per_class = {label: round(float(right[names == label].mean()), 4) for label in memory.labels if label in asked}
    return {
        "count": len(right),
        "accuracy": round(float(right.mean()), 4),
        "worst_class": min(per_class.values()),
        "per_class": per_class,
        "clarity": round(float(np.mean([h.clarity for h in heard])), 4),
    }


def generated(memory: Memory, per_class: int, seed: int) -> tuple[list[npt.NDArray[np.float32]], list[str]]:
    """Return sounds of every chord and the chords asked for."""
    asked = [label for label in memory.labels for _ in range(per_class)]
    z = memory.latents(len(asked), seed)
    sounds: list[npt.NDArray[np.float32]] = []
    for i in range(0, len(asked), BATCH):
        sounds += list(memory.invert(memory.generate(z[i : i + BATCH], asked[i : i + BATCH])).numpy())
    return sounds, asked


def real(memory: Memory, folder: str, per_class: int, seed: int) -> tuple[list[npt.NDArray[np.float32]], list[str]]:
    """Return held-out clips of a corpus, prepared as for training, and their labels."""
    clips = read_corpus(folder).part("Test")
    rng = np.random.default_rng(seed)
    shuffled = [clips[i] for i in rng.permutation(len(clips))]
    chosen = [c for label in memory.labels for c in [s for s in shuffled if s.label == label][:per_class]]
    spec = memory.spec
    sounds = [
        prepare(io.read(c.path, spec.sample_rate_hz)[0], spec.sample_rate_hz, spec.samples, ClipConfig())
        for c in chosen
    ]
    return sounds, [str(c.label) for c in chosen]


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=DEFAULT_MEMORY)
    parser.add_argument("--per-class", type=int, default=32)
    parser.add_argument("--inverter", default=DEFAULT_INVERTER)
    parser.add_argument("--against")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    memory = Memory.load(options.model, inverter=options.inverter)
    result: dict[str, object] = {
        "memory": memory.header.name,
        "sha256": memory.fingerprint,
        "steps": memory.header.steps,
        "inverter": options.inverter,
    }
    result["generated"] = judge(*generated(memory, options.per_class, options.seed), memory)
    if options.against:
        sounds, asked = real(memory, options.against, options.per_class, options.seed)
        result["held_out"] = judge(sounds, asked, memory)
        transform = MelTransform(memory.spec)
        mels = [transform.encode(torch.from_numpy(s)[None]) for s in sounds]
        result["held_out_after_mel"] = judge([memory.invert(m)[0].numpy() for m in mels], asked, memory)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
