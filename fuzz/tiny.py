"""The smallest whole things there are, to be made malformed."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import soundfile
import torch

from fugue_state.config import MelSpec, ModelConfig, VocoderConfig
from fugue_state.memory.catalogue import MemoryHeader, VocoderHeader
from fugue_state.memory.checkpoint import save_memory, save_vocoder
from fugue_state.memory.networks import Generator
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
def generator(feature_maps: int) -> Generator:
    """Return an untrained network."""
    torch.manual_seed(0)
    return Generator(ModelConfig(feature_maps=feature_maps, latent_size=16, labels=LABELS))


def memory(path: Path, feature_maps: int = 4) -> Path:
    """Write a memory."""
    network = generator(feature_maps)
    save_memory(path, network, MemoryHeader(name=path.stem, mel=MelSpec(), model=network.config, steps=1))
    return path


def vocoder(path: Path) -> Path:
    """Write a vocoder by itself."""
    config, spec = VocoderConfig(channels=8, blocks=1, expansion=1, kernel=2, local=4), MelSpec()
    save_vocoder(path, MagnitudeNet(config, spec), VocoderHeader(config=config, mel=spec))
    return path
