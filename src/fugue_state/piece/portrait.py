"""The portrait of a piece: what is heard, over what each layer remembers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import soundfile

from fugue_state.audio.mel import filterbank, hz_to_mel
from fugue_state.config import MelSpec
from fugue_state.look.figure import page
from fugue_state.look.theme import DEFAULT, Theme
from fugue_state.piece.overview import overview
from fugue_state.piece.panels import LANE_IN, draw_cues, draw_layers, named_cues, set_times
from fugue_state.piece.piece import Piece
from fugue_state.score.times import told

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 1000
RANGE_DB, LOUDEST_DB = 75.0, 0.0  # where silence is drawn as such
MARKS_HZ = (100, 200, 500, 1000, 2000, 5000)
SOUND_IN, LAYERS_IN, AROUND_IN = 3.3, 1.8, 0.9


def portrait_figure(piece: Piece, sound: str | Path, theme: Theme = DEFAULT) -> Figure:
    """Draw the spectrogram of a rendered file over what each layer remembers, with the cues."""
    score, memory = piece.score, piece.memory
    named, lanes = named_cues(piece)
    heights_in = [SOUND_IN, *([LANE_IN * lanes] if lanes else []), LAYERS_IN]
    with page(theme, sum(heights_in) + AROUND_IN) as figure:
        about = f"{memory.header.name}, {told(score.duration_s)}, {score.forgetting.order} order, {memory.units} units"
        figure.headline(score.title or Path(sound).stem, about)
        panels = list(figure.subplots(len(heights_in), 1, sharex=True, height_ratios=heights_in))
        _draw_sound(panels[0], *_spectrogram(sound), score.duration_s, theme)
        draw_layers(panels[-1], piece, overview(piece), theme)
        set_times(panels, score.duration_s)
        draw_cues(panels[1] if lanes else None, [panels[0], panels[-1]], piece, named, theme)
    return figure


def _draw_sound(axes: Axes, levels: npt.NDArray[np.float64], spec: MelSpec, duration_s: float, theme: Theme) -> None:
    loudest = max(float(levels.max()), LOUDEST_DB)
    edges = (0.0, duration_s, 0.0, float(spec.n_mels))
    axes.imshow(
        levels, origin="lower", aspect="auto", interpolation="nearest", extent=edges,
        cmap=theme.colours, vmin=loudest - RANGE_DB, vmax=loudest,
    )  # fmt: skip
    ends = hz_to_mel(np.array([spec.fmin_hz, spec.fmax_hz]), spec.scale)
    marks = hz_to_mel(np.array(MARKS_HZ, dtype=float), spec.scale)
    axes.set_yticks((marks - ends[0]) / (ends[1] - ends[0]) * spec.n_mels, [str(mark) for mark in MARKS_HZ])
    axes.set_ylabel("Hz")


def _spectrogram(sound: str | Path) -> tuple[npt.NDArray[np.float64], MelSpec]:
    """Return levels in dB (M, COLUMNS) at even places of a file, read piece by piece."""
    with soundfile.SoundFile(sound) as file:
        spec = MelSpec(sample_rate_hz=file.samplerate, n_fft=4096, hop=1024, fmax_hz=10_000.0, n_mels=160)
        window = np.hanning(spec.n_fft)
        filters = filterbank(spec)
        columns = []
        for place in np.linspace(0, max(0, file.frames - spec.n_fft), COLUMNS):
            file.seek(int(place))
            part = file.read(spec.n_fft, dtype="float32", always_2d=True).mean(axis=1)
            padded = np.zeros(spec.n_fft)
            padded[: len(part)] = part
            columns.append(filters @ np.abs(np.fft.rfft(padded * window)))
    return 20.0 * np.log10(np.maximum(np.array(columns).T, 1e-6)), spec
