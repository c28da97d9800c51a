from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import numpy.typing as npt
import pysfizz
import pytest
import soundfile

from fugue_state.audio import io
from fugue_state.config import MelSpec, ModelConfig, SamplerConfig
from fugue_state.errors import InputError, OutputError
from fugue_state.export.sampler_keys import Keys, Zone, in_order, keys_of
from fugue_state.export.sampler_presets import Pack, dspreset, sfz
from fugue_state.export.sampler_sounds import pack_score, stages_of
from fugue_state.files import replacing_folder
from fugue_state.measure.atlas import Atlas
from fugue_state.measure.naming import name_sound
from fugue_state.memory.catalogue import MemoryHeader
from fugue_state.memory.checkpoint import save_memory
from fugue_state.memory.memory import Memory
from fugue_state.piece.piece import Piece
from fugue_state.score.model import Score
from fugue_state.score.pitches import velocity_db
from fugue_state.settings import checked

from .conftest import untrained
from .test_cli import refused, run

RATE = 44_100
BLOCK = 64
Rendered = npt.NDArray[np.float32]


def test_notes_lie_on_their_keys_and_keys_between_are_transposed() -> None:
    keys = keys_of(("E3", "G3", "B3"))
    assert keys == Keys((Zone(0, 50, 53, 52), Zone(1, 54, 57, 55), Zone(2, 58, 61, 59)))
    assert in_order(("G3", "A#2", "C3")) == ("A#2", "C3", "G3")


def test_chords_lie_on_their_roots_and_keys_switch_between_their_kinds() -> None:
    labels = in_order(("Am", "G", "Dm", "C", "Bdim"))
    assert labels == ("C", "G", "Dm", "Am", "Bdim")
    keys = keys_of(labels)
    assert keys.kinds == ("major", "minor", "diminished")
    assert [keys.switch(kind) for kind in range(3)] == [24, 25, 26]
    minor = {
        key: (zone.label, zone.centre)
        for zone in keys.zones
        if zone.kind == 1
        for key in range(zone.low, zone.high + 1)
    }
    # Two semitones up from Am is the last key that has a sound: of B below C, too.
    assert minor == {48: (2, 50), 49: (2, 50), 50: (2, 50), 51: (2, 50), 52: (2, 50)} | dict.fromkeys(
        range(55, 60), (3, 57)
    )
    assert max(zone.high for zone in keys.zones) < 60
    assert keys_of(("C", "F")).kinds == ()


def test_other_labels_lie_one_by_one_from_middle_c_on() -> None:
    assert [zone.low for zone in keys_of(("kick", "snare")).zones] == [60, 61]
    assert [zone.low for zone in keys_of(("C", "kick")).zones] == [60, 61]
    assert [zone.low for zone in keys_of([f"x{i}" for i in range(100)]).zones] == list(range(28, 128))
    assert [zone.low for zone in keys_of(("Am", "Amin")).zones] == [60, 61]  # the same chord
    with pytest.raises(InputError, match=r"129 labels .* are too many: there are 128 keys"):
        keys_of([f"x{i}" for i in range(129)])


def test_the_stages_forget_as_a_piece_does(tiny_memory: Memory) -> None:
    config = SamplerConfig(stages=5, latents=2)
    kept = {"memory": "tiny", "forgetting": {"pace": "linear", "to": 0.8, "order": "random", "locks": ["deconv5"]}}
    score = checked(Score, kept | pack_score(tiny_memory.labels, config, tiny_memory.spec, None))
    piece = Piece(score, tiny_memory)
    assert [turn.label for turn in piece.lines[0].turns] == ["Am", "C", "G"] * 2
    stages = stages_of(piece, config.stages)
    locked = tiny_memory.layers["deconv5"]
    assert (stages[0] == 1.0).all()
    assert (stages[:, -locked:] == 1.0).all()
    gone = 1.0 - stages[:, :-locked].mean(axis=1)
    assert gone == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8], abs=1e-5)
    assert (np.diff(stages, axis=0) <= 0.0).all()


@pytest.fixture
def pack(tmp_path: Path, tiny_path: Path) -> Path:
    made = exported(tiny_path, tmp_path / "pack")
    assert made.output.count("\n") > 3
    return tmp_path / "pack"


def exported(memory: Path, out: Path, *words: str) -> Any:
    few = ("--stages", "3", "--quality", "draft", "--order", "random", "--pace", "linear")
    return run("export", "sampler", str(memory), "-o", str(out), *few, *words)


def test_a_pack_holds_what_it_lists(pack: Path) -> None:
    record = json.loads((pack / "pack.json").read_text())
    there = sorted(path.relative_to(pack).as_posix() for path in pack.rglob("*") if path.is_file())
    assert record["files"] == there
    assert record["sampler"] == {"stages": 3, "latents": 2}
    assert record["score"]["forgetting"]["order"] == "random"
    sounds = sorted((pack / "Samples").iterdir())
    assert len(sounds) == 3 * 3 * 2
    assert sounds[0].name == "tiny_01_C_s00_l1.wav"
    spec = MelSpec()
    for path in sounds:
        about = soundfile.info(path)
        assert (about.samplerate, about.subtype, about.channels) == (RATE, "PCM_24", 1)
        assert about.frames == round(spec.frames * spec.hop * RATE / spec.sample_rate_hz)
        samples, _ = soundfile.read(path)
        assert 0.0 < np.abs(samples).max() < 1.0
        assert np.abs(samples[[0, -1]]).max() < 1e-4
    readme = (pack / "README.txt").read_text()
    assert "fugue export sampler" in readme
    assert "--stages 3" in readme
    assert "A3 (57)" in readme


def test_the_same_pack_is_the_same_bytes(pack: Path, tiny_path: Path, tmp_path: Path) -> None:
    exported(tiny_path, tmp_path / "again")
    for path in pack.rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "again" / path.relative_to(pack)).read_bytes(), path.name


def test_decent_sampler_finds_every_sound_and_fades_every_group(pack: Path) -> None:
    root = ET.parse(pack / "tiny.dspreset").getroot()  # noqa: S314
    groups = root.findall("groups/group")
    assert len(groups) == 2 * 3  # major and minor, in three stages
    for sample in root.iter("sample"):
        assert (pack / sample.attrib["path"]).is_file()
        assert int(sample.attrib["loNote"]) <= int(sample.attrib["hiNote"])
    tables = [binding.attrib["translationTable"] for binding in root.findall(".//labeled-knob/binding")]
    gains = [[float(point.split(",")[1]) for point in table.split(";")] for table in tables[:3]]
    assert np.sum(gains, axis=0).tolist() == [1.0, 1.0, 1.0]
    positions = [int(binding.attrib["position"]) for binding in root.findall(".//labeled-knob/binding")]
    assert positions == list(range(6))
    assert [group.attrib["enabled"] for group in groups] == ["true"] * 3 + ["false"] * 3
    assert root.find("midi/cc[@number='1']") is not None
    assert [note.attrib["note"] for note in root.findall("midi/note")] == ["24", "25"]


def test_sfzlint_has_nothing_to_say(pack: Path) -> None:
    lint = Path(sys.executable).with_name("sfzlint")
    said = subprocess.run([lint, "--no-pickle", pack / "tiny.sfz"], capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")


def test_kinds_that_are_numbers_are_spoken() -> None:
    keys = keys_of(("C", "C7"))
    assert keys.kinds == ("major", "seventh")
    assert "label_key25=seventh" in sfz(Pack("x", ("C", "C7"), keys, 2, 1), "x")


def test_without_variants_and_kinds_nothing_is_said_of_them() -> None:
    one = Pack("x", ("E3",), keys_of(("E3",)), 2, 1)
    assert "sw_" not in sfz(one, "x")
    preset = dspreset(one, "a -- b")
    assert 'seqMode="always"' in preset
    assert "<menu" not in preset
    assert ET.fromstring(preset).tag == "DecentSampler"  # noqa: S314


def rendered(pack: Path, key: int, *, velocity: int = 127, wheel: int = 0, switch: int = 24, turn: int = 0) -> Rendered:
    """Play a key for three seconds, by sfizz."""
    path = next(pack.glob("*.sfz"))
    whole = path.with_name("whole.sfz")  # sounds are read at once, not while they play
    whole.write_text(path.read_text().replace("<control>", "<control>\nhint_ram_based=1"))
    synth = pysfizz.Synth(sample_rate=RATE, block_size=BLOCK)
    assert synth.load_sfz_file(whole)
    whole.unlink()
    hands = synth._synth
    hands.note_on(0, switch, 100)
    hands.note_off(0, switch, 0)
    hands.cc(0, 1, wheel)
    for _ in range(turn):
        hands.note_on(0, key, 100)
        hands.note_off(0, key, 0)
    for _ in range(RATE // BLOCK):
        hands.render_block()
    hands.note_on(0, key, velocity)
    blocks = [hands.render_block()[0] for _ in range(3 * RATE // BLOCK)]
    return np.concatenate(blocks).astype(np.float32)


def level_db(sound: Rendered) -> float:
    return 10.0 * float(np.log10(np.mean(sound.astype(np.float64) ** 2) + 1e-20))


@pytest.fixture(scope="module")
def guitar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sampler") / "guitar"
    run(
        "export",
        "sampler",
        "guitar",
        "-o",
        str(out),
        "--chords",
        "C,Am",
        "--stages",
        "4",
        "--to",
        "0.5",
        "--pace",
        "linear",
    )
    return out


def test_the_wheel_moves_the_level_smoothly(guitar: Path) -> None:
    levels = [level_db(rendered(guitar, 48, wheel=wheel)) for wheel in range(0, 128, 4)] + [
        level_db(rendered(guitar, 48, wheel=127))
    ]
    assert np.abs(np.diff(levels)).max() < 1.5
    assert np.ptp(levels) < 1.5  # all stages are as loud as the score holds them, and nothing cancels between them


def test_keys_play_the_chords_they_are_said_to(guitar: Path) -> None:
    labels = Memory.load("guitar").labels
    for key, switch, name in ((48, 24, "C"), (57, 25, "Am")):
        for wheel in (0, 64):
            assert name_sound(rendered(guitar, key, switch=switch, wheel=wheel), RATE, labels).name == name
    assert level_db(rendered(guitar, 57, switch=24)) < -100.0  # no major chord is near


def test_velocity_is_level_and_variants_take_turns(guitar: Path) -> None:
    loud = rendered(guitar, 48)
    for velocity in (100, 64, 20):
        softer = rendered(guitar, 48, velocity=velocity)
        assert level_db(softer) - level_db(loud) == pytest.approx(velocity_db(velocity), abs=0.05)
    assert np.abs(rendered(guitar, 48, turn=1) - loud).max() > 0.05
    assert np.abs(rendered(guitar, 48, turn=2) - loud).max() < 1e-6


def test_crossfaded_stages_do_not_cancel(guitar: Path) -> None:
    stages = [soundfile.read(path)[0] for path in sorted((guitar / "Samples").glob("*C_s*_l1.wav"))]
    assert len(stages) == 4
    for one, other in pairwise(stages):
        apart, between = np.sqrt([np.mean(one**2), np.mean(other**2)]), np.sqrt(np.mean(((one + other) / 2.0) ** 2))
        assert 20.0 * np.log10(between / apart.mean()) > -0.5  # unrelated sounds would lose 3 dB


def test_a_folder_is_replaced_only_if_it_is_a_pack(pack: Path, tiny_path: Path) -> None:
    few = ("--stages", "3", "--quality", "draft", "--order", "random", "--pace", "linear")
    again = ("export", "sampler", str(tiny_path), "-o", str(pack), *few)
    refused(run(*again), 2, "not empty; choose another name or add --force")
    (pack / "mine.txt").write_text("x")
    refused(run(*again, "--force"), 2, "holds what was not exported to it (mine.txt)")
    (pack / "mine.txt").unlink()
    run(*again, "--force", "--latents", "1")
    assert len(list((pack / "Samples").iterdir())) == 9
    shutil.rmtree(pack)
    pack.mkdir()
    run(*again, "--latents", "1")
    assert (pack / "pack.json").is_file()


def test_a_full_disk_leaves_what_was_there(pack: Path, tiny_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path: path.read_bytes() for path in pack.rglob("*") if path.is_file()}
    write, left = io.write, [5]

    def full(*given: Any, **how: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")
        write(*given, **how)

    monkeypatch.setattr(io, "write", full)
    for out in (pack, pack.with_name("new")):
        left[0] = 5
        made = ["export", "sampler", str(tiny_path), "-o", str(out), "--order", "random", "--pace", "linear", "--force"]
        refused(run(*made), 1, "the disk is full")
    assert sorted(path.name for path in pack.parent.iterdir()) == ["pack", "tiny.safetensors"]
    assert {path: path.read_bytes() for path in pack.rglob("*") if path.is_file()} == before


def test_a_folder_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    left = tmp_path / f".new.{2**22 + 1}.part"  # of a process that was killed
    left.mkdir()
    with contextlib.suppress(KeyboardInterrupt), replacing_folder(tmp_path / "new") as made:
        (made / "a").write_text("x")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OutputError, match="new: could not be written"), replacing_folder(tmp_path / "none" / "new"):
        pass
    with pytest.raises(OutputError, match=r"new/a: no$"), replacing_folder(tmp_path / "new") as made:
        raise OutputError(f"{made / 'a'}: no")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--stages", "1"), "--stages"),
        (("--latents", "0"), "--latents"),
        (("--rate", "22050"), "--rate"),
        (("--chords", "Am,H"), "--chords: unknown chord 'H'"),
        (("--chords", "Am,Am"), "--chords: 'Am' is named twice"),
        (("--chords", ","), "--chords ',' names no chord"),
        (("--steps", "3"), "--steps: has no effect without --pace steps"),
        (("--scope", "deconv9"), "--scope"),
        (("--inverter", "original"), "--inverter original"),
        (("--to", "nan"), "--to"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    tmp_path: Path, tiny_path: Path, words: tuple[str, ...], said: str
) -> None:
    out = tmp_path / "pack"
    refused(run("export", "sampler", str(tiny_path), "-o", str(out), "--order", "random", *words), 2, said)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.safetensors"]


def test_too_many_sounds_are_refused(tmp_path: Path) -> None:
    most = ("--stages", "32", "--latents", "64")
    said = "75776 sounds are too many for a pack: at most 20,000 sounds"
    refused(run("export", "sampler", "notes", "-o", tmp_path / "pack", *most), 2, said)


def test_a_memory_without_labels_plays_what_its_atlas_finds(tmp_path: Path) -> None:
    config = ModelConfig(feature_maps=2, latent_size=4)
    path = tmp_path / "bare.safetensors"
    save_memory(path, untrained(config), MemoryHeader(name="bare", mel=MelSpec(), model=config, steps=1))
    refused(run("export", "sampler", path, "-o", tmp_path / "pack"), 2, "has no labels", f"fugue atlas {path}")
    atlas = Atlas.of(Memory.load(path), path)
    run(
        "export", "sampler", str(path), "-o", str(tmp_path / "pack"), "--stages", "2", "--latents", "1",
        "--quality", "draft", "--order", "random", "--pace", "linear",
    )  # fmt: skip
    names = {path.name.split("_")[2] for path in (tmp_path / "pack" / "Samples").iterdir()}
    assert names == {name.replace("#", "s") for name in atlas.chords}
