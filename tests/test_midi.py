"""MIDI files become scores that sound when the files do."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import mido
import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from fugue_state.cli import main
from fugue_state.config import MelSpec, ModelConfig
from fugue_state.errors import InputError
from fugue_state.limits import SCORE_STEPS, SCORE_TEMPOS
from fugue_state.memory.catalogue import MemoryHeader
from fugue_state.memory.checkpoint import save_memory
from fugue_state.memory.memory import Memory
from fugue_state.piece.piece import Piece
from fugue_state.score.arranging import Arranged, Player, arranged
from fugue_state.score.midi import read_midi
from fugue_state.score.model import Forgetting, Score
from fugue_state.score.pitches import note_name
from fugue_state.score.text import load_score

from .conftest import untrained

NOTES = tuple(note_name(midi) for midi in range(40, 77))  # E2 to E5
CHORDS = ("C", "Cm", "F", "G", "G7", "Am", "Dm")
TICKS = 480
DEFAULT_US = 500_000


class Struck(NamedTuple):
    """A note in ticks."""

    start: int
    length: int
    pitch: int
    velocity: int = 80
    channel: int = 0


@dataclass(frozen=True)
class Known:
    """A memory that has learned nothing but its labels."""

    memory: Memory
    player: Player


def known(labels: Sequence[str]) -> Known:
    config = ModelConfig(feature_maps=2, latent_size=4, labels=tuple(labels))
    header = MemoryHeader(name="known", mel=MelSpec(), model=config, steps=1)
    memory = Memory(untrained(config), header)
    return Known(memory, Player("known", memory.labels, memory.spec.duration_s))


@pytest.fixture(scope="module")
def notes() -> Known:
    return known(NOTES)


@pytest.fixture(scope="module")
def chords() -> Known:
    return known(CHORDS)


def messages(struck: Sequence[Struck]) -> list[mido.Message]:
    """Messages with ticks since the one before; at one tick notes end before others begin."""
    events = sorted(
        (tick, kind, one)
        for one in struck
        for tick, kind in ((one.start, 1), (one.start + one.length, 2 if not one.length else 0))
    )
    made, before = [], 0
    for tick, kind, one in events:
        name = "note_on" if kind == 1 else "note_off"
        velocity = one.velocity if kind == 1 else 0
        made.append(mido.Message(name, channel=one.channel, note=one.pitch, velocity=velocity, time=tick - before))
        before = tick
    return made


def metas(events: Sequence[tuple[int, mido.MetaMessage]]) -> list[mido.MetaMessage]:
    made, before = [], 0
    for tick, message in sorted(events, key=lambda event: event[0]):
        made.append(message.copy(time=tick - before))
        before = tick
    return made


def tempo(us: int) -> mido.MetaMessage:
    return mido.MetaMessage("set_tempo", tempo=us)


def metre(numerator: int, denominator: int) -> mido.MetaMessage:
    return mido.MetaMessage("time_signature", numerator=numerator, denominator=denominator)


def marker(text: str) -> mido.MetaMessage:
    return mido.MetaMessage("marker", text=text)


def midi(
    path: Path,
    tracks: Mapping[str, Sequence[Struck]],
    events: Sequence[tuple[int, mido.MetaMessage]] = (),
    title: str = "Night song",
    **how: Any,
) -> Path:
    """Write a MIDI file: a track of tempo, metre and markers, and the others by name."""
    file = mido.MidiFile(ticks_per_beat=TICKS, **how)
    file.tracks.append(mido.MidiTrack([mido.MetaMessage("track_name", name=title), *metas(events)]))
    for name, struck in tracks.items():
        file.tracks.append(mido.MidiTrack([mido.MetaMessage("track_name", name=name), *messages(struck)]))
    file.save(path)
    return path


def heard(path: Path) -> list[tuple[float, int]]:
    """When each note of a file sounds, in seconds, as the library that wrote it says."""
    found, now = [], 0.0
    for message in mido.MidiFile(path):
        now += message.time
        if message.type == "note_on" and message.velocity and message.channel != 9:
            found.append((now, message.note))
    return sorted(found)


def laid_out(score: Score, memory: Memory) -> Piece:
    """A piece in which nothing need be measured."""
    return Piece(score.model_copy(update={"forgetting": Forgetting(order="random", pace="linear")}), memory)


def played(score: Score, memory: Memory) -> list[tuple[float, str]]:
    """When each label of a piece sounds."""
    lines = laid_out(score, memory).lines
    return sorted((onset.time_s, str(line.turns[onset.turn].label)) for line in lines for onset in line.onsets())


def same(path: Path, score: Score, memory: Memory) -> None:
    """Check that all notes of a file sound in a piece, within a millisecond."""
    file = sorted((note_name(pitch), seconds) for seconds, pitch in heard(path))
    piece = sorted((label, seconds) for seconds, label in played(score, memory))
    assert [label for label, _ in piece] == [label for label, _ in file]
    assert max(abs(one - other) for (_, one), (_, other) in zip(piece, file, strict=True)) < 1e-3


def steps(score: Score, voice: int = 0) -> list[str]:
    """A voice's steps as a score writes them."""
    return list(score.model_dump(mode="json")["voices"][voice]["chords"])


def scored(path: Path, known: Known) -> Score:
    return arranged(read_midi(path), known.player).score


SCALE = [Struck(i * TICKS, TICKS, 60 + step) for i, step in enumerate((0, 2, 4, 5, 7))]


def test_a_melody_is_a_voice_that_is_played_once(tmp_path: Path, notes: Known) -> None:
    score = scored(midi(tmp_path / "a.mid", {"flute": SCALE}, [(0, tempo(600_000)), (0, metre(3, 4))]), notes)
    assert (score.title, score.tempo_bpm, score.beats_per_bar, score.memory) == ("Night song", 100.0, 3, "known")
    (voice,) = score.voices
    assert (voice.name, voice.rounds, voice.gate) == ("flute", 1, 1.0)
    assert steps(score) == ["C4", "D4", "E4", "F4", "G4"]  # all as hard as each other, so nothing is said of it
    assert score.duration_s == pytest.approx(5 * 0.6 + notes.player.ring_s, abs=0.11)
    assert not score.tempo
    assert not score.metre
    assert not score.cues
    same(tmp_path / "a.mid", score, notes.memory)


def test_rests_lengths_and_velocities(tmp_path: Path, notes: Known) -> None:
    struck = [
        Struck(2 * TICKS, TICKS // 2, 60, 64),
        Struck(4 * TICKS, TICKS // 3, 62, 127),
        Struck(4 * TICKS + 160, 160, 64, 1),
    ]
    score = scored(midi(tmp_path / "a.mid", {"flute": struck}), notes)
    assert steps(score) == ["-*2", "C4*0.5^64", "-*1.5", "D4*0.3333^127", "E4*0.3333^1"]
    same(tmp_path / "a.mid", score, notes.memory)


def test_notes_that_are_let_go_early_have_a_gate(tmp_path: Path, notes: Known) -> None:
    played_short = [one._replace(length=round(0.8 * TICKS)) for one in SCALE] + [Struck(9 * TICKS, 2 * 384, 60)]
    score = scored(midi(tmp_path / "a.mid", {"flute": played_short}), notes)
    assert score.voices[0].gate == 0.8
    assert steps(score) == ["C4", "D4", "E4", "F4", "G4", "-*4", "C4*2"]
    lengths = [onset.held_s for onset in laid_out(score, notes.memory).lines[0].onsets()]
    assert lengths == pytest.approx([0.4] * 5 + [0.8])


def test_what_rings_anyway_has_no_gate(tmp_path: Path, notes: Known) -> None:
    long = [Struck(i * 9 * TICKS, 8 * TICKS, 60 + i) for i in range(3)]  # four seconds each, more than a sound lasts
    assert scored(midi(tmp_path / "a.mid", {"pad": long}), notes).voices[0].gate is None
    path = midi(tmp_path / "b.mid", {"piano": SCALE})
    file = mido.MidiFile(path)
    file.tracks[1].insert(0, mido.Message("control_change", control=64, value=127))
    file.save(path)
    assert scored(path, notes).voices[0].gate is None


def test_simultaneous_notes_are_voices_of_their_own(tmp_path: Path, notes: Known) -> None:
    struck = [Struck(i * TICKS, TICKS, pitch) for i in range(3) for pitch in (48 - i, 60 + i, 67 + i)]
    score = scored(midi(tmp_path / "a.mid", {"piano": struck, "piano 2": SCALE, "piano ": SCALE}), notes)
    assert [voice.name for voice in score.voices] == ["piano", "piano 4", "piano 5", "piano 2", "piano 3"]
    assert steps(score, 0) == ["G4", "G#4", "A4"]
    assert steps(score, 2) == ["C3", "B2", "A#2"]
    same(tmp_path / "a.mid", score, notes.memory)


def test_a_note_that_is_tied_a_little_over_the_next_is_of_the_same_voice(tmp_path: Path, notes: Known) -> None:
    tied = [one._replace(length=TICKS + 60) for one in SCALE]
    assert len(scored(midi(tmp_path / "a.mid", {"flute": tied}), notes).voices) == 1
    held = [one._replace(length=3 * TICKS) for one in SCALE]
    assert len(scored(midi(tmp_path / "b.mid", {"flute": held}), notes).voices) == 3


def test_a_memory_of_chords_plays_the_chords_that_notes_make(tmp_path: Path, chords: Known) -> None:
    groups = [(48, 52, 55), (43, 47, 50, 53), (45, 48, 52), (60,), (50, 53, 57, 60), (61, 65, 68)]
    struck = [
        Struck(i * TICKS + 7 * k, TICKS - 10, pitch) for i, group in enumerate(groups) for k, pitch in enumerate(group)
    ]
    found = arranged(read_midi(midi(tmp_path / "a.mid", {"guitar": struck})), chords.player)
    assert [step.chord for step in found.score.voices[0].chords] == ["C", "G7", "Am", "C", "Dm", "F"]
    assert {asked: label for _, asked, label, _ in found.changed} == {"C": "C", "D F A C": "Dm", "C# F G#": "F"}


def test_a_bass_that_is_held_belongs_to_the_chord_above_it(tmp_path: Path, chords: Known) -> None:
    struck = [Struck(0, 3 * TICKS, 45), *(Struck(i * TICKS, TICKS, pitch) for i in range(3) for pitch in (60, 64))]
    score = scored(midi(tmp_path / "a.mid", {"guitar": struck}), chords)
    assert steps(score) == ["Am", "Am", "Am"]


def test_what_a_memory_does_not_know_is_the_nearest_and_listed(tmp_path: Path) -> None:
    player = known(("E2", "Bb2", "C3", "D3", "E4")).player
    struck = [Struck(i * TICKS, TICKS, pitch) for i, pitch in enumerate((46, 34, 88, 49, 49, 40))]
    found = arranged(read_midi(midi(tmp_path / "a.mid", {"flute": struck})), player)
    assert steps(found.score) == ["Bb2", "Bb2", "E4", "C3", "C3", "E2"]
    assert found.changed == (("flute", "C#3", "C3", 2), ("flute", "A#1", "Bb2", 1), ("flute", "E6", "E4", 1))


def test_tempo_and_metre_change(tmp_path: Path, notes: Known) -> None:
    events = [
        (0, tempo(500_000)),
        (0, metre(4, 4)),
        (4 * TICKS, metre(6, 8)),
        (10 * TICKS, tempo(750_000)),
        (5 * TICKS, tempo(476_190)),
    ]
    struck = [Struck(i * TICKS // 2, TICKS // 2, 50 + i % 20, 10 + i) for i in range(40)]
    score = scored(midi(tmp_path / "a.mid", {"flute": struck}, events), notes)
    assert [(change.bar, change.beats) for change in score.metre] == [(2, 3)]
    assert [(change.bar, change.bpm) for change in score.tempo] == [(2.333333, 126), (4, 80)]
    assert {step.beats for step in score.voices[0].chords} == {0.5}
    same(tmp_path / "a.mid", score, notes.memory)


def test_a_beat_is_small_enough_for_all_bars(tmp_path: Path, notes: Known) -> None:
    found = read_midi(
        midi(tmp_path / "a.mid", {"flute": SCALE}, [(0, metre(7, 8)), (7 * 240, metre(2, 4)), (8 * 240, metre(3, 8))])
    )
    score = arranged(found, notes.player).score
    assert (score.tempo_bpm, score.beats_per_bar) == (240.0, 7)
    assert [(change.bar, change.beats) for change in score.metre] == [(2, 4), (3, 3)]  # the last one waits for a bar
    assert [notice for notice in found.notices if "second part" in notice or "within a bar" in notice] == list(
        found.notices
    )
    same(tmp_path / "a.mid", score, notes.memory)
    odd = read_midi(midi(tmp_path / "b.mid", {"flute": SCALE}, [(0, metre(255, 4)), (TICKS, metre(3, 2**20))]))
    assert odd.beat.beats_per_bar == 4
    assert odd.notices[0].startswith("2 metres left out")


def test_more_changes_of_tempo_than_a_score_has_are_averaged(tmp_path: Path, notes: Known) -> None:
    events = [(10 * i, tempo(500_000 + 100 * (i % 50))) for i in range(int(SCORE_TEMPOS.most) + 100)]
    struck = [Struck(i * 450, 450, 50 + i % 20) for i in range(100)]
    score = scored(midi(tmp_path / "a.mid", {"flute": struck}, events), notes)
    assert 10 < len(score.tempo) < 30
    same(tmp_path / "a.mid", score, notes.memory)


def test_a_tempo_beyond_a_scores_sounds_at_the_same_times(tmp_path: Path, notes: Known) -> None:
    struck = [Struck(i * TICKS, TICKS, 50 + i % 20) for i in range(30)]
    score = scored(
        midi(tmp_path / "a.mid", {"flute": struck}, [(0, tempo(40_000)), (9 * TICKS, tempo(900_000))]), notes
    )
    assert score.tempo_bpm == 600
    same(tmp_path / "a.mid", score, notes.memory)


def test_drums_are_left_out_and_channels_told_apart(tmp_path: Path, notes: Known) -> None:
    struck = [
        *SCALE,
        *(one._replace(channel=9, pitch=36) for one in SCALE),
        *(one._replace(channel=2) for one in SCALE),
    ]
    song = read_midi(midi(tmp_path / "a.mid", {"band": struck}))
    assert [track.name for track in song.tracks] == ["band (1)", "band (3)"]
    assert song.notices == ("drums (channel 10) are left out: 5 notes",)
    file = mido.MidiFile(type=0, ticks_per_beat=TICKS)
    file.tracks.append(mido.MidiTrack([mido.MetaMessage("track_name", name="Tune \xc3\xa9"), *messages(struck)]))
    file.save(tmp_path / "b.mid")
    song = read_midi(tmp_path / "b.mid")
    assert (song.title, [track.name for track in song.tracks]) == ("Tune \u00e9", ["channel 1", "channel 3"])
    assert read_midi(midi(tmp_path / "c.mid", {"": SCALE}, title="")).title == "c"


def test_notes_may_be_struck_twice_end_at_once_or_never(tmp_path: Path, notes: Known) -> None:
    track = [
        mido.Message("note_on", note=60, velocity=80),
        mido.Message("note_on", note=60, velocity=80),
        mido.Message("note_off", note=60, time=100),
        mido.Message("note_on", note=60, velocity=0, time=100),
        mido.Message("note_off", note=61, time=0),
        mido.Message("note_on", note=62, velocity=80, time=280),
        mido.Message("note_off", note=62),
        mido.Message("note_on", note=64, velocity=80, time=TICKS),
        mido.MetaMessage("end_of_track", time=TICKS),
    ]
    file = mido.MidiFile(ticks_per_beat=TICKS)
    file.tracks.append(mido.MidiTrack(track))
    file.save(tmp_path / "a.mid")
    (found,) = read_midi(tmp_path / "a.mid").tracks
    assert [(note.start, round(note.length, 4), note.pitch) for note in found.notes] == [
        (0.0, 0.4167, 60), (1.0, 0.25, 62), (2.0, 1.0, 64),
    ]  # fmt: skip


def test_markers_are_cues(tmp_path: Path, notes: Known) -> None:
    events = [
        (0, marker("Verse")),
        (4 * TICKS, marker(" Forget  70 % over 2 bars")),
        (7 * TICKS, mido.MetaMessage("cue_marker", text="Bridge")),
        (11 * TICKS + 160, marker("hold over 0.5 s")),
        (16 * TICKS, marker("Chorus")),
        (16 * TICKS, marker("recall 40 %")),
        (20 * TICKS, marker("jump 55.5 %")),
        (24 * TICKS, marker("jump")),
        (28 * TICKS, marker("recall 400 %")),
        (1000 * TICKS, marker("never")),
    ]
    struck = [Struck(i * TICKS, TICKS, 60) for i in range(30)]
    score = scored(midi(tmp_path / "a.mid", {"flute": struck}, events), notes)
    place = {"do": "hold", "over": 0.0}
    assert [cue.model_dump(exclude_defaults=True) for cue in score.cues] == [
        place | {"name": "Verse", "at": "bar 1"},
        {"do": "forget", "at": "bar 2", "to": 0.7, "over": "2 bars"},
        place | {"name": "Bridge", "at": 3.5},
        {"do": "hold", "at": 5.667, "over": 0.5},
        {"do": "recall", "at": "bar 5", "to": 0.4, "name": "Chorus"},
        {"do": "jump", "at": "bar 6", "to": 0.555},
        place | {"name": "jump", "at": "bar 7"},
        place | {"name": "recall 400 %", "at": "bar 8"},
    ]
    assert score.forgetting.to == 0.0  # nothing goes before the first cue
    laid_out(score, notes.memory)


def test_a_song_that_nothing_forgets_is_forgotten_as_any_piece_is(tmp_path: Path, notes: Known) -> None:
    events = [(0, marker("Verse")), (3 * TICKS, marker("recall"))]
    assert scored(midi(tmp_path / "a.mid", {"flute": SCALE}, events), notes).forgetting.to == 1.0


def test_a_place_changes_nothing(tmp_path: Path, notes: Known) -> None:
    struck = [Struck(i * TICKS, TICKS, 60) for i in range(20)]
    moves = [(2 * TICKS, marker("forget over 4")), (12 * TICKS, marker("hold over 3")), (19 * TICKS, marker("recall"))]
    places = [(i * TICKS, marker(f"place {i}")) for i in (0, 5, 9, 13, 14)]

    def strengths(path: Path) -> list[float]:
        piece = laid_out(scored(path, notes), notes.memory)
        timeline = piece.parts[0].timeline()
        return [float(timeline(0.25 * step).mean()) for step in range(40)]

    plain = strengths(midi(tmp_path / "a.mid", {"flute": struck}, moves))
    assert strengths(midi(tmp_path / "b.mid", {"flute": struck}, moves + places)) == plain
    assert min(plain) == 0.0
    assert len({*plain}) > 4


@st.composite
def songs(draw: st.DrawFn) -> tuple[list[list[Struck]], list[tuple[int, int]]]:
    tick = st.integers(0, 80).map(lambda i: 120 * i)
    note = st.builds(Struck, tick, st.integers(0, 2000), st.integers(40, 76), st.integers(1, 127), st.integers(0, 8))
    tracks = draw(st.lists(st.lists(note, max_size=7, unique_by=lambda one: one[::2]), min_size=1, max_size=2))
    assume(any(tracks))
    tempos = draw(
        st.lists(
            st.tuples(st.integers(0, 6000), st.integers(60_000, 2_000_000)), max_size=5, unique_by=lambda one: one[0]
        )
    )
    return tracks, tempos


@given(song=songs())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_notes_sound_when_the_file_sounds(
    tmp_path: Path, notes: Known, song: tuple[list[list[Struck]], list[tuple[int, int]]]
) -> None:
    tracks, tempos = song
    named = {f"track {i}": struck for i, struck in enumerate(tracks)}
    path = midi(tmp_path / "a.mid", named, [(tick, tempo(us)) for tick, us in tempos])
    same(path, scored(path, notes), notes.memory)


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(main, ["score", "from-midi", *map(str, args)])


@pytest.fixture(scope="module")
def memories(tmp_path_factory: pytest.TempPathFactory, notes: Known, chords: Known) -> Path:
    folder = tmp_path_factory.mktemp("memories")
    for name, one in (("notes", notes), ("chords", chords)):
        save_memory(folder / f"{name}.safetensors", one.memory.generator, one.memory.header)
    return folder


def test_the_command_writes_a_score_and_says_what_it_changed(tmp_path: Path, memories: Path) -> None:
    path = midi(tmp_path / "song.mid", {"flute": [*SCALE, Struck(5 * TICKS, TICKS, 88)]})
    done = run(path, "-o", tmp_path / "song.toml", "--memory", memories / "notes.safetensors")
    assert done.exit_code == 0, done.output
    assert [line.split() for line in done.stderr.splitlines()[:2]] == [
        ["track", "asked", "played", "times"], ["flute", "E6", "E5", "1"],
    ]  # fmt: skip
    assert done.stdout == ""
    assert steps(load_score(tmp_path / "song.toml")) == ["C4", "D4", "E4", "F4", "G4", "E5"]
    checked = CliRunner().invoke(main, ["score", "check", str(tmp_path / "song.toml")])
    assert checked.exit_code == 0, checked.output
    again = run(path, "-o", tmp_path / "song.toml", "--memory", memories / "notes.safetensors")
    assert (again.exit_code, again.stdout) == (2, "")
    assert "exists already; choose another name or add --force" in again.stderr
    printed = run(path, "--memory", memories / "notes.safetensors")
    assert tomllib.loads(printed.stdout)["title"] == "Night song"


def test_tracks_are_chosen_by_name(tmp_path: Path, memories: Path) -> None:
    path = midi(tmp_path / "song.mid", {"flute": SCALE, "bass": SCALE})
    out, model = tmp_path / "song.toml", memories / "notes.safetensors"
    assert run(path, "-o", out, "--memory", model, "--track", "bass").exit_code == 0
    assert [voice.name for voice in load_score(out).voices] == ["bass"]
    wrong = run(path, "-o", tmp_path / "x.toml", "--memory", model, "--track", "brass")
    assert wrong.exit_code == 2
    assert wrong.stderr == "fugue: unknown track 'brass'; did you mean 'bass'? (known: flute, bass)\n"


def test_a_track_can_be_played_by_another_memory(tmp_path: Path, memories: Path) -> None:
    path = midi(tmp_path / "song.mid", {"flute": SCALE, "guitar": [Struck(0, TICKS, 45), Struck(0, TICKS, 48)]})
    out, other = tmp_path / "song.toml", memories / "chords.safetensors"
    done = run(path, "-o", out, "--memory", memories / "notes.safetensors", "--voice", f"guitar={other}")
    assert done.exit_code == 0, done.output
    flute, guitar = tomllib.loads(out.read_text(encoding="utf-8"))["voices"]
    assert (flute.get("memory"), Path(guitar["memory"]).name, guitar["chords"]) == (None, other.name, ["Am"])
    checked = CliRunner().invoke(main, ["score", "check", str(out)])
    assert checked.exit_code == 0, checked.output


def cut(data: bytes, at: int) -> bytes:
    return data[:at]


def with_word(data: bytes, at: int, value: int) -> bytes:
    return data[:at] + value.to_bytes(2, "big") + data[at + 2 :]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: b"RIFF" + data, "no MIDI file"),
        (lambda _: b"", "no MIDI file"),
        (lambda data: cut(data, 10), "a MIDI file that is cut short"),
        (lambda data: cut(data, len(data) - 5), "a MIDI file that is cut short"),
        (lambda data: with_word(data, 8, 2), "MIDI of format 2, whose tracks are no piece together"),
        (lambda data: with_word(data, 8, 7), "MIDI of format 7, which is unknown"),
        (lambda data: with_word(data, 12, 0xE728), "its times are SMPTE frames, not beats"),
        (lambda data: with_word(data, 12, 0), "a broken MIDI file"),
        (lambda data: data.replace(b"MTrk", b"MTrx"), "a broken MIDI file"),
        (lambda data: data + b"\xff" * 70_000, "a broken MIDI file"),
    ],
)
def test_a_file_that_is_wrong_is_refused_in_a_line(tmp_path: Path, change: Any, message: str) -> None:
    path = midi(tmp_path / "a.mid", {"flute": SCALE})
    path.write_bytes(change(path.read_bytes()))
    done = run(path, "-o", tmp_path / "a.toml")
    assert done.exit_code == 2
    assert done.stderr.startswith(f"fugue: {path}: {message}")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "a.toml").exists()


@pytest.mark.parametrize(
    ("tracks", "events", "message"),
    [
        ({"flute": []}, [], "no notes"),
        ({"drums": [Struck(0, 10, 36, channel=9)]}, [], "no notes but drums, which no memory plays"),
        ({"flute": [Struck(i, 1, 60) for i in range(3000)]}, [(0, tempo(48_000))], "a second are too many"),
        ({"flute": SCALE}, [(0, tempo(0))], "a broken MIDI file (a tempo without end)"),
        ({"flute": [Struck(i * TICKS, TICKS, 60) for i in range(5000)]}, [], "5000 chords are too many"),
        ({"flute": [Struck(0, TICKS, 40 + i) for i in range(17)]}, [], "track 'flute': 17 voices are too many"),
        ({f"{i}": SCALE for i in range(18)}, [], "track '16': 17 voices are too many: at most 16"),
        ({"flute": [*SCALE, Struck(2**27, 5, 60)]}, [], "'Night song' lasts 38:50:"),
    ],
)  # fmt: skip
def test_what_no_score_can_hold_is_refused_in_a_line(
    tmp_path: Path, memories: Path, tracks: dict[str, list[Struck]], events: list[Any], message: str
) -> None:
    path = midi(tmp_path / "a.mid", tracks, events)
    done = run(path, "-o", tmp_path / "a.toml", "-m", memories / "notes.safetensors")
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-m", "gitar"], "unknown memory 'gitar'; did you mean 'guitar'?"),
        (["--voice", "flute"], "--voice flute: it is a track and the memory that plays it, like piano=chords"),
        (["--voice", "flut=guitar"], "unknown track 'flut'; did you mean 'flute'?"),
        (["--voice", "flute=gitar"], "unknown memory 'gitar'"),
        (["-o", "a.txt"], "unknown file ending '.txt'"),
    ],
)
def test_options_that_are_wrong_are_named(tmp_path: Path, options: list[str], message: str) -> None:
    path = midi(tmp_path / "a.mid", {"flute": SCALE})
    done = run(path, *options)
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_memory_without_names_is_refused(tmp_path: Path) -> None:
    song = read_midi(midi(tmp_path / "a.mid", {"flute": SCALE}))
    for labels, told in (((), "it has no labels"), (("1", "2"), "1, 2")):
        with pytest.raises(InputError, match=rf"knows no notes and no chords by name \({told}\)"):
            arranged(song, Player("rain", labels, 3.0))


def test_fewer_steps_than_the_limit_are_taken(tmp_path: Path, notes: Known) -> None:
    many = int(SCORE_STEPS.most)
    path = midi(tmp_path / "a.mid", {"flute": [Struck(i * TICKS, TICKS, 60 + i % 12) for i in range(many)]})
    found: Arranged = arranged(read_midi(path), notes.player)
    assert len(found.score.voices[0].chords) == many
    times = [seconds for seconds, _ in played(found.score, notes.memory)]
    assert max(abs(after - before - 0.5) for before, after in pairwise(times)) < 1e-6
