from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypedDict

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from fugue_state.arrays import Array
from fugue_state.config import GAIN_MAX, MEAN_LATENTS, MelSpec, ModelConfig
from fugue_state.errors import InputError
from fugue_state.memory.bends import LENGTHS_KEPT, REPLACEMENTS, Bend, Source, UnitValues, noise_phases
from fugue_state.memory.catalogue import MemoryHeader
from fugue_state.memory.layers import Deconv, Output, Trail
from fugue_state.memory.layers import resized as along
from fugue_state.memory.memory import Memory

from .conftest import LABELS, untrained

LAYERS = ("deconv1", "deconv3", "deconv5")
LONG = 256


class Given(TypedDict):
    seed: int
    frozen: Source
    other: Source


def given(memory: Memory) -> Given:
    """Sources half forgotten and intact."""
    frozen = Source(memory.latents(1, 90)[0], "G", values(memory, 91))
    return {"seed": 5, "frozen": frozen, "other": Source(memory.latents(1, 92)[0], "Am")}


def bend_of(memory: Memory, name: str, gain: UnitValues | None = None, invert: UnitValues | None = None) -> Bend:
    """A bend by any replacement."""
    return memory.bend(name, gain=gain, invert=invert, **given(memory))


def values(memory: Memory, seed: int, most: float = 1.0, items: int = 0) -> Array:
    shape = (items, memory.units) if items else (memory.units,)
    return np.random.default_rng(seed).uniform(0, most, shape).astype(np.float32)


def only(memory: Memory, layer: str, strength: float) -> Array:
    """Strengths that touch one layer."""
    of = [np.full(units, strength if name == layer else 1.0, np.float32) for name, units in memory.layers.items()]
    return np.concatenate(of)


def part(memory: Memory, flat: Array, layer: str) -> Array:
    return np.split(flat, np.cumsum(list(memory.layers.values()))[:-1], axis=-1)[list(memory.layers).index(layer)]


def network(memory: Memory, z: Array, chord: str, strengths: Array | None = None, frames: int = 128) -> list[Array]:
    """Every layer's maps (B, H, W, C), step by step, as they go on to the next layer before they are resized."""
    items = [one_by_one(memory, latent, LABELS.index(chord), strengths, frames) for latent in z]
    return [np.stack(layer) for layer in zip(*items, strict=True)]


def one_by_one(memory: Memory, latent: Array, label: int, strengths: Array | None, frames: int) -> list[Array]:
    maps: list[Array] = []
    for name in memory.layers:
        layer = Deconv(memory.generator.tensors, name)
        x = layer(resized(maps[-1], name, frames), label) if maps else layer.first(latent, label)
        maps.append(x if strengths is None else x * part(memory, strengths, name))
    return maps


def resized(x: Array, into: str, frames: int) -> Array:
    return x if into != "deconv2" or frames == 128 else along(x, frames // 32, 1, ends=True)


def played_on(memory: Memory, layer: str, maps: Array, chord: str, frames: int = 128) -> Array:
    """The mels that follow from one layer's maps."""
    made = []
    for item in maps:
        x = np.ascontiguousarray(item)
        for name in list(memory.layers)[list(memory.layers).index(layer) + 1 :]:
            x = Deconv(memory.generator.tensors, name)(resized(x, name, frames), LABELS.index(chord))
        made.append(Output(memory.generator.tensors)(x))
    return np.stack(made)


def noise_like(h: Array, seed: int, layer: str) -> Array:
    """The formula of `noise`, in double precision and with the whole spectrum."""
    size = (h.shape[3], *h.shape[1:3])
    noise = np.random.default_rng((seed, int(layer[-1]) - 1)).standard_normal(size, dtype=np.float32)
    turned = np.exp(1j * np.angle(np.fft.fft2(noise.astype(np.float64)))).transpose(1, 2, 0)
    turned[0, 0] = 1.0
    both = np.fft.ifft2(np.abs(np.fft.fft2(h.astype(np.float64), axes=(1, 2))) * turned, axes=(1, 2))
    assert np.abs(both.imag).max() < 1e-5
    return both.real.astype(np.float32)


def standing_in(memory: Memory, name: str, layer: str, h: Array, frames: int = 128) -> Array:
    """What a replacement is, made without the code that is tested."""
    index = list(memory.layers).index(layer)
    if name == "zero":
        return np.zeros_like(h)
    if name == "mean":
        z = memory.latents(MEAN_LATENTS // 3 + 1, 0)
        every = np.concatenate([network(memory, z, chord)[index] for chord in LABELS])
        return np.broadcast_to(every.mean((0, 1, 2), dtype=np.float64).astype(np.float32), h.shape)
    if name == "noise":
        return noise_like(h, 5, layer)
    if name == "frozen":
        own = network(memory, memory.latents(1, 90), "G", values(memory, 91), frames)[index]
    else:
        own = network(memory, memory.latents(1, 92), "Am", None, frames)[index]
    return np.broadcast_to(own, h.shape)


@pytest.mark.parametrize("name", REPLACEMENTS)
@pytest.mark.parametrize("frames", [None, LONG])
def test_intact_is_exact_whatever_stands_in(tiny_memory: Memory, name: str, frames: int | None) -> None:
    z, bend = tiny_memory.latents(3, 1), bend_of(tiny_memory, name)
    plain, seen = tiny_memory.observe(z, "C", frames=frames)
    for strengths in (None, np.ones(tiny_memory.units), np.ones((3, tiny_memory.units))):
        mel, activations = tiny_memory.observe(z, "C", strengths, frames, bend)
        assert np.array_equal(mel, plain)
        assert np.array_equal(activations, seen)
    ones, neutral = np.ones(tiny_memory.units), np.zeros(tiny_memory.units)
    bent = bend_of(tiny_memory, name, gain=ones, invert=neutral)
    assert np.array_equal(tiny_memory.generate(z, "C", ones, frames, bent), plain)


@pytest.mark.parametrize("name", REPLACEMENTS)
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("frames", [128, LONG])
def test_a_layer_is_bent_by_the_formula(tiny_memory: Memory, name: str, layer: str, frames: int) -> None:
    z, bend = tiny_memory.latents(2, 1), bend_of(tiny_memory, name)
    h = network(tiny_memory, z, "C", None, frames)[list(tiny_memory.layers).index(layer)]
    r = standing_in(tiny_memory, name, layer, h, frames)
    plain = tiny_memory.generate(z, "C", frames=frames)
    for s in (0.0, 0.3, 0.8):
        mel, activations = tiny_memory.observe(z, "C", only(tiny_memory, layer, s), frames, bend)
        out = s * h + (1 - s) * r
        assert np.allclose(part(tiny_memory, activations, layer), out.mean((1, 2), dtype=np.float64), atol=1e-5)
        assert np.allclose(mel, played_on(tiny_memory, layer, out, "C", frames), atol=1e-4)
        assert np.abs(mel - plain).max() > 0.01


@pytest.mark.parametrize("name", REPLACEMENTS)
def test_strengths_may_differ_by_unit_and_item(tiny_memory: Memory, name: str) -> None:
    z, s = tiny_memory.latents(4, 1), values(tiny_memory, 2, items=4)
    h = network(tiny_memory, z, "C")[0]
    r = standing_in(tiny_memory, name, "deconv1", h)
    first = part(tiny_memory, s, "deconv1")[:, None, None]
    _, activations = tiny_memory.observe(z, "C", s, bend=bend_of(tiny_memory, name))
    expected = (first * h + (1 - first) * r).mean((1, 2))
    assert np.allclose(part(tiny_memory, activations, "deconv1"), expected, atol=1e-6)


@pytest.mark.parametrize("name", sorted(set(REPLACEMENTS) - {"mean", "noise"}))
def test_forgotten_is_exactly_what_stands_in(tiny_memory: Memory, name: str) -> None:
    z = tiny_memory.latents(2, 1)
    h = network(tiny_memory, z, "C")[2]
    exact = played_on(tiny_memory, "deconv3", standing_in(tiny_memory, name, "deconv3", h), "C")
    mel = tiny_memory.generate(z, "C", only(tiny_memory, "deconv3", 0.0), bend=bend_of(tiny_memory, name))
    assert np.array_equal(mel, exact)


@pytest.mark.parametrize("frames", [None, LONG, 32])
def test_all_forgotten_and_frozen_is_the_moment_itself(tiny_memory: Memory, frames: int | None) -> None:
    z, then, strengths = tiny_memory.latents(2, 1), tiny_memory.latents(1, 90), values(tiny_memory, 91)
    moment = tiny_memory.generate(then, "G", strengths, frames)[0]
    zeros, bend = np.zeros(tiny_memory.units), bend_of(tiny_memory, "frozen")
    # The last layer decides: what comes before it does not matter, nor which chord is asked for.
    assert np.array_equal(tiny_memory.generate(z, "G", zeros, frames, bend), np.stack([moment, moment]))
    assert np.array_equal(tiny_memory.generate(z, "C", zeros, frames, bend), np.stack([moment, moment]))


def test_the_mean_is_over_latents_and_labels(tiny_memory: Memory) -> None:
    z = tiny_memory.latents(MEAN_LATENTS // 3 + 1, 0)
    seen = np.concatenate([tiny_memory.observe(z, chord)[1] for chord in LABELS])
    assert np.allclose(tiny_memory.mean_activations, seen.mean(0), atol=1e-5)
    assert not np.allclose(tiny_memory.mean_activations, tiny_memory.observe(z, "C")[1].mean(0), atol=1e-2)


def test_a_memory_without_labels_has_a_mean_and_sources() -> None:
    config = ModelConfig(feature_maps=2, latent_size=4)
    memory = Memory(untrained(config), MemoryHeader(name="blank", mel=MelSpec(), model=config))
    source = Source(np.ones(4))
    for bend in (memory.bend("mean"), memory.bend("other", other=source)):
        assert np.isfinite(memory.generate(memory.latents(2, 0), strengths=np.zeros(memory.units), bend=bend)).all()


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("frames", [32, 128, 160])
def test_noise_keeps_level_and_power_spectrum(tiny_memory: Memory, layer: str, frames: int) -> None:
    index = list(tiny_memory.layers).index(layer)
    h = network(tiny_memory, tiny_memory.latents(3, 1), "C", None, frames)[index]
    hook = bend_of(tiny_memory, "noise").layers(frames)[layer]
    noise = np.stack([hook(item, np.zeros(h.shape[3], np.float32)) for item in h])
    assert noise.shape == h.shape
    assert np.allclose(noise.mean((1, 2)), h.mean((1, 2)), atol=1e-5)
    assert np.allclose(noise.var((1, 2)), h.var((1, 2)), atol=1e-4)
    spectra = [np.abs(np.fft.rfft2(maps, axes=(1, 2))) for maps in (noise, h)]
    assert np.allclose(spectra[0], spectra[1], atol=1e-2)
    alive = h.var((1, 2)) > 0.01
    assert alive.any()
    assert (((noise - h) ** 2).mean((1, 2))[alive] > 0.2 * h.var((1, 2))[alive]).all()


def test_noise_follows_seed_layer_and_unit_and_nothing_else(tiny_memory: Memory) -> None:
    one = np.random.default_rng(0).random((16, 16, 1), dtype=np.float32)
    same = np.repeat(one, 8, axis=2)  # one map for all units of deconv3
    none = np.zeros(8, np.float32)

    def noise(seed: int, replacement: str | Sequence[str] = "noise") -> Array:
        return tiny_memory.bend(replacement, seed=seed).layers()["deconv3"](same, none)

    drawn = noise(5)
    assert np.array_equal(drawn, noise(5))
    assert np.abs(drawn - noise(6)).max((0, 1)).min() > 0.1
    assert np.abs(np.diff(drawn)).max((0, 1)).min() > 0.1
    assert np.array_equal(
        drawn[..., :4], noise(5, ["noise"] * 52 + ["zero"] * 10)[..., :4]
    )  # 48 units come before deconv3
    assert drawn[0, :3, 0].tolist() == pytest.approx([1.05139, 0.25004, 0.69581], abs=1e-5)  # the same on every machine
    assert np.abs(noise_phases(5, 0, 8, (16, 16)) - noise_phases(5, 1, 8, (16, 16))).max() > 1.0


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_flat_maps_stay_finite(tiny_memory: Memory, value: float) -> None:
    bend = bend_of(tiny_memory, "noise", gain=np.full(62, GAIN_MAX), invert=np.ones(62))
    flat = np.full((16, 16, 8), value, np.float32)
    out = bend.layers()["deconv3"](flat, np.full(8, 0.5, np.float32))
    assert np.allclose(out, value * (0.5 * GAIN_MAX + 0.5), atol=1e-5)


@pytest.mark.parametrize("layer", LAYERS)
def test_units_are_inverted_then_amplified_then_forgotten(tiny_memory: Memory, layer: str) -> None:
    z, s = tiny_memory.latents(3, 1), only(tiny_memory, layer, 0.6)
    gain, invert = values(tiny_memory, 3, GAIN_MAX), values(tiny_memory, 4)
    # Of the other layers nothing is changed.
    touched = only(tiny_memory, layer, 0.0) == 0.0
    gain, invert = np.where(touched, gain, 1.0), np.where(touched, invert, 0.0)
    h = network(tiny_memory, z, "C")[list(tiny_memory.layers).index(layer)]
    turned = h.max((1, 2), keepdims=True) + h.min((1, 2), keepdims=True) - h
    i, g = (part(tiny_memory, v, layer) for v in (invert, gain))
    bent = (g * ((1 - i) * h + i * turned)).astype(np.float32)
    for name in ("zero", "noise", "other"):
        r = standing_in(tiny_memory, name, layer, h)
        bend = bend_of(tiny_memory, name, gain=gain, invert=invert)
        mel = tiny_memory.generate(z, "C", s, bend=bend)
        assert np.allclose(mel, played_on(tiny_memory, layer, 0.6 * bent + 0.4 * r, "C"), atol=1e-3)
        alone = tiny_memory.generate(z, "C", bend=bend)  # bent, but nothing forgotten
        assert np.allclose(alone, played_on(tiny_memory, layer, bent, "C"), atol=1e-3)
        assert np.abs(alone - tiny_memory.generate(z, "C")).max() > 0.01


def test_a_gain_of_zero_is_forgetting(tiny_memory: Memory) -> None:
    z = tiny_memory.latents(2, 1)
    strengths = (values(tiny_memory, 0) > 0.4).astype(np.float32)
    assert np.array_equal(
        tiny_memory.generate(z, "C", bend=tiny_memory.bend(gain=strengths)), tiny_memory.generate(z, "C", strengths)
    )


def test_fully_inverted_twice_is_as_before(tiny_memory: Memory) -> None:
    hook = tiny_memory.bend(invert=np.ones(62)).layers()["deconv3"]
    h = network(tiny_memory, tiny_memory.latents(1, 1), "C")[2][0]
    once = hook(h, None)
    assert np.allclose(hook(once, None), h, atol=1e-5)
    assert np.array_equal(once.reshape(-1, 8).argmin(0), h.reshape(-1, 8).argmax(0))


def test_a_layer_may_mix_replacements(tiny_memory: Memory) -> None:
    names = [REPLACEMENTS[u % 5] for u in range(tiny_memory.units)]
    z = tiny_memory.latents(2, 1)
    bend = tiny_memory.bend(names, **given(tiny_memory))
    _, activations = tiny_memory.observe(z, "C", only(tiny_memory, "deconv1", 0.0), bend=bend)
    h = network(tiny_memory, z, "C")[0]
    for u in range(tiny_memory.layers["deconv1"]):
        r = standing_in(tiny_memory, names[u], "deconv1", h)[..., u]
        assert np.allclose(activations[:, u], r.mean((1, 2)), atol=1e-6), (u, names[u])


def test_replacements_by_layer_leave_the_others_at_zero(tiny_memory: Memory) -> None:
    bend = tiny_memory.bend({"deconv2": "noise", "deconv4": "mean"})
    assert set(bend.layers()) == {"deconv2", "deconv4"}
    assert bend.replacement == ("zero",) * 32 + ("noise",) * 16 + ("zero",) * 8 + ("mean",) * 4 + ("zero",) * 2


def test_plain_forgetting_takes_the_short_way(tiny_memory: Memory) -> None:
    bend, s = (
        bend_of(tiny_memory, "zero", np.ones(tiny_memory.units), np.zeros(tiny_memory.units)),
        values(tiny_memory, 0),
    )
    assert not bend.layers()
    assert set(tiny_memory.bend(gain=only(tiny_memory, "deconv4", 2.0)).layers()) == {"deconv4"}
    z = tiny_memory.latents(2, 1)
    assert np.array_equal(tiny_memory.generate(z, "C", s, bend=bend), tiny_memory.generate(z, "C", s))


@pytest.mark.parametrize("name", REPLACEMENTS)
@pytest.mark.parametrize("frames", [None, 96])
def test_items_of_a_batch_do_not_touch_each_other(tiny_memory: Memory, name: str, frames: int | None) -> None:
    z, s = tiny_memory.latents(5, 1), values(tiny_memory, 2, items=5)
    s[0] = 1.0  # what the others need must not reach the one that is intact
    bend = bend_of(tiny_memory, name, values(tiny_memory, 3, GAIN_MAX), values(tiny_memory, 4))
    together = tiny_memory.generate(z, "C", s, frames, bend)
    for i in range(5):
        assert np.array_equal(tiny_memory.generate(z[i : i + 1], "C", s[i : i + 1], frames, bend)[0], together[i])


def counted(make: Callable[..., Array], made: list[int]) -> Callable[..., Array]:
    """Tell how many units the layer has that makes maps."""

    def counting(layer: Deconv, maps: Array, label: int) -> Array:
        made.append(layer.units)
        return make(layer, maps, label)

    return counting


@pytest.mark.parametrize(("name", "frames"), [("zero", None), ("zero", 160), ("noise", None), ("frozen", 64)])
def test_a_trail_changes_nothing_and_saves_layers(
    tiny_memory: Memory, name: str, frames: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    z, bend, trail, layers = tiny_memory.latents(1, 2), bend_of(tiny_memory, name), Trail(), list(tiny_memory.layers)
    made: list[int] = []
    monkeypatch.setattr(Deconv, "first", counted(Deconv.first, made))
    monkeypatch.setattr(Deconv, "__call__", counted(Deconv.__call__, made))
    now = np.ones(tiny_memory.units, np.float32)
    for layer, strength, first in (
        ("deconv5", 0.5, 0), ("deconv3", 0.0, 3), ("deconv3", 0.0, 5), ("deconv1", 0.7, 1), ("deconv4", 0.1, 4),
    ):  # fmt: skip
        now = np.where(only(tiny_memory, layer, 0.0) == 0, np.float32(strength), now)
        expected = tiny_memory.observe(z, "Am", now, frames, bend, 7)
        made.clear()
        seen = tiny_memory.observe(z, "Am", now, frames, bend, 7, trail)
        assert made == [tiny_memory.layers[name] for name in layers[first:]]  # no two layers have as many units
        assert all(np.array_equal(one, other) for one, other in zip(expected, seen, strict=True))


@pytest.mark.parametrize("name", REPLACEMENTS)
def test_threads_change_nothing(tiny_memory: Memory, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    z, s, found = tiny_memory.latents(16, 1), values(tiny_memory, 2, items=16), []
    for threads in (1, 2):
        monkeypatch.setenv("OMP_NUM_THREADS", str(threads))
        with threadpool_limits(threads):
            bend = bend_of(tiny_memory, name, values(tiny_memory, 3, GAIN_MAX), values(tiny_memory, 4))
            found.append(tiny_memory.generate(z, "C", s, LONG, bend))
    assert np.array_equal(found[0], found[1])


def test_what_a_length_needs_is_prepared_once(tiny_memory: Memory) -> None:
    bend = bend_of(tiny_memory, "other")
    first = bend.layers(64)
    assert bend.layers(64) is first
    for i in range(LENGTHS_KEPT):
        bend.layers(96 + 32 * i)
    assert bend.layers(64) is not first  # only so many are kept


def test_what_the_caller_does_later_changes_nothing(tiny_memory: Memory) -> None:
    latent, strengths, gain = tiny_memory.latents(1, 9)[0], values(tiny_memory, 1), values(tiny_memory, 2)
    bend = tiny_memory.bend("frozen", frozen=Source(latent, "G", strengths), gain=gain)
    same = tiny_memory.bend("frozen", frozen=Source(latent.copy(), "G", strengths.copy()), gain=gain.copy())
    for array in (latent, strengths, gain):
        array[:] = 0.0
    z, s = tiny_memory.latents(2, 1), values(tiny_memory, 3)
    assert np.array_equal(tiny_memory.generate(z, "C", s, bend=bend), tiny_memory.generate(z, "C", s, bend=same))


def test_another_memory_s_bend_is_refused(tiny_memory: Memory, tiny_header: MemoryHeader) -> None:
    foreign = Memory(untrained(tiny_header.model), tiny_header).bend("noise")
    with pytest.raises(InputError, match=r"another memory's; memory 'tiny' needs one of its own"):
        tiny_memory.generate(tiny_memory.latents(1, 0), bend=foreign)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"replacement": "nois"}, r"unknown replacement 'nois'; did you mean 'noise'.*known: zero, mean"),
        ({"replacement": {"deconv9": "zero"}}, r"unknown layer 'deconv9'; did you mean 'deconv"),
        ({"replacement": {"deconv1": "men"}}, r"unknown replacement 'men'; did you mean 'mean'"),
        ({"replacement": ["zero"] * 61 + ["one"]}, r"unknown replacement 'one'"),
        ({"replacement": ["zero"] * 3}, r"3 replacements for 62 units"),
        ({"replacement": "frozen"}, r"replacement 'frozen' needs a Source: frozen=Source"),
        ({"replacement": {"deconv2": "other"}}, r"replacement 'other' needs a Source: other=Source"),
        ({"gain": np.ones(3)}, r"gain must be \(62,\), got \(3,\)"),
        ({"gain": np.full(62, 8.5)}, r"gain must be within 0\.\.8, got 8\.5"),
        ({"gain": np.full(62, np.nan)}, r"gain must be within 0\.\.8, got nan"),
        ({"invert": np.ones((1, 62))}, r"invert must be \(62,\), got \(1, 62\)"),
        ({"invert": np.full(62, -0.5)}, r"invert must be within 0\.\.1, got -0\.5"),
        ({"seed": -1}, r"seed must be within 0\.\.2147483647, got -1"),
        ({"frozen": Source(np.ones(15))}, r"the latent of frozen must be \(16,\), got \(15,\)"),
        ({"frozen": Source(np.full(16, np.inf))}, r"the latent of frozen must be finite"),
        ({"other": Source(np.ones(16), "Amm")}, r"unknown chord 'Amm'; did you mean 'Am'"),
        ({"other": Source(np.ones(16), "Am", np.full(62, 2.0))}, r"strengths must be within 0\.\.1"),
    ],
)
def test_wrong_bends_are_named(tiny_memory: Memory, kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        tiny_memory.bend(**kwargs)
