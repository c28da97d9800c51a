"""Songs and charts arranged as scores."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any, NamedTuple

from fugue_state.errors import InputError, shown
from fugue_state.limits import SCORE_STEPS, SCORE_VOICES, SONG_NOTES_PER_S
from fugue_state.score.chart import Chart
from fugue_state.score.fitting import Fitting
from fugue_state.score.marks import begins_intact, cues
from fugue_state.score.model import Score
from fugue_state.score.song import Beat, Mark, Note, Song, Track, distinct, sayable
from fugue_state.score.tempo import Tempo
from fugue_state.score.times import told
from fugue_state.settings import checked

GRID = 10_000  # parts of a beat: where steps can begin
QUARTER = GRID // 4  # of a beat: the shortest last step
LONGEST = 1024 * GRID  # step
STRUM_S = 0.05  # notes that begin within this time are one chord
OVERLAP = 0.25  # share of a note's length in which the next one of its voice may begin already
LEAST_GATE, GATE_DIGITS = 0.5, 2
LIKE = 0.1  # share of the time to the next note by which a note's length may differ from its voice's gate
NEARLY = 0.02  # share by which a step may differ from whole quarters of a beat and be written as these
TENTH_S, ROUNDING = 0.1, 1e-6
LONGEST_S = 24 * 3600.0
FEWER = "choose fewer tracks (--track), or a memory of chords for some (--voice NAME=MEMORY)"


@dataclass(frozen=True)
class Player:
    """The memory that plays a track: its name, its labels, and how many seconds its sounds last."""

    memory: str
    labels: tuple[str, ...]
    ring_s: float


class Sound(NamedTuple):
    """What a voice plays at once: when, how long it is held (in beats), a label, and how hard it is struck."""

    start: float
    length: float
    label: str
    velocity: int | None = None


@dataclass(frozen=True)
class Arranged:
    """A score, and what had to be changed for it: (track, asked, played, how often), and in lines each."""

    score: Score
    changed: tuple[tuple[str, str, str, int], ...] = ()
    notices: tuple[str, ...] = ()


def arranged(song: Song, player: Player, others: Mapping[str, Player] | None = None) -> Arranged:
    """Return a song as a score for a memory; `others` play the tracks that are called so.

    Raises InputError where a score cannot hold it.
    """
    song = sayable(song)
    tempo, players = song.beat.tempo, {track.name: player for track in song.tracks} | dict(others or {})
    rings_s = max(players[track.name].ring_s for track in song.tracks)
    duration_s = _lasting(song, tempo.seconds(max(note.end for track in song.tracks for note in track.notes)) + rings_s)
    even = len({note.velocity for track in song.tracks for note in track.notes}) == 1
    names = {track.name for track in song.tracks}
    voices: list[dict[str, Any]] = []
    changed: list[tuple[str, str, str, int]] = []
    for track in song.tracks:
        plays = players[track.name]
        fitting = Fitting(plays.memory, plays.labels)
        fitting.check()
        lanes = _lanes(track, fitting, _rings(track, plays, tempo), tempo)
        if (many := len(voices) + len(lanes)) > SCORE_VOICES.most:
            raise InputError(f"{_track(track)}: {SCORE_VOICES.passed(many)}; {FEWER}")
        taken = (names | {voice["name"] for voice in voices}) - {track.name}
        for name, sounds in zip(distinct([track.name] * len(lanes), taken), lanes, strict=True):
            gate = None if _rings(track, plays, tempo) else _gate(sounds)
            voice = _voice(name, _steps(sounds, gate, even=even), gate, tempo)
            voices.append(voice | ({} if plays.memory == player.memory else {"memory": plays.memory}))
        changed += ((track.name, *what, times) for what, times in fitting.changed.most_common())
    return Arranged(_score(song, player.memory, voices, duration_s), tuple(changed), song.notices)


def charted(
    chart: Chart, player: Player, title: str, bpm: float, beats_per_bar: int, rounds: int | None = None
) -> Arranged:
    """Return a chart as a score for a memory, played so many rounds; default: as often as fits the default duration.

    Raises InputError for names that are no chords, and where a score cannot hold it.
    """
    fitting = Fitting(player.memory, player.labels)
    sounds: list[Sound] = []
    for number, bar in enumerate(chart.bars):
        length = beats_per_bar / len(bar)
        for place, slot in enumerate(bar):
            if slot.name is not None:
                try:
                    label = fitting.named(slot.name)
                except InputError as error:
                    raise InputError(f"{chart.name}:{slot.line}: {error}") from None
                sounds.append(Sound(number * beats_per_bar + place * length, length, label))
    beat, beats = Beat(bpm, beats_per_bar), len(chart.bars) * beats_per_bar
    round_s = beat.tempo.seconds(beats)
    rounds = max(1, math.floor(Score.model_fields["duration_s"].default / round_s)) if rounds is None else rounds
    marks = tuple(Mark(float(label.bar * beats_per_bar), label.text) for label in chart.labels if label.text)
    song = Song(title, (), beat, marks)
    duration_s = _lasting(song, rounds * round_s + player.ring_s)
    voice = _voice("", _steps(sounds, 1.0, even=True, end=beats), None, beat.tempo) | {"rounds": rounds}
    score = _score(song, player.memory, [voice], duration_s)
    return Arranged(score, tuple(("", *what, times) for what, times in fitting.changed.most_common()))


def _lasting(song: Song, seconds: float) -> float:
    """Return the duration of a piece that lasts so long, in tenths of a second; InputError for too long a one."""
    duration_s = round(math.ceil(seconds / TENTH_S + ROUNDING) * TENTH_S, 1)
    if duration_s > LONGEST_S:
        raise InputError(f"{shown(song.title)} lasts {told(duration_s)}: a piece lasts at most {told(LONGEST_S)}")
    return duration_s


def _score(song: Song, memory: str, voices: list[dict[str, Any]], duration_s: float) -> Score:
    """Return the score of a song; InputError where it cannot be one."""
    beat, marks = song.beat, cues(song.marks, song.beat.tempo, duration_s)
    values: dict[str, Any] = {
        "title": song.title,
        "memory": memory,
        "duration_s": duration_s,
        "tempo_bpm": beat.bpm,
        "beats_per_bar": beat.beats_per_bar,
        "tempo": [{"bar": change.bar, "bpm": change.bpm} for change in beat.tempos],
        "metre": [{"bar": change.bar, "beats": change.beats} for change in beat.metres],
        "voices": voices,
        "cues": marks,
        "forgetting": {"to": 0.0} if begins_intact(marks) else {},
    }
    return checked(Score, values)


def _rings(track: Track, player: Player, tempo: Tempo) -> bool:
    """Return whether all of a track's notes are heard to their end: by a pedal, or as they are so long."""
    held = (tempo.seconds(note.end) - tempo.seconds(note.start) for note in track.notes)
    return track.pedal or all(held_s >= player.ring_s for held_s in held)


def _lanes(track: Track, fitting: Fitting, rings: bool, tempo: Tempo) -> list[list[Sound]]:
    """Return a track's notes in lanes in which one sounds after the other: a single one if the memory knows chords.

    A note goes where the nearest one is over; of those that begin together the highest is first.
    """
    if fitting.of_chords:
        return [list(_chords(track, fitting, tempo))]
    lanes: list[list[Note]] = []
    for note in track.notes:
        free = [lane for lane in lanes if _over(lane[-1], note, rings)]
        if free:
            min(free, key=lambda lane: abs(lane[-1].pitch - note.pitch)).append(note)
        elif len(lanes) == SCORE_VOICES.most:
            raise InputError(f"{_track(track)}: {SCORE_VOICES.passed(len(lanes) + 1)}; {FEWER}")
        else:
            lanes.append([note])
    return [[Sound(one.start, one.length, fitting.note(one.pitch), one.velocity) for one in lane] for lane in lanes]


def _over(last: Note, note: Note, rings: bool) -> bool:
    """Return whether a lane's last note leaves room for another one."""
    later = _parts(note.start) > _parts(last.start)
    return later and (rings or last.end - OVERLAP * last.length <= note.start)


def _chords(track: Track, fitting: Fitting, tempo: Tempo) -> Iterator[Sound]:
    """Yield the chords of a track: notes that begin together, with those that go on."""
    notes, at = track.notes, 0
    held: list[Note] = []
    while at < len(notes):
        first = notes[at]
        until = tempo.beats(tempo.seconds(first.start) + STRUM_S)
        after = bisect_right(notes, until, lo=at, key=lambda note: note.start)
        struck = notes[at:after]
        held = [note for note in held if note.end - OVERLAP * note.length > first.start]
        label = fitting.struck(note.pitch for note in (*struck, *held))
        length = max(note.end for note in struck) - first.start
        yield Sound(first.start, length, label, max(note.velocity for note in struck))
        held += struck
        at = after


def _gate(sounds: Sequence[Sound]) -> float:
    """Return the share of the time to the next sound for which most are held; silences do not count."""
    shares = [min(1.0, one.length / (after.start - one.start)) for one, after in pairwise(sounds)]
    held = [share for share in shares if share >= LEAST_GATE]
    return round(median(held), GATE_DIGITS) if held else 1.0


def _steps(
    sounds: Sequence[Sound], gate: float | None, *, even: bool, end: float | None = None
) -> list[dict[str, Any]]:
    """Return the steps of a voice: sounds with the beats to the next one, and rests.

    With a gate, a sound that is held for less is followed by a rest. The last one lasts until `end`, or as it is held.
    """
    starts = [_parts(sound.start) for sound in sounds]
    lasts = [_alone(_parts(sound.length), gate) for sound in sounds]
    if end is None:
        lasts[-1] = max(QUARTER, lasts[-1])
    starts.append(starts[-1] + lasts[-1] if end is None else _parts(end))
    steps = list(_rests(starts[0]))
    for sound, alone, (start, after) in zip(sounds, lasts, pairwise(starts), strict=True):
        room, held = after - start, _parts(sound.length)
        whole = gate is None or alone >= room or abs(held - gate * room) <= LIKE * room
        beats = min(LONGEST, room if whole else alone)
        velocity = {} if even or sound.velocity is None else {"velocity": sound.velocity}
        steps.append({"chord": sound.label, **_beats(beats), **velocity})
        steps += _rests(room - beats)
    return steps


def _alone(held: int, gate: float | None) -> int:
    """Return the parts of a beat of a step that is held so long: quarters of one, where that is near."""
    if gate in {None, 1.0}:
        return max(1, held)
    alone = max(1, round(held / float(gate or 1.0)))
    plain = round(alone / QUARTER) * QUARTER
    return plain if abs(plain - alone) <= NEARLY * alone else alone


def _parts(beats: float) -> int:
    return round(beats * GRID)


def _beats(parts: int) -> dict[str, Any]:
    """Return the beats of a step, unless they are what is meant without."""
    return {} if parts == GRID else {"beats": parts / GRID}


def _rests(parts: int) -> Iterator[dict[str, Any]]:
    """Yield rests, each as long as one can be."""
    while parts > 0:
        yield {"rest": True} | _beats(min(parts, LONGEST))
        parts -= LONGEST


def _voice(name: str, steps: list[dict[str, Any]], gate: float | None, tempo: Tempo) -> dict[str, Any]:
    """Return a voice that plays steps once. Raises InputError for more than a voice can have, or too many at once."""
    named = f"{shown(name)}: " if name else ""
    if len(steps) > SCORE_STEPS.most:
        raise InputError(f"{named}{SCORE_STEPS.passed(len(steps))}, rests too; {FEWER}")
    beats = sum(step.get("beats", 1.0) for step in steps)
    rate = len(steps) / (beats * tempo.shortest_beat_s)
    if rate > SONG_NOTES_PER_S.most:
        raise InputError(f"{named}{SONG_NOTES_PER_S.passed(round(rate))}")
    return {"name": name, "chords": steps, "rounds": 1} | ({} if gate is None else {"gate": gate})


def _track(track: Track) -> str:
    return f"track {shown(track.name)}"
