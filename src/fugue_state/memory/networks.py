"""The generator whose units are forgotten, and the discriminator that taught it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from fugue_state.config import ModelConfig

IMAGE = 128  # side of the mel image: bands and frames


class ConditionalBatchNorm(nn.Module):
    """Batch normalization whose scale and shift depend on the label (Dumoulin et al., 2017)."""

    def __init__(self, channels: int, labels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        # Without labels there is one row: plain batch normalization.
        self.gain = nn.Parameter(torch.ones(max(labels, 1), channels))
        self.shift = nn.Parameter(torch.zeros(max(labels, 1), channels))

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        """Normalize (B, C, H, W) for labels (B,)."""
        scaled = self.norm(x) * self.gain[label][:, :, None, None]
        shifted: Tensor = scaled + self.shift[label][:, :, None, None]
        return shifted


class Deconv(nn.Module):
    """Transposed convolution, conditional batch norm, ReLU: one layer of units."""

    def __init__(self, inputs: int, units: int, labels: int, *, stride: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(inputs, units, 4, stride, 0 if stride == 1 else 1, bias=False)
        self.norm = ConditionalBatchNorm(units, labels)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to unit activations (B, units, H', W'), all at least 0."""
        return functional.relu(self.norm(self.conv(x), label))


class Generator(nn.Module):
    """DCGAN generator (Radford et al., 2016): latent (B, Z) and label (B,) to mel (B, 1, M, T)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        inputs = config.latent_size
        self.deconv = nn.ModuleDict()
        for name, units in config.layers.items():
            stride = 1 if name == "deconv1" else 2
            self.deconv[name] = Deconv(inputs, units, len(config.labels), stride=stride)
            inputs = units
        self.output = nn.ConvTranspose2d(inputs, 1, 4, 2, 1)
        self.apply(_initialize)

    def forward(
        self,
        z: Tensor,
        label: Tensor,
        strengths: Mapping[str, Tensor] | None = None,
        activations: dict[str, Tensor] | None = None,
    ) -> Tensor:
        """Generate mels in [-1, 1].

        `strengths` holds, for each layer to be bent, how much of every unit is remembered
        (C,) or (B, C): the forgotten part is replaced by zero. Unit activations (B, C), their
        mean over the map after bending, are put into `activations` if it is given.
        """
        x = z[:, :, None, None]
        for name, layer in self.deconv.items():
            x = layer(x, label)
            if strengths is not None and name in strengths:
                strength = strengths[name]
                x = x * (strength if strength.ndim == 2 else strength[None])[:, :, None, None]
            if activations is not None:
                activations[name] = x.mean(dim=(2, 3))
        return torch.tanh(self.output(x))


class Discriminator(nn.Module):
    """Spectrally normalized critic (Miyato et al., 2018) with label projection (Miyato and Koyama, 2018)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        widths = list(config.layers.values())[::-1]
        convs: list[nn.Module] = []
        inputs = 1
        for width in widths:
            convs += [spectral_norm(nn.Conv2d(inputs, width, 4, 2, 1)), nn.LeakyReLU(0.2)]
            inputs = width
        # One more channel carries how much the batch varies, so that sameness is noticed.
        self.convs = nn.Sequential(*convs)
        self.last = spectral_norm(nn.Conv2d(inputs + 1, inputs, 3, 1, 1))
        self.score = spectral_norm(nn.Linear(inputs, 1))
        self.project = spectral_norm(nn.Embedding(len(config.labels), inputs)) if config.labels else None
        self.apply(_initialize)

    def forward(self, mel: Tensor, label: Tensor) -> Tensor:
        """Score mels (B, 1, M, T) with labels (B,): (B,), higher is more real."""
        x = self.convs(mel)
        spread = x.float().std(dim=0).mean().to(x.dtype).expand(x.shape[0], 1, *x.shape[2:])
        x = functional.leaky_relu(self.last(torch.cat([x, spread], dim=1)), 0.2)
        features = x.mean(dim=(2, 3))
        score: Tensor = self.score(features)[:, 0]
        if self.project is not None:
            score = score + (self.project(label) * features).sum(1)
        return score


def _initialize(module: nn.Module) -> None:
    if isinstance(module, nn.ConvTranspose2d | nn.Conv2d):
        nn.init.normal_(module.weight, 0.0, 0.02)


def reestimate_statistics(generator: Generator, seed: int, batches: int = 32, batch: int = 64) -> None:
    """Set the running batch-norm statistics to those of the weights as they are now.

    Averaged weights keep the running statistics of other weights; samples blur until the
    means and variances are taken again over fresh latents.
    """
    norms = [m for m in generator.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over all batches
    labels = max(len(generator.config.labels), 1)
    random = torch.Generator().manual_seed(seed)
    device = next(generator.parameters()).device
    generator.train()
    with torch.no_grad():
        for _ in range(batches):
            z = torch.randn(batch, generator.config.latent_size, generator=random)
            label = torch.arange(batch) % labels
            generator(z.to(device), label.to(device))
    for norm in norms:
        norm.momentum = 0.1
    generator.eval()
