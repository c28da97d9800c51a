"""MIDI files and charts that are malformed, or say what no score can hold."""

from __future__ import annotations

import contextlib
import io
import random
from collections.abc import Iterator
from pathlib import Path

import mido

from fugue_state.score.arranging import Player, arranged, charted
from fugue_state.score.chart import load_chart
from fugue_state.score.midi import read_midi
from fugue_state.score.pitches import note_name

from .mutations import EXTREMES, TEXTS, mutated
from .running import Case, Make

PLAYERS = (
    Player("notes", tuple(note_name(midi) for midi in range(40, 77)), 3.0),
    Player("chords", ("Am", "F", "C", "G7", "Bb"), 3.0),
    Player("few", ("E2", "rain"), 3.0),
    Player("none", (), 3.0),
)
WORDS = (
    "|", "|", "|", "||", "|:", ":|", ":||:", "|]", "Am", "F#m7b5", "C/E", "Bbmaj7", "E3", ".", "/", "%", "-", "N.C.",
    "x3", "x0", "x9999", "2x", "[Verse]", "[forget 50 % over 2 bars]", "[", "]", ":", "#", "\n", "C6/9", "(b9)",
)  # fmt: skip

PLAIN = ("Am | F |", "C |", "G7 . . Am7 |", "[Verse] Bb | % |", "Am | F | x3", "C | - |", "Dm7/C |", "A2 C3 |")


@contextlib.contextmanager
def songs(folder: Path) -> Iterator[Make]:
    """MIDI files of which bytes, lengths or times are wrong, and charts of any words."""

    def make(source: random.Random) -> Case:
        player = source.choice(PLAYERS)
        if source.random() < 0.6:
            path = folder / "song.mid"
            path.write_bytes(_midi(source))
            return Case("a MIDI file", lambda: arranged(read_midi(path), player))
        path = folder / "chart.txt"
        path.write_bytes(_chart(source))
        beats, rounds = source.randint(1, 64), source.choice((None, None, 1, 1000))
        return Case(repr(path.read_bytes()[:200]), lambda: charted(load_chart(path), player, "", 90.0, beats, rounds))

    yield make


def _midi(source: random.Random) -> bytes:
    """Return a MIDI file with anything in it; every other one is changed by bytes."""
    file = mido.MidiFile(type=source.choice((0, 1, 1)), ticks_per_beat=source.choice((1, 24, 480, 32_767)))
    for _ in range(1 if file.type == 0 else source.randint(1, 4)):
        file.tracks.append(mido.MidiTrack([_message(source) for _ in range(source.choice((0, 3, 30, 200)))]))
    held = io.BytesIO()
    file.save(file=held)
    return held.getvalue() if source.random() < 1 / 2 else mutated(source, held.getvalue())


def _message(source: random.Random) -> mido.Message | mido.MetaMessage:
    time = source.choice((0, 0, 1, 60, 480, 480, source.choice(EXTREMES) & 0xFFFFFFF if source.random() < 0.004 else 7))
    note, channel = source.choice((40, 52, 60, 64, 67, 127, 0)), source.choice((0, 0, 0, 1, 9, 15))
    what = source.randrange(14)
    if what < 10:
        kind = "note_on" if what < 6 else "note_off"
        return mido.Message(kind, note=note, channel=channel, velocity=source.choice((0, 1, 64, 127)), time=time)
    if what == 10:
        return mido.MetaMessage(
            "set_tempo",
            tempo=source.choice((500_000, 400_000, 0xFFFFFF, *((0, 1, 1000) if source.random() < 0.02 else ()))),
            time=time,
        )
    if what == 11:
        beats, unit = source.choice((0, 1, 3, 4, 7, 255)), 2 ** source.choice((0, 1, 2, 3, 4, 7, 255))
        return mido.MetaMessage("time_signature", numerator=beats, denominator=unit, time=time)
    if what == 12:
        return mido.Message("control_change", control=64, value=127, channel=channel, time=time)
    text = source.choice((*TEXTS, "forget", "recall 40 %", "jump 50 %", "hold over 99999999", "forget over 1e999"))
    kind = source.choice(("marker", "cue_marker", "track_name", "instrument_name"))
    named = text.encode("utf-8", "replace").decode("latin-1")
    return mido.MetaMessage(kind, **{"name" if kind.endswith("name") else "text": named}, time=time)


def _chart(source: random.Random) -> bytes:
    words = [source.choice(PLAIN) for _ in range(source.choice((0, 5, 30, 200)))]
    for _ in range(source.choice((0, 0, 1, 3))):
        words.insert(source.randint(0, len(words)), source.choice((*WORDS, *TEXTS)))
    words = ["|", *words] if source.random() < 0.8 else words
    text = source.choice((" ", " ", "")).join(words).encode("utf-8", "replace")
    return mutated(source, text) if source.random() < 0.2 else text
