"""What the generator costs to play: with NumPy, as the project does it, with ONNX Runtime, and with PyTorch.

Each is measured in a process of its own, on one thread: from the start to the first chord, milliseconds for a chord
with strengths, how far it is from PyTorch, and what it takes on disk besides NumPy. What is not installed is left
out; `pip install onnxruntime onnx` for the second. One line of JSON for each.

    python benchmarks/networks.py [MODEL] [--chords 50]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

BEGIN = time.perf_counter()

import numpy as np  # noqa: E402 - its import is part of the start

from fugue_state.config import DEFAULT_MEMORY  # noqa: E402

Play = Callable[[Any, Any], Any]  # latent (Z,) and strengths (U,) to mel (M, T)
NEEDS = {"numpy": ("numba", "llvmlite"), "onnxruntime": ("onnxruntime", "google", "flatbuffers"), "torch": ("torch",)}
ONE = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def with_numpy(model: str) -> Play:
    """Return the project's own way."""
    from fugue_state.memory.memory import Memory

    memory = Memory.load(model)
    chord = memory.labels[0] if memory.labels else None
    return lambda z, strengths: memory.generate(z[None], chord, strengths)[0]


def with_onnxruntime(model: str) -> Play:
    """Return a session over a graph of the same weights, for the first label, with strengths as inputs."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    path = Path(tempfile.gettempdir()) / f"{Path(model).stem}.networks.onnx"
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda z, strengths: session.run(
        None, {"z": z[None, :, None, None], "strengths": strengths[None, :, None, None]}
    )[0][0, 0]


def write_graph(model: str) -> None:
    """Write the graph that ONNX Runtime reads."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from fugue_state.memory.catalogue import find_memory
    from fugue_state.memory.checkpoint import load_memory

    generator, header, _ = load_memory(find_memory(model))
    given, nodes, kept, before, first = generator.tensors, [], {}, "z", 0
    for name, units in header.model.layers.items():
        own = f"deconv.{name}"
        scale = given[f"{own}.norm.gain"][0] / np.sqrt(given[f"{own}.norm.norm.running_var"] + 1e-5)
        kept[f"{name}.weight"] = given[f"{own}.conv.weight"] * scale[None, :, None, None]
        kept[f"{name}.bias"] = given[f"{own}.norm.shift"][0] - given[f"{own}.norm.norm.running_mean"] * scale
        kept |= {f"{name}.begin": np.array([first]), f"{name}.end": np.array([first + units]), "axis": np.array([1])}
        how: dict[str, Any] = {} if before == "z" else {"strides": [2, 2], "pads": [1, 1, 1, 1]}
        nodes += [
            helper.make_node("ConvTranspose", [before, f"{name}.weight", f"{name}.bias"], [f"{name}.sum"], **how),
            helper.make_node("Relu", [f"{name}.sum"], [f"{name}.fired"]),
            helper.make_node("Slice", ["strengths", f"{name}.begin", f"{name}.end", "axis"], [f"{name}.left"]),
            helper.make_node("Mul", [f"{name}.fired", f"{name}.left"], [name]),
        ]
        before, first = name, first + units
    kept |= {"output.weight": given["output.weight"], "output.bias": given["output.bias"]}
    nodes += [
        helper.make_node(
            "ConvTranspose", [before, "output.weight", "output.bias"], ["sum"], strides=[2, 2], pads=[1, 1, 1, 1]
        ),
        helper.make_node("Tanh", ["sum"], ["mel"]),
    ]
    shapes = {"z": [1, header.model.latent_size, 1, 1], "strengths": [1, first, 1, 1]}
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    output = helper.make_tensor_value_info("mel", TensorProto.FLOAT, None)
    weights = [
        numpy_helper.from_array(value.astype(np.float32) if value.dtype.kind == "f" else value, name)
        for name, value in kept.items()
    ]
    graph = helper.make_graph(nodes, "generator", inputs, [output], weights)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(made, Path(tempfile.gettempdir()) / f"{Path(model).stem}.networks.onnx")


def with_torch(model: str) -> Play:
    """Return the network as it was trained, with strengths between its layers."""
    import torch

    from fugue_state.learning.arrays import fill
    from fugue_state.learning.networks import Generator
    from fugue_state.memory.catalogue import find_memory
    from fugue_state.memory.checkpoint import load_memory

    torch.set_num_threads(1)
    path = find_memory(model)
    played, header, _ = load_memory(path)
    generator = Generator(header.model, header.mel.frames)
    fill(generator, played.tensors, path)
    generator.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    sizes = list(header.model.layers.values())

    def play(z: Any, strengths: Any) -> Any:
        with torch.inference_mode():
            maps, label = torch.from_numpy(z)[None, :, None, None], torch.zeros(1, dtype=torch.int64)
            for layer, left in zip(
                generator.deconv.values(), torch.split(torch.from_numpy(strengths), sizes), strict=True
            ):
                maps = layer(maps, label) * left[:, None, None]
            return torch.tanh(generator.output(maps))[0, 0].numpy()

    return play


WAYS: dict[str, Callable[[str], Play]] = {
    "numpy": with_numpy, "onnxruntime": with_onnxruntime, "torch": with_torch,
}  # fmt: skip


def measured(way: str, model: str, chords: int, out: Path) -> dict[str, Any]:
    """Measure one way in this process; its mels go to `out`."""
    from fugue_state.memory.catalogue import find_memory, read_header

    header = read_header(find_memory(model)).model
    random = np.random.default_rng(0)
    latents = random.standard_normal((chords, header.latent_size)).astype(np.float32)
    strengths = random.random((chords, header.units)).astype(np.float32)
    play = WAYS[way](model)
    mels = [play(latents[0], strengths[0])]
    start_s = time.perf_counter() - BEGIN
    times = []
    for z, left in zip(latents, strengths, strict=True):
        begin = time.perf_counter()
        mels.append(play(z, left))
        times.append(time.perf_counter() - begin)
    np.save(out, np.stack(mels))
    return {"way": way, "start_s": round(start_s, 3), "chord_ms": round(1000 * statistics.median(times), 2)}


def installed_mb(way: str) -> float:
    """Return what a way takes on disk besides NumPy."""
    folders = [importlib.util.find_spec(name) for name in NEEDS[way]]
    places = [Path(place) for spec in folders if spec is not None for place in spec.submodule_search_locations or ()]
    return round(sum(f.stat().st_size for place in places for f in place.rglob("*") if f.is_file()) / 1e6, 1)


def main() -> None:
    """Print what each way takes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=DEFAULT_MEMORY)
    parser.add_argument("--chords", type=int, default=50)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.way:
        print(json.dumps(measured(asked.way, asked.model, asked.chords, asked.out)))
        return
    there = [way for way in WAYS if importlib.util.find_spec(way)]
    if "onnxruntime" in there:
        write_graph(asked.model)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(2):  # the first time something may be compiled, or read from a slow disk
            for way in there:
                out = Path(folder) / f"{way}.npy"
                command = [
                    sys.executable,
                    __file__,
                    asked.model,
                    f"--chords={asked.chords}",
                    f"--way={way}",
                    f"--out={out}",
                ]
                done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | ONE)
                found[way] = json.loads(done.stdout) | {"installed_mb": installed_mb(way)}
        exact = np.load(Path(folder) / f"{there[-1]}.npy")
        for way in there:
            found[way]["apart"] = float(np.abs(np.load(Path(folder) / f"{way}.npy") - exact).max())
    for line in found.values():
        print(json.dumps(line))


if __name__ == "__main__":
    main()
