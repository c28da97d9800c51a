"""Takes: what was played, kept while it is played, so that not more than a second can be lost."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import queue
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import soundfile
from filelock import FileLock, Timeout

from fugue_state.audio.io import reason, replacing
from fugue_state.config import LiveConfig, checked
from fugue_state.errors import FugueError, InputError
from fugue_state.live.aside import aside
from fugue_state.progress import Item
from fugue_state.score.log import Done, Log, read_log, taken
from fugue_state.score.model import Score
from fugue_state.score.text import dump_score, load_score

BEFORE, JOURNAL, SOUND = "before.jsonl.gz", "take.jsonl", "sound.flac"
LOCK = "lock"  # held by who makes the take
OPEN = ".take"  # the ending of a folder in which a take is being made
SUBTYPE = "PCM_24"
NAME = re.compile(r"take-\d{3,6}")
FINER = "wav"
FORMS = ("toml", "flac", "txt", FINER)
LARGEST_COMMENT = 2**22  # bytes of a score that go into the sound file, too


def listed(folder: Path) -> dict[str, list[str]]:
    """Return the takes in a folder by name, each with the endings of its files: score, sound, marks, finer sound."""
    names = sorted({path.stem for path in folder.glob("take-*.toml") if NAME.fullmatch(path.stem)})
    return {name: [form for form in FORMS if (folder / f"{name}.{form}").is_file()] for name in names}


def unused(folder: Path) -> str:
    """Return a name for the next take."""
    used = {path.name.partition(".")[0] for path in folder.glob("take-*")}
    return next(name for i in range(1, 10**6) if (name := f"take-{i:03d}") not in used)


class Recorder(threading.Thread):
    """Writes a take as it is played, on a thread of its own: changes and sound go into `NAME.take/`.

    Every second what there is is made safe. When the disk is full, the sound stops and the changes go on, in memory
    until there is room again. `stop` completes the take: `NAME.toml`, `NAME.flac` and, with marks, `NAME.txt`.
    `made_by` says what plays: its provenance, without a score. `complain` is told what goes wrong, `done` at the end
    whether the take is complete.
    """

    def __init__(
        self,
        target: Path,
        made_by: Mapping[str, Any],
        config: LiveConfig,
        complain: Callable[[str], None],
        done: Callable[[bool], None],
    ) -> None:
        super().__init__(name="take", daemon=True)
        self.take = target.name
        self._folder = target.with_name(f"{target.name}{OPEN}")
        self._made_by, self._config, self._complain, self._done = dict(made_by), config, complain, done
        self._origin = self._until = 0
        self._rate = 1
        self._lines: list[str] = []
        self._failing = False
        self._items: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._sound: soundfile.SoundFile | None = None

    def begin(self, score: Score, before: Log, origin: int, start: int) -> None:
        """Begin with a block at `start` of a performance: what is played, and what was done since `origin`.

        A take counts from there: from where its memory set in.
        """
        self._rate, self._origin = score.file.sample_rate_hz, origin
        self._items.put({"made_by": self._made_by, "score": score, "before": before, "start": start - origin})

    def change(self, done: Done) -> None:
        """Keep a change, at a sample counted from the origin."""
        self._items.put(done)

    def mark(self, at: int, text: str) -> None:
        """Keep a note of a moment."""
        self._items.put({"at": at - self._origin, "mark": text})

    def sound(self, until: int, samples: npt.NDArray[np.float32]) -> None:
        """Keep a block that ends before a sample of the performance."""
        self._items.put((until - self._origin, samples))

    def stop(self) -> None:
        """Complete the take, soon."""
        self._items.put(None)

    def run(self) -> None:
        """Write what comes until it is stopped."""
        try:
            complete = self._open() and self._write() and self._complete()
        except (FugueError, OSError, soundfile.LibsndfileError) as error:
            self._complain(f"the take could not be kept ({error})")
            complete = False
        self._done(complete)

    def _open(self) -> bool:
        """Make the files as soon as something is played; say whether anything was."""
        first = self._items.get()
        if first is None:
            return False
        self._folder.mkdir()
        self._lock = FileLock(self._folder / LOCK)
        self._lock.acquire()
        self._journal = (self._folder / JOURNAL).open("ab", buffering=0)
        first.pop("before").save(self._folder / BEFORE)
        score = first.pop("score").model_dump(mode="json", exclude_defaults=True)
        self._note(**first, score=score)
        self._sound = soundfile.SoundFile(self._folder / SOUND, "w", self._rate, 2, SUBTYPE, format="FLAC")
        self._sync()
        return True

    def _write(self) -> bool:
        synced = time.monotonic()
        while (item := self._items.get()) is not None:
            if isinstance(item, dict):
                self._note(**item)
            else:
                self._until, samples = item
                self._write_sound(samples)
            if time.monotonic() - synced > self._config.sync_s:
                self._note(until=self._until)
                self._sync()
                synced = time.monotonic()
        self._note(until=self._until)
        self._sync()
        self._end_sound()
        self._journal.close()
        self._lock.release()
        return True

    def _complete(self) -> bool:
        try:
            aside(finish, self._folder)
        except (FugueError, OSError) as error:
            self._complain(f"{error}; the take is kept in {self._folder.name} and completed at the next start")
            return False
        return True

    def _note(self, **values: Any) -> None:
        self._lines.append(json.dumps(values, separators=(",", ":"), allow_nan=False))

    def _write_sound(self, samples: npt.NDArray[np.float32]) -> None:
        if self._sound is None:
            return
        try:
            if self._items.qsize() * len(samples) > self._config.take_waiting_s * self._rate:
                raise OSError(errno.ETIMEDOUT, "the disk is too slow")
            self._sound.write(samples)
        except (OSError, soundfile.LibsndfileError) as error:
            self._end_sound()
            why = reason(error) if isinstance(error, OSError) else "is the disk full?"
            self._complain(f"the sound of the take ends here ({why}); what is played is still kept")

    def _end_sound(self) -> None:
        sound, self._sound = self._sound, None
        if sound is not None:
            with contextlib.suppress(OSError, soundfile.LibsndfileError):  # what could be written is there
                sound.close()

    def _sync(self) -> None:
        try:
            self._write_lines()
            if self._sound is not None:
                self._sound.flush()
        except OSError as error:
            if not self._failing:
                self._complain(f"the take cannot be written now ({reason(error)}); it waits in memory")
            self._failing = True
        else:
            self._failing = False

    def _write_lines(self) -> None:
        """Append what was noted, whole lines or nothing; what cannot be written stays noted."""
        where = self._journal.tell()
        data = "".join(f"{line}\n" for line in self._lines).encode()
        try:
            if self._journal.write(data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._journal.fileno())
        except OSError:
            self._journal.truncate(where)
            self._journal.seek(where)
            raise
        self._lines.clear()


def unfinished(folder: Path) -> list[Path]:
    """Return the folders of takes that are not complete, in a folder of takes."""
    return sorted(folder.glob(f"take-*{OPEN}"))


def recover(folders: Sequence[Path]) -> tuple[list[str], list[str]]:
    """Complete takes that a killed server left; return their names, and what went wrong.

    Those that another server is making are left alone.
    """
    done, wrong = [], []
    for left in folders:
        try:
            with FileLock(left / LOCK, timeout=0):
                pass
            finish(left)
            done.append(left.stem)
        except Timeout:
            continue
        except (FugueError, OSError) as error:
            wrong.append(f"{left.name} could not be completed ({error})")
    return done, wrong


def finish(folder: Path) -> None:
    """Make score, sound and marks of a take from what was kept of it in `NAME.take/`, which then goes.

    Raises InputError for a journal that is damaged, OutputError where there is no room.
    """
    first, lines = _read_journal(folder / JOURNAL)
    base = checked(Score, first["score"])
    rate = base.file.sample_rate_hz
    until = max([first["start"], *(line.get("until", line.get("at", 0)) for line in lines)])
    sound = folder / SOUND
    frames = sum(map(len, _blocks(sound)))
    moved: list[Any] = [line for line in lines if "path" in line]
    score = taken(base, chain(read_log(folder / BEFORE), moved), max(until, first["start"] + frames))
    target = folder.with_suffix("")
    if frames:
        comment = json.dumps(first["made_by"] | {"score": score.model_dump(mode="json", exclude_defaults=True)})
        _copy_sound(sound, target.with_suffix(".flac"), rate, comment if len(comment) < LARGEST_COMMENT else "")
    marks = [(line["at"] / rate, line["mark"]) for line in lines if "mark" in line]
    if marks:
        with replacing(target.with_suffix(".txt")) as beside:
            beside.write_text("".join(f"{at:.6f}\t{at:.6f}\t{text}\n" for at, text in marks), encoding="utf-8")
    with replacing(target.with_suffix(".toml")) as beside:
        beside.write_text(dump_score(score), encoding="utf-8")
    shutil.rmtree(folder)


def _read_journal(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the first line of a journal and the others; the last one may be half there."""
    lines = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            break
    if not lines or not {"score", "start", "made_by"} <= set(lines[0]):
        raise InputError(f"{path}: no journal of a take")
    return lines[0], lines[1:]


def _blocks(sound: Path) -> Iterator[npt.NDArray[np.int32]]:
    """Yield the blocks (N, 2) of a sound file that may be cut off anywhere: 24 bits, the highest of 32."""
    with contextlib.suppress(av.FFmpegError), av.open(sound) as file:
        for frame in file.decode(audio=0):
            yield frame.to_ndarray().astype(np.int32, copy=False).reshape(-1, 2)


def _copy_sound(sound: Path, target: Path, rate: int, comment: str) -> None:
    """Copy a sound that may be cut off, bit by bit, into one that is whole and says how it was made."""
    with replacing(target) as beside, soundfile.SoundFile(beside, "w", rate, 2, SUBTYPE, format="FLAC") as file:
        if comment:
            file.comment = comment
        for block in _blocks(sound):
            file.write(block)


def render_finer(take: Path, tell: Callable[[float], None]) -> None:
    """Render a take as NAME.wav beside it, better than it could be heard at once; `tell` is told the share played.

    Raises FugueError if it cannot be rendered or is there already.
    """
    from fugue_state.audio.compiled import one_thread
    from fugue_state.memory.memory import Memory
    from fugue_state.piece.piece import Piece
    from fugue_state.piece.render import render

    def track(items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
        told = -1
        for i, item in enumerate(items):
            if what == "playing" and (percent := 100 * i // total) > told:
                told = percent
                tell(percent / 100.0)
            yield item

    score = load_score(take).of_quality("final")
    memory = Memory.load(score.memory, inverter=score.inverter, quality=score.quality)
    with one_thread():
        render(Piece(score, memory), take.with_suffix(f".{FINER}"), track=track)
