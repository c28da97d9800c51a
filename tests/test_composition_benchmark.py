"""The benchmark of composing runs through on something tiny, and its figures are right where they are known."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from .conftest import load_benchmark


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load_benchmark("composition", monkeypatch)


def test_straightness_is_that_of_a_line(benchmark: ModuleType) -> None:
    times = np.linspace(0, 1, 40)
    assert benchmark.straightness(times, 3 * times + 1) == pytest.approx(1.0)
    assert benchmark.straightness(times, (times > 0.5).astype(float)) == pytest.approx(0.75, abs=0.02)
    uneven = 3 * times + np.tile([1.0, -1.0, 2.0, -2.0], 10)
    assert benchmark.straightness(times, uneven) < 0.5
    assert benchmark.straightness(*benchmark.by_round(times, uneven, 4)) == pytest.approx(1.0)


def test_level_is_compared_with_the_plan(benchmark: ModuleType) -> None:
    assert benchmark.apart(np.array([-18.0, -17.5, -20.0, -18.5]), -18.0) == {"worst_lu": 2.0, "within_1_lu": 0.75}


def test_everything_is_measured(
    benchmark: ModuleType, tiny_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark, "AROUND", 4)
    monkeypatch.setattr(sys, "argv", ["composition.py", str(tiny_path), "--duration", "14"])
    benchmark.main()
    told = json.loads(capsys.readouterr().out)
    assert told["recall_is_exact"] is True
    assert told["same_on_one_and_two_threads"] is True
    for way in ("ours", "common"):
        figures = told[way]
        assert 0 <= figures["last_named"] <= 1
        assert figures["gone_by_tenth"] == sorted(figures["gone_by_tenth"])
        assert figures["level"]["worst_lu"] >= 0
    assert told["ours"]["straightness"] > told["common"]["straightness"] - 0.2
