from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fugue_state.audio.inverters import WAYS
from fugue_state.config import SEED_MAX
from fugue_state.errors import InputError
from fugue_state.score.explained import beginning, editable, template
from fugue_state.score.model import Range, Score, Step, Voice, ranges
from fugue_state.score.tempo import tempo_of
from fugue_state.score.text import dump_score, line_of, load_score, parse_score
from fugue_state.score.times import Clock, told
from fugue_state.settings import Settings, checked, kinds

SCORE = """\
title = "x"
duration_s = "3:00"
tempo_bpm = 60

[[voices]]
chords = ["Am", "F*2", "-", "C@12", {chord = "G", seed = 4}]

[[voices]]
start = "bar 3"
pan = -0.5

[forgetting]
order = "saliency"
pace = "even"

[[forgetting.bends]]
units = "deconv5"
gain = 2

[[cues]]
do = "recall"
at = "50 %"
over = 10

[[cues]]
do = "hold"
at = "70 %"
"""


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (90, 90), ("90", 90), ("1:30", 90), ("0:04.5", 4.5), ("1:02:03", 3723), ("25 %", 50), ("12.5%", 25),
        ("bar 1", 0), ("bar 5", 32), ("2 bars", 16), ("1 bar", 8), (" 1:30 ", 90),
    ],
)  # fmt: skip
def test_times_as_one_writes_them(said: Any, seconds: float) -> None:
    voice = checked(Voice, {"start": said})
    assert Clock(200, tempo_of(30, 4, (), ())).seconds(voice.start) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "said",
    ["", "soon", "1:75", "1:61:00", -1, "-1", float("nan"), float("inf"), True, "bar 0", "5 beats", "%", None, []],
)
def test_times_that_are_none(said: Any) -> None:
    with pytest.raises(InputError, match="start"):
        checked(Voice, {"start": said})


def test_times_are_told_as_one_reads_them() -> None:
    assert [told(s) for s in (0, 4.5, 90, 3723, 23_400)] == ["0:00", "0:04.5", "1:30", "1:02:03", "6:30:00"]


def test_lengths_are_seconds_or_clock_times() -> None:
    assert checked(Score, {"duration_s": "6:30:00"}).duration_s == 23_400
    with pytest.raises(InputError, match="duration_s"):
        checked(Score, {"duration_s": "25 %"})


@pytest.mark.parametrize(
    ("short", "step"),
    [
        ("Am", {"chord": "Am"}),
        ("Am*2", {"chord": "Am", "beats": 2}),
        ("A#m@12*0.5", {"chord": "A#m", "entry": 12, "beats": 0.5}),
        ("-", {"rest": True}),
        ("-*3", {"rest": True, "beats": 3}),
        ("@7", {"entry": 7}),
        ("", {}),
    ],
)
def test_steps_have_a_short_form(short: str, step: dict[str, Any]) -> None:
    assert checked(Voice, {"chords": [short, "C"]}).chords[0] == Step(**step)
    written: object = Step(**step).model_dump()
    assert written == short


def test_steps_that_say_more_are_written_out() -> None:
    step = Step(chord="Am", seed=3)
    assert step.model_dump() == {"chord": "Am", "seed": 3}
    # Without quotes the short form would mean another one.
    for name in ("a*2", "-", 'a"*2', "C, low", "a\"'*2", "a\nb"):
        short = Step(chord=name).model_dump()
        assert Voice.model_validate({"chords": [short]}).chords == (Step(chord=name),)
    short_form: Any = Step(chord="a*2").model_dump()
    assert short_form == '"a*2"'


def test_a_score_is_read_and_written() -> None:
    score = parse_score(SCORE)
    assert (score.duration_s, score.tempo_bpm, len(score.voices), score.forgetting.bends[0].units) == (
        180,
        60,
        2,
        ("deconv5",),
    )
    assert score.voices[0].chords[3] == Step(chord="C", entry=12)
    assert parse_score(dump_score(score)) == score
    assert Score.model_validate(score.model_dump(mode="json")) == score
    assert dump_score(Score()) == ""


def test_templates_are_scores() -> None:
    assert parse_score(template()) == Score()
    assert beginning().cues[0].do == "recall"


@pytest.mark.parametrize("score", [Score(), beginning(), parse_score(SCORE)], ids=["default", "new", "rich"])
def test_what_one_will_want_to_change_stands_there_with_its_default(score: Score) -> None:
    text = editable(score)
    assert parse_score(text) == score
    lines = text.split("\n")
    offered = [i for i, line in enumerate(lines) if re.match(r"# \w+ = .*  # .+", line)]
    for i in offered:
        changed = [*lines[:i], lines[i].removeprefix("# "), *lines[i + 1 :]]
        assert parse_score("\n".join(changed)) == score, lines[i]
    keys = {lines[i].split()[1] for i in offered}
    keys |= {line.split()[0] for line in lines if re.match(r"\w+ = ", line)}
    assert keys >= {"duration_s", "tempo_bpm", "seed", "chords", "to", "order", "rt60_s", "tilt_db", "hold"}


def test_the_cue_that_is_offered_is_one() -> None:
    lines = editable(Score()).split("\n")
    cue = lines.index("# [[cues]]")
    changed = [line.removeprefix("# ") if cue <= i <= cue + 3 else line for i, line in enumerate(lines)]
    assert [one.do for one in parse_score("\n".join(changed)).cues] == ["recall"]


def test_what_a_score_says_is_written_plainly() -> None:
    lines = editable(parse_score(SCORE)).split("\n")
    for line in ('title = "x"', "duration_s = 180.0", "pan = -0.5", 'bends = [{ units = ["deconv5"], gain = 2.0 }]'):
        assert line in lines, line


def test_the_template_explains_every_key() -> None:
    text = template()

    def keys(kind: type[Settings]) -> set[str]:
        return set(kind.model_fields).union(
            *(keys(i) for f in kind.model_fields.values() for i in kinds(f.annotation) if i is not Step)
        )

    for key in keys(Score):
        assert re.search(rf"^# (\[\[?[\w.]*)?\b{key}\b", text, re.MULTILINE), key
    assert "None" not in text


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('title = "x"', "titel = 1", r"s:1: unknown Score key 'titel'; did you mean 'title'"),
        ('title = "x"', "tempo_bpm = 0", r"s:\d+: (not TOML|tempo_bpm)"),
        ("tempo_bpm = 60", "tempo_bpm = 0", r"s:3: tempo_bpm: .*0.05 \(got 0\)"),
        ('"F*2"', '"F*0"', r"s:6: voices\[1\]\.chords\[2\]\.beats: must be greater than 0"),
        ('seed = 4', 'sead = 4', r"s:6: unknown key of voices\[1\]\.chords\[5\] 'sead'; did you mean 'seed'"),
        ('["Am", "F*2", "-", "C@12", {chord = "G", seed = 4}]', '["-"]', r"s:6: voices\[1\]\.chords: .*only rests"),
        ('start = "bar 3"', "strat = 3", r"s:9: unknown key of voices\[2\] 'strat'; did you mean 'start'"),
        ('start = "bar 3"', "start = 200", r"s:9: voices\[2\]\.start: 200.* is past the end of the piece \(3:00\)"),
        ('start = "bar 3"', "start = 9\nuntil = 8", r"s:10: voices\[2\]\.until: it ends \(8.*\) before it starts"),
        ('pan = -0.5', "pan = -1.5", r"s:10: voices\[2\]\.pan: .*\(got -1.5\)"),
        ('pan = -0.5', 'beats = 0.009', r"s:10: voices\[2\]\.beats: chords every 0.009 s are too many: 0.01 s"),
        ('pan = -0.5', 'beats = 1e-170', r"s:10: voices\[2\]\.beats: chords every 1e-170 s are too many"),
        ('pan = -0.5', 'latents = "path"', r"s:8: voices\[2\]: latents = \"path\" and towards_seed go together"),
        ('pan = -0.5', 'like = {brigt = 0.5}', r"s:10: .*brigt"),
        ('order = "saliency"', 'order = "salience"',
         r"s:13: unknown forgetting.order 'salience'; did you mean 'saliency'"),
        ('order = "saliency"', 'order = "list"', r"s:12: forgetting: order = \"list\" and units go together"),
        ('order = "saliency"', 'replacement = "nose"',
         r"s:13: unknown forgetting.replacement 'nose'; did you mean 'noise'"),
        ('order = "saliency"', 'replacement = {deconv1 = 3}', r"s:13: .*forgetting\.replacement"),
        ('order = "saliency"', 'points = [[0.5, 0.5]]', r"s:12: forgetting: pace = \"points\" and points go together"),
        ('pace = "even"', 'pace = "linear"\nadaptive = {}', r"s:12: forgetting: adaptive listens"),
        ("gain = 2", "gain = 20", r"s:18: forgetting\.bends\[1\]\.gain: .*8 \(got 20\)"),
        ('at = "50 %"', 'at = "200 %"', r"s:20: cues\[1\]: it begins at 6:00, past the end"),
        ('do = "recall"', 'do = "recal"', r"s:21: unknown cues\[1\]\.do 'recal'; did you mean 'recall'"),
        ('do = "hold"', 'do = "forget"\nat = 95', r"not TOML: Cannot overwrite"),
        ('do = "hold"\nat = "70 %"', 'do = "forget"\nat = 95',
         r"s:25: cues\[2\]: forget at 1:35 begins before recall at 1:30 to 1:40 has ended"),
        ('do = "hold"\nat = "70 %"', 'do = "forget"\nat = 90', r"s:25: cues\[2\]: forget at 1:30 begins before recall"),
        ('do = "hold"', 'do = "jump"', r"s:25: cues\[2\]: a jump needs `to`"),
        ('do = "hold"', 'do = "hold"\nto = 0.5', r"s:25: cues\[2\]: a hold keeps what is"),
        ('at = "70 %"', 'after = "nothing"',
         r"s:27: cues\[2\]\.after: no cue is called 'nothing' \(there are: none has a name\)"),
        ('[[cues]]', "[[queues]]", r"s:20: unknown Score key 'queues'; did you mean 'cues'"),
        ("[forgetting]", "[forgetting", r"s:12: not TOML"),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_line_key_and_what_would_be_right(old: str, new: str, message: str) -> None:
    text = SCORE.replace(old, new, 1)
    assert text != SCORE
    with pytest.raises(InputError, match=message) as caught:
        parse_score(text, "s")
    assert "\n" not in str(caught.value)


def test_two_chords_may_be_as_near_as_one_likes() -> None:
    assert checked(Score, {"voices": [{"chords": ["Am*0.0001", "F"]}]})
    assert checked(Score, {"voices": [{"beats": 0.1}], "tempo_bpm": 600})


def test_cues_that_wait_for_each_other() -> None:
    cues = [
        {"do": "forget", "name": "a", "after": "b", "over": 1},
        {"do": "recall", "name": "b", "after": "c", "over": 1},
        {"do": "recall", "name": "c", "after": "a", "over": 1},
    ]
    with pytest.raises(InputError, match=r"cues\[1\]\.after: cues wait for each other: a -> b -> c -> a"):
        checked(Score, {"cues": cues})
    cues[2]["after"] = "c"
    with pytest.raises(InputError, match="cues wait for each other: c -> c"):
        checked(Score, {"cues": cues})


@pytest.mark.parametrize(
    ("cues", "message"),
    [
        ([{"do": "hold", "at": 10, "over": 20}, {"do": "recall", "at": 20}],
         r"cues\[2\]: recall at 0:20 begins before hold"),
        ([{"do": "hold", "at": 10, "over": 20}, {"do": "hold", "at": 20}],
         r"cues\[2\]: hold at 0:20 begins before hold"),
        ([{"do": "forget", "at": 0, "over": 10}, {"do": "hold", "at": 5, "over": 5}, {"do": "recall", "at": 12}],
         r"cues\[3\]: recall at 0:12 begins before forget"),
        ([{"do": "forget", "name": "a", "at": 0}, {"do": "recall", "after": "a"}], r"'a' has no end of its own"),
        ([{"do": "forget", "name": "a"}, {"do": "forget", "name": "a", "at": 9}, {"do": "hold", "after": "a"}],
         "more than one"),
        ([{"do": "recall", "at": 1e5}], "past the end"),
        ([{"at": 3}], r"cues\[1\]\.do: Field required"),
    ],
)  # fmt: skip
def test_cues_that_cannot_be(cues: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        checked(Score, {"cues": cues})


def test_plans_and_names_that_cannot_be() -> None:
    with pytest.raises(InputError, match=r"loudness\.plan: the times of the plan must rise"):
        checked(Score, {"loudness": {"plan": [[20, 0], [10, -6]]}})
    with pytest.raises(InputError, match="names of voices must differ"):
        checked(Score, {"voices": [{"name": "a"}, {"name": "a"}]})
    with pytest.raises(InputError, match="voices"):
        checked(Score, {"voices": []})
    with pytest.raises(InputError, match=r"changes\[1\]\.path"):
        checked(Score, {"changes": [{"at": 1, "path": "/layer/x/forget"}]})


def test_files_that_are_no_scores(tmp_path: Any) -> None:
    with pytest.raises(InputError, match="no such score"):
        load_score(tmp_path / "a.toml")
    (tmp_path / "b.toml").write_bytes(b"\xff\xfd\x00")
    with pytest.raises(InputError, match="not a score"):
        load_score(tmp_path / "b.toml")


def test_lines_of_keys_written_otherwise() -> None:
    text = (
        'forgetting.order = "random"\n[reverb]\n"rt60_s" = 3\n[[voices]]\nname = "a"\n[[voices]]\n'
        "[voices.envelope]\nhold_s = 1\n"
    )
    assert line_of(text, ("forgetting", "order")) == 1
    assert line_of(text, ("reverb", "rt60_s")) == 3
    assert line_of(text, ("voices", 1, "envelope", "hold_s")) == 8
    assert line_of(text, ("voices", 0, "name")) == 5
    assert line_of(text, ("nothing",)) is None


ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**40), 2**40), st.floats(), st.text(max_size=12), st.just([]),
    st.lists(st.one_of(st.text(max_size=4), st.integers(), st.floats()), max_size=3), st.just({}),
    st.dictionaries(st.text(max_size=6), st.integers(), max_size=2),
    st.sampled_from(["25 %", "1:30", "bar 2", "list", "even", "path", "Am*2", "deconv2:300", SEED_MAX + 1]),
)  # fmt: skip


def every_key() -> list[tuple[str, ...]]:
    def keys(kind: type[Settings], path: tuple[str, ...]) -> Any:
        for key, field in kind.model_fields.items():
            yield (*path, key)
            for inner in kinds(field.annotation):
                yield from keys(inner, (*path, key))

    return list(keys(Score, ()))


@pytest.mark.parametrize("path", every_key(), ids=".".join)
@given(value=ODD)
@settings(max_examples=25, deadline=None)
def test_any_value_of_any_key_is_taken_or_named(path: tuple[str, ...], value: Any) -> None:
    values: dict[str, Any] = tomllib.loads(SCORE)
    here: Any = values
    for key in path[:-1]:
        here = here.setdefault(key, {})
        if isinstance(here, list):
            here[:] = here or [{}]
            here[0] = here[0] if isinstance(here[0], dict) else {}
            here = here[0]
    here[path[-1]] = value
    try:
        score = checked(Score, values)
    except InputError as error:
        line = str(error)
        assert "\n" not in line.replace(repr(value), "")
        assert len(line) < 900
    else:
        assert parse_score(dump_score(score)) == score
        assert parse_score(editable(score)) == score


def test_every_inverter_can_be_named() -> None:
    for inverter in WAYS:
        assert checked(Score, {"inverter": inverter}).inverter == inverter


def test_the_ranges_of_the_chain_are_those_of_the_score() -> None:
    found = {r.name: r for r in ranges()}
    assert found["reverb.rt60_s"] == Range("reverb.rt60_s", 3.0, 0.01, 30.0, "s")
    assert found["tone.tilt_db"] == Range("tone.tilt_db", 0.0, -12.0, 12.0, "dB")
    assert {found[n].unit for n in ("reverb.damping_hz", "master.loudness_lufs", "master.ceiling_dbtp")} == {
        "Hz",
        "LUFS",
        "dBTP",
    }
    assert "reverb.impulse" not in found
    assert {name.split(".")[0] for name in found} == {"envelope", "tone", "reverb", "master"}


@pytest.mark.parametrize("setting", ranges(), ids=lambda r: r.name)
def test_a_range_is_what_a_score_takes(setting: Range) -> None:
    def score(value: float) -> Score:
        group, _, key = setting.name.rpartition(".")
        return checked(Score, {group: {key: value}} if group else {key: value})

    width = setting.maximum - setting.minimum
    assert score(setting.default) == Score()
    for value in (setting.minimum, setting.maximum):
        score(value)
    for value in (setting.minimum - 1e-3 * width, setting.maximum + 1e-3 * width):
        with pytest.raises(InputError, match=setting.name.replace(".", r"\.")):
            score(value)
