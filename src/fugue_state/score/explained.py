"""Writes scores that people edit by hand: comments name further keys, their defaults and what they do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_origin

import tomli_w
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from fugue_state.score.model import Score, Step
from fugue_state.settings import Settings, kinds

LISTED = ("tempo", "metre", "voices", "cues")  # each entry of these lists becomes a table of its own
COLUMN = 32  # comments begin here
LONGEST_LINE = 100  # characters; a longer list takes several lines
INDENT = 6  # characters that stand before and after the entries of such a line
# The keys, by table, that people change most often. A score shows them even if they are not set.
OFFERED: dict[str, tuple[str, ...]] = {
    "": ("title", "memory", "duration_s", "tempo_bpm", "fade_in_s", "fade_out_s", "seed", "quality"),
    "voices": ("chords", "latents", "pan", "spread"),
    "forgetting": ("order", "pace", "to", "fade_s", "replacement"),
    "loudness": ("hold", "lift_db"),
    "envelope": ("attack_s", "decay_rt60_s"),
    "tone": ("tilt_db",),
    "reverb": ("rt60_s", "low_ratio", "wet_db"),
}
CUE = {"do": "recall", "at": "75 %", "over": "10 %"}
ABOUT = (
    "# A line such as `# seed = 0` shows a default. To change it, remove the # and edit the value.\n"
    "# `fugue score new --every-key` lists and explains every key."
)
EVERY = "# These are all keys with their defaults. A score only needs those that it changes."


def beginning() -> Score:
    """Return a score to start from."""
    return Score.model_validate(
        {
            "title": "A loop forgets",
            "voices": [{"chords": ["Am", "F", "C", "G"]}],
            "cues": [{"do": "recall", "at": "80 %", "over": 8}],
        }
    )


def editable(score: Score) -> str:
    """Return a score as TOML: what differs from the defaults and, as comments, the keys that people change most."""
    return "\n".join([ABOUT, *_written(Score, (), score.model_dump(mode="json", exclude_defaults=True))]) + "\n"


def _written(kind: type[Settings], path: tuple[str, ...], values: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of a table: first its plain keys, then the tables in it."""
    offered = OFFERED.get(".".join(path), ())
    for key, field in kind.model_fields.items():
        if key in values and not _is_table(key, field):
            yield f"{key} = {_value(values[key])}"
        elif key in offered:
            default = f"# {key} = {_value(to_jsonable_python(field.get_default()))}"
            yield f"{default.ljust(COLUMN)}  # {field.description}"
    for key, field in kind.model_fields.items():
        if _is_table(key, field):
            yield from _tables(key, field, (*path, key), values.get(key))


def _tables(key: str, field: FieldInfo, path: tuple[str, ...], value: Any) -> Iterator[str]:
    """Yield the lines of a key's tables; an offered table appears even if empty, since its keys belong there."""
    inner, name = next(kinds(field.annotation)), ".".join(path)
    if get_origin(field.annotation) is dict:
        for own, one in (value or {}).items():
            yield from ("", f"[{name}.{_key(own)}]", *_written(inner, (*path, own), one))
    elif key in LISTED:
        for one in value or ([{}] if name in OFFERED else []):
            yield from ("", f"[[{name}]]", *_written(inner, path, one))
    elif value is not None or name in OFFERED:
        yield from ("", f"[{name}]", *_written(inner, path, value or {}))
    if key == "cues" and not value:
        yield from ("", f"# {field.description}", "# [[cues]]", *(f"# {k} = {_value(v)}" for k, v in CUE.items()))


def _is_table(key: str, field: FieldInfo) -> bool:
    """Return whether a key becomes tables; a list of many small tables becomes an array instead."""
    many = get_origin(field.annotation) is tuple
    return any(kinds(field.annotation)) and (key in LISTED or not many)


def _value(value: Any) -> str:
    """Return a value in TOML. A short list takes one line, and so does every inline table."""
    if isinstance(value, dict):
        inside = ", ".join(f"{_key(key)} = {_value(inner)}" for key, inner in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, list):
        parts = [_value(inner) for inner in value]
        line = f"[{', '.join(parts)}]"
        return line if len(line) <= LONGEST_LINE else "".join(["[\n", *(f"    {row}\n" for row in _filled(parts)), "]"])
    return tomli_w.dumps({"value": value}).removeprefix("value = ").strip()


def _filled(parts: list[str]) -> Iterator[str]:
    """Yield the lines of a long list: as many of its entries in each as fit, and each table alone."""
    row = ""
    for part in parts:
        fits = len(row) + len(part) + INDENT < LONGEST_LINE and not part.startswith("{")
        if row and not fits:
            yield row
        row = f"{row} {part}," if row and fits else f"{part},"
        if part.startswith("{"):
            yield row
            row = ""
    if row:
        yield row


def _key(key: str) -> str:
    return tomli_w.dumps({key: 0}).removesuffix(" = 0\n")


def template() -> str:
    """Return a score that explains every key and gives its default."""
    return "\n".join([EVERY, *_explained(Score, ())]) + "\n"


def _explained(kind: type[Settings], path: tuple[str, ...]) -> Iterator[str]:
    """Yield lines that explain the keys of settings: first the plain ones, then the tables."""
    tables = []
    for key, field in kind.model_fields.items():
        inner = next(kinds(field.annotation), None)
        if inner is not None and inner is not Step:
            tables.append((key, inner, field))
            continue
        default = None if field.is_required() else to_jsonable_python(field.get_default())
        yield f"# {field.description}"
        yield f"# {key} =" if default is None else f"# {key} = {_value(default)}"
    for key, inner, field in tables:
        many = get_origin(field.annotation) is tuple
        name = ".".join((*path, key))
        name += ".NAME" if get_origin(field.annotation) is dict else ""
        yield from ("", f"# {field.description}", f"# [[{name}]]" if many else f"# [{name}]")
        yield from _explained(inner, (*path, key))
