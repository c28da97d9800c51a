from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from fugue_state import files
from fugue_state.arrays import Array
from fugue_state.audio import reading
from fugue_state.audio.mel import MelTransform
from fugue_state.config import AtlasConfig, MelSpec, ModelConfig
from fugue_state.errors import InputError
from fugue_state.measure import atlas as atlas_module
from fugue_state.measure import kept as kept_module
from fugue_state.measure.atlas import Atlas, spherical_path
from fugue_state.measure.describe import Describer, Description, triads
from fugue_state.memory.catalogue import MemoryHeader
from fugue_state.memory.checkpoint import save_memory, write_tensors
from fugue_state.memory.layers import Generator
from fugue_state.memory.memory import Memory
from fugue_state.progress import Track

from .conftest import CHORDS, RATE, Sound, changed, chord, pluck
from .test_cli import refused, run

SPEC = MelSpec()
SMALL = AtlasConfig(count=60, seed=5)
Z = 6


def described(*sounds: Sound, spec: MelSpec = SPEC) -> list[Description]:
    cut = [np.resize(np.append(s, np.zeros(max(0, spec.samples - len(s)))), spec.samples) for s in sounds]
    mel = MelTransform(spec).encode(np.stack(cut).astype(np.float32))
    return Describer(spec, triads())(mel)


def sine(hz: float, amplitude: float = 0.1) -> Sound:
    return np.asarray(amplitude * np.sin(2 * np.pi * hz * np.arange(SPEC.samples) / RATE), dtype=np.float32)


TIME = np.arange(SPEC.samples) / RATE


def test_chords_can_be_named_once_each_as_the_memory_spells_them() -> None:
    assert len(triads()) == 24
    names = triads(("A#", "Bdim", "loud", "Cmaj"))
    assert names[:3] == ("A#", "Bdim", "Cmaj")
    assert not {"Bb", "C", "loud"} & set(names)
    assert len(names) == 25


@pytest.mark.parametrize("name", sorted(CHORDS))
@pytest.mark.parametrize("frames", [64, 128, 192])
@pytest.mark.parametrize("detuned", [0.0, 0.3, -0.3])
def test_plucked_chords_are_named_among_24_even_detuned(name: str, frames: int, detuned: float) -> None:
    sound = np.sum([pluck(note + detuned, 3.0, seed=note) for note in CHORDS[name]], axis=0)
    (heard,) = described(sound, spec=MelSpec(frames=frames))
    assert heard.chord == name
    assert heard.clarity > (0.75 if detuned else 0.85)
    assert heard.margin > (0.02 if detuned else 0.05)


def test_noise_is_no_clear_chord() -> None:
    noise = 0.05 * np.random.default_rng(0).standard_normal(SPEC.samples).astype(np.float32)
    (heard,) = described(noise)
    assert heard.clarity < 0.8
    assert heard.margin < 0.05


def test_brightness_is_the_centroid_and_level_the_root_mean_square() -> None:
    low, both, loud = described(sine(440), sine(440) + sine(1760), sine(440, 0.2))
    assert low.brightness_hz == pytest.approx(440, rel=0.02)
    # Bands are wider at 1760 Hz: what comes back is spread over more bins, and weighs less as a power.
    assert both.brightness_hz == pytest.approx((440 + 1760) / 2, rel=0.2)
    assert low.level_dbfs == pytest.approx(20 * np.log10(0.1 / np.sqrt(2)), abs=0.3)
    assert loud.level_dbfs - low.level_dbfs == pytest.approx(20 * np.log10(2), abs=0.1)


def test_a_slow_attack_and_a_long_sustain_are_timed() -> None:
    at_once, slow, slower = (
        np.asarray(sine(440) * np.minimum(1.0, (TIME + 1e-9) / t), dtype=np.float32) for t in (1e-9, 0.4, 0.8)
    )
    heard = described(at_once, slow, slower)
    # A straight rise takes from 0.1 to 0.71 of its height between -20 and -3 dB.
    assert heard[0].attack_s < 0.03
    assert heard[1].attack_s == pytest.approx(0.61 * 0.4, abs=0.04)
    assert heard[2].attack_s == pytest.approx(0.61 * 0.8, abs=0.04)
    dying = [np.asarray(sine(440) * np.exp(-TIME / t), dtype=np.float32) for t in (0.5, 1.0, 4.0)]
    end = np.arange(SPEC.samples) >= 0.75 * SPEC.samples
    for t, one in zip((0.5, 1.0, 4.0), described(*dying), strict=True):
        expected = 10 * np.log10(np.mean(np.exp(-2 * TIME[end] / t)))
        assert one.sustain_db == pytest.approx(expected, abs=1.5)


def test_silence_has_no_chord() -> None:
    (heard,) = described(np.zeros(10, np.float32))
    assert heard == Description("", 0.0, 0.0, 0.0, 0.0, 0.0, -120.0)


class Known:
    """A generator without labels whose first three numbers say chord, level and brightness."""

    def __init__(self) -> None:
        sounds = np.stack(
            [0.3 * chord(CHORDS[name], SPEC.duration_s + 0.1)[: SPEC.samples] for name in ("Am", "C", "G")]
        )
        self.mels = MelTransform(SPEC).encode(sounds)

    def __call__(self, z: Array, label: int, strengths: object, **_: object) -> Array:
        del label, strengths
        tilt = np.linspace(-0.2, 0.2, SPEC.n_mels, dtype=np.float32)[:, None] * z[2]
        return np.asarray(np.clip(self.mels[kind(z)] + np.float32(0.05) * z[1] + tilt, -1.0, 1.0))


def kind(z: Array) -> npt.NDArray[np.int64]:
    """Return which of the chords latents (..., Z) are."""
    return (z[..., 0] > -0.4).astype(np.int64) + (z[..., 0] > 0.4)


@pytest.fixture(scope="module")
def known() -> Memory:
    header = MemoryHeader(name="known", mel=SPEC, model=ModelConfig(feature_maps=4, latent_size=Z))
    return Memory(cast("Generator", Known()), header)


@pytest.fixture(scope="module")
def atlas(known: Memory) -> Atlas:
    return Atlas.of(known, config=SMALL)


def test_a_memory_without_labels_gives_the_chord_one_wants(atlas: Atlas, known: Memory) -> None:
    z = known.latents(SMALL.count, SMALL.seed)
    counts = np.bincount(kind(z), minlength=3)
    assert atlas.chords == dict(zip(("Am", "C", "G"), map(int, counts), strict=True))
    for i, name in enumerate(("Am", "C", "G")):
        for place in atlas.choose(5, chord=name):
            assert place.label is None
            assert place.description.chord == name
            assert kind(place.z) == i
            assert np.array_equal(place.z, z[place.index])
    assert [p.index for p in atlas.choose(5, chord="Cmaj")] == [p.index for p in atlas.choose(5, chord="C")]


@pytest.mark.parametrize(("trait", "field"), [("level", "level_dbfs"), ("bright", "brightness_hz")])
def test_what_is_chosen_follows_the_quantile_asked_for(atlas: Atlas, trait: str, field: str) -> None:
    every = np.array([getattr(atlas[i].description, field) for i in range(len(atlas))])
    means = []
    most: dict[str, Any] = {trait: 1.0}
    for quantile in (0.0, 0.25, 0.5, 0.75, 1.0):
        wish: dict[str, Any] = {trait: quantile}
        chosen = [getattr(p.description, field) for p in atlas.choose(8, **wish)]
        means.append(np.mean(chosen))
        off = [abs((every < value).sum() / (len(every) - 1) - quantile) for value in chosen]
        assert off == sorted(off)
        assert off[0] <= 0.02
    assert means == sorted(means)
    assert getattr(atlas.choose(1, **most)[0].description, field) == every.max()
    (both,) = atlas.choose(1, chord="G", **most)
    assert getattr(both.description, field) == max(
        getattr(atlas[i].description, field) for i in range(len(atlas)) if atlas[i].description.chord == "G"
    )


def test_two_wishes_are_weighed_alike(atlas: Atlas) -> None:
    levels, brights = (
        np.array([getattr(atlas[i].description, f) for i in range(60)]) for f in ("level_dbfs", "brightness_hz")
    )
    level, bright = ((np.argsort(np.argsort(x))) / 59 for x in (levels, brights))
    expected = np.argsort((level - 0.9) ** 2 + (bright - 0.2) ** 2)[:4]
    assert [p.index for p in atlas.choose(4, level=0.9, bright=0.2)] == expected.tolist()


def test_without_a_trait_the_seed_draws(atlas: Atlas) -> None:
    drawn = [[p.index for p in atlas.choose(10, seed=seed)] for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(set(drawn[0])) == 10


def test_wrong_wishes_say_what_would_be_right(atlas: Atlas) -> None:
    with pytest.raises(InputError, match="unknown chord 'H'"):
        atlas.choose(1, chord="H")
    with pytest.raises(InputError, match=r"no latent of the atlas sounds like Ebm; it has Am \(22\), C \(22\), G"):
        atlas.choose(1, chord="Ebm")
    for value in (1.1, -0.1, float("nan")):
        with pytest.raises(InputError, match=r"bright: a quantile, .* must be within 0\.\.1"):
            atlas.choose(1, bright=value)
    with pytest.raises(InputError, match="unknown trait 'brihgt'; did you mean 'bright'"):
        atlas.choose(1, brihgt=0.5)
    with pytest.raises(InputError, match="1 to 60 can be chosen, not 61"):
        atlas.choose(61)
    with pytest.raises(InputError, match="can be chosen, not 0"):
        atlas.neighbours(3, 0)
    with pytest.raises(InputError, match="no entry 60: it has 0 to 59"):
        atlas.path(0, 60, 4)
    with pytest.raises(InputError, match="no entry -1"):
        atlas.neighbours(-1, 1)
    with pytest.raises(InputError, match=r"a latent must be \(6,\), got \(5,\)"):
        atlas.neighbours(np.zeros(5, np.float32), 1)
    with pytest.raises(InputError, match="learned without labels"):
        atlas.place(np.zeros(Z, np.float32), "Am")


def test_neighbours_sound_alike_and_begin_with_the_entry(atlas: Atlas) -> None:
    near = atlas.neighbours(7, len(atlas))
    assert near[0].index == 7
    assert sorted(cast("int", p.index) for p in near) == list(range(len(atlas)))
    assert [p.index for p in atlas.neighbours(atlas[7].z, 5)] == [p.index for p in near[:5]]
    # The same but for numbers that cannot be heard; one that is no entry.
    z = atlas[7].z.copy()
    z[3:] += 1.0
    assert atlas.place(z).index is None
    assert [p.index for p in atlas.neighbours(z, 5)] == [p.index for p in near[:5]]
    half = len(atlas) // 4
    gap = [abs(p.description.level_dbfs - near[0].description.level_dbfs) for p in near]
    assert np.mean(gap[:half]) < np.mean(gap[-half:])
    assert sum(p.description.chord == near[0].description.chord for p in near[:half]) > half * 0.6


def test_a_labelled_memory_is_described_with_its_labels_in_turn(tiny_memory: Memory) -> None:
    found = Atlas.of(tiny_memory, config=AtlasConfig(count=70))
    assert [found[i].label for i in range(4)] == ["Am", "C", "G", "Am"]
    for index, label in ((1, "C"), (65, "G")):
        alone = Describer(tiny_memory.spec, found.names)(tiny_memory.generate(found[index].z[None], label))[0]
        assert found[index].label == label
        assert found[index].description.chord == alone.chord
        assert found[index].description.brightness_hz == pytest.approx(alone.brightness_hz, rel=1e-4)
        first = found.place(found[index].z).description
        assert first.brightness_hz != pytest.approx(alone.brightness_hz, rel=1e-4)
    # The same latent under another label is no entry.
    assert found.place(found[1].z, "G").label == "G"
    way = found.path(0, 2, 5)
    assert [p.label for p in way] == ["Am", "Am", "G", "G", "G"]
    assert [p.index for p in way] == [0, None, None, None, 2]
    assert [p.index for p in found.path(0, 2, 2)] == [0, 2]


def unit(seed: int, size: int = 8) -> Array:
    values = np.random.default_rng(seed).standard_normal(size)
    return np.asarray(values / np.linalg.norm(values), dtype=np.float32)


@given(st.integers(0, 10**6), st.floats(0.1, 10), st.floats(0.1, 10), st.integers(2, 12))
def test_a_path_turns_and_grows_evenly(seed: int, long: float, longer: float, steps: int) -> None:
    one, other = np.float32(long) * unit(seed), np.float32(longer) * unit(seed + 1)
    way = spherical_path(one, other, steps)
    assert np.array_equal(way[0], one)
    assert np.array_equal(way[-1], other)
    lengths = np.linalg.norm(way, axis=1)
    assert np.allclose(lengths, np.linspace(np.linalg.norm(one), np.linalg.norm(other), steps), rtol=1e-4)
    turns = [np.linalg.norm(a - b) for a, b in pairwise(way / lengths[:, None])]
    assert np.ptp(turns) < 1e-4


@pytest.mark.parametrize("apart", [0.0, 1e-12, 1e-7, 1e-4])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_parallel_and_opposite_latents_have_a_path(apart: float, sign: float) -> None:
    one = unit(0)
    other = np.float32(sign) * (one + np.float32(apart) * unit(1))
    way = spherical_path(one, other, 5)
    assert np.isfinite(way).all()
    assert np.array_equal(way[-1], other)
    assert np.allclose(np.linalg.norm(way, axis=1), 1.0, atol=1e-3)
    if sign < 0:  # half a turn, not through the middle
        assert float(way[2] @ one) == pytest.approx(0.0, abs=1e-3)
    else:
        assert np.allclose(way, one, atol=2e-4)


def test_paths_that_cannot_be() -> None:
    with pytest.raises(InputError, match="at least 2 steps"):
        spherical_path(unit(0), unit(1), 1)
    with pytest.raises(InputError, match="between two latents"):
        spherical_path(unit(0), unit(1, 9), 3)
    with pytest.raises(InputError, match="zeros"):
        spherical_path(unit(0), np.zeros(8, dtype=np.float32), 3)


class Watch:
    """Count how often an atlas is made, and keep what is said."""

    def __init__(self) -> None:
        self.made = 0
        self.said: list[str] = []

    def track(self, items: Iterable[object], total: int, what: str) -> Iterator[object]:
        del total
        self.made += what == "describing"
        yield from items

    def of(self, path: Path, config: AtlasConfig = SMALL, *, rebuild: bool = False) -> Atlas:
        memory = Memory.load(path)
        track = cast("Track", self.track)
        return Atlas.of(memory, path, config, rebuild=rebuild, track=track, say=self.said.append)


def beside(path: Path) -> Path:
    return path.with_name(f"{path.stem}.atlas.safetensors")


def test_an_atlas_is_made_once(tiny_path: Path) -> None:
    watch = Watch()
    first, again = watch.of(tiny_path), watch.of(tiny_path)
    assert watch.made == 1
    assert beside(tiny_path).is_file()
    assert [first[i].description for i in range(60)] == [again[i].description for i in range(60)]
    assert watch.of(tiny_path, rebuild=True)[3].description == first[3].description
    assert (watch.made, watch.said) == (2, [])


def test_a_stale_atlas_is_made_again(tiny_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch()
    watch.of(tiny_path)
    other = watch.of(tiny_path, AtlasConfig(count=61, seed=5))
    assert (watch.made, len(other)) == (2, 61)
    assert "other settings; making the atlas again" in watch.said[-1]
    memory = Memory.load(tiny_path)
    other_weight = 1.01 * memory.generator.tensors["output.weight"]
    save_memory(tiny_path, changed(memory.generator, {"output.weight": other_weight}), memory.header)
    watch.of(tiny_path, AtlasConfig(count=61, seed=5))
    assert (watch.made, len(watch.said)) == (3, 2)
    monkeypatch.setattr(atlas_module.AtlasHeader.model_fields["formula"], "default", 99)
    atlas_module.AtlasHeader.model_rebuild(force=True)
    try:
        watch.of(tiny_path, AtlasConfig(count=61, seed=5))
    finally:
        monkeypatch.undo()
        atlas_module.AtlasHeader.model_rebuild(force=True)
    assert (watch.made, len(watch.said)) == (4, 3)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-50])


def spoil(**tensors: npt.NDArray[Any]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        memory = Memory.load(path.with_name("tiny.safetensors"))
        header = atlas_module.AtlasHeader(
            fingerprint=memory.fingerprint, config=SMALL, mel=memory.spec, chords=triads(memory.labels)
        )
        write_tensors(path, "atlas", header, {**load_file(path), **tensors})

    return write


@pytest.mark.parametrize(
    "damage",
    [
        cut,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("no atlas"),
        spoil(traits=np.full((60, 6), np.nan)),
        spoil(traits=np.zeros((60, 5))),
        spoil(chord=np.full(60, 99)),
    ],
)
def test_a_damaged_atlas_is_made_again(tiny_path: Path, damage: Callable[[Path], object]) -> None:
    watch = Watch()
    first = watch.of(tiny_path)
    damage(beside(tiny_path))
    again = watch.of(tiny_path)
    assert watch.made == 2
    assert "damaged" in watch.said[0]
    assert again[5].description == first[5].description
    watch.of(tiny_path)
    assert watch.made == 2


def test_the_cache_folder_stands_in_for_one_that_cannot_be_written_to(
    tmp_path: Path, tiny_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse = files._writable
    monkeypatch.setattr(files, "_writable", lambda folder: folder != tiny_path.parent and refuse(folder))
    watch = Watch()
    watch.of(tiny_path)
    watch.of(tiny_path)
    assert not beside(tiny_path).exists()
    assert len(list((tmp_path / "cache" / "atlas").iterdir())) == 1
    assert (watch.made, watch.said) == (1, [])


def test_nothing_is_written_beside_a_memory_that_came_with_the_package(
    tmp_path: Path, tiny_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_module, "shipped_memories", lambda: {"tiny": tiny_path})
    watch = Watch()
    watch.of(tiny_path)
    watch.of(tiny_path)
    assert watch.made == 1
    assert not beside(tiny_path).exists()
    assert len(list((tmp_path / "cache" / "atlas").iterdir())) == 1


def test_a_memory_that_was_never_a_file_leaves_none(tmp_path: Path, known: Memory) -> None:
    Atlas.of(known, config=SMALL)
    assert list(tmp_path.rglob("*.safetensors")) == []


@pytest.fixture
def unlabelled_path(tmp_path: Path, tiny_generator: Generator, tiny_header: MemoryHeader) -> Path:
    """The tiny memory, knowing only what its first label meant."""
    model = tiny_header.model.model_copy(update={"labels": ()})
    tensors = {
        name: tensor[:1] if name.endswith((".gain", ".shift")) else tensor
        for name, tensor in tiny_generator.tensors.items()
    }
    generator = Generator(model, tiny_generator.frames, tensors)
    path = tmp_path / "plain.safetensors"
    save_memory(path, generator, tiny_header.model_copy(update={"model": model}))
    return path


def test_the_command_sums_up_and_lists(tiny_path: Path) -> None:
    words = ["atlas", tiny_path, "--latents", 60]
    first = run(*words, "--json")
    assert first.exit_code == 0, first.output
    summed = json.loads(first.stdout)
    assert summed["latents"] == 60
    assert sum(summed["chords"].values()) == 60
    assert summed["level_dbfs"]["0"] < summed["level_dbfs"]["1"]
    assert "brightness_hz" in run(*words).stdout
    sounds = json.loads(run(*words, "--bright", 1, "-n", 60, "--json").stdout)["sounds"]
    brightness = [one["brightness_hz"] for one in sounds]
    assert brightness == sorted(brightness, reverse=True)
    other = run(*words, "--seed", 3)
    assert "making the atlas again" in other.stderr


def test_the_command_plays_what_is_like_a_description(tmp_path: Path, unlabelled_path: Path) -> None:
    words = ["atlas", unlabelled_path, "--latents", 60]
    name = next(iter(json.loads(run(*words, "--json").stdout)["chords"]))
    done = run(*words, "--chord", name, "--bright", 0.8, "-n", 2, "-o", tmp_path / "s")
    assert done.exit_code == 0, done.output
    told = json.loads((tmp_path / "s" / "atlas.json").read_text())
    files = [one["file"] for one in told["sounds"]]
    assert files == [f"{i:03d}_{name}_{one['index']:04d}.wav" for i, one in enumerate(told["sounds"])]
    assert sorted(p.name for p in (tmp_path / "s").iterdir()) == sorted([*files, "atlas.json", "sheet.png"])
    assert {one["chord"] for one in told["sounds"]} == {name}
    assert told["asked"] == {"like": {"chord": name, "bright": 0.8}, "count": 2, "draw": 0}
    assert told["atlas"] == {"count": 60, "seed": 0}
    # The listing is enough to hear the same again.
    memory = Memory.load(unlabelled_path)
    assert told["memory_sha256"] == memory.fingerprint
    place = Atlas.of(memory, unlabelled_path, AtlasConfig.model_validate(told["atlas"]))[told["sounds"][0]["index"]]
    sound = memory.invert(memory.generate(place.z[None]))[0]
    stored = reading.read(tmp_path / "s" / files[0])[0]
    assert np.corrcoef(sound, stored)[0, 1] > 0.99
    refused(run(*words, "--chord", name, "-n", 1, "-o", tmp_path / "s"), 2, "exists already")


def test_the_command_plays_a_path_and_neighbours(tmp_path: Path, tiny_path: Path) -> None:
    words = ["atlas", tiny_path, "--latents", 60]
    path = run(*words, "--path", "12,57", "--steps", 4, "-o", tmp_path / "path")
    assert path.exit_code == 0, path.output
    assert path.stdout.count("index: none") == 2  # between the entries there is none
    told = json.loads((tmp_path / "path" / "atlas.json").read_text())
    assert [one["index"] for one in told["sounds"]] == [12, None, None, 57]
    assert len(list((tmp_path / "path").glob("*.wav"))) == 4
    near = run(*words, "--near", 12, "-n", 3, "-o", tmp_path / "near")
    assert near.exit_code == 0, near.output
    assert json.loads((tmp_path / "near" / "atlas.json").read_text())["sounds"][0]["index"] == 12
    assert len(list((tmp_path / "near").glob("*.wav"))) == 3


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--chord", "Hm"], ["unknown chord 'Hm'; did you mean"]),
        (["--bright", 1.2], ["--bright: 1.2 is not in the range 0<=x<=1"]),
        (["--level", "nan"], ["--level: nan is not in the range 0<=x<=1"]),
        (["--near", 60], ["no entry 60: it has 0 to 59"]),
        (["--path", "1"], ["like 12,57, not '1'"]),
        (["--path", "1,x"], ["like 12,57, not '1,x'"]),
        (["--path", "1,60"], ["no entry 60"]),
        (["--path", "1,2", "--near", 3], ["--path and --near cannot be asked for at once"]),
        (["--near", 3, "--chord", "Am"], ["--near and --chord cannot"]),
        (["--path", "1,2", "-n", 3], ["--steps"]),
        (["-n", 61], ["1 to 60 can be chosen, not 61"]),
        (["--latents", 1], ["--latents", "got 1"]),
    ],
)
def test_wrong_commands_are_one_line_and_make_no_folder(
    tmp_path: Path, tiny_path: Path, words: list[object], parts: list[str]
) -> None:
    refused(run("atlas", tiny_path, "--latents", 60, *words, "-o", tmp_path / "out"), 2, *parts)
    assert not (tmp_path / "out").exists()


def test_the_command_knows_its_memory(tmp_path: Path) -> None:
    refused(run("atlas", "gitar"), 2, "unknown memory 'gitar'")
    refused(run("atlas", tmp_path / "none.safetensors"), 2, "no such checkpoint")
