"""Which chord a sound is, and how clearly: chroma against triad templates."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fugue_state.errors import InputError, counted

NAME = re.compile(r"^([A-G])([#b]?)(|maj|m|min|dim|aug)$")
ROOTS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
TRIADS = {"": (0, 4, 7), "maj": (0, 4, 7), "m": (0, 3, 7), "min": (0, 3, 7), "dim": (0, 3, 6), "aug": (0, 4, 8)}
LOWEST_NOTE, OCTAVES, BINS_PER_OCTAVE = "C2", 5, 36
# The second overtone of a note is a fifth above it, and guitars have plenty of it.
OVERTONE = 0.15


@dataclass(frozen=True)
class Chord:
    """The chord heard: name, cosine with its template, and how far ahead of the next one."""

    name: str
    clarity: float
    margin: float


@dataclass(frozen=True)
class ChordTable:
    """How a set of sounds is named: overall, per class, and which is taken for which.

    `confusion[asked][heard]` counts; `clarity` and `margin` are means over all sounds.
    """

    count: int
    accuracy: float
    worst_class: float
    per_class: dict[str, float]
    clarity: float
    margin: float
    confusion: dict[str, dict[str, int]]


def tabulate(asked: Sequence[str], heard: Sequence[Chord]) -> ChordTable:
    """Compare what was asked with what is heard; InputError unless there is one of each."""
    if len(asked) != len(heard) or not asked:
        raise InputError(
            f"{counted(len(asked), 'chord')} asked and {len(heard)} heard; as many are needed, at least one"
        )
    confusion: dict[str, dict[str, int]] = {name: {} for name in sorted(set(asked))}
    for name, chord in zip(asked, heard, strict=True):
        confusion[name][chord.name] = confusion[name].get(chord.name, 0) + 1
    per_class = {name: row.get(name, 0) / sum(row.values()) for name, row in confusion.items()}
    return ChordTable(
        count=len(asked),
        accuracy=sum(row.get(name, 0) for name, row in confusion.items()) / len(asked),
        worst_class=min(per_class.values()),
        per_class=per_class,
        clarity=float(np.mean([chord.clarity for chord in heard])),
        margin=float(np.mean([chord.margin for chord in heard])),
        confusion=confusion,
    )


def template(name: str) -> npt.NDArray[np.float64]:
    """Return the unit chroma (12,) of a triad such as `Am`, `Bb`, `F#dim`; InputError otherwise."""
    match = NAME.match(name)
    if match is None:
        raise InputError(f"{name!r} is no triad that can be named (like C, F#, Am, Bdim)")
    root = ROOTS[match[1]] + {"#": 1, "b": -1, "": 0}[match[2]]
    chroma = np.zeros(12)
    for interval in TRIADS[match[3]]:
        chroma[(root + interval) % 12] += 1.0
        chroma[(root + interval + 7) % 12] += OVERTONE
    return chroma / np.linalg.norm(chroma)


def can_be_named(names: Sequence[str]) -> bool:
    """Say whether these labels are two or more triads that `name_chord` can tell apart."""
    return len(names) > 1 and all(NAME.match(name) for name in names)


def chroma(samples: npt.NDArray[np.float32], sample_rate_hz: int) -> npt.NDArray[np.float64]:
    """Return the unit chroma (12,), C first, of a sound (N,): constant-Q, tuned, summed over time."""
    import librosa

    with np.errstate(all="ignore"), warnings.catch_warnings():
        # Short and silent sounds are welcome here; they are named with little clarity.
        warnings.simplefilter("ignore", UserWarning)
        frames = librosa.feature.chroma_cqt(
            y=samples,
            sr=sample_rate_hz,
            norm=None,
            fmin=float(librosa.note_to_hz(LOWEST_NOTE)),
            n_octaves=OCTAVES,
            bins_per_octave=BINS_PER_OCTAVE,
        )
    total = np.nan_to_num(frames.sum(axis=1).astype(np.float64))
    return np.asarray(total / max(float(np.linalg.norm(total)), 1e-12))


def name_chord(samples: npt.NDArray[np.float32], sample_rate_hz: int, names: Sequence[str]) -> Chord:
    """Name the chord of a sound (N,) as one of `names` (two or more)."""
    return match(chroma(samples, sample_rate_hz), names)


def match(heard: npt.NDArray[np.float64], names: Sequence[str]) -> Chord:
    """Name the chord of a unit chroma (12,) as one of `names` (two or more)."""
    scores = [float(heard @ template(name)) for name in names]
    best, second = np.argsort(scores)[::-1][:2]
    return Chord(names[best], scores[best], scores[best] - scores[second])
