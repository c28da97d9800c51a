"""What pages draw: frames, meters, statistics, and events of forgotten and recalled units."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fugue_state.bending.strengths import Strengths
from fugue_state.config import LiveConfig
from fugue_state.live.protocol import brightness, bytes_of, column

if TYPE_CHECKING:
    from fugue_state.engine.chain import Block  # takes long to import

QUIETEST, QUIETEST_LUFS = 1e-6, -70.0  # lowest levels of the meters


class Pictures:
    """Describes the sound to clients, as often as the settings say.

    `tell(kind, **values)` sends what none may miss, `show(kind, **values)` what the next of its kind replaces. `stats`
    returns the statistics.
    """

    def __init__(
        self,
        config: LiveConfig,
        tell: Callable[..., None],
        show: Callable[..., None],
        stats: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._config, self._tell, self._show, self._stats = config, tell, show, stats
        self._shown: dict[str, int] = {}  # the last number of each kind
        self._gone: npt.NDArray[np.bool_] | None = None
        self._peak = 0.0  # since the last meter message

    def hear(self, samples: npt.NDArray[np.float32]) -> None:
        """Note the peak of a block."""
        self._peak = max(self._peak, float(np.abs(samples).max()))

    def begin_anew(self) -> None:
        """Start anew, because something else plays."""
        self._gone = None

    def see(self, sounding: Block, at: int, rate: int, layers: Sequence[slice]) -> None:
        """Show what is due of a block at a sample, whose units lie in `layers`."""
        self._tell_lost(at, sounding.seen.strengths, layers)
        if self._due("frame", at * self._config.frames_per_s / rate):
            self._show_frame(at, sounding)
        if self._due("meter", at * self._config.meters_per_s / rate):
            self._show_meter(at, sounding, layers)
        if self._due("stats", at / rate):
            self._show("stats", **self._stats())

    def _due(self, kind: str, number: float) -> bool:
        """Return whether a message of a kind is due: its count has reached the next whole number."""
        if int(number) == self._shown.get(kind):
            return False
        self._shown[kind] = int(number)
        return True

    def _show_frame(self, at: int, sounding: Block) -> None:
        self._show(
            "frame",
            at_sample=at,
            strengths=bytes_of(sounding.seen.strengths),
            activations=brightness(sounding.seen.activations),
            mel=column(sounding.mel),
            chord=sounding.seen.chord,
        )

    def _show_meter(self, at: int, sounding: Block, layers: Sequence[slice]) -> None:
        remembered = [round(float(sounding.seen.strengths[units].mean()), 4) for units in layers]
        peak_db = round(20.0 * math.log10(max(self._peak, QUIETEST)), 2)
        lufs = round(max(sounding.lufs, QUIETEST_LUFS), 2)
        self._show("meter", at_sample=at, peak_db=peak_db, lufs=lufs, remembered=remembered)
        self._peak = 0.0

    def _tell_lost(self, at: int, strengths: Strengths, layers: Sequence[slice]) -> None:
        """Tell which units were forgotten since the last block, and which came back."""
        gone, before = strengths <= 0.0, self._gone
        self._gone = gone
        if before is None or len(before) != len(gone) or np.array_equal(before, gone):
            return
        for n, units in enumerate(layers, 1):
            for what, which in (("forgotten", gone & ~before), ("recalled", before & ~gone)):
                numbers = (np.flatnonzero(which[units]) + 1).tolist()
                if numbers:
                    self._tell("event", what=what, at_sample=at, layer=n, units=numbers)
