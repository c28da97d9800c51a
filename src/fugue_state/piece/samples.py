"""Single events of a memory, as files."""

from __future__ import annotations

from pathlib import Path

from fugue_state.audio import io
from fugue_state.audio.picture import write_sheet
from fugue_state.config import EVENT_BATCH
from fugue_state.memory.memory import Memory
from fugue_state.progress import Track, untracked

PEAK = 0.97
SHEET_COLUMNS = 8


def write_samples(
    memory: Memory,
    folder: Path,
    *,
    count: int,
    chord: str | None = None,
    seed: int = 0,
    force: bool = False,
    track: Track = untracked,
) -> list[Path]:
    """Write `count` intact samples as wav files and a sheet of their mels; return the paths, sheet last.

    Samples that would clip are turned down. Raises InputError if a file exists and `force` is not
    set, before anything is written.
    """
    turns = memory.labels or ("sample",)
    names = [chord or turns[i % len(turns)] for i in range(count)]
    paths = [io.output_path(folder / f"{i:03d}_{name}.wav", force=force) for i, name in enumerate(names)]
    sheet = io.output_path(folder / "sheet.png", force=force)
    z = memory.latents(count, seed)
    mels = []
    for start in track(range(0, count, EVENT_BATCH), -(-count // EVENT_BATCH), "sampling"):
        part = slice(start, start + EVENT_BATCH)
        mel = memory.generate(z[part], names[part] if memory.labels else None)
        mels += list(mel.numpy())
        for path, sound in zip(paths[part], memory.invert(mel).numpy(), strict=True):
            gain = min(1.0, PEAK / max(1e-9, float(abs(sound).max())))
            io.write(path, sound * gain, memory.spec.sample_rate_hz)
    rows = [
        (" ".join(names[i : i + SHEET_COLUMNS]), mels[i : i + SHEET_COLUMNS]) for i in range(0, count, SHEET_COLUMNS)
    ]
    write_sheet(sheet, rows)
    return [*paths, sheet]
