from __future__ import annotations

import numpy as np
import pytest

from fugue_state.arrays import Array
from fugue_state.audio.mel import MelTransform, hann
from fugue_state.config import COMPARED_WINDOWS, MelSpec
from fugue_state.errors import AudioError
from fugue_state.measure.fidelity import (
    chroma_error,
    largest_step,
    log_spectral_error,
    log_spectral_errors,
    mel_error,
)

from .conftest import CHORDS, RATE, chord


def noise(seed: int = 0, length: int = RATE) -> Array:
    return 0.1 * np.random.default_rng(seed).standard_normal((1, length), dtype=np.float32)


def of(notes: tuple[int, ...]) -> Array:
    return chord(notes)[None]


AM, C = (of(CHORDS[name]) for name in ("Am", "C"))


def test_a_sound_is_faithful_to_itself() -> None:
    both = np.concatenate([AM, C])
    assert log_spectral_errors(both, both, RATE).tolist() == [[0.0] * len(COMPARED_WINDOWS)] * 2
    assert np.abs(chroma_error(both, both, RATE)).max() < 1e-6


def test_a_gain_is_an_error_of_as_many_decibels_where_there_is_sound() -> None:
    assert log_spectral_error(noise(), 2.0 * noise(), RATE).item() == pytest.approx(6.02, abs=0.02)
    assert log_spectral_error(noise(), 0.5 * noise(), RATE).item() == pytest.approx(6.02, abs=0.02)
    assert chroma_error(AM, 0.5 * AM, RATE).item() < 1e-6


def test_what_is_below_the_range_counts_as_the_range() -> None:
    silence = np.zeros_like(noise())
    far = log_spectral_errors(noise(), silence, RATE, range_db=30.0)
    assert ((far > 15.0) & (far < 30.0)).all()
    # 40 dB below the loudest is within 60 dB, but not within 30.
    both = AM + 1e-7 * noise(length=AM.shape[1])
    assert log_spectral_error(AM, both, RATE).item() < 0.01


def test_only_the_bins_asked_for_count() -> None:
    time = np.arange(RATE) / RATE
    fade = 0.1 * hann(RATE)  # nothing of an edge spreads over all bins
    low, high = ((fade * np.sin(2 * np.pi * hz * time)).astype(np.float32)[None] for hz in (500.0, 9500.0))
    assert log_spectral_error(low, low + high, RATE).item() < 0.1
    assert log_spectral_error(low + high, low, RATE, from_hz=8000.0, to_hz=11_000.0).item() > 3.0
    with pytest.raises(AudioError, match="nothing from 12000 to 14000 Hz at 22050"):
        log_spectral_error(low, low, RATE, from_hz=12_000.0, to_hz=14_000.0)


def test_the_measure_is_that_of_one_frame_by_hand() -> None:
    one, other = noise(1, 4096), noise(2, 4096)
    window = np.hanning(513)[:-1]
    frames = []
    for samples in (one, other):
        padded = np.pad(samples[0].astype(np.float64), 256)
        count = 1 + 4096 // 128
        stft = [np.abs(np.fft.rfft(window * padded[t * 128 : t * 128 + 512])) for t in range(count)]
        frames.append(np.array(stft)[:, : int(8000 / RATE * 512)])
    least = frames[0].max() * 1e-3
    apart = 20 * np.log10(np.maximum(frames[0], least) / np.maximum(frames[1], least))
    expected = np.sqrt((apart**2).mean(axis=1)).mean()
    assert log_spectral_errors(one, other, RATE)[0, COMPARED_WINDOWS.index(512)].item() == pytest.approx(
        expected, abs=1e-3
    )


def test_another_chord_has_another_chroma() -> None:
    transposed = of(tuple(note + 1 for note in CHORDS["Am"]))
    octave = of(tuple(note + 12 for note in CHORDS["Am"]))
    assert chroma_error(AM, transposed, RATE).item() > 0.5
    assert chroma_error(AM, octave, RATE).item() < 0.1
    assert chroma_error(AM, C, RATE).item() > 2 * chroma_error(AM, octave, RATE).item()


def test_a_low_rate_has_fewer_octaves() -> None:
    assert chroma_error(AM, AM, 4000).item() < 1e-6


def test_silence_of_the_reference_does_not_count_but_of_the_sound_does() -> None:
    half = AM.shape[1] // 2
    begun, ended = AM.copy(), AM.copy()
    begun[:, half:] = 0.0
    ended[:, half:] = 0.0
    assert chroma_error(begun, ended, RATE).item() < 1e-6
    assert chroma_error(AM, np.zeros_like(AM), RATE).item() == 1.0
    assert 0.2 < chroma_error(AM, begun, RATE).item() < 0.8


def test_a_mel_is_compared_in_decibels_within_its_range() -> None:
    transform = MelTransform(MelSpec(frames=32))
    audio = AM[:, : 32 * 512]
    mel = transform.encode(audio)
    assert mel_error(mel, audio, transform).item() == 0.0
    quieter = mel_error(mel, audio * 10 ** (-6 / 20), transform).item()
    assert quieter == pytest.approx(6.0 * (mel > -1).mean().item(), abs=0.5)
    assert mel_error(np.full_like(mel, -1.0), np.zeros_like(audio), transform).item() == 0.0
    with pytest.raises(AudioError, match="not"):
        mel_error(mel, audio[:, :-512], transform)


def test_a_click_is_a_large_step() -> None:
    clicked = AM.copy()
    clicked[0, 9000] += 0.8
    steps = largest_step(np.concatenate([AM, clicked]))
    assert steps[0] < 0.4
    assert steps[1] > 0.7


@pytest.mark.parametrize("measure", [log_spectral_error, chroma_error])
def test_what_cannot_be_compared_is_refused(measure: type) -> None:
    with pytest.raises(AudioError, match="alike are needed"):
        measure(AM, AM[:, 1:], RATE)
    with pytest.raises(AudioError, match="silent"):
        measure(np.zeros_like(AM), AM, RATE)
    with pytest.raises(AudioError, match="not numbers"):
        measure(AM, AM * float("nan"), RATE)
