"""Commands that measure a memory: its units, its chords, its forgetting."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from fugue_state.cli.options import (
    FOLDER_PATH,
    USER_PATH,
    WHOLE_ORDERS,
    check_picture,
    check_used,
    forced,
    inversion,
    labels_chosen,
    machine_readable,
    of_options,
    option,
    sliced,
    themed,
)
from fugue_state.cli.telling import draw, examples, note, note_letters, report, say, tracked
from fugue_state.config import (
    DEFAULT_MEMORY,
    MEASURE_PER_CLASS,
    PITCH,
    CurveConfig,
    LabelsName,
    ProfileConfig,
    QualityName,
)
from fugue_state.errors import counted

if TYPE_CHECKING:
    from fugue_state.look.theme import Theme


@click.command(
    epilog=examples("fugue profile guitar", "fugue profile run --plot units.png", "fugue profile run --json")
)
@click.argument("model", default=DEFAULT_MEMORY)
@option(ProfileConfig, "latents", about="Number of latents in which each unit is taken away.")
@option(ProfileConfig, "observed", about="Number of latents whose activations are measured.")
@option(ProfileConfig, "clusters", about="Number of clusters of units that fire alike.")
@option(ProfileConfig, "seed", about="Seed of the latents.")
@click.option("--plot", type=USER_PATH, help="Draw all units to this file: .png or .svg.")
@themed
@click.option("--rebuild", is_flag=True, help="Measure the units again.")
@forced
@machine_readable
def profile(
    model: str, plot: Path | None, theme: Theme, rebuild: bool, force: bool, as_json: bool, **settings: Any
) -> None:
    """Measure what each unit of MODEL (a name, checkpoint or run folder) does, by taking it away.

    Prints for each layer its units, and how much and where the sound changes without one. The profile is made once,
    then kept.
    """
    from fugue_state.measure.profile import Profile, profile_figure
    from fugue_state.memory.memory import Memory
    from fugue_state.output.provenance import made_with

    check_picture(plot, force)
    check_used(plot is not None, "without --plot", "theme")
    config = of_options(ProfileConfig, settings)
    memory = Memory.load(model)
    found = Profile.of(memory, model, config, rebuild=rebuild, track=tracked, say=say)
    layers, top = found.summary(), found.top()
    report({"layers": layers, "most_salient": top} if as_json else layers | top, as_json)
    if plot is not None:
        note_letters(memory.header.name)
        draw(
            profile_figure(found, f"{memory.header.name}, {counted(memory.units, 'unit')}", theme),
            plot,
            made_with(memory) | {"profile": config.model_dump()},
        )


@click.command(
    epilog=examples(
        "fugue measure guitar",
        "fugue measure run --against chords --json",
        "fugue measure run --against chords --per-class 64 --sheet run.png",
    )
)
@click.argument("model", default=DEFAULT_MEMORY)
@click.option("--against", type=FOLDER_PATH, help="Corpus to compare with.")
@sliced
@labels_chosen
@click.option(
    "--per-class",
    default=MEASURE_PER_CLASS,
    show_default=True,
    type=click.IntRange(4, 4096),
    help="Number of sounds of each chord or note.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Seed of latents and clips.")
@inversion
@click.option("--sheet", type=USER_PATH, help="Draw a sheet of the measured sounds to this file: .png or .svg.")
@themed
@forced
@machine_readable
def measure(
    model: str,
    against: Path | None,
    slicing: str,
    labelling: LabelsName,
    per_class: int,
    seed: int,
    inverter: str | None,
    quality: QualityName,
    sheet: Path | None,
    theme: Theme,
    force: bool,
    as_json: bool,
) -> None:
    """Measure how well MODEL (a name, checkpoint or run folder) knows its chords or notes."""
    from fugue_state.corpus.cache import find_cache
    from fugue_state.corpus.folder import read_corpus
    from fugue_state.corpus.pitched import labelled
    from fugue_state.measure.memory import measure_figure, measure_memory
    from fugue_state.memory.memory import Memory
    from fugue_state.output.provenance import made_with

    check_picture(sheet, force)
    check_used(sheet is not None, "without --sheet", "theme")
    check_used(against is not None, "without --against", "slicing", "labelling")
    memory = Memory.load(model, inverter=inverter, quality=quality)
    cache = corpus = None
    if against is not None:
        cache = find_cache(note)
        found = read_corpus(against, classes=labelling != PITCH)
        corpus = labelled(found, memory.spec, slicing, labelling, cache=cache, track=tracked)
    figures, made = measure_memory(memory, corpus, per_class=per_class, seed=seed, cache=cache, track=tracked)
    report({"memory": memory.header.name, "steps": memory.header.steps} | figures, as_json)
    if sheet is not None:
        note_letters(*memory.labels)
        draw(measure_figure(made, theme), sheet, made_with(memory) | {"measured": figures})


@click.command(
    epilog=examples("fugue curve guitar", "fugue curve run --order saliency --plot curve.png", "fugue curve run --json")
)
@click.argument("model", default=DEFAULT_MEMORY)
@option(CurveConfig, "order", about=f"Which units go first: {', '.join(WHOLE_ORDERS)}.")
@option(CurveConfig, "reverse", about="Reverse the order.")
@option(CurveConfig, "seed", about="Seed of latents and order.")
@option(CurveConfig, "latents", about="Number of sounds to measure.")
@option(
    CurveConfig, "steps", about="Number of even fractions to measure; a third as many are added where most is lost."
)
@option(
    CurveConfig,
    "quality",
    kind_of=click.Choice(get_args(QualityName)),
    about="Quality of the sound: draft is fastest, final is best.",
)
@click.option("--plot", type=USER_PATH, help="Draw the curves to this file: .png or .svg.")
@themed
@forced
@machine_readable
def curve(model: str, plot: Path | None, theme: Theme, force: bool, as_json: bool, **settings: Any) -> None:
    """Measure the forgetting curve of MODEL (a name, checkpoint or run folder): what is left at each fraction.

    There is a curve for all units in one order, and one for each layer alone.
    """
    check_picture(plot, force)
    check_used(plot is not None, "without --plot", "theme")
    config = of_options(CurveConfig, settings)
    from fugue_state.measure.curve import curve_figure, table
    from fugue_state.memory.memory import Memory
    from fugue_state.output.provenance import made_with
    from fugue_state.piece.curves import forgetting_curves

    memory = Memory.load(model, quality=config.quality)
    curves = forgetting_curves(memory, model, config, track=tracked, say=say)
    if as_json:
        told = {name: found.told() for name, found in curves.items()}
        report({"memory": memory.header.name} | config.model_dump() | {"curves": told}, as_json)
    else:
        click.echo("\n".join(table(curves)))
    if plot is not None:
        note_letters(memory.header.name)
        about = f"{config.order} order, {counted(memory.units, 'unit')}, {counted(config.latents, 'latent')}"
        draw(
            curve_figure(curves, memory.header.name, theme, about=about),
            plot,
            made_with(memory) | {"curve": config.model_dump()},
        )
