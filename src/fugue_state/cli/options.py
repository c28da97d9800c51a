"""Options that several commands take, with the defaults of their settings."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click
from click.core import ParameterSource
from pydantic.fields import FieldInfo

from fugue_state.cli.telling import flag
from fugue_state.config import (
    AUTO,
    DEFAULT_LABELS,
    DEFAULT_MEMORY,
    DEFAULT_THEME,
    PITCH,
    SLICE_AUTO,
    SLICE_OFF,
    WITHOUT_VOCODER,
    Budget,
    InverterName,
    LabelsName,
    QualityName,
    ThemeName,
    WholeOrderName,
)
from fugue_state.errors import InputError, a_folder
from fugue_state.score.model import Score
from fugue_state.score.places import at_home
from fugue_state.score.shipped import find_score
from fugue_state.settings import AnySettings, MisplacedError, Place, Settings, checked, path_of

if TYPE_CHECKING:
    from fugue_state.look.theme import Theme


Command = Callable[..., None]


class UserPath(click.Path):
    """A path as one types it: ~ is the home folder, also after --out=, where the shell leaves it alone."""

    def __init__(self) -> None:
        super().__init__(readable=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return it as a Path."""
        return at_home(os.fsdecode(super().convert(value, param, ctx)))


class FolderPath(UserPath):
    """A folder that is there: said before anything that takes long, or is not installed, is imported."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return it."""
        path = super().convert(value, param, ctx)
        if not path.is_dir():
            raise InputError(a_folder(path))
        return path


class ScorePath(UserPath):
    """A score: its file, or the name of one that ships."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return its file."""
        return find_score(super().convert(value, param, ctx))


class Within(click.FloatRange):
    """A number within a range; none, as in nan, is not."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return it."""
        if math.isnan(number := super().convert(value, param, ctx)):
            self.fail(f"{number} is not in the range {self._describe_range()}.", param, ctx)
        return number


USER_PATH = UserPath()
FOLDER_PATH = FolderPath()
SCORE_PATH = ScorePath()
WHOLE_ORDERS = get_args(WholeOrderName)
# Settings that are worked out from an option of another name.
ASKED_AS = {"tempo_bpm": "every", "buffer_ms": "buffer", "memory": "model"}


def option(
    kind: type[Settings], key: str, *names: str, about: str, kind_of: Any = None
) -> Callable[[Command], Command]:
    """Make an option of a setting: its default is the setting's own."""
    field: FieldInfo = kind.model_fields[key]
    flags = names or (f"--{key.replace('_', '-')}",)
    if isinstance(field.default, bool):
        return click.option(*flags, key, is_flag=True, default=field.default, help=about)
    return click.option(
        *flags, key, default=field.default, show_default=field.default is not None, type=kind_of, help=about
    )


def of_options(kind: type[AnySettings], values: dict[str, Any]) -> AnySettings:
    """Build settings from what the options of the running command say; InputError names the option that is wrong."""
    return checked(kind, values, _option_of)


@contextlib.contextmanager
def blaming_options() -> Iterator[None]:
    """Name the option, and no key, in an InputError about what an option of the running command says."""
    try:
        yield
    except MisplacedError as error:
        raise InputError(f"{_option_of(error.place)}: {error.message}") from None


def _option_of(place: Place) -> str:
    """Return the option of the running command that a place in settings comes from, or else the place."""
    flags = {param.name: flag(param) for param in click.get_current_context().command.params}
    keys = (key for part in reversed(place) for key in (part, ASKED_AS.get(str(part))))
    return next((flags[key] for key in keys if key in flags), path_of(place))


def given(key: str) -> bool:
    """Say whether an option was given on the command line."""
    return click.get_current_context().get_parameter_source(key) is ParameterSource.COMMANDLINE


def check_used(used: bool, otherwise: str, *keys: str) -> None:
    """Refuse options that were given although, as things are, they are not `used`; `otherwise` says why."""
    for key in keys:
        if not used and given(key):
            raise InputError(f"{_option_of((key,))}: has no effect {otherwise}")


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
        about="Quality of the sound: draft is fastest, final is best.",
    )
    return named(quality(command))


def _theme(_: click.Context, __: click.Parameter, name: str) -> Theme:
    from fugue_state.look.theme import find_theme

    return find_theme(name)


themed = click.option(
    "--theme", default=DEFAULT_THEME, show_default=True, type=click.Choice(get_args(ThemeName)), callback=_theme,
    help="Colours of pictures: dark or light.",
)  # fmt: skip
forced = click.option("--force", is_flag=True, help="Replace existing files.")
machine_readable = click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
of_memory = click.option(
    "-m", "--model", default=DEFAULT_MEMORY, show_default=True, help="The memory: its name, checkpoint or run folder."
)
of_another_memory = click.option("-m", "--model", help="Use this memory instead of the score's.")


sliced = click.option(
    "--slice", "slicing", default=SLICE_AUTO, show_default=True,
    help=f"Cut long recordings into clips: {SLICE_AUTO}, {SLICE_OFF}, or a length in seconds. {SLICE_AUTO} cuts those "
    "longer than two images (with class folders, longer than 15 s) at clear onsets.",
)  # fmt: skip


labels_chosen = click.option(
    "--labels", "labelling", default=DEFAULT_LABELS, show_default=True, type=click.Choice(get_args(LabelsName)),
    help=f"Where labels come from: {AUTO}, the class folders, or {PITCH}: the note of each sound, by its file's name "
    "(C#3, or a MIDI number) or by ear.",
)  # fmt: skip


run_folder = click.option("-o", "--out", required=True, type=USER_PATH, help="Folder of the run.")
licensed = click.option(
    "--licence", default="unknown", show_default=True, help="Licence of the sounds; it is written into the checkpoint."
)


def budgeted(minutes: float, about_saves: str) -> Callable[[Command], Command]:
    """Add the options that say when a run ends, by default after some minutes, and how often it saves."""
    ends = f"Stop after this many minutes; default: {minutes:g}, if --steps is not given."
    asked = (
        option(Budget, "steps", kind_of=int, about="Stop at this step."),
        option(Budget, "minutes", kind_of=float, about=ends),
        option(Budget, "save_minutes", about=about_saves),
    )
    return lambda command: _with(command, *asked)


def resumed(command: Command) -> Command:
    """Add the options that say what happens to a run that is in the folder already."""
    return _with(
        command,
        click.option("--resume", is_flag=True, help="Continue the run in the folder."),
        click.option("--force", is_flag=True, help="Start over, replacing the run in the folder."),
    )


def _with(command: Command, *options: Callable[[Command], Command]) -> Command:
    """Add options, to be listed in this order."""
    for add in reversed(options):
        command = add(command)
    return command


def precise(kind: type[Settings]) -> Callable[[Command], Command]:
    """Make the option that chooses the numbers to learn with."""
    return option(kind, "precision", about="bf16, fp32, or auto: whichever is faster here.")


def seeded(kind: type[Settings]) -> Callable[[Command], Command]:
    """Make the option that chooses the seed of all that is drawn."""
    return option(kind, "seed", about="Seed of every random choice.")


def check_picture(path: Path | None, force: bool) -> None:
    """Refuse a picture that cannot be written before any work is done."""
    from fugue_state.files import output_path
    from fugue_state.look.saved import PICTURES

    if path is not None:
        output_path(path, force=force, suffixes=PICTURES)


def taken(settings: dict[str, Any], kind: type[Settings]) -> dict[str, Any]:
    """Return those settings that belong to one group."""
    return {key: value for key, value in settings.items() if key in kind.model_fields}
