"""Checkpoints and side files that are damaged on purpose: one line each, or made anew."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from fugue_state.config import ProfileConfig
from fugue_state.errors import CheckpointError
from fugue_state.measure.profile import Profile
from fugue_state.memory.catalogue import HEADER, kind_of
from fugue_state.memory.memory import Memory


def rewritten(path: Path, header: str | None = None, **tensors: torch.Tensor) -> Path:
    with safe_open(path, "pt") as stored:
        metadata = dict(stored.metadata())
    if header is not None:
        metadata[HEADER] = header
    save_file(load_file(path) | tensors, path, metadata)
    return path


def refused(path: Path) -> str:
    with pytest.raises(CheckpointError) as error:
        Memory.load(path)
    assert len(str(error.value)) < 600 + len(str(path))
    assert "\n" not in str(error.value)
    return str(error.value)


DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize("header", [None, 3, [], [["name", "x"]], "text", {}, True])
def test_a_header_of_another_kind_is_refused(tiny_path: Path, header: Any) -> None:
    refused(rewritten(tiny_path, json.dumps({"kind": "memory", "format": 1, "header": header})))


@pytest.mark.parametrize(
    "text", [DEEP, '{"kind":"memory","format":1,"header":' + DEEP + "}", "", "null", "[1]", '{"kind":' + DEEP + "}"]
)
def test_a_header_nested_without_end_is_refused(tiny_path: Path, text: str) -> None:
    refused(rewritten(tiny_path, text))
    assert kind_of(tiny_path) in {"", "memory"}


def test_long_names_are_shortened_in_what_is_said(tiny_path: Path) -> None:
    long = "x" * 1_000_000
    refused(rewritten(tiny_path, json.dumps({"kind": long, "format": 1, "header": {}})))
    refused(rewritten(tiny_path, json.dumps({"kind": "memory", "format": long, "header": {}})))
    refused(rewritten(tiny_path, json.dumps({"kind": "memory", "format": 1, "header": {"name": long}})))


@pytest.mark.parametrize("dtype", [torch.complex64, torch.bool, torch.int64])
def test_weights_of_another_type_are_refused(tiny_path: Path, dtype: torch.dtype) -> None:
    weight = load_file(tiny_path)["output.weight"]
    assert "output.weight" in refused(rewritten(tiny_path, None, **{"output.weight": weight.to(dtype)}))


def test_two_hundred_mutations_load_or_are_refused(tiny_path: Path) -> None:
    whole, random = tiny_path.read_bytes(), np.random.default_rng(0)
    for number in range(200):
        data = bytearray(whole[: int(random.integers(0, len(whole)))] if number % 2 else whole)
        for place in random.integers(0, min(3000, max(1, len(data))), 8):
            if place < len(data):
                data[place] = int(random.integers(0, 256))
        tiny_path.write_bytes(bytes(data))
        with contextlib.suppress(CheckpointError):  # nothing else is raised
            Memory.load(tiny_path)


def test_a_complex_profile_is_made_anew(tiny_path: Path) -> None:
    memory, config = Memory.load(tiny_path), ProfileConfig(latents=3, observed=4)
    first = Profile.of(memory, tiny_path, config)
    kept = tiny_path.with_name("tiny.profile.safetensors")
    rewritten(kept, cluster=load_file(kept)["cluster"].to(torch.complex64))
    said: list[str] = []
    again = Profile.of(memory, tiny_path, config, say=said.append)
    assert len(said) == 1
    assert np.array_equal(first.mel_db, again.mel_db)
