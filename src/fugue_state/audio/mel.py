"""One MelSpec: sound to mel, and what the levels of a mel stand for."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fugue_state import asked
from fugue_state.audio.compiled import one_thread
from fugue_state.config import MelSpec
from fugue_state.errors import AudioError


def hz_to_mel(hz: npt.NDArray[np.float64], scale: str) -> npt.NDArray[np.float64]:
    """Map Hz to mel: HTK (O'Shaughnessy 1987) or Slaney (Auditory Toolbox, 1998)."""
    if scale == "htk":
        return 2595.0 * np.log10(1.0 + hz / 700.0)
    # Slaney: linear below 1 kHz (15 mel), then 27 steps for each factor of 6.4.
    return np.where(hz < 1000.0, hz * 0.015, 15.0 + 27.0 * np.log(np.maximum(hz, 1000.0) / 1000.0) / np.log(6.4))


def mel_to_hz(mel: npt.NDArray[np.float64], scale: str) -> npt.NDArray[np.float64]:
    """Invert `hz_to_mel`."""
    if scale == "htk":
        return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    return np.where(mel < 15.0, mel / 0.015, 1000.0 * np.exp(np.log(6.4) * (mel - 15.0) / 27.0))


def filterbank(spec: MelSpec) -> npt.NDArray[np.float32]:
    """Return the triangular mel filters (M, n_fft // 2 + 1)."""
    bins_hz = np.fft.rfftfreq(spec.n_fft, 1.0 / spec.sample_rate_hz)
    ends = hz_to_mel(np.array([spec.fmin_hz, spec.fmax_hz]), spec.scale)
    edges_hz = mel_to_hz(np.linspace(ends[0], ends[1], spec.n_mels + 2), spec.scale)
    widths = np.diff(edges_hz)
    slopes = edges_hz[:, None] - bins_hz[None, :]
    rising = -slopes[:-2] / widths[:-1, None]
    falling = slopes[2:] / widths[1:, None]
    filters = np.maximum(0.0, np.minimum(rising, falling))
    if spec.norm == "area":
        filters *= (2.0 / (edges_hz[2:] - edges_hz[:-2]))[:, None]
    return filters.astype(np.float32)


ROUNDING = 0.01  # by which a mel may be out of range without a word


class MelTransform:
    """Sound (B, N) to mel (B, M, T) in [-1, 1], and back to the amplitudes of its bands."""

    def __init__(self, spec: MelSpec) -> None:
        self.spec = spec
        self.window = torch.hann_window(spec.n_fft)
        self.filters = torch.from_numpy(filterbank(spec))
        self.unit_gain = 2.0 / float(self.window.sum())

    @one_thread()
    def encode(self, audio: Tensor) -> Tensor:
        """Return the mel (B, M, N // hop) of audio (B, N); frame t is centred on t * hop.

        Raises AudioError for audio that is not (B, N), is shorter than a hop, or is not finite.
        """
        if audio.ndim != 2 or audio.shape[1] < self.spec.hop:
            raise AudioError(f"audio must be (B, N) with N >= {self.spec.hop}, got {tuple(audio.shape)}")
        if not torch.isfinite(audio).all():
            raise AudioError("audio holds values that are not numbers (NaN or infinity)")
        spectrum = torch.stft(
            audio,
            self.spec.n_fft,
            self.spec.hop,
            window=self.window,
            center=True,
            pad_mode="constant",
            return_complex=True,
        )
        frames = spectrum.transpose(1, 2)[:, : audio.shape[1] // self.spec.hop]
        return self.encode_magnitude(frames.abs() * self.unit_gain)

    def encode_magnitude(self, magnitude: Tensor) -> Tensor:
        """Return the mel (B, M, T) of STFT magnitudes (B, T, F), a full-scale sine reading 1."""
        bands = self.filters @ magnitude.transpose(1, 2) ** self.spec.power
        level_db = (20.0 / self.spec.power) * torch.log10(bands.clamp_min(1e-12))
        mel: Tensor = (level_db - self.spec.floor_db) * (2.0 / self.spec.range_db) - 1.0
        return mel.clamp(-1.0, 1.0)

    def amplitude(self, mel: Tensor) -> Tensor:
        """Return the band amplitudes (B, M, T) of a mel in [-1, 1]; the floor reads exactly 0.

        Without subtracting the floor, every silent band would come back as hiss.
        """
        above: Tensor = self._level(mel) - 10.0 ** (self.spec.floor_db / 20.0)
        return above.clamp_min(0.0)

    def bands(self, mel: Tensor) -> Tensor:
        """Return what the filters add up to (B, M, T): amplitudes, or their squares if the spec's power is 2."""
        return self.amplitude(mel) ** self.spec.power

    def bands_above_floor(self, mel: Tensor) -> Tensor:
        """Return like `bands` what reads back as this mel: without the power of the floor instead of its amplitude.

        Nearer to the mel where it is quiet, but not as silent.
        """
        power: Tensor = self._level(mel) ** 2 - 10.0 ** (self.spec.floor_db / 10.0)
        return power.clamp_min(0.0) ** (0.5 * self.spec.power)

    def _level(self, mel: Tensor) -> Tensor:
        """Return the amplitudes (B, M, T) that a mel names, the floor's where it is at the floor."""
        self.check(mel)
        if mel.numel() and mel.abs().max() > 1.0 + ROUNDING:
            # Said once for each place that it comes from: that is how warnings are shown.
            warnings.warn(f"mel values up to {float(mel.abs().max()):.3g} are clamped to -1..1", stacklevel=3)
        level: Tensor = 10.0 ** (
            ((mel.clamp(-1.0, 1.0) + 1.0) * (self.spec.range_db / 2.0) + self.spec.floor_db) / 20.0
        )
        return level

    def taken(self, mel: Tensor) -> Tensor:
        """Return a mel (B, M, T) in single precision, whatever it was before; raises as `check` does."""
        mel = torch.from_numpy(asked.floats("mel", mel, finite=False))
        self.check(mel)
        return mel

    def check(self, mel: Tensor) -> None:
        """Raise AudioError unless `mel` is (B, M, T), finite, of this spec and not empty."""
        if mel.ndim != 3 or mel.shape[1] != self.spec.n_mels or mel.shape[2] < 1:
            raise AudioError(f"mel must be (B, {self.spec.n_mels}, T) with T >= 1, got {tuple(mel.shape)}")
        if not torch.isfinite(mel).all():
            raise AudioError("mel holds values that are not numbers (NaN or infinity)")
