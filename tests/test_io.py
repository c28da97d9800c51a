from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from fugue_state.audio import io, reading
from fugue_state.errors import AudioError, InputError, OutputError
from fugue_state.files import output_folder, output_path, replacing

from .conftest import RATE, Sound, pluck


def test_round_trip_keeps_samples_and_rate(tmp_path: Path) -> None:
    sound = pluck(57)
    for name, bound in (("a.wav", 2e-7), ("a.flac", 2e-7)):
        io.write(tmp_path / name, sound, RATE)
        back, rate = reading.read(tmp_path / name)
        assert rate == RATE
        assert np.abs(back - sound).max() < bound


def test_stereo_is_mixed_or_kept(tmp_path: Path) -> None:
    left, right = pluck(57), pluck(64)
    io.write(tmp_path / "s.wav", np.stack([left, right], axis=1), RATE)
    mono, _ = reading.read(tmp_path / "s.wav")
    both, _ = reading.read(tmp_path / "s.wav", stereo=True)
    assert np.abs(mono - (left + right) / 2).max() < 1e-6
    assert np.abs(both[:, 1] - right).max() < 1e-6


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000, 96_000])
def test_resampling_keeps_a_tone(tmp_path: Path, rate: int) -> None:
    time = np.arange(rate) / rate
    io.write(tmp_path / "tone.wav", (0.5 * np.sin(2 * np.pi * 440 * time)).astype(np.float32), rate)
    back, _ = reading.read(tmp_path / "tone.wav", RATE)
    assert len(back) == RATE
    middle = slice(2000, -2000)
    truth = 0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    assert np.abs(back - truth)[middle].max() < 1e-3


def test_unusable_files_are_named(tmp_path: Path) -> None:
    def wav(name: str, data: list[float] | Sound) -> Path:
        soundfile.write(tmp_path / name, np.asarray(data, dtype=np.float32), RATE, subtype="FLOAT")
        return tmp_path / name

    (tmp_path / "zero.wav").touch()
    (tmp_path / "text.wav").write_text("no sound at all, only words\n" * 20)
    whole = wav("whole.wav", pluck(57)).read_bytes()
    (tmp_path / "cut.wav").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "head.wav").write_bytes(whole[:20])
    wav("silent.wav", np.zeros(1000, np.float32))
    wav("nan.wav", [0.1, float("nan"), 0.2])
    wav("one.wav", [0.5])
    for name, message in {
        "missing.wav": "no such file",
        "zero.wav": r"empty \(0 bytes\)",
        "text.wav": "not a readable sound file",
        "cut.wav": "cut short|not a readable",
        "head.wav": "not a readable sound file",
        "silent.wav": "silent",
        "nan.wav": "not numbers",
        "one.wav": "too few",
    }.items():
        for read in (reading.read, reading.read_channels):
            with pytest.raises(AudioError, match=message) as caught:
                read(tmp_path / name)
            assert name in str(caught.value)


def test_every_channel_is_read_at_the_rate_of_the_file(tmp_path: Path) -> None:
    sound = np.stack([pluck(45), pluck(57), pluck(60)], axis=1)
    io.write(tmp_path / "three.wav", sound, 16_000, subtype="FLOAT")
    read, rate = reading.read_channels(tmp_path / "three.wav")
    assert rate == 16_000
    assert np.array_equal(read, sound)


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "keep.wav"
    io.write(path, pluck(57), RATE)
    before = path.read_bytes()

    def write_and_stop() -> None:
        with io.Writer(path, RATE, frames=100, channels=1) as writer:
            writer.write(np.zeros((100, 1), dtype=np.float32))
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_and_stop()
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["keep.wav"]


@pytest.mark.skipif(sys.platform == "win32", reason="nobody can tell there")
def test_what_a_killed_process_left_goes_when_the_file_is_written_again(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    dead, alive = (tmp_path / f".a.wav.{pid}.part.wav" for pid in (ended.pid, os.getppid()))
    other = tmp_path / f".a.wav.png.{ended.pid}.part.png"
    for left in (dead, alive, other):
        left.write_bytes(b"half")
    io.write(tmp_path / "a.wav", pluck(57), RATE)
    assert sorted(tmp_path.iterdir()) == sorted([alive, other, tmp_path / "a.wav"])


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys, numpy as np\n"
        "from fugue_state.audio import io\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "from fugue_state.errors import OutputError\n"
        "try:\n"
        "    io.write(sys.argv[1], np.full(100_000, 0.1, np.float32), 22_050)\n"
        "except OutputError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "big.wav")], capture_output=True, text=True, check=True
    )
    assert "could not be written" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_float_wav_has_no_date_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    io.write(tmp_path / "a.wav", pluck(57), RATE, subtype="FLOAT")
    data = (tmp_path / "a.wav").read_bytes()
    at = data.find(b"PEAK")
    assert at > 0
    assert data[at + 12 : at + 16] == bytes(4)
    assert np.abs(reading.read(tmp_path / "a.wav")[0] - pluck(57)).max() < 1e-7


def test_outputs_are_checked_before_work(tmp_path: Path) -> None:
    (tmp_path / "there.wav").touch()
    with pytest.raises(InputError, match="exists already"):
        output_path(tmp_path / "there.wav", force=False)
    assert output_path(tmp_path / "there.wav", force=True) == tmp_path / "there.wav"
    with pytest.raises(InputError, match="no such folder"):
        output_path(tmp_path / "nowhere" / "a.wav", force=False)
    with pytest.raises(InputError, match=r"unknown file ending '.mp4'"):
        output_path(tmp_path / "a.mp4", force=False, suffixes=(".wav", ".flac"))
    with pytest.raises(InputError, match="is a folder"):
        output_path(tmp_path, force=True)
    with pytest.raises(InputError, match="is a file"):
        output_folder(tmp_path / "there.wav")


def test_a_folder_that_refuses_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(InputError, match="cannot be written to"):
        output_path(tmp_path / "a.wav", force=False)


def test_flac_has_no_float(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="FLAC holds no float"):
        io.Writer(tmp_path / "a.flac", RATE, frames=1, subtype="FLOAT")


def test_replacing_reports_what_the_system_says(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="the disk is full"), replacing(tmp_path / "a.txt"):
        raise OSError(28, os.strerror(28))


def test_what_is_too_large_for_wav_becomes_rf64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(io, "LARGEST_WAV", 1000)
    io.write(tmp_path / "small.wav", pluck(57)[:300], RATE)
    io.write(tmp_path / "large.wav", pluck(57), RATE)
    assert soundfile.info(tmp_path / "small.wav").format == "WAV"
    assert soundfile.info(tmp_path / "large.wav").format == "RF64"
    assert np.abs(reading.read(tmp_path / "large.wav")[0] - pluck(57)).max() < 2e-7
