"""How well a memory's intact notes are in tune, through its inverter, by another pitch tracker; prints JSON.

    python benchmarks/notes.py [MODEL] [--per-class 32] [--inverter NAME] [--quality final]
        [--against CORPUS] [--ship FILE]

`cents` is the median distance from the notes asked, `cents_95` what 95 % stay within, `octave_errors` the share that
is off by octaves; over all sounds and per class. With --against, the held-out clips of a corpus are measured too:
straight, and after mel -> sound; this works with any memory. With --ship, the memory is rounded to half precision first
and then written to FILE with these figures in its header.

The tracker is librosa's YIN, whose threshold is set so that it names all of 1184 held-out clips of plucked notes, E2 to
E5: at the usual 0.1 it takes the second or third partial for the first in 2 % of them, at 0.05 in 0.2 %, at 0.03 in
none, at 0.02 it answers an octave too low in 0.3 %. (pYIN answers in steps, and takes a second for each sound if these
are fine enough.)
"""

from __future__ import annotations

import librosa
import numpy as np
from asked_of import measured

from fugue_state.arrays import Array
from fugue_state.measure.memory import SoundSet
from fugue_state.measure.notes import NAMED_CENTS, Note, NoteTable, note, tabulate_notes
from fugue_state.memory.memory import Memory

FIGURES = ("accuracy", "worst_class", "clarity", "cents", "cents_95", "octave_errors")
# Looked for: E2 (82.4 Hz) to E5 (659.3 Hz) with an octave below and above at least, so that octave errors are heard.
LOWEST_HZ, HIGHEST_HZ = 40.0, 1400.0
FRAME_S = 0.186  # a window of 7 periods of the lowest; at 22.05 kHz 4096 samples
THRESHOLD = 0.03
HEARD_DB = 20.0  # frames quieter than this below the loudest are left out


def tracked(samples: Array, sample_rate_hz: int, names: tuple[str, ...]) -> Note:
    """Return the note of a sound (N,) as librosa hears it; clarity is the share of it within 50 cents of its median."""
    frame = 2 ** round(np.log2(FRAME_S * sample_rate_hz))
    how = {"frame_length": frame, "hop_length": frame // 4}
    hz = librosa.yin(samples, fmin=LOWEST_HZ, fmax=HIGHEST_HZ, sr=sample_rate_hz, trough_threshold=THRESHOLD, **how)
    level = librosa.feature.rms(y=samples, **how)[0]
    midi = 69.0 + 12.0 * np.log2(hz[level >= level.max() * 10.0 ** (-HEARD_DB / 20.0)] / 440.0)
    middle = float(np.median(midi))
    return note(middle, float((np.abs(midi - middle) <= NAMED_CENTS / 100.0).mean()), names)


def note_table(sounds: SoundSet, memory: Memory) -> NoteTable:
    """Measure every sound."""
    return tabulate_notes(
        sounds.labels, [tracked(sound, memory.spec.sample_rate_hz, sounds.labels) for sound in sounds.sounds]
    )


def main() -> None:
    """Run the measurement."""
    measured(__doc__, "notes", "notes", note_table, FIGURES)


if __name__ == "__main__":
    main()
