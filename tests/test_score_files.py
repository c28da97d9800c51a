"""Score files as they come: with marks, damaged, huge; each mistake is one line with its place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fugue_state.bending.orders import Order
from fugue_state.bending.schedule import Shape
from fugue_state.bending.timeline import compose
from fugue_state.errors import InputError
from fugue_state.limits import SCORE_BYTES, SCORE_CHORDS, SCORE_STEPS
from fugue_state.score.cues import Cue, spans
from fugue_state.score.tempo import tempo_of
from fugue_state.score.text import load_score, parse_score
from fugue_state.score.times import Clock

LONG = "9" * 5000
EVEN = 'duration_s = "10:00"\n' + "".join(
    f'[[cues]]\nat = {at}\ndo = "forget"\npace = "even"\nover = 0.1\n' for at in range(101)
)


def chain(count: int) -> str:
    first = '[[cues]]\ndo = "jump"\nto = 0.5\nname = "c0"\n'
    others = (
        f'[[cues]]\ndo = "jump"\nto = 0.5\nname = "c{i}"\nafter = "c{i - 1}"\nat = 0.001\n' for i in range(1, count)
    )
    return first + "".join(others)


@pytest.mark.parametrize("mark", ["utf-8-sig", "utf-8"])
def test_a_mark_before_the_text_is_passed_over(tmp_path: Path, mark: str) -> None:
    path = tmp_path / "a.toml"
    path.write_text('title = "é"\r\n', encoding=mark)
    assert load_score(path).title == "é"


@pytest.mark.parametrize("coding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"])
def test_text_in_another_coding_is_named(tmp_path: Path, coding: str) -> None:
    path = tmp_path / "a.toml"
    path.write_text('title = "x"\n', encoding=coding)
    with pytest.raises(InputError, match=r"a\.toml: text in UTF-16 or UTF-32; save it as UTF-8"):
        load_score(path)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (f'[[voices]]\nstart = "{LONG[:900]}:00"', 2, "voices[1].start: a time is"),
        (f'[[voices]]\nstart = "{LONG[:900]}:00:00"', 2, "voices[1].start: a time is"),
        (f'[[voices]]\nstart = "bar {LONG[:900]}"', 2, "voices[1].start: a time is"),
        (f'[[voices]]\nstart = "{LONG[:900]} %"', 2, "voices[1].start: a time is"),
        (f'[[voices]]\nstart = "{LONG}"', 2, "voices[1].start"),
        ('[[voices]]\nstart = "999999999:00:00"', 2, "is too long: at most 604,800 seconds"),
        (f"[[voices]]\nstart = 1{'0' * 400}", 2, "voices[1].start: a time of"),
        (f"[[voices]]\nstart = -1{'0' * 400}", 2, "voices[1].start: a time of"),
        (f"duration_s = 1{'0' * 400}", 1, "duration_s: a time of"),
        ('duration_s = "soon"', 1, "duration_s: a length is seconds or a clock time, 90 or \"1:30\", not 'soon'"),
        ('duration_s = "50 %"', 1, "duration_s: a length is seconds or a clock time, 90 or \"1:30\", not '50 %'"),
        (f"tempo_bpm = 1{'0' * 400}", 1, "tempo_bpm: must be"),
        (f"seed = 1{'0' * 400}", 1, "seed: must be"),
        (f"\nseed = {LONG}", 2, "seed: a number of 5000 digits is too long"),
        (f"\nx = {'[' * 10_000}{']' * 10_000}", 2, "x: brackets within brackets: at most 64 deep"),
        (f"\nx = {'{a=' * 10_000}1{'}' * 10_000}", 2, "x: brackets within brackets"),
        (f"{'a.' * 10_000}b = 1", 1, "unknown Score key 'a'"),
        (f"[{'a.' * 3000}b]\nc = 1", 1, "unknown Score key 'a'"),
        (f'title = "x"\nmemory = "{"m" * 100_000}"', 2, "memory: 100000 characters are too many"),
        (f'[reverb]\nimpulse = "{"m" * 100_000}"', 2, "reverb.impulse: "),
        (f'title = "{"m" * 100_000}"', 1, "title: 100000 characters are too many"),
        (f'[[voices]]\nchords = ["{"m" * 100_000}"]', 2, "voices[1].chords[1]: 100000 characters"),
        (f"[[voices]]\nlike = {{ {'m' * 100_000} = 1 }}", 2, "voices[1].like"),
        ("[[voices]]\nchords = [" + '"Am",' * 5000 + "]", 2, "5000 chords are too many: at most 4,096"),
        ("[[voices]]\n" * 17, 1, "17 voices are too many: at most 16"),
        ('[[cues]]\ndo = "hold"\n' * 10_001, 1, "10001 cues are too many"),
        (EVEN, 505, 'of the pace "even", each measured, are too many: 100 cues'),
        ('a = "\0"', 1, "not TOML"),
        ('about = "\u2028"\nmemory = "\x85"\ntitle = 3', 3, "title"),
    ],
)  # fmt: skip
def test_every_mistake_is_one_line_with_its_place(text: str, line: int, said: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_score(text, "a.toml")
    message = str(caught.value)
    assert said in message
    assert message.startswith(f"a.toml:{line}: ")
    assert len(message) < 500
    assert "\n" not in message


def test_files_that_hold_no_text(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(b"\x80\x81\xff")
    with pytest.raises(InputError, match="not a score"):
        load_score(path)
    with pytest.raises(InputError, match="is a folder"):
        load_score(tmp_path)
    with path.open("wb") as file:
        file.truncate(100_000_000)
    with pytest.raises(InputError, match=r"a\.toml: 100000000 bytes are too many for a score"):
        load_score(path)
    path.write_bytes(b"")
    assert load_score(path).title == ""
    assert SCORE_BYTES.most < 100_000_000


def test_a_chain_of_cues_may_be_as_long_as_there_are_cues() -> None:
    score = parse_score(chain(10_000))
    assert [span.index for span in spans(score.cues, score.clock)] == list(range(10_000))
    backwards = tuple(reversed(score.cues))
    assert [span.index for span in spans(backwards, score.clock)] == list(reversed(range(10_000)))


def test_a_circle_of_many_cues_is_told_in_a_line() -> None:
    text = chain(700).replace('name = "c0"\n', 'name = "c0"\nafter = "c699"\n')
    with pytest.raises(InputError, match=r"after: cues wait for each other: .*\(\d+ more\) -> c0$") as caught:
        parse_score(text, "a.toml")
    assert str(caught.value).startswith("a.toml:5: ")
    with pytest.raises(InputError, match="and 695 more"):
        spans((Cue(do="hold", after="x"), *parse_score(chain(700)).cues), Clock(90, tempo_of(60, 4, (), ())))


def test_so_many_chords_that_no_plan_can_hold_them() -> None:
    voices = "[[voices]]\nbeats = 0.1\n" * 3
    with pytest.raises(InputError, match=r"a\.toml:3: voices\[1\]: about 8640000 chords would sound, too many"):
        parse_score(f"duration_s = 86400\ntempo_bpm = 600\n{voices}", "a.toml")
    assert SCORE_CHORDS.passed(3_000_000).count("1,000,000") == 1
    assert "4,096 chords" in SCORE_STEPS.passed(5000)


def test_thousands_of_cues_between_two_chords() -> None:
    cue = '[[cues]]\ndo = "{do}"\nat = {at}\nover = 0.5\n'
    cues = "".join(cue.format(do="recall" if i % 2 else "forget", at=i + 1) for i in range(3000))
    score = parse_score(f'duration_s = "1:00:00"\n[forgetting]\nto = 0.5\nuntil = 1\npace = "linear"\n{cues}')

    def orders(*_: object, **__: object) -> Order:
        return np.arange(4)

    def even(*_: object) -> Shape:
        raise AssertionError("nothing is measured")

    timeline = compose(score, 4, 3599.0, orders, even)
    assert timeline(3598.0).tolist() == [1, 1, 1, 1]
    assert timeline(2999.9).tolist() == [0, 0, 0, 0]
