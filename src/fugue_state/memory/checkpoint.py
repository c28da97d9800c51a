"""Memories on disk: safetensors with a JSON header, never a pickle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fugue_state.audio.io import replacing
from fugue_state.config import Settings
from fugue_state.errors import CheckpointError, OutputError, shown
from fugue_state.memory.catalogue import (
    FORMAT,
    HEADER,
    MEMORY_KIND,
    VOCODER_KIND,
    MemoryHeader,
    VocoderHeader,
    check_same_mel,
    damaged,
    read_envelope,
    understood,
)
from fugue_state.memory.networks import BANDS, Generator
from fugue_state.memory.vocoder import MagnitudeNet

VOCODER_PREFIX = "vocoder."


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
    """Read what `write_tensors` wrote. Raises CheckpointError as `read_envelope` does."""
    envelope = read_envelope(path, kind)
    try:
        with safe_open(path, "pt") as stored:
            return envelope, {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
        raise damaged(path, error) from None


def save_memory(
    path: Path, generator: Generator, header: MemoryHeader, *, net: MagnitudeNet | None = None, half: bool = False
) -> None:
    """Write a generator, the vocoder that its header tells of, and the header.

    In half precision if asked (the statistics stay single).
    """
    tensors = generator.state_dict()
    if net is not None:
        tensors |= {VOCODER_PREFIX + name: tensor for name, tensor in net.state_dict().items()}
    write_tensors(path, MEMORY_KIND, header, {name: _halved(name, t) if half else t for name, t in tensors.items()})


def _halved(name: str, tensor: Tensor) -> Tensor:
    return tensor.half() if tensor.is_floating_point() and "running" not in name else tensor


def load_memory(path: Path) -> tuple[Generator, MemoryHeader, MagnitudeNet | None]:
    """Read a memory, ready to generate, and its vocoder if it has one.

    Raises CheckpointError for anything but a whole memory.
    """
    values, tensors = read_tensors(path, MEMORY_KIND)
    header = understood(path, MemoryHeader, values)
    if header.mel.n_mels != BANDS:
        raise CheckpointError(f"{path}: a mel of {header.mel.n_mels} bands, the networks make {BANDS}")
    whole = _single(path, tensors)
    with torch.device("meta"):  # no memory is taken for what a header says before the file is seen to hold it
        generator = Generator(header.model, header.mel.frames)
    own = {name: tensor for name, tensor in whole.items() if not name.startswith(VOCODER_PREFIX)}
    fill(generator, own, path, assign=True)
    net = None
    if header.vocoder is not None:
        check_same_mel(header.vocoder.mel, header.mel, f"{path}: its vocoder")
        own = {k.removeprefix(VOCODER_PREFIX): t for k, t in whole.items() if k.startswith(VOCODER_PREFIX)}
        net = _filled_net(path, header.vocoder, own)
    elif len(whole) != len(generator.state_dict()):
        raise CheckpointError(f"{path}: holds the tensors of a vocoder that its header does not tell of")
    return generator.eval(), header, net


def save_vocoder(path: Path, net: MagnitudeNet, header: VocoderHeader) -> None:
    """Write a vocoder by itself."""
    write_tensors(path, VOCODER_KIND, header, net.state_dict())


def load_vocoder(path: Path) -> tuple[MagnitudeNet, VocoderHeader]:
    """Read a vocoder by itself. Raises CheckpointError for anything else."""
    values, tensors = read_tensors(path, VOCODER_KIND)
    header = understood(path, VocoderHeader, values)
    return _filled_net(path, header, _single(path, tensors)), header


def _single(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    for name, tensor in tensors.items():
        if tensor.is_complex() or tensor.dtype == torch.bool:
            raise CheckpointError(f"{path}: tensor {shown(name)} is {tensor.dtype}, real numbers are needed")
    whole = {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}
    if not all(torch.isfinite(t).all() for t in whole.values()):
        raise CheckpointError(f"{path}: holds weights that are not numbers (NaN or infinity)")
    return whole


def _filled_net(path: Path, header: VocoderHeader, tensors: Mapping[str, Tensor]) -> MagnitudeNet:
    with torch.device("meta"):
        net = MagnitudeNet(header.config, header.mel)
    fill(net, tensors, path, assign=True)
    return net.eval()


def fill(module: torch.nn.Module, tensors: Mapping[str, Tensor], path: Path, *, assign: bool = False) -> None:
    """Load tensors into a module, or make them its own; raise CheckpointError that names the first misfit."""
    wanted = module.state_dict()
    for name in sorted(wanted.keys() ^ tensors.keys()):
        state = "missing" if name in wanted else "not expected"
        raise CheckpointError(f"{path}: tensor {shown(name)} is {state}")
    for name, tensor in wanted.items():
        if tensor.shape != tensors[name].shape:
            raise CheckpointError(
                f"{path}: tensor {name!r} is {tuple(tensors[name].shape)}, its header says {tuple(tensor.shape)}"
            )
        if tensor.is_floating_point() != tensors[name].is_floating_point():
            raise CheckpointError(f"{path}: tensor {name!r} is {tensors[name].dtype}, {tensor.dtype} is needed")
    # Copies: what is read may still lie in the file.
    module.load_state_dict({name: t.clone() if assign else t for name, t in tensors.items()}, assign=assign)


def file_hash(path: Path) -> str:
    """Return the first 16 hex digits of the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
