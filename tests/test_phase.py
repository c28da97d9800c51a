from __future__ import annotations

import numpy as np
import pytest
import torch

from fugue_state.audio.inverters import INVERTERS, make_inverter
from fugue_state.audio.mel import MelTransform
from fugue_state.audio.phase import griffin_lim, synthesize
from fugue_state.config import MelSpec
from fugue_state.corpus.notes import measure_pitch
from fugue_state.errors import InputError

from .conftest import RATE, chord, pluck

N_FFT, HOP = 1024, 256


def magnitude_of(audio: torch.Tensor) -> torch.Tensor:
    spectrum = torch.stft(
        audio, N_FFT, HOP, window=torch.hann_window(N_FFT), center=True, pad_mode="constant", return_complex=True
    )
    return spectrum.abs()[..., : audio.shape[-1] // HOP]


def convergence_db(audio: torch.Tensor, magnitude: torch.Tensor) -> float:
    return float(20 * torch.log10((magnitude_of(audio) - magnitude).norm() / magnitude.norm()))


def test_synthesis_is_torch_istft() -> None:
    window = torch.hann_window(N_FFT)
    audio = torch.from_numpy(pluck(57))[None, : 40 * HOP]
    spectrum = torch.stft(audio, N_FFT, HOP, window=window, center=True, return_complex=True)
    theirs = torch.istft(spectrum, N_FFT, HOP, window=window, center=True, length=40 * HOP)
    ours = synthesize(spectrum, N_FFT, HOP, window)[:, N_FFT // 2 :][:, : 40 * HOP] / 1.5  # sum of squared Hann at 1/4
    inner = slice(N_FFT, -N_FFT)
    assert (ours - theirs)[:, inner].abs().max() < 1e-5


def test_momentum_converges_further() -> None:
    audio = torch.from_numpy(chord((45, 52, 60)))[None]
    audio = audio[:, : audio.shape[1] // HOP * HOP]
    magnitude = magnitude_of(audio)

    def reached(momentum: float) -> float:
        out = griffin_lim(magnitude, n_fft=N_FFT, hop=HOP, iterations=32, momentum=momentum, seed=0)
        assert out.shape == audio.shape
        return convergence_db(out, magnitude)

    plain, fast = reached(0.0), reached(0.99)
    assert plain < -12
    assert fast < plain - 3


def test_an_item_sounds_alike_in_any_batch_and_by_seed_alone() -> None:
    one = magnitude_of(torch.from_numpy(pluck(57))[None])
    two = magnitude_of(torch.from_numpy(pluck(64))[None])

    def run(magnitude: torch.Tensor, seed: int) -> torch.Tensor:
        return griffin_lim(magnitude, n_fft=N_FFT, hop=HOP, iterations=8, momentum=0.9, seed=seed)

    alone, together = run(one, 5), run(torch.cat([two, one]), 5)
    assert torch.equal(alone, run(one, 5))
    assert (alone[0] - together[1]).abs().max() < 1e-4
    assert (alone - run(one, 6)).abs().max() > 0.01


def test_momentum_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"within 0\.\.1, got 1\.2"):
        griffin_lim(torch.ones(1, 513, 4), n_fft=N_FFT, hop=HOP, iterations=1, momentum=1.2, seed=0)


@pytest.mark.parametrize("name", sorted(INVERTERS))
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


def test_unknown_inverter_suggests() -> None:
    with pytest.raises(InputError, match="unknown inverter 'fats'; did you mean 'fast'"):
        make_inverter("fats", MelSpec())
