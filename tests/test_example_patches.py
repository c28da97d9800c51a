"""The patches for other instruments: they run in their hosts, where these are installed, and play a live server."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from fugue_state.live.programme import House

from .fake_performance import FakePerformance, fake_memory
from .live_stage import PATIENCE_S, Stage, render, wait_for
from .test_live_osc import built, free_port

EXAMPLES = Path(__file__).parent.parent / "examples"
FIVE_LAYERS = House(("fake",), lambda _: fake_memory(), FakePerformance, render)
ADDRESS = re.compile(r"/fugue(?:/(?:\w+|\{[^{}]*\}))+(?![/\w])")
PD_ADDRESS = re.compile(r"oscformat(?: -f \w+)? (fugue(?: \w+)*)")
MAX_OBJECTS = {"udpsend", "udpreceive", "prepend", "route", "loadbang", "metro", "print"}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    settings: dict[str, Any] = {"osc": True, "osc_port": free_port(), "osc_reply_port": free_port()}
    with Stage(tmp_path_factory.mktemp("patches") / "takes", FIVE_LAYERS, **settings) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _nothing_asked(stage: Stage) -> None:
    stage.session.sets.clear()


class Host:
    """Another program, and what it prints."""

    def __init__(self, folder: Path, *command: str | Path) -> None:
        self._said = folder / "said.txt"
        quiet = {"QT_QPA_PLATFORM": "offscreen", "QTWEBENGINE_DISABLE_SANDBOX": "1", "HOME": str(folder)}
        with self._said.open("wb") as out:
            self._runs = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=os.environ | quiet,
                start_new_session=True,
            )

    def __enter__(self) -> Host:
        return self

    def __exit__(self, *exc: object) -> None:
        os.killpg(self._runs.pid, signal.SIGKILL)
        self._runs.communicate(timeout=PATIENCE_S)

    @property
    def said(self) -> str:
        return self._said.read_text(errors="replace")


def with_ports(name: str, folder: Path, **ports: int) -> Path:
    """A copy of an example that uses other ports."""
    text = (EXAMPLES / name).read_text()
    for _, (port, other) in enumerate((key[1:], value) for key, value in ports.items()):
        assert port in text
        text = re.sub(rf"\b{port}\b", str(other), text)
    (folder / name).write_text(text)
    return folder / name


def asked(stage: Stage, path: str) -> list[float]:
    """What was asked of a control so far."""
    return [args[0] if args else 0.0 for known, args in list(stage.session.sets) if known == path]


def needed(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed")
    return found


DRIVER = r"""#N canvas 0 0 400 300 12;
#X obj 10 10 loadbang;
#X obj 10 40 delay 500;
#X msg 10 70 \; fugue-play 1 \; fugue-forget 0.5 \; fugue-layer-5 0.25 \; fugue-key 64;
#X obj 10 100 delay 500;
#X msg 10 130 \; fugue-recall bang;
#X obj 200 10 r fugue-remembered;
#X obj 200 40 print remembered;
#X connect 0 0 1 0;
#X connect 1 0 2 0;
#X connect 1 0 3 0;
#X connect 3 0 4 0;
#X connect 5 0 6 0;
"""


def test_the_patch_for_pd_plays_and_shows_what_is_told(stage: Stage, tmp_path: Path) -> None:
    pd = needed("pd")
    patch = with_ports("fugue.pd", tmp_path, _9700=stage.config.osc_port, _9001=free_port())
    (tmp_path / "driver.pd").write_text(DRIVER)
    with Host(
        tmp_path, pd, "-nogui", "-noaudio", "-nomidi", "-stderr", "-open", patch, "-open", tmp_path / "driver.pd"
    ) as host:
        wait_for(lambda: asked(stage, "/recall"))
        wait_for(lambda: len(asked(stage, "/key/64")) == 2)  # let go by itself
        wait_for(lambda: "remembered: 5 " in host.said)
        assert asked(stage, "/play") == [1.0]
        assert asked(stage, "/forget") == [0.5]  # what came back moved no slider that sends again
        assert asked(stage, "/layer/5/forget") == [0.25]
        assert asked(stage, "/key/64") == [100 / 127, 0.0]
        assert "error" not in host.said
        assert "couldn't" not in host.said


def test_supercollider_plays_and_hears_what_is_told(stage: Stage, tmp_path: Path) -> None:
    sclang = needed("sclang")
    code = with_ports("fugue.scd", tmp_path, _9700=stage.config.osc_port)
    (tmp_path / "driver.scd").write_text(
        f'thisProcess.interpreter.executeFile("{code}"); SkipJack({{ ("remembered" + ~remembered).postln }}, 0.2);\n'
    )
    with Host(tmp_path, sclang, tmp_path / "driver.scd") as host:
        wait_for(lambda: len(asked(stage, "/key/57")) >= 2)
        wait_for(lambda: len(asked(stage, "/forget")) > 8)
        wait_for(lambda: re.search(r"remembered.*\(5 -> ", host.said))
        assert "ERROR" not in host.said
    pressed, let_go = asked(stage, "/key/57")[:2]
    assert 0.5 <= pressed <= 0.9
    assert let_go == 0
    forgotten = asked(stage, "/forget")
    assert forgotten == sorted(forgotten)
    assert asked(stage, "/layer/1/forget")[1] == pytest.approx(2 * forgotten[1])


def test_what_superdirt_would_hear_is_carried_over(stage: Stage, tmp_path: Path) -> None:
    port = free_port()
    script = EXAMPLES / "dirt_to_fugue.py"
    with Host(tmp_path, sys.executable, script, "--listen", str(port), "--port", str(stage.config.osc_port)) as host:

        def say(*args: Any) -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
                out.sendto(built("/dirt/play", *args).dgram, ("127.0.0.1", port))

        def heard() -> bool:
            say("note", "c#4", "gain", 0.5, "forget", 0.25, "layer2", 0.5, "delta", 0.01)
            return 0 in asked(stage, "/key/61")

        wait_for(heard)
        say("note", 0.0, "gain", 2)
        wait_for(lambda: asked(stage, "/key/60"))
        say("note", "h4")
        wait_for(lambda: "left out" in host.said)
    assert asked(stage, "/key/61")[0] == 64 / 127
    assert asked(stage, "/key/60")[0] == 1.0
    assert set(asked(stage, "/forget")) == {0.25}
    assert set(asked(stage, "/layer/2/forget")) == {0.5}


def addresses(path: Path) -> set[str]:
    """The addresses that an example names, with 1 for what is put in."""
    text = path.read_text()
    if path.suffix == ".pd":
        return {"/" + found.replace(" ", "/") for found in PD_ADDRESS.findall(text)}
    return {re.sub(r"\{[^{}]*\}", "1", found) for found in ADDRESS.findall(text)}


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("fugue.pd", 10), ("fugue.scd", 7), ("sonic-pi.rb", 5), ("tidal.hs", 3), ("dirt_to_fugue.py", 3),
        ("touchdesigner.py", 1), ("fugue.maxpat", 12), ("README.md", 1),
    ],
)  # fmt: skip
def test_every_address_of_an_example_is_one(stage: Stage, name: str, least: int) -> None:
    found = addresses(EXAMPLES / name)
    assert len(found) >= least
    for address in found:
        told = httpx.get(f"{stage.http}{address}")
        assert told.status_code == 200, (name, address)
        assert "TYPE" in told.json(), (name, address)


def test_every_example_is_asked_for_its_addresses() -> None:
    others = {"reaper_session.py", "take_from_csv.py", "sensors.csv", "strudel.js"}
    known = {"fugue.pd", "fugue.scd", "sonic-pi.rb", "tidal.hs", "dirt_to_fugue.py", "touchdesigner.py"}
    there = {path.name for path in EXAMPLES.iterdir() if path.is_file()}
    assert there == others | known | {"fugue.maxpat", "README.md"}


def test_what_touchdesigner_would_send(stage: Stage) -> None:
    sent: list[tuple[str, Sequence[float]]] = []
    out = SimpleNamespace(sendOSC=lambda path, values: sent.append((path, values)))
    text = runpy.run_path(str(EXAMPLES / "touchdesigner.py"), {"op": {"oscout1": out}.__getitem__})
    for name, value in (("forget", 0.5), ("layer5", 1.5), ("freeze", 1.0), ("tx", 0.1)):
        text["onValueChange"](SimpleNamespace(name=name), 0, value, 0.0)
    text["subscribe"]()
    assert sent[:3] == [("/fugue/forget", [0.5]), ("/fugue/layer/5/forget", [1.0]), ("/fugue/freeze", [1.0])]
    assert sent[3:] == [("/fugue/subscribe", [9701])]
    for path, _ in sent:
        assert "TYPE" in httpx.get(f"{stage.http}{path}").json()


def test_the_patch_for_max_is_whole() -> None:
    patcher = json.loads((EXAMPLES / "fugue.maxpat").read_text())["patcher"]
    boxes = {box["box"]["id"]: box["box"] for box in patcher["boxes"]}
    assert len(boxes) == len(patcher["boxes"])
    for box in boxes.values():
        if box["maxclass"] == "newobj":
            assert box["text"].split()[0] in MAX_OBJECTS
        assert len(box.get("outlettype", [])) == box["numoutlets"]
    for line in patcher["lines"]:
        (source, out), (target, into) = line["patchline"]["source"], line["patchline"]["destination"]
        assert out < boxes[source]["numoutlets"]
        assert into < boxes[target]["numinlets"]


@pytest.mark.parametrize(("name", "checks"), [("sonic-pi.rb", ("ruby", "-c")), ("strudel.js", ("node", "--check"))])
def test_the_text_is_of_its_language(name: str, checks: tuple[str, str]) -> None:
    subprocess.run([needed(checks[0]), checks[1], str(EXAMPLES / name)], check=True, capture_output=True)
