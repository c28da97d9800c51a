"""The sounds of a sampler's pack: of each label and latent the stages of forgetting, which can be crossfaded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fugue_state.arrays import Array
from fugue_state.audio.inverters import SpectralInverter
from fugue_state.audio.io import resample
from fugue_state.audio.loudness import event_lufs
from fugue_state.audio.mix import envelope
from fugue_state.config import SAMPLER_ENVELOPE, MelSpec, SamplerConfig
from fugue_state.engine.level import held_db
from fugue_state.errors import InputError
from fugue_state.measure.atlas import Atlas
from fugue_state.memory.memory import Memory
from fugue_state.piece.piece import Piece

PEAK = 0.97
BEAT_S = 1.0  # from one label to the next in the score that says how they are forgotten
ROOM_S = 10.0  # after the last one, so that it fits however long it becomes


@dataclass(frozen=True, eq=False)
class Family:
    """The stages (K, N) of one label and one latent, by their numbers."""

    label: int
    latent: int
    stages: Array


def pack_score(names: Sequence[str], config: SamplerConfig, spec: MelSpec, event_s: float | None) -> dict[str, Any]:
    """Return the keys of a score in which every label sounds once with each latent, while all is forgotten."""
    steps = [{"chord": name} for name in names] * config.latents
    voice = {"chords": steps, "event_s": event_s, "rounds": 1}
    length_s = len(steps) * BEAT_S + (event_s or spec.duration_s) + ROOM_S
    return {"voices": [voice], "tempo_bpm": 60.0 / BEAT_S, "duration_s": length_s}


def heard_names(memory: Memory, model: str, latents: int) -> tuple[str, ...]:
    """Return what a memory without labels can play: the chords that its atlas finds in enough latents.

    Raises InputError if no atlas was made before, or if it finds none.
    """
    atlas = Atlas.made_before(memory, model)
    if atlas is None:
        raise InputError(
            f"memory {memory.header.name!r} has no labels, so nothing says what its keys play: "
            f"`fugue atlas {model}` finds the chords in it, then they are; or --chords names some"
        )
    found = [name for name, count in atlas.chords.items() if count >= latents]
    if not found:
        raise InputError(f"the atlas of memory {memory.header.name!r} finds no chord in {latents} latents or more")
    return tuple(found)


def stages_of(piece: Piece, count: int) -> Array:
    """Return the strengths (K, U) of `count` stages, evenly along the forgetting of a piece: intact first."""
    plan = piece.planned()
    return np.stack([piece.strengths(plan, piece.last_s * stage / (count - 1)) for stage in range(count)])


class Sounds:
    """Makes the sounds of a pack from the piece of `pack_score`; InputError if the inverter cannot let them agree."""

    def __init__(self, piece: Piece, config: SamplerConfig) -> None:
        inverter = piece.memory.inverter
        if not isinstance(inverter, SpectralInverter):
            raise InputError("sounds that are crossfaded are inverted together, which the inverter `original` cannot")
        self._piece, self._config, self._inverter = piece, config, inverter
        turns = piece.lines[0].turns
        self._turns = turns[: len(turns) // config.latents]
        self._every = turns
        self.strengths = stages_of(piece, config.stages)
        self.rate = piece.score.file.sample_rate_hz
        line = piece.lines[0]
        self.length = round(line.frames * piece.memory.spec.hop * self.rate / piece.memory.spec.sample_rate_hz)
        self._fades = envelope(self.length, self.rate, SAMPLER_ENVELOPE)

    @property
    def names(self) -> tuple[str, ...]:
        """What is on the keys."""
        return tuple(turn.chord or "" for turn in self._turns)

    def __iter__(self) -> Iterator[Family]:
        """Make all sounds, the latents of a label one after the other."""
        for label in range(len(self._turns)):
            for latent in range(self._config.latents):
                yield Family(label, latent, self._made(label, latent))

    def _latent(self, label: int, latent: int) -> Array:
        """Return a latent (Z,) of a label."""
        turn = self._turns[label]
        if turn.sought is not None:  # any two draws from the atlas may find the same: take the next best instead
            return np.asarray(turn.latents[latent % len(turn.latents)])
        other = self._every[latent * len(self._turns) + label]
        return np.asarray(other.latents[0])

    def _made(self, label: int, latent: int) -> Array:
        """Return the stages (K, N) at the rate of the file, each as loud as the score holds it."""
        memory, piece = self._piece.memory, self._piece
        z = np.repeat(self._latent(label, latent)[None], self._config.stages, axis=0)
        bend, frames = piece.parts[0].bend, piece.lines[0].frames
        sounds = self._inverter.together(memory.generate(z, self._turns[label].label, self.strengths, frames, bend))
        native = memory.spec.sample_rate_hz
        levels_db = [held_db(0.0, event_lufs(sound, native), 0.0, piece.score.loudness) for sound in sounds]
        gains = np.array([10.0 ** (level_db / 20.0) for level_db in levels_db], dtype=np.float32)
        made = np.zeros((len(sounds), self.length), dtype=np.float32)
        converted = resample(np.ascontiguousarray((sounds * gains[:, None]).T), native, self.rate).T[:, : self.length]
        made[:, : converted.shape[1]] = converted
        made *= self._fades
        # What would clip is attenuated with all its stages, which are crossfaded.
        return made * np.float32(min(1.0, PEAK / max(1e-9, float(np.abs(made).max()))))
