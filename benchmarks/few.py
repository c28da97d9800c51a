"""What a memory learns from forty unlabelled clips that are no guitars, by one command; prints JSON.

    python benchmarks/few.py [--minutes 15] [--per-clip 4] [--clips DIR] [-- OPTIONS OF fugue train]

Forty clips are made: ten bells, pads, voices and winds each (or those of --clips are taken). `fugue train` learns from
them for --minutes. Then --per-clip sounds for each clip are generated, so each cluster by its size, and told beside the
clips, straight and through mel and inverter:

- `brightness_hz`, `flatness`, `decay_db`: medians of the spectral centroid, of the spectral flatness, and of the level
  of the last quarter below that of the loudest. `ratio` compares each sound with the clip that it is nearest to, at the
  median over all sounds (decay: as a ratio of amplitudes): half of the clips are tones and half are noises, so the
  flatness at the median of all of them is that of none.
- `covered`: the share of clips that are the nearest clip of at least one generated sound, `kinds` of each kind.
- `copies`: sounds nearer to a clip than any two clips are to each other.
- `seconds`: the whole command, from files to card.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import signal

from fugue_state.arrays import Array, Wide
from fugue_state.audio import io, reading
from fugue_state.audio.mel import MelTransform
from fugue_state.config import ClipConfig
from fugue_state.corpus.clips import prepare
from fugue_state.corpus.mels import MelSet
from fugue_state.learning.clusters import cluster_mels
from fugue_state.measure.distance import FINE, embed, nearest
from fugue_state.memory.memory import Memory

RATE, SECONDS, EACH = 44_100, 4.0, 10
QUARTERS = 4


def bell(random: np.random.Generator, time_s: Wide) -> Wide:
    """Return a struck bell: inharmonic partials, high ones die sooner."""
    base = random.uniform(180.0, 900.0)
    ratios = np.array([0.5, 1.0, 1.19, 1.5, 2.0, 2.51, 2.66, 3.01, 4.1, 5.4]) * random.normal(1.0, 0.01, 10)
    lives = random.uniform(0.6, 2.5) / ratios**0.6
    parts = np.exp(-time_s / lives[:, None]) * np.sin(2 * np.pi * base * ratios[:, None] * time_s)
    return np.asarray((parts * random.uniform(0.2, 1.0, 10)[:, None]).sum(axis=0))


def pad(random: np.random.Generator, time_s: Wide) -> Wide:
    """Return a slow chord of detuned saws behind a low-pass."""
    root = 55.0 * 2.0 ** (random.integers(0, 25) / 12.0)
    out = np.zeros_like(time_s)
    for interval in random.choice([(0, 4, 7, 12), (0, 3, 7, 10), (0, 5, 7, 12)]):
        for _ in range(3):
            hz = root * 2.0 ** (interval / 12.0) * random.normal(1.0, 0.003)
            out += signal.sawtooth(2 * np.pi * (hz * time_s + random.uniform()))
    sos = signal.butter(4, random.uniform(500.0, 2500.0), fs=RATE, output="sos")
    return np.asarray(signal.sosfilt(sos, out)) * np.minimum(1.0, time_s / random.uniform(0.3, 1.2))


def voice(random: np.random.Generator, time_s: Wide) -> Wide:
    """Return a sung vowel: pulses through three formants, with vibrato."""
    hz = random.uniform(110.0, 330.0) * (1.0 + 0.012 * np.sin(2 * np.pi * random.uniform(4.5, 6.0) * time_s))
    source = signal.sawtooth(2 * np.pi * np.cumsum(hz) / RATE) + 0.02 * random.normal(size=len(time_s))
    out = np.zeros_like(time_s)
    vowel = random.choice([(730, 1090, 2440), (270, 2290, 3010), (570, 840, 2410)])
    for formant, level in zip(vowel, (1, 0.5, 0.25), strict=True):
        out += level * np.asarray(signal.lfilter(*signal.iirpeak(float(formant), 8.0, fs=RATE), source))
    return out * np.minimum(1.0, time_s / 0.1) * np.minimum(1.0, (SECONDS - time_s) / 0.8)


def wind(random: np.random.Generator, time_s: Wide) -> Wide:
    """Return gusts: noise through a band that moves."""
    low = random.uniform(200.0, 600.0)
    bands = [signal.butter(2, (low * k, low * k * 1.6), "band", fs=RATE, output="sos") for k in (1.0, 1.5, 2.2)]
    noise = random.normal(size=len(time_s))
    turns = random.uniform(0.2, 0.7, 3)
    out = np.zeros_like(time_s)
    for sos, turn in zip(bands, turns, strict=True):
        swell = 0.6 + 0.4 * np.sin(2 * np.pi * (turn * time_s + random.uniform()))
        out += np.asarray(signal.sosfilt(sos, noise)) * swell
    return out


KINDS: dict[str, Callable[[np.random.Generator, Wide], Wide]] = {"bell": bell, "pad": pad, "voice": voice, "wind": wind}


def make_clips(folder: Path, seed: int = 0) -> Path:
    """Write forty clips into a folder."""
    folder.mkdir()
    time_s = np.arange(int(SECONDS * RATE)) / RATE
    for kind, make in KINDS.items():
        for number in range(EACH):
            sound = make(np.random.default_rng([seed, number, *kind.encode()]), time_s)
            io.write(folder / f"{kind}-{number}.wav", (0.5 * sound / np.abs(sound).max()).astype(np.float32), RATE)
    return folder


TRAITS = ("brightness_hz", "flatness", "decay_db")


def described(sounds: Array, rate: int) -> Wide:
    """Return what sounds (n, N) are like: their traits (n, 3)."""
    told = []
    for sound in sounds:
        power = np.abs(signal.stft(sound, rate, nperseg=2048)[2]) ** 2
        hz, mean = np.fft.rfftfreq(2048, 1.0 / rate), power.mean(axis=1) + 1e-12
        inside = (hz > 50.0) & (hz < 8000.0)
        quarters = [float((part**2).mean()) + 1e-12 for part in np.array_split(sound, QUARTERS)]
        told.append(
            (
                (hz * mean).sum() / mean.sum(),
                np.exp(np.log(mean[inside]).mean()) / mean[inside].mean(),
                10.0 * np.log10(quarters[-1] / max(quarters)),
            )
        )
    return np.array(told)


def medians(traits: Wide) -> dict[str, float]:
    """Return the medians (3,) of traits (n, 3) by name."""
    return dict(zip(TRAITS, np.median(traits, axis=0).tolist(), strict=True))


def compared(ours: Wide, theirs: Wide) -> dict[str, float]:
    """Return the median ratios of traits (n, 3) to others (n, 3), by name."""
    with_amplitudes = [np.stack([*part.T[:2], 10.0 ** (part.T[2] / 20.0)], axis=1) for part in (ours, theirs)]
    return medians(with_amplitudes[0] / with_amplitudes[1])


def clips_of(mels: Array, memory: Memory) -> dict[str | None, int]:
    """Return how many of the clips lie in each cluster that the memory took as a label."""
    if not memory.labels:
        return {None: len(mels)}
    data = MelSet(mels.astype(np.float16), np.zeros(len(mels), dtype=np.int64), (), [], "")
    found = cluster_mels(data, memory.spec, len(memory.labels)).label
    return dict(zip(memory.labels, np.bincount(found).tolist(), strict=True))


def figures(memory: Memory, folder: Path, per_clip: int, seed: int) -> dict[str, Any]:
    """Compare what a memory makes with the clips it learned from."""
    spec, paths = memory.spec, sorted(folder.glob("*.wav"))
    clips = np.stack(
        [
            prepare(reading.read(p, spec.sample_rate_hz)[0], spec.sample_rate_hz, spec.samples, ClipConfig())
            for p in paths
        ]
    )
    known = MelTransform(spec).encode(clips)
    made = np.concatenate(
        [
            memory.generate(memory.latents(per_clip * clips, seed + i), name)
            for i, (name, clips) in enumerate(clips_of(known, memory).items())
        ]
    )
    traits = {
        "clips": described(clips, spec.sample_rate_hz),
        "through_mel": described(memory.invert(known), spec.sample_rate_hz),
        "generated": described(np.concatenate([memory.invert(part[None]) for part in made]), spec.sample_rate_hz),
    }
    ours, theirs = (embed(mels, FINE, range_db=spec.range_db) for mels in (made, known))
    near, apart = nearest(ours, theirs), nearest(theirs, theirs, selves=np.arange(len(theirs)))
    reached = {paths[int(i)].name for i in near.index}
    kinds = {kind: sum(name.startswith(kind) for name in reached) for kind in KINDS}
    return {name: medians(part) for name, part in traits.items()} | {
        "ratio": compared(traits["generated"], traits["clips"][near.index]),
        "through_mel_ratio": compared(traits["through_mel"], traits["clips"]),
        "sounds": len(made),
        "covered": len(reached) / len(paths),
        "kinds": kinds,
        "nearest_db": float(np.median(near.distance_db)),
        "clips_apart_db": float(np.median(apart.distance_db)),
        "copies": int((near.distance_db < apart.distance_db.min()).sum()),
    }


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--per-clip", type=int, default=4)
    parser.add_argument("--clips", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("options", nargs="*", help="options of fugue train, after --")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clips = asked.clips or make_clips(Path(folder) / "clips", asked.seed)
        command = [sys.executable, "-m", "fugue_state.cli", "train", str(clips), "-o", str(Path(folder) / "run")]
        began = time.perf_counter()
        subprocess.run([*command, "--minutes", str(asked.minutes), *asked.options], check=True)
        seconds = time.perf_counter() - began
        memory = Memory.load(Path(folder) / "run")
        told = figures(memory, clips, asked.per_clip, asked.seed)
    print(json.dumps({"options": asked.options, "steps": memory.header.steps, "seconds": seconds} | told))


if __name__ == "__main__":
    main()
