"""A memory in one file, and the memories that were added to this machine."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

from fugue_state.errors import CheckpointError, InputError, OutputError, shown, unknown
from fugue_state.files import output_folder, output_path, reason, replacing, replacing_folder
from fugue_state.limits import MEMORY_NAME, PACK_BYTES
from fugue_state.memory.catalogue import (
    MEMORY_FILE,
    SUFFIX,
    added_folder,
    added_memories,
    find_memory,
    read_envelope,
    read_header,
    shipped_memories,
)
from fugue_state.memory.checkpoint import load_memory
from fugue_state.memory.licences import sources_told
from fugue_state.score.places import at_home
from fugue_state.version import VERSION

PACK_SUFFIX = ".fugue"
PROFILE_KIND = "profile"
PROFILE_FILE = f"memory.{PROFILE_KIND}{SUFFIX}"
CARD_FILE, LICENCE_FILE, LIST_FILE = "card.md", "LICENCE.txt", "pack.json"
MEMBERS = (MEMORY_FILE, PROFILE_FILE, CARD_FILE, LICENCE_FILE)
FORMAT = 1
DATE = (1980, 1, 1, 0, 0, 0)  # the same memory gives the same bytes
NAME = re.compile(r"\w[\w.+-]*", re.ASCII)


def write_pack(model: str | Path, out: Path, *, card: Path | None = None, force: bool = False) -> Path:
    """Write a memory with its profile, card and licences into one file; the same memory gives the same bytes.

    The card is `card.md` beside the memory if there is one. Raises InputError for a file that is in the way, a name
    that no pack can have or a memory that is not complete, OutputError if the disk is full.
    """
    path = find_memory(model)
    beside = _beside(path) | ({} if card is None else {CARD_FILE: card})
    output_path(out, force=force, suffixes=(PACK_SUFFIX,), reads=[path, *beside.values()])
    if card is not None and not card.is_file():
        raise InputError(f"{card}: no such file")
    _, header, _ = load_memory(path)
    check_name(header.name)
    members = _read(path, beside)
    members[LICENCE_FILE] = "\n".join([f"Memory {header.name!r}.", "", *sources_told(header), ""]).encode()
    listed = {
        "format": FORMAT,
        "name": header.name,
        "version": VERSION,
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in members.items()},
    }
    with replacing(out) as beside_out, zipfile.ZipFile(beside_out, "w", zipfile.ZIP_STORED) as file:
        for name, data in ({LIST_FILE: json.dumps(listed, indent=1).encode()} | members).items():
            about = zipfile.ZipInfo(name, DATE)
            about.create_system, about.external_attr = 3, 0o644 << 16
            file.writestr(about, data)
    return out


def add_memory(source: str | Path, *, name: str | None = None, force: bool = False) -> tuple[str, Path]:
    """Add a memory (a pack, checkpoint or run folder) to this machine; return its name and its checkpoint.

    Raises InputError for a name that ships or is there already (without `force`), CheckpointError for a pack or memory
    that is damaged or holds what it should not, OutputError if the disk is full.
    """
    path = at_home(source)
    members = _members(path) if path.is_file() and zipfile.is_zipfile(path) else _found(path)
    own = _checked(members, path)
    name = check_name(name or own)
    if name in shipped_memories():
        raise InputError(f"memory {name!r} ships with the package and is not replaced; choose another with --name")
    if name in added_memories() and not force:
        raise InputError(f"memory {name!r} is there already; choose another with --name or add --force")
    folder = output_folder(added_folder(), parents=True) / name
    with replacing_folder(folder) as made:
        for member, data in members.items():
            (made / member).write_bytes(data)
    return name, folder / MEMORY_FILE


def check_removable(name: str) -> Path:
    """Return the folder of an added memory; InputError for one that ships or is not there."""
    if name in shipped_memories():
        raise InputError(f"memory {name!r} ships with the package and cannot be removed")
    if name not in added_memories():
        if not added_memories():
            raise InputError(f"memory {shown(name)} cannot be removed: none was added")
        raise unknown("memory", name, added_memories())
    return added_memories()[name].parent


def remove_memory(name: str) -> Path:
    """Remove an added memory, and return where it was; raises as `check_removable`, OutputError if it cannot be."""
    folder = check_removable(name)
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise OutputError(f"{folder}: could not be removed ({reason(error)})") from error
    return folder


def check_name(name: str) -> str:
    """Return a name that a memory can be added by; InputError for any other."""
    if not NAME.fullmatch(name) or len(name) > MEMORY_NAME.most:
        raise InputError(
            f"a memory cannot be added by the name {shown(name)}: letters, digits, '-', '_', '.' and '+' make a name"
        )
    return name


def _found(path: Path) -> dict[str, bytes]:
    """Return the files of a memory that is no pack."""
    if path.suffix == PACK_SUFFIX and path.is_file():
        raise CheckpointError(f"{path}: damaged or not a pack; fetch it again")
    memory = find_memory(path)
    read_header(memory)  # before a large file of another kind is read whole
    return _read(memory, _beside(memory))


def _beside(memory: Path) -> dict[str, Path]:
    """Return where the profile and the card of a checkpoint are, by their names in a pack."""
    profile = memory.with_name(f"{memory.stem}.{PROFILE_KIND}{SUFFIX}")
    return {PROFILE_FILE: profile, CARD_FILE: memory.with_name(CARD_FILE)}


def _read(memory: Path, beside: dict[str, Path]) -> dict[str, bytes]:
    """Return the files of a memory that are there, by their names in a pack."""
    return {MEMORY_FILE: memory.read_bytes()} | {k: p.read_bytes() for k, p in beside.items() if p.is_file()}


def _checked(members: dict[str, bytes], path: Path) -> str:
    """Return the name of the memory in a pack; CheckpointError unless it can be played."""
    with tempfile.TemporaryDirectory() as held:
        for member in (MEMORY_FILE, PROFILE_FILE):
            if member in members:
                (Path(held) / member).write_bytes(members[member])
        try:
            _, header, _ = load_memory(Path(held) / MEMORY_FILE)
            if PROFILE_FILE in members:
                read_envelope(Path(held) / PROFILE_FILE, PROFILE_KIND)
        except CheckpointError as error:
            raise CheckpointError(str(error).replace(held, str(path))) from None
    return header.name


def _members(path: Path) -> dict[str, bytes]:
    """Return the files in a pack; CheckpointError unless they are what its list says."""
    try:
        with zipfile.ZipFile(path) as file:
            infos = file.infolist()
            _check_members(path, infos)
            listed = _listed(path, file.read(LIST_FILE))
            members = {info.filename: file.read(info) for info in infos if info.filename != LIST_FILE}
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise CheckpointError(f"{path}: damaged, not a whole pack ({error})") from None
    for name in sorted({*listed, *members}):
        if name not in members or name not in listed:
            raise CheckpointError(f"{path}: damaged, {name} is {'not listed' if name in members else 'missing'}")
        if hashlib.sha256(members[name]).hexdigest() != listed[name]:
            raise CheckpointError(f"{path}: damaged, the checksum of {name} is wrong")
    return members


def _check_members(path: Path, infos: list[zipfile.ZipInfo]) -> None:
    names = [info.filename for info in infos]
    if LIST_FILE not in names and any(name.endswith(".pkl") for name in names):
        raise CheckpointError(f"{path}: a pickled checkpoint; it could run any code and is never loaded")
    if LIST_FILE not in names or MEMORY_FILE not in names:
        raise CheckpointError(f"{path}: not a pack of a memory; `fugue pack` writes one")
    if foreign := [name for name in names if name not in {*MEMBERS, LIST_FILE}]:
        raise CheckpointError(f"{path}: holds {shown(foreign[0])}, which no pack does")
    if len(set(names)) < len(names):
        raise CheckpointError(f"{path}: damaged, it holds a file twice")
    size = sum(info.file_size for info in infos)
    if size > PACK_BYTES.most:
        raise CheckpointError(f"{path}: {PACK_BYTES.passed(size)}")


def _listed(path: Path, text: bytes) -> dict[str, str]:
    """Return the checksums of a pack's files."""
    try:
        values: dict[str, Any] = json.loads(text)
        number, listed = values["format"], dict(values["sha256"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise CheckpointError(f"{path}: damaged, its {LIST_FILE} cannot be read") from None
    if number != FORMAT:
        raise CheckpointError(f"{path}: a pack of format {shown(number)}, this version reads format {FORMAT}")
    return listed
