from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from scipy.io import wavfile

from fugue_state.audio import io, reading, riff
from fugue_state.audio.riff import Marker, read_comments
from fugue_state.errors import InputError, OutputError

from .conftest import RATE, pluck

MARKERS = (Marker(0, "Am"), Marker(777, "odd"), Marker(20_000, "Gemüt\tand\nline\0end"))


def chunks(data: bytes) -> dict[bytes, list[bytes]]:
    """Walk the chunks of a file, checking that every size and the whole add up."""
    long = data[:4] == b"RF64"
    size = struct.unpack_from("<Q", data, 20)[0] if long else struct.unpack_from("<I", data, 4)[0]
    assert size + 8 == len(data)
    found: dict[bytes, list[bytes]] = {}
    at = 12
    while at < len(data):
        name, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if long and name == b"data":
            length = struct.unpack_from("<Q", data, 28)[0]
        found.setdefault(name, []).append(data[at + 8 : at + 8 + length])
        at += 8 + length + length % 2
    assert at == len(data)
    return found


def marked(path: Path) -> list[tuple[int, str]]:
    """Read markers as the RIFF specification describes them."""
    found = chunks(path.read_bytes())
    (cue,) = found[b"cue "]
    points = {}
    for number in range(struct.unpack_from("<I", cue)[0]):
        name, _, chunk, start, block, sample = struct.unpack_from("<II4sIII", cue, 4 + 24 * number)
        assert (chunk, start, block) == (b"data", 0, 0)
        points[name] = sample
    (body,) = [b for b in found[b"LIST"] if b[:4] == b"adtl"]
    at, labels = 4, []
    while at < len(body):
        kind, length = body[at : at + 4], int.from_bytes(body[at + 4 : at + 8], "little")
        assert kind == b"labl"
        text = body[at + 12 : at + 8 + length]
        assert text.endswith(b"\0")
        labels.append((points[int.from_bytes(body[at + 8 : at + 12], "little")], text[:-1].decode()))
        at += 8 + length + length % 2
    assert len(labels) == len(points)
    return labels


def write(path: Path, subtype: str = "PCM_24", comment: str = "", frames: int = 22_051) -> None:
    sound = pluck(57)[:frames, None]
    with io.Writer(path, RATE, frames=frames, channels=1, subtype=subtype, comment=comment, markers=MARKERS) as file:
        file.write(sound)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
@pytest.mark.parametrize("kind", ["WAV", "RF64"])
def test_markers_are_where_they_should_be_and_change_no_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, subtype: str, kind: str
) -> None:
    if kind == "RF64":
        monkeypatch.setattr(io, "LARGEST_WAV", 1000)
    path = tmp_path / "a.wav"
    write(path, subtype, comment="odd")
    assert marked(path) == [(0, "Am"), (777, "odd"), (20_000, "Gemüt and line end")]
    assert list(read_comments(path)) == [b"odd"]
    read, rate = soundfile.read(path, dtype="float32")
    assert soundfile.info(path).format == kind
    assert rate == RATE
    assert np.abs(read - pluck(57)[:22_051]).max() < (4e-5 if subtype == "PCM_16" else 2e-7)
    assert np.array_equal(reading.read(path)[0], read)


@pytest.mark.filterwarnings("ignore:Chunk .non-data. not understood")
def test_others_read_the_same_samples(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    write(path, "PCM_16", comment="c" * 300_000)
    ours, _ = soundfile.read(path, dtype="int16")
    rate, theirs = wavfile.read(path)
    assert rate == RATE
    assert np.array_equal(theirs, ours)
    with av.open(path) as file:
        assert np.array_equal(np.concatenate([f.to_ndarray() for f in file.decode(audio=0)], axis=1)[0], ours)
    if sox := shutil.which("sox"):
        raw = subprocess.run([sox, str(path), "-t", "raw", "-"], capture_output=True, check=True).stdout
        assert np.array_equal(np.frombuffer(raw, dtype="<i2"), ours)


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_long_comments_survive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    comment = "".join(chr(33 + i % 90) for i in range(300_001))
    for kind in ("small", "large"):
        folder = tmp_path / kind
        folder.mkdir()
        write(folder / name, comment=comment)
        told = (
            soundfile.SoundFile(folder / name).comment
            if name == "a.flac"
            else next(read_comments(folder / name)).decode()
        )
        assert told == comment
        assert len(soundfile.read(folder / name)[0]) == 22_051
        monkeypatch.setattr(io, "LARGEST_WAV", 1000)


def test_what_is_said_beside_the_samples_counts_for_the_largest_wav(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(io, "LARGEST_WAV", 70_000)
    write(tmp_path / "a.wav")
    write(tmp_path / "b.wav", comment="c" * 5000)
    assert [soundfile.info(tmp_path / name).format for name in ("a.wav", "b.wav")] == ["WAV", "RF64"]


def test_markers_outside_the_sound_are_refused() -> None:
    riff.check_markers(MARKERS, 20_000)
    with pytest.raises(InputError, match=r"at sample 20000: must be within 0\.\.19999"):
        riff.check_markers(MARKERS, 19_999)
    with pytest.raises(InputError, match="marker 'x' at sample -1"):
        riff.check_markers([Marker(-1, "x")], 10)
    with pytest.raises(InputError, match="at sample 4294967296"):
        riff.check_markers([Marker(2**32, "x")], 2**40)


def test_a_failure_while_the_chunks_are_written_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "a.wav"
    path.write_bytes(b"mine")
    monkeypatch.setattr(riff, "append", refuse)
    with pytest.raises(OutputError, match="the disk is full"):
        write(path)
    assert path.read_bytes() == b"mine"
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["a.wav"]


def test_no_comment_is_none_and_damage_is_no_crash(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    write(path)
    assert not list(read_comments(path))
    write(path, comment="here")
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(300):
        data = bytearray(whole[: int(rng.integers(12, len(whole)))] if rng.random() < 0.5 else whole)
        for place in rng.integers(0, min(len(data), 120), 4):
            data[-int(place) - 1 if rng.random() < 0.7 else int(place)] = int(rng.integers(256))
        path.write_bytes(bytes(data))
        assert all(isinstance(said, bytes) for said in read_comments(path))
