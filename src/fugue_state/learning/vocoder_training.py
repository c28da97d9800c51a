"""Training a vocoder on the sounds of a corpus, compared with the original sounds."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from joblib import Parallel, delayed
from torch import Tensor
from torch.nn import functional

from fugue_state.audio.compiled import in_threads
from fugue_state.audio.integrate import Grid, realtime_phase
from fugue_state.config import (
    AUTO,
    COMPARED_HZ,
    COMPARED_WINDOWS,
    HEARING_STEPS_NEEDED,
    SLICE_AUTO,
    ClipConfig,
    HearConfig,
    MelSpec,
    VocoderConfig,
)
from fugue_state.corpus.folder import Clip, Corpus
from fugue_state.corpus.slices import read_clips, ready
from fugue_state.errors import CorpusError, InputError
from fugue_state.learning.arrays import Arrays, fill, net_as_played
from fugue_state.learning.degrade import degrade, noise_like
from fugue_state.learning.learner import Learner, RunSettings, keyed_random
from fugue_state.learning.run import Run
from fugue_state.learning.vocoder import MagnitudeNet
from fugue_state.memory import vocoder
from fugue_state.memory.catalogue import DataSource, VocoderHeader, check_same_mel
from fugue_state.memory.checkpoint import load_vocoder, save_vocoder
from fugue_state.memory.memory import VOCODER_FILE
from fugue_state.memory.vocoder import QUIETEST, LearnedMagnitudes, Unlearned
from fugue_state.progress import Track, untracked

RANGE_DB = 62.0  # quieter bins, relative to the loudest, are not compared
NEPER_DB = 20.0 / math.log(10.0)
WARM_UP = 200
SPARE = 1.25  # times a segment's length is read from each clip, to allow for faster playing
CHUNK = 64
TRIAL_CHANNELS = 32  # size of the network that quickly shows what is hopelessly slow

Examine = Callable[[vocoder.MagnitudeNet], Mapping[str, float]]


class VocoderRun(RunSettings):
    """The settings of a vocoder's run."""

    guessed: ClassVar[bool] = True
    vocoder: VocoderConfig
    mel: MelSpec
    slicing: str = SLICE_AUTO
    hear: HearConfig
    data: tuple[DataSource, ...] = ()

    @property
    def needed(self) -> int:
        """Steps after which it is worth hearing."""
        return HEARING_STEPS_NEEDED

    @property
    def width(self) -> int:
        """Channels of the network."""
        return self.vocoder.channels

    def as_wide(self, width: int) -> Self:
        """Return these settings with another number of channels."""
        return self.model_copy(update={"vocoder": self.vocoder.model_copy(update={"channels": width})})

    def shrunk(self, processes: int) -> Self:
        """Return these settings with few channels and a small batch."""
        return self.as_wide(min(TRIAL_CHANNELS, self.width))._computed(batch=2 * processes)

    def ways(self, before: Self | None) -> dict[str, Self]:
        """Return the precisions that are left open."""
        precisions = ("fp32", "bf16") if self.hear.precision == AUTO else (self.hear.precision,)
        first = sorted(precisions, key=lambda one: before is None or one != before.hear.precision)
        return {precision: self._computed(precision=precision) for precision in first}

    def _computed(self, **values: object) -> Self:
        return self.model_copy(update={"hear": self.hear.model_copy(update=values)})


def load_sounds(corpus: Corpus, spec: MelSpec, config: HearConfig, track: Track = untracked) -> Tensor:
    """Return the training clips of a corpus as int16 (n, N) at the MelSpec's rate; a selection if there are many.

    Raises CorpusError if none can be read.
    """
    clips = corpus.part("Training")
    if len(clips) > config.clips:
        chosen = torch.randperm(len(clips), generator=keyed_random(config.seed, 4))[: config.clips]
        clips = [clips[i] for i in sorted(chosen.tolist())]
    chunks = [clips[i : i + CHUNK] for i in range(0, len(clips), CHUNK)]
    made = Parallel(n_jobs=-1, return_as="generator")(delayed(_read)(chunk, spec) for chunk in chunks)
    parts = [part for part in track(made, len(chunks), "sounds") if len(part)]
    if not parts:
        raise CorpusError(f"{corpus.root}: no clip of it can be read")
    return torch.cat(parts)


def _read(clips: list[Clip], spec: MelSpec) -> Tensor:
    length, found = round(SPARE * spec.samples), []
    for heard_clip in read_clips(clips):
        if heard_clip.fault:
            continue
        sound = ready(heard_clip, spec.sample_rate_hz, length, ClipConfig())
        found.append((torch.from_numpy(sound).clamp(-1.0, 1.0) * 32_767).to(torch.int16))
    return torch.stack(found) if found else torch.empty(0, length, dtype=torch.int16)


def draw_sounds(clips: Tensor, spec: MelSpec, config: HearConfig, random: torch.Generator) -> Tensor:
    """Draw the sounds of a step (B, N) from clips (n, N') of `load_sounds`: some mixed, some with noise."""
    sounds = torch.stack([_draw_sound(clips, spec, random) for _ in range(config.batch)])
    for item in range(config.batch):
        first, second = torch.rand(2, generator=random).tolist()
        if first < config.mixed:
            sounds[item] += sounds[item - 1] * second
        elif first < config.mixed + config.noisy:
            sounds[item] += noise_like(sounds[item], random)
    return sounds


def _draw_sound(clips: Tensor, spec: MelSpec, random: torch.Generator) -> Tensor:
    """Draw one sound (N,): at a pitch near the clip's own, beginning anywhere, at any level."""
    length = spec.samples
    draw = torch.rand(6, generator=random).tolist()
    sound = clips[int(draw[0] * len(clips))].float() / 32_768
    if draw[1] < 0.6:
        faster = 2.0 ** (0.6 * draw[2] - 0.3)
        sound = functional.interpolate(sound[None, None], scale_factor=1.0 / faster, mode="linear")[0, 0]
    sound = functional.pad(sound, (0, max(0, length - len(sound))))
    begin = int(max(0.0, draw[3] - 0.6) / 0.4 * (len(sound) - length))  # mostly at the onset
    late = int(max(0.0, draw[4] - 0.7) / 0.3 * 8 * spec.hop)
    sound = functional.pad(sound[begin : begin + length], (late, 0))[:length]
    level: float = 10.0 ** ((18.0 * draw[5] - 12.0) / 20.0)
    return sound * level


class Listener(Learner):
    """The network of a vocoder, trained on sounds drawn from clips (n, N') of `load_sounds`.

    `start` is the file of a vocoder to continue from.
    """

    kind: ClassVar[str] = "vocoder training state"
    columns: ClassVar[tuple[str, ...]] = ("magnitude", "convergence", "sound")
    leaves: ClassVar[tuple[str, ...]] = (VOCODER_FILE,)

    def __init__(self, run: VocoderRun, sounds: Tensor, start: Path | None = None) -> None:
        super().__init__(run)
        self.run, self._sounds = run, sounds
        torch.manual_seed(run.hear.seed)
        self.net = MagnitudeNet(run.vocoder, run.mel)
        if start is not None:
            fill(self.net, _started(start, run), start)
        self.average = copy.deepcopy(self.net)
        self._plain = LearnedMagnitudes(Unlearned(run.mel), run.mel)
        self._transform, self._grid = self._plain.transform, Grid(run.mel.n_fft, run.mel.hop)
        self._window = torch.from_numpy(self._transform.window)
        self._optimizer = torch.optim.AdamW(self.net.parameters(), run.hear.rate, betas=(0.9, 0.99), weight_decay=0.01)

    def step(self, left: float = 1.0) -> dict[str, float]:
        """Take a step at a learning rate that falls with the budget; return the losses."""
        hear = self.run.hear
        rate = hear.rate * min(1.0, (self.step_count + 1) / WARM_UP) * (0.5 - 0.5 * math.cos(math.pi * left))
        self._optimizer.param_groups[0]["lr"] = rate
        losses = self._losses(*self._batch(keyed_random(hear.seed, 1, self.step_count)))
        total = losses[0] + hear.convergence_weight * losses[1] + hear.sound_weight * losses[2]
        self._check(total, "the loss", "a lower --rate")
        self._optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 5.0)
        self._optimizer.step()
        self._average(self.average, self.net, hear.average_decay)
        self.step_count += 1
        return dict(zip(self.columns, torch.stack(losses).tolist(), strict=True))

    def networks(self) -> Mapping[str, torch.nn.Module]:
        """Return the network being trained, and its average."""
        return {"net": self.net, "average": self.average}

    def optimizers(self) -> Mapping[str, Any]:
        """Return the only optimizer."""
        return {"adam": self._optimizer}

    def _batch(self, random: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Draw sounds (B, N), their mels, the (perhaps degraded) magnitudes of those, and which are intact (B,)."""
        spec, hear = self.run.mel, self.run.hear
        sounds = draw_sounds(self._sounds, spec, hear, random)
        spectrum = torch.stft(
            sounds, spec.n_fft, spec.hop, window=self._window, pad_mode="constant", return_complex=True
        )
        true = spectrum.abs().transpose(1, 2)[:, : spec.frames] * self._transform.unit_gain
        true, whole = degrade(true, random, hear.degraded)
        return sounds, torch.from_numpy(self._transform.encode_magnitude(true.numpy())), true, whole

    def _losses(self, sounds: Tensor, mel: Tensor, true: Tensor, whole: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the magnitudes' log-spectral error (dB), their relative error, and the sound's error (dB)."""
        guess = torch.from_numpy(self._plain.guess(mel.numpy())[..., : self.net.known])
        with torch.autocast("cpu", torch.bfloat16, enabled=self.run.hear.precision == "bf16"):
            logs = self.net(mel, guess)
        found = (logs.exp() - float(QUIETEST)).clamp_min(0.0)
        relative = (found - true).square().sum((1, 2)) / true.square().sum((1, 2)).clamp_min(1e-6)
        return _distance_db(found, true), (relative + 1e-6).sqrt().mean(), self._sound_distance(found, sounds, whole)

    def _sound_distance(self, found: Tensor, sounds: Tensor, whole: Tensor) -> Tensor:
        """Return the distance between the sound made from the magnitudes and the original, for intact items.

        The phase is integrated from the same magnitudes, as when playing; gradients flow through the magnitudes only.
        """
        if not whole.any():
            return torch.zeros(())
        magnitude, sounds = found[whole] / self._transform.unit_gain, sounds[whole]
        seed, turned = self.run.hear.seed, self._grid.from_centre()
        phases = in_threads(
            lambda item: realtime_phase(item, self._grid, seed) + turned, list(magnitude.detach().numpy())
        )
        made = self._synthesize(torch.polar(magnitude, torch.from_numpy(np.stack(phases))))
        made, sounds = made[:, : -self.run.mel.n_fft], sounds[:, : made.shape[1] - self.run.mel.n_fft]
        distances = []
        for n_fft in COMPARED_WINDOWS:
            bins = int(COMPARED_HZ / self.run.mel.sample_rate_hz * n_fft)
            one, other = (analyse(s, n_fft)[..., : min(bins, n_fft // 2)] for s in (made, sounds))
            distances.append(_distance_db(one, other))
        return torch.stack(distances).mean()

    def _synthesize(self, spectrum: Tensor) -> Tensor:
        """Overlap-add (B, T, F) into (B, N), differentiably."""
        window, grid = self._window, self._grid
        frames = torch.fft.irfft(spectrum, n=grid.n_fft) * window
        weights = (window**2).expand(1, frames.shape[1], grid.n_fft)

        def added(parts: Tensor) -> Tensor:
            length = (parts.shape[1] - 1) * grid.hop + grid.n_fft
            return functional.fold(parts.transpose(1, 2), (1, length), (1, grid.n_fft), stride=(1, grid.hop))[:, 0, 0]

        return (added(frames) / added(weights).clamp_min(1e-3))[:, grid.n_fft // 2 :]


def analyse(sound: Tensor, n_fft: int) -> Tensor:
    """Return magnitudes (B, T, F) whose gradient is finite everywhere."""
    window = torch.hann_window(n_fft)
    spectrum = torch.stft(sound, n_fft, n_fft // 4, window=window, pad_mode="constant", return_complex=True)
    power: Tensor = torch.view_as_real(spectrum).square().sum(-1)
    return (power + 1e-12).sqrt().transpose(1, 2)


def _distance_db(found: Tensor, true: Tensor) -> Tensor:
    """Return the log-spectral distance of magnitudes (B, T, F), ignoring levels far below the loudest bin.

    Root mean square over frequency, mean over time (Gray and Markel, 1976).
    """
    least = true.amax((1, 2), keepdim=True).clamp_min(1e-4) * 10.0 ** (-RANGE_DB / 20.0)
    difference = NEPER_DB * ((found + least).log() - (true + least).log())
    distance: Tensor = (difference.square().mean(2) + 0.01).sqrt()
    return distance.mean()


def hear(
    run: Run,
    settings: VocoderRun,
    sounds: Tensor,
    *,
    start: Path | None = None,
    examine: Examine = lambda _: {},
) -> VocoderHeader:
    """Train a vocoder until the run ends, and leave it in its folder, with what `examine` measures at the end.

    The learning rate falls to 0 at the end of the budget, so a resumed run starts at a high rate again. `start` is a
    vocoder to continue from. Other processes are kept out of the folder. Raises as `train` of a memory.
    """
    run.check(settings)
    listener = Listener(settings, sounds, start)
    header = _header(listener)

    def keep(last: bool) -> None:
        nonlocal header
        net = net_as_played(listener.average)
        header = _header(listener, examine(net) if last else {})
        save_vocoder(run.folder / VOCODER_FILE, net, header)

    with run:
        run.learn(listener, keep)
    return header


def _header(listener: Listener, metrics: Mapping[str, float] | None = None) -> VocoderHeader:
    run = listener.run
    return VocoderHeader(
        config=run.vocoder,
        mel=run.mel,
        seed=run.hear.seed,
        steps=listener.step_count,
        data=run.data,
        metrics=dict(metrics or {}),
    )


def _started(path: Path, run: VocoderRun) -> Arrays:
    net, header = load_vocoder(path)
    check_same_mel(header.mel, run.mel, f"{path}: it")
    if header.config != run.vocoder:
        raise InputError(f"{path}: its network is {header.config}, this run's is {run.vocoder}")
    return net.tensors
