"""The record of how a file was made: written into the file and beside it, and read back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import soundfile

from fugue_state.audio.made import MAKER, records
from fugue_state.audio.riff import read_comments
from fugue_state.errors import InputError, a_file, shown
from fugue_state.files import replacing
from fugue_state.limits import SOUND_TOLD
from fugue_state.memory.catalogue import shipped_memories
from fugue_state.memory.memory import Memory
from fugue_state.piece.layout import Layout
from fugue_state.score.model import Score
from fugue_state.score.places import settled, travelling
from fugue_state.settings import checked
from fugue_state.version import VERSION

KEYS: dict[str, type] = {
    "made_by": str,
    "memory": str,
    "memory_sha256": str,
    "score": dict,
}  # the minimum for making a piece again
MADE_BY = f"{MAKER} {VERSION}"
MEASURED = "measured"  # stored only in the file beside it
OTHERS = "memory_others"  # memories of voices, by the names that the score says
RECORDINGS = "recordings"  # hashes of voices' recordings, by the paths that the score says
START = "start"  # the sample of a take at which its file starts, if that is not the first
PART = "part"  # the samples of a piece from which and up to which its file goes, if it holds only a part


def made_with(memory: Memory) -> dict[str, Any]:
    """Return what is said of every file made with a memory."""
    return {
        "made_by": MADE_BY,
        "memory": memory.header.name,
        "memory_sha256": memory.fingerprint,
    }


def known_of(memory: Memory) -> dict[str, Any]:
    """Return what tells a memory from others, in the record of what is played with it."""
    return made_with(memory) | {"memory_chords": list(memory.labels), "memory_layers": memory.layers}


def provenance(piece: Layout, folder: Path | None = None) -> dict[str, Any]:
    """Return what is needed to make a file in a folder again; paths in the score are made relative to that folder."""
    bound = piece.score.model_copy(update={"made_for": piece.made_for})
    score = bound if folder is None else travelling(bound, folder, shipped_memories())
    made = score.model_dump(mode="json")
    beside = {OTHERS: made["made_for"]["others"], RECORDINGS: made["made_for"]["recordings"]}
    made["made_for"] = piece.score.model_dump(mode="json")["made_for"]
    return known_of(piece.memory) | {key: told for key, told in beside.items() if told} | {"score": made}


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write a JSON file, all or nothing."""
    with replacing(path) as beside:
        beside.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def read_provenance(path: str | Path) -> dict[str, Any]:
    """Return how a piece was made: from its WAV or FLAC file, its film, a picture of it, or the JSON file beside it.

    Raises InputError for a file that is missing, has no record, or has a damaged one, naming the keys it lacks.
    """
    path = Path(path)
    try:
        if not path.is_file():
            raise InputError(a_file(path))
        values = _ours(path)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    wrong = [key for key, kind in KEYS.items() if not isinstance(values.get(key), kind)]
    if "score" not in values and "memory_chords" not in values:  # sounds of an atlas, measurements, ...
        raise InputError(f"{path}: was made by {MAKER}, but from no score")
    if wrong:
        raise InputError(f"{path}: how it was made is damaged (no {' and no '.join(wrong)})")
    return {key: value for key, value in values.items() if key != MEASURED}


def part_of(path: str | Path) -> tuple[int, int] | None:
    """Return the samples of a piece from which and up to which a file goes; None if it holds the whole.

    Raises InputError as `read_provenance` does.
    """
    values = read_provenance(path).get(PART)
    if values is None:
        return None
    if not (isinstance(values, list) and len(values) == 2 and all(type(one) is int for one in values)):
        raise InputError(f"{path}: how it was made is damaged ({PART} is {shown(values)})")
    return values[0], values[1]


def _ours(path: Path) -> dict[str, Any]:
    """Return the first intact record of this project in a file."""
    damaged = False
    for text in records(path):
        values = _read(text)
        if values is not None:
            return values
        damaged = True
    if damaged:
        raise InputError(f"{path}: how it was made is damaged (not JSON)")
    raise InputError(f"{path}: {_of_others(path)}")


def _read(text: bytes) -> dict[str, Any] | None:
    """Return the JSON object at the beginning of a text; None if it is damaged."""
    told = text.decode("utf-8", "surrogateescape")
    try:
        values, end = json.JSONDecoder().raw_decode(told)
        told[:end].encode()  # raises if it is not UTF-8
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None


def _of_others(path: Path) -> str:
    """Say what is wrong with a file without a record of this project."""
    try:
        told = _told(path).strip()
        if not told.startswith(("{", "[")) and not told.isdecimal():
            return "does not say how it was made; name a file that fugue rendered, or the .json beside it"
        values = json.loads(told)
    except (ValueError, RecursionError):  # includes text that is not UTF-8
        return "how it was made is damaged (not JSON)"
    except av.FFmpegError as error:
        return f"not a readable film ({error.strerror})"
    except soundfile.LibsndfileError as error:
        return f"not a readable sound file ({error.error_string.strip().rstrip('.')})"
    if not isinstance(values, dict):
        return "how it was made is damaged (a list or a number)"
    return f"was not made by {MAKER}"


def reopened(path: str | Path) -> Score:
    """Return the score of a piece, bound to the memories it was made with; InputError as in `read_provenance`."""
    told = read_provenance(path)
    keys = {"sha256": "memory_sha256", "chords": "memory_chords", "layers": "memory_layers"}
    keys |= {"others": OTHERS, "recordings": RECORDINGS}
    before = told["score"].get("made_for")
    made_for = {key: before[key] for key in ("others", "recordings") if isinstance(before, dict) and key in before}
    made_for |= {key: told[name] for key, name in keys.items() if name in told}
    try:
        score = checked(Score, told["score"] | {"made_for": made_for})
    except InputError as error:
        raise InputError(f"{path}: how it was made is damaged ({error})") from None
    return settled(score, Path(path).parent, shipped_memories())


def _told(path: Path) -> str:
    """Return the comment of a sound file or a film, or the beginning of any other file.

    Raises ValueError for a comment that is not UTF-8.
    """
    with path.open("rb") as file:
        start, kind = file.read(4), file.read(4)
        if kind == b"ftyp":
            with av.open(path) as film:
                return film.metadata.get("comment", "")
        if start in {b"RIFF", b"RF64"}:
            return next(read_comments(path), b"").decode()
        if start == b"fLaC":
            with soundfile.SoundFile(path) as sound:
                return str(sound.comment)
        file.seek(0)
        return file.read(int(SOUND_TOLD.most)).decode("utf-8", "replace")
