from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from fugue_state.cli import main

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^(fugue .*?)(?:\s+#.*)?$", README, re.MULTILINE)


def test_there_are_commands_to_check() -> None:
    assert len(COMMANDS) > 8


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_of_the_readme_is_understood(line: str) -> None:
    words = shlex.split(line)[1:]
    command: click.Command = main
    while isinstance(command, click.Group):
        command = command.commands[words.pop(0)]
    command.make_context("fugue", words)


def test_the_five_lines_of_python_do_what_they_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert code is not None
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(code[1], names)  # noqa: S102
    assert names["mel"].shape == (4, 128, 128)  # type: ignore[attr-defined]
    assert names["audio"].shape == (4, 65536)  # type: ignore[attr-defined]
    assert (tmp_path / "piece.wav").is_file()
