"""Learning as this machine does it best: steps are timed, in each way of computing them and of smaller networks."""

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

TRIES = 2  # timed steps of each way; the shortest counts, for others may use the machine as well
HOPELESS = 2.0  # times as long as the fastest, on a small network: not tried on the real one
CLEARLY = 0.8  # of the first way's time: below it another is taken, so that chance does not decide
SLOWER = 1.5  # times as long as the fastest: then a run that goes on elsewhere is computed in another way there
SMALLEST_TOLD = 24  # a size from which on none that is smaller is advised
WORTH_TIMING = 20  # steps, below which timing would take longer than learning
LEARNING = 0.9  # of the time goes into steps; the rest into measuring and saving


@dataclass(frozen=True)
class Pace(Generic[AnyRun]):
    """How a run is best computed here, and how far that leads.

    `slower` says how many times as long each way takes as the one taken. `steps` is how many are made when the budget
    ends, `needed` how many should be. `step_s` is 0 if nothing was timed. `asked` is the run as it was before a
    smaller network was taken.
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
        """Minutes in which as many steps fit as are needed."""
        return self.needed * self.step_s / LEARNING / 60.0


def find_pace(run: Run, settings: AnyRun, build: Callable[[AnyRun], Step], smaller: Sequence[int] = ()) -> Pace[AnyRun]:
    """Find how this machine computes a run fastest, and how far that leads within its budget.

    What the settings leave open is timed, in whole steps as of `build`; where too few fit, one of the `smaller` widths
    is taken. The first way is taken unless another is clearly faster, and if there are too few steps for timing to be
    worth it; a run that goes on is computed as it was before unless that is far slower here. What is hopeless is found
    out with a small network, before it costs minutes. Raises RuntimeError if no way works on this device.
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
    """Return the step at which a budget ends, `done` steps after the run's start."""
    ends = [] if budget.steps is None else [max(done, budget.steps)]
    if budget.minutes is not None:
        ends.append(done + int(LEARNING * budget.minutes * 60.0 / step_s))
    return min(ends)


def _best(seconds: Mapping[str, float], clearly: float) -> str:
    first, fastest = next(iter(seconds)), min(seconds, key=lambda name: seconds[name])
    return fastest if seconds[fastest] < clearly * seconds[first] else first


def _timed(runs: Mapping[str, AnyRun], build: Callable[[AnyRun], Step]) -> dict[str, float]:
    """Return the seconds of a step of each run, in turn; what this device cannot do is left out."""
    steps: dict[str, Step] = {}
    refused: RuntimeError | None = None
    for name, run in runs.items():
        try:
            steps[name] = build(run)
            steps[name]()  # the first one prepares what the others use
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
    """Return what a pace means for whoever waits, in a line or two; `option` sets the width of a network."""
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
    # What is hopeless was timed on a small network alone: on the real one it may be worse by far.
    return "far longer" if times > HOPELESS else f"{times:.1f} times as long"
