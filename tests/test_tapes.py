"""Takes are recorded, marked and rendered; without a server, a loop or a clock."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fugue_state.config import LiveConfig
from fugue_state.live.protocol import RefusedError
from fugue_state.live.recorder import Recorder
from fugue_state.live.tapes import Tapes
from fugue_state.score.log import Log
from fugue_state.score.model import Score


class Studio:
    """Tapes whose clock does each job at once, and whose other threads are heard when they are over."""

    def __init__(self, folder: Path) -> None:
        self.told: list[dict[str, Any]] = []
        self.late: list[Callable[[], None]] = []
        self.recording: list[Recorder] = []
        self.ended: list[bool] = []
        self.clock: Any = SimpleNamespace(
            performance=SimpleNamespace(position=64), record=self.recording.append, end_take=self._end_take
        )
        self.tapes = Tapes(
            LiveConfig(takes=str(folder)), self._tell, lambda: 128, lambda job: job(self.clock), self._on_loop
        )

    def _tell(self, _: str, **values: Any) -> None:
        self.told.append(values)

    def _on_loop(self, hear: Callable[[Any], None]) -> Callable[[Any], None]:
        return lambda told: self.late.append(lambda: hear(told))

    def _end_take(self, recorder: Recorder, *, at_once: bool) -> None:
        self.ended.append(at_once)
        recorder.stop()

    def play(self) -> None:
        """Give the recorder a block."""
        [recorder] = self.recording
        recorder.begin(Score(memory="fake", resolution="block"), Log(), 0, 0)
        recorder.sound(64, np.full((64, 2), 0.25, dtype=np.float32))

    def hear(self) -> None:
        """Wait for the recorder, and hear what it told."""
        for recorder in list(self.tapes.finishing):
            recorder.join()
        while self.late:
            self.late.pop(0)()

    def did(self) -> list[tuple[str, str, bool]]:
        return [(one["did"], one["take"], one["recording"]) for one in self.told if one.get("what") == "take"]


def test_a_take_is_recorded_marked_and_kept(tmp_path: Path) -> None:
    studio = Studio(tmp_path)
    studio.tapes.start({})
    assert studio.tapes.overview()["recording"] is True
    with pytest.raises(RefusedError, match="a take is being recorded; end it first"):
        studio.tapes.check_idle("; end it first")
    studio.play()
    studio.tapes.mark("here", "one")
    studio.tapes.stop()
    studio.hear()
    assert studio.did() == [("armed", "", True), ("recording", "take-001", False), ("kept", "take-001", False)]
    assert studio.ended == [False]
    assert studio.tapes.overview() == {
        "recording": False, "takes": {"take-001": ["toml", "flac", "txt"]}, "rendering": None,
    }  # fmt: skip
    assert studio.tapes.begun_at == 128
    assert not studio.tapes.finishing
    assert (tmp_path / "take-001.txt").read_text().endswith("\there\n")


def test_a_take_that_ends_by_itself_is_over(tmp_path: Path) -> None:
    studio = Studio(tmp_path)
    studio.tapes.start({})
    studio.recording[0].stop()
    studio.hear()
    assert studio.did()[-1] == ("failed", "", False)
    assert studio.ended == [True]
    assert studio.tapes.recorder is None


def test_without_a_take_there_is_nothing_to_stop_and_a_mark_is_only_told(tmp_path: Path) -> None:
    studio = Studio(tmp_path)
    with pytest.raises(RefusedError, match="no take is being recorded"):
        studio.tapes.stop()
    studio.tapes.check_idle(" already")
    studio.tapes.mark("here", "one")
    assert studio.told == [{"what": "mark", "at_sample": 128, "text": "here", "by": "one"}]


def render(take: Path) -> None:
    raise AssertionError(take)


def test_one_take_is_rendered_at_a_time_if_it_is_known_and_not_rendered_yet(tmp_path: Path) -> None:
    studio = Studio(tmp_path)
    kept: Any = []
    keep: Any = kept.append
    for name in ("take-001.toml", "take-002.toml", "take-002.wav"):
        (tmp_path / name).touch()
    for name, wrong in (("../secret", "unknown take"), ("take-002", "take-002.wav is there already")):
        with pytest.raises(RefusedError, match=wrong):
            studio.tapes.render(name, render, keep)
    studio.tapes.render("take-001", render, keep)
    assert studio.tapes.overview()["rendering"] == "take-001"
    with pytest.raises(RefusedError, match="take-001 is being rendered; one at a time"):
        studio.tapes.render("take-001", render, keep)
    [waiting] = kept
    waiting.close()
