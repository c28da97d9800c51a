"""A score laid out for its memories: its lines, its parts, and what is remembered at each time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice

import numpy as np

from fugue_state import asked
from fugue_state.arrays import Array, Wide
from fugue_state.bending.adaptive import Governor
from fugue_state.bending.hand import Hand
from fugue_state.bending.strengths import Strengths
from fugue_state.config import SEED_MAX
from fugue_state.errors import InputError, counted
from fugue_state.memory.memory import Memory
from fugue_state.piece.event import Event
from fugue_state.piece.keyboard import check_keyed
from fugue_state.piece.line import Line, Onset, merged
from fugue_state.piece.orders import Described
from fugue_state.piece.parts import Part, Plan
from fugue_state.piece.recorded import RecordedLine
from fugue_state.progress import Track, untracked
from fugue_state.score.model import REACHING_UNITS, Change, Made, MadeFor, Score
from fugue_state.score.paths import find
from fugue_state.score.times import told
from fugue_state.settings import MisplacedError, Place, placed


class Layout:
    """A score laid out for its memories: lines, parts, strengths over time, and what each event is made of.

    `memory` is the score's. Others that it names are taken from `memories`, by these names, or else loaded; from then
    on, `memories` has all of them. Units of all parts are one vector (U,), a part after the other.

    Raises MisplacedError for chords, layers and units that a memory does not have, InputError for a score made for
    another memory, and for a memory that is not there.
    """

    def __init__(
        self,
        score: Score,
        memory: Memory,
        memories: Mapping[str, Memory] | None = None,
        *,
        track: Track = untracked,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        asked.kind("score", score, Score, "load_score reads one")
        asked.kind("memory", memory, Memory, "Memory.load reads one")
        self.score, self.memory = score, memory
        self.memories = _memories(score, memory, memories or {})
        check_made_for(score, self.memories)
        described = {name: Described(one, name, track, say) for name, one in self.memories.items()}
        played = [score.memory_of(number) for number in range(len(score.voices))]
        self._played = [(self.memories[name], described[name]) for name in played]  # by voice
        self.lines = tuple(self.line(number) for number in range(len(score.voices)))
        self._check_recordings()
        self.parts = tuple(self._parts(described))
        self.part_of = _part_of(self.parts)  # by voice
        self.layers = {name: units for part in self.parts for name, units in part.layers.items()}
        self.units = sum(part.units for part in self.parts)
        check_freeze(score, self.lines)
        with placed(("changes",)):
            reaching = [change for change in score.changes if change.path.startswith(REACHING_UNITS)]
            clock = score.clock
            self._hand = self.hand([(clock.seconds(change.at), change) for change in reaching])
        for i, change in enumerate(score.changes):
            if change.path.endswith("/chord") and change.value:  # also a key's
                with placed(("changes", i, "value")):
                    self.check_chord(str(change.value))
            elif find(change.path)[0].by_keys:
                with placed(("changes", i, "value")):
                    check_keyed(score, change.path, change.value)
        plan = self.planned([None] * len(self.parts))
        for part in self.parts:
            if part.frozen_s > 0.0:
                # Changes made by hand during a live performance are not known yet.
                live = score.resolution == "block"
                now = plan(part.frozen_s) if live else self.strengths(plan, part.frozen_s)
                part.freeze(now[part.within])

    def _check_recordings(self) -> None:
        """Raise MisplacedError for a recording that is not the one that the score was made with."""
        made = {} if self.score.made_for is None else self.score.made_for.recordings
        for line in self.lines:
            if isinstance(line, RecordedLine):
                path = str(line.voice.recording)
                if (before := made.get(path, line.sha256)) != line.sha256:
                    why = f"{path} is not the recording it was made with: it is {line.sha256[:12]}, not {before[:12]}"
                    raise MisplacedError(("voices", line.number, "recording"), why)

    def _parts(self, described: Mapping[str, Described]) -> Iterator[Part]:
        """Make the parts, one after the other; MisplacedError if no chord sounds in any."""
        last = [max((onset.time_s for onset in line.onsets()), default=None) for line in self.lines]
        known = [last_s for last_s in last if last_s is not None]
        if not known:
            raise MisplacedError(("voices",), "no chord falls within the piece")
        self.last_s = max(known)
        groups, start = self.score.together, 0
        for number, (group, name) in enumerate(zip(groups, self._names(), strict=True)):
            own = [last_s for voice in group.voices if (last_s := last[voice]) is not None]
            part = Part(
                self.score,
                number,
                self.lines,
                self.memories[group.memory],
                described[group.memory],
                None if group.forgetting.other_memory is None else self.memories[group.forgetting.other_memory],
                last_s=max(own, default=self.last_s),
                name=name,
                start=start,
            )
            start += part.units
            yield part

    def _names(self) -> list[str]:
        """Return the names of the parts: each that of its voice, if it is one, or else of its memory; all differ."""
        groups = self.score.together
        if len(groups) == 1:
            return [""]
        names: list[str] = []
        for group in groups:
            voice = self.score.voices[group.voices[0]].name if len(group.voices) == 1 else ""
            name = plain = voice or self.memories[group.memory].header.name
            number = 1
            while name in names:
                number += 1
                name = f"{plain} {number}"
            names.append(name)
        return names

    @property
    def made_for(self) -> MadeFor:
        """The memories that it is laid out for."""
        own, *others = [(name, _made(memory)) for name, memory in self.memories.items()]
        recordings = {str(line.voice.recording): line.sha256 for line in self.lines if isinstance(line, RecordedLine)}
        return MadeFor(**own[1].model_dump(), others=dict(others), recordings=recordings)

    def part(self, event: Event) -> Part:
        """Return the part that an event belongs to."""
        return self.parts[self.part_of[event.voice]]

    def event(self, onset: Onset, number: int, z: Array, strengths: Strengths) -> Event:
        """Return the event of a voice at an onset, with its part of these strengths (U,) if forgetting reaches it."""
        line, part = self.lines[number], self.parts[self.part_of[number]]
        turn = line.turns[onset.turn]
        reached, rate = line.voice.forgets, self.score.file.sample_rate_hz
        return Event(
            onset=round(onset.time_s * rate),
            chord=turn.chord,
            label=turn.label,
            latent=z,
            strengths=strengths[part.within] if reached else np.ones(part.units, dtype=np.float32),
            pan=turn.pan,
            frames=line.frames,
            voice=number,
            level_db=line.voice.level_db + turn.step.struck_db + self.planned_lu(onset.time_s),
            envelope=line.voice.envelope or self.score.envelope,
            bend=part.bend if reached else None,
            held=None if onset.held_s is None else max(1, round(onset.held_s * rate)),
            segment=onset.turn if isinstance(line, RecordedLine) else None,
        )

    def hear(self, plan: Plan, event: Event, time_s: float) -> None:
        """Let the adaptive parts of a plan listen to an event, at its time in seconds."""
        line = self.lines[event.voice]
        if line.voice.forgets:
            plan.hear(self.part_of[event.voice], event, time_s, line.length_s)

    def line(self, number: int, latent_seed: int | None = None) -> Line:
        """Lay out a voice, optionally with another seed for its latents."""
        kind = Line if self.score.voices[number].recording is None else RecordedLine
        return kind(self.score, number, *self._played[number], latent_seed)

    def hand(self, changes: Sequence[tuple[float, Change]] = ()) -> Hand:
        """Return a hand that plays these changes, each with its time in seconds."""
        return Hand(changes, [part.reach() for part in self.parts])

    def needs(self, order: str) -> bool:
        """Return whether a memory must be measured before a hand can choose an order."""
        return any(part.orders.needs(order) for part in self.parts)

    def measure(self) -> None:
        """Measure the memories for any order a hand may choose."""
        for part in self.parts:
            part.orders.measure()

    def check_chord(self, chord: str) -> None:
        """Raise InputError for a chord that none of the memories knows."""
        knowing = [part.memory for part in self.parts if part.memory.knows(chord)]
        if not knowing:
            self.parts[0].memory.label_index(chord)

    def onsets(
        self, seed: int | None = None, begin_s: float = 0.0, end_s: float | None = None
    ) -> Iterator[tuple[Onset, int, Array]]:
        """Yield the onsets of all lines by time, each with its voice's number and its latent.

        They go from `begin_s` to `end_s`, by default the end of the piece. Another `seed` than the score's draws other
        latents.
        """

        def numbered(line: Line) -> Iterator[tuple[Onset, int, Array]]:
            for onset, z in line.latents(self.parts[self.part_of[line.number]].last_s, begin_s, end_s):
                yield onset, line.number, z

        lines = self.lines
        if seed is not None and seed != self.score.seed:
            lines = tuple(self.line(line.number, (seed + line.number) % (SEED_MAX + 1)) for line in lines)
        return merged(map(numbered, lines))

    def planned(self, governors: Sequence[Governor | None] | None = None) -> Plan:
        """Return the strengths over time; adaptive parts go on as governors decide, by default new ones."""
        return Plan(self.parts, [part.governor() for part in self.parts] if governors is None else governors)

    def strengths(self, plan: Plan, time_s: float) -> Strengths:
        """Return the strengths (U,) at a time: the plan's, then altered by the score's changes."""
        return self._hand(time_s, plan) if self.score.changes else plan(time_s)

    def planned_lu(self, time_s: float) -> float:
        """Return the planned level at a time of the piece, in LU relative to the beginning."""
        return float(np.interp(time_s, *self._levels)) if self.score.loudness.plan else 0.0

    @cached_property
    def _levels(self) -> tuple[Wide, Wide]:
        """The planned levels: their times in seconds, and the levels in LU."""
        plan, clock = self.score.loudness.plan, self.score.clock
        times = [clock.seconds(time) for time, _ in plan]
        return np.array(times), np.array([level for _, level in plan])


def _memories(score: Score, memory: Memory, known: Mapping[str, Memory]) -> dict[str, Memory]:
    """Return the memories by the names that a score says, its own first; what is not known is loaded."""
    found = {score.memory: memory}
    for name, place, whose in score.memories():
        if name not in found:
            with placed(place):
                found[name] = known[name] if name in known else _loaded(score, name, whose)
    return found


def check_freeze(score: Score, lines: Sequence[Line]) -> None:
    """Raise MisplacedError if a score freezes its sound before anything sounds."""
    if score.freeze_at is None:
        return
    at_s = score.clock.seconds(score.freeze_at)
    first_s = min(onset.time_s for line in lines for onset in islice(line.onsets(), 1))
    if at_s <= first_s:
        why = f"nothing sounds yet at {told(at_s)}, the first chord begins at {told(first_s)}"
        raise MisplacedError(("freeze_at",), why)


def _loaded(score: Score, name: str, whose: str) -> Memory:
    """Load a memory as the score's own was; InputError says what it is for."""
    try:
        return Memory.load(name, inverter=score.inverter, quality=score.quality)
    except InputError as error:
        raise InputError(f"{whose}: {error}") from None


def _part_of(parts: Sequence[Part]) -> tuple[int, ...]:
    """Return the number of each voice's part."""
    found = {voice: number for number, part in enumerate(parts) for voice in part.voices}
    return tuple(found[voice] for voice in range(len(found)))


def _made(memory: Memory) -> Made:
    return Made(sha256=memory.fingerprint, chords=memory.labels, layers=memory.layers)


def check_made_for(score: Score, memories: Mapping[str, Memory]) -> None:
    """Raise MisplacedError, saying what differs, if a score was made for other memories."""
    made_for = score.made_for
    if made_for is None:
        return
    _check_made(("made_for",), made_for, memories[score.memory])
    for name, made in made_for.others.items():
        if name in memories and name != score.memory:
            _check_made(("made_for", "others", name), made, memories[name])


def _check_made(place: Place, made: Made, memory: Memory) -> None:
    if made.sha256 == memory.fingerprint:
        return
    differ = [f"it is {memory.fingerprint[:12] or 'no file'}, not {made.sha256[:12]}"]
    missing = [chord for chord in made.chords if chord not in memory.labels]
    if missing:
        differ.append(f"it does not know {', '.join(missing)}")
    for layer in {**made.layers, **memory.layers}:
        before, now = made.layers.get(layer, 0), memory.layers.get(layer, 0)
        if before != now:
            differ.append(f"{layer} has {counted(now, 'unit')}, not {before}")
    raise MisplacedError(
        place,
        f"memory {memory.header.name!r} is not the one it was made for: {'; '.join(differ)}; "
        "without [made_for] it plays with any",
    )
