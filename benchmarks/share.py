"""Does a shared page keep up? Opens it from the disk in headless Chromium, plays it, and prints JSON.

    python benchmarks/share.py [PIECE] [--minutes 10]

`press_to_sound_s` is from the press to the first sample that leaves the worklet. `load` is the engine's share of a
core: as composed, and while the master fader moves sixty times a second. `control_to_sound_ms` is from a change asked
for by the page to the sample at which it is heard, at the speakers. `pictures_per_s` are those while the fader moves.
`gaps` are those in the sound. `memory_mb` is what the page's process takes, after a quarter of the time and at the end.
`python_load` is what the engine in Python takes for the same piece and moves on one core, in the same run.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from selenium.webdriver import Chrome, ChromeOptions, ChromeService

from fugue_state.engine.performance import Performance
from fugue_state.memory.memory import Memory
from fugue_state.score.shipped import find_score
from fugue_state.score.text import load_score

CHROMIUM, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
ARGUMENTS = ("--headless=new", "--no-sandbox", "--window-size=1280,800")
SETTLED_S = 5.0
# Notes when the page was pressed and first heard, its loads, its pictures, and how late changes are heard.
WATCH = """
const { engine, sound } = fugue;
const seen = globalThis.seen = { loads: [], late_ms: [], asked: new Map(), pictures: 0, moving: false, turn: 0 };
engine.addEventListener("stats", ({ detail }) => seen.loads.push(detail.load));
engine.addEventListener("ack", ({ detail: { id, at_sample: at } }) => {
  const asked = seen.asked.get(id);
  seen.asked.delete(id);
  const heard = sound.heard(performance.now());
  if (asked === undefined || heard === null) return;
  seen.late_ms.push(performance.now() + (at - heard) / sound.report.rate * 1000 - asked);
});
const tick = () => {
  seen.pictures += 1;
  if (seen.sounded === undefined && sound.report?.sample != null) seen.sounded = performance.now() - seen.pressed;
  if (seen.moving) {
    seen.turn += 1;
    engine.set("/forget", [0.5 + 0.5 * Math.sin(seen.turn / 40)]);
    seen.asked.set(engine.id, performance.now());
  }
  requestAnimationFrame(tick);
};
tick();
document.querySelector("#start").addEventListener("click", () => (seen.pressed = performance.now()), true);
"""


def shared(piece: str, folder: Path) -> Path:
    """Write the page of a piece."""
    page = folder / "page.html"
    subprocess.run([sys.executable, "-m", "fugue_state.cli", "share", piece, "-o", str(page)], check=True)
    return page


def opened(page: Path) -> Chrome:
    """Open a page, and wait until it can be played."""
    options = ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ARGUMENTS:
        options.add_argument(argument)
    browser = Chrome(options=options, service=ChromeService(DRIVER))
    browser.get(page.as_uri())
    wait(browser, "fugue.state() === 'armed'")
    browser.execute_script(WATCH)
    return browser


def wait(browser: Chrome, what: str, patience_s: float = 60.0) -> None:
    """Wait until something holds in the page."""
    until = time.monotonic() + patience_s
    while not browser.execute_script(f"return {what}"):
        if time.monotonic() > until:
            raise TimeoutError(what)
        time.sleep(0.05)


def memory_mb() -> float:
    """Return how much memory the largest process of the browser takes: that of the page."""
    sizes = [0.0]
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if b"--type=renderer" in (folder / "cmdline").read_bytes():
                rollup = (folder / "smaps_rollup").read_text()
                sizes.append(int(rollup.split("Pss:")[1].split()[0]) / 1000.0)
        except (OSError, IndexError):
            continue
    return round(max(sizes), 1)


def stretch(browser: Chrome, seconds: float, *, moving: bool) -> dict[str, Any]:
    """Play for a while; return the loads, how late changes were, and pictures a second."""
    browser.execute_script("Object.assign(seen, { loads: [], late_ms: [], pictures: 0, moving: arguments[0] })", moving)
    begin = time.monotonic()
    time.sleep(seconds)
    seen: dict[str, Any] = browser.execute_script(
        "return { loads: seen.loads, late_ms: seen.late_ms, pictures: seen.pictures }"
    )
    return seen | {"pictures_per_s": round(seen["pictures"] / (time.monotonic() - begin), 1)}


def python_load(piece: str, seconds: float, *, moving: bool) -> float:
    """Return the mean load of the engine in Python."""
    score = load_score(find_score(piece))
    performance = Performance(score, Memory.load(score.memory))
    loads = []
    for number in range(int(seconds * performance.rate / performance.block)):
        if moving:
            performance.change("/forget", 0.5 + 0.5 * math.sin(number / 30.0))
        begin = time.thread_time()
        performance.next()
        loads.append((time.thread_time() - begin) * performance.rate / performance.block)
    return round(statistics.mean(loads), 3)


def measured(piece: str, minutes: float) -> dict[str, Any]:
    """Measure a piece's page."""
    seconds = 60.0 * minutes
    with tempfile.TemporaryDirectory() as folder:
        page = shared(piece, Path(folder))
        browser = opened(page)
        try:
            browser.find_element("id", "start").click()
            wait(browser, "seen.sounded !== undefined")
            press_s = browser.execute_script("return seen.sounded") / 1000.0
            stretch(browser, SETTLED_S, moving=False)
            browser.find_element("id", "take").click()
            steady = stretch(browser, seconds / 4.0, moving=False)
            early = memory_mb()
            moving = stretch(browser, seconds * 3.0 / 4.0, moving=True)
            late_mb = memory_mb()
            gaps = browser.execute_script("return fugue.sound.report.underruns")
            late_mb, quality = (
                memory_mb(),
                browser.execute_script("return fugue.controls.values.get('/quality')"),
            )
        finally:
            browser.quit()
        size_mb = round(page.stat().st_size / 1e6, 2)
    ours = {"steady": statistics.mean(steady["loads"]), "moving": statistics.mean(moving["loads"])}
    python = {name: python_load(piece, 20.0, moving=name == "moving") for name in ours}
    late = sorted(moving["late_ms"])
    return {
        "piece": piece,
        "minutes": minutes,
        "size_mb": size_mb,
        "press_to_sound_s": round(press_s, 3),
        "load": {name: round(value, 3) for name, value in ours.items()},
        "python_load": python,
        "load_ratio": {name: round(ours[name] / python[name], 2) for name in ours},
        "control_to_sound_ms": {
            "median": round(statistics.median(late), 1),
            "99_percent": round(late[int(0.99 * len(late))], 1),
        },
        "pictures_per_s": moving["pictures_per_s"],
        "gaps": gaps,
        "quality_at_end": quality,
        "memory_mb": [early, late_mb],
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("piece", nargs="?", default="forget-and-recall")
    parser.add_argument("--minutes", type=float, default=10.0)
    asked = parser.parse_args()
    print(json.dumps(measured(asked.piece, asked.minutes)))


if __name__ == "__main__":
    main()
