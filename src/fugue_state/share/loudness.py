"""How much gain makes a piece that plays in a page as loud as the file that `fugue render` makes of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from copy import copy

import numpy as np

from fugue_state.arrays import Array
from fugue_state.audio.limiter import Limiter
from fugue_state.audio.loudness import SILENT_LUFS, LoudnessMeter
from fugue_state.bending.adaptive import Governor
from fugue_state.config import LIVE_LOOK_AHEAD_S, ROUGH, SHARED_HEARD, QualityName
from fugue_state.engine.performance import Performance
from fugue_state.engine.whole import Instrument, ResumePoint, play_on
from fugue_state.piece.event import Event
from fugue_state.piece.layout import Layout
from fugue_state.piece.line import Onset, merged
from fugue_state.piece.parts import Plan
from fugue_state.progress import Track

WHOLE_S = 90.0  # a piece up to this long is rendered whole, ...
PARTS, PART_S, BEFORE_S = 6, 10.0, 8.0  # ... of a longer one so many parts; what rings from before begins this early
SHORTEST_S = 0.5
TAKE_S = 30.0  # of a take, from its first sound on
CORRECTIONS, CLOSE_ENOUGH_LU = 6, 0.1
DIGITS = 2  # of a gain in dB
BLOCK_S = 1.0


def gain_db(piece: Layout, governor: Governor | None, track: Track) -> float:
    """Return the gain (dB) at which a score sounds as loud as its render; a piece that is nearly silent keeps its own.

    Of a long piece only parts are rendered, at a quality that is fast where the loudness is held anyway.
    """
    score = piece.score
    if not score.master.normalize:
        return 0.0
    quick = _of_quality(piece, ROUGH if score.loudness.hold else "live")
    plan = piece.planned([governor])
    parts = list(_parts(piece))
    heard = [_rendered(quick, plan, *part) for part in track(parts, len(parts), "measuring loudness")]
    return _wanted_db(piece, np.concatenate(heard))


def _of_quality(piece: Layout, quality: QualityName) -> Layout:
    """Return a piece whose memory is inverted by its own inverter at another quality."""
    quick, part = copy(piece), copy(piece.parts[0])
    part.memory = copy(part.memory)
    part.memory.inverter = part.memory.make_inverter(quality=quality, seed=piece.score.seed)
    quick.parts = (part,)
    return quick


def take_gain_db(piece: Layout, track: Track) -> float:
    """Return the gain (dB) that brings a take to the loudness asked for, by its beginning; 0 if it stays as it is."""
    score = piece.score
    if not score.master.normalize:
        return 0.0
    performance = Performance(score, piece.memory)
    blocks = math.ceil(score.samples / performance.block)
    most = math.ceil(TAKE_S * performance.rate / performance.block)
    heard: list[Array] = []
    for _ in track(range(blocks), blocks, "measuring loudness"):
        played = performance.next()
        if heard or played.seen.chord is not None:
            heard.append(played.samples)
        if len(heard) == most:
            break
    return _wanted_db(piece, np.concatenate(heard)) if heard else 0.0


def _parts(piece: Layout) -> Iterator[tuple[float, float, float]]:
    """Yield the parts to render: from where, the beginning of what counts, its end, in seconds."""
    whole_s = piece.score.length_s
    count, part_s, before_s = (1, whole_s, 0.0) if whole_s <= WHOLE_S else (PARTS, PART_S, BEFORE_S)
    rate = _rate(piece)
    if rate * count * (part_s + before_s) > SHARED_HEARD:  # of a dense piece less is enough
        share = min(1.0, SHARED_HEARD / (rate * PARTS * (PART_S + BEFORE_S)))
        part_s, before_s = min(whole_s, max(SHORTEST_S, share * PART_S)), share * BEFORE_S
        count = min(PARTS, max(1, int(SHARED_HEARD / (rate * (part_s + before_s)))))
    for number in range(count):
        begin_s = max(0.0, (number + 0.5) / count * whole_s - part_s / 2.0)
        yield max(0.0, begin_s - before_s), begin_s, min(whole_s, begin_s + part_s)


def _rate(piece: Layout) -> float:
    """Return about how many chords there are in a second, where the tempo is fastest."""
    beat_s = piece.score.clock.tempo.shortest_beat_s
    return sum(
        sum(not turn.step.rest for turn in line.turns)
        / (sum(turn.step.beats or line.voice.beats for turn in line.turns) * beat_s)
        for line in piece.lines
    )


def _rendered(piece: Layout, plan: Plan, from_s: float, begin_s: float, end_s: float) -> Array:
    """Return the sound (N, 2) of a part, before it is mastered."""
    rate = piece.score.file.sample_rate_hz
    first, begin, end = (round(time_s * rate) for time_s in (from_s, begin_s, end_s))
    instrument, events = Instrument(piece), _events(piece, plan, from_s, end_s)
    silent = ResumePoint(first, 0, 0, instrument.chain.silence())
    blocks = play_on(instrument, events, end, round(BLOCK_S * rate), silent)
    return np.concatenate([block.samples for block, _ in blocks])[begin - first :]


def _events(piece: Layout, plan: Plan, begin_s: float, end_s: float) -> Iterator[Event]:
    """Yield the events that begin within a part of a piece."""

    def numbered(number: int) -> Iterator[tuple[Onset, int, Array]]:
        for onset, z in piece.lines[number].latents(piece.last_s, begin_s, end_s):
            yield onset, number, z

    for onset, number, z in merged(map(numbered, range(len(piece.lines)))):
        yield piece.event(onset, number, z, piece.strengths(plan, onset.time_s))


def _wanted_db(piece: Layout, sound: Array) -> float:
    """Return the gain (dB) at which a sound (N, 2) has the loudness asked for, once it is limited."""
    wanted = piece.score.master.loudness_lufs
    gain, before = 0.0, _lufs(piece, sound, 0.0)
    for _ in range(CORRECTIONS):
        missing = wanted - before
        if before <= SILENT_LUFS or abs(missing) < CLOSE_ENOUGH_LU:
            break
        gain += missing
        before = _lufs(piece, sound, gain)
    return round(gain, DIGITS)


def _lufs(piece: Layout, sound: Array, gain: float) -> float:
    """Return the loudness of a sound (N, 2) after a gain in dB and the limiter."""
    rate = piece.score.file.sample_rate_hz
    limiter, meter = Limiter(piece.score.master.ceiling_dbtp, rate, LIVE_LOOK_AHEAD_S), LoudnessMeter(rate, peak=False)
    past = limiter.silence()
    for start in range(0, len(sound), rate):
        limited, past = limiter(sound[start : start + rate] * np.float32(10.0 ** (gain / 20.0)), past)
        meter.add(limited)
    meter.finish()
    return meter.integrated_lufs
