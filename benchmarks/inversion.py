"""How faithful and how fast every way from mel to sound is, beside the common one, in one run; prints JSON.

    python benchmarks/inversion.py [MODEL] --against CORPUS [--clips 48] [--latents 2] [--jumps 100]
        [--air CORPUS] [--json-only]

The common way is librosa's: a mel of 1024/256 and 128 Slaney bands, non-negative least squares, then 400 Griffin-Lim
iterations of momentum 0.9. Every way gets the same held-out clips of the corpus, through the mel that it reads.

- `ways`: errors (`fugue_state.measure.fidelity`), seconds for one clip by itself, times real time in a batch.
- `forgotten`: mels of a half-forgotten memory are of no sound; how far is the mel of what each way makes of them?
  The common way is given these same mels here (the inverter `original`).
- `phase`: the clips' own magnitudes, only their phase taken away.
- `stream`: the vocoder frame by frame, while the mel jumps; `named`: are the chords still heard; `air`, of clips at
  44.1 kHz: what of the sound above the mel comes back.
- `goals`: what was aimed at, what was reached.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import soundfile
from scipy import fft

from fugue_state.arrays import Array
from fugue_state.audio import io
from fugue_state.audio.compiled import cores, in_threads, one_thread
from fugue_state.audio.integrate import Grid, gradient_phase, realtime_phase
from fugue_state.audio.inverters import MOMENTUM
from fugue_state.audio.mel import MelTransform, hann
from fugue_state.audio.phase import griffin_lim, random_phase
from fugue_state.bending.orders import make_order
from fugue_state.bending.strengths import forget
from fugue_state.config import (
    COMPARED_HZ,
    COMPARED_WINDOWS,
    DEFAULT_MEMORY,
    DEFAULT_QUALITY,
    EVENT_BATCH,
    QUALITIES,
    WITHOUT_VOCODER,
    InverterName,
    MelSpec,
    QualityName,
)
from fugue_state.corpus.folder import Clip, read_corpus
from fugue_state.errors import InputError
from fugue_state.measure.fidelity import (
    chroma_error,
    largest_step,
    log_spectral_error,
    log_spectral_errors,
    mel_error,
)
from fugue_state.measure.memory import SoundSet, generated, name_table, real
from fugue_state.measure.naming import naming_of
from fugue_state.memory.memory import Memory
from fugue_state.memory.vocoder import Stream

COMMON, FFT, HOP, BANDS, LOWEST_HZ = "common", 1024, 256, 128, 50.0
ITERATIONS, COMMON_MOMENTUM, RANGE_DB = 400, 0.9, 80.0
ORIGINAL: InverterName = "original"
ORDERS, FRACTIONS = ("random", "layerwise"), (0.25, 0.5, 0.75)
TIMED, ROUNDS, SLOW_S = 8, 3, 5.0
AIR_HZ = 44_100
AROUND = 6  # frames before and after a jump in which a click would be
MOVED = 1e-5
LEAST_STEP = 1e-4
STREAMED = 8  # clips that are timed frame by frame

GOALS: dict[str, tuple[str, dict[QualityName, float]]] = {
    "log_spectral_error_ratio": ("most", {"final": 0.6, "live": 0.75, "draft": 0.9}),
    "chroma_error_ratio": ("most", {"final": 0.33, "live": 0.6, "draft": 1.0}),
    "times_faster": ("least", {"final": 25.0, "live": 50.0, "draft": 80.0}),
    "times_real_time": ("least", {"final": 30.0, "live": 60.0, "draft": 100.0}),
}
FORGOTTEN_GOALS: dict[QualityName, float] = {"final": 0.8, "live": 1.0}
STREAM_GOALS = {"load_percent": 10.0, "click_ratio_worst": 2.0}

Figures = dict[str, Any]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Way:
    """A way back: sounds (B, N) to the mel that it reads, and that mel to sounds."""

    encode: Callable[[Array], Array]
    invert: Callable[[Array], Array]


def common_mel(sounds: Array, sample_rate_hz: int) -> Array:
    """Return the common mel (B, 128, T), amplitudes with all that is 80 dB below the loudest raised to there."""
    import librosa

    mels = librosa.feature.melspectrogram(
        y=sounds, sr=sample_rate_hz, n_fft=FFT, hop_length=HOP,
        n_mels=BANDS, fmin=LOWEST_HZ, fmax=COMPARED_HZ, power=1.0,
    )  # fmt: skip
    least = mels.max(axis=(1, 2), keepdims=True) * np.float32(10.0 ** (-RANGE_DB / 20.0))
    return np.asarray(np.maximum(mels, least))


def common_sound(mels: Array, sample_rate_hz: int, length: int) -> Array:
    """Return the sounds (B, length) of common mels, one after another."""
    import librosa

    made = []
    for mel in mels:
        linear = librosa.feature.inverse.mel_to_stft(
            mel, sr=sample_rate_hz, n_fft=FFT, power=1.0, fmin=LOWEST_HZ, fmax=COMPARED_HZ
        )
        made.append(
            librosa.griffinlim(
                linear, n_iter=ITERATIONS, hop_length=HOP, n_fft=FFT, momentum=COMMON_MOMENTUM,
                length=length, random_state=0,
            )
        )  # fmt: skip
    return np.stack(made).astype(np.float32)


def inverters(memory: Memory) -> dict[str, Callable[[Array], Array]]:
    """Return every way of the memory: its own and the lobes at every quality, the others once."""
    names: list[tuple[InverterName, QualityName]] = [(memory.own_inverter, quality) for quality in QUALITIES]
    names += [(WITHOUT_VOCODER, quality) for quality in QUALITIES]
    names += [(other, DEFAULT_QUALITY) for other in ("updates", "joint", "pseudo-inverse")]
    return {f"{name} {quality}": memory.make_inverter(name, quality) for name, quality in names}


def ways(memory: Memory) -> dict[str, Way]:
    """Return the common way first, then those of the memory."""
    spec = memory.spec
    common = Way(
        partial(common_mel, sample_rate_hz=spec.sample_rate_hz),
        partial(common_sound, sample_rate_hz=spec.sample_rate_hz, length=spec.samples),
    )
    encode = MelTransform(spec).encode
    return {COMMON: common} | {name: Way(encode, invert) for name, invert in inverters(memory).items()}


def clock(do: Callable[[], object]) -> float:
    """Return the seconds that something takes."""
    begin = time.perf_counter()
    do()
    return time.perf_counter() - begin


def median_seconds(do: Callable[[], object]) -> float:
    """Return the median time of a few rounds after a first one; of the first alone where that is long."""
    first = clock(do)
    return first if first > SLOW_S else statistics.median(clock(do) for _ in range(ROUNDS))


def speed(invert: Callable[[Array], Array], mels: Array, duration_s: float) -> Figures:
    """Return the seconds for one clip by itself, and how many times faster than listening a batch is."""
    invert(mels[:1])  # what is compiled or loaded at first use is no part of it
    alone = statistics.median(clock(partial(invert, mel[None])) for mel in mels[:TIMED])
    batch = mels[:EVENT_BATCH]
    together = median_seconds(partial(invert, batch))
    return {"seconds_per_clip": round(alone, 4), "times_real_time": round(len(batch) * duration_s / together, 1)}


def batched(invert: Callable[[Array], Array], mels: Array) -> Array:
    """Invert mels (n, M, T) as a piece does: in batches."""
    return np.concatenate([invert(mels[start : start + EVENT_BATCH]) for start in range(0, len(mels), EVENT_BATCH)])


def faithful(reference: Array, sounds: Array, sample_rate_hz: int) -> Figures:
    """Return the errors of sounds (n, N), means over all."""
    by_window = log_spectral_errors(reference, sounds, sample_rate_hz).mean(axis=0)
    return {
        "log_spectral_error_db": round(float(by_window.mean()), 3),
        "by_window_db": {str(n): round(float(e), 3) for n, e in zip(COMPARED_WINDOWS, by_window, strict=True)},
        "chroma_error": round(float(chroma_error(reference, sounds, sample_rate_hz).mean()), 4),
    }


def beside(figures: Figures, common: Figures) -> Figures:
    """Return the ratios to the common way."""
    return {
        "log_spectral_error_ratio": round(figures["log_spectral_error_db"] / common["log_spectral_error_db"], 3),
        "chroma_error_ratio": round(figures["chroma_error"] / common["chroma_error"], 3),
        "times_faster": round(common["seconds_per_clip"] / figures["seconds_per_clip"], 1),
        "times_faster_in_a_batch": round(figures["times_real_time"] / common["times_real_time"], 1),
    }


def measure_ways(memory: Memory, sounds: Array, say: Say) -> Figures:
    """Measure every way on the same clips (n, N)."""
    spec, rows = memory.spec, {}
    for name, way in ways(memory).items():
        say(name)
        mels = way.encode(sounds)
        told = speed(way.invert, mels, spec.duration_s)
        rows[name] = faithful(sounds, batched(way.invert, mels), spec.sample_rate_hz) | told
        rows[name] |= beside(rows[name], rows[COMMON])
    return rows


def forgotten_mels(memory: Memory, latents: int, seed: int) -> Iterator[tuple[str, Array]]:
    """Yield mels (n, M, T) of every chord, ever more of the memory forgotten."""
    z = memory.latents(latents * max(len(memory.labels), 1), seed)
    for order, fraction in itertools.product(ORDERS, FRACTIONS):
        strengths = forget(make_order(order, memory.layers, seed), fraction, memory.units)
        yield f"{order} {fraction:g}", memory.generate(z, None, strengths)


def measure_forgotten(memory: Memory, latents: int, seed: int, say: Say) -> Figures:
    """Measure how well what is played of half-forgotten mels has these mels, beside the common way."""
    found = inverters(memory) | {ORIGINAL: memory.make_inverter(ORIGINAL)}
    transform = MelTransform(memory.spec)
    rows: dict[str, Figures] = {name: {} for name in found}
    for what, mels in forgotten_mels(memory, latents, seed):
        say(f"forgotten: {what}")
        for name, invert in found.items():
            error = mel_error(mels, batched(invert, mels), transform)
            rows[name][what] = round(float(error.mean()), 3)
    for row in rows.values():
        row["mean_db"] = round(statistics.mean(row.values()), 3)
    for row in rows.values():
        row["ratio"] = round(row["mean_db"] / rows[ORIGINAL]["mean_db"], 3)
    return rows


def phases(grid: Grid) -> dict[str, Callable[[Array], Array]]:
    """Return ways from magnitudes (B, T, F) to sounds: integrated phase, or iterations from a random one."""
    care = QUALITIES["final"].iterations

    def found(begin: Callable[[Array], Array], iterations: int, momentum: float, magnitude: Array) -> Array:
        def one(item: Array) -> Array:
            return griffin_lim(item, begin(item), grid, iterations=iterations, momentum=momentum)

        return np.stack(in_threads(one, list(magnitude)))

    def integrated(kind: Callable[[Array, Grid, int], Array], iterations: int) -> Callable[[Array], Array]:
        return partial(found, lambda item: kind(item, grid, 0) + grid.from_centre(), iterations, MOMENTUM)

    def iterated(iterations: int, momentum: float) -> Callable[[Array], Array]:
        return partial(found, partial(random_phase, seed=0), iterations, momentum)

    return {
        "realtime": integrated(realtime_phase, 0),
        "gradient": integrated(gradient_phase, 0),
        f"gradient + {care} fast Griffin-Lim": integrated(gradient_phase, care),
        "random + 32 fast Griffin-Lim": iterated(32, MOMENTUM),
        "random + 100 fast Griffin-Lim": iterated(100, MOMENTUM),
        "random + 100 Griffin-Lim": iterated(100, 0.0),
    }


def magnitudes(sounds: Array, grid: Grid) -> Array:
    """Return the magnitudes (B, T, F) of sounds (B, N)."""
    around = np.pad(sounds, ((0, 0), (grid.n_fft // 2, grid.n_fft // 2)))
    frames = np.lib.stride_tricks.sliding_window_view(around, grid.n_fft, axis=1)[:, :: grid.hop]
    return np.abs(fft.rfft(frames * hann(grid.n_fft)))


def measure_phases(spec: MelSpec, sounds: Array, say: Say) -> Figures:
    """Measure what is lost if only the phase is."""
    grid, rows = Grid(spec.n_fft, spec.hop), {}
    true = magnitudes(sounds, grid)
    for name, find in phases(grid).items():
        say(f"true magnitudes: {name}")
        made = batched(find, true)
        apart = np.linalg.norm(magnitudes(made, grid) - true, axis=(1, 2)) / np.linalg.norm(true, axis=(1, 2))
        rows[name] = {
            "spectral_convergence_db": round(float(20.0 * np.log10(apart).mean()), 2),
            "log_spectral_error_db": round(float(log_spectral_error(sounds, made, spec.sample_rate_hz).mean()), 3),
            "seconds_per_clip": speed(find, true, spec.duration_s)["seconds_per_clip"],
        }
    return rows


def measure_stream(memory: Memory, mels: Array, jumps: int, seed: int) -> Figures:
    """Measure the vocoder frame by frame on one core: load, latency, and what a sudden change does."""
    with one_thread():
        stream = memory.stream()
        load = 100.0 * statistics.median(hop_by_hop(stream, mel) for mel in mels[:STREAMED])
        found = [jump(stream, *three) for three in pairs(mels, jumps, seed)]
    ratios = [ratio for ratio, _ in found]
    return {
        "load_percent": round(load, 2),
        "latency_samples": stream.latency,
        "jumps": len(found),
        "click_ratio_median": round(statistics.median(ratios), 3),
        "click_ratio_worst": round(max(ratios), 3),
        "earliest_change_samples": max(early for _, early in found),
    }


def hop_by_hop(stream: Stream, mel: Array) -> float:
    """Return the time that playing a mel (M, T) takes, as a part of how long it lasts."""
    _, warm = stream.step(mel[:, :1], stream.start())
    stream.step(mel[:, 1:2], warm)
    state = stream.start()
    length_s = float(mel.shape[1] * stream.spec.hop / stream.spec.sample_rate_hz)
    begin = time.perf_counter()
    for number in range(mel.shape[1]):
        _, state = stream.step(mel[:, number : number + 1], state)
    return (time.perf_counter() - begin) / length_s


def pairs(mels: Array, count: int, seed: int) -> Iterator[tuple[Array, Array, int]]:
    """Yield two different mels each, and the frame at which the one becomes the other."""
    random, frames = np.random.default_rng(seed), mels.shape[2]
    for _ in range(count):
        one, other = random.choice(len(mels), 2, replace=False)
        yield mels[one], mels[other], int(random.integers(frames // 4, frames - frames // 4))


def jump(stream: Stream, one: Array, other: Array, at: int) -> tuple[float, int]:
    """Change all values of a mel at frame `at`.

    Returns the largest step around it, in times that of the two mels played steadily, and how many samples
    before the frame's centre the sound begins to differ.
    """
    mixed = np.concatenate([one[:, :at], other[:, at:]], axis=1)
    heard = [stream.step(mel, stream.start())[0][stream.latency :] for mel in (mixed, one, other)]
    hop = stream.spec.hop
    around = np.stack([sound[(at - AROUND) * hop : (at + AROUND) * hop] for sound in heard])
    changed, *steady = largest_step(around).tolist()
    moved = np.flatnonzero(np.abs(heard[0] - heard[1]) > MOVED)
    first = int(moved[0]) if len(moved) else at * hop
    return float(changed / max(*steady, LEAST_STEP)), at * hop - first


def measure_names(memory: Memory, clips: SoundSet, per_class: int, seed: int) -> Figures | None:
    """Return the share of chords named right: clips straight, through the mel, and of the intact memory."""
    if naming_of(memory.labels) is None or not set(clips.labels) <= set(memory.labels):
        return None
    again = batched(memory.inverter, clips.mels)
    sets = {
        "clips": clips,
        "clips_through_mel": replace(clips, sounds=again),
        "intact_memory": generated(memory, per_class, seed),
    }
    return {name: round(name_table(sounds, memory).accuracy, 4) for name, sounds in sets.items()}


def measure_air(memory: Memory, clips: list[Clip], per_class: int, count: int, seed: int) -> Figures:
    """Measure the error above 8 kHz of what the memory's inverter makes of clips at 44.1 kHz, and of nothing there."""
    for clip in clips:
        if soundfile.info(clip.path).samplerate < AIR_HZ:
            raise InputError(f"{clip.path}: --air takes clips of at least {AIR_HZ} Hz")
    spec = memory.spec
    wide = spec.model_copy(update={"sample_rate_hz": AIR_HZ})
    length = round(spec.samples / spec.sample_rate_hz * AIR_HZ) // spec.hop
    sounds = real(clips, wide.model_copy(update={"frames": length}), per_class, seed).sounds[:count]
    narrow = io.resample(sounds.T, AIR_HZ, spec.sample_rate_hz).T[:, : spec.samples]
    narrow = np.pad(narrow, ((0, 0), (0, spec.samples - narrow.shape[1])))
    again = batched(memory.inverter, MelTransform(spec).encode(narrow))
    made = io.resample(again.T, spec.sample_rate_hz, AIR_HZ).T[:, : sounds.shape[1]]
    reference = sounds[:, : made.shape[1]]
    errors = [
        log_spectral_error(reference, sound, AIR_HZ, from_hz=COMPARED_HZ, to_hz=AIR_HZ / 2)
        for sound in (made, without_air(made))
    ]
    with_air, without = (round(float(error.mean()), 3) for error in errors)
    return {"clips": len(made), "inverter_db": with_air, "nothing_above_8_khz_db": without}


def without_air(sounds: Array) -> Array:
    """Return sounds (B, N) at 44.1 kHz with all above 8 kHz removed."""
    spectrum = fft.rfft(sounds)
    spectrum[:, fft.rfftfreq(sounds.shape[1], 1.0 / AIR_HZ) > COMPARED_HZ] = 0.0
    return np.asarray(fft.irfft(spectrum, n=sounds.shape[1]))


def goal(what: str, kind: str, bound: float, reached: float) -> Figures:
    """Return one line of the table of goals."""
    met = reached <= bound if kind == "most" else reached >= bound
    return {"what": what, "goal": f"at {kind} {bound:g}", "reached": reached, "met": met}


def goals(own: str, told: Figures) -> list[Figures]:
    """Return what was aimed at with the memory's own inverter, and what was reached."""
    table = [
        goal(f"{quality}: {figure}", kind, bound, told["ways"][f"{own} {quality}"][figure])
        for figure, (kind, bounds) in GOALS.items()
        for quality, bound in bounds.items()
    ]
    table += [
        goal(f"{quality}: forgotten mel_error_ratio", "most", bound, told["forgotten"][f"{own} {quality}"]["ratio"])
        for quality, bound in FORGOTTEN_GOALS.items()
    ]
    if told["stream"] is not None:
        table += [goal(f"stream: {key}", "most", bound, told["stream"][key]) for key, bound in STREAM_GOALS.items()]
    return table


def measure(options: argparse.Namespace, say: Say) -> Figures:
    """Measure everything that was asked for."""
    memory = Memory.load(options.model)
    corpus = read_corpus(options.against)
    per_class = -(-options.clips // max(len(corpus.labels), 1))
    clips = held_out(corpus.part("Test"), memory.spec, per_class, options.clips, options.seed)
    told: Figures = {
        "memory": memory.header.name,
        "inverter": memory.own_inverter,
        "threads": cores(),
        "clips": len(clips.sounds),
        "clip_s": round(memory.spec.duration_s, 3),
        "ways": measure_ways(memory, clips.sounds, say),
        "forgotten": measure_forgotten(memory, options.latents, options.seed, say),
        "phase": measure_phases(memory.spec, clips.sounds, say),
    }
    say("stream, names, air")
    told["stream"] = None if memory.net is None else measure_stream(memory, clips.mels, options.jumps, options.seed)
    told["named"] = measure_names(memory, clips, per_class, options.seed)
    if options.air:
        told["air"] = measure_air(memory, read_corpus(options.air).clips, per_class, options.clips, options.seed)
    return told | {"goals": goals(memory.own_inverter, told)}


def held_out(clips: list[Clip], spec: MelSpec, per_class: int, count: int, seed: int) -> SoundSet:
    """Return as many held-out clips, all labels alike."""
    if not clips or count < 2:
        raise InputError("two held-out clips are needed at least: a corpus with a Test part, --clips 2 or more")
    found = real(clips, spec, per_class, seed)
    some = np.linspace(0, len(found.sounds) - 1, min(count, len(found.sounds))).astype(np.int64)
    names = [tuple(values[i] for i in some) for values in (found.labels, found.guitars)]
    return SoundSet(found.sounds[some], found.mels[some], *names)


def parsed(words: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=DEFAULT_MEMORY)
    parser.add_argument("--against", required=True, help="corpus whose Test part is inverted")
    parser.add_argument("--clips", type=int, default=48)
    parser.add_argument("--latents", type=int, default=2, help="half-forgotten mels of each chord")
    parser.add_argument("--jumps", type=int, default=100)
    parser.add_argument("--air", help="corpus at 44.1 kHz")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json-only", action="store_true", help="do not say what is being done")
    return parser.parse_args(words)


def main() -> None:
    """Run the measurement."""
    options = parsed()
    told = measure(options, (lambda _: None) if options.json_only else partial(print, file=sys.stderr, flush=True))
    print(json.dumps(told))


if __name__ == "__main__":
    main()
