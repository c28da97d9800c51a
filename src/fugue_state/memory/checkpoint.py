"""Memories on disk: safetensors with a JSON header, never a pickle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fugue_state.audio.io import replacing
from fugue_state.config import VERSION, MelSpec, ModelConfig, Seed, Settings, checked
from fugue_state.errors import CheckpointError, InputError, OutputError
from fugue_state.memory.networks import BANDS, Generator

FORMAT = 1
HEADER = "fugue_state"
MEMORY_KIND = "memory"


class DataSource(Settings):
    """Sounds that a memory was learned from."""

    name: str
    clips: int = Field(ge=0)
    licence: str = "unknown"


class MemoryHeader(Settings):
    """What a memory says about itself."""

    name: str
    model: ModelConfig
    mel: MelSpec
    seed: int = Seed
    steps: int = Field(default=0, ge=0)
    data: tuple[DataSource, ...] = ()
    metrics: dict[str, float] = Field(default_factory=dict)
    version: str = VERSION


def write_tensors(path: Path, kind: str, header: Settings, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors with a header that names its kind and format; all or nothing."""
    text = json.dumps({"kind": kind, "format": FORMAT, "header": header.model_dump(mode="json")})
    save_tensors(path, {name: t.detach().cpu().contiguous() for name, t in tensors.items()}, {HEADER: text})


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file, all or nothing; OutputError if it cannot be written."""
    with replacing(path) as beside:
        try:
            save_file(dict(tensors), beside, dict(metadata))
        except SafetensorError as error:
            raise OutputError(f"{path}: could not be written ({error})") from None


def read_tensors(path: Path, kind: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read what `write_tensors` wrote.

    Raises CheckpointError for a file that is missing, truncated, a pickle, of another kind or of
    another format.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    with path.open("rb") as file:
        start = file.read(2)
    if start in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        raise CheckpointError(f"{path}: a pickled checkpoint; it could run any code and is never loaded")
    try:
        with safe_open(path, "pt") as stored:
            envelope = _envelope(path, kind, stored.metadata() or {})
            return envelope, {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: damaged or not a checkpoint ({error})") from None


def _envelope(path: Path, kind: str, metadata: Mapping[str, str]) -> dict[str, Any]:
    if HEADER not in metadata:
        raise CheckpointError(f"{path}: a safetensors file, but not one of this project")
    try:
        envelope = json.loads(metadata[HEADER])
        found, number, header = envelope["kind"], envelope["format"], dict(envelope["header"])
    except (ValueError, KeyError, TypeError):
        raise CheckpointError(f"{path}: its header is damaged") from None
    if found != kind:
        raise CheckpointError(f"{path}: holds a {found}, a {kind} is needed")
    if number != FORMAT:
        raise CheckpointError(f"{path}: format {number}, this version reads format {FORMAT}")
    return header


def save_memory(path: Path, generator: Generator, header: MemoryHeader, *, half: bool = False) -> None:
    """Write a generator and its header, in half precision if asked (the statistics stay single)."""
    tensors = {
        name: t.half() if half and t.is_floating_point() and "running" not in name else t
        for name, t in generator.state_dict().items()
    }
    write_tensors(path, MEMORY_KIND, header, tensors)


def load_memory(path: Path) -> tuple[Generator, MemoryHeader]:
    """Read a memory, ready to generate. Raises CheckpointError for anything but a whole memory."""
    values, tensors = read_tensors(path, MEMORY_KIND)
    header = _understood(path, values)
    if header.mel.n_mels != BANDS:
        raise CheckpointError(f"{path}: a mel of {header.mel.n_mels} bands, the networks make {BANDS}")
    generator = Generator(header.model, header.mel.frames)
    whole = {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}
    fill(generator, whole, path)
    if not all(torch.isfinite(t).all() for t in whole.values()):
        raise CheckpointError(f"{path}: holds weights that are not numbers (NaN or infinity)")
    return generator.eval(), header


def read_header(path: Path) -> MemoryHeader:
    """Read only what a memory says about itself. Raises CheckpointError as `load_memory` does."""
    return _understood(path, read_tensors(path, MEMORY_KIND)[0])


def _understood(path: Path, values: dict[str, Any]) -> MemoryHeader:
    try:
        return checked(MemoryHeader, values)
    except InputError as error:
        raise CheckpointError(f"{path}: its header is not understood ({error})") from None


def fill(module: torch.nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Load tensors into a module, or raise CheckpointError that names the first misfit."""
    wanted = module.state_dict()
    for name in sorted(wanted.keys() ^ tensors.keys()):
        state = "missing" if name in wanted else "not expected"
        raise CheckpointError(f"{path}: tensor {name!r} is {state}")
    for name, tensor in wanted.items():
        if tensor.shape != tensors[name].shape:
            raise CheckpointError(
                f"{path}: tensor {name!r} is {tuple(tensors[name].shape)}, its header says {tuple(tensor.shape)}"
            )
    module.load_state_dict(dict(tensors))


def file_hash(path: Path) -> str:
    """Return the first 16 hex digits of the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
