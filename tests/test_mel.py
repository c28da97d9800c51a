from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from fugue_state.arrays import Array
from fugue_state.audio.mel import MelTransform, filterbank, hz_to_mel, mel_to_hz
from fugue_state.config import MelSpec
from fugue_state.errors import AudioError


@pytest.mark.parametrize("name", ["default", "original"])
def test_filterbank_is_the_common_one(name: str, librosa: ModuleType) -> None:
    spec = MelSpec.preset(name)
    theirs = librosa.filters.mel(
        sr=spec.sample_rate_hz,
        n_fft=spec.n_fft,
        n_mels=spec.n_mels,
        fmin=spec.fmin_hz,
        fmax=spec.fmax_hz,
        htk=spec.scale == "htk",
        norm=None if spec.norm == "none" else "slaney",
    )
    assert np.abs(filterbank(spec) - theirs).max() < 1e-6


@pytest.mark.parametrize("scale", ["htk", "slaney"])
def test_scales_invert(scale: str) -> None:
    hz = np.array([0.0, 80.0, 999.0, 1000.0, 1001.0, 8000.0])
    assert np.allclose(mel_to_hz(hz_to_mel(hz, scale), scale), hz)


def test_a_sine_reads_its_level_in_its_band() -> None:
    spec = MelSpec()
    centre_hz = spec.sample_rate_hz / spec.n_fft * 200  # on a bin, so that the window loses nothing
    time = np.arange(spec.samples) / spec.sample_rate_hz
    for level_db in (-20.0, -50.0):
        sine = 10 ** (level_db / 20) * np.sin(2 * np.pi * centre_hz * time)
        mel = MelTransform(spec).encode(sine.astype(np.float32)[None])
        middle = mel[0, :, 40:80].mean(1)
        band = filterbank(spec)[:, 200].argmax()
        assert int(middle.argmax()) == band
        # The window spreads half the amplitude to each neighbour bin, which the filter weighs in.
        heard = 20 * np.log10(filterbank(spec)[band, 199:202] @ [0.5, 1.0, 0.5]) + level_db
        read = (float(middle.max()) + 1) * spec.range_db / 2 + spec.floor_db
        assert read == pytest.approx(heard, abs=0.05)


def test_frames_are_centred_on_their_hop() -> None:
    spec = MelSpec()
    click = np.zeros((1, spec.samples), np.float32)
    click[0, 50 * spec.hop] = 1.0
    loud = MelTransform(spec).encode(click)[0].mean(0)
    assert int(loud.argmax()) == 50
    assert loud[49] == pytest.approx(float(loud[51]), abs=1e-4)


def test_shape_range_and_silence() -> None:
    spec = MelSpec()
    mel = MelTransform(spec).encode(np.zeros((2, spec.samples), np.float32))
    assert mel.shape == (2, 128, 128)
    assert (mel == -1).all()
    assert (MelTransform(spec).amplitude(mel) == 0).all()
    loud = MelTransform(spec).encode(100 * np.sin(np.arange(spec.samples, dtype=np.float32))[None])
    assert loud.max() <= 1.0


@pytest.mark.parametrize(
    ("mel", "message"),
    [
        (np.zeros((1, 64, 10), np.float32), r"mel must be \(B, 128, T\).*\(1, 64, 10\)"),
        (np.zeros((1, 128, 0), np.float32), "T >= 1"),
        (np.zeros((128, 10), np.float32), "mel must be"),
        (np.full((1, 128, 4), np.nan, np.float32), "not numbers"),
    ],
)
def test_wrong_mels_are_refused(mel: Array, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        MelTransform(MelSpec()).amplitude(mel)


def test_values_out_of_range_are_clamped_and_said() -> None:
    transform = MelTransform(MelSpec())
    with pytest.warns(UserWarning, match=r"mel values up to 1\.5 are clamped"):
        loud = transform.amplitude(np.full((1, 128, 4), 1.5, np.float32))
    assert np.array_equal(loud, transform.amplitude(np.ones((1, 128, 4), np.float32)))


def test_wrong_audio_is_refused() -> None:
    transform = MelTransform(MelSpec())
    with pytest.raises(AudioError, match=r"audio must be \(B, N\)"):
        transform.encode(np.zeros((1, 10), np.float32))
    with pytest.raises(AudioError, match="not numbers"):
        transform.encode(np.full((1, 4096), np.inf, np.float32))
