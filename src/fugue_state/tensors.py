"""Safetensors files, as everything that keeps arrays writes them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import save_file

from fugue_state.errors import OutputError
from fugue_state.files import replacing

Tensors = Mapping[str, npt.NDArray[Any]]


def save_tensors(path: Path, tensors: Tensors, metadata: Mapping[str, str]) -> None:
    """Write a safetensors file, all or nothing; OutputError if it cannot be written."""
    with replacing(path) as beside:
        try:
            save_file({name: np.asarray(t, order="C") for name, t in tensors.items()}, beside, dict(metadata))
        except SafetensorError as error:
            raise OutputError(f"{path}: could not be written ({error})") from None
