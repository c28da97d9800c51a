"""The generator as it is trained, and its discriminator."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from fugue_state.config import WIDTHS, ModelConfig
from fugue_state.learning.across import moments, processes, within
from fugue_state.learning.spectral import spectral_norm
from fugue_state.memory.layers import BANDS, first_width


class SyncedBatchNorm(nn.BatchNorm2d):
    """Batch normalization without scale and shift, over the batches of all processes if `synced`."""

    synced = True

    def forward(self, x: Tensor) -> Tensor:
        """Normalize (B, C, H, W)."""
        if not self.training or not self.synced or processes() == 1:
            return super().forward(x)
        mean, variance = moments(x.float(), (0, 2, 3))
        count = processes() * x.numel() / x.shape[1]
        with torch.no_grad():
            for running, now in ((self.running_mean, mean), (self.running_var, variance * count / (count - 1))):
                if running is not None:
                    running.lerp_(now, self.momentum or 0.0)
        normal: Tensor = (x - mean[:, None, None]) * torch.rsqrt(variance[:, None, None] + self.eps)
        return normal.to(x.dtype)


class ConditionalBatchNorm(nn.Module):
    """Batch normalization whose scale and shift depend on the label (Dumoulin et al., 2017)."""

    def __init__(self, channels: int, labels: int) -> None:
        super().__init__()
        self.norm = SyncedBatchNorm(channels, affine=False)
        # Without labels there is one row: plain batch normalization.
        self.gain = nn.Parameter(torch.ones(max(labels, 1), channels))
        self.shift = nn.Parameter(torch.zeros(max(labels, 1), channels))

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        """Normalize (B, C, H, W) for labels (B,)."""
        # In the activations' precision: in single precision, these two steps would take as long as a layer.
        gain, shift = (p[label].to(x.dtype)[:, :, None, None] for p in (self.gain, self.shift))
        shifted: Tensor = self.norm(x) * gain + shift
        return shifted


class Deconv(nn.Module):
    """Transposed convolution, conditional batch norm, ReLU: one layer of units."""

    def __init__(self, inputs: int, units: int, labels: int, *, width: int | None = None) -> None:
        super().__init__()
        # From the latent, a map of 4 x width; then each layer doubles the map.
        self.conv = (
            nn.ConvTranspose2d(inputs, units, 4, 2, 1, bias=False)
            if width is None
            else nn.ConvTranspose2d(inputs, units, (4, width), bias=False)
        )
        self.norm = ConditionalBatchNorm(units, labels)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to unit activations (B, units, H', W'), all at least 0."""
        return functional.relu(self.norm(self.conv(x), label), inplace=True)


class Generator(nn.Module):
    """DCGAN generator (Radford et al., 2016): latent (B, Z) and label (B,) to mel (B, 1, M, T).

    M is 128, T is `frames`, a multiple of 32; InputError otherwise.
    """

    def __init__(self, config: ModelConfig, frames: int = BANDS) -> None:
        super().__init__()
        self.config, self.frames = config, frames
        first = first_width(frames)
        inputs = config.latent_size
        self.deconv = nn.ModuleDict()
        for name, units in config.layers.items():
            width = first if name == "deconv1" else None
            self.deconv[name] = Deconv(inputs, units, len(config.labels), width=width)
            inputs = units
        self.output = nn.ConvTranspose2d(inputs, 1, 4, 2, 1)
        self.apply(_initialize)

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        """Generate mels (B, 1, M, T) in [-1, 1] of latents (B, Z) and labels (B,)."""
        x = z[:, :, None, None]
        for layer in self.deconv.values():
            x = layer(x, label)
        return torch.tanh(self.output(x))


class Discriminator(nn.Module):
    """Spectrally normalized critic (Miyato et al., 2018) with label projection (Miyato and Koyama, 2018)."""

    def __init__(self, maps: int, labels: int, *, minibatch_statistics: bool = True, decodes: bool = False) -> None:
        super().__init__()
        widths = [int(w * maps) for w in reversed(WIDTHS)]
        convs: list[nn.Module] = []
        inputs = 1
        for width in widths:
            convs += [spectral_norm(nn.Conv2d(inputs, width, 4, 2, 1)), nn.LeakyReLU(0.2, inplace=True)]
            inputs = width
        self.convs = nn.Sequential(*convs)
        self.last = spectral_norm(nn.Conv2d(inputs, inputs, 3, 1, 1))
        # The batch's variation, as a whole and within labels, is an input, too, so that sameness is noticed. It is
        # added, not appended as channels: a map of 514 channels would fall out of the fast memory format.
        self.vary = spectral_norm(nn.Linear(2, inputs, bias=False)) if minibatch_statistics else None
        self.labels = max(1, labels)
        self.score = spectral_norm(nn.Linear(inputs, 1))
        self.project = spectral_norm(nn.Embedding(labels, inputs)) if labels else None
        self.decoder = _decoder(inputs) if decodes else None
        self.apply(_initialize)

    def forward(self, mel: Tensor, label: Tensor, batches: int = 1, decoded: int = 0) -> tuple[Tensor, Tensor | None]:
        """Score mels (B, 1, M, T) with labels (B,): (B,), higher is more real.

        They may be several `batches` in sequence, each with its own batch statistics. With a decoder, also returns
        what it tells of the first `decoded` mels from their features: (decoded, 1, M / 4, T / 4).
        """
        x = self.convs(mel)
        seen = self.last(x)
        if self.vary is not None:
            parts = zip(x.chunk(batches), label.chunk(batches), strict=True)
            spread = torch.cat([_spread(part, own, self.labels) for part, own in parts])
            seen = seen + self.vary(spread).to(seen.dtype)[:, :, None, None]
        features = functional.leaky_relu(seen, 0.2).mean(dim=(2, 3))
        score: Tensor = self.score(features)[:, 0]
        if self.project is not None:
            score = score + (self.project(label) * features).sum(1)
        return score, None if self.decoder is None else self.decoder(x[:decoded])


def _decoder(inputs: int) -> nn.Sequential:
    """Return a small network from the last features to the mel at a quarter of its size (Liu et al., 2021)."""
    layers: list[nn.Module] = []
    for _ in range(3):
        width = max(inputs // 4, 1)
        layers += [nn.Upsample(scale_factor=2), nn.Conv2d(inputs, width, 3, 1, 1), nn.LeakyReLU(0.2, inplace=True)]
        inputs = width
    return nn.Sequential(*layers, nn.Conv2d(inputs, 1, 3, 1, 1), nn.Tanh())


def _spread(x: Tensor, label: Tensor, labels: int) -> Tensor:
    """Return the mean standard deviation over the batch and within labels, repeated for each item: (B, 2)."""
    variances = moments(x.float(), (0,))[1], within(x.float(), label, labels)
    return torch.stack([torch.sqrt(variance + 1e-8).mean() for variance in variances]).expand(len(x), 2)


def _initialize(module: nn.Module) -> None:
    if isinstance(module, nn.ConvTranspose2d | nn.Conv2d):
        nn.init.normal_(module.weight, 0.0, 0.02)


def reestimate_statistics(generator: Generator, seed: int, batches: int = 32, batch: int = 64) -> None:
    """Set the running batch-norm statistics to those of the current weights.

    Averaged weights come with running statistics of other weights; samples are blurred until the
    means and variances are estimated again over fresh latents.
    """
    norms = [m for m in generator.modules() if isinstance(m, SyncedBatchNorm)]
    for norm in norms:
        norm.reset_running_stats()
        norm.synced = False  # only one process runs this; synchronizing would wait for the others
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
        norm.synced = True
    generator.eval()
