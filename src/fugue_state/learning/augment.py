"""Small changes applied to real and generated mels alike, so that few clips are not memorized."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fugue_state.audio.mel import hz_to_mel, mel_to_hz
from fugue_state.config import AugmentConfig, MelSpec

DRAWS = 4  # shift, level, pitch, tilt


class Augment:
    """Differentiable augmentation (Zhao et al., 2020) in terms of sound: time, level, pitch and tilt."""

    def __init__(self, spec: MelSpec, config: AugmentConfig, device: torch.device | str = "cpu") -> None:
        self._config, self._range_db = config, spec.range_db
        self._shift = config.shift_s * spec.sample_rate_hz / spec.hop
        low, high = hz_to_mel(np.array([spec.fmin_hz, spec.fmax_hz]), spec.scale)
        centres = np.linspace(low, high, spec.n_mels + 2)[1:-1]
        # Width of a semitone in bands, at each band; smaller shifts are taken as proportional.
        above = hz_to_mel(mel_to_hz(centres, spec.scale) * 2.0 ** (1.0 / 12.0), spec.scale)
        semitone = (above - centres) / (centres[1] - centres[0])
        self._semitone = torch.tensor(semitone, dtype=torch.float32, device=device)
        self._tilt = torch.linspace(-1.0, 1.0, spec.n_mels, device=device)

    def __call__(self, mel: Tensor, draw: Tensor) -> Tensor:
        """Change mels (B, 1, M, T), each by its draw: (B, 4) within -1..1; zeros change nothing."""
        shift, level, pitch, tilt = draw[:, :, None].unbind(1)
        config = self._config
        bands = _moved(mel.shape[2], pitch * config.pitch_semitones * self._semitone)
        frames = _moved(mel.shape[3], (shift * self._shift).expand(-1, mel.shape[3]))
        moved = (bands @ mel[:, 0].float() @ frames.mT)[:, None]
        gain_db = level * config.level_db + tilt * config.tilt_db * self._tilt
        return (moved + gain_db[:, None, :, None] * (2.0 / self._range_db)).clamp(-1.0, 1.0)


def _moved(size: int, by: Tensor) -> Tensor:
    """Return matrices (B, size, size) that shift each place by (B, size) places, interpolating; ends are repeated."""
    places = torch.arange(size, device=by.device)
    source = (places - by).clamp(0, size - 1)
    return functional.relu(1.0 - (source[:, :, None] - places).abs())
