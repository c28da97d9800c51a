"""A piece of many hours: time, peak memory beside a piece of one minute, and a kill in the middle; prints JSON.

    python benchmarks/night.py [MODEL] [--hours 6.5] [--quality draft] [--kill]

Each render is a process of its own, `fugue render` as one would call it, timed with its start-up and its portrait.
With `--kill` the piece is rendered again, killed when half of it is played, resumed, and compared byte by byte. The
files go to a folder beside the working directory, which needs 15 GB for 6.5 hours, and are removed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
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


def killed(score: Path, out: Path, played_bytes: int) -> None:
    """Begin to render a score, and kill it when so much of it is played."""
    process = subprocess.Popen([*FUGUE, str(score), "-o", str(out)], stdout=subprocess.DEVNULL)
    played = out.with_name(f"{out.name}.part") / "played.f32"
    while not played.exists() or played.stat().st_size < played_bytes:
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=DEFAULT_MEMORY)
    parser.add_argument("--hours", type=float, default=6.5)
    parser.add_argument("--quality", default="draft")
    parser.add_argument("--kill", action="store_true")
    options = parser.parse_args()
    seconds = options.hours * 3600.0
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name)
        told: dict[str, object] = {"hours": options.hours, "quality": options.quality}
        for piece, length in (("minute", 60.0), ("night", seconds)):
            score = folder / f"{piece}.toml"
            score.write_text(SCORE.format(seconds=length, model=options.model, quality=options.quality))
            told[piece] = rendered(score, folder / f"{piece}.wav")
        if options.kill:
            score, again = folder / "night.toml", folder / "again.wav"
            killed(score, again, int(seconds / 2 * 44_100 * 8))
            subprocess.run([*FUGUE, str(score), "-o", str(again), "--resume"], check=True, stdout=subprocess.DEVNULL)
            told["resumed_is_identical"] = digest(again) == digest(folder / "night.wav")
    print(json.dumps(told))


if __name__ == "__main__":
    main()
