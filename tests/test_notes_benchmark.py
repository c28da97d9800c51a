"""The benchmarks of notes and chords: what they say of known sounds."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest

from fugue_state.audio import io
from fugue_state.config import ModelConfig
from fugue_state.memory.catalogue import MemoryHeader, read_header
from fugue_state.memory.checkpoint import save_memory

from .conftest import BENCHMARKS, RATE, load_benchmark, pluck, untrained


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch, librosa: ModuleType) -> ModuleType:
    del librosa
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return load_benchmark("notes", monkeypatch)


@pytest.fixture
def of_notes(tmp_path: Path, tiny_header: MemoryHeader) -> Path:
    model = ModelConfig(feature_maps=4, latent_size=16, labels=("C3", "Bb3"))
    save_memory(tmp_path / "n.safetensors", untrained(model), tiny_header.model_copy(update={"model": model}))
    return tmp_path / "n.safetensors"


@pytest.fixture
def against(tmp_path: Path) -> Path:
    for label, midi in (("C3", 48.05), ("Bb3", 58)):
        (tmp_path / "corpus" / "Test" / label).mkdir(parents=True)
        (tmp_path / "corpus" / "Training" / label).mkdir(parents=True)
        for part in ("Test", "Training"):
            io.write(tmp_path / "corpus" / part / label / "x.wav", pluck(midi, 3.0), RATE)
    return tmp_path / "corpus"


@pytest.mark.parametrize("midi", [40, 51.9, 64, 76])
def test_the_tracker_is_right_about_known_notes(notes: ModuleType, midi: float) -> None:
    heard = notes.tracked(pluck(midi, 2.0), RATE, ("E2", "E3", "E4", "E5"))
    assert heard.midi == pytest.approx(midi, abs=0.06)
    assert heard.clarity > 0.9


def test_notes_are_measured_beside_their_corpus(
    notes: ModuleType, of_notes: Path, against: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    shipped = tmp_path / "shipped.safetensors"
    words = [str(of_notes), "--per-class", "1", "--against", str(against), "--ship", str(shipped)]
    monkeypatch.setattr("sys.argv", ["notes.py", *words])
    notes.main()
    told = json.loads(capsys.readouterr().out)
    assert told["generated"]["count"] == 2
    assert told["real"]["accuracy"] == 1.0
    assert told["real"]["per_class_cents"]["C3"] == pytest.approx(5, abs=5)
    assert told["real_through_mel"]["cents_95"] < 30
    assert read_header(shipped).metrics["real_octave_errors"] == 0


def test_a_memory_of_chords_can_only_say_what_the_mel_costs(
    notes: ModuleType,
    tiny_path: Path,
    against: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.argv", ["notes.py", str(tiny_path)])
    with pytest.raises(SystemExit):
        notes.main()
    assert "the labels of tiny are no notes" in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", ["notes.py", str(tiny_path), "--against", str(against)])
    notes.main()
    told = json.loads(capsys.readouterr().out)
    assert "generated" not in told
    assert told["real"]["count"] == 2
