"""From mel to sound: first magnitudes, then phase, as well as the quality allows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fugue_state import asked
from fugue_state.arrays import Array
from fugue_state.audio.compiled import in_threads, one_thread
from fugue_state.audio.integrate import Grid, gradient_phase, realtime_phase
from fugue_state.audio.magnitudes import Lobes, Magnitudes, PseudoInverse, Refit, Updates
from fugue_state.audio.mel import MelTransform
from fugue_state.audio.phase import griffin_lim, random_phase
from fugue_state.config import DEFAULT_QUALITY, QUALITIES, SEED_MAX, MelSpec, PhaseConfig, QualityName
from fugue_state.errors import check_installed

JOINT = PhaseConfig(method="random", iterations=64)  # magnitudes and phase found together, from random phase
MOMENTUM = 0.99


class Inverter(Protocol):
    """Anything that turns a mel (B, M, T) in [-1, 1] into audio (B, T * hop)."""

    @property
    def spec(self) -> MelSpec:
        """The MelSpec it inverts; callers check that it matches."""

    def __call__(self, mel: Array) -> Array:
        """Invert mel (B, M, T) to audio (B, T * hop)."""


class SpectralInverter:
    """Magnitudes by one of several methods, then phase by one of several, refined together."""

    def __init__(self, magnitudes: Magnitudes, phase: PhaseConfig, seed: int = 0) -> None:
        self.magnitudes = magnitudes
        self._phase = phase
        self._refit = Refit(magnitudes.transform)
        self._seed = seed

    @property
    def spec(self) -> MelSpec:
        """The MelSpec it inverts."""
        return self.magnitudes.transform.spec

    def __call__(self, mel: npt.ArrayLike) -> Array:
        """Invert mel (B, M, T) to audio (B, T * hop), items in parallel."""
        mels = self.magnitudes.transform.taken(mel)
        if not len(mels):
            return np.zeros((0, mels.shape[2] * self.spec.hop), dtype=np.float32)
        return np.stack(in_threads(self._one, list(mels)))

    def recast(self, mel: Array, sound: Array) -> Array:
        """Return a sound (T * hop,) with this mel (M, T), found from the phases of another sound (N,)."""
        return self._one(mel, prolonged(self.magnitudes.transform.phase(sound)))

    def _one(self, mel: Array, phase: Array | None = None) -> Array:
        magnitude = prolonged(self.magnitudes(mel[None])[0] / np.float32(self.magnitudes.transform.unit_gain))
        grid = Grid(self.spec.n_fft, self.spec.hop)
        phase = self._begun(magnitude, grid) if phase is None else phase
        onward = partial(self._refit, prolonged(self._refit.wanted(mel[None])[0]))
        iterations = self._phase.iterations
        return griffin_lim(magnitude, phase, grid, iterations=iterations, momentum=MOMENTUM, onward=onward)

    def _begun(self, magnitude: Array, grid: Grid) -> Array:
        """Return the phases (T, F) to start iterating from."""
        if self._phase.method == "random":
            return random_phase(magnitude, self._seed)
        integrated = {"realtime": realtime_phase, "gradient": gradient_phase}[self._phase.method]
        return integrated(magnitude, grid, self._seed) + grid.from_centre()


def prolonged(frames: Array) -> Array:
    """Repeat the last of frames (T, F), so that the last samples have their full overlap."""
    return np.concatenate([frames, frames[-1:]])


class OriginalInverter:
    """The usual method, for comparison: librosa's NNLS, then 400 Griffin-Lim iterations."""

    def __init__(self, spec: MelSpec, seed: int = 0) -> None:
        self._transform = MelTransform(spec)
        self._seed = seed

    @property
    def spec(self) -> MelSpec:
        """The MelSpec it inverts."""
        return self._transform.spec

    def __call__(self, mel: npt.ArrayLike) -> Array:
        """Invert mel (B, M, T) to audio (B, T * hop), item by item."""
        mels = self._transform.taken(mel)
        with one_thread():
            made = [self._one(item) for item in self._transform.bands(mels)]
        return np.stack(made) if made else np.zeros((0, mels.shape[2] * self.spec.hop), dtype=np.float32)

    def _one(self, bands: Array) -> Array:
        check_installed("the inverter `original`", "learn", ("librosa",))
        import librosa

        spec = self.spec
        bands = np.concatenate([bands, bands[:, -1:]], axis=1)
        linear = librosa.util.nnls(self._transform.filters, bands) ** (1.0 / spec.power)
        audio = librosa.griffinlim(
            linear / self._transform.unit_gain,
            n_iter=400,
            momentum=0.9,
            hop_length=spec.hop,
            n_fft=spec.n_fft,
            random_state=self._seed,
            length=(bands.shape[1] - 1) * spec.hop,
        )
        return np.asarray(audio, dtype=np.float32)


WAYS: dict[str, Callable[[MelSpec, PhaseConfig, int], Inverter]] = {
    "lobes": lambda spec, phase, seed: SpectralInverter(Lobes(spec), phase, seed),
    "updates": lambda spec, phase, seed: SpectralInverter(Updates(spec), phase, seed),
    "pseudo-inverse": lambda spec, phase, seed: SpectralInverter(PseudoInverse(spec), phase, seed),
    "joint": lambda spec, _, seed: SpectralInverter(PseudoInverse(spec), JOINT, seed),
    "original": lambda spec, _, seed: OriginalInverter(spec, seed),
}


def make_inverter(name: str, spec: MelSpec, quality: QualityName = DEFAULT_QUALITY, seed: int = 0) -> Inverter:
    """Return the inverter of this name for this MelSpec; InputError for an unknown name.

    The quality decides how the phase is found; `joint` and `original` always use their own method.
    """
    asked.one_of("inverter", name, WAYS)
    asked.one_of("quality", quality, QUALITIES)
    asked.kind("spec", spec, MelSpec, "as in Memory.spec")
    return WAYS[name](spec, QUALITIES[quality], asked.whole("seed", seed, 0, SEED_MAX))
