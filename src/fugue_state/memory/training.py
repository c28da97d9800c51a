"""Learning a memory: a loop that can be stopped at any step and goes on as if it had not been."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from fugue_state.audio import io
from fugue_state.audio.picture import write_sheet
from fugue_state.config import Budget, MelSpec, ModelConfig, Settings, TrainConfig, checked
from fugue_state.errors import InputError, TrainingError
from fugue_state.memory.checkpoint import DataSource, MemoryHeader, fill, read_tensors, save_memory, write_tensors
from fugue_state.memory.dataset import MelSet
from fugue_state.memory.losses import discriminator_hinge, generator_hinge, mel_statistics
from fugue_state.memory.networks import IMAGE, Discriminator, Generator, reestimate_statistics

RUN_FILE, STATE_FILE, MEMORY_FILE, LOSS_FILE = "run.json", "state.safetensors", "memory.safetensors", "losses.csv"
STATE_KIND = "training state"
COLUMNS = ("step", "discriminator", "generator", "mel", "seconds")
FIRST_SHEET, SHEET_COLUMNS = 125, 8
FLUSH_STEPS = 20


class RunConfig(Settings):
    """Everything that decides what a run learns; a run is only ever continued with the same."""

    name: str
    mel: MelSpec
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
    """Networks, optimizers and averaged weights; a step depends on the step's number alone."""

    def __init__(self, run: RunConfig, data: MelSet) -> None:
        if data.mels.shape[1:] != (IMAGE, IMAGE):
            raise InputError(f"mels are {tuple(data.mels.shape[1:])}, the networks make ({IMAGE}, {IMAGE})")
        self.run, self.data = run, data
        self.step_count = 0
        torch.manual_seed(run.train.seed)
        self.generator = Generator(run.model)
        self.discriminator = Discriminator(run.model)
        self.average = copy.deepcopy(self.generator).requires_grad_(False)
        for network in (self.generator, self.discriminator, self.average):
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        betas = (run.train.beta1, run.train.beta2)
        self._optimizers = {
            "generator": torch.optim.Adam(self.generator.parameters(), run.train.generator_rate, betas),
            "discriminator": torch.optim.Adam(self.discriminator.parameters(), run.train.discriminator_rate, betas),
        }

    def step(self) -> dict[str, float]:
        """Take one step of the discriminator and one of the generator; return the losses."""
        train = self.run.train
        self.generator.train()
        self.discriminator.train()
        real, label, z = self._batch(self.step_count)
        with torch.autocast("cpu", torch.bfloat16, enabled=train.precision == "bf16"):
            fake = self.generator(z, label)
            loss_d = discriminator_hinge(
                self.discriminator(real, label).float(), self.discriminator(fake.detach(), label).float()
            )
        self._descend("discriminator", loss_d)
        self.discriminator.requires_grad_(False)
        with torch.autocast("cpu", torch.bfloat16, enabled=train.precision == "bf16"):
            loss_g = generator_hinge(self.discriminator(fake, label).float())
        loss_mel = mel_statistics(real, fake.float())
        self._descend("generator", loss_g + train.mel_loss_weight * loss_mel)
        self.discriminator.requires_grad_(True)
        self._average()
        self.step_count += 1
        return {"discriminator": loss_d.item(), "generator": loss_g.item(), "mel": loss_mel.item()}

    def _batch(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Draw real mels, their labels and latents; a function of seed and step alone."""
        train, count = self.run.train, len(self.data.label)
        places = torch.arange(step * train.batch, (step + 1) * train.batch)
        epochs = {
            int(e): torch.randperm(count, generator=_random(train.seed, 1, int(e)))
            for e in torch.unique(places // count)
        }
        index = torch.stack([epochs[int(p) // count][int(p) % count] for p in places])
        real = self.data.mels[index].float()[:, None].contiguous(memory_format=torch.channels_last)
        z = torch.randn(train.batch, self.run.model.latent_size, generator=_random(train.seed, 2, step))
        return real, self.data.label[index], z

    def _descend(self, name: str, loss: Tensor) -> None:
        if not torch.isfinite(loss):
            raise TrainingError(
                f"step {self.step_count}: the {name}'s loss is {loss.item()}; the last checkpoint is "
                "kept; lower learning rates or --precision fp32 may help"
            )
        optimizer = self._optimizers[name]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    def _average(self) -> None:
        decay = min(self.run.train.average_decay, (1 + self.step_count) / (10 + self.step_count))
        with torch.no_grad():
            for mean, now in zip(self.average.parameters(), self.generator.parameters(), strict=True):
                mean.lerp_(now, 1.0 - decay)

    def averaged(self) -> Generator:
        """Return the averaged generator, its batch-norm statistics taken again."""
        result = copy.deepcopy(self.average)
        reestimate_statistics(result, self.run.train.seed)
        return result

    def state(self) -> dict[str, Tensor]:
        """Return everything that a later step depends on, as named tensors."""
        tensors = {"step": torch.tensor(self.step_count)}
        for name, network in self._networks().items():
            tensors |= {f"{name}/{key}": t for key, t in network.state_dict().items()}
        for name, optimizer in self._optimizers.items():
            for number, values in optimizer.state_dict()["state"].items():
                tensors |= {f"adam/{name}/{number}/{key}": t for key, t in values.items()}
        return tensors

    def restore(self, tensors: Mapping[str, Tensor], path: Path) -> None:
        """Take over a state; CheckpointError names what does not fit."""
        self.step_count = int(tensors["step"])
        for name, network in self._networks().items():
            own = {k.removeprefix(f"{name}/"): t for k, t in tensors.items() if k.startswith(f"{name}/")}
            fill(network, own, path)
        for name, optimizer in self._optimizers.items():
            values: dict[int, dict[str, Tensor]] = {}
            for key, tensor in tensors.items():
                if key.startswith(f"adam/{name}/"):
                    number, field = key.split("/")[2:]
                    values.setdefault(int(number), {})[field] = tensor
            optimizer.load_state_dict(optimizer.state_dict() | {"state": values})

    def _networks(self) -> dict[str, torch.nn.Module]:
        return {"generator": self.generator, "discriminator": self.discriminator, "average": self.average}


def _random(*key: int) -> torch.Generator:
    """Return a generator for this key; splitmix-style mixing keeps neighbours apart."""
    seed = 0
    for part in key:
        seed = (seed * 6364136223846793005 + part * 0x9E3779B97F4A7C15 + 1442695040888963407) % 2**63
    return torch.Generator().manual_seed(seed)


def check_run(folder: Path, run: RunConfig, *, resume: bool, force: bool) -> None:
    """Make sure that a run may begin in `folder`, or that the one in it is the one to be continued.

    Raises InputError if there is a run already (without `resume` or `force`), none to resume, or
    one with other settings; the first difference is named.
    """
    if resume:
        before = read_run(folder).model_dump(mode="json")
        for key, now in run.model_dump(mode="json").items():
            if before[key] != now:
                raise InputError(f"{folder}: the run was started with {_first_difference(key, before[key], now)}")
    elif (folder / RUN_FILE).exists() and not force:
        raise InputError(f"{folder}: holds a run already; --resume continues it, --force starts over")


def _begin(folder: Path, run: RunConfig) -> None:
    """Claim `folder` for a new run; what an older one left is removed."""
    io.output_folder(folder)
    for name in (STATE_FILE, MEMORY_FILE, LOSS_FILE):
        (folder / name).unlink(missing_ok=True)
    with io.replacing(folder / RUN_FILE) as beside:
        beside.write_text(json.dumps(run.model_dump(mode="json"), indent=1), encoding="utf-8")


def read_run(folder: Path) -> RunConfig:
    """Return the settings of the run in a folder; InputError if there is none."""
    path = folder / RUN_FILE
    if not path.is_file():
        raise InputError(f"{folder}: no run to resume")
    try:
        return checked(RunConfig, json.loads(path.read_text(encoding="utf-8")))
    except ValueError:
        raise InputError(f"{path}: damaged; --force starts over") from None


def _first_difference(key: str, before: object, now: object) -> str:
    if isinstance(before, dict) and isinstance(now, dict):
        inner = next(k for k in now if before.get(k) != now[k])
        return _first_difference(f"{key}.{inner}", before.get(inner), now[inner])
    return f"{key} = {before}, not {now}"


def train(
    folder: Path,
    run: RunConfig,
    data: MelSet,
    budget: Budget,
    *,
    resume: bool = False,
    force: bool = False,
    watch: Callable[[Progress], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
) -> MemoryHeader:
    """Train until the budget is spent or `stop` says so, and leave a memory in `folder`.

    The folder holds the settings, the resumable state, the averaged memory, the losses as CSV and
    sheets of samples. A budget in minutes counts from this call; one in steps from the run's start.
    Raises TrainingError if a loss is not a number; the last good checkpoint stays.
    """
    check_run(folder, run, resume=resume, force=force)
    if not resume:
        _begin(folder, run)
    trainer = Trainer(run, data)
    if resume and (folder / STATE_FILE).is_file():
        trainer.restore(read_tensors(folder / STATE_FILE, STATE_KIND)[1], folder / STATE_FILE)
    log = _LossLog(folder / LOSS_FILE, trainer.step_count)
    begin = saved = time.monotonic()
    first = trainer.step_count
    while not _spent(budget, trainer.step_count, time.monotonic() - begin) and not stop():
        losses = trainer.step()
        elapsed = time.monotonic() - begin
        log.add(trainer.step_count, losses, elapsed)
        watch(
            Progress(
                trainer.step_count,
                losses,
                elapsed,
                _remaining(budget, trainer.step_count, trainer.step_count - first, elapsed),
            )
        )
        if _is_sheet_step(trainer.step_count):
            write_samples(folder / "samples" / f"step_{trainer.step_count:07d}.png", trainer.averaged())
        if time.monotonic() - saved > budget.save_minutes * 60.0:
            save_run(folder, trainer)
            log.flush()
            saved = time.monotonic()
    log.flush()
    return save_run(folder, trainer)


def save_run(folder: Path, trainer: Trainer) -> MemoryHeader:
    """Write the memory as it is now, then the state to go on from."""
    run = trainer.run
    header = MemoryHeader(
        name=run.name, model=run.model, mel=run.mel, seed=run.train.seed, steps=trainer.step_count, data=run.data
    )
    averaged = trainer.averaged()
    save_memory(folder / MEMORY_FILE, averaged, header)
    write_samples(folder / "samples" / "latest.png", averaged)
    write_tensors(folder / STATE_FILE, STATE_KIND, run, trainer.state())
    return header


def write_samples(path: Path, generator: Generator) -> None:
    """Draw samples of every label from the same latents each time."""
    labels = generator.config.labels or ("samples",)
    path.parent.mkdir(exist_ok=True)
    z = torch.randn(SHEET_COLUMNS, generator.config.latent_size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        rows = [(name, list(generator(z, torch.full((len(z),), i))[:, 0].numpy())) for i, name in enumerate(labels)]
    write_sheet(path, rows)


def _is_sheet_step(step: int) -> bool:
    return step >= FIRST_SHEET and step % FIRST_SHEET == 0 and math.log2(step // FIRST_SHEET).is_integer()


def _spent(budget: Budget, step: int, elapsed_s: float) -> bool:
    return (budget.steps is not None and step >= budget.steps) or (
        budget.minutes is not None and elapsed_s >= budget.minutes * 60.0
    )


def _remaining(budget: Budget, step: int, done: int, elapsed_s: float) -> float:
    ends = []
    if budget.minutes is not None:
        ends.append(budget.minutes * 60.0 - elapsed_s)
    if budget.steps is not None:
        ends.append((budget.steps - step) * elapsed_s / done)
    return max(0.0, min(ends))


class _LossLog:
    """Losses as CSV; lines beyond the step that a run goes on from are dropped first."""

    def __init__(self, path: Path, step: int) -> None:
        self._path = path
        self._waiting: list[str] = []
        lines = path.read_text(encoding="utf-8").splitlines()[1:] if path.is_file() else []
        kept = [line for line in lines if int(line.split(",")[0]) <= step]
        path.write_text("\n".join([",".join(COLUMNS), *kept]) + "\n", encoding="utf-8")

    def add(self, step: int, losses: Mapping[str, float], elapsed_s: float) -> None:
        values = [losses[name] for name in COLUMNS[1:-1]]
        self._waiting.append(",".join([str(step), *(f"{v:.5f}" for v in values), f"{elapsed_s:.1f}"]))
        if len(self._waiting) >= FLUSH_STEPS:
            self.flush()

    def flush(self) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in self._waiting)
        self._waiting.clear()
