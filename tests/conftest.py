"""Tiny memories and clips that every test can afford."""

from __future__ import annotations

import importlib
import importlib.util
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest
from filelock import FileLock

from fugue_state.arrays import Array
from fugue_state.audio import io
from fugue_state.config import MelSpec, ModelConfig, VocoderConfig
from fugue_state.memory.catalogue import MemoryHeader
from fugue_state.memory.checkpoint import save_memory
from fugue_state.memory.layers import BANDS, EPSILON, Generator
from fugue_state.memory.memory import Memory
from fugue_state.memory.vocoder import MagnitudeNet

# PyTorch's threads wait by spinning: where several processes share few cores they take five times as long.
os.environ.setdefault("MKL_NUM_THREADS", "1")

RATE = 22_050
# Files whose tests play in real time or in a browser: they run beside each other, but not beside what computes.
REALTIME = {
    "test_cli_play", "test_example_patches", "test_live", "test_live_benchmark", "test_live_clock", "test_live_door",
    "test_live_keys", "test_live_osc", "test_live_parts", "test_live_sockets", "test_live_takes", "test_page",
    "test_page_keys", "test_performance_benchmark", "test_share_page", "test_undo",
}  # fmt: skip
# Files whose tests train, use PyTorch, start processes, follow documents or use the memories that ship.
HEAVY = {
    "test_augment", "test_benchmark", "test_card", "test_cli", "test_clusters", "test_compiled", "test_composing",
    "test_composition_benchmark", "test_curve", "test_documents", "test_examine", "test_example_scripts", "test_film",
    "test_fuzz", "test_hearing", "test_lesson", "test_light", "test_losses", "test_networks", "test_neural_benchmark",
    "test_notebook", "test_onnx", "test_pace", "test_pictures", "test_pictures_of_takes", "test_render", "test_run",
    "test_sampler", "test_share_command", "test_share_conductor", "test_share_memory", "test_share_performance",
    "test_shipped", "test_shipped_scores", "test_site", "test_threads", "test_training",
}  # fmt: skip
# What an expression of markers leaves out need not be imported: PyTorch alone takes seconds in every process.
LEFT_OUT: dict[str, Callable[[str], bool]] = {
    "not realtime": lambda name: name in REALTIME,
    "not realtime and not heavy": lambda name: name in REALTIME | HEAVY,
    "realtime and not alone": lambda name: name not in REALTIME,
    "realtime and alone": lambda name: name not in REALTIME,
}


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out the files none of whose tests will run."""
    name, left_out = collection_path.stem, LEFT_OUT.get(config.getoption("markexpr"))
    return True if left_out is not None and name.startswith("test_") and left_out(name) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by what they need."""
    for item in items:
        name = item.path.stem
        if name in REALTIME:
            item.add_marker("realtime")
        elif name in HEAVY:
            item.add_marker("heavy")


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
    monkeypatch.setenv("FUGUE_DATA", str(tmp_path / "data"))


@pytest.fixture(scope="session")
def librosa(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """Librosa. It compiles as it is imported, and two processes that do so at once leave a cache that crashes both."""
    with FileLock(tmp_path_factory.getbasetemp().parent / "librosa.lock"):
        for name in ("core.pitch", "core.constantq", "core.spectrum", "feature"):
            importlib.import_module(f"librosa.{name}")
    return importlib.import_module("librosa")


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


def chord(notes: Sequence[float], duration_s: float = 1.5, seed: int = 0) -> Sound:
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


def untrained_tensors(config: ModelConfig, frames: int = BANDS, seed: int = 0) -> dict[str, Array]:
    """The tensors of a generator that has learned nothing, scaled as PyTorch would begin with them."""
    rng, made = np.random.default_rng(seed), {}
    for name, shape in Generator.shapes(config, frames).items():
        if len(shape) == 4:
            made[name] = rng.normal(0.0, 0.02, shape)
        elif name == "output.bias":
            made[name] = rng.uniform(-0.25, 0.25, shape)
        else:
            made[name] = np.full(shape, 1.0 if name.endswith(("gain", "var")) else 0.0)
    return {name: array.astype(np.float32 if array.ndim else np.int64) for name, array in made.items()}


def untrained(config: ModelConfig, frames: int = BANDS, seed: int = 0) -> Generator:
    """A generator that has learned nothing."""
    return Generator(config, frames, untrained_tensors(config, frames, seed))


def untrained_net(config: VocoderConfig, spec: MelSpec, seed: int = 0) -> MagnitudeNet:
    """A vocoder's network that has learned nothing: it returns its guess."""
    rng, shapes = np.random.default_rng(seed), MagnitudeNet.shapes(config, spec)
    made: dict[str, npt.NDArray[np.float64]] = {}
    for name, shape in shapes.items():
        layer, kind = name.rsplit(".", 1) if "." in name else ("", name)
        if kind in {"taps", "place"}:
            made[name] = rng.standard_normal(shape) * (0.1 if kind == "place" else 1.0 / math.sqrt(config.kernel))
        elif kind == "scale":
            made[name] = np.full(shape, 1.0 / config.blocks)
        elif layer in {"leave", "above", "correct"}:
            made[name] = np.zeros(shape)
        elif layer.endswith(("norm", "settle")):
            made[name] = np.full(shape, 1.0 if kind == "weight" else 0.0)
        else:
            most = 1.0 / math.sqrt(shapes[f"{layer}.weight"][1])
            made[name] = rng.uniform(-most, most, shape)
    return MagnitudeNet(config, spec, {name: array.astype(np.float32) for name, array in made.items()})


def raised(maps: Array, weights: Array, stride: int = 2, padding: int = 1) -> Array:
    """The transposed convolution of maps (B, I, H, W) with weights (I, C, h, w), as its definition says."""
    (_, _, height, width), (_, units, high, wide) = maps.shape, weights.shape
    size = ((height - 1) * stride + high, (width - 1) * stride + wide)
    out = np.zeros((len(maps), units, *size))
    for y in range(high):
        for x in range(wide):
            share = np.tensordot(maps, weights[:, :, y, x], (1, 0)).transpose(0, 3, 1, 2)
            out[:, :, y : y + stride * height : stride, x : x + stride * width : stride] += share
    return out[:, :, padding : size[0] - padding, padding : size[1] - padding].astype(np.float32)


def lively(config: ModelConfig, seed: int = 3) -> Generator:
    """Untrained, but with weights large enough that every unit matters, and the statistics of these weights."""
    rng = np.random.default_rng(seed)
    tensors = untrained_tensors(config)
    for name, tensor in tensors.items():
        if tensor.ndim == 4:
            tensors[name] = 6.0 * tensor
        elif name.endswith(("gain", "shift")):
            tensors[name] = tensor + 0.3 * rng.standard_normal(tensor.shape).astype(np.float32)
    label = np.arange(48) % len(config.labels)
    maps = rng.standard_normal((len(label), config.latent_size, 1, 1)).astype(np.float32)
    for layer in config.layers:
        first = maps.shape[2] == 1
        maps = raised(maps, tensors[f"deconv.{layer}.conv.weight"], 1 if first else 2, 0 if first else 1)
        mean, variance = maps.mean((0, 2, 3)), maps.var((0, 2, 3))
        own = f"deconv.{layer}.norm"
        tensors |= {f"{own}.norm.running_mean": mean, f"{own}.norm.running_var": variance}
        gain, shift = (tensors[f"{own}.{kind}"][label][:, :, None, None] for kind in ("gain", "shift"))
        normal = (maps - mean[:, None, None]) / np.sqrt(variance + EPSILON)[:, None, None]
        maps = np.maximum(normal * gain + shift, 0.0)
    return Generator(config, BANDS, tensors)


@pytest.fixture(scope="session")
def tiny_generator(tiny_header: MemoryHeader) -> Generator:
    return lively(tiny_header.model)


@pytest.fixture
def notes_memory() -> Memory:
    """Another tiny memory, of notes: with more units, another hop and another rate."""
    spec = MelSpec(sample_rate_hz=16_000, n_fft=1024, hop=256, fmax_hz=7000.0)
    model = ModelConfig(feature_maps=6, latent_size=12, labels=("E3", "G3", "B3"))
    return Memory(lively(model, 5), MemoryHeader(name="notes", mel=spec, model=model, steps=1))


def changed(generator: Generator, tensors: Mapping[str, npt.ArrayLike]) -> Generator:
    """A generator with other values in some of its tensors."""
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
