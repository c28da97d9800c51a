"""The vocoder's network for training."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from fugue_state.config import MelSpec, VocoderConfig
from fugue_state.memory import vocoder as played
from fugue_state.memory.vocoder import patches

SPREAD, CENTRE, SILENT = (float(value) for value in (played.SPREAD, played.CENTRE, played.SILENT))


class CausalBlock(nn.Module):
    """A ConvNeXt block (Liu et al., 2022) that looks back only: (B, T, C) to (B, T, C)."""

    def __init__(self, config: VocoderConfig) -> None:
        super().__init__()
        channels = config.channels
        self.taps = nn.Parameter(torch.randn(channels, config.kernel) / math.sqrt(config.kernel))
        self.norm = nn.LayerNorm(channels)
        self.widen = nn.Linear(channels, config.expansion * channels)
        self.narrow = nn.Linear(config.expansion * channels, channels)
        self.scale = nn.Parameter(torch.full((channels,), 1.0 / config.blocks))

    def forward(self, frames: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """Return the output for frames (B, T, C) after `past` (B, at least kernel - 1, C), and the new past.

        The new past is one frame longer than needed: dropping its last frame gives the past of one frame earlier.
        """
        heard, kernel = torch.cat([past, frames], dim=1), self.taps.shape[1]
        mixed = (heard[:, 1 - kernel - frames.shape[1] :].unfold(1, kernel, 1) * self.taps).sum(-1)
        out = self.narrow(functional.gelu(self.widen(self.norm(mixed))))
        return frames + self.scale * out, heard[:, -kernel:]


class MagnitudeNet(nn.Module):
    """Improves a first guess of a mel's log magnitudes (in nepers).

    A global part reads the mel and the lower bins; a local part, the same for every patch of bins, reads the
    guess around it. Both correct the guess; above the highest band a coarse curve continues it. Frame t needs the
    mel up to frame t + look_ahead and nothing after.
    """

    def __init__(self, config: VocoderConfig, spec: MelSpec) -> None:
        super().__init__()
        self.config = config
        self.spec = spec
        self.bands, self.bins = spec.n_mels, spec.n_fft // 2 + 1
        self.patches = patches(config, spec)
        self.known = self.patches * config.patch  # bins with a guess
        local = config.local
        self.enter = nn.Linear(config.entry * spec.n_mels + 2 * config.low, config.channels)
        self.blocks = nn.ModuleList(CausalBlock(config) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(config.channels)
        self.leave = nn.Linear(config.channels, self.known)
        self.above = nn.Linear(config.channels, config.air)
        self.near = nn.Linear(4 * config.patch + 2, local)
        self.place = nn.Parameter(0.1 * torch.randn(self.patches, local))
        self.context = nn.Linear(config.channels, local)
        self.deepen = nn.Linear(local, 2 * local)
        self.shallow = nn.Linear(2 * local, local)
        self.settle = nn.LayerNorm(local)
        self.correct = nn.Linear(local, config.patch)
        for last in (self.leave, self.above, self.correct):  # untrained, it returns the guess
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    @property
    def before(self) -> int:
        """Mel frames before frame t that it reads directly."""
        return self.config.entry - self.config.look_ahead - 1

    def nothing(self, items: int) -> list[Tensor]:
        """Return the blocks' past before any sound."""
        shape = (items, self.config.kernel, self.config.channels)
        return [torch.zeros(shape) for _ in self.blocks]

    def forward(self, mel: Tensor, guess: Tensor) -> Tensor:
        """Return log magnitudes (B, T, F) for a whole mel (B, M, T) and its guess (B, T, known)."""
        frames = mel.transpose(1, 2)
        silence = frames.new_full((len(mel), self.before, self.bands), SILENT)
        held = frames[:, -1:].expand(-1, self.config.look_ahead, -1)
        whole = torch.cat([silence, frames, held], dim=1)
        return self.advance(whole, torch.cat([guess, guess[:, -1:]], dim=1), self.nothing(len(mel)))[0]

    def advance(self, frames: Tensor, guess: Tensor, past: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Return log magnitudes (B, T, F) and the blocks' new past.

        Takes mel frames (B, entry - 1 + T, M), starting `before` frames early, and guesses (B, T + 1, known).
        """
        config = self.config
        windows = frames.unfold(1, config.entry, 1).transpose(2, 3).flatten(2)  # (B, T, entry * M)
        guess, after = guess[:, :-1], guess[:, 1:]
        low = (guess[..., : config.low] / SPREAD + CENTRE, (after - guess)[..., : config.low] / SPREAD)
        hidden = self.enter(torch.cat([windows, *low], dim=-1))
        kept = []
        for block, before in zip(self.blocks, past, strict=True):
            hidden, left = block(hidden, before)
            kept.append(left)
        hidden = self.norm(hidden)
        known = guess + self.leave(hidden).float() + self._local(guess, after, hidden)
        return torch.cat([known, self._air(known, hidden)], dim=-1), kept

    def _local(self, guess: Tensor, after: Tensor, hidden: Tensor) -> Tensor:
        """Return a correction (B, T, known), computed per patch from the guess in it and half a patch on both sides."""
        patch, half = self.config.patch, self.config.patch // 2
        both = functional.pad(torch.stack([guess, after], dim=1).flatten(0, 1), (half, half), mode="replicate")
        around = (
            both.unfold(2, 2 * patch, patch).view(-1, 2, *guess.shape[1:2], self.patches, 2 * patch).transpose(1, 2)
        )
        mean = around.mean(-1, keepdim=True)
        level, change = mean[:, :, :1] / SPREAD + CENTRE, (mean[:, :, 1:] - mean[:, :, :1]) / SPREAD
        shape = (around - mean[:, :, :1]) / SPREAD
        shape = torch.cat([shape[:, :, 0], shape[:, :, 1], level[:, :, 0], change[:, :, 0]], dim=-1)
        inside = functional.gelu(self.near(shape) + self.place + self.context(hidden)[:, :, None])
        inside = inside + self.shallow(functional.gelu(self.deepen(self.settle(inside))))
        out: Tensor = self.correct(inside).float()
        return out.flatten(2)

    def _air(self, known: Tensor, hidden: Tensor) -> Tensor:
        """Return log magnitudes (B, T, F - known) above the mel's range: a coarse curve continuing its upper end."""
        top = known[..., -self.config.patch :].mean(-1, keepdim=True)
        curve = functional.interpolate(self.above(hidden).float(), self.bins - self.known, mode="linear")
        return top + curve
