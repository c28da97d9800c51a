"""The command `fugue`: thin, instant to start, one line for every mistake."""

from __future__ import annotations

import errno
from typing import Any

import click

from fugue_state.cli import composing, learning, measuring, playing, sounding
from fugue_state.cli.options import examples
from fugue_state.cli.telling import hear_the_library, plain_streams, say
from fugue_state.config import VERSION
from fugue_state.errors import FugueError


class OneLineErrors(click.Group):
    """A group whose commands end in one clear line, whatever was wrong."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the program."""
        plain_streams()
        hear_the_library()
        return super().main(*args, **extra)

    def invoke(self, context: click.Context) -> Any:
        """Run the command; turn what we raise on purpose into a line and an exit code."""
        try:
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
    cls=OneLineErrors,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples("fugue forget -o piece.wav", "fugue corpus build chords", "fugue train chords -o run"),
)
@click.version_option(VERSION, prog_name="fugue")
def main() -> None:
    """Fugue State: an instrument for machine forgetting."""


for command in (
    *(learning.corpus, learning.train, learning.vocoder, learning.card),
    *(sounding.sample, sounding.atlas, sounding.resynth, sounding.models),
    *(measuring.profile, measuring.measure, measuring.curve),
    *(composing.forget, composing.render_score, composing.film_sound, composing.score_group, composing.reopen),
    playing.play,
):
    main.add_command(command)
