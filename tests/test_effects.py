from __future__ import annotations

from pathlib import Path

import numpy as np
import pyloudnorm
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from fugue_state.audio import io
from fugue_state.audio.effects import Convolver, Limiter, room, true_peaks
from fugue_state.audio.loudness import SILENT_LUFS, LoudnessMeter
from fugue_state.audio.mix import add_at, envelope, pan
from fugue_state.config import EnvelopeConfig, ReverbConfig
from fugue_state.errors import AudioError

from .conftest import Sound, pluck

RATE = 44_100


def noise(seconds: float, level: float = 0.3, seed: int = 0) -> Sound:
    rng = np.random.default_rng(seed)
    return (level * rng.standard_normal((int(seconds * RATE), 2))).astype(np.float32)


def rt60_of(impulse: Sound) -> float:
    """Decay by 60 dB, from the backward-integrated energy between -5 and -35 dB (ISO 3382)."""
    energy = np.flip(np.cumsum(np.flip(impulse.astype(np.float64) ** 2)))
    level = 10 * np.log10(energy / energy[0])
    start, end = np.argmax(level < -5), np.argmax(level < -35)
    return 2.0 * float(end - start) / RATE


@pytest.mark.parametrize("asked_s", [0.4, 1.5, 4.0])
def test_the_room_decays_as_asked(asked_s: float) -> None:
    impulse = room(ReverbConfig(rt60_s=asked_s), RATE, seed=0)
    low = signal.sosfilt(signal.butter(4, [200, 2000], "band", fs=RATE, output="sos"), impulse, axis=0)
    for ear in (0, 1):
        assert rt60_of(np.asarray(low[:, ear])) == pytest.approx(asked_s, rel=0.05)
    assert (impulse[: int(0.02 * RATE)] == 0).all()
    assert (impulse.astype(np.float64) ** 2).sum(0).max() == pytest.approx(1.0, abs=1e-3)
    assert abs(float(np.mean(impulse[:, 0] * impulse[:, 1]))) < 0.1 * float(np.mean(impulse**2))


def test_highs_decay_faster() -> None:
    impulse = room(ReverbConfig(rt60_s=2.0), RATE, seed=0)
    high = signal.sosfilt(signal.butter(6, 9000, "high", fs=RATE, output="sos"), impulse[:, 0])
    assert rt60_of(np.asarray(high)) < 1.3


def test_a_recorded_room_is_used_and_checked(tmp_path: Path) -> None:
    io.write(tmp_path / "mono.wav", pluck(57, 0.3, 22_050), 22_050)
    impulse = room(ReverbConfig(impulse=str(tmp_path / "mono.wav")), RATE, seed=0)
    assert impulse.shape == (round(0.3 * RATE), 2)
    assert np.array_equal(impulse[:, 0], impulse[:, 1])
    io.write(tmp_path / "long.wav", noise(31.0), RATE)
    with pytest.raises(AudioError, match="too long for an impulse response"):
        room(ReverbConfig(impulse=str(tmp_path / "long.wav")), RATE, seed=0)
    io.write(tmp_path / "silent.wav", np.zeros(1000, dtype=np.float32), RATE)
    with pytest.raises(AudioError, match="silent"):
        room(ReverbConfig(impulse=str(tmp_path / "silent.wav")), RATE, seed=0)


def in_blocks(sound: Sound, sizes: list[int]) -> list[Sound]:
    parts: list[Sound] = []
    start = 0
    while start < len(sound):
        size = sizes[len(parts) % len(sizes)]
        parts.append(sound[start : start + size])
        start += size
    return parts


@settings(deadline=None, max_examples=10)
@given(st.lists(st.integers(1, 5000), min_size=1, max_size=4))
def test_block_size_changes_no_sample_of_the_convolution(sizes: list[int]) -> None:
    sizes = [max(sizes), *sizes]
    sound = noise(0.2)
    convolver = Convolver(room(ReverbConfig(rt60_s=0.1), RATE, seed=1))
    whole = signal.fftconvolve(sound, room(ReverbConfig(rt60_s=0.1), RATE, seed=1), axes=0)[: len(sound)]
    tail = convolver.silence()
    heard = []
    for part in in_blocks(sound, sizes):
        out, tail = convolver(part, tail)
        heard.append(out)
    assert np.abs(np.concatenate(heard) - whole).max() < 1e-5


@settings(deadline=None, max_examples=10)
@given(st.lists(st.integers(1, 5000), min_size=1, max_size=4))
def test_block_size_changes_no_sample_of_the_limiter(sizes: list[int]) -> None:
    sizes = [max(sizes), *sizes]
    sound = noise(0.2, 0.5)
    limiter = Limiter(-1.0, RATE)
    whole, _ = limiter(sound, limiter.silence())
    past = limiter.silence()
    heard = []
    for part in in_blocks(sound, sizes):
        out, past = limiter(part, past)
        heard.append(out)
    assert np.abs(np.concatenate(heard) - whole).max() < 1e-6


@pytest.mark.parametrize("level", [0.05, 0.5, 3.0])
def test_the_limiter_keeps_true_peaks_under_the_ceiling(level: float) -> None:
    sound = noise(1.0, level)
    sound[RATE // 2] = 4.0 * level
    limiter = Limiter(-1.0, RATE)
    out, _ = limiter(np.concatenate([sound, np.zeros((limiter.delay, 2), np.float32)]), limiter.silence())
    meter = LoudnessMeter(RATE)
    meter.add(out)
    meter.finish()
    assert meter.true_peak_dbtp <= -1.0
    if level == 0.05:
        assert np.array_equal(out[limiter.delay :], sound)  # what needs no limiting is not touched
    else:
        assert meter.true_peak_dbtp > -1.8


def test_a_peak_between_samples_is_seen() -> None:
    time = np.arange(4000)
    sine = np.sin(np.pi / 2 * time + np.pi / 4)[:, None].astype(np.float32)  # all samples at 0.707
    assert true_peaks(sine)[100:-100].max() == pytest.approx(1.0, abs=0.01)


def test_loudness_of_a_known_tone_and_of_silence() -> None:
    time = np.arange(10 * RATE) / RATE
    tone = 10 ** (-23 / 20) * np.sin(2 * np.pi * 1000 * time)
    meter = LoudnessMeter(RATE)
    for part in in_blocks(np.stack([tone, tone], axis=1).astype(np.float32), [44_100, 777]):
        meter.add(part)
    meter.finish()
    assert meter.integrated_lufs == pytest.approx(-23.0, abs=0.1)  # EBU Tech 3341, case 1
    assert meter.true_peak_dbtp == pytest.approx(-23.0, abs=0.1)
    silent = LoudnessMeter(RATE)
    silent.add(np.zeros((RATE, 2), np.float32))
    silent.finish()
    assert silent.integrated_lufs == SILENT_LUFS


def test_loudness_agrees_with_another_meter() -> None:
    sound = noise(5.0) * np.linspace(0, 1, 5 * RATE, dtype=np.float32)[:, None]
    meter = LoudnessMeter(RATE)
    meter.add(sound)
    meter.finish()
    assert meter.integrated_lufs == pytest.approx(pyloudnorm.Meter(RATE).integrated_loudness(sound), abs=0.1)


def test_envelope_sets_in_decays_and_ends_at_nothing() -> None:
    config = EnvelopeConfig(attack_s=0.01, decay_rt60_s=2.0, release_s=0.2)
    gain = envelope(RATE, RATE, config)
    assert gain[0] == 0
    assert gain[-1] == 0
    assert gain[RATE // 2] == pytest.approx(10 ** (-60 * 0.5 / 2 / 20), rel=1e-3)
    assert np.abs(np.diff(gain)).max() < 0.01


def test_pan_keeps_power() -> None:
    for position in (-1.0, -0.3, 0.0, 1.0):
        placed = pan(np.ones(1, np.float32), position)
        assert (placed**2).sum() == pytest.approx(1.0, abs=1e-6)
    assert pan(np.ones(1, np.float32), -1.0)[0] == pytest.approx([1, 0], abs=1e-6)


def test_overlaps_add_where_they_belong() -> None:
    whole = np.zeros((10, 1), np.float32)
    add_at(whole, 100, np.ones((4, 1), np.float32), 98)
    add_at(whole, 100, np.ones((4, 1), np.float32), 101)
    add_at(whole, 100, np.ones((40, 1), np.float32), 108)
    add_at(whole, 100, np.ones((4, 1), np.float32), 200)
    assert whole[:, 0].tolist() == [1, 2, 1, 1, 1, 0, 0, 0, 1, 1]


def test_the_limiter_moves_its_gain_without_a_step() -> None:
    sound = np.full((RATE, 2), 0.3, np.float32)
    sound[RATE // 2] = 3.0
    limiter = Limiter(-1.0, RATE)
    out, _ = limiter(np.concatenate([sound, np.zeros((limiter.delay, 2), np.float32)]), limiter.silence())
    gain = out[limiter.delay :, 0] / sound[:, 0]
    assert gain.min() == pytest.approx(10 ** (-1.3 / 20) / 3.0, rel=0.05)
    assert np.abs(np.diff(gain)).max() < 0.005
    assert gain[RATE // 2 - limiter.look_ahead - 20] == pytest.approx(1.0, abs=1e-6)
