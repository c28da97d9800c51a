"""One chord in time, and the mel that the memory makes of it."""

from __future__ import annotations

from dataclasses import dataclass

from fugue_state.arrays import Array
from fugue_state.bending.strengths import Strengths
from fugue_state.config import ACTIVATION_STEPS, EnvelopeConfig
from fugue_state.memory.bends import Bend
from fugue_state.memory.layers import Trail
from fugue_state.memory.memory import Memory


@dataclass(frozen=True, eq=False)
class Event:
    """One remembered chord in time: `onset` in samples, latent (Z,), strengths (U,), pan -1..1.

    It is generated with `label`, which is None only for a memory without labels; `chord` is what it should be heard
    as. `frames` is its length (a multiple of 32), None for the length learned. `voice` is the stem it belongs to,
    from 0 on. `bend` is what is done to units besides forgetting; None is nothing. `held` samples after its onset it is
    let go, and fades within RELEASE_S; with None it rings out. `press` is the number of the key press that began it.
    With a `segment`, it plays that part of its voice's recording; the latent is what the memory would play instead.
    """

    onset: int
    chord: str | None
    label: str | None
    latent: Array
    strengths: Strengths
    pan: float
    envelope: EnvelopeConfig
    frames: int | None = None
    voice: int = 0
    level_db: float = 0.0
    bend: Bend | None = None
    held: int | None = None
    press: int | None = None
    segment: int | None = None


def observed(memory: Memory, event: Event, trail: Trail | None = None) -> tuple[Array, Array]:
    """Generate an event: its mel (M, T), and activations over time (U, steps).

    With the `trail` of the same event, only what its changed strengths affect is computed again.
    """
    mels, activations = memory.observe(
        event.latent[None],
        event.label,
        event.strengths,
        event.frames,
        event.bend,
        steps=ACTIVATION_STEPS,
        trail=trail,
    )
    return mels[0], activations[0]
