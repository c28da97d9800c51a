"""The mel spectrogram of a finished sound file, read piece by piece."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import soundfile
from scipy import fft

from fugue_state.arrays import Array
from fugue_state.audio.compiled import one_thread
from fugue_state.audio.mel import filterbank, hz_to_mel
from fugue_state.config import MelSpec
from fugue_state.errors import AudioError, a_file

BANDS, HIGHEST_HZ, WINDOW = 160, 8_000.0, 4096
SILENT = 1e-6
RANGE_DB = 75.0
FAINTEST_DB = 0.0  # the lowest level drawn at full brightness, so that near silence stays dark
MARKS_HZ = (100, 200, 500, 1000, 2000, 5000)


class Heard:
    """A sound file as columns of levels in dB (M,) at any place; successive nearby reads are fast.

    Raises AudioError for a file that is missing or not readable.
    """

    def __init__(self, path: str | Path) -> None:
        if not Path(path).is_file():
            raise AudioError(a_file(Path(path)))
        try:
            self.file = soundfile.SoundFile(path)
        except soundfile.LibsndfileError as error:
            raise AudioError(f"{path}: not a readable sound file ({error.error_string.strip().rstrip('.')})") from None
        self.samples, self.sample_rate_hz = self.file.frames, self.file.samplerate
        self.spec = MelSpec(
            sample_rate_hz=self.sample_rate_hz, n_fft=WINDOW, hop=WINDOW // 4, fmax_hz=HIGHEST_HZ, n_mels=BANDS
        )
        self._window = np.hanning(WINDOW).astype(np.float32)
        self._filters = filterbank(self.spec)
        self._begin, self._held = 0, np.zeros(0, dtype=np.float32)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.file.close()

    def column(self, centre: int) -> Array:
        """Return the levels in dB (M,) around a sample; beyond the file there is silence."""
        return self.columns([centre])[:, 0]

    @one_thread()
    def columns(self, centres: Sequence[int]) -> Array:
        """Return the levels in dB (M, n) around samples, which must be sorted."""
        parts = np.stack([self._read(centre - WINDOW // 2) for centre in centres]) * self._window
        return np.asarray(20.0 * np.log10(np.maximum(self._filters @ np.abs(fft.rfft(parts)).T, SILENT)))

    def overview(self, columns: int) -> Array:
        """Return the levels in dB (M, columns) at evenly spaced places from beginning to end."""
        half = WINDOW // 2
        places = np.linspace(half, max(half, self.samples - half), columns)
        return self.columns([int(place) for place in places])

    def marks(self) -> tuple[list[float], list[str]]:
        """Return where round frequencies lie among the bands, and their names in Hz."""
        ends = hz_to_mel(np.array([self.spec.fmin_hz, self.spec.fmax_hz]), self.spec.scale)
        mels = hz_to_mel(np.array(MARKS_HZ, dtype=float), self.spec.scale)
        return list((mels - ends[0]) / (ends[1] - ends[0]) * BANDS), [str(mark) for mark in MARKS_HZ]

    def _read(self, start: int) -> Array:
        """Return a window of samples (WINDOW,) from `start` on, mixed to mono."""
        end = start + WINDOW
        first, last = min(max(start, 0), self.samples), min(max(end, 0), self.samples)
        held_to = self._begin + len(self._held)
        if not self._begin <= first <= held_to:
            self.file.seek(first)
            self._held, held_to = np.zeros(0, dtype=np.float32), first
        if last > held_to:
            # Channel by channel, since the mean of many short rows is slow.
            channels = self.file.read(last - held_to, dtype="float32", always_2d=True).T
            more = np.asarray(sum(channels) / np.float32(len(channels)))
            self._held = np.concatenate([self._held, more])
        self._held = self._held[len(self._held) - (max(last, held_to) - first) :]
        self._begin = first
        out = np.zeros(WINDOW, dtype=np.float32)
        out[first - start : first - start + last - first] = self._held[: last - first]
        return out


def loudest(levels: Array) -> float:
    """Return the level in dB that is drawn at full brightness."""
    return max(float(levels.max()), FAINTEST_DB)
