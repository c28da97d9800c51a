"""The same samples whatever the environment says of threads: each count in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from fugue_state.audio.compiled import in_threads

VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "BLIS_NUM_THREADS")

# Prints a line for everything that is heard, or that decides what is: its name and a hash of its bytes.
PROGRAM = """
import hashlib, sys
from pathlib import Path
import torch
if sys.argv[3] != "-":
    torch.set_num_threads(int(sys.argv[3]))  # as a program around ours may have done
from fugue_state import Atlas, Memory, Piece, Score, render
from fugue_state.audio.mel import MelTransform
from fugue_state.config import AtlasConfig, ProfileConfig
from fugue_state.measure.profile import Profile
from fugue_state.piece.performance import Performance

def tell(name, data):
    data = data.numpy() if isinstance(data, torch.Tensor) else data
    print(name, hashlib.sha256(data if isinstance(data, bytes) else data.tobytes()).hexdigest(), flush=True)

def rendered(name, memory, score):
    out = Path(sys.argv[2]) / f"{name}.wav"
    render(Piece(score, memory), out)
    tell(name, out.read_bytes())

tiny, guitar = Memory.load(sys.argv[1]), Memory.load("guitar")
short = Score(duration_s=2.0, memory="guitar")
rendered("guitar", guitar, short)
rendered("played", tiny, Score(duration_s=1.0, resolution="block", memory=sys.argv[1]))
rendered("noise", tiny, Score(duration_s=1.0, forgetting={"replacement": "noise"}, memory=sys.argv[1]))
mels = guitar.generate(guitar.latents(2, 1))
for name, quality in (("vocoder", "final"), ("lobes", "live"), ("updates", "draft")):
    how = guitar.make_inverter(name, quality)
    tell(f"{name} {quality}", how(mels))
    tell(f"{name} {quality} alone", how(mels[1:]))
tell("mel", MelTransform(guitar.spec).encode(torch.randn(2, 30_000, generator=torch.Generator().manual_seed(0))))
tell("stream", guitar.stream().whole(mels[0]))
performance = Performance(short, guitar)
for _ in range(3):
    tell("block", performance.next().samples)
profile = Profile.of(tiny, config=ProfileConfig(latents=3, observed=16))
for name in ("mel_db", "clarity", "activation", "centroid_hz", "regions", "cluster"):
    tell(name, getattr(profile, name))
for place in Atlas.of(tiny, config=AtlasConfig(count=16)).choose(4, bright=1.0):
    tell("place", repr(place.description).encode())
"""


def told(tiny_path: Path, folder: Path, threads: int | None, host: str = "-") -> list[str]:
    folder.mkdir()
    environment = {key: value for key, value in os.environ.items() if key not in VARIABLES}
    if threads is not None:
        environment |= dict.fromkeys(VARIABLES, str(threads))
    asked = [sys.executable, "-c", PROGRAM, str(tiny_path), str(folder), host]
    done = subprocess.run(asked, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_any_number_of_threads_makes_the_same(tiny_path: Path, tmp_path: Path) -> None:
    one = told(tiny_path, tmp_path / "one", 1)
    assert len(one) > 20
    for name, threads, host in (("two", 2, "-"), ("four", 4, "3")):
        other = told(tiny_path, tmp_path / name, threads, host)
        assert [mine for mine, theirs in zip(one, other, strict=True) if mine != theirs] == [], name


@pytest.mark.parametrize("count", [1, 5])
def test_each_item_has_one_thread_and_the_caller_keeps_its_own(count: int) -> None:
    threads = torch.get_num_threads()
    assert in_threads(lambda _: torch.get_num_threads(), range(count), at_once=2) == [1] * count
    assert torch.get_num_threads() == threads
    later: list[int] = []
    beside = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    beside.start()
    beside.join()
    assert later == [threads]


def test_what_fails_in_one_thread_gives_the_threads_back() -> None:
    threads = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError):
        in_threads(lambda item: 1 / item, [1, 0], at_once=2)
    assert torch.get_num_threads() == threads
