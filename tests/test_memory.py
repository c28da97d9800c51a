from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from fugue_state.audio.inverters import make_inverter
from fugue_state.config import MelSpec, ModelConfig
from fugue_state.errors import CheckpointError, InputError
from fugue_state.memory import checkpoint
from fugue_state.memory.catalogue import HEADER, MemoryHeader, find_memory
from fugue_state.memory.checkpoint import load_memory, save_memory, write_tensors
from fugue_state.memory.losses import discriminator_hinge, generator_hinge, mel_statistics
from fugue_state.memory.memory import Memory
from fugue_state.memory.networks import Discriminator, Generator, UpConv, reestimate_statistics

from .conftest import LABELS, Sound


def strengths_of(memory: Memory, seed: int) -> Sound:
    rng = np.random.default_rng(seed)
    return (rng.random(memory.units) > 0.4).astype(np.float32)


def test_intact_is_exact(tiny_memory: Memory) -> None:
    z = tiny_memory.latents(5, 1)
    plain = tiny_memory.generate(z, "C")
    assert torch.equal(plain, tiny_memory.generate(z, "C", np.ones(tiny_memory.units)))
    assert torch.equal(plain, tiny_memory.generate(z, "C", np.ones((5, tiny_memory.units))))


def test_forget_then_recall_is_exact(tiny_memory: Memory) -> None:
    z = tiny_memory.latents(3, 1)
    before = tiny_memory.generate(z)
    forgotten = tiny_memory.generate(z, strengths=strengths_of(tiny_memory, 0))
    assert (forgotten - before).abs().max() > 0.05
    assert torch.equal(before, tiny_memory.generate(z, strengths=np.ones(tiny_memory.units)))


def cut(generator: Generator, keep: dict[str, torch.Tensor]) -> Generator:
    """Take units out of a generator for real: their filters, their norms, their outgoing weights."""
    result = copy.deepcopy(generator)
    incoming = torch.arange(generator.config.latent_size)
    for name, layer in result.deconv.items():
        kept = keep[name]
        layer.conv.weight = torch.nn.Parameter(layer.conv.weight[incoming][:, kept])  # type: ignore[union-attr, index]
        norm = layer.norm
        norm.gain = torch.nn.Parameter(norm.gain[:, kept])  # type: ignore[union-attr, index]
        norm.shift = torch.nn.Parameter(norm.shift[:, kept])  # type: ignore[union-attr, index]
        norm.norm.running_mean = norm.norm.running_mean[kept]  # type: ignore[union-attr, index]
        norm.norm.running_var = norm.norm.running_var[kept]  # type: ignore[union-attr, index]
        incoming = kept
    result.output.weight = torch.nn.Parameter(result.output.weight[incoming])
    return result


def test_ablation_is_removal(tiny_memory: Memory) -> None:
    strengths = strengths_of(tiny_memory, 4)
    parts = torch.split(torch.from_numpy(strengths), list(tiny_memory.layers.values()))
    keep = {name: torch.nonzero(p)[:, 0] for name, p in zip(tiny_memory.layers, parts, strict=True)}
    z, label = tiny_memory.latents(4, 2), torch.tensor([0, 1, 2, 0])
    with torch.no_grad():
        removed = cut(tiny_memory.generator, keep)(z, label)[:, 0]
    ablated = tiny_memory.generate(z, [LABELS[i] for i in label], strengths)
    assert (removed - ablated).abs().max() < 1e-5
    assert (ablated - tiny_memory.generate(z, [LABELS[i] for i in label])).abs().max() > 0.05


def test_half_a_strength_is_half_an_activation(tiny_memory: Memory) -> None:
    z = tiny_memory.latents(2, 0)
    strengths = np.ones(tiny_memory.units)
    strengths[3] = 0.5
    _, whole = tiny_memory.observe(z, "C")
    _, half = tiny_memory.observe(z, "C", strengths)
    assert torch.allclose(half[:, 3], whole[:, 3] / 2)
    assert torch.equal(half[:, :3], whole[:, :3])
    assert whole.shape == (2, tiny_memory.units)


def test_labels_make_a_difference_and_latents_follow_the_seed(tiny_memory: Memory) -> None:
    z = tiny_memory.latents(2, 5)
    assert torch.equal(z, tiny_memory.latents(2, 5))
    assert z[0, 0] == pytest.approx(-0.80193, abs=1e-5)  # the same on every machine
    assert (tiny_memory.generate(z, "Am") - tiny_memory.generate(z, "G")).abs().max() > 0.01
    in_turn = tiny_memory.generate(z)
    assert torch.equal(in_turn, tiny_memory.generate(z, ["Am", "C"]))


@pytest.mark.parametrize(("shape", "outputs", "options"), [
    ((3, 8, 1, 1), 6, {"kernel_size": (4, 8)}),  # a latent
    ((1, 8, 4, 8), 6, {"kernel_size": 4, "stride": 2, "padding": 1}),  # a small map
    ((3, 8, 6, 5), 1, {"kernel_size": 4, "stride": 2, "padding": 1}),  # one unit
])  # fmt: skip
@pytest.mark.parametrize("bias", [False, True])
def test_a_matrix_product_is_the_convolution(
    shape: tuple[int, ...], outputs: int, options: dict[str, Any], bias: bool
) -> None:
    layer, x = UpConv(shape[1], outputs, bias=bias, **options), torch.randn(shape)
    with torch.no_grad():
        wanted = functional.conv_transpose2d(x, layer.weight, layer.bias, layer.stride, options.get("padding", 0))
        layer.eval()
        with patch.object(torch.nn.ConvTranspose2d, "forward", side_effect=AssertionError("no product")):
            found = layer(x)
    assert found.shape == wanted.shape
    assert (found - wanted).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"chord": "Amm"}, r"unknown chord 'Amm'; did you mean 'Am'"),
        ({"chord": ["Am"]}, "1 chord for 2 latents"),
        ({"strengths": np.ones(3)}, r"strengths must be \(62,\) or \(2, 62\), got \(3,\)"),
        ({"strengths": np.full(62, 1.5)}, r"within 0\.\.1"),
        ({"strengths": np.full(62, np.nan)}, r"within 0\.\.1"),
        ({"z": torch.zeros(2, 3)}, r"z must be \(B, 16\), got \(2, 3\)"),
    ],
)
def test_wrong_requests_are_named(tiny_memory: Memory, kwargs: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        tiny_memory.generate(**({"z": tiny_memory.latents(2, 0)} | kwargs))  # type: ignore[arg-type]


def test_a_memory_without_labels_knows_no_chord() -> None:
    config = ModelConfig(feature_maps=2, latent_size=4)
    memory = Memory(Generator(config), MemoryHeader(name="blank", mel=MelSpec(), model=config))
    assert memory.generate(memory.latents(2, 0)).shape == (2, 128, 128)
    with pytest.raises(InputError, match="knows no chord by name"):
        memory.generate(memory.latents(1, 0), "Am")


def test_invert_gives_sound_of_the_right_length(tiny_memory: Memory) -> None:
    audio = tiny_memory.invert(tiny_memory.generate(tiny_memory.latents(2, 0)))
    assert audio.shape == (2, tiny_memory.spec.samples)
    assert torch.isfinite(audio).all()


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


def test_to_load_a_memory_imports_no_compiler() -> None:
    code = "import sys; from fugue_state import Memory; Memory.load('guitar'); sys.exit('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("half", [False, True])
def test_a_checkpoint_keeps_everything(
    tmp_path: Path, tiny_generator: Generator, tiny_header: MemoryHeader, half: bool
) -> None:
    path = tmp_path / "m.safetensors"
    save_memory(path, tiny_generator, tiny_header, half=half)
    generator, header, _ = load_memory(path)
    assert header == tiny_header
    z, label = torch.randn(3, 16), torch.tensor([0, 1, 2])
    with torch.no_grad():
        difference = (generator(z, label) - tiny_generator(z, label)).abs().max()
    assert difference < (0.02 if half else 1e-9)


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

    save_file({"a": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    write_tensors(tmp_path / "state.safetensors", "training state", tiny_header, {"a": torch.zeros(1)})
    write_tensors(tmp_path / "short.safetensors", "memory", tiny_header, {"output.bias": torch.zeros(1)})
    torch.save({"a": torch.zeros(2)}, tmp_path / "torch.pt")
    monkeypatch.setattr(checkpoint, "FORMAT", 99)
    save_memory(tmp_path / "future.safetensors", tiny_generator, tiny_header)
    monkeypatch.undo()
    weights = tiny_generator.state_dict()
    nan = {name: t.clone() for name, t in weights.items()}
    nan["output.bias"][0] = float("nan")
    write_tensors(tmp_path / "nan.safetensors", "memory", tiny_header, nan)
    odd = json.dumps({"kind": "memory", "format": 1, "header": {"name": "x", "mell": 1}})
    save_file({"a": torch.zeros(2)}, tmp_path / "odd.safetensors", {HEADER: odd})
    save_file({"a": torch.zeros(2)}, tmp_path / "torn.safetensors", {HEADER: "{"})
    for path, message in [
        (tmp_path / "missing.safetensors", "no such checkpoint"),
        (file("cut.safetensors", data[: len(data) // 2]), "damaged or not a checkpoint"),
        (file("stub.safetensors", data[:50]), "damaged or not a checkpoint"),
        (file("zero.safetensors", b""), "damaged or not a checkpoint"),
        (file("plain.pkl", pickle.dumps({"a": 1})), "pickled checkpoint.*never loaded"),
        (tmp_path / "torch.pt", "pickled checkpoint.*never loaded"),
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


def test_the_discriminator_is_spectrally_normalized() -> None:
    torch.manual_seed(0)
    critic = Discriminator(8, 2)
    critic.train()
    mel, label = torch.randn(4, 1, 128, 128), torch.tensor([0, 1, 0, 1])
    with torch.no_grad():
        for _ in range(30):  # power iterations
            critic(mel, label)
    weights = [m.weight for m in critic.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    assert len(weights) == 8
    for weight in weights:
        assert torch.linalg.matrix_norm(weight.detach().flatten(1), 2) == pytest.approx(1.0, abs=0.02)


def test_conditional_scores_depend_on_the_label() -> None:
    torch.manual_seed(0)
    critic = Discriminator(4, 2).eval()
    mel = torch.randn(2, 1, 128, 128)
    with torch.no_grad():
        assert (critic(mel, torch.tensor([0, 0])) - critic(mel, torch.tensor([1, 1]))).abs().min() > 1e-5


def test_hinge_losses_at_their_corners() -> None:
    real, fake = torch.tensor([2.0, 0.0]), torch.tensor([-2.0, 1.0])
    assert discriminator_hinge(real, fake) == pytest.approx(0.5 + 1.0)
    assert generator_hinge(fake) == pytest.approx(0.5)


def test_the_mel_loss_compares_distributions_not_pairs() -> None:
    torch.manual_seed(0)
    real = torch.randn(16, 1, 8, 8)
    assert mel_statistics(real, real[torch.randperm(16)]) == pytest.approx(0.0, abs=1e-6)
    assert mel_statistics(real, real + 0.5) == pytest.approx(0.25, abs=1e-5)
    blurred = real.mean(0, keepdim=True).expand_as(real)
    assert mel_statistics(real, blurred) > 0.5  # the average of all is punished, pairs would reward it


def test_statistics_are_those_of_the_weights_as_they_are() -> None:
    torch.manual_seed(0)
    generator = Generator(ModelConfig(feature_maps=4, latent_size=8))
    with torch.no_grad():
        next(generator.deconv["deconv1"].parameters()).mul_(50)
    z, label = torch.randn(256, 8), torch.zeros(256, dtype=torch.int64)
    generator.eval()
    stale = generator.deconv["deconv1"](z[:, :, None, None], label)
    reestimate_statistics(generator, seed=0, batches=8, batch=64)
    with torch.no_grad():
        fresh = generator.deconv["deconv1"](z[:, :, None, None], label)
    assert stale.std() > 1.2
    assert fresh.std() == pytest.approx(0.58, abs=0.06)  # half-rectified unit normal
    assert not generator.training


@pytest.mark.parametrize("frames", [32, 128, 256])
def test_segments_may_have_other_lengths(tmp_path: Path, frames: int) -> None:
    header = MemoryHeader(name="long", mel=MelSpec(frames=frames), model=ModelConfig(feature_maps=2, labels=LABELS))
    save_memory(tmp_path / "m.safetensors", Generator(header.model, frames), header)
    memory = Memory.load(tmp_path / "m.safetensors")
    mel = memory.generate(memory.latents(2, 0), "Am")
    assert mel.shape == (2, 128, frames)
    assert memory.invert(mel).shape == (2, frames * 512)


def test_a_length_between_is_refused() -> None:
    with pytest.raises(InputError, match="multiple of 32, got 100"):
        Generator(ModelConfig(feature_maps=2), 100)


def test_a_sound_can_be_stretched_inside_the_network(tiny_memory: Memory) -> None:
    z = tiny_memory.latents(2, 0)
    mel = tiny_memory.generate(z, "Am")
    assert torch.equal(tiny_memory.generate(z, "Am", frames=128), mel)
    for frames in (64, 256, 384):
        stretched = tiny_memory.generate(z, "Am", frames=frames)
        assert stretched.shape == (2, 128, frames)


def test_a_stretched_memory_can_still_forget(tiny_memory: Memory) -> None:
    z = tiny_memory.latents(2, 0)
    ones = torch.ones(tiny_memory.units)
    long = tiny_memory.generate(z, "Am", frames=256)
    assert torch.equal(tiny_memory.generate(z, "Am", ones, frames=256), long)
    assert not torch.equal(tiny_memory.generate(z, "Am", ones * 0.5, frames=256), long)


@pytest.mark.parametrize(("seconds", "frames"), [(None, 128), (0.1, 32), (2.9, 128), (3.0, 160), (60.0, 2592)])
def test_seconds_become_frames(tiny_memory: Memory, seconds: float | None, frames: int) -> None:
    assert tiny_memory.frames(seconds) == frames


@pytest.mark.parametrize("seconds", [0.0, -1.0, 121.0, float("nan")])
def test_lengths_out_of_range_are_refused(tiny_memory: Memory, seconds: float) -> None:
    with pytest.raises(InputError, match="lasts up to 120 s"):
        tiny_memory.frames(seconds)


def test_any_number_of_threads_generates_the_same(tiny_memory: Memory) -> None:
    before = torch.get_num_threads()
    strengths = np.linspace(0.2, 1, tiny_memory.units).astype(np.float32)
    try:
        for count in (1, 3, 16):
            made = []
            for threads in (1, 2):
                torch.set_num_threads(threads)
                mel = tiny_memory.generate(tiny_memory.latents(count, 3), None, strengths)
                made.append((mel, tiny_memory.invert(mel)))
                assert torch.get_num_threads() == threads
            assert torch.equal(made[0][0], made[1][0])
            assert torch.equal(made[0][1], made[1][1])
    finally:
        torch.set_num_threads(before)
