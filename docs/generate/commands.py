"""The page on the command line, made from what `--help` prints."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from generate.markdown import block, code, plain, table

INTRODUCTION = """\
# Command line

This page lists every command with all its options, as `fugue COMMAND --help` shows them. If something goes wrong, a
command prints one line and stops. Its exit code is 2 if the input was wrong, and 1 if the work failed. Commands replace
existing files only with `--force`.
"""


def contexts(command: click.Command, name: str, parent: click.Context | None = None) -> Iterator[click.Context]:
    """Yield the context of a command, which knows how it is called, and those of all below it."""
    context = click.Context(command, info_name=name, parent=parent, **command.context_settings)
    yield context
    if isinstance(command, click.Group):
        for key, inner in inside(command, context):
            yield from contexts(inner, key, context)


def inside(group: click.Group, context: click.Context) -> Iterator[tuple[str, click.Command]]:
    """Yield the commands of a group by name."""
    for name in sorted(group.list_commands(context)):
        command = group.get_command(context, name)
        if command is not None:
            yield name, command


def page(root: click.Command, name: str) -> str:
    """Return the page of a command and all below it."""
    lines = [INTRODUCTION]
    for context in contexts(root, name):
        lines += _section(context.command, context)
    return "\n".join(lines) + "\n"


def _section(command: click.Command, context: click.Context) -> Iterator[str]:
    path = context.command_path
    yield from ("", f"## {path} {{ #{_anchor(path)} }}", "", plain(inspect.cleandoc(command.help or "")), "")
    yield code(" ".join([path, *command.collect_usage_pieces(context)]))
    if isinstance(command, click.Group):
        rows = [
            (f"[{path} {key}](#{_anchor(path)}-{key})", plain(inner.get_short_help_str(200)))
            for key, inner in inside(command, context)
        ]
        yield from table(("command", "what it does"), rows)
    yield from _options(command, context)
    if command.epilog:
        yield from block(inspect.cleandoc(command.epilog.split("Examples:\n")[1]))


def _anchor(path: str) -> str:
    return path.replace(" ", "-")


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    options = [one for one in command.get_params(context) if isinstance(one, click.Option)]
    rows = []
    for one in options:
        record = one.get_help_record(context)
        extra = one.get_help_extra(context)
        limits = [extra[key] for key in ("default", "range", "required") if key in extra]
        if record is not None:
            rows.append((code(record[0]), plain(one.help or ""), ", ".join(plain(limit) for limit in limits)))
    yield from table(("option", "what it does", "default, range"), rows)
