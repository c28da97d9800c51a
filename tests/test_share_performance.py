"""A shared page's engine plays the samples that Python plays."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from fugue_state.arrays import Array
from fugue_state.engine.performance import Performance
from fugue_state.memory.catalogue import find_memory
from fugue_state.memory.memory import Memory
from fugue_state.piece.piece import Piece
from fugue_state.score.model import Score
from fugue_state.share.parcel import Parcel, parcel

from .share_stage import NODE

pytestmark = pytest.mark.skipif(NODE is None, reason="no Node")
Moves = dict[int, list[tuple[str, float | int | str]]]
SCRIPT = Path(__file__).parent / "share" / "performance.mjs"


def sent(score: Score, memory: Memory, path: Path, folder: Path) -> Parcel:
    """Write what travels of a piece into a folder."""
    made = parcel(Piece(score, memory))
    (folder / "piece.json").write_text(made.text, "utf-8")
    save_file(made.arrays, folder / "arrays.safetensors")
    shutil.copy(path, folder / "memory.safetensors")
    return made


def heard_in_page(folder: Path, blocks: int, moves: Moves) -> tuple[Array, list[dict[str, Any]]]:
    """Return samples (N, 2) that the page's engine plays, and what it tells of each block."""
    (folder / "moves.json").write_text(json.dumps(moves), "utf-8")
    done = subprocess.run([str(NODE), SCRIPT, folder, str(blocks)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return np.fromfile(folder / "samples.f32", dtype=np.float32).reshape(-1, 2), json.loads(done.stdout)["told"]


def compare(
    score: Score, memory: Memory, path: Path, folder: Path, blocks: int, moves: Moves | None = None
) -> tuple[Array, Array]:
    """See that both play the same; return the sound of each (N, 2).

    Where a memory has learned nothing, bins are about equally loud: which of them hands on its phase first hangs on
    the last bit, so the samples are others, as loud.
    """
    moves = moves or {}
    performance = Performance(sent(score, memory, path, folder).score, memory)
    heard, told = heard_in_page(folder, blocks, moves)
    expected = []
    for number, one in zip(range(blocks), told, strict=True):
        for change in moves.get(number, []):
            performance.change(*change)
        block = performance.next()
        expected.append(block.samples)
        assert (one["position"], one["chord"], one["overloaded"]) == (
            block.position,
            block.seen.chord,
            block.overloaded,
        )
        assert one["strengths"] == pytest.approx(float(block.seen.strengths.sum(dtype=np.float64)), abs=1e-3)
        assert one["fires"] == pytest.approx(float(block.seen.activations.sum(dtype=np.float64)), rel=1e-3, abs=1e-3)
        assert one["mel"] == pytest.approx(float(block.mel.sum(dtype=np.float64)), abs=1e-2)
    sound = np.concatenate(expected)
    assert np.abs(sound).max() > 0.01
    assert _level_db(heard) == pytest.approx(_level_db(sound), abs=0.2)
    return sound, heard


def _level_db(sound: Array) -> float:
    return 10.0 * float(np.log10(np.mean(np.square(sound, dtype=np.float64))))


HANDS: Moves = {
    20: [("/layer/2/forget", 0.5)],
    26: [("/unit/1/3/strength", 0.0), ("/forget", 0.3)],
    40: [("/freeze", 1)],
    60: [("/freeze", 0), ("/recall", 0)],
    70: [("/chord", "Am"), ("/volume", 0.5)],
    90: [("/quality", "draft"), ("/seed", 7)],
    120: [("/hush", 0)],
    150: [("/play", 1)],
}


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"forgetting": {"pace": "even", "fade_s": 0.5}, "tone": {"tilt_db": -3.0}},
        {"forgetting": {"replacement": "noise"}, "loudness": {"hold": False}},
        {"forgetting": {"replacement": "mean"}, "file": {"sample_rate_hz": 48_000}},
        {
            "forgetting": {"replacement": "other"},
            "voices": [{"latents": "fresh"}, {"pan": 0.5, "beats": 1.5, "forgets": False}],
        },
        {"fade_in_s": 2.0, "fade_out_s": 1.0, "duration_s": 4.0, "voices": [{"event_s": 1.4}]},
        {"freeze_at": 2.0, "fade_out_s": 1.0, "duration_s": 4.0, "resolution": "block", "voices": [{"event_s": 1.4}]},
    ],
)
def test_a_piece_sounds_as_in_python(values: dict[str, Any], tiny_path: Path, tmp_path: Path) -> None:
    memory = Memory.load(tiny_path)
    score = Score.model_validate({"duration_s": 8.0, "reverb": {"rt60_s": 0.4}, **values})
    compare(score, memory, tiny_path, tmp_path, 200)


MOVING = {
    "level_db": [[0, -20], ["20 %", 0], ["60 %", -30]],
    "pan": [[0, -2], ["bar 1.5", 1.5], [6, 0]],
    "wet_db": [[1, -60], [3, 6]],
}


def test_what_moves_sounds_as_in_python(tmp_path: Path) -> None:
    memory = Memory.load("guitar")
    voices = [{"curves": MOVING}, {"beats": 1.5, "curves": {"pan": [[0, 0.5]]}}, {"beats": 2.5}]
    moves: Moves = {30: [("/freeze", 1)], 60: [("/freeze", 0)]}
    moving = Score.model_validate({"duration_s": 10.0, "tone": {"tilt_db": 2}, "voices": voices, "fade_in_s": 0.5})
    sound, heard = compare(moving, memory, find_memory("guitar"), tmp_path, 130, moves)
    assert np.std(heard - sound) < 1e-3 * np.std(sound)


def test_a_piece_that_has_faded_out_is_played_on_as_in_python(tiny_path: Path, tmp_path: Path) -> None:
    ends = {"duration_s": 3.0, "fade_out_s": 0.7, "freeze_at": 1.2, "resolution": "block", "reverb": {"rt60_s": 0.4}}
    ended = Score.model_validate(ends | {"voices": [{"event_s": 1.4}]})
    _, sound = compare(ended, Memory.load(tiny_path), tiny_path, tmp_path, 240, {160: [("/play", 1)]})
    loud = np.abs(sound).reshape(240, -1).max(axis=1)
    assert (loud[131:160] == 0.0).all()
    assert loud[220:].max() > 1e-3


def test_what_hands_do_sounds_as_in_python(tiny_path: Path, tmp_path: Path) -> None:
    memory = Memory.load(tiny_path)
    _, sound = compare(Score(duration_s=8.0), memory, tiny_path, tmp_path, 220, HANDS)
    silent = np.abs(sound).reshape(220, -1).max(axis=1) == 0.0
    assert silent[145:150].all()
    assert not silent[200:].any()


def test_the_shipped_memory_sounds_as_in_python(tmp_path: Path) -> None:
    memory = Memory.load("guitar")
    moves: Moves = {number: [("/forget", number / 80.0)] for number in range(20, 60, 2)}
    sound, heard = compare(Score(duration_s=10.0), memory, find_memory("guitar"), tmp_path, 80, moves)
    np.testing.assert_allclose(heard, sound, atol=3e-3 * np.abs(sound).max())
