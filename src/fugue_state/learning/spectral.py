"""Spectral normalization (Miyato et al., 2018) with as few passes over the weights as possible."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

START_ITERATIONS = 15


def spectral_norm(module: nn.Module) -> nn.Module:
    """Divide a module's weight by its largest singular value, estimated by one power iteration per step."""
    parametrize.register_parametrization(module, "weight", SpectralNorm(module.weight))  # type: ignore[arg-type]
    return module


class SpectralNorm(nn.Module):
    """The parametrization: weight (O, ...) to weight / sigma. Sigma is updated in training mode only."""

    u: Tensor
    v: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        rows, columns = _matrix(weight).shape
        self.register_buffer("u", functional.normalize(torch.randn(rows), dim=0))
        self.register_buffer("v", functional.normalize(torch.randn(columns), dim=0))
        for _ in range(START_ITERATIONS):
            self._iterate(weight)

    def forward(self, weight: Tensor) -> Tensor:
        """Normalize, in the precision that the layer will use."""
        where = weight.device.type
        kind = torch.get_autocast_dtype(where) if torch.is_autocast_enabled(where) else weight.dtype
        with torch.autocast(where, enabled=False):
            if self.training:
                self._iterate(weight)
            normal: Tensor = _Normalize.apply(weight, self.u, self.v, kind)  # type: ignore[no-untyped-call]
        return normal

    @torch.no_grad()
    def _iterate(self, weight: Tensor) -> None:
        matrix = _matrix(weight)
        # New tensors: a graph may still hold the old ones.
        self.v = functional.normalize(matrix.mT @ self.u, dim=0)
        self.u = functional.normalize(matrix @ self.v, dim=0)


class _Normalize(torch.autograd.Function):
    """weight / (u . weight v), with its gradient in closed form."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, u: Tensor, v: Tensor, kind: torch.dtype) -> Tensor:
        sigma = torch.dot(u, _matrix(weight) @ v)
        normal = torch.mul(weight, 1.0 / sigma, out=torch.empty_like(weight, dtype=kind))
        ctx.save_for_backward(weight, u, v, sigma)
        return normal

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        weight, u, v, sigma = ctx.saved_tensors
        gradient = _matrix(gradients[0].to(weight.dtype).contiguous(memory_format=_format(weight)))
        along = torch.dot(gradient.flatten(), _matrix(weight).flatten()) / sigma**2
        own = torch.addr(gradient / sigma, u, v, alpha=-float(along))
        return _like(own, weight), None, None, None


def _format(weight: Tensor) -> torch.memory_format:
    last = weight.ndim == 4 and weight.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format


def _matrix(weight: Tensor) -> Tensor:
    """Return the weight as a matrix (O, the rest), with columns in memory order."""
    return (weight.permute(0, 2, 3, 1) if weight.ndim == 4 else weight).flatten(1)


def _like(matrix: Tensor, weight: Tensor) -> Tensor:
    """Return a matrix as made by `_matrix` in the original shape of `weight`."""
    if weight.ndim != 4:
        return matrix.reshape(weight.shape)
    rows, inputs, height, width = weight.shape
    return matrix.reshape(rows, height, width, inputs).permute(0, 3, 1, 2)
