"""Tiny memories and clips that every test can afford."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest
import torch

from fugue_state.audio import io
from fugue_state.config import MelSpec, ModelConfig
from fugue_state.learning import networks
from fugue_state.learning.arrays import as_played
from fugue_state.memory.catalogue import MemoryHeader
from fugue_state.memory.checkpoint import save_memory
from fugue_state.memory.layers import Generator
from fugue_state.memory.memory import Memory

RATE = 22_050
LABELS = ("Am", "C", "G")

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"

Sound = npt.NDArray[np.float32]


def load_benchmark(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Import one of the benchmarks, which are no package."""
    found = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    monkeypatch.setitem(sys.modules, name, module)
    found.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUGUE_CACHE", str(tmp_path / "cache"))


def pluck(midi: float, duration_s: float = 1.5, rate: int = RATE, seed: int = 0) -> Sound:
    """A decaying harmonic tone at an exact pitch."""
    time = np.arange(int(duration_s * rate)) / rate
    f0 = 440.0 * 2.0 ** ((midi - 69.0) / 12.0)
    phases = np.random.default_rng(seed).uniform(0, 2 * np.pi, 12)
    partials = [
        np.sin(2 * np.pi * f0 * k * time + phases[k - 1]) / k * np.exp(-time * k)
        for k in range(1, 13)
        if f0 * k < rate / 2.2
    ]
    return np.asarray(0.2 * np.sum(partials, axis=0), dtype=np.float32)


def chord(notes: tuple[int, ...], duration_s: float = 1.5, seed: int = 0) -> Sound:
    """Several plucks at once."""
    return np.asarray(
        np.sum([pluck(n, duration_s, seed=seed + i) for i, n in enumerate(notes)], axis=0), dtype=np.float32
    )


CHORDS = {"Am": (45, 52, 57, 60, 64), "C": (48, 52, 55, 60, 64), "G": (43, 47, 50, 55, 59)}


@pytest.fixture(scope="session")
def tiny_header() -> MemoryHeader:
    return MemoryHeader(
        name="tiny", mel=MelSpec(), model=ModelConfig(feature_maps=4, latent_size=16, labels=LABELS), steps=1
    )


@pytest.fixture(scope="session")
def tiny_generator(tiny_header: MemoryHeader) -> Generator:
    """Untrained, but with weights large enough that every unit matters."""
    torch.manual_seed(3)
    generator = networks.Generator(tiny_header.model)
    with torch.no_grad():
        for name, parameter in generator.named_parameters():
            if "norm.gain" in name or "norm.shift" in name:
                parameter.add_(0.3 * torch.randn_like(parameter))
            elif parameter.ndim == 4:
                parameter.mul_(6.0)
    networks.reestimate_statistics(generator, seed=0, batches=4, batch=32)
    return as_played(generator)


def changed(generator: Generator, tensors: Mapping[str, npt.ArrayLike]) -> Generator:
    """Return a generator with other values in some of its tensors."""
    new = {name: np.empty_like(generator.tensors[name]) for name in tensors}
    for name, values in tensors.items():
        new[name][...] = values
    return Generator(generator.config, generator.frames, generator.tensors | new)


@pytest.fixture
def tiny_memory(tiny_generator: Generator, tiny_header: MemoryHeader) -> Memory:
    return Memory(tiny_generator, tiny_header)


@pytest.fixture
def tiny_path(tmp_path: Path, tiny_generator: Generator, tiny_header: MemoryHeader) -> Path:
    path = tmp_path / "tiny.safetensors"
    save_memory(path, tiny_generator, tiny_header)
    return path


@pytest.fixture
def make_corpus(tmp_path: Path) -> Callable[..., Path]:
    """Write class folders of strummed plucks: `make_corpus({"Am": 4, "C": 4})`."""

    def make(counts: dict[str, int], name: str = "corpus") -> Path:
        for label, count in counts.items():
            (tmp_path / name / label).mkdir(parents=True)
            for take in range(count):
                sound = chord(CHORDS[label], seed=100 * take)
                io.write(tmp_path / name / label / f"{label}_g{take % 2}_{take}.wav", 0.5 * sound, RATE)
        return tmp_path / name

    return make
