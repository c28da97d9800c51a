"""How faithful a sound is to another one, or to the mel it was made of."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor

from fugue_state.audio.io import Samples
from fugue_state.audio.mel import MelTransform
from fugue_state.config import COMPARED_HZ, COMPARED_WINDOWS
from fugue_state.errors import AudioError
from fugue_state.measure.chords import BINS_PER_OCTAVE, LOWEST_NOTE, OCTAVES

RANGE_DB = 60.0
HIGHEST_PART = 0.48  # of the rate: what the chroma may hear
SILENT = 1e-6  # of a chroma whose largest value is 1


def log_spectral_errors(
    reference: Tensor,
    sound: Tensor,
    sample_rate_hz: int,
    *,
    from_hz: float = 0.0,
    to_hz: float = COMPARED_HZ,
    range_db: float = RANGE_DB,
) -> Tensor:
    """Return the log-spectral error in dB at every window of `COMPARED_WINDOWS`, (B, W), of sounds (B, N).

    Levels of the bins from `from_hz` to below `to_hz`, clamped `range_db` below the reference's loudest; per
    frame the root mean square of their difference (Gray and Markel, 1976), mean over frames. A level of its own
    is an error too. Raises AudioError for sounds that are not (B, N) alike, not finite, silent, or have no such
    bins.
    """
    _check(reference, sound)
    return torch.stack(
        [
            _log_spectral_error(reference, sound, n, range_db, _bins(n, sample_rate_hz, from_hz, to_hz))
            for n in COMPARED_WINDOWS
        ],
        dim=1,
    )


def log_spectral_error(reference: Tensor, sound: Tensor, sample_rate_hz: int, **bounds: float) -> Tensor:
    """Return the mean of `log_spectral_errors` over all windows, dB (B,); the bounds are those it takes."""
    return log_spectral_errors(reference, sound, sample_rate_hz, **bounds).mean(dim=1)


def _log_spectral_error(reference: Tensor, sound: Tensor, n_fft: int, range_db: float, bins: slice) -> Tensor:
    one, other = (_magnitudes(samples, n_fft)[:, bins] for samples in (reference, sound))
    top = one.amax((1, 2), keepdim=True)
    if not bool((top > 0.0).all()):
        raise AudioError("the reference is silent in these bins: there is no level to compare with")
    least = top * 10.0 ** (-range_db / 20.0)
    apart = 20.0 * (torch.log10(one.maximum(least)) - torch.log10(other.maximum(least)))
    return (apart**2).mean(1).sqrt().mean(1)


def _magnitudes(samples: Tensor, n_fft: int) -> Tensor:
    """Return the STFT magnitudes (B, F, T) of sounds (B, N)."""
    spectrum: Tensor = torch.stft(
        samples,
        n_fft,
        n_fft // 4,
        window=torch.hann_window(n_fft),
        center=True,
        pad_mode="constant",
        return_complex=True,
    )
    return spectrum.abs()


def _bins(n_fft: int, sample_rate_hz: int, from_hz: float, to_hz: float) -> slice:
    first = int(np.ceil(from_hz / sample_rate_hz * n_fft))
    last = min(int(to_hz / sample_rate_hz * n_fft), n_fft // 2 + 1)
    if first >= last:
        raise AudioError(f"there is nothing from {from_hz:g} to {to_hz:g} Hz at {sample_rate_hz} Hz")
    return slice(first, last)


def chroma_error(reference: Tensor, sound: Tensor, sample_rate_hz: int) -> Tensor:
    """Return 1 - cosine of the constant-Q chroma of sounds (B, N), mean over frames: (B,), 0 alike to 1.

    Frames in which the reference is silent do not count; silence where it is not counts as 1. Raises AudioError
    for sounds that are not (B, N) alike or not finite, or a reference that is silent throughout.
    """
    _check(reference, sound)
    pairs = zip(reference.numpy(), sound.numpy(), strict=True)
    return torch.tensor([_chroma_error(one, other, sample_rate_hz) for one, other in pairs])


def _chroma_error(reference: Samples, sound: Samples, sample_rate_hz: int) -> float:
    one, other = (_chroma(samples, sample_rate_hz) for samples in (reference, sound))
    sizes = np.linalg.norm(one, axis=0), np.linalg.norm(other, axis=0)
    heard = sizes[0] > SILENT
    if not heard.any():
        raise AudioError("the reference is silent: it has no chroma to compare with")
    cosine = (one * other).sum(axis=0) / np.maximum(sizes[0] * sizes[1], SILENT)
    return float(1.0 - cosine[heard].mean())


def _chroma(samples: Samples, sample_rate_hz: int) -> Samples:
    """Return the chroma (12, T) of a sound (N,), the largest value of every frame 1."""
    import librosa

    lowest = float(librosa.note_to_hz(LOWEST_NOTE))
    octaves = min(OCTAVES, int(np.log2(HIGHEST_PART * sample_rate_hz / lowest)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # short sounds are welcome
        frames: Samples = librosa.feature.chroma_cqt(
            y=samples,
            sr=sample_rate_hz,
            tuning=0.0,
            fmin=lowest,
            n_octaves=octaves,
            bins_per_octave=BINS_PER_OCTAVE,
        )
    return frames


def mel_error(mel: Tensor, sound: Tensor, transform: MelTransform) -> Tensor:
    """Return the mean absolute difference in dB between mels (B, M, T) and those of sounds (B, T * hop): (B,).

    Both lie within the range of the spec. Raises AudioError for a mel or a sound that is not of these shapes.
    """
    transform.check(mel)
    again = transform.encode(sound)
    if again.shape != mel.shape:
        raise AudioError(
            f"sounds of {tuple(sound.shape)} samples have mels {tuple(again.shape)}, not {tuple(mel.shape)}"
        )
    return (again - mel.clamp(-1.0, 1.0)).abs().mean((1, 2)) * (transform.spec.range_db / 2.0)


def largest_step(sound: Tensor) -> Tensor:
    """Return the largest step from one sample to the next, (B,), of sounds (B, N): what a click would be."""
    return sound.diff(dim=1).abs().amax(dim=1)


def _check(reference: Tensor, sound: Tensor) -> None:
    if reference.ndim != 2 or reference.shape != sound.shape or not reference.numel():
        raise AudioError(f"two sounds (B, N) alike are needed, got {tuple(reference.shape)} and {tuple(sound.shape)}")
    if not bool(torch.isfinite(reference).all() and torch.isfinite(sound).all()):
        raise AudioError("a sound holds values that are not numbers (NaN or infinity)")
