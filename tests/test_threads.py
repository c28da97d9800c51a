"""The same samples whatever the environment says of threads: each count in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from fugue_state.audio import compiled
from fugue_state.audio.compiled import cores, in_threads, one_thread

VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "BLIS_NUM_THREADS")

# Prints a line for everything that is heard, or that decides what is: its name and a hash of its bytes.
PROGRAM = """
import hashlib, sys
from pathlib import Path
import numpy as np
from threadpoolctl import threadpool_limits
if sys.argv[3] != "-":
    threadpool_limits(int(sys.argv[3]))  # as a program around ours may have done
from fugue_state import Atlas, Memory, Piece, Score, render
from fugue_state.audio.mel import MelTransform
from fugue_state.config import AtlasConfig, ProfileConfig
from fugue_state.measure.profile import Profile
from fugue_state.engine.performance import Performance

def tell(name, data):
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
tell("mel", MelTransform(guitar.spec).encode(np.random.default_rng(0).normal(size=(2, 30_000)).astype(np.float32)))
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


def limits() -> set[int]:
    """How many threads each library may use for matrix products by now."""
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


@pytest.fixture
def _three_threads() -> Iterator[None]:
    """As a program around ours may have set it."""
    with threadpool_limits(3, user_api="blas"):
        if limits() != {3}:
            pytest.skip("the library of this NumPy has one thread")
        yield


@pytest.mark.usefixtures("_three_threads")
@pytest.mark.parametrize("count", [1, 5])
def test_each_item_has_one_thread_and_the_caller_keeps_its_own(count: int) -> None:
    assert in_threads(lambda _: limits(), range(count), at_once=2) == [{1}] * count
    assert limits() == {3}


@pytest.mark.usefixtures("_three_threads")
def test_what_fails_in_one_thread_gives_the_threads_back() -> None:
    with pytest.raises(ZeroDivisionError):
        in_threads(lambda item: 1 / item, [1, 0], at_once=2)
    assert limits() == {3}
    with pytest.raises(ZeroDivisionError), one_thread():
        _ = 1 / 0
    assert limits() == {3}


class Shared:
    """A library that has one limit for the whole process, as NumPy's own has."""

    internal_api, threading_layer = "openblas", "pthreads"

    def __init__(self) -> None:
        self.count = 3

    def get_num_threads(self) -> int:
        return self.count

    def set_num_threads(self, count: int) -> None:
        self.count = count


class Own(Shared, threading.local):
    """A library that has a limit for each thread, as NumPy's of conda may have."""

    internal_api = "mkl"


@pytest.mark.parametrize(("library", "between"), [(Shared(), 1), (Own(), 3)])
def test_the_limit_holds_while_anybody_is_inside_and_then_is_as_before(
    library: Shared, between: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "_libraries", lambda: [library])
    first, second = threading.Event(), threading.Event()
    seen: list[int] = []

    def early() -> None:
        with one_thread():
            first.set()
            second.wait(60)
            seen.append(library.get_num_threads())
        seen.append(library.get_num_threads())  # the other one is inside

    def late() -> None:
        first.wait(60)
        with one_thread():
            with one_thread():
                second.set()
            one.join(60)
            seen.append(library.get_num_threads())
        seen.append(library.get_num_threads())

    one, other = threading.Thread(target=early), threading.Thread(target=late)
    for thread in (one, other):
        thread.start()
    other.join(60)
    assert seen == [1, between, 1, 3]


@pytest.mark.usefixtures("_three_threads")
def test_many_threads_at_once_restore_the_limit() -> None:
    together = threading.Barrier(8)
    wrong: list[set[int]] = []

    @one_thread()
    def inside(depth: int) -> None:
        if limits() != {1}:
            wrong.append(limits())
        if depth:
            inside(depth - 1)

    def work() -> None:
        for depth in range(8):
            together.wait(60)
            inside(depth % 3)
            together.wait(60)
            if limits() != {3}:  # all are outside, none is back inside
                wrong.append(limits())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []
    assert limits() == {3}


def test_inside_one_thread_items_wait_for_each_other() -> None:
    def here(_: int) -> int:
        return threading.get_ident()

    with one_thread():
        assert set(in_threads(here, range(6))) == {threading.get_ident()}
    assert threading.get_ident() not in in_threads(here, range(6), at_once=2)


@pytest.mark.parametrize(("wanted", "count"), [("1", 1), ("2", 2), ("100000", 8), ("0", 8), ("", 8), ("2,1", 8)])
def test_fewer_cores_can_be_asked_for(monkeypatch: pytest.MonkeyPatch, wanted: str, count: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", wanted)
    assert cores() == count
