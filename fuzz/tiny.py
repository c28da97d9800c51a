"""The smallest whole things there are, to be made malformed."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import soundfile

from fugue_state.config import MelSpec, ModelConfig, VocoderConfig
from fugue_state.memory.catalogue import MemoryHeader, VocoderHeader
from fugue_state.memory.checkpoint import save_memory, save_vocoder
from fugue_state.memory.layers import Generator, Shapes
from fugue_state.memory.vocoder import MagnitudeNet

RATE = 8000
LABELS = ("Am", "C", "F", "G")
BY_LIBSNDFILE = (
    ("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "FLOAT"), ("WAV", "PCM_U8"), ("WAV", "IMA_ADPCM"), ("WAV", "ULAW"),
    ("RF64", "PCM_16"), ("WAVEX", "PCM_16"), ("FLAC", "PCM_16"), ("FLAC", "PCM_24"), ("OGG", "VORBIS"), ("OGG", "OPUS"),
    ("MP3", "MPEG_LAYER_III"), ("AIFF", "PCM_16"), ("AU", "PCM_16"), ("CAF", "ALAC_16"), ("W64", "PCM_16"),
    ("NIST", "PCM_16"), ("VOC", "PCM_16"),
)  # fmt: skip
BY_FFMPEG = (
    ("m4a", "aac"), ("mov", "pcm_s16le"), ("mp3", "libmp3lame"), ("webm", "libopus"), ("wma", "wmav2"),
    ("flac", "flac"), ("aac", "aac"), ("wv", "wavpack"), ("avi", "pcm_s16le"),
)  # fmt: skip


def sound(channels: int = 1) -> npt.NDArray[np.float32]:
    """Return a tenth of a second (N, channels)."""
    wave = 0.3 * np.sin(2 * np.pi * 440 * np.arange(RATE // 10) / RATE)
    return np.repeat(wave[:, None], channels, axis=1).astype(np.float32)


def sounds(folder: Path) -> list[bytes]:
    """Return a tiny file of every form."""
    found = []
    for i, (form, subtype) in enumerate(BY_LIBSNDFILE):
        path = folder / f"{i}.bin"
        soundfile.write(path, sound(1 + i % 2), RATE, subtype, format=form)
        found.append(path.read_bytes())
    found += [encoded(folder / f"a.{ending}", codec).read_bytes() for ending, codec in BY_FFMPEG]
    return found


def encoded(path: Path, codec: str, comment: str = "") -> Path:
    """Write a sound with FFmpeg."""
    rate = 48_000 if codec == "libopus" else 44_100
    with av.open(path, "w") as out:
        if comment:
            out.metadata["comment"] = comment
        stream = out.add_stream(codec, rate=rate, layout="mono")
        assert isinstance(stream, av.AudioStream)  # noqa: S101 - for the types
        stream.bit_rate = 64_000
        for start in range(0, rate // 10, 1024):
            planes = np.full((1, 1024), 0.1, dtype=np.float32)
            frame = av.AudioFrame.from_ndarray(planes, "fltp", "mono")
            frame.sample_rate, frame.pts = rate, start
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


@cache
def generator(feature_maps: int = 4) -> tuple[Generator, MemoryHeader]:
    """Return an untrained network, and what it says about itself."""
    model = ModelConfig(feature_maps=feature_maps, latent_size=16, labels=LABELS)
    header = MemoryHeader(name="tiny", mel=MelSpec(), model=model, steps=1)
    frames = header.mel.frames
    return Generator(model, frames, untrained(Generator.shapes(model, frames))), header


def untrained(shapes: Shapes) -> dict[str, npt.NDArray[Any]]:
    """Return tensors of a network that has learned nothing: what scales is about 1, all else about 0."""
    source = np.random.default_rng(0)
    return {
        name: (name.endswith(("gain", "var")) + 0.02 * source.standard_normal(shape)).astype("f4" if shape else "i8")
        for name, shape in shapes.items()
    }


def memory(path: Path, feature_maps: int = 4) -> Path:
    """Write a memory."""
    network, header = generator(feature_maps)
    save_memory(path, network, header.model_copy(update={"name": path.stem}))
    return path


def vocoder(path: Path) -> Path:
    """Write a vocoder by itself."""
    config, spec = VocoderConfig(channels=8, blocks=1, expansion=1, kernel=2, local=4), MelSpec()
    net = MagnitudeNet(config, spec, untrained(MagnitudeNet.shapes(config, spec)))
    save_vocoder(path, net, VocoderHeader(config=config, mel=spec))
    return path
