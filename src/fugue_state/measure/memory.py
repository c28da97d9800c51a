"""How well a memory knows its chords or notes, compared with the sounds it learned from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fugue_state.arrays import Array
from fugue_state.audio.mel import MelTransform
from fugue_state.config import EVENT_BATCH, MEASURE_PER_CLASS, PREVIEW_COLUMNS, ClipConfig, MelSpec
from fugue_state.corpus.cache import Cache, find_cache
from fugue_state.corpus.folder import Clip, Corpus
from fugue_state.corpus.mels import MelSet, load_mels
from fugue_state.corpus.slices import read_clips, ready
from fugue_state.errors import InputError
from fugue_state.look.sheet import Row, sheet_figure
from fugue_state.look.theme import DEFAULT, Theme
from fugue_state.measure.distance import FINE, Mels, embed, frechet, kid, nearest
from fugue_state.measure.named import NameTable
from fugue_state.measure.naming import name_sound, naming_of, tabulated
from fugue_state.measure.timbre import timbre
from fugue_state.memory.memory import Memory
from fugue_state.progress import Track, untracked

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# A generated sound counts as a copy if it is nearer to a training clip than all but this share of the
# training clips are to their nearest neighbours.
COPY_QUANTILE = 0.001
NEIGHBOUR_CLIPS = 1000
SHEET_SEED = 0


@dataclass(frozen=True)
class SoundSet:
    """Sounds (n, N), their mels (n, M, T), labels and guitars."""

    sounds: Array
    mels: Array
    labels: tuple[str, ...]
    guitars: tuple[str, ...]


def generated(memory: Memory, per_class: int, seed: int, track: Track = untracked) -> SoundSet:
    """Return sounds of every chord (or without chords, for a memory without labels) from fresh latents."""
    mels, asked = generated_mels(memory, per_class, seed, track)
    return SoundSet(inverted(mels, memory, track), mels, asked, ("",) * len(asked))


def generated_mels(
    memory: Memory, per_class: int, seed: int, track: Track = untracked
) -> tuple[Array, tuple[str, ...]]:
    """Return mels of every chord (or without chords), class after class, from fresh latents; and the chords asked."""
    asked = tuple(name for name in memory.labels or ("",) for _ in range(per_class))
    z = memory.latents(len(asked), seed)
    mels = []
    for start in track(range(0, len(asked), EVENT_BATCH), -(-len(asked) // EVENT_BATCH), "generating"):
        part = slice(start, start + EVENT_BATCH)
        mels.append(memory.generate(z[part], asked[part] if memory.labels else None))
    return np.concatenate(mels), asked


def inverted(mels: Array, memory: Memory, track: Track = untracked) -> Array:
    """Return the sounds (n, N) of mels (n, M, T), made by a memory's inverter."""
    starts = range(0, len(mels), EVENT_BATCH)
    sounds = [memory.invert(mels[i : i + EVENT_BATCH]) for i in track(starts, len(starts), "mel to sound")]
    return np.concatenate(sounds)


def real(clips: Sequence[Clip], spec: MelSpec, per_class: int, seed: int, track: Track = untracked) -> SoundSet:
    """Return up to `per_class` clips of each label, drawn by seed and prepared as for training."""
    config = ClipConfig()
    shuffled = [clips[i] for i in np.random.default_rng(seed).permutation(len(clips))]
    labels = sorted({c.label or "" for c in clips})
    chosen = [c for label in labels for c in [s for s in shuffled if (s.label or "") == label][:per_class]]
    kept, sounds, faults = [], [], []
    for heard in track(read_clips(chosen), len(chosen), "reading clips"):
        if heard.fault:
            faults.append(f"{heard.clip.path}: {heard.fault}")
        else:
            kept.append(heard.clip)
            sounds.append(ready(heard, spec.sample_rate_hz, spec.samples, config))
    if not kept:
        why = f" (the first of {len(faults)}: {faults[0]})" if faults else ""
        raise InputError(f"no readable clip to compare with{why}")
    stacked = np.stack(sounds)
    return SoundSet(stacked, _mels(stacked, spec), tuple(c.label or "" for c in kept), tuple(c.group for c in kept))


def through_mel(clips: SoundSet, memory: Memory, track: Track = untracked) -> SoundSet:
    """Return clips after mel and inverter: the best that a memory could possibly sound."""
    sounds = inverted(clips.mels, memory, track)
    return SoundSet(sounds, _mels(sounds, memory.spec), clips.labels, clips.guitars)


def _mels(sounds: Array, spec: MelSpec) -> Array:
    transform = MelTransform(spec)
    parts = [transform.encode(sounds[i : i + EVENT_BATCH]) for i in range(0, len(sounds), EVENT_BATCH)]
    return np.concatenate(parts)


def name_table(sounds: SoundSet, memory: Memory, track: Track = untracked) -> NameTable:
    """Name every sound as one of the memory's chords, or by its note if its labels are notes."""
    rate = memory.spec.sample_rate_hz
    heard = [name_sound(s, rate, memory.labels) for s in track(sounds.sounds, len(sounds.sounds), "naming")]
    return tabulated(sounds.labels, heard)


def measure_memory(
    memory: Memory,
    against: Corpus | None = None,
    *,
    per_class: int = MEASURE_PER_CLASS,
    seed: int = 0,
    cache: Cache | None = None,
    track: Track = untracked,
) -> tuple[dict[str, Any], SoundSet]:
    """Measure a memory, alone or against a corpus; return the figures and the generated sounds.

    With a corpus: chords or notes of its held-out clips (of its training clips if none are held out), directly and
    after mel -> sound; distances between sets, next to the distance between two groups of real guitars;
    novelty and coverage relative to the training clips; timbre next to that of the corpus.
    """
    made = generated(memory, per_class, seed, track)
    figures: dict[str, Any] = {"timbre": {"generated": _timbres(made, memory)}}
    named = naming_of(memory.labels)
    if named:
        figures[named] = {"generated": asdict(name_table(made, memory, track))}
    if against is None:
        return figures, made
    learned = real(against.part("Training"), memory.spec, per_class, seed, track)
    held_out = real(against.part("Test") or against.part("Training"), memory.spec, per_class, seed + 1, track)
    again = through_mel(held_out, memory, track)
    if named and set(held_out.labels) <= set(memory.labels):
        figures[named]["real"] = asdict(name_table(held_out, memory, track))
        figures[named]["real_through_mel"] = asdict(name_table(again, memory, track))
    figures["timbre"] |= {"real": _timbres(held_out, memory), "real_through_mel": _timbres(again, memory)}
    figures["distance"] = {
        "generated_to_real": _distances(made, held_out, memory),
        "real_to_real": _distances(learned, held_out, memory),
        "real_through_mel_to_real": _distances(again, held_out, memory),
    }
    taught = load_mels(against, memory.spec, cache or find_cache(), track=track)
    figures["novelty"] = novelty(made.mels, held_out.mels, taught.mels, memory)
    figures["coverage"] = coverage(made.mels, taught.mels, guitars_of(against, taught), memory)
    return figures, made


def _distances(one: SoundSet, other: SoundSet, memory: Memory) -> dict[str, float]:
    a, b = (embed(s.mels, range_db=memory.spec.range_db) for s in (one, other))
    return {"frechet": frechet(a, b), "kid": kid(a, b)}


def _timbres(sounds: SoundSet, memory: Memory) -> dict[str, float]:
    """Return the median of each trait over a set, leaving out silent sounds."""
    rate = memory.spec.sample_rate_hz
    found = [asdict(timbre(s, rate)) for s in sounds.sounds if np.abs(s).max() > 0]
    return {key: float(np.median([f[key] for f in found])) for key in found[0]} if found else {}


def guitars_of(corpus: Corpus, taught: MelSet) -> list[str]:
    """Return the guitar of every mel of a corpus's training clips."""
    unusable = {path for path, _ in taught.left_out}
    return [c.group for c in corpus.part("Training") if c.name not in unusable]


def novelty(made: Mels, held_out: Mels, taught: Mels, memory: Memory) -> dict[str, float]:
    """Compare how near generated, held-out and training mels are to their nearest (other) training clip."""
    ours, theirs, known = (embed(mels, FINE, range_db=memory.spec.range_db) for mels in (made, held_out, taught))
    near, real_near = nearest(ours, known).distance_db, nearest(theirs, known).distance_db
    some = np.linspace(0, len(known) - 1, min(len(known), NEIGHBOUR_CLIPS)).astype(np.int64)
    among = nearest(known[some], known, selves=some).distance_db
    return {
        "generated_nearest_db": float(np.median(near)),
        "generated_nearest_least_db": float(near.min()),
        "held_out_nearest_db": float(np.median(real_near)),
        "training_nearest_db": float(np.median(among)),
        "training_nearest_least_db": float(among.min()),
        "copies": int((near < np.quantile(among, COPY_QUANTILE)).sum()),
    }


def coverage(made: Mels, taught: Mels, guitars: Sequence[str], memory: Memory) -> dict[str, Any]:
    """Return for each guitar of the corpus the share of generated mels that are nearest to it."""
    ours, known = (embed(mels, FINE, range_db=memory.spec.range_db) for mels in (made, taught))
    index = nearest(ours, known).index
    shares = dict.fromkeys(sorted(set(guitars)), 0.0)
    for i in index:
        shares[guitars[int(i)]] += 1.0 / len(index)
    return {"guitars": shares, "guitars_reached": sum(share > 0 for share in shares.values())}


def measure_figure(made: SoundSet, theme: Theme = DEFAULT, columns: int = 8) -> Figure:
    """Draw the first generated mels of every class."""
    rows: list[Row] = []
    for label in dict.fromkeys(made.labels):
        mels = [m for m, name in zip(made.mels, made.labels, strict=True) if name == label]
        rows.append(((label or "samples",), mels[:columns]))
    return sheet_figure(rows, theme)


def memory_figure(memory: Memory, theme: Theme = DEFAULT) -> Figure:
    """Draw mels of every label from the same latents, one row per label."""
    z = memory.latents(PREVIEW_COLUMNS, SHEET_SEED)
    rows: list[Row] = [
        ((label or "samples",), list(np.asarray(memory.generate(z, label)))) for label in memory.labels or (None,)
    ]
    return sheet_figure(rows, theme)
