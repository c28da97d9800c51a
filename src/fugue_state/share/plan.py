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
from fugue_state.piece.conductor import Bar, Conductor
from fugue_state.piece.layout import Layout
from fugue_state.piece.line import POOL, Line, Turn
from fugue_state.piece.motion import Curve, Fade
from fugue_state.progress import Track
from fugue_state.score.model import Curves, Score, Voice
from fugue_state.score.paths import BANKS, PATHS

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


class Pools:
    """The latents that steps draw from, told by their numbers in the atlas; each pool is kept once."""

    def __init__(self, piece: Layout) -> None:
        self._piece = piece
        self._numbers: dict[tuple[object, ...], int] = {}
        self.told: list[Values] = []

    def number(self, chord: str | None, like: Mapping[str, float]) -> int:
        """Return the number of the pool for a chord and its traits."""
        key = (chord, *sorted(like.items()))
        if key not in self._numbers:
            self._numbers[key] = len(self.told)
            self.told.append(self._tell(chord, like))
        return self._numbers[key]

    def _tell(self, chord: str | None, like: Mapping[str, float]) -> Values:
        """Describe a pool: of how many latents it is chosen, and those that can be, at their places among them."""
        among, distance = self._piece.described.atlas.distances(chord=chord, **like)
        furthest = np.sort(distance)[POOL - 1]  # whatever is as far is chosen by seed
        places = np.flatnonzero(distance <= furthest)
        return {
            "among": len(among),
            "places": places.tolist(),
            "entries": among[places].tolist(),
            "distances": distance[places].tolist(),
        }


def told_lines(piece: Layout) -> Values:
    """Return the voices of a piece, and the pools that they draw latents from."""
    pools, known = Pools(piece), AtlasConfig()
    lines = [_line(piece, line, pools) for line in piece.lines]
    return {"lines": lines, "pools": pools.told, "atlas": {"count": known.count, "seed": known.seed, "pool": POOL}}


def _line(piece: Layout, line: Line, pools: Pools) -> Values:
    score, voice = piece.score, piece.score.voices[line.number]
    return {
        "seed": line.seed,
        "latents": voice.latents,
        "swing": voice.swing,
        "start_s": score.clock.seconds(voice.start),
        "until_s": None if voice.until is None else score.clock.seconds(voice.until),
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
        "level_db": step.level_db,
    }
    if line.draws(step):
        told["pool"] = pools.number(turn.chord, dict(line.voice.like.items()))
    elif step.entry is not None:
        told["entry"] = step.entry
    elif step.seed is not None:
        told["seed"] = step.seed
    return told


def told_timeline(piece: Layout, timeline: Timeline, orders: KeptOrders) -> Values:
    """Return the moves of a timeline."""
    adaptive = piece.score.forgetting.adaptive
    listening = timeline.forgetting if adaptive else None
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
    inside = {}
    for name in get_args(OrderName):
        if hands or not piece.orders.needs(name):
            inside[name] = [_inside(piece, name, layer, orders) for layer in piece.memory.layers]
    return {"base": orders.number(piece.orders.base()), "inside": inside}


def _inside(piece: Layout, name: OrderName, layer: str, orders: KeptOrders) -> int | str:
    try:
        return orders.number(piece.orders.inside(name, layer))
    except InputError as error:
        return str(error)


def told_controls() -> Values:
    """Return all controls, so that a page checks what is asked of it as everything else does."""
    keys = ("pattern", "kind", "minimum", "maximum", "default", "choices", "recorded")
    return {
        "paths": [{key: getattr(path, key) for key in keys} for path in PATHS if not path.told],
        "banks": BANKS,
    }


def listened(piece: Layout, track: Track) -> tuple[Governor | None, list[str]]:
    """Return what an adaptive forgetting decides in a run through the piece, and what is to be said of it."""
    if piece.score.forgetting.adaptive is None:
        return None, []
    conductor = Conductor(piece)
    blocks = math.ceil(max(piece.last_s, piece.score.length_s) * conductor.rate / conductor.block)
    heard = 0
    for bar in track(_bars(piece, conductor), blocks, "listening"):
        heard += len(bar.events)
        if heard >= SHARED_LISTENED or conductor.played_s >= SHARED_LISTENED_S:
            told = f"the adaptive forgetting listens to the first {counted(heard, 'chord')}; then it stays where it is"
            return conductor.governor, [told]
    return conductor.governor, []


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
    adaptive = piece.score.forgetting.adaptive
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
