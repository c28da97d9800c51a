"""A score laid out for a memory: its events, each with what is remembered at its onset."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt

from fugue_state import asked
from fugue_state.arrays import Array
from fugue_state.bending.adaptive import Governor
from fugue_state.bending.hand import Hand
from fugue_state.bending.orders import Order, make_order, needs_measured, parse_units
from fugue_state.bending.schedule import Shape, even_shape, shape_of
from fugue_state.bending.strengths import Strengths
from fugue_state.bending.timeline import Path, Timeline, compose
from fugue_state.config import EVENT_BATCH, SEED_MAX, MisplacedError, OrderName, Place, placed
from fugue_state.errors import counted
from fugue_state.measure.atlas import Atlas
from fugue_state.measure.curve import distances
from fugue_state.measure.profile import Profile
from fugue_state.memory.bends import Bend, Source
from fugue_state.memory.memory import Memory
from fugue_state.piece.conductor import Conductor, Passing, moves
from fugue_state.piece.instrument import Event
from fugue_state.piece.line import Line, Onset
from fugue_state.piece.listening import Ear
from fugue_state.progress import Track, untracked
from fugue_state.score.cues import Course, CueSpan, spans
from fugue_state.score.model import REACHING_UNITS, Change, Score


class Orders:
    """The orders in which units of a memory go, as a score or a hand asks for them; measures what they take once."""

    def __init__(self, score: Score, memory: Memory, track: Track, say: Callable[[str], None]) -> None:
        self._score, self._memory, self._track, self._say = score, memory, track, say
        self._known: dict[tuple[object, ...], Order] = {}

    @cached_property
    def profile(self) -> Profile:
        """What is measured of the memory's units; measuring takes its time."""
        return Profile.of(self._memory, self._score.memory, track=self._track, say=self._say)

    def measured(self, name: str, *units: Sequence[str]) -> Profile | None:
        """Return what is measured of the memory's units if an order or these names of units take it."""
        needed = needs_measured(name, [unit for some in units for unit in some])
        return self.profile if needed else None

    def needs(self, name: str) -> bool:
        """Return whether the memory must be measured before a hand can choose an order."""
        return needs_measured(name) and "profile" not in vars(self)

    def __call__(
        self, name: OrderName, *, reverse: bool, units: Sequence[str], scope: Sequence[str], place: Place
    ) -> Order:
        """Return an order; `place` is the part of the score that asks for it."""
        locks, asked = self._score.forgetting.locks, (name, reverse, tuple(units), tuple(scope))
        if asked in self._known:
            return self._known[asked]
        with placed(place):
            self._known[asked] = make_order(
                name,
                self._memory.layers,
                self._score.seed,
                units=units,
                scope=scope,
                locks=locks,
                reverse=reverse,
                measured=self.measured(name, units, scope, locks),
            )
        return self._known[asked]

    def base(self) -> Order:
        """Return the score's own order."""
        plan = self._score.forgetting
        return self(plan.order, reverse=plan.reverse, units=plan.units, scope=plan.scope, place=("forgetting",))

    def inside(self, name: str, layer: str) -> Order:
        """Return an order that a hand chooses for a layer."""
        # The caller says where: a layer's order is no part of the score.
        return self(cast("OrderName", name), reverse=False, units=(), scope=(layer,), place=("order",))


class Outline(NamedTuple):
    """When an event begins, in samples, its voice and chord, and what is remembered (U,)."""

    onset: int
    voice: int
    chord: str | None
    strengths: Strengths


class Piece:
    """What a score means for a memory: its lines, what is remembered when, its events.

    Raises MisplacedError for chords, layers and units that the memory does not have, InputError for a score made
    for another memory.
    """

    def __init__(
        self,
        score: Score,
        memory: Memory,
        *,
        track: Track = untracked,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        asked.kind("score", score, Score, "load_score reads one")
        asked.kind("memory", memory, Memory, "Memory.load reads one")
        check_made_for(score, memory)
        self.score, self.memory, self._track, self._say = score, memory, track, say
        self.orders = Orders(score, memory, track, say)
        self.lines = tuple(self.line(number) for number in range(len(score.voices)))
        last_s = max((onset.time_s for line in self.lines for onset in line.onsets()), default=None)
        if last_s is None:
            raise MisplacedError(("voices",), "no chord falls within the piece")
        self.last_s = last_s
        self._shapes: dict[Place, Shape] = {}
        self._decided: Governor | None = None
        with placed(("changes",)):
            reaching = [change for change in score.changes if change.path.startswith(REACHING_UNITS)]
            self._hand = self.hand([(score.clock.seconds(change.at), change) for change in reaching])
        for i, change in enumerate(score.changes):
            if change.path == "/chord" and change.value:
                with placed(("changes", i, "value")):
                    memory.label_index(str(change.value))
        self.bend = self._bend(None)
        self.timeline()
        frozen_s = score.clock.seconds(score.forgetting.frozen_at)
        if frozen_s > 0.0:
            # What a hand will do live is not known yet.
            live = score.resolution == "block"
            timeline = self.timeline()
            self.bend = self._bend(timeline(frozen_s) if live else self.strengths(timeline, frozen_s))

    def events(self) -> Iterator[Event]:
        """Yield the events of all voices by onset, each with the strengths at its onset.

        With an adaptive forgetting each is listened to, and decides about those that follow.
        """
        if self.score.resolution == "block":
            yield from Conductor(self).events()
            return
        adaptive = self.score.forgetting.adaptive
        governor = self._decided or (Governor(adaptive) if adaptive else None)
        timeline = self.timeline(governor)
        listening = self.listening(governor, timeline) if governor is not self._decided else None
        for onset, number, z in self._merged():
            event = self.event(onset, number, z, self.strengths(timeline, onset.time_s))
            if listening is not None:
                listening(event, onset.time_s)
            yield event
        self._decided = governor  # whoever asks again need not listen again

    @cached_property
    def cues(self) -> tuple[CueSpan, ...]:
        """Its cues at the seconds at which they are heard; those that a take did not come to are not there."""
        found = spans(self.score.cues, self.score.clock)
        if self._passing is None:
            return found
        heard = []
        for span in found:
            start_s = self._passing.heard_s(span.start_s)
            end_s = None if span.end_s is None else self._passing.heard_s(span.end_s)
            if start_s is not None:
                heard.append(replace(span, start_s=start_s, end_s=end_s))
        return tuple(heard)

    @cached_property
    def _passing(self) -> Passing | None:
        """How a take passes through the piece; None where both are the same."""
        return Passing(self) if self.score.resolution == "block" else None

    def outline(self) -> Iterator[Outline]:
        """Yield the events of all voices by onset, without what they sound like: a long night has a million.

        An adaptive forgetting has to hear them, once.
        """
        if self.score.resolution == "block" or (self.score.forgetting.adaptive and self._decided is None):
            for event in self.events():
                yield Outline(event.onset, event.voice, event.chord, event.strengths)
            return
        timeline, rate = self.timeline(self._decided), self.score.file.sample_rate_hz
        intact = np.ones(self.memory.units, dtype=np.float32)
        for onset, number in heapq.merge(*map(_numbered, self.lines), key=lambda one: (one[0].time_s, one[1])):
            line = self.lines[number]
            strengths = self.strengths(timeline, onset.time_s) if line.voice.forgets else intact
            yield Outline(round(onset.time_s * rate), number, line.turns[onset.turn].chord, strengths)

    def moves(self) -> Iterator[tuple[float, Strengths]]:
        """Yield what is remembered (U,) of what forgetting reaches, and from which second on that is heard."""
        if self.score.resolution == "block":
            yield from moves(self)
            return
        rate = self.score.file.sample_rate_hz
        for one in self.outline():
            if self.lines[one.voice].voice.forgets:
                yield one.onset / rate, one.strengths

    def event(self, onset: Onset, number: int, z: Array, strengths: Strengths) -> Event:
        """Return what a voice plays at an onset, with these strengths (U,) if forgetting reaches it."""
        line = self.lines[number]
        turn = line.turns[onset.turn]
        reached = line.voice.forgets
        return Event(
            onset=round(onset.time_s * self.score.file.sample_rate_hz),
            chord=turn.chord,
            label=turn.label,
            latent=z,
            strengths=strengths if reached else np.ones(self.memory.units, dtype=np.float32),
            pan=turn.pan,
            frames=line.frames,
            voice=number,
            level_db=line.voice.level_db + turn.step.level_db + self.planned_lu(onset.time_s),
            envelope=line.voice.envelope or self.score.envelope,
            bend=self.bend if reached else None,
        )

    def listening(self, governor: Governor | None, timeline: Timeline) -> Callable[[Event, float], None]:
        """Return what is to be done with every event, at its time in seconds: a governor listens to it."""
        ear = None if governor is None else Ear(self.memory, governor)
        sounding: list[float] = []

        def listen(event: Event, time_s: float) -> None:
            line = self.lines[event.voice]
            if ear is not None and line.voice.forgets:
                sounding[:] = [ends_s for ends_s in sounding if ends_s > time_s] + [time_s + line.length_s]
                ear.hear(event, timeline.listening_s(time_s), len(sounding))

        return listen

    def line(self, number: int, latent_seed: int | None = None) -> Line:
        """Lay a voice out, with a seed for its latents that may be another one than its own."""
        return Line(self.score, number, self.memory, lambda: self._atlas, latent_seed)

    def hand(self, changes: Sequence[tuple[float, Change]] = ()) -> Hand:
        """Return a hand that plays these changes, each with its time in seconds."""
        return Hand(changes, self.memory.layers, self.orders.base(), self.orders.inside)

    def _merged(self) -> Iterator[tuple[Onset, int, Array]]:
        """Yield the onsets of all lines in time, with the number of their voice and their latent."""

        def numbered(line: Line) -> Iterator[tuple[Onset, int, Array]]:
            for onset, z in line.latents(self.last_s):
                yield onset, line.number, z

        yield from heapq.merge(*map(numbered, self.lines), key=lambda one: (one[0].time_s, one[1]))

    def timeline(self, governor: Governor | None = None) -> Timeline:
        """Return what is remembered when; of an adaptive forgetting, what a governor has decided."""
        listened = None if governor is None else governor.share
        return compose(self.score, self.memory.units, self.last_s, self.orders, self._even, listened)

    def strengths(self, timeline: Timeline, time_s: float) -> Strengths:
        """Return what is remembered at a time: what the timeline and the performer's hand leave."""
        return self._hand(time_s, timeline) if self.score.changes else timeline(time_s)

    def heard_lu(self, time_s: float) -> float:
        """Return the planned level of what is heard at a time, in LU beside the beginning's."""
        return self.planned_lu(time_s if self._passing is None else self._passing.passed_s(time_s))

    def planned_lu(self, time_s: float) -> float:
        """Return the planned level at a time of the piece, in LU beside the beginning's."""
        return float(np.interp(time_s, *self._levels)) if self.score.loudness.plan else 0.0

    @cached_property
    def _levels(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """The planned levels: their times and what they are."""
        plan = self.score.loudness.plan
        times = [self.score.clock.seconds(time) for time, _ in plan]
        return np.array(times), np.array([level for _, level in plan])

    @cached_property
    def _atlas(self) -> Atlas:
        return Atlas.of(self.memory, self.score.memory, track=self._track, say=self._say)

    def _bend(self, frozen: Strengths | None) -> Bend | None:
        """Return what is done to units besides forgetting; None where forgotten ones are simply gone."""
        plan, layers = self.score.forgetting, self.memory.layers
        if (plan.replacement == "zero" and not plan.bends) or not any(line.voice.forgets for line in self.lines):
            return None
        gain, invert = np.ones(self.memory.units, dtype=np.float32), np.zeros(self.memory.units, dtype=np.float32)
        for i, bent in enumerate(plan.bends):
            with placed(("forgetting", "bends", i, "units")):
                units = parse_units(bent.units, layers, self.orders.measured("", bent.units))
            gain[units], invert[units] = bent.gain, bent.invert
        with placed(("forgetting",)):
            return self.memory.bend(
                plan.replacement,
                seed=self.score.seed,
                gain=gain if (gain != 1.0).any() else None,
                invert=invert if invert.any() else None,
                frozen=self._frozen(frozen),
                other=self._other(),
            )

    def _frozen(self, strengths: Strengths | None) -> Source:
        """Return what sounds at the moment that units freeze at."""
        at_s = self.score.clock.seconds(self.score.forgetting.frozen_at)
        forgetting = (one for one in self._merged() if self.lines[one[1]].voice.forgets)
        onset, number, z = next(forgetting)
        for later in forgetting:
            if later[0].time_s > at_s:
                break
            onset, number, z = later
        return Source(z, self.lines[number].turns[onset.turn].label, strengths)

    def _other(self) -> Source:
        """Return the other latent, which replaces what is forgotten."""
        plan = self.score.forgetting
        seed = (self.score.seed + len(self.lines)) % (SEED_MAX + 1) if plan.other_seed is None else plan.other_seed
        label = plan.other_chord or self.lines[0].turns[0].label
        if plan.other_chord is not None:
            with placed(("forgetting", "other_chord")):
                self.memory.label_index(plan.other_chord)
        return Source(self.memory.latents(1, seed)[0], label)

    def _even(self, path: Path, place: Place) -> Shape:
        """Measure how far each share of a path is from intact, by the chords of the first round."""
        if place not in self._shapes:
            turns = [turn for line in self.lines if line.voice.forgets for turn in line.turns if not turn.step.rest]
            if not turns:
                return shape_of(Course())
            if np.array_equal(path(0.0), path(1.0)):  # nothing is to be measured
                return shape_of(Course())
            z = np.stack([turn.latents[0] for turn in turns[:EVENT_BATCH]])
            labels = [turn.label for turn in turns[:EVENT_BATCH] if turn.label is not None]

            def far(shares: list[float]) -> npt.NDArray[np.float64]:
                apart = distances(self.memory, z, labels or None, path, shares, bend=self.bend)
                return np.asarray(apart.mean(axis=1))

            self._shapes[place] = even_shape(far)
        return self._shapes[place]


def _numbered(line: Line) -> Iterator[tuple[Onset, int]]:
    for onset in line.onsets():
        yield onset, line.number


def check_made_for(score: Score, memory: Memory) -> None:
    """Raise MisplacedError, saying what differs, for a score that was made for another memory."""
    made_for = score.made_for
    if made_for is None or made_for.sha256 == memory.fingerprint:
        return
    differ = [f"it is {memory.fingerprint[:12] or 'no file'}, not {made_for.sha256[:12]}"]
    missing = [chord for chord in made_for.chords if chord not in memory.labels]
    if missing:
        differ.append(f"it does not know {', '.join(missing)}")
    for layer in {**made_for.layers, **memory.layers}:
        before, now = made_for.layers.get(layer, 0), memory.layers.get(layer, 0)
        if before != now:
            differ.append(f"{layer} has {counted(now, 'unit')}, not {before}")
    raise MisplacedError(
        ("made_for",),
        f"memory {memory.header.name!r} is not the one it was made for: {'; '.join(differ)}; "
        "without [made_for] it plays with any",
    )
