"""What runs where only playing is installed: without PyTorch, Lightning Fabric, scikit-learn and librosa."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

BARE = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "lightning_fabric", "sklearn", "librosa"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
"""
COMMANDS = [
    "--help",
    "--version",
    "card --help",
    "models",
    "score new new.toml",
    "score from-chart --text |Am|F| -o new.toml",
    "train --help",
    "vocoder train --help",
    "sample -m {memory} -n 1 -o out",
    "forget -m {memory} -o piece.wav --duration 2 --film piece.mp4 --size 480x360 --fps 24",
    "score show forget-and-recall -o plan.png",
    "render short.toml -o piece.wav",
    "share short.toml -o page.html",
    "resynth sound.wav -o again.wav -m {memory}",
    "profile {memory} --latents 2 --observed 4 --plot profile.svg",
    "atlas {memory} --latents 16",
    "curve {memory} --latents 2 --steps 2 --plot curve.svg",
    "measure {memory} --against sounds --per-class 4",
    "corpus inspect sounds",
]
LEARNING = ["card sounds", "train sounds -o run", "train sounds -o run --dry-run", "vocoder train sounds -o run"]
TOLD = (
    "learning needs packages that are not installed (torch, lightning_fabric, sklearn, librosa): "
    'pip install -c constraints.txt ".[learn]", in the folder of this software'
)


def run_bare(folder: Path, code: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run Python code, and see to it that it finds nothing of what learning needs."""
    command = [sys.executable, "-c", BARE + code, *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def fugue(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    return run_bare(folder, "from fugue_state.cli import main; main()", *command.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_run_without_what_learning_needs(
    tmp_path: Path, tiny_path: Path, make_corpus: Callable[..., Path], command: str
) -> None:
    root = make_corpus({"Am": 4, "C": 4}, "sounds")
    shutil.copy(next(root.rglob("*.wav")), tmp_path / "sound.wav")
    score = f'memory = "{tiny_path}"\nduration_s = 1.0\nforgetting = {{ order = "random", pace = "linear" }}\n'
    (tmp_path / "short.toml").write_text(score, encoding="utf-8")
    done = fugue(tmp_path, command.format(memory=tiny_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout or done.stderr


@pytest.mark.parametrize("command", LEARNING)
def test_what_learns_says_in_one_line_what_to_install(
    tmp_path: Path, make_corpus: Callable[..., Path], command: str
) -> None:
    make_corpus({"Am": 2, "C": 2}, "sounds")
    done = fugue(tmp_path, command)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"fugue: {TOLD}\n")
    assert not (tmp_path / "run").exists()


def test_the_front_door_says_the_same(tmp_path: Path) -> None:
    code = """
import fugue_state
from fugue_state.errors import InputError

for _ in range(2):
    try:
        fugue_state.learn
    except InputError as error:
        assert isinstance(error, ImportError)
        print(error)
"""
    done = run_bare(tmp_path, code)
    assert done.stdout.splitlines() == [TOLD, TOLD], done.stderr


def test_what_runs_bare_cannot_import_what_learning_needs(tmp_path: Path) -> None:
    for name in ("torch", "torch.nn", "lightning_fabric", "sklearn.cluster", "librosa"):
        done = run_bare(tmp_path, f"import {name}")
        assert done.returncode == 1
        assert f"No module named '{name.partition('.')[0]}'" in done.stderr
