from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import load_file

from fugue_state.arrays import Array
from fugue_state.audio.mel import MelTransform
from fugue_state.bending.orders import make_order
from fugue_state.config import MelSpec, ModelConfig, ProfileConfig
from fugue_state.errors import CheckpointError
from fugue_state.measure import kept as kept_module
from fugue_state.measure.chords import match
from fugue_state.measure.describe import Describer, triads
from fugue_state.measure.profile import Profile, ProfileHeader, band_hz, clusters
from fugue_state.memory.catalogue import MemoryHeader, find_memory, shipped_memories
from fugue_state.memory.checkpoint import read_tensors, save_memory, write_tensors
from fugue_state.memory.layers import Generator, OnMaps
from fugue_state.memory.memory import Memory
from fugue_state.progress import Track

from .conftest import CHORDS, changed, chord
from .test_cli import refused, run

SPEC = MelSpec()
HZ = band_hz(SPEC)
SMALL = ProfileConfig(latents=3, observed=12, clusters=5)
ARRAYS = ("mel_db", "clarity", "activation", "centroid_hz", "regions", "cluster")


def same(one: Profile, other: Profile) -> bool:
    return all(np.array_equal(getattr(one, key), getattr(other, key)) for key in ARRAYS)


def mel_of(name: str) -> Array:
    sound = 0.3 * chord(CHORDS[name], SPEC.duration_s + 0.1)[: SPEC.samples]
    return np.asarray(MelTransform(SPEC).encode(sound[None])[0])


LIFTED = ([0], [*range(40, 50)], [*range(124, 128)], [1, 60])


class Known:
    """A generator of an A minor chord in which it is known what each unit of `deconv1` does.

    Without unit 1 the chord is C. Unit 2 lifts the lowest band, 3 ten bands of the body, 4 the highest four, 5 one of
    the bass and one of the body, each by an eighth of the range. All units are always as active, the very first twice
    as much as the others. What goes on from maps is rounded otherwise than what is made at once.
    """

    def __init__(self, model: ModelConfig) -> None:
        self.layers = model.layers
        self.chords = [0.5 * mel_of(name) - 0.2 for name in ("Am", "C")]
        self.lifts = np.zeros((len(LIFTED), SPEC.n_mels, 1), dtype=np.float32)
        for unit, bands in enumerate(LIFTED):
            self.lifts[unit, bands] = 0.25

    def after(self, layer: str, maps: Array, label: int) -> Array:
        del label
        there = maps[0, 0, :5] > 0 if layer == "deconv1" else np.ones(5, dtype=np.bool_)
        return self._mel(there) + np.float32(1e-6)

    def _mel(self, there: npt.NDArray[np.bool_]) -> Array:
        """Return what is made where some of the first five units are there."""
        return np.asarray(self.chords[0 if there[0] else 1] + self.lifts[there[1:]].sum(axis=0))

    def __call__(
        self, z: Array, label: int, strengths: object = None, *, seen: OnMaps = lambda *_: None, **_: object
    ) -> Array:
        del z, label, strengths
        for name, size in self.layers.items():
            maps = np.ones((1, 1, size), dtype=np.float32)
            if name == "deconv1":
                maps[..., 0] = 2.0
            seen(name, maps)
        return self._mel(np.ones(5, dtype=np.bool_))


@pytest.fixture(scope="module")
def known() -> Memory:
    model = ModelConfig(feature_maps=4, latent_size=6)
    return Memory(cast("Generator", Known(model)), MemoryHeader(name="known", mel=SPEC, model=model))


@pytest.fixture(scope="module")
def profile(known: Memory) -> Profile:
    return Profile.of(known, config=SMALL)


def test_what_units_do_is_found(profile: Profile) -> None:
    for unit, bands in enumerate(LIFTED, 1):
        # An eighth of 80 dB is ten.
        assert profile.mel_db[unit] == pytest.approx(10.0 * np.sqrt(len(bands) / SPEC.n_mels), rel=1e-3)
        assert profile.centroid_hz[unit] == pytest.approx(HZ[bands].mean(), rel=1e-3)
    assert profile.regions[1:4] == pytest.approx(np.eye(3), abs=1e-3)
    bass, body = (1 / inside.sum() for inside in (HZ < 200, (HZ >= 200) & (HZ < 2000)))
    assert profile.regions[4].tolist() == pytest.approx([bass / (bass + body), body / (bass + body), 0], abs=1e-3)
    assert profile.region[1:5].tolist() == [0, 1, 2, 0]
    assert profile.activation[:5].tolist() == [2, 1, 1, 1, 1]


def test_a_unit_that_holds_the_chord_holds_the_clarity(profile: Profile, known: Memory) -> None:
    describer = Describer(SPEC, triads())
    am = describer(known.generate(np.zeros((1, 6))))[0]
    assert am.chord == "Am"
    assert profile.clarity[0] > 0.1
    assert profile.clarity.argmax() == 0
    assert np.abs(profile.clarity[[1, 3]]).max() < 0.02
    assert profile.mel_db[0] > 1.0


def test_chroma_alone_is_that_of_a_whole_description(tiny_memory: Memory) -> None:
    mels = np.stack([*(mel_of(name) for name in CHORDS), *tiny_memory.generate(np.zeros((3, 16)))])
    describer = Describer(SPEC, triads())
    heard = describer.chroma(mels)
    for chroma, told in zip(heard, describer(mels), strict=True):
        assert match(chroma, triads()).clarity == pytest.approx(told.clarity, abs=0.01)
    above = Describer(MelSpec(fmin_hz=3000.0), triads())
    assert (above.chroma(mels) == 0).all()
    assert above(mels)[0].chord == ""


def test_what_nobody_hears_is_nothing(profile: Profile) -> None:
    for key in ("mel_db", "clarity", "centroid_hz"):
        assert (getattr(profile, key)[5:] == 0).all()
    assert (profile.regions[5:] == 0).all()
    assert (profile.region[5:] == -1).all()
    assert (profile.cluster == 0).all()  # nothing ever changes


def test_saliency_is_the_mean_of_two_ranks(known: Memory) -> None:
    shape = {"deconv1": 4}
    none = np.zeros(4)
    one = Profile(
        shape, np.array([3.0, 1, 1, 2]), np.array([0.1, -0.2, 0, 0.3]), none, none, none[:, None], none.astype(int)
    )
    assert one.saliency.tolist() == pytest.approx([(3 + 2) / 6, 0.5 / 6, (0.5 + 1) / 6, (2 + 3) / 6])


def test_orders_take_a_profile(profile: Profile) -> None:
    order = make_order("saliency", profile.layers, 0, measured=profile, reverse=True)
    assert order[0] == 0
    low = make_order("frequency", profile.layers, 0, measured=profile, scope=("bass", "body", "air"), locks=("air",))
    heard = np.flatnonzero(np.isin(profile.region, (0, 1)))
    assert low.tolist() == heard[np.argsort(profile.centroid_hz[heard])].tolist()


def test_every_unit_is_measured_as_if_it_were_ablated_alone(tiny_memory: Memory) -> None:
    found = Profile.of(tiny_memory, config=SMALL)
    z = tiny_memory.latents(3, 0)
    intact = tiny_memory.generate(z)
    for unit in range(tiny_memory.units):
        strengths = np.ones(tiny_memory.units, dtype=np.float32)
        strengths[unit] = 0
        change_db = 40.0 * (tiny_memory.generate(z, strengths=strengths) - intact)
        assert found.mel_db[unit] == pytest.approx(np.sqrt((change_db**2).mean()), rel=1e-3, abs=2e-3)
        energy = (change_db**2).mean(axis=(0, 2))
        if found.mel_db[unit] > 0.01:
            assert found.centroid_hz[unit] == pytest.approx((energy @ HZ) / energy.sum(), rel=1e-2)
    assert found.regions.sum(axis=1) == pytest.approx((found.mel_db > 0).astype(float), abs=1e-3)
    seen = tiny_memory.observe(tiny_memory.latents(12, 0))[1]
    assert found.activation == pytest.approx(seen.mean(axis=0), rel=1e-3, abs=1e-6)


def test_where_one_unit_carries_everything_the_others_are_nothing(
    tiny_generator: Generator, tiny_header: MemoryHeader
) -> None:
    carriers = {"deconv2": 3, "deconv3": 5, "deconv4": 1, "deconv5": 0}
    weights = {}
    for after, carrier in zip(["deconv3", "deconv4", "deconv5", None], carriers.values(), strict=True):
        name = f"deconv.{after}.conv.weight" if after else "output.weight"
        weight = tiny_generator.tensors[name]
        weights[name] = np.where(np.arange(len(weight))[:, None, None, None] == carrier, weight, 0.0)
    found = Profile.of(Memory(changed(tiny_generator, weights), tiny_header), config=SMALL)
    for name, carrier in carriers.items():
        mel_db = found.mel_db[found.parts[name]]
        assert np.flatnonzero(mel_db).tolist() == [carrier]
        assert np.flatnonzero(found.clarity[found.parts[name]]).tolist() in ([], [carrier])
    assert next(iter(found.top(1))).split(":")[0] in found.layers


def test_every_label_is_heard_as_often(tiny_memory: Memory) -> None:
    one, three = (Profile.of(tiny_memory, config=ProfileConfig(latents=n, observed=12)) for n in (1, 3))
    assert same(one, three)
    assert not same(one, Profile.of(tiny_memory, config=ProfileConfig(latents=4, observed=12)))


def test_units_that_fire_alike_are_together() -> None:
    rng = np.random.default_rng(0)
    themes = rng.standard_normal((64, 3))
    theme = rng.integers(0, 3, 40)
    activations = 5.0 + themes[:, theme] * rng.uniform(0.1, 3.0, 40) + 1e-3 * rng.standard_normal((64, 40))
    activations[:, 7] = 0.0
    activations[:, 9] = 0.3
    found = clusters(activations, 3)
    assert np.flatnonzero(found == 0).tolist() == [7, 9]
    moving = np.setdiff1d(np.arange(40), (7, 9))
    pairs = found[moving, None] == found[None, moving]
    assert (pairs == (theme[moving, None] == theme[None, moving])).all()
    assert set(found[moving].tolist()) == {1, 2, 3}
    assert clusters(activations[:, :1], 3).tolist() == [1]
    assert clusters(np.zeros((4, 2)), 3).tolist() == [0, 0]


class Watch:
    """Count how often units are measured, and keep what is said."""

    def __init__(self) -> None:
        self.made = 0
        self.said: list[str] = []

    def track(self, items: Iterable[object], total: int, what: str) -> Iterator[object]:
        listed = list(items)
        assert len(listed) == total
        self.made += what == "ablating"
        yield from listed

    def of(self, path: Path, config: ProfileConfig = SMALL, *, rebuild: bool = False) -> Profile:
        track = cast("Track", self.track)
        return Profile.of(Memory.load(path), path, config, rebuild=rebuild, track=track, say=self.said.append)


def beside(path: Path) -> Path:
    return path.with_name(f"{path.stem}.profile.safetensors")


def test_a_profile_is_made_once_and_read_as_it_was_made(tiny_path: Path) -> None:
    watch = Watch()
    first, again = watch.of(tiny_path), watch.of(tiny_path)
    assert (watch.made, watch.said) == (1, [])
    assert same(first, again)
    assert same(first, watch.of(tiny_path, rebuild=True))
    assert watch.made == 2
    for value in first.mel_db[first.mel_db > 0]:
        assert value == np.float32(f"{value:.3e}")
    other = watch.of(tiny_path, SMALL.model_copy(update={"seed": 1}))
    assert watch.made == 3
    assert not same(first, other)
    assert watch.said[-1].endswith("made for another memory or other settings; making the profile again")


def spoil(**tensors: npt.NDArray[Any]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        memory = Memory.load(path.with_name("tiny.safetensors"))
        header = ProfileHeader(fingerprint=memory.fingerprint, config=SMALL)
        write_tensors(path, "profile", header, {**load_file(path), **tensors})

    return write


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-50]),
        lambda path: path.write_bytes(b""),
        spoil(mel_db=np.full(62, np.nan)),
        spoil(regions=np.zeros((62, 2))),
        spoil(cluster=np.full(62, -1)),
        spoil(more=np.zeros(62)),
    ],
)
def test_a_damaged_profile_is_made_again(tiny_path: Path, damage: Callable[[Path], object]) -> None:
    watch = Watch()
    first = watch.of(tiny_path)
    damage(beside(tiny_path))
    assert same(first, watch.of(tiny_path))
    assert watch.made == 2
    assert "damaged" in watch.said[0]
    watch.of(tiny_path)
    assert watch.made == 2


def test_what_came_with_the_package_is_read_and_never_written(
    tmp_path: Path, tiny_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch()
    watch.of(tiny_path)
    before = beside(tiny_path).read_bytes()
    monkeypatch.setattr(kept_module, "shipped_memories", lambda: {"tiny": tiny_path})
    watch.of(tiny_path)
    assert (watch.made, watch.said) == (1, [])
    watch.of(tiny_path, ProfileConfig(latents=3, observed=15))
    watch.of(tiny_path, ProfileConfig(latents=3, observed=15))
    assert watch.made == 2
    assert beside(tiny_path).read_bytes() == before
    assert len(list((tmp_path / "cache" / "profile").iterdir())) == 1
    # What came with the package goes before what is in the cache folder.
    beside(tiny_path).write_text("damaged")
    watch.of(tiny_path)
    assert (watch.made, len(watch.said)) == (3, 3)


@pytest.mark.parametrize("name", ["guitar", "guitar-long", "chords", "notes"])
def test_the_profile_that_ships_is_of_the_memory_that_ships(name: str) -> None:
    def refuse(items: Iterable[object], total: int, what: str) -> Iterator[object]:
        raise AssertionError(what)

    assert set(shipped_memories()) == {"guitar", "guitar-long", "chords", "notes"}
    memory = Memory.load(name)
    assert beside(find_memory(name)).stat().st_size < 50_000
    found = Profile.of(memory, name, track=cast("Track", refuse))
    assert len(found.mel_db) == memory.units == len(found.names)
    # Late layers have few units, so each of them is heard more.
    medians = [layer["mel_db_median"] for layer in found.summary().values()]
    assert medians == sorted(medians)


def test_a_header_as_long_as_a_pickle_begins_is_no_pickle(tmp_path: Path, tiny_header: MemoryHeader) -> None:
    class Padded(MemoryHeader):
        padding: str = ""

    path = tmp_path / "padded.safetensors"
    for padding in range(4096):
        values = tiny_header.model_dump() | {"padding": "x" * padding}
        write_tensors(path, "memory", Padded.model_validate(values), {"one": np.zeros(1)})
        start = path.read_bytes()[:9]
        if start[:2] in {b"\x80\x03", b"\x80\x04", b"\x80\x05"}:
            break
    else:
        pytest.fail("no header came out as long as that")
    assert read_tensors(path, "memory")[1]["one"].tolist() == [0.0]
    path.write_bytes(start[:2] + path.read_bytes()[8:])
    with pytest.raises(CheckpointError, match="pickled"):
        read_tensors(path, "memory")


def test_the_command_tells_and_draws(tmp_path: Path, tiny_path: Path) -> None:
    words = ["profile", tiny_path, "--latents", 3, "--observed", 12]
    plot = tmp_path / "units.png"
    first = run(*words, "--json", "--plot", plot)
    assert first.exit_code == 0, first.output
    told = json.loads(first.stdout)
    assert [layer["units"] for layer in told["layers"].values()] == [32, 16, 8, 4, 2]
    for layer in told["layers"].values():
        assert layer["saliency_median"] <= layer["saliency_largest"] <= 1
    top = list(told["most_salient"].values())
    assert len(top) == 10
    assert [one["saliency"] for one in top] == sorted((one["saliency"] for one in top), reverse=True)
    assert f"drew {plot}" in first.stderr
    assert beside(tiny_path).is_file()
    plain = run(*words)
    assert plain.stdout.splitlines()[0].startswith("deconv1")
    assert next(iter(told["most_salient"])) in plain.stdout
    refused(run(*words, "--plot", plot), 2, "exists already")
    assert run(*words, "--plot", plot, "--force").exit_code == 0
    refused(run("profile", tiny_path, "--plot", tmp_path / "units.jpg"), 2, ".png")
    refused(run("profile", tiny_path, "--clusters", 0), 2, "clusters", "got 0")
    refused(run("profile", "gitar"), 2, "unknown memory 'gitar'; did you mean 'guitar'")


def test_a_piece_forgets_by_what_is_measured(tmp_path: Path, tiny_path: Path) -> None:
    words: list[Any] = ["forget", "-m", tiny_path, "--duration", 4, "--rt60", 0.3, "--quality", "draft"]
    for order in ("saliency", "cluster"):
        done = run(*words, "-o", tmp_path / f"{order}.wav", "--order", order)
        assert done.exit_code == 0, done.output
        assert json.loads((tmp_path / f"{order}.json").read_text())["score"]["forgetting"]["order"] == order
    refused(run(*words, "-o", tmp_path / "list.wav", "--order", "list"), 2, "--order list needs units", "only a score")
    assert not (tmp_path / "list.wav").exists()
    assert "saliency" in run("forget", "--help").output


def test_the_generator_goes_on_from_the_maps_of_a_layer(tiny_path: Path) -> None:
    generator = Memory.load(tiny_path).generator
    z = np.random.default_rng(1).standard_normal((3, 16), dtype=np.float32)
    for one, label in zip(z, (0, 2, 1), strict=True):
        maps: dict[str, Array] = {}
        whole = generator(one, label, seen=maps.__setitem__)
        assert list(maps) == list(generator.config.layers)
        for name, seen in maps.items():
            assert np.array_equal(generator.after(name, seen, label), whole)


def test_a_memory_that_was_never_a_file_leaves_no_profile(tmp_path: Path, profile: Profile) -> None:
    del profile
    assert list(tmp_path.rglob("*.safetensors")) == []


def test_a_kept_profile_is_no_memory(tmp_path: Path, tiny_path: Path, tiny_memory: Memory) -> None:
    Watch().of(tiny_path)
    save_memory(tmp_path / "other.safetensors", tiny_memory.generator, tiny_memory.header)
    with pytest.raises(CheckpointError, match="holds a 'profile', a memory is needed"):
        Memory.load(beside(tiny_path))
