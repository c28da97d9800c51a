"""Notes in a score: velocities, rests, transposition, rounds, gates, and chords that only the atlas knows."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fugue_state.config import AtlasConfig, MelSpec, ModelConfig
from fugue_state.errors import InputError
from fugue_state.measure.atlas import TRAITS, Atlas
from fugue_state.measure.describe import triads
from fugue_state.memory.catalogue import MemoryHeader
from fugue_state.memory.memory import Memory
from fugue_state.piece import chords
from fugue_state.piece.event import Event
from fugue_state.piece.piece import Piece
from fugue_state.score.model import Score, Step, Voice
from fugue_state.score.pitches import near
from fugue_state.score.text import dump_score, parse_score
from fugue_state.settings import checked

from .conftest import untrained

NOTES = ("E2", "A#2", "C3", "E3", "G3", "E4")


def memory_of(*labels: str) -> Memory:
    config = ModelConfig(feature_maps=2, latent_size=4, labels=labels)
    return Memory(untrained(config), MemoryHeader(name="own", mel=MelSpec(), model=config))


@pytest.fixture(scope="module")
def notes() -> Memory:
    return memory_of(*NOTES)


def piece(own: Memory, /, *voices: dict[str, Any], **changes: Any) -> Piece:
    plan = {"order": "random", "pace": "linear"}
    values = {"duration_s": 20, "tempo_bpm": 60, "forgetting": plan, "voices": voices} | changes
    return Piece(checked(Score, values), own)


def events(memory: Memory, *voices: dict[str, Any], **changes: Any) -> list[Event]:
    return list(piece(memory, *voices, **changes).events())


def seconds(found: list[Event]) -> list[float]:
    return [event.onset / 44_100 for event in found]


@pytest.mark.parametrize(
    ("short", "step"),
    [
        ("E3^64", {"chord": "E3", "velocity": 64}),
        ("Bb2*0.5^127", {"chord": "Bb2", "beats": 0.5, "velocity": 127}),
        ("Am@12*2^1", {"chord": "Am", "entry": 12, "beats": 2, "velocity": 1}),
        ('"a^7"^64', {"chord": "a^7", "velocity": 64}),
        ("^90", {"velocity": 90}),
        ("-*1.5", {"rest": True, "beats": 1.5}),
    ],
)
def test_the_short_form_of_a_velocity(short: str, step: dict[str, Any]) -> None:
    assert checked(Voice, {"chords": [short, "C"]}).chords[0] == Step(**step)
    assert Voice(chords=(Step(**step), Step(chord="C"))).model_dump()["chords"][0] == short


def test_a_name_that_looks_like_a_velocity_is_quoted() -> None:
    found = checked(Score, {"voices": [{"chords": [{"chord": "C^7"}, {"chord": "C", "velocity": 3, "pan": 1}]}]})
    assert found.model_dump()["voices"][0]["chords"][0] == '"C^7"'
    assert parse_score(dump_score(found)) == found


@pytest.mark.parametrize("short", ["E3^0", "E3^128", "E3^1000"])
def test_a_velocity_is_from_1_to_127(short: str) -> None:
    with pytest.raises(InputError, match=rf"voices\[1\]\.chords\[1\]\.velocity: must be .* \(got '{short[3:]}'\)"):
        checked(Score, {"voices": [{"chords": [short]}]})


def test_notes_have_levels_lengths_and_rests(notes: Memory) -> None:
    melody = ["E3*0.5^64", "-*1.5", "Bb2^127", {"chord": "C3", "velocity": 100, "level_db": -3, "beats": 2}, "G3"]
    found = events(notes, {"chords": melody, "level_db": -2})
    assert seconds(found)[:5] == [0, 2, 3, 5, 6]
    assert [event.chord for event in found[:4]] == ["E3", "Bb2", "C3", "G3"]
    assert [event.label for event in found[:4]] == ["E3", "A#2", "C3", "G3"]
    levels = [-2 + 40 * math.log10(64 / 127), -2, -5 + 40 * math.log10(100 / 127), -2]
    assert [event.level_db for event in found[:4]] == pytest.approx(levels)


def test_notes_are_moved_by_label(notes: Memory) -> None:
    voices = {"chords": ["E2", "E3", {"beats": 1}, "-"], "transpose": 12}, {"chords": ["G3"], "transpose": -9}
    found = events(notes, *voices)
    assert [event.chord for event in found if event.voice == 0][:3] == ["E3", "E4", "C3"]  # the memory chose the last
    assert {event.label for event in found if event.voice == 1} == {"A#2"}


def test_chords_are_moved_too(tiny_memory: Memory) -> None:
    found = events(tiny_memory, {"chords": ["F", "Dm", "-"], "transpose": 7})
    assert [event.label for event in found[:3]] == ["C", "Am", "C"]
    assert [event.chord for event in found[:2]] == ["C", "Am"]


@pytest.mark.parametrize(
    ("voice", "message"),
    [
        ({"chords": ["C3", "E4"], "transpose": 12},
         r"voices\[1\]\.chords\[1\]: 'C3' moved by \+12 semitones: unknown note 'C4'; near it: C3, E4, G3, E3, A#2"),
        ({"chords": ["bell"], "transpose": -2}, r"'bell' is no note and no chord, so it cannot be moved by -2"),
        ({"chords": ["Am"]}, r"voices\[1\]\.chords\[1\]: unknown chord 'Am'; did you .* E4\); known to .*'guitar'"),
        ({"chords": ["C9"], "like": {"bright": 0.5}}, r"unknown note 'C9'; near it: C3, E4, G3, E3, A#2"),
        ({"transpose": 61}, r"voices\[1\]\.transpose: .*60 \(got 61\)"),
        ({"rounds": 0}, r"voices\[1\]\.rounds: .*1 \(got 0\)"),
        ({"gate": 0}, r"voices\[1\]\.gate: must be greater than 0 \(got 0\)"),
    ],
)  # fmt: skip
def test_mistakes(notes: Memory, voice: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        piece(notes, voice)
    assert "\n" not in str(caught.value)


def test_a_loop_is_played_so_many_rounds(notes: Memory) -> None:
    found = events(notes, {"chords": ["E3", "-", "G3"], "rounds": 2}, {"chords": ["C3*4"], "start": 1})
    assert [time for event, time in zip(found, seconds(found), strict=True) if event.voice == 0] == [0, 2, 3, 5]
    assert [time for event, time in zip(found, seconds(found), strict=True) if event.voice == 1] == [1, 5, 9, 13, 17]
    once = piece(notes, {"chords": ["E3", "G3"], "rounds": 1})
    assert once.last_s == 1
    assert once.strengths(once.planned([None]), 1.0).max() == 0  # what is forgotten is gone at the last chord
    short = piece(notes, {"chords": ["E3", "G3"], "rounds": 9, "until": 3})
    assert [onset.time_s for onset in short.lines[0].onsets()] == [0, 1, 2]


def test_a_take_goes_on_without_a_voice_that_has_ended(notes: Memory) -> None:
    voices = {"chords": ["E3"], "rounds": 3}, {"chords": ["C3"], "rounds": 1}
    found = events(notes, *voices, resolution="block")
    assert [(event.voice, time) for event, time in zip(found, seconds(found), strict=True)] == [
        (0, 0), (1, 0), (0, 1), (0, 2),
    ]  # fmt: skip


def test_a_sound_is_let_go_after_a_share_of_its_beats(notes: Memory) -> None:
    found = events(notes, {"chords": ["E3", "G3*2", "-"], "gate": 0.5, "swing": 0.5})
    assert [event.held for event in found[:3]] == [22_050, 22_050, 11_025]  # half of 1, of 2 less 1, of 1 less a half
    assert {event.held for event in events(notes, {"chords": ["E3"]})} == {None}
    assert {event.held for event in events(notes, {"chords": ["E3*0.02"], "gate": 1e-6}, duration_s=4)} == {1}
    slow = events(notes, {"chords": ["E3"], "gate": 1.5}, tempo=[{"bar": 2, "bpm": 30}])
    assert [event.held for event in slow[2:5]] == [round(1.5 * 44_100), 2 * 44_100, 3 * 44_100]


# The atlas of a memory in which all that is labelled C sounds like F, and a few of what is labelled Am like Dm.
HEARD = {"Am": "Am", "C": "F", "G": "G"}


@pytest.fixture
def atlas(monkeypatch: pytest.MonkeyPatch) -> None:
    def of(memory: Memory, *_: object, **__: object) -> Atlas:
        config, random = AtlasConfig(), np.random.default_rng(2)
        names, labels = triads(memory.labels), memory.labels
        heard = [names.index(HEARD.get(labels[i % len(labels)], "F")) for i in range(config.count)]
        heard[: 40 * len(labels) : 10 * len(labels)] = [names.index("Dm")] * 4
        return Atlas(memory, config, np.array(heard), random.standard_normal((config.count, len(TRAITS))))

    monkeypatch.setattr(Atlas, "of", of)


@pytest.mark.usefixtures("atlas")
def test_a_chord_that_is_no_label_is_played_as_the_atlas_finds_it(tiny_memory: Memory) -> None:
    (turn, am, dm) = piece(tiny_memory, {"chords": ["F", "Am", "Dm"]}).lines[0].turns
    assert (turn.chord, turn.label, len(turn.latents)) == ("F", "C", chords.POOL)
    assert (am.label, len(am.latents), am.sought) == ("Am", 1, None)
    assert (dm.chord, dm.label, len(dm.latents)) == ("Dm", "Am", 4)
    every = tiny_memory.latents(AtlasConfig().count, AtlasConfig().seed)
    numbers = [int(np.flatnonzero((every == z).all(axis=1))[0]) for z in turn.latents]
    assert {number % 3 for number in numbers} == {1}
    found = events(tiny_memory, {"chords": ["F"], "latents": "fresh"})
    assert {event.label for event in found} == {"C"}
    assert len({event.latent.tobytes() for event in found}) > 5


@pytest.mark.usefixtures("atlas")
def test_what_the_atlas_finds_is_generated_with_its_own_label(tiny_memory: Memory) -> None:
    voice = {"chords": ["Am", "C", {"beats": 1}], "like": {"bright": 0.9}}
    every = tiny_memory.latents(AtlasConfig().count, AtlasConfig().seed)
    for turn in piece(tiny_memory, voice).lines[0].turns:
        numbers = [int(np.flatnonzero((every == z).all(axis=1))[0]) for z in turn.latents]
        assert {tiny_memory.labels[number % 3] for number in numbers} == {turn.label}
        assert len(numbers) == chords.POOL


@pytest.mark.usefixtures("atlas")
def test_notes_can_be_bright(notes: Memory) -> None:
    (turn,) = piece(notes, {"chords": ["Bb2"], "like": {"bright": 0.9}}).lines[0].turns
    assert (turn.chord, turn.label, len(turn.latents)) == ("Bb2", "A#2", chords.POOL)


@pytest.mark.usefixtures("atlas")
@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("Gm", r"voices\[1\]\.chords\[1\]: unknown chord 'Gm'; near it: G, Am, Dm; known to 'third' and 'other'$"),
        ("Gmm", r"unknown chord 'Gmm'; did you mean 'G'\? \(known: Am, C, G\)$"),
        ("E3", r"unknown note 'E3' \(known: Am, C, G\)$"),
        ("Cmaj7", r"unknown chord 'Cmaj7'; near it: C; known to 'other'$"),
        ({"chord": "F", "seed": 3}, r"'F' is no label of the memory: it is found by its sound, not by a seed"),
    ],
)
def test_a_chord_that_nobody_has(tiny_memory: Memory, step: Any, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    others = {"other": ("Gm", "Cmaj7"), "third": ("Gm",), "fourth": ("A",)}

    def header(path: Path) -> MemoryHeader:
        config = ModelConfig(feature_maps=2, latent_size=4, labels=others[str(path)])
        return MemoryHeader(name=str(path), mel=MelSpec(), model=config)

    monkeypatch.setattr(chords, "named_memories", lambda: {"other": Path("other"), "fourth": Path("fourth")})
    monkeypatch.setattr(chords, "find_memory", Path)
    monkeypatch.setattr(chords, "read_header", header)
    with pytest.raises(InputError, match=message):
        piece(tiny_memory, {"chords": [step]}, memory="third")


@pytest.mark.usefixtures("atlas")
def test_an_entry_of_a_chord_that_is_no_label_has_its_own_label(tiny_memory: Memory) -> None:
    (turn,) = piece(tiny_memory, {"chords": ["F@4"]}).lines[0].turns
    assert (turn.chord, turn.label) == ("F", "C")
    assert np.array_equal(turn.latents[0], tiny_memory.latents(5, AtlasConfig().seed)[4])


@pytest.mark.parametrize(
    ("name", "labels", "wanted"),
    [
        ("Gm", ["F", "Am", "G", "C", "Fm", "G7"], ["G", "G7", "Am", "Fm"]),
        ("Db", ["C", "C#m", "D"], ["C#m", "C", "D"]),
        ("E5", ["E2", "D5", "F4", "E4", "Em", "A"], ["E4", "E2", "D5", "F4", "Em"]),
        ("Em", ["E2", "F2", "G"], ["E2"]),
        ("bell", ["E2", "Am"], []),
        ("Am", ["A", "Am7", "Adim", "A7", "Asus4", "Amaj7"], ["A", "Am7", "Adim", "A7", "Asus4"]),
    ],
)
def test_what_is_near(name: str, labels: list[str], wanted: list[str]) -> None:
    assert near(name, labels) == wanted
