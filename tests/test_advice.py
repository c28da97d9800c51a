from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fugue_state.audio import io
from fugue_state.config import AdviceConfig, MelSpec
from fugue_state.corpus.advice import ClipFacts, Mels, advise, bandwidth, clip_facts
from fugue_state.corpus.cache import find_cache
from fugue_state.corpus.folder import Clip, read_corpus
from fugue_state.corpus.inspect import inspect_corpus
from fugue_state.corpus.mels import load_mels

from .conftest import RATE, Sound, pluck

SPEC = MelSpec()
GOOD = ClipFacts("a/0.wav", 44_100, 3.0, -20.0, 22_050.0)


def facts(count: int = 400, **changed: object) -> list[ClipFacts]:
    return [replace(GOOD, name=f"a/{i}.wav", **changed) for i in range(count)]  # type: ignore[arg-type]


def mels(count: int, spread: float = 0.3) -> Mels:
    random = np.random.default_rng(0)
    one, each = random.standard_normal((1, 128, 96)), random.standard_normal((count, 128, 96))
    return (one + spread * each).astype(np.float16)


def noise(duration_s: float = 2.0, rate: int = 44_100) -> Sound:
    time = np.arange(int(duration_s * rate)) / rate
    return (0.2 * np.random.default_rng(0).standard_normal(len(time)) * np.exp(-2 * time)).astype(np.float32)


def test_a_good_folder_needs_no_advice() -> None:
    assert advise(facts(), SPEC, classes=["Am"] * 300 + ["C"] * 100, mels=mels(400)) == []
    assert advise([], SPEC) == []


def only(lines: list[str]) -> str:
    assert len(lines) == 1, lines
    return lines[0]


def test_one_of_something_is_told_as_one() -> None:
    assert only(advise(facts(1), SPEC)).startswith("1 clip is few: ")
    config = AdviceConfig(fewest_clips=1, quiet_share=0.0, short_share=0.0)
    [quiet, short] = advise(facts(1, level_dbfs=-46.0, duration_s=0.1), SPEC, config=config)
    assert "1 of 1 clip (a/0.wav) is quieter than" in quiet
    assert "1 of 1 clip (a/0.wav) is much shorter than" in short
    low = facts(1, sample_rate_hz=8000, bandwidth_hz=4000.0)
    [band] = advise(low + facts(1), SPEC, config=AdviceConfig(fewest_clips=1, band_share=0.1))
    assert "1 clip (a/0.wav) ends at about 4000 Hz, 1 reaches 8000 Hz" in band


def test_too_few_and_too_uneven() -> None:
    assert "199 clips are few" in only(advise(facts(199), SPEC))
    named = ["Am"] * 190 + ["C"] * 191 + ["G"] * 19
    few, uneven = advise(facts(), SPEC, classes=named)
    assert "too few clips in G (19)" in few
    assert "C has 191 clips and G 19" in uneven
    assert advise(facts(), SPEC, classes=["Am"] * 320 + ["C"] * 80) == []
    assert "within 4 to 1" in only(advise(facts(), SPEC, classes=["Am"] * 321 + ["C"] * 79))
    many = [f"{i}" for i in range(20) for _ in range(10 + i)]
    assert "and 6 more" in advise(facts(390), SPEC, classes=many)[0]


def test_too_quiet_and_too_short() -> None:
    quiet = facts(41, level_dbfs=-46.0)
    assert "41 of 400 clips (a/0.wav ...) are quieter than -45 dBFS" in only(advise(quiet + facts(359), SPEC))
    assert advise(quiet + facts(369), SPEC) == []
    short = facts(110, duration_s=1.4)
    line = only(advise(short + facts(290), SPEC))
    assert "110 of 400 clips" in line
    assert "the 3.0 s of an image" in line
    assert advise(short + facts(290), MelSpec.preset("original")) == []  # half as long an image


def test_mixed_bands_are_told_by_rate_or_by_a_common_end() -> None:
    low = facts(100, sample_rate_hz=8000, bandwidth_hz=4000.0)
    assert "100 clips (a/0.wav ...) end at about 4000 Hz, 300 reach 8000 Hz" in only(advise(low + facts(300), SPEC))
    resampled = facts(100, bandwidth_hz=5120.0)
    assert "end at about 5100 Hz" in only(advise(resampled + facts(300), SPEC))
    own = [replace(f, bandwidth_hz=2600.0 + 45.0 * i) for i, f in enumerate(facts(100))]
    assert advise(own + facts(300), SPEC) == []  # every sound ends elsewhere: their own dullness
    assert advise(low * 4, SPEC) == []  # all alike is not mixed
    assert advise(low + facts(300), SPEC.model_copy(update={"fmax_hz": 4000.0})) == []


def test_copies_and_likeness() -> None:
    doubled = mels(400)
    doubled[7] = doubled[3]
    assert "1 of 400 clips is a copy of another (the first: a/7.wav of a/3.wav)" in only(
        advise(facts(), SPEC, mels=doubled)
    )
    assert "nearly all alike (they differ by 1.2 dB)" in only(advise(facts(), SPEC, mels=mels(400, 0.03)))


def test_thresholds_are_settings() -> None:
    config = AdviceConfig(fewest_clips=5, fewest_in_class=2)
    assert advise(facts(5), SPEC, classes=["Am", "Am", "Am", "C", "C"], config=config) == []


@pytest.mark.parametrize("limit_hz", [8_000, 11_025, 16_000])
@pytest.mark.parametrize("rate", [22_050, 44_100, 48_000])
def test_a_band_limit_is_found_in_the_sound(limit_hz: int, rate: int) -> None:
    whole = noise(rate=rate)
    assert bandwidth(whole, rate) == rate / 2
    limited = io.resample(io.resample(0.05 * whole, rate, limit_hz), limit_hz, rate)
    limited = np.round(limited * 2**15) / np.float32(2**15)  # as a 16-bit file holds it, with its noise above the end
    assert bandwidth(limited, rate) == pytest.approx(limit_hz / 2, rel=0.1)


def test_no_band_limit_is_found_in_a_dull_or_tiny_sound() -> None:
    white = np.fft.rfft(noise())
    falling = 1.0 / (1.0 + np.fft.rfftfreq(2 * 44_100, 1 / 44_100) / 300.0) ** 4  # 24 dB an octave
    assert bandwidth(np.fft.irfft(white * falling).astype(np.float32), 44_100) == 22_050
    assert bandwidth(np.ones(3, np.float32), 44_100) == 22_050
    assert bandwidth(noise(rate=4000), 4000) == 2000


def test_facts_are_of_the_recording_as_it_is() -> None:
    time = np.arange(3 * 8000) / 8000
    sound = (0.01 * np.sqrt(2) * np.sin(2 * np.pi * 440 * time)).astype(np.float32)
    assert clip_facts(Clip(Path("x/Am/one.wav"), "Am", "one", "Training"), sound, 8000) == ClipFacts(
        "Am/one.wav", 8000, 3.0, -40.0, 4000.0
    )


def test_facts_are_kept_beside_the_mels(make_corpus: Callable[..., Path]) -> None:
    root = make_corpus({"Am": 2, "C": 2})
    io.write(root / "C" / "z.wav", 0.1 * pluck(60, 0.5, 44_100), 44_100)
    (root / "Am" / "bad.wav").write_bytes(b"RIFFxxxx")
    made, kept = (load_mels(read_corpus(root), SPEC, find_cache()) for _ in range(2))
    assert made.facts == kept.facts
    assert [f.name for f in made.facts] == [f"{c}/{c}_g{i}_{i}.wav" for c in ("Am", "C") for i in (0, 1)] + ["C/z.wav"]
    assert [f.sample_rate_hz for f in made.facts] == [RATE] * 4 + [44_100]
    assert made.facts[-1].duration_s == 0.5
    assert made.classes == ("Am", "Am", "C", "C", "C")


def test_an_inspection_advises(make_corpus: Callable[..., Path]) -> None:
    warnings = inspect_corpus(read_corpus(make_corpus({"Am": 9, "C": 2}))).warnings
    assert [line[:12] for line in warnings] == ["11 clips are", "too few clip", "classes are "]
