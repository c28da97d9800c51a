"""Checks what is asked of a memory, and converts it for the generator."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from fugue_state import asked
from fugue_state.arrays import Array, Whole
from fugue_state.errors import InputError, counted, shown, unknown
from fugue_state.limits import MEMORY_FRAMES
from fugue_state.memory.bends import Source, UnitValues
from fugue_state.memory.catalogue import MemoryHeader
from fugue_state.memory.layers import FACTOR, Moments
from fugue_state.memory.units import for_units
from fugue_state.score.names import quote, unquoted
from fugue_state.score.pitches import same

SHORTEST_S, LONGEST_S = 1e-3, 120.0


class Requests:
    """Checks latents, chords, strengths and lengths and converts them for the generator; InputError if invalid."""

    def __init__(self, header: MemoryHeader) -> None:
        self._name, self._spec, self._model = header.name, header.mel, header.model

    def moments(
        self, z: npt.ArrayLike, chord: str | Sequence[str] | None, strengths: UnitValues | None, frames: int | None
    ) -> tuple[Moments, int | None]:
        """Return the moments and the frames to generate; InputError for invalid values."""
        latents, size = asked.floats("z", z), self._model.latent_size
        if latents.ndim != 2 or latents.shape[1] != size:
            raise InputError(f"z must be (B, {size}), got {latents.shape}")
        if frames is not None:
            frames = asked.whole("frames", frames, FACTOR, max(self.frames(LONGEST_S), self._spec.frames))
            if frames % FACTOR:
                raise InputError(f"frames must be a multiple of {FACTOR}, got {frames}")
        if (together := len(latents) * (frames or self._spec.frames)) > MEMORY_FRAMES.most:
            raise InputError(MEMORY_FRAMES.passed(together))
        left = None if strengths is None else self._by_layer(strengths, len(latents))
        return Moments(latents, self._label_indices(chord, len(latents)), left), frames

    def moment(self, name: str, source: Source) -> Moments:
        """Return the single moment that the replacement `name` takes its maps from."""
        size, source = self._model.latent_size, asked.kind(name, source, Source, "Source(latent, chord)")
        # Copies, since the caller may change its own arrays later.
        z = asked.floats(f"the latent of {name}", source.latent).copy()
        if z.shape != (size,):
            raise InputError(f"the latent of {name} must be ({size},), got {z.shape}")
        then = None if source.strengths is None else self._by_layer(source.strengths, 1)
        kept = None if then is None else {layer: strengths.copy() for layer, strengths in then.items()}
        return Moments(z[None], self._label_indices(source.chord, 1), kept)

    def frames(self, duration_s: float | None) -> int:
        """Return the fewest frames (a multiple of 32) that last `duration_s` or more; None is the length learned."""
        if duration_s is None:
            return self._spec.frames
        what = f"a segment lasts up to {LONGEST_S:g} s: its length"
        duration_s = asked.number(what, duration_s, SHORTEST_S, LONGEST_S)
        return math.ceil(duration_s * self._spec.sample_rate_hz / self._spec.hop / FACTOR) * FACTOR

    def _label_indices(self, chord: str | Sequence[str] | None, count: int) -> Whole:
        if chord is None:
            return np.arange(count) % max(len(self._model.labels), 1)
        if not isinstance(chord, str | Sequence | np.ndarray):
            raise InputError(f"chord must be a name, or one for each latent, got {shown(chord)}")
        chords = [chord] * count if isinstance(chord, str) else list(chord)
        if len(chords) != count:
            raise InputError(f"{counted(len(chords), 'chord')} for {counted(count, 'latent')}; one for each is needed")
        return np.array([self.label_index(name) for name in chords], dtype=np.int64)

    def label_of(self, chord: str) -> str | None:
        """Return a chord as the memory calls it; None if it does not know it."""
        return same(chord, self._model.labels) or same(unquoted(chord), self._model.labels)

    def label_index(self, chord: str) -> int:
        """Return the index of a chord; InputError if this memory does not know it."""
        if not self._model.labels:
            raise InputError(f"memory {self._name!r} learned without labels: it knows no chord by name")
        if not isinstance(chord, str):
            raise InputError(
                f"a chord is named by text ({', '.join(map(quote, self._model.labels))}), got {shown(chord)}"
            )
        name = self.label_of(chord)
        if name is None:
            raise unknown("chord", chord, map(quote, self._model.labels))
        return self._model.labels.index(name)

    def _by_layer(self, strengths: UnitValues, count: int) -> Mapping[str, Array]:
        layers, units = self._model.layers, self._model.units
        flat = for_units("strengths", strengths, layers, 1.0)
        if flat.shape not in ((units,), (count, units)):
            raise InputError(f"strengths must be ({units},) or ({count}, {units}), got {flat.shape}")
        if not ((flat >= 0.0) & (flat <= 1.0)).all():
            raise InputError("strengths must be within 0..1 (0 forgotten, 1 intact)")
        parts = np.split(flat, np.cumsum(list(layers.values()))[:-1], axis=-1)
        return dict(zip(layers, parts, strict=True))
