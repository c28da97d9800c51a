"""Recordings of single notes: the guitars among them, and the notes each can play."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fugue_state.arrays import Array
from fugue_state.audio import reading
from fugue_state.audio.pitch import GUITAR, pitch_of
from fugue_state.config import ClipConfig
from fugue_state.corpus.clips import centred, loudest_rms, onset
from fugue_state.corpus.scan import is_systems
from fugue_state.errors import AudioError, CorpusError
from fugue_state.progress import Track, untracked

NAME = re.compile(r"(?<![A-Za-z0-9])([A-Ga-g])(#|b|s)?(-?\d)(?:_fret(\d+))?(?![A-Za-z0-9])")
CLASSES = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}
AGREE_CENTS = 60.0
LONGEST_S = 8.0
FADE_S = 0.05


@dataclass(frozen=True)
class Note:
    """A plucked string: samples from its onset, measured pitch (MIDI, C4 = 60) and level."""

    samples: Array
    midi: float
    level_db: float


@dataclass
class Guitar:
    """All notes of one instrument, recorded with one microphone or pickup."""

    name: str
    notes: list[Note] = field(default_factory=list)

    def reach(self, midi: float) -> float:
        """Return how many semitones the nearest note must be shifted to give `midi`."""
        return min(abs(note.midi - midi) for note in self.notes)

    def pick(self, midi: float, dynamics: float, rng: np.random.Generator) -> Note:
        """Choose a note near `midi`, as loud among its alternatives as `dynamics` (0 soft, 1 hard) asks."""
        reach = self.reach(midi)
        near = [n for n in self.notes if abs(n.midi - midi) <= reach + 0.6]
        near.sort(key=lambda n: n.level_db)
        place = dynamics * (len(near) - 1) + rng.normal(0.0, 0.12 * len(near))
        return near[int(np.clip(round(place), 0, len(near) - 1))]


def named_pitch_classes(stem: str) -> set[int]:
    """Return the pitch classes (0 = C) in a file name such as `E2_Ab3_mp_1` or `A3_fret2`."""
    classes = set()
    for letter, accidental, _octave, fret in NAME.findall(stem.replace("_", " ").replace(" fret", "_fret")):
        shift = {"#": 1, "s": 1, "b": -1, "": 0}[accidental] + int(fret or 0)
        classes.add((CLASSES[letter.lower()] + shift) % 12)
    return classes


def make_note(samples: Array, sample_rate_hz: int, classes: set[int]) -> Note:
    """Trim a recording to its onset and measure it.

    Octaves are taken from the measured pitch, not from the name, since some sets number strings instead of octaves.
    Raises AudioError if the measured pitch is none of the named pitch classes.
    """
    start = onset(samples, sample_rate_hz, ClipConfig().onset_db)
    body = centred(samples[max(0, start - int(0.002 * sample_rate_hz)) :][: int(LONGEST_S * sample_rate_hz)]).copy()
    fade = min(len(body), int(FADE_S * sample_rate_hz))
    body[len(body) - fade :] *= np.linspace(1.0, 0.0, fade, dtype=np.float32)
    midi = pitch_of(body, sample_rate_hz, GUITAR).midi
    off = [abs((midi - c + 6.0) % 12.0 - 6.0) * 100.0 for c in classes]
    if off and min(off) > AGREE_CENTS:
        raise AudioError(f"sounds {min(off):.0f} cents off the note it names")
    return Note(body, midi, 20.0 * float(np.log10(loudest_rms(body, sample_rate_hz))))


def read_guitars(
    folders: Sequence[Path],
    sample_rate_hz: int,
    track: Track = untracked,
) -> tuple[list[Guitar], list[tuple[Path, str]]]:
    """Read every folder that directly contains sound files as one guitar.

    Returns the guitars by name, and the files left out, each with its reason.
    Raises CorpusError if nothing usable is found, AudioError for a folder that is missing.
    """
    paths = [
        path
        for folder in folders
        for path in reading.sound_files(folder)
        if not any(map(is_systems, path.relative_to(folder).parts))
    ]
    guitars: dict[str, Guitar] = {}
    left_out: list[tuple[Path, str]] = []
    for path in track(paths, len(paths), "reading notes"):
        try:
            samples, _ = reading.read(path, sample_rate_hz)
            note = make_note(samples, sample_rate_hz, named_pitch_classes(path.stem))
        except AudioError as error:
            left_out.append((path, str(error).removeprefix(f"{path}: ")))
            continue
        guitars.setdefault(path.parent.name, Guitar(path.parent.name)).notes.append(note)
    if not guitars:
        raise CorpusError(f"no usable note in {', '.join(map(str, folders))} ({len(left_out)} left out)")
    return [guitars[name] for name in sorted(guitars)], left_out
