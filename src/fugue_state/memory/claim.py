"""A lock on a run's folder: one process at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from fugue_state.errors import InputError
from fugue_state.files import output_folder

LOCK = ".run.lock"


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Keep other processes out of a run's folder; if this process is killed, the lock is released.

    Raises InputError if another run is using the folder.
    """
    made = not folder.exists()
    path = output_folder(folder) / LOCK
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(f"{folder}: another run is at work in this folder ({path}); choose another one") from None
    except (NotImplementedError, OSError):  # the file system does not support locks
        yield
        return
    try:
        yield
    finally:
        lock.release()
        path.unlink(missing_ok=True)
        if made:
            with contextlib.suppress(OSError):  # remove the folder again if it is empty
                folder.rmdir()
