"""From a score to a finished file: block by block, in constant memory, all or nothing."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from copy import copy
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import soundfile

from fugue_state import asked
from fugue_state.arrays import Array
from fugue_state.audio import io
from fugue_state.audio.compiled import ahead
from fugue_state.audio.limiter import Limiter
from fugue_state.audio.loudness import SILENT_LUFS, LoudnessMeter
from fugue_state.audio.riff import Marker
from fugue_state.config import CHECKPOINT_S
from fugue_state.engine.playing import blocks, length_of
from fugue_state.errors import InputError, unknown
from fugue_state.files import belonging, output_path
from fugue_state.measure.sound import SoundCheck
from fugue_state.output.markers import markers, write_labels
from fugue_state.output.part import (
    Part,
    check_part,
    emptied,
    finish,
    finished,
    is_over,
    part_folder,
    put_in_place,
    working,
)
from fugue_state.output.provenance import MEASURED, PART, START, provenance, read_provenance, write_json
from fugue_state.piece.piece import Piece
from fugue_state.progress import Track, untracked
from fugue_state.score.model import Score
from fugue_state.score.places import at_home
from fugue_state.score.times import read_time, told

BLOCK_S, LONGEST_BLOCK_S = 1.0, 60.0
END_FADE_S = 0.05
LONGEST_STEM = 40  # characters of a voice's name used in its file's name
MEASURED_LATER = 4  # the most blocks waiting to be measured
CORRECTIONS, CLOSE_ENOUGH_LU = 6, 0.2


@dataclass(frozen=True)
class Report:
    """Measurements of a finished file."""

    path: str
    duration_s: float
    sample_rate_hz: int
    loudness_lufs: float
    true_peak_dbtp: float
    largest_step: float
    longest_silence_s: float


def render(
    piece: Piece,
    out: str | Path,
    *,
    force: bool = False,
    resume: bool = False,
    stems: bool = False,
    labels: bool = False,
    from_record: bool = False,
    start: float | str | None = None,
    until: float | str | None = None,
    then: Callable[[], None] = lambda: None,
    track: Track = untracked,
    block_s: float = BLOCK_S,
    checkpoint_s: float = CHECKPOINT_S,
) -> Report:
    """Render a piece to a WAV or FLAC file and return its measurements.

    Two passes: the first plays into a working folder beside the file and measures the loudness, the second
    brings it to the level asked for, below the ceiling. A JSON file beside it says how to make it again.
    Every `checkpoint_s` seconds the folder saves what is needed to continue; after an interruption, `resume`
    continues from there, to the same bytes. If interrupted before the first save, it starts over. Files are moved to
    their places when all are complete; `then` is called before the folder is removed, and again on resuming if it
    was interrupted.

    `stems` are written beside, with the same length and gain, as float WAV: NAME-dry and NAME-reverb, which add up to
    the piece. If it has several voices, there are also NAME-VOICE by the voices' names (NAME-voice-1 and so on without
    names), which add up to dry. A WAV has markers where chords and cues begin; with `labels`, so has NAME.txt.

    What was played live (`resolution = "block"`) is played again to the same samples, and keeps its level unless
    `master.normalize` is set. It has no stems and cannot be resumed midway. With `from_record` a take's file starts
    where its recording began, with the samples that the whole has from there on.

    `start` and `until` are times as in a score: only the part between them is written, with the samples that it has in
    the whole, which is played up to where nothing later has a say in them. The report is of that part.

    Raises InputError before any work if the output cannot be written, if `from_record` finds no recording, if there is
    no part from `start` to `until`, or if the working folder of an interrupted render exists (without `resume` or
    `force`), is missing (with `resume`), or belongs to a different render. OutputError if the disk fills up, FugueError
    for samples that are NaN or infinite; then no file is left.
    """
    asked.kind("piece", piece, Piece, "Piece(score, memory)")
    block_s = asked.number("block_s", block_s, 0.0, LONGEST_BLOCK_S)
    asked.number("checkpoint_s", checkpoint_s, 0.0, math.inf)
    score = piece.score
    files = check_outputs(out, score, force=force, resume=resume, stems=stems, labels=labels)
    names, rate = files.stems, score.file.sample_rate_hz
    block = max(1, round(block_s * rate))
    cut = cut_of(score, start, until, from_record=from_record)
    how = provenance(piece, files.recipe.parent) | cut.told
    about = how | {"stems": list(names), "block": block}
    folder = part_folder(files.sounds[0])
    if resume and not force and is_over(files.sounds[0]):
        with emptied(folder):
            report = _whole(files, how)
            then()
        return report
    with working(
        files.sounds[0], about, 2 + 2 * len(names), resume=resume, force=force, interval_s=checkpoint_s
    ) as part:
        # Another render may have finished the same files before this one got the lock.
        check_outputs(out, score, force=force, resume=resume, stems=stems, labels=labels)
        if finished(files.sounds[0]):
            put_in_place(folder)
            part.let_go()
            then()
            return _measured(files)
        marked = [Marker(m.sample - cut.first, m.label) for m in markers(piece) if cut.first <= m.sample < cut.end]
        lufs = _record(piece, part, block, track, cut, stems=stems)
        staged = files.within(folder)
        writers = partial(_writers, staged, score, how, marked, cut.end - cut.first)
        meter, check = _master(part, lufs, writers, score, cut, block, track)
        report = Report(
            path=str(files.sounds[0]),
            duration_s=round((cut.end - cut.first) / rate, 3),
            sample_rate_hz=rate,
            loudness_lufs=round(meter.integrated_lufs, 2),
            true_peak_dbtp=round(float(meter.true_peak_dbtp), 2),
            largest_step=round(check.largest_step, 4),
            longest_silence_s=round(check.longest_silence_s, 3),
        )
        write_json(staged.recipe, how | {MEASURED: asdict(report)})
        if staged.labels is not None:
            write_labels(staged.labels, marked, rate)
        finish(folder, files.all)
        part.let_go()
        then()
    return report


@dataclass(frozen=True)
class Cut:
    """Which samples of a piece are played, `played` up to `needed`, and which are written, `first` up to `end`."""

    played: int
    needed: int
    first: int
    end: int
    whole: bool  # all that counts for the loudness is written

    @property
    def told(self) -> dict[str, Any]:
        """What the record of a file says of it."""
        start = {START: self.played} if self.played else {}
        return start if self.whole else start | {PART: [self.first, self.end]}


def cut_of(
    score: Score, start: float | str | None = None, until: float | str | None = None, *, from_record: bool = False
) -> Cut:
    """Return what is to be played and written of a piece; InputError if there is no such part."""
    if from_record:
        if start is not None or until is not None:
            raise InputError("--from-record says where the file starts: it does not go with --from or --until")
        begin = recorded_from(score)
        return Cut(begin, score.samples, begin, score.samples, whole=True)
    first, end = _sample(score, "--from", start, 0), _sample(score, "--until", until, score.samples)
    if first >= end:
        rate = score.file.sample_rate_hz
        raise InputError(f"--from {told(first / rate)} --until {told(end / rate)} is no part: it ends before it begins")
    if (first, end) == (0, score.samples):
        return Cut(0, end, 0, end, whole=True)
    if score.master.normalize:  # which needs the loudness of the whole
        return Cut(0, score.samples, first, end, whole=False)
    return Cut(0, min(score.samples, end + _limiter(score).delay), first, end, whole=False)


def _sample(score: Score, name: str, time: float | str | None, default: int) -> int:
    """Return the sample of a piece at a time; InputError for one that is none, or past the end."""
    if time is None:
        return default
    try:
        seconds = score.clock.seconds(read_time(time))
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    if seconds > score.length_s:
        raise InputError(f"{name}: {time} is past the end of the piece ({told(score.length_s)})")
    return min(round(seconds * score.file.sample_rate_hz), score.samples)


def recorded_from(score: Score) -> int:
    """Return the sample of a take at which its recording began; InputError if the score does not say it."""
    if score.recorded_from_s is None:
        raise InputError(
            "--from-record needs a take that says where its recording began (recorded_from_s): "
            "older takes and scores by hand do not"
        )
    return round(score.recorded_from_s * score.file.sample_rate_hz)


def samples(piece: Piece, *, track: Track = untracked) -> Array:
    """Return the samples (N, 2) of a piece at its score's rate: what `render` writes to a float WAV.

    All are held in memory, so a piece of an hour takes gigabytes. Raises as `render` does.
    """
    asked.kind("piece", piece, Piece, "Piece(score, memory)")
    whole = copy(piece)
    whole.score = piece.score.model_copy(update={"file": piece.score.file.model_copy(update={"subtype": "FLOAT"})})
    with TemporaryDirectory(prefix="fugue-state-") as folder:
        path = Path(folder) / "piece.wav"
        render(whole, path, track=track)
        heard: Array = soundfile.read(path, dtype="float32", always_2d=True)[0]
        return heard


def _whole(files: Files, how: dict[str, Any]) -> Report:
    """Return the report of a piece whose files are all complete; InputError if the files are of another piece."""
    records = {files.recipe: how} | dict(zip(files.sounds, _told(files, how), strict=True))
    there = all(path.exists() for path in files.all)
    if not there or any(read_provenance(path) != values for path, values in records.items()):
        raise InputError(f"{files.sounds[0]}: exists already and is another piece; choose another name or add --force")
    return _measured(files)


def _measured(files: Files) -> Report:
    """Return the report of a finished piece from the file beside it."""
    try:
        measured = json.loads(files.recipe.read_text(encoding="utf-8"))[MEASURED]
        return Report(**measured | {"path": str(files.sounds[0])})
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{files.recipe}: damaged; --force starts over") from None


@dataclass(frozen=True)
class Files:
    """The files of a render; `sounds` are the piece, then its stems, named `stems`."""

    sounds: tuple[Path, ...]
    stems: tuple[str, ...]
    recipe: Path
    labels: Path | None

    @property
    def all(self) -> tuple[Path, ...]:
        """Every file, the piece last: once it is in place, so are the others."""
        return (*self.sounds[1:], self.recipe, *([] if self.labels is None else [self.labels]), self.sounds[0])

    def within(self, folder: Path) -> Files:
        """Return the same file names in a folder."""
        labels = None if self.labels is None else folder / self.labels.name
        return Files(tuple(folder / path.name for path in self.sounds), self.stems, folder / self.recipe.name, labels)


def check_outputs(
    out: str | Path, score: Score, *, force: bool, resume: bool = False, stems: bool = False, labels: bool = False
) -> Files:
    """Check, before any work, that a score can be rendered to these files, and return them. Raises InputError."""
    out = asked.path("the file to render to", out)
    if stems and score.resolution == "block":
        raise InputError('what is played live has no stems; resolution = "event" has')
    there = finished(out) if resume else set()
    over = resume and is_over(out)
    read = [*score.recordings, *([] if score.reverb.impulse is None else [score.reverb.impulse])]
    reads = [at_home(path) for path in read]

    def checked_path(path: Path) -> Path:
        return output_path(path, force=force or over or path in there, reads=reads)

    if out.suffix.casefold() not in io.OUTPUT_FORMATS:
        raise unknown("file ending", out.suffix, io.OUTPUT_FORMATS)
    names = _stem_names([voice.name for voice in score.voices]) if stems else ()
    io.check_format(out, score.file.subtype)
    parts = [checked_path(belonging(out, f"-{name}.wav")) for name in names]
    recipe = checked_path(belonging(out, ".json"))
    text = checked_path(belonging(out, ".txt")) if labels else None
    files = Files((checked_path(out), *parts), names, recipe, text)
    check_part(out, resume=resume, force=force)
    if there and there != set(files.all):
        raise InputError(
            f"{part_folder(out)}: was finished as {', '.join(sorted(path.name for path in there))}; "
            "--resume with the same files, or --force starts over"
        )
    return files


def _stem_names(voices: Sequence[str]) -> tuple[str, ...]:
    """Return the stems' names, in the order of a block's stems; a single voice needs none beside dry."""
    names = ["dry", "reverb"]
    for number, voice in enumerate(voices if len(voices) > 1 else (), 1):
        safe = re.sub(r"[^\w-]+", "-", unicodedata.normalize("NFC", voice)).strip("-")[:LONGEST_STEM]
        name = safe or f"voice-{number}"
        while name.casefold() in {other.casefold() for other in names}:
            name = f"{name}-{number}"
        names.append(name)
    return tuple(names)


def _told(files: Files, how: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the record to embed in each sound."""
    return [how, *(how | {"stem": name} for name in files.stems)]


def _writers(
    files: Files, score: Score, how: dict[str, Any], marked: Sequence[Marker], frames: int
) -> Iterator[io.Writer]:
    """Open the piece, then its stems as float, since a stem alone may exceed full scale."""
    form = score.file
    subtypes = [form.subtype, *("FLOAT" for _ in files.stems)]
    for path, record, subtype in zip(files.sounds, _told(files, how), subtypes, strict=True):
        comment = json.dumps(record, separators=(",", ":"))
        yield io.Writer(path, form.sample_rate_hz, frames=frames, subtype=subtype, comment=comment, markers=marked)


def _record(piece: Piece, part: Part, block: int, track: Track, cut: Cut, *, stems: bool) -> float:
    """Play what is left of a piece, as far as it is needed, into the working folder; return its LUFS."""
    meter = LoudnessMeter(piece.score.file.sample_rate_hz, peak=False)
    for kept in part.blocks(block):
        meter.add(kept[:, :2])
    left = max(0, cut.needed - (part.place.position if part.place else 0))
    count = -(-left // length_of(piece, block))
    with closing(blocks(piece, block, stems=stems, place=part.place)) as played:
        for heard, place in track(islice(played, count), count, "playing"):
            apart = () if heard.stems is None else (heard.stems,)
            sound = np.concatenate([heard.samples, *apart], axis=1)[max(0, cut.played - heard.position) :]
            if len(sound):
                part.add(sound, place)
                meter.add(sound[:, :2])
    part.finish()
    meter.finish()
    return meter.integrated_lufs


class _MissedError(Exception):
    """The loudness asked for was missed by `missing_db`."""

    def __init__(self, missing_db: float) -> None:
        super().__init__(missing_db)
        self.missing_db = missing_db


def _master(
    part: Part,
    lufs: float,
    writers: Callable[[], Iterator[io.Writer]],
    score: Score,
    cut: Cut,
    block: int,
    track: Track,
) -> tuple[LoudnessMeter, SoundCheck]:
    """Write of what was played what is asked for, at its target loudness, limited; return its measurements.

    Limiting makes the piece quieter than the gain alone would; the gain is then corrected and writing starts again, as
    often as needed. A nearly silent piece keeps its level, so that noise is not amplified. A take that is not to be
    normalized is written as it is, since it has passed the limiter live.
    """
    kept = lufs <= SILENT_LUFS or not score.master.normalize
    heard = score.resolution == "block" and not score.master.normalize
    gain_db = 0.0 if kept else score.master.loudness_lufs - lufs
    frames = score.samples - cut.played
    for left in reversed(range(CORRECTIONS)):
        blocks = track(part.blocks(block), -(-(cut.needed - cut.played) // block), "mastering")
        limited = _limited(blocks, 10.0 ** (gain_db / 20.0), score, part.channels)
        finished = blocks if heard else _faded(limited, frames, score.file.sample_rate_hz)
        try:
            with ExitStack() as stack:
                into = [stack.enter_context(writer) for writer in writers()]
                meter, check, lufs = _write(finished, into, score, cut)
                missing_db = score.master.loudness_lufs - lufs
                if left and not kept and abs(missing_db) >= CLOSE_ENOUGH_LU:
                    raise _MissedError(missing_db)
        except _MissedError as missed:
            gain_db += missed.missing_db
        else:
            break
    return meter, check


def _write(
    blocks: Iterator[Array], writers: list[io.Writer], score: Score, cut: Cut
) -> tuple[LoudnessMeter, SoundCheck, float]:
    """Write what is asked for of blocks (N, 2 for each writer).

    Returns the measurements of the first two channels as far as they are written, and the LUFS of them all.
    """
    rate = score.file.sample_rate_hz
    meter, check = LoudnessMeter(rate), SoundCheck(rate)
    whole = meter if cut.whole or not score.master.normalize else LoudnessMeter(rate, peak=False)
    # Limiting, writing and measuring run in parallel on successive blocks.
    with ThreadPoolExecutor(1) as pool:
        measured: deque[Future[None]] = deque()
        position = cut.played
        for block in ahead(blocks):
            written = block[max(0, cut.first - position) : max(0, cut.end - position)]
            position += len(block)
            if whole is not meter:
                measured.append(pool.submit(whole.add, block[:, :2]))
            if len(written):
                measured.append(pool.submit(meter.add, written[:, :2]))
                check.add(written[:, :2])
                for number, writer in enumerate(writers):
                    writer.write(written[:, 2 * number : 2 * number + 2])
            while len(measured) > MEASURED_LATER:
                measured.popleft().result()
        for one in measured:
            one.result()
    meter.finish()
    if whole is not meter:
        whole.finish()
    return meter, check, whole.integrated_lufs


def _limiter(score: Score) -> Limiter:
    return Limiter(score.master.ceiling_dbtp, score.file.sample_rate_hz)


def _limited(blocks: Iterator[Array], gain: float, score: Score, channels: int) -> Iterator[Array]:
    """Apply gain and limiter; the limiter's delay is compensated."""
    limiter = _limiter(score)
    past, lag = limiter.silence(channels), limiter.delay
    flush = np.zeros((limiter.delay, channels), dtype=np.float32)
    for block in chain(blocks, [flush]):
        out, past = limiter(block * np.float32(gain), past)
        skipped = min(lag, len(out))
        lag -= skipped
        yield out[skipped:]


def _faded(blocks: Iterator[Array], frames: int, rate: int) -> Iterator[Array]:
    """Fade out the last moments, where reverb may still sound."""
    fade = min(frames, round(END_FADE_S * rate))
    position = 0
    for block in blocks:
        left = frames - position - np.arange(len(block)) - 1
        position += len(block)
        yield block * np.clip(left / fade, 0.0, 1.0).astype(np.float32)[:, None]
