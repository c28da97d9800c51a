"""The recorder: writes a take while it is played; a crash loses at most a second."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fugue_state.config import LiveConfig
from fugue_state.errors import FugueError, InputError, OutputError, why
from fugue_state.files import reason
from fugue_state.limits import TAKE_WAITING
from fugue_state.live.aside import aside
from fugue_state.live.journal import Journal, Track
from fugue_state.live.takes import BEFORE, JOURNAL, SOUND, Claim, claimed, finish
from fugue_state.score.log import KeptChange, Log
from fugue_state.score.model import Score


class Recorder(threading.Thread):
    """Writes a take as it is played, on its own thread: changes and sound go into `NAME.take/`.

    Changes are written before the sound in which they are heard, so an interrupted take knows every change that sounds.
    Every second all is flushed to the disk. When the disk is full, the sound ends; changes wait in memory until there
    is room. `stop` completes the take: `NAME.toml`, `NAME.flac` and, with marks, `NAME.txt`. `made_by` is the
    provenance of what plays, without a score. `complain` gets errors, `began` the name once the beginning is on the
    disk, `done` at the end whether the take is complete. Whatever goes wrong, what was written so far is completed.
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
        self._begun = self._over = False
        self._early: list[tuple[int, str]] = []  # marks set before the first block
        self._items: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._journal: Journal | None = None
        self._track = Track(complain)

    def begin(self, score: Score, before: Log, origin: int, start: int) -> None:
        """Begin with the block at sample `start`: the score, and the changes made `before`, since `origin`.

        A take counts its samples from `origin`, where its memory took over.
        """
        self._track.rate, self._origin, self._begun = score.file.sample_rate_hz, origin, True
        self._put({"made_by": self._made_by, "score": score, "before": before, "start": start - origin})
        for at, text in self._early:
            self.mark(max(at, start), text)

    def change(self, done: KeptChange) -> None:
        """Keep a change, at a sample counted from the origin."""
        self._put(done)

    def mark(self, at: int, text: str) -> None:
        """Keep a mark at a sample, even before the first block; call it on the thread that begins the take."""
        if self._begun:
            self._put({"at": at - self._origin, "mark": text})
        else:
            self._early.append((at, text))

    def sound(self, until: int, samples: npt.NDArray[np.float32]) -> None:
        """Keep a block that ends before a sample of the performance."""
        self._put((until - self._origin, self._track.give(samples, self._config.take_waiting_s)))

    def stop(self) -> None:
        """Complete the take, soon."""
        self._items.put(None)

    def _put(self, item: Any) -> None:
        """Queue something to be written; dropped after the end, which comes when too much waits."""
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
            journal = self._open(claim.folder, first)
            self.take = claim.folder.stem
            self._began(self.take)
            with self._telling("the take ends here"):
                self._write(journal)
            self._over = True
            with self._telling("the end of the take is not kept"):
                journal.note(until=self._until)
                journal.write()
        finally:
            self._close()
        return self._complete(claim)

    @contextlib.contextmanager
    def _telling(self, what: str) -> Iterator[None]:
        """Report any error: a thread that died would leave others waiting."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - see above
            said = reason(error) if isinstance(error, OSError) else why(error)
            self._complain(f"{what} ({said})")

    def _open(self, folder: Path, first: dict[str, Any]) -> Journal:
        """Make the files and flush the beginning of the journal to the disk; OSError if that fails."""
        self._journal = journal = Journal(folder / JOURNAL, self._complain)
        first.pop("before").save(folder / BEFORE)
        score = first.pop("score").model_dump(mode="json", exclude_defaults=True)
        journal.note(**first, score=score)
        journal.write()
        self._track.open(folder / SOUND)
        return journal

    def _write(self, journal: Journal) -> None:
        """Write items as they come; changes precede the block in which they are heard."""
        synced = time.monotonic()
        while (item := self._items.get()) is not None:
            if isinstance(item, Exception):
                raise item
            if isinstance(item, dict):
                journal.note(**item)
                continue
            self._until, samples = item
            due = time.monotonic() - synced > self._config.sync_s
            journal.keep(self._until, safe=due)
            self._write_sound(samples)
            if due:
                self._track.flush()
                synced = time.monotonic()

    def _write_sound(self, samples: npt.NDArray[np.float32] | None) -> None:
        self._track.write(samples)

    def _complete(self, claim: Claim) -> bool:
        try:
            aside(finish, claim.folder)
        except FugueError as error:
            self._complain(f"{error}; the take is kept in {claim.folder.name} and completed at the next start")
            return False
        claim.remove()
        return True

    def _close(self) -> None:
        """Close the files."""
        self._track.end()
        if self._journal is not None:
            self._journal.close()
