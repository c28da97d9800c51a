"""Playing any sound through a memory's mel and inverter, in segments, so that memory use stays small."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO

import numpy as np

from fugue_state.arrays import Array
from fugue_state.audio import io, reading
from fugue_state.audio.mel import MelTransform
from fugue_state.config import ClipConfig, ResynthConfig
from fugue_state.corpus.clips import loudest_rms
from fugue_state.errors import AudioError, FugueError, InputError
from fugue_state.files import output_path, scratch_file
from fugue_state.measure.fidelity import chroma_error, log_spectral_error
from fugue_state.memory.memory import Memory
from fugue_state.output.provenance import MADE_BY, made_with
from fugue_state.progress import Track, untracked

PEAK = 0.99
LEAST = 1e-12
MOST_OPPOSED = -0.5  # sounds that cancel each other more than this are not amplified further
FLAC_CHANNELS = 8


@dataclass(frozen=True)
class Resynthesis:
    """The result of a resynthesis: the file, the errors, and how long it took.

    Errors are measured below 8 kHz at the rate of the mel, and averaged over all channels that are not silent.
    `seconds` covers only the way through the mel and back. `turned_down_db` is how much the sound was attenuated so
    as not to clip.
    """

    path: str
    duration_s: float
    sample_rate_hz: int
    channels: int
    log_spectral_error_db: float
    chroma_error: float
    seconds: float
    times_real_time: float
    turned_down_db: float


def resynth_file(
    source: str | Path,
    memory: Memory,
    out: str | Path,
    *,
    config: ResynthConfig | None = None,
    force: bool = False,
    about: Mapping[str, str] | None = None,
    track: Track = untracked,
) -> Resynthesis:
    """Play a sound file through a memory's mel and inverter into a WAV or FLAC file of the same rate and length.

    `about` is added to the record in the file's comment. Raises InputError before any work if the output cannot be
    written, AudioError for a source that is not a sound, OutputError if the disk fills up; then no file is left.
    """
    config = config or ResynthConfig()
    path = output_path(out, force=force, suffixes=tuple(io.OUTPUT_FORMATS), reads=[source])
    sound, rate = reading.read_channels(source)
    channels = sound.shape[1]
    if path.suffix.casefold() == ".flac" and channels > FLAC_CHANNELS:
        raise InputError(f"FLAC holds up to {FLAC_CHANNELS} channels, {source} has {channels}; choose a .wav file")
    told = {"made_by": MADE_BY, "source": Path(source).name} | made_with(memory) | dict(about or {})
    comment = json.dumps(told, separators=(",", ":"))
    borders = _borders(len(sound), rate, config)
    with (
        io.Writer(path, rate, frames=len(sound), channels=channels, subtype=config.subtype, comment=comment) as writer,
        scratch_file(path.parent) as scratch,
    ):
        begin = time.perf_counter()
        made = resynthesized(sound, rate, memory, config)
        peak = _record(track(made, len(borders) - 1, "through the mel"), scratch)
        seconds = time.perf_counter() - begin
        gain = min(1.0, PEAK / max(peak, PEAK))
        lost = _Losses(memory.spec.sample_rate_hz, rate)
        for (start, end), block in zip(pairwise(borders), _recorded(scratch, borders, channels), strict=True):
            lost.add(sound[start:end], block)
            writer.write(block * np.float32(gain))
    return Resynthesis(
        path=str(path),
        duration_s=round(len(sound) / rate, 3),
        sample_rate_hz=rate,
        channels=channels,
        log_spectral_error_db=round(lost.log_spectral_error_db, 3),
        chroma_error=round(lost.chroma_error, 4),
        seconds=round(seconds, 3),
        times_real_time=round(len(sound) / rate / seconds, 1),
        turned_down_db=round(20.0 * float(np.log10(1.0 / gain)), 2),
    )


def resynthesized(
    sound: Array, sample_rate_hz: int, memory: Memory, config: ResynthConfig | None = None
) -> Iterator[Array]:
    """Yield a sound (N, channels) after a memory's mel and inverter, block after block (n, channels).

    Channels are processed separately, with one gain for all: to the level of training clips, or lower if a band would
    exceed the mel's ceiling. The gain is undone afterwards. Segments overlap and are crossfaded at equal power, since
    their phases are unrelated. Raises AudioError for other shapes.
    """
    if sound.ndim != 2 or not sound.size:
        raise AudioError(f"a sound (N, channels) is needed, got {sound.shape}")
    config = config or ResynthConfig()
    borders = _borders(len(sound), sample_rate_hz, config)
    gain = _gain(sound, sample_rate_hz, memory, borders)
    fade = round(config.fade_s * sample_rate_hz)
    tail = np.zeros((0, sound.shape[1]), dtype=np.float32)
    for start, end in pairwise(borders):
        after = fade if end < len(sound) else 0
        made = _segment(sound, start, end + after, sample_rate_hz, memory, gain, config)
        if len(tail):
            made[: len(tail)] = _faded(tail, made[: len(tail)])
        yield made[: end - start]
        tail = made[end - start :]


def _faded(old: Array, new: Array) -> Array:
    """Crossfade two sounds (n, channels) at equal power, taking their correlation into account."""
    rising = np.sin(np.linspace(0.0, np.pi / 2.0, len(old), dtype=np.float32))[:, None]
    falling = rising[::-1]
    size = np.sqrt((old**2).sum(axis=0) * (new**2).sum(axis=0)) + LEAST
    alike = np.maximum((old * new).sum(axis=0) / size, MOST_OPPOSED)
    faded: Array = (falling * old + rising * new) / np.sqrt(1.0 + 2.0 * alike * rising * falling)
    return faded


def _borders(count: int, sample_rate_hz: int, config: ResynthConfig) -> list[int]:
    """Return where blocks begin and end; the last one is longer than a fade."""
    length, fade = (round(seconds * sample_rate_hz) for seconds in (config.segment_s, config.fade_s))
    return [0, *range(length, count - fade, length), count]


def _gain(sound: Array, sample_rate_hz: int, memory: Memory, borders: Sequence[int]) -> float:
    """Return the gain to apply before the mel."""
    spec, transform = memory.spec, MelTransform(memory.spec)
    blocks = [sound[start:end] for start, end in pairwise(borders)]
    loudest = max(loudest_rms(channel, sample_rate_hz) for block in blocks for channel in block.T)
    gain = _amplitude(ClipConfig().level_dbfs) / loudest
    # At this level every band is certainly within the mel's range.
    below_db = spec.range_db / 2.0
    highest = -1.0
    for block in blocks:
        at_rate = _padded(io.resample(block, sample_rate_hz, spec.sample_rate_hz), spec.hop)
        mel = transform.encode(at_rate.T * np.float32(gain * _amplitude(-below_db)))
        highest = max(highest, float(mel.max()))
    over_db = (highest - 1.0) * spec.range_db / 2.0 + below_db
    return gain * _amplitude(-max(0.0, over_db))


def _amplitude(level_db: float) -> float:
    return float(10.0 ** (level_db / 20.0))


def _padded(sound: Array, hop: int) -> Array:
    """Pad a sound (N, channels) with silence to whole frames."""
    return np.pad(sound, ((0, -len(sound) % hop), (0, 0)))


def _segment(
    sound: Array, start: int, end: int, sample_rate_hz: int, memory: Memory, gain: float, config: ResynthConfig
) -> Array:
    """Take samples `start` to `end` of a sound (N, channels) through the mel, with context on both sides."""
    context = round(config.context_s * sample_rate_hz)
    first, last = max(0, start - context), min(len(sound), end + context)
    silence = (first - start + context, end + context - last)
    whole = np.pad(sound[first:last], (silence, (0, 0))) * np.float32(gain)
    spec = memory.spec
    at_rate = _padded(io.resample(whole, sample_rate_hz, spec.sample_rate_hz), spec.hop)
    mel = MelTransform(spec).encode(at_rate.T)
    made = io.resample(memory.invert(mel).T, spec.sample_rate_hz, sample_rate_hz)[context:][: end - start]
    missing = end - start - len(made)  # resampling may round the length down
    return np.pad(made, ((0, missing), (0, 0))) / np.float32(gain)


def _record(blocks: Iterator[Array], scratch: IO[bytes]) -> float:
    """Write blocks to a scratch file; return their peak."""
    peak = 0.0
    for number, block in enumerate(blocks):
        if not np.isfinite(block).all():
            raise FugueError(f"sound that is not a number in block {number}; nothing was written")
        peak = max(peak, float(np.abs(block).max()))
        scratch.write(block.astype("<f4").tobytes())
    return peak


def _recorded(scratch: IO[bytes], borders: Sequence[int], channels: int) -> Iterator[Array]:
    scratch.seek(0)
    for start, end in pairwise(borders):
        data = scratch.read((end - start) * channels * 4)
        yield np.frombuffer(data, dtype="<f4").reshape(-1, channels)


class _Losses:
    """Mean errors over blocks, weighted by length; silent channels are left out."""

    def __init__(self, sample_rate_hz: int, from_hz: int) -> None:
        self._rate, self._from_hz = sample_rate_hz, from_hz
        self._weight = 0
        self._sums = np.zeros(2)

    def add(self, reference: Array, sound: Array) -> None:
        """Compare two blocks (n, channels) at the rate of the mel."""
        heard = np.abs(reference - reference.mean(axis=0)).max(axis=0) >= reading.SILENCE
        if not heard.any():
            return
        one, other = (
            np.ascontiguousarray(io.resample(part[:, heard], self._from_hz, self._rate).T)
            for part in (reference, sound)
        )
        weight = int(heard.sum()) * len(sound)
        apart = [float(measure(one, other, self._rate).mean()) for measure in (log_spectral_error, chroma_error)]
        self._sums += weight * np.array(apart)
        self._weight += weight

    @property
    def log_spectral_error_db(self) -> float:
        """The mean log-spectral error in dB."""
        return float(self._sums[0] / self._weight)

    @property
    def chroma_error(self) -> float:
        """The mean chroma error."""
        return float(self._sums[1] / self._weight)
