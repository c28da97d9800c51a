"""What composing with forgetting promises, measured on a three-minute loop; prints JSON.

    python benchmarks/composition.py [MODEL] [--duration 180]

The loop forgets everything evenly, least salient units first, with its loudness held; beside it, in the same run,
the common way: units of all layers alike, in random order, at a linear pace, without a hold. For each:

- `straightness`: R2 of a straight line through the mel distance from intact over time, of rounds of the loop (its
  chords differ among each other) and of single chords.
- `half_named`: the share of the piece after which, of the 16 chords around, less than half are named as asked for
  the first time; `last_named`: the last time that one is.
- `level`: how far the short-term loudness (3 s) of the finished file is from the plan, an even level, in LU, until
  90 % of the forgetting: worst, and the share of the time within 1 LU; and from that of the same piece intact, whose
  chords also come two or three in three seconds.
- `recall`: whether the chords after a recall in mid-piece are the intact ones, sample by sample.
- `threads`: whether one thread and two give the same file.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from fugue_state.arrays import Array
from fugue_state.audio.compiled import cores
from fugue_state.audio.loudness import LoudnessMeter
from fugue_state.audio.reading import read_channels
from fugue_state.config import DEFAULT_MEMORY, EVENT_BATCH
from fugue_state.engine.whole import Instrument, play
from fugue_state.measure.chords import name_chord
from fugue_state.measure.curve import mel_distance_db
from fugue_state.memory.memory import Memory
from fugue_state.output.render import render
from fugue_state.piece.event import Event
from fugue_state.piece.piece import Piece
from fugue_state.score.model import Score
from fugue_state.settings import checked

AROUND = 16  # chords of which half are named
OURS = {"forgetting": {"order": "saliency", "pace": "even"}}
COMMON = {"forgetting": {"order": "random", "pace": "linear"}, "loudness": {"hold": False}}


def generated(memory: Memory, events: list[Event], *, intact: bool = False) -> Array:
    """Return the mels of events, or what they would be intact."""
    parts = []
    for start in range(0, len(events), EVENT_BATCH):
        some = events[start : start + EVENT_BATCH]
        strengths = None if intact else np.stack([event.strengths for event in some])
        labels = [event.label for event in some if event.label is not None]
        bend = None if intact else some[0].bend
        parts.append(memory.generate(np.stack([e.latent for e in some]), labels or None, strengths, bend=bend))
    return np.concatenate(parts)


def heard(memory: Memory, events: list[Event], mels: Array) -> list[bool]:
    """Say which events are named as asked, by what they sound like before the mix."""
    right = []
    for start in range(0, len(events), EVENT_BATCH):
        sounds = memory.invert(mels[start : start + EVENT_BATCH])
        for sound, event in zip(sounds, events[start : start + EVENT_BATCH], strict=True):
            right.append(name_chord(sound, memory.spec.sample_rate_hz, memory.labels).name == event.chord)
    return right


def straightness(times: np.ndarray[Any, Any], values: np.ndarray[Any, Any]) -> float:
    """Return R2 of a straight line through values over times."""
    line = np.polyval(np.polyfit(times, values, 1), times)
    return float(1.0 - ((values - line) ** 2).sum() / ((values - values.mean()) ** 2).sum())


def by_round(times: Any, values: Any, turns: int) -> tuple[Any, Any]:
    """Return the means of times and values over each whole round of the loop: its chords differ among each other."""
    rounds = len(times) // turns
    return tuple(part[: rounds * turns].reshape(rounds, turns).mean(axis=1) for part in (times, values))


def short_term(piece: Piece, path: Path, until_s: float) -> np.ndarray[Any, Any]:
    """Render a piece and return its short-term loudness (3 s), every tenth of a second until a time."""
    render(piece, path, force=True)
    samples, rate = read_channels(path)
    meter, step, loud = LoudnessMeter(rate, peak=False), rate // 10, []
    for start in range(0, min(len(samples), round(until_s * rate)) - step, step):
        meter.add(samples[start : start + step])
        if start >= 3 * rate:
            loud.append(meter.short_term_lufs)
    return np.array(loud)


def apart(loud: np.ndarray[Any, Any], plan: np.ndarray[Any, Any] | float) -> dict[str, float]:
    """Say how far loudness is from a plan."""
    off = np.abs(loud - plan)
    return {"worst_lu": round(float(off.max()), 2), "within_1_lu": round(float((off <= 1.0).mean()), 4)}


def measure(memory: Memory, model: str, changes: dict[str, Any], duration_s: float, folder: Path) -> dict[str, Any]:
    """Measure one way of forgetting."""
    score = checked(Score, {"duration_s": duration_s, "memory": model} | changes)
    begin = time.perf_counter()
    piece = Piece(score, memory)
    laid_out_s = time.perf_counter() - begin
    events = list(piece.events())
    times = np.array([event.onset for event in events]) / score.samples
    mels = generated(memory, events)
    far = mel_distance_db(mels, generated(memory, events, intact=True), memory.spec)
    right = np.array(heard(memory, events, mels))
    around = np.convolve(right, np.ones(AROUND) / AROUND, mode="valid")
    below = np.flatnonzero(around < 0.5)
    gone = np.array([1.0 - event.strengths.mean() for event in events])
    until_s = float(times[gone <= 0.9 * score.forgetting.to].max() * score.duration_s)
    begin = time.perf_counter()
    loud = short_term(piece, folder / "piece.wav", until_s)
    seconds = time.perf_counter() - begin
    intact = checked(Score, score.model_dump() | {"forgetting": {"to": 0}})
    beside = short_term(Piece(intact, memory), folder / "intact.wav", until_s)
    return {
        "straightness": round(straightness(*by_round(times, far, len(piece.lines[0].turns))), 4),
        "straightness_of_single_chords": round(straightness(times, far), 4),
        "half_named": round(float(times[below[0] + AROUND // 2]), 3) if len(below) else 1.0,
        "last_named": round(float(times[np.flatnonzero(right).max()]), 3) if right.any() else 0.0,
        "named": round(float(right.mean()), 3),
        "named_by_tenth": [round(float(part.mean()), 2) for part in np.array_split(right, 10)],
        "gone_by_tenth": [round(float(part.mean()), 3) for part in np.array_split(gone, 10)],
        "distance_db_by_tenth": [round(float(part.mean()), 2) for part in np.array_split(far, 10)],
        "level": apart(loud, score.master.loudness_lufs),
        "level_beside_intact": apart(loud - loud.mean(), beside - beside.mean()),
        "laid_out_s": round(laid_out_s, 2),
        "render_s": round(seconds, 2),
    }


def recalled(memory: Memory, model: str) -> bool:
    """Say whether what sounds after a recall equals what would have without forgetting, once the room is quiet."""
    common: dict[str, Any] = {"duration_s": 60, "memory": model, "reverb": {"rt60_s": 1.0}}
    cues = [{"do": "recall", "at": 20, "over": 5}]
    sounds = []
    for more in ({"cues": cues}, {"forgetting": {"to": 0}}):
        piece = Piece(checked(Score, common | more), memory)
        score = piece.score
        blocks = play(Instrument(piece), piece.events(), score.samples, 44_100)
        sounds.append(np.concatenate([block.samples for block in blocks]))
    late = 35 * 44_100
    return bool((sounds[0][late:] == sounds[1][late:]).all() and not (sounds[0] == sounds[1]).all())


def same_on_threads(memory: Memory, model: str, folder: Path) -> bool:
    """Say whether one thread and two render the same bytes."""
    hashes = set()
    for threads in ("1", "2"):
        with mock.patch.dict(os.environ, OMP_NUM_THREADS=threads):
            path = folder / f"threads-{threads}.wav"
            render(Piece(checked(Score, {"duration_s": 30, "memory": model} | OURS), memory), path)
        hashes.add(hashlib.sha256(path.read_bytes()).hexdigest())
    return len(hashes) == 1


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=DEFAULT_MEMORY)
    parser.add_argument("--duration", type=float, default=180.0)
    options = parser.parse_args()
    memory = Memory.load(options.model)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        told = {
            "ours": measure(memory, options.model, OURS, options.duration, folder),
            "common": measure(memory, options.model, COMMON, options.duration, folder),
            "recall_is_exact": recalled(memory, options.model),
            "same_on_one_and_two_threads": same_on_threads(memory, options.model, folder),
        }
    print(json.dumps({"threads": cores()} | told))


if __name__ == "__main__":
    main()
