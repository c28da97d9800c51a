"""The base class of settings: frozen, validated, with errors that name the wrong key."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from fugue_state.errors import InputError, shown, unknown


class Settings(BaseModel):
    """A frozen group of settings; an unknown key or a value out of range is an InputError.

    What is made at import uses `model_construct`: to build the checks of a group takes long, and a command that only
    prints its help does not need them.
    """

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid", allow_inf_nan=False)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise SettingsError(first_problem(error, type(self))[1]) from None

    # Marks __init__ as pydantic's own, so that nested settings are built without it and errors keep their place.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]


AnySettings = TypeVar("AnySettings", bound=Settings)


Place = tuple[str | int, ...]
Naming = Callable[[Place], str]  # of a place, as whoever wrote it calls it


class SettingsError(InputError, ValueError):
    """An error in settings, naming the key; also a ValueError, because pydantic expects one from nested settings."""


class MisplacedError(InputError, ValueError):
    """A contradiction between parts of settings, with the place of the part at fault."""

    def __init__(self, place: Place, message: str) -> None:
        super().__init__(f"{path_of(place)}: {message}")
        self.place, self.message = place, message


@contextlib.contextmanager
def placed(place: Place) -> Iterator[None]:
    """Add the place in a score to any InputError raised inside the `with` block."""
    try:
        yield
    except MisplacedError:
        raise
    except InputError as error:
        raise MisplacedError(place, str(error)) from None


def path_of(place: Place) -> str:
    """Return a place in readable form: `voices[1].chords[2].beats`; lists count from 1."""
    parts = [f"[{part + 1}]" if isinstance(part, int) else f".{shown(part)[1:-1]}" for part in place]
    return "".join(parts).removeprefix(".")


def checked(kind: type[AnySettings], values: dict[str, Any], named: Naming = path_of) -> AnySettings:
    """Build settings from untrusted values.

    Raises InputError that names the first wrong key, its value and what would be right.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        _, message = first_problem(error, kind, named)
        raise InputError(message) from None


def first_problem(error: ValidationError, kind: type[Settings], named: Naming = path_of) -> tuple[Place, str]:
    """Return the place of the first wrong value in settings, and a line saying what is wrong and would be right."""
    errors = error.errors()
    # A misspelt key also causes a missing one; the former error is more helpful.
    first = next((one for one in errors if one["type"] == "extra_forbidden"), errors[0])
    inner = first.get("ctx", {}).get("error")
    # Where several types are possible, the location contains parts that name the type.
    parts, own = first["loc"], first["loc"][-1:] if first["type"] == "extra_forbidden" else ()
    typed = parts[: len(parts) - len(own)]
    stated: Place = (*(part for part in typed if isinstance(part, int) or "[" not in part), *own)
    place: Place = (*stated, *(inner.place if isinstance(inner, MisplacedError) else ()))
    if first["type"] == "extra_forbidden":
        holder = _settings_at(kind, place[:-1])
        what = f"key of {path_of(place[:-1])}" if len(place) > 1 else f"{kind.__name__} key"
        return place, str(unknown(what, str(place[-1]), holder.model_fields))
    name = named(place)
    if first["type"] == "literal_error" and isinstance(first["input"], str):
        choices = re.findall(r"'([^']*)'", first["ctx"]["expected"])
        return place, str(unknown(name, first["input"], choices))
    got = f" (got {shown(first['input'])})" if name and inner is None else ""
    message = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    message = inner.message if isinstance(inner, MisplacedError) else message
    return place, f"{name + ': ' if name else ''}{message}{got}"


def _settings_at(kind: type[Settings], place: Place) -> type[Settings]:
    """Return the settings class at a place inside others."""
    for part in place:
        if isinstance(part, str) and part in kind.model_fields:
            inner = list(kinds(kind.model_fields[part].annotation))
            kind = inner[0] if inner else kind
    return kind


def kinds(annotation: Any) -> Iterator[type[Settings]]:
    """Yield the settings classes inside a type annotation."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        yield annotation
    for inner in get_args(annotation):
        yield from kinds(inner)
