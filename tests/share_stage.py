"""A shared page with a test double of the engine, and scripts that run its modules in Node."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import save

from fugue_state.config import PageConfig
from fugue_state.look import cell
from fugue_state.share import page
from fugue_state.share.bundle import bundle
from fugue_state.share.page import About, Payloads, assembled

NODE = shutil.which("node")
FAKES = Path(__file__).parent / "fake_engine"
KERNELS = b"\0asm"
OURS = ("session.js", "pace.js", "dying.js", "unpack.js", "worker.js")
TENSORS: dict[str, npt.NDArray[Any]] = {
    "halves": np.arange(7, dtype=np.float16),
    "singles": np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3),
    "bytes": np.arange(5, dtype=np.uint8),
    "whole": np.arange(-2, 3, dtype=np.int64),
}


def fake_folders(tmp_path: Path) -> list[Path]:
    """The folders of the engine's modules, replaced by fakes as far as they compute."""
    folder = tmp_path / "fake-engine"
    if not folder.exists():
        folder.mkdir()
        for path in [page._folder(page.ENGINE) / name for name in OURS] + sorted(FAKES.glob("*.js")):
            shutil.copy(path, folder)
    return [folder, page._folder(page.SHARED), page._folder(page.OWN)]


def fake_page(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    config: PageConfig | None = None,
    *,
    title: str = "Untold",
    credits_: tuple[str, ...] = ("Someone",),
    samples: int | None = None,
    kernels: bytes = KERNELS,
    **piece: Any,
) -> Path:
    """Write a page that plays a piece on the test double."""
    folders = fake_folders(tmp_path)
    found = page._folders
    monkeypatch.setattr(page, "_folders", lambda script: folders if script == "worker" else found(script))
    tensors = save(TENSORS)
    told = {"sound": {"rate_hz": 44_100, "full_activation": 0.28}, "samples": samples, **piece}
    payloads = Payloads(kernels, tensors, tensors, json.dumps(told))
    path = tmp_path / "page.html"
    path.write_text(assembled(payloads, About(title, credits_, "fake"), config or PageConfig()), "utf-8")
    return path


def run_node(script: str, tmp_path: Path, folders: list[Path] | None = None) -> Any:
    """Run a module in Node, bundled with what it imports; return what it prints, read as JSON."""
    folder = tmp_path / "entry"
    folder.mkdir(exist_ok=True)
    (folder / "entry.js").write_text(script, "utf-8")
    whole = folder / "whole.js"
    whole.write_text(
        bundle("entry.js", [folder, *(folders or fake_folders(tmp_path))], {"cell.js": cell.script()}), "utf-8"
    )
    assert NODE is not None
    ran = subprocess.run([NODE, str(whole)], capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)
