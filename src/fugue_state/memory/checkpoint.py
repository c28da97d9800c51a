"""Memories on disk: safetensors with a JSON header, never a pickle."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from fugue_state.arrays import Array
from fugue_state.errors import CheckpointError, shown
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
from fugue_state.memory.layers import BANDS, Generator, Shapes
from fugue_state.memory.vocoder import MagnitudeNet
from fugue_state.settings import Settings
from fugue_state.tensors import Tensors, save_tensors

VOCODER_PREFIX = "vocoder."


def write_tensors(path: Path, kind: str, header: Settings, tensors: Tensors) -> None:
    """Write tensors with a header that names their kind and format; all or nothing."""
    save_tensors(path, tensors, _envelope(kind, header))


def _envelope(kind: str, header: Settings) -> dict[str, str]:
    return {HEADER: json.dumps({"kind": kind, "format": FORMAT, "header": header.model_dump(mode="json")})}


def read_tensors(path: Path, kind: str) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """Read what `write_tensors` wrote. Raises CheckpointError as `read_envelope` does."""
    envelope = read_envelope(path, kind)
    try:
        with safe_open(path, "np") as stored:
            return envelope, {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
        raise damaged(path, error) from None


def save_memory(
    path: Path, generator: Generator, header: MemoryHeader, *, net: MagnitudeNet | None = None, half: bool = False
) -> None:
    """Write a generator, its header, and the vocoder that the header describes.

    `half` stores half precision, except for the running statistics.
    """
    write_tensors(path, MEMORY_KIND, header, _tensors(generator, net, half=half))


def memory_bytes(generator: Generator, header: MemoryHeader, net: MagnitudeNet | None = None) -> bytes:
    """Return what `save_memory` writes in half precision; of the tensors, those that something depends on."""
    needed = {name: np.asarray(t, order="C") for name, t in _tensors(generator, net, half=True).items() if t.ndim}
    return save(needed, _envelope(MEMORY_KIND, header))


def _tensors(generator: Generator, net: MagnitudeNet | None, *, half: bool) -> Tensors:
    tensors = dict(generator.tensors)
    if net is not None:
        tensors |= {VOCODER_PREFIX + name: tensor for name, tensor in net.tensors.items()}
    return {name: _halved(name, t) if half else t for name, t in tensors.items()}


def _halved(name: str, tensor: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return tensor.astype(np.float16) if tensor.dtype.kind == "f" and "running" not in name else tensor


def load_memory(path: Path) -> tuple[Generator, MemoryHeader, MagnitudeNet | None]:
    """Read a memory, ready to generate, and its vocoder if it has one.

    Raises CheckpointError for any file that is not a complete memory.
    """
    values, tensors = read_tensors(path, MEMORY_KIND)
    header = understood(path, MemoryHeader, values)
    if header.mel.n_mels != BANDS:
        raise CheckpointError(f"{path}: a mel of {header.mel.n_mels} bands, the networks make {BANDS}")
    own = {name: tensor for name, tensor in tensors.items() if not name.startswith(VOCODER_PREFIX)}
    learned = {k.removeprefix(VOCODER_PREFIX): t for k, t in tensors.items() if k.startswith(VOCODER_PREFIX)}
    fitting = fitted(path, own, Generator.shapes(header.model, header.mel.frames))
    generator = Generator(header.model, header.mel.frames, fitting)
    if header.vocoder is not None:
        check_same_mel(header.vocoder.mel, header.mel, f"{path}: its vocoder")
        return generator, header, _filled_net(path, header.vocoder, learned, VOCODER_PREFIX)
    if learned:
        raise CheckpointError(f"{path}: holds the tensors of a vocoder that its header does not tell of")
    return generator, header, None


def save_vocoder(path: Path, net: MagnitudeNet, header: VocoderHeader) -> None:
    """Write a vocoder on its own."""
    write_tensors(path, VOCODER_KIND, header, net.tensors)


def load_vocoder(path: Path) -> tuple[MagnitudeNet, VocoderHeader]:
    """Read a vocoder on its own. Raises CheckpointError for any other file."""
    values, tensors = read_tensors(path, VOCODER_KIND)
    header = understood(path, VocoderHeader, values)
    return _filled_net(path, header, tensors), header


def _filled_net(path: Path, header: VocoderHeader, tensors: Tensors, prefix: str = "") -> MagnitudeNet:
    fitting = fitted(path, tensors, MagnitudeNet.shapes(header.config, header.mel), prefix)
    return MagnitudeNet(header.config, header.mel, fitting)


def fitted(path: Path, tensors: Tensors, shapes: Shapes, prefix: str = "") -> dict[str, Array]:
    """Return tensors in single precision; CheckpointError names the first that is missing, unexpected or misshapen.

    Tensors of shape () are counters: whole numbers that nothing depends on.
    """
    for name in sorted(shapes.keys() ^ tensors.keys()):
        state = "missing" if name in shapes else "not expected"
        raise CheckpointError(f"{path}: tensor {shown(prefix + name)} is {state}")
    return {name: _fitted(path, prefix + name, tensors[name], shape) for name, shape in shapes.items()}


def _fitted(path: Path, name: str, tensor: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    if tensor.shape != shape:
        raise CheckpointError(f"{path}: tensor {name!r} is {tensor.shape}, its header says {shape}")
    if tensor.dtype.kind not in ("f" if shape else "iu"):
        needed = "floating point numbers are" if shape else "a whole number is"
        raise CheckpointError(f"{path}: tensor {name!r} is {tensor.dtype}, {needed} needed")
    if not shape:
        return tensor.astype(np.int64)
    with np.errstate(over="ignore"):
        single = tensor.astype(np.float32)
    if not np.isfinite(single).all():
        raise CheckpointError(f"{path}: tensor {name!r} holds values that are not numbers (NaN or infinity)")
    if name.endswith("running_var") and single.min() < 0.0:
        raise CheckpointError(f"{path}: tensor {name!r} holds a variance of {single.min():g}, none is below 0")
    return single


def file_hash(path: Path) -> str:
    """Return the first 16 hex digits of the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
