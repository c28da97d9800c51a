"""Writing files and folders: checked before any work, and complete or not there at all."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import IO

from fugue_state.errors import InputError, OutputError, a_file, unknown

PART = ".part"  # suffix of unfinished work


def belonging(sound: Path, ending: str) -> Path:
    """Return the name of a file that belongs to a sound: `a.png` for `a.wav`, but `a.flac.png` for `a.flac`.

    Raises InputError for a folder.
    """
    if sound.is_dir():
        raise InputError(a_file(sound))
    return sound.with_name(f"{sound.stem if sound.suffix == '.wav' else sound.name}{ending}")


def output_path(
    path: str | Path, *, force: bool, suffixes: tuple[str, ...] = (), reads: Iterable[str | Path] = ()
) -> Path:
    """Check, before any work is done, that a file can be written at `path`, and return it.

    Raises InputError if it exists (without `force`), is one of those that the work `reads`, its suffix is not one of
    `suffixes`, or its folder is missing or read-only.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(a_file(path))
    if suffixes and path.suffix.casefold() not in suffixes:
        raise unknown("file ending", path.suffix, suffixes)
    if path.exists() and any(Path(one).exists() and path.samefile(one) for one in reads):
        raise InputError(f"{path}: is read for this; choose another name")
    if path.exists() and not force:
        raise InputError(f"{path}: exists already; choose another name or add --force")
    _check_holder(path.parent)
    return path


def _check_holder(folder: Path) -> None:
    """Raise InputError unless something can be made in a folder."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; make it first")
    if not _writable(folder):
        raise InputError(f"{folder}: the folder cannot be written to")


def _writable(folder: Path) -> bool:
    # os.access always allows root, even where the file system refuses, so try it.
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def check_folder(path: str | Path) -> Path:
    """Check, before any work is done, that a folder can be written to, or made, at `path`, and return it.

    Raises InputError if it is a file, the folder around it is missing, or either is read-only.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise InputError(f"{path}: is a file, a folder is needed")
    if not path.exists():
        _check_holder(path.parent)
    elif not _writable(path):
        raise InputError(f"{path}: the folder cannot be written to")
    return path


def output_folder(path: str | Path, *, parents: bool = False) -> Path:
    """Make sure that `path` is a writable folder, creating it if missing (with `parents`, those around it, too).

    Returns it. Raises InputError as `check_folder`.
    """
    path = Path(path)
    try:
        if parents:
            path.parent.mkdir(parents=True, exist_ok=True)
        check_folder(path).mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be made ({error.strerror})") from None
    return path


def replaceable_folder(path: str | Path, *, force: bool, listed: Callable[[Path], Collection[str]]) -> Path:
    """Check, before any work is done, that a folder of files can be written as a whole at `path`, and return it.

    With `force` one that is there is replaced, if it holds nothing but what `listed` says, as paths within it. Raises
    InputError otherwise, and as `check_folder`.
    """
    path = check_folder(path).resolve()
    _check_holder(path.parent)
    if not path.is_dir() or not any(path.iterdir()):
        return path
    if not force:
        raise InputError(f"{path}: the folder is not empty; choose another name or add --force")
    known = set(listed(path))
    there = (one for one in (path.rglob("*") if known else path.iterdir()) if one.is_symlink() or not one.is_dir())
    foreign = next((name for one in there if (name := one.relative_to(path).as_posix()) not in known), "")
    if foreign or not known:
        raise InputError(f"{path}: holds what was not exported to it ({foreign or 'folders'}); choose another folder")
    return path


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder beside `path` to write to; it takes the place of `path` only on success.

    Raises OutputError if the disk is full or the folder around it is not writable. No partial folder is left, and those
    left by killed processes are removed.
    """
    for left in path.parent.glob(f".{glob.escape(path.name)}.*{PART}"):
        number = left.name.removeprefix(f".{path.name}.").partition(".")[0]
        if number.isdecimal() and not _runs(int(number)):
            shutil.rmtree(left, ignore_errors=True)
    beside, before = (path.with_name(f".{path.name}.{os.getpid()}{end}{PART}") for end in ("", ".before"))
    try:
        beside.mkdir()
        yield beside
        if path.exists():
            path.rename(before)
        try:
            beside.rename(path)
        except OSError:
            if before.exists():
                before.rename(path)
            raise
    except OSError as error:
        raise OutputError(f"{path}: could not be written ({reason(error)})") from error
    finally:
        for folder in (beside, before):
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` to write to; it replaces `path` only on success.

    Raises OutputError if the disk is full or the folder is not writable. No partial file is left, and those left by
    killed processes are removed.
    """
    path = Path(path)
    _remove_leftovers(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part{path.suffix}")
    try:
        yield beside
        with beside.open("r+b") as handle:
            os.fsync(handle.fileno())
        beside.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: could not be written ({reason(error)})") from error
    finally:
        beside.unlink(missing_ok=True)


def _remove_leftovers(path: Path) -> None:
    """Remove partial files that killed processes left beside `path`; those of running processes stay."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.part{glob.escape(path.suffix)}"):
        number = left.name.removeprefix(f".{path.name}.").partition(".")[0]
        if number.isdecimal() and not _runs(int(number)):
            left.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    """Say whether a process runs on this machine; True if that cannot be known."""
    if sys.platform == "win32":  # os.kill would end the process there
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it belongs to another user
        return True
    return True


def reason(error: OSError) -> str:
    """Return the reason of a system error in plain words."""
    return "the disk is full" if error.errno == errno.ENOSPC else (error.strerror or str(error))


@contextlib.contextmanager
def scratch_file(folder: Path) -> Iterator[IO[bytes]]:
    """Yield an unnamed temporary file in `folder` that is always removed; OutputError if the disk is full."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            yield file
    except OSError as error:
        raise OutputError(f"{folder}: could not be written to ({reason(error)})") from error
