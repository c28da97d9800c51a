from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fugue_state.arrays import Array
from fugue_state.bending.orders import make_order
from fugue_state.bending.strengths import Strengths, forget
from fugue_state.config import CurveConfig, MelSpec, ModelConfig
from fugue_state.errors import InputError
from fugue_state.measure.curve import OVERALL, Curve, Listener, distances, measure_curves, mel_distance_db, table
from fugue_state.measure.curve import _steepest as steepest
from fugue_state.memory.catalogue import MemoryHeader
from fugue_state.memory.layers import Generator
from fugue_state.memory.memory import Memory

from .conftest import CHORDS, LABELS, RATE, chord, pluck, untrained
from .test_cli import refused, run

UNITS = 62  # of the tiny memory
KEEPER = 20  # the unit on which everything depends below
GONE = (KEEPER + 1) / UNITS  # ... is forgotten here, when the units go one after another


def one_by_one(fraction: float) -> Strengths:
    return forget(np.arange(UNITS), fraction, UNITS)


class OneUnit(Memory):
    """Its sound is a chord for as long as one unit is remembered, as loud as that is; the mel says so."""

    notes: Sequence[tuple[int, ...]] = tuple(CHORDS[label] for label in LABELS)
    gain = 1.0

    def generate(
        self, z: Any, chord: Any = None, strengths: Any = None, frames: int | None = None, bend: Any = None
    ) -> Array:
        assert bend is None
        kept = np.ones(1) if strengths is None else np.atleast_2d(strengths)[:, KEEPER]  # of each item, or of all
        mel = np.zeros((len(z), 128, frames or 128), np.float32) + (kept[:, None, None] - 1.0).astype(np.float32)
        mel[:, 0, 0] = [LABELS.index(name) / 10 for name in chord or LABELS[:1] * len(z)]
        return mel

    def invert(self, mel: Any) -> Array:
        level = np.float32(self.gain) * (mel[:, 1, 1:2] + np.float32(1.0))
        return np.asarray(level * np.stack([chord(self.notes[round(10 * float(m[0, 0]))]) for m in mel]))


@pytest.fixture
def one_unit(tiny_generator: Generator, tiny_header: MemoryHeader) -> OneUnit:
    return OneUnit(tiny_generator, tiny_header)


@pytest.fixture
def nameless() -> OneUnit:
    """The same without labels: it plays A minor."""
    model = ModelConfig(feature_maps=4, latent_size=16)
    return OneUnit(untrained(model), MemoryHeader(name="nameless", mel=MelSpec(), model=model))


def named(*rows: list[int]) -> Curve:
    fractions = np.linspace(0, 1, len(rows))
    return Curve(fractions, {"named": np.array(rows, dtype=float), "distance_db": np.zeros((len(rows), len(rows[0])))})


def test_mel_distance_is_the_mean_of_absolute_differences_in_db() -> None:
    one = np.zeros((2, 128, 96), np.float32)
    other = one.copy()
    other[0, :64] += 0.5
    other[0, 64:] -= 0.25
    assert mel_distance_db(one, other, MelSpec()).tolist() == [0.375 * 40, 0.0]
    assert mel_distance_db(one, other, MelSpec(range_db=100.0)).tolist() == [0.375 * 50, 0.0]
    with pytest.raises(InputError, match=r"\(2, 128, 96\) and \(1, 128, 96\)"):
        mel_distance_db(one, other[:1], MelSpec())


def test_distances_along_a_path(one_unit: OneUnit) -> None:
    half = (KEEPER + 0.5) / UNITS
    found = distances(one_unit, one_unit.latents(2, 0), None, one_by_one, [0.0, half, GONE, 1.0])
    share = 1.0 - 1.0 / 128**2  # one pixel is the label
    assert found == pytest.approx(np.array([[0, 0], [20, 20], [40, 40], [40, 40]]) * share, abs=1e-4)
    assert distances(one_unit, one_unit.latents(2, 0), None, one_by_one, []).shape == (0, 2)


def test_distances_depend_on_neither_batches_nor_threads(tiny_memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    z = tiny_memory.latents(20, 0)  # more than a batch, and no multiple of the labels
    asked = [LABELS[i % len(LABELS)] for i in range(20)]
    path = one_by_one
    found = distances(tiny_memory, z, None, path, [0.0, 0.3])
    assert not found[0].any()
    assert found[1].min() > 0
    assert (found == distances(tiny_memory, z, asked, path, [0.0, 0.3])).all()
    single = distances(tiny_memory, z[17:18], asked[17:18], path, [0.3])
    assert single[0, 0] == found[1, 17]
    for threads in ("1", "2"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        assert (found == distances(tiny_memory, z, None, path, [0.0, 0.3])).all()
    longer = distances(tiny_memory, z, None, path, [0.0, 0.3], frames=64)
    assert not longer[0].any()
    assert (longer[1] != found[1]).all()
    with pytest.raises(InputError, match="3 chords for 20 latents"):
        distances(tiny_memory, z, LABELS, path, [0.3])


def test_a_bend_is_handed_on_and_measured_against_intact(one_unit: OneUnit, monkeypatch: pytest.MonkeyPatch) -> None:
    bends = []

    def generate(z: Array, *_: Any, bend: Any = None, **__: Any) -> Array:
        bends.append(bend)
        return np.zeros((len(z), 128, 128), np.float32)

    monkeypatch.setattr(one_unit, "generate", generate)
    distances(one_unit, one_unit.latents(1, 0), None, one_by_one, [0.5], bend="mean")
    assert bends == [None, "mean"]


def test_what_hangs_on_one_unit_is_lost_when_that_unit_goes(one_unit: OneUnit) -> None:
    curve = measure_curves(one_unit, one_by_one, config=CurveConfig(latents=3, steps=11))[OVERALL]
    assert curve.share is not None
    assert curve.share[curve.fractions < GONE].min() == 1.0
    assert curve.share[curve.fractions >= GONE].max() == 0.0
    # Even fractions alone would leave it within a tenth.
    assert curve.half_life == pytest.approx(GONE, abs=0.013)
    assert curve.last_recognised == curve.fractions[curve.fractions < GONE].max()
    assert curve.traits["loudness_lu"][0] == pytest.approx(0.0)
    assert curve.traits["loudness_lu"][-1].max() < -40
    bright = curve.quartiles("brightness_hz")[1]
    assert 100 < bright[0] < 1000
    assert bright[-1] == 0
    assert (np.diff(curve.fractions) > 0).all()


def test_loudness_is_relative_to_intact(one_unit: OneUnit) -> None:
    """Half of the unit is half of the amplitude."""

    def halfway(fraction: float) -> Strengths:
        return one_by_one(fraction * (KEEPER + 0.5) / UNITS)

    curve = measure_curves(one_unit, halfway, config=CurveConfig(latents=2, steps=2))[OVERALL]
    assert curve.traits["loudness_lu"][-1] == pytest.approx(20 * np.log10(0.5), abs=0.01)
    assert curve.half_life is None
    assert curve.last_recognised == 1.0


def test_without_labels_chords_are_those_heard_when_intact(nameless: OneUnit) -> None:
    curve = measure_curves(nameless, one_by_one, config=CurveConfig(latents=2, steps=11))[OVERALL]
    assert curve.share is not None
    assert curve.share[0] == 1.0
    assert curve.traits["clarity"][0].min() > 0.9
    assert curve.half_life == pytest.approx(GONE, abs=0.013)


def test_where_nothing_can_be_named_the_rest_is_there(nameless: OneUnit) -> None:
    nameless.gain = 1e-5  # 100 dB down: a chord, but nobody hears it
    curves = measure_curves(nameless, one_by_one, {"deconv1": one_by_one}, CurveConfig(latents=2, steps=3))
    told = curves[OVERALL].told()
    assert (told["named"], told["clarity"], told["half_life"], told["last_recognised"]) == (None,) * 4
    assert told["distance_db"]["median"][-1] == pytest.approx(40, abs=0.01)
    assert told["loudness_lu"]["median"] == [0.0] * len(told["fraction"])
    assert any("half-life none" in line for line in table(curves))


def test_layers_are_curves_of_their_own(one_unit: OneUnit) -> None:
    def intact(fraction: float) -> Strengths:
        return np.ones(UNITS, dtype=np.float32)

    curves = measure_curves(one_unit, one_by_one, {"deconv1": intact}, CurveConfig(latents=1, steps=5))
    assert list(curves) == [OVERALL, "deconv1"]
    assert curves["deconv1"].fractions.tolist() == [0.0, 0.5, 1.0]  # nothing changes: no more are needed
    assert curves["deconv1"].half_life is None
    assert not curves["deconv1"].traits["distance_db"].any()


def test_more_fractions_go_to_the_half_life_and_then_to_what_changes_most() -> None:
    distance_db = np.array([[0.0], [9.0], [9.0], [9.0], [9.0]]).repeat(3, axis=1)
    share = np.array([[1, 1, 1], [1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 0, 0]], dtype=float)
    curve = Curve(np.linspace(0, 1, 5), {"named": share, "distance_db": distance_db})
    assert steepest(curve, 0.01) == 0.625
    assert steepest(Curve(curve.fractions, {"distance_db": distance_db}), 0.01) == 0.125
    assert steepest(curve, 0.25) is None


def test_half_life_of_known_curves() -> None:
    assert named([1, 1], [1, 1], [0, 1], [0, 0], [1, 1]).half_life == 0.5  # the first time counts
    assert named([1, 1, 1, 1], [1, 1, 1, 0], [1, 0, 0, 0]).half_life == pytest.approx(0.75)
    assert named([1, 1, 0, 0], [1, 0, 0, 0]).half_life == 1.0  # half of what it is intact
    assert named([1, 1], [1, 1]).half_life is None
    assert named([0, 0], [1, 0]).half_life is None


def test_what_is_named_right_again_by_chance_was_lost_all_the_same() -> None:
    assert named([1, 1], [1, 0], [0, 1], [1, 1], [0, 0]).last_recognised == 0.25
    assert named([1, 0], [1, 0], [0, 1]).last_recognised == 0.5
    assert named([0, 0], [1, 1]).last_recognised is None
    assert named([1], [1]).last_recognised == 1.0


def test_spread_is_over_latents() -> None:
    curve = Curve(
        np.array([0.0, 1.0]), {"distance_db": np.array([[0.0, 0.0, 0.0, 0.0, 0.0], [5.0, 1.0, 2.0, 4.0, 3.0]])}
    )
    assert curve.quartiles("distance_db").tolist() == [[0, 2], [0, 3], [0, 4]]
    assert curve.told()["distance_db"] == {"median": [0, 3], "lower": [0, 2], "upper": [0, 4]}


def test_the_command_measures_tells_and_draws(tmp_path: Path, tiny_path: Path) -> None:
    words = ("curve", tiny_path, "--latents", 3, "--steps", 3, "--order", "layerwise", "--seed", 4)
    plot = tmp_path / "curve.png"
    first = run(*words, "--plot", plot, "--json")
    assert first.exit_code == 0, first.output
    told = json.loads(first.stdout)
    assert (told["memory"], told["order"], told["seed"], told["latents"]) == ("tiny", "layerwise", 4, 3)
    assert list(told["curves"]) == [OVERALL, "deconv1", "deconv2", "deconv3", "deconv4", "deconv5"]
    overall = told["curves"][OVERALL]
    assert {0.0, 0.5, 1.0} <= set(overall["fraction"])
    assert all(len(overall["distance_db"][key]) == len(overall["fraction"]) for key in ("lower", "median", "upper"))
    with Image.open(plot) as image:
        assert image.width == 1210
    refused(run(*words, "--plot", plot), 2, "exists already", "--force")
    vector = tmp_path / "curve.svg"
    again = run(*words, "--plot", vector)
    assert again.exit_code == 0, again.output
    assert "half-life" in again.stdout
    assert "deconv5" in again.stdout
    drawn = vector.read_bytes()
    assert run(*words, "--plot", vector, "--force", "--json").stdout == first.stdout
    assert vector.read_bytes() == drawn


def test_a_layer_is_forgotten_alone(tiny_memory: Memory, tiny_path: Path) -> None:
    told = json.loads(
        run("curve", tiny_path, "--latents", 2, "--steps", 3, "--seed", 1, "--order", "random", "--json").stdout
    )["curves"]
    z, start = tiny_memory.latents(2, 1), 0
    for name, size in tiny_memory.layers.items():
        left = np.ones(UNITS, dtype=np.float32)
        left[start : start + size] = 0.0
        start += size
        wanted = mel_distance_db(tiny_memory.generate(z, None, left), tiny_memory.generate(z), tiny_memory.spec)
        assert told[name]["distance_db"]["median"][-1] == pytest.approx(np.median(wanted), abs=1e-3)
    order = make_order("random", tiny_memory.layers, 1)
    middle = distances(tiny_memory, z, None, lambda f: forget(order, f, UNITS), [0.5])
    at = told[OVERALL]["fraction"].index(0.5)
    assert told[OVERALL]["distance_db"]["median"][at] == pytest.approx(np.median(middle), abs=1e-3)


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--order", "rnadom"], "unknown --order 'rnadom'; did you mean 'random'?"),
        (["--steps", "1"], "steps: must be greater than or equal to 2 (got 1)"),
        (["--latents", "0"], "latents: must be greater than or equal to 1 (got 0)"),
        (["--seed", "-1"], "seed"),
        (["--quality", "best"], "'best'"),
        (["--plot", "{tmp}/none/curve.png"], "no such folder"),
        (["--plot", "{tmp}/curve.jpg"], "unknown file ending '.jpg'"),
        (["--plot", "{tmp}"], "is a folder, a file is needed"),
    ],
)
def test_wrong_requests_get_one_line(tmp_path: Path, tiny_path: Path, words: list[str], part: str) -> None:
    before = sorted(tmp_path.iterdir())
    refused(run("curve", tiny_path, *[w.format(tmp=tmp_path) for w in words]), 2, part)
    assert sorted(tmp_path.iterdir()) == before


class Plucked:
    """A memory of notes that sounds as it should while it is intact, and silent when all is forgotten."""

    labels = ("C3", "Bb3")
    spec = MelSpec()
    units = 1

    def __init__(self, midis: tuple[float, ...]) -> None:
        self.midis = midis

    def latents(self, count: int, seed: int) -> Array:
        del seed
        return np.arange(count, dtype=np.float32)[:, None]

    def generate(self, z: Array, chords: Sequence[str], strengths: Array | None = None, **_: object) -> Array:
        del chords
        left = 1.0 if strengths is None else float(strengths[0])
        return (left * np.array([self.midis[int(i) % 2] for i in z[:, 0]], np.float32))[:, None, None]

    def invert(self, mels: Array) -> Array:
        return np.stack([pluck(float(m), 2.0) if m > 0 else np.zeros(2 * RATE, np.float32) for m in mels[:, 0, 0]])


def test_notes_are_named_by_their_pitch() -> None:
    listen = Listener(Plucked((48.3, 58.8)), 4, 0)  # type: ignore[arg-type]
    intact, gone = listen(np.ones(1, np.float32)), listen(np.zeros(1, np.float32))
    assert intact["named"].tolist() == [1, 0, 1, 0]  # 58.8 is nearer to B3 than to Bb3
    assert (intact["clarity"] > 0.9).all()
    assert gone["named"].tolist() == [0] * 4
    assert gone["clarity"].tolist() == [0] * 4
