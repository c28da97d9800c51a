"""What a film promises, measured from the file itself; prints JSON.

    python benchmarks/film.py [MODEL] [--minutes 10] [--size 1080p] [--fps 30]

A piece in which all units die three times (near its beginning, in its middle, near its end) and come back is
rendered and filmed; beside it the same piece intact. Both films are decoded.

- `deaths`: for each, when it was meant to be, the start of the first frame that differs from the intact film's where
  the units are shown, and the first moment at which the sound differs; `apart_frames` is how far these two are from
  each other. The goal is at most one.
- `times_real`: seconds of film made in a second, by filming the whole piece in a process of its own, start-up and all
  (the goal is 2), and by a peer: the same grids and spectrogram drawn with matplotlib, frame by frame, into the same
  encoder, for a few seconds of it.
- `whole`, `minute`: how long filming took, and the most memory it had, for the whole piece and for one of a minute.
- `streams`: frame rate, pixel format, sizes and durations of the file, and whether its index comes first.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from fugue_state.config import DEFAULT_MEMORY, FilmConfig
from fugue_state.look.theme import find_theme
from fugue_state.memory.memory import Memory
from fugue_state.output.provenance import reopened
from fugue_state.output.render import render
from fugue_state.picture.film import X264, film
from fugue_state.picture.frame_layout import edges, lay_out
from fugue_state.picture.heard import RANGE_DB, Heard
from fugue_state.picture.watch import Watch
from fugue_state.piece.piece import Piece
from fugue_state.score.model import Score
from fugue_state.settings import checked

Array = npt.NDArray[np.float32]
BEFORE_S, AFTER_S = 2.0, 1.0  # of a death, that are looked at
HOP_S = 0.002
TIMES_LOUDER = 30.0  # than what coding alone makes differ
TIMES_BRIGHTER, BRIGHTER = 1.5, 1.0  # the same, and levels of 255 more
PEER_FRAMES = 40
WHERE = ("beginning", "middle", "end")
END_S = 8.0  # the last death comes so long before the end: the last chord dies away within the piece
BEATS_BACK = 12  # until the units are recalled


def constructed(duration_s: float, deaths: tuple[float, ...], memory: str = DEFAULT_MEMORY, **changes: Any) -> Score:
    """Return a piece in which all units die at the first chord after each time and are recalled some beats later."""
    tempo = 63.7  # its beats fall between frames
    hand = [
        {"at": at, "path": "/forget", "value": value}
        for death in deaths
        for at, value in ((death, 1.0), (death + BEATS_BACK * 60.0 / tempo, 0.0))
        if at < duration_s
    ]
    settings = {
        "memory": memory,
        "duration_s": duration_s,
        "tempo_bpm": tempo,
        "quality": "draft",
        "voices": [{"chords": ["Am", "C"]}],
        "forgetting": {"to": 0.0},
        "loudness": {"hold": False},
        "master": {"loudness_lufs": -26.0},
        "changes": hand,
    }
    return checked(Score, settings | changes)


def onset_after(score: Score, time_s: float) -> float:
    """Return the first beat that does not come before a time."""
    beat_s = 60.0 / score.tempo_bpm
    return float(np.ceil(time_s / beat_s - 1e-9) * beat_s)


def dying_and_intact(folder: Path, score: Score, memory: Memory) -> tuple[Path, Path]:
    """Render a constructed piece and its intact twin; return both sounds."""
    paths = folder / "dying.wav", folder / "intact.wav"
    for path, changes in zip(paths, (score.changes, ()), strict=True):
        render(Piece(score.model_copy(update={"changes": changes}), memory), path, force=True)
    return paths


def deaths_in(
    films: tuple[Path, Path], score: Score, layers: dict[str, int], deaths: tuple[float, ...], config: FilmConfig
) -> list[dict[str, float]]:
    """Measure in the films of a constructed piece and its intact twin when deaths are seen and heard."""
    boxes = [grid.box for grid, _ in edges(lay_out(*config.pixels, layers).grids)]
    found = []
    for death in deaths:
        meant_s = onset_after(score, death)
        (seen, sound), (seen_intact, sound_intact) = (_around(path, meant_s) for path in films)
        seen_s = _first_seen(seen, seen_intact, boxes, meant_s)
        heard_s = _first_heard(sound, sound_intact, score.file.sample_rate_hz, meant_s)
        found.append(
            {
                "meant_s": round(meant_s, 4),
                "seen_s": round(seen_s, 4),
                "heard_s": round(heard_s, 4),
                "apart_frames": round(abs(seen_s - heard_s) * config.fps, 3),
            }
        )
    return found


def _around(path: Path, time_s: float) -> tuple[dict[float, Array], tuple[float, Array]]:
    """Decode a film around a time: its frames' lightness (H, W) by time, and its sound (N,) from a time on."""
    frames: dict[float, Array] = {}
    sound: dict[float, Array] = {}
    start, end = max(0.0, time_s - BEFORE_S), time_s + AFTER_S
    with av.open(path) as file:
        file.seek(int(max(0.0, start - 1.0) * av.time_base))
        for frame in file.decode(file.streams.video[0]):
            if frame.time is not None and frame.time >= end:
                break
            if frame.time is not None and frame.time >= start:
                frames[frame.time] = frame.to_ndarray(format="gray").astype(np.float32)
    with av.open(path) as file:
        file.seek(int(max(0.0, start - 1.0) * av.time_base))
        for part in file.decode(file.streams.audio[0]):
            if part.time is not None and start <= part.time < end:
                sound[part.time] = part.to_ndarray().mean(axis=0)
    return frames, (min(sound), np.concatenate(list(sound.values())))


def _first_seen(frames: dict[float, Array], intact: dict[float, Array], boxes: list[Any], meant_s: float) -> float:
    """Return the time of the first frame whose units look otherwise than intact."""
    apart = {
        at: float(np.mean([np.abs(_inside(frames[at] - intact[at], box)).mean() for box in boxes])) for at in frames
    }
    usual = max(value for at, value in apart.items() if at < meant_s - 0.2)
    return next(at for at in sorted(apart) if apart[at] > TIMES_BRIGHTER * usual + BRIGHTER)


def _inside(frame: Array, box: Any) -> Array:
    return frame[box.y : box.y + box.height, box.x : box.x + box.width]


def _first_heard(sound: tuple[float, Array], intact: tuple[float, Array], rate: int, meant_s: float) -> float:
    """Return the first moment at which a sound is another one than intact, whatever its level."""
    start = max(sound[0], intact[0])
    a, b = (values[round((start - begin) * rate) :] for begin, values in (sound, intact))
    length = min(len(a), len(b))
    a, b = a[:length], b[:length]
    same = slice(0, round((meant_s - 0.2 - start) * rate))
    gain = float(a[same] @ b[same] / (b[same] @ b[same]))
    hop = round(HOP_S * rate)
    apart = (a - gain * b)[: length // hop * hop].reshape(-1, hop)
    energy = (apart**2).mean(axis=1)
    usual = float(energy[: int((meant_s - 0.2 - start) * rate / hop)].max())
    first = int(np.flatnonzero(energy > TIMES_LOUDER * usual)[0])
    return start + first * hop / rate


def streams(path: Path) -> dict[str, Any]:
    """Return what a player needs of a film."""
    with av.open(path) as file:
        video, audio = file.streams.video[0], file.streams.audio[0]
        times = [packet.pts for packet in file.demux(video) if packet.pts is not None]
        steps = set(np.diff(sorted(times)).tolist())
        data = path.read_bytes()
        return {
            "fps": float(video.average_rate or 0),
            "constant_rate": len(steps) == 1,
            "pixels": str(video.pix_fmt),
            "width": video.width,
            "height": video.height,
            "video_s": float((video.duration or 0) * (video.time_base or 0)),
            "audio_s": float((audio.duration or 0) * (audio.time_base or 0)),
            "index_first": 0 <= data.find(b"moov") < data.find(b"mdat"),
            "megabytes": round(len(data) / 1e6, 1),
        }


def filmed(sound: Path, out: Path, config: FilmConfig) -> dict[str, float]:
    """Film a sound in a process of its own; return the seconds it took, start-up and all, and its most memory in MB."""
    code = "import sys; sys.path.insert(0, sys.argv[1]); import film; film.alone(*sys.argv[2:])"
    command = [sys.executable, "-c", code, str(Path(__file__).parent), str(sound), str(out), config.model_dump_json()]
    began = time.perf_counter()
    peak = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return {"seconds": round(time.perf_counter() - began, 2), "peak_mb": round(float(peak), 1)}


def alone(sound: str, out: str, config: str) -> None:
    """Film a sound and print the most memory this process had, in MB (Linux)."""
    score = reopened(sound)
    film(sound, Piece(score, Memory.load(score.memory)), out, FilmConfig.model_validate_json(config), force=True)
    status = Path("/proc/self/status").read_text(encoding="ascii")
    print(int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 1024)


def peer(sound: Path, piece: Piece, config: FilmConfig, folder: Path) -> float:
    """Return the seconds of film that matplotlib makes in a second, drawn again for each frame."""
    began = time.perf_counter()
    with Heard(sound) as heard, av.open(folder / "peer.mp4", "w") as out:
        video = out.add_stream("libx264", rate=config.fps, options=X264)
        video.width, video.height = config.pixels
        video.pix_fmt = "yuv420p"
        for number, pixels in enumerate(_drawn_by_matplotlib(heard, piece, config)):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, config.fps)
            out.mux(video.encode(frame))
        out.mux(video.encode())
    return PEER_FRAMES / config.fps / (time.perf_counter() - began)


def _drawn_by_matplotlib(heard: Heard, piece: Piece, config: FilmConfig) -> Iterator[npt.NDArray[np.uint8]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    width, height = config.pixels
    layout = lay_out(width, height, piece.memory.layers)
    watch, theme = Watch(piece), find_theme(config.theme)
    figure = Figure(figsize=(width / 100, height / 100), dpi=100, facecolor=theme.ground)
    canvas: Any = FigureCanvasAgg(figure)
    axes = figure.subplots(2, len(layout.grids))
    strip = figure.add_subplot(2, 1, 2)
    for place in axes.flat:
        place.set_axis_off()
    columns = [heard.column(round(i * heard.sample_rate_hz / 100)) for i in range(800)]
    levels = np.stack(columns, axis=1)
    for number in range(PEER_FRAMES):
        seen = watch.at((number + 0.5) / config.fps)
        for place, (grid, part) in zip(axes[0], edges(layout.grids), strict=True):
            place.clear()
            place.set_axis_off()
            cells = np.zeros(grid.rows * grid.columns)
            cells[: grid.units] = (seen.strengths * seen.activations)[part]
            place.imshow(cells.reshape(grid.rows, grid.columns), vmin=0, vmax=1, cmap=theme.colours)
            place.set_title(f"{grid.layer} {seen.strengths[part].sum():.0f}/{grid.units}", color=theme.ink)
        strip.clear()
        strip.imshow(levels, aspect="auto", origin="lower", cmap=theme.colours, vmin=levels.max() - RANGE_DB)
        strip.axvline(number)
        canvas.draw()
        yield np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=DEFAULT_MEMORY)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--size", default=FilmConfig().size)
    parser.add_argument("--fps", type=int, default=FilmConfig().fps)
    asked = parser.parse_args()
    duration_s = 60.0 * asked.minutes
    deaths = (0.05 * duration_s, 0.5 * duration_s, duration_s - END_S)
    config = checked(FilmConfig, {"size": asked.size, "fps": asked.fps})
    memory = Memory.load(asked.model, quality="draft")
    score = constructed(duration_s, deaths, asked.model)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sounds = dying_and_intact(folder, score, memory)
        films = (folder / "dying.mp4", folder / "intact.mp4")
        whole, _ = (filmed(sound, path, config) for sound, path in zip(sounds, films, strict=True))
        minute = folder / "minute.wav"
        render(Piece(constructed(60.0, (30.0,), asked.model), memory), minute)
        result = {
            "model": asked.model,
            "size": asked.size,
            "fps": asked.fps,
            "minutes": asked.minutes,
            "deaths": dict(zip(WHERE, deaths_in(films, score, memory.layers, deaths, config), strict=True)),
            "whole": whole,
            "minute": filmed(minute, folder / "minute.mp4", config),
            "times_real": {
                "film": round(duration_s / whole["seconds"], 2),
                "matplotlib": round(peer(sounds[0], Piece(score, memory), config, folder), 3),
            },
            "streams": streams(films[0]),
        }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
