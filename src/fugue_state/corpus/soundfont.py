"""The guitars of a SoundFont 2 file as single notes: its looped samples, with a decay added."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import signal

from fugue_state.arrays import Array
from fugue_state.audio.io import resample
from fugue_state.corpus.notes import Guitar, make_note, named_pitch_classes
from fugue_state.errors import AudioError, CorpusError

HEADER = struct.Struct("<20s5IBbHH")  # name, start, end, loop start, loop end, rate, key, cents, link, type
RING_S = 5.0
# Decay times in seconds, for partials below each frequency (and above the one before).
BANDS = ((700.0, 1.6), (2500.0, 0.6), (float("inf"), 0.2))


def read_soundfont(path: Path, prefixes: Sequence[str], sample_rate_hz: int) -> list[Guitar]:
    """Return one guitar for each prefix of sample names, e.g. `Steel AcGtr`.

    SoundFont 2.04, sections 6.1 and 7.10. Raises CorpusError if the file is not a SoundFont.
    """
    data = path.read_bytes()
    waves = np.frombuffer(_chunk(data, b"smpl", path), dtype="<i2").astype(np.float32) / 32768.0
    guitars = {prefix: Guitar(prefix.replace(" ", "")) for prefix in prefixes}
    for fields in HEADER.iter_unpack(_chunk(data, b"shdr", path)):
        name = fields[0].split(b"\0")[0].decode("ascii", "replace")
        prefix = next((p for p in prefixes if name.startswith(p)), None)
        if prefix is None:
            continue
        start, end, loop_start, loop_end, rate = fields[1:6]
        ringing = _ring(waves[start:end], loop_start - start, loop_end - start, rate)
        try:
            note = make_note(resample(ringing, rate, sample_rate_hz), sample_rate_hz, named_pitch_classes(name))
        except AudioError:
            # Sample names follow the keys, not always the pitch: then only the measured pitch counts.
            note = make_note(resample(ringing, rate, sample_rate_hz), sample_rate_hz, set())
        guitars[prefix].notes.append(note)
    return [g for g in guitars.values() if g.notes]


def _chunk(data: bytes, name: bytes, path: Path) -> bytes:
    at = data.find(name)
    if data[:4] != b"RIFF" or at < 0:
        raise CorpusError(f"{path}: not a SoundFont 2 file")
    size = int.from_bytes(data[at + 4 : at + 8], "little")
    return data[at + 8 : at + 8 + size]


def _ring(wave: Array, loop_start: int, loop_end: int, rate: int) -> Array:
    """Repeat the loop for some seconds while the level falls, faster at high frequencies.

    A SoundFont leaves this to the synthesizer's envelopes; without it the string would never decay.
    """
    loop = wave[loop_start:loop_end]
    repeats = int(RING_S * rate) // max(len(loop), 1) + 1
    tone = np.concatenate([wave[:loop_end], np.tile(loop, repeats)])[: int(RING_S * rate)]
    time_s = np.arange(len(tone)) / rate
    ringing = np.zeros_like(tone)
    above = tone
    for cutoff_hz, decay_s in BANDS:
        if cutoff_hz < rate / 2:
            low_pass = signal.butter(2, cutoff_hz, fs=rate, output="sos")
            below = np.asarray(signal.sosfilt(low_pass, above), dtype=np.float32)
        else:
            below = above
        ringing += below * np.exp(-time_s / decay_s)
        above = above - below
    return np.asarray(ringing, dtype=np.float32)
