"""A recording as a voice: as it is, through the memory's mel, and forgotten with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from fugue_state.audio.io import resample
from fugue_state.audio.mel import MelTransform
from fugue_state.cli import main
from fugue_state.engine.performance import Performance
from fugue_state.engine.whole import Instrument, play, play_on
from fugue_state.errors import InputError
from fugue_state.memory.checkpoint import file_hash
from fugue_state.memory.memory import Memory
from fugue_state.output.markers import markers
from fugue_state.output.provenance import reopened
from fugue_state.output.render import render
from fugue_state.piece.piece import Piece
from fugue_state.piece.recorded import RecordedLine, Segment
from fugue_state.score.model import Score
from fugue_state.score.places import settled, travelling
from fugue_state.settings import checked
from fugue_state.share.page import page

from .conftest import Sound

RATE = 44_100
SECONDS = 7.3


@pytest.fixture
def spoken(tmp_path: Path) -> Path:
    """A gliding, trembling tone with pauses, longer than a sound of the memory."""
    time = np.arange(round(SECONDS * RATE)) / RATE
    phase = 2 * np.pi * np.cumsum(180.0 + 60.0 * np.sin(2 * np.pi * 0.5 * time)) / RATE
    sound = sum(np.sin(k * phase) / k for k in range(1, 12)) * np.clip(np.sin(2 * np.pi * 0.7 * time), 0.0, 1.0)
    path = tmp_path / "spoken.wav"
    soundfile.write(path, (0.2 * sound).astype(np.float32), RATE, subtype="FLOAT")
    return path


def scored(path: Path, forgetting: dict[str, Any] | None = None, **voice: Any) -> Score:
    return checked(
        Score,
        {
            "memory": "tiny",
            "duration_s": 9.0,
            "quality": "draft",
            "voices": [{"name": "field", "recording": str(path), "rounds": 1} | voice],
            "forgetting": {"order": "random", "pace": "linear"} | (forgetting or {}),
            "loudness": {"hold": False},
            "reverb": {"wet_db": -60.0},
            "file": {"subtype": "FLOAT"},
        },
    )


def forgotten(share: float) -> dict[str, Any]:
    """So much is forgotten from the beginning to the end."""
    return {"to": share, "until": 0.001}


def voices(score: Score, memory: Memory) -> Sound:
    """The sum of all segments, without room, tone or panning."""
    piece, rate = Piece(score, memory), score.file.sample_rate_hz
    instrument, total = Instrument(piece), np.zeros(round(12.0 * rate), dtype=np.float32)
    for event in piece.events():
        sound = instrument.voice(event).sound(0, 10 * rate)
        total[event.onset : event.onset + len(sound)] += sound
    return total


def test_a_witness_is_the_recording_itself(spoken: Path, tiny_memory: Memory) -> None:
    made = voices(scored(spoken, forgets=False), tiny_memory)
    wanted, _ = soundfile.read(spoken, dtype="float32")
    edge = round(0.01 * RATE)
    np.testing.assert_allclose(made[edge : len(wanted) - edge], wanted[edge:-edge], atol=1e-6)
    assert not made[len(wanted) :].any()


def test_an_intact_memory_plays_the_mel_of_the_recording(spoken: Path, tiny_memory: Memory) -> None:
    made, (wanted, _) = voices(scored(spoken, {"to": 0.0}), tiny_memory), soundfile.read(spoken, dtype="float32")
    spec = tiny_memory.spec
    ours, theirs = (
        MelTransform(spec).encode(resample(one[: len(wanted)], RATE, spec.sample_rate_hz)[None])[0]
        for one in (made, wanted)
    )
    assert float(np.abs(ours - theirs).mean()) * spec.range_db / 2 < 1.5
    assert np.corrcoef(made[: len(wanted)], wanted)[0, 1] > 0.9  # its own phases, so that segments fit each other


def test_it_is_forgotten_with_the_memory(spoken: Path, tiny_memory: Memory) -> None:
    wanted, _ = soundfile.read(spoken, dtype="float32")
    alike = []
    for share in (0.0, 0.3, 0.6, 1.0):
        made = voices(scored(spoken, forgotten(share)), tiny_memory)[: len(wanted)]
        later = slice(3 * RATE, None)  # the first segment begins with nothing forgotten
        alike.append(float(np.corrcoef(made[later], wanted[later])[0, 1]))
        assert np.isfinite(made).all()
    assert alike == sorted(alike, reverse=True)
    assert alike[-1] < 0.1


def test_what_is_left_is_between_the_recording_and_what_the_memory_has_come_to() -> None:
    random = np.random.default_rng(0)
    mel, intact, now = random.uniform(-0.4, 0.4, (3, 8, 4)).astype(np.float32)
    nothing = np.zeros(0, dtype=np.float32)
    segment = Segment(nothing, nothing, -20.0, nothing, 1.0, mel, intact, 0.0)
    np.testing.assert_array_equal(segment.forgotten(intact, 1.0), mel)
    np.testing.assert_array_equal(segment.forgotten(now, 0.0), now)
    np.testing.assert_allclose(segment.forgotten(now, 0.5), 0.5 * mel + now - 0.5 * intact, atol=1e-6)
    assert segment.forgotten(now + 2.0, 1.0).max() == 1.0


def test_segments_have_the_latent_that_sounds_most_like_them(spoken: Path, tiny_memory: Memory) -> None:
    line, each = Piece(scored(spoken), tiny_memory).lines[0], -(-64 // len(tiny_memory.labels))
    assert isinstance(line, RecordedLine)
    for place, turn in enumerate(line.turns):
        apart = {}
        for number, label in enumerate(tiny_memory.labels):
            z = tiny_memory.latents(each, number)
            far = np.abs(tiny_memory.generate(z, label) - line.segment(place).mel) ** 2
            apart[label] = far.mean(axis=(1, 2))
        nearest = min(apart, key=lambda label: apart[label].min())
        assert turn.label == nearest
        chosen = tiny_memory.latents(each, tiny_memory.labels.index(nearest))[apart[nearest].argmin()]
        np.testing.assert_array_equal(turn.latents[0], chosen)


def test_a_loop_begins_again_where_the_recording_ends(spoken: Path, tiny_memory: Memory) -> None:
    piece = Piece(scored(spoken, rounds=None), tiny_memory)
    line = piece.lines[0]
    times = [onset.time_s for onset in line.onsets(20.0) if onset.turn == 0]
    assert times == pytest.approx([0.0, SECONDS, 2 * SECONDS], abs=1e-4)
    assert [onset.turn for onset in line.onsets(SECONDS)][: len(line.turns)] == list(range(len(line.turns)))


def test_a_witness_is_the_recording_wherever_it_begins(spoken: Path, tiny_memory: Memory) -> None:
    made = voices(scored(spoken, forgets=False, start=0.123456), tiny_memory)
    wanted, first, edge = soundfile.read(spoken, dtype="float32")[0], round(0.123456 * RATE), round(0.01 * RATE)
    np.testing.assert_allclose(made[first + edge : first + len(wanted) - edge], wanted[edge:-edge], atol=1e-6)


def test_a_recording_shorter_than_a_sound_of_the_memory_repeats(tmp_path: Path, tiny_memory: Memory) -> None:
    path, length = tmp_path / "word.wav", round(0.5 * RATE)
    soundfile.write(path, 0.3 * np.sin(np.arange(length) * 0.05), RATE, subtype="FLOAT")
    made = voices(scored(path, forgets=False, rounds=3), tiny_memory)
    np.testing.assert_array_equal(made[:length], made[2 * length : 3 * length])
    assert not made[3 * length :].any()
    half = voices(scored(path, forgotten(0.5), rounds=3), tiny_memory)
    assert np.abs(half[:length]).max() > 0.05
    assert not half[3 * length :].any()


def test_it_holds_its_loudness_as_a_whole(spoken: Path, tiny_memory: Memory) -> None:
    """The pauses stay pauses, whatever the memory puts there."""
    score = scored(spoken, forgotten(0.5)).model_copy(update={"loudness": Score().loudness})
    half, whole = voices(score, tiny_memory), voices(scored(spoken, forgets=False), tiny_memory)
    level = [10 * np.log10(np.mean(part[:RATE] ** 2) / np.mean(part[: 7 * RATE] ** 2)) for part in (half, whole)]
    assert level[0] == pytest.approx(level[1], abs=4.0)


def test_no_click_where_segments_meet(spoken: Path, tiny_memory: Memory) -> None:
    score = scored(spoken, forgotten(0.5))
    steps, near = np.abs(np.diff(voices(score, tiny_memory))), np.zeros(round(12.0 * RATE) - 1, dtype=bool)
    for event in Piece(score, tiny_memory).events():
        for place in (event.onset, event.onset + round(3 * 2.97 / 2 * RATE), event.onset + round(2.97 * RATE)):
            near[max(0, place - 200) : place + 200] = True
    assert steps[near].max() <= steps[~near].max()


def test_a_part_and_a_piece_gone_on_with_sound_as_the_whole(spoken: Path, tiny_memory: Memory) -> None:
    piece = Piece(scored(spoken), tiny_memory)
    whole = list(play_on(Instrument(piece), piece.events(), piece.score.samples, 5000))
    middle = whole[30][1]
    rest = [heard.samples for heard, _ in play_on(Instrument(piece), piece.events(), piece.score.samples, 5000, middle)]
    np.testing.assert_array_equal(np.concatenate(rest), np.concatenate([heard.samples for heard, _ in whole[31:]]))
    other = [heard.samples for heard in play(Instrument(piece), piece.events(), piece.score.samples, 1234)]
    np.testing.assert_allclose(np.concatenate(other), np.concatenate([heard.samples for heard, _ in whole]), atol=1e-6)


def test_a_file_knows_its_recording_and_notices_another(spoken: Path, tiny_path: Path, tmp_path: Path) -> None:
    score = scored(spoken).model_copy(update={"memory": str(tiny_path)})
    memory = Memory.load(tiny_path)
    out = tmp_path / "far" / "piece.wav"
    out.parent.mkdir()
    render(Piece(score, memory), out)
    again = reopened(out)
    assert again.made_for is not None
    assert list(again.made_for.recordings.values()) == [file_hash(spoken)]
    assert Path(str(again.voices[0].recording)).resolve() == spoken
    Piece(again, memory)
    sound, rate = soundfile.read(spoken, dtype="float32")
    soundfile.write(spoken, 0.5 * sound, rate, subtype="FLOAT")
    with pytest.raises(InputError, match="is not the recording it was made with"):
        Piece(again, memory)
    Piece(again.model_copy(update={"made_for": None}), memory)


def test_a_part_has_the_samples_of_the_whole(spoken: Path, tiny_path: Path, tmp_path: Path) -> None:
    score = scored(spoken).model_copy(update={"memory": str(tiny_path)})
    memory = Memory.load(tiny_path)
    render(Piece(score, memory), tmp_path / "whole.wav")
    render(Piece(score, memory), tmp_path / "part.wav", start=2.5, until=6.0)
    whole, part = (soundfile.read(tmp_path / name, dtype="float32")[0] for name in ("whole.wav", "part.wav"))
    assert np.abs(part).max() > 0.01
    np.testing.assert_array_equal(part, whole[round(2.5 * RATE) : 6 * RATE])


def test_pictures_and_markers_name_it(spoken: Path, tiny_memory: Memory) -> None:
    piece = Piece(scored(spoken), tiny_memory)
    assert {one.chord for one in piece.outline()} == {"spoken"}
    assert [one.label for one in markers(piece)] == ["spoken"]


def test_paths_are_those_beside_the_score(spoken: Path, tmp_path: Path) -> None:
    score = scored(Path("spoken.wav"))
    from_here = settled(score, tmp_path, ())
    assert Path(str(from_here.voices[0].recording)) == spoken
    back = travelling(from_here, tmp_path / "sub", ())
    assert str(back.voices[0].recording) in {"../spoken.wav", str(spoken)}


@pytest.mark.parametrize(
    ("voice", "told"),
    [
        ({"chords": ["Am"]}, "a recording plays no chords, so it has no chords"),
        ({"gate": 0.5}, "no gate"),
        ({"like": {"bright": 0.5}}, "no like"),
        ({"event_s": 2.0}, "no event_s"),
    ],
)
def test_what_belongs_to_chords_is_refused(spoken: Path, voice: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        scored(spoken, **voice)


def test_files_that_cannot_be_played_are_refused(tmp_path: Path, tiny_memory: Memory) -> None:
    short, silent, text = (tmp_path / name for name in ("short.wav", "silent.wav", "text.wav"))
    soundfile.write(short, 0.1 * np.sin(np.arange(1000)), RATE)
    soundfile.write(silent, np.zeros(4 * RATE), RATE)
    text.write_text("a poem")
    told = {short: "too short for a voice", silent: "silent", text: "text.wav", tmp_path / "gone.wav": "gone.wav"}
    for path, words in told.items():
        with pytest.raises(InputError, match=words):
            Piece(scored(path), tiny_memory)


def test_it_is_neither_live_nor_shared(spoken: Path, tiny_memory: Memory) -> None:
    with pytest.raises(InputError, match="a recording is not played live"):
        Performance(scored(spoken), tiny_memory)
    with pytest.raises(InputError, match="a recording is not played live"):
        checked(Score, scored(spoken).model_dump() | {"resolution": "block"})
    with pytest.raises(InputError, match="a page plays no recordings"):
        page(Piece(scored(spoken), tiny_memory))


def test_play_refuses_a_score_with_it_before_anything_starts(spoken: Path, tmp_path: Path) -> None:
    score = tmp_path / "score.toml"
    score.write_text(f'[[voices]]\nrecording = "{spoken.name}"\n')
    done = CliRunner().invoke(main, ["play", str(score)])
    assert done.exit_code == 2
    assert done.output.strip() == (
        f"fugue: {score}:2: voices[1].recording: a recording is not played live, "
        'nor with resolution = "block"; fugue render plays it'
    )


def test_render_never_overwrites_what_it_reads(spoken: Path, tiny_path: Path, tmp_path: Path) -> None:
    score = tmp_path / "score.toml"
    score.write_text(f'memory = "{tiny_path}"\nduration_s = 8\n[[voices]]\nrecording = "spoken.wav"\n')
    before = spoken.read_bytes()
    done = CliRunner().invoke(main, ["render", str(score), "-o", str(spoken), "--force"])
    assert done.exit_code == 2
    assert "Traceback" not in done.output
    assert spoken.read_bytes() == before


def test_an_inverter_without_phases_is_refused_before_anything_is_made(spoken: Path) -> None:
    with pytest.raises(InputError, match="inverter: original cannot take the phases of a recording"):
        checked(Score, scored(spoken).model_dump() | {"inverter": "original"})
    checked(Score, scored(spoken, forgets=False).model_dump() | {"inverter": "original"})
