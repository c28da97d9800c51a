"""A quick look at and listen to a memory while it is being trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fugue_state.arrays import Array
from fugue_state.audio import io
from fugue_state.audio.mix import envelope
from fugue_state.config import EVENT_BATCH, PREVIEW_CHORD_S, PREVIEW_COLUMNS, PREVIEW_ENVELOPE
from fugue_state.files import output_folder
from fugue_state.look.saved import save_figure
from fugue_state.look.theme import DEFAULT, Theme
from fugue_state.measure.memory import SHEET_SEED, memory_figure
from fugue_state.memory.memory import Memory
from fugue_state.output.provenance import made_with

PEAK = 0.97


def write_preview(folder: Path, memory: Memory, step: int, theme: Theme = DEFAULT) -> tuple[Path, Path]:
    """Write the sheet and the sound of a step into `folder`; return `step_0000125.png` and `.flac`.

    The latents are the same at every step. The folder is created if missing.
    """
    output_folder(folder)
    sheet, sound = (folder / f"step_{step:07d}{suffix}" for suffix in (".png", ".flac"))
    save_figure(memory_figure(memory, theme), sheet, made_with(memory) | {"step": step})
    io.write(sound, preview_sound(memory), memory.spec.sample_rate_hz, subtype="PCM_16")
    return sheet, sound


def preview_sound(memory: Memory) -> Array:
    """Return one chord of every label in sequence (or samples, without labels), short and without clicks: (N,).

    Attenuated as a whole if it would clip.
    """
    count = len(memory.labels) or PREVIEW_COLUMNS
    z = memory.latents(count, SHEET_SEED)
    length = min(int(PREVIEW_CHORD_S * memory.spec.sample_rate_hz), memory.spec.samples)
    gain = envelope(length, memory.spec.sample_rate_hz, PREVIEW_ENVELOPE)
    chords = []
    for start in range(0, count, EVENT_BATCH):
        part = slice(start, start + EVENT_BATCH)
        mel = memory.generate(z[part], memory.labels[part] or None)
        chords.append((memory.invert(mel)[:, :length] * gain).ravel())
    sound = np.concatenate(chords)
    return np.asarray(sound * min(1.0, PEAK / max(1e-9, float(np.abs(sound).max()))), dtype=np.float32)
