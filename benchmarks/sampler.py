"""What it costs that the stages of a sampler's pack can be crossfaded: beside sounds that are inverted one by one.

    python benchmarks/sampler.py guitar --labels 8

For each stage of forgetting: how far the sound is from its mel, whether its chord or note is named as asked. Halfway
between two stages: the level (dB) relative to the mean of both, over all and in the worst bands, where they cancel.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from itertools import pairwise

import numpy as np
from scipy import fft

from fugue_state.arrays import Array, Wide
from fugue_state.audio.inverters import SpectralInverter
from fugue_state.audio.loudness import event_lufs
from fugue_state.config import SamplerConfig
from fugue_state.engine.level import held_db
from fugue_state.export.sampler_sounds import pack_score, stages_of
from fugue_state.measure.fidelity import mel_error
from fugue_state.measure.naming import name_sound
from fugue_state.memory.memory import Memory
from fugue_state.piece.piece import Piece
from fugue_state.score.model import Score
from fugue_state.settings import checked

BANDS, LOWEST_HZ, HIGHEST_HZ = 24, 60.0, 8000.0
QUARTERS = 4  # of the time, in which bands are compared
HEARD = 1e-4  # share of the loudest band's power
# Of one label: the error of each stage (dB), whether it is named as asked, and what is lost between stages (dB).
Measured = tuple[list[float], list[bool], list[tuple[float, float]]]


def held(sounds: Array, piece: Piece) -> Array:
    """Return stages (K, N) at the levels of a pack."""
    rate = piece.memory.spec.sample_rate_hz
    levels_db = [held_db(0.0, event_lufs(sound, rate), 0.0, piece.score.loudness) for sound in sounds]
    return sounds * (10.0 ** (np.array(levels_db, dtype=np.float32) / 20.0))[:, None]


def powers(sound: Array, rate: int) -> Wide:
    """Return the power of every quarter of the time and band."""
    quarters = sound[: len(sound) // QUARTERS * QUARTERS].reshape(QUARTERS, -1)
    power = np.abs(fft.rfft(quarters, axis=1)).astype(np.float64) ** 2
    edges = (np.geomspace(LOWEST_HZ, min(HIGHEST_HZ, rate / 2), BANDS + 1) / rate * quarters.shape[1]).astype(int)
    return np.stack([power[:, a : max(b, a + 1)].sum(axis=1) for a, b in pairwise(edges)])


def halfway(sounds: Array, rate: int) -> list[tuple[float, float]]:
    """Return, for each two neighbours, how much (dB) is lost halfway: over all, and in the worst 5 % of the bands."""
    found = []
    for one, other in pairwise(sounds):
        apart, together = [powers(each, rate) for each in (one, other)], powers((one + other) / 2.0, rate)
        whole = [np.sqrt(each.sum()) for each in apart]
        ideal = ((np.sqrt(apart[0]) + np.sqrt(apart[1])) / 2.0) ** 2
        lost = 10.0 * np.log10((together / np.maximum(ideal, 1e-20))[ideal > HEARD * ideal.max()])
        over_all = 10.0 * np.log10(together.sum() / (sum(whole) / 2.0) ** 2)
        found.append((float(over_all), float(np.quantile(lost, 0.05))))
    return found


def main() -> None:
    """Print the figures of both ways as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("memory")
    parser.add_argument("--labels", type=int, default=8)
    parser.add_argument("--replacement", default="zero")
    asked = parser.parse_args()
    memory, config = Memory.load(asked.memory), SamplerConfig(latents=1)
    labels, inverter = memory.labels[: asked.labels], memory.inverter
    kept = {"memory": asked.memory, "forgetting": {"replacement": asked.replacement}}
    piece = Piece(checked(Score, kept | pack_score(labels, config, memory.spec, None)), memory)
    if not isinstance(inverter, SpectralInverter):
        raise SystemExit(f"{asked.memory}: cannot be inverted together")
    strengths, rate = stages_of(piece, config.stages), memory.spec.sample_rate_hz
    ways: dict[str, Callable[[Array], Array]] = {"one by one": inverter, "together": inverter.together}
    told: dict[str, list[Measured]] = {name: [] for name in ways}
    for turn in piece.lines[0].turns:
        z = np.repeat(turn.latents[:1], config.stages, axis=0)
        mels = memory.generate(z, turn.label, strengths, None, piece.parts[0].bend)
        for name, invert in ways.items():
            sounds = np.asarray(invert(mels), dtype=np.float32)
            errors = mel_error(mels, sounds, inverter.magnitudes.transform).tolist()
            named = [name_sound(sound, rate, memory.labels).name == turn.label for sound in sounds]
            told[name].append((errors, named, halfway(held(sounds, piece), rate)))
    print(json.dumps({"memory": asked.memory} | rows(told, 1.0 - strengths.mean(axis=1))))


def rows(told: dict[str, list[Measured]], forgotten: Wide) -> dict[str, dict[str, float | None]]:
    """Return the figures of each way and stage, over all labels; those halfway are on the way to the next stage."""
    found: dict[str, dict[str, float | None]] = {}
    for way, labels in told.items():
        errors, named = (np.mean([one[part] for one in labels], axis=0) for part in (0, 1))
        lost = np.array([one[2] for one in labels])  # (labels, stages - 1, 2)
        halfway = {"halfway_db": lost.mean(axis=0)[:, 0], "halfway_worst_db": lost.min(axis=0)[:, 0]}
        halfway["halfway_bands_db"] = lost.mean(axis=0)[:, 1]
        for stage, share in enumerate(forgotten):
            after = {key: round(float(part[stage]), 2) if stage < len(part) else None for key, part in halfway.items()}
            own: dict[str, float | None] = {
                "forgotten": round(float(share), 3),
                "mel_error_db": round(float(errors[stage]), 2),
            }
            found[f"{way}, stage {stage}"] = own | {"named": round(float(named[stage]), 2)} | after
    return found


if __name__ == "__main__":
    main()
