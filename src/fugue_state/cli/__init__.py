"""The command `fugue`: thin, instant to start, one line for every mistake."""

from __future__ import annotations

import atexit
import contextlib
import errno
import gc
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import click

from fugue_state.cli.telling import examples, flag, hear_the_library, plain_streams, say
from fugue_state.errors import FugueError, InputError
from fugue_state.version import VERSION

# Of each command its module, its name there and what the list of all says of it: only the one that runs is imported.
COMMANDS = {
    "atlas": ("sounding", "atlas", "Find latents of a memory by how they sound."),
    "card": ("learning", "card", "Write the card of a memory: what it learned, and how well."),
    "corpus": ("learning", "corpus", "Build and inspect folders of sounds to learn from."),
    "curve": ("measuring", "curve", "Measure the forgetting curve of a memory."),
    "export": ("exporting", "export", "Export a memory to samplers and ONNX."),
    "film": ("composing", "film_sound", "Make a film of a rendered piece, every unit in sync."),
    "forget": ("composing", "forget", "Play a loop of chords while the memory is forgotten."),
    "measure": ("measuring", "measure", "Measure how well a memory knows its chords."),
    "models": ("sounding", "models", "List the memories on this machine, add and remove some."),
    "pack": ("exporting", "pack", "Put a memory into one file for other machines."),
    "play": ("playing", "play", "Play a memory live: browser, MIDI and OSC."),
    "profile": ("measuring", "profile", "Measure what each unit of a memory does."),
    "render": ("composing", "render_score", "Render a score to sound."),
    "reopen": ("composing", "reopen", "Get the score back from a sound or a film."),
    "resynth": ("sounding", "resynth", "Send any sound through a memory's mel and back."),
    "sample": ("sounding", "sample", "Write single intact chords of a memory, and a sheet of them."),
    "score": ("composing", "score_group", "Write, check and show scores."),
    "share": ("sharing", "share", "Share a piece as one HTML file that plays in a browser."),
    "train": ("learning", "train", "Train a memory on sounds."),
    "vocoder": ("learning", "vocoder", "Train a vocoder (mels to sound) and add it to a memory."),
}


ALLOCATED = 20_000  # objects, in place of 700: few enough to be looked through while a block plays


class Refusal(click.ClickException):
    """What click refuses, in a line like all others."""

    exit_code = InputError.exit_code

    def show(self, file: Any = None) -> None:  # noqa: ARG002 - click's
        """Say it."""
        say(f"fugue: {self.message}")


@contextlib.contextmanager
def _in_one_line() -> Iterator[None]:
    """Say what click refuses in one line, with the option's name first and where to read more last."""
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:  # it shows the help
        raise
    except click.UsageError as error:
        said = error.format_message()
        if isinstance(error, click.BadParameter) and error.param is not None and error.message:
            said = f"{flag(error.param)}: {error.message}"
        path = "fugue" if error.ctx is None else error.ctx.command_path
        raise Refusal(f"{said.rstrip('.')} (see {path} --help)") from None


def _collect_rarely() -> None:
    """Look for garbage rarely, and not once more at the end: loading makes none, and to look takes long."""
    gc.set_threshold(ALLOCATED, 10, 10)
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)


class Commands(click.Group):
    """A group whose commands are imported when they run, and end in one clear line, whatever was wrong."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's
        """Import a command; None for an unknown name."""
        if cmd_name not in COMMANDS:
            return None
        module, name, _ = COMMANDS[cmd_name]
        found: click.Command = getattr(import_module(f"fugue_state.cli.{module}"), name)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """Write the list of all commands, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, told) for name, (_, _, told) in COMMANDS.items()])

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the program."""
        _collect_rarely()
        plain_streams()
        hear_the_library()
        return super().main(*args, **extra)

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Read what stands before a command."""
        with _in_one_line():
            return super().make_context(*args, **extra)

    def invoke(self, context: click.Context) -> Any:
        """Run the command; turn what we raise on purpose into a line and an exit code."""
        try:
            with _in_one_line():
                return super().invoke(context)
        except FugueError as error:
            say(f"fugue: {error}")
            context.exit(error.exit_code)
        except OSError as error:
            if error.errno == errno.EPIPE:  # whoever read our output has left; click knows what to do
                raise
            say(f"fugue: {error.filename or 'system'}: {error.strerror or error}")
            context.exit(FugueError.exit_code)


@click.group(
    "fugue",
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples("fugue forget -o piece.wav", "fugue corpus build chords", "fugue train chords -o run"),
)
@click.version_option(VERSION, prog_name="fugue")
def main() -> None:
    """Fugue State: an instrument for machine forgetting."""
