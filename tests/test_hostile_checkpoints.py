"""Checkpoints and side files that are damaged on purpose: one line each, or made anew."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from fugue_state.config import MelSpec, ModelConfig, ProfileConfig, VocoderConfig
from fugue_state.errors import CheckpointError
from fugue_state.measure.profile import Profile
from fugue_state.memory.catalogue import HEADER, MemoryHeader, VocoderHeader, kind_of
from fugue_state.memory.checkpoint import load_memory, load_vocoder, save_memory, save_vocoder
from fugue_state.memory.layers import Generator
from fugue_state.memory.memory import Memory

from .conftest import LABELS, untrained_net


def rewritten(path: Path, header: str | None = None, **tensors: npt.NDArray[Any]) -> Path:
    with safe_open(path, "np") as stored:
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


SMALL = VocoderConfig(channels=8, blocks=1, low=8, local=4)
WEIGHTS = tuple(Generator.shapes(ModelConfig(feature_maps=4, latent_size=16, labels=LABELS)))
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


@pytest.mark.parametrize("dtype", [np.complex64, np.bool_, np.int64])
def test_weights_of_another_type_are_refused(tiny_path: Path, dtype: type[np.generic]) -> None:
    weight = load_file(tiny_path)["output.weight"]
    assert "output.weight" in refused(rewritten(tiny_path, None, **{"output.weight": weight.astype(dtype)}))


@pytest.mark.parametrize("name", WEIGHTS)
def test_a_tensor_of_another_shape_is_refused_by_its_name(tiny_path: Path, name: str) -> None:
    tensor = load_file(tiny_path)[name]
    wrong = [tensor[None], np.zeros((*tensor.shape, 2), np.float32)]
    wrong += [np.concatenate([tensor, tensor[:1]]), tensor[:-1], tensor.T] if tensor.ndim else []
    for other in wrong:
        if other.shape != tensor.shape:
            said = refused(rewritten(tiny_path, None, **{name: other}))
            assert f"tensor '{name}' is {other.shape}, its header says {tensor.shape}" in said


@pytest.mark.parametrize("name", WEIGHTS)
def test_a_tensor_with_values_that_are_no_numbers_is_refused_by_its_name(tiny_path: Path, name: str) -> None:
    tensor = load_file(tiny_path)[name]
    for value in (np.nan, np.inf, -np.inf, 1e300):  # in single precision the last is infinite, too
        wrong = np.array(tensor, np.float64)
        wrong.reshape(-1)[-1] = value  # one of them is enough
        said = refused(rewritten(tiny_path, None, **{name: wrong}))
        reason = "holds values that are not numbers" if tensor.ndim else "is float64, a whole number is needed"
        assert f"tensor '{name}' {reason}" in said


def test_a_variance_below_zero_is_refused_by_its_name(tiny_path: Path) -> None:
    name = "deconv.deconv2.norm.norm.running_var"
    wrong = load_file(tiny_path)[name]
    wrong[3] = -0.5
    assert f"tensor '{name}' holds a variance of -0.5" in refused(rewritten(tiny_path, None, **{name: wrong}))


@pytest.mark.parametrize("name", ["output.bias", "deconv.deconv3.norm.gain"])
def test_a_tensor_that_is_missing_or_one_too_many_is_named(tiny_path: Path, name: str) -> None:
    with safe_open(tiny_path, "np") as stored:
        metadata = dict(stored.metadata())
    tensors = load_file(tiny_path)
    save_file({key: tensor for key, tensor in tensors.items() if key != name}, tiny_path, metadata)
    assert f"tensor '{name}' is missing" in refused(tiny_path)
    save_file(tensors | {f"{name}.more": tensors[name]}, tiny_path, metadata)
    assert f"tensor '{name}.more' is not expected" in refused(tiny_path)


@pytest.mark.parametrize("prefix", ["", "vocoder."])
@pytest.mark.parametrize("name", ["blocks.0.taps", "settle.bias", "place", "near.weight"])
def test_a_vocoder_with_a_wrong_tensor_is_refused_by_its_name(
    tmp_path: Path, tiny_generator: Generator, tiny_header: MemoryHeader, prefix: str, name: str
) -> None:
    net, path = untrained_net(SMALL, tiny_header.mel), tmp_path / "v.safetensors"
    header = VocoderHeader(config=SMALL, mel=tiny_header.mel)
    if prefix:
        save_memory(path, tiny_generator, tiny_header.model_copy(update={"vocoder": header}), net=net)
    else:
        save_vocoder(path, net, header)
    load = load_memory if prefix else load_vocoder
    load(path)
    right = net.tensors[name]
    for wrong, said in ((right[:-1], "its header says"), (np.full_like(right, np.inf), "not numbers")):
        rewritten(path, None, **{prefix + name: wrong})
        with pytest.raises(CheckpointError, match=rf"tensor '{prefix}{name}' .*{said}"):
            load(path)


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
    rewritten(kept, cluster=load_file(kept)["cluster"].astype(np.complex64))
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
    net = untrained_net(SMALL, MelSpec())
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
