"""From PyTorch's modules to what is played, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from fugue_state.learning.networks import Generator
from fugue_state.learning.vocoder import MagnitudeNet
from fugue_state.memory import layers, vocoder


def arrays_of(module: nn.Module) -> dict[str, npt.NDArray[Any]]:
    """Return a module's tensors as arrays of their own, by name."""
    return {name: np.array(tensor.detach().cpu().numpy()) for name, tensor in module.state_dict().items()}


def fill(module: nn.Module, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Load arrays into a module."""
    module.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in arrays.items()})


def as_played(generator: Generator) -> layers.Generator:
    """Return a generator as it is played; what is learned later does not change it."""
    return layers.Generator(generator.config, generator.frames, arrays_of(generator))


def net_as_played(net: MagnitudeNet) -> vocoder.MagnitudeNet:
    """Return a vocoder's network as it is played."""
    return vocoder.MagnitudeNet(net.config, net.spec, arrays_of(net))
