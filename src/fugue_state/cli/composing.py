"""Commands that make pieces: scores, renders, films."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from fugue_state.cli.arranging import from_chart, from_midi
from fugue_state.cli.options import (
    SCORE_PATH,
    USER_PATH,
    Command,
    Within,
    blaming_options,
    check_picture,
    check_used,
    forced,
    inversion,
    machine_readable,
    of_another_memory,
    of_memory,
    of_options,
    option,
    taken,
    themed,
)
from fugue_state.cli.telling import draw, examples, flag, note_letters, report, say, tracked, typed
from fugue_state.config import (
    FILM_SIZES,
    EnvelopeConfig,
    FileConfig,
    FilmConfig,
    MasterConfig,
    OrderName,
    QualityName,
    ReplacementName,
    ReverbConfig,
    ToneConfig,
)
from fugue_state.errors import InputError, OutputError, counted, unknown
from fugue_state.score.cues import PaceName
from fugue_state.score.model import Forgetting, LatentsName, Loudness, Score, Voice
from fugue_state.score.names import split
from fugue_state.score.times import told
from fugue_state.settings import Place, Settings, placed

if TYPE_CHECKING:
    from fugue_state.look.theme import Theme
    from fugue_state.piece.piece import Piece


FINE = ("largest_step", "longest_silence_s")  # figures for whoever looks for a fault


class Alone(click.ParamType[str]):
    """A name that says all by itself; `forget` has no option for the key that the other one needs."""

    name = "text"

    def __init__(self, names: Any, other: str, needed: str) -> None:
        self.names = [name for name in get_args(names) if name != other]
        self.other, self.needed = other, needed

    def __str__(self) -> str:
        return ", ".join(self.names)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ARG002
        """Return it."""
        named = "" if param is None else flag(param)
        if value == self.other:
            raise InputError(
                f"{named} {value} needs {self.needed}, which only a score says: fugue score new writes one"
            )
        if value not in self.names:
            raise unknown(named, value, self.names)
        return value


LATENTS = Alone(LatentsName, "path", "towards_seed")
ORDER = Alone(OrderName, "list", "units")
PACE = Alone(PaceName, "points", "points")


def filming(command: Command) -> Command:
    """Add the options that say what form a film has."""
    size = option(FilmConfig, "size", about=f"{', '.join(FILM_SIZES)}, or WIDTHxHEIGHT in even pixels.")
    fps = option(FilmConfig, "fps", about="Frames per second: 24, 25, 30 or 60.")
    poster = click.option("--poster", type=USER_PATH, help="Also write a still of the film (PNG).")
    return poster(size(fps(command)))


def cutting(command: Command) -> Command:
    """Add the options that ask for a part of a piece."""
    until = click.option("--until", "part_until", help="Write only the part up to here.")
    start = click.option(
        "--from", "part_from", help='Write only the part from here on: seconds, "1:30", "25 %" or "bar 5".'
    )
    return start(until(command))


def rendering(command: Command) -> Command:
    """Add the options of every render."""
    for add in (
        cutting,
        machine_readable,
        forced,
        click.option(
            "--labels/--no-labels",
            default=False,
            show_default=True,
            help="Also write the times of chords and cues to NAME.txt, for Audacity; a WAV always has them as markers.",
        ),
        click.option("--verbose", is_flag=True, help="Also print the largest sample step and the longest silence."),
        click.option(
            "--stems",
            is_flag=True,
            help="Also write NAME-dry.wav and NAME-reverb.wav, and each of several voices as NAME-VOICE.wav.",
        ),
        filming,
        click.option("--film", type=USER_PATH, help="Also make a film of the piece (.mp4); see fugue film."),
        themed,
        click.option(
            "--portrait",
            type=USER_PATH,
            help="File for the portrait: .png or .svg; default: NAME.png (FLAC: NAME.flac.png).",
        ),
        click.option("--resume", is_flag=True, help="Continue an interrupted render of this piece."),
        click.option("-o", "--out", required=True, type=USER_PATH, help="Output file: .wav or .flac."),
    ):
        command = add(command)
    return command


@click.command(
    epilog=examples(
        "fugue forget -o piece.wav",
        "fugue forget -m run -o piece.flac --chords Am,F,C,G --duration 90 --every 1.2 --seed 7",
        "fugue forget -o slow.wav --duration 5:00 --order layerwise --pace linear --to 0.6",
        "fugue forget -o piece.wav --replacement mean --score piece.toml",
        "fugue forget -o night.wav --duration 6:30:00 --resume",
    )
)
@of_memory
@click.option("--chords", help="The loop, e.g. Am,F,C,G; default: these, as far as the memory knows them.")
@option(Score, "duration_s", "--duration", kind_of=str, about='Length: seconds, or "6:30:00".')
@click.option(
    "--every",
    default=60.0 / Score.model_construct().tempo_bpm,
    show_default=True,
    type=Within(0.1, 1200),
    help="Seconds from one chord to the next.",
)
@option(
    Voice, "event_s", "--event", kind_of=float, about="Stretch each chord to this many seconds; default: as learned."
)
@option(
    Voice,
    "latents",
    kind_of=LATENTS,
    about=f"{LATENTS}: the same every round, wandering, always new.",
)
@option(Voice, "spread", about="Width of the stereo field, 0 to 1.")
@option(Forgetting, "order", kind_of=ORDER, about=f"Which units go first: {ORDER}.")
@option(Forgetting, "reverse", about="Reverse the order.")
@option(Forgetting, "pace", kind_of=PACE, about=f"How fast units are forgotten: {PACE}.")
@option(Forgetting, "steps", about="Number of jumps of the pace `steps`.")
@option(Forgetting, "to", about="Fraction of all units forgotten at the end.")
@option(Forgetting, "fade_s", "--fade", about="Seconds that each unit takes to fade.")
@option(
    Forgetting,
    "replacement",
    about=f"Output of a forgotten unit: {', '.join(get_args(ReplacementName))}.",
)
@click.option(
    "--hold/--no-hold",
    default=Loudness.model_construct().hold,
    show_default=True,
    help="Keep the level while units are forgotten.",
)
@option(Score, "seed", about="Seed of latents, order and room.")
@option(EnvelopeConfig, "decay_rt60_s", "--decay", about="Seconds that a chord takes to decay by 60 dB.")
@option(EnvelopeConfig, "hold_s", "--sustain", about="Seconds at full level before a chord decays.")
@option(ToneConfig, "tilt_db", "--tilt", about="Brighter (up to 12) or darker (down to -12): dB from bass to treble.")
@option(ReverbConfig, "rt60_s", "--rt60", about="Seconds that the room takes to decay by 60 dB.")
@option(ReverbConfig, "low_ratio", about="Decay of the room's lows, as a factor of --rt60.")
@option(ReverbConfig, "high_ratio", about="Decay of the room's highs, as a factor of --rt60.")
@option(ReverbConfig, "wet_db", "--wet", about="Level of the room in dB.")
@option(
    ReverbConfig, "impulse", kind_of=str, about="Impulse response (a sound file), used instead of the synthetic room."
)
@option(MasterConfig, "loudness_lufs", "--lufs", about="Integrated loudness in LUFS.")
@option(MasterConfig, "ceiling_dbtp", "--ceiling", about="True-peak ceiling in dB.")
@option(FileConfig, "sample_rate_hz", "--rate", about="Sample rate: 44100 or 48000.")
@option(FileConfig, "subtype", "--format", about="Sample format: PCM_16, PCM_24 or FLOAT.")
@inversion
@click.option("--score", "score_out", type=USER_PATH, help="Also write this piece as a score.")
@rendering
def forget(out: Path, score_out: Path | None, portrait: Path | None, **settings: Any) -> None:
    """Play a loop of chords while the memory is forgotten, unit by unit, and write the soundscape.

    This is the short way to write a score and render it. It writes the sound, a JSON file that says how to make it
    again, and a portrait. An interrupted render keeps what it has played in a folder beside it, NAME.wav.part.
    """
    from fugue_state.files import output_path
    from fugue_state.memory.catalogue import named_memories
    from fugue_state.score.explained import editable
    from fugue_state.score.places import travelling

    portrait = _check_outputs(out, portrait, force=settings["force"], resume=settings["resume"])
    if score_out is not None:
        output_path(score_out, force=settings["force"], suffixes=(".toml",))
    check_used(settings["pace"] == "steps", "without --pace steps", "steps")
    check_used(settings["impulse"] is None, "with --impulse", "rt60_s", "low_ratio", "high_ratio")
    score = _score(settings)
    _render(score, out, portrait, settings)
    if score_out is not None:
        _write(score_out, editable(travelling(score, score_out.parent, named_memories())))


def _check_outputs(out: Path, portrait: Path | None, *, force: bool, resume: bool) -> Path:
    """Refuse what cannot be written before what takes seconds to import; return where the portrait goes."""
    from fugue_state.files import PART, belonging, output_path

    portrait = portrait or belonging(out, ".png")
    if not resume:
        if out.with_name(f"{out.name}{PART}").exists():  # then it is not the piece that is in the way
            from fugue_state.output.part import check_part

            check_part(out, resume=False, force=force)
        output_path(out, force=force, suffixes=(".wav", ".flac"))
        check_picture(portrait, force)
    return portrait


def _check_sound(score: Score, out: Path, of: Path | None) -> None:
    """Refuse a form of file and a room that cannot be before anything is measured."""
    from fugue_state.audio.io import check_format

    check_format(out, score.file.subtype)
    _check_room(score, of)


def _check_room(score: Score, of: Path | None) -> None:
    """Refuse an impulse response that cannot be used; `of` is the file that names it."""
    from fugue_state.audio.reverb import room

    if score.reverb.impulse is not None:
        with _blamed(of, ("reverb", "impulse")):
            room(score.reverb, score.file.sample_rate_hz, score.seed)


@contextlib.contextmanager
def _blamed(of: Path | None, place: Place) -> Iterator[None]:
    """Say which line of a score is wrong, if it was written in a file."""
    from fugue_state.score.text import located

    if of is None:
        yield
        return
    with located(of), placed(place):
        yield


def _score(settings: dict[str, Any]) -> Score:
    """Write the score that the options of `forget` stand for."""
    named = settings["chords"]
    chords = split(named or "")
    if named is not None and not chords:
        raise InputError(f"--chords {named!r} names no chord")
    groups: dict[str, type[Settings]] = {
        "forgetting": Forgetting,
        "envelope": EnvelopeConfig,
        "tone": ToneConfig,
        "reverb": ReverbConfig,
        "master": MasterConfig,
        "file": FileConfig,
    }
    parts: dict[str, Any] = {name: taken(settings, kind) for name, kind in groups.items()}
    parts["voices"] = [{"chords": chords} | {key: settings[key] for key in ("event_s", "latents", "spread")}]
    parts["loudness"] = {"hold": settings["hold"]}
    parts |= {"memory": settings["model"], "tempo_bpm": 60.0 / settings["every"]}
    return of_options(Score, {key: settings[key] for key in ("duration_s", "seed", "quality", "inverter")} | parts)


def _render(
    score: Score, out: Path, portrait: Path, settings: dict[str, Any], of: Path | None = None, *, named: bool = False
) -> None:
    """Render a score with its portrait, and tell what it measures; `of` is the file it was written in.

    If its memory was `named` besides, the file is not to blame for it.
    """
    from dataclasses import asdict

    from fugue_state.look.figure import get_ready
    from fugue_state.look.saved import save_figure
    from fugue_state.output.part import finished, is_over, part_folder
    from fugue_state.output.provenance import provenance
    from fugue_state.output.render import check_outputs, cut_of, render
    from fugue_state.picture.portrait import portrait_figure

    part = {"start": settings["part_from"], "until": settings["part_until"]}
    part |= {"from_record": settings.get("from_record", False)}
    cut = cut_of(score, **part)
    if cut.first or not cut.whole:
        _check_no_film(settings)
    kept = {key: settings[key] for key in ("resume", "stems", "labels", "force")}
    over = settings["resume"] and not settings["force"] and is_over(out)
    if over or (settings["resume"] and finished(out)):  # what pictures there are the interrupted render drew
        settings = settings | {"force": True}
    config = _check_film(settings)
    check_picture(portrait, settings["force"])
    if settings["poster"] is not None and settings["poster"].resolve() == portrait.resolve():
        raise InputError(f"{portrait} would be portrait and poster at once; choose another name for --poster")
    files = check_outputs(out, score, **kept)
    _check_sound(score, out, of)
    piece = laid_out(score, of, named=named)
    note_letters(*names_of(piece))

    def picture() -> None:
        made = provenance(piece, portrait.parent)
        save_figure(portrait_figure(piece, out, settings["theme"], begin=cut.first), portrait, made)
        _film(out, piece, settings, config)

    get_ready()
    with told_how_to_go_on(out):
        measured = render(piece, out, then=picture, track=tracked, **part, **kept)
    if over:
        say(f"{out} was whole already; only {part_folder(out)} was left over")
    told = asdict(measured) | {"portrait": str(portrait), "how": str(files.recipe)}
    if not settings["as_json"] and not settings["verbose"]:
        told = {key: value for key, value in told.items() if key not in FINE}
    report(told, settings["as_json"])
    say(f"listen to {out}; look at {settings['film'] or portrait}")
    if not piece.score.master.normalize:
        level, wanted = measured.loudness_lufs, piece.score.master.loudness_lufs
        say(f"the level is as played, {level:g} LUFS; normalize = true under [master] would make it {wanted:g} LUFS")
    if settings["film"] is None and cut.whole and not cut.first:
        say(f"next: fugue film {typed(out)}")


def _check_film(settings: dict[str, Any], reads: Sequence[Path] = ()) -> FilmConfig:
    """Refuse a film that cannot be before any work; return its form."""
    from fugue_state.files import output_path

    for key, ending in (("film", ".mp4"), ("poster", ".png")):
        if settings[key] is not None:
            output_path(settings[key], force=settings["force"], suffixes=(ending,), reads=reads)
    filmed = settings["film"] is not None or settings["poster"] is not None
    check_used(filmed, "without --film or --poster", "size", "fps")
    form = {key: settings[key] for key in ("size", "fps")} | {"theme": settings["theme"].name}
    return of_options(FilmConfig, form)


def _film(sound: Path, piece: Piece, settings: dict[str, Any], config: FilmConfig) -> None:
    """Film a finished piece, where that was asked for; what takes long first, so that a break in it leaves nothing."""
    from fugue_state.picture.film import film, still

    force = settings["force"]
    part = {"start": settings["part_from"], "until": settings["part_until"]}
    if settings["film"] is not None:
        say(f"filmed {film(sound, piece, settings['film'], config, **part, force=force, track=tracked)}")
    if settings["poster"] is not None:
        say(f"drew {still(sound, piece, settings['poster'], config, force=force)}")


@click.command(
    "film",
    epilog=examples(
        "fugue film piece.wav",
        "fugue film piece.wav -o story.mp4 --size vertical --fps 60 --theme paper",
        "fugue film piece.wav --poster piece-poster.png",
        'fugue film piece.wav -o teaser.mp4 --from "50 %" --until 1:00',
    ),
)
@click.argument("sound", type=USER_PATH)
@click.option("-o", "--out", "film", type=USER_PATH, help="Output file; default: SOUND with the ending .mp4.")
@click.option(
    "-m", "--model", help="The piece's memory; default: look where it was, beside SOUND, and among those that ship."
)
@cutting
@filming
@themed
@forced
def film_sound(sound: Path, model: str | None, **settings: Any) -> None:
    """Make a film of SOUND, a WAV or FLAC file that fugue rendered: its units die in sync, over the spectrogram.

    The file itself says what happens when.
    """
    from fugue_state.files import belonging
    from fugue_state.memory.traced import traced
    from fugue_state.output.provenance import reopened

    settings["film"] = settings["film"] or belonging(sound, ".mp4")
    config = _check_film(settings, reads=[sound])
    with terminable():
        score = reopened(sound)
        piece = laid_out(traced(score, sound.parent, str(sound), model), None)
        note_letters(*names_of(piece))
        _film(sound, piece, settings, config)
    say(f"look at {settings['film']}")


def names_of(piece: Piece) -> list[str]:
    """Return what pictures of a piece may name."""
    score = piece.score
    named = [score.title, *score.credits, *(voice.name for voice in score.voices)]
    known = [name for memory in piece.memories.values() for name in (memory.header.name, *memory.labels)]
    return [*named, *(span.cue.title for span in piece.cues), *known]


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
    from fugue_state.output.part import part_folder

    try:
        with terminable():
            yield
    except (KeyboardInterrupt, OutputError):
        if part_folder(out).exists():
            say(f"{part_folder(out)} keeps what was played; the same command with --resume goes on")
        raise


@click.command(
    "render",
    epilog=examples(
        "fugue render piece.toml -o piece.wav",
        "fugue render forget-and-recall -o recall.wav",
        "fugue render piece.toml -o sketch.wav --quality draft",
        'fugue render piece.toml -o bridge.wav --from "bar 9" --until "bar 17"',
        "fugue render night.toml -o night.flac --resume",
        "fugue render takes/take-001.toml -o take.wav --from-record",
    ),
)
@click.argument("score", type=SCORE_PATH)
@of_another_memory
@click.option("--quality", type=click.Choice(get_args(QualityName)), help="Use this quality instead of the score's.")
@click.option("--from-record", is_flag=True, help="Start the file of a take where its recording began.")
@rendering
def render_score(
    score: Path,
    model: str | None,
    quality: QualityName | None,
    from_record: bool,
    out: Path,
    portrait: Path | None,
    **settings: Any,
) -> None:
    """Render SCORE (a TOML file, or the name of a score that ships) to a soundscape.

    It writes the sound, a JSON file that says how to make it again, and a portrait. An interrupted render keeps what it
    has played in a folder beside it, NAME.wav.part.
    """
    portrait = _check_outputs(out, portrait, force=settings["force"], resume=settings["resume"])
    written = instead(score, memory=model, quality=quality)
    _render(written, out, portrait, settings | {"from_record": from_record}, of=score, named=model is not None)


def _check_no_film(settings: dict[str, Any]) -> None:
    """Refuse, before any work, a film of a part, since a film is made of a file that holds the whole."""
    if settings["film"] is not None or settings["poster"] is not None:
        raise InputError(
            "--from, --until and --from-record do not go with --film or --poster, which show a piece as a whole; "
            "fugue film --from films a part of it"
        )


@click.group("score")
def score_group() -> None:
    """Write, check and show scores: text files that describe a whole piece."""


score_group.add_command(from_chart)
score_group.add_command(from_midi)


@score_group.command(
    "new",
    epilog=examples(
        "fugue score new piece.toml",
        "fugue score new piece.toml --from forget-and-recall",
        "fugue score new piece.toml --every-key",
    ),
)
@click.argument("out", type=USER_PATH)
@click.option("--from", "source", metavar="NAME", help="Start from a score that ships; an unknown name lists them.")
@click.option("--every-key", is_flag=True, help="Explain every key, with its default.")
@forced
def score_new(out: Path, source: str | None, every_key: bool, force: bool) -> None:
    """Write a new score to OUT."""
    from fugue_state.files import output_path
    from fugue_state.score.explained import beginning, editable, template
    from fugue_state.score.shipped import shipped_score

    output_path(out, force=force, suffixes=(".toml",))
    if source is not None and every_key:
        raise InputError("--from and --every-key are two ways to begin; choose one")
    if source is not None:
        text = shipped_score(source).read_text(encoding="utf-8")
    else:
        text = template() if every_key else editable(beginning())
    _write(out, text)
    named, plan, sound = map(typed, (out, out.with_suffix(".png"), out.with_suffix(".wav")))
    say(f"wrote {out}; next: fugue score show {named} -o {plan}, fugue render {named} -o {sound}")


def _write(out: Path, text: str) -> None:
    from fugue_state.files import replacing

    with replacing(out) as beside:
        beside.write_text(text, encoding="utf-8")


@score_group.command("check", epilog=examples("fugue score check piece.toml", "fugue score check piece.toml -m run"))
@click.argument("score", type=SCORE_PATH)
@of_another_memory
def score_check(score: Path, model: str | None) -> None:
    """Check whether SCORE can be played by its memories. Names the line and the key of any error."""
    written = instead(score, memory=model)
    _check_room(written, score)
    piece = laid_out(written, score, named=model is not None)
    holds = f"{counted(len(piece.score.voices), 'voice')}, {counted(len(piece.score.cues), 'cue')}"
    about = f"{score}: {piece.score.title or 'untitled'}, {told(piece.score.duration_s)}, {holds}"
    memories = ", ".join(memory.header.name for memory in piece.memories.values())
    say(f"{about}, for {memories}: it can be played")


@score_group.command("show", epilog=examples("fugue score show piece.toml", "fugue score show piece.toml -o piece.png"))
@click.argument("score", type=SCORE_PATH)
@of_another_memory
@click.option("-o", "--out", type=USER_PATH, help="Draw to this file: .png or .svg; without it, print a table.")
@themed
@forced
def score_show(score: Path, model: str | None, out: Path | None, theme: Theme, force: bool) -> None:
    """Show SCORE over time: chords, what each layer remembers, cues, planned level."""
    check_picture(out, force)
    check_used(out is not None, "without -o", "theme")
    piece = laid_out(instead(score, memory=model), score, named=model is not None)
    from fugue_state.output.provenance import provenance
    from fugue_state.picture.plan import overview_figure, table
    from fugue_state.picture.summary import overview

    if out is None:
        click.echo("\n".join(table(piece, overview(piece))))
    else:
        note_letters(*names_of(piece))
        draw(overview_figure(piece, theme), out, provenance(piece, out.parent))


def instead(score: Path, **changes: Any) -> Score:
    """Load a score, with what was asked for instead of what it says."""
    from fugue_state.memory.catalogue import named_memories
    from fugue_state.memory.traced import traced
    from fugue_state.score.places import settled
    from fugue_state.score.text import load_score

    loaded = settled(load_score(score), score.parent, named_memories())
    if changes.get("quality") is not None:
        loaded = loaded.of_quality(changes["quality"])
    loaded = traced(loaded, score.parent, str(score), changes.get("memory"))
    return loaded.model_copy(update={key: value for key, value in changes.items() if value is not None})


def laid_out(score: Score, of: Path | None, *, named: bool = False) -> Piece:
    """Lay a score out for its memory, which may be `named` besides; `of` is the file it was written in."""
    from fugue_state.memory.memory import Memory
    from fugue_state.piece.piece import Piece
    from fugue_state.score.text import located

    with _blamed(None if named else of, ("memory",)):
        memory = Memory.load(score.memory, inverter=score.inverter, quality=score.quality)
    with located(of) if of is not None else blaming_options():
        return Piece(score, memory, track=tracked, say=say)


@click.command(epilog=examples("fugue reopen piece.wav", "fugue reopen piece.flac -o piece.toml"))
@click.argument("sound", type=USER_PATH)
@click.option("-o", "--out", type=USER_PATH, help="Write the score to this file; without it, print it.")
@forced
def reopen(sound: Path, out: Path | None, force: bool) -> None:
    """Get back the score of SOUND (WAV, FLAC, a film, a picture, or the JSON file beside it), as it was rendered."""
    from fugue_state.files import output_path
    from fugue_state.memory.catalogue import named_memories
    from fugue_state.output.provenance import reopened
    from fugue_state.score.explained import editable
    from fugue_state.score.places import travelling

    if out is not None:
        output_path(out, force=force, suffixes=(".toml",))
    score = travelling(reopened(sound), Path() if out is None else out.parent, named_memories())
    if out is None:
        click.echo(editable(score), nl=False)
    else:
        _write(out, editable(score))
        say(f"wrote {out}; next: fugue render {typed(out)} -o again.wav{_same_part(sound, score)}")


def _same_part(sound: Path, score: Score) -> str:
    """Return the options that render what of a piece a file holds."""
    from fugue_state.output.provenance import START, part_of, read_provenance

    if START in read_provenance(sound):
        return " --from-record"
    part = part_of(sound)
    if part is None:
        return ""
    first, end = (f"{sample / score.file.sample_rate_hz:.6f}".rstrip("0").rstrip(".") for sample in part)
    return f" --from {first} --until {end}"
