from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyloudnorm
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, signal

from fugue_state.audio import io
from fugue_state.audio.limiter import Limiter, true_peaks
from fugue_state.audio.loudness import SILENT_LUFS, LoudnessMeter
from fugue_state.audio.mix import add_at, envelope, pan
from fugue_state.audio.rate import low_pass
from fugue_state.audio.reverb import PARTITION, Convolver, decay_times, room
from fugue_state.audio.tone import TURN_HZ, Tilt
from fugue_state.config import EnvelopeConfig, ReverbConfig, ToneConfig
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
    per_sample = np.polyfit(np.arange(start, end), level[start:end], 1)[0]
    return float(-60 / per_sample / RATE)


def band_of(impulse: Sound, centre: float, octaves: float = 1.0) -> Sound:
    """One band; filtered backwards, so that the filter's own ringing does not lengthen the decay."""
    edges = [centre / 2 ** (octaves / 2), centre * 2 ** (octaves / 2)]
    octave = signal.butter(8, edges, "band", fs=RATE, output="sos")
    return np.asarray(signal.sosfilt(octave, impulse[::-1], axis=0)[::-1])


def levels_db(impulse: Sound) -> Sound:
    return np.asarray(10 * np.log10((impulse.astype(np.float64) ** 2).sum(axis=0)))


@pytest.mark.parametrize(
    "config",
    [
        ReverbConfig(),
        ReverbConfig(rt60_s=0.4),
        ReverbConfig(rt60_s=1.5, low_ratio=1.6, high_ratio=0.6, damping_hz=2000),
        ReverbConfig(rt60_s=1.0, low_ratio=0.8, high_ratio=1.3),
    ],
)
@pytest.mark.parametrize("seed", [0, 1, 7])
def test_every_octave_decays_as_asked(config: ReverbConfig, seed: int) -> None:
    impulse = room(config, RATE, seed)
    for centre, asked_s in decay_times(config).items():
        if 125 <= centre <= 8000:
            octave = band_of(impulse, centre)
            for ear in (0, 1):
                assert rt60_of(octave[:, ear]) == pytest.approx(asked_s, rel=0.05), centre


def test_decay_times_reach_their_ratios() -> None:
    times = decay_times(ReverbConfig(rt60_s=2.0, low_ratio=1.5, high_ratio=0.5, low_hz=250, damping_hz=4000))
    assert times[125] == times[62.5] == pytest.approx(3.0)
    assert 2.0 < times[250] < 3.0
    assert times[500] == times[1000] == times[2000] == pytest.approx(2.0)
    assert 1.0 < times[4000] < 2.0
    assert times[8000] == times[16_000] == pytest.approx(1.0)


@pytest.mark.parametrize("low_hz", [60, 1000])
@pytest.mark.parametrize("damping_hz", [200, 20_000])
@pytest.mark.parametrize("ratio", [0.25, 2.0])
@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_the_smallest_room_is_sound(low_hz: float, damping_hz: float, ratio: float, rate: int) -> None:
    config = ReverbConfig(
        rt60_s=0.01, pre_delay_s=0, low_hz=low_hz, damping_hz=damping_hz, low_ratio=ratio, high_ratio=0.1
    )
    assert levels_db(room(config, rate, 0)).max() == pytest.approx(0.0, abs=1e-3)


def test_bands_that_decay_much_faster_do() -> None:
    config = ReverbConfig(rt60_s=2.0, low_ratio=0.4, high_ratio=0.2, damping_hz=4000)
    impulse = room(config, RATE, 0)
    for centre, asked_s in ((125, 0.8), (1000, 2.0), (8000, 0.4)):
        narrow = band_of(impulse, centre, 0.5)  # a whole octave's filter would hear its slower neighbour
        assert rt60_of(narrow[:, 0]) == pytest.approx(asked_s, rel=0.1)


@pytest.mark.parametrize("pre_delay_s", [0.0, 0.02, 0.1234])
def test_the_room_is_late_by_its_pre_delay_to_the_sample(pre_delay_s: float) -> None:
    impulse = room(ReverbConfig(rt60_s=0.5, pre_delay_s=pre_delay_s), RATE, seed=0)
    at_once = room(ReverbConfig(rt60_s=0.5, pre_delay_s=0.0), RATE, seed=0)
    delay = round(pre_delay_s * RATE)
    assert (impulse[:delay] == 0).all()
    assert (impulse[delay] != 0).all()
    assert np.array_equal(impulse[delay:], at_once)


def test_the_room_is_wide_even_and_of_unit_energy() -> None:
    impulse = room(ReverbConfig(), RATE, seed=0)
    assert levels_db(impulse).max() == pytest.approx(0.0, abs=1e-3)
    assert levels_db(impulse) == pytest.approx([0.0, 0.0], abs=0.5)
    assert abs(float(np.mean(impulse[:, 0] * impulse[:, 1]))) < 0.1 * float(np.mean(impulse**2))
    assert np.array_equal(impulse, room(ReverbConfig(), RATE, seed=0))
    assert not np.array_equal(impulse, room(ReverbConfig(), RATE, seed=1))


def recorded(folder: Path, sound: Sound, rate: int = RATE) -> Sound:
    io.write(folder / "room.wav", sound, rate, subtype="FLOAT")
    return room(ReverbConfig(impulse=str(folder / "room.wav")), RATE, seed=0)


def test_a_recorded_room_is_brought_to_the_rate_and_both_ears(tmp_path: Path) -> None:
    impulse = recorded(tmp_path, pluck(57, 0.3, 22_050), 22_050)
    assert impulse.shape == (round(0.3 * RATE), 2)
    assert np.array_equal(impulse[:, 0], impulse[:, 1])
    strongest = np.abs(np.fft.rfft(impulse[:, 0])).argmax() / 0.3
    assert strongest == pytest.approx(220, abs=4)  # no octave up or down


def test_a_recorded_room_keeps_the_balance_of_its_ears(tmp_path: Path) -> None:
    assert levels_db(recorded(tmp_path, noise(0.5) * np.array([1.0, 0.5], np.float32))) == pytest.approx(
        [0.0, -6.0], abs=0.3
    )


def test_a_room_of_one_sample_is_the_sound_itself(tmp_path: Path) -> None:
    convolver = Convolver(recorded(tmp_path, np.array([0.25], np.float32)))
    sound = noise(0.3)
    assert np.abs(convolver(sound, convolver.silence())[0] - sound).max() < 1e-6


@pytest.mark.parametrize(
    ("sound", "message"),
    [
        (np.zeros(1000, np.float32), "silent"),
        (np.full(1000, np.nan, np.float32), "not numbers"),
        (np.ones(151 * 8000, np.float32), r"151\.0 s are too long \(at most 30 s\)"),
    ],
    ids=["silent", "nan", "long"],
)
def test_a_recorded_room_that_cannot_be_used_is_refused(tmp_path: Path, sound: Sound, message: str) -> None:
    with pytest.raises(AudioError, match=rf"room\.wav.*{message}"):
        recorded(tmp_path, sound, 8000)
    with pytest.raises(AudioError, match=r"none\.wav: no such file"):
        room(ReverbConfig(impulse=str(tmp_path / "none.wav")), RATE, seed=0)


def in_blocks(sound: Sound, sizes: list[int]) -> list[Sound]:
    parts: list[Sound] = []
    start = 0
    while start < len(sound):
        size = sizes[len(parts) % len(sizes)]
        parts.append(sound[start : start + size])
        start += size
    return parts


def streamed(effect: Any, sound: Sound, sizes: list[int]) -> Sound:
    """What an effect makes of a sound in blocks of these sizes, over and over."""
    state = effect.silence()
    heard = []
    for part in in_blocks(sound, sizes):
        out, state = effect(part, state)
        heard.append(out)
    return np.concatenate(heard)


SIZES = st.lists(st.integers(1, 5000), min_size=1, max_size=4)


@settings(deadline=None, max_examples=15)
@given(sizes=SIZES, length=st.sampled_from([1, 50, 1000, 1024, 2500]), partition=st.sampled_from([256, 1024]))
def test_block_size_changes_no_sample_of_the_convolution(sizes: list[int], length: int, partition: int) -> None:
    sizes = [max(sizes), *sizes]
    sound = noise(0.2)
    impulse = room(ReverbConfig(rt60_s=0.1, pre_delay_s=0.0), RATE, seed=1)[:length]
    convolver = Convolver(impulse, partition)
    direct = [np.convolve(sound[:, ear].astype(float), impulse[:, ear])[: len(sound)] for ear in (0, 1)]
    assert np.abs(streamed(convolver, sound, sizes) - np.stack(direct, axis=1)).max() < 1e-5


def test_live_blocks_and_long_blocks_sound_the_same_in_a_large_room() -> None:
    sound = noise(4.0)
    impulse = room(ReverbConfig(), RATE, seed=0)
    convolver = Convolver(impulse)
    direct = signal.oaconvolve(sound.astype(float), impulse, axes=0)[: len(sound)]
    heard = {size: streamed(convolver, sound, [size]) for size in (256, 44_100, PARTITION, 3 * PARTITION)}
    for out in heard.values():
        assert np.abs(out - direct).max() < 1e-5
    assert np.array_equal(heard[PARTITION], heard[3 * PARTITION])


def test_a_state_is_never_changed() -> None:
    sound = noise(0.3)
    convolver, limiter = Convolver(room(ReverbConfig(rt60_s=0.2), RATE, 0), 1024), Limiter(-1.0, RATE)
    tilt = Tilt(ToneConfig(tilt_db=6), RATE)
    effects: list[Any] = [convolver, limiter, tilt]
    for effect in effects:
        _, state = effect(sound[:5000], effect.silence())
        for size in (100, 1024, 3000):
            first, after = effect(sound[5000 : 5000 + size], state)
            later, _ = effect(sound[8000:8500], after)
            effect(sound[:4000], state)  # another way on from the same state
            effect(sound[:4000], after)
            assert np.array_equal(effect(sound[5000 : 5000 + size], state)[0], first)
            assert np.array_equal(effect(sound[8000:8500], after)[0], later)
        nothing, same = effect(sound[:0], state)
        assert nothing.shape == (0, 2)
        assert np.array_equal(effect(sound[:9], same)[0], effect(sound[:9], state)[0])


@settings(deadline=None, max_examples=15)
@given(sizes=SIZES, level=st.sampled_from([0.1, 0.5, 2.0]))
def test_block_size_changes_no_sample_of_the_limiter(sizes: list[int], level: float) -> None:
    sizes = [max(sizes), *sizes]
    sound = noise(0.2, level)
    sound[3000:3003] *= 10
    limiter = Limiter(-1.0, RATE)
    whole, _ = limiter(sound, limiter.silence())
    assert np.abs(streamed(limiter, sound, sizes) - whole).max() < 1e-6


def test_the_limiter_is_exact_sample_by_sample() -> None:
    sound = noise(0.1, 0.5)
    limiter = Limiter(-1.0, RATE)
    whole, _ = limiter(sound, limiter.silence())
    assert np.abs(streamed(limiter, sound, [1]) - whole).max() < 1e-6


def test_the_limiter_is_what_the_peaks_of_the_whole_sound_ask_for() -> None:
    sound = noise(0.3, 0.2)
    sound[5000] = 3.0
    limiter = Limiter(-1.0, RATE)
    padded = np.concatenate([np.zeros((limiter.look_ahead, 2), np.float32), sound])
    wanted = np.minimum(1.0, 10 ** (-1.3 / 20) / np.maximum(true_peaks(padded), 1e-9))
    half = limiter.look_ahead // 2
    gain = ndimage.minimum_filter1d(wanted, 2 * half + 1)
    for _ in range(2):
        gain = ndimage.uniform_filter1d(gain, half + 1)
    expected = (padded * gain[:, None])[limiter.look_ahead : -limiter.delay]
    assert np.abs(streamed(limiter, sound, [256])[limiter.delay :] - expected).max() < 1e-6


@pytest.mark.parametrize("size", [64, 256, 1000])
@pytest.mark.parametrize("kind", ["noise", "clicks", "bursts"])
def test_live_blocks_have_no_true_peak_over_the_ceiling(size: int, kind: str) -> None:
    rng = np.random.default_rng(5)
    sound = noise(0.5, 1.0)
    if kind == "clicks":
        sound = np.where(rng.random(sound.shape) < 0.002, sound * 8, np.float32(0.0)).astype(np.float32)
    if kind == "bursts":  # at a quarter of the rate, peaks lie between the samples
        time = np.arange(len(sound))
        burst = 3 * np.sin(np.pi / 2 * time + np.pi / 4) * (time // 2000 % 2)
        sound = np.stack([burst, -burst], axis=1).astype(np.float32)
    dense = signal.resample_poly(streamed(Limiter(-1.0, RATE), sound, [size]).astype(float), 16, 1, axis=0)
    assert 20 * np.log10(np.abs(dense).max()) <= -1.0
    assert 20 * np.log10(np.abs(dense).max()) > -3.0


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
    assert gain[int(0.51 * RATE)] == pytest.approx(10 ** (-60 * 0.5 / 2 / 20), rel=1e-3)
    assert np.abs(np.diff(gain)).max() < 0.01


def test_an_event_is_held_before_it_decays() -> None:
    config = EnvelopeConfig(attack_s=0.1, hold_s=0.3, decay_rt60_s=2.0, release_s=0.1)
    gain = envelope(RATE, RATE, config)
    held = gain[int(0.1 * RATE) + 1 : int(0.4 * RATE)]
    assert held == pytest.approx(np.ones_like(held), abs=1e-6)
    assert gain[int(0.6 * RATE)] == pytest.approx(10 ** (-60 * 0.2 / 2 / 20), rel=1e-3)
    sudden = envelope(RATE, RATE, EnvelopeConfig(attack_s=0.0, release_s=0.0))
    assert sudden[0] == 1
    assert sudden[-1] == pytest.approx(10 ** (-60 / 8 / 20), rel=1e-3)


def test_a_release_into_an_attack_keeps_the_power() -> None:
    fade = RATE // 2
    config = EnvelopeConfig(attack_s=0.5, hold_s=120.0, release_s=0.5)
    gain = envelope(2 * RATE, RATE, config)
    ending, setting_in = gain[-fade - 1 :], gain[: fade + 1]
    assert ending**2 + setting_in**2 == pytest.approx(np.ones(fade + 1), abs=1e-6)
    first, second = noise(0.5, 0.3, 1)[:, 0], noise(0.5, 0.3, 2)[:, 0]
    overlapped = first * ending[:fade] + second * setting_in[:fade]
    tenths = (overlapped.reshape(10, -1) ** 2).mean(axis=1)
    assert 10 * np.log10(tenths / 0.3**2) == pytest.approx(np.zeros(10), abs=0.5)


def test_no_tilt_changes_no_bit() -> None:
    tilt, sound = Tilt(ToneConfig(), RATE), noise(0.1)
    assert np.array_equal(tilt(sound, tilt.silence())[0], sound)


@pytest.mark.parametrize("tilt_db", [-12.0, -3.0, 6.0, 12.0])
def test_tilt_turns_around_its_middle(tilt_db: float) -> None:
    tilt = Tilt(ToneConfig(tilt_db=tilt_db), RATE)
    spike = np.zeros((1 << 16, 2), np.float32)
    spike[0] = 1.0
    response = 20 * np.log10(np.abs(np.fft.rfft(tilt(spike, tilt.silence())[0][:, 0])))
    low, middle, high = (response[round(hz / RATE * len(spike))] for hz in (5.0, TURN_HZ, 21_000.0))
    assert [low, middle, high] == pytest.approx([-tilt_db / 2, 0.0, tilt_db / 2], abs=0.05)
    assert (np.diff(response) * np.sign(tilt_db) > -1e-3).all()


@pytest.mark.parametrize("tilt_db", [-12.0, 3.0, 12.0])
@pytest.mark.parametrize("rate", [22_050, RATE, 96_000])
def test_tilt_is_the_analogue_shelf_through_the_bilinear_map(tilt_db: float, rate: int) -> None:
    root = 10.0 ** (tilt_db / 40.0)
    turn = 2.0 * rate * np.tan(np.pi * TURN_HZ / rate)
    ahead, back = signal.bilinear([root, turn], [1.0, root * turn], rate)
    section = np.array([[*ahead, 0.0, *back, 0.0]])
    tilt, sound = Tilt(ToneConfig(tilt_db=tilt_db), rate), noise(0.2)
    wanted = signal.sosfilt(section, sound.astype(np.float64), axis=0)
    assert np.abs(tilt(sound, tilt.silence())[0] - wanted).max() < 1e-6 * np.abs(wanted).max()


@pytest.mark.parametrize(
    ("count", "share", "shape"), [(97, 0.25, 6.0), (65, 0.95, 9.0), (64, 0.3, 9.0), (5121, 0.002, 9.0)]
)
def test_a_low_pass_is_scipy_s_window_design(count: int, share: float, shape: float) -> None:
    wanted = signal.firwin(count, share, window=("kaiser", shape))
    assert np.abs(low_pass(count, share, shape) - wanted).max() < 1e-9


@settings(deadline=None, max_examples=10)
@given(sizes=SIZES)
def test_block_size_changes_no_bit_of_the_tilt(sizes: list[int]) -> None:
    tilt, sound = Tilt(ToneConfig(tilt_db=5), RATE), noise(0.2)
    whole, _ = tilt(sound, tilt.silence())
    assert np.array_equal(streamed(tilt, sound, [max(sizes), *sizes]), whole)


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
