"""The parts of a piece: voices that forget together, how they do, and where their units are among all of the piece."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np

from fugue_state.arrays import Array
from fugue_state.bending.adaptive import Governor
from fugue_state.bending.hand import Reach
from fugue_state.bending.orders import Order, parse_units
from fugue_state.bending.strengths import Strengths
from fugue_state.bending.timeline import Timeline, compose
from fugue_state.config import SEED_MAX
from fugue_state.errors import InputError
from fugue_state.memory.bends import Bend, Source
from fugue_state.memory.memory import Memory
from fugue_state.piece.even import EvenPace
from fugue_state.piece.event import Event
from fugue_state.piece.line import Line, Onset, merged
from fugue_state.piece.listening import Ear
from fugue_state.piece.orders import Described, Orders
from fugue_state.score.model import Score
from fugue_state.settings import MisplacedError, placed

NOTHING = np.zeros(0, dtype=np.int64)  # the order of a part in which nothing is forgotten


class Part:
    """Voices that forget together: one memory, one forgetting, the same cues.

    `name` is empty if it is the piece's only part. `memory_name` is what the score calls the memory. Its units are
    those from `start` on in the piece's vector of units. `layers` are its layers as the piece calls them. `plan` is how
    it forgets, at `place` in the score; a `lender`'s units may stand in for what is forgotten.

    Raises MisplacedError for layers and units that the memory does not have.
    """

    def __init__(
        self,
        score: Score,
        number: int,
        lines: Sequence[Line],
        memory: Memory,
        described: Described,
        lender: Memory | None = None,
        *,
        last_s: float,
        name: str = "",
        start: int = 0,
    ) -> None:
        together = score.together[number]
        self.name, self.start, self.memory, self.memory_name = name, start, memory, together.memory
        self.voices, self.place = together.voices, together.place
        self.plan = together.forgetting
        # Alone, what no voice forgets shows all the same: hands may move it.
        self.forgets = together.forgets or not name
        self.described = described
        self.layers = {f"{name}/{layer}" if name else layer: units for layer, units in memory.layers.items()}
        self.orders = Orders(score.seed, self.plan, self.place, memory, described)
        self._score, self._number = score, number
        self._lines = [lines[voice] for voice in self.voices]
        self._forgetting = [line for line in self._lines if line.voice.forgets]
        self.last_s, self._voices, self.lender = last_s, len(lines), lender
        with self.blamed():
            self.bend = self._bend(None)
        self._even = EvenPace(memory, self._lines, self.bend)

    @property
    def units(self) -> int:
        """Number of its units."""
        return self.memory.units

    @property
    def within(self) -> slice:
        """Its units in a vector (U,) of all units of the piece."""
        return slice(self.start, self.start + self.units)

    @contextlib.contextmanager
    def blamed(self) -> Iterator[None]:
        """Name the memory in an InputError inside the `with` block, where there are several."""
        try:
            yield
        except InputError as error:
            if not self.name:
                raise
            blamed = f" (memory {self.memory.header.name!r})"
            if isinstance(error, MisplacedError):
                raise MisplacedError(error.place, f"{error.message}{blamed}") from None
            raise InputError(f"{error}{blamed}") from None

    def reach(self) -> Reach:
        """Return what a hand reaches of it."""
        if not self.forgets:
            return Reach(self.layers, NOTHING, None, self.plan.order)
        with self.blamed():
            return Reach(self.layers, self.orders.base(), self._inside, self.plan.order)

    def _inside(self, name: str, layer: str) -> Order:
        """Return an order within a layer, as the piece calls it."""
        own = dict(zip(self.layers, self.memory.layers, strict=True))
        with self.blamed():
            return self.orders.inside(name, own[layer])

    def governor(self) -> Governor | None:
        """Return what decides how far an adaptive forgetting goes."""
        adaptive = self.plan.adaptive
        return Governor(adaptive) if adaptive and self.forgets else None

    def timeline(self, governor: Governor | None = None) -> Timeline:
        """Return its strengths over time; with an adaptive forgetting, as the governor has decided."""
        if not self.forgets:
            return Timeline(self.units, ())
        listened = None if governor is None else governor.share
        with self.blamed():
            return compose(self._score, self.units, self.last_s, self.orders, self._even, listened, self._number)

    @property
    def frozen_s(self) -> float:
        """The time in seconds at which frozen units stop."""
        return self._score.clock.seconds(self.plan.frozen_at)

    def freeze(self, strengths: Strengths) -> None:
        """Take the strengths (U,) of its units at `frozen_s` for what frozen units stop at."""
        with self.blamed():
            self.bend = self._bend(strengths)

    def _bend(self, frozen: Strengths | None) -> Bend | None:
        """Return what is done to units besides forgetting; None if forgotten units are simply silenced."""
        plan, layers = self.plan, self.memory.layers
        if (plan.replacement == "zero" and not plan.bends) or not self._forgetting:
            return None
        gain, invert = np.ones(self.units, dtype=np.float32), np.zeros(self.units, dtype=np.float32)
        for i, bent in enumerate(plan.bends):
            with placed((*self.place, "bends", i, "units")):
                units = parse_units(bent.units, layers, self.orders.measured("", bent.units))
            gain[units], invert[units] = bent.gain, bent.invert
        source = self._frozen(frozen)
        if source is None:  # no voice that forgets ever sounds
            return None
        with placed(self.place):
            return self.memory.bend(
                plan.replacement,
                seed=self._score.seed,
                gain=gain if (gain != 1.0).any() else None,
                invert=invert if invert.any() else None,
                frozen=source,
                other=self._other(),
                other_memory=self.lender,
            )

    def _frozen(self, strengths: Strengths | None) -> Source | None:
        """Return what sounds when units freeze, or first after that; None if no voice that forgets ever sounds."""
        forgetting = merged([_numbered(line, place, self.last_s) for place, line in enumerate(self._forgetting)])
        found = next(forgetting, None)
        if found is None:
            return None
        for later in forgetting:
            if later[0].time_s > self.frozen_s:
                break
            found = later
        onset, place, z = found
        return Source(z, self._forgetting[place].turns[onset.turn].label, strengths)

    def _other(self) -> Source:
        """Return the other latent and label, whose activations replace those of forgotten units."""
        plan = self.plan
        seed = (self._score.seed + self._voices) % (SEED_MAX + 1) if plan.other_seed is None else plan.other_seed
        memory, label = self.lender or self.memory, plan.other_chord or self._lines[0].turns[0].label
        if plan.other_chord is not None:
            with placed((*self.place, "other_chord")):
                memory.label_index(plan.other_chord)
        elif self.lender is not None and not memory.knows(label or ""):
            label = None
        return Source(memory.latents(1, seed)[0], label)


def _numbered(line: Line, place: int, last_s: float) -> Iterator[tuple[Onset, int, Array]]:
    for onset, z in line.latents(last_s):
        yield onset, place, z


class Plan:
    """The strengths (U,) over time that are planned for the parts of a piece, one after the other.

    Adaptive parts go on as their `governors` decide from what is heard; without one, they stay where they begin.
    """

    def __init__(self, parts: Sequence[Part], governors: Sequence[Governor | None]) -> None:
        self.parts, self.governors = parts, governors
        self._timelines = [part.timeline(governor) for part, governor in zip(parts, governors, strict=True)]
        self._ears = [
            None if governor is None else Ear(part.memory, governor)
            for part, governor in zip(parts, governors, strict=True)
        ]
        self._ends_s: list[list[float]] = [[] for _ in parts]  # when what sounds of each part ends

    def __call__(self, time_s: float) -> Strengths:
        """Return the strengths (U,) at a time in seconds."""
        return np.concatenate([timeline(time_s) for timeline in self._timelines])

    def hear(self, part: int, event: Event, time_s: float, length_s: float) -> None:
        """Let a part, by its number, listen to an event that forgetting reaches."""
        if (ear := self._ears[part]) is not None:
            sounding = self._ends_s[part]
            sounding[:] = [ends_s for ends_s in sounding if ends_s > time_s] + [time_s + length_s]
            ear.hear(event, self._timelines[part].listening_s(time_s), len(sounding))
