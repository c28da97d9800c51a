"""The text of a shared page, and those of its modules that run without a browser."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import zlib
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load, save

from fugue_state.config import PageConfig
from fugue_state.errors import InputError
from fugue_state.share import page
from fugue_state.share.bundle import bundle
from fugue_state.share.page import in_planes, in_script

from .share_stage import NODE, TENSORS, fake_page, run_node

in_node = pytest.mark.skipif(NODE is None, reason="no Node")
# A session with a player that plays nothing yet, and what both said.
SESSION = """
import { Performance } from "./performance.js";
import { Memory } from "./memory.js";
import { Session } from "./session.js";
const said = [];
const heard = [];
const player = { postMessage: (block) => heard.push(block) };
const limits = { load_high: 0.75, load_low: 0.6, recover_s: 30, late_blocks: 8 };
const settings = { locked: LOCKED, end_s: END, full_activation: 0.28, frames_per_s: 30, units_per_s: 4, pace: limits };
const about = { name: "fake", layers: new Memory().layers, chords: ["Am", "C"], units: 96 };
const made = [];
const begin = () => { made.push(new Performance(PIECE, new Map(), new Memory())); return made.at(-1); };
const keep = ({ log, position }) => {
  if (!position) throw new Error("nothing was played yet");
  return JSON.stringify({ log, position });
};
const session = new Session(begin, about, settings, (message) => said.push(message), keep);
session.connect(player);
let number = 0;
const set = (path, ...args) => session.hear({ type: "set", id: ++number, path, args });
const kinds = (type) => said.filter((one) => one.type === type);
/** Play so many samples of what was sent. */
const play = async (samples) => {
  for (let played = 0; played <= samples; played += 1500) {
    player.onmessage({ data: { played: Math.min(played + session.begun, session.sent), cushion: 2646 } });
    for (let i = 0; i < 6; i++) await new Promise((done) => setImmediate(done));
  }
  session.begun = session.played;
};
session.begun = 0;
const out = (value) => { console.log(JSON.stringify(value)); process.exit(0); };
(async () => {
"""


def session(tmp_path: Path, script: str, piece: str = "{}", end: str = "null", locked: str = "false") -> Any:
    """Run a session of the test double."""
    head = SESSION.replace("LOCKED", locked).replace("END", end).replace("PIECE", piece)
    return run_node(f"{head}{script}}})();\n", tmp_path)


def modules(tmp_path: Path, **texts: str) -> list[Path]:
    for name, text in texts.items():
        (tmp_path / f"{name}.js").write_text(text, "utf-8")
    return [tmp_path]


@in_node
def test_modules_are_joined_in_their_order_each_in_its_own_scope(tmp_path: Path) -> None:
    found = run_node(
        'import { twice, Thing } from "./b.js";\nimport {\n  own,\n} from "./c.js";\n'
        'const hidden = "entry";\nconsole.log(JSON.stringify([twice(own), new Thing().hidden, hidden]));\n',
        tmp_path,
        modules(
            tmp_path,
            b='/** Not an export:\nexport default 3 */\nimport { own } from "./c.js";\nconst hidden = `b${own}`;\n'
            "export function twice(x) {\n  return 2 * x;\n}\nexport class Thing {\n  hidden = hidden;\n}\n",
            c="// import x from y\nconst hidden = 20;\nexport const own = hidden + 1;\n",
        ),
    )
    assert found == [42, "b21", "entry"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('import x from "./b.js";\n', 1),
        ('\nimport * as b from "./b.js";\n', 2),
        ('import { a as c } from "./b.js";\n', 1),
        ('import "./b.js";\n', 1),
        ('import { a } from "b";\n', 1),
        ('import { a } from "./b.js"\n', 1),
        ("export default 3;\n", 1),
        ("const a = 1;\n\nexport { a };\n", 3),
        ('export * from "./b.js";\n', 1),
        ("export let a = 1;\n", 1),
        ("export const { a } = {};\n", 1),
        ('const a = 1;\nconst b = import("./b.js");\n', 2),
        ('const a = new URL("x", import.meta.url);\n', 1),
    ],
)
def test_a_form_that_is_not_understood_is_refused_with_its_line(tmp_path: Path, text: str, line: int) -> None:
    folders = modules(tmp_path, entry=text, b="export const a = 1;\n")
    with pytest.raises(InputError, match=rf"entry\.js:{line}: .* is not understood; a module may"):
        bundle("entry.js", folders)


def test_circles_and_what_is_missing_are_refused(tmp_path: Path) -> None:
    folders = modules(
        tmp_path,
        entry='import { a } from "./a.js";\n',
        a='\nimport { b } from "./b.js";\nexport const a = 1;\n',
        b='import { a } from "./a.js";\nexport const b = 1;\n',
        nothing='import { c } from "./a.js";\n',
        gone='\n\nimport { c } from "./nowhere.js";\n',
    )
    with pytest.raises(InputError, match=r"b\.js:1: .*in a circle: entry\.js -> a\.js -> b\.js -> a\.js"):
        bundle("entry.js", folders)
    (tmp_path / "b.js").write_text("export const b = 1;\n", "utf-8")
    with pytest.raises(InputError, match=r"nothing\.js:1: a\.js does not export c"):
        bundle("nothing.js", folders)
    with pytest.raises(InputError, match=r"gone\.js:3: nowhere\.js is in none of"):
        bundle("gone.js", folders)
    (tmp_path / "before").mkdir()
    (tmp_path / "before" / "a.js").write_text("export const a = 'of the first folder';\n", "utf-8")
    assert "of the first folder" in bundle("entry.js", [tmp_path / "before", *folders])


@in_node
def test_tensors_travel_whole(tmp_path: Path) -> None:
    whole = save(TENSORS, {"about": "it"})
    packed = page.deflated(in_planes(whole))
    assert len(in_planes(whole)) == len(whole)
    assert zlib.decompress(base64.b64decode(packed)) != whole
    script = (
        'import { tensors } from "./unpack.js";\n'
        f'tensors("{packed}").then((found) => console.log(JSON.stringify(Array.from(found))));\n'
    )
    found = bytes(run_node(script, tmp_path))
    assert found == whole
    assert {name: array.tolist() for name, array in load(found).items()} == {k: v.tolist() for k, v in TENSORS.items()}


def test_nothing_written_by_a_user_becomes_markup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    title, credit = "</script><script>alert(1)</script><!-- & \"'", "<img src=x onerror=alert(1)>"
    text = fake_page(tmp_path, monkeypatch, title=title, credits_=(credit,)).read_text("utf-8")
    assert title not in text
    assert credit not in text
    assert f"<title>{html.escape(title)}</title>" in text
    found = re.search(r'<script type="application/json" id="about-piece">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    told = json.loads(found[1])
    assert (told["title"], told["credits"]) == (title, [credit])
    assert in_script("'</SCRIPT>' + '<!-- a'") == "'<\\/SCRIPT>' + '<\\!-- a'"


def test_the_page_allows_its_own_text_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = fake_page(tmp_path, monkeypatch).read_text("utf-8")
    found = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert found is not None
    policy = dict(rule.split(" ", 1) for rule in found[1].split("; "))
    assert policy["default-src"] == policy["connect-src"] == "'none'"
    assert "unsafe-inline" not in found[1]
    script = text[text.rindex("<script>") + len("<script>") : text.rindex("</script>")]
    styles = text[text.index("<style>") + len("<style>") : text.index("</style>")]
    for kind, inside in (("script-src", script), ("style-src", styles)):
        assert base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode() in policy[kind]
    assert "/static/" not in styles
    assert not re.search(r"""(?:src|href)=["'](?!data:)|https?://""", text.replace(script, ""))
    assert str(Path.home()) not in text
    assert str(tmp_path) not in text


def test_a_page_has_the_theme_and_the_title_that_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = fake_page(tmp_path, monkeypatch, PageConfig(theme="paper", title="Mine")).read_text("utf-8")
    assert "<title>Mine</title>" in text
    assert '<meta name="color-scheme" content="light">' in text
    assert "--ground: #f5f2eb" in text
    assert f"<title>{page.UNTITLED}</title>" in fake_page(tmp_path, monkeypatch, title="").read_text("utf-8")


@in_node
def test_a_session_waits_then_plays_only_as_far_as_is_heard(tmp_path: Path) -> None:
    found = session(
        tmp_path,
        "await play(9000); const before = heard.length; set('/play', 1); await play(44100);"
        "out([before, kinds('welcome').length, kinds('event').map((one) => one.state), session.sent - session.played,"
        " heard.map(({ first, samples }) => [first, samples.length]).slice(0, 3), kinds('frame').length]);",
    )
    before, welcomes, states, ahead, blocks, frames = found
    assert (before, welcomes, states) == (0, 1, ["playing"])
    assert 2646 <= ahead <= 2646 + 2 * 1024
    assert blocks == [[0, 2048], [1024, 2048], [2048, 2048]]
    assert 28 <= frames <= 34


@in_node
def test_a_session_follows_hands_and_takes_back_what_they_did(tmp_path: Path) -> None:
    found = session(
        tmp_path,
        "set('/play', 1); await play(6000);"
        "set('/forget', 0.3); set('/forget', 0.5); set('/unit/1/3/strength', 0); set('/chord', 'X');"
        "set('/volume', 0.5); await play(6000);"
        "const [p] = made; const then = [p.values['/forget'], p.brushed[2], p.log.map((one) => one.path)];"
        "session.hear({ type: 'back' }); await play(6000);"
        "out([then, p.values['/forget'], p.brushed[2], p.values['/volume'], kinds('ack').length,"
        " kinds('nack').map(({ id, message }) => [id, message]),"
        " kinds('patch').map((one) => Object.keys(one.changes))]);",
    )
    (forget, unit, log), after, unit_after, volume, acks, nacks, patches = found
    assert (forget, unit, after, unit_after, volume) == (0.5, 0, 0, 1, 0.5)
    assert log.count("/forget") == 1  # the newest alone
    assert acks == 5  # but both are answered
    assert nacks == [[5, "no chord X"]]
    assert any({"/forget", "/unit/1/3/strength", "/grid/1", "/strengths/1"} <= set(keys) for keys in patches)


@in_node
def test_what_the_piece_has_moved_meanwhile_is_not_taken_back(tmp_path: Path) -> None:
    found = session(
        tmp_path,
        "set('/play', 1); await play(3000); set('/forget', 0.4); set('/layer/1/forget', 0.4); await play(30000);"
        "session.hear({ type: 'back' });"
        "out([made[0].values['/forget'], made[0].values['/layer/1/forget']]);",
        piece="{ moves: [{ at: 20480, path: '/forget', value: 0.9 }] }",
    )
    assert found == [0.9, 0]


@in_node
def test_a_take_fades_at_its_end_and_can_be_played_again(tmp_path: Path) -> None:
    found = session(
        tmp_path,
        "set('/play', 1); await play(90000); const count = heard.length; const end = heard.at(-1).samples.at(-1);"
        "await play(20000); const rested = heard.length - count; const last = session.at;"
        "session.hear({ type: 'keep' });"
        "set('/play', 1); await play(9000);"
        "out([count, rested, end, last, heard[count].first, made.length, kinds('event').map((one) => one.state),"
        " JSON.parse(kinds('take')[0].text).position]);",
        end="1.0",
    )
    count, rested, end, last, again, made, states, kept = found
    assert count == -(-66150 // 1024)
    assert rested == 0
    assert end == 0
    assert again == last == kept == count * 1024
    assert (made, states) == (2, ["playing", "ended", "playing"])


@in_node
def test_nothing_is_kept_before_anything_was_played(tmp_path: Path) -> None:
    found = session(tmp_path, "session.hear({ type: 'keep' }); out([kinds('take'), kinds('notice')[0].text]);")
    assert found == [[], "nothing was played yet"]


@in_node
def test_an_engine_that_fails_fades_out_and_says_so(tmp_path: Path) -> None:
    found = session(
        tmp_path,
        "set('/play', 1); await play(60000);"
        "out([heard.length, heard.at(-1).samples.at(-1), kinds('notice').map((one) => one.text), session.state]);",
        piece="{ breaks_at: 20480 }",
    )
    assert found == [21, 0, ["The sound has failed (a weight is missing). You may play it again."], "failed"]


@in_node
def test_an_engine_at_its_limit_steps_down_to_a_draft(tmp_path: Path) -> None:
    found = session(
        tmp_path,
        "set('/play', 1); await play(60000); const before = made[0].rested;"
        "session.begun = session.sent; await play(0);"
        "out([made[0].values['/quality'], kinds('notice').map((one) => one.text), before, made[0].rested]);",
        piece="{ busy_s: 0.03 }",
    )
    # A block that nothing waits before makes nothing anew: a change can wait for a block, the sound cannot.
    assert found == ["draft", ["This device is at its limit: the sound is a little rougher for a while."], 0, 2]


@in_node
def test_a_locked_piece_is_only_played_and_stopped(tmp_path: Path) -> None:
    found = session(
        tmp_path,
        "set('/play', 1); set('/forget', 1); await play(6000); set('/hush'); await play(6000);"
        "out([kinds('welcome')[0].view, kinds('nack').map((one) => one.code), made[0].values['/forget'],"
        " made[0].values['/play'], session.state]);",
        locked="true",
    )
    assert found == [True, ["view_only"], 0, 0, "paused"]


@in_node
def test_words_say_what_is_remembered_but_sparingly(tmp_path: Path) -> None:
    script = (
        'import { inWords, Words } from "./words.js";\nlet now = 0;\nconst line = { textContent: "" };\n'
        "const words = new Words(line, () => now);\nconst said = [];\n"
        "for (const [at, share] of [[0, 1], [5000, 0.7], [9000, 0.6], [12000, 0.52], [30000, 0.53], [50000, 0.4]]) {\n"
        "  now = at;\n  line.textContent = '';\n  words.remembered(share);\n  said.push(line.textContent);\n}\n"
        "console.log(JSON.stringify([said, [0, 0.02, 0.24, 0.76, 0.97, 1].map(inWords)]));\n"
    )
    said, words = run_node(script, tmp_path)
    assert said == ["Everything is remembered.", "", "", "Half is remembered.", "", "Two fifths are remembered."]
    assert words[2:4] == ["A quarter is remembered.", "Three quarters are remembered."]
