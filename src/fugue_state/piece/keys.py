"""What keys play: which events their presses begin, and when these are let go."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fugue_state.arrays import Array
from fugue_state.bending.strengths import Strengths
from fugue_state.config import KEYS_AT_ONCE, KEYS_EACH_BLOCK, SEED_MAX
from fugue_state.errors import InputError, counted
from fugue_state.piece.event import Event
from fugue_state.piece.keyboard import key_label
from fugue_state.piece.layout import Layout
from fugue_state.piece.line import Line, Onset, blend
from fugue_state.piece.parts import Part
from fugue_state.score.paths import KEY, Value, find
from fugue_state.score.pitches import SHARPS, VELOCITY_MOST, velocity_db

KEYED, PLACED, VARIED = 4, 5, 6  # purposes of random numbers; a line's own are others


@dataclass(frozen=True)
class Press:
    """A key, how hard it was pressed (above 0, up to 1), and the number of the press, from 1 on."""

    key: int
    velocity: float
    number: int


class Keys:
    """Follows keys and pedal: each press is an event of the voice that `/keys/voice` names.

    A press waits for a block of its own, since generating is slow; then come those after it. Released before that, it
    sounds for a block. A key that is pressed again lets go of what it played.
    """

    def __init__(self, piece: Layout) -> None:
        self._piece = piece
        self._count = 0
        self._waiting: deque[Press] = deque()
        self._down: dict[int, int] = {}  # number of the newest press of each key that is down
        self._kept: dict[int, int] = {}  # number and key of presses that only the pedal keeps
        self._let_go: set[int] = set()  # numbers of presses that are let go in the next block
        self._wandered: dict[tuple[int, int], Array] = {}  # the latest latent of a voice's key

    @property
    def down(self) -> list[int]:
        """The keys that are down."""
        return list(self._down)

    def check(self, path: str, value: Value, *, playing: bool) -> None:
        """Raise InputError for a press that could not be heard soon; other changes pass."""
        if find(path)[0].pattern != KEY or not value:
            return
        if not playing:
            raise InputError(f"{path}: nothing sounds now; /play first")
        if len(self._waiting) >= KEYS_AT_ONCE:
            raise InputError(f"{path}: {counted(len(self._waiting), 'key')} wait to sound already")

    def follow(self, path: str, value: Value, *, pedal: bool) -> None:
        """Follow a change of any control; `pedal` is whether the pedal is down after it."""
        known, numbers = find(path)
        if known.pattern == KEY and isinstance(value, float):
            if value:
                self._press(numbers[0], value)
            else:
                self._release(numbers[0], pedal=pedal)
        elif path == "/pedal" and not value:
            self._let_go.update(self._kept)
            self._kept.clear()
        elif path == "/hush" or (path == "/play" and not value):
            self._waiting.clear()  # nothing sounds now, and they must not be heard later

    def _release(self, key: int, *, pedal: bool) -> None:
        number = self._down.pop(key, None)
        if number is not None and pedal:
            self._kept[number] = key
        elif number is not None:
            self._let_go.add(number)

    def _press(self, key: int, velocity: float) -> None:
        before = [number for number, kept in [*self._kept.items()] if kept == key]
        for number in before:
            del self._kept[number]
        if key in self._down:
            before.append(self._down[key])
        self._let_go.update(before)
        self._count += 1
        self._down[key] = self._count
        self._waiting.append(Press(key, velocity, self._count))

    def clear(self) -> None:
        """Forget all keys: everything was silenced."""
        self._waiting.clear()
        self._down.clear()
        self._kept.clear()
        self._let_go.clear()

    def step(
        self, own: Mapping[str, Any], position: int, block: int, played_s: float, strengths: Strengths
    ) -> tuple[tuple[Event, ...], frozenset[int]]:
        """Return the events that begin with a block, and the numbers of the presses that are let go with it.

        `own` are the values of the controls, `position` is the block's first sample, `played_s` the time of the piece.
        """
        events = []
        for _ in range(min(KEYS_EACH_BLOCK, len(self._waiting))):
            press = self._waiting.popleft()
            event = self._event(press, own, played_s, strengths)
            held = block if press.number in self._let_go else None
            self._let_go.discard(press.number)
            events.append(replace(event, onset=position, held=held, press=press.number))
        waiting = {press.number for press in self._waiting}
        let_go, self._let_go = frozenset(self._let_go - waiting), self._let_go & waiting
        return tuple(events), let_go

    def _event(self, press: Press, own: Mapping[str, Any], played_s: float, strengths: Strengths) -> Event:
        """Return the event of a press."""
        piece, number = self._piece, own["/keys/voice"] - 1
        line = piece.lines[number]
        seed = line.seed if own["/seed"] == piece.score.seed else (own["/seed"] + number) % (SEED_MAX + 1)
        memory, chosen = self._part(number).memory, own[f"/keys/{press.key % len(SHARPS) + 1}/chord"]
        label = chosen if chosen and memory.knows(chosen) else key_label(press.key, memory.labels)
        sounding, pool = self._pool(line, press.key, label, seed)
        latent = self._latent(line, press, pool, seed, played_s)
        # All but the chord is as in the voice's own events.
        event = piece.event(Onset(played_s, 0, 0), number, latent, strengths)
        spread = line.voice.spread
        place = line.voice.pan + float(_random(number, seed, PLACED, press.key).uniform(-spread, spread))
        return replace(
            event,
            chord=sounding or label,
            label=label,
            pan=min(1.0, max(-1.0, place)),
            level_db=line.voice.level_db + piece.planned_lu(played_s) + velocity_db(VELOCITY_MOST * press.velocity),
        )

    def _part(self, number: int) -> Part:
        """Return the part that a voice belongs to."""
        return self._piece.parts[self._piece.part_of[number]]

    @staticmethod
    def _pool(line: Line, key: int, label: str | None, seed: int) -> tuple[str | None, Array | None]:
        """Return the chord and the latents (n, Z) that the atlas has for a key, if the voice's own are from there."""
        root = SHARPS[key % len(SHARPS)]
        for chord in [label] if label else [root, f"{root}m"]:
            pool = line.pool(chord, label, seed + key)
            if pool is not None:
                return chord, pool
        return None, None

    def _latent(self, line: Line, press: Press, pool: Array | None, seed: int, played_s: float) -> Array:
        """Return the latent (Z,) of a press, by the rule of the voice: a key is like a chord of its loop."""
        voice, number, key, last_s = line.voice, line.number, press.key, self._part(line.number).last_s
        first = self._drawn(number, seed, KEYED, key) if pool is None else pool[0]
        z = first
        if voice.latents == "fresh":
            z = self._new(pool, seed, number, press)
        elif voice.latents == "walk":
            before = self._wandered.get((number, key))
            z = first if before is None else blend(before, self._new(pool, seed, number, press), voice.wander)
            self._wandered[number, key] = z
        elif voice.latents == "path" and voice.towards_seed is not None:
            goal = self._drawn(number, voice.towards_seed, KEYED, key)
            z = blend(first, goal, min(1.0, played_s / last_s) if last_s else 0.0)
        varied = voice.variation
        return blend(z, self._drawn(number, seed, VARIED, key, press.number), varied) if varied else z

    def _new(self, pool: Array | None, seed: int, number: int, press: Press) -> Array:
        """Return another latent for every press."""
        drawn_by = seed, KEYED, press.key, press.number
        if pool is None:
            return self._drawn(number, *drawn_by)
        chosen: Array = pool[int(_random(number, *drawn_by).integers(len(pool)))]
        return chosen

    def _drawn(self, number: int, *drawn_by: int) -> Array:
        size = self._part(number).memory.header.model.latent_size
        return _random(number, *drawn_by).standard_normal(size).astype(np.float32)


def _random(*drawn_by: int) -> np.random.Generator:
    return np.random.default_rng(drawn_by)
