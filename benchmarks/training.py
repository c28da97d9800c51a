"""Training steps a second beside the plain PyTorch DCGAN loop, same networks and batch, in one run; prints JSON.

    python benchmarks/training.py [--feature-maps 64] [--batch 32] [--rounds 3] [--steps 8] [--device cpu]

The plain loop is the usual tutorial's: float32, default memory layout, real and generated batch judged one after the
other, Adam as it comes, no averaged weights, the same losses. The two take turns; the median round counts.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from fugue_state.config import ComputeConfig, MelSpec, ModelConfig, TrainConfig
from fugue_state.corpus.mels import MelSet
from fugue_state.learning.losses import discriminator_hinge, generator_hinge, mel_statistics
from fugue_state.learning.memory_training import MemoryRun, Trainer
from fugue_state.learning.networks import Discriminator, Generator
from fugue_state.learning.run import make_fabric

LABELS = ("Am", "Bb", "Bdim", "C", "Dm", "Em", "F", "G")
CLIPS = 512


def mels() -> MelSet:
    """Return mels of noise: what they show does not change how long a step takes."""
    values = np.random.default_rng(0).uniform(-1.0, 1.0, (CLIPS, 128, 128)).astype(np.float16)
    return MelSet(values, np.arange(CLIPS) % len(LABELS), LABELS, [], "noise")


def plain_loop(data: MelSet, model: ModelConfig, batch: int, device: str) -> Callable[[], None]:
    """Return a step of the plain loop."""
    generator = Generator(model).to(device)
    discriminator = Discriminator(model.feature_maps, len(model.labels)).to(device)
    optimizer_g = torch.optim.Adam(generator.parameters(), 2e-4, (0.0, 0.9))
    optimizer_d = torch.optim.Adam(discriminator.parameters(), 4e-4, (0.0, 0.9))
    mels, labels = torch.from_numpy(data.mels), torch.from_numpy(data.label)

    def step() -> None:
        index = torch.randint(CLIPS, (batch,))
        real, label = mels[index].float()[:, None].to(device), labels[index].to(device)
        fake = generator(torch.randn(batch, model.latent_size, device=device), label)
        optimizer_d.zero_grad()
        loss_d = discriminator_hinge(discriminator(real, label)[0], discriminator(fake.detach(), label)[0])
        torch.autograd.backward(loss_d)
        optimizer_d.step()
        optimizer_g.zero_grad()
        loss_g = generator_hinge(real, discriminator(fake, label)[0]) + mel_statistics(
            real, fake, label, len(model.labels)
        )
        torch.autograd.backward(loss_g)
        optimizer_g.step()
        loss_g.item()

    return step


def our_loop(data: MelSet, model: ModelConfig, batch: int, device: str) -> Callable[[], object]:
    """Return a step of `fugue train`."""
    train = TrainConfig(batch=batch)
    run = MemoryRun(name="speed", mel=MelSpec(), model=model, train=train, data_key="noise")
    compute = ComputeConfig.model_validate({"accelerator": device})
    return Trainer(run, data, make_fabric(compute)).step


def seconds_a_step(step: Callable[[], object], steps: int) -> float:
    """Return the mean time of a step."""
    begin = time.perf_counter()
    for _ in range(steps):
        step()
    return (time.perf_counter() - begin) / steps


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--feature-maps", type=int, default=ModelConfig().feature_maps)
    parser.add_argument("--batch", type=int, default=TrainConfig().batch)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    options = parser.parse_args()
    model = ModelConfig(feature_maps=options.feature_maps, labels=LABELS)
    data = mels()
    loops = {
        "plain": plain_loop(data, model, options.batch, options.device),
        "fugue": our_loop(data, model, options.batch, options.device),
    }
    for step in loops.values():
        seconds_a_step(step, 3)  # warm up
    took: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(options.rounds):
        for name, step in loops.items():
            took[name].append(seconds_a_step(step, options.steps))
    speed = {f"{name}_steps_per_s": 1.0 / statistics.median(times) for name, times in took.items()}
    faster = speed["fugue_steps_per_s"] / speed["plain_steps_per_s"]
    about = {"device": options.device, "threads": torch.get_num_threads(), "torch": torch.__version__}
    print(json.dumps(about | vars(options) | speed | {"times_faster": faster}))


if __name__ == "__main__":
    main()
