"""A folder with a memory's networks as ONNX files, what they need to be played, and an example."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from fugue_state.arrays import Array
from fugue_state.errors import OutputError
from fugue_state.export.onnx_graphs import (
    ACTIVATION,
    MAPS,
    OPSET,
    REPLACEMENT,
    STRENGTHS,
    generator_model,
    vocoder_model,
)
from fugue_state.files import replaceable_folder, replacing_folder
from fugue_state.measure.profile import Profile
from fugue_state.memory.bends import Source
from fugue_state.memory.licences import sources_told
from fugue_state.memory.memory import Memory
from fugue_state.memory.vocoder import LearnedMagnitudes, Unlearned
from fugue_state.output.provenance import MADE_BY

LARGEST_DIFFERENCE = 1e-4  # between a graph and the memory
GENERATOR, VOCODER, ABOUT, EXAMPLE, README = "generator.onnx", "vocoder.onnx", "memory.json", "example.py", "README.txt"
FILES = (GENERATOR, VOCODER, ABOUT, EXAMPLE, README)
CHECKED = 2  # latents that are compared
SHORT = 21  # frames of the mel that is compared beside a whole one
FORMAT = 1
QUIET = 3  # errors only: a default that may be replaced is worth a warning to ONNX Runtime

SOUNDING = '''"""Play a memory with NumPy and ONNX Runtime: pip install numpy scipy soundfile onnxruntime"""

import json, numpy as np, onnxruntime, soundfile
from pathlib import Path
from scipy.signal import istft, stft

onnxruntime.set_default_logger_severity(3)
about = json.loads(Path("memory.json").read_text()); spec = about["mel"]; n, hop = spec["n_fft"], spec["hop"]
generator, vocoder = (onnxruntime.InferenceSession(f"{name}.onnx") for name in ("generator", "vocoder"))
latent = np.array([about["example"]["latent"]], np.float32)
(mel,) = generator.run(["mel"], {"latent": latent, "label": np.array([0])})
magnitudes = vocoder.run(None, {"mel": mel})[0][0].T / 2
phases = np.exp(2j * np.pi * np.random.default_rng(0).random(magnitudes.shape))
for _ in range(32):  # Griffin-Lim
    sound = istft(magnitudes * phases, nperseg=n, noverlap=n - hop)[1]
    phases = np.exp(1j * np.angle(stft(sound, nperseg=n, noverlap=n - hop)[2][:, : magnitudes.shape[1]]))
soundfile.write("example.wav", sound, spec["sample_rate_hz"])
'''


@dataclass(frozen=True)
class Differences:
    """The largest differences between the graphs and the memory they were made from."""

    intact: float
    half_forgotten: float
    replaced: float
    vocoder: float


def check_export(folder: Path, *, force: bool) -> Path:
    """Return where an export goes; InputError if it cannot be written, or would replace something else."""
    return replaceable_folder(folder, force=force, listed=_listed)


def _listed(folder: Path) -> tuple[str, ...]:
    """Return the files of an export in a folder; none if it is not one."""
    return (*FILES, "example.wav") if (folder / ABOUT).is_file() and (folder / GENERATOR).is_file() else ()


def write_onnx(memory: Memory, profile: Profile, folder: Path, *, force: bool = False) -> Differences:
    """Write a memory's networks into a folder, all or nothing, and return how far they are from the memory.

    Raises InputError for a folder that is in the way, OutputError if the graphs differ from the memory by more than
    LARGEST_DIFFERENCE, or the disk is full.
    """
    folder = check_export(folder, force=force)
    made_of = f"memory {memory.header.name!r}, fingerprint {memory.fingerprint or 'unknown'}"
    models = {
        GENERATOR: generator_model(memory.generator, f"Generator of {made_of}."),
        VOCODER: vocoder_model(memory.net, memory.spec, f"Vocoder of {made_of}."),
    }
    with replacing_folder(folder) as made:
        for name, model in models.items():
            onnx.checker.check_model(model, full_check=True)
            (made / name).write_bytes(model.SerializeToString(deterministic=True))
        differences = compared(memory, made)
        _check(differences, folder)
        (made / ABOUT).write_text(json.dumps(described(memory, profile, differences), indent=1), encoding="utf-8")
        (made / EXAMPLE).write_text(SOUNDING, encoding="utf-8")
        (made / README).write_text(readme(memory), encoding="utf-8")
    return differences


def _check(differences: Differences, folder: Path) -> None:
    for name, value in vars(differences).items():
        if not value <= LARGEST_DIFFERENCE:  # also if it is no number
            raise OutputError(
                f"{folder}: the graph {name.replace('_', ' ')} differs from the memory by {value:.2g}, at most "
                f"{LARGEST_DIFFERENCE:g} is right; nothing was written"
            )


def opened(path: Path) -> Any:
    """Return a graph, ready to run."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = QUIET
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def compared(memory: Memory, folder: Path) -> Differences:
    """Return the largest differences between the graphs in a folder and the memory."""
    generator, z, label = opened(folder / GENERATOR), *_asked(memory)
    chords = [memory.labels[i] for i in label] if memory.labels else None
    half = (np.arange(memory.units) % 2).astype(np.float32)
    half[1::4] = 0.5
    latent, chord = memory.latents(1, seed=1), memory.labels[0] if memory.labels else None
    other, lent = Source(latent[0], chord), memory.maps(latent, chord)
    strengths = _by_layer(memory, half, STRENGTHS)
    cases: list[tuple[dict[str, Array], dict[str, Any]]] = [
        ({}, {}),
        (strengths, {"strengths": half}),
        (
            strengths | {REPLACEMENT + name: maps for name, maps in lent.items()},
            {"strengths": half, "bend": memory.bend("other", other=other)},
        ),
    ]
    found = []
    for inputs, how in cases:
        names = ["mel", *(ACTIVATION + name for name in memory.layers)]
        mel, *activations = generator.run(names, {"latent": z, "label": label} | inputs)
        wanted, firing = memory.observe(z, chords, **how)
        found.append(max(_apart(mel, wanted), _apart(np.concatenate(activations, axis=1), firing)))
    intact, half_forgotten, replaced = found
    vocoder = _vocoder_apart(memory, folder, memory.generate(z, chords))
    return Differences(intact, half_forgotten, replaced, vocoder)


def _vocoder_apart(memory: Memory, folder: Path, mel: Array) -> float:
    """Return the largest difference of magnitudes, for a whole mel and a part of it."""
    vocoder, spec = opened(folder / VOCODER), memory.spec
    learned = LearnedMagnitudes(memory.net or Unlearned(spec), spec)
    return max(_apart(vocoder.run(None, {"mel": each})[0], learned(each)) for each in (mel, mel[..., :SHORT]))


def _asked(memory: Memory) -> tuple[Array, Any]:
    """Return latents and labels to compare with: the first and the last label."""
    return memory.latents(CHECKED, seed=0), np.array([0, max(len(memory.labels), 1) - 1])


def _by_layer(memory: Memory, values: Array, prefix: str) -> dict[str, Array]:
    """Return values (U,) as inputs (1, C) of the graph."""
    ends = np.cumsum(list(memory.layers.values()))
    parts = zip(memory.layers.items(), ends, strict=True)
    return {prefix + name: values[None, end - units : end] for (name, units), end in parts}


def _apart(one: Array, other: Array) -> float:
    return float(np.abs(one - other).max()) if one.shape == other.shape else float("inf")


def described(memory: Memory, profile: Profile, differences: Differences) -> dict[str, Any]:
    """Return what `memory.json` says: units are counted from 0 in each layer."""
    header, latent = memory.header, memory.latents(1, seed=0)
    chord = memory.labels[0] if memory.labels else None
    mel = memory.generate(latent, chord)
    sizes = memory.generator.map_sizes(memory.spec.frames)
    parts = profile.parts
    return {
        "format": FORMAT,
        "made_by": MADE_BY,
        "name": header.name,
        "fingerprint": memory.fingerprint,
        "mel": header.mel.model_dump(mode="json") | {"floor_db": header.mel.floor_db},
        "labels": list(memory.labels),
        "latent_size": header.model.latent_size,
        "layers": [
            {
                "name": name,
                "units": units,
                "map": list(sizes[name]),
                "strengths": STRENGTHS + name,
                "replacement": REPLACEMENT + name,
                "activation": ACTIVATION + name,
                "maps": MAPS + name,
                "most_salient_first": np.argsort(-profile.saliency[parts[name]], kind="stable").tolist(),
                "mean_activation": memory.mean_activations[parts[name]].astype(float).tolist(),
            }
            for name, units in memory.layers.items()
        ],
        "order_by_saliency": [profile.names[i] for i in np.argsort(-profile.saliency, kind="stable")],
        "vocoder": "learned" if memory.net is not None else "first guess only: this memory has no vocoder",
        "example": {
            "latent": latent[0].astype(float).tolist(),
            "label": 0,
            "mel": {key: float(getattr(mel, key)()) for key in ("mean", "std", "min", "max")},
        },
        "largest_differences": vars(differences),
        "data": [source.model_dump(mode="json") for source in header.data],
        "vocoder_data": [source.model_dump(mode="json") for source in header.vocoder.data] if header.vocoder else [],
    }


def readme(memory: Memory) -> str:
    """Return the text of the folder's README."""
    header = memory.header
    mel, bins = header.mel, header.mel.n_fft // 2 + 1
    lines = [
        f"{header.name}: the networks of a memory, as ONNX files (opset {OPSET}). Made by {MADE_BY}.",
        f"Fingerprint of the memory: {memory.fingerprint or 'unknown'}.",
        "",
        f"{GENERATOR}: latent (B, {header.model.latent_size}) and label (B,) to mel (B, {mel.n_mels}, {mel.frames}).",
        "  strengths_LAYER (B or 1, C): 1 is remembered, 0 forgotten. Not given: all remembered.",
        "  replacement_LAYER (B or 1, C, H or 1, W or 1): stands in for what is forgotten. Not given: zero.",
        "  activation_LAYER (B, C): mean of each unit's map. maps_LAYER (B, C, H, W): maps before forgetting.",
        f"{VOCODER}: mel (B, {mel.n_mels}, T) to magnitudes (B, T, {bins}); a full-scale sine reads 1.",
        f"{ABOUT}: mel, labels, layers, order of units by saliency, example values.",
        f"{EXAMPLE}: makes example.wav; run it in this folder.",
        "",
        "LICENCE AND SOURCES",
        "",
        *sources_told(header),
    ]
    return "\n".join(lines) + "\n"
