"""A song before any memory plays it: notes in beats, tempo, metre, marks."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import count

from fugue_state.errors import counted, unknown
from fugue_state.limits import SCORE_TEMPOS
from fugue_state.score.tempo import FASTEST_BPM, SLOWEST_BPM, MetreChange, Tempo, TempoChange, tempo_of

KEPT_S = 1e-4  # a tempo is written with so few digits that no beat moves by more
MOST_DIGITS, AVERAGE_DIGITS = 9, 3  # of a tempo
BAR_DIGITS = 6


@dataclass(frozen=True)
class Note:
    """A note: when it begins and how long it is held, in beats, its MIDI number and its velocity (1 to 127)."""

    start: float
    length: float
    pitch: int
    velocity: int

    @property
    def end(self) -> float:
        """The beat at which it is let go."""
        return self.start + self.length


@dataclass(frozen=True)
class Track:
    """Notes of one instrument, by start; with a pedal they ring on after they are let go."""

    name: str
    notes: tuple[Note, ...]
    pedal: bool = False


@dataclass(frozen=True)
class Mark:
    """A text at a beat."""

    beat: float
    text: str


@dataclass(frozen=True)
class Beat:
    """Tempo and metre as a score says them: at the beginning, and all changes."""

    bpm: float
    beats_per_bar: int
    tempos: tuple[TempoChange, ...] = ()
    metres: tuple[MetreChange, ...] = ()

    @property
    def tempo(self) -> Tempo:
        """Beats and bars over time."""
        return tempo_of(self.bpm, self.beats_per_bar, self.tempos, self.metres)


@dataclass(frozen=True)
class Song:
    """What a file says: tracks, tempo and metre, marks; `notices` say in a line each what was left out or changed."""

    title: str
    tracks: tuple[Track, ...]
    beat: Beat
    marks: tuple[Mark, ...] = ()
    notices: tuple[str, ...] = ()


def chosen(song: Song, names: Iterable[str]) -> Song:
    """Return a song with only the tracks that are called so, all if none is named; InputError for an unknown name."""
    known = [track.name for track in song.tracks]
    wanted = list(names)
    for name in wanted:
        if name not in known:
            raise unknown("track", name, known)
    kept = tuple(track for track in song.tracks if not wanted or track.name in wanted)
    return replace(song, tracks=kept)


def distinct(names: Iterable[str], taken: Iterable[str] = ()) -> list[str]:
    """Return names that differ from each other and from those that are taken: piano, piano 2, piano 3."""
    used, found = set(taken), []
    for name in names:
        numbered = (f"{name} {number}" for number in count(2))
        found.append(name if name not in used else next(other for other in numbered if other not in used))
        used.add(found[-1])
    return found


def sayable(song: Song) -> Song:
    """Return a song whose tempo a score can say: with few digits, within its bounds, with at most so many changes.

    If no beat has to move for that, beats stay what they are. Otherwise the tempo is averaged over bars, so that these
    begin when they did, and notes have other beats at the same times.
    """
    end = max(note.end for track in song.tracks for note in track.notes)
    tempo, most = song.beat.tempo, int(SCORE_TEMPOS.most)
    last = tempo.bars(tempo.seconds(end)) + 1.0
    beat = replace(song.beat, tempos=tuple(change for change in song.beat.tempos if change.bar < last))
    ends = [*(one.beat for one in beat.tempo.stretches[1:]), end]
    for digits in range(MOST_DIGITS) if len(beat.tempos) <= most else ():
        near = _rounded(beat, digits)
        if all(abs(near.tempo.seconds(at) - tempo.seconds(at)) <= KEPT_S for at in ends):
            return replace(song, beat=near)
    bars = max(1, math.ceil(last - 1.0))
    step = -(-bars // most)
    near = _rounded(_averaged(beat, tempo, range(0, bars, step)), AVERAGE_DIGITS)
    why = f"the tempo is averaged over {counted(step, 'bar')}, and nothing sounds at another time"
    return _moved(song, tempo, near, why)


def _rounded(beat: Beat, digits: int) -> Beat:
    """Return the tempo with so many digits after the point, and only where it changes."""
    bpm = _bounded(beat.bpm, digits)
    kept: list[TempoChange] = []
    for change in beat.tempos:
        bar = round(change.bar, BAR_DIGITS)
        if kept and kept[-1].bar == bar:
            del kept[-1]
        if (now := _bounded(change.bpm, digits)) != (kept[-1].bpm if kept else bpm):
            kept.append(TempoChange.model_construct(bar=bar, bpm=now, ramp=False))
    return Beat(bpm, beat.beats_per_bar, tuple(kept), beat.metres)


def _bounded(bpm: float, digits: int) -> float:
    return min(FASTEST_BPM, max(SLOWEST_BPM, round(bpm, digits)))


def _averaged(beat: Beat, tempo: Tempo, bars: range) -> Beat:
    """Return the tempo with changes at these bars, counted from 0: each is the average up to the next."""
    changes: list[TempoChange] = []
    for bar in bars:
        begin_s, end_s = tempo.bar_s(bar), tempo.bar_s(bar + bars.step)
        beats = tempo.beats(end_s) - tempo.beats(begin_s)
        changes.append(TempoChange.model_construct(bar=bar + 1.0, bpm=60.0 * beats / (end_s - begin_s), ramp=False))
    return Beat(changes[0].bpm, beat.beats_per_bar, tuple(changes[1:]), beat.metres)


def _moved(song: Song, before: Tempo, beat: Beat, why: str) -> Song:
    """Return a song in another tempo with everything at the same times."""
    after = beat.tempo

    def moved(at: float) -> float:
        return after.beats(before.seconds(at))

    def track(one: Track) -> Track:
        notes = (Note(moved(n.start), moved(n.end) - moved(n.start), n.pitch, n.velocity) for n in one.notes)
        return replace(one, notes=tuple(notes))

    marks = tuple(Mark(moved(mark.beat), mark.text) for mark in song.marks)
    return Song(song.title, tuple(map(track, song.tracks)), beat, marks, (*song.notices, why))
