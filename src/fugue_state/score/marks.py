"""What the marks of a song say: cues, or names of places."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from pydantic import TypeAdapter, ValidationError

from fugue_state.score.song import Mark
from fugue_state.score.tempo import Tempo
from fugue_state.score.times import Time

CUE = re.compile(
    r"(?P<do>forget|recall|hold|jump)(?: +(?:to +)?(?P<to>\d{1,3}(?:\.\d{1,3})?) *%)?(?: +over +(?P<over>.+))?"
)
PLACE: dict[str, Any] = {"do": "hold", "over": 0.0}
NEAR_S, DIGITS = 1e-4, 3  # a time is told as a bar if that is so near, or else in seconds with these digits


def cues(marks: Iterable[Mark], tempo: Tempo, until_s: float) -> list[dict[str, Any]]:
    """Return the cues for marks: what a text such as `recall 40 %` says, or a place by its name.

    Marks at the same time are one cue: the first that does something, with the names of the others. Those that come
    after `until_s` are left out.
    """
    found: dict[float | str, dict[str, Any]] = {}
    for mark in marks:
        at_s = tempo.seconds(mark.beat)
        if at_s < until_s - NEAR_S:
            at = _told(at_s, tempo)
            now = {"at": at, **(meant(mark.text) or PLACE | {"name": mark.text})}
            found[at] = _both(found[at], now) if at in found else now
    return list(found.values())


def begins_intact(cues: Iterable[dict[str, Any]]) -> bool:
    """Return whether the first cue that moves anything forgets: then nothing is to be forgotten before it."""
    first = next((cue["do"] for cue in cues if cue["do"] != "hold"), None)
    return first in {"forget", "jump"}


def meant(text: str) -> dict[str, Any] | None:
    """Return the cue that a text says: what it does, how much is forgotten at its end, how long it takes."""
    said = CUE.fullmatch(" ".join(text.casefold().split()))
    if said is None:
        return None
    cue: dict[str, Any] = {"do": said["do"]}
    if said["to"] is not None:
        cue["to"] = float(said["to"]) / 100.0
    if said["over"] is not None:
        try:
            cue["over"] = TypeAdapter(Time).validate_python(said["over"].removesuffix(" s"))
        except ValidationError:
            return None
    jumps, holds = cue["do"] == "jump", cue["do"] == "hold"
    possible = cue.get("to", 0.0) <= 1.0 and jumps <= ("to" in cue) and not (jumps and "over" in cue)
    return cue if possible and not (holds and "to" in cue) else None


def _both(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Return one cue for two at the same time."""
    names = {"name": " / ".join(cue["name"] for cue in (one, other) if "name" in cue)}
    does = other if PLACE.items() <= one.items() else one
    return {**does, **(names if names["name"] else {})}


def _told(seconds: float, tempo: Tempo) -> float | str:
    """Return a time as people would write it."""
    bar = round(tempo.bars(seconds))
    return f"bar {bar + 1}" if abs(tempo.bar_s(bar) - seconds) < NEAR_S else round(seconds, DIGITS)
