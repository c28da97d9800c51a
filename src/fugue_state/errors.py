"""The errors raised on purpose, worded for the person who can fix the cause."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

LONGEST_SHOWN = 80  # characters of a wrong value
LONGEST_REASON = 200  # characters of a foreign error's message


class FugueError(Exception):
    """Root of all errors raised on purpose; its text is one line that says what would be right."""

    exit_code = 1

    def __str__(self) -> str:
        return in_a_line(super().__str__())

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        """Support pickling, so that errors can cross process boundaries whatever arguments their class takes."""
        return _again, (type(self), self.args), self.__dict__


def _again(kind: type[FugueError], args: tuple[Any, ...]) -> FugueError:
    return kind.__new__(kind, *args)


class InputError(FugueError):
    """The user asked for something impossible: a wrong value, name or file."""

    exit_code = 2


class AudioError(InputError):
    """A sound file that cannot be read or a signal that cannot be used."""


class NotInstalledError(InputError, ImportError):
    """A feature needs packages that are not installed."""


class CorpusError(InputError):
    """A folder of sounds that cannot be learned from."""


class CheckpointError(InputError):
    """A checkpoint that is damaged, foreign or of another version."""


class TrainingError(FugueError):
    """Training stopped because continuing would be useless or do harm."""


class OutputError(FugueError):
    """A file could not be written; no partial file is left."""


def in_a_line(text: str) -> str:
    """Return text on one line, with line breaks and terminal commands (as in file names) escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shown(value: object) -> str:
    """Return a value for use in a message: at most LONGEST_SHOWN characters, on one line."""
    try:
        text = repr(value[: LONGEST_SHOWN + 1] if isinstance(value, str | bytes) else value)
    except (ValueError, RecursionError):  # an integer of thousands of digits, or endlessly nested lists
        text = f"a very large {type(value).__name__}"
    text = " ".join(text.split()) if "\n" in text else text  # arrays have several lines
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 3] + "..."


def counted(count: float, one: str, many: str = "") -> str:
    """Return a number with its noun in singular or plural; `many` is the plural if it is not formed with an s."""
    return f"{count:.12g} {one if count == 1 else many or one + 's'}"


def why(error: BaseException) -> str:
    """Return an error's message for use within a line; foreign errors are prefixed with their class."""
    if isinstance(error, FugueError):
        return str(error)
    said = str(error)[:LONGEST_REASON].splitlines()
    return f"{type(error).__name__}: {said[0]}" if said else type(error).__name__


def unknown(what: str, value: str, choices: Iterable[str]) -> InputError:
    """Build the error for a name that is not among `choices`, suggesting the nearest one."""
    names = list(choices)
    by_fold = {name.casefold(): name for name in names}
    near = difflib.get_close_matches(value[:LONGEST_SHOWN].casefold(), by_fold, n=1, cutoff=0.4)
    hint = f"; did you mean {by_fold[near[0]]!r}?" if near else ""
    return InputError(f"unknown {what} {shown(value)}{hint} (known: {', '.join(names)})")


def check_installed(what: str, extra: str, packages: Iterable[str]) -> None:
    """Raise NotInstalledError, which says how to install them, unless all needed packages are installed."""
    missing = [package for package in packages if not _installed(package)]
    if missing:
        raise NotInstalledError(
            f"{what} needs packages that are not installed ({', '.join(missing)}): "
            f'pip install -c constraints.txt ".[{extra}]", in the folder of this software'
        )


def _installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ImportError:
        return False


def a_folder(path: Path) -> str:
    """Return the message for a path that should be a folder but is not."""
    return f"{path}: is a file, a folder is needed" if path.exists() else f"{path}: no such folder"


def a_file(path: Path) -> str:
    """Return the message for a path that should be a file but is not."""
    return f"{path}: is a folder, a file is needed" if path.is_dir() else f"{path}: no such file"
