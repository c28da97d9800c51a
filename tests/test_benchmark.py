"""The inversion benchmark runs through on something tiny, and its figures are of the right kind."""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from fugue_state.audio import io
from fugue_state.config import MelSpec
from fugue_state.errors import InputError
from fugue_state.memory.catalogue import MemoryHeader, VocoderHeader
from fugue_state.memory.checkpoint import save_memory

from .conftest import CHORDS, chord, load_benchmark, pluck, untrained
from .test_vocoder import SMALL, tiny_net

SPEC = MelSpec(frames=32)


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = load_benchmark("inversion", monkeypatch)
    for name, few in {"ITERATIONS": 4, "TIMED": 2, "ROUNDS": 1, "FRACTIONS": (0.5,), "ORDERS": ("random",)}.items():
        monkeypatch.setattr(module, name, few)
    return module


@pytest.fixture
def with_vocoder(tmp_path: Path, tiny_header: MemoryHeader) -> Path:
    path = tmp_path / "voiced.safetensors"
    header = tiny_header.model_copy(update={"mel": SPEC, "vocoder": VocoderHeader(config=SMALL, mel=SPEC)})
    save_memory(path, untrained(header.model, SPEC.frames), header, net=tiny_net(SPEC))
    return path


@pytest.fixture
def corpus(tmp_path: Path, make_corpus: Callable[..., Path]) -> Path:
    (tmp_path / "corpus" / "Training").mkdir(parents=True)
    (tmp_path / "corpus" / "Training" / "Am").mkdir()
    shutil.move(make_corpus({"Am": 1, "C": 1, "G": 1}, "made"), tmp_path / "corpus" / "Test")
    io.write(tmp_path / "corpus" / "Training" / "Am" / "Am_x_1.wav", pluck(57), SPEC.sample_rate_hz)
    return tmp_path / "corpus"


def test_everything_is_measured(
    benchmark: ModuleType, with_vocoder: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    (tmp_path / "wide" / "Am").mkdir(parents=True)
    rng = np.random.default_rng(0)
    io.write(tmp_path / "wide" / "Am" / "a.wav", 0.1 * rng.standard_normal(66_150).astype(np.float32), 44_100)
    words = [str(with_vocoder), "--against", str(corpus), "--clips", "2", "--latents", "1", "--jumps", "3"]
    monkeypatch.setattr(sys, "argv", ["inversion.py", *words, "--air", str(tmp_path / "wide"), "--json-only"])
    benchmark.main()
    out = capsys.readouterr()
    told = json.loads(out.out)
    assert out.err == ""
    assert told["clips"] == 2
    assert list(told["ways"])[:4] == ["common", "vocoder draft", "vocoder live", "vocoder final"]
    assert told["ways"]["common"]["times_faster"] == told["ways"]["common"]["chroma_error_ratio"] == 1.0
    lobes = told["ways"]["lobes final"]
    assert lobes["log_spectral_error_db"] == pytest.approx(np.mean(list(lobes["by_window_db"].values())), abs=2e-3)
    assert told["forgotten"]["original"]["ratio"] == 1.0
    assert set(told["forgotten"]["joint final"]) == {"random 0.5", "mean_db", "ratio"}
    assert told["stream"]["latency_samples"] == 3 * 512 + 1024
    assert told["stream"]["earliest_change_samples"] <= told["stream"]["latency_samples"]
    assert told["named"]["clips"] == 1.0
    # Without anything above 8 kHz, the error is that of the range; with what lies up to 11 kHz, it is smaller.
    assert told["air"]["inverter_db"] < told["air"]["nothing_above_8_khz_db"]
    assert len(told["goals"]) == 16
    assert all(math.isfinite(line["reached"]) for line in told["goals"])


def test_of_true_magnitudes_more_care_keeps_more(benchmark: ModuleType) -> None:
    sounds = chord(CHORDS["Am"], 1.0)[None, : SPEC.samples]
    rows = benchmark.measure_phases(SPEC, sounds, lambda _: None)
    reached = [row["spectral_convergence_db"] for row in rows.values()]
    realtime, gradient, cared, fast, faster, plain = reached
    assert cared < gradient < -10.0
    assert realtime < -10.0
    assert faster < fast < 0.0
    assert faster < plain


def test_a_goal_is_met_on_its_side_of_the_bound(benchmark: ModuleType) -> None:
    assert benchmark.goal("ratio", "most", 0.6, 0.6)["met"]
    assert not benchmark.goal("ratio", "most", 0.6, 0.61)["met"]
    assert benchmark.goal("speed", "least", 25.0, 25.0)["met"]
    assert not benchmark.goal("speed", "least", 25.0, 24.9)["met"]


def test_a_corpus_without_held_out_clips_is_refused(benchmark: ModuleType, tiny_path: Path, corpus: Path) -> None:
    shutil.rmtree(corpus / "Test")
    options = benchmark.parsed([str(tiny_path), "--against", str(corpus)])
    with pytest.raises(InputError, match="held-out"):
        benchmark.measure(options, lambda _: None)
