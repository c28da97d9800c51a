"""Finding the fastest way to train on this machine: steps are timed, for each way and for smaller networks."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from fugue_state.config import Budget
from fugue_state.errors import counted
from fugue_state.learning.learner import RunSettings
from fugue_state.learning.run import Run

AnyRun = TypeVar("AnyRun", bound=RunSettings)
Step = Callable[[], object]

TRIES = 2  # timed steps of each way; the shortest counts, as other programs may use the machine, too
HOPELESS = 2.0  # times as long as the fastest on a small network: not tried on the real one
CLEARLY = 0.8  # share of the first way's time that another must stay below to be chosen, so that chance does not decide
SLOWER = 1.5  # times as long as the fastest: a continued run switches to another way beyond this
SMALLEST_TOLD = 24  # at this width or below, no smaller one is suggested
WORTH_TIMING = 20  # with fewer steps, timing would take longer than training
LEARNING = 0.9  # share of the time spent in steps; the rest goes into measuring and saving


@dataclass(frozen=True)
class Pace(Generic[AnyRun]):
    """The best way to compute a run here, and how far it gets.

    `slower` gives each way's time per step relative to the chosen way. `steps` is the number of steps when the budget
    ends, `needed` how many there should be. `step_s` is 0 if nothing was timed. `asked` is the run before a
    smaller network was chosen.
    """

    run: AnyRun
    asked: AnyRun
    way: str
    slower: Mapping[str, float]
    step_s: float
    steps: int
    needed: int

    @property
    def minutes_needed(self) -> float:
        """Minutes that the needed steps take."""
        return self.needed * self.step_s / LEARNING / 60.0


def find_pace(run: Run, settings: AnyRun, build: Callable[[AnyRun], Step], smaller: Sequence[int] = ()) -> Pace[AnyRun]:
    """Find the fastest way to compute a run on this machine, and how far it gets within its budget.

    Whatever the settings leave open is timed, in whole steps made by `build`; if too few steps fit, one of the
    `smaller` widths is used. The first way is used unless another is clearly faster, or if there are too few steps
    for timing to pay off. A continued run keeps its way unless that is far slower here. A small network rules out
    hopelessly slow ways before they cost minutes. Raises RuntimeError if no way works on this device.
    """
    budget, done, needed, agree = run.budget, run.done, settings.needed, run.fabric.broadcast
    before = run.before(type(settings))
    ways: Mapping[str, AnyRun] = settings.ways(before)
    if budget.steps is not None and budget.steps - done < WORTH_TIMING:
        way, first = next(iter(ways.items()))
        return Pace(first, first, way, {way: 1.0}, 0.0, max(done, budget.steps), needed)
    trial: Mapping[str, float] = {}
    if len(ways) > 1:
        trial = agree(_timed({name: one.shrunk(run.fabric.world_size) for name, one in ways.items()}, build))
        ways = {name: ways[name] for name, took in trial.items() if took <= HOPELESS * min(trial.values())}
    seconds = agree(_timed(ways, build))
    way = _best(seconds, CLEARLY if before is None else 1.0 / SLOWER)
    slower = {name: took / trial[way] for name, took in trial.items()}
    slower |= {name: took / seconds[way] for name, took in seconds.items()}
    asked = taken = ways[way]
    step_s = seconds[way]
    for width in (n for n in smaller if n < asked.width):
        if reached(budget, step_s, done) >= needed:
            break
        taken = asked.as_wide(width)
        step_s = agree(_timed({way: taken}, build))[way]
    return Pace(taken, asked, way, slower, step_s, reached(budget, step_s, done), needed)


def reached(budget: Budget, step_s: float, done: int = 0) -> int:
    """Return the step at which a budget ends, if `done` steps were made before."""
    ends = [] if budget.steps is None else [max(done, budget.steps)]
    if budget.minutes is not None:
        ends.append(done + int(LEARNING * budget.minutes * 60.0 / step_s))
    return min(ends)


def _best(seconds: Mapping[str, float], clearly: float) -> str:
    first, fastest = next(iter(seconds)), min(seconds, key=lambda name: seconds[name])
    return fastest if seconds[fastest] < clearly * seconds[first] else first


def _timed(runs: Mapping[str, AnyRun], build: Callable[[AnyRun], Step]) -> dict[str, float]:
    """Return the seconds per step of each run, timed in turn; those that this device cannot compute are left out."""
    steps: dict[str, Step] = {}
    refused: RuntimeError | None = None
    for name, run in runs.items():
        try:
            steps[name] = build(run)
            steps[name]()  # warm-up
        except RuntimeError as error:
            steps.pop(name, None)
            refused = error
    if refused is not None and not steps:
        raise refused
    took: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(TRIES):
        for name, step in steps.items():
            begin = time.perf_counter()
            step()
            took[name].append(time.perf_counter() - begin)
    return {name: min(times) for name, times in took.items()}


def told(pace: Pace[AnyRun], budget: Budget, option: str) -> list[str]:
    """Return a line or two about a pace for the user; `option` is the name of the setting for the width."""
    if not pace.step_s:
        return []
    taken, asked = pace.run.width, pace.asked.width
    others = (f"; {name} takes {_longer(times)}" for name, times in pace.slower.items() if name != pace.way)
    needed = "may be needed, a guess that no run has confirmed" if pace.run.guessed else "are needed"
    fit = f"the time ends near step {pace.steps:,}, about {pace.needed:,} {needed}"
    lines = [f"a step takes {pace.step_s:.2g} s here in {pace.way}{''.join(others)}; {fit}"]
    if taken != asked:
        minutes = budget.minutes or 0.0
        lines.append(
            f"{option} {taken} is taken: {asked} is too slow for {counted(minutes, 'minute')}; "
            f"{option} {asked} keeps it"
        )
    if pace.steps < pace.needed:
        more = f"{pace.needed:,} steps" if budget.minutes is None else f"{math.ceil(pace.minutes_needed)} minutes"
        less = f", or a smaller {option} (now {taken})" if taken > SMALLEST_TOLD else ""
        few = "perhaps too few steps" if pace.run.guessed else "too few steps: what is learned will be noise"
        lines.append(f"{few}; {more} help{less}")
    return lines


def _longer(times: float) -> str:
    # Hopelessly slow ways were timed only on a small network; on the real one they may be far worse.
    return "far longer" if times > HOPELESS else f"{times:.1f} times as long"
