"""Warnings about a folder of sounds before hours of training: what is likely to go wrong, and what to do about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
from scipy import fft

from fugue_state.arrays import Array
from fugue_state.config import AdviceConfig, MelSpec
from fugue_state.corpus.clips import centred, loudest_rms
from fugue_state.corpus.folder import Clip, readable
from fugue_state.errors import counted

Mels = npt.NDArray[np.float16]  # (n, M, T) in [-1, 1]

WINDOW = 4096
LOWEST_CUT_HZ = 2500.0  # lower cutoffs are not looked for: a sound may simply have no higher partials
CUT_DB = 30.0  # no instrument's spectrum falls this far within a few semitones; the filter of a resampler does
BELOW, ABOVE, TOP = 0.8, 1.08, 0.98  # band edges: relative to the cut, to the cut, to half the rate
CUTS_AGREE = 0.1
TINY = 1e-12
MOST_COMPARED = 1000
NAMED = 4
FRAMES_STEP = 32


@dataclass(frozen=True)
class ClipFacts:
    """A clip as it was recorded: folder and name, native rate, length, level of the loudest second, bandwidth."""

    name: str
    sample_rate_hz: int
    duration_s: float
    level_dbfs: float
    bandwidth_hz: float


def clip_facts(clip: Clip, samples: Array, sample_rate_hz: int) -> ClipFacts:
    """Return the facts of a clip from its sound (N,) at its native rate."""
    name = readable(f"{clip.path.parent.name}/{clip.path.name}")
    if clip.start_s is not None:
        name = f"{name} from {clip.start_s:.2f} s"
    level_dbfs = 20.0 * float(np.log10(loudest_rms(samples, sample_rate_hz)))
    band = bandwidth(samples, sample_rate_hz)
    return ClipFacts(name, sample_rate_hz, len(samples) / sample_rate_hz, round(level_dbfs, 2), round(band, 1))


def bandwidth(samples: Array, sample_rate_hz: int) -> float:
    """Return the frequency in Hz at which the spectrum of a sound (N,) is cut off; half its rate if it is not.

    A cut is where the second after the peak loses 30 dB abruptly and for good, as it does after resampling
    or a lossy codec. A dull sound falls off gradually and does not count as cut.
    """
    half = sample_rate_hz / 2.0
    start = max(0, int(np.abs(centred(samples)).argmax()) - WINDOW // 2)
    second = samples[start : start + max(sample_rate_hz, WINDOW)]
    whole = np.pad(second, (0, max(0, WINDOW - len(second))))
    frames = whole[: len(whole) // WINDOW * WINDOW]
    windowed = frames.reshape(-1, WINDOW) * np.hanning(WINDOW).astype(np.float32)
    power = np.square(np.abs(fft.rfft(windowed))).mean(axis=0)
    bins_hz = np.fft.rfftfreq(WINDOW, 1.0 / sample_rate_hz)
    total = np.concatenate([[0.0], np.cumsum(power, dtype=np.float64)])
    end = int(TOP * (len(bins_hz) - 1))
    cuts = np.flatnonzero((bins_hz >= LOWEST_CUT_HZ) & (bins_hz * ABOVE < TOP * TOP * half))
    if len(cuts) == 0:
        return half
    low, high = (BELOW * cuts).astype(np.int64), np.ceil(ABOVE * cuts).astype(np.int64)
    below = (total[cuts + 1] - total[low]) / (cuts + 1 - low)
    above = (total[end + 1] - total[high]) / (end + 1 - high)
    fall_db = 10.0 * np.log10((below + TINY) / (np.maximum(above, 0.0) + TINY))
    best = int(fall_db.argmax())
    return float(bins_hz[cuts[best]]) if fall_db[best] >= CUT_DB else half


def advise(
    facts: Sequence[ClipFacts],
    spec: MelSpec,
    *,
    classes: Sequence[str] = (),
    mels: Mels | None = None,
    config: AdviceConfig | None = None,
) -> list[str]:
    """Return one line for everything that will harm learning, each with what to do about it.

    `classes` names the class of every clip, empty without labels; with `mels` (n, M, T), similar clips are reported.
    """
    config = config or AdviceConfig()
    if not facts:
        return []
    lines = [*_counts(len(facts), classes, config), *_recordings(facts, spec, config)]
    if mels is not None:
        lines += _likeness(facts, mels, spec, config)
    return lines


def _counts(count: int, classes: Sequence[str], config: AdviceConfig) -> Iterator[str]:
    if count < config.fewest_clips:
        yield (
            f"{counted(count, 'clip is', 'clips are')} few: below {config.fewest_clips} a memory tends to repeat "
            "single clips or to blur; add recordings"
        )
    sizes = Counter(classes).most_common()
    few = [f"{name} ({size})" for name, size in sizes if size < config.fewest_in_class]
    if few:
        more = f" and {len(few) - NAMED} more" if len(few) > NAMED else ""
        yield (
            f"too few clips in {', '.join(few[-NAMED:])}{more}: add recordings, up to {config.fewest_in_class} "
            "at least, or leave these classes out"
        )
    if sizes and sizes[0][1] > config.evenness * sizes[-1][1]:
        (largest, most), (smallest, least) = sizes[0], sizes[-1]
        yield (
            f"classes are uneven, {largest} has {counted(most, 'clip')} and {smallest} {least}: the small ones will be "
            f"learned badly; even them out to within {config.evenness:g} to 1"
        )


def _recordings(facts: Sequence[ClipFacts], spec: MelSpec, config: AdviceConfig) -> Iterator[str]:
    quiet = [f for f in facts if f.level_dbfs < config.quiet_dbfs]
    if len(quiet) > config.quiet_share * len(facts):
        yield (
            f"{_share(quiet, facts)} quieter than {config.quiet_dbfs:g} dBFS: every clip is brought to one level, so "
            "their noise will be learned as well; record them louder or leave them out"
        )
    short = [f for f in facts if f.duration_s < config.short_part * spec.duration_s]
    if len(short) > config.short_share * len(facts):
        yield (
            f"{_share(short, facts)} much shorter than the {spec.duration_s:.1f} s of an image, which is then mostly "
            f"padding; use longer clips, or shorter images: --frames {_frames(short, spec)}"
        )
    yield from _bands(facts, spec, config)


def _bands(facts: Sequence[ClipFacts], spec: MelSpec, config: AdviceConfig) -> Iterator[str]:
    """Report clips that end below the highest band, if others do not and the cutoff looks technical, not musical."""
    dull = [f for f in facts if f.bandwidth_hz < config.band_part * spec.fmax_hz]
    if not config.band_share * len(facts) < len(dull) < (1.0 - config.band_share) * len(facts):
        return
    end_hz = float(np.median([f.bandwidth_hz for f in dull]))
    by_rate = sum(f.sample_rate_hz / 2.0 < config.band_part * spec.fmax_hz for f in dull)
    agreed = sum(abs(f.bandwidth_hz - end_hz) < CUTS_AGREE * end_hz for f in dull)
    if max(by_rate, agreed) * 2 >= len(dull):
        some = _some(dull)
        end = counted(len(dull), f"clip ({some}) ends", f"clips ({some}) end")
        reach = counted(len(facts) - len(dull), "reaches", "reach")
        yield (
            f"mixed in band: {end} at about {round(end_hz, -2):.0f} Hz, {reach} {spec.fmax_hz:.0f} Hz; "
            f"leave the former out, or learn all with --fmax {100 * int(end_hz / 100.0)}"
        )


def _frames(facts: Sequence[ClipFacts], spec: MelSpec) -> int:
    """Return the number of frames for an image about as long as the median of some short clips."""
    length_s = float(np.median([f.duration_s for f in facts]))
    return max(FRAMES_STEP, int(length_s / spec.duration_s * spec.frames) // FRAMES_STEP * FRAMES_STEP)


def _share(some: Sequence[ClipFacts], facts: Sequence[ClipFacts]) -> str:
    those = f"of {counted(len(facts), 'clip')} ({_some(some)})"
    return counted(len(some), f"{those} is", f"{those} are")


def _some(facts: Sequence[ClipFacts]) -> str:
    return f"{facts[0].name} ..." if len(facts) > 1 else facts[0].name


def _likeness(facts: Sequence[ClipFacts], mels: Mels, spec: MelSpec, config: AdviceConfig) -> Iterator[str]:
    firsts: dict[bytes, int] = {}
    copies: list[tuple[int, int]] = []
    for i, mel in enumerate(mels):
        first = firsts.setdefault(blake2b(mel.tobytes(), digest_size=16).digest(), i)
        if first != i:
            copies.append((first, i))
    if copies:
        one, other = copies[0]
        those = f"of {counted(len(facts), 'clip')}"
        yield (
            f"{counted(len(copies), f'{those} is a copy of another', f'{those} are copies of others')} (the first: "
            f"{facts[other].name} of {facts[one].name}): what is doubled is learned twice as much; remove them"
        )
    spread_db = _spread_db(mels, spec)
    if spread_db < config.alike_db:
        yield (
            f"the clips are nearly all alike (they differ by {spread_db:.1f} dB): the memory will know one sound; "
            "add other sounds, unless that is what you want"
        )


def _spread_db(mels: Mels, spec: MelSpec) -> float:
    """Return by how many dB (RMS over bands and frames) the median clip differs from the mean of all clips."""
    some = np.linspace(0, len(mels) - 1, min(len(mels), MOST_COMPARED)).astype(np.int64)
    compared = mels[some].astype(np.float32)
    apart = np.sqrt(np.square(compared - compared.mean(0)).mean(axis=(1, 2)))
    return float(np.quantile(apart, 0.5, method="lower")) * spec.range_db / 2.0
