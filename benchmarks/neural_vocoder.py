"""Does a network that turns a mel straight into sound beat learned magnitudes with integrated phase? Prints JSON.

    python benchmarks/neural_vocoder.py [MODEL] --against CORPUS [--minutes 60] [--channels 160] [--blocks 5]
        [--batch 4] [--adversarial-after 0.33] [--clips 48] [--latents 2] [--json-only]

The network is trained for as long as asked on the Training part of the corpus, on sounds drawn as those are that a
memory's own vocoder learns of; its rate falls to nothing over that time. ConvNeXt blocks read the mel of this memory
and give magnitude and phase of every bin (Vocos; Siuzdak, 2023). It learns to have the spectra of what it should
sound like, and from --adversarial-after of the time on to deceive networks that tell it from real sounds by their
periods (HiFi-GAN; Kong et al., 2020) and by their spectra (UnivNet; Jang et al., 2021). Ctrl-C ends the training early.

Then it and the memory's own ways get the same held-out clips, and the same mels of the half-forgotten memory, which
are of no sound: how far is the mel of what each makes of them? Measures as in `benchmarks/inversion.py`.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from itertools import chain, pairwise

import numpy as np
import torch
from inversion import Figures, Say, batched, faithful, forgotten_mels, held_out, speed
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

from fugue_state.arrays import Array
from fugue_state.audio.mel import MelTransform
from fugue_state.config import (
    COMPARED_WINDOWS,
    DEFAULT_MEMORY,
    WITHOUT_VOCODER,
    HearConfig,
    InverterName,
    MelSpec,
    QualityName,
    VocoderConfig,
)
from fugue_state.corpus.folder import Corpus, read_corpus
from fugue_state.errors import TrainingError
from fugue_state.learning.learner import keyed_random
from fugue_state.learning.vocoder_training import analyse, draw_sounds, load_sounds
from fugue_state.measure.fidelity import mel_error
from fugue_state.memory.memory import Memory
from fugue_state.memory.vocoder import MagnitudeNet

NEURAL = "neural"
KERNEL, EXPANSION = 7, 3
PERIODS, PERIOD_MAPS = (2, 3, 5, 7, 11), (16, 32, 64, 128)
RESOLUTIONS, SPECTRUM_MAPS = (512, 1024, 2048), 8
CROP = 64  # frames that a step sees of each sound
RATE, BETAS = 5e-4, (0.8, 0.9)
LEAK = 0.1
LOSSES = ("mel", "spectrum", "adversarial", "features", "judges")
LAST = 50  # steps whose losses are told
SAY_EVERY_S = 30.0


class Block(nn.Module):
    """A ConvNeXt block (Liu et al., 2022) that looks both ways: (B, C, T) to the same."""

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        self.mix = nn.Conv1d(channels, channels, KERNEL, padding=KERNEL // 2, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.widen = nn.Linear(channels, EXPANSION * channels)
        self.narrow = nn.Linear(EXPANSION * channels, channels)
        self.scale = nn.Parameter(torch.full((channels,), 1.0 / blocks))

    def forward(self, frames: Tensor) -> Tensor:
        """Return what comes of frames (B, C, T)."""
        hidden = self.norm(self.mix(frames).transpose(1, 2))
        out: Tensor = self.scale * self.narrow(functional.gelu(self.widen(hidden)))
        return frames + out.transpose(1, 2)


class DirectVocoder(nn.Module):
    """A mel (B, M, T) to sound (B, T * hop), by magnitude and phase of an STFT on the mel's own grid."""

    def __init__(self, spec: MelSpec, channels: int, blocks: int) -> None:
        super().__init__()
        self._spec, self._window = spec, torch.hann_window(spec.n_fft)
        self._loudest = math.log(float(self._window.sum()))
        self.enter = nn.Conv1d(spec.n_mels, channels, KERNEL, padding=KERNEL // 2)
        self.first = nn.LayerNorm(channels)
        self.blocks = nn.Sequential(*(Block(channels, blocks) for _ in range(blocks)))
        self.last = nn.LayerNorm(channels)
        self.leave = nn.Linear(channels, spec.n_fft + 2)
        for layer in self.modules():
            if isinstance(layer, nn.Conv1d | nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)

    def forward(self, mel: Tensor) -> Tensor:
        """Return the sound of a mel."""
        hidden = self.first(self.enter(mel).transpose(1, 2)).transpose(1, 2)
        hidden = self.last(self.blocks(hidden).transpose(1, 2))
        level, angle = self.leave(hidden).chunk(2, dim=-1)
        return self._sound(torch.polar(level.clamp_max(self._loudest).exp(), angle))

    def _sound(self, spectrum: Tensor) -> Tensor:
        n_fft, hop, length = self._spec.n_fft, self._spec.hop, spectrum.shape[1] * self._spec.hop
        return torch.istft(spectrum.transpose(1, 2), n_fft, hop, window=self._window, length=length)


class PeriodJudge(nn.Module):
    """Judges a sound (B, N) by every sample a period apart: the maps of all layers, the last its verdict."""

    def __init__(self, period: int) -> None:
        super().__init__()
        self._period = period
        sizes = (1, *PERIOD_MAPS)
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(one, other, (5, 1), (3, 1), (2, 0))) for one, other in pairwise(sizes)
        )
        self.verdict = weight_norm(nn.Conv2d(sizes[-1], 1, (3, 1), padding=(1, 0)))

    def forward(self, sound: Tensor) -> list[Tensor]:
        """Judge."""
        whole = functional.pad(sound[:, None], (0, -sound.shape[1] % self._period), mode="reflect")
        folded = whole.view(len(sound), 1, -1, self._period)
        return judged(folded, self.layers, self.verdict)


class SpectrumJudge(nn.Module):
    """Judges a sound (B, N) by its magnitudes: the maps of all layers, the last its verdict."""

    def __init__(self, n_fft: int) -> None:
        super().__init__()
        self._n_fft = n_fft
        sizes = (1, *(SPECTRUM_MAPS,) * 4)
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(one, other, (3, 9), (1, 2), (1, 4))) for one, other in pairwise(sizes)
        )
        self.verdict = weight_norm(nn.Conv2d(sizes[-1], 1, 3, padding=1))

    def forward(self, sound: Tensor) -> list[Tensor]:
        """Judge."""
        return judged(analyse(sound, self._n_fft)[:, None], self.layers, self.verdict)


def judged(hidden: Tensor, layers: Iterable[nn.Module], verdict: nn.Module) -> list[Tensor]:
    """Return the maps of all layers and the verdict."""
    maps = []
    for layer in layers:
        hidden = functional.leaky_relu(layer(hidden), LEAK)
        maps.append(hidden)
    return [*maps, verdict(hidden)]


class Judges(nn.Module):
    """All of them; each alone may be deceived."""

    def __init__(self) -> None:
        super().__init__()
        by_period = (PeriodJudge(period) for period in PERIODS)
        by_spectrum = (SpectrumJudge(n_fft) for n_fft in RESOLUTIONS)
        self.each = nn.ModuleList(chain(by_period, by_spectrum))

    def forward(self, sound: Tensor) -> list[list[Tensor]]:
        """Judge a sound (B, N)."""
        return [judge(sound) for judge in self.each]


class Contest:
    """The vocoder, its judges, and a step of either; what a step sees depends on its number alone."""

    def __init__(self, spec: MelSpec, clips: Tensor, options: argparse.Namespace) -> None:
        self._spec, self._clips, self._options = spec, clips, options
        self._hear = HearConfig(batch=options.batch, seed=options.seed)
        self._transform = MelTransform(spec)
        self._filters = torch.from_numpy(self._transform.filters.T)
        self._least = 10.0 ** (spec.floor_db / 20.0) / self._transform.unit_gain
        torch.manual_seed(options.seed)
        self.net, self.judges = DirectVocoder(spec, options.channels, options.blocks), Judges()
        self.steps = 0
        self._makes, self._tells = (torch.optim.AdamW(n.parameters(), RATE, BETAS) for n in (self.net, self.judges))

    def step(self, share: float) -> dict[str, float]:
        """Take a step after this share of the time; return the losses."""
        for optimizer in (self._makes, self._tells):
            optimizer.param_groups[0]["lr"] = RATE * (0.5 + 0.5 * math.cos(math.pi * min(share, 1.0)))
        sounds, mels = self._batch(keyed_random(self._options.seed, 1, self.steps))
        made = self.net(mels)
        losses = dict.fromkeys(LOSSES, torch.zeros(()))
        losses["mel"], losses["spectrum"] = self._near(made, sounds)
        total = self._options.mel_weight * losses["mel"] + self._options.spectrum_weight * losses["spectrum"]
        if share >= self._options.adversarial_after:
            losses["judges"] = self._told_apart(made.detach(), sounds)
            losses["adversarial"], losses["features"] = self._deceived(made, sounds)
            total = total + losses["adversarial"] + losses["features"]
        self._descend(self._makes, total)
        self.steps += 1
        return {name: float(loss.detach()) for name, loss in losses.items()}

    def _batch(self, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw sounds (B, CROP * hop) and the mels (B, M, CROP) of just them."""
        sounds = draw_sounds(self._clips, self._spec, self._hear, random)
        mels = torch.from_numpy(self._transform.encode(sounds.numpy()))
        crop, hop = min(CROP, self._spec.frames), self._spec.hop
        begins = torch.randint(self._spec.frames - crop + 1, (len(sounds),), generator=random).tolist()
        cut_sounds = [s[b * hop : (b + crop) * hop] for s, b in zip(sounds, begins, strict=True)]
        cut_mels = [m[:, b : b + crop] for m, b in zip(mels, begins, strict=True)]
        return torch.stack(cut_sounds), torch.stack(cut_mels)

    def _near(self, made: Tensor, sounds: Tensor) -> tuple[Tensor, Tensor]:
        """Return how far the mel, and the spectra in several resolutions, lie from what they should be: nepers."""
        mel = self._apart(*(analyse(s, self._spec.n_fft) @ self._filters for s in (made, sounds)))
        spectra = [self._apart(*(analyse(s, window) for s in (made, sounds))) for window in COMPARED_WINDOWS]
        return mel, torch.stack(spectra).mean()

    def _apart(self, made: Tensor, true: Tensor) -> Tensor:
        """Return the mean difference of levels; what the mel cannot tell from silence hardly counts."""
        return functional.l1_loss((made + self._least).log(), (true + self._least).log())

    def _told_apart(self, made: Tensor, sounds: Tensor) -> Tensor:
        """Let the judges learn; return their hinge loss."""
        pairs = zip(self.judges(sounds), self.judges(made), strict=True)
        loss = torch.stack([(1.0 - real[-1]).relu().mean() + (1.0 + false[-1]).relu().mean() for real, false in pairs])
        self._descend(self._tells, loss.mean())
        return loss.mean()

    def _deceived(self, made: Tensor, sounds: Tensor) -> tuple[Tensor, Tensor]:
        """Return the hinge loss of what the judges say of a sound made, and how far it lies from a real one in them."""
        self.judges.requires_grad_(False)
        with torch.no_grad():
            real = self.judges(sounds)
        false = self.judges(made)
        self.judges.requires_grad_(True)
        hinge = torch.stack([(1.0 - maps[-1]).relu().mean() for maps in false]).mean()
        both = zip(chain(*(maps[:-1] for maps in false)), chain(*(maps[:-1] for maps in real)), strict=True)
        return hinge, torch.stack([functional.l1_loss(one, other) for one, other in both]).sum() / len(real)

    def _descend(self, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
        if not torch.isfinite(loss):
            raise TrainingError(f"step {self.steps}: the loss is {loss.item()}")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def learn(contest: Contest, minutes: float, say: Say) -> Figures:
    """Train until the time is over or Ctrl-C; return steps, minutes and the last losses."""
    last: deque[dict[str, float]] = deque(maxlen=LAST)
    begin = said = time.monotonic()
    try:
        while (elapsed := time.monotonic() - begin) < minutes * 60.0:
            last.append(contest.step(elapsed / (minutes * 60.0)))
            if time.monotonic() - said > SAY_EVERY_S:
                said = time.monotonic()
                say(f"step {contest.steps}: {means(last)}")
    except KeyboardInterrupt:
        say("stopped")
    elapsed = time.monotonic() - begin
    return {"steps": contest.steps, "minutes": round(elapsed / 60.0, 2), "losses": means(last)}


def means(losses: Iterable[dict[str, float]]) -> dict[str, float]:
    """Return the mean of each loss; none at all without a step."""
    found = list(losses)
    return {name: round(statistics.fmean(one[name] for one in found), 4) for name in LOSSES} if found else {}


def own_ways(memory: Memory) -> dict[str, Callable[[Array], Array]]:
    """Return what the network is compared with: the memory's own inverter and the lobes."""
    names: dict[str, tuple[InverterName, QualityName]] = {
        f"{name} {quality}": (name, quality)
        for name in (memory.own_inverter, WITHOUT_VOCODER)
        for quality in ("draft", "final")
    }
    return {shown: memory.make_inverter(*which) for shown, which in names.items()}


def direct(net: DirectVocoder) -> Callable[[Array], Array]:
    """Return the trained network as a way from mels (B, M, T) to sounds (B, N)."""
    net.eval()

    def invert(mels: Array) -> Array:
        with torch.inference_mode():
            return np.asarray(net(torch.from_numpy(mels)).numpy())

    return invert


def measure_way(
    invert: Callable[[Array], Array], memory: Memory, sounds: Array, forgotten: dict[str, Array]
) -> Figures:
    """Measure one way: on held-out clips (n, N), and on half-forgotten mels."""
    spec, transform = memory.spec, MelTransform(memory.spec)
    mels = transform.encode(sounds)
    made = batched(invert, mels)
    by_order = {what: mel_error(m, batched(invert, m), transform) for what, m in forgotten.items()}
    each = {what: round(float(error.mean()), 3) for what, error in by_order.items()}
    return {
        **faithful(sounds, made, spec.sample_rate_hz),
        "mel_error_db": round(float(mel_error(mels, made, transform).mean()), 3),
        **speed(invert, mels, spec.duration_s),
        "forgotten_mel_error_db": each | {"mean": round(statistics.mean(each.values()), 3)},
    }


def measure(options: argparse.Namespace, say: Say) -> Figures:
    """Train, then measure all ways."""
    memory, corpus = Memory.load(options.model), read_corpus(options.against)
    config = VocoderConfig() if memory.net is None else memory.net.config
    sounds = test_sounds(corpus, memory.spec, options)
    forgotten = dict(forgotten_mels(memory, options.latents, options.seed))
    say("sounds")
    clips = load_sounds(corpus, memory.spec, HearConfig(seed=options.seed))
    contest = Contest(memory.spec, clips, options)
    told: Figures = {
        "memory": memory.header.name,
        "parameters": {
            NEURAL: parameters(contest.net),
            "judges": parameters(contest.judges),
            "vocoder": sum(map(math.prod, MagnitudeNet.shapes(config, memory.spec).values())),
        },
        "training_clips": len(clips),
        "threads": torch.get_num_threads(),
    } | learn(contest, options.minutes, say)
    rows = {}
    for name, invert in {NEURAL: direct(contest.net), **own_ways(memory)}.items():
        say(name)
        rows[name] = measure_way(invert, memory, sounds, forgotten)
    return told | {"clips": len(sounds), "ways": rows}


def test_sounds(corpus: Corpus, spec: MelSpec, options: argparse.Namespace) -> Array:
    """Return the held-out clips (n, N) that are measured, all labels alike."""
    per_class = -(-options.clips // max(len(corpus.labels), 1))
    return held_out(corpus.part("Test"), spec, per_class, options.clips, options.seed).sounds


def parameters(net: nn.Module) -> int:
    """Return how many numbers a network has learned."""
    return sum(p.numel() for p in net.parameters())


def parsed(words: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=DEFAULT_MEMORY)
    parser.add_argument("--against", required=True, help="corpus to learn of and, its Test part, to be measured on")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--batch", type=int, default=HearConfig().batch)
    parser.add_argument("--channels", type=int, default=160)
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--adversarial-after", type=float, default=1.0 / 3.0, help="share of the time, 1 for never")
    parser.add_argument("--mel-weight", type=float, default=45.0)
    parser.add_argument("--spectrum-weight", type=float, default=15.0)
    parser.add_argument("--clips", type=int, default=48)
    parser.add_argument("--latents", type=int, default=2, help="half-forgotten mels of each chord")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json-only", action="store_true", help="do not say what is being done")
    return parser.parse_args(words)


def main() -> None:
    """Run the measurement."""
    options = parsed()
    told = measure(options, (lambda _: None) if options.json_only else partial(print, file=sys.stderr, flush=True))
    print(json.dumps(told))


if __name__ == "__main__":
    main()
