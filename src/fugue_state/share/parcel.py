"""What travels with a page: everything that it cannot work out by itself, as JSON and arrays."""

from __future__ import annotations

import json
from copy import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from fugue_state.audio.loudness import SILENT_LUFS
from fugue_state.audio.reverb import room
from fugue_state.audio.tone import Tilt
from fugue_state.bending.timeline import FADE_POINTS
from fugue_state.config import (
    FULL_ACTIVATION,
    HELD_LUFS,
    HUSH_S,
    LIVE_LOOK_AHEAD_S,
    PLAYED_VOLUME,
    RELEASE_S,
    ROUGH,
    SEED_MAX,
    SHARED_ROOM_BYTES,
    SWAP_S,
    VOCODER,
    WITHOUT_VOCODER,
    ReverbConfig,
)
from fugue_state.engine.level import Level
from fugue_state.engine.monitor import RUNAWAY
from fugue_state.engine.player import RESTS
from fugue_state.engine.stream import RISE
from fugue_state.errors import InputError, shown
from fugue_state.memory.catalogue import shipped_memories
from fugue_state.memory.memory import Memory
from fugue_state.piece.conductor import block_of
from fugue_state.piece.layout import Layout
from fugue_state.piece.piece import Piece
from fugue_state.progress import Track, untracked
from fugue_state.score.model import Change, MadeFor, Score
from fugue_state.score.paths import find
from fugue_state.score.text import dump_score
from fugue_state.settings import MisplacedError, placed
from fugue_state.share.bends import Arrays, described
from fugue_state.share.loudness import gain_db, take_gain_db
from fugue_state.share.plan import (
    KeptOrders,
    listened,
    told_controls,
    told_curves,
    told_decisions,
    told_ending,
    told_hand,
    told_lines,
    told_plan,
    told_timeline,
)

FORMAT = 1
Values = dict[str, Any]
LEVEL_DB = (-60.0, 12.0)  # of a voice
VOLUME_DIGITS = 4
MISSED_DB = 0.1  # what need not be told
INAUDIBLE = 1e-6  # share of a room's energy


@dataclass(frozen=True, eq=False)
class Parcel:
    """What travels of a piece: JSON and arrays. `score` is what the page plays, `notices` what is to be said of it."""

    text: str
    arrays: Arrays
    score: Score
    notices: tuple[str, ...] = field(default=())


def parcel(
    piece: Piece,
    *,
    hands: bool = True,
    vocoder: bool = True,
    track: Track = untracked,
    cores: int = 1,
) -> Parcel:
    """Return what travels of a piece.

    Without `hands`, the memory is not measured for orders that only a hand could choose. Without `vocoder`, the page
    plays as a memory that has none. The level is calibrated on `cores` threads.
    Raises InputError for a piece of several memories or forgettings, a take played by keys, or a room that is too
    large, AudioError for an impulse response that cannot be read.
    """
    check_alone(piece)
    for i, change in enumerate(piece.score.changes):
        if find(change.path)[0].by_keys:
            raise MisplacedError(("changes", i, "path"), f"{change.path}: a shared page cannot play by keys; render it")
    laid = _laid(piece)
    sound, arrays = _sound(laid, piece.score.reverb, vocoder=vocoder, cores=cores)
    if hands:
        laid.measure()
    governor, told = listened(laid, track)
    take = piece.score.resolution == "block"
    gain = take_gain_db(piece, track) if take else gain_db(piece, governor, track)
    laid.score, louder = _at_level(laid.score, gain, take=take)
    orders, part = KeptOrders(), laid.parts[0]
    bend, maps = described(part.bend)
    values = _played(laid, orders, hands=hands) | {
        "text": dump_score(_written(laid.score, piece.memory)),
        "samples": laid.score.samples if take else None,
        "timeline": told_timeline(part, part.timeline(governor), orders) | {"fade_points": FADE_POINTS},
        "decided": told_decisions(laid, governor),
        "orders": orders.ends,
        "sound": sound,
        "bend": bend,
    }
    text = json.dumps(values, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return Parcel(
        text, arrays | maps | {"orders": orders.array}, laid.score, (*_notices(piece, vocoder=vocoder), *told, *louder)
    )


def _played(piece: Layout, orders: KeptOrders, *, hands: bool) -> Values:
    """Return what is played and what a hand may do, without what changes over time."""
    score, clock = piece.score, piece.score.clock
    return {
        "format": FORMAT,
        "layers": [[name, units] for name, units in piece.memory.layers.items()],
        "seed": score.seed,
        "seed_max": SEED_MAX,
        "last_s": piece.last_s,
        "order": piece.parts[0].plan.order,
        "plan": told_plan(piece),
        "ending": told_ending(score),
        **told_lines(piece),
        "hand": told_hand(piece, orders, hands=hands),
        "changes": [[clock.seconds(one.at), one.path, one.value] for one in score.changes],
        "controls": told_controls(),
    }


def check_alone(piece: Layout) -> None:
    """Raise InputError unless all voices of a piece play its own memory and forget together."""
    names = [shown(part.name) for part in piece.parts if part.name]
    if names:
        raise InputError(f"a page carries one memory that forgets as one; this piece has {', '.join(names)}")
    for place in piece.score.recordings.values():
        raise MisplacedError(place, "a page plays no recordings; render the piece")
    if piece.parts[0].memory is not piece.memory:
        raise InputError("a page carries the score's own memory, and no voice plays it")
    if piece.parts[0].lender is not None:
        raise InputError("a page carries one memory; other_memory would be another")


def _laid(piece: Piece) -> Layout:
    """Return a piece as a page plays it: live, and without the paths of this machine."""
    score = piece.score
    played = _written(score, piece.memory).model_copy(update={"changes": score.changes, "played_s": score.played_s})
    frozen = piece.parts[0].bend is not None and piece.parts[0].frozen_s > 0.0
    if frozen and score.changes and score.resolution == "event":  # live, what a hand does is not known beforehand
        return Piece(played, piece.memory)
    laid = copy(piece)
    laid.score = played
    return laid


def _written(score: Score, memory: Memory) -> Score:
    """Return the score that takes from the page begin with; a memory's path becomes its name."""
    quality = "live" if score.quality == "final" else score.quality
    name = score.memory if score.memory in shipped_memories() else memory.header.name
    return score.model_copy(
        update={
            "resolution": "block",
            "quality": quality,
            "memory": name,
            "master": score.master.model_copy(update={"normalize": False}),
            "reverb": score.reverb.model_copy(update={"impulse": None}),
            "made_for": MadeFor(sha256=memory.fingerprint, chords=memory.labels, layers=memory.layers),
            "changes": (),
            "played_s": None,
        }
    )


def _at_level(score: Score, gain: float, *, take: bool) -> tuple[Score, list[str]]:
    """Return a score with a gain (dB), and what is to be said of it.

    A score is turned down by its volume, from the first block on. Voices are turned up; a take's are turned down, too,
    so that the volume stays as it was played.
    """
    wanted = gain if take else max(0.0, gain)
    levels_db = [voice.level_db for voice in score.voices]
    louder = max(LEVEL_DB[0] - min(levels_db), min(LEVEL_DB[1] - max(levels_db), wanted))
    voices = tuple(voice.model_copy(update={"level_db": voice.level_db + louder}) for voice in score.voices)
    told = [f"the page is {wanted - louder:.1f} dB quieter than the file: its voices cannot be louder"]
    score = score.model_copy(update={"voices": voices})
    if not take:
        volume = Change(at=0.0, path="/volume", value=round(10.0 ** (min(0.0, gain) / 20.0), VOLUME_DIGITS))
        score = score.model_copy(update={"changes": (volume, *score.changes)})
    return score, told if wanted - louder > MISSED_DB else []


def _sound(piece: Layout, reverb: ReverbConfig, *, vocoder: bool, cores: int) -> tuple[Values, Arrays]:
    """Return what turns events into sound: the settings of level, tone, room and limiter, with their arrays."""
    score, memory = piece.score, piece.memory
    rate = score.file.sample_rate_hz
    learned = vocoder and (score.inverter or memory.own_inverter) == VOCODER
    level = Level(piece, memory, memory.stream(score.seed, learned=learned and score.quality != ROUGH), cores)
    tone = Tilt(score.tone, rate).coefficients
    ends, offsets = level.line
    return {
        "rate_hz": rate,
        "block": block_of(piece),
        "seed": score.seed,
        "quality": score.quality,
        "learned": learned,
        "voices": [{"forgets": voice.forgets, "curves": told_curves(score, voice)} for voice in score.voices],
        "tone": None if tone is None else dict(zip(("now", "before", "back"), tone, strict=True)),
        "wet_db": reverb.wet_db,
        "ceiling_dbtp": score.master.ceiling_dbtp,
        "look_ahead_s": LIVE_LOOK_AHEAD_S,
        "level": score.loudness.model_dump(include={"hold", "lift_db"})
        | {"held_lufs": HELD_LUFS, "silent_lufs": SILENT_LUFS}
        | {"line": {"ends": ends.tolist(), "offsets": offsets.tolist()}},
        "rise": RISE,
        "release_s": RELEASE_S,
        "runaway": RUNAWAY,
        "rests": RESTS,
        "hush_s": HUSH_S,
        "swap_s": SWAP_S,
        "volume": PLAYED_VOLUME,
        "full_activation": FULL_ACTIVATION,
    }, {"level.weights": level.weights, "room.impulse": _room(reverb, rate, score.seed)}


def _room(reverb: ReverbConfig, rate: int, seed: int) -> npt.NDArray[np.float16]:
    """Return the room's impulse response (N, 2), without the end that is 60 dB below the whole."""
    with placed(("reverb",)):
        impulse = room(reverb, rate, seed)
        left = np.cumsum((impulse[::-1].astype(np.float64) ** 2).sum(axis=1))[::-1]
        kept = impulse[: int(np.flatnonzero(left > INAUDIBLE * left[0])[-1]) + 1].astype(np.float16)
        if kept.nbytes > SHARED_ROOM_BYTES:
            most_s = SHARED_ROOM_BYTES / kept.itemsize / 2 / rate
            raise InputError(
                f"a room of {len(kept) / rate:.1f} s takes {kept.nbytes / 1e6:.1f} MB, too much for a page: "
                f"at most {SHARED_ROOM_BYTES / 1e6:g} MB, which are {most_s:.1f} s"
            )
    return kept


def _notices(piece: Piece, *, vocoder: bool) -> list[str]:
    """Return what a page cannot do as a render does."""
    score, memory, told = piece.score, piece.memory, []
    if memory.net is None:
        told.append(f"memory {memory.header.name!r} has no vocoder: the page plays without one")
    elif score.inverter not in {None, VOCODER, WITHOUT_VOCODER}:
        told.append(f"a page cannot play with inverter = {score.inverter!r}: it plays with {WITHOUT_VOCODER!r}")
    elif not vocoder:
        told.append(f"without its vocoder, the memory plays with {WITHOUT_VOCODER!r}")
    if score.reverb.impulse is not None:
        told.append("the room's recording travels in the page, but not in takes from it: they have the synthetic room")
    if score.memory not in shipped_memories():
        told.append(f"takes from the page ask for the memory {memory.header.name!r}: whoever renders them needs it")
    return told
