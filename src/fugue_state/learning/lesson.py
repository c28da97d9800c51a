"""A training that is watched: measured, heard and seen while it runs, with a card at its end."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from lightning_fabric import Fabric

from fugue_state import asked
from fugue_state.config import (
    SLICE_AUTO,
    SMALLER_MAPS,
    STEPS_NEEDED,
    Budget,
    ComputeConfig,
    MelSpec,
    ModelConfig,
    TrainConfig,
    cluster_labels,
)
from fugue_state.corpus.advice import advise
from fugue_state.corpus.cache import Cache, find_cache
from fugue_state.corpus.folder import Corpus, read_corpus
from fugue_state.corpus.mels import MelSet, corpus_key, load_mels
from fugue_state.corpus.slices import cut_corpus
from fugue_state.learning.card import CARD_SHEET, UNKNOWN, write_card
from fugue_state.learning.clusters import cluster_mels
from fugue_state.learning.memory_exam import Examiner, as_memory
from fugue_state.learning.memory_training import Progress, RunConfig, check_run, make_fabric, read_measures, suit, train
from fugue_state.learning.networks import Generator
from fugue_state.learning.pace import told
from fugue_state.learning.preview import write_preview
from fugue_state.learning.tensorboard_log import TensorBoardLog
from fugue_state.learning.trend import is_noise, trend
from fugue_state.look.figure import save_figure
from fugue_state.look.theme import DEFAULT, Theme
from fugue_state.measure.memory import memory_figure
from fugue_state.memory.catalogue import DataSource, MemoryHeader
from fugue_state.memory.memory import Memory
from fugue_state.progress import Track, untracked

PREVIEWS, LOG = "previews", "log"
NAMED_FILES = 12  # of those that are left out


def teach(
    folder: Path,
    run: RunConfig,
    corpus: Corpus,
    mels: MelSet,
    budget: Budget,
    *,
    fabric: Fabric | None = None,
    resume: bool = False,
    force: bool = False,
    theme: Theme = DEFAULT,
    watch: Callable[[Progress], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
    track: Track = untracked,
    say: Callable[[str], None] = lambda _: None,
) -> MemoryHeader:
    """Train a memory as `memory.training.train` does, and keep the best by what an Examiner finds.

    Leaves previews (a sheet and a sound at doubling steps), measures, a log for TensorBoard and the
    card of the best memory in `folder`; says at every save how it gets on. Raises as `train` and
    Examiner do.
    """
    first = fabric is None or fabric.is_global_zero
    if not first:
        return train(folder, run, mels, budget, fabric=fabric, resume=resume, force=force)
    examiner = Examiner(run.mel, run.model.labels, mels, corpus, track=track)
    before = read_measures(folder) if resume else []
    step, minutes = (before[-1]["step"], before[-1]["minutes"]) if before else (0, 0.0)
    begin = time.monotonic()
    with TensorBoardLog(folder / LOG, from_step=int(step), say=say) as log:

        def observe(progress: Progress) -> None:
            log.losses(progress.step, progress.losses)
            watch(progress)

        def examine(generator: Generator, header: MemoryHeader) -> Mapping[str, float]:
            found = examiner(generator, header) | {"minutes": minutes + (time.monotonic() - begin) / 60.0}
            log.measures(header.steps, found)
            say(_told(header.steps, found))
            return found

        def preview(generator: Generator, header: MemoryHeader) -> None:
            memory = as_memory(generator, header)
            log.preview(header.steps, *write_preview(folder / PREVIEWS, memory, header.steps, theme))

        best = train(
            folder, run, mels, budget, fabric=fabric, resume=resume, force=force,
            watch=observe, examine=examine, preview=preview, stop=stop,
        )  # fmt: skip
    history = read_measures(folder)
    say(trend(history))
    save_figure(memory_figure(Memory.load(folder), theme), folder / CARD_SHEET)
    write_card(folder, best, best.metrics, history, train=run.train, sheet=CARD_SHEET, force=True)
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
    clusters: int | None = None,
    force: bool = False,
    track: Track = untracked,
    say: Callable[[str], None] = lambda _: None,
) -> Memory:
    """Learn a memory from class folders of sounds, or from a flat one, and return the best.

    The short way to `teach`, on the CPU; the memory is called as its folder. Long recordings are cut as `cut_corpus`
    says. What `train` leaves `auto` is whichever way is fastest here; without a `model`, its width is one whose steps
    fit into the budget's minutes. In a flat folder, or if `clusters` asks for some, clusters of like sounds stand in
    for labels; 1 learns without. Raises CorpusError for sounds that cannot be learned from, and as `teach` does.
    """
    sounds, folder = asked.path("the folder of sounds", sounds), asked.path("the folder of a run", folder)
    asked.kind("budget", budget, Budget, "Budget(minutes=10)")
    mel = asked.kind("mel", mel or MelSpec(), MelSpec, "MelSpec()")
    chosen, model = model is not None, asked.kind("model", model or ModelConfig(), ModelConfig, "ModelConfig()")
    train = asked.kind("train", train or TrainConfig(), TrainConfig, "TrainConfig()")
    cache = find_cache(say)
    corpus = cut_corpus(read_corpus(sounds, track), mel, slicing, cache=cache, track=track)
    clips = len(corpus.part("Training"))
    clusters = None if clusters is None else asked.whole("clusters", clusters, 1, max(clips, 1))
    clustered = clusters is not None or not corpus.labels
    labels = cluster_labels(clusters or 1) if clustered else corpus.labels
    run = RunConfig(
        name=folder.resolve().name,
        mel=mel,
        slicing=slicing,
        clusters=clusters,
        model=model.model_copy(update={"labels": labels}),
        train=train,
        data_key=corpus_key(corpus, mel),
        data=(DataSource(name=corpus.name, clips=clips, licence=licence),),
    )
    run, mels = material(corpus, run, cache, clustered=clustered, track=track, say=say)
    check_run(folder, run, resume=False, force=force)
    fabric = make_fabric(ComputeConfig(accelerator="cpu"))
    pace = suit(run, mels, budget, fabric, smaller=() if chosen or budget.steps else SMALLER_MAPS)
    for line in told(pace, budget, option="feature_maps", size=lambda r: r.model.feature_maps):
        say(line)
    teach(folder, pace.run, corpus, mels, budget, fabric=fabric, force=force, track=track, say=say)
    return Memory.load(folder)


def material(
    corpus: Corpus, run: RunConfig, cache: Cache, *, clustered: bool, track: Track, say: Callable[[str], None]
) -> tuple[RunConfig, MelSet]:
    """Return the mels that a run learns from, and the run with the labels that they have; say what is odd about them.

    If `clustered`, clusters stand in for the labels of the folder: as many as the run says, or as are heard.
    """
    mels = load_mels(corpus, run.mel, cache, labelled=not clustered, track=track)
    for path, reason in mels.left_out[:NAMED_FILES]:
        say(f"left out {path}: {reason}")
    if len(mels.left_out) > NAMED_FILES:
        say(f"left out {len(mels.left_out) - NAMED_FILES} more; fugue corpus inspect names all")
    for line in advise(mels.facts, run.mel, classes=mels.classes, mels=mels.mels):
        say(line)
    if not clustered or run.clusters == 1:
        return run, mels
    mels = cluster_mels(mels, run.mel, run.clusters)
    sizes = Counter(mels.classes)
    counts = ", ".join(f"{name} ({sizes[name]} clips)" for name in mels.labels)
    say(f"clusters heard: {counts}" if counts else "no clusters stand out; learning without labels")
    model = run.model.model_copy(update={"labels": mels.labels})
    return run.model_copy(update={"model": model, "clusters": max(len(mels.labels), 1)}), mels


def _told(step: int, found: Mapping[str, float]) -> str:
    """Return what was found, in one line."""
    parts = []
    if "accuracy" in found:
        parts.append(f"{100 * found['accuracy']:.0f} % of the chords named as asked")
    if "frechet" in found:
        beside = f" (real to real {found['frechet_real']:.0f})" if "frechet_real" in found else ""
        parts.append(f"distance {found['frechet']:.0f}{beside}")
    if "spread" in found:
        parts.append(f"spread {found['spread']:.2f}")
    if is_noise({"step": step} | dict(found)):
        parts.append(f"still noise: about {max(STEPS_NEEDED - step, STEPS_NEEDED // 4):,} more steps are needed")
    return f"step {step}: {', '.join(parts) or 'too few clips to measure'}"
