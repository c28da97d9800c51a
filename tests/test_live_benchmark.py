"""The benchmark of the live instrument runs through on something tiny; its figures are right where they are known."""

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
    return load_benchmark("live", monkeypatch)


def test_what_is_wrong_in_what_arrives_is_counted(benchmark: ModuleType) -> None:
    heard = benchmark.Heard()
    block = np.zeros((4, 2), dtype=np.float32)
    heard.add(0, block)
    assert heard.first_s is None
    heard.add(4, block + 0.25)
    assert heard.taken_step() == 0.25
    heard.add(12, block + 0.25)
    assert heard.taken_step() == 0.0
    heard.add(16, block + 0.95)
    heard.add(20, block + np.float32(np.nan))
    assert (heard.gaps, heard.over, heard.nan) == (1, 8, 8)


def test_everything_is_measured(
    benchmark: ModuleType, tiny_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A minute of a performer who never rests: nothing breaks, and the take is what was heard."""
    monkeypatch.setattr(benchmark, "MOVES", 10)
    monkeypatch.setattr(benchmark, "KEPT_S", 45.0)
    monkeypatch.setattr(benchmark, "SWAPPED_S", 4.0)
    monkeypatch.setattr(sys, "argv", ["live.py", str(tiny_path), "--minutes", "1", "--buffer", "2000"])
    benchmark.main()
    told = json.loads(capsys.readouterr().out)
    assert (told["gaps"], told["nan"], told["over"]) == (0, 0, 0)
    assert set(told["refused"]) <= {"there is nothing to undo"}
    assert told["control_ms"]["count"] > 200
    assert told["changes"] > 1000
    assert told["replayed_s"] > 40
    assert told["replay_equal"], told
    assert told["memory_mb"]["after"] < 1.1 * told["memory_mb"]["before"]
    assert told["page"] is None or len(told["page"]) == 6
