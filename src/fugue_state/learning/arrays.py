"""Conversion of PyTorch modules to the NumPy ones used for playing, and back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fugue_state.learning.networks import Generator
from fugue_state.learning.vocoder import MagnitudeNet
from fugue_state.memory import layers, vocoder
from fugue_state.memory.checkpoint import fitted

Arrays = Mapping[str, npt.NDArray[Any]]


def array_of(tensor: Tensor) -> npt.NDArray[Any]:
    """Return a tensor, on any device, as a new array."""
    return np.array(tensor.detach().cpu().numpy(), order="C")


def arrays_of(module: nn.Module) -> dict[str, npt.NDArray[Any]]:
    """Return a module's tensors as new arrays, by name."""
    return {name: array_of(tensor) for name, tensor in module.state_dict().items()}


def fill(module: nn.Module, arrays: Arrays, path: Path) -> None:
    """Load arrays that were read from `path` into a module; CheckpointError names what does not fit."""
    shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    module.load_state_dict({name: torch.from_numpy(array) for name, array in fitted(path, arrays, shapes).items()})


def as_played(generator: Generator) -> layers.Generator:
    """Return a generator for playing, as a copy: further training does not change it."""
    return layers.Generator(generator.config, generator.frames, arrays_of(generator))


def net_as_played(net: MagnitudeNet) -> vocoder.MagnitudeNet:
    """Return a vocoder's network for playing, as a copy."""
    return vocoder.MagnitudeNet(net.config, net.spec, arrays_of(net))
