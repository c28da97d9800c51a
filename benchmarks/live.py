"""A memory played live by a script, over the real sockets; prints JSON.

    python benchmarks/live.py [MODEL] [--minutes 30] [--buffer live]

`fugue play` runs as a process of its own; the script is a performer, a listener and an OSC controller (200 messages a
second) at once. First the sound is left alone, then random layers jump over their full range, a hundred times, then
faders, brushes and banks move until the end.

- `start_s`: from the start of the command to the first block of sound.
- `control_ms`: from sending a `set` to the arrival of the block in which it is first heard.
- `load` of one core, `underruns`, `gaps` in what arrives, samples that are `nan` or `over` the ceiling.
- `clicks`: largest step from sample to sample, left alone and with jumps; the second at most twice the first.
- `memory_mb` of the process, a fifth of the way in and at the end.
- `replay_equal`: whether the take of the first two minutes plays offline to the very samples that arrived.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import math
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pythonosc.osc_message_builder import OscMessageBuilder
from websockets.asyncio.client import ClientConnection, connect

from fugue_state.config import DEFAULT_MEMORY, MasterConfig
from fugue_state.live.protocol import read_audio_block
from fugue_state.memory.memory import Memory
from fugue_state.piece.performance import Performance
from fugue_state.score.text import load_score

CREDIT = 50
OSC_PER_S = 200
JUMPS = 100
KEPT_S = 120.0  # of sound, to compare with the take
CEILING = 10.0 ** (MasterConfig().ceiling_dbtp / 20.0)


@dataclass
class Heard:
    """What has arrived so far."""

    blocks: list[npt.NDArray[np.float32]] = field(default_factory=list)
    arrived: dict[int, float] = field(default_factory=dict)  # of the newest blocks, by their first sample
    keep: bool = True
    end: int = 0
    gaps: int = 0
    nan: int = 0
    over: int = 0
    step: float = 0.0
    last: npt.NDArray[np.float32] | None = None
    first_s: float | None = None

    def add(self, first: int, samples: npt.NDArray[np.float32]) -> None:
        """Take in a block."""
        now = time.perf_counter()
        self.gaps += first != self.end
        self.end = first + len(samples)
        self.arrived[first] = now
        if len(self.arrived) > 1000:
            del self.arrived[next(iter(self.arrived))]
        self.nan += int((~np.isfinite(samples)).sum())
        self.over += int((np.abs(samples) > CEILING).sum())
        joined = samples if self.last is None else np.concatenate([self.last, samples])
        self.step = max(self.step, float(np.abs(np.diff(joined, axis=0)).max()))
        self.last = samples[-1:]
        if self.first_s is None and samples.any():
            self.first_s = now
        if self.keep:
            self.blocks.append(samples)

    def taken_step(self) -> float:
        """Return the largest step since this was asked last."""
        step, self.step = self.step, 0.0
        return step


class Player:
    """The performer's side of the control socket."""

    def __init__(self, control: ClientConnection, heard: Heard) -> None:
        self.control, self.heard = control, heard
        self.waits_ms: list[float] = []
        self.stats: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.refused: list[str] = []
        self._sent: dict[int, float] = {}
        self._count = 0
        self._draw = random.Random(5)

    async def hello(self) -> dict[str, Any]:
        """Say who comes; return the welcome."""
        await self.control.send(json.dumps({"type": "hello", "name": "script"}))
        while (message := json.loads(await self.control.recv()))["type"] != "welcome":
            pass
        found: dict[str, Any] = message
        return found

    async def listen(self) -> None:
        """Read answers and statistics until the end."""
        async for text in self.control:
            message = json.loads(text)
            if message["type"] == "nack":
                self.refused.append(message["message"])
            elif message["type"] == "ack" and message["id"] in self._sent:
                asyncio.get_running_loop().create_task(self._wait(self._sent.pop(message["id"]), message["at_sample"]))
            elif message["type"] == "stats":
                self.stats.append(message)
            elif message["type"] in {"event", "notice"}:
                self.events.append(message)

    async def _wait(self, sent: float, at: int) -> None:
        while self.heard.end <= at:
            await asyncio.sleep(0.0005)
        if at in self.heard.arrived:
            self.waits_ms.append(1000.0 * (self.heard.arrived[at] - sent))

    async def set(self, path: str, *args: Any, timed: bool = False) -> None:
        """Move a control."""
        self._count += 1
        if timed:
            self._sent[self._count] = time.perf_counter()
        await self.control.send(json.dumps({"type": "set", "path": path, "args": args, "id": self._count}))

    async def event(self, **values: Any) -> None:
        """Wait for an event."""
        while not any(values.items() <= event.items() for event in self.events):
            await asyncio.sleep(0.02)

    async def jump(self, layers: int, seconds: float) -> None:
        """Let random layers jump over their full range."""
        for i in range(JUMPS):
            await self.set(f"/layer/{self._draw.randint(1, layers)}/forget", float(i % 2), timed=True)
            await asyncio.sleep(seconds / JUMPS * self._draw.uniform(0.5, 1.5))

    async def play(self, sizes: list[int], until: float) -> None:
        """Move faders, brushes and banks."""
        await self.set("/recall")
        await self.set("/bank/1/store")
        while time.perf_counter() < until:
            n = self._draw.randint(1, len(sizes))
            what = self._draw.random()
            if what < 0.5:
                await self.set(f"/layer/{n}/forget", self._draw.random(), timed=True)
            elif what < 0.8:
                units = bytes(self._draw.choices((0, 128, 255), k=sizes[n - 1]))
                await self.set(f"/grid/{n}", base64.b64encode(units).decode(), timed=True)
            elif what < 0.9:
                await self.set("/bank/2/store")
                await self.set("/bank/1/fire", 1.0)
            else:
                await self.set("/undo")
            await asyncio.sleep(self._draw.uniform(0.02, 0.15))


async def hear(audio: ClientConnection, heard: Heard) -> None:
    """Take all blocks that come."""
    await audio.send(json.dumps({"type": "credit", "blocks": CREDIT}))
    async for message in audio:
        if isinstance(message, bytes):
            _, _, first, samples = read_audio_block(message)
            heard.add(first, samples)
            await audio.send(json.dumps({"type": "credit", "blocks": 1}))


async def control_by_osc(port: int, units: int) -> None:
    """Move a unit of the first layer and the volume, many times a second."""
    start, sent = time.perf_counter(), 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        while True:
            sent += 1
            share = 0.5 + 0.5 * math.sin(sent / 100.0)
            path = f"/fugue/unit/1/{1 + sent % units}/strength" if sent % 2 else "/fugue/volume"
            builder = OscMessageBuilder(path)
            builder.add_arg(share if sent % 2 else 0.15 + 0.1 * share)
            out.sendto(builder.build().dgram, ("127.0.0.1", port))
            await asyncio.sleep(max(0.0, start + sent / OSC_PER_S - time.perf_counter()))


def resident_mb(process: subprocess.Popen[str]) -> float:
    """Return the memory of a process in MB; 0 where the system does not tell."""
    status = Path(f"/proc/{process.pid}/status")
    found = re.search(r"VmRSS:\s+(\d+)", status.read_text()) if status.exists() else None
    return int(found[1]) / 1024 if found else 0.0


async def perform(where: str, osc_port: int, seconds: float, process: subprocess.Popen[str], began: float) -> Any:
    """Play for so long; return what was measured, and all that was heard of the take."""
    heard = Heard()
    async with connect(f"{where}/ws/control", max_size=None) as control, connect(f"{where}/ws/audio") as audio:
        player = Player(control, heard)
        welcome = await player.hello()
        sizes = [size for _, size in welcome["memory"]["layers"]]
        tasks = [asyncio.create_task(work) for work in (player.listen(), hear(audio, heard))]
        await player.set("/rec/start")
        await player.set("/play", 1)
        begin = time.perf_counter()
        await asyncio.sleep(seconds / 6)
        steady = heard.taken_step()
        await player.jump(len(sizes), seconds / 6)
        jumping = heard.taken_step()
        before_mb = resident_mb(process)
        osc = asyncio.create_task(control_by_osc(osc_port, sizes[0]))
        end = begin + seconds
        await player.play(sizes, min(end, begin + KEPT_S))
        await player.set("/rec/stop")
        await player.event(what="take", did="kept")
        heard.keep = False
        await player.play(sizes, end)
        after_mb = resident_mb(process)
        for task in (osc, *tasks):
            task.cancel()
        results = await asyncio.gather(osc, *tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result
    loads = [one["load"] for one in player.stats[1:]] or [0.0]
    told = {
        "minutes": round(seconds / 60, 2),
        "start_s": round((heard.first_s or math.nan) - began, 2),
        "control_ms": {
            "median": round(statistics.median(player.waits_ms), 1),
            "p99": round(float(np.quantile(player.waits_ms, 0.99)), 1),
            "count": len(player.waits_ms),
        },
        "load": {"median": statistics.median(loads), "max": max(loads)},
        "underruns": player.stats[-1]["underruns"],
        "quality": sorted({one["quality"] for one in player.stats}),
        "gaps": heard.gaps,
        "nan": heard.nan,
        "over": heard.over,
        "clicks": {"steady": round(steady, 5), "jumping": round(jumping, 5), "times": round(jumping / steady, 2)},
        "memory_mb": {"before": round(before_mb, 1), "after": round(after_mb, 1)},
        "refused": dict(Counter(player.refused)),
        "notices": [event["text"] for event in player.events if event["type"] == "notice"],
    }
    return told, np.concatenate(heard.blocks)


def replayed(take: Path, sent: npt.NDArray[np.float32]) -> dict[str, Any]:
    """Play a take offline, and compare it with what was sent."""
    score = load_score(take)
    performance = Performance(score, Memory.load(score.memory))
    begin, at, first = time.perf_counter(), 0, None
    while at < score.samples:
        samples = performance.next().samples
        if first is None and not np.array_equal(samples, sent[at : at + len(samples)]):
            first = at
        at += len(samples)
    return {
        "replay_equal": first is None,
        "first_difference": first,
        "replayed_s": round(score.samples / performance.rate, 1),
        "replay_took_s": round(time.perf_counter() - begin, 1),
        "changes": len(score.changes),
    }


def free_port() -> int:
    """Return a UDP port that nobody uses."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def measure(model: str, minutes: float, buffer: str, folder: Path) -> dict[str, Any]:
    """Start the command, play it, end it, and replay its take."""
    port = free_port()
    words = ["play", model, "--port", "0", "--osc-port", str(port), "--buffer", buffer, "--takes", str(folder)]
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", "from fugue_state.cli import main; main()", *words], stderr=subprocess.PIPE, text=True
    )
    with process:
        try:
            said = process.stderr.readline() if process.stderr else ""
            where = re.sub("^http", "ws", said.split(" at ")[1].split()[0]).rstrip("/")
            told, sent = asyncio.run(perform(where, port, 60.0 * minutes, process, began))
        finally:
            process.send_signal(signal.SIGINT)
    return {**told, **replayed(folder / "take-001.toml", sent)}


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=DEFAULT_MEMORY)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--buffer", default="live")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(options.model, options.minutes, options.buffer, Path(folder))))


if __name__ == "__main__":
    main()
