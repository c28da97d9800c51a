"""Takes: what was played, kept while it is played, so that not more than a second can be lost."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import queue
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import FileIO
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import soundfile
from filelock import FileLock, Timeout
from pydantic import ValidationError

from fugue_state.config import LiveConfig
from fugue_state.errors import FugueError, InputError, OutputError, shown, why
from fugue_state.files import reason, replacing
from fugue_state.limits import TAKE_WAITING
from fugue_state.live.aside import aside
from fugue_state.progress import Item
from fugue_state.score.log import Done, Log, read_log, taken
from fugue_state.score.model import Change, Score
from fugue_state.score.text import dump_score, load_score
from fugue_state.settings import checked, first_problem

BEFORE, JOURNAL, SOUND = "before.jsonl.gz", "take.jsonl", "sound.flac"
LOCK = "lock"  # held by who makes the take
OPEN = ".take"  # the ending of a folder in which a take is being made
SUBTYPE = "PCM_24"
NAME = re.compile(r"take-\d{3,6}")
FINER = "wav"
FORMS = ("toml", "flac", "txt", FINER)
MOST_TAKES = 10**6
LONGEST = 2**53  # samples, that a number in a journal can count to
LARGEST_COMMENT = 2**22  # bytes of a score that go into the sound file, too


def listed(folder: Path) -> dict[str, list[str]]:
    """Return the takes in a folder by name, each with the endings of its files: score, sound, marks, finer sound."""
    names = sorted({path.stem for path in folder.glob("take-*.toml") if NAME.fullmatch(path.stem)})
    forms = {name: [form for form in FORMS if (folder / f"{name}.{form}").is_file()] for name in names}
    return {name: there for name, there in forms.items() if "toml" in there}


def unused(folder: Path) -> str:
    """Return a name for the next take; OutputError if there is none left."""
    used = {path.name.partition(".")[0] for path in folder.glob("take-*")}
    free = (name for i in range(1, MOST_TAKES) if (name := f"take-{i:03d}") not in used)
    if found := next(free, None):
        return found
    raise OutputError(f"{folder} holds {MOST_TAKES - 1} takes: no name is left for another")


@dataclass(frozen=True)
class Claim:
    """A folder in which a take is made, and the lock that says whose it is."""

    folder: Path
    lock: FileLock

    def remove(self) -> None:
        """Remove the folder with all that is in it, the journal first: without one there is nothing to complete."""
        (self.folder / JOURNAL).unlink(missing_ok=True)
        if sys.platform == "win32":  # where a file that is open stays
            self.lock.release()
        shutil.rmtree(self.folder)


@contextlib.contextmanager
def claimed(takes: Path) -> Iterator[Claim]:
    """Make a folder for a take and hold it, under a name that nobody else has or gets; OSError if it cannot be made.

    What holds nothing afterwards goes.
    """
    claim = None
    while claim is None:
        folder = takes / f"{unused(takes)}{OPEN}"
        with contextlib.suppress(FileExistsError):  # another one was faster
            folder.mkdir()
            claim = _claim(folder)
    try:
        yield claim
    finally:
        if claim.folder.is_dir() and _holds_nothing(claim.folder):
            claim.remove()
        claim.lock.release()


def _claim(folder: Path) -> Claim | None:
    """Hold a new folder; None if it is another server's by now, or its name is used after all."""
    claim = Claim(folder, FileLock(folder / LOCK, timeout=0))
    try:
        claim.lock.acquire()
    except (Timeout, OSError):  # another server takes it for one that was left
        return None
    if (folder / LOCK).is_file() and all(path == folder for path in folder.parent.glob(f"{folder.stem}.*")):
        return claim
    with contextlib.suppress(FileNotFoundError):
        claim.remove()
    claim.lock.release()
    return None


class Recorder(threading.Thread):
    """Writes a take as it is played, on a thread of its own: changes and sound go into `NAME.take/`.

    What was done is written before it is heard in the sound, so that of a take that is broken off all that sounds is
    known. Every second what there is is made safe. When the disk is full, the sound stops and the changes go on, in
    memory until there is room again. `stop` completes the take: `NAME.toml`, `NAME.flac` and, with marks, `NAME.txt`.
    `made_by` says what plays: its provenance, without a score. `complain` is told what goes wrong, `began` the name
    once the take's beginning is safe, `done` at the end whether it is complete. Whatever goes wrong, what was kept so
    far is completed.
    """

    def __init__(
        self,
        takes: Path,
        made_by: Mapping[str, Any],
        config: LiveConfig,
        complain: Callable[[str], None],
        began: Callable[[str], None],
        done: Callable[[bool], None],
    ) -> None:
        super().__init__(name="take", daemon=True)
        self.take = ""
        self._takes = takes
        self._made_by, self._config = dict(made_by), config
        self._complain, self._began, self._done = complain, began, done
        self._origin = self._until = 0
        self._rate = 1
        self._begun = self._over = self._deaf = False
        self._early: list[tuple[int, str]] = []  # marks that come before the first block
        self._given = self._written = 0  # samples: counted on the clock's thread, and on this one
        self._lines: list[str] = []
        self._failing = False
        self._items: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._journal: FileIO | None = None
        self._sound: soundfile.SoundFile | None = None

    def begin(self, score: Score, before: Log, origin: int, start: int) -> None:
        """Begin with a block at `start` of a performance: what is played, and what was done since `origin`.

        A take counts from there: from where its memory set in.
        """
        self._rate, self._origin, self._begun = score.file.sample_rate_hz, origin, True
        self._put({"made_by": self._made_by, "score": score, "before": before, "start": start - origin})
        for at, text in self._early:
            self.mark(max(at, start), text)

    def change(self, done: Done) -> None:
        """Keep a change, at a sample counted from the origin."""
        self._put(done)

    def mark(self, at: int, text: str) -> None:
        """Keep a note of a moment, also of one before the first block; on the thread that begins the take."""
        if self._begun:
            self._put({"at": at - self._origin, "mark": text})
        else:
            self._early.append((at, text))

    def sound(self, until: int, samples: npt.NDArray[np.float32]) -> None:
        """Keep a block that ends before a sample of the performance."""
        self._deaf = self._deaf or self._given - self._written > self._config.take_waiting_s * self._rate
        self._given += len(samples)
        self._put((until - self._origin, None if self._deaf else samples))

    def stop(self) -> None:
        """Complete the take, soon."""
        self._items.put(None)

    def _put(self, item: Any) -> None:
        """Let something wait to be written; what comes after too much, or after the end, is left out."""
        if self._over:
            return
        if self._items.qsize() >= TAKE_WAITING.most:
            self._over = True
            item = OutputError(TAKE_WAITING.passed(self._items.qsize()))
        self._items.put(item)

    def run(self) -> None:
        """Write what comes until it is stopped."""
        complete = False
        with self._telling("the take could not be kept"):
            if (first := self._items.get()) is None:
                raise InputError("nothing was played")
            with claimed(self._takes) as claim:
                complete = self._kept(claim, first)
        self._over = True
        self._done(complete)

    def _kept(self, claim: Claim, first: Any) -> bool:
        """Keep a take in its folder, and complete it."""
        try:
            self._open(claim.folder, first)
            self.take = claim.folder.stem
            self._began(self.take)
            with self._telling("the take ends here"):
                self._write()
            self._over = True
            with self._telling("the end of the take is not kept"):
                self._note(until=self._until)
                self._write_lines()
        finally:
            self._close()
        return self._complete(claim)

    @contextlib.contextmanager
    def _telling(self, what: str) -> Iterator[None]:
        """Tell what goes wrong, whatever it is: a thread that dies tells nobody, and others wait for it."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - see above
            said = reason(error) if isinstance(error, OSError) else why(error)
            self._complain(f"{what} ({said})")

    def _open(self, folder: Path, first: dict[str, Any]) -> None:
        """Make the files; the beginning of the journal is on the disk, or OSError is raised."""
        self._journal = (folder / JOURNAL).open("ab", buffering=0)
        first.pop("before").save(folder / BEFORE)
        score = first.pop("score").model_dump(mode="json", exclude_defaults=True)
        self._note(**first, score=score)
        self._write_lines()
        self._sound = soundfile.SoundFile(folder / SOUND, "w", self._rate, 2, SUBTYPE, format="FLAC")

    def _write(self) -> None:
        synced = time.monotonic()
        while (item := self._items.get()) is not None:
            if isinstance(item, Exception):
                raise item
            if isinstance(item, dict):
                self._note(**item)
                continue
            self._until, samples = item
            due = time.monotonic() - synced > self._config.sync_s
            self._keep_lines(safe=due)
            self._write_sound(samples)
            if due:
                self._flush_sound()
                synced = time.monotonic()

    def _complete(self, claim: Claim) -> bool:
        try:
            aside(finish, claim.folder)
        except FugueError as error:
            self._complain(f"{error}; the take is kept in {claim.folder.name} and completed at the next start")
            return False
        claim.remove()
        return True

    def _close(self) -> None:
        """Let go of the files."""
        self._end_sound()
        if self._journal is not None:
            self._journal.close()

    def _note(self, **values: Any) -> None:
        if len(self._lines) >= TAKE_WAITING.most:
            raise OutputError(TAKE_WAITING.passed(len(self._lines)))
        self._lines.append(json.dumps(values, separators=(",", ":"), allow_nan=False))

    def _write_sound(self, samples: npt.NDArray[np.float32] | None) -> None:
        if self._sound is None:
            return
        try:
            if samples is None:
                raise OSError(errno.ETIMEDOUT, "the disk is too slow")
            self._sound.write(samples)
            self._written += len(samples)
        except (OSError, soundfile.LibsndfileError) as error:
            self._end_sound()
            said = reason(error) if isinstance(error, OSError) else "is the disk full?"
            self._complain(f"the sound of the take ends here ({said}); what is played is still kept")

    def _end_sound(self) -> None:
        sound, self._sound = self._sound, None
        self._deaf = True
        if sound is not None:
            with contextlib.suppress(OSError, soundfile.LibsndfileError):  # what could be written is there
                sound.close()

    def _flush_sound(self) -> None:
        if self._sound is not None:
            self._sound.flush()

    def _keep_lines(self, *, safe: bool) -> None:
        """Write what was noted, and how far it was played; once that fails, only what is to be safe is tried."""
        if not self._failing:  # or these alone would fill the memory
            self._note(until=self._until)
        elif not safe:
            return
        try:
            self._write_lines(safe=safe)
        except OSError as error:
            if not self._failing:
                self._complain(f"the take cannot be written now ({reason(error)}); it waits in memory")
            self._failing = True
        else:
            self._failing = False

    def _write_lines(self, *, safe: bool = True) -> None:
        """Append what was noted, whole lines or nothing, on the disk if it is to be safe.

        What cannot be written stays noted.
        """
        journal = self._journal
        if journal is None:
            return
        where = journal.tell()
        data = "".join(f"{line}\n" for line in self._lines).encode()
        try:
            if journal.write(data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if safe:
                os.fsync(journal.fileno())
        except OSError:
            journal.truncate(where)
            journal.seek(where)
            raise
        self._lines.clear()


def unfinished(folder: Path) -> list[Path]:
    """Return the folders of takes that are not complete, in a folder of takes."""
    return sorted(folder.glob(f"take-*{OPEN}"))


def recover(folders: Sequence[Path]) -> tuple[list[str], list[str]]:
    """Complete takes that a killed server left; return their names, and what is to be told of the others.

    Those that another server is making are left alone; those that hold nothing are removed, as is what was left of
    one that was complete; those that cannot be completed stay as they are.
    """
    done, told = [], []
    for left in folders:
        try:
            with FileLock(left / LOCK, timeout=0) as lock:
                if _is_complete(left):
                    done.append(left.stem)
                elif _holds_nothing(left):
                    told.append(f"{left.name} held nothing and was removed: the server had been killed")
                else:
                    finish(left)
                    done.append(left.stem)
                Claim(left, lock).remove()
        except Timeout:
            continue
        except Exception as error:  # noqa: BLE001 - whatever is in one folder, the others are completed
            told.append(f"{left.name} could not be completed ({why(error)})")
    return done, told


def _is_complete(folder: Path) -> bool:
    """Say whether a take was completed, and its server killed as it removed the folder."""
    return not (folder / JOURNAL).exists() and folder.with_suffix(".toml").is_file()


def _holds_nothing(folder: Path) -> bool:
    """Say whether nothing was kept of a take before its server was killed; what is damaged may be something."""
    journal = folder / JOURNAL
    if {path.name for path in folder.iterdir()} - {BEFORE, JOURNAL, SOUND, LOCK}:
        return False
    if not (journal.exists() and b"\n" in journal.read_bytes()):  # not even its beginning
        return not any(map(len, _blocks(folder / SOUND)))
    try:
        first, _, until = _read_journal(journal)
    except InputError:
        return False
    return bool(until <= first["start"])


def finish(folder: Path) -> None:
    """Make score, sound and marks of a take from what was kept of it in `NAME.take/`, which can go then.

    Raises InputError for a journal that is damaged, OutputError where there is no room.
    """
    first, lines, until = _read_journal(folder / JOURNAL)
    base = checked(Score, first["score"])
    rate = base.file.sample_rate_hz
    sound = folder / SOUND
    frames = min(sum(map(len, _blocks(sound))), until - first["start"])  # what was done in the rest is not known
    moved: list[Any] = [line for line in lines if "path" in line]
    before: Iterable[Any] = (_line(folder / BEFORE, n, line) for n, line in enumerate(read_log(folder / BEFORE), 1))
    try:
        score = taken(base, chain(before, moved), until)
    except ValidationError as error:
        raise InputError(f"{folder / JOURNAL}: damaged ({first_problem(error, Change)[1]})") from None
    checked(Score, score.model_dump(mode="json"))  # what could not be read again would be lost
    target = folder.with_suffix("")
    if frames:
        comment = json.dumps(first["made_by"] | {"score": score.model_dump(mode="json", exclude_defaults=True)})
        comment = comment if len(comment) < LARGEST_COMMENT else ""
        _copy_sound(sound, target.with_suffix(".flac"), frames, rate, comment)
    marks = [(line["at"] / rate, line["mark"]) for line in lines if "mark" in line]
    if marks:
        with replacing(target.with_suffix(".txt")) as beside:
            beside.write_text("".join(f"{at:.6f}\t{at:.6f}\t{text}\n" for at, text in marks), encoding="utf-8")
    with replacing(target.with_suffix(".toml")) as beside:
        beside.write_text(dump_score(score), encoding="utf-8")


def _read_journal(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]], int]:
    """Return the first line of a journal, what was done and marked, and the sample until which all of it is known.

    Its last line may be half there. InputError for one that is damaged otherwise.
    """
    first: dict[str, Any] | None = None
    lines, until = [], 0
    with path.open("rb") as file:
        for number, text in enumerate(file, 1):
            try:
                line = _line(path, number, _read_line(path, number, text))
            except InputError:
                if text.endswith(b"\n"):
                    raise
                break  # its writer was killed
            first = first or line
            until = max(until, line.get("until", line.get("at", line.get("start", 0))))
            if "until" not in line and line is not first:
                lines.append(line)
    if first is None or "start" not in first:
        raise InputError(f"{path}: no journal of a take")
    return first, lines, until


def _read_line(path: Path, number: int, line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        raise InputError(f"{path}: damaged (line {number}: {shown(line.decode(errors='replace'))})") from None


def _line(path: Path, number: int, found: Any) -> dict[str, Any]:
    """Return a line of a journal or a log, checked: how a take began, a change, a note, or how far it was played."""
    kinds = (
        {"made_by": dict, "score": dict, "start": int},
        {"at": int, "path": str, "value": int | float | str},
        {"at": int, "mark": str},
        {"until": int},
    )
    if isinstance(found, dict):
        for kind in kinds:
            if set(kind) <= set(found) and all(isinstance(found[key], kind[key]) for key in kind):
                samples = [found[key] for key in ("at", "start", "until") if key in kind]
                if all(0 <= at <= LONGEST for at in samples) and found.get("mark", "").isprintable():
                    return found
    raise InputError(f"{path}: damaged (line {number}: {shown(found)})")


def _blocks(sound: Path) -> Iterator[npt.NDArray[np.int32]]:
    """Yield the blocks (N, 2) of a sound file that may be cut off anywhere: 24 bits, the highest of 32.

    What is no sound of a take ends it: another kind of file, other channels, other samples.
    """
    with contextlib.suppress(av.FFmpegError), av.open(sound, format="flac", metadata_errors="replace") as file:
        for frame in file.decode(audio=0):
            if (frame.format.name, frame.layout.nb_channels) != ("s32", 2):
                return
            yield frame.to_ndarray().astype(np.int32, copy=False).reshape(-1, 2)


def _copy_sound(sound: Path, target: Path, frames: int, rate: int, comment: str) -> None:
    """Copy the beginning of a sound that may be cut off, bit by bit, into one that is whole and says what made it."""
    with replacing(target) as beside, soundfile.SoundFile(beside, "w", rate, 2, SUBTYPE, format="FLAC") as file:
        if comment:
            file.comment = comment
        for block in _blocks(sound):
            file.write(block[:frames])
            frames -= len(block[:frames])


def render_finer(take: Path, tell: Callable[[float], None]) -> None:
    """Render a take as NAME.wav beside it, better than it could be heard at once; `tell` is told the share played.

    Raises FugueError if it cannot be rendered or is there already.
    """
    from fugue_state.audio.compiled import one_thread
    from fugue_state.memory.memory import Memory
    from fugue_state.output.render import render
    from fugue_state.piece.piece import Piece

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
