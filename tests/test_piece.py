from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from fugue_state.arrays import Array
from fugue_state.config import EnvelopeConfig, FileConfig, MelSpec, ModelConfig, ReverbConfig, ToneConfig
from fugue_state.engine.whole import Instrument, play
from fugue_state.errors import FugueError, InputError
from fugue_state.memory.catalogue import MemoryHeader
from fugue_state.memory.layers import Generator
from fugue_state.memory.memory import Memory
from fugue_state.output.markers import markers
from fugue_state.output.provenance import reopened
from fugue_state.output.render import render
from fugue_state.output.samples import write_samples
from fugue_state.picture.portrait import portrait_figure
from fugue_state.picture.summary import overview
from fugue_state.piece.line import Line
from fugue_state.piece.piece import Piece
from fugue_state.score.model import Score
from fugue_state.settings import checked

from .conftest import Sound, untrained

SHORT = {"duration_s": 9.0, "tempo_bpm": 150, "reverb": ReverbConfig(rt60_s=0.5), "seed": 4}


def short(**changes: Any) -> Score:
    plan = {"order": "random", "pace": "linear"} | changes.pop("forgetting", {})
    return checked(Score, SHORT | changes | {"forgetting": plan})


def loop(*chords: str, **changes: Any) -> dict[str, Any]:
    return {"voices": [{"chords": chords} | changes]}


def heard(memory: Memory, score: Score, block: int) -> Sound:
    made = Piece(score, memory)
    blocks = play(Instrument(made), made.events(), score.samples, block)
    return np.concatenate([b.samples for b in blocks])


def test_events_loop_the_chords_and_forget_as_planned(tiny_memory: Memory) -> None:
    score = short(**loop("C", "Am"), forgetting={"to": 0.5})
    made = list(Piece(score, tiny_memory).events())
    assert [e.chord for e in made[:3]] == ["C", "Am", "C"]
    assert np.array_equal(made[0].latent, made[2].latent)
    assert made[0].pan == made[2].pan
    assert not np.array_equal(made[0].latent, made[1].latent)
    assert [e.onset for e in made[:3]] == [0, 17_640, 35_280]
    forgotten = [1 - float(e.strengths.mean()) for e in made]
    assert forgotten[0] == 0
    assert forgotten == sorted(forgotten)
    assert forgotten[-1] == pytest.approx(0.5, abs=0.03)
    assert made[-1].onset / 44_100 <= score.duration_s - tiny_memory.spec.duration_s


VOICES = {
    "plain": {"voices": [{"swing": 0.3, "chords": ["C", "-", "G*2"]}, {"forgets": False, "beats": 3}]},
    "cues": {"cues": [{"do": "recall", "at": 3, "over": 2}, {"do": "forget", "at": 6}], "forgetting": {"fade_s": 2}},
    "a hand": {"changes": [{"at": 4, "path": "/forget", "value": 0.5}]},
    "adaptive": {"forgetting": {"adaptive": {}, "pace": "even"}},
    "a take": {"resolution": "block", "changes": [{"at": 4, "path": "/forget", "value": 0.5}]},
}


@pytest.mark.parametrize("changes", VOICES.values(), ids=list(VOICES))
def test_the_outline_of_a_piece_is_that_of_its_events(tiny_memory: Memory, changes: dict[str, Any]) -> None:
    made = Piece(short(**changes), tiny_memory)
    outline, events = list(made.outline()), list(made.events())
    assert [one[:3] for one in outline] == [(e.onset, e.voice, e.chord) for e in events]
    assert all(np.array_equal(one.strengths, e.strengths) for one, e in zip(outline, events, strict=True))


def test_what_happens_when_is_known_without_any_latent(tiny_memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    voices = [{"latents": "walk"}, {"latents": "fresh", "variation": 0.5}, {"latents": "path", "towards_seed": 3}]
    made = Piece(short(voices=voices), tiny_memory)
    wanted = [event.onset / 44_100 for event in made.events()]
    monkeypatch.setattr(Line, "latents", lambda *_: pytest.fail("a million of them take minutes"))
    assert overview(made).times_s.tolist() == wanted
    assert len(markers(made)) > 0


def test_progressions(tiny_memory: Memory) -> None:
    def chords(memory: Memory, **changes: Any) -> list[str | None]:
        return [turn.chord for turn in Piece(short(**changes), memory).lines[0].turns]

    assert chords(tiny_memory) == ["Am", "C", "G"]  # what it knows of the familiar loop
    with pytest.raises(InputError, match=r"voices\[1\]\.chords\[2\]: unknown chord 'Gmm'; did you mean 'G'"):
        chords(tiny_memory, **loop("C", "Gmm"))
    config = ModelConfig(feature_maps=2, latent_size=4)
    blank = Memory(untrained(config), MemoryHeader(name="blank", mel=MelSpec(), model=config))
    assert chords(blank) == [None] * 4
    assert len(heard(blank, short(duration_s=4.0), 44_100)) == 4 * 44_100


@pytest.mark.parametrize("block", [1000, 12_345, 500_000])
def test_streaming_is_offline(tiny_memory: Memory, block: int) -> None:
    score = short(tone=ToneConfig(tilt_db=3))
    whole = heard(tiny_memory, score, 44_100)
    assert np.abs(whole).max() > 0.01
    assert np.abs(heard(tiny_memory, score, block) - whole).max() < 1e-5


def test_a_tilt_makes_a_piece_brighter_or_darker(tiny_memory: Memory) -> None:
    def brightness(tilt_db: float) -> float:
        score = short(duration_s=4.0, tone=ToneConfig(tilt_db=tilt_db))
        spectrum = np.abs(np.fft.rfft(heard(tiny_memory, score, 44_100)[:, 0])) ** 2
        turn = 800 * 4
        return float(spectrum[turn:].sum() / spectrum[:turn].sum())

    assert brightness(-6) < 0.7 * brightness(0) < 0.5 * brightness(6)


def test_events_of_the_past_are_refused(tiny_memory: Memory) -> None:
    score = short()
    player = Instrument(Piece(score, tiny_memory))
    event = next(Piece(score, tiny_memory).events())
    events = [replace(event, onset=onset) for onset in (250, 50)]
    with pytest.raises(InputError, match="sample 50 came after sample 200 was played"):
        list(play(player, events, 400, 100))
    with pytest.raises(InputError, match="at least 1 sample"):
        next(play(player, [], 10, 0))


def test_the_same_score_gives_the_same_bytes(tmp_path: Path, tiny_memory: Memory) -> None:
    for name in ("a.wav", "b.wav", "c.flac", "d.flac"):
        render(Piece(short(), tiny_memory), tmp_path / name)
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    assert (tmp_path / "c.flac").read_bytes() == (tmp_path / "d.flac").read_bytes()
    render(Piece(short(seed=5), tiny_memory), tmp_path / "e.wav")
    assert (tmp_path / "a.wav").read_bytes() != (tmp_path / "e.wav").read_bytes()


def test_a_file_is_what_it_reports_and_stays_in_bounds(tmp_path: Path, tiny_memory: Memory) -> None:
    report = render(Piece(short(), tiny_memory), tmp_path / "a.wav")
    data, rate = soundfile.read(tmp_path / "a.wav", always_2d=True)
    assert data.shape == (9 * 44_100, 2)
    assert rate == 44_100
    assert np.isfinite(data).all()
    assert report.loudness_lufs == pytest.approx(-18, abs=0.5)
    assert report.true_peak_dbtp <= -1.0
    assert np.abs(data).max() <= 10 ** (-1 / 20)
    assert report.largest_step == pytest.approx(np.abs(np.diff(data, axis=0)).max(), abs=1e-3)
    assert report.longest_silence_s < 0.2
    assert data[-1] == pytest.approx([0, 0], abs=1e-6)
    assert np.corrcoef(data.T)[0, 1] < 0.99  # stereo


def test_a_file_says_how_to_make_it_again(tmp_path: Path, tiny_path: Path) -> None:
    score = short(file=FileConfig(sample_rate_hz=48_000, subtype="FLOAT"))
    memory = Memory.load(tiny_path)
    render(Piece(score, memory), tmp_path / "a.wav")
    with soundfile.SoundFile(tmp_path / "a.wav") as file:
        told = json.loads(file.comment)
        assert file.samplerate == 48_000
    beside = json.loads((tmp_path / "a.json").read_text())
    assert told == {k: v for k, v in beside.items() if k != "measured"}
    assert told["memory_sha256"] == memory.fingerprint
    again = reopened(tmp_path / "a.wav")
    assert again.model_copy(update={"made_for": None}) == score
    assert again == reopened(tmp_path / "a.json")
    render(Piece(again, memory), tmp_path / "b.wav")
    sounds = [soundfile.read(tmp_path / name)[0] for name in ("a.wav", "b.wav")]
    assert (sounds[0] == sounds[1]).all()


def test_a_piece_that_is_silent_is_not_lifted_but_told(tmp_path: Path, tiny_generator: Generator) -> None:
    class Mute:
        spec = MelSpec()

        def __call__(self, mel: Any) -> Array:
            return np.zeros((len(mel), mel.shape[2] * 512), dtype=np.float32)

    config = tiny_generator.config
    memory = Memory(tiny_generator, MemoryHeader(name="m", mel=MelSpec(), model=config), inverter=Mute())
    report = render(Piece(short(), memory), tmp_path / "a.wav")
    assert report.longest_silence_s == pytest.approx(9.0)
    assert np.abs(soundfile.read(tmp_path / "a.wav")[0]).max() == 0


def test_what_is_no_number_never_reaches_a_file(tmp_path: Path, tiny_generator: Generator) -> None:
    class Broken:
        spec = MelSpec()

        def __call__(self, mel: Any) -> Array:
            return np.full((len(mel), mel.shape[2] * 512), np.nan, dtype=np.float32)

    config = tiny_generator.config
    memory = Memory(tiny_generator, MemoryHeader(name="m", mel=MelSpec(), model=config), inverter=Broken())
    with pytest.raises(FugueError, match=r"not a number.*nothing was written"):
        render(Piece(short(), memory), tmp_path / "a.wav")
    assert list(tmp_path.iterdir()) == []


def test_quiet_and_loud_pieces_reach_the_same_loudness(tmp_path: Path, tiny_generator: Generator) -> None:
    class Gain:
        spec = MelSpec()

        def __init__(self, gain: float) -> None:
            self.gain = gain

        def __call__(self, mel: Any) -> Array:
            spikes = np.zeros((len(mel), mel.shape[2] * 512), dtype=np.float32)
            spikes[:, ::2000] = self.gain  # all peak, no body: the limiter has to work
            spikes += 0.05 * self.gain * np.sin(np.arange(spikes.shape[1]) * 0.3)
            return spikes

    config = tiny_generator.config
    for gain in (0.03, 30.0):
        header = MemoryHeader(name="m", mel=MelSpec(), model=config)
        memory = Memory(tiny_generator, header, inverter=Gain(gain))
        report = render(Piece(short(), memory), tmp_path / f"{gain}.wav")
        assert report.true_peak_dbtp <= -1.0
        assert report.loudness_lufs == pytest.approx(-18, abs=0.5)


def test_nothing_is_overwritten_or_left_half_written(tmp_path: Path, tiny_memory: Memory) -> None:
    (tmp_path / "a.wav").write_bytes(b"mine")
    with pytest.raises(InputError, match="exists already"):
        render(Piece(short(), tiny_memory), tmp_path / "a.wav")
    assert (tmp_path / "a.wav").read_bytes() == b"mine"

    def stop(items: Any, total: int, what: str) -> Any:
        for number, item in enumerate(items):
            if number == 2:
                raise KeyboardInterrupt
            yield item

    with pytest.raises(KeyboardInterrupt):
        render(Piece(short(), tiny_memory), tmp_path / "b.wav", track=stop)
    assert [p.name for p in tmp_path.iterdir()] == ["a.wav"]


def test_the_portrait_shows_the_piece(tmp_path: Path, tiny_memory: Memory) -> None:
    render(Piece(short(), tiny_memory), tmp_path / "a.wav")
    shown = portrait_figure(Piece(short(), tiny_memory), tmp_path / "a.wav").axes[0].get_images()[0]
    levels = np.asarray(shown.norm(np.asarray(shown.get_array())))
    assert levels.shape == (160, 1000)
    assert 0.5 < levels.max() <= 1
    assert levels.std() > 0.1


def test_samples_are_sounds_and_a_sheet(tmp_path: Path, tiny_memory: Memory) -> None:
    made = write_samples(tiny_memory, tmp_path, count=5, seed=1)
    assert [p.name for p in made] == ["000_Am.wav", "001_C.wav", "002_G.wav", "003_Am.wav", "004_C.wav", "sheet.png"]
    data, rate = soundfile.read(made[0])
    assert rate == 22_050
    assert len(data) == tiny_memory.spec.samples
    assert 0.01 < np.abs(data).max() <= 0.98
    with pytest.raises(InputError, match="exists already"):
        write_samples(tiny_memory, tmp_path, count=1)


def test_an_event_longer_than_the_piece_is_cut(tmp_path: Path, tiny_memory: Memory) -> None:
    score = short(duration_s=1.0, envelope=EnvelopeConfig(release_s=0.0))
    assert render(Piece(score, tiny_memory), tmp_path / "a.wav").duration_s == 1.0


PEAK_SCRIPT = """
import resource, sys
from pathlib import Path
import numpy as np
from fugue_state.config import MelSpec, ModelConfig, ReverbConfig
from fugue_state.memory.catalogue import MemoryHeader
from fugue_state.memory.layers import BANDS, Generator
from fugue_state.memory.memory import Memory
from fugue_state.piece.piece import Piece
from fugue_state.output.render import render
from fugue_state.score.model import Forgetting, Score
noise = np.random.default_rng(0)
config = ModelConfig(feature_maps=2, latent_size=4)
class Hiss:
    spec = MelSpec()
    def __call__(self, mel):
        return 0.1 * noise.standard_normal((len(mel), mel.shape[2] * 512), dtype=np.float32)
tensors = {name: noise.uniform(0.0, 0.1, shape).astype("f4") for name, shape in Generator.shapes(config).items()}
memory = Memory(Generator(config, BANDS, tensors), MemoryHeader(name="m", mel=MelSpec(), model=config), inverter=Hiss())
plain = Forgetting(order="random", pace="linear")
score = Score(forgetting=plain, duration_s=float(sys.argv[1]), tempo_bpm=24, reverb=ReverbConfig(rt60_s=1.0))
render(Piece(score, memory), Path(sys.argv[2]) / f"{sys.argv[1]}.wav")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read in kilobytes, as on Linux")
@pytest.mark.heavy
def test_a_long_piece_needs_no_more_memory(tmp_path: Path) -> None:
    def peak(seconds: int) -> int:
        command = [sys.executable, "-c", PEAK_SCRIPT, str(seconds), str(tmp_path)]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert peak(1800) <= 1.1 * peak(60)
