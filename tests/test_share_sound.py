"""What sounds in a shared page, compared with what sounds in Python."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fugue_state.arrays import Array
from fugue_state.audio.limiter import Limiter, true_peaks
from fugue_state.audio.loudness import LoudnessMeter
from fugue_state.audio.mix import envelope
from fugue_state.audio.rate import Converter
from fugue_state.audio.tone import Tilt
from fugue_state.config import LIVE_LOOK_AHEAD_S, EnvelopeConfig, ReverbConfig, ToneConfig
from fugue_state.engine.chain import Chain, PlannedBlock
from fugue_state.engine.voice import Passage
from fugue_state.piece.seen import Seen
from fugue_state.score.model import Score

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="there is no node")
RATE = 44_100
SILENT = Seen(None, np.ones(1, dtype=np.float32), np.zeros(1, dtype=np.float32))


def ask(**values: Any) -> Any:
    """Return what the page's engine makes of these values."""
    plain = json.dumps(values, default=lambda array: np.asarray(array).ravel().tolist())
    script = Path(__file__).parent / "share" / "sound.mjs"
    assert NODE is not None
    done = subprocess.run([NODE, str(script)], input=plain, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def noise(count: int, loud: float = 0.3, seed: int = 0) -> Array:
    """Return stereo noise (N, 2) whose loudness changes."""
    swell = 0.2 + np.abs(np.sin(np.arange(count) / 3000.0))
    made = loud * swell[:, None] * np.random.default_rng(seed).standard_normal((count, 2))
    return made.astype(np.float32)


class Sounding(Passage):
    """A passage that is this sound (N, 2)."""

    def __init__(self, sound: Array) -> None:
        object.__setattr__(self, "own", sound)

    def add_to(self, mix: Array, send: Array | None = None) -> None:  # noqa: ARG002
        mix += self.own  # type: ignore[attr-defined]


@pytest.mark.parametrize("tilt_db", [0.0, -4.0])
def test_chain_sounds_as_in_python(tilt_db: float) -> None:
    score = Score.model_validate(
        {"reverb": ReverbConfig(rt60_s=0.3).model_dump(), "tone": ToneConfig(tilt_db=tilt_db).model_dump()}
    )
    chain, rate = Chain(score), score.file.sample_rate_hz
    sound = noise(9000)
    sizes = [1024, 1, 700, 4096, 3179]
    ringing, expected = chain.silence(), []
    for block in np.split(sound, np.cumsum(sizes)[:-1]):
        made, ringing = chain(PlannedBlock(0, len(block), [Sounding(block)], SILENT, SILENT.activations), ringing)
        expected.append(made.samples)
    tone = Tilt(score.tone, rate).coefficients
    impulse = np.zeros((rate, 2), dtype=np.float32)
    impulse[0] = 1.0
    answer = chain._convolver(impulse, chain._convolver.silence())[0]
    heard = ask(
        do="chain",
        sound={"tone": tone and dict(zip(("now", "before", "back"), tone, strict=True)), "wet_db": score.reverb.wet_db},
        impulse=answer,
        blocks=sound,
        sizes=[2 * size for size in sizes],
    )
    np.testing.assert_allclose(np.reshape(heard, (-1, 2)), np.concatenate(expected), atol=2e-5)


@pytest.mark.parametrize("loud", [0.05, 1.5])
def test_limiter_gives_the_samples_of_python(loud: float) -> None:
    limiter, sound, sizes = Limiter(-1.0, RATE, LIVE_LOOK_AHEAD_S), noise(9000, loud), [1024, 3000, 77, 4899]
    past, expected = limiter.silence(), []
    for block in np.split(sound, np.cumsum(sizes)[:-1]):
        made, past = limiter(block, past)
        expected.append(made)
    heard = np.reshape(
        ask(
            do="limiter",
            ceiling=-1.0,
            rate=RATE,
            look_ahead_s=LIVE_LOOK_AHEAD_S,
            blocks=sound,
            sizes=[2 * size for size in sizes],
        ),
        (-1, 2),
    ).astype(np.float32)
    np.testing.assert_allclose(heard, np.concatenate(expected), atol=2e-6)
    assert 20.0 * np.log10(true_peaks(heard).max()) < -1.0


@pytest.mark.parametrize(("source", "to"), [(22_050, 44_100), (22_050, 48_000), (44_100, 44_100), (48_000, 22_050)])
def test_rates_are_converted_as_in_python(source: int, to: int) -> None:
    converter, count = Converter(source, to), 2000
    sound = noise(converter.needed(count))[:, 0]
    begin = converter.first(0)
    expected = converter(np.concatenate([np.zeros(-begin, dtype=np.float32), sound]), begin, 0, count)
    found = ask(do="converter", **{"from": source}, to=to, sound=sound, count=count)
    np.testing.assert_allclose(found["out"], expected, atol=1e-6)
    assert (found["needed"], found["first"]) == (converter.needed(count), converter.first(count))


def test_envelope_is_that_of_python() -> None:
    config = EnvelopeConfig(attack_s=0.02, hold_s=0.1, decay_rt60_s=1.5, release_s=0.3)
    expected = envelope(30_000, RATE, config)
    found = ask(
        do="level",
        level={"hold": False},
        weights=[],
        spec={"floor_db": -80, "range_db": 80},
        mel=[],
        frames=1,
        level_db=-6.0,
        length=30_000,
        rate=RATE,
        config=config.model_dump(),
    )
    np.testing.assert_allclose(found["envelope"], expected, atol=1e-6)
    assert found["taken_db"] == pytest.approx(-10.0 * np.log10(np.mean(expected**2)), abs=1e-4)
    assert found["gain"] == pytest.approx(10.0**-0.3)


def test_meter_reads_as_the_one_of_python() -> None:
    meter, sound, size = LoudnessMeter(RATE, peak=False), noise(RATE, 0.1), 2205
    expected = []
    for block in np.split(sound, len(sound) // size):
        meter.add(block)
        expected.append(meter.momentary_lufs)
    found = ask(do="meter", rate=RATE, blocks=sound, sizes=[2 * size] * (len(sound) // size))
    # FFmpeg's meter looks ten times a second, and at full windows only.
    np.testing.assert_allclose(found[9::2], expected[9::2], atol=0.1)
