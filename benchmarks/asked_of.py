"""What the benchmarks of chords and of notes share: a memory's sounds beside held-out clips, and shipping it."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from fugue_state.config import DEFAULT_QUALITY, MEASURE_PER_CLASS
from fugue_state.corpus.folder import read_corpus
from fugue_state.measure.memory import SoundSet, generated, real, through_mel
from fugue_state.measure.named import NameTable
from fugue_state.measure.naming import NamingName, naming_of
from fugue_state.memory.checkpoint import save_memory
from fugue_state.memory.memory import Memory

Tabulate = Callable[[SoundSet, Memory], NameTable]


def measured(doc: str | None, default: str, what: NamingName, tabulate: Tabulate, figures: Sequence[str]) -> None:
    """Read the command line, name what a memory makes and print JSON; with --ship, write it with these `figures`.

    What it makes is named only if its labels are `what` is tabulated: any memory can say what mel -> sound costs.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=default)
    parser.add_argument("--per-class", type=int, default=MEASURE_PER_CLASS)
    parser.add_argument("--inverter")
    parser.add_argument("--quality", default=DEFAULT_QUALITY)
    parser.add_argument("--against")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ship", type=Path)
    options = parser.parse_args()
    memory = Memory.load(options.model, inverter=options.inverter, quality=options.quality)
    named = naming_of(memory.labels) == what
    if not named and (options.ship or not options.against):
        parser.error(f"the labels of {memory.header.name} are no {what}: it can only be measured --against a corpus")
    if options.ship:
        memory = _rounded(memory, options)
    found = {name: asdict(tabulate(sounds, memory)) for name, sounds in _sets(memory, options, named).items()}
    if options.ship:
        metrics = {f"{part}_{key}": round(table[key], 4) for part, table in found.items() for key in figures}
        header = memory.header.model_copy(update={"metrics": metrics})
        save_memory(options.ship, memory.generator, header, net=memory.net, half=True)
    about = {
        "memory": memory.header.name,
        "steps": memory.header.steps,
        "inverter": options.inverter,
        "quality": options.quality,
    }
    print(json.dumps(about | found))


def _sets(memory: Memory, options: argparse.Namespace, named: bool) -> dict[str, SoundSet]:
    """Return what the memory makes, and the held-out clips of a corpus: straight, and after mel -> sound."""
    found = {"generated": generated(memory, options.per_class, options.seed)} if named else {}
    if options.against:
        clips = read_corpus(options.against).part("Test")
        found["real"] = real(clips, memory.spec, options.per_class, options.seed)
        found["real_through_mel"] = through_mel(found["real"], memory)
    return found


def _rounded(memory: Memory, options: argparse.Namespace) -> Memory:
    """Return a memory as it is once it was written in half precision."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "half.safetensors"
        save_memory(path, memory.generator, memory.header, net=memory.net, half=True)
        return Memory.load(path, inverter=options.inverter, quality=options.quality)
