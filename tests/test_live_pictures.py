"""Frames, meters, statistics, and units that come and go; without a server, a loop or a clock."""

from __future__ import annotations

from typing import Any

import numpy as np

from fugue_state.config import LiveConfig
from fugue_state.engine.chain import Block
from fugue_state.live.pictures import Pictures
from fugue_state.piece.seen import Seen

LAYERS = [slice(0, 2), slice(2, 5)]
RATE = 44_100


class Wall:
    """Pictures, and what they told and showed."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self.shown: list[tuple[str, dict[str, Any]]] = []
        config = LiveConfig(frames_per_s=10, meters_per_s=5)
        self.pictures = Pictures(config, self._tell, self._show, lambda: {"load": 0.5})

    def _tell(self, _: str, **values: Any) -> None:
        self.told.append(values)

    def _show(self, kind: str, **values: Any) -> None:
        self.shown.append((kind, values))

    def see(self, at: int, *strengths: float, lufs: float = -23.0) -> None:
        units = np.array(strengths, dtype=np.float32)
        samples, mel = np.zeros((4, 2), dtype=np.float32), np.full(128, -1.0, dtype=np.float32)
        self.pictures.see(Block(at, samples, Seen("Am", units, units), mel, lufs=lufs), at, RATE, LAYERS)


def test_each_kind_is_shown_as_often_as_it_is_due() -> None:
    wall = Wall()
    for at in range(0, 2 * RATE, 441):
        wall.see(at, 1, 1, 1, 1, 1)
    kinds = [kind for kind, _ in wall.shown]
    assert {kind: kinds.count(kind) for kind in kinds} == {"frame": 20, "meter": 10, "stats": 2}


def test_units_that_go_and_come_back_are_told_by_layer() -> None:
    wall = Wall()
    for at, strengths in enumerate([(1, 0, 1, 1, 1), (0, 0, 1, 1, 0), (0, 0, 1, 1, 0), (1, 0, 1, 1, 1)]):
        wall.see(at, *strengths)
    assert [(one["what"], one["at_sample"], one["layer"], one["units"]) for one in wall.told] == [
        ("forgotten", 1, 1, [1]), ("forgotten", 1, 2, [3]), ("recalled", 3, 1, [1]), ("recalled", 3, 2, [3]),
    ]  # fmt: skip


def test_of_something_else_that_plays_only_what_goes_then_is_told() -> None:
    wall = Wall()
    wall.see(0, 1, 1, 1, 1, 1)
    wall.pictures.begin_anew()
    wall.see(1, 0, 0, 0, 0, 0)
    assert wall.told == []
    wall.see(2, 1, 0, 0, 0, 0)
    assert [one["what"] for one in wall.told] == ["recalled"]


def test_a_meter_shows_the_loudest_sample_since_the_last_one() -> None:
    wall = Wall()
    wall.pictures.hear(np.array([[0.1, -0.5]], dtype=np.float32))
    wall.pictures.hear(np.array([[0.1, 0.1]], dtype=np.float32))
    wall.see(0, 1, 0, 1, 1, 1, lufs=-np.inf)
    wall.see(RATE, 1, 0, 1, 1, 1)
    first, second = (values for kind, values in wall.shown if kind == "meter")
    assert first == {"at_sample": 0, "peak_db": -6.02, "lufs": -70.0, "remembered": [0.5, 1.0]}
    assert (second["peak_db"], second["lufs"]) == (-120.0, -23.0)
