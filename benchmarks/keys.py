"""A memory played by keys, by a script over the real sockets; prints JSON.

    python benchmarks/keys.py [MODEL] [--seconds 60] [--notes 8] [--polyphony 4] [--voice 1] [--loop]

`fugue play` runs as a process of its own. MODEL is a memory or a score; its own loop is off, unless --loop is given,
and the keys play --voice. A scripted keyboard presses so many notes a second, in runs and in chords of three, and lets
each go when --polyphony newer ones have been pressed; the pedal is down in every other four seconds, and the master
fader moves all the time.

- `key_ms`: from sending a press to the arrival of the block in which the engine takes it up. Of keys pressed at once,
  each sounds a block after the one before.
- `load` of one core, smoothed over a second; `draft` is the share of the seconds in which quality had stepped down.
- `rested`, `underruns`, `gaps`, `nan`, `over`: as in benchmarks/live.py.
- `refused`: presses that were not taken.
- `replay_equal`: whether the take plays offline to the very samples that arrived.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from websockets.asyncio.client import connect

sys.path.insert(0, str(Path(__file__).parent))
from live import Heard, Player, hear, kept_up, replayed, serving

from fugue_state.config import DEFAULT_MEMORY

LOWEST, HIGHEST = 40, 76  # the keys that are played: E2 to E5
CHORD_EVERY = 6  # of so many presses, three come at once
PEDAL_S = 4.0


class Keyboard:
    """Presses keys, and lets the oldest go."""

    def __init__(self, player: Player, polyphony: int) -> None:
        self.player, self._most = player, polyphony
        self.presses = 0
        self._held: deque[int] = deque()
        self._draw = random.Random(7)

    async def press(self) -> None:
        """Press a key that is not down."""
        key = self._draw.choice([key for key in range(LOWEST, HIGHEST + 1) if key not in self._held])
        await self.player.set(f"/key/{key}", round(self._draw.uniform(0.3, 1.0), 3), timed=True)
        self._held.append(key)
        self.presses += 1
        while len(self._held) > self._most:
            await self.player.set(f"/key/{self._held.popleft()}", 0)

    async def play(self, seconds: float, notes_per_s: float) -> None:
        """Play for so long."""
        begin = time.perf_counter()
        pedal = 0
        while (passed := time.perf_counter() - begin) < seconds:
            if pedal != (pedal := int(passed / PEDAL_S) % 2):
                await self.player.set("/pedal", pedal)
            await self.player.set("/forget", round(0.35 - 0.35 * math.cos(passed / 5.0), 4))
            together = 3 if self.presses % CHORD_EVERY == 0 else 1
            for _ in range(together):
                await self.press()
            await asyncio.sleep(max(0.0, begin + self.presses / notes_per_s - time.perf_counter()))
        await self.player.set("/pedal", 0)
        while self._held:
            await self.player.set(f"/key/{self._held.popleft()}", 0)


async def perform(where: str, options: argparse.Namespace) -> tuple[dict[str, Any], npt.NDArray[np.float32]]:
    """Play; return what was measured, and all that was heard of the take."""
    heard = Heard()
    async with connect(f"{where}/ws/control", max_size=None) as control, connect(f"{where}/ws/audio") as audio:
        player = Player(control, heard)
        await player.hello()
        tasks = [asyncio.create_task(work) for work in (player.listen(), hear(audio, heard))]
        await player.set("/rec/start")
        await player.set("/loop", int(options.loop))
        await player.set("/keys/voice", options.voice)
        await player.set("/play", 1)
        keyboard = Keyboard(player, options.polyphony)
        await asyncio.sleep(1.0)
        await keyboard.play(options.seconds, options.notes)
        await asyncio.sleep(1.0)
        await player.set("/rec/stop")
        await player.event(what="take", did="kept")
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result
    loads = [one["load"] for one in player.stats[1:]] or [0.0]
    told = {
        "seconds": options.seconds,
        "notes_per_s": options.notes,
        "presses": keyboard.presses,
        "key_ms": {
            "median": round(statistics.median(player.waits_ms), 1),
            "p99": round(float(np.quantile(player.waits_ms, 0.99)), 1),
        },
        "load": {"median": round(statistics.median(loads), 3), "max": max(loads)},
        **kept_up(player, heard),
        "refused": dict(Counter(player.refused)),
    }
    return told, np.concatenate(heard.blocks)


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Start the command, play it, end it, and replay its take."""
    process: subprocess.Popen[str]
    words = (options.model, "--no-osc", "--buffer", options.buffer, "--takes", str(folder))
    with serving(*words) as (process, page):
        told, sent = asyncio.run(perform(re.sub("^http", "ws", page).rstrip("/"), options))
    process.wait()
    return {**told, **replayed(folder / "take-001.toml", sent)}


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=DEFAULT_MEMORY)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--notes", type=float, default=8.0)
    parser.add_argument("--polyphony", type=int, default=4)
    parser.add_argument("--voice", type=int, default=1)
    parser.add_argument("--loop", action="store_true")
    parser.add_argument("--buffer", default="live")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(options, Path(folder))))


if __name__ == "__main__":
    main()
