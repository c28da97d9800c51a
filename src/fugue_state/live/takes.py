"""Takes on the disk: their files, the folder of one in the making, and the completion of interrupted ones."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import soundfile
from filelock import FileLock, Timeout
from pydantic import ValidationError

from fugue_state.errors import InputError, OutputError, shown, why
from fugue_state.files import replacing
from fugue_state.progress import Item
from fugue_state.score.log import read_log, taken
from fugue_state.score.model import Change, Score
from fugue_state.score.text import dump_score, load_score
from fugue_state.settings import checked, first_problem

BEFORE, JOURNAL, SOUND = "before.jsonl.gz", "take.jsonl", "sound.flac"
LOCK = "lock"  # lock file of the process that makes the take
OPEN = ".take"  # ending of the folder of a take in the making
SUBTYPE = "PCM_24"
NAME = re.compile(r"take-\d{3,6}")
FINER = "wav"
FORMS = ("toml", "flac", "txt", FINER)
MOST_TAKES = 10**6
LONGEST = 2**53  # samples: the largest number allowed in a journal
LARGEST_COMMENT = 2**22  # bytes: longer scores are not embedded in the sound file


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
    """The folder of a take in the making, and the lock that shows that it is in use."""

    folder: Path
    lock: FileLock

    def remove(self) -> None:
        """Remove the folder and its files, the journal first: without one nothing is left to complete."""
        (self.folder / JOURNAL).unlink(missing_ok=True)
        if sys.platform == "win32":  # where open files cannot be removed
            self.lock.release()
        shutil.rmtree(self.folder)


@contextlib.contextmanager
def claimed(takes: Path) -> Iterator[Claim]:
    """Make and lock a folder for a take, under a name that is its own; OSError if it cannot be made.

    If it is empty afterwards, it is removed.
    """
    claim = None
    while claim is None:
        folder = takes / f"{unused(takes)}{OPEN}"
        with contextlib.suppress(FileExistsError):  # another server was faster
            folder.mkdir()
            claim = _claim(folder)
    try:
        yield claim
    finally:
        if claim.folder.is_dir() and _holds_nothing(claim.folder):
            claim.remove()
        claim.lock.release()


def _claim(folder: Path) -> Claim | None:
    """Lock a new folder; None if another server has it by now, or if its name is in use after all."""
    claim = Claim(folder, FileLock(folder / LOCK, timeout=0))
    try:
        claim.lock.acquire()
    except (Timeout, OSError):  # another server took it for an abandoned one
        return None
    if (folder / LOCK).is_file() and all(path == folder for path in folder.parent.glob(f"{folder.stem}.*")):
        return claim
    with contextlib.suppress(FileNotFoundError):
        claim.remove()
    claim.lock.release()
    return None


def unfinished(folder: Path) -> list[Path]:
    """Return the folders of unfinished takes."""
    return sorted(folder.glob(f"take-*{OPEN}"))


def recover(folders: Sequence[Path]) -> tuple[list[str], list[str]]:
    """Complete takes that a killed server left; return their names, and messages about the others.

    Takes that another server is making are left alone. Folders that are empty, or whose take is complete, are removed.
    Takes that cannot be completed stay as they are.
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
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one, the others are completed
            told.append(f"{left.name} could not be completed ({why(error)})")
    return done, told


def _is_complete(folder: Path) -> bool:
    """Return whether the take was completed and only the removal of its folder was interrupted."""
    return not (folder / JOURNAL).exists() and folder.with_suffix(".toml").is_file()


def _holds_nothing(folder: Path) -> bool:
    """Return whether nothing of a take was kept; a damaged file counts as something."""
    journal = folder / JOURNAL
    if {path.name for path in folder.iterdir()} - {BEFORE, JOURNAL, SOUND, LOCK}:
        return False
    if not (journal.exists() and b"\n" in journal.read_bytes()):  # its first line is missing
        return not any(map(len, _blocks(folder / SOUND)))
    try:
        first, _, until = _read_journal(journal)
    except InputError:
        return False
    return bool(until <= first["start"])


def finish(folder: Path) -> None:
    """Write score, sound and marks of a take from its folder `NAME.take/`, which can be removed afterwards.

    Raises InputError for a damaged journal, OutputError if the disk is full.
    """
    first, lines, until = _read_journal(folder / JOURNAL)
    base = checked(Score, first["score"])
    rate = base.file.sample_rate_hz
    sound = folder / SOUND
    frames = min(sum(map(len, _blocks(sound))), until - first["start"])  # changes in the rest are not known
    moved: list[Any] = [line for line in lines if "path" in line]
    before: Iterable[Any] = (_line(folder / BEFORE, n, line) for n, line in enumerate(read_log(folder / BEFORE), 1))
    try:
        score = taken(base, chain(before, moved), until)
    except ValidationError as error:
        raise InputError(f"{folder / JOURNAL}: damaged ({first_problem(error, Change)[1]})") from None
    if until > first["start"]:
        score = score.model_copy(update={"recorded_from_s": first["start"] / rate})
    checked(Score, score.model_dump(mode="json"))  # a take that cannot be read would be lost
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
    """Return a journal's first line, its changes and marks, and the sample up to which it is complete.

    The last line may be cut off. InputError for any other damage.
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
                break  # the server was killed while writing it
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
    """Check a line of a journal or log and return it: the first line, a change, a mark or an `until`."""
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
    """Yield the blocks (N, 2) of a sound file that may be cut off anywhere: 24 bits in the upper bits of 32.

    Anything that is not a take's sound ends it: another file type, other channels or formats.
    """
    with contextlib.suppress(av.FFmpegError), av.open(sound, format="flac", metadata_errors="replace") as file:
        for frame in file.decode(audio=0):
            if (frame.format.name, frame.layout.nb_channels) != ("s32", 2):
                return
            yield frame.to_ndarray().astype(np.int32, copy=False).reshape(-1, 2)


def _copy_sound(sound: Path, target: Path, frames: int, rate: int, comment: str) -> None:
    """Copy the first `frames` of a sound that may be cut off, bit by bit, into a complete file with a comment."""
    with replacing(target) as beside, soundfile.SoundFile(beside, "w", rate, 2, SUBTYPE, format="FLAC") as file:
        if comment:
            file.comment = comment
        for block in _blocks(sound):
            file.write(block[:frames])
            frames -= len(block[:frames])


def render_finer(take: Path, tell: Callable[[float], None]) -> None:
    """Render a take at final quality to NAME.wav beside it; `tell` gets the share played, 0..1.

    Raises FugueError if it cannot be rendered or the file exists.
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
