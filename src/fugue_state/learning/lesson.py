"""A memory's lesson: sounds are prepared, and the training is measured, previewed and ends with a card."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from fugue_state import asked
from fugue_state.config import (
    AUTO,
    DEFAULT_LABELS,
    PITCH,
    SLICE_AUTO,
    SMALLER_MAPS,
    STEPS_NEEDED,
    Budget,
    LabelsName,
    MelSpec,
    ModelConfig,
    TrainConfig,
    cluster_labels,
)
from fugue_state.corpus.advice import advise
from fugue_state.corpus.cache import Cache, find_cache
from fugue_state.corpus.folder import Corpus, read_corpus
from fugue_state.corpus.mels import MelSet, corpus_key, load_mels
from fugue_state.corpus.pitched import labelled, table
from fugue_state.errors import CorpusError, InputError, shown
from fugue_state.learning.card import CARD_SHEET, UNKNOWN, Card, write_card
from fugue_state.learning.clusters import cluster_mels
from fugue_state.learning.memory_exam import Examiner
from fugue_state.learning.memory_training import MemoryRun, Trainer, read_measures, train
from fugue_state.learning.pace import Pace, find_pace, told
from fugue_state.learning.preview import write_preview
from fugue_state.learning.run import Begin, Run, Watcher
from fugue_state.learning.trend import is_noise, trend
from fugue_state.look.saved import save_figure
from fugue_state.look.theme import DEFAULT, Theme
from fugue_state.measure.memory import memory_figure
from fugue_state.memory.catalogue import DataSource, MemoryHeader
from fugue_state.memory.layers import Generator
from fugue_state.memory.memory import Memory
from fugue_state.output.provenance import made_with
from fugue_state.progress import Track, untracked
from fugue_state.settings import checked

PREVIEWS = "previews"
NAMED_FILES = 12  # files left out that are named


@dataclass(frozen=True)
class Wish:
    """What is asked of a memory before its sounds are known.

    `labelling` says where labels come from: `auto`, the class folders, or `pitch`, the note of each sound. `clusters`
    is how many clusters of similar sounds replace labels, or `auto`. None uses the folder's labels, or `auto` if it has
    none.
    """

    name: str
    mel: MelSpec
    model: ModelConfig
    train: TrainConfig
    licence: str = UNKNOWN
    slicing: str = SLICE_AUTO
    labelling: LabelsName = DEFAULT_LABELS
    clusters: int | str | None = None

    @property
    def classes(self) -> bool:
        """Whether class folders give the labels."""
        return self.labelling != PITCH


@dataclass(frozen=True)
class Lesson:
    """What a run learns, and from which clips; `clustered` if clusters replace labels."""

    settings: MemoryRun
    corpus: Corpus
    clustered: bool


def prepare(corpus: Corpus, wish: Wish, cache: Cache, track: Track = untracked) -> Lesson:
    """Cut the recordings of a corpus and return the lesson; the number of clusters may still be open.

    Raises InputError for more clusters than clips, or labels that cannot be learned, CorpusError if there are to be
    notes and there are not two.
    """
    if wish.labelling == PITCH and wish.clusters is not None:
        raise InputError(f"clusters: has no effect with labelling {PITCH} (got {shown(wish.clusters)})")
    corpus = labelled(corpus, wish.mel, wish.slicing, wish.labelling, cache=cache, track=track)
    if wish.labelling == PITCH and len(corpus.labels) == 1:
        raise CorpusError(f"{corpus.root}: all of its sounds are {corpus.labels[0]}; labelling {AUTO} learns them")
    clips = len(corpus.part("Training"))
    clusters = _number_of(wish.clusters, clips)
    clustered = wish.clusters is not None or not corpus.labels
    labels = cluster_labels(clusters or 1) if clustered else corpus.labels
    settings = MemoryRun(
        name=wish.name,
        mel=wish.mel,
        slicing=wish.slicing,
        labelling=wish.labelling,
        clusters=clusters,
        model=checked(ModelConfig, wish.model.model_dump() | {"labels": labels}),
        train=wish.train,
        data_key=corpus_key(corpus, wish.mel),
        data=(DataSource(name=corpus.name, clips=clips, licence=wish.licence),),
    )
    return Lesson(settings, corpus, clustered)


def _number_of(clusters: int | str | None, clips: int) -> int | None:
    """Return the number of clusters asked for; None if there is none, or for `auto`."""
    if clusters is None or clusters == AUTO:
        return None
    text = str(clusters)
    if not text.isdecimal() or not 1 <= int(text) <= clips:
        most = f"a number from 1 to {clips}, as many as there are clips, or {AUTO}"
        raise InputError(f"clusters: {most} (got {shown(clusters)})")
    return int(text)


def hold(
    run: Run,
    lesson: Lesson,
    cache: Cache,
    *,
    smaller: Sequence[int] = (),
    option: str = "feature_maps",
    theme: Theme = DEFAULT,
) -> tuple[MemoryHeader, Pace[MemoryRun]]:
    """Hold a lesson: return the best memory of the run, and its pace.

    Reports what to expect. If too few steps fit into the budget, one of the `smaller` widths is used; `option` is the
    name of the setting for the width. Raises as `Run.check` and `teach` do, CorpusError for sounds that cannot be
    learned from.
    """
    run.check(lesson.settings)
    with run:
        lesson, mels = material(run, lesson, cache)
        pace = find_pace(run, lesson.settings, lambda trial: Trainer(trial, mels, run.fabric).step, smaller)
        for line in told(pace, run.budget, option):
            run.watcher.note(line)
        return teach(run, replace(lesson, settings=pace.run), mels, theme), pace


def material(run: Run, lesson: Lesson, cache: Cache) -> tuple[Lesson, MelSet]:
    """Return the mels to learn from, and the lesson with their labels; report anything unusual."""
    watcher, settings = run.watcher, lesson.settings
    with run.fabric.rank_zero_first():  # the other processes then find the mels in the cache
        mels = load_mels(lesson.corpus, settings.mel, cache, labelled=not lesson.clustered, track=watcher.track)
    for path, reason in mels.left_out[:NAMED_FILES]:
        watcher.note(f"left out {path}: {reason}")
    if len(mels.left_out) > NAMED_FILES:
        watcher.note(f"left out {len(mels.left_out) - NAMED_FILES} more; fugue corpus inspect names all")
    for line in advise(mels.facts, settings.mel, classes=mels.classes, mels=mels.mels):
        watcher.note(line)
    if not lesson.clustered or settings.clusters == 1:
        return lesson, mels
    mels = cluster_mels(mels, settings.mel, settings.clusters)
    sizes = Counter(mels.classes)
    counts = ", ".join(f"{name} ({sizes[name]} clips)" for name in mels.labels)
    watcher.note(f"clusters heard: {counts}" if counts else "no clusters stand out; learning without labels")
    model = settings.model.model_copy(update={"labels": mels.labels})
    clusters = max(len(mels.labels), 1)
    return replace(lesson, settings=settings.model_copy(update={"model": model, "clusters": clusters})), mels


def teach(run: Run, lesson: Lesson, mels: MelSet, theme: Theme = DEFAULT) -> MemoryHeader:
    """Train a memory as `train` does, and keep the best as judged by an Examiner.

    Writes previews (a sheet and a sound at doubling steps), measurements, a TensorBoard log and the
    card of the best memory into the run's folder, and reports progress at every save. Raises as `train` and
    Examiner do.
    """
    with run:
        settings, say = lesson.settings, run.watcher.say
        if not run.first:
            return train(run, settings, mels)
        examiner = Examiner(settings.mel, settings.model.labels, mels, lesson.corpus, track=run.watcher.track)
        before = read_measures(run.folder) if run.begin is Begin.RESUME else []
        minutes = before[-1]["minutes"] if before else 0.0
        begin = time.monotonic()

        def examine(generator: Generator, header: MemoryHeader) -> Mapping[str, float]:
            found = examiner(generator, header) | {"minutes": minutes + (time.monotonic() - begin) / 60.0}
            run.log.measures(header.steps, found)
            say(_told(header.steps, found))
            return found

        def preview(generator: Generator, header: MemoryHeader) -> None:
            memory = Memory(generator, header)
            run.log.preview(header.steps, *write_preview(run.folder / PREVIEWS, memory, header.steps, theme))

        best = train(run, settings, mels, examine=examine, preview=preview)
        history = read_measures(run.folder)
        say(trend(history))
        memory = Memory.load(run.folder)
        save_figure(memory_figure(memory, theme), run.folder / CARD_SHEET, made_with(memory))
        card = Card.of(best, train=settings.train, measures=best.metrics, history=history, sheet=CARD_SHEET)
        write_card(run.folder, card, force=True)
        return best


def learn(
    sounds: str | Path,
    folder: str | Path,
    budget: Budget,
    *,
    mel: MelSpec | None = None,
    model: ModelConfig | None = None,
    train: TrainConfig | None = None,
    licence: str = UNKNOWN,
    slicing: str = SLICE_AUTO,
    labelling: LabelsName = DEFAULT_LABELS,
    clusters: int | None = None,
    force: bool = False,
    track: Track = untracked,
    say: Callable[[str], None] = lambda _: None,
) -> Memory:
    """Learn a memory from class folders of sounds, or from a flat folder, and return the best.

    A shortcut for `hold` on the CPU; the memory is named after its folder. Long recordings are cut as in `cut_corpus`.
    Where `train` says `auto`, the way that is fastest here is used. Without a `model`, its width is chosen so that
    enough steps fit into the budget's minutes. In a flat folder, or if `clusters` is given, clusters of similar sounds
    replace labels; 1 learns without labels. With `labelling="pitch"`, the label of every sound is its note, as
    `labelled` finds it. Ctrl-C stops after the current step and keeps what was learned. Raises CorpusError for sounds
    that cannot be learned from, and as `hold` does.
    """
    sounds, folder = asked.path("the folder of sounds", sounds), asked.path("the folder of a run", folder)
    asked.one_of("labelling", labelling, get_args(LabelsName))
    asked.kind("budget", budget, Budget, "Budget(minutes=10)")
    wish = Wish(
        name=folder.resolve().name,
        mel=asked.kind("mel", mel or MelSpec(), MelSpec, "MelSpec()"),
        model=asked.kind("model", model or ModelConfig(), ModelConfig, "ModelConfig()"),
        train=asked.kind("train", train or TrainConfig(), TrainConfig, "TrainConfig()"),
        licence=licence,
        slicing=slicing,
        labelling=labelling,
        clusters=clusters,
    )
    cache = find_cache(say)
    lesson = prepare(read_corpus(sounds, track, classes=wish.classes), wish, cache, track)
    for line in table(lesson.corpus):
        say(line)
    run = Run(folder, budget, Begin.OVER if force else Begin.NEW, Watcher(say=say, track=track))
    hold(run, lesson, cache, smaller=() if model is not None or budget.steps else SMALLER_MAPS)
    return Memory.load(folder)


def _told(step: int, found: Mapping[str, float]) -> str:
    """Return the measurements in one line."""
    parts = []
    if "accuracy" in found:
        what = "notes" if "cents" in found else "chords"
        parts.append(f"{100 * found['accuracy']:.0f} % of the {what} named as asked")
    if "cents" in found:
        parts.append(f"half of them within {found['cents']:.0f} cents")
    if "frechet" in found:
        beside = f" (real to real {found['frechet_real']:.0f})" if "frechet_real" in found else ""
        parts.append(f"distance {found['frechet']:.0f}{beside}")
    if "spread" in found:
        parts.append(f"spread {found['spread']:.2f}")
    if is_noise({"step": step} | dict(found)):
        parts.append(f"still noise: about {max(STEPS_NEEDED - step, STEPS_NEEDED // 4):,} more steps are needed")
    return f"step {step}: {', '.join(parts) or 'too few clips to measure'}"
