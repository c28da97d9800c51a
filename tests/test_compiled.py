"""Compiled loops: kept on disk where that is possible, and made again where what is there is no good."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fugue_state.audio import tone
from fugue_state.audio.compiled import ahead, compiled

TILTED = """
import logging, sys
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
import numpy as np
from fugue_state.audio.tone import Tilt
from fugue_state.config import ToneConfig
tilt = Tilt(ToneConfig(tilt_db=6.0), 44_100)
print(tilt(np.ones((1, 2), dtype=np.float32), tilt.silence())[0].round(4).tolist())
"""
# Loops that call others: the magnitudes of a few frames and of many, and the phase as it comes and seen as a whole.
SOUNDED = """
import hashlib
import numpy as np
from fugue_state.audio.inverters import make_inverter
from fugue_state.config import MelSpec
from fugue_state.memory.vocoder import LearnedMagnitudes, Stream, Unlearned
spec = MelSpec()
mel = np.random.default_rng(0).uniform(-1.0, 1.0, (1, spec.n_mels, 32)).astype(np.float32)
stream = Stream(LearnedMagnitudes(Unlearned(spec), spec))
for sound in (make_inverter("lobes", spec)(mel), stream.whole(mel[0]), stream.whole(mel[0, :, :8])):
    print(hashlib.sha256(sound.tobytes()).hexdigest())
"""
SAID = "compiling for this machine, which takes some seconds the first time"


def started(cache: Path, program: str = TILTED) -> subprocess.Popen[str]:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache)}
    return subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True)


def lines(process: subprocess.Popen[str]) -> list[str]:
    said = process.communicate(timeout=300)[0].splitlines()
    assert process.returncode == 0, said
    return said


def test_only_the_first_run_compiles_and_says_so(tmp_path: Path) -> None:
    both = [started(tmp_path), started(tmp_path)]  # which get in nobody's way
    one, other = map(lines, both)
    assert SAID in {one[0], other[0]}  # whichever came first
    assert one[-1] == other[-1]
    assert lines(started(tmp_path)) == one[-1:]


def test_the_first_run_gives_the_samples_of_the_second(tmp_path: Path) -> None:
    first = lines(started(tmp_path, SOUNDED))
    assert len(first) == 3
    assert lines(started(tmp_path, SOUNDED)) == first


@pytest.mark.parametrize("kept", ["*.nbi", "*.nbc"])
def test_what_is_damaged_is_compiled_again(tmp_path: Path, kept: str) -> None:
    first = lines(started(tmp_path))
    (path,) = tmp_path.rglob(kept)
    path.write_bytes(path.read_bytes()[:40])
    assert lines(started(tmp_path)) == first
    assert lines(started(tmp_path)) == first[1:]


def test_where_nothing_can_be_kept_it_is_compiled_each_time(tmp_path: Path) -> None:
    nowhere = tmp_path / "file"
    nowhere.touch()
    assert [line for line in lines(started(nowhere)) if line != SAID] == lines(started(tmp_path))[1:]


def test_a_full_disk_stops_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    again: Any = compiled(tone._filter.py_func)  # type: ignore[attr-defined]
    monkeypatch.setattr(again._cache._cache_file, "save", full)
    out = np.empty((1, 2), dtype=np.float32)
    again(np.ones((1, 2), dtype=np.float32), 0.5, 0.0, 0.0, np.zeros(2), out)
    assert out.tolist() == [[0.5, 0.5]]


def test_ahead_keeps_order_and_passes_errors_on() -> None:
    assert list(ahead(iter(range(10)))) == list(range(10))

    def broken() -> Iterator[int]:
        yield 1
        raise ValueError("over")

    made = ahead(broken())
    assert next(made) == 1
    with pytest.raises(ValueError, match="over"):
        next(made)
