from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors import SafetensorError
from safetensors.numpy import save_file

from fugue_state.audio import io
from fugue_state.config import Budget, ComputeConfig, MelSpec, ModelConfig, TrainConfig
from fugue_state.corpus.cache import cache_folder, find_cache
from fugue_state.corpus.folder import read_corpus
from fugue_state.corpus.mels import MelSet, load_mels
from fugue_state.errors import CheckpointError, CorpusError, InputError, OutputError, TrainingError
from fugue_state.learning import memory_training, networks
from fugue_state.learning.log import LOSS_FILE, Log, steps_logged
from fugue_state.learning.memory_training import Examine, MemoryRun, Preview, Trainer, read_measures, train
from fugue_state.learning.run import STATE_FILE, Begin, Progress, Run, Watcher, make_fabric
from fugue_state.measure.chords import name_chord
from fugue_state.memory.catalogue import MemoryHeader
from fugue_state.memory.checkpoint import read_tensors
from fugue_state.memory.claim import claimed
from fugue_state.memory.layers import Generator
from fugue_state.memory.memory import Memory

from .conftest import RATE, pluck

MODEL = ModelConfig(feature_maps=2, latent_size=4, labels=("Am", "C"))


def mel_set(count: int = 12) -> MelSet:
    generator = torch.Generator().manual_seed(0)
    mels = torch.rand((count, 128, 128), generator=generator).mul(2).sub(1).half()
    return MelSet(mels.numpy(), np.arange(count) % 2, ("Am", "C"), [], "key")


def run_config(**settings: object) -> MemoryRun:
    return MemoryRun(
        name="t", mel=MelSpec(), model=MODEL, train=TrainConfig.model_validate({"batch": 4} | settings), data_key="key"
    )


def trained(
    folder: Path,
    settings: MemoryRun,
    data: MelSet,
    budget: Budget,
    *,
    begin: Begin = Begin.NEW,
    watcher: Watcher | None = None,
    examine: Examine | None = None,
    preview: Preview = lambda *_: None,
) -> MemoryHeader:
    with Run(folder, budget, begin, watcher) as run:
        return train(run, settings, data, examine=examine, preview=preview)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / STATE_FILE)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


@pytest.mark.parametrize(
    "settings",
    [{"precision": "bf16"}, {"precision": "fp32"}, {"loss": "relativistic", "smoothness": 0.1, "decode_weight": 1.0}],
    ids=["bf16", "fp32", "relativistic"],
)
def test_a_resumed_run_ends_as_one_that_never_stopped(tmp_path: Path, settings: dict[str, object]) -> None:
    run = run_config(**settings)
    trained(tmp_path / "whole", run, mel_set(), Budget(steps=7))
    trained(tmp_path / "parts", run, mel_set(), Budget(steps=3))
    trained(tmp_path / "parts", run, mel_set(), Budget(steps=7), begin=Begin.RESUME)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))

    def losses(name: str) -> list[str]:
        lines = (tmp_path / name / "losses.csv").read_text().splitlines()
        return [line.rsplit(",", 1)[0] for line in lines]  # all but the time

    assert losses("whole") == losses("parts")
    assert len(losses("whole")) == 8


def test_a_run_leaves_all_that_is_promised(tmp_path: Path) -> None:
    seen: list[Progress] = []
    header = trained(tmp_path / "run", run_config(), mel_set(), Budget(steps=3), watcher=Watcher(step=seen.append))
    assert header.steps == 3
    assert [p.step for p in seen] == [1, 2, 3]
    assert seen[-1].remaining_s == 0
    assert set(seen[0].losses) == {"discriminator", "generator", "mel"}
    assert Memory.load(tmp_path / "run").header == header
    assert json.loads((tmp_path / "run" / "run.json").read_text())["train"]["batch"] == 4
    _, state = read_tensors(tmp_path / "run" / STATE_FILE, "training state")
    assert {  # as in runs that older versions began
        "step", "generator/deconv.deconv1.conv.weight", "average/output.bias",
        "discriminator/convs.0.parametrizations.weight.original", "discriminator/convs.0.parametrizations.weight.0.u",
        "adam/generator/0/step", "adam/generator/0/exp_avg", "adam/discriminator/0/exp_avg_sq",
    } <= state.keys()  # fmt: skip


def test_what_is_played_is_what_was_learned(tmp_path: Path) -> None:
    trained(tmp_path / "run", run_config(), mel_set(), Budget(steps=3))
    state, memory = weights(tmp_path / "run"), Memory.load(tmp_path / "run")
    network = networks.Generator(MODEL)
    network.load_state_dict({k.removeprefix("average/"): t for k, t in state.items() if k.startswith("average/")})
    networks.reestimate_statistics(network, seed=0)
    z = memory.latents(4, 1)
    for label, name in enumerate(MODEL.labels):
        with torch.no_grad():
            wanted = network(torch.from_numpy(z), torch.full((4,), label))[:, 0].numpy()
        assert np.ptp(wanted) > 0.01
        np.testing.assert_allclose(memory.generate(z, name), wanted, atol=1e-5)


def test_a_stop_keeps_the_step_it_came_after(tmp_path: Path) -> None:
    steps: list[int] = []
    trained(
        tmp_path / "run", run_config(), mel_set(), Budget(steps=50),
        watcher=Watcher(step=lambda now: steps.append(now.step), stop=lambda: len(steps) == 2),
    )  # fmt: skip
    assert int(weights(tmp_path / "run")["step"]) == 2


def test_saves_and_measures_come_as_often_as_asked_and_previews_at_doubling_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[int] = []
    shown: list[int] = []

    def examine(generator: Generator, header: MemoryHeader) -> dict[str, float]:
        assert isinstance(generator, Generator)
        measured.append(header.steps)
        return {"score": 1.0}

    monkeypatch.setattr(memory_training, "FIRST_PREVIEW", 1)
    trained(
        tmp_path / "run", run_config(), mel_set(), Budget(steps=5, save_minutes=1e-9),
        examine=examine, preview=lambda _, header: shown.append(header.steps),
    )  # fmt: skip
    assert measured == [0, 1, 2, 3, 4, 5]
    assert shown == [1, 2, 4]


def test_the_best_memory_is_kept_and_the_newest_state(tmp_path: Path) -> None:
    scores = {2: 5.0, 4: 3.0, 6: 4.0}

    def examine(_: Generator, header: MemoryHeader) -> dict[str, float]:
        return {"score": scores[header.steps]}

    for steps in scores:
        best = trained(
            tmp_path / "run",
            run_config(),
            mel_set(),
            Budget(steps=steps),
            examine=examine,
            begin=Begin.RESUME if steps > 2 else Begin.NEW,
        )
    assert best.steps == 4
    assert best.metrics == {"step": 4.0, "score": 3.0}
    assert Memory.load(tmp_path / "run").header == best
    assert int(weights(tmp_path / "run")["step"]) == 6
    assert [m["score"] for m in read_measures(tmp_path / "run")] == [5.0, 3.0, 4.0]


def test_a_loss_that_is_no_number_stops_with_a_reason_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    trained(tmp_path / "run", run_config(), mel_set(), Budget(steps=2))
    before = weights(tmp_path / "run")
    bad = mel_set()
    bad.mels[:] = float("nan")
    with pytest.raises(TrainingError, match=r"step 2: the discriminator's loss is nan; the last checkpoint is kept"):
        trained(tmp_path / "run", run_config(), bad, Budget(steps=9), begin=Begin.RESUME)
    assert same(before, weights(tmp_path / "run"))


def test_runs_are_not_overwritten_nor_mixed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(InputError, match="no run to resume"):
        trained(folder, run_config(), mel_set(), Budget(steps=1), begin=Begin.RESUME)
    trained(folder, run_config(), mel_set(), Budget(steps=1))
    with pytest.raises(InputError, match="--resume continues it, --force starts over"):
        trained(folder, run_config(), mel_set(), Budget(steps=1))
    with pytest.raises(InputError, match=r"started with train\.batch = 4, not 6"):
        trained(folder, run_config(batch=6), mel_set(), Budget(steps=2), begin=Begin.RESUME)
    trained(folder, run_config(batch=6), mel_set(), Budget(steps=1), begin=Begin.OVER)
    assert json.loads((folder / "run.json").read_text())["train"]["batch"] == 6


def test_a_damaged_state_is_refused(tmp_path: Path) -> None:
    trained(tmp_path / "run", run_config(), mel_set(), Budget(steps=1))
    state = tmp_path / "run" / STATE_FILE
    state.write_bytes(state.read_bytes()[:500])
    with pytest.raises(CheckpointError, match="damaged"):
        trained(tmp_path / "run", run_config(), mel_set(), Budget(steps=2), begin=Begin.RESUME)


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained(tmp_path / "run", run_config(), mel_set(), Budget(steps=1))
    before = weights(tmp_path / "run")

    def full(*_: object, **__: object) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("fugue_state.tensors.save_file", full)
    with pytest.raises(OutputError, match=r"could not be written.*No space left"):
        trained(tmp_path / "run", run_config(), mel_set(), Budget(steps=2), begin=Begin.RESUME)
    assert same(before, weights(tmp_path / "run"))


def test_kill_loses_no_more_than_since_the_last_save(tmp_path: Path, make_corpus: Callable[..., Path]) -> None:
    root = make_corpus({"Am": 3, "C": 3})
    command = [
        sys.executable, "-m", "fugue_state.cli", "train", str(root), "-o", str(tmp_path / "run"), "--steps", "100000",
        "--save-minutes", "0.001", "--feature-maps", "2", "--batch", "2", "--latent-size", "4",
    ]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    state = tmp_path / "run" / STATE_FILE
    while not state.exists():
        assert process.poll() is None
        time.sleep(0.05)
    time.sleep(1.0)
    process.kill()
    process.wait()
    reached = int(weights(tmp_path / "run")["step"])
    assert reached > 0
    command[command.index("100000")] = str(reached + 2)
    subprocess.run([*command, "--resume"], check=True, stderr=subprocess.DEVNULL)
    assert int(weights(tmp_path / "run")["step"]) == reached + 2


@pytest.mark.parametrize("end", ["1", "4,0.5", "4,0.5,0.5,0.5,", "\n", "4,0.5\n"])
def test_a_line_of_losses_that_is_cut_off_is_left_out(tmp_path: Path, end: str) -> None:
    log = tmp_path / "run" / LOSS_FILE
    trained(tmp_path / "run", run_config(), mel_set(), Budget(steps=3))
    whole = log.read_text()
    log.write_text(whole + end)
    assert steps_logged(log.parent) == 3
    trained(tmp_path / "run", run_config(), mel_set(), Budget(steps=4), begin=Begin.RESUME)
    assert log.read_text().startswith(whole)
    assert [line.split(",")[0] for line in log.read_text().splitlines()] == ["step", "1", "2", "3", "4"]


def test_losses_are_there_whenever_a_run_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained(tmp_path / "run", run_config(), mel_set(), Budget(steps=3))
    log = tmp_path / "run" / LOSS_FILE
    whole = log.read_text()

    def kill(self: Path, data: str, **_: object) -> None:
        with self.open("w") as file:
            file.write(data[:5])
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_text", kill)
    with pytest.raises(KeyboardInterrupt):
        Log(log.parent, Trainer.columns, 3)
    assert log.read_text() == whole


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize(("number", "code"), [("SIGINT", 0), ("SIGTERM", 75), ("SIGUSR1", 75)])
def test_a_signal_keeps_everything(tmp_path: Path, make_corpus: Callable[..., Path], number: str, code: int) -> None:
    root = make_corpus({"Am": 3, "C": 3})
    process = subprocess.Popen(
        [sys.executable, "-m", "fugue_state.cli", "train", str(root), "-o", str(tmp_path / "run"), "--steps", "100000",
         "--feature-maps", "2", "--batch", "2"],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    log = tmp_path / "run" / "losses.csv"
    while not log.exists() or len(log.read_text().splitlines()) < 3:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.Signals[number])
    _, said = process.communicate(timeout=60)
    assert process.returncode == code
    assert ("with --resume goes on" in said) == bool(code)
    assert "everything is kept" in said
    assert "stopped at step" in said
    last = int(log.read_text().splitlines()[-1].split(",")[0])
    assert int(weights(tmp_path / "run")["step"]) == last


def test_a_memory_without_labels_can_be_trained(tmp_path: Path) -> None:
    data = MelSet(mel_set().mels, np.zeros(12, dtype=np.int64), (), [], "key")
    run = run_config().model_copy(update={"model": ModelConfig(feature_maps=2, latent_size=4)})
    trained(tmp_path / "run", run, data, Budget(steps=2))
    assert Memory.load(tmp_path / "run").labels == ()


def test_every_clip_is_seen_once_an_epoch() -> None:
    data = mel_set(12)
    data.mels[:, 0, 0] = np.arange(12) / 16
    trainer = Trainer(run_config(), data, make_fabric(ComputeConfig(accelerator="cpu")))
    seen = torch.cat([trainer._batch(step)[0][:, 0, 0, 0] for step in range(3)])
    assert sorted((seen * 16).round().int().tolist()) == list(range(12))
    again = torch.cat([trainer._batch(step)[0][:, 0, 0, 0] for step in range(3, 6)])
    assert seen.tolist() != again.tolist()


def test_mels_are_made_once_and_again_when_damaged_or_changed(make_corpus: Callable[..., Path]) -> None:
    root = make_corpus({"Am": 2, "C": 3})
    (root / "C" / "bad.wav").write_bytes(b"RIFFxxxx")
    made: list[str] = []
    said: list[str] = []

    def load(labelled: bool = True) -> MelSet:
        def track(items: object, total: int, what: str) -> object:
            made.append(what)
            return items

        return load_mels(
            read_corpus(root), MelSpec(), find_cache(said.append), labelled=labelled,
            track=track,  # type: ignore[arg-type]
        )  # fmt: skip

    first = load()
    assert first.mels.shape == (5, 128, 128)
    assert first.label.tolist() == [0, 0, 1, 1, 1]
    assert [Path(p).name for p, _ in first.left_out] == ["bad.wav"]
    second = load()
    assert made == ["mels"]
    np.testing.assert_array_equal(first.mels, second.mels)
    assert second.left_out == first.left_out
    hidden = load(labelled=False)
    assert (hidden.labels, hidden.label.tolist()) == ((), [0] * 5)
    assert (made, said) == (["mels"], [])
    cached = next((cache_folder() / "mels").iterdir())
    cached.write_bytes(cached.read_bytes()[:1000])
    np.testing.assert_array_equal(load().mels, first.mels)
    assert made == ["mels"] * 2
    assert said == [f"the mels kept in {cached} are damaged and are made again"]
    facts = json.dumps([[f.name, 1, 1.0, 0.0, 1.0] for f in first.facts[1:]])  # one too few
    about = {"key": first.key, "left_out": "[]"}
    save_file({"mels": first.mels, "label": first.label}, cached, about | {"facts": facts})
    assert load().facts == first.facts
    assert len(said) == 2
    save_file({"mels": first.mels, "label": first.label}, cached, about)  # as an older version left it
    assert load().facts == first.facts
    assert (len(made), len(said)) == (4, 2)
    io.write(root / "C" / "new.wav", pluck(60), RATE)
    assert len(load().label) == 6


def test_too_little_data_is_refused(tmp_path: Path, make_corpus: Callable[..., Path]) -> None:
    def load(root: Path) -> MelSet:
        return load_mels(read_corpus(root), MelSpec(), find_cache())

    with pytest.raises(CorpusError, match="only one class, 'Am'"):
        load(make_corpus({"Am": 4}, "one"))
    flat = tmp_path / "flat"
    flat.mkdir()
    io.write(flat / "a.wav", pluck(50), RATE)
    with pytest.raises(CorpusError, match="1 usable clip, at least 2 are needed"):
        load(flat)
    two = make_corpus({"Am": 2, "C": 1}, "two")
    next((two / "C").iterdir()).write_bytes(b"")
    with pytest.raises(CorpusError, match="no usable training clip of C"):
        load(two)


def test_two_chords_are_learned(tmp_path: Path, make_corpus: Callable[..., Path]) -> None:
    """A real training, from files to named chords, of a network small enough for half a minute."""
    spec = MelSpec(frames=32)
    corpus = read_corpus(make_corpus({"Am": 24, "C": 24}))
    data = load_mels(corpus, spec, find_cache())
    run = MemoryRun(
        name="two", mel=spec, model=ModelConfig(feature_maps=8, latent_size=16, labels=corpus.labels),
        train=TrainConfig(batch=8, average_decay=0.98, generator_rate=5e-4, discriminator_rate=1e-3), data_key=data.key,
    )  # fmt: skip
    trained(tmp_path / "run", run, data, Budget(steps=1000))
    memory = Memory.load(tmp_path / "run")
    for name in ("Am", "C"):
        sounds = memory.invert(memory.generate(memory.latents(8, 1), name))
        named = [name_chord(sound, RATE, corpus.labels).name for sound in sounds]
        assert np.mean([n == name for n in named]) >= 0.75, named


def test_two_processes_learn_what_one_learns(tmp_path: Path, make_corpus: Callable[..., Path]) -> None:
    """Same global batch, same losses; and a run may go on with another number of processes."""
    root = make_corpus({"Am": 6, "C": 6})

    def run(out: str, processes: int, *more: str) -> None:
        launch = ["-m", "torch.distributed.run", f"--nproc-per-node={processes}", "--standalone"]
        command = [
            sys.executable, *(launch if processes > 1 else []), "-m", "fugue_state.cli", "train", str(root),
            "-o", str(tmp_path / out), "--feature-maps", "4", "--batch", "8", "--latent-size", "8", "--frames", "32",
            "--precision", "fp32", "--accelerator", "cpu", "--augment-shift", "0.05", "--augment-level", "2",
            *(["--devices", str(processes), "--strategy", "ddp"] if processes > 1 else []), *more,
        ]  # fmt: skip
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr[-2000:]

    def losses(out: str) -> npt.NDArray[np.float64]:
        return np.loadtxt(tmp_path / out / "losses.csv", delimiter=",", skiprows=1)[:, 1:4]

    run("one", 1, "--steps", "10")
    run("two", 2, "--steps", "10")
    assert losses("one").shape == (10, 3)
    np.testing.assert_allclose(losses("two"), losses("one"), atol=5e-3)
    run("parts", 2, "--steps", "5")
    run("parts", 1, "--steps", "10", "--resume")
    np.testing.assert_allclose(losses("parts"), losses("one"), atol=5e-3)
    first, second = Memory.load(tmp_path / "one"), Memory.load(tmp_path / "two")
    z = first.latents(4, 0)
    np.testing.assert_allclose(second.generate(z), first.generate(z), atol=0.02)


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    class Three:
        world_size = 3

    with pytest.raises(InputError, match="batch of 4 cannot be shared by 3 processes"):
        Trainer(run_config(), mel_set(), Three())  # type: ignore[arg-type]


def test_devices_that_are_not_there_are_refused() -> None:
    with pytest.raises(InputError, match="cannot train on 1 x cuda"):
        make_fabric(ComputeConfig(accelerator="cuda"))


def test_training_keeps_others_out_of_its_folder(tmp_path: Path) -> None:
    with claimed(tmp_path), pytest.raises(InputError, match="another run is at work in this folder"):
        train(Run(tmp_path, Budget(steps=1)), run_config(), mel_set())
    run = Run(tmp_path, Budget(steps=1))

    def keeps_out(*_: object) -> dict[str, float]:
        with pytest.raises(InputError, match="another run is at work"), claimed(tmp_path):
            pass
        return {"score": 1.0}

    with run:
        train(run, run_config(), mel_set(), examine=keeps_out)
        keeps_out()
    with claimed(tmp_path):
        pass
