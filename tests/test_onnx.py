"""The networks of a memory as ONNX files."""

from __future__ import annotations

import json
import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.fft
import soundfile
from click.testing import CliRunner

from fugue_state.arrays import Array
from fugue_state.audio.mel import MelTransform
from fugue_state.cli import main
from fugue_state.config import MelSpec, VocoderConfig
from fugue_state.errors import InputError, OutputError
from fugue_state.export import onnx as exported
from fugue_state.export.onnx import FILES, LARGEST_DIFFERENCE, opened, write_onnx
from fugue_state.export.onnx_graphs import vocoder_model
from fugue_state.measure.profile import Profile
from fugue_state.memory.bends import noise_phases
from fugue_state.memory.memory import Memory
from fugue_state.memory.vocoder import LearnedMagnitudes
from tests.conftest import pluck, untrained_net

pytest.importorskip("onnxruntime")


@pytest.fixture
def profile(tiny_memory: Memory) -> Profile:
    return Profile.of(tiny_memory)


@pytest.fixture
def folder(tiny_memory: Memory, profile: Profile, tmp_path: Path) -> Path:
    write_onnx(tiny_memory, profile, tmp_path / "net")
    return tmp_path / "net"


def generated(folder: Path, name: str, inputs: Mapping[str, Any]) -> Array:
    return np.asarray(opened(folder / "generator.onnx").run([name], dict(inputs))[0])


def test_strengths_differ_within_a_batch(tiny_memory: Memory, folder: Path) -> None:
    z, label = tiny_memory.latents(3, seed=5), np.array([2, 0, 1])
    strengths = np.random.default_rng(0).random((3, tiny_memory.units)).astype(np.float32)
    cut = np.split(strengths, np.cumsum(list(tiny_memory.layers.values()))[:-1], axis=1)
    given = {f"strengths_{name}": each for name, each in zip(tiny_memory.layers, cut, strict=True)}
    wanted = tiny_memory.generate(z, [tiny_memory.labels[i] for i in label], strengths)
    made = generated(folder, "mel", {"latent": z, "label": label} | given)
    np.testing.assert_allclose(made, wanted, atol=LARGEST_DIFFERENCE)
    assert np.abs(made - generated(folder, "mel", {"latent": z, "label": label})).max() > 0.01


def test_noise_is_given_layer_by_layer(tiny_memory: Memory, folder: Path) -> None:
    z, label = tiny_memory.latents(1, seed=5), np.array([1])
    inputs: dict[str, Any] = {"latent": z, "label": label}
    sizes = tiny_memory.generator.map_sizes(tiny_memory.spec.frames)
    for number, (name, units) in enumerate(tiny_memory.layers.items()):
        maps = generated(folder, f"maps_{name}", inputs)
        phases = noise_phases(4, number, units, sizes[name]).transpose(2, 0, 1)
        inputs[f"replacement_{name}"] = scipy.fft.irfft2(np.abs(scipy.fft.rfft2(maps)) * phases, s=sizes[name])
        inputs[f"strengths_{name}"] = np.full((1, units), 0.25, dtype=np.float32)
    bend = tiny_memory.bend("noise", seed=4)
    wanted = tiny_memory.generate(z, "C", np.full(tiny_memory.units, 0.25), bend=bend)
    np.testing.assert_allclose(generated(folder, "mel", inputs), wanted, atol=LARGEST_DIFFERENCE)


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("frames", [1, 2, 45])
def test_the_vocoder_takes_any_number_of_frames(tmp_path: Path, power: int, frames: int) -> None:
    spec = MelSpec(power=power, n_fft=1024, hop=256)
    net = untrained_net(VocoderConfig(channels=16, blocks=2, local=8, low=32, air=4), spec)
    rng = np.random.default_rng(1)
    for name in ("leave", "above", "correct"):  # so that every part is heard
        net.tensors[f"{name}.weight"][:] = rng.normal(0.0, 0.1, net.tensors[f"{name}.weight"].shape)
    (tmp_path / "vocoder.onnx").write_bytes(vocoder_model(net, spec, "").SerializeToString())
    # Of sounds: for a mel of noise, the lobes found depend on rounding.
    sounds = np.stack([pluck(45), pluck(52)])
    mel = np.ascontiguousarray(MelTransform(spec).encode(sounds)[..., :frames])
    wanted = LearnedMagnitudes(net, spec)(mel)
    made = opened(tmp_path / "vocoder.onnx").run(None, {"mel": mel})[0]
    np.testing.assert_allclose(made, wanted, atol=LARGEST_DIFFERENCE * max(1.0, float(wanted.max())))


def test_the_example_sounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory.load("guitar")  # what has learned nothing makes mels that no sound has
    write_onnx(memory, Profile.of(memory, "guitar"), tmp_path / "net")
    monkeypatch.chdir(tmp_path / "net")
    runpy.run_path("example.py")
    sound, rate = soundfile.read("example.wav", dtype="float32")
    assert rate == memory.spec.sample_rate_hz
    about = json.loads(Path("memory.json").read_text())
    mel = memory.generate(np.array([about["example"]["latent"]]), about["labels"][0])
    heard = MelTransform(memory.spec).encode(sound[None])
    shared = min(mel.shape[2], heard.shape[2])
    np.testing.assert_allclose(heard[..., :shared].mean(), mel[..., :shared].mean(), atol=0.05)
    assert np.corrcoef(mel[..., :shared].ravel(), heard[..., :shared].ravel())[0, 1] > 0.95


def test_what_is_told_of_a_memory(tiny_memory: Memory, profile: Profile, folder: Path) -> None:
    about = json.loads((folder / "memory.json").read_text())
    assert about["labels"] == ["Am", "C", "G"]
    assert {layer["name"]: layer["units"] for layer in about["layers"]} == dict(tiny_memory.layers)
    assert about["order_by_saliency"][0] == profile.names[int(np.argmax(profile.saliency))]
    assert max(about["largest_differences"].values()) < LARGEST_DIFFERENCE
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)


def test_graphs_that_differ_are_not_written(
    tiny_memory: Memory, profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exported, "LARGEST_DIFFERENCE", 0.0)
    with pytest.raises(OutputError, match="differs from the memory by"):
        write_onnx(tiny_memory, profile, tmp_path / "net")
    assert not any(tmp_path.glob("*net*"))


def test_a_folder_of_others_is_not_replaced(tiny_memory: Memory, profile: Profile, folder: Path) -> None:
    with pytest.raises(InputError, match="not empty"):
        write_onnx(tiny_memory, profile, folder)
    write_onnx(tiny_memory, profile, folder, force=True)
    (folder / "song.txt").write_text("mine")
    with pytest.raises(InputError, match=r"song\.txt"):
        write_onnx(tiny_memory, profile, folder, force=True)


def test_what_is_not_installed_is_named(tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fugue_state.errors.find_spec", lambda _: None)
    result = CliRunner().invoke(main, ["export", "onnx", str(tiny_path), "-o", str(tmp_path / "net")])
    assert result.exit_code == 2
    assert '".[onnx]"' in result.stderr
