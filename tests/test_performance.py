"""What is played live, on a tiny memory: every change at once, without a click, and the same again from its take."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from fugue_state.audio.inverters import SpectralInverter
from fugue_state.audio.rate import Converter
from fugue_state.cli import main
from fugue_state.config import MelSpec, PhaseConfig
from fugue_state.engine.chain import Block
from fugue_state.engine.performance import Performance, played
from fugue_state.engine.stream import StreamedVoice, read
from fugue_state.engine.voice import Made
from fugue_state.engine.whole import Instrument, play_on
from fugue_state.errors import InputError
from fugue_state.memory.catalogue import MemoryHeader
from fugue_state.memory.layers import Generator
from fugue_state.memory.memory import Memory
from fugue_state.memory.vocoder import LearnedMagnitudes, Reading, Stream, Unlearned
from fugue_state.output.render import render
from fugue_state.piece.conductor import block_of
from fugue_state.piece.piece import Piece
from fugue_state.score.model import Score
from fugue_state.score.text import dump_score, load_score
from fugue_state.settings import checked

from .conftest import changed
from .test_vocoder import a_mel, tiny_net

# A chord every second, half as long as the event: two sound at once.
BASE: dict[str, Any] = {
    "duration_s": 6.0,
    "tempo_bpm": 60,
    "seed": 4,
    "quality": "live",
    "voices": [{"chords": ["Am", "C", "G"], "event_s": 1.4}],
    "forgetting": {"order": "random", "pace": "linear", "to": 0},
    "reverb": {"rt60_s": 0.3},
    "file": {"subtype": "FLOAT"},
}
EDGE = 1024


def score(**changes: Any) -> Score:
    return checked(Score, BASE | changes)


@pytest.fixture
def voiced(tiny_generator: Generator, tiny_header: MemoryHeader) -> Memory:
    """A memory with a vocoder."""
    return Memory(tiny_generator, tiny_header, net=tiny_net(tiny_header.mel))


def sung(voice: StreamedVoice, count: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The next samples of a voice."""
    read([(voice, count)])
    passage = voice.play(count)
    samples: np.ndarray[Any, np.dtype[np.float32]] = voice.sound(passage.start, count) * passage.weights
    return samples


Hands = dict[int, list[tuple[Any, ...]]]


def play(performance: Performance, blocks: int, hands: Hands | None = None) -> list[Block]:
    """Play blocks; before the one of a number, make changes."""
    heard = []
    for number in range(blocks):
        for change in (hands or {}).get(number, []):
            performance.change(*change)
        heard.append(performance.next())
    return heard


def sound(heard: list[Block]) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.concatenate([one.samples for one in heard])


def peak_db(one: Block) -> float:
    return 20.0 * math.log10(max(float(np.abs(one.samples).max()), 1e-6))


def wild(seed: int, blocks: int, *, layers: int = 5) -> Hands:
    """Everything that can be done, at random."""
    random = np.random.default_rng(seed)

    def one() -> tuple[Any, ...]:
        share, layer = float(random.random()), int(random.integers(1, layers + 1))
        grid = random.integers(0, 256, 2 ** (6 - layer), dtype=np.uint8).tobytes()
        choices: list[tuple[Any, ...]] = [
            ("/forget", share), ("/recall",), (f"/layer/{layer}/forget", share), (f"/layer/{layer}/recall",),
            (f"/layer/{layer}/lock", int(share < 0.5)), (f"/layer/{layer}/order", "layerwise"),
            (f"/layer/{layer}/freeze", int(share < 0.3)), (f"/unit/{layer}/2/strength", share),
            (f"/unit/{layer}/1/freeze", int(share < 0.5)), (f"/grid/{layer}", grid), ("/freeze", int(share < 0.2)),
            ("/volume", share), ("/seed", int(random.integers(99))), ("/chord", "Am" if share < 0.5 else ""),
            ("/play", int(share < 0.9)), ("/rest",), *([("/hush",)] if share < 0.1 else []),
        ]  # fmt: skip
        return choices[int(random.integers(len(choices)))]

    return {number: [one() for _ in range(random.poisson(2))] for number in range(blocks)}


@pytest.mark.parametrize(("rate", "learned"), [(44_100, False), (48_000, True), (44_100, True)])
def test_a_take_renders_to_the_samples_that_were_heard(
    tmp_path: Path, tiny_memory: Memory, voiced: Memory, rate: int, learned: bool
) -> None:
    memory = voiced if learned else tiny_memory
    performance = Performance(score(file={"sample_rate_hz": rate, "subtype": "FLOAT"}), memory)
    heard = sound(play(performance, 300, wild(7, 300)))  # longer than the piece itself
    assert np.abs(heard).max() > 0.01
    (tmp_path / "take.toml").write_text(dump_score(performance.take()))
    take = load_score(tmp_path / "take.toml")
    assert len(take.changes) > 500
    report = render(Piece(take, memory), tmp_path / "take.wav")
    again, _ = soundfile.read(tmp_path / "take.wav", dtype="float32")
    assert np.array_equal(heard, again)
    assert report.duration_s == round(len(heard) / rate, 3)


@pytest.mark.parametrize(
    "forgetting",
    [
        {"replacement": "frozen", "frozen_at": 2.0, "pace": "linear", "order": "random"},
        {"adaptive": {"clarity": 0.9, "rate": 0.5}, "order": "random"},
        {"replacement": "noise", "pace": "even", "order": "random", "fade_s": 0.5},
    ],
    ids=["frozen", "adaptive", "even"],
)
def test_a_take_of_what_forgets_by_itself(tiny_memory: Memory, forgetting: dict[str, Any]) -> None:
    performance = Performance(score(forgetting=forgetting), tiny_memory)
    heard = sound(play(performance, 150, wild(9, 150)))
    assert np.array_equal(heard, sound(list(played(Piece(performance.take(), tiny_memory)))))


def test_a_final_take_sounds_as_its_events_do_as_a_whole(tmp_path: Path, voiced: Memory) -> None:
    """What nobody touched is inverted like any piece; nothing is heard twice, early or late."""
    quiet = {"loudness": {"hold": False, "plan": [[0, -12]]}, "reverb": {"wet_db": -60}, "master": {"normalize": False}}
    still = score(quality="final", resolution="block", **quiet)
    voiced.inverter = voiced.make_inverter(quality="final")
    render(Piece(still, voiced), tmp_path / "block.wav")
    render(Piece(still.model_copy(update={"resolution": "event"}), voiced), tmp_path / "event.wav")
    block, event = (soundfile.read(tmp_path / f"{name}.wav")[0][:, 0] for name in ("block", "event"))
    late = Performance(still, voiced).latency
    size = 4 * 44_100  # then the piece ends, but not the playing
    near = float(np.corrcoef(block[late:][:size], event[:size])[0, 1])
    assert near > 0.999
    live = sound(list(played(Piece(still.model_copy(update={"quality": "live"}), voiced))))[:, 0]
    assert float(np.corrcoef(live[late:][:size], event[:size])[0, 1]) < near


def test_a_piece_shows_the_same_offline_and_live(tiny_memory: Memory) -> None:
    still = score()
    live = play(Performance(still, tiny_memory), 170)
    made = Piece(still, tiny_memory)
    whole = [heard for heard, _ in play_on(Instrument(made), made.events(), 170 * 1024, block_of(made))]
    for one, other in zip(live, whole, strict=True):
        assert one.position == other.position
        assert one.seen.chord == other.seen.chord
        assert np.array_equal(one.seen.strengths, other.seen.strengths)
        assert np.array_equal(one.seen.activations, other.seen.activations)
        assert np.array_equal(one.mel, other.mel)
    assert {one.seen.chord for one in whole} == {"Am", "C", "G"}


def test_what_does_not_forget_does_not_show_as_remembered(tiny_memory: Memory) -> None:
    """Only the other voice sounds: what is asked for shows, as in a film."""
    voices = [{"chords": ["C"], "start": 3.0}, {"chords": ["Am"], "forgets": False}]
    performance = Performance(score(voices=voices), tiny_memory)
    performance.change("/forget", 1.0)
    heard = play(performance, 20)
    assert {one.seen.chord for one in heard} == {"Am"}
    assert all((one.seen.strengths == 0).all() for one in heard)


@pytest.mark.parametrize("longest", [4096, 16])
def test_a_final_take_does_what_hands_did(tiny_memory: Memory, longest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks, levels and silences are those that were heard, also of what is held and hushed in mid-sound."""
    monkeypatch.setattr("fugue_state.engine.stream.LONGEST", longest)
    hands: Hands = {
        30: [("/forget", 0.6)], 50: [("/freeze", 1)], 120: [("/freeze", 0)], 130: [("/recall",)], 150: [("/hush",)],
        200: [("/play", 1)], 230: [("/volume", 0.0)],
    }  # fmt: skip
    performance = Performance(score(), tiny_memory)
    heard = play(performance, 260, hands)
    take = performance.take()
    finer = list(played(Piece(take.model_copy(update={"quality": "final"}), tiny_memory)))
    assert [one.position for one in finer] == [one.position for one in heard]
    # What is long stays as it was.
    assert np.array_equal(sound(finer), sound(heard)) == (longest == 16)
    for one, other in zip(heard, finer, strict=True):
        assert np.array_equal(one.seen.strengths, other.seen.strengths)
        assert np.array_equal(one.mel, other.mel)
    level = [20 * np.log10(np.abs(sound(list(found))).max() + 1e-6) for found in (heard, finer)]
    assert level[1] == pytest.approx(level[0], abs=6)
    rms = [np.array([float(np.sqrt(np.mean(one.samples**2))) for one in found]) for found in (heard, finer)]
    assert ((rms[0] < 1e-6) == (rms[1] < 1e-6)).all()
    loud = (rms[0] > 1e-4) & (rms[1] > 1e-4)
    assert np.median(np.abs(20 * np.log10(rms[0][loud] / rms[1][loud]))) < 6


def test_live_nothing_is_finer_than_live(tiny_memory: Memory) -> None:
    performance = Performance(score(quality="final"), tiny_memory)
    heard = play(performance, 40)
    assert performance.values["/quality"] == "live"
    assert performance.take().quality == "live"
    assert np.array_equal(sound(heard), sound(play(Performance(score(), tiny_memory), 40)))
    with pytest.raises(InputError, match="quality"):
        performance.change("/quality", "final")


def test_where_nothing_is_forgotten_no_pace_is_measured(tiny_memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes half a second, which a performer who begins, or takes another memory, would wait for."""

    def measured(*_: Any, **__: Any) -> None:
        raise AssertionError("something was measured")

    monkeypatch.setattr("fugue_state.piece.even.distances", measured)
    even = {"order": "random", "pace": "even"}
    Performance(score(forgetting=even | {"to": 0}), tiny_memory).next()
    with pytest.raises(AssertionError, match="measured"):
        Performance(score(forgetting=even | {"to": 0.5}), tiny_memory)


def test_a_take_can_be_played_on(tiny_memory: Memory) -> None:
    hands = wild(3, 120)
    whole = Performance(score(), tiny_memory)
    heard = sound(play(whole, 120, hands))
    first = Performance(score(), tiny_memory)
    play(first, 60, hands)
    second = Performance(first.take(), tiny_memory)
    play(second, 60)
    assert second.values == first.values
    later = sound(play(second, 60, {number - 60: done for number, done in hands.items() if number >= 60}))
    assert np.array_equal(heard[60 * EDGE :], later)
    assert second.take() == whole.take()


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("hold", [False, True])
def test_a_change_is_heard_at_once_and_not_before(
    tiny_memory: Memory, voiced: Memory, learned: bool, hold: bool
) -> None:
    memory, plan = voiced if learned else tiny_memory, score(loudness={"hold": hold})
    plain = sound(play(Performance(plan, memory), 60))
    for at in (20, 33, 47):
        performance = Performance(plan, memory)
        assert performance.block == EDGE
        forgotten = sound(play(performance, 60, {at: [("/forget", 1.0)]}))
        moved = np.flatnonzero(np.abs(plain - forgotten).max(axis=1) > 1e-6)
        # Frames lie anywhere in a block: what is not the gain waits for the next one.
        latest = EDGE if hold else 2 * EDGE
        assert at * EDGE <= moved[0] < at * EDGE + latest + performance.latency


def test_what_sounds_can_rest_for_a_block(voiced: Memory) -> None:
    def resting(*rests: int) -> list[Block]:
        hands: Hands = {20: [("/forget", 1.0)]}
        for at in rests:
            hands[at] = [*hands.get(at, []), ("/rest",)]
        performance = Performance(score(loudness={"hold": False}), voiced)
        heard = play(performance, 60, hands)
        assert np.array_equal(sound(heard), sound(play(Performance(performance.take(), voiced), 60)))
        return heard

    plain = resting()
    assert [(one.seen.strengths == 0).all() for one in plain[:22]] == [False] * 20 + [True] * 2
    rested = resting(20)
    assert np.array_equal(sound(plain)[: 20 * EDGE], sound(rested)[: 20 * EDGE])
    assert [(one.seen.strengths == 0).all() for one in rested[:22]] == [False] * 21 + [True]
    begins = 44_100 // EDGE  # what begins is not kept waiting
    new = resting(*range(20, 50))
    assert [(one.seen.strengths == 0).all() for one in new[:50]] == [False] * begins + [True] * (50 - begins)


def test_a_gain_falls_at_once_and_rises_slowly(voiced: Memory) -> None:
    """What has just been forgotten still sounds, and what comes back is not to be lifted any more."""
    event = next(Piece(score(), voiced).events())
    mel, length = np.zeros((128, 256), np.float32), 256 * EDGE
    made = Made(event, mel, np.zeros((1, 64), np.float32), np.ones(length, np.float32), 1.0)
    voice = StreamedVoice(made, voiced.stream(), 44_100)

    def levels(blocks: int) -> list[float]:
        return [float(np.sqrt(np.mean(sung(voice, EDGE) ** 2))) for _ in range(blocks)]

    steady = levels(60)[-1]
    voice.renew(replace(made, gain=10.0))
    risen = levels(80)
    assert risen[0] < 2.5 * steady
    assert risen[-1] == pytest.approx(10 * steady, rel=0.2)
    voice.renew(made)
    assert levels(2)[-1] == pytest.approx(steady, rel=0.2)


def test_recall_all_comes_back_to_exactly_the_intact_sound(voiced: Memory) -> None:
    hands: Hands = {
        10: [("/forget", 0.8), ("/layer/2/forget", 1.0), ("/unit/1/3/strength", 0.0)],
        20: [("/layer/1/freeze", 1), ("/layer/3/lock", 1), ("/grid/5", bytes(2))],
        50: [("/recall",)],
    }
    plain, bent = Performance(score(), voiced), Performance(score(), voiced)
    intact, heard = sound(play(plain, 220)), sound(play(bent, 220, hands))
    assert np.abs(intact[: 60 * EDGE] - heard[: 60 * EDGE]).max() > 1e-3
    assert np.array_equal(intact[-60 * EDGE :], heard[-60 * EDGE :])
    assert (bent.strengths == 1).all()
    assert bent.values == plain.values | {"/layer/3/lock": 1}


def test_no_jump_of_a_fader_makes_a_click(voiced: Memory) -> None:
    random = np.random.default_rng(1)
    hands: Hands = {
        int(at): [(f"/layer/{random.integers(1, 6)}/forget", float(number % 2))]
        for number, at in enumerate(random.choice(400, 100, replace=False))
    }
    steps = [
        float(np.abs(np.diff(sound(play(Performance(score(), voiced), 400, done)), axis=0)).max())
        for done in ({}, hands)
    ]
    assert steps[1] <= 2 * steps[0]


def test_freeze_holds_what_sounds_and_then_goes_on(voiced: Memory) -> None:
    performance = Performance(score(), voiced)
    before = play(performance, 30)
    plain = play(Performance(score(), voiced), 90)
    performance.change("/freeze", 1)
    held = play(performance, 808)
    assert {one.seen.chord for one in held} == {before[-1].seen.chord}
    level = 10 * np.log10((sound(held)[40 * EDGE :].reshape(-1, 16 * EDGE, 2) ** 2).mean(axis=(1, 2)))
    assert level.max() - level.min() < 3
    assert all(np.array_equal(one.mel, held[0].mel) for one in held)
    assert any(np.array_equal(one.mel, held[0].mel) for one in plain[28:34])
    performance.change("/freeze", 0)
    after = play(performance, 60)
    assert [one.seen.chord for one in after] == [one.seen.chord for one in plain[30:]]
    step = max(np.abs(np.diff(sound(steady), axis=0)).max() for steady in (plain, held[40:]))
    assert np.abs(np.diff(sound([*before, *held, *after]), axis=0)).max() <= 1.2 * step


def test_a_frozen_sound_can_still_be_forgotten(voiced: Memory) -> None:
    performance = Performance(score(), voiced)
    play(performance, 30, {29: [("/freeze", 1)]})
    held, bent = play(performance, 40), play(performance, 40, {0: [("/layer/5/forget", 1.0)]})
    assert not np.allclose(held[-1].mel, bent[-1].mel)
    performance.change("/recall")
    assert np.array_equal(play(performance, 20)[-1].mel, held[-1].mel)


def test_hush_ends_in_silence_and_play_goes_on_where_it_stopped(voiced: Memory) -> None:
    performance = Performance(score(), voiced)
    heard = play(performance, 80, {30: [("/hush",)]})
    quiet = sound(heard)
    faded = 30 * EDGE + int(0.5 * 44_100)
    loud = np.abs(quiet[20 * EDGE : 30 * EDGE]).max()
    assert 0 < np.abs(quiet[faded - 4 * EDGE : faded - 2 * EDGE]).max() < 0.3 * loud
    assert (quiet[faded + 2 * EDGE :] == 0).all()
    assert performance.values["/play"] == 0
    again = play(performance, 60, {0: [("/play", 1)]})
    assert np.abs(sound(again)).max() > 1e-3
    onsets = [e.onset for e in Piece(performance.take(), voiced).events()]
    paused = (80 - 30 - 22) * EDGE  # the fade took 22 blocks, and the piece went on in them
    assert onsets == [0, 44_100, 88_200 + paused]


def test_hush_of_what_is_paused_lets_nothing_through(voiced: Memory) -> None:
    performance = Performance(score(reverb={"rt60_s": 0.05}), voiced)
    heard = sound(play(performance, 90, {20: [("/play", 0)], 60: [("/hush",)]}))
    assert (heard[40 * EDGE :] == 0).all()
    assert np.abs(heard[: 20 * EDGE]).max() > 1e-3


def test_a_pause_stops_time(voiced: Memory) -> None:
    performance = Performance(score(), voiced)
    heard = play(performance, 120, {20: [("/play", 0)], 70: [("/play", 1)]})
    plain = play(Performance(score(), voiced), 71)
    # The block in which it fades still belongs to what is played.
    assert [one.seen.chord for one in heard[70:]] == [one.seen.chord for one in plain[21:]]
    assert heard[40].seen.chord is None
    assert heard[40].seen.activations.max() == 0
    assert np.abs(np.diff(sound(heard), axis=0)).max() <= 2 * np.abs(np.diff(sound(plain), axis=0)).max()


def test_volume_moves_without_steps(voiced: Memory) -> None:
    loud, quiet = Performance(score(), voiced), Performance(score(), voiced)
    loud.change("/volume", 1.0)
    quiet.change("/volume", 0.5)
    one, half = play(loud, 40), play(quiet, 40)
    assert np.allclose(sound(one)[5 * EDGE :] / 2, sound(half)[5 * EDGE :], atol=1e-6)
    assert peak_db(one[30]) == pytest.approx(peak_db(half[30]) + 6.02, abs=0.01)
    moved = sound(play(Performance(score(), voiced), 40, {n: [("/volume", float(n % 2))] for n in range(40)}))
    assert np.abs(np.diff(moved, axis=0)).max() <= 2 * np.abs(np.diff(sound(one), axis=0)).max()


def test_what_begins_takes_the_chord_and_the_seed_of_now(tiny_memory: Memory) -> None:
    performance = Performance(score(), tiny_memory)
    play(performance, 180, {50: [("/chord", "G"), ("/seed", 9)], 130: [("/chord", ""), ("/seed", 4)]})
    events = list(Piece(performance.take(), tiny_memory).events())
    assert [event.chord for event in events] == ["Am", "C", "G", "G", "C"]
    assert [event.label for event in events] == ["Am", "C", "G", "G", "C"]
    own = Piece(score(), tiny_memory).lines[0]
    other = Piece(score(seed=9), tiny_memory).lines[0]
    kept = [np.array_equal(event.latent, own.turns[i % 3].latents[0]) for i, event in enumerate(events)]
    assert kept == [True, True, False, False, True]
    assert np.array_equal(events[2].latent, other.turns[2].latents[0])
    with pytest.raises(InputError, match="unknown chord 'H'"):
        performance.change("/chord", "H")


def test_faders_locks_orders_and_frozen_units(tiny_memory: Memory) -> None:
    performance = Performance(score(), tiny_memory)
    sizes = list(tiny_memory.layers.values())
    second = slice(sizes[0], sizes[0] + sizes[1])
    performance.change("/layer/2/lock", 1)
    performance.change("/forget", 1.0)
    assert (performance.strengths[second] == 1).all()
    assert performance.strengths.sum() == sizes[1]
    performance.change("/layer/2/forget", 0.5)
    performance.change("/layer/2/freeze", 1)
    held = performance.strengths[second]
    assert performance.frozen[second].all()
    assert performance.frozen.sum() == sizes[1]
    performance.change("/layer/2/forget", 1.0)
    performance.change("/grid/2", bytes(sizes[1]))
    assert np.array_equal(performance.strengths[second], held)
    performance.change("/layer/2/freeze", 0)
    assert (performance.strengths[second] == 0).all()
    performance.change("/layer/2/recall")
    assert (performance.strengths[second] == 1).all()
    assert performance.values["/layer/2/forget"] == 0
    performance.change("/grid/1", bytes([255, 51] * (sizes[0] // 2)))
    performance.change("/forget", 0.0)
    assert performance.strengths[:4].tolist() == pytest.approx([1, 0.2, 1, 0.2])
    for path, value in (
        ("/grid/1", b"\0"),
        ("/layer/9/forget", 0.5),
        ("/unit/1/99/freeze", 1),
        ("/layer/1/order", "x"),
    ):
        with pytest.raises(InputError):
            performance.change(path, value)
    with pytest.raises(InputError, match="no control of the sound"):
        performance.change("/undo")


def test_a_plan_and_a_hand_together(tiny_memory: Memory) -> None:
    """What a score forgets by itself moves at once, and a frozen unit stays where the plan had it."""
    performance = Performance(score(forgetting={"order": "random", "pace": "linear"}), tiny_memory)
    play(performance, 60)
    performance.change("/layer/1/freeze", 1)
    held = performance.strengths[:32].copy()
    assert 0 < held.sum() < 32
    heard = play(performance, 100)
    assert np.array_equal(performance.strengths[:32], held)
    assert performance.strengths[32:].sum() < 10
    assert not np.array_equal(heard[0].seen.strengths, heard[-1].seen.strengths)


def test_what_is_no_number_is_muted_and_told(voiced: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    performance, plain = Performance(score(), voiced), Performance(score(), voiced)
    steps: Callable[..., Any] = Stream.steps
    heard = play(performance, 30)

    def broken(self: Stream, *args: Any) -> Any:
        return [(found * float("nan"), state) for found, state in steps(self, *args)]

    with monkeypatch.context() as patch:
        patch.setattr(Stream, "steps", broken)
        muted = play(performance, 5)
    assert muted[0].overloaded
    assert not any(one.overloaded for one in heard)
    after = play(performance, 100)
    every = sound([*heard, *muted, *after])
    assert np.isfinite(every).all()
    assert not any(one.overloaded for one in after[5:])
    assert np.abs(sound(after[60:])).max() == pytest.approx(np.abs(sound(play(plain, 135)[95:])).max(), rel=0.5)


def test_a_memory_that_makes_no_numbers(tiny_memory: Memory) -> None:
    performance = Performance(score(), tiny_memory)
    play(performance, 20)
    tiny_memory.generator = changed(tiny_memory.generator, {"output.weight": np.nan})
    heard = play(performance, 60)
    assert any(one.overloaded for one in heard)
    assert np.isfinite(sound(heard)).all()


def test_nothing_is_over_the_ceiling(tiny_memory: Memory) -> None:
    loud = score(voices=[BASE["voices"][0] | {"level_db": 12}] * 4, master={"ceiling_dbtp": -6})
    heard = sound(play(Performance(loud, tiny_memory), 80, {0: [("/volume", 1.0)], **wild(2, 80)}))
    assert 0.3 < np.abs(heard).max() <= 10 ** (-6 / 20)


def test_memories_are_swapped_while_they_sound(tiny_memory: Memory, voiced: Memory) -> None:
    performance = Performance(score(), tiny_memory)
    before = play(performance, 40, {3: [("/layer/2/forget", 0.5), ("/volume", 0.5)]})
    performance.swap(performance.prepare(voiced, "memories/voiced"))
    after = play(performance, 100)
    assert [one.position for one in [*before, *after]] == list(range(0, 140 * EDGE, EDGE))
    assert performance.values["/layer/2/forget"] == 0.5
    step = np.abs(np.diff(sound(before), axis=0)).max()
    assert np.abs(np.diff(sound([*before, *after]), axis=0)).max() <= 2 * step
    alone = Performance(score(memory="memories/voiced"), voiced)
    fresh = play(alone, 100, {0: [("/layer/2/forget", 0.5), ("/volume", 0.5)]})
    assert np.array_equal(sound(after[60:]), sound(fresh[60:]))
    assert performance.take() == alone.take()


def test_a_memory_that_is_left_fades(voiced: Memory, tiny_header: MemoryHeader, tiny_generator: Generator) -> None:
    mute = changed(tiny_generator, {"output.weight": 0.0, "output.bias": -99.0})
    performance = Performance(score(reverb={"wet_db": -120}), voiced)
    play(performance, 30, {0: [("/volume", 1.0)]})
    frozen = play(performance, 50, {0: [("/freeze", 1)]})
    peak, steady = max(peak_db(one) for one in frozen), frozen[-1]
    performance.swap(Memory(mute, tiny_header))
    fading = play(performance, 40)
    left = [peak_db(one) for one in fading]
    before, after = (np.sqrt(np.mean(one.samples[performance.latency :] ** 2)) for one in (steady, fading[0]))
    assert after == pytest.approx(before, rel=0.2)
    assert performance.values["/freeze"] == 0
    assert left[2] > peak - 20
    assert left[20] < peak - 20
    assert left[-1] == -120


def test_a_take_belongs_to_its_memory(tiny_memory: Memory, tiny_path: Path) -> None:
    performance = Performance(score(), Memory.load(tiny_path))
    with pytest.raises(InputError, match="nothing was played"):
        performance.take()
    play(performance, 3)
    with pytest.raises(InputError, match="not the one it was made for"):
        Performance(performance.take(), tiny_memory)


def test_draft_is_played_without_the_vocoder(voiced: Memory, tiny_memory: Memory) -> None:
    draft = sound(play(Performance(score(quality="draft"), voiced), 30))
    assert np.array_equal(draft, sound(play(Performance(score(), tiny_memory), 30)))
    full = sound(play(Performance(score(), voiced), 90))
    assert not np.array_equal(draft, full[: len(draft)])
    eased = Performance(score(), voiced)
    heard = play(eased, 10)
    eased.change("/quality", "draft")
    heard += play(eased, 80)
    same = np.abs(sound(heard) - full).max(axis=1) == 0
    assert same[:44_100].all()  # until the next chord begins
    assert not same[45_000:60_000].any()
    assert np.array_equal(sound(play(Performance(eased.take(), voiced), 90)), sound(heard))


def test_a_take_knows_in_which_block_the_quality_changed(voiced: Memory) -> None:
    begins = 44_100 // EDGE  # the block of the second chord
    for at in (begins, begins + 1, begins + 2):
        hands: Hands = {number: [("/forget", number % 7 / 7)] for number in range(begins + 20)}
        hands[at] += [("/quality", "draft")]
        performance = Performance(score(), voiced)
        heard = sound(play(performance, begins + 40, hands))
        assert np.array_equal(sound(play(Performance(performance.take(), voiced), begins + 40)), heard)


def test_the_loudness_of_what_goes_is_held(voiced: Memory) -> None:
    """By its mel alone, as closely as one hears."""
    performance = Performance(score(loudness={"lift_db": 60}, reverb={"wet_db": -120}), voiced)
    performance.change("/volume", 1.0)
    loudness = {}
    for gone in (0.0, 0.3, 0.6):
        performance.change("/forget", gone)
        play(performance, 90)
        loudness[gone] = np.mean([one.lufs for one in play(performance, 130)])
    assert max(loudness.values()) - min(loudness.values()) < 3


def test_a_take_on_the_command_line(tmp_path: Path, tiny_path: Path) -> None:
    performance = Performance(score(memory=str(tiny_path)), Memory.load(tiny_path))
    heard = sound(play(performance, 50, wild(5, 50)))
    (tmp_path / "take.toml").write_text(dump_score(performance.take()))
    words = ["render", str(tmp_path / "take.toml"), "-o", str(tmp_path / "a.wav")]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    assert np.array_equal(soundfile.read(tmp_path / "a.wav", dtype="float32")[0], heard)
    assert "LUFS; normalize = true under [master] would make it -18 LUFS" in done.stderr
    done = CliRunner().invoke(main, [*words, "--force", "--stems"])
    assert done.exit_code == 2
    assert "no stems" in done.output
    assert len(done.output.splitlines()) == 1


def test_a_take_may_be_brought_to_a_loudness(tmp_path: Path, tiny_memory: Memory) -> None:
    performance = Performance(score(), tiny_memory)
    play(performance, 100)
    take = performance.take()
    take = take.model_copy(update={"master": take.master.model_copy(update={"normalize": True})})
    assert render(Piece(take, tiny_memory), tmp_path / "a.wav").loudness_lufs == pytest.approx(-18, abs=0.3)


def test_without_normalizing_a_piece_stays_as_loud_as_it_is(tmp_path: Path, tiny_memory: Memory) -> None:
    for level in (-30, -6):
        plain = score(master={"normalize": False}, loudness={"plan": [[0, level]]}, quality="draft")
        report = render(Piece(plain, tiny_memory), tmp_path / f"{level}.wav")
        assert report.loudness_lufs == pytest.approx(-20 + level, abs=4)


@pytest.mark.parametrize("rate", [44_100, 48_000, 22_050])
@pytest.mark.parametrize("learned", [False, True])
def test_a_voice_plays_what_the_whole_mel_gives(rate: int, learned: bool, voiced: Memory, tiny_memory: Memory) -> None:
    """At its onset, to the sample, however it is cut into blocks."""
    spec = MelSpec(frames=32)
    magnitudes = LearnedMagnitudes(tiny_net() if learned else Unlearned(spec), spec)
    mel = a_mel()
    whole = SpectralInverter(magnitudes, PhaseConfig(method="realtime"), seed=4)(mel)[0]
    length = len(whole) * rate // 22_050
    event = next(Piece(score(), tiny_memory).events())
    made = Made(event, mel[0], np.zeros((1, 64), np.float32), np.ones(length, np.float32), 1.0)
    stream = Stream(magnitudes, seed=4)
    voice = StreamedVoice(made, stream, rate)
    parts = [sung(voice, count) for count in [100, 1024, 1, 1024, 3000] * (length // 5149 + 1)]
    assert voice.over
    heard = np.concatenate(parts)[:length]
    converter = Converter(22_050, rate)
    padded = np.concatenate([np.zeros(converter.reach), whole, np.zeros(99)]).astype(np.float32)
    wanted = converter(padded, -converter.reach, 0, length)
    inside = slice(0, length - 3 * spec.n_fft)  # the end of a whole is another one
    assert np.abs(heard[inside] - wanted[inside]).max() < 1e-4


@pytest.mark.parametrize("learned", [False, True])
def test_frames_read_anew_as_they_were_change_nothing(learned: bool, voiced: Memory) -> None:
    mel, stream = a_mel()[0], voiced.stream(learned=learned)
    _, state = stream.step(mel[:, :13], stream.start())
    first = 13 - stream.open
    one, after = stream.step(mel[:, 13:20], state)
    again, after_again = stream.step(mel[:, first:20], state, anew=True)
    assert np.abs(one - again).max() < 1e-5
    end, end_again = (stream.step(mel[:, 20 - stream.open : 24], s, anew=True)[0] for s in (after, after_again))
    assert np.abs(end - end_again).max() < 1e-5
    turned, _ = stream.step(-mel[:, first:20], state, anew=True)
    assert np.abs(turned[:16] - one[:16]).max() < 1e-3  # it begins where the other one was
    assert np.abs(turned - one).max() > 1e-2


@pytest.mark.parametrize("learned", [False, True])
def test_what_is_read_together_is_as_if_it_were_read_alone(learned: bool, voiced: Memory) -> None:
    mel, stream = a_mel()[0], voiced.stream(learned=learned)
    states = [stream.step((0.5 + 0.1 * i) * mel[:, : 9 + i], stream.start())[1] for i in range(3)]
    readings = [
        Reading(mel[:, :1], states[0]),
        Reading(mel[:, 3 : 5 + stream.open], states[1], anew=True),
        Reading(mel[:, 5:6], states[2]),
        Reading(mel[:, :8], stream.start()),
        Reading(mel[:, 20 : 22 + stream.open], states[0], anew=True),
    ]
    for reading, (sound, state) in zip(readings, stream.steps(readings), strict=True):
        alone, after = stream.step(reading.frames, reading.state, anew=reading.anew)
        assert sound.shape == alone.shape
        assert np.abs(sound - alone).max() < 1e-5
        then, then_alone = (stream.step(mel[:, 12:20], s)[0] for s in (state, after))
        assert np.abs(then - then_alone).max() < 1e-5


def test_frames_are_read_anew_when_they_have_been_read(voiced: Memory) -> None:
    mel, stream = a_mel()[0], voiced.stream()
    _, short = stream.step(mel[:, : stream.open - 1], stream.start())
    _, enough = stream.step(mel[:, -1:], short)
    for frames, state in ((stream.open + 1, short), (stream.open, enough)):
        with pytest.raises(InputError, match="3 frames are read anew once they have been read"):
            stream.step(mel[:, :frames], state, anew=True)


@pytest.mark.parametrize(("one", "other"), [(22_050, 44_100), (22_050, 48_000), (48_000, 44_100), (44_100, 44_100)])
def test_another_rate_is_exact_for_any_part(one: int, other: int) -> None:
    converter = Converter(one, other)
    tone = np.sin(2 * np.pi * 3000 * np.arange(6000) / one).astype(np.float32)
    wanted = np.sin(2 * np.pi * 3000 * np.arange(500, 2500) / other)
    whole = converter(tone, 0, 500, 2000)
    assert np.abs(whole - wanted).max() < 1e-4
    begin, end = converter.first(700), converter.needed(800)
    assert np.array_equal(converter(tone[begin:end], begin, 700, 100), whole[200:300])
