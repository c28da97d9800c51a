"""Cutting long recordings into clips: at clear onsets, otherwise one image length after another."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from fugue_state.arrays import Array, Wide
from fugue_state.audio import reading
from fugue_state.audio.io import resample
from fugue_state.config import SLICE_AUTO, SLICE_OFF, ClipConfig, MelSpec, SliceConfig
from fugue_state.corpus.cache import Cache
from fugue_state.corpus.clips import LONG_S, cut, prepare
from fugue_state.corpus.folder import Clip, Corpus
from fugue_state.errors import AudioError, InputError, OutputError, counted, shown
from fugue_state.files import replacing
from fugue_state.progress import Track, untracked

BLOCK_S = 0.01
READ_S = 30.0
BEFORE, AHEAD = 20, 6  # blocks before an onset to compare with, and blocks within which it reaches its level
LEVEL_S = 1.0
FLOOR = 1e-12
TOLERANCE = 1e-3
LEAST_PART = 0.5  # share of a part's length that must remain for an onset to start a part
OVERLAP = 0.25  # share of a part's length by which the part of an onset may overlap the one before
STEADY_DB = 1.0  # a sound that falls no more than this from part to part is sustained
LONGER = 1.2  # in image lengths: recordings that are barely longer are not reported
SHORTEST_S, LONGEST_S = 0.1, 3600.0
METHOD = 1  # raised whenever the same recording would be cut differently


@dataclass(frozen=True)
class Cut:
    """A recording and its parts: its length, where they start, and their length; no starts if it stays whole."""

    duration_s: float
    starts_s: tuple[float, ...] = ()
    length_s: float = 0.0


def slice_length(slicing: str, spec: MelSpec) -> float:
    """Return the length of a part in seconds. Raises InputError for an invalid way of slicing."""
    if slicing in {SLICE_AUTO, SLICE_OFF}:
        return spec.duration_s
    try:
        length_s = float(slicing)
    except ValueError:
        length_s = math.nan
    if not SHORTEST_S <= length_s <= LONGEST_S:
        raise InputError(
            f"slice: {SLICE_AUTO}, {SLICE_OFF} or a number of seconds from {SHORTEST_S:g} to {LONGEST_S:g} "
            f"(got {shown(slicing)})"
        )
    return length_s


def cut_corpus(
    corpus: Corpus,
    spec: MelSpec,
    slicing: str = SLICE_AUTO,
    *,
    cache: Cache | None = None,
    track: Track = untracked,
    config: SliceConfig | None = None,
) -> Corpus:
    """Return a corpus whose long recordings are cut into clips, with a line on how much of them is learned.

    `auto` cuts recordings longer than two images, or if they have a label, longer than 15 s. Clear onsets start a
    part; sustained sound is cut into image lengths; sound that has died away is left out. A number cuts
    every that many seconds. Unless the corpus has a Test split, some parts are held out: those of whole recordings if
    there are several, otherwise the end of each. Raises InputError as `slice_length` does.
    """
    config = config or SliceConfig()
    length_s = slice_length(slicing, spec)
    cuts = _kept(corpus.clips, spec, slicing, length_s, config, cache, track)
    clips = [part for clip, cut in zip(corpus.clips, cuts, strict=True) for part in _parts(clip, cut)]
    if any(clip.start_s is not None for clip in clips) and not corpus.part("Test"):
        clips = _hold_out(clips, config)
    warnings = [*corpus.warnings, *_told(corpus.clips, cuts, clips, spec, slicing)]
    return replace(corpus, clips=clips, warnings=warnings)


def _parts(clip: Clip, cut: Cut | None) -> list[Clip]:
    if cut is None or not cut.starts_s:
        return [clip]
    return [replace(clip, start_s=start, length_s=cut.length_s) for start in cut.starts_s]


def _kept(
    clips: Sequence[Clip],
    spec: MelSpec,
    slicing: str,
    length_s: float,
    config: SliceConfig,
    cache: Cache | None,
    track: Track,
) -> list[Cut | None]:
    """Return how every recording is cut, from the cache if known; None for one that cannot be read."""
    digest = hashlib.sha256(json.dumps([METHOD, spec.duration_s, slicing, config.model_dump()]).encode())
    for clip in clips:
        digest.update(identity(clip))
    path = None if cache is None else cache.path("cuts", f"{digest.hexdigest()[:16]}.json")
    known = _read_cuts(path, len(clips))
    if known is not None:
        return known
    cuts = [_cut(clip, spec, slicing, length_s, config) for clip in track(clips, len(clips), "measuring lengths")]
    if path is not None and cache is not None:
        told = [None if cut is None else [cut.duration_s, cut.starts_s, cut.length_s] for cut in cuts]
        try:
            with replacing(path) as beside:
                beside.write_text(json.dumps(told), encoding="utf-8")
        except OutputError as error:
            cache.say(f"{error}; it is found anew each time")
    return cuts


def identity(clip: Clip) -> bytes:
    """Return what identifies a clip: file, size, modification time, label, part and split."""
    stat = clip.path.stat()
    part = f"|{clip.label}|{stat.st_size}|{stat.st_mtime_ns}|{clip.start_s}|{clip.length_s}|{clip.split}\n"
    return os.fsencode(clip.path.resolve()) + part.encode("utf-8", "surrogateescape")


def _read_cuts(path: Path | None, count: int) -> list[Cut | None] | None:
    if path is None or not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        cuts = [None if cut is None else Cut(float(cut[0]), tuple(map(float, cut[1])), float(cut[2])) for cut in found]
    except (OSError, ValueError, TypeError, IndexError, RecursionError):
        return None
    return cuts if len(cuts) == count else None


def _cut(clip: Clip, spec: MelSpec, slicing: str, length_s: float, config: SliceConfig) -> Cut | None:
    """Measure a recording, and find its parts if it is to be cut; None if it cannot be read."""
    try:
        duration_s = reading.probe(clip.path).duration_s
        if slicing == SLICE_OFF:
            return Cut(duration_s)
        if duration_s <= _longest_s(clip, spec, slicing, length_s, config) + TOLERANCE:
            return Cut(duration_s)
        levels = _levels(clip.path, duration_s)
    except AudioError:
        return None
    starts = part_starts(levels, length_s, config, at_onsets=slicing == SLICE_AUTO)
    return Cut(duration_s, tuple(starts), length_s)


def _longest_s(clip: Clip, spec: MelSpec, slicing: str, length_s: float, config: SliceConfig) -> float:
    """Return the greatest length at which a recording stays one clip."""
    if slicing != SLICE_AUTO:
        return length_s
    longest_s = config.recordings_s * spec.duration_s
    return longest_s if clip.label is None else max(longest_s, config.one_shot_s)


def _levels(path: Path, duration_s: float) -> Wide:
    """Return the mean power of a recording in every 10 ms."""
    starts = np.arange(0.0, duration_s, READ_S)
    powers = []
    for samples, rate in reading.read_parts(path, [(float(start), READ_S) for start in starts]):
        size = max(1, round(BLOCK_S * rate))
        moving = samples - samples.mean(dtype=np.float64) if len(samples) else samples
        powers.append(np.square(moving[: len(moving) // size * size], dtype=np.float64).reshape(-1, size).mean(1))
    return np.concatenate(powers) if powers else np.zeros(0)


def part_starts(power: Wide, length_s: float, config: SliceConfig, *, at_onsets: bool) -> list[float]:
    """Return where the parts of a recording start, in seconds, from its power in every 10 ms.

    An onset starts a part; between onsets, part follows part for as long as the sound is sustained.
    """
    size = max(1, round(length_s / BLOCK_S))
    ears = _Ears(power, size)
    least = ears.loudest() - config.heard_db
    begins = onsets(power, config) if at_onsets else []
    starts: list[int] = []
    for begin, end in zip([0, *begins], [*begins, len(power)], strict=True):
        free = starts[-1] + size if starts else 0
        at = begin if begin >= free - OVERLAP * size else free
        sets_in = begin in begins and at == begin
        sounding = last = -math.inf
        if begin in begins and starts:  # the previous part contains this onset
            sounding, last = ears.level(starts[-1]) - config.decay_db, math.inf
        # Parts after an onset end before the next onset, which starts a part of its own.
        while at < end and (at + LEAST_PART * size <= len(power) if sets_in else at + size <= end):
            level = ears.level(at)
            if level >= least and (sets_in or level >= min(sounding, last - STEADY_DB)):
                starts.append(at)
            if sets_in:
                sounding = level - config.decay_db
            last, sets_in, at = level, False, at + size
    return [round(start * BLOCK_S, 2) for start in starts]


class _Ears:
    """The levels of parts of a recording: the loudest second in each, in dB."""

    def __init__(self, power: Wide, size: int) -> None:
        self._window = min(round(LEVEL_S / BLOCK_S), size, max(1, len(power)))
        self._size = size
        total = np.concatenate([[0.0], np.cumsum(power)])
        self._means = (total[self._window :] - total[: -self._window]) / self._window

    def level(self, at: int) -> float:
        """Return the level of the part that starts at block `at`."""
        return _db(float(self._means[at : at + self._size - self._window + 1].max(initial=0.0)))

    def loudest(self) -> float:
        """Return the level of the loudest second of the recording."""
        return _db(float(self._means.max(initial=0.0)))


def onsets(power: Wide, config: SliceConfig) -> list[int]:
    """Return the blocks at which a sound clearly begins."""
    if len(power) <= BEFORE + AHEAD:
        return []
    level = 10.0 * np.log10(power + FLOOR)
    before = sliding_window_view(level[:-AHEAD], BEFORE).max(axis=1)  # covers blocks i .. i + BEFORE - 1
    ahead = sliding_window_view(level[BEFORE:], AHEAD).max(axis=1)
    count = min(len(before), len(ahead))
    heard = ahead[:count] >= level.max() - config.heard_db + config.onset_db
    rises = (ahead[:count] - before[:count] >= config.onset_db) & heard
    firsts = np.flatnonzero(rises & ~np.concatenate([[False], rises[:-1]])) + BEFORE
    return [_at(level, int(first), config) for first in firsts]


def _at(level: Wide, first: int, config: SliceConfig) -> int:
    """Return the block in which a rise begins: the one before the first that stands out."""
    floor = level[first - BEFORE : first].max()
    outside = np.flatnonzero(level[first : first + AHEAD] >= floor + config.onset_db / 3.0)
    return max(0, first + int(outside[0]) - 1)


def _db(power: float) -> float:
    return 10.0 * math.log10(power + FLOOR)


def _hold_out(clips: Sequence[Clip], config: SliceConfig) -> list[Clip]:
    """Return the clips with some parts moved to Test: whole recordings if there are several, otherwise their ends."""
    by_class: dict[str | None, dict[Path, list[Clip]]] = defaultdict(lambda: defaultdict(list))
    for clip in clips:
        if clip.start_s is not None:
            by_class[clip.label][clip.path].append(clip)
    held: set[Clip] = set()
    for recordings in by_class.values():
        parts = list(recordings.values())
        if sum(map(len, parts)) < config.fewest_clips:
            continue
        if len(parts) >= config.fewest_recordings:
            count = max(1, round(config.held_out_share * len(parts)))
            held.update(part for i in range(count) for part in parts[(2 * i + 1) * len(parts) // (2 * count)])
        else:
            held.update(part for each in parts for part in each[len(each) - int(config.held_out_share * len(each)) :])
    return [replace(clip, split="Test") if clip in held else clip for clip in clips]


def _told(
    files: Sequence[Clip], cuts: Sequence[Cut | None], clips: Sequence[Clip], spec: MelSpec, slicing: str
) -> Iterator[str]:
    """Report how many clips came from how many recordings, and how much of long recordings is not learned."""
    image_s = spec.duration_s
    known = [cut for cut in cuts if cut is not None]
    cut_up = [cut for cut in known if cut.starts_s]
    if cut_up:
        whole_s = sum(cut.duration_s for cut in cut_up)
        learned_s = sum(_covered(cut, image_s) for cut in cut_up)
        parts = [clip for clip in clips if clip.start_s is not None]
        held = [clip for clip in parts if clip.split == "Test"]
        origin = counted(len(cut_up), "long recording")
        line = (
            f"{counted(len(parts), 'clip was', 'clips were')} cut from {origin} of {_time(whole_s)} in all; "
            f"{_time(max(0.0, whole_s - learned_s))} of that is in no clip (ends, silence, what has died away)"
        )
        if held and not any(clip.split == "Test" for clip in files):
            recordings = counted(len({clip.path for clip in held}), "recording")
            line += f"; held out for testing: {counted(len(held), 'clip')} of {recordings}"
        yield line + f"; --slice {SLICE_OFF} learns the beginning of each only"
    longer = [cut for cut in known if not cut.starts_s and cut.duration_s > LONGER * image_s]
    if longer:
        those = f"of {counted(len(known), 'recording')}"
        lost_s = sum(cut.duration_s - image_s for cut in longer)
        how = f"--slice {image_s:.3g} cuts them" if slicing != f"{image_s:.3g}" else "they hold nothing to cut"
        yield (
            f"{counted(len(longer), f'{those} is', f'{those} are')} longer than an image of {image_s:.1f} s: of each, "
            f"what comes {image_s:.1f} s after its onset is not learned ({_time(lost_s)} in all); {how}"
        )


def _covered(cut: Cut, image_s: float) -> float:
    """Return how many seconds of a recording are covered by its parts."""
    length_s, covered, end = min(cut.length_s, image_s), 0.0, 0.0
    for start in cut.starts_s:
        stop = min(start + length_s, cut.duration_s)
        covered += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return covered


def _time(seconds: float) -> str:
    """Return a time in its usual form: 12 s, 10:00 min, 3:00 h."""
    if seconds < 60.0:
        return f"{seconds:.0f} s"
    unit, small, name = (60, 1, "min") if seconds < 3600.0 else (3600, 60, "h")
    whole, rest = divmod(round(seconds / small), unit // small)
    return f"{whole}:{rest:02d} {name}"


@dataclass(frozen=True)
class Heard:
    """A clip as read: samples (N,), their rate and the file's channels; or why it cannot be read."""

    clip: Clip
    samples: Array
    sample_rate_hz: int
    channels: int = 0
    fault: str = ""


def read_clips(clips: Sequence[Clip]) -> Iterator[Heard]:
    """Read clips at their own rates, in order; consecutive parts of a recording are read in a single pass."""
    at = 0
    while at < len(clips):
        end = at + 1
        while end < len(clips) and _follows(clips[end - 1], clips[end]):
            end += 1
        yield from _hear_file(clips[at:end])
        at = end


def _follows(one: Clip, other: Clip) -> bool:
    later = one.start_s is not None and other.start_s is not None and other.start_s >= one.start_s
    return later and other.path == one.path


def _hear_file(clips: Sequence[Clip]) -> Iterator[Heard]:
    """Read a whole file, or parts of one."""
    done = 0
    path = clips[0].path
    try:
        if clips[0].start_s is None:
            samples, facts = reading.read_with_facts(path)
            yield Heard(clips[0], samples, facts.sample_rate_hz, facts.channels)
            return
        channels = reading.probe(path).channels
        spans = [(clip.start_s or 0.0, clip.length_s or 0.0) for clip in clips]
        for clip, (samples, rate) in zip(clips, reading.read_parts(path, spans), strict=True):
            try:
                yield Heard(clip, reading.check(samples, str(path)), rate, channels)
            except AudioError as error:
                yield _unheard(clip, error)
            done += 1
    except AudioError as error:
        yield from (_unheard(clip, error) for clip in clips[done:])


def _unheard(clip: Clip, error: AudioError) -> Heard:
    return Heard(clip, np.zeros(0, dtype=np.float32), 0, fault=str(error).removeprefix(f"{clip.path}: "))


def ready(heard: Heard, sample_rate_hz: int, length: int, config: ClipConfig) -> Array:
    """Return a clip prepared for training: a whole file from its onset, a part from where it was cut."""
    samples, rate, from_onset = heard.samples, heard.sample_rate_hz, heard.clip.start_s is None
    if from_onset and len(samples) > LONG_S * rate:
        samples, from_onset = cut(samples, rate, length / sample_rate_hz, config), False
    return prepare(resample(samples, rate, sample_rate_hz), sample_rate_hz, length, config, from_onset=from_onset)
