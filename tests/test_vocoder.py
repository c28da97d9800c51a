from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import special

from fugue_state.arrays import Array
from fugue_state.audio.inverters import SpectralInverter
from fugue_state.audio.mel import MelTransform
from fugue_state.config import MelSpec, PhaseConfig, VocoderConfig
from fugue_state.errors import AudioError, CheckpointError, InputError
from fugue_state.memory.catalogue import MemoryHeader, VocoderHeader
from fugue_state.memory.checkpoint import load_memory, load_vocoder, save_memory, save_vocoder
from fugue_state.memory.layers import Generator
from fugue_state.memory.memory import Memory
from fugue_state.memory.vocoder import LearnedMagnitudes, Linear, MagnitudeNet, Norm, Stream, Unlearned, gelu

from .conftest import chord, untrained_net

SPEC = MelSpec(frames=32)
INTEGRATED = PhaseConfig(method="realtime")  # and no iterations: what a stream can do
SMALL = VocoderConfig(channels=16, blocks=2, low=32, local=8, air=4)


def tiny_net(spec: MelSpec = SPEC, config: VocoderConfig = SMALL, seed: int = 0) -> MagnitudeNet:
    """Untrained, but moved away from the guess that it starts from."""
    tensors, rng = untrained_net(config, spec, seed).tensors, np.random.default_rng(seed)
    moved = {
        f"{layer}.weight": rng.normal(0.0, 0.05, tensors[f"{layer}.weight"].shape).astype(np.float32)
        for layer in ("leave", "above", "correct")
    }
    return MagnitudeNet(config, spec, tensors | moved)


def a_mel(frames: int = 32) -> Array:
    return MelTransform(SPEC).encode(chord((45, 52, 57, 60), 3.0)[None, : frames * 512])


@pytest.fixture
def learned() -> LearnedMagnitudes:
    return LearnedMagnitudes(tiny_net(), SPEC)


def test_an_untrained_network_returns_its_guess() -> None:
    magnitudes = LearnedMagnitudes(untrained_net(SMALL, SPEC), SPEC)
    found = magnitudes(a_mel())
    known = magnitudes.net.known
    assert found.shape == (1, 32, 1025)
    assert np.abs(found[..., :known] - np.exp(magnitudes.guess(a_mel()))).max() < 1e-5
    assert 0 < known * 22_050 / 2048 - SPEC.fmax_hz < 200


def test_gelu_is_the_exact_one_within_a_millionth() -> None:
    for values in (np.linspace(-8, 8, 100_001), np.linspace(-0.01, 0.01, 1001), np.array([-1e30, -1000.0, -40.0, 8.0])):
        x = values.astype(np.float32)
        exact = x.astype(np.float64) * special.ndtr(x.astype(np.float64))
        assert np.abs(gelu(x.copy()) - exact).max() < 1e-6
    large = np.array([40.0, 1000.0, 1e30], np.float32)
    assert np.allclose(gelu(large.copy()), large, rtol=2e-7, atol=0.0)
    block = np.random.default_rng(0).standard_normal((3, 5, 7), dtype=np.float32)
    alone = np.stack([gelu(row.copy()) for row in block])
    assert np.abs(gelu(block) - alone).max() < 1e-6  # in place, whatever the shape


def test_a_layer_s_normalization_and_linear_map_are_their_formulas() -> None:
    rng = np.random.default_rng(0)
    x = 3.0 + 5.0 * rng.standard_normal((2, 3, 37), dtype=np.float32)
    weight, bias = rng.standard_normal((2, 37), dtype=np.float32)
    wide = x.astype(np.float64)
    normal = (wide - wide.mean(-1, keepdims=True)) / np.sqrt(wide.var(-1, keepdims=True) + 1e-5)
    before = x.copy()
    assert np.abs(Norm({"a.weight": weight, "a.bias": bias}, "a")(x) - (normal * weight + bias)).max() < 1e-5
    assert np.array_equal(x, before)
    maps = rng.standard_normal((4, 37), dtype=np.float32)
    found = Linear({"a.weight": maps, "a.bias": bias[:4]}, "a")(x)
    assert np.abs(found - (wide @ maps.T + bias[:4])).max() < 1e-4


@pytest.mark.parametrize("lengths", [(32,), (1,) * 32, (5, 27)])
def test_what_stands_in_for_a_vocoder_streams_too(lengths: tuple[int, ...]) -> None:
    stream = Stream(LearnedMagnitudes(Unlearned(SPEC), SPEC), seed=4)
    mel, state, parts = a_mel()[0], stream.start(), []
    for part in np.split(mel, np.cumsum(lengths)[:-1], axis=1):
        samples, state = stream.step(part, state)
        parts.append(samples)
    played = np.concatenate([*parts, stream.finish(state)])[stream.latency :]
    assert np.abs(played - stream.whole(mel)).max() < 1e-5
    whole = SpectralInverter(LearnedMagnitudes(Unlearned(SPEC), SPEC), INTEGRATED, seed=4)(mel[None])[0]
    assert np.abs(played - whole).max() < 1e-5


def test_no_frame_depends_on_what_comes_after_its_look_ahead(learned: LearnedMagnitudes) -> None:
    mel = a_mel()
    other = mel.copy()
    other[..., 20:] = -other[..., 20:]
    before, after = learned(mel), learned(other)
    ahead = SMALL.look_ahead
    assert np.array_equal(before[:, : 20 - ahead], after[:, : 20 - ahead])
    assert np.abs(before[:, 20 - ahead] - after[:, 20 - ahead]).max() > 0


@pytest.mark.parametrize("lengths", [(32,), (1,) * 32, (1, 2, 3, 1, 25), (30, 2)])
def test_a_stream_plays_what_the_whole_mel_gives(learned: LearnedMagnitudes, lengths: tuple[int, ...]) -> None:
    mel = a_mel()
    whole = SpectralInverter(learned, INTEGRATED, seed=4)(mel)[0]
    stream = Stream(learned, seed=4)
    state, parts = stream.start(), []
    for part in np.split(mel[0], np.cumsum(lengths)[:-1], axis=1):
        samples, state = stream.step(part, state)
        assert len(samples) == part.shape[1] * SPEC.hop
        parts.append(samples)
    played = np.concatenate([*parts, stream.finish(state)])
    assert (played[: stream.latency] == 0).all()
    assert np.abs(played[stream.latency :] - whole).max() < 1e-5
    assert stream.latency <= 2 * SPEC.hop + SPEC.n_fft


def test_a_state_can_be_gone_on_from_twice(learned: LearnedMagnitudes) -> None:
    stream, mel = Stream(learned), a_mel()[0]
    _, state = stream.step(mel[:, :8], stream.start())
    one, _ = stream.step(mel[:, 8:16], state)
    again, _ = stream.step(mel[:, 8:16], state)
    assert np.array_equal(one, again)
    assert len(stream.finish(stream.start())) == stream.latency


def test_a_sudden_change_makes_no_click_and_no_long_pre_echo(learned: LearnedMagnitudes) -> None:
    steady = a_mel(96)[0]
    changed = steady.copy()
    at = 48
    changed[:, at:] = np.roll(steady[:, at:], 17, axis=0)
    stream = Stream(LearnedMagnitudes(untrained_net(SMALL, SPEC), SPEC))
    before, after = (stream.step(mel, stream.start())[0][stream.latency :] for mel in (steady, changed))
    around = slice((at - 6) * SPEC.hop, (at + 6) * SPEC.hop)
    steps = [float(np.abs(np.diff(sound[around])).max()) for sound in (before, after)]
    later = float(np.abs(np.diff(after[(at + 6) * SPEC.hop :])).max())
    assert steps[1] <= 2 * max(steps[0], later)
    moved = np.nonzero(np.abs(before - after[: len(before)]) > 1e-5)[0]
    # Half a window, and the frames that the phase and the network look ahead.
    assert moved[0] >= at * SPEC.hop - SPEC.n_fft // 2 - (SMALL.look_ahead + 1) * SPEC.hop


def test_wrong_frames_are_refused(learned: LearnedMagnitudes) -> None:
    stream = Stream(learned)
    for wrong in (np.zeros((64, 4)), np.zeros((128, 0)), np.full((128, 1), np.nan)):
        with pytest.raises(AudioError, match="mel"):
            stream.step(wrong.astype(np.float32), stream.start())


@pytest.mark.parametrize("half", [False, True])
def test_a_memory_carries_its_vocoder(
    tmp_path: Path, tiny_generator: Generator, tiny_header: MemoryHeader, half: bool
) -> None:
    net = tiny_net(tiny_header.mel)
    header = tiny_header.model_copy(update={"vocoder": VocoderHeader(config=SMALL, mel=tiny_header.mel)})
    save_memory(tmp_path / "m.safetensors", tiny_generator, header, net=net, half=half)
    memory = Memory.load(tmp_path / "m.safetensors", quality="live")
    assert memory.net is not None
    loaded = memory.net.tensors
    assert loaded.keys() == net.tensors.keys()
    assert all(np.allclose(t, loaded[name], rtol=0, atol=1e-2 if half else 0) for name, t in net.tensors.items())
    own = memory.invert(a_mel())
    assert np.abs(own - Memory.load(tmp_path / "m.safetensors", inverter="lobes").invert(a_mel())).max() > 1e-3
    assert np.array_equal(own, memory.make_inverter("vocoder", "live")(a_mel()))
    assert len(memory.stream().step(a_mel()[0], memory.stream().start())[0]) == 32 * 512


def test_a_memory_without_a_vocoder_says_so(tiny_memory: Memory) -> None:
    for wanted in (lambda: tiny_memory.make_inverter("vocoder"), tiny_memory.stream):
        with pytest.raises(InputError, match="'tiny' has no vocoder; `fugue vocoder`"):
            wanted()


def test_a_vocoder_of_another_mel_is_refused_by_name(
    tmp_path: Path, tiny_generator: Generator, tiny_header: MemoryHeader
) -> None:
    other = MelSpec(fmax_hz=7000.0, frames=32)
    vocoder = VocoderHeader(config=SMALL, mel=other)
    path = tmp_path / "m.safetensors"
    save_memory(path, tiny_generator, tiny_header.model_copy(update={"vocoder": vocoder}), net=tiny_net(other))
    with pytest.raises(CheckpointError, match=r"its vocoder .*another MelSpec: fmax_hz 7000\.0 instead of 8000\.0"):
        load_memory(path)


def test_a_vocoder_is_a_file_of_its_own_too(tmp_path: Path, tiny_path: Path) -> None:
    net, header = tiny_net(), VocoderHeader(config=SMALL, mel=SPEC, steps=7)
    save_vocoder(tmp_path / "v.safetensors", net, header)
    loaded, again = load_vocoder(tmp_path / "v.safetensors")
    assert again == header
    guess = np.zeros((1, 32, net.known), np.float32)
    assert np.array_equal(loaded(a_mel(), guess), net(a_mel(), guess))
    with pytest.raises(CheckpointError, match="holds a 'memory', a vocoder is needed"):
        load_vocoder(tiny_path)
    with pytest.raises(CheckpointError, match="holds a 'vocoder', a memory is needed"):
        load_memory(tmp_path / "v.safetensors")


def test_a_memory_whose_header_forgot_its_vocoder_is_refused(
    tmp_path: Path, tiny_generator: Generator, tiny_header: MemoryHeader
) -> None:
    path = tmp_path / "m.safetensors"
    save_memory(path, tiny_generator, tiny_header, net=tiny_net(tiny_header.mel))
    with pytest.raises(CheckpointError, match="does not tell of"):
        load_memory(path)


def test_looking_ahead_further_than_is_seen_is_refused() -> None:
    with pytest.raises(ValueError, match="look_ahead must be below entry"):
        VocoderConfig(entry=2, look_ahead=2)
