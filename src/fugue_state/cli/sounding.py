"""Commands that make single sounds: samples, places of an atlas, resynthesis; and the list of memories."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fugue_state.cli.options import (
    USER_PATH,
    Command,
    Within,
    check_used,
    forced,
    inversion,
    machine_readable,
    of_memory,
    of_options,
    option,
    taken,
    themed,
)
from fugue_state.cli.telling import examples, note, note_letters, report, say, tracked, typed
from fugue_state.config import DEFAULT_MEMORY, PATH_STEPS, SAMPLE_COUNT, AtlasConfig, QualityName
from fugue_state.errors import CheckpointError, InputError, counted

if TYPE_CHECKING:
    from fugue_state.look.theme import Theme
    from fugue_state.measure.atlas import Atlas, Entry


@click.command(epilog=examples("fugue sample -o sounds", "fugue sample -m run -o sounds -n 16 --chord Am --seed 3"))
@of_memory
@click.option("-o", "--out", required=True, type=USER_PATH, help="Folder for the sounds.")
@click.option(
    "-n", "--count", default=SAMPLE_COUNT, show_default=True, type=click.IntRange(1, 4096), help="Number of sounds."
)
@click.option("--chord", help="Play only this chord; default: all chords in turn.")
@click.option(
    "--seconds",
    type=Within(0.001, 120),
    help="Stretch each chord to this length inside the network; default: as learned.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Seed of the latents.")
@inversion
@themed
@forced
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
    """Write intact chords of a memory as wav files, with a sheet of their spectrograms."""
    from fugue_state.memory.memory import Memory
    from fugue_state.output.samples import write_samples

    memory = Memory.load(model, inverter=inverter, quality=quality)
    if chord is not None:
        memory.label_index(chord)
    memory.frames(seconds)
    note_letters(*memory.labels)
    made = write_samples(
        memory, out, count=count, chord=chord, seed=seed, duration_s=seconds,
        theme=theme, force=force, track=tracked,
    )  # fmt: skip
    say(f"made {counted(len(made) - 1, 'sound')} and {made[-1]}")


def quantile(name: str, about: str) -> Callable[[Command], Command]:
    """Make an option that asks for a trait."""
    return click.option(f"--{name}", type=Within(0, 1), help=f"{about}, as a quantile: 0 least, 1 most.")


@click.command(
    epilog=examples(
        "fugue atlas guitar",
        "fugue atlas guitar --chord Am --bright 0.8 -n 8 -o sounds",
        "fugue atlas guitar --near 12 -n 8 -o near",
        "fugue atlas guitar --path 12,57 --steps 8 -o path",
    )
)
@click.argument("model", default=DEFAULT_MEMORY)
@click.option("-o", "--out", type=USER_PATH, help="Folder for the sounds; without it, list them.")
@click.option(
    "-n", "--count", "number", type=click.IntRange(1), help=f"Number of sounds to choose; default: {SAMPLE_COUNT}."
)
@click.option("--chord", help="Sounds that are this chord.")
@quantile("clarity", "Clarity of the chord")
@quantile("margin", "Lead over the next likely chord")
@quantile("bright", "Brightness")
@quantile("attack", "Slowness of the onset")
@quantile("sustain", "Level left at the end")
@quantile("level", "Loudness")
@click.option(
    "--draw", default=0, show_default=True, type=click.IntRange(0), help="Seed of the choice among equally good sounds."
)
@click.option("--near", type=int, help="Sounds closest to this entry.")
@click.option("--path", "ends", help="Sounds on the way from one entry to another, e.g. 12,57.")
@click.option(
    "--steps", default=PATH_STEPS, show_default=True, type=click.IntRange(2, 4096), help="Number of sounds on the way."
)
@option(AtlasConfig, "count", "--latents", about="Number of latents in the atlas.")
@option(AtlasConfig, "seed", about="Seed of these latents.")
@click.option("--rebuild", is_flag=True, help="Make the atlas again.")
@themed
@forced
@machine_readable
def atlas(
    model: str, out: Path | None, rebuild: bool, theme: Theme, force: bool, as_json: bool, **settings: Any
) -> None:
    """Find latents of MODEL (a name, checkpoint or run folder) by how they sound, and write them as sounds.

    Without options it sums up all latents. The atlas is made once, then kept.
    """
    from fugue_state.files import check_folder
    from fugue_state.measure.atlas import Atlas, check_description
    from fugue_state.memory.memory import Memory
    from fugue_state.output.samples import check_listing, write_places

    asked = _asked(settings, out)
    check_used(out is not None, "without -o", "theme")
    check_used("path" in asked, "without --path", "steps")
    check_used("draw" in asked, "but on sounds chosen by -n, --chord or a trait", "draw")
    if out is not None and check_folder(out).exists():
        check_listing(out, force=force)
    config = of_options(AtlasConfig, taken(settings, AtlasConfig))
    memory = Memory.load(model)
    check_description(memory, **asked.get("like", {}))
    found = Atlas.of(memory, model, config, rebuild=rebuild, track=tracked, say=say)
    if not asked:
        report({"memory": model} | found.summary(), as_json)
        return
    places = _wanted(found, asked)
    if out is not None:
        note_letters(*memory.labels)
        made = write_places(found, places, out, asked, theme=theme, force=force, track=tracked)
        say(f"made {counted(len(made) - 2, 'sound')}, {made[-2]} and {made[-1]}")
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


def _wanted(found: Atlas, asked: dict[str, Any]) -> list[Entry]:
    """Return the places of an atlas that were asked for."""
    if "path" in asked:
        one, other = asked["path"]
        return found.path(one, other, asked["steps"])
    if "near" in asked:
        return found.neighbours(asked["near"], asked["count"])
    return found.choose(asked["count"], seed=asked["draw"], **asked["like"])


@click.command(
    epilog=examples("fugue resynth song.wav -o song-mel.wav", "fugue resynth a.flac -o b.flac -m run --quality draft")
)
@click.argument("source", type=USER_PATH)
@click.option("-o", "--out", required=True, type=USER_PATH, help="Output file: .wav or .flac.")
@of_memory
@inversion
@forced
@machine_readable
def resynth(
    source: Path, out: Path, model: str, inverter: str | None, quality: QualityName, force: bool, as_json: bool
) -> None:
    """Send SOURCE, any sound file, through the mel of a memory and back, and measure what is lost."""
    from dataclasses import asdict

    from fugue_state.files import output_path

    output_path(out, force=force, suffixes=(".wav", ".flac"), reads=[source])
    from fugue_state.memory.memory import Memory
    from fugue_state.output.resynth import resynth_file

    memory = Memory.load(model, inverter=inverter, quality=quality)
    how = {"inverter": inverter or memory.own_inverter, "quality": quality}
    lost = resynth_file(source, memory, out, force=force, about=how, track=tracked)
    report(asdict(lost), as_json)


@click.group(
    invoke_without_command=True,
    epilog=examples("fugue models", "fugue models add guitar.fugue", "fugue models --json"),
)
@machine_readable
@click.pass_context
def models(context: click.Context, as_json: bool) -> None:
    """List the memories that are found by name, add more, or remove those that were added.

    With --json, an object with a key for each memory; in it chords (names), units (number), seconds (length of a
    sound), steps (of its training), megabytes (size of its file), licences (of what it learned from), ships (whether it
    comes with the package) and path (its file).
    """
    if context.invoked_subcommand is not None:
        if as_json:
            raise InputError(f"--json does not go with `fugue models {context.invoked_subcommand}`")
        return
    from fugue_state.memory.catalogue import named_memories, read_header, shipped_memories
    from fugue_state.memory.licences import licences

    listed, shipped = {}, shipped_memories()
    for name, path in named_memories().items():
        try:
            header = read_header(path)
        except CheckpointError as error:  # one that is damaged does not hide the others
            note(str(error))
            continue
        listed[name] = {
            "chords": list(header.model.labels),
            "units": header.model.units,
            "seconds": round(header.mel.duration_s, 2),
            "steps": header.steps,
            "megabytes": round(path.stat().st_size / 1e6, 1),
            "licences": licences(header),
            "ships": name in shipped,
            "path": str(path),
        }
    report(listed, as_json)


@models.command(epilog=examples("fugue models add guitar.fugue", "fugue models add run --name evenings"))
@click.argument("source", metavar="FILE", type=USER_PATH)
@click.option("--name", help="Name to find it by; default: its own.")
@click.option("--force", is_flag=True, help="Replace a memory that was added by this name.")
def add(source: Path, name: str | None, force: bool) -> None:
    """Add the memory in FILE (a pack, checkpoint or run folder), so that it is found by name."""
    from fugue_state.memory.catalogue import read_header
    from fugue_state.memory.licences import licences
    from fugue_state.memory.packs import add_memory

    added, path = add_memory(source, name=name, force=force)
    say(f"added {added} ({', '.join(licences(read_header(path)))}); hear it: fugue sample -m {typed(added)} -o sounds")


@models.command(epilog=examples("fugue models remove evenings", "fugue models remove evenings --yes"))
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
def remove(name: str, yes: bool) -> None:
    """Remove the memory NAME, which was added, from this machine."""
    from fugue_state.memory.packs import check_removable, remove_memory

    folder = check_removable(name)
    if not yes:
        click.confirm(f"remove memory {name!r} ({folder})?", abort=True, err=True)
    remove_memory(name)
    say(f"removed {name}")
