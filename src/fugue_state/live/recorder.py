"""The recorder: writes a take while it is played, so that not more than a second can be lost."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

from fugue_state.config import LiveConfig
from fugue_state.errors import FugueError, InputError, OutputError, why
from fugue_state.files import reason
from fugue_state.limits import TAKE_WAITING
from fugue_state.live.aside import aside
from fugue_state.live.takes import BEFORE, JOURNAL, SOUND, SUBTYPE, Claim, claimed, finish
from fugue_state.score.log import Done, Log
from fugue_state.score.model import Score


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
