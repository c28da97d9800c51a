from __future__ import annotations

import io
import json
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from safetensors.numpy import save_file
from threadpoolctl import threadpool_limits

from fugue_state.arrays import Whole
from fugue_state.audio.inverters import make_inverter
from fugue_state.config import MelSpec, ModelConfig
from fugue_state.errors import CheckpointError, InputError
from fugue_state.memory import checkpoint
from fugue_state.memory.catalogue import HEADER, MemoryHeader, find_memory
from fugue_state.memory.checkpoint import load_memory, save_memory, write_tensors
from fugue_state.memory.layers import EPSILON, Deconv, Generator, Output, resized
from fugue_state.memory.memory import Memory

from .conftest import LABELS, Sound, raised, untrained


def strengths_of(memory: Memory, seed: int) -> Sound:
    rng = np.random.default_rng(seed)
    return (rng.random(memory.units) > 0.4).astype(np.float32)


def test_intact_is_exact(tiny_memory: Memory) -> None:
    z = tiny_memory.latents(5, 1)
    plain = tiny_memory.generate(z, "C")
    assert np.array_equal(plain, tiny_memory.generate(z, "C", np.ones(tiny_memory.units)))
    assert np.array_equal(plain, tiny_memory.generate(z, "C", np.ones((5, tiny_memory.units))))


def test_forget_then_recall_is_exact(tiny_memory: Memory) -> None:
    z = tiny_memory.latents(3, 1)
    before = tiny_memory.generate(z)
    forgotten = tiny_memory.generate(z, strengths=strengths_of(tiny_memory, 0))
    assert np.abs(forgotten - before).max() > 0.05
    assert np.array_equal(before, tiny_memory.generate(z, strengths=np.ones(tiny_memory.units)))


def cut(generator: Generator, keep: Mapping[str, Whole]) -> Generator:
    """Take units out of a generator for real: their filters, their norms, their outgoing weights."""
    tensors, incoming = generator.tensors.copy(), np.arange(generator.config.latent_size)
    for layer, kept in keep.items():
        for name in [name for name in tensors if name.startswith(f"deconv.{layer}.norm") and tensors[name].ndim]:
            tensors[name] = tensors[name][..., kept]
        weights = f"deconv.{layer}.conv.weight"
        tensors[weights], incoming = tensors[weights][incoming][:, kept], kept
    tensors["output.weight"] = tensors["output.weight"][incoming]
    return Generator(generator.config, generator.frames, tensors)


@pytest.mark.parametrize("frames", [128, 192])
def test_ablation_is_removal(tiny_memory: Memory, frames: int) -> None:
    strengths = strengths_of(tiny_memory, 4)
    parts = np.split(strengths, np.cumsum(list(tiny_memory.layers.values()))[:-1])
    keep = {name: np.flatnonzero(part) for name, part in zip(tiny_memory.layers, parts, strict=True)}
    z, label = tiny_memory.latents(4, 2), [0, 1, 2, 0]
    names, rest = [LABELS[i] for i in label], cut(tiny_memory.generator, keep)
    removed = np.stack([rest(latent, i, frames=frames) for latent, i in zip(z, label, strict=True)])
    ablated = tiny_memory.generate(z, names, strengths, frames)
    assert np.abs(removed - ablated).max() < 1e-5
    assert np.abs(ablated - tiny_memory.generate(z, names, None, frames)).max() > 0.05


def test_half_a_strength_is_half_an_activation(tiny_memory: Memory) -> None:
    z = tiny_memory.latents(2, 0)
    strengths = np.ones(tiny_memory.units)
    strengths[3] = 0.5
    _, whole = tiny_memory.observe(z, "C")
    _, half = tiny_memory.observe(z, "C", strengths)
    assert np.allclose(half[:, 3], whole[:, 3] / 2)
    assert np.array_equal(half[:, :3], whole[:, :3])
    assert whole.shape == (2, tiny_memory.units)


def test_labels_make_a_difference_and_latents_follow_the_seed(tiny_memory: Memory) -> None:
    z = tiny_memory.latents(2, 5)
    assert np.array_equal(z, tiny_memory.latents(2, 5))
    assert z[0, 0] == pytest.approx(-0.80193, abs=1e-5)  # the same on every machine
    assert np.abs(tiny_memory.generate(z, "Am") - tiny_memory.generate(z, "G")).max() > 0.01
    in_turn = tiny_memory.generate(z)
    assert np.array_equal(in_turn, tiny_memory.generate(z, ["Am", "C"]))


@pytest.mark.parametrize("layer", ["deconv1", "deconv2", "deconv5"])
@pytest.mark.parametrize("size", [(1, 1), (4, 6), (5, 3)])
def test_a_layer_is_convolution_normalization_and_relu(
    tiny_generator: Generator, layer: str, size: tuple[int, int]
) -> None:
    tensors, own = tiny_generator.tensors, f"deconv.{layer}.norm"
    weights, played = tensors[f"deconv.{layer}.conv.weight"], Deconv(tensors, layer)
    size = (1, 1) if layer == "deconv1" else size
    maps = np.random.default_rng(1).standard_normal((*size, len(weights)), dtype=np.float32)
    way = (1, 0) if layer == "deconv1" else (2, 1)
    mean, variance = (tensors[f"{own}.norm.running_{each}"][:, None, None] for each in ("mean", "var"))
    normal = (raised(maps.transpose(2, 0, 1)[None], weights, *way)[0] - mean) / np.sqrt(variance + EPSILON)
    for label in range(len(LABELS)):
        gain, shift = (tensors[f"{own}.{each}"][label][:, None, None] for each in ("gain", "shift"))
        found = played.first(maps[0, 0], label) if layer == "deconv1" else played(maps, label)
        assert np.abs(found.transpose(2, 0, 1) - np.maximum(normal * gain + shift, 0.0)).max() < 1e-5


@pytest.mark.parametrize("size", [(1, 1), (6, 5)])
def test_the_last_layer_is_convolution_and_tanh(tiny_generator: Generator, size: tuple[int, int]) -> None:
    weights, bias = (tiny_generator.tensors[f"output.{each}"] for each in ("weight", "bias"))
    maps = np.random.default_rng(1).standard_normal((*size, len(weights)), dtype=np.float32)
    wanted = np.tanh(raised(maps.transpose(2, 0, 1)[None], weights)[0, 0] + bias)
    assert np.abs(Output(tiny_generator.tensors)(maps) - wanted).max() < 1e-6


@pytest.mark.parametrize(("size", "count"), [(4, 9), (9, 4), (7, 7), (1, 5), (5, 1)])
@pytest.mark.parametrize("ends", [True, False])
def test_resizing_is_by_straight_lines(size: int, count: int, ends: bool) -> None:
    values = np.random.default_rng(0).standard_normal((3, size, 2), dtype=np.float32)
    even = np.linspace(0, size - 1, count) if ends else (np.arange(count) + 0.5) * size / count - 0.5
    found = resized(values, count, 1, ends=ends)
    assert found.shape == (3, count, 2)
    for one, other in ((0, 0), (2, 1)):
        wanted = np.interp(even, np.arange(size), values[one, :, other])
        assert np.abs(found[one, :, other] - wanted).max() < 1e-5
    if size == count:
        assert np.array_equal(found, values)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"chord": "Amm"}, r"unknown chord 'Amm'; did you mean 'Am'"),
        ({"chord": ["Am"]}, "1 chord for 2 latents"),
        ({"strengths": np.ones(3)}, r"strengths must be \(62,\) or \(2, 62\), got \(3,\)"),
        ({"strengths": np.full(62, 1.5)}, r"within 0\.\.1"),
        ({"strengths": np.full(62, np.nan)}, r"within 0\.\.1"),
        ({"z": np.zeros((2, 3))}, r"z must be \(B, 16\), got \(2, 3\)"),
    ],
)
def test_wrong_requests_are_named(tiny_memory: Memory, kwargs: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        tiny_memory.generate(**({"z": tiny_memory.latents(2, 0)} | kwargs))  # type: ignore[arg-type]


def test_a_memory_without_labels_knows_no_chord() -> None:
    config = ModelConfig(feature_maps=2, latent_size=4)
    memory = Memory(untrained(config), MemoryHeader(name="blank", mel=MelSpec(), model=config))
    assert memory.generate(memory.latents(2, 0)).shape == (2, 128, 128)
    with pytest.raises(InputError, match="knows no chord by name"):
        memory.generate(memory.latents(1, 0), "Am")


def test_invert_gives_sound_of_the_right_length(tiny_memory: Memory) -> None:
    audio = tiny_memory.invert(tiny_memory.generate(tiny_memory.latents(2, 0)))
    assert audio.shape == (2, tiny_memory.spec.samples)
    assert np.isfinite(audio).all()


def test_an_inverter_of_another_spec_is_refused_by_name(tiny_generator: Generator, tiny_header: MemoryHeader) -> None:
    with pytest.raises(CheckpointError, match=r"memory 'tiny' is made for another MelSpec: n_fft 1024 instead of 2048"):
        Memory(tiny_generator, tiny_header, inverter=make_inverter("lobes", MelSpec.preset("original")))


def test_a_memory_makes_its_inverter_once(tiny_path: Path) -> None:
    with patch("fugue_state.memory.memory.make_inverter", wraps=make_inverter) as made:
        memory = Memory.load(tiny_path, inverter="lobes")
        assert memory.inverter is memory.inverter
        assert made.call_count == 1
    memory = Memory(memory.generator, memory.header)
    assert memory.inverter is memory.inverter


def test_to_load_a_memory_imports_no_pytorch() -> None:
    code = "import sys; from fugue_state import Memory; Memory.load('guitar'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("half", [False, True])
def test_a_checkpoint_keeps_everything(
    tmp_path: Path, tiny_generator: Generator, tiny_header: MemoryHeader, half: bool
) -> None:
    path = tmp_path / "m.safetensors"
    save_memory(path, tiny_generator, tiny_header, half=half)
    generator, header, _ = load_memory(path)
    assert header == tiny_header
    z = np.random.default_rng(0).standard_normal((3, 16), dtype=np.float32)
    for label, latent in enumerate(z):
        difference = np.abs(generator(latent, label) - tiny_generator(latent, label)).max()
        assert difference <= (0.02 if half else 0.0)


def pytorch_file() -> bytes:
    """What `torch.save` writes is a pickle in an archive."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        archive.writestr("torch/data.pkl", pickle.dumps({"a": 1}))
    return written.getvalue()


def test_bad_checkpoints_are_refused_by_reason(
    tmp_path: Path,
    tiny_path: Path,
    tiny_generator: Generator,
    tiny_header: MemoryHeader,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = tiny_path.read_bytes()

    def file(name: str, content: bytes) -> Path:
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    save_file({"a": np.zeros(2)}, tmp_path / "foreign.safetensors")
    write_tensors(tmp_path / "state.safetensors", "training state", tiny_header, {"a": np.zeros(1)})
    write_tensors(tmp_path / "short.safetensors", "memory", tiny_header, {"output.bias": np.zeros(1)})
    monkeypatch.setattr(checkpoint, "FORMAT", 99)
    save_memory(tmp_path / "future.safetensors", tiny_generator, tiny_header)
    monkeypatch.undo()
    nan = tiny_generator.tensors | {"output.bias": np.full(1, np.nan, np.float32)}
    write_tensors(tmp_path / "nan.safetensors", "memory", tiny_header, nan)
    odd = json.dumps({"kind": "memory", "format": 1, "header": {"name": "x", "mell": 1}})
    save_file({"a": np.zeros(2)}, tmp_path / "odd.safetensors", {HEADER: odd})
    save_file({"a": np.zeros(2)}, tmp_path / "torn.safetensors", {HEADER: "{"})
    for path, message in [
        (tmp_path / "missing.safetensors", "no such checkpoint"),
        (file("cut.safetensors", data[: len(data) // 2]), "damaged or not a checkpoint"),
        (file("stub.safetensors", data[:50]), "damaged or not a checkpoint"),
        (file("zero.safetensors", b""), "damaged or not a checkpoint"),
        (file("plain.pkl", pickle.dumps({"a": 1})), "pickled checkpoint.*never loaded"),
        (file("torch.pt", pytorch_file()), "pickled checkpoint.*never loaded"),
        (tmp_path / "foreign.safetensors", "not one of this project"),
        (tmp_path / "state.safetensors", "holds a 'training state', a memory is needed"),
        (tmp_path / "short.safetensors", "is missing"),
        (tmp_path / "future.safetensors", "format 99, this version reads format 1"),
        (tmp_path / "nan.safetensors", "not numbers"),
        (tmp_path / "odd.safetensors", "unknown MemoryHeader key 'mell'; did you mean 'mel'"),
        (tmp_path / "torn.safetensors", "its header is damaged"),
    ]:
        with pytest.raises(CheckpointError, match=message):
            load_memory(path)


def test_tensors_must_fit_their_header(tmp_path: Path, tiny_generator: Generator, tiny_header: MemoryHeader) -> None:
    wider = tiny_header.model_copy(update={"model": ModelConfig(feature_maps=8, latent_size=16, labels=LABELS)})
    save_memory(tmp_path / "wide.safetensors", tiny_generator, wider)
    with pytest.raises(CheckpointError, match=r"tensor 'deconv\.deconv1.*its header says"):
        load_memory(tmp_path / "wide.safetensors")


def test_memories_are_found_by_name_file_and_folder(tmp_path: Path, tiny_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "memory.safetensors").write_bytes(tiny_path.read_bytes())
    assert find_memory(tmp_path / "run") == tmp_path / "run" / "memory.safetensors"
    assert Memory.load(tiny_path).labels == LABELS
    assert len(Memory.load(tiny_path).fingerprint) == 16
    with pytest.raises(InputError, match="unknown inverter"):
        Memory.load(tiny_path, inverter="loud")


@pytest.mark.parametrize("frames", [32, 128, 256])
def test_segments_may_have_other_lengths(tmp_path: Path, frames: int) -> None:
    header = MemoryHeader(name="long", mel=MelSpec(frames=frames), model=ModelConfig(feature_maps=2, labels=LABELS))
    save_memory(tmp_path / "m.safetensors", untrained(header.model, frames), header)
    memory = Memory.load(tmp_path / "m.safetensors")
    mel = memory.generate(memory.latents(2, 0), "Am")
    assert mel.shape == (2, 128, frames)
    assert memory.invert(mel).shape == (2, frames * 512)


def test_a_length_between_is_refused() -> None:
    with pytest.raises(InputError, match="multiple of 32, got 100"):
        Generator.shapes(ModelConfig(feature_maps=2), 100)


def test_a_sound_can_be_stretched_inside_the_network(tiny_memory: Memory) -> None:
    z = tiny_memory.latents(2, 0)
    mel = tiny_memory.generate(z, "Am")
    assert np.array_equal(tiny_memory.generate(z, "Am", frames=128), mel)
    for frames in (64, 256, 384):
        stretched = tiny_memory.generate(z, "Am", frames=frames)
        assert stretched.shape == (2, 128, frames)


def test_a_stretched_memory_can_still_forget(tiny_memory: Memory) -> None:
    z = tiny_memory.latents(2, 0)
    ones = np.ones(tiny_memory.units)
    long = tiny_memory.generate(z, "Am", frames=256)
    assert np.array_equal(tiny_memory.generate(z, "Am", ones, frames=256), long)
    assert not np.array_equal(tiny_memory.generate(z, "Am", ones * 0.5, frames=256), long)


@pytest.mark.parametrize(("seconds", "frames"), [(None, 128), (0.1, 32), (2.9, 128), (3.0, 160), (60.0, 2592)])
def test_seconds_become_frames(tiny_memory: Memory, seconds: float | None, frames: int) -> None:
    assert tiny_memory.frames(seconds) == frames


@pytest.mark.parametrize("seconds", [0.0, -1.0, 121.0, float("nan")])
def test_lengths_out_of_range_are_refused(tiny_memory: Memory, seconds: float) -> None:
    with pytest.raises(InputError, match="lasts up to 120 s"):
        tiny_memory.frames(seconds)


@pytest.mark.parametrize("count", [1, 3, 16])
def test_any_number_of_threads_generates_the_same(
    tiny_memory: Memory, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    strengths, made = np.linspace(0.2, 1, tiny_memory.units).astype(np.float32), []
    for threads, host in (("1", 1), ("2", 2), ("2", 1)):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        with threadpool_limits(host):  # as a program around ours may have done
            mel = tiny_memory.generate(tiny_memory.latents(count, 3), None, strengths)
            made.append((mel, tiny_memory.invert(mel)))
    for mel, sound in made[1:]:
        assert np.array_equal(mel, made[0][0])
        assert np.array_equal(sound, made[0][1])
