"""Can it be played? Plays a memory as a performer would, without a clock or a page, and prints JSON.

    python benchmarks/performance.py [MODEL] [--seconds 120] [--changes 10000]

Two chords sound at once. Load is the processor time of a block beside its length, on one thread: while nothing moves,
and while a fader moves in every block. A change is heard from the first sample that differs by more than -80 dBFS;
times count from the beginning of the block that it comes before. Steps are between neighbouring samples. `finer` is
the mean error in dB of the mel of what sounds, over all chords of a take with many changes: live, and as `--quality
final` renders it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from fugue_state.audio.mel import MelTransform
from fugue_state.config import DEFAULT_MEMORY
from fugue_state.engine.performance import Performance, played
from fugue_state.measure.fidelity import mel_error
from fugue_state.memory.memory import Memory
from fugue_state.piece.piece import Piece
from fugue_state.score.model import Score
from fugue_state.score.paths import Value
from fugue_state.settings import checked

HEARD = 1e-4
BLOCKS, JUMPS = 400, 100
FROZEN_S, SETTLED_S, SPAN_S, FINER_S = 60.0, 4.0, 0.05, 60.0
Sound = npt.NDArray[np.float32]
Do = Callable[[int], None]


def performance(memory: Memory, beat_s: float) -> Performance:
    """Return a performance in which nothing is planned."""
    plan = {"order": "random", "pace": "linear", "to": 0}
    score = checked(Score, {"tempo_bpm": 60 / beat_s, "quality": "live", "forgetting": plan})
    made = Performance(score, memory)
    made.change("/volume", 1.0)
    return made


def heard(one: Performance, blocks: int, do: Do = lambda _: None) -> tuple[Sound, list[float]]:
    """Play blocks; return their samples and the processor time of each as a share of its length."""
    parts, load = [], []
    for number in range(blocks):
        do(number)
        begin = time.thread_time()
        parts.append(one.next().samples)
        load.append((time.thread_time() - begin) * one.rate / one.block)
    return np.concatenate(parts), load


def told(values: list[float]) -> dict[str, float]:
    """Return median, mean and the value that 99 % are below."""
    found = {"median": statistics.median(values), "mean": statistics.fmean(values)}
    return {key: round(value, 4) for key, value in (found | {"p99": float(np.quantile(values, 0.99))}).items()}


def step(sound: Sound) -> float:
    """Return the largest step between neighbouring samples."""
    return float(np.abs(np.diff(sound, axis=0)).max())


def loads(memory: Memory, beat_s: float, blocks: int) -> dict[str, dict[str, float]]:
    """Return the load while nothing moves, and while a fader moves in every block."""
    one, random = performance(memory, beat_s), np.random.default_rng(0)
    heard(one, 100)
    moving: Do = lambda _: one.change("/layer/2/forget", float(random.random()))  # noqa: E731
    return {"steady": told(heard(one, blocks)[1]), "moving": told(heard(one, blocks, moving)[1])}


def jumps(memory: Memory, beat_s: float, blocks: int) -> dict[str, float]:
    """Return the largest step while random layers jump from intact to forgotten and back, beside the steady sound's."""
    one, random = performance(memory, beat_s), np.random.default_rng(1)
    places = set(random.choice(blocks, JUMPS, replace=False).tolist())
    gone = dict.fromkeys(range(1, 1 + len(memory.layers)), 0.0)

    def jump(number: int) -> None:
        if number in places:
            layer = int(random.integers(1, 1 + len(gone)))
            gone[layer] = 1.0 - gone[layer]
            one.change(f"/layer/{layer}/forget", gone[layer])

    steady, jumped = heard(performance(memory, beat_s), blocks)[0], heard(one, blocks, jump)[0]
    return {"steady": round(step(steady), 4), "jumping": round(step(jumped), 4)}


def delays_ms(memory: Memory, beat_s: float) -> dict[str, float]:
    """Return how long it takes until everything that is forgotten at once is heard to change."""
    found = []
    for at in range(60, 140, 4):
        plain, bent = performance(memory, beat_s), performance(memory, beat_s)
        before = heard(plain, at + 8)[0]
        after = heard(bent, at + 8, lambda number, at=at, bent=bent: bent.change("/forget", float(number >= at)))[0]  # type: ignore[misc]
        moved = np.flatnonzero(np.abs(before - after).max(axis=1) > HEARD)
        found.append(1000.0 * (moved[0] - at * bent.block) / bent.rate)
    return told(found) | {"most": round(max(found), 1)}


def frozen(memory: Memory, beat_s: float) -> dict[str, float]:
    """Return how far the level of a held sound moves, by short spans, and how deeply it beats at the frame rate."""
    one = performance(memory, beat_s)
    heard(one, 100)
    one.change("/freeze", 1)
    sound = heard(one, round((FROZEN_S + SETTLED_S) * one.rate / one.block))[0][round(SETTLED_S * one.rate) :].mean(
        axis=1
    )
    span = round(SPAN_S * one.rate)
    level = 10 * np.log10((sound[: len(sound) // span * span].reshape(-1, span) ** 2).mean(axis=1) + 1e-20)
    short = one.block // 8
    wave = np.sqrt((sound[: len(sound) // short * short].reshape(-1, short) ** 2).mean(axis=1))
    depth = np.abs(np.fft.rfft((wave / wave.mean() - 1) * np.hanning(len(wave)))) * 4 / len(wave)
    rate = round(len(wave) / 8)
    return {
        "range_db": round(float(level.max() - level.min()), 2),
        "frame_rate_depth": round(float(depth[rate - 3 : rate + 4].max()), 4),
    }


def replayed(memory: Memory, beat_s: float, seconds: float, changes: int) -> dict[str, bool | int]:
    """Say whether a take of many changes is the same sound again."""
    one, random = performance(memory, beat_s), np.random.default_rng(2)
    blocks = round(seconds * one.rate / one.block)
    layers, sizes = len(memory.layers), list(memory.layers.values())

    def hand(_: int) -> None:
        for _ in range(random.poisson(changes / blocks)):
            layer, value = int(random.integers(layers)), float(random.random())
            unit = int(random.integers(sizes[layer]))
            paths: dict[str, Value] = {
                f"/layer/{layer + 1}/forget": value, f"/unit/{layer + 1}/{unit + 1}/strength": value,
                f"/grid/{layer + 1}": random.bytes(sizes[layer]), "/forget": value / 2, "/recall": None,
                "/freeze": int(value < 0.2), "/volume": value, "/seed": int(100 * value),
            }  # fmt: skip
            path = list(paths)[int(random.integers(len(paths)))]
            one.change(path, paths[path])

    live = heard(one, blocks, hand)[0]
    take = one.take()
    again = np.concatenate([block.samples for block in played(Piece(take, memory))])
    return {"changes": len(take.changes), "the_same": bool(np.array_equal(live, again))}


def finer(memory: Memory, beat_s: float, seconds: float, changes: int) -> dict[str, float]:
    """Return how far the sound of events is from their mels in dB, frame by frame and as wholes."""
    one, random = performance(memory, beat_s), np.random.default_rng(3)
    blocks = round(seconds * one.rate / one.block)
    layers = len(memory.layers)

    def hand(_: int) -> None:
        for _ in range(random.poisson(changes / blocks)):
            one.change(f"/layer/{random.integers(layers) + 1}/forget", float(random.random()))

    heard(one, blocks, hand)
    sketched = Performance(one.take().model_copy(update={"quality": "final"}), memory, finer=True)
    moments = [sketched.advance() for _ in range(blocks)]
    voices = {id(part.voice): part.voice for moment in moments for part in moment.passages}.values()
    transform, stream = MelTransform(memory.spec), memory.stream(learned=memory.net is not None)
    errors: dict[str, list[float]] = {"live": [], "final": []}
    for voice in voices:
        mel = voice.mel[None]  # type: ignore[attr-defined]
        for name, sound in (("live", stream.whole(mel[0])[None]), ("final", memory.invert(mel))):
            errors[name].append(float(mel_error(mel, sound, transform)[0]))
    return {name: round(statistics.fmean(found), 2) for name, found in errors.items()} | {"chords": len(voices)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=DEFAULT_MEMORY)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--changes", type=int, default=10_000)
    asked = parser.parse_args()
    memory = Memory.load(asked.model, quality="final")
    beat_s = memory.spec.duration_s * 2 / 3
    blocks = BLOCKS
    figures = {
        "memory": memory.header.name,
        "load": loads(memory, beat_s, blocks),
        "step": jumps(memory, beat_s, blocks),
        "control_to_sound_ms": delays_ms(memory, beat_s),
        "frozen": frozen(memory, beat_s),
        "finer": finer(memory, beat_s, min(asked.seconds, FINER_S), asked.changes // 20),
        "replay": replayed(memory, beat_s, asked.seconds, asked.changes),
    }
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
