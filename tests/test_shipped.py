"""What ships must keep what its card says; the full measurement is in benchmarks/."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fugue_state.audio.mel import MelTransform
from fugue_state.bending.orders import make_order
from fugue_state.bending.strengths import forget
from fugue_state.corpus.strum import playable
from fugue_state.errors import InputError
from fugue_state.measure.chords import name_chord
from fugue_state.measure.fidelity import mel_error
from fugue_state.measure.memory import generated, name_table
from fugue_state.memory.catalogue import find_memory, shipped_memories
from fugue_state.memory.memory import Memory
from fugue_state.output.render import render
from fugue_state.piece.piece import Piece
from fugue_state.score.model import Score

EIGHT = tuple(playable("guitar"))


@pytest.mark.parametrize(
    ("name", "seconds", "labels", "accuracy", "worst"),
    [
        ("guitar", 2.97, EIGHT, 0.99, 0.97),
        ("guitar-long", 5.94, EIGHT, 0.97, 0.9),
        ("chords", 2.97, tuple(playable("chords")), 0.97, 0.88),
        ("notes", 2.97, tuple(playable("notes")), 0.99, 0.9),
    ],
)
def test_what_ships_is_whole_and_knows_its_labels(
    name: str, seconds: float, labels: tuple[str, ...], accuracy: float, worst: float
) -> None:
    assert name in shipped_memories()
    memory = Memory.load(name)
    assert memory.labels == tuple(sorted(labels))
    assert memory.spec.duration_s == pytest.approx(seconds, abs=0.01)
    assert shipped_memories()[name].stat().st_size < 10e6
    assert all(source.licence.startswith(("CC0-1.0", "MIT")) for source in memory.header.data)
    assert name_table(generated(memory, 24 // len(labels) or 1, seed=11), memory).accuracy >= 0.9
    assert memory.header.metrics["generated_accuracy"] >= accuracy
    assert memory.header.metrics["generated_worst_class"] >= worst


def test_notes_are_in_tune() -> None:
    metrics = Memory.load("notes").header.metrics
    assert metrics["generated_cents"] <= 10.0
    assert metrics["generated_cents_95"] <= 30.0
    assert metrics["generated_octave_errors"] <= 0.01


@pytest.mark.parametrize("seconds", [1.5, 6.0])
def test_a_stretched_chord_is_the_same_chord(seconds: float) -> None:
    memory = Memory.load("guitar")
    chords = memory.labels * 2
    z = memory.latents(len(chords), seed=5)
    sounds = memory.invert(memory.generate(z, chords, frames=memory.frames(seconds)))
    assert sounds.shape[1] / memory.spec.sample_rate_hz == pytest.approx(seconds, abs=0.75)
    heard = [name_chord(sound, memory.spec.sample_rate_hz, memory.labels).name for sound in sounds]
    assert np.mean([h == c for h, c in zip(heard, chords, strict=True)]) >= 0.9


@pytest.mark.usefixtures("librosa")
def test_guitar_hears_with_its_own_vocoder() -> None:
    memory = Memory.load("guitar")
    assert memory.own_inverter == "vocoder"
    vocoder = memory.header.vocoder
    assert vocoder is not None
    assert vocoder.metrics["final_log_spectral_error_db"] < 0.85 * vocoder.metrics["lobes_log_spectral_error_db"]
    assert all(source.licence.startswith(("CC0-1.0", "MIT")) for source in vocoder.data)
    strengths = forget(make_order("random", memory.layers, 0), 0.5, memory.units)
    mels = memory.generate(memory.latents(2, seed=3), ["Am", "G"], strengths)
    final, common = (memory.make_inverter(name)(mels) for name in (None, "original"))
    transform = MelTransform(memory.spec)
    assert mel_error(mels, final, transform).mean() < 0.9 * mel_error(mels, common, transform).mean()


def test_a_misspelt_memory_suggests_the_near_one() -> None:
    with pytest.raises(InputError, match="unknown memory 'guitr'; did you mean 'guitar'"):
        find_memory("guitr")


def test_the_demo_keeps_its_promises(tmp_path: Path) -> None:
    piece = Piece(Score(duration_s=60), Memory.load("guitar"))
    report = render(piece, tmp_path / "demo.wav")
    assert report.loudness_lufs == pytest.approx(-18, abs=0.5)
    assert report.true_peak_dbtp <= -1.0
    assert report.longest_silence_s < 1.0
    assert report.largest_step < 0.4
    forgotten = [1.0 - float(np.mean(e.strengths)) for e in piece.events()]
    assert [forgotten[0], forgotten[-1]] == pytest.approx([0.0, 1.0], abs=0.05)
