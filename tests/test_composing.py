"""Scores meet a memory: lines, bends, listening, holding; and the pieces that ship."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from fugue_state.arrays import Array, Whole, Wide
from fugue_state.audio.loudness import event_lufs
from fugue_state.config import ReverbConfig
from fugue_state.engine.whole import Instrument, play
from fugue_state.errors import InputError
from fugue_state.measure.atlas import Entry
from fugue_state.measure.describe import Description
from fugue_state.memory.memory import Memory
from fugue_state.picture.plan import table
from fugue_state.picture.summary import overview
from fugue_state.piece import orders
from fugue_state.piece.event import Event
from fugue_state.piece.line import Line, blend
from fugue_state.piece.piece import Piece
from fugue_state.score.model import Score
from fugue_state.score.shipped import shipped_scores
from fugue_state.score.text import load_score
from fugue_state.settings import checked

from .conftest import Sound
from .test_score import ODD, every_key

RATE = 44_100
SCORES = list(shipped_scores().values())
BASE: dict[str, Any] = {"duration_s": 9, "tempo_bpm": 120, "quality": "draft", "seed": 4}

PLAIN = {"order": "random", "pace": "linear"}


def piece(memory: Memory, **changes: Any) -> Piece:
    plan = PLAIN | changes.pop("forgetting", {})
    return Piece(checked(Score, BASE | changes | {"forgetting": plan}), memory)


def voice(**changes: Any) -> dict[str, Any]:
    return {"voices": [{"chords": ["Am", "C", "G"]} | changes]}


def events(memory: Memory, **changes: Any) -> list[Event]:
    return list(piece(memory, **changes).events())


def onsets(memory: Memory, **changes: Any) -> list[float]:
    return [round(event.onset / RATE, 3) for event in events(memory, **changes)]


def played(made: Piece) -> Sound:
    score = made.score
    return np.concatenate([block.samples for block in play(Instrument(made), made.events(), score.samples, RATE)])


def forgotten(made: list[Event]) -> list[float]:
    return [1.0 - float(event.strengths.mean()) for event in made]


def test_rhythm(tiny_memory: Memory) -> None:
    assert onsets(tiny_memory)[:4] == [0, 0.5, 1, 1.5]
    assert onsets(tiny_memory, **voice(chords=["Am*2", "-", "C*0.5"]))[:4] == [0, 1.5, 1.75, 3.25]
    assert onsets(tiny_memory, **voice(swing=0.5))[:4] == [0, 0.75, 1, 1.75]
    assert onsets(tiny_memory, **voice(start="bar 2", until=3.1)) == [2, 2.5, 3]
    assert max(onsets(tiny_memory)) <= 9 - tiny_memory.spec.duration_s
    assert max(onsets(tiny_memory, **voice(event_s=6))) <= 3.1


def test_voices_sound_together_in_time(tiny_memory: Memory) -> None:
    made = events(tiny_memory, voices=[{"beats": 2}, {"beats": 3, "level_db": -6, "pan": 1, "spread": 0}])
    assert [event.onset for event in made] == sorted(event.onset for event in made)
    assert {event.voice for event in made} == {0, 1}
    second = [event for event in made if event.voice == 1]
    assert {(event.level_db, event.pan) for event in second} == {(-6, 1)}
    assert not np.array_equal(second[0].latent, made[0].latent)


def test_latents_of_loop_walk_path_and_fresh(tiny_memory: Memory) -> None:
    def ways(**changes: Any) -> list[Array]:
        return [event.latent for event in events(tiny_memory, **voice(**changes))][::3]

    assert all(np.array_equal(z, ways()[0]) for z in ways())
    walk = ways(latents="walk", wander=0.3)
    near, far = np.linalg.norm(walk[1] - walk[0]), np.linalg.norm(walk[-1] - walk[0])
    assert 0 < near < far
    fresh = ways(latents="fresh")
    assert np.array_equal(fresh[0], ways()[0])
    assert len({tuple(z.tolist()) for z in fresh}) == len(fresh)
    path = ways(latents="path", towards_seed=77)
    assert np.array_equal(path[0], ways()[0])
    ahead = [np.linalg.norm(z - path[-1]) for z in path]
    assert ahead == sorted(ahead, reverse=True)
    last = events(tiny_memory, **voice(chords=["Am"], latents="path", towards_seed=77))[-1]
    assert np.array_equal(last.latent, tiny_memory.latents(1, 77)[0])
    varied = ways(variation=0.2)
    again = ways(latents="fresh", variation=0.5)
    assert np.std(again) == pytest.approx(np.std(fresh), rel=0.3)
    assert 0 < np.linalg.norm(varied[1] - varied[0]) < np.linalg.norm(fresh[1] - fresh[0])


def test_blends_keep_the_spread_of_latents() -> None:
    one, other = np.random.default_rng(1).standard_normal((2, 4000), dtype=np.float32)
    assert float(blend(one, other, 0.5).std()) == pytest.approx(1.0, abs=0.05)
    assert np.array_equal(blend(one, other, 0.0), one)
    assert np.array_equal(blend(one, other, 1.0), other)


def test_steps_with_latents_of_their_own(tiny_memory: Memory) -> None:
    made = events(tiny_memory, **voice(chords=["C@5", {"chord": "Am", "seed": 9}, "@6"]))
    atlas = tiny_memory.latents(2048, 0)
    assert np.array_equal(made[0].latent, atlas[5])
    assert np.array_equal(made[1].latent, tiny_memory.latents(1, 9)[0])
    assert (made[2].label, made[0].chord) == ("Am", "C")  # entry 6 is of the first of three labels
    with pytest.raises(InputError, match=r"voices\[1\]\.chords\[1\]: the atlas has no entry 2048"):
        events(tiny_memory, **voice(chords=["C@2048"]))


@pytest.mark.parametrize("replacement", ["zero", "mean", "frozen", "other"])
def test_a_voice_that_forgets_may_never_sound(tiny_memory: Memory, replacement: str) -> None:
    voices = [{"forgets": False}, {"start": 5.9}]  # the second one would not ring out
    made = events(tiny_memory, duration_s=6.0, voices=voices, forgetting={"replacement": replacement})
    assert {event.voice for event in made} == {0}


def test_latents_by_what_they_sound_like(tiny_memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, dict[str, Any]]] = []
    made: list[int] = []

    class Known:
        """An atlas in which latent i sounds as asked i-th best."""

        @staticmethod
        def of(*_: object, **__: object) -> Known:
            made.append(1)
            return Known()

        def generated(self, chord: str) -> dict[str, int]:
            return {chord: 99}

        def distances(self, **_: Any) -> tuple[Whole, Wide]:
            return np.arange(99), np.zeros(99)

        def choose(self, count: int, **how: Any) -> list[Entry]:
            asked.append((count, how))
            return [Entry(np.full(16, i, np.float32), None, Description("", 0, 0, 0, 0, 0, 0)) for i in range(count)]

    monkeypatch.setattr(orders, "Atlas", Known)
    played_by = events(tiny_memory, **voice(chords=["C", "-", "Am"], like={"bright": 0.9}))
    bright = [{"chord": name, "label": name, "seed": seed, "bright": 0.9} for name, seed in (("C", 4), ("Am", 6))]
    assert asked == [(16, how) for how in bright]
    assert {float(event.latent[0]) for event in played_by} == {0}
    assert made == [1]  # one atlas for all steps
    fresh = events(tiny_memory, **voice(chords=["C"], like={"bright": 0.9}, latents="fresh"))
    assert len({float(event.latent[0]) for event in fresh}) > 3


def test_a_recall_in_mid_piece_gives_the_intact_samples_exactly(tiny_memory: Memory) -> None:
    room = {"reverb": ReverbConfig(rt60_s=0.3, pre_delay_s=0)}
    told = played(piece(tiny_memory, **room, duration_s=20, cues=[{"do": "recall", "at": 6, "over": 1}]))
    intact = played(piece(tiny_memory, **room, duration_s=20, forgetting={"to": 0}))
    late = 11 * RATE
    assert np.array_equal(told[late:], intact[late:])
    assert np.abs(told[: 7 * RATE] - intact[: 7 * RATE]).max() > 0.01


def test_what_does_not_forget_stays_intact(tiny_memory: Memory) -> None:
    made = events(tiny_memory, voices=[{}, {"forgets": False}], forgetting={"replacement": "mean"})
    assert all((event.strengths == 1).all() and event.bend is None for event in made if event.voice == 1)
    assert forgotten([event for event in made if event.voice == 0])[-1] == pytest.approx(1.0)


def test_a_witness_sounds_the_same_whatever_is_done_to_the_others(tiny_memory: Memory) -> None:
    def witness(**forgetting: Any) -> Sound:
        made = piece(tiny_memory, voices=[{}, {"forgets": False}], forgetting=forgetting)
        instrument = Instrument(made, stems=True)
        blocks = list(play(instrument, made.events(), made.score.samples, RATE))
        return np.concatenate([block.stems[:, 6:] for block in blocks if block.stems is not None])

    bent = witness(replacement="other", bends=[{"units": "deconv5", "gain": 4}])
    assert np.abs(bent).max() > 0.01
    assert np.array_equal(bent, witness(to=0))


def test_scopes_locks_and_bends_reach_the_events(tiny_memory: Memory) -> None:
    plan = {"scope": ["deconv1", "deconv2"], "locks": ["deconv1:1-16"], "bends": [{"units": "deconv5:2", "gain": 3}]}
    made = events(tiny_memory, forgetting=plan)
    last = made[-1].strengths
    assert (last[:16] == 1).all()
    assert (last[16:48] == 0).all()
    assert (last[48:] == 1).all()
    bend = made[0].bend
    assert bend is not None
    assert bend.gain is not None
    assert bend.gain.tolist() == [1.0] * 61 + [3.0]


@pytest.mark.parametrize(
    ("forgetting", "message"),
    [
        ({"scope": ["deconv2:300"]}, r"forgetting: deconv2:300: deconv2 has units 1 to 16"),
        ({"scope": ["deconv7"]}, r"forgetting: unknown layer 'deconv7'; did you mean 'deconv"),
        ({"scope": ["deconv1"], "locks": ["deconv1"]}, r"forgetting: nothing is left to forget"),
        ({"order": "list", "units": ["deconv1:0"]}, r"forgetting: deconv1:0: deconv1 has units 1 to 32"),
        ({"bends": [{"units": "deconv5:9"}]}, r"forgetting\.bends\[1\]\.units: deconv5:9: deconv5 has units 1 to 2"),
        ({"replacement": {"deconv9": "mean"}}, r"forgetting: unknown layer 'deconv9'"),
        ({"replacement": "other", "other_chord": "H"}, r"forgetting\.other_chord: unknown chord 'H'"),
    ],
)
def test_what_a_memory_does_not_have_is_named(tiny_memory: Memory, forgetting: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        piece(tiny_memory, forgetting=forgetting)


def test_changes_and_cues_that_reach_beside_the_memory(tiny_memory: Memory) -> None:
    with pytest.raises(InputError, match=r"changes: /unit/1/33/strength: deconv1 has units 1 to 32"):
        piece(tiny_memory, changes=[{"at": 1, "path": "/unit/1/33/strength"}])
    with pytest.raises(InputError, match=r"cues\[1\]: unknown layer 'deconv8'"):
        piece(tiny_memory, cues=[{"do": "forget", "at": 1, "scope": "deconv8"}])
    with pytest.raises(InputError, match="no chord falls within the piece"):
        piece(tiny_memory, **voice(start=8.9))


def test_a_take_plays_what_the_hand_did(tiny_memory: Memory) -> None:
    changes = [
        {"at": 1, "path": "/layer/1/forget", "value": 1},
        {"at": 3, "path": "/recall"},
        {"at": 4, "path": "/unit/2/3/strength", "value": 0.5},
    ]
    made = events(tiny_memory, forgetting={"to": 0}, changes=changes)
    by_time = {round(event.onset / RATE, 1): event.strengths for event in made}
    assert (by_time[0.5] == 1).all()
    assert (by_time[1.0][:32] == 0).all()
    assert (by_time[3.0] == 1).all()
    assert by_time[4.0][34] == 0.5


def test_false_and_frozen_memories_take_over(tiny_memory: Memory) -> None:
    def last(**forgetting: Any) -> tuple[Event, Array]:
        event = events(tiny_memory, **voice(), forgetting=forgetting)[-1]
        assert event.label is not None
        return event, tiny_memory.generate(event.latent[None], event.label, event.strengths, event.frames, event.bend)

    _, other = last(replacement="other", other_seed=9, other_chord="G")
    assert np.allclose(other, tiny_memory.generate(tiny_memory.latents(1, 9), "G"), atol=1e-6)
    _, frozen = last(replacement="frozen")
    first = events(tiny_memory, **voice())[0]
    assert np.allclose(frozen, tiny_memory.generate(first.latent[None], first.label), atol=1e-6)
    made = events(tiny_memory, **voice(), forgetting={"replacement": "frozen", "frozen_at": 3})
    then = next(event for event in made if event.onset == 3 * RATE)
    assert 0 < float(then.strengths.mean()) < 1
    end = made[-1]
    stays = tiny_memory.generate(end.latent[None], end.label, end.strengths, end.frames, end.bend)
    assert np.allclose(stays, tiny_memory.generate(then.latent[None], then.label, then.strengths), atol=1e-5)


def test_even_is_even_in_what_is_measured(tiny_memory: Memory) -> None:
    made = events(tiny_memory, duration_s=40, **voice(chords=["Am"]), forgetting={"pace": "even"})
    mels = [tiny_memory.generate(e.latent[None], e.label, e.strengths) for e in made]
    far = np.array([np.abs(mel - mels[0]).mean() for mel in mels])
    times = np.linspace(0, 1, len(far))
    line = np.polyval(np.polyfit(times, far, 1), times)
    assert 1 - ((far - line) ** 2).sum() / ((far - far.mean()) ** 2).sum() > 0.97


def test_an_adaptive_piece_listens_and_repeats_itself(tiny_memory: Memory) -> None:
    adaptive = {"clarity": 0.1, "rate": 0.2, "quiet_db": -60}
    made = piece(tiny_memory, forgetting={"pace": "even", "adaptive": adaptive})
    first = forgotten(list(made.events()))
    assert first[0] == 0
    assert first[-1] > 0.5  # nothing is less clear than that
    assert forgotten(list(made.events())) == first
    assert forgotten(events(tiny_memory, forgetting={"pace": "even", "adaptive": adaptive})) == first
    clear = forgotten(events(tiny_memory, forgetting={"pace": "even", "adaptive": adaptive | {"clarity": 1.0}}))
    assert max(clear) == 0  # nothing is that clear, so nothing goes


def test_loudness_is_held_as_planned_and_not_without_end(tiny_memory: Memory) -> None:
    def levels(**loudness: Any) -> list[float]:
        made = piece(tiny_memory, duration_s=60, reverb=ReverbConfig(wet_db=-100), loudness=loudness)
        sound = played(made)
        return [event_lufs(part, RATE) for part in np.array_split(sound[6 * RATE : -8 * RATE], 12)]

    held, free = levels(lift_db=60), levels(hold=False)
    assert max(held) - min(held) < 1.0
    assert max(free) - min(free) > 2.0
    planned = levels(lift_db=60, plan=[[0, 0], ["100 %", -12]])
    assert held[0] - planned[0] == pytest.approx(1.6, abs=1)
    assert held[-1] - planned[-1] == pytest.approx(10.2, abs=1)
    assert min(levels(lift_db=0)) < min(held) - 1


def test_what_an_envelope_takes_is_not_given_back(tiny_memory: Memory) -> None:
    def level(decay_rt60_s: float) -> float:
        envelope = {"decay_rt60_s": decay_rt60_s, "attack_s": 0, "release_s": 0}
        made = piece(tiny_memory, reverb=ReverbConfig(wet_db=-100), envelope=envelope, **voice(chords=["Am*20"]))
        return event_lufs(played(made), RATE)

    assert level(120) - level(1.0) > 6.0


def test_scores_for_another_memory_say_what_differs(tiny_path: Path) -> None:
    memory = Memory.load(tiny_path)
    made_for = {"sha256": "0" * 16, "chords": ["Am", "F#m"], "layers": {"deconv1": 64, "deconv2": 16}}
    with pytest.raises(InputError, match=r"made_for: memory 'tiny' is not the one.*F#m.*deconv1 has 32 units, not 64"):
        piece(memory, made_for=made_for)
    piece(memory, made_for=made_for | {"sha256": memory.fingerprint})


def test_the_overview_shows_what_happens(tiny_memory: Memory) -> None:
    made = piece(tiny_memory, voices=[{}, {"forgets": False}], cues=[{"do": "recall", "name": "back", "at": 5}])
    seen = overview(made)
    assert seen.remembered[0].tolist() == [1.0] * 5
    assert seen.remembered.min() < 0.5
    assert np.allclose(seen.whole, seen.remembered @ list(tiny_memory.layers.values()) / tiny_memory.units)
    lines = table(made, seen)
    assert "deconv1" in lines[0]
    assert "back at 0:05" in lines[-1]


def test_a_piece_in_which_nothing_forgets(tiny_memory: Memory) -> None:
    for plan in ({"pace": "even"}, {"replacement": "frozen", "bends": [{"units": "deconv1", "gain": 2}]}):
        made = events(tiny_memory, voices=[{"forgets": False}], forgetting=plan)
        assert all(event.bend is None and (event.strengths == 1).all() for event in made)


@pytest.mark.parametrize(
    "path", [p for p in every_key() if p[0] in {"voices", "forgetting", "cues", "changes"} and len(p) > 1], ids=".".join
)
@given(value=ODD)
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_score_meets_a_memory_or_is_refused_in_a_line(
    tiny_memory: Memory, path: tuple[str, ...], value: Any
) -> None:
    plan: dict[str, Any] = {"order": "random", "pace": "linear"}
    values: dict[str, Any] = {"duration_s": 4, "voices": [{}], "forgetting": plan, "cues": [{"do": "recall", "at": 2}]}
    here = values.setdefault(path[0], [{}])
    for key in path[1:]:
        holder = here[0] if isinstance(here, list) else here
        if key == path[-1]:
            holder[key] = value
        else:
            here = holder.setdefault(key, [{}] if key == "bends" else {})
    try:
        made = Piece(checked(Score, values), tiny_memory)
        next(made.events())
    except InputError as error:
        told = str(error).replace(repr(value), "")
        assert "\n" not in told


def test_there_are_scores() -> None:
    assert len(SCORES) >= 6


@pytest.mark.parametrize("path", SCORES, ids=lambda path: path.stem)
def test_the_scores_that_ship_can_be_played(path: Path) -> None:
    score = load_score(path)
    assert score.title
    assert len(path.read_text(encoding="utf-8").splitlines()) < 80
    made = Piece(score, Memory.load("guitar", quality="draft"))
    assert isinstance(made.lines[0], Line)
    if score.forgetting.adaptive is None:
        gone = forgotten([event for event in made.events() if score.voices[event.voice].forgets])
        assert max(gone) > 0.2
