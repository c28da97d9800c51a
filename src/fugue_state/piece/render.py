"""A score to a finished file: block by block, in constant memory, all or nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np

from fugue_state.audio import io
from fugue_state.audio.io import Samples
from fugue_state.audio.limiter import Limiter
from fugue_state.audio.loudness import SILENT_LUFS, LoudnessMeter
from fugue_state.config import VERSION, Score
from fugue_state.errors import FugueError
from fugue_state.measure.sound import SoundCheck
from fugue_state.memory.memory import Memory
from fugue_state.piece.instrument import Instrument, play
from fugue_state.piece.score import events
from fugue_state.progress import Track, untracked

BLOCK_S = 1.0
END_FADE_S = 0.05
CORRECTIONS, CLOSE_ENOUGH_LU = 6, 0.1


@dataclass(frozen=True)
class Report:
    """What a finished file measures."""

    path: str
    duration_s: float
    sample_rate_hz: int
    loudness_lufs: float
    true_peak_dbtp: float
    largest_step: float
    longest_silence_s: float


def render(
    score: Score,
    memory: Memory,
    out: str | Path,
    *,
    force: bool = False,
    track: Track = untracked,
    block_s: float = BLOCK_S,
) -> Report:
    """Render a score to a WAV or FLAC file and return what it measures.

    Two passes: the first plays into a scratch file and measures the loudness, the second brings
    it to the level asked for, below the ceiling. Beside it, a JSON file says how to make it again.
    Raises InputError before any work if the output cannot be written, OutputError if the disk
    fills up, FugueError for sound that is not a number; then no file is left.
    """
    path = io.output_path(out, force=force, suffixes=tuple(io.OUTPUT_FORMATS))
    recipe = io.output_path(path.with_suffix(".json"), force=force)
    rate = score.file.sample_rate_hz
    block = max(1, round(block_s * rate))
    instrument = Instrument(
        memory,
        sample_rate_hz=rate,
        envelope=score.envelope,
        tone=score.tone,
        reverb=score.reverb,
        seed=score.seed,
    )
    played = (b.samples for b in play(instrument, events(score, memory), score.samples, block))
    comment = json.dumps(provenance(score, memory), separators=(",", ":"))
    with (
        io.Writer(path, rate, frames=score.samples, subtype=score.file.subtype, comment=comment) as writer,
        io.scratch_file(path.parent) as scratch,
        io.scratch_file(path.parent) as done,
    ):
        lufs = _record(track(played, -(-score.samples // block), "playing"), scratch, score)
        meter, check = _master(scratch, lufs, done, score, block)
        for finished in _recorded(done, block):
            writer.write(finished)
    report = Report(
        path=str(path),
        duration_s=round(score.samples / rate, 3),
        sample_rate_hz=rate,
        loudness_lufs=round(meter.integrated_lufs, 2),
        true_peak_dbtp=round(float(meter.true_peak_dbtp), 2),
        largest_step=round(check.largest_step, 4),
        longest_silence_s=round(check.longest_silence_s, 3),
    )
    write_json(recipe, provenance(score, memory) | {"measured": asdict(report)})
    return report


def provenance(score: Score, memory: Memory) -> dict[str, Any]:
    """Return what is needed to make a file again."""
    return {
        "made_by": f"fugue-state {VERSION}",
        "memory": memory.header.name,
        "memory_sha256": memory.fingerprint,
        "score": score.model_dump(mode="json"),
    }


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write a JSON file, all or nothing."""
    with io.replacing(path) as beside:
        beside.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def _record(blocks: Iterator[Samples], scratch: IO[bytes], score: Score) -> float:
    """Write blocks to a scratch file; return their loudness in LUFS."""
    meter = LoudnessMeter(score.file.sample_rate_hz, peak=False)
    for number, block in enumerate(blocks):
        if not np.isfinite(block).all():
            raise FugueError(f"sound that is not a number in block {number}; nothing was written")
        meter.add(block)
        scratch.write(block.astype("<f4").tobytes())
    meter.finish()
    return meter.integrated_lufs


def _master(
    played: IO[bytes], lufs: float, done: IO[bytes], score: Score, block: int
) -> tuple[LoudnessMeter, SoundCheck]:
    """Bring what was played to its loudness, limited, into another scratch file; return what that measures.

    Where peaks are limited the piece comes out quieter than the gain alone would make it; then what is missing
    is added and it is done again, as often as needed. What is all but silent stays so, instead of being lifted
    into noise.
    """
    rate, target = score.file.sample_rate_hz, score.master.loudness_lufs
    gain_db = target - lufs if lufs > SILENT_LUFS else 0.0
    for _ in range(CORRECTIONS):
        meter, check = LoudnessMeter(rate), SoundCheck(rate)
        done.seek(0)
        for out in _faded(_limited(_recorded(played, block), 10.0 ** (gain_db / 20.0), score), score):
            meter.add(out)
            check.add(out)
            done.write(out.astype("<f4").tobytes())
        meter.finish()
        missing_db = target - meter.integrated_lufs
        if lufs <= SILENT_LUFS or abs(missing_db) < CLOSE_ENOUGH_LU:
            break
        gain_db += missing_db
    return meter, check


def _recorded(scratch: IO[bytes], block: int) -> Iterator[Samples]:
    scratch.seek(0)
    while data := scratch.read(block * 2 * 4):
        yield np.frombuffer(data, dtype="<f4").reshape(-1, 2)


def _limited(blocks: Iterator[Samples], gain: float, score: Score) -> Iterator[Samples]:
    """Apply gain and limiter; the limiter's lag is taken off the start and made up at the end."""
    limiter = Limiter(score.master.ceiling_dbtp, score.file.sample_rate_hz)
    past, lag = limiter.silence(), limiter.delay
    flush = np.zeros((limiter.delay, 2), dtype=np.float32)
    for block in chain(blocks, [flush]):
        out, past = limiter(block * np.float32(gain), past)
        skipped = min(lag, len(out))
        lag -= skipped
        yield out[skipped:]


def _faded(blocks: Iterator[Samples], score: Score) -> Iterator[Samples]:
    """Fade the last moments, where reverb may still sound."""
    fade = min(score.samples, round(END_FADE_S * score.file.sample_rate_hz))
    position = 0
    for block in blocks:
        left = score.samples - position - np.arange(len(block)) - 1
        position += len(block)
        yield block * np.clip(left / fade, 0.0, 1.0).astype(np.float32)[:, None]
