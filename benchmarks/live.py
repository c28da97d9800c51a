"""A memory played live by a script, over the real sockets; prints JSON.

    python benchmarks/live.py [MODEL] [--minutes 30] [--buffer live]

`fugue play` runs as a process of its own; the script is a performer, a listener and an OSC controller (200 messages a
second) at once. First the sound is left alone, then random layers jump over their full range, a hundred times, then
faders, brushes and banks move until the end; after two minutes another memory is taken, and the first one again. Where
there is a Chromium, a page is measured before, with a server of its own.

- `start_s`: from the start of the command to the first block of sound.
- `control_ms`: from sending a `set` to the arrival of the block in which it is first heard.
- `load` of one core, smoothed over a second; `draft` is the share of the seconds in which quality had stepped down.
- `rested`: how many of the blocks (43 a second) made nothing anew, as the one before had come late.
- `underruns`, `gaps` in what arrives, samples that are `nan` or `over` the ceiling.
- `clicks`: largest step from sample to sample, left alone and with jumps; the second at most twice the first.
- `memory_mb` of the process, then and at the end.
- `replay_equal`: whether the take of the first two minutes plays offline to the very samples that arrived.
- `page`: from opening it to sound, and from moving a control there to a clear change in the worklet's output; how many
  pictures it shows in a second while a hand moves its master fader.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
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
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pythonosc.osc_message_builder import OscMessageBuilder
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from websockets.asyncio.client import ClientConnection, connect

from fugue_state.config import DEFAULT_MEMORY, MasterConfig
from fugue_state.engine.performance import Performance
from fugue_state.live.protocol import read_audio_block
from fugue_state.memory.memory import Memory
from fugue_state.score.text import load_score

CREDIT = 50
OSC_PER_S = 200
STEADY_S, JUMPS_S = 15.0, 45.0  # at most; shorter in a short run
JUMPS = 100
SWAPPED_S = 10.0  # with another memory, and back
KEPT_S = 120.0  # of sound, to compare with the take
CHROMIUM, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
MOVES = 100  # of the volume, on the page
SWEPT_MS = 5000
# A worklet after the page's own, which tells with every quantum how loud the last 512 samples were.
EAR = """
    const done = arguments[arguments.length - 1];
    const { sound, control, controls } = fugue;
    const until = async (true_) => { while (!true_()) await new Promise((on) => setTimeout(on, 4)); };
    let level = 0;
    let crossed = () => {};
    async function listen() {
      await until(() => sound.node);
      const { context } = sound;
      const code = `registerProcessor("ear", class extends AudioWorkletProcessor {
        quanta = [0, 0, 0, 0];
        process([[left]]) {
          if (!left) return true;
          this.quanta = [...this.quanta.slice(1), left.reduce((sum, x) => sum + x * x, 0)];
          this.port.postMessage(Math.sqrt(this.quanta.reduce((a, b) => a + b) / 512));
          return true;
        }
      });`;
      await context.audioWorklet.addModule(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
      const ear = new AudioWorkletNode(context, "ear");
      ear.port.onmessage = ({ data }) => { level = data; crossed(data); };
      sound.node.connect(ear).connect(context.destination);
    }
"""
# Press start; milliseconds from opening the page until something is heard.
PRESS = """
    (async () => {
      document.querySelector("#start").click();
      await listen();
      await until(() => level > 1e-3);
      done(performance.now());
    })();
"""
# Move the volume up and down tenfold while the sound is held: milliseconds until the level is half, or twice, what it
# was at any time in the 200 ms before.
MOVE = """
    const settled = () => new Promise((on) => setTimeout(on, 200 + 200 * Math.random()));
    const heard = (path, value) => new Promise((on) => {
      const follow = ({ detail: ack }) => {
        if (ack.path !== path) return;
        control.removeEventListener("ack", follow);
        until(() => sound.heard(performance.now()) > ack.at_sample).then(on);
      };
      control.addEventListener("ack", follow);
      controls.set(path, [value]);
    });
    (async () => {
      await listen();
      const waits = [];
      let [now, next] = [0.5, 0.05];
      await heard("/volume", now);
      do {  // until a moment is held that is loud
        await heard("/freeze", 0);
        await new Promise((on) => setTimeout(on, 1000 * Math.random()));
        await heard("/freeze", 1);
        await settled();
      } while (level < 0.01);
      for (let i = 0; i < arguments[0]; i++) {
        await settled();
        const levels = [];
        crossed = (data) => levels.push(data);
        await new Promise((on) => setTimeout(on, 200));
        const [low, high] = [Math.min(...levels) / 2, 2 * Math.max(...levels)];
        const began = performance.now();
        const moved = new Promise((on) => {
          crossed = (data) => { if (next < now ? data < low : data > high) on(performance.now() - began); };
        });
        controls.set("/volume", [next]);
        waits.push(await moved);
        [now, next] = [next, now];
      }
      done(waits);
    })();
"""
# Move the master fader with every picture, and count these for so many milliseconds: how many there are in a second.
SWEEP = """
    let pictures = 0;
    const began = performance.now();
    const sweep = (now) => {
      if (now - began > arguments[0]) return done((1000 * pictures) / (now - began));
      pictures += 1;
      controls.set("/forget", [0.5 - 0.5 * Math.cos(now / 500)]);
      requestAnimationFrame(sweep);
    };
    controls.set("/freeze", [0]);
    requestAnimationFrame(sweep);
"""
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
        self.notices: list[str] = []
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
            elif message["type"] == "notice":
                self.notices.append(message["text"])
            elif message["type"] in {"event", "welcome"}:
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

    async def swap(self, memory: str) -> list[int]:
        """Go on with another memory; return how many units its layers have."""
        self.events.clear()
        await self.set("/memory", memory)
        await self.event(type="welcome")
        welcome = next(event for event in self.events if event["type"] == "welcome")
        return [size for _, size in welcome["memory"]["layers"]]

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


def kept_up(player: Player, heard: Heard) -> dict[str, Any]:
    """Return how well playing kept up with time, and what was heard that must not be."""
    return {
        "draft": round(statistics.mean(one["quality"] == "draft" for one in player.stats), 3),
        "rested": player.stats[-1]["rested"],
        "underruns": player.stats[-1]["underruns"],
        "gaps": heard.gaps,
        "nan": heard.nan,
        "over": heard.over,
    }


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
        await asyncio.sleep(min(STEADY_S, seconds / 6))
        steady = heard.taken_step()
        await player.jump(len(sizes), min(JUMPS_S, seconds / 6))
        jumping = heard.taken_step()
        osc = asyncio.create_task(control_by_osc(osc_port, sizes[0]))
        end = begin + seconds
        await player.play(sizes, min(end, begin + KEPT_S))
        await player.set("/rec/stop")
        await player.event(what="take", did="kept")
        heard.keep = False
        for memory in welcome["memories"][1::-1]:
            sizes = await player.swap(memory)
            await player.play(sizes, min(end, time.perf_counter() + SWAPPED_S))
        before_mb = resident_mb(process)
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
        "load": {
            "median": round(statistics.median(loads), 3),
            "p99": round(float(np.quantile(loads, 0.99)), 3),
            "max": max(loads),
        },
        **kept_up(player, heard),
        "clicks": {"steady": round(steady, 5), "jumping": round(jumping, 5), "times": round(jumping / steady, 2)},
        "memory_mb": {"before": round(before_mb, 1), "after": round(after_mb, 1)},
        "refused": dict(Counter(player.refused)),
        "notices": player.notices,
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


@contextlib.contextmanager
def serving(*words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start `fugue play`; yield the process and the address of its page, and end it as Ctrl-C does."""
    command = [sys.executable, "-c", "from fugue_state.cli import main; main()", "play", "--port", "0", *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            said = process.stderr.readline() if process.stderr else ""
            yield process, said.split(" at ")[1].split()[0]
        finally:
            process.send_signal(signal.SIGINT)


def measure(model: str, minutes: float, buffer: str, folder: Path) -> dict[str, Any]:
    """Start the command, play it, end it, and replay its take."""
    port = free_port()
    began = time.perf_counter()
    with serving(model, "--osc-port", str(port), "--buffer", buffer, "--takes", str(folder)) as (process, page):
        where = re.sub("^http", "ws", page).rstrip("/")
        told, sent = asyncio.run(perform(where, port, 60.0 * minutes, process, began))
    return {**told, **replayed(folder / "take-001.toml", sent)}


def measure_page(model: str, buffer: str, folder: Path) -> dict[str, float] | None:
    """Play by a page in a headless Chromium; None where there is none."""
    if not (Path(CHROMIUM).exists() and Path(DRIVER).exists()):
        return None
    options = ChromeOptions()
    options.binary_location = CHROMIUM
    # A script may press the button.
    for argument in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "autoplay-policy=no-user-gesture-required"):
        options.add_argument(f"--{argument}")
    browser = Chrome(options=options, service=ChromeService(DRIVER))
    browser.execute_cdp_cmd("Page.setBypassCSP", {"enabled": True})  # for the ear, which is not of the page
    browser.set_script_timeout(120)
    try:
        began = time.perf_counter()
        with serving(model, "--no-osc", "--buffer", buffer, "--takes", str(folder)) as (_, page):
            browser.get(page)
            first: float = browser.execute_async_script(EAR + PRESS)
            from_command = time.perf_counter() - began
            browser.get(page)
            again: float = browser.execute_async_script(EAR + PRESS)
            waits: list[float] = browser.execute_async_script(EAR + MOVE, MOVES)
            pictures: float = browser.execute_async_script(EAR + SWEEP, SWEPT_MS)
            browser.get("about:blank")
    finally:
        browser.quit()
    return {
        "command_to_sound_s": round(from_command, 2),
        "loading_to_sound_s": round(first / 1000.0, 2),
        "open_to_sound_s": round(again / 1000.0, 2),
        "control_ms": round(statistics.median(waits), 1),
        "control_p99_ms": round(float(np.quantile(waits, 0.99)), 1),
        "pictures_per_s": round(pictures, 1),
    }


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=DEFAULT_MEMORY)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--buffer", default="live")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        page = measure_page(options.model, options.buffer, Path(folder))
        told = measure(options.model, options.minutes, options.buffer, Path(folder))
    print(json.dumps(told | {"page": page}))


if __name__ == "__main__":
    main()
