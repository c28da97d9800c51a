"""Pieces of several memories and forgettings: each part is what it would be alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from fugue_state.bending.strengths import forget
from fugue_state.cli import main
from fugue_state.config import MelSpec
from fugue_state.engine.performance import Performance
from fugue_state.engine.whole import Instrument, play, play_on
from fugue_state.errors import InputError
from fugue_state.memory.catalogue import MemoryHeader
from fugue_state.memory.checkpoint import save_memory
from fugue_state.memory.memory import Memory
from fugue_state.memory.traced import traced
from fugue_state.output.provenance import reopened
from fugue_state.output.render import render
from fugue_state.output.render import samples as rendered
from fugue_state.piece.conductor import Conductor, block_of
from fugue_state.piece.piece import Piece
from fugue_state.score.explained import editable
from fugue_state.score.model import Score
from fugue_state.score.text import dump_score, parse_score
from fugue_state.settings import checked
from fugue_state.share.page import page

from .conftest import Sound, untrained
from .test_performance import Hands, wild
from .test_performance import play as played_on
from .test_performance import sound as heard_of
from .test_render import Break, interrupt

CHORDS: dict[str, Any] = {"name": "chords", "chords": ["Am", "C", "G"], "latent_seed": 3, "spread": 0, "event_s": 1.4}
MELODY: dict[str, Any] = {
    "name": "melody", "memory": "notes", "chords": ["E3", "B3*0.5"], "latent_seed": 8, "spread": 0, "event_s": 0.9,
}  # fmt: skip
PLAN: dict[str, Any] = {"order": "random", "pace": "linear"}
BASE: dict[str, Any] = {
    "duration_s": 7.0,
    "tempo_bpm": 60,
    "seed": 4,
    "quality": "draft",
    "memory": "tiny",
    "voices": [CHORDS, MELODY],
    "forgetting": PLAN,
    "reverb": {"rt60_s": 0.3},
    "file": {"subtype": "FLOAT"},
}
Memories = Mapping[str, Memory]


@pytest.fixture
def memories(tiny_memory: Memory, notes_memory: Memory) -> Memories:
    for memory in (tiny_memory, notes_memory):
        memory.inverter = memory.make_inverter(quality="draft")
    return {"tiny": tiny_memory, "notes": notes_memory}


def score(**changes: Any) -> Score:
    return checked(Score, BASE | changes)


def piece(memories: Memories, **changes: Any) -> Piece:
    made = score(**changes)
    return Piece(made, memories[made.memory], memories)


def dry(made: Piece, block: int = 30_000) -> Sound:
    """The stems of the voices (N, 2 V), or of the only one."""
    heard = list(play(Instrument(made, stems=True), made.events(), made.score.samples, block))
    stems = np.concatenate([one.stems for one in heard if one.stems is not None])
    return stems[:, 4:] if stems.shape[1] > 4 else stems[:, :2]


def test_units_and_layers_of_all_parts_lie_one_after_the_other(memories: Memories) -> None:
    made = piece(memories)
    tiny, notes = memories["tiny"], memories["notes"]
    assert [(part.name, part.memory_name, part.voices) for part in made.parts] == [
        ("chords", "tiny", (0,)),
        ("melody", "notes", (1,)),
    ]
    assert made.units == tiny.units + notes.units
    assert [part.start for part in made.parts] == [0, tiny.units]
    assert list(made.layers)[4:6] == ["chords/deconv5", "melody/deconv1"]
    assert list(made.layers.values()) == [*tiny.layers.values(), *notes.layers.values()]
    assert [len(event.strengths) for event in made.events()][:2] == [tiny.units, notes.units]
    alone = piece(memories, voices=[CHORDS, {"chords": ["C"], "forgets": False}])
    assert [part.name for part in alone.parts] == [""]
    assert dict(alone.layers) == tiny.layers


def test_voices_are_together_by_memory_forgetting_and_cues(memories: Memories) -> None:
    voices = [
        {"name": "a"}, {"name": "b", "memory": "notes", "forgets": False}, {"memory": "notes", "name": "c"},
        {"name": "d", "forgetting": PLAN}, {"name": "e"}, {"name": "f", "memory": "notes", "forgets": False},
    ]  # fmt: skip
    made = piece(memories, voices=voices)
    assert [part.voices for part in made.parts] == [(0, 4), (1, 2, 5), (3,)]
    assert [part.name for part in made.parts] == ["tiny", "notes", "d"]
    assert made.part_of == (0, 1, 1, 2, 0, 1)
    cues = [{"do": "forget", "at": 1, "voices": "e"}, {"do": "recall", "at": 2, "over": 1}]
    apart = piece(memories, voices=voices, cues=cues)
    assert [part.voices for part in apart.parts] == [(0,), (1, 2, 5), (3,), (4,)]
    assert [sorted(group.cues) for group in apart.score.together] == [[1], [1], [1], [0, 1]]
    several = piece(memories, voices=[{"forgetting": PLAN}, {"forgetting": PLAN}, {"name": "tiny 2"}])
    assert [part.name for part in several.parts] == ["tiny", "tiny 2", "tiny 2 2"]


@pytest.mark.parametrize(
    "plan",
    [{}, {"replacement": "noise", "bends": [{"units": "deconv4", "gain": 2}]},
     {"replacement": "other", "other_seed": 5}, {"replacement": "frozen", "frozen_at": 2, "pace": "even"},
     {"adaptive": {"rate": 0.3}, "pace": "even"}],
    ids=["zero", "noise", "other", "frozen", "adaptive"],
)  # fmt: skip
def test_each_voice_is_what_it_would_be_alone(memories: Memories, plan: dict[str, Any]) -> None:
    cues = [{"do": "recall", "at": 4, "over": 1}]
    both = dry(piece(memories, forgetting=PLAN | plan, cues=cues))
    assert np.abs(both).max() > 0.01
    alone = {"tiny": CHORDS, "notes": {key: value for key, value in MELODY.items() if key != "memory"}}
    for number, (memory, voice) in enumerate(alone.items()):
        one = dry(piece(memories, memory=memory, voices=[voice], forgetting=PLAN | plan, cues=cues))
        assert np.array_equal(both[:, 2 * number : 2 * number + 2], one)
    own = {"forgetting": PLAN | plan}
    named = dry(piece(memories, voices=[CHORDS | own, MELODY | own], cues=cues))
    assert np.array_equal(named, both)


def test_intact_is_exact_and_so_is_what_was_recalled(memories: Memories) -> None:
    intact = dry(piece(memories, voices=[CHORDS | {"forgets": False}, MELODY | {"forgets": False}]))
    assert np.array_equal(dry(piece(memories, forgetting=PLAN | {"to": 0, "replacement": "noise"})), intact)
    recalled = dry(piece(memories, cues=[{"do": "recall", "at": 2, "over": 1}]))
    begin = 5 * 44_100
    assert not np.array_equal(recalled[:begin], intact[:begin])
    assert np.array_equal(recalled[begin:], intact[begin:])
    only = dry(piece(memories, cues=[{"do": "recall", "at": 2, "over": 1, "voices": ["melody"]}]))
    assert np.array_equal(only[begin:, 2:], intact[begin:, 2:])
    assert not np.array_equal(only[begin:, :2], intact[begin:, :2])
    assert np.array_equal(only[:, :2], dry(piece(memories))[:, :2])


def test_a_cue_may_reach_one_of_two_voices_of_a_memory(memories: Memories) -> None:
    voices = [CHORDS, CHORDS | {"name": "other"}]
    cues = [{"do": "jump", "at": 1, "to": 1, "voices": ["other"]}, {"do": "hold", "at": 0.5, "voices": ["chords"]}]
    made = piece(memories, voices=voices, cues=cues, forgetting=PLAN | {"to": 0.5, "until": 4})
    left = {0: [], 1: []}  # type: dict[int, list[float]]
    for event in made.events():
        left[event.voice].append(round(float(event.strengths.mean()), 3))
    assert left[1][1:] == [0.0] * len(left[1][1:])
    assert set(left[0]) == {1.0, left[0][-1]}
    assert left[0][-1] == pytest.approx(1 - 0.5 * 0.5 / 4, abs=0.01)


def test_the_sound_does_not_depend_on_the_block(memories: Memories) -> None:
    made = piece(memories)
    assert np.array_equal(dry(made), dry(made, 777))
    whole = [heard for heard, _ in play_on(Instrument(made), made.events(), made.score.samples, block_of(made))]
    assert all(len(heard.seen.strengths) == len(heard.seen.activations) == made.units for heard in whole)
    firing = np.array([heard.seen.activations for heard in whole])
    for part in made.parts:
        assert firing[:, part.within].max() > 0
    left = np.array([heard.seen.strengths for heard in whole])
    wanted = np.array([strengths for _, strengths in made.moves()])
    assert {tuple(row) for row in left} <= {tuple(np.ones(made.units))} | {tuple(row) for row in wanted}


@pytest.mark.parametrize("resolution", ["event", "block"])
def test_the_outline_has_the_strengths_of_all_parts(memories: Memories, resolution: str) -> None:
    changes = [{"at": 2.5, "path": "/part/2/forget", "value": 1}]
    changes = [{"at": 2.5, "path": "/part/2/forget", "value": 1}]
    made = piece(memories, resolution=resolution, changes=changes, forgetting=PLAN | {"to": 0.5})
    outline, events = list(made.outline()), list(made.events())
    assert [one[:3] for one in outline] == [(e.onset, e.voice, e.chord) for e in events]
    for one, event in zip(outline, events, strict=True):
        assert len(one.strengths) == made.units
        assert np.array_equal(one.strengths[made.part(event).within], event.strengths)
        late = event.onset > 4.6 * 44_100
        assert not late or not one.strengths[made.parts[1].within].any()
    last = list(made.moves())[-1][1]
    assert last[made.parts[0].within].any()
    assert not last[made.parts[1].within].any()


def test_faders_of_all_of_a_part_and_of_a_layer(memories: Memories) -> None:
    conductor = Conductor(piece(memories, forgetting=PLAN | {"to": 0}))
    first, second = (part.within for part in piece(memories).parts)
    orders = [part.orders.base() for part in piece(memories).parts]
    units = [memories["tiny"].units, memories["notes"].units]
    conductor.change("/forget", 0.5)
    assert np.array_equal(conductor.strengths[first], forget(orders[0], 0.5, units[0]))
    assert np.array_equal(conductor.strengths[second], forget(orders[1], 0.5, units[1]))
    assert conductor.back("/part/2/forget") == [("/part/2/forget", 0.0)]
    conductor.change("/part/2/forget", 0.75)
    assert np.array_equal(conductor.strengths[first], forget(orders[0], 0.5, units[0]))
    assert conductor.strengths[second].mean() == pytest.approx(0.25, abs=0.01)
    assert conductor.values["/part/1/forget"] == 0.0
    assert conductor.values["/part/2/forget"] == 0.75
    conductor.change("/layer/6/forget", 1.0)  # the melody's first
    conductor.change("/layer/6/order", "layerwise")
    conductor.change("/layer/1/lock", 1)
    assert not conductor.strengths[units[0] : units[0] + 48].any()
    assert conductor.strengths[:32].all()
    back = conductor.back("/part/2/recall")
    assert back == [("/part/2/forget", 0.75), ("/layer/6/forget", 1.0)]
    conductor.change("/part/2/recall")
    assert np.array_equal(conductor.strengths[second], forget(orders[1], 0.5, units[1]))
    for path, message in {
        "/part/3/forget": "there are parts 1 to 2", "/layer/11/forget": "layers 1 to 10",
        "/unit/6/49/strength": "melody/deconv1 has units 1 to 48",
    }.items():  # fmt: skip
        with pytest.raises(InputError, match=message):
            conductor.change(path, 0.5)
    conductor.change("/recall")
    assert conductor.strengths.all()
    alone = Conductor(piece(memories, voices=[CHORDS]))
    assert "/part/1/forget" not in alone.values
    with pytest.raises(InputError, match=r"/part/1/forget: .*: /forget moves it"):
        alone.change("/part/1/forget", 0.5)


def test_a_take_renders_to_the_samples_that_were_heard(memories: Memories) -> None:
    hands: Hands = wild(1, 200)
    for number in range(0, 200, 7):
        hands[number] = [("/part/2/forget", number / 200), ("/layer/8/forget", 0.3)]
    hands |= {50: [("/part/1/recall",)], 90: [("/chord", "B3"), ("/play", 1)], 120: [("/chord", "Am")]}
    performance = Performance(score(), memories["tiny"], memories)
    heard = heard_of(played_on(performance, 200, hands))
    assert np.abs(heard).max() > 0.01
    take = parse_score(dump_score(performance.take()))
    assert take.made_for is not None
    assert set(take.made_for.others) == {"notes"}
    again = rendered(Piece(take, memories["tiny"], memories))
    assert np.array_equal(again, heard)


def test_memories_sound_together_live_as_they_do_alone(memories: Memories) -> None:
    still = {"forgetting": PLAN | {"to": 0}, "reverb": {"rt60_s": 0.1}}
    quiet = {"level_db": -30}
    tiny = memories["tiny"]
    melody = MELODY | quiet
    both = Performance(score(voices=[CHORDS | quiet, melody], **still), tiny, memories)
    one = Performance(score(voices=[CHORDS | quiet], **still), tiny)
    # The block is as long as that of the score's own memory.
    other = Performance(score(voices=[melody, {"chords": ["C"], "level_db": -60, "start": 6}], **still), tiny, memories)
    sounds = [heard_of(played_on(performance, 150)) for performance in (both, one, other)]
    assert np.abs(sounds[2]).max() > 1e-3
    assert np.abs(sounds[0] - sounds[1] - sounds[2]).max() < 1e-5


def test_a_change_of_one_part_makes_nothing_of_the_other_anew(memories: Memories) -> None:
    performance = Performance(score(forgetting=PLAN | {"to": 0}), memories["tiny"], memories)
    played_on(performance, 30)
    voices = performance._player.voices.all
    before = [voice._made for voice in voices]
    played_on(performance, 6, {0: [("/part/1/forget", 0.5)]})
    anew = [voice._made is not made for voice, made in zip(voices, before, strict=True)]
    assert [voice.event.voice for voice, new in zip(voices, anew, strict=True) if new] == [0]


def test_another_memory_does_not_take_the_place_of_several(memories: Memories) -> None:
    performance = Performance(score(), memories["tiny"], memories)
    with pytest.raises(InputError, match="voices of this piece have memories of their own"):
        performance.prepare(memories["notes"])
    apart = Performance(score(voices=[CHORDS | {"forgetting": PLAN}, CHORDS | {"name": "x"}]), memories["tiny"])
    apart.change("/part/2/forget", 0.5)
    swapped = apart.prepare(memories["tiny"], "tiny")
    apart.swap(swapped)
    assert apart.values["/part/2/forget"] == 0.5


def test_a_part_in_which_nothing_forgets_is_left_alone(memories: Memories) -> None:
    witness = MELODY | {"forgets": False}
    made = piece(memories, voices=[CHORDS, witness], forgetting={"order": "random", "pace": "linear", "to": 1})
    last = list(made.moves())[-1][1]
    assert last[made.parts[1].within].all()
    assert not last[made.parts[0].within].any()
    conductor = Conductor(made)
    conductor.change("/forget", 1.0)
    assert conductor.strengths[made.parts[1].within].all()


def test_after_a_break_a_render_goes_on_to_the_same_bytes(tmp_path: Path, memories: Memories) -> None:
    made = piece(memories)
    render(made, tmp_path / "whole.wav", stems=True, block_s=0.5)
    with pytest.raises(KeyboardInterrupt):
        render(
            made, tmp_path / "a.wav", stems=True, block_s=0.5, checkpoint_s=0.0, track=Break("playing", 7, interrupt)
        )
    render(made, tmp_path / "a.wav", stems=True, block_s=0.5, resume=True)
    for name in ("", "-dry", "-chords", "-melody"):
        assert (tmp_path / f"a{name}.wav").read_bytes() == (tmp_path / f"whole{name}.wav").read_bytes()


@pytest.fixture
def saved(tmp_path: Path, memories: Memories, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with both memories and a score that names them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    for name, memory in memories.items():
        save_memory(tmp_path / "runs" / f"{name}.safetensors", memory.generator, memory.header)
    named = {"memory": "runs/tiny.safetensors", "voices": [CHORDS, MELODY | {"memory": "runs/notes.safetensors"}]}
    (tmp_path / "piece.toml").write_text(dump_score(score(**named, duration_s=4.0)))
    return tmp_path


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, list(words))
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def test_such_a_piece_is_rendered_reopened_and_made_again(saved: Path) -> None:
    code, text = run("score", "check", "piece.toml")
    assert text == "piece.toml: untitled, 0:04, 2 voices, 0 cues, for tiny, notes: it can be played\n"
    assert run("render", "piece.toml", "-o", "out.wav")[0] == 0
    record = json.loads((saved / "out.json").read_text())
    notes = Memory.load("runs/notes.safetensors")
    assert record["memory_others"]["runs/notes.safetensors"]["sha256"] == notes.fingerprint
    again = reopened(saved / "out.wav")
    assert again.made_for is not None
    assert again.made_for.others[str(again.voices[1].memory)].chords == ("E3", "G3", "B3")
    code, text = run("reopen", "out.wav", "-o", "sub.toml")
    assert code == 0, text
    assert "[made_for.others." in (saved / "sub.toml").read_text()
    assert run("render", "sub.toml", "-o", "again.wav")[0] == 0
    one, other = (soundfile.read(saved / name, dtype="float32")[0] for name in ("out.wav", "again.wav"))
    assert np.array_equal(one, other)


def test_memories_that_moved_are_found_by_their_hash(saved: Path) -> None:
    assert run("render", "piece.toml", "-o", "out.wav")[0] == 0
    (saved / "elsewhere").mkdir()
    (saved / "runs" / "notes.safetensors").rename(saved / "n.safetensors")
    found = traced(reopened(saved / "out.wav"), saved, "out.wav")
    assert Path(str(found.voices[1].memory)).name == "n.safetensors"
    assert found.made_for is not None
    assert list(found.made_for.others) == [found.voices[1].memory]
    (saved / "n.safetensors").unlink()
    code, text = run("film", "out.wav")
    assert code == 2
    assert "out.wav: the memory of voice 'melody', 'runs/notes.safetensors' (SHA-256 " in text
    assert text.count("\n") == 1
    code, text = run("score", "check", "piece.toml")
    assert code == 2
    line = (saved / "piece.toml").read_text().split("\n").index('memory = "runs/notes.safetensors"') + 1
    assert f"piece.toml:{line}: voices[2].memory: the memory of voice 'melody': " in text
    assert "runs/notes.safetensors: no such checkpoint" in text


def test_a_score_made_for_other_memories_says_which(saved: Path, memories: Memories) -> None:
    made = Piece(*loaded(saved))
    bound = made.score.model_copy(update={"made_for": made.made_for})
    Piece(bound, made.memory)
    with pytest.raises(InputError, match=r"made_for\.others\.runs/notes\.safetensors: memory 'tiny' is not the one"):
        Piece(bound, made.memory, {"runs/notes.safetensors": memories["tiny"]})


def loaded(folder: Path) -> tuple[Score, Memory]:
    made = parse_score((folder / "piece.toml").read_text())
    return made, Memory.load(made.memory)


def test_a_page_carries_one_memory(saved: Path, memories: Memories) -> None:
    code, text = run("share", "piece.toml", "-o", "piece.html")
    assert code == 2
    assert "a page carries one memory that forgets as one; this piece has 'chords', 'melody'" in text
    assert not (saved / "piece.html").exists()
    with pytest.raises(InputError, match="no voice plays it"):
        page(piece(memories, voices=[MELODY]))


def test_units_of_another_memory_stand_in_for_forgotten_ones(memories: Memories) -> None:
    tiny, notes = memories["tiny"], memories["notes"]
    plan = {"replacement": {"deconv5": "other"}, "other_memory": "notes", "other_seed": 5, "other_chord": "G3"}
    made = piece(memories, voices=[CHORDS], forgetting=PLAN | plan, cues=[{"do": "jump", "to": 1}])
    assert list(made.memories) == ["tiny", "notes"]
    event = list(made.events())[1]
    assert not event.strengths.any()
    lent = notes.maps(notes.latents(1, 5), "G3")["deconv5"][0]  # of 3 units for 2
    assert np.abs(lent[0] - lent[1]).max() > 0
    wanted = tiny.generator.after("deconv5", lent[[0, 1]].transpose(1, 2, 0), tiny.label_index("C"))
    mel = tiny.generate(event.latent[None], event.label, event.strengths, event.frames, event.bend)[0]
    whole = tiny.generate(event.latent[None], event.label, event.strengths, None, event.bend)[0]
    assert np.array_equal(whole, wanted)
    assert mel.shape[1] == event.frames
    first = piece(memories, voices=[CHORDS], forgetting=PLAN | plan | {"other_chord": None})
    assert first.parts[0].bend is not None
    assert first.parts[0].bend.moments["other"].label.tolist() == [0]  # notes know no Am: their first
    assert first.made_for.others["notes"].chords == notes.labels
    with pytest.raises(InputError, match="other_memory would be another"):
        page(made)


def test_another_memory_must_be_as_long(memories: Memories, tiny_header: MemoryHeader) -> None:
    half = tiny_header.model_copy(update={"name": "half", "mel": MelSpec(frames=64)})
    short = Memory(untrained(tiny_header.model, 64), half)
    plan = PLAN | {"replacement": "other", "other_memory": "half"}
    with pytest.raises(InputError, match=r"forgetting: memory 'half' has 64 frames: only one with 128, like 'tiny'"):
        piece({**memories, "half": short}, voices=[CHORDS], forgetting=plan)
    with pytest.raises(InputError, match=r"forgetting\.other_memory: the memory that stands in .*: unknown memory 'x'"):
        piece(memories, voices=[CHORDS], forgetting=plan | {"other_memory": "x"})
    with pytest.raises(InputError, match=r'forgetting\.other_memory: it stands in only with replacement = "other"'):
        score(forgetting={"other_memory": "notes"})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cues": [{"do": "forget", "voices": ["melodie"]}]},
         r"cues\[1\]\.voices\[1\]: unknown voice 'melodie'; did you mean 'melody'\? \(known: chords, melody\)"),
        ({"cues": [{"do": "forget", "voices": "a"}], "voices": [{}]}, r"voices\[1\]: no voice has a name"),
        ({"voices": [CHORDS, MELODY | {"forgets": False}], "cues": [{"do": "forget", "voices": "melody"}]},
         r"cues\[1\]\.voices: no voice that it reaches forgets"),
        ({"voices": [CHORDS | {"forgets": False, "forgetting": {}}]}, r"voices\[1\]\.forgetting: .*forgets = false"),
        ({"voices": [CHORDS | {"forgetting": {"start": 9}}]}, r"voices\[1\]\.forgetting\.start: .*past the end"),
        ({"voices": [CHORDS | {"forgetting": {"order": "list"}}]}, r"voices\[1\]\.forgetting: order = \"list\""),
        ({"cues": [{"do": "forget", "at": 1, "over": 3, "voices": "melody"}, {"do": "recall", "at": 2}]},
         r"cues\[2\]: recall at 0:02 begins before forget at 0:01 to 0:04 has ended"),
        ({"voices": [CHORDS | {"forgetting": {"adaptive": {}}}, MELODY],
          "cues": [{"do": "recall", "pace": "even", "voices": "chords"}]}, r"cues\[1\]\.pace: even cannot be measured"),
    ],
)  # fmt: skip
def test_scores_that_cannot_be(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        score(**changes)


def test_such_a_score_is_written_and_read() -> None:
    own = {"adaptive": {"rate": 0.1}, "bends": [{"units": "deconv2", "gain": 2}], "replacement": "other"}
    voices = [CHORDS | {"forgetting": own | {"other_memory": "x"}}, MELODY | {"forgetting": {}}, {"name": "third"}]
    made_for = {"sha256": "1", "others": {"runs/a b.safetensors": {"sha256": "2", "layers": {"deconv1": 8}}}}
    made = score(voices=voices, made_for=made_for, cues=[{"do": "forget", "voices": ["melody", "third"]}])
    assert parse_score(dump_score(made)) == made
    assert parse_score(editable(made)) == made
    renamed = made.with_memories(lambda name: f"../{name}")
    assert [name for name, _, _ in renamed.memories()] == ["../tiny", "../notes", "../x"]
    assert renamed.made_for is not None
    assert list(renamed.made_for.others) == ["../runs/a b.safetensors"]


def test_cues_that_reach_different_voices_may_overlap() -> None:
    cues = [{"do": "forget", "at": 1, "over": 3, "voices": "melody"}, {"do": "recall", "at": 2, "voices": "chords"}]
    assert len(score(cues=cues).together) == 2
    adaptive = {"voices": [CHORDS | {"forgetting": {"adaptive": {}}}, MELODY]}
    assert score(**adaptive, cues=[{"do": "recall", "pace": "even", "voices": "melody"}]).cues


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"voices": [CHORDS, MELODY | {"chords": ["Am"]}]}, r"voices\[2\]\.chords\[1\]: unknown chord 'Am'"),
        ({"forgetting": PLAN | {"scope": ["deconv1:40"]}},
         r"forgetting: deconv1:40: deconv1 has units 1 to 32 \(memory 'tiny'\)"),
        ({"voices": [CHORDS, MELODY | {"forgetting": PLAN | {"locks": ["deconv1:49"]}}]},
         r"voices\[2\]\.forgetting: deconv1:49: deconv1 has units 1 to 48 \(memory 'notes'\)"),
        ({"forgetting": PLAN | {"replacement": "other", "other_chord": "Am"}},
         r"forgetting\.other_chord: unknown chord 'Am'.* \(memory 'notes'\)"),
        ({"resolution": "block", "changes": [{"at": 1, "path": "/chord", "value": "Zm"}]},
         r"changes\[1\]\.value: unknown chord"),
        ({"changes": [{"at": 1, "path": "/part/3/forget", "value": 1}]}, "there are parts 1 to 2"),
        ({"voices": [CHORDS, MELODY | {"memory": "nots"}]},
         r"voices\[2\]\.memory: the memory of voice 'melody': unknown memory 'nots'"),
    ],
)  # fmt: skip
def test_what_a_memory_does_not_have_is_named(memories: Memories, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        piece(memories, **changes)
