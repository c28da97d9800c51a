"""Labels from the pitch of each sound: from its file's name where names can be trusted, otherwise by ear."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path

from fugue_state.audio.io import resample
from fugue_state.audio.pitch import Pitch, pitch_of
from fugue_state.config import PITCH, SLICE_AUTO, ClipConfig, LabelsName, MelSpec
from fugue_state.corpus.cache import Cache
from fugue_state.corpus.clips import onset
from fugue_state.corpus.folder import Clip, Corpus, Understood, group_of, readable
from fugue_state.corpus.slices import Heard, cut_corpus, identity, read_clips
from fugue_state.errors import AudioError, CorpusError, OutputError, counted
from fugue_state.files import replacing
from fugue_state.progress import Track, untracked
from fugue_state.score.pitches import note_name, note_of

# A note within a name: `C#3`, `eb4`, `Fs2`; nothing that could belong to it stands beside it.
NOTE = re.compile(r"(?<![A-Za-z0-9#])([A-Ga-g])(#|b|s|♯|♭)?(-?\d)(?![A-Za-z0-9#])")
SIGNS = {"s": "#", "♯": "#", "♭": "b"}
NUMBER = re.compile(r"\d{2,3}")
LOWEST, HIGHEST = 21, 108  # MIDI numbers of a piano's keys
EAR_HZ = 44_100
# Of 247 plucked notes, 245 are above all of these; of 200 strummed chords, 199 are below one.
LEAST_CLEAR, LEAST_STEADY, LEAST_FUNDAMENTAL_DB = 0.85, 0.7, -45.0
BETWEEN_CENTS = 40.0  # farther from the nearest note than this, a pitch belongs to none
AGREEING = 0.6  # names are trusted if the ear agrees with this share of them
FEWEST_MOVED = 3  # names that all must agree before every name is taken to be a number of semitones off
METHOD = 1  # raised whenever the same sound would be heard differently
NO_NOTE, OTHER_NOTE, UNTAUGHT = "without a note", "that sound other than named", "of notes that Training lacks"
DOUBTED = 4  # doubtful files that are named

Ear = Pitch | str  # a pitch, or why there is none


@dataclass(frozen=True)
class _Note:
    """The note of a clip (a MIDI number), or why it has none."""

    midi: int | None
    by_name: bool = False
    doubt: str = ""
    kind: str = NO_NOTE


def labelled(
    corpus: Corpus,
    spec: MelSpec,
    slicing: str = SLICE_AUTO,
    labelling: LabelsName = PITCH,
    *,
    cache: Cache | None = None,
    track: Track = untracked,
) -> Corpus:
    """Return a corpus with its long recordings cut, as `cut_corpus` does, and labels as asked for.

    `pitch` gives every clip a note as its label, and leaves out what has none. A file's name counts if it contains a
    single note (`Piano_C#3_loud.wav`) or is a MIDI number (`60.wav`), and if the ear agrees with most such names, or
    finds all of them off by the same number of semitones. Everything else, and every part of a recording that is cut,
    is labelled by ear if its pitch is clear. Raises CorpusError if no clip for training has a note.
    """
    if labelling != PITCH:
        return cut_corpus(corpus, spec, slicing, cache=cache, track=track)
    # With a label, a recording is one sound up to a greater length.
    named = [replace(clip, label=_label(_named(clip))) for clip in corpus.clips]
    cut = cut_corpus(replace(corpus, clips=named, labels=()), spec, slicing, cache=cache, track=track)
    found, told = _notes(cut.clips, _ears(cut.clips, cache, track))
    left_out = defaultdict(list, {kind: list(names) for kind, names in corpus.left_out.items()})
    kept: list[tuple[Clip, _Note]] = []
    for clip, note in zip(cut.clips, found, strict=True):
        if note.midi is None:
            left_out[note.kind].append(f"{_below(clip, corpus)}: {note.doubt}")
        else:
            kept.append((replace(clip, label=note_name(note.midi), group=_group(clip)), note))
    kept = _taught(kept, corpus, left_out)
    taught = {note.midi or 0 for clip, note in kept if clip.split == "Training"}
    if not taught:
        raise CorpusError(f"{corpus.root}: no sound for training has a note, by name or by ear{_first(left_out)}")
    return replace(
        cut,
        clips=[clip for clip, _ in kept],
        labels=tuple(map(note_name, sorted(taught))),
        warnings=[*cut.warnings, *told, *_doubts(kept, corpus)],
        left_out={kind: names for kind, names in left_out.items() if names},
        understood=_understood(kept),
    )


def table(corpus: Corpus) -> list[str]:
    """Return a table, line by line, of how the clips of each note were understood; empty without such labels."""
    if not corpus.understood:
        return []
    rows: list[tuple[str, ...]] = [("note", "clips", "by name", "by ear", "doubtful")]
    for label, row in corpus.understood.items():
        figures = (row.by_name + row.by_ear, row.by_name, row.by_ear, row.doubtful)
        rows.append((label, *map(str, figures)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]


def _taught(kept: list[tuple[Clip, _Note]], corpus: Corpus, left_out: dict[str, list[str]]) -> list[tuple[Clip, _Note]]:
    """Return the clips so that Training has every note: what cutting held out goes there, other clips are left out."""
    taught = {clip.label for clip, _ in kept if clip.split == "Training"}
    if not corpus.part("Test"):
        return [(clip if clip.label in taught else replace(clip, split="Training"), note) for clip, note in kept]
    left_out[UNTAUGHT] += [f"{_below(clip, corpus)}: {clip.label}" for clip, _ in kept if clip.label not in taught]
    return [(clip, note) for clip, note in kept if clip.label in taught]


def _named(clip: Clip) -> int | None:
    """Return the note that the name of a file holds: the only one in it, or a MIDI number that is all of it."""
    stem = Path(readable(clip.path.name)).stem
    found = {note_of(f"{letter}{SIGNS.get(sign, sign)}{octave}") for letter, sign, octave in NOTE.findall(stem)}
    if len(found) == 1 and "fret" not in stem.casefold():  # what stands before a fret is a string
        return found.pop()
    if NUMBER.fullmatch(stem) and LOWEST <= int(stem) <= HIGHEST:
        return int(stem)
    return None


def _group(clip: Clip) -> str:
    """Return the group of a clip: what its name tells without the note."""
    stem = NOTE.sub("", clip.path.stem).strip("_- ")
    return group_of(Path(stem or clip.path.stem), "")


def _label(midi: int | None) -> str | None:
    return None if midi is None else note_name(midi)


def _below(clip: Clip, corpus: Corpus) -> str:
    name = readable(clip.path.relative_to(corpus.root).as_posix())
    return name if clip.start_s is None else f"{name} from {clip.start_s:.2f} s"


def _ears(clips: Sequence[Clip], cache: Cache | None, track: Track) -> list[Ear]:
    """Listen to every clip, or find in the cache what was heard."""
    digest = hashlib.sha256(str(METHOD).encode())
    for clip in clips:
        digest.update(identity(clip))
    path = None if cache is None else cache.path("pitches", f"{digest.hexdigest()[:16]}.json")
    known = _read(path, len(clips))
    if known is not None:
        return known
    ears = [_listen(heard) for heard in track(read_clips(clips), len(clips), "listening for pitches")]
    if path is not None and cache is not None:
        try:
            with replacing(path) as beside:
                beside.write_text(json.dumps([ear if isinstance(ear, str) else astuple(ear) for ear in ears]), "utf-8")
        except OutputError as error:
            cache.say(f"{error}; pitches are found anew each time")
    return ears


def _read(path: Path | None, count: int) -> list[Ear] | None:
    if path is None or not path.is_file():
        return None
    try:
        found = [
            ear if isinstance(ear, str) else Pitch(*map(float, ear)) for ear in json.loads(path.read_text("utf-8"))
        ]
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    return found if len(found) == count else None


def _listen(heard: Heard) -> Ear:
    """Return the pitch of a clip from its onset on, or why it has none."""
    if heard.fault:
        return heard.fault
    samples = resample(heard.samples, heard.sample_rate_hz, EAR_HZ)
    try:
        found = pitch_of(samples[onset(samples, EAR_HZ, ClipConfig().onset_db) :], EAR_HZ)
    except AudioError as error:
        return str(error)
    if found.clear < LEAST_CLEAR:
        return "no clear pitch"
    if found.steady < LEAST_STEADY:
        return "no steady pitch"
    return "several notes at once" if found.fundamental_db < LEAST_FUNDAMENTAL_DB else found


def _notes(clips: Sequence[Clip], ears: Sequence[Ear]) -> tuple[list[_Note], list[str]]:
    """Return the note of every clip, and what is to be said about their names."""
    names = [_named(clip) if clip.start_s is None else None for clip in clips]
    numbers = [NUMBER.fullmatch(clip.path.stem) is not None for clip in clips]
    notes, told = [_by_ear(ear) for ear in ears], []
    for are_numbers in (False, True):
        here = [i for i, name in enumerate(names) if name is not None and numbers[i] == are_numbers]
        pairs = [(names[i] or 0, ear) for i in here if isinstance(ear := ears[i], Pitch)]
        moved = _moved(pairs, 0 if here and not are_numbers else None)
        if moved is None:
            if pairs:
                told.append(f"most of {counted(len(here), 'named file')} sound other than named: labelled by ear")
            continue
        if moved:
            moved_by = f"{moved:+d} semitones from their names"
            told.append(f"{counted(len(here), 'named file')} sound {moved_by}: the labels are moved")
        for i in here:
            notes[i] = _by_name((names[i] or 0) + moved, ears[i])
    return notes, told


def _moved(pairs: Sequence[tuple[int, Pitch]], unheard: int | None) -> int | None:
    """Return by how many semitones names are off, from (name, ear) of files; None if they cannot be trusted.

    `unheard` is returned if there is nothing to compare with.
    """
    if not pairs:
        return unheard
    apart = Counter(_nearest(ear) - name for name, ear in pairs)
    moved, count = max(apart.items(), key=lambda item: (item[1], item[0] == 0))
    enough = count >= AGREEING * len(pairs) and (moved == 0 or count >= FEWEST_MOVED)
    return moved if enough else None


def _by_name(midi: int, ear: Ear) -> _Note:
    """Return the note a file names: doubtful if only the octave differs, none if it clearly sounds like another."""
    if isinstance(ear, str):
        return _Note(midi, by_name=True, doubt=ear)
    heard = _nearest(ear)
    if abs(ear.midi - midi) <= 1.0 - BETWEEN_CENTS / 100.0:
        return _Note(midi, by_name=True)
    doubt = f"named {note_name(midi)}, sounds {note_name(heard)}"
    if (heard - midi) % 12 == 0:
        return _Note(midi, by_name=True, doubt=doubt)
    return _Note(None, doubt=doubt, kind=OTHER_NOTE)


def _by_ear(ear: Ear) -> _Note:
    if isinstance(ear, str):
        return _Note(None, doubt=ear)
    if 100.0 * abs(ear.midi - _nearest(ear)) > BETWEEN_CENTS:
        below = math.floor(ear.midi)
        return _Note(None, doubt=f"between {note_name(below)} and {note_name(below + 1)}")
    return _Note(_nearest(ear))


def _nearest(ear: Pitch) -> int:
    return math.floor(ear.midi + 0.5)


def _understood(kept: Sequence[tuple[Clip, _Note]]) -> dict[str, Understood]:
    """Count how the clips of each note came to it, from the lowest note to the highest."""
    by_note: dict[int, list[_Note]] = defaultdict(list)
    for _, note in kept:
        by_note[note.midi or 0].append(note)
    return {
        note_name(midi): Understood(
            by_name=sum(note.by_name for note in notes),
            by_ear=sum(not note.by_name for note in notes),
            doubtful=sum(bool(note.doubt) for note in notes),
        )
        for midi, notes in sorted(by_note.items())
    }


def _doubts(kept: Sequence[tuple[Clip, _Note]], corpus: Corpus) -> Iterator[str]:
    """Name the first files that are labelled as named although the ear does not agree."""
    doubtful = [f"{_below(clip, corpus)}: {note.doubt}" for clip, note in kept if note.doubt]
    if doubtful:
        more = ", ..." if len(doubtful) > DOUBTED else ""
        yield f"doubtful, labelled as named: {len(doubtful)} ({', '.join(doubtful[:DOUBTED])}{more})"


def _first(left_out: dict[str, list[str]]) -> str:
    """Return how many sounds were left out for want of a note, and the first."""
    names = [*left_out.get(NO_NOTE, []), *left_out.get(OTHER_NOTE, [])]
    return f" ({len(names)} left out; the first: {names[0]})" if names else ""
