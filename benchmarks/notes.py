"""How well a memory's intact notes are in tune, through its inverter, by another pitch tracker; prints JSON.

    python benchmarks/notes.py [MODEL] [--per-class 32] [--inverter NAME] [--quality final]
        [--against CORPUS] [--ship FILE]

`cents` is the median distance from the notes asked, `cents_95` what 95 % stay within, `octave_errors` the share that
is off by octaves; over all sounds and per class. With --against, the held-out clips of a corpus are measured too:
straight, and after mel -> sound. With --ship, the memory is rounded to half precision first and then written to FILE
with these figures in its header.

Librosa's pYIN tells which note a sound is, its YIN within a semitone and a half of that how many cents it is off:
pYIN alone answers in steps, and steps fine enough take a second for every sound; YIN alone, at its usual threshold,
takes the second partial of a plucked string for the first in one of 200 notes.
"""

from __future__ import annotations

import librosa
import numpy as np
from asked_of import measured

from fugue_state.arrays import Array
from fugue_state.measure.memory import SoundSet
from fugue_state.measure.notes import Note, NoteTable, note, tabulate_notes
from fugue_state.memory.memory import Memory

FIGURES = ("accuracy", "worst_class", "clarity", "cents", "cents_95", "octave_errors")
# Looked for: E2 (82.4 Hz) to E5 (659.3 Hz) with an octave below and above at least, so that octave errors are heard.
LOWEST_HZ, HIGHEST_HZ = 40.0, 1400.0
FRAME_S = 0.186  # a window of four periods of the lowest; at 22.05 kHz 4096 samples
STEP_SEMITONES = 0.25  # of pYIN
NEAR_SEMITONES = 1.5  # around pYIN's answer, for YIN


def tracked(samples: Array, sample_rate_hz: int, names: tuple[str, ...]) -> Note:
    """Return the note of a sound (N,) as librosa hears it; clarity is the share of the sound that has a pitch."""
    frame = 2 ** round(np.log2(FRAME_S * sample_rate_hz))
    how = {"sr": sample_rate_hz, "frame_length": frame, "hop_length": frame // 4}
    hz, voiced, _ = librosa.pyin(samples, fmin=LOWEST_HZ, fmax=HIGHEST_HZ, resolution=STEP_SEMITONES, **how)
    if not voiced.any():
        return Note("", 0.0, 0.0)
    middle, near = float(np.median(hz[voiced])), 2.0 ** (NEAR_SEMITONES / 12.0)
    fine = librosa.yin(samples, fmin=middle / near, fmax=middle * near, **how)
    midi = 69.0 + 12.0 * float(np.log2(np.median(fine[voiced]) / 440.0))
    return note(midi, float(voiced.mean()), names)


def note_table(sounds: SoundSet, memory: Memory) -> NoteTable:
    """Measure every sound."""
    return tabulate_notes(
        sounds.labels, [tracked(sound, memory.spec.sample_rate_hz, sounds.labels) for sound in sounds.sounds]
    )


def main() -> None:
    """Run the measurement."""
    measured(__doc__, "notes", note_table, FIGURES)


if __name__ == "__main__":
    main()
