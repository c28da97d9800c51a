"""Reading sound files: mono or stereo float32 arrays, whole or in parts, resampled on request."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from fugue_state.arrays import Array
from fugue_state.audio import speakers
from fugue_state.audio.decoding import Source, opened
from fugue_state.audio.io import resample
from fugue_state.errors import AudioError, a_folder, counted
from fugue_state.limits import SOUND_HELD, SOUND_LENGTH

# Suffixes of sound files to look for in folders; how a file is read depends on its content only.
ENDINGS = (
    ".wav", ".flac", ".aif", ".aiff", ".ogg", ".mp3", ".au", ".w64", ".caf",
    ".wave", ".bwf", ".bw64", ".rf64", ".aifc", ".aiffc", ".snd", ".voc", ".sph", ".nist", ".oga", ".opus", ".spx",
    ".m4a", ".m4b", ".m4r", ".mp4", ".m4v", ".mov", ".3gp", ".3gpp", ".3g2", ".aac", ".adts", ".alac",
    ".mp2", ".mp1", ".mpga", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".webm", ".weba", ".mkv", ".mka", ".ogv", ".ogx",
    ".wma", ".wmv", ".asf", ".avi", ".flv", ".amr", ".ac3", ".eac3", ".dts", ".wv", ".ape", ".tta", ".tak", ".mpc",
    ".dsf", ".dff",
)  # fmt: skip
SILENCE = 1e-4  # -80 dBFS: below this peak a file holds nothing to learn from
FEWEST = 3
SHORTEST_S = 0.001  # anything shorter is not even a click


@dataclass(frozen=True)
class SoundFacts:
    """A sound file's true length, rate and channels."""

    samples: int
    sample_rate_hz: int
    channels: int

    @property
    def duration_s(self) -> float:
        """Its length in seconds."""
        return self.samples / self.sample_rate_hz


def is_sound(path: str | Path) -> bool:
    """Say whether a file has the suffix of a sound file."""
    return Path(path).suffix.casefold() in ENDINGS


def sound_files(folder: str | Path) -> list[Path]:
    """Return all sound files below a folder, sorted; AudioError if the folder is missing."""
    folder = Path(folder)
    if not folder.is_dir():
        raise AudioError(a_folder(folder))
    return sorted(p for p in folder.rglob("*") if is_sound(p) and p.is_file())


def probe(path: str | Path) -> SoundFacts:
    """Return a file's true length, rate and channels; it is read to its end if its header cannot be trusted.

    Raises AudioError for a file that is missing, unreadable or cut short.
    """
    with opened(path) as source:
        count = source.quick_length()
        if count is None:
            count = sum(len(block) for block in _within(source, path))
        return SoundFacts(count, source.sample_rate_hz, source.channels)


def read(
    path: str | Path,
    sample_rate_hz: int | None = None,
    *,
    stereo: bool = False,
    longest_s: float = math.inf,
) -> tuple[Array, int]:
    """Read a whole sound file.

    Returns samples (N,), or (N, 2) if `stereo`, and their rate in Hz; resampled if a rate is given.
    Channels are mixed by their speakers. Raises AudioError for a file that is missing, unreadable, empty, silent,
    not finite, cut short, shorter than a millisecond or longer than `longest_s`.
    """
    sound, rate, _ = _whole(path, stereo=stereo, longest_s=longest_s)
    target = sample_rate_hz or rate
    return resample(check(sound, str(path), _fewest(rate)), rate, target), target


def read_with_facts(path: str | Path) -> tuple[Array, SoundFacts]:
    """Read a whole sound file as `read` does, at its own rate, and return its facts."""
    sound, rate, channels = _whole(path)
    return check(sound, str(path), _fewest(rate)), SoundFacts(len(sound), rate, channels)


def read_impulse(path: str | Path, sample_rate_hz: int, longest_s: float) -> Array:
    """Read the impulse response (N, 2) of a room; one sample is enough, as long as it is not zero."""
    sound, rate, _ = _whole(path, stereo=True, longest_s=longest_s)
    return resample(check(sound, str(path), fewest=1, offset=True), rate, sample_rate_hz)


def read_channels(path: str | Path) -> tuple[Array, int]:
    """Read every channel of a whole sound file: samples (N, channels) and their rate in Hz.

    Raises AudioError as `read` does.
    """
    with opened(path) as source:
        rate = source.sample_rate_hz
        return check(_joined(_within(source, path), path), str(path), _fewest(rate)), rate


def read_parts(
    path: str | Path, parts: Sequence[tuple[float, float]], sample_rate_hz: int | None = None
) -> Iterator[tuple[Array, int]]:
    """Yield parts (start and length in s, sorted by start) of a file in a single pass, mixed to mono (N,).

    Each comes with its rate, and is resampled if a rate is given. A part is shorter, or empty, if the file ends early.
    Parts may overlap. They are not checked for silence, since a quiet part may belong to a longer sound. Raises
    AudioError as `read` does.
    """
    with opened(path) as source:
        rate = source.sample_rate_hz
        spans = [(round(start * rate), round((start + length) * rate)) for start, length in parts]
        target = sample_rate_hz or rate
        for sound in _spans(source, path, spans):
            yield resample(sound, rate, target), target


def read_part(
    path: str | Path, start_s: float, length_s: float, sample_rate_hz: int | None = None
) -> tuple[Array, int]:
    """Return one part of a file as `read_parts` does, without reading further."""
    return next(read_parts(path, [(start_s, length_s)], sample_rate_hz))


def _fewest(sample_rate_hz: int) -> int:
    """Return the smallest number of samples allowed."""
    return max(FEWEST, math.ceil(SHORTEST_S * sample_rate_hz))


def _whole(path: str | Path, *, stereo: bool = False, longest_s: float = math.inf) -> tuple[Array, int, int]:
    """Return all samples of a file, its rate and its number of channels."""
    mix = speakers.stereo if stereo else speakers.mono
    with opened(path) as source:
        length_s = (source.quick_length() or 0) / source.sample_rate_hz
        if length_s > longest_s:
            raise AudioError(f"{path}: {length_s:.1f} s are too long (at most {longest_s:g} s)")
        mixed = map(partial(mix, speakers=source.speakers), _within(source, path, longest_s))
        return _joined(mixed, path), source.sample_rate_hz, source.channels


def _within(source: Source, path: str | Path, longest_s: float = math.inf, start: int = 0) -> Iterator[Array]:
    """Yield the blocks of a file; AudioError as soon as it exceeds its longest allowed length."""
    count = start
    for block in source.blocks(start):
        count += len(block)
        if count > longest_s * source.sample_rate_hz:
            raise AudioError(f"{path}: more than {longest_s:g} s are too long (at most {longest_s:g} s)")
        if count > SOUND_LENGTH.most * source.sample_rate_hz:
            raise AudioError(f"{path}: {SOUND_LENGTH.passed(count / source.sample_rate_hz)}")
        yield block


def _joined(blocks: Iterable[Array], path: str | Path) -> Array:
    """Return blocks as one array; AudioError if it would be too large."""
    held: list[Array] = []
    values = 0
    for block in blocks:
        values += block.size
        if values > SOUND_HELD.most:
            raise AudioError(f"{path}: {SOUND_HELD.passed(values)}")
        held.append(block)
    if not held:
        raise AudioError(f"{path}: 0 samples are too few to be a sound")
    return held[0] if len(held) == 1 else np.concatenate(held)


def _spans(source: Source, path: str | Path, spans: Sequence[tuple[int, int]]) -> Iterator[Array]:
    """Yield spans (start, end) of a sound, sorted by start, as mono (n,)."""
    if not spans:
        return
    mix: Callable[[Array], Array] = partial(speakers.mono, speakers=source.speakers)
    at = spans[0][0]
    held, blocks = np.zeros(0, dtype=np.float32), _within(source, path, start=at)
    for start, end in spans:
        needed, count = [held], len(held)
        while at + count < end and (block := next(blocks, None)) is not None:
            needed.append(mix(block))
            count += len(block)
            while needed and at + len(needed[0]) <= start:
                at, count = at + len(needed[0]), count - len(needed.pop(0))
            if count > SOUND_HELD.most:
                raise AudioError(f"{path}: {SOUND_HELD.passed(count)}")
        joined = np.concatenate([*needed, held[:0]])
        held = joined[max(0, start - at) :]
        at += len(joined) - len(held)
        yield held[: max(0, end - start)]


def check(samples: Array, name: str, fewest: int = FEWEST, *, offset: bool = False) -> Array:
    """Return `samples` (N,) or (N, channels) if they are usable as sound, else raise AudioError with their name.

    A constant signal counts as silent, unless `offset` is set.
    """
    if not np.isfinite(samples).all():
        raise AudioError(f"{name}: holds values that are not numbers (NaN or infinity)")
    if len(samples) < fewest:
        raise AudioError(f"{name}: {counted(len(samples), 'sample is', 'samples are')} too few to be a sound")
    middle = 0.0 if offset else samples.mean(axis=0, dtype=np.float64)
    peak = float(np.maximum(samples.max(axis=0) - middle, middle - samples.min(axis=0)).max())
    if peak < SILENCE:
        raise AudioError(f"{name}: silent (peak {20 * np.log10(max(peak, 1e-9)):.0f} dBFS)")
    return samples
