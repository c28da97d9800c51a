"""One input after another, and what became of each."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
import sys
import tempfile
import threading
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from fugue_state.errors import FugueError

LONGEST_S = 10  # of work; where other programs work, too, that takes longer
PATIENCE_S = 18 * LONGEST_S  # for one that does not work, but waits; perhaps for its turn
MOST_BYTES = 2**30  # that one input may take
ROOM_BYTES = 6 * 2**30  # that all together may ask the system for
LONGEST_LINE = 1200  # characters of what is said, without paths
READY = -1  # is told before the first input
SHOWN = 20  # failures of a kind
DEATHS = 10  # after which a kind is left
ACCEPTED, REFUSED = "accepted", "refused"
FAILURES = ("tracebacks", "hangs", "allocations", "lines", "prints", "deaths")
STDERR = 2


@dataclass(frozen=True)
class Case:
    """A malformed input: what it is, in short, and what reads it."""

    what: str
    read: Callable[[], object]


Make = Callable[[random.Random], Case]


@dataclass(frozen=True)
class Kind:
    """A kind of inputs: how many are tried, what makes them in a folder, what refuses them, and whether that logs."""

    count: int
    prepare: Callable[[Path], AbstractContextManager[Make]]
    refusals: tuple[type[Exception], ...] = (FugueError,)
    logs: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of an input."""

    number: int
    fate: str
    what: str = ""
    error: str = ""
    trace: str = field(default="", repr=False)


@dataclass
class Tally:
    """What became of the inputs of a kind."""

    kind: str
    seed: int
    fates: Counter[str] = field(default_factory=Counter)
    failures: list[dict[str, Any]] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Count an input; of those that fail for the same reason the first are told."""
        self.fates[outcome.fate] += 1
        same = sum(failure["error"] == outcome.error for failure in self.failures)
        if outcome.fate in FAILURES and len(self.failures) < SHOWN and same < 2:
            again = f"python -m fuzz --kind {self.kind} --seed {self.seed} --only {outcome.number}"
            self.failures.append({"repeat": again, "fate": outcome.fate, "what": outcome.what, "error": outcome.error})

    @property
    def failed(self) -> int:
        """How many failed."""
        return sum(self.fates[fate] for fate in FAILURES)

    def told(self) -> dict[str, Any]:
        """Return it as a line of JSON says it."""
        counts = {name: self.fates[name] for name in (REFUSED, ACCEPTED, *FAILURES)}
        return {"kind": self.kind, "seed": self.seed, "tried": self.fates.total(), **counts, "failures": self.failures}


class HangError(BaseException):
    """It took too long; no Exception, as readers may rightly turn those into a refusal."""


def outcomes(name: str, kind: Kind, seed: int, numbers: Iterable[int], *, watched: bool) -> Iterator[Outcome | int]:
    """Try inputs here and yield what became of each, before it its number; `watched` also by time and memory."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder, _cache(Path(folder) / "cache"):
        inside = Path(folder) / "in"
        inside.mkdir()
        listens = watched and not kind.logs
        with (
            kind.prepare(inside) as make,
            _strays() as strays,
            _printed() if listens else contextlib.nullcontext(str) as printed,
        ):
            if watched:
                _limit_memory()
            yield READY
            for number in numbers:
                yield number
                source = random.Random(f"{name} {seed} {number}")
                told = _tried(number, make(source), kind, folder, strays, watched=watched)
                prints = printed()
                told = replace(told, fate="prints", error=prints) if prints and told.fate not in FAILURES else told
                yield told


def in_a_process(name: str, kind: Kind, seed: int, numbers: Iterable[int]) -> Iterator[Outcome]:
    """Try inputs in a process of their own, and in another one where one of them ends it."""
    left, deaths = list(numbers), 0
    while left and deaths < DEATHS:
        here, there = get_context("spawn").Pipe(duplex=False)
        process = get_context("spawn").Process(target=_work, args=(there, name, kind, seed, left))
        process.start()
        there.close()
        at = READY
        try:
            while True:
                if not here.poll(2 * PATIENCE_S if at != READY else None):  # it makes what is whole first
                    yield Outcome(at, "hangs", error="nothing interrupts it")
                    break
                told = here.recv()
                if isinstance(told, Outcome):
                    yield told
                else:
                    at = told
        except EOFError:
            process.join()
            if not process.exitcode:
                return
            if at == READY:
                raise SystemExit(f"{name}: nothing could be tried") from None
            yield Outcome(at, "deaths", error=f"the process ended with {process.exitcode}")
        finally:
            process.kill()
            process.join()
        deaths += 1
        left = left[left.index(at) + 1 :]


def _work(there: Connection, name: str, kind: Kind, seed: int, numbers: list[int]) -> None:
    with warnings.catch_warnings():
        # A user would see them among the lines that are meant for them.
        for category in (RuntimeWarning, UserWarning):
            warnings.simplefilter("error", category)
        for told in outcomes(name, kind, seed, numbers, watched=True):
            there.send(told)


def _tried(number: int, case: Case, kind: Kind, folder: str, strays: list[BaseException], *, watched: bool) -> Outcome:
    before = _peak_anew() if watched else 0
    said, fate = "", ACCEPTED
    try:
        with _alarm() if watched else contextlib.nullcontext():
            case.read()
    except kind.refusals as error:
        fate, said = REFUSED, str(error)
    except HangError:
        return Outcome(number, "hangs", case.what, f"more than {LONGEST_S} s")
    except Exception as error:  # noqa: BLE001 - what is looked for
        return _raised(number, case, error)
    if strays:
        stray, strays[:] = strays[0], []
        return _raised(number, case, stray)
    if watched and (taken := _peak() - before) > MOST_BYTES:
        return Outcome(number, "allocations", case.what, f"{taken / 2**20:.0f} MB")
    plain = said.replace(folder, "")
    if any(not character.isprintable() for character in plain) or len(plain) > LONGEST_LINE:
        return Outcome(number, "lines", case.what, repr(plain[:300]))
    return Outcome(number, fate, case.what, said)


def _raised(number: int, case: Case, error: BaseException) -> Outcome:
    return Outcome(number, "tracebacks", case.what, _told(error), "".join(traceback.format_exception(error)))


def _told(error: BaseException) -> str:
    """Return an error and the last line of the project that it came through."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "fugue_state" in frame.filename]
    where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno} {frames[-1].name}" if frames else "elsewhere"
    return f"{type(error).__name__}: {str(error)[:160]!r} ({where})"


@contextlib.contextmanager
def _alarm() -> Iterator[None]:
    def ring(*_: object) -> None:
        raise HangError

    alarms = ((signal.SIGPROF, signal.ITIMER_PROF, LONGEST_S), (signal.SIGALRM, signal.ITIMER_REAL, PATIENCE_S))
    before = [signal.signal(number, ring) for number, _, _ in alarms]
    for _, timer, seconds in alarms:
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for (number, timer, _), old in zip(alarms, before, strict=True):
            signal.setitimer(timer, 0)
            signal.signal(number, old)


@contextlib.contextmanager
def _strays() -> Iterator[list[BaseException]]:
    """Collect the errors that nobody can catch: of threads, and of what is thrown away."""
    found: list[BaseException] = []

    def note(told: Any) -> None:
        if told.exc_value is not None:
            found.append(told.exc_value)

    hooks = sys.unraisablehook, threading.excepthook
    sys.unraisablehook = threading.excepthook = note
    try:
        yield found
    finally:
        sys.unraisablehook, threading.excepthook = hooks


@contextlib.contextmanager
def _printed() -> Iterator[Callable[[], str]]:
    """Collect what libraries print, which no error tells: yields what returns that since it was last asked."""
    before = os.dup(STDERR)
    with tempfile.TemporaryFile() as kept:

        def since() -> str:
            text = os.pread(kept.fileno(), LONGEST_LINE, 0).decode(errors="replace")
            os.ftruncate(kept.fileno(), os.lseek(kept.fileno(), 0, os.SEEK_SET))
            return text

        os.dup2(kept.fileno(), STDERR)
        try:
            yield since
        finally:
            os.dup2(before, STDERR)
            os.close(before)


@contextlib.contextmanager
def _cache(folder: Path) -> Iterator[None]:
    before = os.environ.get("FUGUE_CACHE")
    os.environ["FUGUE_CACHE"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["FUGUE_CACHE"]
        else:
            os.environ["FUGUE_CACHE"] = before


def _limit_memory() -> None:
    """Let this process ask for so much more, so that nothing else is harmed."""
    with contextlib.suppress(OSError):  # no Linux
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + ROOM_BYTES, hard))


def _peak() -> int:
    """Return the most memory that this process has held, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _peak_anew() -> int:
    """Count the most memory from now on, where the system lets one, and return what there is."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _peak()
