"""From mel to sound: one protocol, and the ways that follow it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from fugue_state.audio.mel import MelTransform
from fugue_state.audio.phase import griffin_lim
from fugue_state.config import MelSpec
from fugue_state.errors import unknown

ITERATIONS = 32
MOMENTUM = 0.99


class Inverter(Protocol):
    """Anything that turns mel (B, M, T) in [-1, 1] into audio (B, T * hop)."""

    @property
    def spec(self) -> MelSpec:
        """The MelSpec it inverts; another one is refused before it gets here."""

    def __call__(self, mel: Tensor) -> Tensor:
        """Invert."""


class _MelInverter:
    """What all inverters of a mel share: the transform of its spec, and a seed."""

    def __init__(self, spec: MelSpec, seed: int = 0) -> None:
        self._transform = MelTransform(spec)
        self._seed = seed

    @property
    def spec(self) -> MelSpec:
        """The MelSpec it inverts."""
        return self._transform.spec


class FastInverter(_MelInverter):
    """Multiplicative-update magnitudes, then fast Griffin-Lim."""

    def __call__(self, mel: Tensor) -> Tensor:
        """Invert mel (B, M, T) to audio (B, T * hop)."""
        with torch.inference_mode():
            return griffin_lim(
                self._transform.magnitude(mel),
                n_fft=self.spec.n_fft,
                hop=self.spec.hop,
                iterations=ITERATIONS,
                momentum=MOMENTUM,
                seed=self._seed,
            )


class OriginalInverter(_MelInverter):
    """The common way, for comparison: librosa's NNLS, then 400 Griffin-Lim iterations."""

    def __call__(self, mel: Tensor) -> Tensor:
        """Invert mel (B, M, T) to audio (B, T * hop), one item after another."""
        bands = self._transform.amplitude(mel).numpy() ** self.spec.power
        return torch.from_numpy(np.stack([self._one(item) for item in bands]))

    def _one(
        self, bands: np.ndarray[tuple[int, int], np.dtype[np.float32]]
    ) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        import librosa

        spec = self.spec
        # One more frame, as everywhere: the last samples need a full overlap.
        bands = np.concatenate([bands, bands[:, -1:]], axis=1)
        linear = librosa.util.nnls(self._transform.filters.numpy(), bands) ** (1.0 / spec.power)
        audio = librosa.griffinlim(
            linear * (float(self._transform.window.sum()) / 2.0),
            n_iter=400,
            momentum=0.9,
            hop_length=spec.hop,
            n_fft=spec.n_fft,
            random_state=self._seed,
            length=(bands.shape[1] - 1) * spec.hop,
        )
        return audio.astype(np.float32)


INVERTERS: dict[str, Callable[[MelSpec, int], Inverter]] = {
    "fast": FastInverter,
    "original": OriginalInverter,
}


def make_inverter(name: str, spec: MelSpec, seed: int = 0) -> Inverter:
    """Return the inverter of this name for this MelSpec; InputError for a name not known."""
    if name not in INVERTERS:
        raise unknown("inverter", name, INVERTERS)
    return INVERTERS[name](spec, seed)
