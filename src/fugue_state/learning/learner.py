"""Learners: networks with their optimizers and averaged weights, whose state can be saved and restored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from fugue_state.errors import TrainingError
from fugue_state.learning.arrays import Arrays, array_of, arrays_of, fill
from fugue_state.settings import Settings


class RunSettings(Settings):
    """Everything that decides what a run learns; a run can only be continued with the same (rounding aside).

    `guessed` says that no run has confirmed yet how many steps are needed.
    """

    guessed: ClassVar[bool] = False

    @property
    @abstractmethod
    def needed(self) -> int:
        """About how many steps it takes until something is learned."""

    @property
    @abstractmethod
    def width(self) -> int:
        """Width of the network."""

    @abstractmethod
    def as_wide(self, width: int) -> Self:
        """Return these settings with a network of another width."""

    @abstractmethod
    def shrunk(self, processes: int) -> Self:
        """Return these settings with a small network and batch, which quickly show what is hopelessly slow."""

    @abstractmethod
    def ways(self, before: Self | None) -> Mapping[str, Self]:
        """Return, by name, the ways of computing a step that the settings leave open; the earlier run's comes first."""


class Learner(ABC):
    """Makes training steps; what a step does depends only on the settings and the step's number.

    `kind` names its state in files, `columns` its losses; `leaves` are the files that it adds to a run's folder.
    """

    kind: ClassVar[str]
    columns: ClassVar[tuple[str, ...]]
    leaves: ClassVar[tuple[str, ...]]

    def __init__(self, settings: RunSettings) -> None:
        self.settings, self.step_count = settings, 0

    @abstractmethod
    def step(self, left: float = 1.0) -> dict[str, float]:
        """Take a step, with this share of the budget left; return the losses."""

    @abstractmethod
    def networks(self) -> Mapping[str, nn.Module]:
        """Return all networks, by the prefix of their tensors in the state."""

    @abstractmethod
    def optimizers(self) -> Mapping[str, Any]:
        """Return all optimizers, by the prefix of their tensors in the state."""

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return everything that later steps depend on, by name."""
        arrays: dict[str, npt.NDArray[Any]] = {"step": np.array(self.step_count)}
        for name, network in self.networks().items():
            arrays |= {f"{name}/{key}": array for key, array in arrays_of(network).items()}
        for name, optimizer in self.optimizers().items():
            for number, values in optimizer.state_dict()["state"].items():
                arrays |= {f"{name}/{number}/{key}": array_of(t) for key, t in values.items()}
        return arrays

    def restore(self, arrays: Arrays, path: Path) -> None:
        """Restore a state; CheckpointError names what does not fit."""
        self.step_count = int(arrays["step"])
        for name, network in self.networks().items():
            fill(network, _within(arrays, name), path)
        for name, optimizer in self.optimizers().items():
            weights: list[Tensor] = optimizer.param_groups[0]["params"]
            values: dict[int, dict[str, Tensor]] = {}
            for key, array in _within(arrays, name).items():
                number, field = key.split("/")
                tensor = torch.from_numpy(array)
                # In the memory format of the weights, as the fused optimizer step needs.
                own = tensor if field == "step" else torch.zeros_like(weights[int(number)].data).copy_(tensor)
                values.setdefault(int(number), {})[field] = own
            optimizer.load_state_dict(optimizer.state_dict() | {"state": values})

    def _average(self, average: nn.Module, network: nn.Module, decay: float) -> None:
        """Update averaged weights from a network; early on, the average follows faster."""
        decay = min(decay, (1 + self.step_count) / (10 + self.step_count))
        follow = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        follow(list(average.parameters()), list(network.parameters()), 0)

    def _check(self, loss: Tensor, what: str, remedy: str) -> None:
        """Raise TrainingError if a loss is NaN or infinite."""
        if not torch.isfinite(loss):
            raise TrainingError(
                f"step {self.step_count}: {what} is {loss.item()}; the last checkpoint is kept; {remedy} may help"
            )


def _within(arrays: Arrays, place: str) -> dict[str, npt.NDArray[Any]]:
    return {key.removeprefix(f"{place}/"): array for key, array in arrays.items() if key.startswith(f"{place}/")}


def keyed_random(*key: int) -> torch.Generator:
    """Return a random generator for this key; splitmix-style mixing decorrelates neighbouring keys."""
    seed = 0
    for part in key:
        seed = (seed * 6364136223846793005 + part * 0x9E3779B97F4A7C15 + 1442695040888963407) % 2**63
    return torch.Generator().manual_seed(seed)
