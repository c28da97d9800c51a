"""What MkDocs does besides reading Markdown: pages and files that are made when the site is built."""

from __future__ import annotations

import os
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from fugue_state.cli import main
from fugue_state.look.theme import font_file
from generate import commands, figures, keys, limits, style
from generate.drawings import DRAWINGS
from generate.markdown import section

ROOT = Path(__file__).parent.parent
DRAWING = re.compile(r"!\[[^\]]*\]\(images/(pipeline|network|house)\.svg\)")
# What only the site has stands in a comment, which a code host does not show; what only a code host needs, between two.
ON_SITE = re.compile(r"<!-- site: (.*?) -->", re.DOTALL)
OFF_SITE = re.compile(r"<!-- off site -->.*?<!-- on -->\n?", re.DOTALL)
INSTALL = "../README.md#install"
TRY_IT = "TRY_IT"  # names a shared page, in the environment; the site has it then
SHARED = "try-it.html"


def on_config(config: MkDocsConfig) -> None:
    """Let the navigation begin with a shared page, if there is one."""
    if os.environ.get(TRY_IT) and config.nav is not None:
        config.nav.insert(0, {"Try it": SHARED})


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is not written by hand."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    made = {
        "command-line.md": commands.page(main, "fugue"),
        "score-keys.md": keys.page(),
        "limits.md": limits.page(),
        "measured.md": figures.page(ROOT / "docs"),
        "installing.md": f"# Install\n\n{section(readme, 'Install')}",
        "contributing.md": (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"),
        "stylesheets/colours.css": style.colours(),
    }
    for name, text in made.items():
        files.append(File.generated(config, name, content=text.replace("](docs/", "](")))
    if shared := os.environ.get(TRY_IT):
        files.append(File.generated(config, SHARED, abs_src_path=str(Path(shared).resolve())))
    for weight in style.WEIGHTS:
        font = font_file(weight)
        files.append(File.generated(config, f"fonts/{font.name}", abs_src_path=str(font)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Show what a code host does not."""
    return shown(markdown)


def shown(markdown: str) -> str:
    """Return a page with drawings in the colours of the site, and links to pages that are made here."""
    text = ON_SITE.sub(r"\1", OFF_SITE.sub("", markdown)).replace(f"]({INSTALL})", "](installing.md)")
    return DRAWING.sub(lambda mark: DRAWINGS[mark[1]](), text)
