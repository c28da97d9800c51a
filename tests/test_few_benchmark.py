"""The benchmark of few clips: how it compares, and how many sounds it asks of each cluster."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from fugue_state.audio.mel import MelTransform
from fugue_state.config import MelSpec, ModelConfig
from fugue_state.memory.catalogue import MemoryHeader
from fugue_state.memory.memory import Memory

from .conftest import BENCHMARKS, load_benchmark, untrained

SPEC = MelSpec()


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch, librosa: ModuleType) -> ModuleType:
    del librosa
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return load_benchmark("few", monkeypatch)


def test_traits_are_compared_sound_by_sound(few: ModuleType) -> None:
    ours = np.array([[200.0, 0.1, -6.0], [300.0, 0.4, -20.0], [900.0, 0.2, 0.0]])
    theirs = np.array([[100.0, 0.1, -6.0], [200.0, 0.2, -20.0], [300.0, 0.8, -20.0]])
    found = few.compared(ours, theirs)
    assert found == {"brightness_hz": 2.0, "flatness": 1.0, "decay_db": pytest.approx(1.0)}
    louder = few.compared(ours[:1], np.array([[100.0, 0.1, -26.0]]))
    assert louder["decay_db"] == pytest.approx(10.0)  # 20 dB as a ratio of amplitudes


def test_a_tone_and_noise_are_told_apart(few: ModuleType) -> None:
    time = np.arange(SPEC.samples) / SPEC.sample_rate_hz
    tone = np.sin(2 * np.pi * 500.0 * time) * 10.0 ** (-time)
    sounds = np.stack([tone, np.random.default_rng(0).normal(size=len(time))]).astype(np.float32)
    (tone_hz, tone_flat, tone_db), (noise_hz, noise_flat, noise_db) = few.described(sounds, SPEC.sample_rate_hz)
    assert tone_hz == pytest.approx(500.0, rel=0.01)
    assert noise_hz == pytest.approx(SPEC.sample_rate_hz / 4, rel=0.02)
    assert tone_flat < 0.001
    assert noise_flat > 0.8
    assert tone_db == pytest.approx(-20.0 * 0.75 * SPEC.duration_s, abs=0.5)
    assert noise_db == pytest.approx(0.0, abs=0.2)


def test_clusters_are_asked_for_sounds_by_their_size(few: ModuleType) -> None:
    time = np.arange(SPEC.samples) / SPEC.sample_rate_hz
    hz = [220.0] * 3 + [311.0] * 2
    tones = [np.sin(2 * np.pi * f * (1 + 0.001 * i) * time) for i, f in enumerate(hz)]
    mels = MelTransform(SPEC).encode(0.1 * np.array(tones, dtype=np.float32))

    def memory(*labels: str) -> Memory:
        model = ModelConfig(feature_maps=2, latent_size=4, labels=labels)
        return Memory(untrained(model), MemoryHeader(name="few", mel=SPEC, model=model))

    assert few.clips_of(mels, memory("1", "2")) == {"1": 3, "2": 2}
    assert few.clips_of(mels, memory()) == {None: 5}
