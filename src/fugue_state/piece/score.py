"""From score to events: the loop unrolled, each event with what is remembered at its onset."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fugue_state.bending.schedule import fraction_forgotten
from fugue_state.bending.strengths import forget, make_order
from fugue_state.config import Score
from fugue_state.memory.memory import Memory
from fugue_state.piece.instrument import Event

PROGRESSION = ("Am", "F", "C", "G")


def progression(score: Score, memory: Memory) -> tuple[str | None, ...]:
    """Return the looped chords of a score, checked against the memory.

    Without any named: a familiar loop, or what the memory knows of it; None for a memory that
    learned without labels. Raises InputError for a chord it does not know.
    """
    for chord in score.chords:
        memory.label_index(chord)
    if score.chords:
        return score.chords
    if not memory.labels:
        return (None,) * len(PROGRESSION)
    return tuple(c for c in PROGRESSION if c in memory.labels) or memory.labels


def events(score: Score, memory: Memory) -> Iterator[Event]:
    """Unroll the progression into events, each with the strengths at its onset.

    The last event begins early enough to ring out. Every round of the loop plays the same
    latents, so that all that changes is what has been forgotten.
    """
    chords = progression(score, memory)
    order = make_order(score.order, memory.layers, score.seed)
    latents = memory.latents(len(chords), score.seed)
    places = np.random.default_rng([score.seed, 1]).uniform(-score.spread, score.spread, len(chords))
    frames = memory.frames(score.event_s)
    last_s = max(0.0, score.duration_s - frames * memory.spec.hop / memory.spec.sample_rate_hz)
    for index in range(int(last_s / score.every_s) + 1):
        onset_s, turn = index * score.every_s, index % len(chords)
        fraction = fraction_forgotten(score.schedule, onset_s / last_s if last_s else 0.0)
        yield Event(
            onset=round(onset_s * score.file.sample_rate_hz),
            chord=chords[turn],
            latent=latents[turn],
            strengths=forget(order, fraction),
            pan=float(places[turn]),
            frames=frames,
        )
