"""What a sampler's pack says about itself: how to load it, what its keys play, where it comes from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fugue_state.export.sampler_keys import STRETCH, Keys
from fugue_state.export.sampler_presets import FOLDER, WHEEL, Pack
from fugue_state.export.sampler_sounds import Sounds
from fugue_state.memory.licences import sources_told
from fugue_state.output.provenance import MADE_BY
from fugue_state.piece.piece import Piece
from fugue_state.score.model import Forgetting, Score
from fugue_state.score.pitches import note_name

README = "README.txt"
TOLD = ("order", "reverse", "pace", "to", "replacement", "scope", "locks")  # of a forgetting


def readme(pack: Pack, piece: Piece, sounds: Sounds, command: str) -> str:
    """Return the text of the pack's README."""
    score = piece.score
    parts = (
        [f"{pack.name}: a memory and how it is forgotten, for samplers. Made by {MADE_BY}."],
        _loading(pack),
        _playing(pack, score),
        ["KEYS (C4 is MIDI note 60; some programs call it C3)", "", *_keys(pack.keys, pack.labels)],
        ["STAGES", "", *_stages(pack, sounds)],
        ["HOW IT WAS MADE", "", *_made(piece, score, command)],
        ["LICENCE AND SOURCES", "", *sources_told(piece.memory.header)],
    )
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _loading(pack: Pack) -> list[str]:
    return [
        "LOADING",
        "",
        f"sfizz, sforzando and other SFZ players: open {pack.name}.sfz.",
        f"DecentSampler: open {pack.name}.dspreset.",
        f"The folder {FOLDER} has to stay beside these files. Its sounds are WAV files that any sampler reads.",
    ]


def _playing(pack: Pack, score: Score) -> list[str]:
    lines = [
        "PLAYING",
        "",
        f"Modulation wheel (CC {WHEEL}): from intact (down) to forgotten (up), also while a note sounds.",
        "Velocity: level. A key that is let go ends its sound; held, the sound ends by itself. Nothing loops.",
    ]
    if pack.latents > 1:
        lines.append(f"Each key plays {pack.latents} variants in turn.")
    if pack.keys.kinds:
        lines.append("The lowest keys in the list choose what kind of chord the others play, until the next is chosen.")
    if score.loudness.hold:
        lines.append(f"All stages are held at one level, as far as a gain of {score.loudness.lift_db:g} dB allows.")
    lines.append(f"A note needs {pack.stages} voices, one for each stage: give a player enough polyphony.")
    return lines


def _keys(keys: Keys, labels: Sequence[str]) -> Iterator[str]:
    """Yield a line for every key that switches and every zone."""
    for kind, spoken in enumerate(keys.kinds):
        yield f"{_named(keys.switch(kind))}  chooses {spoken} chords"
    for zone in keys.zones:
        span = _named(zone.low) if zone.low == zone.high else f"{_named(zone.low)} to {_named(zone.high)}"
        after = f"  ({keys.kinds[zone.kind]})" if keys.kinds else ""
        yield f"{span}  {labels[zone.label]}{after}"
    if any(zone.low != zone.high for zone in keys.zones):
        yield f"In a span, keys beside the sound's own play it transposed, by at most {STRETCH} semitones."


def _named(key: int) -> str:
    return f"{note_name(key)} ({key})"


def _stages(pack: Pack, sounds: Sounds) -> Iterator[str]:
    for stage, (place, strengths) in enumerate(zip(pack.places, sounds.strengths, strict=True)):
        yield f"s{stage:02d}  wheel {place}: {100.0 * (1.0 - float(strengths.mean())):.1f} % of all units forgotten"


def _made(piece: Piece, score: Score, command: str) -> Iterator[str]:
    memory, forgetting = piece.memory, score.forgetting
    yield f"command: {command}"
    yield f"memory: {memory.header.name}, fingerprint {memory.fingerprint or 'unknown'}"
    yield f"seed: {score.seed}; quality: {score.quality}; {score.file.sample_rate_hz} Hz, 24 bit"
    yield "forgetting: " + ", ".join(f"{key} {_value(forgetting, key)}" for key in TOLD if _says(forgetting, key))
    yield "pack.json holds all of it."


def _says(forgetting: Forgetting, key: str) -> bool:
    return key in {"order", "pace", "to", "replacement"} or bool(getattr(forgetting, key))


def _value(forgetting: Forgetting, key: str) -> str:
    value = getattr(forgetting, key)
    return (
        " ".join(value) if isinstance(value, tuple) else f"{value}".lower() if isinstance(value, bool) else f"{value}"
    )
