from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from scipy import signal

from fugue_state.arrays import Array, Spectrum
from fugue_state.audio.integrate import Grid, follow, gradient_phase, realtime_phase, start_phase
from fugue_state.audio.inverters import WAYS, make_inverter
from fugue_state.audio.mel import MelTransform, hann
from fugue_state.audio.phase import griffin_lim, random_phase, synthesize
from fugue_state.audio.pitch import GUITAR, pitch_of
from fugue_state.config import QUALITIES, MelSpec, QualityName
from fugue_state.errors import InputError

from .conftest import RATE, Sound, chord, pluck

N_FFT, HOP = 1024, 256
GRID = Grid(N_FFT, HOP)


def spectrum_of(audio: Sound) -> Spectrum:
    """The spectrum (T, F) of a sound (N,), frame by frame."""
    around = np.pad(audio, N_FFT // 2)
    frames = np.array([around[i : i + N_FFT] for i in range(0, len(audio) + 1, HOP)])
    return np.fft.rfft(frames * hann(N_FFT)).astype(np.complex64)


def convergence_db(audio: Sound, magnitude: Array) -> float:
    reached = np.abs(spectrum_of(audio))[: len(magnitude)]
    wanted = magnitude[: len(reached)]
    return float(20 * np.log10(np.linalg.norm(reached - wanted) / np.linalg.norm(wanted)))


def chord_frames() -> Array:
    return np.abs(spectrum_of(chord((45, 52, 60))))


def test_synthesis_is_scipy_s_istft() -> None:
    spectrum = spectrum_of(pluck(57)[: 40 * HOP])
    window = hann(N_FFT)
    _, theirs = signal.istft(spectrum.T / window.sum(), nperseg=N_FFT, noverlap=N_FFT - HOP)  # it asks for unit gain
    theirs = theirs[: 40 * HOP]
    ours = synthesize(spectrum, GRID, window)[N_FFT // 2 :][: 40 * HOP]
    assert np.abs(ours - theirs).max() < 1e-5
    assert np.abs(theirs).max() > 0.1


def test_the_true_phase_gives_the_sound_back() -> None:
    audio = chord((45, 52, 60))[: 80 * HOP]
    spectrum = spectrum_of(audio)
    back = griffin_lim(np.abs(spectrum), np.angle(spectrum), GRID, iterations=0, momentum=0.0)
    assert back.shape == audio.shape
    assert np.abs(back - audio).max() < 1e-4


def test_momentum_converges_further() -> None:
    magnitude = chord_frames()

    def reached(momentum: float) -> float:
        out = griffin_lim(magnitude, random_phase(magnitude, 0), GRID, iterations=32, momentum=momentum)
        return convergence_db(out, magnitude)

    plain, fast = reached(0.0), reached(0.99)
    assert plain < -12
    assert fast < plain - 3


@pytest.mark.parametrize("integrated", [realtime_phase, gradient_phase])
def test_integrated_phase_is_worth_many_iterations(integrated: Callable[..., Array]) -> None:
    magnitude = chord_frames()
    phase = integrated(magnitude, GRID, 0) + GRID.from_centre()
    begun = griffin_lim(magnitude, phase, GRID, iterations=0, momentum=0.0)
    assert convergence_db(begun, magnitude) < -15
    more = griffin_lim(magnitude, phase, GRID, iterations=8, momentum=0.99)
    assert convergence_db(more, magnitude) < convergence_db(begun, magnitude) - 1
    random = griffin_lim(magnitude, random_phase(magnitude, 0), GRID, iterations=8, momentum=0.99)
    assert convergence_db(more, magnitude) < convergence_db(random, magnitude) - 3


def test_a_partial_between_two_bins_turns_at_its_own_frequency() -> None:
    hz = 40.37 * RATE / N_FFT
    tone = np.sin(2 * np.pi * hz * np.arange(RATE) / RATE).astype(np.float32)
    magnitude = np.abs(spectrum_of(tone))[8:-8]
    phase = realtime_phase(magnitude, GRID, 0) + GRID.from_centre()
    back = griffin_lim(magnitude, phase, GRID, iterations=0, momentum=0.0)[4000:-4000]
    peak = np.argmax(np.abs(np.fft.rfft(back * np.hanning(len(back)), 2**19)))
    assert peak * RATE / 2**19 == pytest.approx(hz, abs=0.5)


def test_phase_that_follows_frame_by_frame_is_that_of_the_whole() -> None:
    magnitude = chord_frames()
    whole = realtime_phase(magnitude, GRID, 3)
    state, parts, begin = start_phase(GRID, 3), [], 0
    for length in (1, 2, 30, 1, 200):
        part = magnitude[begin : begin + length + 1]
        if len(part) > 1:
            phase, state = follow(part, state, GRID)
            parts.append(phase)
            begin += len(phase)
    assert np.abs(np.exp(1j * np.concatenate(parts)) - np.exp(1j * whole[:begin])).max() < 1e-4


def test_silence_and_one_frame_have_phases_too() -> None:
    for magnitude in (np.zeros((4, GRID.bins), np.float32), np.ones((1, GRID.bins), np.float32)):
        for integrated in (realtime_phase, gradient_phase):
            phase = integrated(magnitude, GRID, 0)
            assert phase.shape == magnitude.shape
            assert np.isfinite(phase).all()


def test_an_item_sounds_alike_by_seed_alone() -> None:
    magnitude = np.abs(spectrum_of(pluck(57)))

    def run(seed: int) -> Array:
        return griffin_lim(magnitude, random_phase(magnitude, seed), GRID, iterations=8, momentum=0.9)

    assert np.array_equal(run(5), run(5))
    assert np.abs(run(5) - run(6)).max() > 0.01


def test_what_makes_the_next_spectrum_is_told_of_what_was_reached() -> None:
    magnitude = chord_frames()
    told: list[tuple[Spectrum, Spectrum, float, bool]] = []

    def onward(reached: Spectrum, before: Spectrum, momentum: float, between: bool) -> Spectrum:
        told.append((reached, before, momentum, between))
        moved = reached + np.float32(momentum) * (reached - before)
        return np.asarray(moved * magnitude / np.maximum(np.abs(moved), 1e-12), np.complex64)

    phase = random_phase(magnitude, 1)
    own = griffin_lim(magnitude, phase, GRID, iterations=4, momentum=0.9, onward=onward)
    assert len(told) == 4
    assert told[0][0] is told[0][1]  # nothing was reached before
    assert [between for *_, between in told] == [False, True, True, False]
    assert all(later[1] is earlier[0] for earlier, later in pairwise(told))
    assert np.abs(own - griffin_lim(magnitude, phase, GRID, iterations=4, momentum=0.9)).max() < 1e-4


def test_momentum_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"within 0\.\.1, got 1\.2"):
        griffin_lim(np.ones((4, 513), np.float32), np.zeros((4, 513), np.float32), GRID, iterations=1, momentum=1.2)


@pytest.mark.parametrize("name", sorted(WAYS))
def test_a_note_keeps_its_pitch_through_mel_and_back(name: str, request: pytest.FixtureRequest) -> None:
    if name == "original":
        request.getfixturevalue("librosa")
    spec = MelSpec(frames=32)
    audio = pluck(57.0, 2.0)[None, : 32 * 512]
    inverter = make_inverter(name, spec)
    back = inverter(MelTransform(spec).encode(audio))
    assert back.shape == audio.shape
    assert pitch_of(back[0], RATE, GUITAR).midi == pytest.approx(57.0, abs=0.2)
    level_db = 20 * np.log10(float(back.std() / audio.std()))
    assert abs(level_db) < 2.0
    assert inverter.spec == spec


@pytest.mark.parametrize("quality", QUALITIES)
def test_every_quality_sounds_alike_in_any_batch_and_down_to_one_frame(quality: QualityName) -> None:
    spec = MelSpec(frames=32)
    mels = MelTransform(spec).encode(np.stack([pluck(57, 2.0), pluck(64, 2.0)])[:, : 32 * 512])
    inverter = make_inverter("lobes", spec, quality)
    both = inverter(mels)
    assert np.array_equal(both[1], inverter(mels[1:])[0])
    assert inverter(mels[..., :1]).shape == (2, 512)
    assert (inverter(np.full((1, 128, 4), -1.0)) == 0).all()


def test_unknown_inverter_suggests() -> None:
    with pytest.raises(InputError, match="unknown inverter 'lopes'; did you mean 'lobes'"):
        make_inverter("lopes", MelSpec())
