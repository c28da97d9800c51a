from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from fugue_state.audio import reading, speakers
from fugue_state.config import ClipConfig
from fugue_state.corpus.clips import cut, loudest_rms, onset, prepare
from fugue_state.errors import AudioError
from fugue_state.limits import Limit

from .conftest import Sound, pluck

HZ = 44_100


def sine(duration_s: float = 1.0, rate: int = HZ, peak: float = 0.25) -> Sound:
    return (peak * np.sin(2 * np.pi * 220 * np.arange(round(duration_s * rate)) / rate)).astype(np.float32)


def encode(path: Path, codec: str, sound: Sound, rate: int = HZ, layout: str = "mono", **options: str) -> Path:
    """Write a sound (N,) or (N, channels) with FFmpeg."""
    with av.open(path, "w", options=options) as out:
        stream = out.add_stream(codec, rate=rate, layout=layout)
        assert isinstance(stream, av.AudioStream)
        stream.bit_rate = 128_000
        planes = np.ascontiguousarray(np.atleast_2d(sound.T), dtype=np.float32)
        for start in range(0, planes.shape[1], 1024):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(planes[:, start : start + 1024]), "fltp", layout)
            frame.sample_rate, frame.pts = rate, start
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def wave(path: Path, data: bytes, *, riff: int, size: int, before: bytes = b"", after: bytes = b"", rate: int = HZ,
         channels: int = 1) -> Path:  # fmt: skip
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, (2 * rate * channels) % 2**32, 2, 16)
    head = struct.pack("<4sI4s", b"RIFF", riff, b"WAVE") + form + before + struct.pack("<4sI", b"data", size)
    path.write_bytes(head + data + after)
    return path


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.m4a", "aac"), ("a.mp4", "aac"), ("a.3gp", "aac"), ("a.mov", "pcm_s16le"), ("a.mp3", "libmp3lame"),
        ("a.mp2", "mp2"), ("a.wma", "wmav2"), ("a.aifc", "pcm_s16be"), ("a.wv", "wavpack"), ("a.w64", "pcm_s16le"),
        ("a.mka", "flac"), ("a.avi", "pcm_s16le"), ("a.tta", "tta"), ("a.aac", "aac"), ("a.caf", "pcm_s16le"),
    ],
)  # fmt: skip
def test_what_ffmpeg_or_libsndfile_knows_is_read_whatever_its_name(tmp_path: Path, name: str, codec: str) -> None:
    kind = {".aifc": "aiff"}.get(Path(name).suffix)
    source = encode(tmp_path / (name if kind is None else "a.aiff"), codec, sine())
    other = source.rename(tmp_path / "renamed.wav")
    sound, rate = reading.read(other)
    assert rate == HZ
    assert abs(len(sound) - HZ) < 0.05 * HZ
    assert np.abs(sound[5000:30_000]).max() == pytest.approx(0.25, abs=0.02)
    assert reading.probe(other) == reading.SoundFacts(len(sound), HZ, 1)
    assert reading.is_sound(name)


@pytest.mark.parametrize(("name", "codec"), [("a.opus", "libopus"), ("a.webm", "libopus")])
def test_opus_is_read_at_its_rate(tmp_path: Path, name: str, codec: str) -> None:
    sound, rate = reading.read(encode(tmp_path / name, codec, sine(rate=48_000), 48_000))
    assert rate == 48_000
    assert len(sound) == pytest.approx(48_000, abs=1000)


def test_an_mp3_without_a_table_is_read_to_its_end(tmp_path: Path) -> None:
    rising = sine(8.0) * np.linspace(0.02, 1.0, 8 * HZ, dtype=np.float32)
    path = encode(tmp_path / "v.mp3", "libmp3lame", rising, write_xing="0", q="4")
    assert len(reading.read(path)[0]) / HZ == pytest.approx(8.0, abs=0.06)


def test_an_mp3_that_is_shorter_than_its_table_says_is_cut_short(tmp_path: Path) -> None:
    whole = encode(tmp_path / "x.mp3", "libmp3lame", sine(4.0)).read_bytes()
    (tmp_path / "cut.mp3").write_bytes(whole[: len(whole) // 2])
    at = max(whole.find(b"Xing"), whole.find(b"Info"))
    (tmp_path / "lie.mp3").write_bytes(whole[: at + 8] + (10**9).to_bytes(4) + whole[at + 12 :])
    with pytest.raises(AudioError, match=r"cut\.mp3: cut short"):
        reading.read(tmp_path / "cut.mp3")
    assert len(reading.read(tmp_path / "lie.mp3")[0]) / HZ == pytest.approx(4.0, abs=0.06)


def test_a_damaged_mp3_is_refused_and_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    whole = encode(tmp_path / "x.mp3", "libmp3lame", sine(1.0)).read_bytes()
    first = whole.find(b"\xff\xfb")
    frames = whole[first:].split(b"\xff\xfb")[1:]
    every_fourth = b"".join((b"\xff\xfb", b"\0\xfb")[i % 4 == 1] + frame for i, frame in enumerate(frames))
    for damaged in (whole[:200], whole[first : first + 200], every_fourth):
        (tmp_path / "y.mp3").write_bytes(damaged)
        with pytest.raises(AudioError, match=r"y\.mp3: not a readable sound file"):
            reading.read(tmp_path / "y.mp3")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("mute", [True, False])
def test_a_film_gives_its_sound_and_a_mute_one_is_refused(tmp_path: Path, mute: bool) -> None:
    path = tmp_path / "film.mp4"
    with av.open(path, "w") as out:
        video = out.add_stream("mpeg4", rate=25)
        assert isinstance(video, av.VideoStream)
        video.width = video.height = 64
        audio = None if mute else out.add_stream("aac", rate=HZ, layout="mono")
        for _ in range(5):
            out.mux(video.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8))))
        out.mux(video.encode(None))
        if isinstance(audio, av.AudioStream):
            frame = av.AudioFrame.from_ndarray(sine()[None], "fltp", "mono")
            frame.sample_rate = HZ
            out.mux([*audio.encode(frame), *audio.encode(None)])
    if mute:
        with pytest.raises(AudioError, match=r"film\.mp4: holds no sound"):
            reading.read(path)
    else:
        assert len(reading.read(path)[0]) == pytest.approx(HZ, abs=1024)


def test_an_mp4_that_ends_within_its_data_is_cut_short(tmp_path: Path) -> None:
    whole = encode(tmp_path / "a.m4a", "aac", sine(3.0), movflags="+faststart").read_bytes()
    (tmp_path / "cut.m4a").write_bytes(whole[: len(whole) // 2])
    for read in (reading.read, reading.probe):
        with pytest.raises(AudioError, match=r"cut\.m4a: cut short"):
            read(tmp_path / "cut.m4a")


def test_a_decoder_that_is_missing_is_said(tmp_path: Path) -> None:
    data = encode(tmp_path / "a.m4a", "alac", sine()).read_bytes()
    (tmp_path / "odd.m4a").write_bytes(data.replace(b"alac", b"zzzz"))
    with pytest.raises(AudioError, match=r"odd\.m4a: there is no decoder here"):
        reading.read(tmp_path / "odd.m4a")


DATA = (sine() * 32_767).astype("<i2").tobytes()
N = len(DATA)
LIST = b"LIST" + struct.pack("<I", 10) + b"INFOabcdef"


@pytest.mark.parametrize(
    ("riff", "size", "before", "after"),
    [
        (0, 0, b"", b""),
        (36, 0, b"", b""),
        (N + 36, 0, b"", b""),
        (N + 44, N, b"", b""),
        (N + 36, N + 8, b"", b""),
        (N + 36, N + 44, b"", b""),
        (2**32 - 1, 2**32 - 1, b"", b""),
        (2**31 + 35, 2**31 - 1, b"", b""),
        (N + 36 + 12, N, b"junk\x03\0\0\0abc\0", b""),
        (N + 36 + 11, N, b"junk\x03\0\0\0abc", b""),
        (N + 36 + 18, N, b"", LIST),
        (N + 36 + 18, N, b"", LIST[:12]),
    ],
)
def test_a_wav_is_read_to_where_its_samples_end(
    tmp_path: Path, riff: int, size: int, before: bytes, after: bytes
) -> None:
    path = wave(tmp_path / "a.wav", DATA, riff=riff, size=size, before=before, after=after)
    sound, _ = reading.read(path)
    assert np.array_equal(sound, np.frombuffer(DATA, "<i2") / np.float32(32_768))
    assert reading.probe(path).samples == HZ


@pytest.mark.parametrize("kind", [b"RF64", b"BW64"])
@pytest.mark.parametrize("said", [N, 0, 2**64 - 1])
def test_long_wavs_are_read(tmp_path: Path, kind: bytes, said: int) -> None:
    plain = wave(tmp_path / "a.wav", DATA, riff=2**32 - 1, size=2**32 - 1).read_bytes()
    sizes = b"ds64" + struct.pack("<IQQQI", 28, said, said, 0, 0)
    (tmp_path / "long.wav").write_bytes(kind + plain[4:12] + sizes + plain[12:])
    assert np.array_equal(reading.read(tmp_path / "long.wav")[0], reading.read(tmp_path / "a.wav")[0])


@pytest.mark.parametrize(
    ("riff", "size", "there"),
    [(N + 36, N, N // 2), (N + 36, N, N - 2), (2_000_000_036, 2_000_000_000, N)],
)
def test_a_wav_that_ends_within_its_samples_is_cut_short(tmp_path: Path, riff: int, size: int, there: int) -> None:
    path = wave(tmp_path / "a.wav", DATA[:there], riff=riff, size=size)
    for read in (reading.read, reading.read_channels, reading.probe):
        with pytest.raises(AudioError, match=r"a\.wav: cut short"):
            read(path)


def test_sizes_that_were_never_written_are_no_end(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.au", sine(), HZ)
    data = (tmp_path / "a.au").read_bytes()
    for size in (bytes(4), b"\xff" * 4):
        (tmp_path / "b.au").write_bytes(data[:8] + size + data[12:])
        assert reading.probe(tmp_path / "b.au").samples == HZ


def flac(path: Path, total: int | None = None, *, channels: int | None = None, part: float = 1.0) -> Path:
    """Write a FLAC file whose header says something else."""
    soundfile.write(path, sine(2.0), HZ, format="FLAC")
    data = path.read_bytes()
    told = int.from_bytes(data[18:26])
    told = told if total is None else (told >> 36 << 36) | total
    told = told if channels is None else told & ~(7 << 41) | (channels - 1) << 41
    data = data[:18] + told.to_bytes(8) + data[26:]
    path.write_bytes(data[: int(part * len(data))])
    return path


@pytest.mark.parametrize(("total", "channels"), [(0, None), (10**9, None), (2**36 - 1, 8)])
def test_a_flac_is_read_to_what_is_there(tmp_path: Path, total: int, channels: int | None) -> None:
    path = flac(tmp_path / "a.flac", total, channels=channels)
    assert np.array_equal(reading.read(path)[0], reading.read(flac(tmp_path / "true.flac"))[0])
    assert reading.probe(path) == reading.SoundFacts(2 * HZ, HZ, 1)


@pytest.mark.parametrize("total", [None, 0])
def test_a_flac_that_ends_within_its_samples_is_cut_short(tmp_path: Path, total: int | None) -> None:
    with pytest.raises(AudioError, match=r"a\.flac: cut short"):
        reading.read(flac(tmp_path / "a.flac", total, part=0.5))


@pytest.mark.parametrize(
    ("rate", "channels", "line"),
    [
        (1, 1, "1 Hz is too low"), (999, 1, "999 Hz is too low"), (0, 1, "0 Hz is too low"),
        (1_000_000, 1, "1000000 Hz is too high"), (2**31 + 5, 1, "too high"), (HZ, 65, "65 channels are too many"),
        (HZ, 65_535, "65535 channels are too many"), (HZ, 0, "not a readable sound file"),
    ],
)  # fmt: skip
def test_absurd_rates_and_channels_are_refused(tmp_path: Path, rate: int, channels: int, line: str) -> None:
    path = wave(tmp_path / "odd.wav", DATA, riff=N + 36, size=N, rate=rate, channels=channels)
    for read in (reading.read, reading.read_channels, reading.probe):
        with pytest.raises(AudioError, match=line) as caught:
            read(path)
        assert "odd.wav" in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [b"#EXTM3U\n#EXTINF:3,\na.wav\n", b"ffconcat version 1.0\nfile a.wav\n", b"<html></html>", b"RIFF", b"fLaC",
     b"ID3" + bytes(50), b"OggS" + bytes(90), b"\0\0\0\x18ftypM4A ", bytes(5000)],
)  # fmt: skip
@pytest.mark.parametrize("name", ["a.mp3", "b.wav", "c.raw"])
def test_what_is_no_sound_is_one_line(tmp_path: Path, content: bytes, name: str) -> None:
    soundfile.write(tmp_path / "a.wav", sine(), HZ)  # which a list of files must not lead to
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AudioError) as caught:
        reading.read(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_too_long_to_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile.write(tmp_path / "a.flac", sine(), HZ)
    monkeypatch.setattr(reading, "SOUND_HELD", Limit("sounds", "held", 1000, "samples", "too long: more than {most}"))
    with pytest.raises(AudioError, match=r"a\.flac: too long: more than 1,000 samples"):
        reading.read(tmp_path / "a.flac")


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mka"])
def test_parts_are_parts_of_the_whole(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fugue_state.audio.decoding.BLOCK", 1000)
    path = encode(tmp_path / name, "pcm_s16le", sine(2.0)) if name != "a.flac" else flac(tmp_path / name)
    whole, _ = reading.read(path)
    spans = [(0.0, 0.1), (0.05, 0.2), (0.05, 0.01), (0.9, 0.3), (0.9, 0.0), (1.95, 1.0), (3.0, 1.0)]
    for (start, length), (part, rate) in zip(spans, reading.read_parts(path, spans), strict=True):
        assert rate == HZ
        assert np.array_equal(part, whole[round(start * HZ) : round((start + length) * HZ)])
        assert np.array_equal(reading.read_part(path, start, length)[0], part)


def test_channels_are_mixed_by_what_they_are_for(tmp_path: Path) -> None:
    surround = np.zeros((HZ, 6), dtype=np.float32)
    surround[:, 0] = surround[:, 1] = sine()
    surround[:, 3] = 0.9
    alone, _ = reading.read(
        encode(tmp_path / "a.wav", "pcm_f32le", surround * np.array([1, 1, 1, 0, 1, 1], dtype=np.float32), layout="5.1")
    )
    for name, codec in (("lfe.wav", "pcm_f32le"), ("lfe.mka", "flac"), ("lfe.flac", "flac")):
        mixed, _ = reading.read(encode(tmp_path / name, codec, surround, layout="5.1"))
        assert np.abs(mixed - alone).max() < 1e-3
    assert np.abs(alone).max() > 0.1
    both, _ = reading.read(tmp_path / "lfe.wav", stereo=True)
    assert np.array_equal(both[:, 0], both[:, 1])
    soundfile.write(tmp_path / "three.wav", surround[:, [0, 3, 2]], HZ, subtype="FLOAT")
    assert np.abs(reading.read(tmp_path / "three.wav")[0] - surround[:, [0, 3, 2]].mean(axis=1)).max() < 1e-6


def test_the_mix_of_one_and_two_channels_is_their_mean() -> None:
    block = np.random.default_rng(0).standard_normal((1000, 2)).astype(np.float32)
    assert np.array_equal(speakers.mono(block, ()), block.mean(axis=1, dtype=np.float32))
    assert np.array_equal(speakers.mono(block[:, :1], ()), block[:, 0])
    quiet = speakers.mono(np.eye(6, dtype=np.float32), speakers.USUAL[6])
    assert quiet[3] == 0.0
    assert quiet.sum() == pytest.approx(1.0)
    assert quiet[0] == quiet[1] > quiet[4] > 0.0


def test_an_offset_is_no_sound(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "offset.wav", np.full(HZ, 0.4, np.float32), HZ)
    with pytest.raises(AudioError, match="silent"):
        reading.read(tmp_path / "offset.wav")
    with pytest.raises(AudioError, match="silent"):
        reading.check(np.tile(np.array([0.4, -0.1], dtype=np.float32), (1000, 1)), "two offsets")
    soundfile.write(tmp_path / "one.wav", np.full(1, 0.4, np.float32), HZ)
    assert len(reading.read_impulse(tmp_path / "one.wav", HZ, 1.0)) == 1


def test_a_clip_is_the_same_with_an_offset() -> None:
    sound = np.concatenate([np.zeros(HZ // 2, np.float32), 0.1 * pluck(57)])
    moved = sound + np.float32(0.4)
    assert onset(moved, HZ, -20.0) == onset(sound, HZ, -20.0) > 0
    assert loudest_rms(moved, HZ) == pytest.approx(loudest_rms(sound, HZ), rel=1e-2)
    plain, other = (prepare(s, HZ, HZ, ClipConfig()) for s in (sound, moved))
    assert np.abs(plain - other).max() < 0.01 * np.abs(plain).max()


@pytest.mark.parametrize("count", [0, 1, 2, 20])
def test_a_few_samples_are_no_sound(tmp_path: Path, count: int) -> None:
    soundfile.write(tmp_path / "few.wav", sine()[1 : count + 1], HZ)
    for read in (reading.read, reading.read_channels):
        with pytest.raises(AudioError, match=rf"few\.wav: {count} samples? (is|are) too few"):
            read(tmp_path / "few.wav")


def test_a_long_recording_is_cut_before_it_is_resampled() -> None:
    sound = np.concatenate([np.zeros(3 * HZ, np.float32), pluck(57, duration_s=2.0)])
    part = cut(sound, HZ, 1.0, ClipConfig())
    assert len(part) <= 1.2 * HZ
    plain = prepare(sound, HZ, HZ, ClipConfig())
    assert np.array_equal(prepare(part, HZ, HZ, ClipConfig(), from_onset=False), plain)
