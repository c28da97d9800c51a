"""The portrait of a piece: what is heard, over what is remembered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from fugue_state.audio import io
from fugue_state.audio.mel import filterbank
from fugue_state.audio.picture import FAINT, GLOW, INK, PAPER
from fugue_state.config import MelSpec
from fugue_state.piece.piece import Piece

COLUMNS = 1200
RANGE_DB = 75.0


def write_portrait(path: str | Path, sound: str | Path, piece: Piece) -> None:
    """Draw the spectrogram of a rendered file over the fraction of units remembered, as PNG."""
    from matplotlib.figure import Figure

    levels, spec = _spectrogram(sound)
    times, remembered = _remembered(piece)
    score, memory = piece.score, piece.memory
    figure = Figure(figsize=(14, 6.5), facecolor=PAPER, layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1))
    top.imshow(
        levels,
        origin="lower",
        aspect="auto",
        cmap="magma",
        extent=(0, score.duration_s, 0, spec.n_mels),
        vmin=levels.max() - RANGE_DB,
        vmax=levels.max(),
    )
    places, names = _frequency_marks(spec)
    top.set_yticks(places, names)
    top.set_ylabel("Hz", color=FAINT)
    top.set_title(
        f"{score.title or Path(sound).name}: {memory.header.name}, {score.forgetting.order}, {memory.units} units",
        color=INK,
        loc="left",
        fontsize=12,
    )
    bottom.fill_between(times, 100 * remembered, step="post", color=GLOW, alpha=0.25, linewidth=0)
    bottom.step(times, 100 * remembered, where="post", color=GLOW, linewidth=1.5)
    bottom.set(xlim=(0, score.duration_s), ylim=(0, 104))
    bottom.set_ylabel("% remembered", color=FAINT)
    bottom.set_xlabel("seconds", color=FAINT)
    for axes in (top, bottom):
        axes.set_facecolor(PAPER)
        axes.tick_params(colors=FAINT)
        axes.spines[:].set_visible(False)
    with io.replacing(path) as beside:
        figure.savefig(beside, dpi=110, format="png")


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


def _frequency_marks(spec: MelSpec) -> tuple[list[float], list[str]]:
    from fugue_state.audio.mel import hz_to_mel

    marks = (100, 200, 500, 1000, 2000, 5000)
    ends = hz_to_mel(np.array([spec.fmin_hz, spec.fmax_hz]), spec.scale)
    mels = hz_to_mel(np.array(marks, dtype=float), spec.scale)
    return list((mels - ends[0]) / (ends[1] - ends[0]) * spec.n_mels), [str(m) for m in marks]


def _remembered(piece: Piece) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return onsets in seconds and the fraction remembered from each on, until the end."""
    rate = piece.score.file.sample_rate_hz
    forgetting = (e for e in piece.events() if piece.score.voices[e.voice].forgets)
    points = [(e.onset / rate, float(e.strengths.mean())) for e in forgetting] or [(0.0, 1.0)]
    points.append((piece.score.duration_s, points[-1][1]))
    times, remembered = zip(*points, strict=True)
    return np.array(times), np.array(remembered)
