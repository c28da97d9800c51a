"""Loudness: of a stream, with its true peak, by FFmpeg's EBU R128 meter; of a short sound, computed directly."""

from __future__ import annotations

import functools
from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt
from av.filter import Graph
from scipy import fft

from fugue_state.arrays import Array, Wide
from fugue_state.errors import AudioError

SILENT_LUFS = -70.0  # the absolute gate of BS.1770-4: quieter sound does not count
OFFSET_LU = -0.691  # BS.1770: makes a full-scale sine of 997 Hz read -3.01 LUFS

# The analogue filters behind the coefficients that BS.1770-4 gives for 48 kHz (De Man, 2014).
SHELF_HZ, SHELF_Q, SHELF_GAIN, SHELF_BEND = 1681.974450955533, 0.7071752369554196, 10 ** (3.999843853973347 / 20), 0.5
PASS_HZ, PASS_Q = 38.13547087602444, 0.5003270373238773
PASS_GAIN = 1.00499  # the standard's high-pass has this gain at high frequencies, not 1


def k_weighting(frequencies_hz: npt.ArrayLike) -> Wide:
    """Return the power gain of BS.1770's K-weighting at frequencies in Hz, whatever the sample rate."""
    hz = np.asarray(frequencies_hz, dtype=np.float64)
    shelf, high = 1j * hz / SHELF_HZ, 1j * hz / PASS_HZ
    shelved = SHELF_GAIN * shelf**2 + SHELF_GAIN**SHELF_BEND / SHELF_Q * shelf + 1.0
    shelved /= shelf**2 + shelf / SHELF_Q + 1.0
    passed = PASS_GAIN * high**2 / (high**2 + high / PASS_Q + 1.0)
    return np.asarray(np.abs(shelved * passed) ** 2)


def event_lufs(samples: Array, sample_rate_hz: int) -> float:
    """Return the loudness of a short sound (N,) or (N, 2) as a whole, ungated, at least -70 LUFS.

    AudioError for no samples.
    """
    length = len(samples)
    if length == 0:
        raise AudioError("a sound of no samples has no loudness")
    channels = np.ascontiguousarray(samples.reshape(length, -1).T, dtype=np.float32)
    size = fft.next_fast_len(length, real=True)
    parts = fft.rfft(channels, size).view(np.float32)  # real, imaginary, real, ...
    # By Parseval's theorem: the sum of squares from half of the spectrum.
    # No matrix product, since its rounding depends on the number of threads.
    mean_square = float((parts**2 * _weights(size, sample_rate_hz)).sum(dtype=np.float64)) / (size * length)
    return max(SILENT_LUFS, OFFSET_LU + 10.0 * float(np.log10(max(mean_square, 1e-12))))


@functools.lru_cache(maxsize=8)
def _weights(size: int, sample_rate_hz: int) -> Array:
    """Return the weight of each real and imaginary part in the half spectrum of `size` samples."""
    weights = 2.0 * k_weighting(fft.rfftfreq(size, 1.0 / sample_rate_hz))
    if size % 2 == 0:
        weights[-1] /= 2.0
    return np.repeat(weights, 2).astype(np.float32)


class LoudnessMeter:
    """Integrated loudness (LUFS) and true peak (dBTP) of stereo blocks, in constant memory.

    `short_term_lufs` covers the newest three seconds, `momentary_lufs` the newest 0.4 s.

    Without `peak`, which takes most of the time, the true peak stays unknown (minus infinity).
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
        self.short_term_lufs = self.momentary_lufs = SILENT_LUFS
        self.true_peak_dbtp = -np.inf

    def add(self, block: Array) -> None:
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
        """Measure what is still buffered in the filter; call once, after the last block."""
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
                self.short_term_lufs = max(SILENT_LUFS, float(values["lavfi.r128.S"]))
                self.momentary_lufs = max(SILENT_LUFS, float(values["lavfi.r128.M"]))
                peak = float(values.get("lavfi.r128.true_peak", 0.0))
                self.true_peak_dbtp = 20.0 * np.log10(peak) if peak > 0 else -np.inf
