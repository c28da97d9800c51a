"""Learning to hear: a vocoder trained on the sounds of a corpus, against what they really were."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from joblib import Parallel, delayed
from torch import Tensor
from torch.nn import functional
from torch.optim.swa_utils import get_ema_multi_avg_fn

from fugue_state.audio.integrate import Grid, realtime_phase
from fugue_state.config import (
    AUTO,
    COMPARED_HZ,
    COMPARED_WINDOWS,
    HEARING_STEPS_NEEDED,
    Budget,
    ClipConfig,
    HearConfig,
    MelSpec,
    PrecisionName,
    Settings,
    VocoderConfig,
)
from fugue_state.corpus.folder import Clip, Corpus
from fugue_state.corpus.slices import read_clips, ready
from fugue_state.errors import CorpusError, InputError, TrainingError
from fugue_state.learning.degrade import degrade, noise_like
from fugue_state.learning.memory_training import (
    LossLog,
    Progress,
    begin_run,
    check_run,
    keep_run,
    keyed_random,
    remaining_s,
    spent,
)
from fugue_state.learning.pace import CLEARLY, SLOWER, Pace, find_pace
from fugue_state.memory.catalogue import DataSource, VocoderHeader, check_same_mel
from fugue_state.memory.checkpoint import fill, load_vocoder, read_tensors, save_vocoder, write_tensors
from fugue_state.memory.memory import VOCODER_FILE
from fugue_state.memory.vocoder import NEPER_DB, LearnedMagnitudes, MagnitudeNet, heard
from fugue_state.progress import Track, untracked

STATE_FILE, LOSS_FILE = "state.safetensors", "losses.csv"
STATE_KIND = "vocoder training state"
COLUMNS = ("step", "magnitude", "convergence", "sound", "seconds")
RANGE_DB = 62.0  # what lies further below the loudest bin is not asked for
WARM_UP = 200
SPARE = 1.25  # of a segment's length: what is read of a clip, for faster playing
CHUNK = 64
TRIAL_CHANNELS = 32  # of the network that finds out what is hopeless


class HearRun(Settings):
    """Everything that decides what a vocoder learns; a run is only ever continued with the same."""

    vocoder: VocoderConfig
    mel: MelSpec
    hear: HearConfig
    data: tuple[DataSource, ...] = ()


def load_sounds(corpus: Corpus, spec: MelSpec, config: HearConfig, track: Track = untracked) -> Tensor:
    """Return the training clips of a corpus, as int16 (n, N) at the MelSpec's rate; some of them, if they are many.

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
    """Draw the sounds of a step (B, N) from clips (n, N') as of `load_sounds`: some mixed, some with noise."""
    sounds = torch.stack([_draw_sound(clips, spec, random) for _ in range(config.batch)])
    for item in range(config.batch):
        first, second = torch.rand(2, generator=random).tolist()
        if first < config.mixed:
            sounds[item] += sounds[item - 1] * second
        elif first < config.mixed + config.noisy:
            sounds[item] += noise_like(sounds[item], random)
    return sounds


def _draw_sound(clips: Tensor, spec: MelSpec, random: torch.Generator) -> Tensor:
    """Draw one sound (N,): of any pitch near a clip's own, beginning anywhere, at any level."""
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


class Listener:
    """Network, optimizer and averaged weights; what a step sees depends on its number alone."""

    def __init__(self, run: HearRun, sounds: Tensor, start: Mapping[str, Tensor] | None = None) -> None:
        self.run, self.step_count = run, 0
        self._sounds = sounds
        torch.manual_seed(run.hear.seed)
        self.net = MagnitudeNet(run.vocoder, run.mel)
        if start is not None:
            self.net.load_state_dict(start)
        self.average = copy.deepcopy(self.net)
        self._learned = LearnedMagnitudes(self.average, run.mel)
        self._transform, self._grid = self._learned.transform, Grid(run.mel.n_fft, run.mel.hop)
        self._optimizer = torch.optim.AdamW(self.net.parameters(), run.hear.rate, betas=(0.9, 0.99), weight_decay=0.01)

    def step(self, left: float) -> dict[str, float]:
        """Take a step, at a rate that falls with the part of the budget that is left; return the losses."""
        hear = self.run.hear
        rate = hear.rate * min(1.0, (self.step_count + 1) / WARM_UP) * (0.5 - 0.5 * math.cos(math.pi * left))
        self._optimizer.param_groups[0]["lr"] = rate
        losses = self._losses(*self._batch(keyed_random(hear.seed, 1, self.step_count)))
        total = losses[0] + hear.convergence_weight * losses[1] + hear.sound_weight * losses[2]
        if not torch.isfinite(total):
            raise TrainingError(f"step {self.step_count}: the loss is {total.item()}; a lower --rate may help")
        self._optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 5.0)
        self._optimizer.step()
        decay = min(hear.average_decay, (1 + self.step_count) / (10 + self.step_count))
        get_ema_multi_avg_fn(decay)(list(self.average.parameters()), list(self.net.parameters()), 0)  # type: ignore[no-untyped-call]
        self.step_count += 1
        return dict(zip(COLUMNS[1:-1], torch.stack(losses).tolist(), strict=True))

    def _batch(self, random: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Draw sounds (B, N), the mels they or their degraded magnitudes give, these, and which are whole (B,)."""
        spec, hear = self.run.mel, self.run.hear
        sounds = draw_sounds(self._sounds, spec, hear, random)
        spectrum = torch.stft(
            sounds, spec.n_fft, spec.hop, window=self._transform.window, pad_mode="constant", return_complex=True
        )
        true = spectrum.abs().transpose(1, 2)[:, : spec.frames] * self._transform.unit_gain
        true, whole = degrade(true, random, hear.degraded)
        return sounds, self._transform.encode_magnitude(true), true, whole

    def _losses(self, sounds: Tensor, mel: Tensor, true: Tensor, whole: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return log-spectral error of the magnitudes (dB), their relative error, and that of the sound (dB)."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.run.hear.precision == "bf16"):
            logs = self.net(mel, self._learned.guess(mel))
        found = heard(logs)
        relative = (found - true).square().sum((1, 2)) / true.square().sum((1, 2)).clamp_min(1e-6)
        return _distance_db(found, true), (relative + 1e-6).sqrt().mean(), self._sound_distance(found, sounds, whole)

    def _sound_distance(self, found: Tensor, sounds: Tensor, whole: Tensor) -> Tensor:
        """Return how far the sound that the magnitudes make lies from the sounds of those items that are whole.

        The phase is what it will be, integrated from these very magnitudes; the gradient goes through them alone.
        """
        if not whole.any():
            return torch.zeros(())
        magnitude, sounds = found[whole] / self._transform.unit_gain, sounds[whole]
        phase = realtime_phase(magnitude.detach().numpy(), self._grid, self.run.hear.seed) + self._grid.from_centre()
        made = self._synthesize(torch.polar(magnitude, torch.from_numpy(phase)))
        made, sounds = made[:, : -self.run.mel.n_fft], sounds[:, : made.shape[1] - self.run.mel.n_fft]
        distances = []
        for n_fft in COMPARED_WINDOWS:
            bins = int(COMPARED_HZ / self.run.mel.sample_rate_hz * n_fft)
            one, other = (analyse(s, n_fft)[..., : min(bins, n_fft // 2)] for s in (made, sounds))
            distances.append(_distance_db(one, other))
        return torch.stack(distances).mean()

    def _synthesize(self, spectrum: Tensor) -> Tensor:
        """Overlap-add (B, T, F) into (B, N), in a way that gradients go through."""
        window, grid = self._transform.window, self._grid
        frames = torch.fft.irfft(spectrum, n=grid.n_fft) * window
        weights = (window**2).expand(1, frames.shape[1], grid.n_fft)

        def added(parts: Tensor) -> Tensor:
            length = (parts.shape[1] - 1) * grid.hop + grid.n_fft
            return functional.fold(parts.transpose(1, 2), (1, length), (1, grid.n_fft), stride=(1, grid.hop))[:, 0, 0]

        return (added(frames) / added(weights).clamp_min(1e-3))[:, grid.n_fft // 2 :]

    def state(self) -> dict[str, Tensor]:
        """Return everything that a later step depends on, as named tensors."""
        tensors = {"step": torch.tensor(self.step_count)}
        for name, net in (("net", self.net), ("average", self.average)):
            tensors |= {f"{name}/{key}": t for key, t in net.state_dict().items()}
        for number, values in self._optimizer.state_dict()["state"].items():
            tensors |= {f"adam/{number}/{key}": t for key, t in values.items()}
        return tensors

    def restore(self, tensors: Mapping[str, Tensor], path: Path) -> None:
        """Take over a state; CheckpointError names what does not fit."""
        self.step_count = int(tensors["step"])
        for name, net in (("net", self.net), ("average", self.average)):
            fill(net, {k.removeprefix(f"{name}/"): t for k, t in tensors.items() if k.startswith(f"{name}/")}, path)
        values: dict[int, dict[str, Tensor]] = {}
        for key, tensor in tensors.items():
            if key.startswith("adam/"):
                number, field = key.split("/")[1:]
                values.setdefault(int(number), {})[field] = tensor
        self._optimizer.load_state_dict(self._optimizer.state_dict() | {"state": values})


def analyse(sound: Tensor, n_fft: int) -> Tensor:
    """Return magnitudes (B, T, F) whose gradient is finite everywhere."""
    window = torch.hann_window(n_fft)
    spectrum = torch.stft(sound, n_fft, n_fft // 4, window=window, pad_mode="constant", return_complex=True)
    power: Tensor = torch.view_as_real(spectrum).square().sum(-1)
    return (power + 1e-12).sqrt().transpose(1, 2)


def _distance_db(found: Tensor, true: Tensor) -> Tensor:
    """Return the log-spectral distance of magnitudes (B, T, F), of what is not too far below the loudest bin.

    Root mean square over frequency, mean over time (Gray and Markel, 1976).
    """
    least = true.amax((1, 2), keepdim=True).clamp_min(1e-4) * 10.0 ** (-RANGE_DB / 20.0)
    difference = NEPER_DB * ((found + least).log() - (true + least).log())
    distance: Tensor = (difference.square().mean(2) + 0.01).sqrt()
    return distance.mean()


def suit(
    run: HearRun,
    sounds: Tensor,
    budget: Budget,
    *,
    smaller: Sequence[int] = (),
    before: HearConfig | None = None,
    done: int = 0,
) -> Pace[HearRun]:
    """Find how this machine computes a run fastest, and how far that leads within a budget.

    As `training.suit`, with a network's channels for its feature maps.
    """

    def build(trial: HearRun) -> Callable[[], object]:
        return partial(Listener(trial, sounds).step, 1.0)

    def shrink(whole: HearRun) -> HearRun:
        hear = whole.hear.model_copy(update={"batch": 2})
        return _narrowed(whole, min(TRIAL_CHANNELS, whole.vocoder.channels)).model_copy(update={"hear": hear})

    return find_pace(
        {
            precision: run.model_copy(update={"hear": run.hear.model_copy(update={"precision": precision})})
            for precision in _precisions(run.hear, before)
        },
        budget,
        build,
        shrink=shrink,
        smaller=lambda whole: [_narrowed(whole, n) for n in smaller if n < whole.vocoder.channels],
        needed=HEARING_STEPS_NEEDED,
        done=done,
        clearly=CLEARLY if before is None else 1.0 / SLOWER,
    )


def _precisions(hear: HearConfig, before: HearConfig | None) -> list[PrecisionName]:
    """Return the precisions that settings leave open; first the one of before."""
    if hear.precision != AUTO:
        return [hear.precision]
    return ["bf16", "fp32"] if before is not None and before.precision == "bf16" else ["fp32", "bf16"]


def _narrowed(run: HearRun, channels: int) -> HearRun:
    return run.model_copy(update={"vocoder": run.vocoder.model_copy(update={"channels": channels})})


Examine = Callable[[MagnitudeNet], Mapping[str, float]]


def hear(
    folder: Path,
    run: HearRun,
    sounds: Tensor,
    budget: Budget,
    *,
    start: Path | None = None,
    resume: bool = False,
    force: bool = False,
    watch: Callable[[Progress], None] = lambda _: None,
    examine: Examine = lambda _: {},
    stop: Callable[[], bool] = lambda: False,
) -> VocoderHeader:
    """Train a vocoder until the budget is spent or `stop` says so, and leave it in `folder`.

    The rate falls to nothing at the end of the budget, so a run that is resumed begins fast again. `start` is a
    vocoder to go on from. The folder holds the settings, the resumable state, the losses as CSV and the vocoder,
    with what `examine` says of it at the end. Raises InputError as `check_run` does, TrainingError if a loss is
    not a number; the last good state stays.
    """
    check_run(folder, run, resume=resume, force=force)
    listener = Listener(run, sounds, None if start is None else _started(start, run))
    if resume and (folder / STATE_FILE).is_file():
        listener.restore(read_tensors(folder / STATE_FILE, STATE_KIND)[1], folder / STATE_FILE)
    if resume:
        keep_run(folder, run)  # it may be computed otherwise from now on
    else:
        begin_run(folder, run, (STATE_FILE, VOCODER_FILE, LOSS_FILE))
    log = LossLog(folder / LOSS_FILE, COLUMNS, listener.step_count)
    begin = saved = time.monotonic()
    first = listener.step_count
    while True:
        now = time.monotonic()
        ends = spent(budget, listener.step_count, now - begin) or stop()
        if ends or now - saved > budget.save_minutes * 60.0:
            log.flush()
            write_tensors(folder / STATE_FILE, STATE_KIND, run, listener.state())
            header = _header(run, listener, examine if ends else lambda _: {})
            save_vocoder(folder / VOCODER_FILE, listener.average, header)
            saved = time.monotonic()
        if ends:
            return header
        elapsed = now - begin
        left = remaining_s(budget, listener.step_count, listener.step_count - first, elapsed)
        losses = listener.step(left / (left + elapsed) if left + elapsed else 1.0)
        log.add(listener.step_count, losses, elapsed)
        watch(Progress(listener.step_count, losses, max(elapsed, 1e-6), left))


def _header(run: HearRun, listener: Listener, examine: Examine) -> VocoderHeader:
    return VocoderHeader(
        config=run.vocoder,
        mel=run.mel,
        seed=run.hear.seed,
        steps=listener.step_count,
        data=run.data,
        metrics=dict(examine(listener.average)),
    )


def _started(path: Path, run: HearRun) -> dict[str, Any]:
    net, header = load_vocoder(path)
    check_same_mel(header.mel, run.mel, f"{path}: it")
    if header.config != run.vocoder:
        raise InputError(f"{path}: its network is {header.config}, this run's is {run.vocoder}")
    return dict(net.state_dict())
