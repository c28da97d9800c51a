"""Single events of a memory, written as files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fugue_state.arrays import Array
from fugue_state.audio import io
from fugue_state.config import EVENT_BATCH
from fugue_state.files import output_folder, output_path
from fugue_state.look.saved import save_figure
from fugue_state.look.sheet import sheet_figure
from fugue_state.look.theme import DEFAULT, Theme
from fugue_state.measure.atlas import Atlas, Entry
from fugue_state.memory.memory import Memory
from fugue_state.output.provenance import made_with, write_json
from fugue_state.progress import Track, untracked
from fugue_state.version import VERSION

PEAK = 0.97
SHEET_COLUMNS = 8


def write_samples(
    memory: Memory,
    folder: Path,
    *,
    count: int,
    chord: str | None = None,
    seed: int = 0,
    duration_s: float | None = None,
    theme: Theme = DEFAULT,
    force: bool = False,
    track: Track = untracked,
) -> list[Path]:
    """Write `count` intact samples as WAV files and a sheet of their mels; return the paths, sheet last.

    Raises InputError as `write_latents` does.
    """
    turns = memory.labels or ("sample",)
    names = [chord or turns[i % len(turns)] for i in range(count)]
    labels = names if memory.labels else None
    z = memory.latents(count, seed)
    return write_latents(
        memory, folder, z, labels, names=names, frames=memory.frames(duration_s), theme=theme, force=force, track=track
    )


def write_places(
    atlas: Atlas,
    places: Sequence[Entry],
    folder: Path,
    asked: Mapping[str, Any],
    *,
    theme: Theme = DEFAULT,
    force: bool = False,
    track: Track = untracked,
) -> list[Path]:
    """Write places of an atlas as WAV files, a sheet and a listing; return the paths, sheet and listing last.

    `asked` is the query; the listing (`atlas.json`) stores it with all that is needed to repeat it.
    Raises InputError as `write_latents` does.
    """
    memory = atlas.memory
    listing = check_listing(folder, force=force)
    names = [
        "_".join([p.description.chord or "silent", *([] if p.index is None else [f"{p.index:04d}"])]) for p in places
    ]
    labels = [p.label for p in places if p.label is not None] or None
    z = np.stack([p.z for p in places])
    made = write_latents(memory, folder, z, labels, names=names, theme=theme, force=force, track=track)
    told = {
        "version": VERSION,
        "memory": memory.header.name,
        "memory_sha256": memory.fingerprint,
        "atlas": atlas.config.model_dump(mode="json"),
        "asked": dict(asked),
        "sounds": [{"file": path.name} | p.told() for path, p in zip(made[:-1], places, strict=True)],
    }
    write_json(listing, told)
    return [*made, listing]


def check_listing(folder: Path, *, force: bool) -> Path:
    """Return the path for the listing of an atlas; InputError if it cannot be written."""
    return output_path(output_folder(folder) / "atlas.json", force=force)


def write_latents(
    memory: Memory,
    folder: Path,
    z: Array,
    labels: Sequence[str] | None,
    *,
    names: Sequence[str],
    frames: int | None = None,
    theme: Theme = DEFAULT,
    force: bool = False,
    track: Track = untracked,
) -> list[Path]:
    """Write the sounds of latents (B, Z) with their labels into a folder, numbered and named, with a sheet.

    Returns the paths, sheet last. Samples that would clip are attenuated. Raises InputError before anything is
    written if a file exists and `force` is not set.
    """
    count = len(names)
    output_folder(folder)
    paths = [output_path(folder / f"{i:03d}_{name}.wav", force=force) for i, name in enumerate(names)]
    sheet = output_path(folder / "sheet.png", force=force)
    made = made_with(memory)
    about = json.dumps(made)
    mels: list[Array] = []
    for start in track(range(0, count, EVENT_BATCH), -(-count // EVENT_BATCH), "sampling"):
        part = slice(start, start + EVENT_BATCH)
        mel = memory.generate(z[part], labels[part] if labels else None, frames=frames)
        mels += list(mel)
        for path, sound in zip(paths[part], memory.invert(mel), strict=True):
            gain = min(1.0, PEAK / max(1e-9, float(abs(sound).max())))
            io.write(path, sound * gain, memory.spec.sample_rate_hz, comment=about)
    parts = [slice(start, start + SHEET_COLUMNS) for start in range(0, count, SHEET_COLUMNS)]
    save_figure(sheet_figure([(names[part], mels[part]) for part in parts], theme), sheet, made)
    return [*paths, sheet]
