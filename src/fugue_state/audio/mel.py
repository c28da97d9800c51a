"""The mel transform of a MelSpec: from sound to mel, and from mel levels to amplitudes."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt
from scipy import fft

from fugue_state import asked
from fugue_state.arrays import Array, Spectrum, Wide
from fugue_state.audio.compiled import one_thread
from fugue_state.config import MelSpec
from fugue_state.errors import AudioError


def hz_to_mel(hz: Wide, scale: str) -> Wide:
    """Map Hz to mel: HTK (O'Shaughnessy 1987) or Slaney (Auditory Toolbox, 1998)."""
    if scale == "htk":
        return 2595.0 * np.log10(1.0 + hz / 700.0)
    # Slaney: linear below 1 kHz (15 mel), then 27 steps for each factor of 6.4.
    return np.where(hz < 1000.0, hz * 0.015, 15.0 + 27.0 * np.log(np.maximum(hz, 1000.0) / 1000.0) / np.log(6.4))


def mel_to_hz(mel: Wide, scale: str) -> Wide:
    """Invert `hz_to_mel`."""
    if scale == "htk":
        return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    return np.where(mel < 15.0, mel / 0.015, 1000.0 * np.exp(np.log(6.4) * (mel - 15.0) / 27.0))


def filterbank(spec: MelSpec) -> Array:
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


ROUNDING = 0.01  # a mel may be out of range by this much without a warning


def hann(length: int) -> Array:
    """Return the periodic Hann window (N,)."""
    return np.asarray((0.5 - 0.5 * np.cos(2.0 * np.pi / length * np.arange(length))).astype(np.float32))


class MelTransform:
    """Sound (B, N) to mel (B, M, T) in [-1, 1], and back to band amplitudes."""

    def __init__(self, spec: MelSpec) -> None:
        self.spec = spec
        self.window = hann(spec.n_fft)
        self.filters = filterbank(spec)
        self.unit_gain = 2.0 / float(self.window.sum(dtype=np.float64))

    @one_thread()
    def encode(self, audio: Array) -> Array:
        """Return the mel (B, M, N // hop) of audio (B, N); frame t is centred on t * hop.

        Raises AudioError for audio that is not (B, N), is shorter than a hop, or is not finite.
        """
        spec = self.spec
        if audio.ndim != 2 or audio.shape[1] < spec.hop:
            raise AudioError(f"audio must be (B, N) with N >= {spec.hop}, got {audio.shape}")
        if not np.isfinite(audio).all():
            raise AudioError("audio holds values that are not numbers (NaN or infinity)")
        mels = [self.encode_magnitude(np.abs(self._spectrum(item)) * np.float32(self.unit_gain)) for item in audio]
        return np.stack(mels) if mels else np.zeros((0, spec.n_mels, audio.shape[1] // spec.hop), dtype=np.float32)

    def _spectrum(self, sound: Array) -> Spectrum:
        spec, half = self.spec, self.spec.n_fft // 2
        around = np.pad(sound.astype(np.float32, copy=False), half)
        frames = np.lib.stride_tricks.sliding_window_view(around, spec.n_fft)[:: spec.hop][: len(sound) // spec.hop]
        return np.asarray(fft.rfft(frames * self.window))

    @one_thread()
    def phase(self, sound: Array) -> Array:
        """Return the phases (N // hop, F) of a sound (N,) in radians; frame t is centred on t * hop."""
        return np.angle(self._spectrum(sound)).astype(np.float32)

    def encode_magnitude(self, magnitude: Array) -> Array:
        """Return the mel (..., M, T) of STFT magnitudes (..., T, F), where a full-scale sine reads 1."""
        bands = self.filters @ magnitude.swapaxes(-1, -2) ** self.spec.power
        level_db = np.float32(20.0 / self.spec.power) * np.log10(np.maximum(bands, np.float32(1e-12)))
        mel = (level_db - np.float32(self.spec.floor_db)) * np.float32(2.0 / self.spec.range_db) - np.float32(1.0)
        return np.asarray(np.clip(mel, np.float32(-1.0), np.float32(1.0)))

    def amplitude(self, mel: Array) -> Array:
        """Return the band amplitudes (B, M, T) of a mel in [-1, 1]; the floor reads exactly 0.

        If the floor were not subtracted, every silent band would come back as hiss.
        """
        return np.asarray(
            np.maximum(self._level(mel) - np.float32(10.0 ** (self.spec.floor_db / 20.0)), np.float32(0.0))
        )

    def bands(self, mel: Array) -> Array:
        """Return the filters' outputs (B, M, T): amplitudes, or their squares if the spec's power is 2."""
        return self.amplitude(mel) ** self.spec.power

    def bands_above_floor(self, mel: Array) -> Array:
        """Return bands as `bands` does, but minus the floor's power, not its amplitude: they read back as this mel.

        Closer to the mel where it is quiet, but less silent.
        """
        power = self._level(mel) ** 2 - np.float32(10.0 ** (self.spec.floor_db / 10.0))
        return np.asarray(np.maximum(power, np.float32(0.0)) ** np.float32(0.5 * self.spec.power))

    def _level(self, mel: Array) -> Array:
        """Return the amplitudes (B, M, T) of a mel; at the floor, the floor's."""
        self.check(mel)
        highest = float(np.abs(mel).max(initial=0.0))
        if highest > 1.0 + ROUNDING:
            # Python shows a warning once per place in the calling code.
            warnings.warn(f"mel values up to {highest:.3g} are clamped to -1..1", stacklevel=3)
        above = np.clip(mel, np.float32(-1.0), np.float32(1.0)) + np.float32(1.0)
        level_db = above * np.float32(self.spec.range_db / 2.0) + np.float32(self.spec.floor_db)
        return np.asarray(np.float32(10.0) ** (level_db / np.float32(20.0)))

    def taken(self, mel: npt.ArrayLike) -> Array:
        """Return a mel (B, M, T) in single precision, whatever its type; raises as `check` does."""
        single = asked.floats("mel", mel, finite=False)
        self.check(single)
        return single

    def check(self, mel: Array) -> None:
        """Raise AudioError unless `mel` is (B, M, T), finite, of this spec and not empty."""
        if mel.ndim != 3 or mel.shape[1] != self.spec.n_mels or mel.shape[2] < 1:
            raise AudioError(f"mel must be (B, {self.spec.n_mels}, T) with T >= 1, got {mel.shape}")
        if not np.isfinite(mel).all():
            raise AudioError("mel holds values that are not numbers (NaN or infinity)")
