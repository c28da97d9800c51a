"""Whether a memory is still getting better, in one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fugue_state.arrays import Wide
from fugue_state.config import STEPS_NEEDED

FEWEST = 4  # checkpoints before anything can be said
LONGEST = 5  # checkpoints averaged at each end of a comparison
STEADIEST = 0.02  # a score's fluctuation is assumed to be at least this share
BEGINNING = 10.0  # times the best score: checkpoints above this are from before anything was learned
CERTAIN = 2.0  # standard deviations that count as significant

NAMED = 0.5  # if a smaller share of chords is named as asked, it is still noise
NOISE = 2.0  # without chords to name: this many times as far from real sounds as they are from each other
UNHEARD = 1 / 3  # without anything to compare with: noise before this share of the steps needed


def is_noise(found: Mapping[str, float]) -> bool:
    """Say whether a checkpoint is still noise, by its measurements (`step`, and what an Examiner returns)."""
    if "accuracy" in found:
        return found["accuracy"] < NAMED
    if "frechet_real" in found:
        return found["frechet"] > NOISE * found["frechet_real"]
    return found["step"] < UNHEARD * STEPS_NEEDED


def trend(history: Sequence[Mapping[str, float]]) -> str:
    """Say in one sentence whether training still improves the memory.

    `history` holds the measurements of all checkpoints in order: `step`, `score` (lower is better;
    checkpoints without one are skipped), and, if known, `minutes` trained so far and `accuracy`.
    The last checkpoints are compared with those before them; a change counts if it exceeds the
    fluctuation of the score between checkpoints.
    """
    known = [entry for entry in history if "score" in entry]
    # Until chords can be named at all, the score falls by orders of magnitude, which says nothing about later.
    least = min((entry["score"] for entry in known), default=0.0)
    known = [entry for entry in known if entry["score"] <= BEGINNING * least]
    if len(known) < FEWEST:
        return f"Too early to say: {len(known)} so far of the {FEWEST} checkpoints that it takes."
    level = np.log(np.maximum([entry["score"] for entry in known], 1e-9))
    span = min(LONGEST, max(2, len(known) // 3))
    gain = float(level[-2 * span : -span].mean() - level[-span:].mean())
    wavers = _wavers(level[-3 * LONGEST :])
    best = min(range(len(known)), key=lambda i: known[i]["score"])
    if gain > CERTAIN * wavers * np.sqrt(2.0 / span):
        return _better(known, span, gain)
    if best < len(known) - span:
        step = _step(known[best])
        return f"No better since step {step}; the memory of step {step} is kept."
    return (
        f"Too early to say: since step {_step(known[-2 * span])} the score has {_changed(gain)}, "
        f"and it wavers by {100 * wavers:.0f} % from one checkpoint to the next."
    )


def _better(known: Sequence[Mapping[str, float]], span: int, gain: float) -> str:
    before, now = known[-2 * span : -span], known[-span:]
    told = f"the score is {100 * (1 - np.exp(-gain)):.0f} % lower than around step {_step(before[len(before) // 2])}"
    if all("accuracy" in entry for entry in (*before, *now)):
        shares = [100 * np.mean([entry["accuracy"] for entry in part]) for part in (before, now)]
        told += f", {shares[1]:.0f} % are named as asked ({shares[0]:.0f} % then)"
    return f"Still getting better: {told}; another {_as_long(before, now)} are worth it."


def _as_long(before: Sequence[Mapping[str, float]], now: Sequence[Mapping[str, float]]) -> str:
    """Return how long the last gain took, between the centres of both groups; the next one may take as long."""
    key = "minutes" if all("minutes" in entry for entry in (*before, *now)) else "step"
    took = max(2, round(np.mean([entry[key] for entry in now]) - np.mean([entry[key] for entry in before])))
    return f"{took} {'steps' if key == 'step' else key}"


def _wavers(level: Wide) -> float:
    """Return the noise of a series: the standard deviation that remains after removing straight lines."""
    bends = level[:-2] - 2.0 * level[1:-1] + level[2:]
    return max(STEADIEST, float(np.sqrt(np.mean(bends**2) / 6.0)))


def _changed(gain: float) -> str:
    return f"{'fallen' if gain > 0 else 'risen'} by {100 * abs(np.expm1(-gain)):.0f} %"


def _step(entry: Mapping[str, float]) -> int:
    return int(entry["step"])
