"""How often a memory's intact chords are named as asked, through its inverter; prints JSON.

    python benchmarks/chords.py [MODEL] [--per-class 32] [--inverter NAME] [--quality final]
        [--against CORPUS] [--ship FILE]

With --against, the held-out clips of a corpus are named too: straight, and after mel -> sound. With --ship, the
memory is rounded to half precision first and then written to FILE with these figures in its header.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict
from pathlib import Path

from fugue_state.config import DEFAULT_MEMORY, DEFAULT_QUALITY, MEASURE_PER_CLASS, QualityName
from fugue_state.corpus.folder import read_corpus
from fugue_state.measure.chords import ChordTable
from fugue_state.measure.memory import chord_table, generated, real, through_mel
from fugue_state.memory.checkpoint import save_memory
from fugue_state.memory.memory import Memory

FIGURES = ("accuracy", "worst_class", "clarity")


def tables(memory: Memory, against: str | None, per_class: int, seed: int) -> dict[str, ChordTable]:
    """Name what the memory makes, and the held-out clips of a corpus."""
    found = {"generated": chord_table(generated(memory, per_class, seed), memory)}
    if against:
        clips = real(read_corpus(against).part("Test"), memory.spec, per_class, seed)
        found["real"] = chord_table(clips, memory)
        found["real_through_mel"] = chord_table(through_mel(clips, memory), memory)
    return found


def rounded(memory: Memory, inverter: str | None, quality: QualityName) -> Memory:
    """Return a memory as it is once it was written in half precision."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "half.safetensors"
        save_memory(path, memory.generator, memory.header, net=memory.net, half=True)
        return Memory.load(path, inverter=inverter, quality=quality)


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=DEFAULT_MEMORY)
    parser.add_argument("--per-class", type=int, default=MEASURE_PER_CLASS)
    parser.add_argument("--inverter")
    parser.add_argument("--quality", default=DEFAULT_QUALITY)
    parser.add_argument("--against")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ship", type=Path)
    options = parser.parse_args()
    memory = Memory.load(options.model, inverter=options.inverter, quality=options.quality)
    if options.ship:
        memory = rounded(memory, options.inverter, options.quality)
    found = {name: asdict(t) for name, t in tables(memory, options.against, options.per_class, options.seed).items()}
    if options.ship:
        metrics = {f"{part}_{key}": round(table[key], 4) for part, table in found.items() for key in FIGURES}
        header = memory.header.model_copy(update={"metrics": metrics})
        save_memory(options.ship, memory.generator, header, net=memory.net, half=True)
    about = {
        "memory": memory.header.name,
        "steps": memory.header.steps,
        "inverter": options.inverter,
        "quality": options.quality,
    }
    print(json.dumps(about | found))


if __name__ == "__main__":
    main()
