"""Markers for audio editors: where chords and cues begin in a piece."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from fugue_state.audio.riff import Marker
from fugue_state.files import replacing
from fugue_state.piece.piece import Outline, Piece


def markers(piece: Piece) -> list[Marker]:
    """Return a marker at each cue and at each change of chord in a voice, sorted by time."""
    rate = piece.score.file.sample_rate_hz
    cues = [Marker(round(span.start_s * rate), span.cue.title) for span in piece.cues]
    return sorted([*cues, *_changes(piece.outline())], key=lambda marker: marker.sample)


def _changes(events: Iterable[Outline]) -> Iterator[Marker]:
    before: dict[int, str | None] = {}
    for event in events:
        if event.chord is not None and event.chord != before.get(event.voice):
            yield Marker(event.onset, event.chord)
        before[event.voice] = event.chord


def write_labels(path: str | Path, marked: Sequence[Marker], sample_rate_hz: int) -> None:
    """Write markers as an Audacity label file: start and end in seconds and name, separated by tabs."""
    places = [(f"{m.sample / sample_rate_hz:.6f}", m.label) for m in marked]
    with replacing(path) as beside:
        beside.write_text("".join(f"{at}\t{at}\t{name}\n" for at, name in places), encoding="utf-8", newline="\n")
