"""What a page must know of a piece to play it by itself: lines, orders, moves, decisions, as plain data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from fugue_state.bending.adaptive import Governor
from fugue_state.bending.orders import Order
from fugue_state.bending.schedule import STRAIGHT, Points
from fugue_state.bending.timeline import Move, Timeline
from fugue_state.config import SHARED_LISTENED, SHARED_LISTENED_S, AtlasConfig, OrderName
from fugue_state.errors import InputError, counted
from fugue_state.piece.chords import POOL, Sought
from fugue_state.piece.conductor import Bar, Conductor
from fugue_state.piece.layout import Layout
from fugue_state.piece.line import Line, Turn
from fugue_state.piece.motion import Curve, Fade
from fugue_state.piece.parts import Part
from fugue_state.progress import Track
from fugue_state.score.model import Curves, Score, Voice
from fugue_state.score.paths import BANKS, PATHS, Path

Values = dict[str, Any]


class KeptOrders:
    """Orders of units in one array, each kept once and told by its number."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}

    def number(self, order: Order) -> int:
        """Return the number of an order, which is kept from now on."""
        return self._numbers.setdefault(order.astype("<u2").tobytes(), len(self._numbers))

    @property
    def ends(self) -> list[int]:
        """Where each order ends in the array."""
        return [int(end) for end in np.cumsum([len(order) // 2 for order in self._numbers])]

    @property
    def array(self) -> npt.NDArray[np.uint16]:
        """All orders, one after the other."""
        return np.frombuffer(b"".join(self._numbers), dtype="<u2")


class Tempos:
    """Maps from beats since a voice's start to seconds since then; each is kept once and told by its number."""

    def __init__(self, piece: Layout) -> None:
        self._tempo = piece.score.clock.tempo
        self._numbers: dict[float, int] = {}
        self.told: list[list[tuple[float, ...]]] = []

    def number(self, start_s: float) -> int:
        """Return the number of the map that begins at a second."""
        if start_s not in self._numbers:
            self._numbers[start_s] = len(self.told)
            stretches = self._tempo.since(start_s).stretches
            self.told.append([(one.beat, one.second, one.beat_s, one.rise) for one in stretches])
        return self._numbers[start_s]


class Pools:
    """The latents that steps draw from, told by their numbers in the atlas; each pool is kept once."""

    def __init__(self, piece: Layout) -> None:
        self._piece = piece
        self._numbers: dict[tuple[object, ...], int] = {}
        self.told: list[Values] = []

    def number(self, sought: Sought, like: Mapping[str, float]) -> int:
        """Return the number of the pool for what is sought and its traits."""
        key = (*sought, *sorted(like.items()))
        if key not in self._numbers:
            self._numbers[key] = len(self.told)
            self.told.append(self._tell(sought, like))
        return self._numbers[key]

    def _tell(self, sought: Sought, like: Mapping[str, float]) -> Values:
        """Describe a pool: of how many latents it is chosen, and those that can be, at their places among them."""
        atlas = self._piece.parts[0].described.atlas
        among, distance = atlas.distances(chord=sought.chord, label=sought.label, **like)
        furthest = np.sort(distance)[:POOL][-1]  # whatever is as far is chosen by seed
        places = np.flatnonzero(distance <= furthest)
        return {
            "among": len(among),
            "places": places.tolist(),
            "entries": among[places].tolist(),
            "distances": distance[places].tolist(),
        }


def told_lines(piece: Layout) -> Values:
    """Return the voices of a piece, the tempos they keep, and the pools that they draw latents from."""
    pools, tempos, known = Pools(piece), Tempos(piece), AtlasConfig()
    lines = [_line(piece, line, pools, tempos) for line in piece.lines]
    atlas = {"count": known.count, "seed": known.seed, "pool": POOL}
    return {"lines": lines, "tempos": tempos.told, "pools": pools.told, "atlas": atlas}


def _line(piece: Layout, line: Line, pools: Pools, tempos: Tempos) -> Values:
    score, voice = piece.score, piece.score.voices[line.number]
    clock = score.clock
    start_s = clock.seconds(voice.start)
    return {
        "seed": line.seed,
        "latents": voice.latents,
        "swing": voice.swing,
        "gate": voice.gate,
        "rounds": voice.rounds,
        "start_s": start_s,
        "tempo": tempos.number(start_s),
        "until_s": None if voice.until is None else clock.seconds(voice.until),
        "wander": voice.wander,
        "variation": voice.variation,
        "towards_seed": voice.towards_seed,
        "forgets": voice.forgets,
        "level_db": voice.level_db,
        "frames": line.frames,
        "envelope": (voice.envelope or score.envelope).model_dump(),
        "turns": [_turn(piece, line, turn, pools) for turn in line.turns],
    }


def _turn(piece: Layout, line: Line, turn: Turn, pools: Pools) -> Values:
    step, memory = turn.step, piece.memory
    known = turn.label is not None and not step.rest
    told = {
        "beats": step.beats or line.voice.beats,
        "rest": step.rest,
        "chord": turn.chord,
        "label": memory.labels[memory.label_index(str(turn.label))] if known else None,
        "pan": turn.pan,
        "level_db": step.struck_db,
    }
    if turn.sought is not None:
        told["pool"] = pools.number(turn.sought, dict(line.voice.like.items()))
    elif step.entry is not None:
        told["entry"] = step.entry
    elif step.seed is not None:
        told["seed"] = step.seed
    return told


def told_timeline(part: Part, timeline: Timeline, orders: KeptOrders) -> Values:
    """Return the moves of a part's timeline."""
    listening = timeline.forgetting if part.plan.adaptive else None
    return {
        "fade_s": timeline.fade_s,
        "moves": [_move(move, orders, listens=move is listening) for move in timeline.moves],
    }


def _move(move: Move, orders: KeptOrders, *, listens: bool) -> Values:
    return {
        "start_s": move.start_s,
        "length_s": move.length_s,
        "order": orders.number(move.way.order),
        "to": move.way.to,
        "direction": move.way.direction,
        "shape": {"pace": "decided"} if listens else _shape(move),
        "pauses": [[at, None if math.isinf(length) else length] for at, length in move.pauses],
    }


def _shape(move: Move) -> Values:
    """Describe a shape: straight lines through points, or a pace with what it needs."""
    course = move.course
    points = move.shape if isinstance(move.shape, Points) else None
    if course.pace == "points":
        times, shares = zip((0.0, 0.0), *course.points, (1.0, 1.0), strict=True)
        points = Points(times, shares)
    if points is not None and points != STRAIGHT:
        return {"pace": "points", "times": list(points.times), "shares": list(points.shares)}
    if course.pace == "steps":
        return {"pace": "steps", "steps": course.steps}
    if course.pace in {"exponential", "sigmoid"} and course.steepness:
        return {"pace": course.pace, "steepness": course.steepness}
    return {"pace": "linear"}


def told_hand(piece: Layout, orders: KeptOrders, *, hands: bool) -> Values:
    """Return the orders that a hand may choose: of all, and within each layer; a text says why there is none.

    Orders that need the memory measured are left out unless there are `hands`.
    """
    inside, (part,) = {}, piece.parts
    for name in get_args(OrderName):
        if hands or not part.orders.needs(name):
            inside[name] = [_inside(part, name, layer, orders) for layer in part.memory.layers]
    return {"base": orders.number(part.orders.base()), "inside": inside}


def _inside(part: Part, name: OrderName, layer: str, orders: KeptOrders) -> int | str:
    try:
        return orders.number(part.orders.inside(name, layer))
    except InputError as error:
        return str(error)


def told_controls() -> Values:
    """Return the controls that a page has, so that it checks what is asked of it as everything else does."""
    keys = ("pattern", "kind", "minimum", "maximum", "default", "choices", "recorded")
    return {
        "paths": [{key: getattr(path, key) for key in keys} for path in PATHS if _is_in_pages(path)],
        "banks": BANKS,
    }


def _is_in_pages(path: Path) -> bool:
    return not (path.told or path.by_keys or path.pattern.startswith("/part/"))  # a page has one part


def listened(piece: Layout, track: Track) -> tuple[Governor | None, list[str]]:
    """Return what an adaptive forgetting decides in a run through the piece, and what is to be said of it."""
    if piece.parts[0].plan.adaptive is None:
        return None, []
    conductor = Conductor(piece)
    blocks = math.ceil(max(piece.last_s, piece.score.length_s) * conductor.rate / conductor.block)
    heard = 0
    for bar in track(_bars(piece, conductor), blocks, "listening"):
        heard += len(bar.events)
        if heard >= SHARED_LISTENED or conductor.played_s >= SHARED_LISTENED_S:
            told = f"the adaptive forgetting listens to the first {counted(heard, 'chord')}; then it stays where it is"
            return conductor.governors[0], [told]
    return conductor.governors[0], []


def _bars(piece: Layout, conductor: Conductor) -> Iterator[Bar]:
    """Yield the bars of a piece up to its last chord, or those of a take up to where it stands still."""
    before_s = -1.0
    while conductor.played_s <= piece.last_s and (
        conductor.played_s > before_s or conductor.position < piece.score.samples
    ):
        before_s = conductor.played_s
        yield conductor.step()


def told_decisions(piece: Layout, governor: Governor | None) -> Values | None:
    """Return how an adaptive forgetting went, and the largest speed it may take; None if it is not adaptive."""
    adaptive = piece.parts[0].plan.adaptive
    if governor is None or adaptive is None:
        return None
    times, shares, drives = zip(*governor.decided, strict=True)
    return {"rate": adaptive.rate, "times": times, "shares": shares, "drives": (*drives[:-1], 0.0)}


def told_curves(score: Score, voice: Voice) -> Values | None:
    """Return what of a voice moves, each by its times in samples of the piece and its values; None if nothing does."""
    rate, told = score.file.sample_rate_hz, {}
    for key in Curves.model_fields:
        if (curve := Curve.of(getattr(voice.curves, key), score.clock, rate)) is not None:
            told[key] = {"at": curve.at.tolist(), "values": curve.values.tolist()}
    return told or None


def told_ending(score: Score) -> Values:
    """Return how a piece fades in and out, and from where its sound is frozen, in samples of the piece."""
    fade, at = Fade(score), score.freeze_at
    freezes = None if at is None else round(score.clock.seconds(at) * score.file.sample_rate_hz)
    return {"rising": fade.rising, "falling": fade.falling, "end": fade.end, "freezes": freezes}


def told_plan(piece: Layout) -> Values | None:
    """Return the planned level over time; None if there is no plan."""
    plan, clock = piece.score.loudness.plan, piece.score.clock
    if not plan:
        return None
    return {"times": [clock.seconds(time) for time, _ in plan], "levels": [level for _, level in plan]}
