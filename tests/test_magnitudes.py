from __future__ import annotations

import tracemalloc

import numpy as np
import numpy.typing as npt
import pytest

from fugue_state.arrays import Array
from fugue_state.audio.magnitudes import (
    FEW,
    LEAST,
    LOBE_BINS,
    Lobes,
    Magnitudes,
    PseudoInverse,
    Refit,
    Rows,
    Updates,
    dictionary,
)
from fugue_state.audio.mel import MelTransform, filterbank
from fugue_state.config import MelSpec
from fugue_state.errors import AudioError

from .conftest import RATE, chord

WIDE = MelSpec(n_fft=1024, hop=256, fmax_hz=11_025)
NARROW = MelSpec(n_fft=512, hop=128, fmin_hz=0.0, fmax_hz=11_025.0)  # many of its filters lie between two bins
ON_BINS = MelSpec(n_fft=1024, hop=256, fmin_hz=29 * 22_050 / 1024, fmax_hz=341 * 22_050 / 1024)
SPECS = [MelSpec(), MelSpec(power=2), MelSpec.preset("original"), WIDE, NARROW, ON_BINS]
WAYS: list[type[PseudoInverse | Lobes]] = [PseudoInverse, Updates, Lobes]


def true_magnitudes(audio: Array, transform: MelTransform) -> Array:
    spec = transform.spec
    around = np.pad(audio[0], spec.n_fft // 2)
    starts = range(0, audio.shape[1] // spec.hop * spec.hop, spec.hop)
    frames = np.array([around[start : start + spec.n_fft] for start in starts])
    return np.asarray(np.abs(np.fft.rfft(frames * transform.window))[None] * transform.unit_gain)


@pytest.mark.parametrize("spec", SPECS, ids=range(len(SPECS)))
@pytest.mark.parametrize("way", WAYS)
def test_magnitudes_show_the_mel_they_came_from(way: type[PseudoInverse | Lobes], spec: MelSpec) -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal((2, 20 * spec.hop), dtype=np.float32)
    mel = MelTransform(spec).encode(noise)
    magnitudes: Magnitudes = way(spec)
    found = magnitudes(mel)
    assert found.shape == (2, 20, spec.n_fft // 2 + 1)
    assert (found >= 0).all()
    bands = magnitudes.transform.bands(mel).swapaxes(1, 2)
    again = found**spec.power @ magnitudes.transform.filters.T
    loud = bands > 0.1 * bands.max()
    error_db = 20 / spec.power * np.log10(again[loud] / bands[loud])
    assert np.abs(error_db).mean() < 1.0


def test_lobes_tell_partials_apart_better_than_updates_and_those_than_the_pseudo_inverse() -> None:
    audio = chord((45, 52, 57, 60, 64))[None, : 60 * 512]
    transform = MelTransform(MelSpec())
    mel, wanted = transform.encode(audio), true_magnitudes(audio, transform)

    def error(way: type[PseudoInverse | Lobes]) -> float:
        return float(np.linalg.norm(way(MelSpec())(mel) - wanted) / np.linalg.norm(wanted))

    pseudo, updates, lobes = (error(way) for way in WAYS)
    assert updates < 0.95 * pseudo
    assert lobes < 0.9 * updates


def test_a_lobe_between_two_bins_is_found_there() -> None:
    transform = MelTransform(MelSpec())
    hz = 20.5 * RATE / 2048
    tone = 0.2 * np.sin(2 * np.pi * hz * np.arange(20 * 512) / RATE).astype(np.float32)[None]
    found = Lobes(MelSpec())(transform.encode(tone))[0, 10]
    assert set(np.argsort(found)[-2:].tolist()) == {20, 21}
    assert float(found[18] + found[23]) < 0.2 * float(found[20])


def dense(rows: Rows, columns: int) -> npt.NDArray[np.float32]:
    """Write compressed rows out."""
    starts, places, values = rows
    matrix = np.zeros((len(starts) - 1, columns), dtype=np.float32)
    matrix[np.repeat(np.arange(len(matrix)), np.diff(starts)), places] = values
    return matrix


@pytest.mark.parametrize("spec", [MelSpec(n_fft=256, hop=64, n_mels=16), MelSpec(n_fft=128, hop=64, n_mels=8, power=2)])
def test_the_dictionary_is_that_of_the_formula(spec: MelSpec) -> None:
    made = dictionary(spec)
    by_band, by_atom, by_bin = made.by_band, made.by_atom, made.by_bin
    atoms = dense(by_bin, len(by_atom[0]) - 1)
    bins = np.arange(spec.n_fft // 2 + 1)
    window = 0.5 + 0.5 * np.cos(2 * np.pi * np.arange(-spec.n_fft // 2, spec.n_fft // 2) / spec.n_fft)
    time = np.arange(-spec.n_fft // 2, spec.n_fft // 2)
    centres = [round(2 * (bins * atom / atom.sum()).sum()) / 2 for atom in atoms.T[2:-2]]  # the ends are cut off
    assert set(np.diff(centres)) == {0.5, 1.0}
    for atom, centre in zip(atoms.T[2:-2], centres, strict=True):
        seen = np.abs((window * np.exp(2j * np.pi * np.outer(bins - centre, time) / spec.n_fft)).sum(1)) / window.sum()
        assert np.allclose(atom, np.where(np.abs(bins - centre) < LOBE_BINS, seen**spec.power, 0.0), atol=1e-4)
    bands = filterbank(spec) @ atoms
    assert np.allclose(dense(by_band, atoms.shape[1]), bands, atol=1e-6)
    assert np.allclose(dense(by_atom, len(bands)), (bands / bands.sum(0)).T, atol=1e-6)


def test_a_long_window_takes_little_to_prepare() -> None:
    tracemalloc.start()
    dictionary(MelSpec(n_fft=16_384))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 100e6  # as a whole matrix, the lobes alone are 450 MB


@pytest.mark.parametrize("way", WAYS)
def test_silence_stays_silent_and_an_item_the_same_to_the_bit_in_any_batch(way: type[PseudoInverse | Lobes]) -> None:
    spec = MelSpec()
    mel = MelTransform(spec).encode(chord((45, 52, 57))[None, : 16 * 512])
    silent = np.full_like(mel, -1.0)
    both = way(spec)(np.concatenate([silent, mel]))
    assert both[0].max() < 1e-6
    assert np.array_equal(both[1:], way(spec)(mel))


@pytest.mark.parametrize("spec", SPECS, ids=range(len(SPECS)))
def test_few_frames_are_the_same_as_among_many(spec: MelSpec) -> None:
    lobes = Lobes(spec)
    mel = lobes.transform.encode(chord((45, 52, 57))[None, : 16 * spec.hop])
    every = lobes(mel)
    for count in (1, 2, 5, FEW):
        found = lobes(mel[:, :, 4 : 4 + count])
        assert np.allclose(found, every[:, 4 : 4 + count], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("spec", SPECS, ids=range(len(SPECS)))
@pytest.mark.parametrize("momentum", [0.0, 0.99])
def test_a_refit_is_one_multiplicative_update_in_the_phase_of_where_it_moves(spec: MelSpec, momentum: float) -> None:
    rng, transform = np.random.default_rng(0), MelTransform(spec)
    bins, filters = spec.n_fft // 2 + 1, transform.filters.astype(np.float64)
    parts = rng.standard_normal((4, 5, bins), dtype=np.float32)
    reached, before = parts[0] + 1j * parts[1], parts[2] + 1j * parts[3]
    mel = rng.uniform(-1, 1, (1, spec.n_mels, 5)).astype(np.float32)
    refit = Refit(transform)
    wanted = refit.wanted(mel)[0]
    powers = np.abs(reached).astype(np.float64) ** spec.power
    reach = filters.sum(axis=0)
    ratio = wanted / np.maximum(powers @ filters.T, LEAST)
    turn = np.where(reach == 0.0, 1.0, ratio @ filters / np.maximum(reach, LEAST))
    moved = reached + momentum * (reached - before)
    for between, further in ((False, turn), (True, turn**2)):
        expected = (powers * further) ** (1.0 / spec.power) * moved / np.abs(moved)
        found = refit(wanted, reached, before, momentum, between)
        assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("way", WAYS)
def test_wrong_mels_are_refused(way: type[PseudoInverse | Lobes]) -> None:
    for wrong in (np.zeros((1, 64, 4)), np.zeros((1, 128, 0)), np.full((1, 128, 4), np.inf)):
        with pytest.raises(AudioError, match="mel"):
            way(MelSpec())(wrong.astype(np.float32))
