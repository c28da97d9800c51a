"""Reading MIDI files."""

from __future__ import annotations

import contextlib
import io
import math
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fugue_state import asked
from fugue_state.errors import LONGEST_REASON, InputError, a_file, counted
from fugue_state.limits import SONG_BYTES
from fugue_state.score.song import Beat, Mark, Note, Song, Track, distinct
from fugue_state.score.tempo import MOST_BEATS, MetreChange, TempoChange

if TYPE_CHECKING:
    from mido import MidiFile

DRUMS = 9  # the channel, from 0, that has drums and no notes
PEDAL, PRESSED = 64, 64  # the sustain pedal's controller, and from which value it is pressed
NO_NUMBER = re.compile(rb"[\x80-\xff]{65536}")  # longer than any text: a number that never ends
LONGEST_NAME = 200  # characters
SHORTEST = Fraction(1, 4)  # of a quarter: the length of a note that is let go as it begins
FINEST = 16  # of a quarter note: the shortest beat
PARTS = {2: "second", 4: "fourth", 8: "eighth", 16: "sixteenth"}
BEAT_US, MINUTE_US = 500_000, 60_000_000  # of a beat where no tempo is said, and of a minute
FOUR = Fraction(4)  # quarters of a bar where no metre is said


def read_midi(path: str | Path) -> Song:
    """Read a MIDI file of format 0 or 1.

    A beat is a quarter note, or the largest part of one of which every bar has a whole number. Drums are left out.
    Raises InputError for a file that is no MIDI file, broken or cut short, that has no notes, or times that are no
    beats.
    """
    path = asked.path("song", path)
    parsed = _parsed(path)
    heard = _Heard(path)
    for number, track in enumerate(parsed.tracks):
        tick = 0
        for message in track:
            tick += message.time
            heard.take(number, tick, message)
        heard.let_all_go(tick)
    return _song(heard, parsed.ticks_per_beat, one_track=parsed.type == 0)


def _parsed(path: Path) -> MidiFile:
    """Return the messages of a file."""
    if not path.is_file():
        raise InputError(a_file(path))
    if (size := path.stat().st_size) > SONG_BYTES.most:
        raise InputError(f"{path}: {SONG_BYTES.passed(size)}")
    data = path.read_bytes()
    if data[:4] != b"MThd":
        raise InputError(f"{path}: no MIDI file")
    if len(data) < 14:
        raise InputError(f"{path}: a MIDI file that is cut short")
    form, division = (int.from_bytes(data[at : at + 2], "big") for at in (8, 12))
    if form > 1:
        why_not = "whose tracks are no piece together" if form == 2 else "which is unknown"
        raise InputError(f"{path}: MIDI of format {form}, {why_not}; save it as format 0 or 1")
    if division & 0x8000:
        raise InputError(f"{path}: its times are SMPTE frames, not beats; save it with ticks for each quarter note")
    if not division or NO_NUMBER.search(data):
        raise InputError(f"{path}: a broken MIDI file")
    return _messages(path, data)


def _messages(path: Path, data: bytes) -> MidiFile:
    from mido import MidiFile
    from mido.midifiles.meta import KeySignatureError

    try:
        return MidiFile(file=io.BytesIO(data), clip=True)
    except EOFError:
        raise InputError(f"{path}: a MIDI file that is cut short") from None
    except (OSError, ValueError, KeySignatureError) as error:
        raise InputError(f"{path}: a broken MIDI file ({str(error)[:LONGEST_REASON]})") from None
    except (LookupError, TypeError, OverflowError):  # whose words are of no help
        raise InputError(f"{path}: a broken MIDI file") from None


class _Source(NamedTuple):
    """Where notes come from: the number of a track, and a channel, both from 0."""

    track: int
    channel: int


class _Struck(NamedTuple):
    """A note in ticks."""

    start: int
    end: int
    pitch: int
    velocity: int


@dataclass
class _Heard:
    """What was heard of a file so far, in ticks."""

    path: Path
    names: dict[int, str] = field(default_factory=dict)
    tempos: dict[int, int] = field(default_factory=dict)  # microseconds of a quarter note
    metres: dict[int, Fraction] = field(default_factory=dict)  # quarter notes of a bar
    marks: list[tuple[int, str]] = field(default_factory=list)
    notes: dict[_Source, list[_Struck]] = field(default_factory=lambda: defaultdict(list))
    pedals: set[_Source] = field(default_factory=set)
    drums: int = 0
    down: dict[tuple[_Source, int], list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))

    def take(self, number: int, tick: int, message: Any) -> None:
        """Take in a message of a track."""
        kind = message.type
        if kind in {"note_on", "note_off"}:
            source = _Source(number, message.channel)
            if kind == "note_on" and message.velocity:
                self.down[source, message.note].append((tick, message.velocity))
            else:
                self._let_go(source, message.note, tick)
        elif kind == "control_change" and message.control == PEDAL and message.value >= PRESSED:
            self.pedals.add(_Source(number, message.channel))
        elif kind in {"track_name", "instrument_name"} and _text(message.name):
            self.names.setdefault(number, _text(message.name))
        elif kind in {"marker", "cue_marker"} and _text(message.text):
            self.marks.append((tick, _text(message.text)))
        elif kind == "set_tempo":
            if not message.tempo:
                raise InputError(f"{self.path}: a broken MIDI file (a tempo without end)")
            self.tempos[tick] = message.tempo
        elif kind == "time_signature":
            self.metres[tick] = Fraction(4 * message.numerator, message.denominator)

    def let_all_go(self, tick: int) -> None:
        """End the notes that nothing has ended."""
        for (source, pitch), begun in self.down.items():
            while begun:
                self._let_go(source, pitch, tick)

    def _let_go(self, source: _Source, pitch: int, tick: int) -> None:
        begun = self.down[source, pitch]
        if begun and source.channel == DRUMS:
            del begun[0]
            self.drums += 1
        elif begun:
            start, velocity = begun.pop(0)
            self.notes[source].append(_Struck(start, tick, pitch, velocity))


def _text(raw: str) -> str:
    """Return a text on one line; files are written in UTF-8 or Latin-1."""
    with contextlib.suppress(UnicodeError):
        raw = raw.encode("latin-1").decode("utf-8")
    return " ".join("".join(c if c.isprintable() else " " for c in raw).split())[:LONGEST_NAME]


def _song(heard: _Heard, ticks: int, *, one_track: bool) -> Song:
    """Return what was heard in beats."""
    notices = [f"drums (channel {DRUMS + 1}) are left out: {counted(heard.drums, 'note')}"] if heard.drums else []
    if not heard.notes:
        raise InputError(f"{heard.path}: no notes{' but drums, which no memory plays' if heard.drums else ''}")
    possible, parts = _metres(heard.metres, notices)
    per_tick = Fraction(parts, ticks)
    beat = _beat(heard, possible, per_tick, parts, notices)
    sources = sorted(heard.notes)
    names = distinct([_name(source, heard, one_track=one_track) for source in sources])
    tracks = tuple(
        Track(name, _notes(heard.notes[source], per_tick), source in heard.pedals)
        for name, source in zip(names, sources, strict=True)
    )
    marks = tuple(Mark(float(tick * per_tick), text) for tick, text in sorted(heard.marks))
    plays = any(source.track == 0 for source in sources)
    title = heard.names.get(0, "") if one_track or not plays else ""
    return Song(title or heard.path.stem, tracks, beat, marks, tuple(notices))


def _name(source: _Source, heard: _Heard, *, one_track: bool) -> str:
    """Return what a track, or a channel of a track with several, is called."""
    several = sum(other.track == source.track for other in heard.notes) > 1
    if several and one_track:
        return f"channel {source.channel + 1}"
    name = heard.names.get(source.track, f"track {source.track + 1}")
    return f"{name} ({source.channel + 1})" if several else name


def _notes(struck: list[_Struck], per_tick: Fraction) -> tuple[Note, ...]:
    """Return notes in beats, by start, highest first; the same note twice at once is one."""
    longest: dict[tuple[int, int], _Struck] = {}
    for one in struck:
        other = longest.get((one.start, one.pitch))
        if other is None or one.end > other.end:
            longest[one.start, one.pitch] = one
    kept = sorted(longest.values(), key=lambda one: (one.start, -one.pitch))
    return tuple(
        Note(
            float(one.start * per_tick),
            float((one.end - one.start) * per_tick or SHORTEST),
            one.pitch,
            one.velocity,
        )
        for one in kept
    )


def _metres(metres: Mapping[int, Fraction], notices: list[str]) -> tuple[dict[int, Fraction], int]:
    """Return the metres that a score can say, and into how many beats they divide a quarter note."""
    whole = {tick: bar for tick, bar in metres.items() if bar and FINEST % bar.denominator == 0}
    parts = max((bar.denominator for bar in whole.values()), default=1)
    possible = {tick: bar for tick, bar in whole.items() if bar * parts <= MOST_BEATS}
    if lost := len(metres) - len(possible):
        notices.append(f"{counted(lost, 'metre')} left out that no score can say (1 to {MOST_BEATS} beats in a bar)")
    if parts > 1:
        notices.append(f"a beat is the {PARTS[parts]} part of a quarter note, since bars have whole numbers of beats")
    return possible, parts


def _beat(heard: _Heard, metres: Mapping[int, Fraction], per_tick: Fraction, parts: int, notices: list[str]) -> Beat:
    """Return tempo and metre in bars. A metre that begins within a bar begins with the next one."""
    changes, late = [(1, int(FOUR * parts))], 0
    line = Fraction(0)  # the beat at which the last of these begins
    for tick, quarters in sorted(metres.items()):
        (bar, beats), length = changes[-1], int(quarters * parts)
        passed = (tick * per_tick - line) / beats
        late += passed.denominator > 1
        bars = max(0, math.ceil(passed))
        if length != beats:
            changes[len(changes) if bars else -1 :] = [(bar + bars, length)]
            line += bars * beats
    if late:
        notices.append(f"{counted(late, 'metre')} began within a bar, and now with the next")
    at_first = Beat(
        60.0, changes[0][1], (), tuple(MetreChange.model_construct(bar=bar, beats=beats) for bar, beats in changes[1:])
    )
    one_a_second = at_first.tempo  # so its seconds are beats
    tempos = {tick: parts * MINUTE_US / tempo for tick, tempo in sorted(heard.tempos.items())}
    bpm = tempos.pop(0, parts * MINUTE_US / BEAT_US)
    found = (
        TempoChange.model_construct(bar=1.0 + one_a_second.bars(float(tick * per_tick)), bpm=bpm, ramp=False)
        for tick, bpm in tempos.items()
    )
    return Beat(bpm, at_first.beats_per_bar, tuple(found), at_first.metres)
