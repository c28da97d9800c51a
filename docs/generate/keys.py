"""The page on every key of a score, made from its schema."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import tomli_w

from fugue_state.score.model import Score
from generate.markdown import code, plain, table

Schema = dict[str, Any]
INTRODUCTION = """\
# Every key of a score

A score only needs the keys that differ from these defaults. You can write a time in seconds (`90`), as a clock shows it
(`"1:30"`), as a share of the piece (`"25 %"`) or in bars (`"bar 5"`, `"2 bars"`). `[name]` begins a table. `[[name]]`
begins one table of a list, and a score may have several of them. [Composing](composing.md) says what the keys do to
the sound.
"""
ONE, MANY, NAMED = "[{}]", "[[{}]]", "[{}.NAME]"  # heads of a table, of each of many, of one that has a name
HEADER = ("key", "type", "default", "range", "what it says")
TYPES = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "boolean": "true or false",
    "array": "list of {}",
    "object": "{{ name = {} }}",
}
BOUNDS = (
    ("minimum", "from {}"),
    ("exclusiveMinimum", "above {}"),
    ("maximum", "to {}"),
    ("minItems", "at least {}"),
    ("maxItems", "at most {}"),
)


def page() -> str:
    """Return the page."""
    schema = Score.model_json_schema()
    return "\n".join([INTRODUCTION, *_keys(schema, schema["$defs"], ())]) + "\n"


def anchor(path: tuple[str, ...]) -> str:
    """Return the anchor of a table's section."""
    return "-".join(path) or "score"


def _keys(schema: Schema, kinds: dict[str, Schema], path: tuple[str, ...]) -> Iterator[str]:
    """Yield the section of a table, and of those within it."""
    inner: list[tuple[str, Schema, str]] = []
    rows = []
    for key, field in schema["properties"].items():
        found = _holds(field)
        if found is not None:
            kind, form = found
            inner.append((key, kinds[kind], form))
            told = f"[{'table' if form == ONE else 'tables'}](#{anchor((*path, key))})"
            rows.append((code(key), told, "", _range(field), plain(field["description"])))
        else:
            default = _toml(field["default"]) if "default" in field else "needed"
            rows.append((code(key), _type(field), default, _range(field), plain(field["description"])))
    yield from table(HEADER, rows)
    for key, held, form in inner:
        here = (*path, key)
        name = form.format(".".join(here))
        yield f"\n{'#' * (len(here) + 1)} {code(name)} {{ #{anchor(here)} }}\n"
        yield plain(held["description"])
        yield from _keys(held, kinds, here)


def _holds(field: Schema) -> tuple[str, str] | None:
    """Return the kind of table that a key holds, and how its head is written; None for a plain key."""
    for choice in (field, *field.get("anyOf", ())):
        for form, held in ((ONE, choice), (MANY, choice.get("items", {})), (NAMED, choice.get("additionalProperties"))):
            if isinstance(held, dict) and "$ref" in held:
                return held["$ref"].rpartition("/")[2], form
    return None


def _type(field: Schema) -> str:
    """Name the type of a value in words."""
    choices = [choice for choice in field.get("anyOf", ()) if choice.get("type") != "null"]
    if {choice.get("type") for choice in choices} == {"number", "string"}:
        return "time"
    if choices:
        return " or ".join(map(_type, choices))
    if "enum" in field:
        return ", ".join(code(str(value)) for value in field["enum"])
    if "prefixItems" in field:
        return f"[{', '.join(map(_type, field['prefixItems']))}]"
    told = TYPES[field["type"]]
    inner = field.get("items") or field.get("additionalProperties")
    return told.format(_type(inner)) if inner else told


def _range(field: Schema) -> str:
    """Say what a number may be, or how many there may be."""
    for choice in (field, *field.get("anyOf", ()), field.get("additionalProperties", {})):
        found = [words.format(f"{choice[bound]:.12g}") for bound, words in BOUNDS if bound in choice]
        if found and "prefixItems" not in choice:
            return " ".join(found)
    return ""


def _toml(value: Any) -> str:
    """Return a value as one writes it in a score; nothing for none."""
    if value is None:
        return ""
    return code(tomli_w.dumps({"key": value}).removeprefix("key = ").strip() if value != {} else "{}")
