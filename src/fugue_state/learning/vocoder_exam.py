"""Testing a vocoder on clips that it never learned from."""

from __future__ import annotations

from collections.abc import Mapping

from fugue_state.audio.inverters import Inverter, SpectralInverter, make_inverter
from fugue_state.config import HEARING_PER_CLASS, QUALITIES, ROUGH, WITHOUT_VOCODER, MelSpec
from fugue_state.corpus.folder import Corpus
from fugue_state.measure.fidelity import chroma_error, log_spectral_error
from fugue_state.measure.memory import real
from fugue_state.memory.vocoder import LearnedMagnitudes, MagnitudeNet


class HearingTest:
    """Held-out clips of a corpus, sent through the mel and back; without any, nothing is measured."""

    def __init__(self, corpus: Corpus, spec: MelSpec, seed: int = 0) -> None:
        clips = corpus.part("Test")
        self._spec = spec
        self._clips = real(clips, spec, HEARING_PER_CLASS, seed) if clips else None

    def __call__(self, net: MagnitudeNet) -> Mapping[str, float]:
        """Return the errors at every quality, and those of the fallback inverter at the best quality."""
        learned = LearnedMagnitudes(net, self._spec)
        found = dict(self._errors(WITHOUT_VOCODER, make_inverter(WITHOUT_VOCODER, self._spec)))
        for quality, phase in QUALITIES.items():
            if quality != ROUGH:  # which does not use the network
                found |= self._errors(quality, SpectralInverter(learned, phase))
        return found

    def _errors(self, name: str, inverter: Inverter) -> Mapping[str, float]:
        if self._clips is None:
            return {}
        reference = self._clips.sounds
        made = inverter(self._clips.mels)
        rate = self._spec.sample_rate_hz
        return {
            f"{name}_log_spectral_error_db": round(float(log_spectral_error(reference, made, rate).mean()), 3),
            f"{name}_chroma_error": round(float(chroma_error(reference, made, rate).mean()), 4),
        }
