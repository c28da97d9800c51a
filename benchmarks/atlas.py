"""How well mels are described without making them sound, beside doing so; prints JSON.

    python benchmarks/atlas.py [MODEL] [--per-class 8] [--against CORPUS]

A memory's own sounds, and with --against the mels of held-out clips, are described by the atlas and, inverted, by
what measures sounds: how often both name the same chord, rank correlations of the traits, and seconds a sound.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from fugue_state.config import DEFAULT_MEMORY
from fugue_state.corpus.folder import read_corpus
from fugue_state.measure.chords import name_chord
from fugue_state.measure.describe import Describer, triads
from fugue_state.measure.memory import SoundSet, generated, real, through_mel
from fugue_state.measure.timbre import timbre
from fugue_state.memory.memory import Memory


def compare(mels: SoundSet, memory: Memory) -> dict[str, Any]:
    """Describe mels both ways."""
    names, rate = triads(memory.labels), memory.spec.sample_rate_hz
    start = time.perf_counter()
    told = Describer(memory.spec, names)(mels.mels)
    fast_s = time.perf_counter() - start
    sounds = through_mel(mels, memory).sounds
    chords, timbres = [name_chord(s, rate, names) for s in sounds], [timbre(s, rate) for s in sounds]
    pairs = {
        "clarity": ([t.clarity for t in told], [c.clarity for c in chords]),
        "margin": ([t.margin for t in told], [c.margin for c in chords]),
        "brightness": ([t.brightness_hz for t in told], [t.brightness_hz for t in timbres]),
        "attack": ([t.attack_s for t in told], [t.attack_s for t in timbres]),
        "sustain_and_decay": ([t.sustain_db for t in told], [t.decay_s for t in timbres]),
        "level": ([t.level_dbfs for t in told], [np.sqrt(np.mean(s**2)) for s in sounds]),
    }
    return {
        "count": len(told),
        "same_chord": float(np.mean([t.chord == c.name for t, c in zip(told, chords, strict=True)])),
        "rank_correlation": {key: round(float(spearmanr(*pair).statistic), 3) for key, pair in pairs.items()},
        "seconds_a_sound": {
            "described": round(fast_s / len(told), 4),
            "inverted_and_measured": round((time.perf_counter() - start - fast_s) / len(told), 4),
        },
    }


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=DEFAULT_MEMORY)
    parser.add_argument("--per-class", type=int, default=8)
    parser.add_argument("--against")
    options = parser.parse_args()
    memory = Memory.load(options.model)
    found = {"generated": compare(generated(memory, options.per_class, 0), memory)}
    if options.against:
        found["real"] = compare(
            real(read_corpus(options.against).part("Test"), memory.spec, options.per_class, 0), memory
        )
    print(json.dumps({"memory": memory.header.name} | found))


if __name__ == "__main__":
    main()
