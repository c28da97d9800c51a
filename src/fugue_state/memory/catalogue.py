"""The available memories: where each is, and what its header says; known without loading any."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import platformdirs
from pydantic import Field
from safetensors import SafetensorError, safe_open

from fugue_state import asked
from fugue_state.config import MelSpec, ModelConfig, Seed, VocoderConfig
from fugue_state.errors import CheckpointError, InputError, shown, unknown
from fugue_state.limits import MEMORY_NAME
from fugue_state.score.places import at_home
from fugue_state.settings import AnySettings, Settings, checked
from fugue_state.version import VERSION

SHIPPED = "memories"
DATA_VARIABLE = "FUGUE_DATA"
SUFFIX = ".safetensors"
MEMORY_FILE, RUN_FILE = f"memory{SUFFIX}", "run.json"  # in a run folder
FORMAT = 1
HEADER = "fugue_state"
MEMORY_KIND, VOCODER_KIND = "memory", "vocoder"
MOST_NAMED = 4  # memories in a message


class DataSource(Settings):
    """Sounds that a memory was learned from."""

    name: str
    clips: int = Field(ge=0)
    licence: str = "unknown"


class VocoderHeader(Settings):
    """What a vocoder says about itself."""

    config: VocoderConfig
    mel: MelSpec
    seed: int = Seed
    steps: int = Field(default=0, ge=0)
    data: tuple[DataSource, ...] = ()
    metrics: dict[str, float] = Field(default_factory=dict)
    version: str = VERSION


class MemoryHeader(Settings):
    """What a memory says about itself."""

    name: str = Field(max_length=int(MEMORY_NAME.most))
    model: ModelConfig
    mel: MelSpec
    seed: int = Seed
    steps: int = Field(default=0, ge=0)
    data: tuple[DataSource, ...] = ()
    metrics: dict[str, float] = Field(default_factory=dict)
    vocoder: VocoderHeader | None = None
    version: str = VERSION


def shipped_memories() -> dict[str, Path]:
    """Return the memories that come with the package, by name."""
    folder = Path(str(resources.files("fugue_state"))) / SHIPPED
    # Files stored beside a memory, like its profile, have a second suffix.
    return {path.stem: path for path in sorted(folder.glob(f"*{SUFFIX}")) if "." not in path.stem}


def added_folder() -> Path:
    """Return the folder of the memories that were added to this machine; FUGUE_DATA overrides where data lies."""
    return Path(os.environ.get(DATA_VARIABLE) or platformdirs.user_data_dir("fugue-state")) / SHIPPED


def added_memories() -> dict[str, Path]:
    """Return the memories that were added to this machine, by name."""
    return {path.parent.name: path for path in sorted(added_folder().glob(f"[!.]*/{MEMORY_FILE}"))}


def named_memories() -> dict[str, Path]:
    """Return all memories that are found by name: those that ship, and those that were added."""
    shipped = shipped_memories()
    return shipped | added_memories() | shipped  # those that ship come first, and win


def find_memory(name_or_path: str | Path) -> Path:
    """Return the checkpoint that a name, a file or a run folder stands for.

    The name of a memory that ships or was added always means that memory; write ./name for a folder called the same.
    Raises InputError for an unknown name, CheckpointError for a folder without a checkpoint, saying what it holds
    instead.
    """
    named, path = named_memories(), at_home(asked.path("memory", name_or_path))
    if str(name_or_path) in named:
        return named[str(name_or_path)]
    try:
        if path.is_dir():
            if not (path / MEMORY_FILE).is_file():
                raise _no_memory(path)
            path = path / MEMORY_FILE
        if path.is_file() or path.suffix or len(path.parts) > 1:
            return path
    except OSError as error:
        raise InputError(f"memory {shown(str(path))}: {error.strerror}") from None
    raise InputError(f"{unknown('memory', str(name_or_path), named)}; `fugue models add` adds one from a file")


def memories_in(folder: Path) -> Iterator[Path]:
    """Yield the memories in a folder and in the run folders within."""
    for path in sorted([*folder.glob(f"*{SUFFIX}"), *folder.glob(f"*/{MEMORY_FILE}")]):
        if path.is_file() and kind_of(path) == MEMORY_KIND:
            yield path


def _no_memory(folder: Path) -> CheckpointError:
    """Return the error for a folder without a memory; it says what could be named instead."""
    found = [path.parent if path.name == MEMORY_FILE else path for path in memories_in(folder)]
    if found:
        names = ", ".join(map(str, found[:MOST_NAMED]))
        right = f"name one that it holds: {names}{', ...' if len(found) > MOST_NAMED else ''}"
    elif any(kind_of(path) == VOCODER_KIND for path in folder.glob(f"*{SUFFIX}")):
        right = "it holds a vocoder; `fugue vocoder add` puts it into a memory"
    elif (folder / RUN_FILE).is_file():
        right = "its training has not come to one yet; --resume goes on with it"
    else:
        right = f"name a checkpoint, the folder of a run, or one that has a name: {', '.join(named_memories())}"
    return CheckpointError(f"{folder}: no {MEMORY_FILE} is in this folder; {right}")


def read_header(path: Path) -> MemoryHeader:
    """Read a memory's header. Raises CheckpointError for a file that is not a memory, or a header that is not valid."""
    return understood(path, MemoryHeader, read_envelope(path, MEMORY_KIND))


def read_envelope(path: Path, kind: str) -> dict[str, Any]:
    """Return the header of a checkpoint.

    Raises CheckpointError for a file that is missing, truncated, a pickle, of another kind or of another format.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    with path.open("rb") as file:
        start = file.read(9)
    # A safetensors file begins with the length of its header, which may look like a pickle, and the header's brace.
    if start[8:] != b"{" and start[:2] in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        raise CheckpointError(f"{path}: a pickled checkpoint; it could run any code and is never loaded")
    try:
        with safe_open(path, "np") as stored:
            return _envelope(path, kind, stored.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise damaged(path, error) from None


def damaged(path: Path, error: Exception) -> CheckpointError:
    """Return the error for a file that cannot be read."""
    return CheckpointError(f"{path}: damaged or not a checkpoint ({error})")


def _envelope(path: Path, kind: str, metadata: Mapping[str, str]) -> dict[str, Any]:
    if HEADER not in metadata:
        raise CheckpointError(f"{path}: a safetensors file, but not one of this project")
    try:
        envelope = json.loads(metadata[HEADER])
        found, number, header = envelope["kind"], envelope["format"], envelope["header"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise CheckpointError(f"{path}: its header is damaged") from None
    if not isinstance(header, dict):
        raise CheckpointError(f"{path}: its header is damaged")
    if found != kind:
        raise CheckpointError(f"{path}: holds a {shown(found)}, a {kind} is needed")
    if number != FORMAT:
        raise CheckpointError(f"{path}: format {shown(number)}, this version reads format {FORMAT}")
    return header


def understood(path: Path, kind: type[AnySettings], values: dict[str, Any]) -> AnySettings:
    """Return a header's values, validated. Raises CheckpointError for invalid ones."""
    try:
        return checked(kind, values)
    except InputError as error:
        raise CheckpointError(f"{path}: its header is not understood ({error})") from None


def kind_of(path: Path) -> str:
    """Return a checkpoint's kind; empty for files that are not this project's."""
    if not path.is_file():  # opening a pipe would block
        return ""
    try:
        with safe_open(path, "np") as stored:
            return str(json.loads((stored.metadata() or {})[HEADER])["kind"])
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""


def check_same_mel(one: MelSpec, other: MelSpec, what: str) -> None:
    """Raise CheckpointError, naming the differences, unless both specs agree in all but their length."""
    ours, theirs = one.model_dump(exclude={"frames"}), other.model_dump(exclude={"frames"})
    wrong = [f"{key} {ours[key]} instead of {theirs[key]}" for key in ours if ours[key] != theirs[key]]
    if wrong:
        raise CheckpointError(f"{what} is made for another MelSpec: {', '.join(wrong)}")
