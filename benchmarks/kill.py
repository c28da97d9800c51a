"""Commands that are killed (SIGKILL) at random points, and what is left; prints a line of JSON for each command.

    python benchmarks/kill.py [--kills 100] [--seed 0] [--only COMMAND] [--point NUMBER]

A tiny memory and a tiny corpus are made in a folder that is removed. `fugue train`, `render` (with and without stems,
portrait, labels, film and poster), `film` and `play` while a take is recorded (over its control socket) run undisturbed
once, then they are killed: at every other point just before one of the changes that they make to files, else at any
moment. To be quick, a command is a fork of this process, which has imported all and done nothing. Renders keep a place
to go on from after every second of the piece, and training saves at every step, which both do rarely otherwise.

- `whole`: after how many kills all that was there under a final name could be read, and was what the undisturbed
  command made: renders and films byte by byte, all of them there where the piece is; of a take score and sound.
- `went_on`: after how many the same command ended well, with `--resume` where it asked for that, or of a film with
  `--force`; of `fugue play`: the next one named the take and completed or removed it. Nothing half-written, hidden or
  not, was left by then.
- `same_bytes`: after how many of these the end was that of the undisturbed command: renders and films byte by byte,
  training state and memory by all they hold, but for the time it took; a take plays to the samples that were heard.
- `failures`: what was not so, with the number of the point; `--only COMMAND --point NUMBER` kills at it again.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import soundfile
import torch
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from fugue_state.audio import io
from fugue_state.cli import main as fugue
from fugue_state.config import MelSpec, ModelConfig
from fugue_state.corpus.cache import VARIABLE
from fugue_state.errors import FugueError
from fugue_state.learning.arrays import as_played
from fugue_state.learning.memory_training import Trainer
from fugue_state.learning.networks import Generator, reestimate_statistics
from fugue_state.memory.catalogue import MemoryHeader
from fugue_state.memory.checkpoint import read_tensors, save_memory
from fugue_state.score.text import load_score

IMPORTED = (
    "fugue_state.cli.composing", "fugue_state.live.server", "fugue_state.live.session", "fugue_state.learning.lesson",
    "fugue_state.look.picture", "fugue_state.picture.film", "fugue_state.engine.performance",
    "fugue_state.picture.portrait", "fugue_state.output.render", "matplotlib.backends.backend_agg",
)  # fmt: skip
CHORDS: Final = {"Am": (220.0, 261.6, 329.6), "C": (261.6, 329.6, 392.0), "G": (196.0, 246.9, 293.7)}
CLASSES = ("one", "two", "three")  # of the corpus: to name chords at every save would take most of the time
CLIPS = 4  # of each class
SECONDS = 4  # of the piece
SCORE = f"""\
duration_s = {SECONDS}
memory = "tiny.safetensors"
quality = "draft"
[[voices]]
name = "one"
chords = ["Am", "C"]
[[voices]]
name = "two"
chords = ["G"]
"""
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}  # and files opened to be written to
PATIENCE_S = 60.0
TAKE_S = 1.5  # that is recorded
SILENT_S = 0.2  # a shorter take may have no sound yet, which FLAC packs in blocks; its score plays it
FORMS = ("--size", "320x240", "--fps", "24")
OK, WRONG_INPUT = 0, 2


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code (negative if it was killed), what it said, its changes to files, its time."""

    code: int
    said: str
    changes: int
    seconds: float

    @property
    def last(self) -> str:
        """Return the last line that it said."""
        return (self.said.strip().splitlines() or [""])[-1]


@dataclass(frozen=True)
class Point:
    """Where a command is killed: before one of its changes to files, or after a time; `alone`, or all it has begun."""

    change: int | None = None
    seconds: float | None = None
    alone: bool = True


@dataclass
class Tally:
    """What came of the kills of a command."""

    command: str
    kills: int = 0
    whole: int = 0
    went_on: int = 0
    same_bytes: int = 0
    failures: list[str] = field(default_factory=list)


class Running:
    """A command that runs in a folder, as a fork of this process, with a cache of its own."""

    def __init__(self, words: Sequence[str], folder: Path, point: Point | None = None) -> None:
        self._folder, self._said = folder, folder.with_suffix(".said")
        self._changes = folder.with_suffix(".changes")
        for path in (self._said, self._changes):
            path.write_bytes(b"")
        self._begin = time.monotonic()
        self._point = point or Point()
        self.pid = os.fork()
        if self.pid == 0:
            self._work(words)

    def _work(self, words: Sequence[str]) -> None:
        """Do it, in the fork; it never returns."""
        code = 1
        try:
            os.setsid()
            os.chdir(self._folder)
            os.environ[VARIABLE] = str(self._folder.with_suffix(".cache"))
            said = os.open(self._said, os.O_WRONLY | os.O_APPEND)
            for stream in (1, 2):
                os.dup2(said, stream)
            sys.stdout, sys.stderr = (os.fdopen(stream, "w", buffering=1) for stream in (1, 2))
            # Processes that it begins import what the command's would, not this module.
            sys.modules["__main__"] = importlib.import_module("fugue_state.cli.__main__")
            sys.addaudithook(self._watch(os.open(self._changes, os.O_WRONLY | os.O_APPEND)))
            fugue(list(words), prog_name="fugue")
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _watch(self, counted: int) -> Callable[[str, tuple[Any, ...]], None]:
        left, inside = self._point.change, str(self._folder)

        def watch(event: str, args: tuple[Any, ...]) -> None:
            nonlocal left
            writes = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
            if not (writes or event in CHANGES) or not isinstance(args[0], str | os.PathLike):
                return
            if not str(Path(args[0]).absolute()).startswith(inside):
                return
            os.write(counted, b".")
            if left is not None:
                left -= 1
                if left == 0:
                    self.kill()

        return watch

    def kill(self) -> None:
        """Kill it, or all that it has begun as well."""
        pid = self.pid or os.getpid()
        with contextlib.suppress(ProcessLookupError):
            (os.kill if self._point.alone else os.killpg)(pid, signal.SIGKILL)

    @property
    def said(self) -> str:
        """What it has said so far."""
        return self._said.read_text(encoding="utf-8", errors="replace")

    @property
    def ended(self) -> bool:
        """Say whether it has ended, and leave it to be waited for."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None

    def end(self) -> Ended:
        """Wait until it ends; it is killed when its time comes."""
        if self._point.seconds is not None:
            while not self.ended and time.monotonic() - self._begin < self._point.seconds:
                time.sleep(0.002)
            self.kill()
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        seconds = time.monotonic() - self._begin
        return Ended(code, self.said, len(self._changes.read_bytes()), seconds)


def run(words: Sequence[str], folder: Path, point: Point | None = None) -> Ended:
    """Run a command in a folder to its end, whatever that is."""
    return Running(words, folder, point).end()


def half_written(folder: Path) -> list[str]:
    """Return what was left under names that are not final, in a folder and in the cache."""
    places = [path for top in (folder, folder.with_suffix(".cache")) for path in top.rglob("*")]
    return sorted(path.name for path in places if ".part" in path.name or path.name.endswith((".take", ".run.lock")))


def final(folder: Path) -> dict[str, Path]:
    """Return what is in a folder under final names."""
    found = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name: path for name, path in found.items() if not re.search(r"(^|/)\.|\.part/|\.take/|^log/", name)}


class Files:
    """A command that makes files: killed, and asked again as it asks to be."""

    def __init__(self, home: Path, name: str, words: Sequence[str], given: Path) -> None:
        self.name, self._words, self._given, self._home = name, words, given, home
        self._whole = self._fresh("whole")
        self._ended = run(words, self._whole)
        if self._ended.code != OK:
            raise SystemExit(f"fugue {' '.join(words)}: {self._ended.said}")

    def _fresh(self, name: str) -> Path:
        """Return a new folder with what is given, and the cache that the undisturbed command left."""
        folder = self._home / name
        shutil.copytree(self._given, folder)
        if name != "whole" and (kept := self._home / "whole.cache").exists():
            shutil.copytree(kept, folder.with_suffix(".cache"))
        return folder

    def point(self, number: int, chance: random.Random) -> Point:
        """Return a point at which it is still at work."""
        if number % 2:
            return Point(change=chance.randint(1, self._ended.changes))
        return Point(seconds=chance.uniform(0.0, self._ended.seconds))

    def kill(self, number: int, chance: random.Random, tally: Tally) -> None:
        """Kill it at a point, look at what is left, and ask again."""
        folder = self._fresh(str(number))
        point = self.point(number, chance)
        killed = run(self._words, folder, point)
        tally.kills += 1
        if killed.code not in {OK, -signal.SIGKILL}:
            tally.failures.append(f"{number}: killed at {point}, it ended with {killed.code}: {killed.last}")
            return
        wrong = self.wrong(folder)
        tally.whole += not wrong
        again = self._again(folder, resume=chance.random() < 0.5)
        left = half_written(folder)
        if again.code != OK:
            wrong.append(f"it does not go on: {again.last}")
        elif left:
            wrong.append(f"left over: {', '.join(left)}")
        else:
            tally.went_on += 1
            different = self.different(folder)
            tally.same_bytes += not different
            wrong += [f"not the same: {name}" for name in different]
        tally.failures += [f"{number}, killed at {point}: {line}" for line in wrong]
        shutil.rmtree(folder)

    def _again(self, folder: Path, *, resume: bool) -> Ended:
        """Ask for it again, with or without --resume first, and do what it says."""
        ended = Ended(WRONG_INPUT, "--resume" if resume else "", 0, 0.0)
        if not resume or "--resume" not in self.options:
            ended = run(self._words, folder)
        if ended.code == WRONG_INPUT and "--resume" in ended.last:
            ended = run([*self._words, "--resume"], folder)
            if ended.code == WRONG_INPUT and re.search("without --resume|no run to resume", ended.last):
                ended = run(self._words, folder)
        if ended.code != WRONG_INPUT or "exists already" not in ended.last:
            return ended
        if self.missing(folder) or half_written(folder):
            return run([*self._words, *self.options], folder)
        return Ended(OK, "", 0, 0.0)  # it was all done

    @property
    def options(self) -> tuple[str, ...]:
        """What lets it end what was begun."""
        return ("--force",) if self._words[0] == "film" else ("--resume",)

    def missing(self, folder: Path) -> list[str]:
        """Return the names that only the undisturbed command made."""
        return sorted(final(self._whole).keys() - final(folder).keys())

    def wrong(self, folder: Path) -> list[str]:
        """Return what is wrong with what is there."""
        there, whole = final(folder), final(self._whole)
        wrong = [f"not whole: {name}" for name in there if not self.same(name, there[name], whole[name])]
        pictures = re.compile(r"(\.png|\.mp4)$")  # are made of the piece, and so after it
        sounds = [name for name in self.missing(folder) if not pictures.search(name)]
        if self._words[0] == "render" and "piece.wav" in there and sounds:
            wrong.append(f"the piece is there without {', '.join(sounds)}")
        return wrong

    def different(self, folder: Path) -> list[str]:
        """Return the names of what differs from what the undisturbed command made."""
        there, whole = final(folder), final(self._whole)
        unlike = [name for name in there.keys() & whole.keys() if not self.same(name, there[name], whole[name])]
        return sorted([*unlike, *(there.keys() ^ whole.keys())])

    def same(self, name: str, ours: Path, theirs: Path) -> bool:
        """Say whether two files hold the same."""
        del name
        return ours.read_bytes() == theirs.read_bytes()


class Training(Files):
    """Training: what was measured on the way differs in the time it took, and the data in where they lie."""

    def wrong(self, folder: Path) -> list[str]:
        """Return what cannot be read."""
        wrong = []
        for name, path in final(folder).items():
            try:
                self._read(path)
            except (FugueError, ValueError, KeyError, OSError, soundfile.LibsndfileError) as error:
                wrong.append(f"not whole: {name} ({error})")
        if (folder / "run/losses.csv").is_file() and (folder / "run/state.safetensors").is_file():
            lines = (folder / "run/losses.csv").read_text(encoding="utf-8").splitlines()[1:]
            steps = int(read_tensors(folder / "run/state.safetensors", Trainer.kind)[1]["step"])
            if [int(line.split(",")[0]) for line in lines[:steps]] != list(range(1, steps + 1)):
                wrong.append(f"losses of {len(lines)} steps, a state of {steps}")
        return wrong

    def same(self, name: str, ours: Path, theirs: Path) -> bool:
        """Say whether two files hold the same, but for the time it took."""
        if name.startswith("run/card"):
            return ours.stat().st_size > 0
        return bool(self._read(ours) == self._read(theirs))

    def _read(self, path: Path) -> Any:
        """Return what a file holds, without times and places."""
        if path.suffix == ".safetensors":
            kind = Trainer.kind if path.name.startswith("state") else "memory"
            values, tensors = read_tensors(path, kind)
            values = {key: value for key, value in values.items() if key not in {"metrics", "data_key"}}
            return json.dumps(values, sort_keys=True), {name: t.tobytes() for name, t in tensors.items()}
        if path.suffix == ".csv":
            rows = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()]
            if any(len(row) != len(rows[0]) for row in rows):
                raise ValueError("a row that is cut off")
            return [row[:-1] for row in rows]
        if path.suffix == ".jsonl":
            lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            return [{key: value for key, value in line.items() if key != "minutes"} for line in lines]
        if path.suffix == ".json":
            return {**json.loads(path.read_text(encoding="utf-8")), "data_key": ""}
        if path.suffix in {".wav", ".flac"}:
            return soundfile.read(path)[0].tobytes()
        return path.read_bytes()


class Page:
    """A control socket of a server."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self.notices: list[str] = []
        self._number = 0

    def set(self, path: str, *args: Any) -> None:
        """Move a control."""
        self._number += 1
        self._socket.send(json.dumps({"type": "set", "path": path, "args": args, "id": self._number}))

    def until(self, wanted: Callable[[dict[str, Any]], bool], seconds: float = PATIENCE_S) -> bool:
        """Say whether a message comes in time."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                message = json.loads(self._socket.recv(timeout=left))
            except TimeoutError:
                return False
            if message["type"] == "notice":
                self.notices.append(message["text"])
            if wanted(message):
                return True
        return False


@contextlib.contextmanager
def page(server: Running) -> Iterator[Page]:
    """Yield a control socket of a server that has just begun."""
    end = time.monotonic() + PATIENCE_S
    while not (found := re.search(r"http://([\d.:]+)", server.said)):
        if time.monotonic() > end or server.ended:
            raise FugueError(f"fugue play did not start: {server.said}")
        time.sleep(0.01)
    with connect(f"ws://{found[1]}/ws/control", compression=None, max_size=None, close_timeout=0.2) as socket:
        socket.send(json.dumps({"type": "hello", "name": "killer"}))
        one = Page(socket)
        if not one.until(lambda message: message["type"] == "welcome"):
            raise FugueError("fugue play does not answer")
        yield one


class Playing:
    """`fugue play` while a take is recorded, and completed."""

    name = "play"
    _words = ("play", "tiny.safetensors", "--port", "0", "--no-osc", "--takes", "takes", "--quality", "draft")

    def __init__(self, home: Path, given: Path) -> None:
        self._home, self._given = home, given
        folder = self._fresh("first")
        server = Running(self._words, folder)
        with page(server) as hand:
            begin = time.monotonic()
            before = len(folder.with_suffix(".changes").read_bytes())
            self._perform(hand)
            if not hand.until(lambda message: message.get("did") == "kept"):
                raise SystemExit(f"no take was kept: {hand.notices}")
            self._seconds = time.monotonic() - begin
            self._span = (before + 1, len(folder.with_suffix(".changes").read_bytes()))
        os.kill(server.pid, signal.SIGINT)
        server.end()
        self._cache = folder.with_suffix(".cache")

    def _fresh(self, name: str) -> Path:
        folder = self._home / name
        shutil.copytree(self._given, folder)
        if name != "first" and self._cache.exists():
            shutil.copytree(self._cache, folder.with_suffix(".cache"))
        return folder

    @staticmethod
    def _perform(hand: Page) -> None:
        hand.set("/rec/start")
        hand.set("/play", 1)
        end, number = time.monotonic() + TAKE_S, 0
        while time.monotonic() < end:
            number += 1
            hand.set("/forget", number % 20 / 20)
            if number == 10:
                hand.set("/mark", "here")
            hand.until(lambda _: False, 0.05)
        hand.set("/rec/stop")

    def kill(self, number: int, chance: random.Random, tally: Tally) -> None:
        """Kill a server while it records or completes a take; start the next one."""
        folder = self._fresh(str(number))
        alone = chance.random() < 0.5
        change = chance.randint(*self._span) if number % 2 else None
        seconds = None if number % 2 else chance.uniform(0.0, self._seconds)
        server = Running(self._words, folder, Point(change=change, alone=alone))
        with contextlib.suppress(ConnectionClosed, OSError), page(server) as hand:
            if seconds is None:
                self._perform(hand)
                hand.until(lambda message: message.get("did") == "kept")
            else:
                self._killed_at(seconds, server, hand)
        server.kill()
        server.end()
        tally.kills += 1
        takes = folder / "takes"
        wrong = self._wrong(takes)
        tally.whole += not wrong
        begun = sorted(path.name for path in takes.glob("*.take"))
        at = f"{number}, killed at {'change ' + str(change) if seconds is None else f'{seconds:.2f} s'}, {alone=}"
        if said := self._goes_on(folder, begun):
            wrong.append(said)
        else:
            tally.went_on += 1
            different = self._wrong(takes) + self._unheard(folder)
            tally.same_bytes += not different
            wrong += different
        tally.failures += [f"{at}: {line}" for line in wrong]
        shutil.rmtree(folder)

    def _killed_at(self, seconds: float, server: Running, hand: Page) -> None:
        """Perform, with the server killed at a time."""
        killer = os.fork()
        if killer == 0:
            time.sleep(seconds)
            server.kill()
            os._exit(0)
        try:
            self._perform(hand)
            hand.until(lambda message: message.get("did") == "kept")
        finally:
            os.waitpid(killer, 0)

    @staticmethod
    def _wrong(takes: Path) -> list[str]:
        """Return what is wrong with takes under their final names."""
        wrong = []
        for path in sorted(takes.glob("take-*.*")):
            try:
                if path.suffix == ".flac":
                    soundfile.read(path)
                if path.suffix != ".toml":
                    continue
                length_s = load_score(path).length_s
                if length_s > SILENT_S and not path.with_suffix(".flac").exists():
                    wrong.append(f"{path.name} of {length_s:.2f} s without a sound")
            except (FugueError, soundfile.LibsndfileError) as error:
                wrong.append(f"not whole: {path.name} ({error})")
        return wrong

    def _goes_on(self, folder: Path, begun: Sequence[str]) -> str:
        """Start the next server; return what is wrong with what it makes of takes that were begun, or nothing."""
        server = Running(self._words, folder)

        def told(hand: Page) -> bool:
            return all(any(Path(name).stem in line for line in hand.notices) for name in begun)

        with page(server) as hand:
            hand.until(lambda _: told(hand), PATIENCE_S if begun else 0.2)
            named = told(hand)
        os.kill(server.pid, signal.SIGINT)
        ended = server.end()
        end = time.monotonic() + PATIENCE_S / 6
        while half_written(folder) and time.monotonic() < end:  # by what a killed server had begun
            time.sleep(0.05)
        if not named:
            return f"{', '.join(begun)} not named: {hand.notices}"
        if ended.code != OK:
            return f"the next one ended with {ended.code}: {ended.last}"
        return f"left over: {', '.join(left)}" if (left := half_written(folder)) else ""

    @staticmethod
    def _unheard(folder: Path) -> list[str]:
        """Return which take does not play to the samples that were heard."""
        wrong = []
        for take in sorted((folder / "takes").glob("*.toml")):
            # FLAC as the take's own sound: a WAV's samples are rounded otherwise.
            ended = run(["render", f"takes/{take.name}", "-o", "again.flac", "--force"], folder)
            if ended.code != OK:
                wrong.append(f"{take.name} cannot be rendered: {ended.last}")
            if ended.code != OK or not take.with_suffix(".flac").exists():
                continue
            ours, heard = (
                soundfile.read(path, dtype="int32")[0] for path in (folder / "again.flac", take.with_suffix(".flac"))
            )
            length = min(len(ours), len(heard))
            if length == 0 or not np.array_equal(ours[:length], heard[:length]):
                wrong.append(f"{take.name} does not play to what was heard")
        return wrong


def prepare(given: Path) -> None:
    """Make a tiny memory, corpus and score in a folder."""
    torch.manual_seed(3)
    generator = Generator(ModelConfig(feature_maps=4, latent_size=16, labels=tuple(CHORDS)))
    reestimate_statistics(generator, seed=0, batches=4, batch=32)
    header = MemoryHeader(
        name="tiny", mel=MelSpec(), model=ModelConfig(feature_maps=4, latent_size=16, labels=tuple(CHORDS)), steps=1
    )
    given.mkdir()
    save_memory(given / "tiny.safetensors", as_played(generator), header)
    (given / "piece.toml").write_text(SCORE, encoding="utf-8")
    seconds = np.arange(33_000) / 22_050
    for label, notes in zip(CLASSES, CHORDS.values(), strict=True):
        for clip in range(CLIPS):
            tone = sum(np.sin(2 * np.pi * hz * k * seconds + clip) / k for hz in notes for k in range(1, 6))
            path = given / "corpus" / label / f"{label}_g{clip % 2}_{clip}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            io.write(path, (0.05 * np.exp(-2 * seconds) * tone).astype(np.float32), 22_050)


RENDERS: Final = (
    (),
    ("--stems", "--labels"),
    ("--film", "piece.mp4", "--poster", "poster.png", *FORMS),
)
TRAIN: Final = (
    "train", "corpus", "-o", "run", "--steps", "3", "--save-minutes", "1e-9", "--batch", "4", "--feature-maps", "4",
    "--latent-size", "16", "--precision", "fp32", "--layout", "channels_last", "--frames", "32",
)  # fmt: skip


def commands(home: Path, only: str | None) -> Iterator[tuple[str, list[Any]]]:
    """Yield the commands by name, each in its kinds; an undisturbed run of each is made."""
    given = home / "given"
    if (maker := os.fork()) == 0:  # threads begin in it that later forks would not like
        prepare(given)
        os._exit(0)
    if os.waitpid(maker, 0)[1]:
        raise SystemExit("what is to be killed could not be made")
    for name in ("train", "render", "film", "play"):
        if only is not None and name != only:
            continue
        (home / name).mkdir()
        if name == "train":
            yield name, [Training(home / name, name, TRAIN, given)]
        elif name == "play":
            yield name, [Playing(home / name, given)]
        elif name == "film":
            sound = home / "sound"
            shutil.copytree(given, sound)
            if (ended := run(["render", "piece.toml", "-o", "piece.wav"], sound)).code != OK:
                raise SystemExit(ended.said)
            yield name, [Files(home / name, name, ("film", "piece.wav", "--poster", "poster.png", *FORMS), sound)]
        else:
            kinds = []
            for number, more in enumerate(RENDERS):
                (home / name / f"kind{number}").mkdir()
                words = ("render", "piece.toml", "-o", "piece.wav", *more)
                kinds.append(Files(home / name / f"kind{number}", name, words, given))
            yield name, kinds


def be_quick() -> None:
    """Import all, let renders and previews of training keep something at every step, and training do little for it."""
    for name in IMPORTED:
        importlib.import_module(name)
    rendering = importlib.import_module("fugue_state.output.render")
    rendering.render = functools.partial(rendering.render, checkpoint_s=0.0)  # type: ignore[attr-defined]
    training = importlib.import_module("fugue_state.learning.memory_training")
    training.FIRST_PREVIEW = 2  # type: ignore[attr-defined]
    training.reestimate_statistics = functools.partial(reestimate_statistics, batches=2, batch=8)  # type: ignore[attr-defined]
    torch.set_num_threads(1)


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="shared among the commands")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=("train", "render", "film", "play"))
    parser.add_argument("--point", type=int, help="only this one")
    options = parser.parse_args()
    be_quick()
    each = options.kills // (4 if options.only is None else 1)
    with tempfile.TemporaryDirectory() as folder:
        for name, kinds in commands(Path(folder).resolve(), options.only):
            tally = Tally(name)
            for number in range(each) if options.point is None else [options.point]:
                chance = random.Random(f"{options.seed} {name} {number}")
                kinds[number // 2 % len(kinds)].kill(number, chance, tally)
                print(f"{name} {number} {time.strftime('%X')}", *tally.failures, sep="\n  ", file=sys.stderr)
            print(json.dumps(vars(tally)), flush=True)


if __name__ == "__main__":
    main()
