"""What can go wrong, in words for the person who can put it right."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

LONGEST_SHOWN = 80  # characters of a wrong value
LONGEST_REASON = 200  # characters of what an error of others says


class FugueError(Exception):
    """Root of all errors raised on purpose; its text is one line that says what would be right."""

    exit_code = 1

    def __str__(self) -> str:
        return in_a_line(super().__str__())

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        """Say how another process makes it again: as it is, whatever its class takes to be made."""
        return _again, (type(self), self.args), self.__dict__


def _again(kind: type[FugueError], args: tuple[Any, ...]) -> FugueError:
    return kind.__new__(kind, *args)


class InputError(FugueError):
    """The user asked for something that cannot be: a value, a name, a file."""

    exit_code = 2


class AudioError(InputError):
    """A sound file that cannot be read or a signal that cannot be used."""


class NotInstalledError(InputError, ImportError):
    """What is asked for needs packages that are not installed."""


class CorpusError(InputError):
    """A folder of sounds that cannot be learned from."""


class CheckpointError(InputError):
    """A checkpoint that is damaged, foreign or of another version."""


class TrainingError(FugueError):
    """Training stopped because going on would be useless or would harm what is there."""


class OutputError(FugueError):
    """A file could not be written; nothing half-written is left."""


def in_a_line(text: str) -> str:
    """Return a text in one line: names of files may hold breaks and commands to terminals, which come out escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shown(value: object) -> str:
    """Return a value as a message names it: at most LONGEST_SHOWN characters, in one line."""
    try:
        text = repr(value[: LONGEST_SHOWN + 1] if isinstance(value, str | bytes) else value)
    except (ValueError, RecursionError):  # an integer of thousands of digits, lists in lists without end
        text = f"a very large {type(value).__name__}"
    text = " ".join(text.split()) if "\n" in text else text  # an array is shown in several
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 3] + "..."


def counted(count: float, one: str, many: str = "") -> str:
    """Return a number and what there are so many of, as one says it; `many` is for more than an s at the end."""
    return f"{count:.12g} {one if count == 1 else many or one + 's'}"


def why(error: BaseException) -> str:
    """Return what went wrong as part of a line; an error that nobody raised on purpose is named by its kind, too."""
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
    """Raise NotInstalledError, which says how it can be had, unless all packages that something needs are there."""
    missing = [package for package in packages if not _installed(package)]
    if missing:
        raise NotInstalledError(
            f'{what} needs packages that are not installed ({", ".join(missing)}): pip install ".[{extra}]", '
            "in the folder of this software"
        )


def _installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ImportError:
        return False


def a_folder(path: Path) -> str:
    """Return what is wrong with a path where a folder is needed and there is none."""
    return f"{path}: is a file, a folder is needed" if path.exists() else f"{path}: no such folder"


def a_file(path: Path) -> str:
    """Return what is wrong with a path where a file is needed and there is none."""
    return f"{path}: is a folder, a file is needed" if path.is_dir() else f"{path}: no such file"
