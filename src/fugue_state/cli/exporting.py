"""The commands that export a memory to other instruments."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any, get_args

import click

from fugue_state.cli.composing import ORDER, PACE, laid_out, terminable
from fugue_state.cli.options import (
    USER_PATH,
    check_used,
    forced,
    given,
    inversion,
    machine_readable,
    of_options,
    option,
    taken,
)
from fugue_state.cli.telling import examples, flag, report, say, tracked, typed
from fugue_state.config import REGIONS, FileConfig, ReplacementName, SamplerConfig
from fugue_state.errors import InputError
from fugue_state.score.model import Forgetting, Loudness, Score, Voice
from fugue_state.score.names import split, unquoted


@click.group(
    "export", epilog=examples("fugue export sampler guitar -o pack", "fugue export onnx guitar -o guitar-onnx")
)
def export() -> None:
    """Export a memory to other instruments."""


@export.command(
    epilog=examples(
        "fugue export sampler guitar -o pack",
        "fugue export sampler notes -o notes --stages 8 --latents 3 --rate 48000",
        "fugue export sampler chords -o minor --chords Am,Dm,Em --order layerwise --replacement noise",
        "fugue export sampler run -o pack --scope deconv1,deconv2 --to 0.6 --no-hold",
    )
)
@click.argument("model", metavar="MEMORY")
@click.option("-o", "--out", required=True, type=USER_PATH, help="Folder of the pack.")
@click.option("--chords", help="Chords or notes for the keys, e.g. Am,F,C,G; default: all that the memory learned.")
@option(SamplerConfig, "stages", about="Stages of forgetting, from intact to all that is forgotten.")
@option(SamplerConfig, "latents", about="Sounds of each key and stage, played in turn.")
@option(
    Voice, "event_s", "--event", kind_of=float, about="Stretch each sound to this many seconds; default: as learned."
)
@option(Forgetting, "order", kind_of=ORDER, about=f"Which units go first: {ORDER}.")
@option(Forgetting, "reverse", about="Reverse the order.")
@option(Forgetting, "pace", kind_of=PACE, about=f"How much more each stage forgets: {PACE}.")
@option(Forgetting, "steps", about="Number of jumps of the pace `steps`.")
@option(Forgetting, "to", about="Fraction of all units forgotten in the last stage.")
@click.option("--scope", help="Layers, units or regions that may be forgotten, e.g. deconv1,deconv2; default: all.")
@click.option("--locks", help="Layers, units or regions that are never forgotten.")
@option(
    Forgetting, "replacement", about=f"Output of a forgotten unit: {', '.join(get_args(ReplacementName))}."
)  # fmt: skip
@click.option(
    "--hold/--no-hold",
    default=Loudness.model_construct().hold,
    show_default=True,
    help="Keep the level while units are forgotten.",
)
@option(Score, "seed", about="Seed of latents and order.")
@option(FileConfig, "sample_rate_hz", "--rate", about="Sample rate: 44100 or 48000.")
@inversion
@forced
@machine_readable
def sampler(model: str, out: Path, force: bool, as_json: bool, **settings: Any) -> None:
    """Write MEMORY as an instrument for samplers: WAV files, an SFZ file, and a preset for DecentSampler.

    Notes lie on their keys, chords on their roots, with keys that switch between kinds of chords. The modulation wheel
    forgets, and velocity is level.
    """
    from dataclasses import asdict

    from fugue_state.export.sampler import check_pack, write_pack

    check_pack(out, force=force)
    check_used(settings["pace"] == "steps", "without --pace steps", "steps")
    config = of_options(SamplerConfig, taken(settings, SamplerConfig))
    if settings["inverter"] == "original":
        raise InputError("--inverter original: sounds that are crossfaded are inverted together, which it cannot do")
    score = _pack_score(model, config, settings)
    with terminable():
        piece = laid_out(score, None)
        command = _command(model)
        packed = write_pack(piece, config, out, command=command, force=force, track=tracked, say=say)
    report(asdict(packed) | {"folder": str(out)}, as_json)
    say(f"open the .sfz or the .dspreset in {out}; README.txt there says what the keys play")


def _pack_score(model: str, config: SamplerConfig, settings: dict[str, Any]) -> Score:
    """Write the score that says how the sounds of a pack are forgotten."""
    from fugue_state.export.sampler import check_size
    from fugue_state.export.sampler_keys import in_order
    from fugue_state.export.sampler_sounds import heard_names, pack_score
    from fugue_state.memory.catalogue import find_memory, read_header

    header = read_header(find_memory(model))
    names = _names(settings["chords"]) or header.model.labels
    # Numbers are checked before a memory is loaded and measured for the names that it lacks.
    of_options(Voice, {"event_s": settings["event_s"]})
    units = {key: _units(key, settings[key], header.model.layers) for key in ("scope", "locks")}
    forgetting = taken(settings, Forgetting) | units
    parts: dict[str, Any] = {
        "memory": model,
        "forgetting": forgetting,
        "loudness": {"hold": settings["hold"]},
        "file": taken(settings, FileConfig),
    } | {key: settings[key] for key in ("seed", "quality", "inverter")}
    of_options(Score, parts)
    if not names:
        from fugue_state.memory.memory import Memory

        names = heard_names(Memory.load(model), model, config.latents)
    check_size(len(names), config)
    return of_options(Score, parts | pack_score(in_order(names), config, header.mel, settings["event_s"]))


def _names(chords: str | None) -> tuple[str, ...]:
    """Return the chords that --chords names; InputError for none, or one named twice."""
    names = tuple(unquoted(name) for name in split(chords or ""))
    if chords is not None and not names:
        raise InputError(f"--chords {chords!r} names no chord")
    if twice := [name for i, name in enumerate(names) if name in names[:i]]:
        raise InputError(f"--chords: {twice[0]!r} is named twice")
    return names


def _units(key: str, named: str | None, layers: dict[str, int]) -> tuple[str, ...]:
    """Return the units that an option names; InputError for unknown ones."""
    from fugue_state.bending.orders import parse_units

    names = tuple(split(named or ""))
    try:
        parse_units([name for name in names if name not in REGIONS], layers)
    except InputError as error:
        raise InputError(f"--{key}: {error}") from None
    return names


def _command(model: str) -> str:
    """Return the running command with the options that were given, all but where it writes to."""
    context = click.get_current_context()
    words = ["fugue", "export", context.command.name or "", model]
    for param in context.command.params:
        key = param.name or ""
        if isinstance(param, click.Option) and given(key) and key not in {"out", "force", "as_json"}:
            value = context.params[key]
            negated = param.secondary_opts[:1] if value is False else []
            words += [*(negated or [flag(param)])] if isinstance(value, bool) else [flag(param), str(value)]
    return shlex.join(words)


@export.command(
    "onnx", epilog=examples("fugue export onnx guitar -o guitar-onnx", "fugue export onnx run -o net --json")
)
@click.argument("model", metavar="MEMORY")
@click.option("-o", "--out", required=True, type=USER_PATH, help="Folder for the files.")
@forced
@machine_readable
def onnx(model: str, out: Path, force: bool, as_json: bool) -> None:
    """Write the networks of MEMORY as ONNX files, with all that is needed to play them.

    They are compared with the memory first; the largest differences are told.
    """
    from fugue_state.errors import check_installed

    check_installed("exporting to ONNX", "onnx", ["onnx", "onnxruntime"])
    from fugue_state.export.onnx import check_export, write_onnx
    from fugue_state.measure.profile import Profile
    from fugue_state.memory.memory import Memory

    check_export(out, force=force)
    memory = Memory.load(model)
    profile = Profile.of(memory, model, track=tracked, say=say)
    differences = write_onnx(memory, profile, out, force=force)
    report({"folder": str(out), "largest_differences": vars(differences)}, as_json)
    say(f"example.py in {out} makes a sound; run it there")


@click.command(epilog=examples("fugue pack guitar -o guitar.fugue", "fugue pack run -o mine.fugue --card run/card.md"))
@click.argument("model", metavar="MEMORY")
@click.option("-o", "--out", required=True, type=USER_PATH, help="Output file: .fugue.")
@click.option("--card", type=USER_PATH, help="Its card; default: card.md beside the memory.")
@forced
def pack(model: str, out: Path, card: Path | None, force: bool) -> None:
    """Put MEMORY with its profile, card and licences into one file, which another machine adds by name."""
    from fugue_state.files import output_path
    from fugue_state.measure.profile import Profile
    from fugue_state.memory.memory import Memory
    from fugue_state.memory.packs import PACK_SUFFIX, write_pack

    output_path(out, force=force, suffixes=(PACK_SUFFIX,))
    Profile.of(Memory.load(model), model, track=tracked, say=say)  # it is kept beside the memory
    write_pack(model, out, card=card, force=force)
    say(f"wrote {out}; on another machine: fugue models add {typed(out.name)}")
