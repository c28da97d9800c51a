"""The commands that export a memory to other instruments."""

from __future__ import annotations

from pathlib import Path

import click

from fugue_state.cli.options import USER_PATH, forced, machine_readable
from fugue_state.cli.telling import examples, report, say, tracked, typed


@click.group("export", epilog=examples("fugue export sampler guitar -o pack"))
def export() -> None:
    """Export a memory to other instruments."""


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
