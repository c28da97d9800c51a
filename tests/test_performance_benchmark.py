"""The benchmark of playing runs through on something tiny."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from .conftest import load_benchmark


@pytest.mark.alone  # it compares loads
def test_everything_is_measured(
    tiny_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    benchmark = load_benchmark("performance", monkeypatch)
    monkeypatch.setattr(benchmark, "FROZEN_S", 8.0)
    monkeypatch.setattr(benchmark, "BLOCKS", 120)
    monkeypatch.setattr(sys, "argv", ["performance.py", str(tiny_path), "--seconds", "4", "--changes", "200"])
    benchmark.main()
    told = json.loads(capsys.readouterr().out)
    assert told["replay"]["the_same"] is True
    assert told["replay"]["changes"] > 100
    assert told["step"]["jumping"] <= 2 * told["step"]["steady"]
    assert 0 < told["control_to_sound_ms"]["most"] < 60
    assert 0 < told["finer"]["final"] < told["finer"]["live"]
    assert told["finer"]["chords"] > 1
    assert told["frozen"]["range_db"] < 3
    assert told["load"]["moving"]["mean"] > told["load"]["steady"]["mean"]
