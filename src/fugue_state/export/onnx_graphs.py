"""The networks of a memory as ONNX graphs, built from its own weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from fugue_state.audio.magnitudes import LEAST, LOBE_UPDATES, PLAIN_UPDATES, SLOWEST, START, Rows, dictionary
from fugue_state.config import MelSpec
from fugue_state.memory.layers import BANDS, Generator, resized
from fugue_state.memory.vocoder import CENTRE, QUIETEST, SILENT, SPREAD, MagnitudeNet, patches
from fugue_state.output.provenance import MADE_BY

OPSET, IR_VERSION = 17, 8  # old enough for most runtimes
STRENGTHS, REPLACEMENT, ACTIVATION, MAPS = "strengths_", "replacement_", "activation_", "maps_"
Values = npt.NDArray[Any]


class Graph:
    """Nodes and constants on their way to a model; every method returns the name of what it adds."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, TensorProto] = {}

    def add(self, kind: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        """Add a node with one output."""
        made = name or f"n{len(self.nodes)}_{kind.lower()}"
        self.nodes.append(helper.make_node(kind, list(inputs), [made], name=made, **attributes))
        return made

    def constant(self, values: npt.ArrayLike, name: str | None = None, *, whole: bool = False) -> str:
        """Add a constant in single precision, or of whole numbers."""
        made = name or f"c{len(self.constants)}"
        array = np.ascontiguousarray(values, dtype=np.int64 if whole else np.float32).reshape(np.shape(values))
        self.constants[made] = numpy_helper.from_array(array, made)
        return made

    def axes(self, *axes: int) -> str:
        """Add whole numbers, such as axes or sizes."""
        return self.constant(axes, whole=True)

    def linear(self, x: str, tensors: Mapping[str, Values], name: str) -> str:
        """Add an affine map of the last axis."""
        turned = self.add("MatMul", x, self.constant(tensors[f"{name}.weight"].T))
        return self.add("Add", turned, self.constant(tensors[f"{name}.bias"]))

    def norm(self, x: str, tensors: Mapping[str, Values], name: str) -> str:
        """Add a layer normalization of the last axis."""
        how = [self.constant(tensors[f"{name}.{each}"]) for each in ("weight", "bias")]
        return self.add("LayerNormalization", x, *how, axis=-1, epsilon=1e-5)

    def gelu(self, x: str) -> str:
        """Add the exact GELU."""
        error = self.add("Erf", self.add("Mul", x, self.constant(np.sqrt(0.5))))
        half = self.add("Mul", x, self.constant(0.5))
        return self.add("Mul", half, self.add("Add", error, self.constant(1.0)))

    def part(self, x: str, first: int, last: int, axis: int) -> str:
        """Add a slice of one axis."""
        return self.add("Slice", x, self.axes(first), self.axes(last), self.axes(axis))

    def model(self, name: str, inputs: Sequence[Any], outputs: Sequence[Any], about: str) -> ModelProto:
        """Return the model."""
        graph = helper.make_graph(self.nodes, name, inputs, outputs, list(self.constants.values()), doc_string=about)
        imports = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION, producer_name=MADE_BY)


def _single(name: str, *shape: str | int) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))


def generator_model(generator: Generator, about: str) -> ModelProto:
    """Return the generator: latents and labels, strengths and replacements to mels, activations and maps.

    Strengths (B or 1, C) of a layer are all remembered if not given, replacements (B or 1, C, H or 1, W or 1) zero.
    """
    graph, config = Graph(), generator.config
    inputs = [
        _single("latent", "batch", config.latent_size),
        helper.make_tensor_value_info("label", TensorProto.INT64, ["batch"]),
    ]
    outputs = [_single("mel", "batch", BANDS, generator.frames)]
    last, sizes = list(config.layers)[-1], generator.map_sizes(generator.frames)
    maps = graph.add("Unsqueeze", "latent", graph.axes(2, 3))
    for number, (name, units) in enumerate(config.layers.items()):
        own = _layer(graph, generator, name, maps, first=number == 0)
        maps = _forgotten(graph, own, name, units)
        inputs += [
            _single(STRENGTHS + name, f"batch_or_1_{STRENGTHS}{name}", units),
            _single(REPLACEMENT + name, f"batch_or_1_{REPLACEMENT}{name}", units, f"height_{name}", f"width_{name}"),
        ]
        outputs += [_single(ACTIVATION + name, "batch", units), _single(MAPS + name, "batch", units, *sizes[name])]
        graph.add("ReduceMean", maps, name=ACTIVATION + name, axes=[2, 3], keepdims=0)
    tensors = generator.tensors
    weights = [graph.constant(tensors[f"output.{each}"]) for each in ("weight", "bias")]
    raised = graph.add("ConvTranspose", maps, *weights, strides=[2, 2], pads=[1, 1, 1, 1], name=f"after_{last}")
    graph.add("Squeeze", graph.add("Tanh", raised), graph.axes(1), name="mel")
    outputs[1:] = sorted(outputs[1:], key=lambda each: each.name.startswith(MAPS))
    return graph.model("generator", inputs, outputs, about)


def _layer(graph: Graph, generator: Generator, name: str, maps: str, *, first: bool) -> str:
    """Add a layer's maps, before anything is forgotten."""
    weights = graph.constant(generator.tensors[f"deconv.{name}.conv.weight"])
    how: dict[str, Any] = {} if first else {"strides": [2, 2], "pads": [1, 1, 1, 1]}
    raised = graph.add("ConvTranspose", maps, weights, **how)
    layer = generator.layer(name)
    for kind, values in (("Mul", layer.gain), ("Add", layer.shift)):
        chosen = graph.add("Gather", graph.constant(values[:, :, None, None]), "label", axis=0)
        raised = graph.add(kind, raised, chosen)
    return graph.add("Relu", raised, name=MAPS + name)


def _forgotten(graph: Graph, maps: str, name: str, units: int) -> str:
    """Add s * h + (1 - s) * r."""
    graph.constant(np.ones((1, units)), STRENGTHS + name)
    graph.constant(np.zeros((1, units, 1, 1)), REPLACEMENT + name)
    strength = graph.add("Unsqueeze", STRENGTHS + name, graph.axes(2, 3))
    lost = graph.add("Sub", graph.constant(1.0), strength)
    kept = graph.add("Mul", strength, maps)
    return graph.add("Add", kept, graph.add("Mul", lost, REPLACEMENT + name))


def vocoder_model(net: MagnitudeNet | None, spec: MelSpec, about: str) -> ModelProto:
    """Return the network of the vocoder: mel (B, M, T) to magnitudes (B, T, F); without a net, the first guess."""
    graph, bins = Graph(), spec.n_fft // 2 + 1
    mel = graph.add("Clip", "mel", graph.constant(-1.0), graph.constant(1.0))
    frames = graph.add("Transpose", mel, perm=[0, 2, 1])
    lobes = _lobes(graph, _bands(graph, frames, spec), spec)
    known = bins if net is None else net.known
    if spec.power == 2:
        lobes = graph.add("Sqrt", lobes)
    guess = graph.add("Max", graph.part(lobes, 0, known, 2), graph.constant(QUIETEST))
    logs = graph.add("Log", guess)
    if net is not None:
        logs = _improved(graph, net, spec, frames, logs)
    quiet = graph.add("Sub", graph.add("Exp", logs), graph.constant(QUIETEST))
    graph.add("Relu", quiet, name="magnitudes")
    return graph.model(
        "vocoder",
        [_single("mel", "batch", spec.n_mels, "frames")],
        [_single("magnitudes", "batch", "frames", bins)],
        about,
    )


def _bands(graph: Graph, frames: str, spec: MelSpec) -> str:
    """Add the filters' outputs (B, T, M) for mel frames (B, T, M)."""
    above = graph.add("Add", frames, graph.constant(1.0))
    scaled = graph.add("Mul", above, graph.constant(spec.range_db / 2.0))
    level_db = graph.add("Add", scaled, graph.constant(spec.floor_db))
    level = graph.add("Pow", graph.constant(10.0), graph.add("Div", level_db, graph.constant(20.0)))
    found = graph.add("Relu", graph.add("Sub", level, graph.constant(10.0 ** (spec.floor_db / 20.0))))
    return graph.add("Mul", found, found) if spec.power == 2 else found


def _dense(rows: Rows, columns: int) -> Values:
    """Return compressed sparse rows as a matrix."""
    starts, places, values = rows
    made = np.zeros((len(starts) - 1, columns), dtype=np.float32)
    made[np.repeat(np.arange(len(made)), np.diff(starts)), places] = values
    return made


def _lobes(graph: Graph, bands: str, spec: MelSpec) -> str:
    """Add the sums of lobes (B, T, F) that produce these bands: the updates of `Lobes`, as a loop."""
    atoms = dictionary(spec)
    count = len(atoms.by_atom[0]) - 1
    ahead = graph.constant(_dense(atoms.by_band, count).T, "lobes_ahead")
    back = graph.constant(_dense(atoms.by_atom, spec.n_mels).T, "lobes_back")
    loudest = graph.add("ReduceMax", bands, axes=[2], keepdims=1)
    begun = graph.add("Mul", loudest, graph.constant(np.full(count, START)))
    body = Graph()
    turn = _turn(body, bands, "weight_before", ahead, back)
    seven, one = body.constant(7.0, "seven"), body.constant(1.0, "one")
    upper = body.add("Add", body.add("Mul", seven, turn), one)
    by = body.add("Div", body.add("Mul", turn, upper), body.add("Add", turn, seven))
    body.add("Mul", "weight_before", by, name="weight_after")
    body.add("Identity", "going", name="goes_on")
    inner = helper.make_graph(
        body.nodes,
        "update",
        [
            helper.make_tensor_value_info("update_number", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            _single("weight_before", "batch", "frames", count),
        ],
        [
            helper.make_tensor_value_info("goes_on", TensorProto.BOOL, []),
            _single("weight_after", "batch", "frames", count),
        ],
        list(body.constants.values()),
    )
    graph.constant(LOBE_UPDATES, "updates", whole=True)
    weight = graph.add("Loop", "updates", "", begun, body=inner)
    for _ in range(PLAIN_UPDATES):
        weight = graph.add("Mul", weight, _turn(graph, bands, weight, ahead, back))
    return graph.add("MatMul", weight, graph.constant(_dense(atoms.by_bin, count).T))


def _turn(graph: Graph, bands: str, weight: str, ahead: str, back: str) -> str:
    """Add the factor of each atom (B, T, K); names in a loop's body must differ from those around it."""
    mark = f"_of_{weight}"
    least, slowest = graph.constant(LEAST, f"least{mark}"), graph.constant(SLOWEST, f"slowest{mark}")
    seen = graph.add("Max", graph.add("MatMul", weight, ahead, name=f"seen{mark}"), least, name=f"heard{mark}")
    ratio = graph.add("Div", bands, seen, name=f"ratio{mark}")
    turned = graph.add("MatMul", ratio, back, name=f"turned{mark}")
    return graph.add("Max", turned, slowest, name=f"turn{mark}")


def _improved(graph: Graph, net: MagnitudeNet, spec: MelSpec, frames: str, guess: str) -> str:
    """Add log magnitudes (B, T, F) for mel frames (B, T, M) and their guess (B, T, known), as `MagnitudeNet` does."""
    config, tensors = net.config, net.tensors
    around = graph.constant([0, net.before, 0, 0, 0, 0], whole=True)
    whole = graph.add("Pad", frames, around, graph.constant(SILENT))
    held = graph.part(frames, -1, 2**31, 1)
    whole = graph.add("Concat", whole, *[held] * config.look_ahead, axis=1)
    windows = [graph.part(whole, k, k - config.entry + 1 or 2**31, 1) for k in range(config.entry)]
    after = graph.add("Concat", graph.part(guess, 1, 2**31, 1), graph.part(guess, -1, 2**31, 1), axis=1)
    low, later = (graph.part(each, 0, config.low, 2) for each in (guess, after))
    rise = _over(graph, graph.add("Sub", later, low))
    hidden = graph.linear(graph.add("Concat", *windows, _scaled(graph, low), rise, axis=2), tensors, "enter")
    for number in range(config.blocks):
        hidden = _block(graph, tensors, f"blocks.{number}", hidden, config.kernel)
    hidden = graph.norm(hidden, tensors, "norm")
    known = graph.add("Add", guess, graph.linear(hidden, tensors, "leave"))
    known = graph.add("Add", known, _local(graph, net, spec, guess, after, hidden))
    if not net.bins - net.known:
        return known
    top = graph.add("ReduceMean", graph.part(known, -config.patch, 2**31, 2), axes=[2], keepdims=1)
    curve = resized(np.eye(config.air, dtype=np.float32), net.bins - net.known, -1)
    above = graph.add("MatMul", graph.linear(hidden, tensors, "above"), graph.constant(curve))
    return graph.add("Concat", known, graph.add("Add", top, above), axis=2)


def _over(graph: Graph, x: str) -> str:
    return graph.add("Div", x, graph.constant(SPREAD))


def _scaled(graph: Graph, x: str) -> str:
    return graph.add("Add", _over(graph, x), graph.constant(CENTRE))


def _block(graph: Graph, tensors: Mapping[str, Values], name: str, frames: str, kernel: int) -> str:
    """Add a block that looks back only."""
    taps = tensors[f"{name}.taps"]
    turned = graph.add("Transpose", frames, perm=[0, 2, 1])
    weights = graph.constant(taps[:, None])
    mixed = graph.add("Conv", turned, weights, group=len(taps), pads=[kernel - 1, 0])
    mixed = graph.norm(graph.add("Transpose", mixed, perm=[0, 2, 1]), tensors, f"{name}.norm")
    out = graph.linear(graph.gelu(graph.linear(mixed, tensors, f"{name}.widen")), tensors, f"{name}.narrow")
    return graph.add("Add", frames, graph.add("Mul", out, graph.constant(tensors[f"{name}.scale"])))


def _local(graph: Graph, net: MagnitudeNet, spec: MelSpec, guess: str, after: str, hidden: str) -> str:
    """Add the correction (B, T, known) of each patch."""
    patch, count, tensors = net.config.patch, patches(net.config, spec), net.tensors
    places = np.arange(count)[:, None] * patch - patch // 2 + np.arange(2 * patch)
    table = graph.constant(places.clip(0, net.known - 1), whole=True)
    now, then = (graph.add("Gather", each, table, axis=2) for each in (guess, after))
    mean, later = (graph.add("ReduceMean", each, axes=[3], keepdims=1) for each in (now, then))
    apart = [_over(graph, graph.add("Sub", each, mean)) for each in (now, then, later)]
    seen = graph.add("Concat", *apart[:2], _scaled(graph, mean), apart[2], axis=3)
    context = graph.add("Unsqueeze", graph.linear(hidden, tensors, "context"), graph.axes(2))
    inside = graph.add("Add", graph.linear(seen, tensors, "near"), graph.constant(tensors["place"]))
    inside = graph.gelu(graph.add("Add", inside, context))
    deep = graph.gelu(graph.linear(graph.norm(inside, tensors, "settle"), tensors, "deepen"))
    inside = graph.add("Add", inside, graph.linear(deep, tensors, "shallow"))
    shape = graph.axes(0, 0, net.known)
    return graph.add("Reshape", graph.linear(inside, tensors, "correct"), shape)
