"""How long whole commands take, start included, beside the common way and beside an earlier version; prints JSON.

    python benchmarks/commands.py [--rounds 3] [--only NAME ...] [--before CHECKOUT] [--night] [--environment]

Every command runs in a process of its own, the versions in turn; the median counts, the very first run is left out.
The common way is librosa's non-negative least squares and 400 Griffin-Lim iterations, event by event, in a process of
its own: its start, and the time for an event on a stated number of them. `times_common` is how many times longer it
takes for as many events as a piece has, `of_before` the share of the earlier version's time. `peak_mb` is the most
memory of the process, `modules` what it has imported. `--before` is the folder of a checkout, which runs with the same
Python. `--night` also renders 6.5 hours, `--environment` measures what a fresh environment takes. One line each.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from websockets.asyncio.client import connect

ROOT = Path(__file__).parents[1]
MAIN = "from fugue_state.cli import main; main()"
COUNTED = """
import atexit, sys
atexit.register(lambda: print("modules", len(sys.modules), file=sys.stderr))
from fugue_state.cli import main
main()
"""
COMMON = """
import sys, time
from fugue_state.memory.memory import Memory
memory = Memory.load("guitar", inverter="original")
mels = memory.generate(memory.latents({events} + 1, 0))
memory.invert(mels[:1])
print(time.perf_counter(), flush=True)
for mel in mels[1:]:
    memory.invert(mel[None])
print(time.perf_counter(), flush=True)
"""
NIGHT_S = 6.5 * 3600
PIECES: dict[str, float] = {"forget": 90.0, "final": 600.0, "draft": 600.0}  # seconds


@dataclass(frozen=True)
class Run:
    """What a process took: seconds, the most MB of memory, the modules that it had imported in the end."""

    seconds: float
    peak_mb: float
    modules: int


def words_of(name: str, out: Path) -> list[str]:
    """Return a command's words; its files go to `out`."""
    piece = ["forget", "-o", str(out / "piece.wav"), "--force"]
    return {
        "help": ["--help"],
        "sample": ["sample", "-n", "1", "-o", str(out / "sample"), "--force"],
        "forget": piece,
        "final": [*piece, "--duration", str(PIECES["final"])],
        "draft": [*piece, "--duration", str(PIECES["draft"]), "--quality", "draft"],
        "minute": [*piece, "--duration", "60", "--quality", "draft"],
        "night": [*piece, "--duration", str(NIGHT_S), "--quality", "draft"],
    }[name]


def environment(checkout: Path) -> dict[str, str]:
    """Return the environment in which a checkout's code is found first."""
    return os.environ | {"PYTHONPATH": str(checkout / "src")}


def run(words: list[str], checkout: Path) -> Run:
    """Run a command to its end."""
    begin = time.perf_counter()
    command = [sys.executable, "-c", COUNTED, *words]
    with subprocess.Popen(
        command, env=environment(checkout), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        said = process.stderr.read() if process.stderr else ""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - begin
    if process.returncode:
        raise SystemExit(f"{' '.join(words)} failed:\n{said}")
    counted = re.findall(r"modules (\d+)", said)
    return Run(seconds, usage.ru_maxrss / 1024, int(counted[-1]) if counted else 0)


async def first_block(page: str) -> None:
    """Wait for the first block of sound that is not silent."""
    where = re.sub("^http", "ws", page).rstrip("/")
    async with connect(f"{where}/ws/control", max_size=None) as control, connect(f"{where}/ws/audio") as audio:
        await control.send(json.dumps({"type": "hello", "name": "script"}))
        await audio.send(json.dumps({"type": "credit", "blocks": 1000}))
        while json.loads(await control.recv())["type"] != "welcome":
            pass
        await control.send(json.dumps({"type": "set", "path": "/play", "args": [1], "id": 1}))
        async for message in audio:
            if isinstance(message, bytes) and any(message[64:]):
                return


def play(checkout: Path, folder: Path) -> Run:
    """Start `fugue play` and hear its first block."""
    words = ["play", "--port", "0", "--no-osc", "--takes", str(folder / "takes")]
    begin = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-c", MAIN, *words], env=environment(checkout), stderr=subprocess.PIPE, text=True
    ) as process:
        said = next(line for line in process.stderr or () if " at " in line)
        asyncio.run(first_block(said.split(" at ")[1].split()[0]))
        seconds = time.perf_counter() - begin
        status = Path(f"/proc/{process.pid}/status").read_text()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    return Run(seconds, int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) / 1024, 0)


def common(events: int) -> dict[str, float]:
    """Return what the common way takes: to start, and for an event."""
    begin = time.perf_counter()
    code = COMMON.format(events=events)
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(ROOT), capture_output=True, text=True, check=True
    )
    ready, end = map(float, done.stdout.split())
    return {"start_s": ready - begin, "event_s": (end - ready) / events}


def events_of(duration_s: float) -> int:
    """Return how many events a piece by the defaults has."""
    from fugue_state.memory.memory import Memory
    from fugue_state.piece.piece import Piece
    from fugue_state.score.model import Score

    score = Score(duration_s=duration_s)
    return sum(1 for _ in Piece(score, Memory.load(score.memory)).events())


def measured(name: str, checkouts: dict[str, Path], rounds: int, way: dict[str, float]) -> dict[str, Any]:
    """Measure one command in all versions, in turn."""
    runs: dict[str, list[Run]] = {version: [] for version in checkouts}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds + (name != "night")):
            for version, checkout in checkouts.items():
                out = Path(folder) / version
                out.mkdir(exist_ok=True)
                one = play(checkout, out) if name == "play" else run(words_of(name, out), checkout)
                if number or name == "night":  # the first compiles, and reads from a cold disk
                    runs[version].append(one)
    now = runs["now"]
    told: dict[str, Any] = {
        "command": name,
        "seconds": round(statistics.median(each.seconds for each in now), 2),
        "peak_mb": round(max(each.peak_mb for each in now)),
        "modules": now[0].modules,
    }
    if name in PIECES:
        count = events_of(PIECES[name])
        told |= {"events": count, "times_common": round((way["start_s"] + count * way["event_s"]) / told["seconds"], 1)}
    if "before" in runs:
        before = runs["before"]
        median = statistics.median(each.seconds for each in before)
        told |= {
            "before_s": round(median, 2),
            "of_before": round(told["seconds"] / median, 3),
            "before_peak_mb": round(max(each.peak_mb for each in before)),
        }
    return told


def sizes() -> Iterator[dict[str, Any]]:
    """Yield what fresh environments take, to play and to learn."""
    for extra in ("", "[learn]"):
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            pip = [f"{folder}/bin/python", "-m", "pip", "install", "--quiet"]
            subprocess.run([*pip, "--constraint", "constraints.txt", f".{extra}"], cwd=ROOT, check=True)
            size = sum(f.lstat().st_size for f in Path(folder).rglob("*") if f.is_file() and not f.is_symlink())
        yield {"environment": f"fugue-state{extra}", "mb": round(size / 1e6)}


def main() -> None:
    """Print a line for every command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = ["help", "sample", "play", "forget", "final", "draft", "minute"]
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=[*commands, "night"], default=commands)
    parser.add_argument("--events", type=int, default=6, help="of the common way")
    parser.add_argument("--before", type=Path, help="folder of a checkout to compare with")
    parser.add_argument("--night", action="store_true")
    parser.add_argument("--environment", action="store_true")
    asked = parser.parse_args()
    checkouts = ({} if asked.before is None else {"before": asked.before.resolve()}) | {"now": ROOT}
    way = common(asked.events) if set(asked.only) & set(PIECES) else {}
    if way:
        print(json.dumps({"common": {key: round(value, 3) for key, value in way.items()}, "events": asked.events}))
    for name in [*asked.only, *(["night"] if asked.night else [])]:
        print(json.dumps(measured(name, checkouts, 1 if name == "night" else asked.rounds, way)), flush=True)
    if asked.environment:
        for line in sizes():
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
