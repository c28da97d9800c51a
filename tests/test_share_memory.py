"""The memory of a shared page, compared with the memory in Python: random numbers, layers, bends, vocoder."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fugue_state.arrays import Array
from fugue_state.audio.mel import MelTransform
from fugue_state.config import ACTIVATION_STEPS, MelSpec, VocoderConfig
from fugue_state.errors import InputError, NotInstalledError
from fugue_state.memory.bends import Bend, Source
from fugue_state.memory.catalogue import MemoryHeader, VocoderHeader
from fugue_state.memory.checkpoint import save_memory, save_vocoder
from fugue_state.memory.layers import Generator
from fugue_state.memory.memory import Memory
from fugue_state.memory.vocoder import MagnitudeNet, Reading
from fugue_state.share import compile as compiling
from fugue_state.share.bends import described
from fugue_state.tensors import save_tensors

from .conftest import untrained_net
from .node import Arrays, ask, needs_node

pytestmark = needs_node
SEEDS: tuple[Any, ...] = (0, 7, 2**32 - 1, 2**32, 2**53 - 1, [0, 0], [3, 1, 4, 1, 5, 9], [2**40, 1])
CLOSE = 1e-5
NET = VocoderConfig(
    channels=20, blocks=2, expansion=2, kernel=4, entry=4, look_ahead=2, low=30, patch=8, local=12, air=5
)


def learned_net(config: VocoderConfig, spec: MelSpec) -> MagnitudeNet:
    """A vocoder's network that corrects its guess by a little."""
    rng, tensors = np.random.default_rng(5), dict(untrained_net(config, spec).tensors)
    for name, values in tensors.items():
        tensors[name] = (values + 0.05 * rng.standard_normal(values.shape)).astype(np.float32)
    return MagnitudeNet(config, spec, tensors)


@pytest.fixture
def memory(tiny_generator: Generator, tiny_header: MemoryHeader, tmp_path: Path) -> Memory:
    """A memory that a page can load: half precision, with a vocoder."""
    header = tiny_header.model_copy(update={"vocoder": VocoderHeader(config=NET, mel=tiny_header.mel)})
    net = learned_net(NET, header.mel)
    save_memory(tmp_path / "memory.safetensors", tiny_generator, header, net=net, half=True)
    return Memory.load(tmp_path / "memory.safetensors")


class Page:
    """The page's memory, and what it is asked."""

    def __init__(self, folder: Path, path: Path) -> None:
        self._folder, self._tasks, self._arrays = folder, [{"do": "load", "path": str(path)}], dict[str, Any]()

    def give(self, name: str, values: Any) -> str:
        """Let the page have an array; return its name."""
        self._arrays[name] = np.asarray(values)
        return name

    def bend(self, bend: Bend | None) -> dict[str, Any] | None:
        """Let the page have a bend."""
        description, arrays = described(bend)
        self._arrays |= arrays
        return description

    def do(self, deed: str, **how: Any) -> None:
        """Ask it for something."""
        self._tasks.append({"do": deed, **how})

    def made(self) -> Arrays:
        """Return what it makes."""
        return ask(self._folder, "memory.mjs", self._tasks, self._arrays)


@pytest.fixture
def page(tmp_path: Path, memory: Memory) -> Page:
    """The page of the tiny memory."""
    return Page(tmp_path, tmp_path / "memory.safetensors")


def test_random_numbers_are_those_of_numpy(page: Page) -> None:
    count, below = 3000, [1, 2, 7, 1000, 3 * 2**30, 2**32, 2**32 + 1, 2**45 + 7] * 8
    for i, seed in enumerate(SEEDS):
        page.do("random", name=f"{i}", seed=seed, count=count, below=below)
    made = page.made()
    for i, seed in enumerate(SEEDS):
        expected: Arrays = {
            "normal": np.random.default_rng(seed).standard_normal(count),
            "normal32": np.random.default_rng(seed).standard_normal(count, dtype=np.float32),
            "uniform": np.random.default_rng(seed).uniform(-2.0, 5.0, count),
            "random32": np.random.default_rng(seed).random(count, dtype=np.float32),
            "permutation": np.random.default_rng(seed).permutation(97),
        }
        rng = np.random.default_rng(seed)
        expected["mixed"] = np.array([[rng.integers(n), rng.random(), rng.random(dtype=np.float32)] for n in below])
        for kind, values in expected.items():
            np.testing.assert_array_equal(made[f"{i}.{kind}"], values.ravel(), err_msg=f"{kind} of {seed}")


def test_every_kind_of_tensor_is_read(page: Page) -> None:
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    given: Arrays = {
        "half": halves[np.isfinite(halves)],
        "single": np.array([0.1, -2e30], dtype=np.float32),
        "double": np.array([0.1, np.pi]),
        "long": np.array([-(2**40), 3]),
        "whole": np.array([-5, 9], dtype=np.int32),
        "byte": np.array([0, 255], dtype=np.uint8),
        "truth": np.array([True, False]),
    }
    for name, values in given.items():
        page.give(name, values)
    page.do("read", name="read")
    made = page.made()
    for name, values in given.items():
        np.testing.assert_array_equal(made[f"read.{name}"], values)


def some_strengths(memory: Memory) -> Array:
    """Strengths (U,) of which a third is forgotten, a third intact and a third in between."""
    strengths = np.random.default_rng(2).random(memory.units).astype(np.float32)
    strengths[::3], strengths[1::3] = 0.0, 1.0
    return strengths


def bends_of(memory: Memory) -> dict[str, Bend | None]:
    """Every replacement, alone and together, and what else is done to units."""
    latents, every = memory.latents(2, 8), ("zero", "mean", "noise", "frozen", "other")
    moments: dict[str, Any] = {
        "frozen": Source(latents[0], memory.labels[1], some_strengths(memory)[::-1]),
        "other": Source(latents[1], memory.labels[2]),
    }
    mixed = [every[i % len(every)] for i in range(memory.units)]
    rng = np.random.default_rng(4)
    gain = (2.0 * rng.random(memory.units)).astype(np.float32)
    return {
        "none": None,
        **{name: memory.bend(name, seed=3, **moments) for name in every},
        "mixed": memory.bend(
            mixed, seed=5, gain={"deconv2": 1.5, "deconv5:1": 0.0}, invert={"deconv3": 0.7}, **moments
        ),
        "loud": memory.bend("mean", gain=gain, invert=rng.random(memory.units)),
    }


def starts_of(memory: Memory) -> Any:
    """The first unit of each layer after the first."""
    return np.cumsum(list(memory.layers.values()))[:-1]


def golden(memory: Memory, name: str, latent: Array, how: Mapping[str, Any]) -> Iterator[tuple[str, Array]]:
    """Yield what Python makes of a latent: the mel, activations and every layer's maps."""
    label, strengths, frames, bend = (how.get(key) for key in ("label", "strengths", "frames", "bend"))
    mel, activations = memory.observe(latent[None], label, strengths, frames, bend, steps=ACTIVATION_STEPS)
    yield f"{name}.mel", mel[0]
    yield f"{name}.activations", activations[0]
    parts = [None] * len(memory.layers) if strengths is None else np.split(strengths, starts_of(memory))
    left = dict(zip(memory.layers, parts, strict=True))
    bends = None if bend is None else bend.layers(frames)
    maps: dict[str, Array] = {}

    def keep(layer: str, each: Array) -> None:
        maps[layer] = each.copy()

    memory.generator(latent, memory.label_index(label) if label else 0, left, frames=frames, bends=bends, seen=keep)
    for layer, each in maps.items():
        yield f"{name}.{layer}", each


def compare_layers(memory: Memory, page: Page, latent: Array, hows: Mapping[str, Mapping[str, Any]]) -> None:
    """Compare mels, activations and every layer's maps, in as many ways as are named."""
    page.give("latent", latent)
    for name, how in hows.items():
        strengths = how.get("strengths")
        asked = dict(
            how, name=name, latent="latent", bend=page.bend(how.get("bend")),
            strengths=None if strengths is None else page.give(f"{name}.strengths", strengths),
        )  # fmt: skip
        page.do("generate", **asked)
        page.do("maps", **asked)
    made = page.made()
    for name, how in hows.items():
        for key, expected in golden(memory, name, latent, how):
            most = max(1.0, float(np.abs(expected).max()))
            np.testing.assert_allclose(made[key], expected.ravel(), rtol=0, atol=CLOSE * most, err_msg=key)


def test_every_layer_is_that_of_python(memory: Memory, page: Page) -> None:
    left = some_strengths(memory)
    hows: dict[str, dict[str, Any]] = {
        "intact": {},
        "named": {"label": memory.labels[2]},
        "left": {"label": memory.labels[1], "strengths": left},
        "gone": {"strengths": np.zeros_like(left)},
        "short": {"frames": 32, "strengths": left},
        "long": {"label": memory.labels[1], "frames": 224, "strengths": left},
    }
    compare_layers(memory, page, memory.latents(1, 6)[0], hows)


@pytest.mark.parametrize("name", ["none", "zero", "mean", "noise", "frozen", "other", "mixed", "loud"])
@pytest.mark.parametrize("frames", [None, 96])
def test_every_bend_is_that_of_python(memory: Memory, page: Page, name: str, frames: int | None) -> None:
    bend, label, strengths = bends_of(memory)[name], memory.labels[1], some_strengths(memory)
    bent = {"bend": bend, "label": label, "frames": frames}
    compare_layers(memory, page, memory.latents(1, 6)[0], {"left": {**bent, "strengths": strengths}, "intact": bent})


def test_a_trail_changes_no_bit(memory: Memory, page: Page) -> None:
    page.give("latent", memory.latents(1, 1)[0])
    strengths = np.ones((5, memory.units), dtype=np.float32)
    strengths[1, -3:] = 0.5  # the last layer alone, then the first, then both as before
    strengths[2, :4] = 0.0
    strengths[4] = some_strengths(memory)
    names = [page.give(f"strengths.{i}", each) for i, each in enumerate(strengths)]
    page.do("trail", name="plain", latent="latent", strengths=[None, *names, None])
    page.do("trail", name="bent", latent="latent", strengths=names, bend=page.bend(bends_of(memory)["mixed"]))
    made = page.made()
    for key in [key for key in made if key.endswith("kept")]:
        np.testing.assert_array_equal(made[key], made[key.removesuffix("kept") + "fresh"], err_msg=key)
    assert not np.array_equal(made["plain.0.kept"], made["plain.2.kept"])


def test_what_is_ablated_is_as_if_removed(memory: Memory, page: Page, tmp_path: Path) -> None:
    """Units at strength 0 leave the following layers as weights of 0 would, to the bit."""
    strengths = np.ones(memory.units, dtype=np.float32)
    gone = np.arange(0, memory.layers["deconv1"], 2)
    strengths[gone] = 0.0
    tensors = {name: values.copy() for name, values in memory.generator.tensors.items()}
    tensors["deconv.deconv2.conv.weight"][gone] = 0.0
    removed = Generator(memory.generator.config, memory.generator.frames, tensors)
    header = memory.header.model_copy(update={"vocoder": None})
    save_memory(tmp_path / "removed.safetensors", removed, header, half=True)
    page.give("latent", memory.latents(1, 1)[0])
    page.do("generate", name="ablated", latent="latent", strengths=page.give("strengths", strengths))
    page.do("load", path=str(tmp_path / "removed.safetensors"))
    page.do("generate", name="removed", latent="latent")
    made = page.made()
    np.testing.assert_array_equal(made["ablated.mel"], made["removed.mel"])


def test_latents_are_those_of_python(memory: Memory, page: Page) -> None:
    page.do("latents", name="z", count=3, seed=12)
    made = page.made()
    for i, latent in enumerate(memory.latents(3, 12)):
        np.testing.assert_array_equal(made[f"z.{i}"], latent)


def readings(mel: str, other: str, open_: int) -> list[dict[str, Any]]:
    """One frame after the other, several at once, some of them anew, some read and thrown away."""
    one = [{"mel": mel, "from": t, "count": 1, "anew": False} for t in range(9)]
    return [
        *one,
        {"mel": mel, "from": 9, "count": 20, "anew": False},
        {"mel": other, "from": 2, "count": 5, "anew": False, "dropped": True},
        {"mel": other, "from": 29 - open_, "count": open_ + 1, "anew": True},
        {"mel": other, "from": 30 - open_, "count": open_ + 18, "anew": True},
        {"mel": mel, "from": 48, "count": 3, "anew": False},
    ]


def streamed(memory: Memory, learned: bool, mels: Mapping[str, Array], seed: int) -> tuple[Array, Array, list[Any]]:
    """Return what Python's stream makes of such readings, its end, and the readings."""
    stream, parts = memory.stream(seed, learned=learned), []
    state, asked = stream.start(), readings("one", "other", stream.open)
    for each in asked:
        frames = np.ascontiguousarray(mels[each["mel"]][:, each["from"] :][:, : each["count"]])
        sound, after = stream.steps([Reading(frames, state, each["anew"])])[0]
        if not each.get("dropped"):
            state = after
            parts.append(sound)
    return np.concatenate(parts), stream.finish(state), asked


def assert_sounds_alike(made: Array, expected: Array, name: str, most: float = 1e-3) -> None:
    """Fail unless two sounds differ by less than this share of their level."""
    assert made.shape == expected.shape
    level = float(np.sqrt(np.mean(expected.astype(np.float64) ** 2)))
    assert level > 1e-4, name
    assert float(np.sqrt(np.mean((made.astype(np.float64) - expected) ** 2))) < most * level, name


# Of many bins some are equally loud but for rounding. Which of them is followed first differs then, as it differs in
# Python between frame by frame and whole; so sounds are compared sample by sample where bins are few.
SPECS = {
    "power": MelSpec(n_fft=96, hop=32, power=2, scale="slaney", norm="area", ceiling_db=0.0),
    "low": MelSpec(sample_rate_hz=16_000, n_fft=160, hop=40, fmin_hz=0.0, range_db=60.0),
    "odd": MelSpec(n_fft=99, hop=33),
}


@pytest.mark.parametrize("name", SPECS)
def test_streams_sound_as_in_python(name: str, tiny_generator: Generator, tmp_path: Path) -> None:
    spec, path = SPECS[name], tmp_path / "other.safetensors"
    config = NET.model_copy(update={"patch": 4, "low": 20})
    header = MemoryHeader(
        name="other", mel=spec, model=tiny_generator.config, vocoder=VocoderHeader(config=config, mel=spec)
    )
    save_memory(path, tiny_generator, header, net=learned_net(config, spec))
    memory, page, rng = Memory.load(path), Page(tmp_path, path), np.random.default_rng(3)
    mels = {each: rng.uniform(-0.9, 0.6, (128, 60)).astype(np.float32) for each in ("one", "other")}
    mels["one"][:, 20:24] = -1.0
    mels["other"][40:80, 30:] = 1.009  # clipped
    compare_streams(memory, page, mels)


def compare_streams(memory: Memory, page: Page, mels: Mapping[str, Array]) -> None:
    """Compare both vocoders: frame by frame with changes, and whole."""
    expected: dict[str, Array] = {}
    for name, values in mels.items():
        page.give(name, values)
    for learned in (True, False):
        name, stream = f"learned {learned}", memory.stream(9, learned=learned)
        expected[name], expected[f"{name}.end"], asked = streamed(memory, learned, mels, 9)
        page.do("stream", name=name, seed=9, learned=learned, readings=asked)
        page.do("whole", name=f"whole {name}", seed=9, learned=learned, mel="one", count=mels["one"].shape[1])
        expected[f"whole {name}"] = stream.whole(mels["one"])
        expected[f"{name}.late"] = np.array([stream.latency, stream.open], dtype=np.float32)
    made = page.made()
    for name, values in expected.items():
        if name.endswith("late"):
            np.testing.assert_array_equal(made[name], values)
        else:
            assert_sounds_alike(made[name], values, name)


def compare_magnitudes(memory: Memory, page: Page, mel: Array) -> None:
    """Compare the magnitudes of a mel's frames, from both vocoders."""
    page.give("mel", mel)
    count = mel.shape[1]
    for learned in (True, False):
        page.do("magnitudes", name=f"{learned}", learned=learned, mel="mel", count=count)
    made = page.made()
    for learned in (True, False):
        stream = memory.stream(0, learned=learned)
        expected = stream._predict(mel[None], [stream.start()])[0][0]
        found = made[f"{learned}"].reshape(expected.shape)
        assert len(found) == count - stream.open + 1
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6 * expected.max())


def test_magnitudes_are_those_of_python(memory: Memory, page: Page) -> None:
    swell = np.sin(np.arange(40) / 7.0) - 0.3 * np.arange(128)[:, None] / 128
    noise = np.random.default_rng(3).random((128, 40))
    compare_magnitudes(memory, page, (0.5 * swell - 0.3 + 0.4 * noise).astype(np.float32))


@pytest.mark.parametrize("bins", [33, 501, 578, 1025])
def test_phase_is_integrated_as_in_python(
    bins: int, tiny_generator: Generator, tiny_header: MemoryHeader, tmp_path: Path
) -> None:
    n_fft = {33: 64, 501: 1000, 578: 1155, 1025: 2048}[bins]  # powers of two, products of others, odd
    spec = MelSpec(n_fft=n_fft, hop=n_fft // (3 if n_fft % 2 else 4))
    header, path = tiny_header.model_copy(update={"mel": spec}), tmp_path / "plain.safetensors"
    save_memory(path, tiny_generator, header)
    memory, page = Memory.load(path), Page(tmp_path, path)
    loud = np.random.default_rng(bins).lognormal(-9.0, 2.5, (30, bins)).astype(np.float32)
    loud[8:11] = 0.0
    page.give("loud", loud)
    page.do("play", name="sound", seed=4, magnitude="loud")
    stream = memory.stream(4, learned=False)
    expected, state = stream._play(loud, stream.start())
    made = page.made()
    assert_sounds_alike(made["sound"], expected, "sound", 1e-5)
    np.testing.assert_allclose(made["sound.phase"], state.phase.phase, rtol=0, atol=1e-4)
    np.testing.assert_allclose(made["sound.turn"], state.phase.turn, rtol=0, atol=1e-4)


def test_memory_stays_as_large_as_it_is(memory: Memory, page: Page) -> None:
    page.give("latent", memory.latents(1, 1)[0])
    page.give("strengths", some_strengths(memory))
    bend = page.bend(bends_of(memory)["mixed"])
    page.do("sizes", name="sizes", latent="latent", strengths="strengths", bend=bend, frames=32, times=2000)  # of each
    sizes = page.made()["sizes"]
    assert len(sizes) == 20
    assert len(set(sizes.tolist())) == 1


def test_what_is_wrong_is_said(memory: Memory, page: Page) -> None:
    page.give("latent", memory.latents(1, 1)[0])
    page.give("short", np.zeros(3, dtype=np.float32))
    page.give("mel", np.full((128, 9), np.nan, dtype=np.float32))
    reading = {"mel": "mel", "from": 0, "count": 2, "anew": False}
    attempts: dict[str, dict[str, Any]] = {
        "frames must be a multiple of 32, got 40": {"do": "generate", "latent": "latent", "frames": 40},
        "a latent has 16 values, got 3": {"do": "generate", "latent": "short"},
        "there are 62 strengths, one for each unit, got 3": {
            "do": "generate", "latent": "latent", "strengths": "short",
        },
        "this memory does not know the chord Q": {"do": "generate", "latent": "latent", "label": "Q"},
        "mel holds values that are not numbers (NaN or infinity)": {
            "do": "stream", "seed": 0, "learned": True, "readings": [reading],
        },
        "3 frames are read anew once they have been read, with more that follow them": {
            "do": "stream", "seed": 0, "learned": True, "readings": [{**reading, "anew": True}],
        },
        "a seed is a whole number from 0 on, got -1": {"do": "latents", "count": 1, "seed": -1},
    }  # fmt: skip
    page.do("refused", name="said", attempts=list(attempts.values()))
    assert page.made()["said"].tobytes().decode().split("\n") == list(attempts)


def test_files_that_are_no_memory_are_refused(memory: Memory, page: Page, tmp_path: Path) -> None:
    own, vocoder = tmp_path / "memory.safetensors", tmp_path / "vocoder.safetensors"
    assert memory.net is not None
    save_vocoder(vocoder, memory.net, VocoderHeader(config=NET, mel=memory.spec))
    contents = own.read_bytes()
    (tmp_path / "cut").write_bytes(contents[:-100])
    (tmp_path / "text").write_bytes(b"no memory at all")
    (tmp_path / "short").write_bytes(b"no")
    save_tensors(tmp_path / "plain", {"a": np.zeros(2)}, {})
    expected = {
        "cut": "the file ends within the tensor vocoder",
        "text": "this is no safetensors file, or it is damaged",
        "short": "this is no safetensors file, or it is damaged",
        "plain": "this is no memory of Fugue State",
        "vocoder.safetensors": "a memory is needed, this is a vocoder",
    }
    for name in expected:
        page.do("unloaded", name=name, path=str(tmp_path / name))
    newer = [*b"\0asm\1\0\0\0", 10, 1, 0, 99]  # a section that no browser reads
    page.do("unloaded", name="newer", path=str(own), wasm=newer)
    made = page.made()
    for name, said in {**expected, "newer": "this browser is too old"}.items():
        assert made[name].tobytes().decode().startswith(said)


def test_a_memory_that_ships_is_that_of_python(tmp_path: Path) -> None:
    memory = Memory.load("guitar")
    path = Path(compiling.__file__).parents[1] / "memories" / "guitar.safetensors"
    latents, strengths = memory.latents(2, 5), some_strengths(memory)
    left: dict[str, Any] = {"label": "G", "strengths": strengths}
    hows: dict[str, dict[str, Any]] = {"intact": {"label": "Am"}, "left": left, "long": {**left, "frames": 192}}
    compare_layers(memory, Page(tmp_path, path), latents[0], hows)
    noisy = memory.bend({"deconv1": "noise", "deconv4": "noise"}, gain={"deconv2": 1.5}, invert={"deconv3": 0.7})
    compare_layers(memory, Page(tmp_path, path), latents[0], {"bent": {**left, "bend": noisy}})
    mel = memory.generate(latents[:1], "C")[0]
    compare_magnitudes(memory, Page(tmp_path, path), mel)
    page = Page(tmp_path, path)
    page.do("whole", name="sound", seed=9, learned=True, mel=page.give("mel", mel), count=mel.shape[1])
    heard = [page.made()["sound"], memory.stream(9).whole(mel)]
    away = [np.abs(MelTransform(memory.spec).encode(sound[None])[0] - mel).mean() for sound in heard]
    assert away[0] < 1.01 * away[1]


def test_the_compiled_loops_are_those_of_their_source(tmp_path: Path) -> None:
    if importlib.util.find_spec(compiling.COMPILER) is None:
        pytest.skip("ziglang is not installed")
    compiling.compile_kernels(tmp_path / "kernels.wasm")
    assert (tmp_path / "kernels.wasm").read_bytes() == compiling.KERNELS.read_bytes()
    assert compiling.KERNELS.stat().st_size < 100_000


def test_without_the_compiler_one_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "COMPILER", "no_such_compiler")
    with pytest.raises(NotInstalledError, match="needs the package no_such_compiler"):
        compiling.compile_kernels(tmp_path / "kernels.wasm")
    assert list(tmp_path.iterdir()) == []


def test_a_source_that_does_not_compile_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "COMPILER", "json.tool")  # refuses whatever it is told
    with pytest.raises(InputError, match=r"kernels\.c"):
        compiling.compile_kernels(tmp_path / "kernels.wasm")
    assert list(tmp_path.iterdir()) == []


def test_a_bend_that_is_none_travels_as_none() -> None:
    assert described(None) == (None, {})
