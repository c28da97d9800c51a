"""How a file was made: told in the file itself and beside it, and read back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import soundfile

from fugue_state.audio.io import replacing
from fugue_state.audio.riff import read_comment
from fugue_state.config import VERSION, checked
from fugue_state.errors import InputError
from fugue_state.memory.catalogue import shipped_memories
from fugue_state.memory.memory import Memory
from fugue_state.score.model import Score
from fugue_state.score.places import settled, travelling

MAKER = "fugue-state"
KEYS: dict[str, type] = {
    "made_by": str,
    "memory": str,
    "memory_sha256": str,
    "score": dict,
}  # without which nothing can be made again
MEASURED = "measured"  # what only the file beside tells


def provenance(score: Score, memory: Memory, folder: Path | None = None) -> dict[str, Any]:
    """Return what is needed to make a file in a folder again; files that the score names are told from there."""
    score = score if folder is None else travelling(score, folder, shipped_memories())
    return {
        "made_by": f"{MAKER} {VERSION}",
        "memory": memory.header.name,
        "memory_sha256": memory.fingerprint,
        "memory_chords": list(memory.labels),
        "memory_layers": memory.layers,
        "score": score.model_dump(mode="json"),
    }


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write a JSON file, all or nothing."""
    with replacing(path) as beside:
        beside.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def read_provenance(path: str | Path) -> dict[str, Any]:
    """Return how a piece was made: from its WAV or FLAC file, its film, or the JSON file beside it.

    Raises InputError for a file that is missing, tells nothing, or is damaged; what is missing in it is named.
    """
    path = Path(path)
    try:
        told = _told(path)
    except av.FFmpegError as error:
        raise InputError(f"{path}: not a readable film ({error.strerror})") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    except soundfile.LibsndfileError as error:
        raise InputError(f"{path}: not a readable sound file ({error.error_string.strip().rstrip('.')})") from None
    if not told.strip():
        raise InputError(f"{path}: does not say how it was made")
    try:
        values = json.loads(told)
    except (ValueError, RecursionError):
        raise InputError(f"{path}: how it was made is damaged (not JSON)") from None
    if not isinstance(values, dict) or not str(values.get("made_by", "")).startswith(MAKER):
        raise InputError(f"{path}: was not made by {MAKER}")
    wrong = [key for key, kind in KEYS.items() if not isinstance(values.get(key), kind)]
    if wrong:
        raise InputError(f"{path}: how it was made is damaged (no {' and no '.join(wrong)})")
    return {key: value for key, value in values.items() if key != MEASURED}


def reopened(path: str | Path) -> Score:
    """Return the score of a piece, bound to the memory that it was made with; InputError as `read_provenance`."""
    told = read_provenance(path)
    keys = {"sha256": "memory_sha256", "chords": "memory_chords", "layers": "memory_layers"}
    made_for = {key: told[name] for key, name in keys.items() if name in told}
    try:
        score = checked(Score, told["score"] | {"made_for": made_for})
    except InputError as error:
        raise InputError(f"{path}: how it was made is damaged ({error})") from None
    return settled(score, Path(path).parent, shipped_memories())


def _told(path: Path) -> str:
    """Return the comment of a sound file or a film, or the text of any other file."""
    with path.open("rb") as file:
        start, kind = file.read(4), file.read(4)
    if kind == b"ftyp":
        with av.open(path) as film:
            return film.metadata.get("comment", "")
    if start in {b"RIFF", b"RF64"}:
        return read_comment(path)
    if start == b"fLaC":
        with soundfile.SoundFile(path) as sound:
            return str(sound.comment)
    return path.read_text(encoding="utf-8", errors="replace")
