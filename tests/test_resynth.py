from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

from fugue_state.arrays import Array
from fugue_state.audio import io
from fugue_state.audio.pitch import GUITAR, pitch_of
from fugue_state.cli import main
from fugue_state.config import ResynthConfig
from fugue_state.errors import AudioError, InputError
from fugue_state.memory.memory import Memory
from fugue_state.output.resynth import resynth_file, resynthesized

from .conftest import RATE, Sound, pluck

SHORT = ResynthConfig(segment_s=1.0, fade_s=0.1, context_s=0.2)


@pytest.fixture
def quick_memory(tiny_memory: Memory) -> Memory:
    tiny_memory.inverter = tiny_memory.make_inverter("lobes", "draft")
    return tiny_memory


def run(*words: object) -> Result:
    return CliRunner().invoke(main, ["resynth", *map(str, words)])


def tone(hz: float, duration_s: float, rate: int = RATE) -> Sound:
    """A steady tone with a few harmonics."""
    time = np.arange(int(duration_s * rate)) / rate
    return np.asarray(0.1 * np.sum([np.sin(2 * np.pi * hz * k * time) / k for k in (1, 2, 3)], axis=0), np.float32)


def level_db(sound: Sound) -> float:
    return 20.0 * float(np.log10(np.sqrt(np.mean(sound.astype(np.float64) ** 2))))


def through(sound: Sound, rate: int, memory: Memory, config: ResynthConfig = SHORT) -> Sound:
    return np.concatenate(list(resynthesized(sound, rate, memory, config)))


@pytest.mark.parametrize("rate", [16_000, 22_050, 44_100])
def test_a_note_keeps_pitch_level_and_length_at_any_rate(rate: int, quick_memory: Memory) -> None:
    note = pluck(57, 1.7, rate)
    made = through(note[:, None], rate, quick_memory)
    assert made.shape == (len(note), 1)
    assert pitch_of(made[:, 0], rate, GUITAR).midi == pytest.approx(57.0, abs=0.2)
    assert level_db(made) == pytest.approx(level_db(note), abs=2.0)


def test_each_channel_goes_by_itself(quick_memory: Memory) -> None:
    left, right = pluck(45), pluck(60)
    made = through(np.stack([left, right, np.zeros_like(left), left], axis=1), RATE, quick_memory)
    assert [round(pitch_of(channel, RATE, GUITAR).midi) for channel in made.T[:2]] == [45, 60]
    assert np.array_equal(made[:, 0], made[:, 3])
    assert np.abs(made[:, 2]).max() < 1e-4


@pytest.mark.parametrize("gain_db", [-60.0, -20.0, 10.0])
def test_how_loud_a_sound_is_changes_nothing_but_its_level(gain_db: float, quick_memory: Memory) -> None:
    gain = np.float32(10.0 ** (gain_db / 20.0))
    note = pluck(57)[:, None]
    assert np.abs(through(note * gain, RATE, quick_memory) / gain - through(note, RATE, quick_memory)).max() < 1e-3


def test_a_short_loud_moment_stays_below_the_ceiling_of_the_mel(quick_memory: Memory) -> None:
    burst = np.zeros((int(2.5 * RATE), 1), np.float32)
    burst[RATE : RATE + 2048, 0] = 8.0 * tone(440.0, 1.0)[:2048]
    made = through(burst, RATE, quick_memory)
    assert level_db(made) == pytest.approx(level_db(burst), abs=1.0)


def test_segments_meet_without_a_click_or_a_gap(quick_memory: Memory) -> None:
    steady = tone(220.0, 5.5)[:, None]
    made = through(steady, RATE, quick_memory)
    assert len(made) == len(steady)
    steps = np.abs(np.diff(made[:, 0]))
    seams = np.zeros(len(steps), bool)
    for number in range(1, 6):
        seams[number * RATE - 64 : number * RATE + int(0.1 * RATE) + 64] = True
    assert steps[seams].max() < 1.5 * steps[~seams].max()
    levels = [level_db(made[a:b]) for a, b in pairwise(range(RATE // 4, int(5.25 * RATE), RATE // 20))]
    assert max(levels) - min(levels) < 1.0
    assert float(np.median(levels)) == pytest.approx(level_db(steady), abs=2.0)


def test_a_segment_is_heard_with_what_is_around_it(quick_memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Array] = []
    invert = quick_memory.inverter

    def watched(mel: Array) -> Array:
        seen.append(mel)
        return invert(mel)

    monkeypatch.setattr(quick_memory, "invert", watched)
    sound = np.concatenate([tone(220.0, 0.95), np.zeros(2 * RATE, np.float32)])[:, None]
    through(sound, RATE, quick_memory)
    assert [mel.shape[2] for mel in seen] == [-(-round(s * RATE) // 512) for s in (1.5, 1.5, 1.35)]
    frames_per_s = RATE / 512
    loud = np.flatnonzero((seen[1][0] > -1.0).any(axis=0)).tolist()
    assert loud[0] == 0
    assert 0.15 * frames_per_s - 3 < loud[-1] < 0.15 * frames_per_s + 4


def test_shortest_sounds_and_borders(quick_memory: Memory) -> None:
    for count in (2, 300, RATE, RATE + int(0.1 * RATE), RATE + int(0.1 * RATE) + 1):
        blocks = list(resynthesized(pluck(57)[:count, None], RATE, quick_memory, SHORT))
        assert sum(map(len, blocks)) == count
        assert len(blocks) == 1 + (count > RATE + int(0.1 * RATE))
    with pytest.raises(AudioError, match=r"\(N, channels\)"):
        list(resynthesized(pluck(57), RATE, quick_memory))
    with pytest.raises(ValueError, match="fade_s must be at most segment_s"):
        ResynthConfig(segment_s=1.0, fade_s=2.0)


def test_a_file_becomes_another_and_what_was_lost_is_told(tmp_path: Path, quick_memory: Memory) -> None:
    source = tmp_path / "a.wav"
    sound = np.stack([pluck(45, 2.5), np.zeros(int(2.5 * RATE), np.float32)], axis=1)
    io.write(source, sound, RATE)
    out = tmp_path / "b.flac"
    lost = resynth_file(source, quick_memory, out, config=SHORT, about={"inverter": "lobes"})
    info = soundfile.info(out)
    assert (info.channels, info.samplerate, info.frames) == (2, RATE, len(sound))
    assert (lost.channels, lost.duration_s, lost.turned_down_db) == (2, 2.5, 0.0)
    assert 0.1 < lost.log_spectral_error_db < 5.0
    assert 0.0 < lost.chroma_error < 0.5
    assert lost.times_real_time > 0
    with soundfile.SoundFile(out) as file:
        told = json.loads(file.comment)
    assert (told["source"], told["memory"], told["inverter"]) == ("a.wav", "tiny", "lobes")
    again = resynth_file(source, quick_memory, tmp_path / "c.flac", config=SHORT, about={"inverter": "lobes"})
    assert again.log_spectral_error_db == lost.log_spectral_error_db
    assert (tmp_path / "c.flac").read_bytes() == out.read_bytes()


def test_what_would_be_too_loud_is_turned_down(tmp_path: Path, quick_memory: Memory) -> None:
    source = tmp_path / "a.wav"
    loud = pluck(57, 1.0)
    io.write(source, loud / np.abs(loud).max() * 1.6, RATE, subtype="FLOAT")
    lost = resynth_file(source, quick_memory, tmp_path / "b.wav")
    assert lost.turned_down_db > 0.5
    assert np.abs(soundfile.read(tmp_path / "b.wav")[0]).max() == pytest.approx(0.99, abs=1e-3)


def test_the_command_tells_what_was_lost(tmp_path: Path, tiny_path: Path) -> None:
    source, out = tmp_path / "a.wav", tmp_path / "b.wav"
    io.write(source, pluck(57, 1.0), RATE)
    result = run(source, "-o", out, "-m", tiny_path, "--quality", "draft", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["duration_s"] == 1.0
    with soundfile.SoundFile(out) as file:
        told = json.loads(file.comment)
    assert (told["inverter"], told["quality"]) == ("lobes", "draft")


def test_mistakes_are_one_line_each(tmp_path: Path, tiny_path: Path) -> None:
    good, silent, text, out = (tmp_path / name for name in ("a.wav", "silent.wav", "text.wav", "out.wav"))
    io.write(good, pluck(57, 1.0), RATE)
    io.write(silent, np.zeros(RATE, np.float32), RATE)
    text.write_text("no sound")
    wrong = {
        "a.wav: is read for this; choose another name": (good, "-o", good),
        "missing.wav: no such file": (tmp_path / "missing.wav", "-o", out),
        "silent.wav: silent": (silent, "-o", out),
        "text.wav: not a readable sound file": (text, "-o", out),
        "unknown file ending '.mp3'": (good, "-o", tmp_path / "out.mp3"),
        "unknown inverter 'lobe'": (good, "-o", out, "--inverter", "lobe"),
        "has no vocoder": (good, "-o", out, "--inverter", "vocoder"),
    }
    for message, words in wrong.items():
        result = run(*words, "-m", tiny_path)
        assert result.exit_code == 2, result.output
        assert message in result.stderr.strip().splitlines()[-1]
        assert "Traceback" not in result.output
    assert sorted(p.name for p in tmp_path.glob("*.wav")) == ["a.wav", "silent.wav", "text.wav"]


def test_too_many_channels_for_flac_are_refused(tmp_path: Path, quick_memory: Memory) -> None:
    io.write(tmp_path / "a.wav", np.repeat(pluck(57, 0.5)[:, None], 9, axis=1), RATE)
    with pytest.raises(InputError, match="up to 8 channels"):
        resynth_file(tmp_path / "a.wav", quick_memory, tmp_path / "b.flac")
