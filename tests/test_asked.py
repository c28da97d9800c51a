"""What Python may be asked for: a wrong value is an InputError that names it; a researcher's first hour works."""

# mypy: disable-error-code="arg-type, call-arg"

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from fugue_state import load_score, render, samples
from fugue_state.audio.inverters import make_inverter
from fugue_state.config import AtlasConfig, MelSpec
from fugue_state.errors import InputError
from fugue_state.measure.atlas import spherical_path
from fugue_state.memory.bends import Source
from fugue_state.memory.memory import Memory
from fugue_state.memory.units import units_of
from fugue_state.piece.piece import Piece
from fugue_state.score.model import Score

Ask = Callable[[Memory], Any]


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda m: m.latents(-1, 0), "count of latents must be within 0.*got -1"),
        (lambda m: m.latents(10**12, 0), "count of latents must be within 0.*got 1000000000000"),
        (lambda m: m.latents(1.5, 0), "count of latents must be a whole number.*got 1.5"),
        (lambda m: m.latents(1, -1), "seed must be within 0.*got -1"),
        (lambda m: m.latents(1, 1.5), "seed must be a whole number.*got 1.5"),
        (lambda m: m.latents(1, "x"), "seed must be a whole number.*got 'x'"),
        (lambda m: m.latents(1, True), "seed must be a whole number.*got True"),
        (lambda m: m.generate("z"), "z must be an array of numbers, got str 'z'"),
        (lambda m: m.generate(None), "z must be an array of numbers"),
        (lambda m: m.generate([[1.0], [1.0, 2.0]]), "z must be an array of numbers"),
        (lambda m: m.generate(np.zeros((1, 16), dtype=np.complex64)), "z must be an array of numbers, got complex64"),
        (lambda m: m.generate(np.full((1, 16), np.nan)), "z must be finite.*got nan"),
        (lambda m: m.generate(np.zeros(16)), r"z must be \(B, 16\), got \(16,\)"),
        (lambda m: m.generate(m.latents(1, 0), frames=10**9), "frames must be within 32.*got 1000000000"),
        (lambda m: m.generate(m.latents(1, 0), frames=64.0), "frames must be a whole number.*got 64.0"),
        (lambda m: m.generate(np.zeros((5000, 16))), "640000 frames of mel are too many at once"),
        (lambda m: m.generate(m.latents(1, 0), 5), "chord must be a name, or one for each latent, got 5"),
        (lambda m: m.generate(m.latents(1, 0), [5]), "a chord is named by text.*got 5"),
        (lambda m: m.generate(m.latents(1, 0), strengths="x"), "strengths must be an array of numbers"),
        (lambda m: m.generate(m.latents(1, 0), strengths={"deconv9:1": 0}), "unknown layer 'deconv9'; did you mean"),
        (lambda m: m.generate(m.latents(1, 0), strengths={"deconv3:17": 0}), "deconv3:17: deconv3 has units 1 to 8"),
        (lambda m: m.generate(m.latents(1, 0), strengths={3: 0}), "3 names no units; they are written like deconv2"),
        (lambda m: m.generate(m.latents(1, 0), strengths={"deconv3": 2}), r"strengths must be within 0\.\.1"),
        (lambda m: m.generate(m.latents(1, 0), strengths={"deconv3": [0, 1]}), "deconv3 must be a number or 8"),
        (lambda m: m.generate(m.latents(1, 0), bend="noise"), r"bend must be a Bend \(Memory.bend\), got 'noise'"),
        (lambda m: m.observe(m.latents(1, 0), steps=0), "steps must be within 1.*got 0"),
        (lambda m: m.observe(m.latents(1, 0), steps=10**12), "steps must be within 1.*got 1000000000000"),
        (lambda m: m.maps(m.latents(1, 0), frames=33), "frames must be a multiple of 32, got 33"),
        (lambda m: m.bend(5), "replacement must be a name, names by layer or one for each unit, got 5"),
        (lambda m: m.bend({3: "zero"}), "layer must be one of deconv1.*got 3"),
        (lambda m: m.bend("zero", seed=1.5), "seed must be a whole number.*got 1.5"),
        (lambda m: m.bend("zero", gain={"deconv1": 9}), r"gain must be within 0\.\.8, got 9"),
        (lambda m: m.bend("frozen", frozen=3), "frozen must be a Source.*got 3"),
        (lambda m: m.bend("other", other=Source("x")), "the latent of other must be an array of numbers"),
        (lambda m: m.frames("2"), "lasts up to 120 s: its length must be a number.*got '2'"),
        (lambda m: m.invert("x"), "mel must be an array of numbers"),
        (lambda m: m.invert(np.zeros((128, 32))), r"mel must be \(B, 128, T\)"),
        (lambda m: m.invert(np.full((1, 128, 32), 1e300)), "not numbers"),
        (lambda m: m.make_inverter(7), "inverter must be one of.*got 7"),
        (lambda m: m.make_inverter("lobes", "best"), "unknown quality 'best'"),
        (lambda m: m.make_inverter("lobes", "final", -1), "seed must be within.*got -1"),
        (lambda m: m.stream("x", learned=False), "seed must be a whole number"),
        (lambda m: m.label_index(5), "a chord is named by text.*got 5"),
        (lambda m: Piece({}, m), "score must be a Score.*got {}"),
    ],
)
def test_what_cannot_be_is_refused_by_name(tiny_memory: Memory, ask: Ask, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        ask(tiny_memory)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 700


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: make_inverter("lobes", 3), "spec must be a MelSpec.*got 3"),
        (lambda: Memory.load(5), "memory must be a path.*got 5"),
        (lambda: Memory.load("a\0b"), "memory must be a path"),
        (lambda: Piece(Score(), "guitar"), r"memory must be a Memory \(Memory.load reads one\), got 'guitar'"),
        (lambda: Score(forgeting={}), "unknown Score key 'forgeting'; did you mean 'forgetting'"),
        (lambda: Score(seed=-1), r"seed: must be greater than or equal to 0 \(got -1\)"),
        (lambda: AtlasConfig(count=-1), "count: must be greater"),
        (lambda: MelSpec(hop=17), "hop: must divide the window"),
        (lambda: load_score(5), "score must be a path.*got 5"),
        (lambda: render("piece", "x.wav"), "piece must be a Piece"),
        (lambda: samples("piece"), "piece must be a Piece"),
        (lambda: spherical_path(np.ones(4), np.ones(4), 1.5), "must be a whole number.*got 1.5"),
        (lambda: spherical_path(np.ones(4), np.ones(4), 10**12), "got 1000000000000"),
        (lambda: spherical_path("a", np.ones(4), 3), "an end of a path must be an array of numbers"),
    ],
)
def test_what_no_memory_is_needed_for_is_refused_by_name(ask: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ask()


def test_other_precisions_lists_and_empty_batches_are_taken(tiny_memory: Memory) -> None:
    z = tiny_memory.latents(2, 1)
    mel = tiny_memory.generate(z)
    wide = z.astype(np.float64)
    locked = z.copy()
    locked.flags.writeable = False
    for given in (wide, wide[::-1][::-1], np.asfortranarray(z), locked, z.tolist()):
        assert np.array_equal(mel, tiny_memory.generate(given))
    assert np.array_equal(tiny_memory.invert(mel), tiny_memory.invert(mel.astype(np.float64)))
    none = tiny_memory.latents(0, 1)
    assert none.shape == (0, 16)
    assert tiny_memory.generate(none, []).shape == (0, 128, 128)
    assert tiny_memory.generate(none, "C", frames=64).shape == (0, 128, 64)
    assert [t.shape for t in tiny_memory.observe(none, steps=3)] == [(0, 128, 128), (0, 62, 3)]
    assert tiny_memory.maps(none)["deconv5"].shape == (0, 2, 64, 64)
    assert tiny_memory.invert(np.zeros((0, 128, 32))).shape == (0, 32 * 512)


def test_tensors_are_taken_where_there_is_pytorch(tiny_memory: Memory) -> None:
    torch = pytest.importorskip("torch")
    z = tiny_memory.latents(2, 1)
    mel, tensor = tiny_memory.generate(z), torch.from_numpy(z)
    for given in (tensor, tensor.double(), tensor.clone().requires_grad_()):
        assert np.array_equal(mel, tiny_memory.generate(given))
    assert np.array_equal(tiny_memory.invert(mel), tiny_memory.invert(torch.from_numpy(mel).double()))


@pytest.mark.parametrize("value", [1e30, -1e30])
def test_a_mel_far_out_of_range_sounds_as_at_its_border(tiny_memory: Memory, value: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sound = tiny_memory.invert(np.full((1, 128, 32), value))
    assert np.isfinite(sound).all()
    assert np.array_equal(sound, tiny_memory.invert(np.full((1, 128, 32), np.sign(value))))


def test_units_are_named_one_by_one_in_ranges_and_by_layer(tiny_memory: Memory) -> None:
    assert list(units_of("deconv2:2-3", tiny_memory.layers)) == [33, 34]
    z = tiny_memory.latents(1, 1)
    strengths = np.ones(62, dtype=np.float32)
    strengths[32:48], strengths[34], strengths[60:62] = 0.5, 0.0, [0.25, 0.75]
    named = {"deconv2": 0.5, "deconv2:3": 0, "deconv5": [0.25, 0.75]}
    assert np.array_equal(tiny_memory.generate(z, "C", named), tiny_memory.generate(z, "C", strengths))


def test_the_first_hour_of_a_researcher(tiny_memory: Memory, tmp_path: Path) -> None:
    assert repr(tiny_memory) == (
        "<Memory 'tiny': labels Am, C, G; units deconv1 32, deconv2 16, deconv3 8, deconv4 4, deconv5 2; "
        "22050 Hz, 2.97 s>"
    )
    z = tiny_memory.latents(2, seed=1)
    maps = tiny_memory.maps(z, "C", {"deconv3:7": 0})
    assert {name: tuple(m.shape) for name, m in maps.items()} == {
        "deconv1": (2, 32, 4, 4), "deconv2": (2, 16, 8, 8), "deconv3": (2, 8, 16, 16),
        "deconv4": (2, 4, 32, 32), "deconv5": (2, 2, 64, 64),
    }  # fmt: skip
    assert not maps["deconv3"][:, 6].any()
    mel, activations = tiny_memory.observe(z, "C", {"deconv3:7": 0})
    means = np.concatenate([m.mean((2, 3), dtype=np.float64) for m in maps.values()], axis=1)
    assert np.allclose(means, activations, rtol=1e-5, atol=1e-6)
    assert np.isfinite(tiny_memory.invert(mel)).all()
    score = Score.model_validate({"duration_s": 4.0, "file": {"subtype": "FLOAT"}})
    piece = Piece(score, tiny_memory)
    heard = samples(piece)
    assert heard.shape == (score.samples, 2)
    assert np.abs(heard).max() > 0.01
    render(piece, tmp_path / "piece.wav")
    assert np.array_equal(heard, soundfile.read(tmp_path / "piece.wav", dtype="float32")[0])
