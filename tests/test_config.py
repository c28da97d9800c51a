from __future__ import annotations

from typing import Any

import pytest

from fugue_state.config import Budget, MelSpec, ModelConfig, TrainConfig
from fugue_state.errors import InputError
from fugue_state.settings import checked


def test_presets_are_what_they_are_said_to_be() -> None:
    default, original = MelSpec.preset("default"), MelSpec.preset("original")
    assert (default.n_fft, default.hop, default.scale, default.norm) == (2048, 512, "htk", "none")
    assert default.duration_s == pytest.approx(2.97, abs=0.01)
    assert (original.n_fft, original.hop, original.n_mels, original.range_db) == (1024, 256, 128, 80)
    assert original.duration_s == pytest.approx(1.486, abs=0.01)


def test_unknown_preset_suggests_the_near_one() -> None:
    with pytest.raises(InputError, match=r"unknown mel preset 'orignal'; did you mean 'original'"):
        MelSpec.preset("orignal")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hopp": 3}, r"unknown MelSpec key 'hopp'; did you mean 'hop'"),
        ({"hop": 500}, r"hop: must divide the window.*500"),
        ({"fmax_hz": 12_000.0}, r"fmax_hz: must be at most 11025 Hz, got 12000"),
        ({"n_fft": 32_768}, "a window of 32768 is too long: at most 16,384 samples"),
        ({"n_mels": 0}, r"n_mels: .*greater than or equal to 8 \(got 0\)"),
        ({"range_db": float("nan")}, r"range_db"),
    ],
)
def test_wrong_mel_settings_are_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        checked(MelSpec, values)


def test_wrong_word_suggests_the_near_one() -> None:
    with pytest.raises(InputError, match=r"unknown precision 'fp23'; did you mean 'fp32'"):
        checked(TrainConfig, {"precision": "fp23"})


def test_other_limits() -> None:
    with pytest.raises(InputError, match=r"a budget is needed: steps or minutes"):
        checked(Budget, {})
    with pytest.raises(InputError, match=r"labels must be distinct"):
        checked(ModelConfig, {"labels": ("C", "C")})
    with pytest.raises(InputError, match=r"batch.*got 1"):
        checked(TrainConfig, {"batch": 1})


def test_units_by_feature_maps() -> None:
    assert ModelConfig(feature_maps=64).units == 992
    assert list(ModelConfig(feature_maps=64).layers.values()) == [512, 256, 128, 64, 32]
