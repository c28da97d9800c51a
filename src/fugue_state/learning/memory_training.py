"""Training a memory: a generator and its discriminator; the best averaged generator is kept."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import torch
from lightning_fabric import Fabric
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from fugue_state.config import (
    AUTO,
    DEFAULT_LABELS,
    FEW_CLIPS,
    FEW_STEPS_NEEDED,
    SLICE_AUTO,
    STEPS_NEEDED,
    LabelsName,
    LayoutName,
    LossName,
    MelSpec,
    ModelConfig,
    PrecisionName,
    TrainConfig,
)
from fugue_state.corpus.mels import MelSet
from fugue_state.errors import InputError
from fugue_state.files import replacing
from fugue_state.learning.arrays import as_played
from fugue_state.learning.augment import DRAWS, Augment
from fugue_state.learning.learner import Learner, RunSettings, keyed_random
from fugue_state.learning.losses import (
    discriminator_hinge,
    discriminator_relativistic,
    generator_hinge,
    generator_relativistic,
    mel_statistics,
    roughness,
)
from fugue_state.learning.networks import Discriminator, Generator, reestimate_statistics
from fugue_state.learning.run import Run
from fugue_state.memory import layers
from fugue_state.memory.catalogue import MEMORY_FILE, DataSource, MemoryHeader, read_header
from fugue_state.memory.checkpoint import save_memory

MEASURE_FILE = "measures.jsonl"
FORMATS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
# Ways of computing a step, in order of preference: precision and layout.
WAYS: tuple[tuple[PrecisionName, LayoutName], ...] = (
    ("fp32", "channels_last"),
    ("bf16", "channels_last"),
    ("fp32", "contiguous"),
)
TRIAL_MAPS, TRIAL_BATCH = 16, 4  # size of the network that quickly shows what is hopelessly slow
FIRST_PREVIEW = 125

# Of the discriminator and of the generator, on scores (B,) of real and generated mels in pairs of a label.
LOSSES: Mapping[LossName, tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    "hinge": (discriminator_hinge, generator_hinge),
    "relativistic": (discriminator_relativistic, generator_relativistic),
}

Examine = Callable[[layers.Generator, MemoryHeader], Mapping[str, float]]
Preview = Callable[[layers.Generator, MemoryHeader], None]


class MemoryRun(RunSettings):
    """The settings of a memory's run.

    `slicing`: how long recordings were cut. `labelling`: where labels come from. `clusters`: how many clusters of
    sounds replace them; None for labels.
    """

    name: str
    mel: MelSpec
    slicing: str = SLICE_AUTO
    labelling: LabelsName = DEFAULT_LABELS
    clusters: int | None = Field(default=None, ge=1)
    model: ModelConfig
    train: TrainConfig
    data_key: str
    data: tuple[DataSource, ...] = ()

    def header(self, step: int, metrics: Mapping[str, float] | None = None) -> MemoryHeader:
        """Return the header of the memory at a step."""
        return MemoryHeader(
            name=self.name,
            model=self.model,
            mel=self.mel,
            seed=self.train.seed,
            steps=step,
            data=self.data,
            metrics=dict(metrics or {}),
        )

    @property
    def needed(self) -> int:
        """Steps after which chords are named as asked, or few clips of any kind are told apart."""
        return FEW_STEPS_NEEDED if sum(source.clips for source in self.data) < FEW_CLIPS else STEPS_NEEDED

    @property
    def width(self) -> int:
        """Feature maps of the generator."""
        return self.model.feature_maps

    def as_wide(self, width: int) -> Self:
        """Return these settings with another number of feature maps."""
        return self.model_copy(update={"model": self.model.model_copy(update={"feature_maps": width})})

    def shrunk(self, processes: int) -> Self:
        """Return these settings with few feature maps and a small batch."""
        narrow = self.as_wide(min(TRIAL_MAPS, self.width))
        return narrow._computed(batch=min(TRIAL_BATCH * processes, self.train.batch))

    def ways(self, before: Self | None) -> dict[str, Self]:
        """Return the combinations of precision and layout that are left open."""
        train, earlier = self.train, None if before is None else (before.train.precision, before.train.layout)
        open_ways = [way for way in WAYS if train.precision in {AUTO, way[0]} and train.layout in {AUTO, way[1]}]
        open_ways.sort(key=lambda way: earlier not in {way, (way[0], AUTO)})
        return {
            f"{precision}, {layout.replace('_', ' ')}": self._computed(precision=precision, layout=layout)
            for precision, layout in open_ways or [(train.precision, train.layout)]
        }

    def _computed(self, **values: object) -> Self:
        return self.model_copy(update={"train": self.train.model_copy(update=values)})


class Trainer(Learner):
    """Generator and discriminator that learn from each other.

    Several processes share a step: each takes its part of one global batch, and all statistics
    are those of the whole batch, so the number of processes does not change what is learned.
    """

    kind: ClassVar[str] = "training state"
    columns: ClassVar[tuple[str, ...]] = ("discriminator", "generator", "mel")
    leaves: ClassVar[tuple[str, ...]] = (MEMORY_FILE, MEASURE_FILE)

    def __init__(self, run: MemoryRun, data: MelSet, fabric: Fabric) -> None:
        super().__init__(run)
        spec, train = run.mel, run.train
        if data.mels.shape[1:] != (spec.n_mels, spec.frames):
            raise InputError(f"mels are {data.mels.shape[1:]}, the run's are ({spec.n_mels}, {spec.frames})")
        if train.batch % fabric.world_size:
            raise InputError(f"a batch of {train.batch} cannot be shared by {fabric.world_size} processes")
        self.run, self._fabric = run, fabric
        self._format = FORMATS["channels_last" if train.layout == AUTO else train.layout]
        self._mels, self._label = (fabric.to_device(torch.from_numpy(part)) for part in (data.mels, data.label))
        self._augment = Augment(spec, train.augment, fabric.device) if train.augment.active else None
        torch.manual_seed(train.seed)
        self.generator = Generator(run.model, spec.frames)
        self.discriminator = Discriminator(
            train.discriminator_maps or run.model.feature_maps,
            len(run.model.labels),
            minibatch_statistics=train.minibatch_statistics,
            decodes=train.decode_weight > 0.0,
        )
        for network in (self.generator, self.discriminator):
            network.to(memory_format=self._format)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.generator).requires_grad_(False).to(fabric.device)
        self._generate, self._generator_optimizer = self._set_up(self.generator, train.generator_rate)
        self._judge, self._discriminator_optimizer = self._set_up(self.discriminator, train.discriminator_rate)

    def _set_up(self, network: torch.nn.Module, rate: float) -> tuple[Any, Any]:
        betas = (self.run.train.beta1, self.run.train.beta2)
        wrapped, optimizer = self._fabric.setup(
            network, torch.optim.Adam(network.parameters(), rate, betas, fused=True)
        )
        return wrapped, optimizer

    def step(self, left: float = 1.0) -> dict[str, float]:
        """Take one step of the discriminator and one of the generator; return the losses."""
        del left  # the learning rates are constant
        self.generator.train()
        real, label, z, draws = self._batch(self.step_count)
        with self._autocast():
            fake = self._generate(z, label).float()
        shown, shown_fake = self._shown(real, draws[0]), self._shown(fake, draws[1])
        loss_d = self._judged(shown, shown_fake.detach(), label)
        self._descend(self._discriminator_optimizer, "discriminator", loss_d)
        # The discriminator only scores here: neither its weights nor its spectral norms change.
        self.discriminator.eval().requires_grad_(False)
        loss_g = self._fooled(shown, shown_fake, label)
        loss_mel = mel_statistics(real, fake, label, self.discriminator.labels)
        self._descend(self._generator_optimizer, "generator", loss_g + self.run.train.mel_loss_weight * loss_mel)
        self.discriminator.requires_grad_(True)
        self._average(self.average, self.generator, self.run.train.average_decay)
        self.step_count += 1
        losses = torch.stack([loss_d.detach(), loss_g.detach(), loss_mel.detach()])
        if self._fabric.world_size > 1:
            losses = cast("Tensor", self._fabric.all_reduce(losses, reduce_op="mean"))
        return dict(zip(self.columns, losses.tolist(), strict=True))

    def _judged(self, real: Tensor, fake: Tensor, label: Tensor) -> Tensor:
        """Return the loss of the discriminator on real and generated mels (B, 1, M, T) as it is shown them."""
        train, mels = self.run.train, [real, fake]
        if train.smoothness:
            shape = (train.batch, *real.shape[1:])
            noise = torch.randn(shape, generator=keyed_random(train.seed, 4, self.step_count))[self._mine]
            mels += [mel + train.smoothness_step * self._fabric.to_device(noise) for mel in mels]
        self.discriminator.train()
        with self._autocast():
            scores, told = self._judge(torch.cat(mels), label.repeat(len(mels)), len(mels), len(real))
        own, other, *moved = scores.float().chunk(len(mels))
        loss: Tensor = LOSSES[train.loss][0](own, other)
        for scored, near in zip((own, other), moved, strict=False):
            loss = loss + train.smoothness * roughness(scored, near, train.smoothness_step)
        if told is not None:
            loss = loss + train.decode_weight * functional.l1_loss(told.float(), functional.avg_pool2d(real, 4))
        return loss

    def _fooled(self, real: Tensor, fake: Tensor, label: Tensor) -> Tensor:
        """Return the loss of the generator on what the discriminator says of its mels (B, 1, M, T)."""
        mels = [fake] if self.run.train.loss == "hinge" else [fake, real]  # hinge asks for no real ones
        with self._autocast():
            scores, _ = self.discriminator(torch.cat(mels), label.repeat(len(mels)), len(mels))
        own, *other = scores.float().chunk(len(mels))
        loss: Tensor = LOSSES[self.run.train.loss][1](other[0] if other else own, own)
        return loss

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self._fabric.device.type, torch.bfloat16, enabled=self.run.train.precision == "bf16")

    @property
    def _mine(self) -> slice:
        """This process's part of a batch."""
        return slice(self._fabric.global_rank, None, self._fabric.world_size)

    def _batch(self, step: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Draw this process's real mels, labels, latents and augmentations (2, B, 4), by seed and step alone."""
        train, count, to_device = self.run.train, len(self._label), self._fabric.to_device
        mine = self._mine
        places = range(step * train.batch, (step + 1) * train.batch)[mine]
        index = to_device(torch.tensor([_shuffled(train.seed, p // count, count)[p % count] for p in places]))
        real = self._mels[index].float()[:, None].contiguous(memory_format=self._format)
        z = torch.randn(train.batch, self.run.model.latent_size, generator=keyed_random(train.seed, 2, step))[mine]
        draws = torch.rand(2, train.batch, DRAWS, generator=keyed_random(train.seed, 3, step))[:, mine] * 2.0 - 1.0
        return real, self._label[index], to_device(z), to_device(draws)

    def _shown(self, mel: Tensor, draw: Tensor) -> Tensor:
        return mel if self._augment is None else self._augment(mel, draw)

    def _descend(self, optimizer: Any, name: str, loss: Tensor) -> None:
        self._check(loss, f"the {name}'s loss", "lower learning rates or --precision fp32")
        optimizer.zero_grad(set_to_none=True)
        self._fabric.backward(loss)
        optimizer.step()

    def averaged(self) -> layers.Generator:
        """Return the averaged generator for playing, with its batch-norm statistics re-estimated."""
        result = copy.deepcopy(self.average)
        reestimate_statistics(result, self.run.train.seed)
        return as_played(result)

    def networks(self) -> Mapping[str, torch.nn.Module]:
        """Return all networks."""
        return {"generator": self.generator, "discriminator": self.discriminator, "average": self.average}

    def optimizers(self) -> Mapping[str, Any]:
        """Return both optimizers."""
        return {
            "adam/generator": self._generator_optimizer,
            "adam/discriminator": self._discriminator_optimizer,
        }


@lru_cache(maxsize=2)
def _shuffled(seed: int, epoch: int, count: int) -> tuple[int, ...]:
    """Return the order of the clips in an epoch."""
    return tuple(torch.randperm(count, generator=keyed_random(seed, 1, epoch)).tolist())


def train(
    run: Run,
    settings: MemoryRun,
    data: MelSet,
    *,
    examine: Examine | None = None,
    preview: Preview = lambda *_: None,
) -> MemoryHeader:
    """Train until the run ends, and leave a memory in its folder.

    It is the best so far by `examine`, which is called at every save and returns measures including a `score`
    (lower is better); without `examine`, it is the newest. `preview` gets the memory at doubling steps. Other processes
    are kept out of the folder. Raises as `Run.learn`, InputError if another process is at work there.
    """
    with run:
        trainer = Trainer(settings, data, run.fabric)
        best = _Best(run.folder, trainer, examine)

        def stepped() -> None:
            if _is_preview_step(trainer.step_count):
                preview(trainer.averaged(), settings.header(trainer.step_count))

        run.learn(trainer, best.keep, stepped)
        return best.header


class _Best:
    """The memory in a run's folder: the best so far, together with the measurements at every save."""

    def __init__(self, folder: Path, trainer: Trainer, examine: Examine | None) -> None:
        self._folder, self._trainer, self._examine = folder, trainer, examine
        self.header = trainer.run.header(0)

    def keep(self, last: bool) -> None:
        """Write the averaged memory if it is better than at any earlier save."""
        del last
        step, averaged = self._trainer.step_count, self._trainer.averaged()
        header = self._trainer.run.header(step)
        if self._examine is not None:
            measures = {"step": float(step), **self._examine(averaged, header)}
            known = [one for one in read_measures(self._folder) if one["step"] < step]
            with replacing(self._folder / MEASURE_FILE) as beside:
                beside.write_text("".join(json.dumps(one) + "\n" for one in (*known, measures)), encoding="utf-8")
            if any(one.get("score", math.inf) < measures.get("score", math.inf) for one in known):
                self.header = read_header(self._folder / MEMORY_FILE)
                return
            header = header.model_copy(update={"metrics": measures})
        save_memory(self._folder / MEMORY_FILE, averaged, header)
        self.header = header


def read_measures(folder: Path) -> list[dict[str, float]]:
    """Return the measurements at each save of a run so far, oldest first."""
    path = folder / MEASURE_FILE
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [json.loads(line) for line in lines]


def _is_preview_step(step: int) -> bool:
    return step >= FIRST_PREVIEW and step % FIRST_PREVIEW == 0 and math.log2(step // FIRST_PREVIEW).is_integer()
