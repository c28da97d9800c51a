from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyloudnorm
import pytest
from scipy import signal

from fugue_state.audio.loudness import SILENT_LUFS, event_lufs, k_weighting
from fugue_state.errors import AudioError

from .conftest import Sound, pluck

# The two filters of BS.1770-4 at 48 kHz, as tabulated there.
SHELF = ([1.53512485958697, -2.69169618940638, 1.19839281085285], [1, -1.69065929318241, 0.73248077421585])
PASS = ([1.0, -2.0, 1.0], [1.0, -1.99004745483398, 0.99007225036621])


def ungated_lufs(sound: Sound, rate: int) -> float:
    """By another meter's filters in time; it would gate, and refuse what is short."""
    filtered: npt.NDArray[np.float64] = sound.astype(np.float64)
    for stage in pyloudnorm.Meter(rate)._filters.values():
        filtered = signal.lfilter(stage.b, stage.a, filtered)
    return float(-0.691 + 10 * np.log10(np.mean(filtered**2)))


def tone(hz: float, rate: int) -> Sound:
    return np.asarray(0.1 * np.sin(2 * np.pi * hz * np.arange(3 * rate) / rate), dtype=np.float32)


def test_weighting_is_that_of_the_standard() -> None:
    hz = np.geomspace(20, 20_000, 200)
    wanted = [20 * np.log10(np.abs(signal.freqz(b, a, hz, fs=48_000)[1])) for b, a in (SHELF, PASS)]
    assert np.abs(10 * np.log10(k_weighting(hz)) - sum(wanted)).max() < 0.02
    assert k_weighting(0.0) == 0


@pytest.mark.parametrize("rate", [22_050, 44_100, 48_000])
def test_loudness_of_an_event_agrees_with_another_meter(rate: int) -> None:
    sounds = [tone(hz, rate) for hz in (60, 220, 997, 2500, 6000)]
    sounds += [np.random.default_rng(0).normal(0, 0.1, 3 * rate + 1).astype(np.float32)]
    sounds += [pluck(40, rate=rate), pluck(76, rate=rate), pluck(64, 0.1, rate)]
    for sound in sounds:
        assert event_lufs(sound, rate) == pytest.approx(ungated_lufs(sound, rate), abs=0.1)


def test_a_full_scale_tone_reads_what_the_standard_says_and_channels_add_up() -> None:
    sound = 10 * tone(997, 48_000)
    assert event_lufs(sound, 48_000) == pytest.approx(-3.01, abs=0.02)
    fastest = np.tile(np.array([1.0, -1.0], np.float32), 24_000)
    assert event_lufs(fastest, 48_000) == pytest.approx(4.04 - 0.69, abs=0.02)
    assert event_lufs(np.stack([sound, sound], axis=1), 48_000) == pytest.approx(0.0, abs=0.02)
    assert event_lufs(np.stack([sound, 0 * sound], axis=1), 48_000) == pytest.approx(-3.01, abs=0.02)


def test_silence_is_the_least_and_no_samples_are_refused() -> None:
    assert event_lufs(np.zeros(1000, np.float32), 22_050) == SILENT_LUFS
    assert event_lufs(np.full((7, 2), 1e-9, np.float32), 22_050) == SILENT_LUFS
    with pytest.raises(AudioError, match="no samples"):
        event_lufs(np.zeros(0, np.float32), 22_050)
