from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from fugue_state.audio.mel import MelTransform
from fugue_state.cli import main
from fugue_state.config import Budget, HearConfig, MelSpec
from fugue_state.corpus.folder import read_corpus
from fugue_state.errors import CheckpointError, CorpusError, InputError
from fugue_state.learning import pace
from fugue_state.learning.degrade import degrade, noise_like
from fugue_state.learning.log import LOSS_FILE
from fugue_state.learning.run import Begin, Run, Watcher
from fugue_state.learning.vocoder_training import Listener, VocoderRun, hear, load_sounds
from fugue_state.memory.catalogue import VocoderHeader
from fugue_state.memory.checkpoint import load_vocoder, save_vocoder
from fugue_state.memory.claim import claimed
from fugue_state.memory.memory import VOCODER_FILE, Memory

from .test_vocoder import SMALL, tiny_net

SPEC = MelSpec(frames=32)
RUN = VocoderRun(vocoder=SMALL, mel=SPEC, hear=HearConfig(batch=2))


def run(*words: object) -> Result:
    return CliRunner().invoke(main, [str(w) for w in words])


@pytest.fixture
def sounds(make_corpus: Callable[..., Path]) -> torch.Tensor:
    corpus = read_corpus(make_corpus({"Am": 4, "C": 4}))
    return load_sounds(corpus, SPEC, RUN.hear)


def test_sounds_are_the_training_clips_at_the_mels_rate(sounds: torch.Tensor, make_corpus: Callable[..., Path]) -> None:
    assert sounds.shape == (8, 1.25 * SPEC.samples)
    assert sounds.dtype == torch.int16
    assert 1000 < int(sounds.abs().max()) <= 32_767
    few = load_sounds(read_corpus(make_corpus({"Am": 5, "C": 4}, "more")), SPEC, HearConfig(clips=3))
    assert len(few) == 3


def test_a_corpus_without_sounds_is_refused(make_corpus: Callable[..., Path]) -> None:
    folder = make_corpus({"Am": 2, "C": 2})
    corpus = read_corpus(folder)
    for path in folder.rglob("*.wav"):
        path.write_bytes(b"no sound")
    with pytest.raises(CorpusError, match="no clip of it can be read"):
        load_sounds(corpus, SPEC, RUN.hear)


def test_learning_makes_the_magnitudes_and_the_sound_better(sounds: torch.Tensor) -> None:
    plain = HearConfig(batch=2, rate=0.03, degraded=0.0, mixed=0.0, noisy=0.0)
    listener = Listener(RUN.model_copy(update={"hear": plain}), sounds)
    held = listener._batch(torch.Generator().manual_seed(99))

    def losses() -> list[float]:
        with torch.no_grad():
            return [float(loss) for loss in listener._losses(*held)]

    before = losses()
    for _ in range(60):
        listener.step(1.0)
    magnitude, _, sound = losses()
    assert magnitude < 0.9 * before[0]
    assert sound < 0.97 * before[2]


def test_every_part_of_the_network_learns(sounds: torch.Tensor) -> None:
    listener = Listener(RUN, sounds)
    before = {name: p.clone() for name, p in listener.net.named_parameters()}
    for _ in range(3):
        listener.step(1.0)
    still = [name for name, p in listener.net.named_parameters() if torch.equal(p, before[name])]
    assert not still


def test_the_true_magnitudes_are_no_loss_and_the_sound_is_the_clips(sounds: torch.Tensor) -> None:
    listener = Listener(RUN, sounds)
    audio, mel, true, whole = listener._batch(torch.Generator().manual_seed(5))
    assert np.array_equal(mel, MelTransform(SPEC).encode_magnitude(true.numpy()))
    assert np.allclose(mel[whole], MelTransform(SPEC).encode(audio.numpy())[whole], atol=1e-4)
    near = listener._sound_distance(true, audio, whole)
    far = listener._sound_distance(true.flip(1), audio, whole)
    assert float(near) < 0.5 * float(far)


def test_a_run_that_is_stopped_goes_on_as_if_it_had_not_been(tmp_path: Path, sounds: torch.Tensor) -> None:
    one, two = Listener(RUN, sounds), Listener(RUN, sounds)
    for _ in range(4):
        one.step(0.7)
    for _ in range(2):
        two.step(0.7)
    three = Listener(RUN, sounds)
    three.restore({name: array.copy() for name, array in two.state().items()}, tmp_path)
    for _ in range(2):
        three.step(0.7)
    ended, goes_on = one.state(), three.state()
    assert ended.keys() == goes_on.keys()
    # As in runs that older versions began.
    assert {"step", "net/leave.weight", "average/leave.weight", "adam/0/step", "adam/0/exp_avg"} <= ended.keys()
    assert all(np.array_equal(array, goes_on[name]) for name, array in ended.items())


def test_a_run_leaves_a_vocoder_and_can_be_resumed(tmp_path: Path, sounds: torch.Tensor) -> None:
    with claimed(tmp_path / "ears"), pytest.raises(InputError, match="another run is at work in this folder"):
        hear(Run(tmp_path / "ears", Budget(steps=3)), RUN, sounds)
    seen: list[int] = []
    watcher = Watcher(step=lambda now: seen.append(now.step))
    header = hear(
        Run(tmp_path / "ears", Budget(steps=3), watcher=watcher), RUN, sounds, examine=lambda _: {"error": 1.5}
    )
    assert (header.steps, header.metrics, seen) == (3, {"error": 1.5}, [1, 2, 3])
    _, stored = load_vocoder(tmp_path / "ears" / VOCODER_FILE)
    assert stored == header
    with pytest.raises(InputError, match="--resume continues it"):
        hear(Run(tmp_path / "ears", Budget(steps=5)), RUN, sounds)
    other = RUN.model_copy(update={"hear": HearConfig(batch=3)})
    with pytest.raises(InputError, match=r"hear\.batch = 2, not 3"):
        hear(Run(tmp_path / "ears", Budget(steps=5), Begin.RESUME), other, sounds)
    again = hear(Run(tmp_path / "ears", Budget(steps=5), Begin.RESUME), RUN, sounds)
    assert again.steps == 5
    lines = (tmp_path / "ears" / LOSS_FILE).read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["step", "1", "2", "3", "4", "5"]
    assert json.loads((tmp_path / "ears" / "run.json").read_text())["hear"]["batch"] == 2


def test_a_run_starts_from_a_vocoder_that_fits(tmp_path: Path, sounds: torch.Tensor) -> None:
    net = tiny_net()
    path = tmp_path / "v.safetensors"
    save_vocoder(path, net, VocoderHeader(config=SMALL, mel=SPEC))
    hear(Run(tmp_path / "ears", Budget(steps=1)), RUN, sounds, start=path)
    moved = load_vocoder(tmp_path / "ears" / VOCODER_FILE)[0].tensors["leave.weight"] - net.tensors["leave.weight"]
    assert 0 < np.abs(moved).max() < 0.01
    save_vocoder(path, net, VocoderHeader(config=SMALL, mel=MelSpec(fmin_hz=40.0)))
    with pytest.raises(CheckpointError, match=r"fmin_hz 40\.0 instead of 50\.0"):
        hear(Run(tmp_path / "more", Budget(steps=1)), RUN, sounds, start=path)
    assert not (tmp_path / "more").exists()


def test_degraded_spectrograms_keep_their_shape_and_say_which_are_whole() -> None:
    torch.manual_seed(0)
    magnitude = torch.rand(40, 32, 129)
    found, whole = degrade(magnitude, torch.Generator().manual_seed(1), 0.5)
    assert 10 < int(whole.sum()) < 30
    assert torch.equal(found[whole], magnitude[whole])
    changed = (found - magnitude).abs().amax((1, 2))
    assert (changed[~whole] > 0.01).all()
    assert torch.isfinite(found).all()
    assert (found >= 0).all()
    again, _ = degrade(magnitude, torch.Generator().manual_seed(1), 0.5)
    assert torch.equal(found, again)


def test_noise_lies_below_the_sound() -> None:
    torch.manual_seed(0)
    sound = torch.randn(20_000)
    for seed in range(10):
        level = float(noise_like(sound, torch.Generator().manual_seed(seed)).std())
        assert 0.009 < level < 1.01


def test_a_vocoder_is_trained_and_added_by_command(
    make_corpus: Callable[..., Path], tiny_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "WORTH_TIMING", 1)
    folder, work = make_corpus({"Am": 4, "C": 4}), tiny_path.parent
    (folder / "Test").mkdir()
    shutil.copytree(folder / "Am", folder / "Test" / "Am")
    (folder / "Training").mkdir()
    for name in ("Am", "C"):
        (folder / name).rename(folder / "Training" / name)
    ears = work / "ears"
    options = ("--mel-of", tiny_path, "--channels", "8", "--blocks", "1", "--batch", "2")
    made = run("vocoder", "train", folder, "-o", ears, *options, "--steps", "2")
    assert made.exit_code == 0, made.output
    assert "steps" in made.stdout
    assert "about 3,000 may be needed, a guess that no run has confirmed" in made.stderr
    assert "final_log_spectral_error_db" in made.stdout
    again = run("vocoder", "train", folder, "-o", ears, *options, "--steps", "2")
    assert again.exit_code == 2
    assert "--resume continues it" in again.output
    goes_on = run("vocoder", "train", folder, "-o", ears, "--resume", "--steps", "3")
    assert goes_on.exit_code == 0, goes_on.output
    assert load_vocoder(ears / VOCODER_FILE)[1].steps == 3
    out = work / "with.safetensors"
    assert run("vocoder", "add", ears, tiny_path, "-o", out).exit_code == 0
    assert Memory.load(out).own_inverter == "vocoder"
    assert run("vocoder", "add", out, tiny_path, "-o", work / "more.safetensors", "--half").exit_code == 0
    assert Memory.load(work / "more.safetensors").own_inverter == "vocoder"


def test_a_vocoders_run_goes_on_as_it_began(make_corpus: Callable[..., Path], tiny_path: Path) -> None:
    folder, ears = make_corpus({"Am": 4, "C": 4}), tiny_path.parent / "ears"
    words = ("vocoder", "train", folder, "-o", ears, "--mel-of", tiny_path, "--channels", "8", "--blocks", "1")
    made = run(*words, "--batch", "2", "--slice", "0.8", "--licence", "CC0-1.0", "--steps", "1")
    assert made.exit_code == 0, made.output
    assert json.loads((ears / "run.json").read_text())["slicing"] == "0.8"
    refused = run("vocoder", "train", folder, "-o", ears, "--resume", "--slice", "off", "--steps", "2")
    assert refused.exit_code == 2
    assert "ears: the run was started with slicing = 0.8, not off" in refused.output
    goes_on = run("vocoder", "train", folder, "-o", ears, "--resume", "--steps", "2")
    assert goes_on.exit_code == 0, goes_on.output
    _, header = load_vocoder(ears / VOCODER_FILE)
    assert (header.steps, header.config.channels, header.data[0].licence) == (2, 8, "CC0-1.0")
    older = json.loads((ears / "run.json").read_text())
    assert older.pop("slicing") == "0.8"  # which was not written down once
    (ears / "run.json").write_text(json.dumps(older))
    goes_on = run("vocoder", "train", folder, "-o", ears, "--resume", "--slice", "0.8", "--steps", "3")
    assert goes_on.exit_code == 0, goes_on.output
    assert json.loads((ears / "run.json").read_text())["slicing"] == "0.8"


def test_wrong_vocoders_are_one_line(tiny_path: Path) -> None:
    out = tiny_path.parent / "out.safetensors"
    for source, told in (
        (tiny_path, "memory 'tiny' has no vocoder"),
        ("gitar", "did you mean 'guitar'"),
        (tiny_path.parent / "none.safetensors", "no such checkpoint"),
        (tiny_path.parent, "neither vocoder.safetensors nor memory.safetensors is in this folder"),
    ):
        result = run("vocoder", "add", source, tiny_path, "-o", out)
        assert result.exit_code in {1, 2}
        assert told in result.output
        assert len(result.output.strip().splitlines()) == 1
    assert not out.exists()
    path = tiny_path.parent / "v.safetensors"
    lower = MelSpec(fmin_hz=40.0)
    save_vocoder(path, tiny_net(lower), VocoderHeader(config=SMALL, mel=lower))
    refused = run("vocoder", "add", path, tiny_path, "-o", out)
    assert "another MelSpec: fmin_hz 40.0 instead of 50.0" in refused.output
