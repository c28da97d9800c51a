from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fugue_state.audio import io
from fugue_state.learning import log as log_module
from fugue_state.learning.log import Log
from fugue_state.look.saved import save_figure
from fugue_state.look.sheet import sheet_figure

from .conftest import RATE, pluck


def fill(folder: Path, said: list[str]) -> None:
    sheet, sound = folder / "sheet.png", folder / "sound.flac"
    save_figure(sheet_figure([(("Am",), [np.zeros((8, 8), np.float32)])]), sheet)
    io.write(sound, pluck(57, 0.2), RATE, subtype="PCM_16")
    with Log(folder, ("generator",), say=said.append, every=10) as writer:
        for step in range(1, 31):
            writer.losses(step, {"generator": step / 10}, 0.0)
        writer.measures(30, {"score": 700.0, "accuracy": 0.5})
        writer.preview(30, sheet, sound)


def test_everything_is_in_the_events(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    said: list[str] = []
    fill(tmp_path, said)
    events = EventAccumulator(str(tmp_path / "log")).Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss/generator")] == [(10, 1), (20, 2), (30, 3)]
    assert [e.value for e in events.Scalars("measure/accuracy")] == [0.5]
    assert [e.step for e in events.Images("sheet")] == [30]
    assert [e.sample_rate for e in events.Audio("sound")] == [RATE]
    assert said == []
    with Log(tmp_path, ("generator",), 20, every=10) as again:
        again.losses(30, {"generator": 9.0}, 0.0)
    events = EventAccumulator(str(tmp_path / "log")).Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss/generator")] == [(10, 1), (20, 2), (30, 9)]


def test_without_the_package_there_is_one_line_and_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "PACKAGE", "tensorboard_that_is_not_there")
    said: list[str] = []
    fill(tmp_path, said)
    assert said == ["note: no TensorBoard log is written; pip install tensorboard, and there will be one"]
    assert not (tmp_path / "log").exists()
