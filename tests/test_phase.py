from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from fugue_state.audio.integrate import Grid, follow, gradient_phase, realtime_phase, start_phase
from fugue_state.audio.inverters import WAYS, make_inverter
from fugue_state.audio.mel import MelTransform
from fugue_state.audio.phase import griffin_lim, random_phase, synthesize
from fugue_state.config import QUALITIES, MelSpec, QualityName
from fugue_state.corpus.notes import measure_pitch
from fugue_state.errors import InputError

from .conftest import RATE, Sound, chord, pluck

N_FFT, HOP = 1024, 256
GRID = Grid(N_FFT, HOP)


def spectrum_of(audio: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = torch.stft(
        audio, N_FFT, HOP, window=torch.hann_window(N_FFT), center=True, pad_mode="constant", return_complex=True
    )
    return found.transpose(1, 2).contiguous()


def convergence_db(audio: torch.Tensor, magnitude: torch.Tensor) -> float:
    reached = spectrum_of(audio).abs()[:, : magnitude.shape[1]]
    wanted = magnitude[:, : reached.shape[1]]
    return float(20 * torch.log10((reached - wanted).norm() / wanted.norm()))


def chord_frames() -> torch.Tensor:
    return spectrum_of(torch.from_numpy(chord((45, 52, 60)))[None]).abs()


def test_synthesis_is_torch_istft() -> None:
    window = torch.hann_window(N_FFT)
    audio = torch.from_numpy(pluck(57))[None, : 40 * HOP]
    spectrum = spectrum_of(audio)
    theirs = torch.istft(spectrum.transpose(1, 2), N_FFT, HOP, window=window, center=True, length=40 * HOP)
    ours = synthesize(spectrum, GRID, window)[:, N_FFT // 2 :][:, : 40 * HOP] / 1.5  # sum of squared Hann at 1/4
    inner = slice(N_FFT, -N_FFT)
    assert (ours - theirs)[:, inner].abs().max() < 1e-5


def test_the_true_phase_gives_the_sound_back() -> None:
    audio = torch.from_numpy(chord((45, 52, 60)))[None, : 80 * HOP]
    spectrum = spectrum_of(audio)
    back = griffin_lim(spectrum.abs(), spectrum.angle(), GRID, iterations=0, momentum=0.0)
    assert back.shape == audio.shape
    assert (back - audio).abs().max() < 1e-4


def test_momentum_converges_further() -> None:
    magnitude = chord_frames()

    def reached(momentum: float) -> float:
        out = griffin_lim(magnitude, random_phase(magnitude, 0), GRID, iterations=32, momentum=momentum)
        return convergence_db(out, magnitude)

    plain, fast = reached(0.0), reached(0.99)
    assert plain < -12
    assert fast < plain - 3


@pytest.mark.parametrize("integrated", [realtime_phase, gradient_phase])
def test_integrated_phase_is_worth_many_iterations(integrated: Callable[..., Sound]) -> None:
    magnitude = chord_frames()
    phase = torch.from_numpy(integrated(magnitude.numpy(), GRID, 0) + GRID.from_centre())
    begun = griffin_lim(magnitude, phase, GRID, iterations=0, momentum=0.0)
    assert convergence_db(begun, magnitude) < -15
    more = griffin_lim(magnitude, phase, GRID, iterations=8, momentum=0.99)
    assert convergence_db(more, magnitude) < convergence_db(begun, magnitude) - 1
    random = griffin_lim(magnitude, random_phase(magnitude, 0), GRID, iterations=8, momentum=0.99)
    assert convergence_db(more, magnitude) < convergence_db(random, magnitude) - 3


def test_a_partial_between_two_bins_turns_at_its_own_frequency() -> None:
    hz = 40.37 * RATE / N_FFT
    tone = torch.from_numpy(np.sin(2 * np.pi * hz * np.arange(RATE) / RATE).astype(np.float32))[None]
    magnitude = spectrum_of(tone).abs()[:, 8:-8]
    phase = torch.from_numpy(realtime_phase(magnitude.numpy(), GRID, 0) + GRID.from_centre())
    back = griffin_lim(magnitude, phase, GRID, iterations=0, momentum=0.0)[0, 4000:-4000].numpy()
    peak = np.argmax(np.abs(np.fft.rfft(back * np.hanning(len(back)), 2**19)))
    assert peak * RATE / 2**19 == pytest.approx(hz, abs=0.5)


def test_phase_that_follows_frame_by_frame_is_that_of_the_whole() -> None:
    magnitude = chord_frames()[0].numpy()
    whole = realtime_phase(magnitude[None], GRID, 3)[0]
    state, parts, begin = start_phase(GRID, 3), [], 0
    for length in (1, 2, 30, 1, 200):
        part = magnitude[begin : begin + length + 1]
        if len(part) > 1:
            phase, state = follow(part, state, GRID)
            parts.append(phase)
            begin += len(phase)
    assert np.abs(np.exp(1j * np.concatenate(parts)) - np.exp(1j * whole[:begin])).max() < 1e-4


def test_silence_and_one_frame_have_phases_too() -> None:
    for magnitude in (np.zeros((1, 4, GRID.bins), np.float32), np.ones((2, 1, GRID.bins), np.float32)):
        for integrated in (realtime_phase, gradient_phase):
            phase = integrated(magnitude, GRID, 0)
            assert phase.shape == magnitude.shape
            assert np.isfinite(phase).all()


def test_an_item_sounds_alike_in_any_batch_and_by_seed_alone() -> None:
    both = spectrum_of(torch.from_numpy(np.stack([pluck(64), pluck(57)]))).abs()

    def run(magnitude: torch.Tensor, seed: int) -> torch.Tensor:
        return griffin_lim(magnitude, random_phase(magnitude, seed), GRID, iterations=8, momentum=0.9)

    alone, together = run(both[1:], 5), run(both, 5)
    assert torch.equal(alone, run(both[1:], 5))
    assert (alone[0] - together[1]).abs().max() < 1e-4
    assert (alone - run(both[1:], 6)).abs().max() > 0.01


def test_momentum_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"within 0\.\.1, got 1\.2"):
        griffin_lim(torch.ones(1, 4, 513), torch.zeros(1, 4, 513), GRID, iterations=1, momentum=1.2)


@pytest.mark.parametrize("name", sorted(WAYS))
def test_a_note_keeps_its_pitch_through_mel_and_back(name: str) -> None:
    spec = MelSpec(frames=32)
    audio = torch.from_numpy(pluck(57.0, 2.0))[None, : 32 * 512]
    inverter = make_inverter(name, spec)
    back = inverter(MelTransform(spec).encode(audio))
    assert back.shape == audio.shape
    assert measure_pitch(back[0].numpy(), RATE) == pytest.approx(57.0, abs=0.2)
    level_db = 20 * np.log10(float(back.std() / audio.std()))
    assert abs(level_db) < 2.0
    assert inverter.spec == spec


@pytest.mark.parametrize("quality", QUALITIES)
def test_every_quality_sounds_alike_in_any_batch_and_down_to_one_frame(quality: QualityName) -> None:
    spec = MelSpec(frames=32)
    mels = MelTransform(spec).encode(torch.from_numpy(np.stack([pluck(57, 2.0), pluck(64, 2.0)]))[:, : 32 * 512])
    inverter = make_inverter("lobes", spec, quality)
    both = inverter(mels)
    assert (both[1] - inverter(mels[1:])[0]).abs().max() < 1e-5
    assert inverter(mels[..., :1]).shape == (2, 512)
    assert (inverter(torch.full((1, 128, 4), -1.0)) == 0).all()


def test_unknown_inverter_suggests() -> None:
    with pytest.raises(InputError, match="unknown inverter 'lopes'; did you mean 'lobes'"):
        make_inverter("lopes", MelSpec())
