"""Loudness and true peak of a stream, by FFmpeg's EBU R128 meter."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
from av.filter import Graph

from fugue_state.audio.io import Samples

SILENT_LUFS = -70.0  # the absolute gate of BS.1770-4: below it there is no loudness


class LoudnessMeter:
    """Integrated loudness (LUFS) and true peak (dBTP) of stereo blocks, in constant memory.

    Without `peak`, which costs most of the time, the true peak stays unknown (minus infinity).
    Reference: ITU-R BS.1770-4 and EBU R128.
    """

    def __init__(self, sample_rate_hz: int, *, peak: bool = True) -> None:
        self._rate = sample_rate_hz
        self._position = 0
        self._graph = Graph()
        self._source = self._graph.add_abuffer(
            sample_rate=sample_rate_hz, format="flt", layout="stereo", time_base=Fraction(1, sample_rate_hz)
        )
        meter = self._graph.add("ebur128", "metadata=1:peak=" + ("true" if peak else "none"))
        self._sink = self._graph.add("abuffersink")
        self._source.link_to(meter)
        meter.link_to(self._sink)
        self._graph.configure()
        self.integrated_lufs = SILENT_LUFS
        self.true_peak_dbtp = -np.inf

    def add(self, block: Samples) -> None:
        """Measure a block (N, 2)."""
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(block, dtype=np.float32).reshape(1, -1), format="flt", layout="stereo"
        )
        frame.sample_rate, frame.pts = self._rate, self._position
        frame.time_base = Fraction(1, self._rate)
        self._position += len(block)
        self._source.push(frame)
        self._read()

    def finish(self) -> None:
        """Measure what is still waiting in the filter; call once, after the last block."""
        self._source.push(None)
        self._read()

    def _read(self) -> None:
        while True:
            try:
                seen = self._sink.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            values = seen.metadata
            if "lavfi.r128.I" in values:
                self.integrated_lufs = max(SILENT_LUFS, float(values["lavfi.r128.I"]))
                peak = float(values.get("lavfi.r128.true_peak", 0.0))
                self.true_peak_dbtp = 20.0 * np.log10(peak) if peak > 0 else -np.inf
