"""A score laid out for a memory: its lines, and what is remembered at each time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import islice

import numpy as np

from fugue_state import asked
from fugue_state.arrays import Array, Wide
from fugue_state.bending.adaptive import Governor
from fugue_state.bending.hand import Hand
from fugue_state.bending.orders import parse_units
from fugue_state.bending.strengths import Strengths
from fugue_state.bending.timeline import Timeline, compose
from fugue_state.config import SEED_MAX
from fugue_state.errors import counted
from fugue_state.memory.bends import Bend, Source
from fugue_state.memory.memory import Memory
from fugue_state.piece.even import EvenPace
from fugue_state.piece.event import Event
from fugue_state.piece.line import Line, Onset, merged
from fugue_state.piece.listening import Ear
from fugue_state.piece.orders import Described, Orders
from fugue_state.piece.parts import Part
from fugue_state.progress import Track, untracked
from fugue_state.score.model import REACHING_UNITS, Change, Score
from fugue_state.score.times import told
from fugue_state.settings import MisplacedError, placed


class Layout:
    """A score laid out for a memory: lines, orders, strengths over time, and what each event is made of.

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
        self.score, self.memory = score, memory
        every = tuple(range(len(score.voices)))
        self.parts = (Part("", memory, score.memory, every, 0, memory.layers),)
        self.part_of = (0,) * len(every)  # by voice
        self.layers = {name: units for part in self.parts for name, units in part.layers.items()}
        self.units = sum(part.units for part in self.parts)
        self.described = Described(memory, score.memory, track, say)
        self.orders = Orders(score, memory, self.described)
        self.lines = tuple(self.line(number) for number in range(len(score.voices)))
        last_s = max((onset.time_s for line in self.lines for onset in line.onsets()), default=None)
        if last_s is None:
            raise MisplacedError(("voices",), "no chord falls within the piece")
        self.last_s = last_s
        check_freeze(score, self.lines)
        with placed(("changes",)):
            reaching = [change for change in score.changes if change.path.startswith(REACHING_UNITS)]
            self._hand = self.hand([(score.clock.seconds(change.at), change) for change in reaching])
        for i, change in enumerate(score.changes):
            if change.path == "/chord" and change.value:
                with placed(("changes", i, "value")):
                    memory.label_index(str(change.value))
        self.bend = self._bend(None)
        self._even = EvenPace(memory, self.lines, self.bend)
        timeline = self.timeline()
        frozen_s = score.clock.seconds(score.forgetting.frozen_at)
        if frozen_s > 0.0:
            # Changes made by hand during a live performance are not known yet.
            live = score.resolution == "block"
            self.bend = self._bend(timeline(frozen_s) if live else self.strengths(timeline, frozen_s))

    def event(self, onset: Onset, number: int, z: Array, strengths: Strengths) -> Event:
        """Return the event of a voice at an onset, with these strengths (U,) if forgetting applies to the voice."""
        line = self.lines[number]
        turn = line.turns[onset.turn]
        reached = line.voice.forgets
        return Event(
            onset=round(onset.time_s * self.score.file.sample_rate_hz),
            chord=turn.chord,
            label=turn.label,
            latent=z,
            strengths=strengths if reached else np.ones(self.units, dtype=np.float32),
            pan=turn.pan,
            frames=line.frames,
            voice=number,
            level_db=line.voice.level_db + turn.step.level_db + self.planned_lu(onset.time_s),
            envelope=line.voice.envelope or self.score.envelope,
            bend=self.bend if reached else None,
        )

    def part(self, event: Event) -> Part:
        """Return the part that an event belongs to."""
        return self.parts[self.part_of[event.voice]]

    def listening(self, governor: Governor | None, timeline: Timeline) -> Callable[[Event, float], None]:
        """Return a function to call with every event and its time in seconds, so that the governor hears it."""
        ear = None if governor is None else Ear(self.memory, governor)
        sounding: list[float] = []

        def listen(event: Event, time_s: float) -> None:
            line = self.lines[event.voice]
            if ear is not None and line.voice.forgets:
                sounding[:] = [ends_s for ends_s in sounding if ends_s > time_s] + [time_s + line.length_s]
                ear.hear(event, timeline.listening_s(time_s), len(sounding))

        return listen

    def line(self, number: int, latent_seed: int | None = None) -> Line:
        """Lay out a voice, optionally with another seed for its latents."""
        return Line(self.score, number, self.memory, self.described, latent_seed)

    def hand(self, changes: Sequence[tuple[float, Change]] = ()) -> Hand:
        """Return a hand that plays these changes, each with its time in seconds."""
        orders, name = self.orders, self.score.forgetting.order
        return Hand(changes, self.layers, orders.base(), orders.inside, name)

    def onsets(
        self, seed: int | None = None, begin_s: float = 0.0, end_s: float | None = None
    ) -> Iterator[tuple[Onset, int, Array]]:
        """Yield the onsets of all lines by time, each with its voice's number and its latent.

        They go from `begin_s` to `end_s`, by default the end of the piece. Another `seed` than the score's draws other
        latents.
        """

        def numbered(line: Line) -> Iterator[tuple[Onset, int, Array]]:
            for onset, z in line.latents(self.last_s, begin_s, end_s):
                yield onset, line.number, z

        lines = self.lines
        if seed is not None and seed != self.score.seed:
            lines = tuple(self.line(line.number, (seed + line.number) % (SEED_MAX + 1)) for line in lines)
        return merged(map(numbered, lines))

    def timeline(self, governor: Governor | None = None) -> Timeline:
        """Return the strengths over time; with an adaptive forgetting, as the governor has decided."""
        listened = None if governor is None else governor.share
        return compose(self.score, self.units, self.last_s, self.orders, self._even, listened)

    def strengths(self, timeline: Timeline, time_s: float) -> Strengths:
        """Return the strengths (U,) at a time: the timeline's, then altered by the score's changes."""
        return self._hand(time_s, timeline) if self.score.changes else timeline(time_s)

    def planned_lu(self, time_s: float) -> float:
        """Return the planned level at a time of the piece, in LU relative to the beginning."""
        return float(np.interp(time_s, *self._levels)) if self.score.loudness.plan else 0.0

    @cached_property
    def _levels(self) -> tuple[Wide, Wide]:
        """The planned levels: their times in seconds, and the levels in LU."""
        plan = self.score.loudness.plan
        times = [self.score.clock.seconds(time) for time, _ in plan]
        return np.array(times), np.array([level for _, level in plan])

    def _bend(self, frozen: Strengths | None) -> Bend | None:
        """Return what is done to units besides forgetting; None if forgotten units are simply silenced."""
        plan, layers = self.score.forgetting, self.memory.layers
        if (plan.replacement == "zero" and not plan.bends) or not any(line.voice.forgets for line in self.lines):
            return None
        gain, invert = np.ones(self.memory.units, dtype=np.float32), np.zeros(self.memory.units, dtype=np.float32)
        for i, bent in enumerate(plan.bends):
            with placed(("forgetting", "bends", i, "units")):
                units = parse_units(bent.units, layers, self.orders.measured("", bent.units))
            gain[units], invert[units] = bent.gain, bent.invert
        source = self._frozen(frozen)
        if source is None:  # no voice that forgets ever sounds
            return None
        with placed(("forgetting",)):
            return self.memory.bend(
                plan.replacement,
                seed=self.score.seed,
                gain=gain if (gain != 1.0).any() else None,
                invert=invert if invert.any() else None,
                frozen=source,
                other=self._other(),
            )

    def _frozen(self, strengths: Strengths | None) -> Source | None:
        """Return what sounds when units freeze, or first after that; None if no voice that forgets ever sounds."""
        at_s = self.score.clock.seconds(self.score.forgetting.frozen_at)
        forgetting = (one for one in self.onsets() if self.lines[one[1]].voice.forgets)
        found = next(forgetting, None)
        if found is None:
            return None
        for later in forgetting:
            if later[0].time_s > at_s:
                break
            found = later
        onset, number, z = found
        return Source(z, self.lines[number].turns[onset.turn].label, strengths)

    def _other(self) -> Source:
        """Return the other latent and label, whose activations replace those of forgotten units."""
        plan = self.score.forgetting
        seed = (self.score.seed + len(self.lines)) % (SEED_MAX + 1) if plan.other_seed is None else plan.other_seed
        label = plan.other_chord or self.lines[0].turns[0].label
        if plan.other_chord is not None:
            with placed(("forgetting", "other_chord")):
                self.memory.label_index(plan.other_chord)
        return Source(self.memory.latents(1, seed)[0], label)


def check_freeze(score: Score, lines: Sequence[Line]) -> None:
    """Raise MisplacedError if a score freezes its sound before anything sounds."""
    if score.freeze_at is None:
        return
    at_s = score.clock.seconds(score.freeze_at)
    first_s = min(onset.time_s for line in lines for onset in islice(line.onsets(), 1))
    if at_s <= first_s:
        why = f"nothing sounds yet at {told(at_s)}, the first chord begins at {told(first_s)}"
        raise MisplacedError(("freeze_at",), why)


def check_made_for(score: Score, memory: Memory) -> None:
    """Raise MisplacedError, saying what differs, if a score was made for another memory."""
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
