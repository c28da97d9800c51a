from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
import soundfile
from click.testing import CliRunner, Result

from fugue_state.audio import io
from fugue_state.cli import ALLOCATED, COMMANDS, composing, main
from fugue_state.config import MelSpec, VocoderConfig
from fugue_state.errors import OutputError
from fugue_state.memory.catalogue import VocoderHeader
from fugue_state.memory.checkpoint import save_vocoder

from .conftest import RATE, pluck, untrained_net


def run(*words: object) -> Result:
    return CliRunner().invoke(main, [str(w) for w in words])


def refused(result: Result, code: int, *parts: str) -> None:
    """One clear line, the right exit code, no traceback."""
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    last = result.stderr.strip().splitlines()[-1]
    for part in parts:
        assert part in last, last


def commands(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        found.append((*path, name))
        if isinstance(command, click.Group):
            found += commands(command, (*path, name))
    return found


@pytest.mark.parametrize("path", commands(main))
def test_every_command_explains_itself_with_an_example(path: tuple[str, ...]) -> None:
    result = run(*path, "--help")
    assert result.exit_code == 0
    if path not in {("corpus",), ("vocoder",), ("score",)}:
        assert f"fugue {' '.join(path)}" in result.output.split("Examples:")[1]


def test_the_list_of_commands_is_that_of_their_modules() -> None:
    for name, (_, _, told) in COMMANDS.items():
        command = main.get_command(click.Context(main), name)
        assert command is not None
        assert command.name == name
        assert len(told) <= 65
    assert main.get_command(click.Context(main), "forgett") is None
    listed = run("--help").output
    assert all(f"  {name} " in listed for name in COMMANDS)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from fugue_state.cli import main\n"
        "try: main(['forget', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'scipy', 'librosa', 'matplotlib', 'av', 'mido', 'tqdm'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_list_of_commands_needs_no_settings() -> None:
    code = (
        "import sys; from fugue_state.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit('pydantic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_forget_makes_a_piece_a_portrait_and_a_recipe(tmp_path: Path, tiny_path: Path) -> None:
    out = tmp_path / "piece.wav"
    result = run(
        "forget", "-m", tiny_path, "-o", out, "--chords", "Am,C", "--duration", 5, "--rt60", 0.5, "--json",
        "--score", tmp_path / "piece.toml",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["duration_s"] == 5
    assert soundfile.info(out).frames == 5 * 44_100
    assert sorted(p.name for p in tmp_path.glob("piece*")) == ["piece.json", "piece.png", "piece.toml", "piece.wav"]
    assert json.loads((tmp_path / "piece.json").read_text())["score"]["voices"][0]["chords"] == ["Am", "C"]
    refused(run("forget", "-m", tiny_path, "-o", out), 2, "exists already", "--force")
    steps = run(
        "forget", "-m", tiny_path, "-o", out, "--force", "--duration", 4, "--pace", "steps", "--order", "layerwise",
        "--rate", 48000, "--format", "PCM_16", "--to", 0.5, "--sustain", 0.5, "--no-hold", "--tilt", -4, "--rt60", 0.5,
        "--low-ratio", 1.5, "--high-ratio", 0.25,
    )  # fmt: skip
    assert steps.exit_code == 0, steps.output
    score = json.loads((tmp_path / "piece.json").read_text())["score"]
    assert score["loudness"]["hold"] is False
    assert (score["envelope"]["hold_s"], score["tone"]["tilt_db"]) == (0.5, -4)
    assert (score["reverb"]["low_ratio"], score["reverb"]["high_ratio"]) == (1.5, 0.25)
    assert "loudness_lufs" in steps.stdout
    assert "largest_step" not in steps.output
    assert "longest_silence_s" not in steps.output
    assert {"largest_step", "longest_silence_s"} <= set(told)
    assert steps.stderr.splitlines()[-2:] == [
        f"listen to {out}; look at {out.with_suffix('.png')}", f"next: fugue film {out}",
    ]  # fmt: skip
    assert soundfile.info(out).samplerate == 48_000


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--chords", "Am,Hm"], "unknown chord 'Hm'"),
        (["--chords", "Am,cc"], "unknown chord 'cc'; did you mean 'C'?"),
        (["--order", "rnadom"], "unknown --order 'rnadom'; did you mean 'random'?"),
        (["--pace", "linar"], "unknown --pace 'linar'; did you mean 'linear'?"),
        (["--inverter", "orignal"], "unknown --inverter 'orignal'; did you mean 'original'?"),
        (["--duration", "0"], "--duration: "),
        (["--duration", "-5"], "got -5"),
        (["--duration", "1e12"], "--duration: "),
        (["--duration", "nan"], "--duration: "),
        (["--every", "0"], "--every"),
        (["--to", "1.5"], "--to: "),
        (["--tilt", "13"], "--tilt: "),
        (["--sustain", "-1"], "--sustain: "),
        (["--seed", "-1"], "--seed: "),
        (["--rate", "22050"], "--rate: "),
        (["--rt60", "0"], "--rt60: "),
        (["--impulse", "none.wav"], "none.wav: no such file"),
        (["-o", "{tmp}/none/a.wav"], "no such folder"),
        (["-o", "{tmp}/a.mp3"], "unknown file ending '.mp3'"),
        (["-o", "{tmp}/a.flac", "--format", "FLOAT"], "FLAC holds no float"),
        (["--chords", ","], "names no chord"),
        (["-m", "guittar"], "unknown memory 'guittar'"),
        (["-m", "{tmp}/none.safetensors"], "no such checkpoint"),
        (["-m", "{tmp}/pickle.pt"], "never loaded"),
        (["-m", "{tmp}/cut.safetensors"], "damaged"),
    ],
)
def test_wrong_requests_get_one_line_and_leave_nothing(
    tmp_path: Path, tiny_path: Path, words: list[str], part: str
) -> None:
    (tmp_path / "pickle.pt").write_bytes(pickle.dumps({}))
    (tmp_path / "cut.safetensors").write_bytes(tiny_path.read_bytes()[:3000])
    before = sorted(tmp_path.iterdir())
    given = [w.replace("{tmp}", str(tmp_path)) for w in words]
    refused(run("forget", "-m", tiny_path, "-o", tmp_path / "a.wav", "--duration", 4, *given), 2, part)
    assert sorted(tmp_path.iterdir()) == before


def test_a_piece_that_is_there_before_its_film_says_how_to_go_on(
    tmp_path: Path, tiny_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "a.wav"
    words = ["forget", "-m", tiny_path, "-o", out, "--duration", 2, "--quality", "draft"]

    def broken(*_: object) -> None:
        raise OutputError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(composing, "_film", broken)
        refused(run(*words), 1, "the disk is full")
    assert out.exists()
    refused(run(*words), 2, "a.wav.part: a render was interrupted; --resume goes on with it")
    assert run(*words, "--resume").exit_code == 0
    assert sorted(path.name for path in tmp_path.glob("a.*")) == ["a.json", "a.png", "a.wav"]


def test_what_is_to_be_typed_next_can_be_pasted(tmp_path: Path) -> None:
    score = tmp_path / "my first.toml"
    plan, sound = score.with_suffix(".png"), score.with_suffix(".wav")
    said = run("score", "new", score).stderr.splitlines()[-1]
    assert said.endswith(f"next: fugue score show '{score}' -o '{plan}', fugue render '{score}' -o '{sound}'")


@pytest.mark.parametrize(("key", "value"), [("latents", "path"), ("order", "list"), ("pace", "points")])
def test_what_only_a_score_can_say_is_refused_as_an_option(tmp_path: Path, key: str, value: str) -> None:
    refused(run("forget", "-o", tmp_path / "a.wav", f"--{key}", value), 2, f"--{key} {value} needs ", "only a score")
    told = run("forget", "--help").stdout
    assert f"{value}," not in told
    assert f", {value}" not in told


def test_scores_are_written_checked_shown_rendered_and_given_back(tmp_path: Path, tiny_path: Path) -> None:
    score, out = tmp_path / "a.toml", tmp_path / "a.wav"
    assert run("score", "new", score).exit_code == 0
    refused(run("score", "new", score), 2, "exists already")
    refused(run("score", "check", score, "-m", tiny_path), 2, f"{score}:13: voices[1].chords[2]: unknown chord 'F'")
    text = score.read_text().replace('"F", ', "").replace("over = 8", "over = 1")
    score.write_text(f'memory = "{tiny_path.as_posix()}"\nquality = "draft"\nduration_s = 6\n{text}')
    assert "it can be played" in run("score", "check", score).stderr
    assert "recall at 0:04.8 to 0:05.8" in run("score", "show", score).stdout
    assert run("score", "show", score, "-o", tmp_path / "shown.svg").exit_code == 0
    result = run("render", score, "-o", out, "--labels", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["duration_s"] == 6
    assert "recall" in (tmp_path / "a.txt").read_text()
    again = run("reopen", out)
    assert again.exit_code == 0
    (tmp_path / "b.toml").write_text(again.stdout)
    assert run("reopen", tmp_path / "a.json").stdout == again.stdout
    assert run("reopen", out, "-o", tmp_path / "c.toml").exit_code == 0
    assert run("render", tmp_path / "b.toml", "-o", tmp_path / "b.wav").exit_code == 0
    sounds = [soundfile.read(tmp_path / name)[0] for name in ("a.wav", "b.wav")]
    assert (sounds[0] == sounds[1]).all()
    refused(run("render", tmp_path / "b.toml", "-o", tmp_path / "c.wav", "-m", "guitar"), 2, "made_for", "deconv1")


def test_damaged_provenance_and_wrong_scores_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"made_by": "fugue-state 0.1.0", "memory": "x", "memory_sha256": "0"}')
    refused(run("reopen", tmp_path / "a.json"), 2, "was made by fugue-state, but from no score")
    told = {"made_by": "fugue-state 0.1.0", "memory": "x", "memory_sha256": "0", "score": {"duration_s": "soon"}}
    (tmp_path / "b.json").write_text(json.dumps(told))
    refused(run("reopen", tmp_path / "b.json"), 2, "b.json: how it was made is damaged (duration_s")
    refused(run("reopen", tmp_path / "none.wav"), 2, "none.wav")
    (tmp_path / "a.toml").write_text("[reverb]\nrt60 = 3\n")
    refused(run("render", tmp_path / "a.toml", "-o", tmp_path / "a.wav"), 2, "a.toml:2: unknown key of reverb 'rt60'")
    refused(run("score", "show", tmp_path / "none.toml"), 2, "no such score")


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, tiny_path: Path) -> None:
    code = (
        "import resource, signal, sys\n"
        "from fugue_state.cli import main\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"
        "main(sys.argv[1:])\n"
    )
    (tmp_path / "out").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code, "forget", "-m", str(tiny_path), "-o", str(tmp_path / "out" / "a.wav"),
         "--duration", "6"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "could not be written" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_what_the_system_refuses_is_one_line(
    tmp_path: Path, make_corpus: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_corpus({"Am": 2, "C": 2})
    (tmp_path / "taken").write_text("a file where a folder is needed")
    refused(run("train", root, "-o", tmp_path / "taken" / "run", "--steps", 1), 2, "taken")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "losses.csv")

    monkeypatch.setenv("FUGUE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("fugue_state.learning.run.Run._take_up", refuse)
    refused(run("train", root, "-o", tmp_path / "run", "--steps", 1), 1, "losses.csv: Permission denied")


def test_sample(tmp_path: Path, tiny_path: Path) -> None:
    result = run("sample", "-m", tiny_path, "-o", tmp_path / "s", "-n", 3, "--chord", "C", "--seed", 2)
    assert result.exit_code == 0, result.output
    assert sorted(p.name for p in (tmp_path / "s").iterdir()) == ["000_C.wav", "001_C.wav", "002_C.wav", "sheet.png"]
    refused(run("sample", "-m", tiny_path, "-o", tmp_path / "s", "-n", 1, "--chord", "C"), 2, "exists already")
    refused(run("sample", "-m", tiny_path, "-o", tmp_path / "t", "--chord", "Cm"), 2, "unknown chord 'Cm'")
    assert not (tmp_path / "t").exists()
    assert run("sample", "-m", tiny_path, "-o", tmp_path / "t", "-n", 0).exit_code == 2


def test_corpus_and_train(tmp_path: Path, make_corpus: Callable[..., Path]) -> None:
    root = make_corpus({"Am": 3, "C": 3})
    (root / "C" / "zero.wav").touch()
    sheet = tmp_path / "sheet.png"
    inspected = run("corpus", "inspect", root, "--json", "--sheet", sheet)
    assert inspected.exit_code == 0, inspected.output
    counted = json.loads(inspected.stdout)
    assert counted["readable"] == 6
    assert next(iter(counted["unreadable"].values())) == "the file is empty (0 bytes)"
    assert sheet.is_file()
    refused(run("corpus", "inspect", root, "--sheet", sheet), 2, "exists already")
    small = ["--feature-maps", 2, "--batch", 2, "--latent-size", 4]
    dry = run("train", root, "-o", tmp_path / "run", *small, "--steps", 2, "--dry-run")
    assert json.loads(dry.stdout)["run"]["model"]["labels"] == ["Am", "C"]
    assert not (tmp_path / "run").exists()
    trained = run("train", root, "-o", tmp_path / "run", *small, "--steps", 2, "--licence", "CC0-1.0")
    assert trained.exit_code == 0, trained.output
    assert "left out" in trained.stderr
    assert "trained at step 2" in trained.stderr
    refused(run("train", root, "-o", tmp_path / "run", *small, "--steps", 2), 2, "--resume continues it")
    resumed = run("train", root, "-o", tmp_path / "run", "--steps", 3, "--resume")  # the settings are remembered
    assert "trained at step 3" in resumed.stderr
    assert json.loads((tmp_path / "run" / "run.json").read_text())["data"][0]["licence"] == "CC0-1.0"
    other = run("train", root, "-o", tmp_path / "run", "--steps", 4, "--resume", "--batch", 3)
    refused(other, 2, "started with train.batch = 2, not 3")
    io.write(root / "C" / "new.wav", pluck(48), RATE)
    refused(run("train", root, "-o", tmp_path / "run", "--steps", 4, "--resume"), 2, "started with data_key")
    assert run("sample", "-m", tmp_path / "run", "-o", tmp_path / "s", "-n", 1).exit_code == 0


def test_training_refuses_what_cannot_be_learned(tmp_path: Path, make_corpus: Callable[..., Path]) -> None:
    def train(folder: Path, *words: object) -> Result:
        return run("train", folder, "-o", tmp_path / "run", "--steps", 1, *words)

    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.wav").write_text("words")
    (tmp_path / "text" / "b.wav").write_text("words")
    (tmp_path / "one").mkdir()
    io.write(tmp_path / "one" / "a.wav", pluck(50), RATE)
    refused(train(tmp_path / "nowhere"), 2, "no such folder")
    refused(train(tmp_path / "empty"), 2, "no sound file")
    refused(train(tmp_path / "text"), 2, "0 usable clips, at least", "not a readable sound file")
    refused(train(tmp_path / "one"), 2, "1 usable clip, at least")
    refused(train(make_corpus({"Am": 3}, "class")), 2, "only one class")
    two = make_corpus({"Am": 2, "C": 2}, "two")
    refused(train(two, "--mel", "orignal"), 2, "did you mean 'original'")
    refused(train(two, "--batch", "0"), 2, "batch", "got 0")
    refused(train(two, "--feature-maps", "3"), 2, "--feature-maps", "got 3")
    refused(train(two, "--resume"), 2, "no run to resume")
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("librosa")
def test_sounds_without_labels_are_clustered(tmp_path: Path, make_corpus: Callable[..., Path]) -> None:
    root = make_corpus({"Am": 25, "C": 25})
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in root.rglob("*.wav"):
        path.rename(flat / path.name)

    def train(folder: Path, *words: object) -> Result:
        result = run("train", flat, "-o", folder, "--feature-maps", 2, "--batch", 2, "--latent-size", 4, *words)
        assert "Traceback" not in result.output
        return result

    def stored(folder: Path) -> tuple[object, object]:
        read = json.loads((folder / "run.json").read_text())
        return read["clusters"], read["model"]["labels"]

    auto = train(tmp_path / "auto", "--steps", 1)
    assert auto.exit_code == 0, auto.output
    assert "note: 50 clips are few" in auto.stderr
    assert "note: clusters heard: 1 (25 clips), 2 (25 clips)" in auto.stderr
    assert stored(tmp_path / "auto") == (2, ["1", "2"])
    for words in ([], ["--clusters", 2], ["--clusters", "auto"]):
        resumed = train(tmp_path / "auto", "--steps", 2, "--resume", *words)
        assert resumed.exit_code == 0, resumed.output
    refused(train(tmp_path / "auto", "--steps", 3, "--resume", "--clusters", 3), 2, "started with clusters = 2, not 3")
    assert run("sample", "-m", tmp_path / "auto", "-o", tmp_path / "s", "-n", 1, "--chord", "2").exit_code == 0
    assert train(tmp_path / "plain", "--steps", 1, "--clusters", 1).exit_code == 0
    assert stored(tmp_path / "plain") == (1, [])
    dry = train(tmp_path / "dry", "--steps", 1, "--dry-run", "--clusters", 3)
    assert json.loads(dry.stdout)["run"]["model"]["labels"] == ["1", "2", "3"]
    refused(train(tmp_path / "x", "--clusters", 51), 2, "a number from 1 to 50", "got '51'")
    refused(train(tmp_path / "x", "--clusters", "autos"), 2, "got 'autos'")
    refused(train(tmp_path / "x", "--clusters", 0), 2, "got '0'")
    assert not (tmp_path / "x").exists()


@pytest.mark.usefixtures("librosa")
def test_clusters_take_the_place_of_class_folders_when_asked_for(
    tmp_path: Path, make_corpus: Callable[..., Path]
) -> None:
    root = make_corpus({"Am": 6, "C": 6})
    small = ["--feature-maps", 2, "--batch", 2, "--latent-size", 4]
    result = run("train", root, "-o", tmp_path / "run", *small, "--steps", 1, "--clusters", 3)
    assert result.exit_code == 0, result.output
    assert "note: the class folders are ignored" in result.stderr
    assert json.loads((tmp_path / "run" / "run.json").read_text())["model"]["labels"] == ["1", "2", "3"]
    assert run("train", root, "-o", tmp_path / "run", "--steps", 2, "--resume").exit_code == 0
    own = run("train", root, "-o", tmp_path / "own", *small, "--steps", 1)
    assert "note: the class folders are ignored" not in own.stderr
    assert "note: too few clips in Am (6), C (6)" in own.stderr
    refused(
        run("train", root, "-o", tmp_path / "own", "--steps", 2, "--resume", "--clusters", 2),
        2, "started with clusters = None, not 2",
    )  # fmt: skip


def test_corpus_build(tmp_path: Path) -> None:
    for midi, name in ((40, "E2"), (45, "A2"), (50, "D3"), (55, "G3"), (59, "B3"), (64, "E4"), (69, "A4")):
        (tmp_path / "notes").mkdir(exist_ok=True)
        io.write(tmp_path / "notes" / f"{name}.wav", pluck(midi, 1.2), RATE)
    words = ["corpus", "build", tmp_path / "out", "--notes", tmp_path / "notes", "--clips", 8, "--test-clips", 0]
    result = run(*words, "--duration-s", 0.5)
    assert result.exit_code == 0, result.output
    assert len(list((tmp_path / "out" / "Training").rglob("*.flac"))) == 8
    refused(run(*words, "--duration-s", 0.6), 2, "other settings")
    refused(run("corpus", "build", tmp_path / "o", "--clips", 0), 2, "clips", "got 0")
    refused(run("corpus", "build", tmp_path / "o", "--notes", tmp_path / "none"), 2, "no such folder")


def test_measure(tmp_path: Path, tiny_path: Path, make_corpus: Callable[..., Path]) -> None:
    alone = run("measure", tiny_path, "--per-class", 4, "--json", "--sheet", tmp_path / "m.png")
    assert alone.exit_code == 0, alone.output
    assert json.loads(alone.stdout)["chords"]["generated"]["count"] == 12
    assert (tmp_path / "m.png").is_file()
    refused(run("measure", tiny_path, "--sheet", tmp_path / "m.png"), 2, "exists already")
    refused(run("measure", tiny_path, "--against", tmp_path / "none"), 2, "no such folder")
    refused(run("measure", "gitar"), 2, "unknown memory 'gitar'")
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "a.wav").write_text("no sound")
    refused(
        run("measure", tiny_path, "--against", tmp_path / "torn", "--per-class", 4),
        2, "no readable clip to compare with (the first of 1: ", "a.wav: not a readable sound file",
    )  # fmt: skip


def test_models_are_listed() -> None:
    result = run("models", "--json")
    assert result.exit_code == 0
    assert isinstance(json.loads(result.stdout), dict)


def test_wrong_commands_suggest() -> None:
    result = run("froget")
    assert result.exit_code == 2
    assert "No such command 'froget'" in result.output


def test_the_listing_of_an_atlas_is_checked_before_anything_is_measured(
    tmp_path: Path, tiny_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fugue_state.memory.memory import Memory

    def never(*_: object, **__: object) -> None:
        raise AssertionError

    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "atlas.json").touch()
    monkeypatch.setattr(Memory, "load", never)
    refused(run("atlas", tiny_path, "-n", 1, "-o", tmp_path / "out"), 2, "atlas.json: exists already")


def test_a_folder_without_a_memory_says_what_it_holds(tmp_path: Path, tiny_path: Path) -> None:
    def said(folder: Path) -> str:
        result = run("forget", "-m", folder, "-o", tmp_path / "a.wav", "--duration", 4)
        refused(result, 2, f"{folder}: no memory.safetensors is in this folder; ")
        return result.stderr

    other = tmp_path / "other"
    other.mkdir()
    assert "name a checkpoint, the folder of a run, or one that has a name: chords" in said(other)
    (other / "run.json").write_text("{}")
    assert "its training has not come to one yet; --resume goes on with it" in said(other)
    (other / "foreign.safetensors").write_bytes(b"")
    net = untrained_net(VocoderConfig(channels=8, blocks=1, low=8, local=4), MelSpec())
    save_vocoder(other / "vocoder.safetensors", net, VocoderHeader(config=net.config, mel=MelSpec()))
    assert "it holds a vocoder; `fugue vocoder add` puts it into a memory" in said(other)
    assert f"name one that it holds: {tiny_path}\n" in said(tmp_path)
    for name in ("mine", "runs"):
        (tmp_path / name).mkdir()
        shutil.copy(tiny_path, tmp_path / name / "memory.safetensors")
    assert f"name one that it holds: {tmp_path / 'mine'}, {tmp_path / 'runs'}, {tiny_path}\n" in said(tmp_path)


def test_garbage_is_looked_for_rarely_and_not_at_the_end() -> None:
    code = "import atexit, gc; atexit.register(lambda: print(gc.get_threshold()[0], gc.get_freeze_count() > 0))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; from fugue_state.cli import main; main()", "--version"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == f"{ALLOCATED} True"
