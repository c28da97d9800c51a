"""Files and folders that are written: checked before any work, complete or not there."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from fugue_state.errors import InputError, OutputError, unknown

PART = ".part"  # the ending of what is half-written


def belonging(sound: Path, ending: str) -> Path:
    """Return the name of a file that belongs to a sound: `a.png` to `a.wav`, but `a.flac.png` to `a.flac`."""
    return sound.with_name(f"{sound.stem if sound.suffix == '.wav' else sound.name}{ending}")


def output_path(path: str | Path, *, force: bool, suffixes: tuple[str, ...] = ()) -> Path:
    """Check, before any work is done, that a file can be written at `path`.

    Raises InputError if it exists (without `force`), its ending is not one of `suffixes`,
    or its folder is missing or read-only.
    """
    path = Path(path)
    if suffixes and path.suffix.casefold() not in suffixes:
        raise unknown("file ending", path.suffix, suffixes)
    if path.is_dir():
        raise InputError(f"{path}: is a folder, a file name is needed")
    if path.exists() and not force:
        raise InputError(f"{path}: exists already; choose another name or add --force")
    if not path.parent.is_dir():
        raise InputError(f"{path.parent}: no such folder; make it first")
    if not _writable(path.parent):
        raise InputError(f"{path.parent}: the folder cannot be written to")
    return path


def _writable(folder: Path) -> bool:
    # os.access says yes to root even where the file system refuses, so try.
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def output_folder(path: str | Path) -> Path:
    """Make sure that `path` is a folder which can be written to; InputError if it cannot be."""
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise InputError(f"{path}: is a file, a folder is needed")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be made ({error.strerror})") from None
    if not _writable(path):
        raise InputError(f"{path}: the folder cannot be written to")
    return path


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; it takes the place of `path` only on success.

    Raises OutputError when the disk is full or the folder refuses; nothing half-written stays, nor what a process
    that was killed left here.
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
    """Remove what a process that was killed while `replacing` left beside `path`; others may be at work there."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.part{glob.escape(path.suffix)}"):
        number = left.name.removeprefix(f".{path.name}.").partition(".")[0]
        if number.isdecimal() and not _runs(int(number)):
            left.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    """Say whether a process runs on this machine; yes where nobody can tell."""
    if sys.platform == "win32":  # where to ask would be to end it
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # somebody else's
        return True
    return True


def reason(error: OSError) -> str:
    """Return what the system says went wrong, in plain words."""
    return "the disk is full" if error.errno == errno.ENOSPC else (error.strerror or str(error))


@contextlib.contextmanager
def scratch_file(folder: Path) -> Iterator[IO[bytes]]:
    """Yield a nameless file in `folder` that vanishes in any case; OutputError if the disk is full."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            yield file
    except OSError as error:
        raise OutputError(f"{folder}: could not be written to ({reason(error)})") from error
