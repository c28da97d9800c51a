"""The networks as they are learned, with PyTorch, and as they are played, without: the same."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fugue_state.arrays import Array
from fugue_state.audio.mel import MelTransform
from fugue_state.config import MelSpec, ModelConfig, VocoderConfig
from fugue_state.memory import layers, vocoder
from fugue_state.memory.catalogue import find_memory
from fugue_state.memory.checkpoint import load_memory
from fugue_state.memory.vocoder import LearnedMagnitudes

from .conftest import chord, untrained_tensors
from .test_vocoder import SMALL, tiny_net

torch = pytest.importorskip("torch")

from torch.nn import functional  # noqa: E402

from fugue_state.learning import networks  # noqa: E402
from fugue_state.learning import vocoder as learned  # noqa: E402
from fugue_state.learning.arrays import arrays_of, as_played, fill, net_as_played  # noqa: E402

if TYPE_CHECKING:
    from torch import Tensor

TOLERANCE = 1e-5


@pytest.fixture(scope="module", params=["tiny", "long", "nameless", "guitar"])
def played(request: pytest.FixtureRequest, tiny_generator: layers.Generator) -> layers.Generator:
    """A memory with random weights, one of another length, one without labels, and the one that ships."""
    if request.param == "guitar":
        return load_memory(find_memory("guitar"))[0]
    if request.param == "tiny":
        return tiny_generator
    labels = ("a", "b") if request.param == "long" else ()
    config, frames = ModelConfig(feature_maps=6, latent_size=9, labels=labels), 192 if labels else 128
    rng, tensors = np.random.default_rng(5), untrained_tensors(config, frames, seed=2)
    for name in [name for name, tensor in tensors.items() if tensor.ndim]:
        by = rng.uniform(0.5, 6.0, tensors[name].shape).astype(np.float32)
        tensors[name] = tensors[name] * by + (0.05 * by if "norm" in name else 0.0)
    return layers.Generator(config, frames, tensors)


@pytest.fixture(scope="module")
def learning(played: layers.Generator) -> networks.Generator:
    """The same with PyTorch."""
    network = networks.Generator(played.config, played.frames)
    fill(network, played.tensors, Path("guitar"))
    return network.eval()


def latents(generator: layers.Generator, count: int) -> Array:
    return np.random.default_rng(count).standard_normal((count, generator.config.latent_size), dtype=np.float32)


def step_by_step(
    network: networks.Generator, z: Array, label: int, strengths: Mapping[str, Array], frames: int
) -> tuple[Array, dict[str, Array]]:
    """Return the mel (M, T) and every layer's maps (H, W, C) of a latent, by PyTorch's own layers."""
    maps: dict[str, Array] = {}
    with torch.no_grad():
        x: Tensor = torch.from_numpy(z)[None, :, None, None]
        for name, layer in network.deconv.items():
            x = layer(x, torch.tensor([label]))
            if name in strengths:
                x = x * torch.from_numpy(strengths[name])[:, None, None]
            maps[name] = x[0].permute(1, 2, 0).numpy()
            if name == "deconv1" and frames != network.frames:
                x = functional.interpolate(x, (4, frames // 32), mode="bilinear", align_corners=True)
        return torch.tanh(network.output(x))[0, 0].numpy(), maps


def far_apart(one: Array, other: Array) -> float:
    """The largest difference, as a part of the largest value if that is above 1."""
    assert one.shape == other.shape
    assert np.isfinite(one).all()
    return float(np.abs(one - other).max() / max(1.0, np.abs(other).max()))


def test_every_label_sounds_as_learned(played: layers.Generator, learning: networks.Generator) -> None:
    labels = max(len(played.config.labels), 1)
    z = latents(played, labels)
    with torch.no_grad():
        wanted = learning(torch.from_numpy(z), torch.arange(labels))[:, 0].numpy()
    for label, latent in enumerate(z):
        assert far_apart(played(latent, label), wanted[label]) < TOLERANCE
    assert labels == 1 or np.abs(played(z[0], 0) - played(z[0], labels - 1)).max() > 1e-3


@pytest.mark.parametrize("frames", [None, 32, 96, 128, 384])
@pytest.mark.parametrize("left", ["intact", "some", "half"])
def test_what_is_left_sounds_as_learned_at_any_length(
    played: layers.Generator, learning: networks.Generator, frames: int | None, left: str
) -> None:
    rng, of = np.random.default_rng(1), played.config.layers
    strengths: dict[str, Array] = {}
    if left == "some":
        strengths = {name: (rng.random(units) < 0.7).astype(np.float32) for name, units in of.items()}
    elif left == "half":
        strengths = {name: rng.random(units, dtype=np.float32) for name, units in of.items() if name != "deconv3"}
    z, label = latents(played, 2)[1], len(played.config.labels) // 2
    mel, maps = step_by_step(learning, z, label, strengths, frames or played.frames)
    seen: dict[str, Array] = {}
    found = played(z, label, strengths, frames=frames, seen=seen.__setitem__)
    assert far_apart(found, mel) < TOLERANCE
    assert list(seen) == list(maps)
    for name, own in maps.items():
        assert far_apart(seen[name], own) < TOLERANCE
    for name, size in played.map_sizes(frames or played.frames).items():
        assert seen[name].shape[:2] == size
    if left == "intact":
        assert np.array_equal(played.after("deconv3", seen["deconv3"], label), found)


@pytest.fixture(scope="module", params=["tiny", "other", "guitar"])
def net(request: pytest.FixtureRequest) -> tuple[vocoder.MagnitudeNet, MelSpec]:
    """The network of a vocoder: two with random weights, and the one that ships."""
    if request.param == "guitar":
        _, header, net = load_memory(find_memory("guitar"))
        assert net is not None
        return net, header.mel
    if request.param == "tiny":
        return tiny_net(), MelSpec(frames=32)
    spec = MelSpec(n_fft=1024, hop=256, fmax_hz=10_000)
    return tiny_net(spec, VocoderConfig(channels=24, blocks=3, local=12, kernel=4, entry=4, look_ahead=1)), spec


@pytest.mark.parametrize("frames", [1, 2, 40])
def test_a_vocoder_s_network_hears_as_learned(net: tuple[vocoder.MagnitudeNet, MelSpec], frames: int) -> None:
    own, spec = net
    network = learned.MagnitudeNet(own.config, spec)
    fill(network, own.tensors, Path("guitar"))
    audio = np.stack([chord((45, 52, 57, 60)), chord((40, 47, 64), seed=3)])[:, : frames * spec.hop]
    mel = MelTransform(spec).encode(audio)
    guess = LearnedMagnitudes(own, spec).guess(mel)
    with torch.no_grad():
        wanted = network(torch.from_numpy(mel), torch.from_numpy(guess)).numpy()
    found = own(mel, guess)
    assert found.shape == (2, frames, spec.n_fft // 2 + 1)
    assert far_apart(found, wanted) < TOLERANCE
    assert np.abs(found[..., : own.known] - guess).max() > 0.1


def test_a_vocoder_s_network_goes_on_as_learned(net: tuple[vocoder.MagnitudeNet, MelSpec]) -> None:
    own, spec = net
    network = learned.MagnitudeNet(own.config, spec)
    fill(network, own.tensors, Path("guitar"))
    rng = np.random.default_rng(0)
    past = [rng.standard_normal(array.shape, dtype=np.float32) for array in own.nothing(2)]
    for count in (1, 4):
        mel = rng.uniform(-1, 1, (2, own.config.entry - 1 + count, own.bands)).astype(np.float32)
        guess = rng.uniform(-12, 0, (2, count + 1, own.known)).astype(np.float32)
        with torch.no_grad():
            given = torch.from_numpy(mel), torch.from_numpy(guess)
            wanted, left = network.advance(*given, [torch.from_numpy(p) for p in past])
        found, kept = own.advance(mel, guess, past)
        assert far_apart(found, wanted.numpy()) < TOLERANCE
        for mine, theirs in zip(kept, left, strict=True):
            assert far_apart(mine, theirs.numpy()) < TOLERANCE
        past = kept


def test_the_shapes_that_are_played_are_those_that_are_learned() -> None:
    for frames in (32, 128, 192):
        for labels in ((), ("a",), ("a", "b", "c")):
            config = ModelConfig(feature_maps=4, latent_size=7, labels=labels)
            state = networks.Generator(config, frames).state_dict()
            assert {n: tuple(t.shape) for n, t in state.items()} == layers.Generator.shapes(config, frames)
    for spec in (MelSpec(), MelSpec(n_fft=1024, hop=256, fmax_hz=11_025)):
        state = learned.MagnitudeNet(SMALL, spec).state_dict()
        assert {n: tuple(t.shape) for n, t in state.items()} == vocoder.MagnitudeNet.shapes(SMALL, spec)


def test_what_is_learned_later_does_not_change_what_is_played() -> None:
    torch.manual_seed(0)
    network = networks.Generator(ModelConfig(feature_maps=2, latent_size=4))
    generator = as_played(network)
    z = np.ones(4, np.float32)
    before, tensors = generator(z, 0), arrays_of(network)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1.0)
    assert np.array_equal(generator(z, 0), before)
    assert all(np.array_equal(generator.tensors[name], tensor) for name, tensor in tensors.items())
    fill(network, generator.tensors, Path("guitar"))
    assert all(np.array_equal(array, tensors[name]) for name, array in arrays_of(network).items())
    torch.manual_seed(1)
    vocoding = learned.MagnitudeNet(SMALL, MelSpec())
    net = net_as_played(vocoding)
    mel, guess = np.zeros((1, 128, 3), np.float32), np.zeros((1, 3, net.known), np.float32)
    first = net(mel, guess)
    with torch.no_grad():
        vocoding.leave.bias.fill_(1.0)
    assert np.array_equal(net(mel, guess), first)
    assert not np.array_equal(net_as_played(vocoding)(mel, guess), first)


def test_the_discriminator_is_spectrally_normalized() -> None:
    torch.manual_seed(0)
    critic = networks.Discriminator(8, 2)
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
    critic = networks.Discriminator(4, 2).eval()
    mel = torch.randn(2, 1, 128, 128)
    with torch.no_grad():
        assert (critic(mel, torch.tensor([0, 0]))[0] - critic(mel, torch.tensor([1, 1]))[0]).abs().min() > 1e-5


def test_a_discriminator_with_a_decoder_tells_what_it_saw() -> None:
    torch.manual_seed(0)
    critic = networks.Discriminator(8, 2, decodes=True)
    mel, label = torch.tanh(torch.randn(3, 1, 128, 256)), torch.tensor([0, 1, 0])
    scores, told = critic(mel, label, 1, 2)
    assert scores.shape == (3,)
    assert told.shape == (2, 1, 32, 64)
    plain = networks.Discriminator(8, 2)
    assert plain(mel, label, 1, 2)[1] is None


def test_statistics_are_those_of_the_weights_as_they_are() -> None:
    torch.manual_seed(0)
    generator = networks.Generator(ModelConfig(feature_maps=4, latent_size=8))
    with torch.no_grad():
        next(generator.deconv["deconv1"].parameters()).mul_(50)
    z, label = torch.randn(256, 8), torch.zeros(256, dtype=torch.int64)
    generator.eval()
    stale = generator.deconv["deconv1"](z[:, :, None, None], label)
    networks.reestimate_statistics(generator, seed=0, batches=8, batch=64)
    with torch.no_grad():
        fresh = generator.deconv["deconv1"](z[:, :, None, None], label)
    assert stale.std() > 1.2
    assert fresh.std() == pytest.approx(0.58, abs=0.06)  # half-rectified unit normal
    assert not generator.training
