"""The demo piece against the common way: time, and which chords are still named; prints JSON.

    python benchmarks/render.py [MODEL] [--duration 90]

The common way inverts every segment by itself with librosa: NNLS, then 400 Griffin-Lim iterations of
momentum 0.9. Both ways render the same score with the same memory in the same run; everything else is
the same. Survival is the share of the piece's events, as they sound before the mix, that a chroma
template names as the chord that was asked for; the margin is how far ahead of the next chord it lies, negative
where another one is heard.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from fugue_state.audio.compiled import cores
from fugue_state.config import DEFAULT_MEMORY, EVENT_BATCH, InverterName
from fugue_state.measure.chords import name_chord
from fugue_state.memory.memory import Memory
from fugue_state.output.render import render
from fugue_state.piece.piece import Piece
from fugue_state.score.model import Score

QUARTERS = 4


def survival(piece: Piece) -> dict[str, object]:
    """Return the share of events named as asked: overall, and in each quarter of the piece."""
    made, memory = list(piece.events()), piece.memory
    right: list[bool] = []
    margins: list[float] = []
    for start in range(0, len(made), EVENT_BATCH):
        part = made[start : start + EVENT_BATCH]
        strengths = np.stack([e.strengths for e in part])
        asked = [str(e.label) for e in part]
        sounds = memory.invert(memory.generate(np.stack([e.latent for e in part]), asked, strengths))
        named = [name_chord(s, memory.spec.sample_rate_hz, memory.labels) for s in sounds]
        right += [n.name == a for n, a in zip(named, asked, strict=True)]
        margins += [n.margin if n.name == a else -n.margin for n, a in zip(named, asked, strict=True)]
    quarters = [round(float(np.mean(q)), 3) for q in np.array_split(np.array(right), QUARTERS)]
    return {
        "events": len(right),
        "named": round(float(np.mean(right)), 4),
        "named_by_quarter": quarters,
        "margin": round(float(np.mean(margins)), 4),
    }


def measure(model: str, inverter: InverterName | None, duration_s: float) -> dict[str, object]:
    """Render the demo piece one way; the time is from events to finished file, the memory loaded."""
    memory = Memory.load(model, inverter=inverter)
    piece = Piece(Score(memory=model, duration_s=duration_s, inverter=inverter), memory)
    memory.invert(memory.generate(memory.latents(1, 0)))  # what is compiled at first use is no part of it
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        report = asdict(render(piece, Path(folder) / "piece.wav"))
        seconds = time.perf_counter() - begin
    del report["path"]
    return {"seconds": round(seconds, 2), **survival(piece), "measured": report}


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=DEFAULT_MEMORY)
    parser.add_argument("--duration", type=float, default=Score().duration_s)
    options = parser.parse_args()
    ours = measure(options.model, None, options.duration)
    common = measure(options.model, "original", options.duration)
    times = float(str(common["seconds"])) / float(str(ours["seconds"]))
    print(json.dumps({"threads": cores(), "ours": ours, "common": common, "times_faster": round(times, 1)}))


if __name__ == "__main__":
    main()
