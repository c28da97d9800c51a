"""What each block of a performance plays: the piece, and the changes made by hand. Makes no sound itself."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from fugue_state.arrays import Array
from fugue_state.bending.adaptive import Governor
from fugue_state.bending.strengths import Strengths
from fugue_state.config import HUSH_S, QualityName
from fugue_state.errors import InputError
from fugue_state.piece.event import Event
from fugue_state.piece.keyboard import check_keyed
from fugue_state.piece.keys import Keys
from fugue_state.piece.layout import Layout
from fugue_state.piece.line import Onset
from fugue_state.piece.motion import Fade, Going
from fugue_state.score.log import Log
from fugue_state.score.model import REACHING_UNITS, Change, Score
from fugue_state.score.paths import CLASSES, KEY, KEY_CHORD, PATHS, Value, check, find, written

Item = TypeVar("Item")
Coming = Iterator[tuple[Onset, int, Array]]
Ramp = tuple[float, float]  # gains at a block's beginning and at its end


@dataclass(frozen=True, eq=False)
class Bar:
    """What one block plays: events that begin in it, their quality, strengths (U,), whether the sound is frozen.

    If it `rests`, the strengths apply only to those events. `gate` is the gain before the room, `gain` that after
    everything, as is `fade` (N,) where the piece fades in or out. `going` is the piece's own time. After a `silenced`
    bar, nothing rings on. `let_go` are the numbers of key presses that are let go.
    """

    events: tuple[Event, ...]
    strengths: Strengths
    frozen: bool
    quality: QualityName
    rests: bool
    gate: Ramp
    gain: Ramp
    silenced: bool
    going: Going
    fade: Array | None
    let_go: frozenset[int] = frozenset()


def block_of(piece: Layout) -> int:
    """Return the length of a block in samples: the memory's hop at the file's rate."""
    spec = piece.memory.spec
    return max(1, round(spec.hop * piece.score.file.sample_rate_hz / spec.sample_rate_hz))


class _Ahead(Generic[Item]):
    """An iterator whose next item can be looked at."""

    def __init__(self, items: Iterator[Item]) -> None:
        self._items = items
        self.next = next(items, None)

    def go_on(self) -> None:
        """Advance to the following item."""
        self.next = next(self._items, None)


class _Fades:
    """The gate before the room and the gain after it, followed from block to block."""

    def __init__(self, volume: float, hush_blocks: int) -> None:
        self.gate, self.gain = 1.0, volume
        self._hushed = 1.0
        self._left, self._hush_blocks = 0, hush_blocks

    def hush(self) -> None:
        """Start fading to silence, over the length of a hush."""
        self._left = self._hush_blocks

    def unhush(self) -> None:
        """Cancel a hush."""
        self._left = 0

    def end(self) -> None:
        """Close the gate: everything has faded out."""
        self.gate = 0.0

    def step(self, *, playing: bool, volume: float) -> tuple[Ramp, Ramp, bool]:
        """Advance by a block; return its gate, its gain, and whether it ends in silence."""
        hushing = self._left > 0
        gate = (self.gate, 1.0 if playing or (hushing and self.gate > 0.0) else 0.0)
        self._hushed = self._hushed * (self._left - 1) / self._left if hushing else 1.0
        gain = (self.gain, volume * self._hushed)
        self._left -= hushing
        silenced = hushing and self._left == 0
        self.gate, self.gain = (0.0 if silenced else gate[1]), gain[1]
        return gate, gain, silenced


class _Ending:
    """How a piece begins and ends by its score: its fades, and the moment from which its sound is frozen."""

    def __init__(self, score: Score, block: int) -> None:
        rate = score.file.sample_rate_hz
        self._at = None if score.freeze_at is None else round(score.clock.seconds(score.freeze_at) * rate)
        self._fade, self._block = Fade(score), block
        self._passed = 0.0  # samples towards the end; they pass while the score, and no hand, has frozen the sound
        self.frozen = False  # by the score
        self.gain = 1.0  # of the fade, after the last block
        self.over = False  # everything faded out in the last block

    def freezes(self, played: float) -> bool:
        """Return whether the sound freezes now, once, after so many samples of the piece."""
        if self._at is None or played < self._at:
            return False
        self._at, self.frozen = None, True
        return True

    def step(self, speed: float) -> Array | None:
        """Return the fade of the next block (N,), None where its gain is 1; the end comes nearer at a speed."""
        fade = self._fade(Going(self._passed, speed), self._block) if self._passed < self._fade.stops else None
        before, self._passed = self._passed, self._passed + self._block * speed
        self.gain = 1.0 if fade is None else float(fade[-1])
        self.over = before < self._fade.stops <= self._passed
        return fade


class Conductor:
    """Goes through a piece block by block: changes come in, bars come out.

    Changes written in the score are applied by themselves, at the first block after their time. The piece stands
    still while the sound is frozen or paused. The score's length ends its plan, not the playing: its loop goes on,
    unless the piece fades out. Then it stops, as after a hush, and goes on when it is played again.
    """

    def __init__(self, piece: Layout, block: int | None = None) -> None:
        score = piece.score
        self._piece, self._score = piece, score
        self.rate = score.file.sample_rate_hz
        self.block = block_of(piece) if block is None else block
        self.position = 0
        self.log = Log()
        self._hand = piece.hand()
        self._own = self._defaults()  # the value of every control that reaches no units; the hand has the others
        self._plan = piece.planned()
        self._keys = Keys(piece)
        self._played = 0.0  # samples of the piece itself, without pauses, at the score's tempo
        self._ending = _Ending(score, self.block)
        self._coming = _Ahead(self._onsets(0.0))
        self._fades = _Fades(float(self._own["/volume"]), math.ceil(HUSH_S * self.rate / self.block))
        self._rests = False
        clock = score.clock
        times = [(clock.seconds(change.at), change) for change in score.changes]
        self._due = _Ahead(iter(sorted(times, key=lambda one: one[0])))
        self._take_due()

    def _defaults(self) -> dict[str, Any]:
        """Return the initial value of every control that reaches no units."""
        own = [path for path in PATHS if path.recorded and not path.pattern.startswith(REACHING_UNITS)]
        known = {path.pattern: path for path in own if path.kind != "trigger"}
        del known[KEY]  # a key is pressed and let go, and then has no value
        chord = known.pop(KEY_CHORD)
        found: dict[str, Any] = {pattern: path.default for pattern, path in known.items()}
        found |= {KEY_CHORD.replace("<c>", str(number)): chord.default for number in CLASSES}
        return found | {
            "/seed": self._score.seed,
            "/quality": self._score.quality,
            "/tempo": self._score.tempo_bpm,
        }

    @property
    def values(self) -> dict[str, Any]:
        """The value of every control, except those of single units."""
        return {**self._hand.values, **self._own}

    @property
    def strengths(self) -> Strengths:
        """The strengths that are asked for now (U,)."""
        return self._hand(0.0, lambda _: self._planned())

    def _planned(self) -> Strengths:
        return self._plan(self.played_s)

    @property
    def governors(self) -> Sequence[Governor | None]:
        """What decides how far the adaptive parts forget; None for a part that is not adaptive."""
        return self._plan.governors

    @property
    def brushed(self) -> Strengths:
        """The strengths (U,) that brushes alone have left."""
        return self._hand.brushed

    @property
    def frozen(self) -> npt.NDArray[np.bool_]:
        """Mask (U,) of the units that are frozen."""
        return self._hand.frozen

    def change(self, path: str, value: Value = None) -> None:
        """Move a control from the next block on; InputError if it cannot be moved."""
        value = self._checked(path, value)
        if path.startswith(REACHING_UNITS):
            change = Change(at=self.position / self.rate, path=path, value=written(value))
            self._hand.play(change, self._planned)
        self.log.add(self.position, path, value)
        if path in self._own:
            self._own[path] = value
        self._keys.follow(path, value, pedal=bool(self._own["/pedal"]))
        self._follow(path, value)

    def _follow(self, path: str, value: Value) -> None:
        """Do what a change of a control does at once."""
        if path == "/freeze" and not value:
            self._ending.frozen = False
        elif path == "/hush":
            self._own["/play"] = 0
            self._fades.hush()
        elif path == "/play" and value:
            self._fades.unhush()
        elif path == "/seed":
            self._coming = _Ahead(self._onsets((self._played - 0.5) / self.rate))  # onsets are rounded
        elif path == "/rest":
            self._rests = True

    def _checked(self, path: str, value: Value) -> Value:
        """Return the value for a control; InputError if it cannot be moved to it."""
        if not find(path)[0].recorded:
            raise InputError(f"{path} is no control of the sound")
        value = check(path, () if value is None else (value,))
        if path.endswith("/chord") and value:  # also a key's
            self._piece.check_chord(str(value))
        check_keyed(self._score, path, value)
        self._keys.check(path, value, playing=bool(self._own["/play"]))
        if self.needs(path, value):
            raise InputError(f"{path}: the memory's units are not measured yet, as the order {value!r} needs")
        return value

    def needs(self, path: str, value: Value) -> bool:
        """Return whether a memory must be measured before a control can be moved to a value."""
        return path.endswith("/order") and self._piece.needs(str(value))

    def measure(self) -> None:
        """Measure the memories for any order a hand may choose."""
        self._piece.measure()

    def back(self, path: str) -> list[tuple[str, Value]]:
        """Return the changes that restore the present state after this control is moved; InputError as in `change`."""
        if path.startswith(REACHING_UNITS):
            return self._hand.back(path)
        return [(path, self._own[path])] if path in self._own else []

    def carry_on(self, before: Conductor) -> None:
        """Take over another conductor's controls as far as this piece knows them; freeze is not taken over."""
        self._fades.gain = before._fades.gain * before._ending.gain
        values, labels = self.values, {label for part in self._piece.parts for label in part.memory.labels}
        for path, value in before.values.items():
            known = path in values and (not path.endswith("/chord") or value in labels)
            if known and path != "/freeze" and value != values[path] and not self.needs(path, value):
                self.change(path, value)

    def _take_due(self) -> None:
        """Apply the changes whose time has come."""
        while (due := self._due.next) is not None and round(due[0] * self.rate) <= self.position:
            self._due.go_on()
            self.change(due[1].path, due[1].played)
        if self._ending.freezes(self._played):
            self._own["/freeze"] = 1

    def _onsets(self, begin_s: float) -> Coming:
        """Yield the coming onsets of all voices, with latents drawn by the present seed."""
        # The generator must not refer to the conductor: a cycle would keep a swapped-out memory alive.
        return self._piece.onsets(self._own["/seed"], begin_s, math.inf)

    def step(self) -> Bar:
        """Advance by one block."""
        playing, frozen, quality = bool(self._own["/play"]), bool(self._own["/freeze"]), self._own["/quality"]
        rests, self._rests = self._rests, False
        # During a hush the piece goes on until it is silent, and events may still begin.
        gate, gain, silenced = self._fades.step(playing=playing, volume=float(self._own["/volume"]))
        moving = max(gate) > 0.0 and not frozen
        strengths = self.strengths
        keyed, let_go = self._keyed(strengths)
        events = self._events(strengths) if moving else ()
        going = Going(self._played, self.speed if moving else 0.0)
        fade = self._ending.step(self.speed if moving or (self._ending.frozen and max(gate) > 0.0) else 0.0)
        if self._ending.over:
            silenced = True
            self._own["/play"] = 0
            self._fades.end()
        if silenced:
            self._own["/freeze"], self._ending.frozen = 0, False
            self._keys.clear()
        self.position += self.block
        self._played += self.block * self.speed if moving else 0
        self._take_due()
        events = (*keyed, *events)
        return Bar(events, strengths, frozen, quality, rests, gate, gain, silenced, going, fade, let_go)

    @property
    def speed(self) -> float:
        """How fast the piece goes on; 1 is the score's tempo."""
        return float(self._own["/tempo"] / self._score.tempo_bpm)

    def _keyed(self, strengths: Strengths) -> tuple[tuple[Event, ...], frozenset[int]]:
        """Return the events that keys begin with the next block, and the presses that are let go."""
        # Half a sample early, as onsets are rounded: those of the score in this block are never before it.
        now_s = max(0.0, self._played - 0.5) / self.rate
        events, let_go = self._keys.step(self._own, self.position, self.block, now_s, strengths)
        for event in events:
            self._piece.hear(self._plan, event, now_s)
        return events, let_go

    @property
    def held(self) -> list[tuple[str, Value]]:
        """The changes that let go of all keys and the pedal."""
        moves: list[tuple[str, Value]] = [(KEY.replace("<m>", str(key)), 0.0) for key in self._keys.down]
        return [*moves, ("/pedal", 0)] if self._own["/pedal"] else moves

    def _events(self, strengths: Strengths) -> tuple[Event, ...]:
        """Return the events of the piece's next block, with onsets counted in samples of the performance."""
        found, speed = [], self.speed
        until = self._played + self.block * speed
        while (due := self._coming.next) and round(due[0].time_s * self.rate) < until:
            onset, number, z = due
            self._coming.go_on()
            if not self._own["/loop"]:
                continue
            event = self._piece.event(onset, number, z, strengths)
            chord = self._own["/chord"]
            named = {"chord": chord, "label": chord} if chord and self._piece.part(event).memory.knows(chord) else {}
            late = min(max(0, round((event.onset - self._played) / speed)), self.block - 1)
            held = None if event.held is None else max(1, round(event.held / speed))
            event = replace(event, onset=late + self.position, held=held, **named)
            self._piece.hear(self._plan, event, onset.time_s)
            found.append(event)
        return tuple(found)

    @property
    def played_s(self) -> float:
        """Seconds of the piece played so far; less than the time elapsed if it was paused or frozen."""
        return self._played / self.rate

    def bars(self) -> Iterator[tuple[int, Bar]]:
        """Yield the bars of a take up to its end, each with its first sample."""
        while self.position < self._score.samples:
            begins = self.position
            yield begins, self.step()

    def events(self) -> Iterator[Event]:
        """Yield the events of a take, up to its end."""
        return (event for event, _ in self.events_in_bars())

    def events_in_bars(self) -> Iterator[tuple[Event, Strengths]]:
        """Yield the events of a take, up to its end, each with the strengths (U,) of its bar."""
        for _, bar in self.bars():
            yield from ((event, bar.strengths) for event in bar.events if event.onset < self._score.samples)


class Passing:
    """Maps between a take's time and its piece's time: the piece stands still during pauses and freezes."""

    def __init__(self, piece: Layout) -> None:
        conductor = Conductor(piece)
        begins, passed, speeds = [], [0.0], []
        speed = conductor.speed
        for begin, _ in conductor.bars():
            begins.append(begin / conductor.rate)
            passed.append(conductor.played_s)
            speeds.append(speed)
            speed = conductor.speed
        self._length_s = piece.score.length_s
        self._edges_s, self._passed_s = np.array([*begins, self._length_s]), np.array(passed)
        self._speeds = speeds

    def heard_s(self, time_s: float) -> float | None:
        """Return when a time of the piece is heard in the take; None if the take never reaches it."""
        bar = int(np.searchsorted(self._passed_s, time_s, side="right")) - 1
        if bar + 1 == len(self._passed_s):
            return None
        heard_s = float(self._edges_s[bar]) + (time_s - float(self._passed_s[bar])) / self._speeds[bar]
        return heard_s if heard_s < self._length_s else None

    def passed_s(self, time_s: float) -> float:
        """Return the time of the piece that is heard at a time of the take."""
        return float(np.interp(time_s, self._edges_s, self._passed_s))


def moves(piece: Layout) -> Iterator[tuple[float, Strengths]]:
    """Yield the strengths (U,) of a take whenever they change, with the second from which they hold."""
    if not any(voice.forgets for voice in piece.score.voices):
        return
    conductor = Conductor(piece)
    before: Strengths | None = None
    for begin, bar in conductor.bars():
        if before is None or not np.array_equal(bar.strengths, before):
            before = bar.strengths.copy()
            yield begin / conductor.rate, before
