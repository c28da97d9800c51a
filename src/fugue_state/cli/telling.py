"""What is told on the way: progress, notes, results."""

from __future__ import annotations

import io
import json
import logging
import math
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fugue_state.errors import in_a_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure


Item = TypeVar("Item")
FIGURES = 4  # of a number that a person reads


def flag(param: click.Parameter) -> str:
    """Return the long name of an option, as one types it; an argument as the help names it."""
    return max(param.opts, key=len) if isinstance(param, click.Option) else param.human_readable_name


def examples(*lines: str) -> str:
    """Return an epilog of example commands that click does not wrap."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def draw(figure: Figure, path: Path, made: Mapping[str, Any]) -> None:
    """Write a picture with the record of how it was made, and say so."""
    from fugue_state.look.saved import save_figure

    save_figure(figure, path, made)
    say(f"drew {path}")


def tracked(items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
    """Show a progress bar on a terminal."""
    from tqdm import tqdm

    yield from tqdm(items, total=total, desc=what, disable=None, leave=False)


def plain_streams() -> None:
    """Let output that the terminal, or the file it goes to, cannot encode come out escaped: never as an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def say(line: str) -> None:
    """Tell the user something that is no result."""
    click.echo(in_a_line(line), err=True)


def typed(path: str | Path) -> str:
    """Return a path as one types it in a command."""
    return shlex.quote(str(path))


def note(line: str) -> None:
    """Tell the user something worth knowing before going on."""
    say(f"note: {line}")


class _Notes(logging.Handler):
    """Tells the user what the library logs."""

    def emit(self, record: logging.LogRecord) -> None:
        """Tell it."""
        note(record.getMessage())


def hear_the_library() -> None:
    """Tell the user, from now on, what the library logs."""
    log = logging.getLogger("fugue_state")
    if not log.handlers:
        log.addHandler(_Notes())
    log.setLevel(logging.INFO)


def note_letters(*names: str) -> None:
    """Say which letters of names that are drawn no font here has."""
    from fugue_state.look.letters import missing

    if lost := missing("".join(names)):
        note(f"no font here has {lost}: boxes stand in their place until the system has one that does")


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
    if value is None:
        return "none"
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.0f}" if abs(value) >= 10.0**FIGURES else f"{value:.{FIGURES}g}"
    return in_a_line(str(value))
