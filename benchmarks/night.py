"""A piece of many hours: time, and peak memory beside a piece of one minute; prints JSON.

    python benchmarks/night.py [MODEL] [--hours 6.5] [--quality draft]

Each render is a process of its own, `fugue render` as one would call it, timed with its start-up and its portrait.
The files go to a folder beside the working directory, which needs 15 GB for 6.5 hours, and are removed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fugue_state.config import DEFAULT_MEMORY

SCORE = """\
duration_s = {seconds}
memory = "{model}"
quality = "{quality}"
[[voices]]
chords = ["Am", "F", "C", "G"]
"""
FUGUE = [sys.executable, "-m", "fugue_state.cli", "render"]


def rendered(score: Path, out: Path) -> dict[str, float]:
    """Render a score; return seconds and peak memory in MB."""
    begin = time.perf_counter()
    process = subprocess.Popen([*FUGUE, str(score), "-o", str(out)], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"rendering {score} failed")
    return {"seconds": round(time.perf_counter() - begin, 1), "peak_mb": round(usage.ru_maxrss / 1024, 1)}


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=DEFAULT_MEMORY)
    parser.add_argument("--hours", type=float, default=6.5)
    parser.add_argument("--quality", default="draft")
    options = parser.parse_args()
    seconds = options.hours * 3600.0
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name)
        told: dict[str, object] = {"hours": options.hours, "quality": options.quality}
        for piece, length in (("minute", 60.0), ("night", seconds)):
            score = folder / f"{piece}.toml"
            score.write_text(SCORE.format(seconds=length, model=options.model, quality=options.quality))
            told[piece] = rendered(score, folder / f"{piece}.wav")
    print(json.dumps(told))


if __name__ == "__main__":
    main()
