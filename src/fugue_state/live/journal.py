"""The files of a take in the making: a journal of changes and the sound track."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

from fugue_state.errors import OutputError
from fugue_state.files import reason
from fugue_state.limits import TAKE_WAITING
from fugue_state.live.takes import SUBTYPE


class Journal:
    """Appends lines to a file, only whole ones; lines that cannot be written wait in memory.

    `complain` is told once when the file cannot be written, and again only after it could.
    """

    def __init__(self, path: Path, complain: Callable[[str], None]) -> None:
        self._file = path.open("ab", buffering=0)
        self._complain = complain
        self._lines: list[str] = []  # lines not written yet
        self._failing = False

    def note(self, **values: Any) -> None:
        """Add a line to be written later; OutputError if too many wait."""
        if len(self._lines) >= TAKE_WAITING.most:
            raise OutputError(TAKE_WAITING.passed(len(self._lines)))
        self._lines.append(json.dumps(values, separators=(",", ":"), allow_nan=False))

    def keep(self, until: int, *, safe: bool) -> None:
        """Write all lines, and the sample played so far. After a failure it tries again only when `safe` is set."""
        if not self._failing:  # otherwise such lines alone would fill the memory
            self.note(until=until)
        elif not safe:
            return
        try:
            self.write(safe=safe)
        except OSError as error:
            if not self._failing:
                self._complain(f"the take cannot be written now ({reason(error)}); it waits in memory")
            self._failing = True
        else:
            self._failing = False

    def write(self, *, safe: bool = True) -> None:
        """Write all lines or none; if `safe`, wait until they are on the disk. OSError if it fails."""
        where = self._file.tell()
        data = "".join(f"{line}\n" for line in self._lines).encode()
        try:
            if self._file.write(data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if safe:
                os.fsync(self._file.fileno())
        except OSError:
            self._file.truncate(where)
            self._file.seek(where)
            raise
        self._lines.clear()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Track:
    """Writes sound into a file; it ends if the disk is full or too slow, and tells `complain`."""

    def __init__(self, complain: Callable[[str], None]) -> None:
        self.rate = 1
        self.written = 0  # samples, counted by the thread that writes
        self._given = 0  # samples, counted by the thread that plays
        self._deaf = False
        self._complain = complain
        self._file: soundfile.SoundFile | None = None

    def give(self, samples: npt.NDArray[np.float32], most_s: float) -> npt.NDArray[np.float32] | None:
        """Count a block to be written and return it; None once too many seconds wait, and from then on."""
        self._deaf = self._deaf or self._given - self.written > most_s * self.rate
        self._given += len(samples)
        return None if self._deaf else samples

    def open(self, path: Path) -> None:
        """Make the file."""
        self._file = soundfile.SoundFile(path, "w", self.rate, 2, SUBTYPE, format="FLAC")

    def write(self, samples: npt.NDArray[np.float32] | None) -> None:
        """Write a block; None ends the track: the disk is too slow."""
        if self._file is None:
            return
        try:
            if samples is None:
                raise OSError(errno.ETIMEDOUT, "the disk is too slow")
            self._file.write(samples)
            self.written += len(samples)
        except (OSError, soundfile.LibsndfileError) as error:
            self.end()
            said = reason(error) if isinstance(error, OSError) else "is the disk full?"
            self._complain(f"the sound of the take ends here ({said}); what is played is still kept")

    def flush(self) -> None:
        """Flush all that was written to the system."""
        if self._file is not None:
            self._file.flush()

    def end(self) -> None:
        """Close the file, and write no more."""
        file, self._file = self._file, None
        self._deaf = True
        if file is not None:
            with contextlib.suppress(OSError, soundfile.LibsndfileError):  # what could be written is there
                file.close()
