"""Statistics of a batch that is split over several processes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed


def processes() -> int:
    """Return how many processes train together."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


class _Sum(torch.autograd.Function):
    """Sum over all processes; gradients flow from every process's loss into every process's summand."""

    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total


def moments(x: Tensor, dims: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Return mean and (biased) variance of `x` over `dims` and over the equally large batches of all processes."""
    count = processes()
    if count == 1:
        variance, mean = torch.var_mean(x, dims, correction=0)
        return mean, variance
    mean = _sum(x.mean(dims, keepdim=True)) / count
    variance = _sum((x - mean).square().mean(dims)) / count
    return mean.squeeze(dims), variance


def within(x: Tensor, label: Tensor, labels: int) -> Tensor:
    """Return the variance (...) of `x` (B, ...) about the mean of each item's label (B,), over all processes.

    It is that of a label's items on average, without bias; 0 if no two items have the same one of the `labels`.
    """
    flat = x.flatten(1)
    own = torch.nn.functional.one_hot(label, labels).to(flat.dtype)
    sums, counts = _whole(own.mT @ flat), _whole(own.sum(0))
    away = flat - (sums / counts.clamp(min=1.0)[:, None])[label]
    free = (counts - 1.0).clamp(min=0.0).sum().clamp(min=1.0)
    return (_whole(away.square().sum(0)) / free).view(x.shape[1:])


def _whole(x: Tensor) -> Tensor:
    return x if processes() == 1 else _sum(x)


def _sum(x: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(x)  # type: ignore[no-untyped-call]
    return total
