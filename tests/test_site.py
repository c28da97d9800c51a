"""The site is whole, asks no other server for anything, and tells what the code and the figures say."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, get_args
from urllib.parse import unquote

import click
import pytest
from click.testing import CliRunner

import fugue_state
import hooks
from fugue_state.cli import main
from fugue_state.cli.options import FolderPath, UserPath
from fugue_state.config import LiveConfig
from fugue_state.limits import Area
from fugue_state.look.theme import THEMES
from fugue_state.score.model import Score
from fugue_state.settings import Settings, kinds
from generate import commands, figures, keys, limits, style
from generate.drawings import DRAWINGS, alone
from generate.markdown import plain, section, table

from .test_documents import DOCS, ROOT

# What a page loads by itself, by tag and attribute; an <a> is followed only by a reader.
LOADED = {"script": "src", "img": "src", "link": "href", "source": "src", "iframe": "src", "use": "href"}
ELSEWHERE = re.compile(r"^(https?:)?//")
LINK = re.compile(r"\]\(([^)\s]+)\)")
READ = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]


@dataclass
class Html(HTMLParser):
    """What a page loads, where it leads and what can be led to."""

    loads: list[str] = field(default_factory=list)
    leads: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.anchors |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a" and "href" in found:
            self.leads.append(found["href"])
        if found.get(LOADED.get(tag, "")):
            self.loads.append(found[LOADED[tag]])


def parsed(path: Path) -> Html:
    page = Html()
    page.feed(path.read_text(encoding="utf-8"))
    return page


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)]
    shared = tmp_path_factory.mktemp("shared") / "any.html"
    shared.write_text('<title>It plays</title><link rel="icon" href="data:,">', encoding="utf-8")
    environment = os.environ | {hooks.TRY_IT: str(shared)}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return out


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Html]:
    return {path: parsed(path) for path in site.rglob("*.html")}


def test_no_page_asks_another_server(site: Path, pages: dict[Path, Html]) -> None:
    assert len(pages) > 20
    for path, page in pages.items():
        assert page.loads
        assert [one for one in page.loads if ELSEWHERE.match(one)] == [], path
        assert 'class="mermaid"' not in path.read_text(
            encoding="utf-8"
        )  # would be drawn by what is loaded from elsewhere
    for sheet in site.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        asked = re.findall(r"@import\s+[\"']?([^\"';]+)|url\(\s*[\"']?([^\"')]+)", text)
        assert [one for pair in asked for one in pair if ELSEWHERE.match(one)] == [], sheet


def test_every_link_leads_somewhere(site: Path, pages: dict[Path, Html]) -> None:
    for path, page in pages.items():
        if path.name == "404.html":  # its links count from the root of a server
            continue
        for link in (*page.leads, *page.loads):
            target, _, anchor = unquote(link).partition("#")
            if re.match(r"^[a-z]+:", target):
                continue
            there = (path.parent / target.partition("?")[0]).resolve() if target else path
            assert there.is_file(), f"{path.name}: {link}"
            if anchor and there.suffix == ".html":
                assert anchor in pages[there].anchors | {"__skip"}, f"{path.name}: {link}"


def test_pages_are_found_and_typeface_and_drawings_are_there(site: Path, pages: dict[Path, Html]) -> None:
    found = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))["docs"]
    assert {one["location"].partition("#")[0] for one in found} >= {"score-keys.html", "api/memory.html"}
    assert len(list((site / "fonts").iterdir())) == len(style.WEIGHTS)
    assert (site / "how-it-works.html").read_text(encoding="utf-8").count('<div class="drawing"><svg') == 2
    for name in fugue_state._HOMES:
        assert f"{fugue_state._HOMES[name]}.{name}" in pages[site / "api" / "index.html"].anchors


def test_a_shared_page_is_in_the_navigation_as_it_is(site: Path, pages: dict[Path, Html]) -> None:
    assert (site / hooks.SHARED).read_text(encoding="utf-8").startswith("<title>It plays")
    assert any(link.endswith(hooks.SHARED) for link in pages[site / "index.html"].leads)


def host_text(path: Path) -> str:
    """What a code host shows of a page: no comments, and no code, in which nothing is a link."""
    text = re.sub(r"<!--.*?-->", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    return re.sub(r"^```.*?^```$|`[^`\n]*`", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors_of(path: Path) -> set[str]:
    """The anchors that a code host makes of the headings of a page."""
    heads = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


def dead_links(path: Path, root: Path) -> list[str]:
    """Links of a page that lead to no file below `root`, or to no heading of it."""
    dead = []
    for link in (*LINK.findall(host_text(path)), *parsed(path).leads, *parsed(path).loads):
        target, _, anchor = unquote(link).partition("#")
        there = (path.parent / target).resolve() if target else path
        elsewhere = re.match(r"^[a-z]+:", target)
        gone = not there.is_file() or not there.is_relative_to(root) or (anchor and anchor not in anchors_of(there))
        if gone and not elsewhere:
            dead.append(link)
    return dead


@pytest.mark.parametrize("path", READ, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere_on_a_code_host(path: Path) -> None:
    assert dead_links(path, ROOT) == []


def test_a_dead_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A b\n[1](gone.md) ![2](gone.png) [3](#a-b) [4](#c) <img src='gone.svg'> [5](https://a.b/c)\n")
    page.write_text(page.read_text() + "<!-- site: [6](made.md) --> `[7](code.md)` [8](page.md#a-b) [9](../page.md)\n")
    assert dead_links(page, tmp_path) == ["gone.md", "gone.png", "#c", "../page.md", "gone.svg"]


def test_what_only_the_site_shows_and_what_only_a_code_host_needs() -> None:
    for path in READ:
        text = path.read_text(encoding="utf-8")
        left = hooks.OFF_SITE.sub("", hooks.ON_SITE.sub("", text))
        assert "<!--" not in left, path
    page = "a<!-- site: , [b](c.md) -->\n<!-- off site -->\nd\n<!-- on -->\n[e](../README.md#install)\n"
    assert hooks.shown(page) == "a, [b](c.md)\n[e](installing.md)\n"
    assert hooks.shown("![words](images/network.svg)") == DRAWINGS["network"]()


@pytest.mark.parametrize("name", DRAWINGS)
def test_drawings_in_the_repository_are_those_of_the_site(name: str) -> None:
    drawn = alone(name)
    assert (DOCS / "images" / f"{name}.svg").read_text(encoding="utf-8") == drawn
    assert "var(" not in drawn
    assert drawn.startswith('<svg xmlns="http://www.w3.org/2000/svg"')


def test_colours_are_those_of_the_pictures() -> None:
    sheet = style.colours()
    for name, theme in THEMES.items():
        palette = section(sheet.replace("[data", "\n## [data"), f'[data-md-color-scheme="{style.SCHEMES[name]}"] {{')
        assert f"--md-default-bg-color: {theme.ground};" in palette
        assert f"--md-typeset-color: {theme.ink};" in palette
        assert f"--fugue-layer-5: {theme.layers[-1]};" in palette


def words(text: str) -> str:
    """What one reads of Markdown or of a help text, without white space, which both break as they like."""
    return re.sub(r"\s", "", unescape(re.sub(r"</?code>", "", text))).replace("`", "")


def limit_words(text: str) -> str:
    """The same, for an option: a page has a column for defaults and ranges."""
    return words(text).replace("default:", "").replace(";", ",")


COMMANDS = [context.command_path for context in commands.contexts(main, "fugue")]


@pytest.mark.parametrize("path", COMMANDS)
def test_the_command_line_is_told_as_help_tells_it(path: str) -> None:
    told = section(commands.page(main, "fugue"), f"{path} {{ #{path.replace(' ', '-')} }}")
    helped = CliRunner().invoke(main, [*path.split()[1:], "--help"], prog_name="fugue", terminal_width=100).output
    assert "-h, --help" in helped
    usage, about = helped.partition("\n\n")[::2]
    assert words(usage.removeprefix("Usage:")) in words(told)
    assert words(about.partition("Options:")[0]) in words(told)
    options = re.split(r"\n(?=  -)", helped.partition("\nOptions:")[2].partition("\n\n")[0])[1:]
    rows = [line for line in told.splitlines() if line.startswith("| <code>-")]
    assert len(rows) == len(options)
    for row, option in zip(rows, options, strict=True):
        name, about, limits = row[2:-2].split(" | ")
        assert limit_words(name + about + (f"[{limits}]" if limits else "")) == limit_words(option)


def fields(kind: type[Settings], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], type[Settings]]]:
    yield path, kind
    for key, found in kind.model_fields.items():
        for inner in kinds(found.annotation):
            yield from fields(inner, (*path, key))


def test_every_key_of_a_score_is_there() -> None:
    page = keys.page()
    parts = re.split(r"\n##+ .*\{ #([\w-]+) \}\n", page)
    told = {"score": parts[0]} | dict(zip(parts[1::2], parts[2::2], strict=True))
    expected = dict(fields(Score))
    assert set(told) == {keys.anchor(path) for path in expected}
    for path, kind in expected.items():
        text = told[keys.anchor(path)]
        assert len(re.findall(r"^\| <code>", text, re.MULTILINE)) == len(kind.model_fields)
        for key, found in kind.model_fields.items():
            (row,) = [line for line in text.splitlines() if line.startswith(f"| {plain(f'`{key}`')} |")]
            assert plain(found.description or "") in row


def test_types_ranges_and_defaults_of_keys() -> None:
    rows: dict[str, list[str]] = {}
    for line in keys.page().splitlines():
        cells = [unescape(re.sub("</?code>", "", cell)) for cell in line.strip("| ").split(" | ")]
        rows.setdefault(cells[0], cells[1:])
    assert rows["tempo_bpm"] == ["number", "50.0", "from 0.05 to 600", "Beats in a minute, until the tempo changes."]
    assert rows["until"][:2] == ["time", ""]
    assert rows["plan"][:2] == ["list of [time, number]", "[]"]
    assert rows["like"][1:3] == ["{}", "from 0 to 1"]
    assert rows["latents"][:2] == ["loop, walk, path, fresh", '"loop"']
    assert rows["beats"][2] == "from 1 to 64"  # of a metre
    assert rows["do"][1] == "needed"
    assert rows["cues"] == ["[tables](#cues)", "", "at most 10000", "Moves at set times: forget, recall, hold, jump."]


def test_every_limit_is_used_and_on_the_page() -> None:
    page, found = limits.page(), limits.named()
    used = {
        node.id
        for path in (ROOT / "src").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }
    assert len(found) > 40
    assert set(found) - used == set()
    assert {limit.area for limit in found.values()} <= {*get_args(Area)}
    for name, limit in found.items():
        part = section(page, limit.area if limit.area.isupper() else limit.area.capitalize())
        (row,) = [line for line in part.splitlines() if line.startswith(f"| {plain(limit.what)} |")]
        assert f"{limit.most:,.12g}" in row, name
        assert "{" not in row, name


def test_every_limit_that_is_a_setting_is_one_and_is_used() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src" / "fugue_state" / "live").glob("*.py"))
    for _, key, what, _, _ in limits.SETTINGS:
        assert f"{getattr(LiveConfig(), key):,.12g}" in limits.page()
        assert f"config.{key}" in source
        assert f"| {plain(what)} |" in limits.page()


def leaves(value: Any) -> Iterator[float]:
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from leaves(inner)
    elif isinstance(value, int | float):
        yield float(value)


def test_every_file_of_figures_is_shown_and_every_figure_is_of_its_file() -> None:
    files = {path.name for path in (DOCS / figures.FOLDER).iterdir()}
    assert {one.file for one in figures.FIGURES} == files
    page = figures.page(DOCS)
    for one in figures.FIGURES:
        text = (DOCS / figures.FOLDER / one.file).read_text(encoding="utf-8")
        values = json.loads(f"[{','.join(text.splitlines())}]" if one.file.endswith("l") else text)
        known = list(leaves(values))
        rows = [line for line in section(page, one.title).splitlines() if line.startswith("|")]
        named = "\n".join(f"| {row[2:].partition(' | ')[2]}" for row in rows)  # what the first column names
        cells = re.findall(r"(?<=\| )-?\d[\d.e+-]*(?= \|)", named)
        assert len(cells) >= 2, one.file
        for cell in cells:
            assert any(abs(float(cell) - value) <= 1e-3 * abs(value) for value in known), f"{one.file}: {cell}"


@pytest.mark.parametrize("line", [line for one in figures.FIGURES for line in one.commands])
def test_commands_of_figures_are_understood(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FolderPath, "convert", UserPath.convert)  # as if all folders were there
    program, *rest = line.replace("STEPS", "2").removesuffix(" OPTIONS").split()
    if program == "python":
        source = (ROOT / rest[0]).read_text(encoding="utf-8")
        if "from asked_of import" in source:
            source += (ROOT / "benchmarks" / "asked_of.py").read_text(encoding="utf-8")
        assert all(f'"{flag}"' in source for flag in rest if flag.startswith("--"))
        return
    command: click.Command = main
    while isinstance(command, click.Group):
        command = command.get_command(click.Context(command), rest.pop(0)) or pytest.fail(line)
    command.make_context("fugue", rest, click.Context(main, **main.context_settings))


def test_figures_become_tables() -> None:
    values = {"threads": 2, "ours": {"a_s": 1.25, "deep": {"x_db": None}}, "common": {"a_s": 2.0}, "list": [1]}
    assert list(figures.tables(values)) == [
        *table(("figure", ""), [("threads", "2")]),
        *table(("", "a, s", "deep, x, dB"), [("ours", "1.25", "-"), ("common", "2", "-")]),
    ]


def test_a_section_that_is_not_there_is_an_error() -> None:
    assert section("# A\n\n## B\n\none\n\n## C\n", "B") == "one\n"
    with pytest.raises(ValueError, match="no section 'D'"):
        section("## B\n", "D")
