"""How faithful a sound is to another one, or to the mel it was made from."""

from __future__ import annotations

import numpy as np
from scipy import fft

from fugue_state.arrays import Array
from fugue_state.audio.mel import MelTransform, hann
from fugue_state.config import COMPARED_HZ, COMPARED_WINDOWS
from fugue_state.errors import AudioError
from fugue_state.measure.chords import chroma_over_time

RANGE_DB = 60.0


def log_spectral_errors(
    reference: Array,
    sound: Array,
    sample_rate_hz: int,
    *,
    from_hz: float = 0.0,
    to_hz: float = COMPARED_HZ,
    range_db: float = RANGE_DB,
) -> Array:
    """Return the log-spectral error in dB at every window of `COMPARED_WINDOWS`, (B, W), of sounds (B, N).

    Uses bins from `from_hz` to below `to_hz`, with levels clamped at `range_db` below the reference's loudest. Per
    frame it is the root mean square of the level difference (Gray and Markel, 1976), averaged over frames. A difference
    in overall level counts as error, too. Raises AudioError for sounds that are not (B, N) of equal shape, not finite
    or silent, or if there are no such bins.
    """
    _check(reference, sound)
    return np.stack(
        [
            _log_spectral_error(reference, sound, n, range_db, _bins(n, sample_rate_hz, from_hz, to_hz))
            for n in COMPARED_WINDOWS
        ],
        axis=1,
    )


def log_spectral_error(reference: Array, sound: Array, sample_rate_hz: int, **bounds: float) -> Array:
    """Return the mean of `log_spectral_errors` over all windows, in dB (B,); `bounds` are passed on to it."""
    return np.asarray(log_spectral_errors(reference, sound, sample_rate_hz, **bounds).mean(axis=1))


def _log_spectral_error(reference: Array, sound: Array, n_fft: int, range_db: float, bins: slice) -> Array:
    one, other = (_magnitudes(samples, n_fft)[:, bins] for samples in (reference, sound))
    top = one.max((1, 2), keepdims=True)
    if not (top > 0.0).all():
        raise AudioError("the reference is silent in these bins: there is no level to compare with")
    least = top * np.float32(10.0 ** (-range_db / 20.0))
    apart = np.float32(20.0) * (np.log10(np.maximum(one, least)) - np.log10(np.maximum(other, least)))
    return np.asarray(np.sqrt((apart**2).mean(1)).mean(1))


def _magnitudes(samples: Array, n_fft: int) -> Array:
    """Return the STFT magnitudes (B, F, T) of sounds (B, N)."""
    around = np.pad(samples, ((0, 0), (n_fft // 2, n_fft // 2)))
    frames = np.lib.stride_tricks.sliding_window_view(around, n_fft, axis=1)[:, :: n_fft // 4]
    return np.abs(fft.rfft(frames * hann(n_fft))).swapaxes(1, 2)


def _bins(n_fft: int, sample_rate_hz: int, from_hz: float, to_hz: float) -> slice:
    first = int(np.ceil(from_hz / sample_rate_hz * n_fft))
    last = min(int(to_hz / sample_rate_hz * n_fft), n_fft // 2 + 1)
    if first >= last:
        raise AudioError(f"there is nothing from {from_hz:g} to {to_hz:g} Hz at {sample_rate_hz} Hz")
    return slice(first, last)


def chroma_error(reference: Array, sound: Array, sample_rate_hz: int) -> Array:
    """Return 1 - cosine of the chroma of sounds (B, N), mean over frames: (B,), from 0 (alike) to 1.

    Frames in which the reference is silent do not count; other frames in which the sound is silent count as 1. Raises
    AudioError for sounds that are not (B, N) of equal shape or not finite, or if the reference is silent throughout.
    """
    _check(reference, sound)
    pairs = zip(reference, sound, strict=True)
    return np.array([_chroma_error(one, other, sample_rate_hz) for one, other in pairs], dtype=np.float32)


def _chroma_error(reference: Array, sound: Array, sample_rate_hz: int) -> float:
    one, other = (chroma_over_time(samples, sample_rate_hz) for samples in (reference, sound))
    heard = one.any(axis=1)
    if not heard.any():
        raise AudioError("the reference is silent: it has no chroma to compare with")
    return float(1.0 - (one * other).sum(axis=1)[heard].mean())


def mel_error(mel: Array, sound: Array, transform: MelTransform) -> Array:
    """Return the mean absolute difference in dB between mels (B, M, T) and those of sounds (B, T * hop): (B,).

    Both are clipped to the range of the spec. Raises AudioError for a mel or a sound that is not of these shapes.
    """
    transform.check(mel)
    again = transform.encode(sound)
    if again.shape != mel.shape:
        raise AudioError(f"sounds of {sound.shape} samples have mels {again.shape}, not {mel.shape}")
    return np.asarray(np.abs(again - np.clip(mel, -1.0, 1.0)).mean((1, 2)) * np.float32(transform.spec.range_db / 2.0))


def largest_step(sound: Array) -> Array:
    """Return the largest step between neighbouring samples, (B,), of sounds (B, N); clicks show up as large steps."""
    return np.asarray(np.abs(np.diff(sound, axis=1)).max(axis=1))


def _check(reference: Array, sound: Array) -> None:
    if reference.ndim != 2 or reference.shape != sound.shape or not reference.size:
        raise AudioError(f"two sounds (B, N) alike are needed, got {reference.shape} and {sound.shape}")
    if not (np.isfinite(reference).all() and np.isfinite(sound).all()):
        raise AudioError("a sound holds values that are not numbers (NaN or infinity)")
