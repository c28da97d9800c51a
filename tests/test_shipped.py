"""What ships must keep what its card says; the full measurement is in benchmarks/."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fugue_state.config import Score
from fugue_state.errors import InputError
from fugue_state.measure.memory import chord_table, generated
from fugue_state.memory.memory import Memory, find_memory, shipped_memories
from fugue_state.piece.render import render
from fugue_state.piece.score import events


def test_the_shipped_memory_is_whole_and_knows_its_chords() -> None:
    assert "guitar" in shipped_memories()
    memory = Memory.load("guitar")
    assert memory.labels == ("Am", "Bb", "Bdim", "C", "Dm", "Em", "F", "G")
    assert shipped_memories()["guitar"].stat().st_size < 20e6
    assert all(source.licence.startswith(("CC0-1.0", "MIT")) for source in memory.header.data)
    assert chord_table(generated(memory, 3, seed=11), memory).accuracy >= 0.9
    assert memory.header.metrics["generated_accuracy"] >= 0.95
    assert memory.header.metrics["generated_worst_class"] >= 0.85


def test_a_misspelt_memory_suggests_the_near_one() -> None:
    with pytest.raises(InputError, match="unknown memory 'guitr'; did you mean 'guitar'"):
        find_memory("guitr")


def test_the_demo_keeps_its_promises(tmp_path: Path) -> None:
    memory, score = Memory.load("guitar"), Score(duration_s=60, order="layerwise")
    report = render(score, memory, tmp_path / "demo.wav")
    assert report.loudness_lufs == pytest.approx(-18, abs=0.5)
    assert report.true_peak_dbtp <= -1.0
    assert report.longest_silence_s < 1.0
    assert report.largest_step < 0.3
    forgotten = [1.0 - float(np.mean(e.strengths)) for e in events(score, memory)]
    assert [forgotten[0], forgotten[-1]] == pytest.approx([0.0, 1.0], abs=0.05)
