"""Learning a memory: a loop that can be stopped at any step and goes on as if it had not been."""

from __future__ import annotations

import copy
import json
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pydantic import Field
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from fugue_state.audio import io
from fugue_state.config import (
    AUTO,
    SLICE_AUTO,
    STEPS_NEEDED,
    AnySettings,
    Budget,
    ComputeConfig,
    LayoutName,
    MelSpec,
    ModelConfig,
    PrecisionName,
    Settings,
    TrainConfig,
    checked,
)
from fugue_state.corpus.mels import MelSet
from fugue_state.errors import InputError, TrainingError
from fugue_state.learning.augment import DRAWS, Augment
from fugue_state.learning.losses import discriminator_hinge, generator_hinge, mel_statistics
from fugue_state.learning.networks import Discriminator, Generator, reestimate_statistics
from fugue_state.learning.pace import CLEARLY, SLOWER, Pace, find_pace
from fugue_state.memory.catalogue import DataSource, MemoryHeader, read_header
from fugue_state.memory.checkpoint import fill, read_tensors, save_memory, write_tensors

RUN_FILE, STATE_FILE, MEMORY_FILE = "run.json", "state.safetensors", "memory.safetensors"
LOSS_FILE, MEASURE_FILE = "losses.csv", "measures.jsonl"
STATE_KIND = "training state"
COLUMNS = ("step", "discriminator", "generator", "mel", "seconds")
FORMATS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
# Other ways of computing a step, in the order in which they are preferred: precision and layout.
WAYS: tuple[tuple[PrecisionName, LayoutName], ...] = (
    ("fp32", "channels_last"),
    ("bf16", "channels_last"),
    ("fp32", "contiguous"),
)
ROUNDS = {"precision", "layout"}  # settings with which a run may go on otherwise: they only round differently
TRIAL_MAPS, TRIAL_BATCH = 16, 4  # of the network that finds out what is hopeless
FIRST_PREVIEW = 125
FLUSH_STEPS = 20

Examine = Callable[[Generator, MemoryHeader], Mapping[str, float]]


class RunConfig(Settings):
    """Everything that decides what a run learns; a run is only ever continued with the same.

    `slicing`: how long recordings were cut. `clusters`: how many were made of the sounds to stand in for labels; None
    for the folder's own.
    """

    name: str
    mel: MelSpec
    slicing: str = SLICE_AUTO
    clusters: int | None = Field(default=None, ge=1)
    model: ModelConfig
    train: TrainConfig
    data_key: str
    data: tuple[DataSource, ...] = ()


@dataclass(frozen=True)
class Progress:
    """One step of training, for whoever watches."""

    step: int
    losses: Mapping[str, float]
    elapsed_s: float
    remaining_s: float


class Trainer:
    """Networks, optimizers and averaged weights; a step depends on the step's number alone.

    Several processes share a step: each takes its part of one global batch, and all statistics
    are those of the whole batch, so their number does not change what is learned.
    """

    def __init__(self, run: RunConfig, data: MelSet, fabric: Fabric | None = None) -> None:
        spec, train = run.mel, run.train
        if data.mels.shape[1:] != (spec.n_mels, spec.frames):
            raise InputError(f"mels are {tuple(data.mels.shape[1:])}, the run's are ({spec.n_mels}, {spec.frames})")
        self.run, self.data = run, data
        self.fabric = fabric or make_fabric(ComputeConfig(accelerator="cpu"))
        if train.batch % self.fabric.world_size:
            raise InputError(f"a batch of {train.batch} cannot be shared by {self.fabric.world_size} processes")
        self.step_count = 0
        self._format = FORMATS["channels_last" if train.layout == AUTO else train.layout]
        self._mels, self._label = (self.fabric.to_device(torch.from_numpy(a)) for a in (data.mels, data.label))
        self._augment = Augment(spec, train.augment, self.fabric.device) if train.augment.active else None
        torch.manual_seed(train.seed)
        self.generator = Generator(run.model, spec.frames)
        self.discriminator = Discriminator(
            train.discriminator_maps or run.model.feature_maps,
            len(run.model.labels),
            minibatch_statistics=train.minibatch_statistics,
        )
        for network in (self.generator, self.discriminator):
            network.to(memory_format=self._format)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.generator).requires_grad_(False).to(self.fabric.device)
        self._generate, self._generator_optimizer = self._set_up(self.generator, train.generator_rate)
        self._judge, self._discriminator_optimizer = self._set_up(self.discriminator, train.discriminator_rate)

    def _set_up(self, network: torch.nn.Module, rate: float) -> tuple[Any, Any]:
        betas = (self.run.train.beta1, self.run.train.beta2)
        wrapped, optimizer = self.fabric.setup(network, torch.optim.Adam(network.parameters(), rate, betas, fused=True))
        return wrapped, optimizer

    def step(self) -> dict[str, float]:
        """Take one step of the discriminator and one of the generator; return the losses."""
        self.generator.train()
        real, label, z, draws = self._batch(self.step_count)
        with self._autocast():
            fake = self._generate(z, label).float()
        shown, shown_fake = self._shown(real, draws[0]), self._shown(fake, draws[1])
        self.discriminator.train()
        with self._autocast():
            scores = self._judge(torch.cat([shown, shown_fake.detach()]), label.repeat(2), 2)
        loss_d = discriminator_hinge(*scores.float().chunk(2))
        self._descend(self._discriminator_optimizer, "discriminator", loss_d)
        # Only a look at the discriminator now: neither its weights nor their norms move.
        self.discriminator.eval().requires_grad_(False)
        with self._autocast():
            loss_g = generator_hinge(self.discriminator(shown_fake, label).float())
        loss_mel = mel_statistics(real, fake)
        self._descend(self._generator_optimizer, "generator", loss_g + self.run.train.mel_loss_weight * loss_mel)
        self.discriminator.requires_grad_(True)
        self._average()
        self.step_count += 1
        losses = torch.stack([loss_d.detach(), loss_g.detach(), loss_mel.detach()])
        if self.fabric.world_size > 1:
            losses = cast("Tensor", self.fabric.all_reduce(losses, reduce_op="mean"))
        return dict(zip(COLUMNS[1:-1], losses.tolist(), strict=True))

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.fabric.device.type, torch.bfloat16, enabled=self.run.train.precision == "bf16")

    def _batch(self, step: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Draw real mels, labels, latents and augmentations (2, B, 4) of this process; by seed and step alone."""
        train, count = self.run.train, len(self.data.label)
        mine = slice(self.fabric.global_rank, None, self.fabric.world_size)
        places = range(step * train.batch, (step + 1) * train.batch)[mine]
        index = self.fabric.to_device(
            torch.tensor([_shuffled(train.seed, p // count, count)[p % count] for p in places])
        )
        real = self._mels[index].float()[:, None].contiguous(memory_format=self._format)
        z = torch.randn(train.batch, self.run.model.latent_size, generator=keyed_random(train.seed, 2, step))[mine]
        draws = torch.rand(2, train.batch, DRAWS, generator=keyed_random(train.seed, 3, step))[:, mine] * 2.0 - 1.0
        return real, self._label[index], self.fabric.to_device(z), self.fabric.to_device(draws)

    def _shown(self, mel: Tensor, draw: Tensor) -> Tensor:
        return mel if self._augment is None else self._augment(mel, draw)

    def _descend(self, optimizer: Any, name: str, loss: Tensor) -> None:
        if not torch.isfinite(loss):
            raise TrainingError(
                f"step {self.step_count}: the {name}'s loss is {loss.item()}; the last checkpoint is "
                "kept; lower learning rates or --precision fp32 may help"
            )
        optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(loss)
        optimizer.step()

    def _average(self) -> None:
        decay = min(self.run.train.average_decay, (1 + self.step_count) / (10 + self.step_count))
        average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        average(list(self.average.parameters()), list(self.generator.parameters()), 0)

    def agreed(self, ends: bool, due: bool) -> tuple[bool, bool]:
        """Return the first process's flags: clocks and Ctrl-C differ from process to process."""
        if self.fabric.world_size == 1:
            return ends, due
        return self.fabric.broadcast((ends, due))

    def averaged(self) -> Generator:
        """Return the averaged generator, its batch-norm statistics taken again."""
        result = copy.deepcopy(self.average)
        reestimate_statistics(result, self.run.train.seed)
        return result.cpu()

    def state(self) -> dict[str, Tensor]:
        """Return everything that a later step depends on, as named tensors."""
        tensors = {"step": torch.tensor(self.step_count)}
        for name, network in self._networks().items():
            tensors |= {f"{name}/{key}": t for key, t in network.state_dict().items()}
        for name, optimizer in self._optimizers().items():
            for number, values in optimizer.state_dict()["state"].items():
                tensors |= {f"adam/{name}/{number}/{key}": t for key, t in values.items()}
        return tensors

    def restore(self, tensors: Mapping[str, Tensor], path: Path) -> None:
        """Take over a state; CheckpointError names what does not fit."""
        self.step_count = int(tensors["step"])
        for name, network in self._networks().items():
            own = {k.removeprefix(f"{name}/"): t for k, t in tensors.items() if k.startswith(f"{name}/")}
            fill(network, own, path)
        for name, optimizer in self._optimizers().items():
            weights: list[Tensor] = optimizer.param_groups[0]["params"]
            values: dict[int, dict[str, Tensor]] = {}
            for key, tensor in tensors.items():
                if key.startswith(f"adam/{name}/"):
                    number, field = key.split("/")[2:]
                    # In the memory format of the weights: the fused step reads both side by side.
                    own_format = (
                        tensor if field == "step" else torch.zeros_like(weights[int(number)].data).copy_(tensor)
                    )
                    values.setdefault(int(number), {})[field] = own_format
            optimizer.load_state_dict(optimizer.state_dict() | {"state": values})

    def _networks(self) -> dict[str, torch.nn.Module]:
        return {"generator": self.generator, "discriminator": self.discriminator, "average": self.average}

    def _optimizers(self) -> dict[str, Any]:
        return {"generator": self._generator_optimizer, "discriminator": self._discriminator_optimizer}


def make_fabric(compute: ComputeConfig) -> Fabric:
    """Return what runs the loop on the devices asked for; it joins the processes of a launcher such as torchrun."""
    # What Fabric tells of itself is no news to whoever trains a memory.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    try:
        return Fabric(
            accelerator=compute.accelerator,
            devices=compute.devices,
            num_nodes=compute.nodes,
            strategy=compute.strategy,
        )
    except (RuntimeError, ValueError, MisconfigurationException) as error:
        raise InputError(f"cannot train on {compute.devices} x {compute.accelerator}: {error}") from None


def leave(fabric: Fabric) -> None:
    """End a run for all its processes together: one that goes early may abort as its connections break."""
    fabric.barrier()
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@lru_cache(maxsize=2)
def _shuffled(seed: int, epoch: int, count: int) -> tuple[int, ...]:
    """Return the order of the clips in an epoch."""
    return tuple(torch.randperm(count, generator=keyed_random(seed, 1, epoch)).tolist())


def keyed_random(*key: int) -> torch.Generator:
    """Return a generator for this key; splitmix-style mixing keeps neighbours apart."""
    seed = 0
    for part in key:
        seed = (seed * 6364136223846793005 + part * 0x9E3779B97F4A7C15 + 1442695040888963407) % 2**63
    return torch.Generator().manual_seed(seed)


def check_run(folder: Path, run: AnySettings, *, resume: bool, force: bool) -> None:
    """Make sure that a run may begin in `folder`, or that the one in it is the one to be continued.

    Raises InputError if there is a run already (without `resume` or `force`), none to resume, or
    one with other settings; the first difference is named. How a step is computed may differ.
    """
    if resume:
        before = _decisive(read_run(folder, type(run)))
        for key, now in _decisive(run).items():
            if before[key] != now:
                raise InputError(f"{folder}: the run was started with {_first_difference(key, before[key], now)}")
    elif (folder / RUN_FILE).exists() and not force:
        raise InputError(f"{folder}: holds a run already; --resume continues it, --force starts over")


def _decisive(run: Settings) -> dict[str, Any]:
    """Return what decides what a run learns, but for rounding."""
    values = run.model_dump(mode="json")
    return {
        key: {name: inner for name, inner in part.items() if name not in ROUNDS} if isinstance(part, dict) else part
        for key, part in values.items()
    }


def begin_run(folder: Path, run: Settings, files: Sequence[str]) -> None:
    """Claim `folder` for a new run; the files an older one left are removed."""
    io.output_folder(folder)
    for name in files:
        (folder / name).unlink(missing_ok=True)
    keep_run(folder, run)


def keep_run(folder: Path, run: Settings) -> None:
    """Write the settings of a run into its folder."""
    with io.replacing(folder / RUN_FILE) as beside:
        beside.write_text(json.dumps(run.model_dump(mode="json"), indent=1), encoding="utf-8")


def read_run(folder: Path, kind: type[AnySettings]) -> AnySettings:
    """Return the settings of the run in a folder; InputError if there is none."""
    path = folder / RUN_FILE
    if not path.is_file():
        raise InputError(f"{folder}: no run to resume")
    try:
        return checked(kind, json.loads(path.read_text(encoding="utf-8")))
    except ValueError:
        raise InputError(f"{path}: damaged; --force starts over") from None


def _first_difference(key: str, before: object, now: object) -> str:
    if isinstance(before, dict) and isinstance(now, dict):
        inner = next(k for k in now if before.get(k) != now[k])
        return _first_difference(f"{key}.{inner}", before.get(inner), now[inner])
    return f"{key} = {before}, not {now}"


def suit(
    run: RunConfig,
    data: MelSet,
    budget: Budget,
    fabric: Fabric,
    *,
    smaller: Sequence[int] = (),
    before: TrainConfig | None = None,
    done: int = 0,
) -> Pace[RunConfig]:
    """Find how this machine computes a run fastest, and how far that leads within a budget.

    What the run leaves `auto` is timed, in whole steps. Where too few fit, one of the `smaller` feature maps is
    taken. A run that goes on, after `done` steps, is computed as it was `before` unless that is far slower here.
    """

    def build(trial: RunConfig) -> Callable[[], object]:
        return Trainer(trial, data, fabric).step

    def shrink(whole: RunConfig) -> RunConfig:
        maps, batch = min(TRIAL_MAPS, whole.model.feature_maps), TRIAL_BATCH * fabric.world_size
        return _with(whole, model={"feature_maps": maps}, train={"batch": min(batch, whole.train.batch)})

    return find_pace(
        {
            f"{precision}, {layout.replace('_', ' ')}": _with(run, train={"precision": precision, "layout": layout})
            for precision, layout in _ways(run.train, before)
        },
        budget,
        build,
        shrink=shrink,
        smaller=lambda whole: [
            _with(whole, model={"feature_maps": n}) for n in smaller if n < whole.model.feature_maps
        ],
        needed=STEPS_NEEDED,
        done=done,
        clearly=CLEARLY if before is None else 1.0 / SLOWER,
        agree=fabric.broadcast,
    )


def _ways(train: TrainConfig, before: TrainConfig | None) -> list[tuple[PrecisionName, LayoutName]]:
    """Return the ways that settings leave open; first the one of before."""
    ways = [way for way in WAYS if train.precision in {AUTO, way[0]} and train.layout in {AUTO, way[1]}]
    if before is not None:
        earlier = (before.precision, "channels_last" if before.layout == AUTO else before.layout)
        ways.sort(key=lambda way: way != earlier)
    return ways or [(train.precision, train.layout)]


def _with(
    run: RunConfig, *, train: Mapping[str, object] | None = None, model: Mapping[str, object] | None = None
) -> RunConfig:
    """Return a run with other settings."""
    return run.model_copy(
        update={"train": run.train.model_copy(update=train), "model": run.model.model_copy(update=model)}
    )


def train(
    folder: Path,
    run: RunConfig,
    data: MelSet,
    budget: Budget,
    *,
    fabric: Fabric | None = None,
    resume: bool = False,
    force: bool = False,
    watch: Callable[[Progress], None] = lambda _: None,
    examine: Examine | None = None,
    preview: Callable[[Generator, MemoryHeader], None] = lambda *_: None,
    stop: Callable[[], bool] = lambda: False,
) -> MemoryHeader:
    """Train until the budget is spent or `stop` says so, and leave a memory in `folder`.

    The folder holds the settings, the resumable state, the losses as CSV and the memory: the best
    one so far by `examine`, which is asked at every save and returns measures, among them a `score`
    (lower is better); without it, the newest. `preview` is shown the memory at doubling steps.
    A budget in minutes counts from this call; one in steps from the run's start.
    Raises TrainingError if a loss is not a number; the last good checkpoint stays.
    """
    check_run(folder, run, resume=resume, force=force)
    trainer = Trainer(run, data, fabric)
    if trainer.fabric.is_global_zero:
        if resume:
            keep_run(folder, run)  # it may be computed otherwise from now on
        else:
            begin_run(folder, run, (STATE_FILE, MEMORY_FILE, LOSS_FILE, MEASURE_FILE))
    trainer.fabric.barrier()
    if resume and (folder / STATE_FILE).is_file():
        trainer.restore(read_tensors(folder / STATE_FILE, STATE_KIND)[1], folder / STATE_FILE)
    writer = Writer(folder, trainer, examine) if trainer.fabric.is_global_zero else None
    begin = saved = time.monotonic()
    first = trainer.step_count
    while True:
        now = time.monotonic()
        ends = spent(budget, trainer.step_count, now - begin) or stop()
        ends, due = trainer.agreed(ends, now - saved > budget.save_minutes * 60.0)
        if writer is not None and (ends or due):
            writer.save()
        if ends:
            return writer.best if writer is not None else _header(run, trainer.step_count)
        if due:
            saved = time.monotonic()
        losses = trainer.step()
        if writer is not None:
            elapsed = time.monotonic() - begin
            left = remaining_s(budget, trainer.step_count, trainer.step_count - first, elapsed)
            writer.log(losses, elapsed)
            watch(Progress(trainer.step_count, losses, elapsed, left))
            if _is_preview_step(trainer.step_count):
                preview(trainer.averaged(), _header(run, trainer.step_count))


def _header(run: RunConfig, step: int, metrics: Mapping[str, float] | None = None) -> MemoryHeader:
    return MemoryHeader(
        name=run.name,
        model=run.model,
        mel=run.mel,
        seed=run.train.seed,
        steps=step,
        data=run.data,
        metrics=dict(metrics or {}),
    )


class Writer:
    """The one process that writes: losses, measures, the resumable state and the best memory."""

    def __init__(self, folder: Path, trainer: Trainer, examine: Examine | None) -> None:
        self._folder, self._trainer, self._examine = folder, trainer, examine
        self._losses = LossLog(folder / LOSS_FILE, COLUMNS, trainer.step_count)
        self.best = _header(trainer.run, trainer.step_count)
        self._history = [m for m in read_measures(folder) if m["step"] <= trainer.step_count]

    def log(self, losses: Mapping[str, float], elapsed_s: float) -> None:
        """Keep the losses of a step."""
        self._losses.add(self._trainer.step_count, losses, elapsed_s)

    def save(self) -> None:
        """Write the state to go on from, and the memory if it is the best."""
        trainer = self._trainer
        self._losses.flush()
        averaged = trainer.averaged()
        header = _header(trainer.run, trainer.step_count)
        write_tensors(self._folder / STATE_FILE, STATE_KIND, trainer.run, trainer.state())
        if self._examine is not None:
            measures = {"step": float(trainer.step_count), **self._examine(averaged, header)}
            known = [m for m in self._history if m["step"] != measures["step"]]
            self._history = [*known, measures]
            with io.replacing(self._folder / MEASURE_FILE) as beside:
                beside.write_text("".join(json.dumps(m) + "\n" for m in self._history), encoding="utf-8")
            header = _header(trainer.run, trainer.step_count, measures)
            if any(m.get("score", math.inf) < measures.get("score", math.inf) for m in known):
                self.best = read_header(self._folder / MEMORY_FILE)
                return
        save_memory(self._folder / MEMORY_FILE, averaged, header)
        self.best = header


def read_measures(folder: Path) -> list[dict[str, float]]:
    """Return what was measured at each save of a run so far, oldest first."""
    path = folder / MEASURE_FILE
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [json.loads(line) for line in lines]


def _is_preview_step(step: int) -> bool:
    return step >= FIRST_PREVIEW and step % FIRST_PREVIEW == 0 and math.log2(step // FIRST_PREVIEW).is_integer()


def spent(budget: Budget, step: int, elapsed_s: float) -> bool:
    """Say whether a budget is spent."""
    return (budget.steps is not None and step >= budget.steps) or (
        budget.minutes is not None and elapsed_s >= budget.minutes * 60.0
    )


def remaining_s(budget: Budget, step: int, done: int, elapsed_s: float) -> float:
    """Return the seconds left of a budget; one in steps goes by the speed of those done so far."""
    ends = []
    if budget.minutes is not None:
        ends.append(budget.minutes * 60.0 - elapsed_s)
    if budget.steps is not None:
        ends.append((budget.steps - step) * elapsed_s / max(done, 1))
    return max(0.0, min(ends))


def steps_done(folder: Path) -> int:
    """Return how many steps the run in a folder has logged."""
    lines = read_losses(folder / LOSS_FILE, COLUMNS)
    return int(lines[-1].split(",")[0]) if lines else 0


def read_losses(path: Path, columns: Sequence[str]) -> list[str]:
    """Return the lines of a CSV of losses; the last one is left out if whoever wrote it was killed within it."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    lines = text[: text.rfind("\n") + 1].splitlines()[1:]
    return [line for line in lines if line.count(",") == len(columns) - 1 and line.partition(",")[0].isdecimal()]


class LossLog:
    """Losses as CSV; lines beyond the step that a run goes on from are dropped first."""

    def __init__(self, path: Path, columns: Sequence[str], step: int) -> None:
        self._path, self._columns = path, columns
        self._waiting: list[str] = []
        kept = [line for line in read_losses(path, columns) if int(line.partition(",")[0]) <= step]
        with io.replacing(path) as beside:
            beside.write_text("\n".join([",".join(columns), *kept]) + "\n", encoding="utf-8")

    def add(self, step: int, losses: Mapping[str, float], elapsed_s: float) -> None:
        """Keep the losses of a step; they are written some steps at a time."""
        values = [losses[name] for name in self._columns[1:-1]]
        self._waiting.append(",".join([str(step), *(f"{v:.5f}" for v in values), f"{elapsed_s:.1f}"]))
        if len(self._waiting) >= FLUSH_STEPS:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        with self._path.open("a", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in self._waiting)
        self._waiting.clear()
