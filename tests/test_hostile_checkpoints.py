"""Checkpoints and side files that are damaged on purpose: one line each, or made anew."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from fugue_state.config import MelSpec, ProfileConfig, VocoderConfig
from fugue_state.errors import CheckpointError
from fugue_state.measure.profile import Profile
from fugue_state.memory.catalogue import HEADER, MemoryHeader, VocoderHeader, kind_of
from fugue_state.memory.checkpoint import load_vocoder, save_vocoder
from fugue_state.memory.memory import Memory
from fugue_state.memory.vocoder import MagnitudeNet


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


def test_a_header_cannot_ask_for_memory_that_the_file_does_not_fill(tiny_path: Path, tiny_header: MemoryHeader) -> None:
    def saying(**model: Any) -> str:
        header = tiny_header.model_dump(mode="json")
        header["model"] |= model
        return refused(rewritten(tiny_path, json.dumps({"kind": "memory", "format": 1, "header": header})))

    assert "its header says" in saying(feature_maps=256, latent_size=1024)
    assert "its header says" in saying(labels=[str(i) for i in range(4096)])
    assert "4097 labels are too many: at most 4,096 labels" in saying(labels=[str(i) for i in range(4097)])
    assert "a name of 100000 is too long: at most 200" in saying(labels=["Am", "C", "x" * 100_000])
    assert "distinct" in saying(labels=["x" * 100_000] * 3)


def test_a_vocoder_of_lies_is_refused_before_it_is_built(tmp_path: Path) -> None:
    net = MagnitudeNet(VocoderConfig(channels=8, blocks=1, low=8, local=4), MelSpec())
    header = VocoderHeader(config=net.config, mel=MelSpec())
    path = tmp_path / "vocoder.safetensors"
    for config, said in (({"low": 10**12}, "low"), ({"channels": 1024, "local": 1024, "patch": 2}, "its header says")):
        save_vocoder(path, net, header)
        values = header.model_dump(mode="json")
        values["config"] |= config
        rewritten(path, json.dumps({"kind": "vocoder", "format": 1, "header": values}))
        with pytest.raises(CheckpointError, match=said):
            load_vocoder(path)


def test_what_is_no_file_or_empty_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "folder.safetensors").mkdir()
    (tmp_path / "empty.safetensors").write_bytes(b"")
    for name in ("folder", "empty", "missing"):
        refused(tmp_path / f"{name}.safetensors")
        with pytest.raises(CheckpointError):
            load_vocoder(tmp_path / f"{name}.safetensors")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.safetensors")
        refused(tmp_path / "pipe.safetensors")
        assert kind_of(tmp_path / "pipe.safetensors") == ""


def test_where_nothing_can_be_kept_a_profile_is_made_each_time(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("FUGUE_CACHE", str(tmp_path / "file" / "cache"))
    memory, config = Memory.load(tiny_path), ProfileConfig(latents=3, observed=4)
    said: list[str] = []
    Profile.of(memory, None, config, say=said.append)
    assert len(said) == 1
    assert "the profile is not kept for the next time; FUGUE_CACHE names another folder" in said[0]
