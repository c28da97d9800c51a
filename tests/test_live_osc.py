"""OSC in and out, and what is no message at all, by every way in."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
from pythonosc.osc_bundle_builder import IMMEDIATELY, OscBundleBuilder
from pythonosc.osc_message import OscMessage
from pythonosc.osc_message_builder import OscMessageBuilder
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from .live_stage import PATIENCE_S, Stage, wait_for

MESSAGES = 10_000


def built(path: str, *args: Any) -> OscMessage:
    builder = OscMessageBuilder(path)
    for arg in args:
        builder.add_arg(arg)
    return builder.build()


class Osc:
    """Someone who sends OSC, and hears the answers at another port."""

    def __init__(self, port: int, reply_port: int) -> None:
        self.out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.out.connect(("127.0.0.1", port))
        self.back = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.back.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**22)
        self.back.bind(("127.0.0.1", reply_port))
        self.back.settimeout(PATIENCE_S)
        self.port = self.back.getsockname()[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.out.close()
        self.back.close()

    def send(self, path: str, *args: Any) -> None:
        self.out.send(built(path, *args).dgram)

    def next(self) -> tuple[str, list[Any]]:
        message = OscMessage(self.back.recv(65_536))
        return message.address, message.params

    def until(self, path: str) -> list[Any]:
        while (heard := self.next())[0] != path:
            pass
        return heard[1]


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    settings: dict[str, Any] = {
        "osc": True,
        "osc_port": free_port(),
        "osc_reply_port": free_port(),
        "messages_at_once": 1e6,
    }
    with Stage(tmp_path / "takes", **settings) as opened:
        yield opened


@pytest.fixture
def osc(stage: Stage) -> Iterator[Osc]:
    with Osc(stage.config.osc_port, stage.config.osc_reply_port) as opened:
        yield opened


def test_osc_moves_asks_and_is_told_what_is_wrong(stage: Stage, osc: Osc) -> None:
    with stage.hand() as hand:
        osc.send("/fugue/ping")
        assert osc.next() == ("/fugue/pong", [])
        osc.send("/fugue/layer/1/forget", 0.25)
        assert hand.until("patch", by="osc")["changes"]["/layer/1/forget"] == 0.25
        osc.send("/fugue/layer/1/forget")
        assert osc.next() == ("/fugue/layer/1/forget", [0.25])
        osc.send("/fugue/unit/1/2/strength")
        assert osc.next() == ("/fugue/unit/1/2/strength", [1.0])
        osc.send("/fugue/grid/2", bytes(16))
        hand.until("patch", by="osc")
        osc.send("/fugue/grid/2")
        assert osc.next() == ("/fugue/grid/2", [bytes(16)])
        osc.send("/fugue/strengths/1")
        assert osc.next() == ("/fugue/strengths/1", [b"\xbf" * 32])
        osc.send("/fugue/play", 1)
        hand.until("event", what="state", state="playing")
        osc.send("/fugue/bank/2/store")
        osc.send("/fugue/recall")
        osc.send("/fugue/bank/2/fire")
        hand.until("patch", by="bank 2")
        assert stage.performance.values["/layer/1/forget"] == 0.25


@pytest.mark.parametrize(
    ("path", "args", "said"),
    [
        ("/fugue/nothing", [], "unknown path"),
        ("/other/forget", [0.5], "unknown address"),
        ("/fugue/forget", [2.0], "0 to 1"),
        ("/fugue/forget", ["__import__('os')"], "number"),
        ("/fugue/forget", [0.1, 0.2], "one value"),
        ("/fugue/layer/7/forget", [0.1], "layers 1 to 2"),
        ("/fugue/layer/7/forget", [], "no value"),
        ("/fugue/unit/1/99/strength", [], "no value"),
        ("/fugue/bank/17/fire", [], "banks 1 to 16"),
        ("/fugue/bank/1/fire", [], "empty"),
        ("/fugue/ab", [], "no value"),
        ("/fugue/memory", ["../x"], "unknown memory"),
    ],
)
def test_what_osc_cannot_ask_for_is_answered(stage: Stage, osc: Osc, path: str, args: list[Any], said: str) -> None:
    osc.send(path, *args)
    address, told = osc.next()
    assert address == "/fugue/error"
    assert said in told[0]


def test_who_subscribes_hears_of_everything_for_a_while(stage: Stage, osc: Osc) -> None:
    with stage.hand() as hand, Osc(stage.config.osc_port, 0) as other:
        other.send("/fugue/subscribe", other.port)
        assert other.until("/fugue/layer/2/forget") == [0.0]
        hand.done("/play", 1)
        hand.done("/layer/2/forget", 1.0)
        assert other.until("/fugue/layer/2/forget") == [1.0]
        assert other.until("/fugue/event/forgotten") == [2, 1]
        assert other.until("/fugue/state/remembered") == [1, 1.0]
        assert other.until("/fugue/state/remembered") == [2, 0.0]
        assert other.until("/fugue/stats/underruns") == [0]
        osc.back.settimeout(0.1)
        with pytest.raises(TimeoutError):
            osc.next()


def test_a_subscription_ends(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"osc": True, "osc_port": free_port(), "osc_reply_port": free_port(), "lease_s": 0.001}
    with (
        Stage(tmp_path / "takes", **settings) as stage,
        stage.hand() as hand,
        Osc(stage.config.osc_port, stage.config.osc_reply_port) as osc,
    ):
        osc.send("/fugue/subscribe")
        osc.until("/fugue/layer/2/forget")
        hand.done("/forget", 0.5)
        hand.done("/seed", 9)
        osc.send("/fugue/ping")
        heard = [osc.next()]
        while heard[-1][0] != "/fugue/pong":
            heard.append(osc.next())
        assert ("/fugue/seed", [9]) not in heard


def test_bundles_are_followed(stage: Stage, osc: Osc) -> None:
    bundle = OscBundleBuilder(IMMEDIATELY)
    bundle.add_content(built("/fugue/layer/1/forget", 0.5))
    bundle.add_content(built("/fugue/layer/2/forget", 0.75))
    osc.out.send(bundle.build().dgram)
    wait_for(lambda: stage.performance.values["/layer/2/forget"] == 0.75)
    assert stage.performance.values["/layer/1/forget"] == 0.5


def test_every_address_is_described(stage: Stage) -> None:
    told = httpx.get(f"{stage.http}/osc").json()
    fugue = told["CONTENTS"]["fugue"]["CONTENTS"]
    assert fugue["forget"] == {
        "FULL_PATH": "/fugue/forget", "TYPE": "f", "ACCESS": 3, "RANGE": [{"MIN": 0, "MAX": 1}], "VALUE": [0.0],
        "DESCRIPTION": fugue["forget"]["DESCRIPTION"],
    }  # fmt: skip
    units = fugue["unit"]["CONTENTS"]
    assert [len(layer["CONTENTS"]) for layer in units.values()] == [32, 16]
    assert len(fugue["bank"]["CONTENTS"]) == 16
    assert fugue["meter"]["CONTENTS"]["peak"]["ACCESS"] == 1
    assert httpx.get(f"{stage.http}/osc?HOST_INFO").json()["OSC_PORT"] == stage.config.osc_port


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        stage = Stage(tmp_path / "takes", osc=True, osc_port=taken.getsockname()[1])
        with stage:
            wait_for(lambda: not stage.server.started or stage.server.should_exit)
    assert "choose another --osc-port" in str(stage.server.problems[0])


# What is no message.

GOOD = {"type": "set", "path": "/forget", "args": [0.5], "id": 5}
ODD: list[Any] = [
    None, True, -1, 2**70, 1e308, float("nan"), float("inf"), "", "x" * 300, "\x00", "\ud800", [], [[[]]], {}, {"a": 1},
    "/forget", "/../..", "/unit/0/0/strength", "/unit/99999/1/strength", "/grid/1", "set", 10**400,
]  # fmt: skip


def nonsense(draw: random.Random) -> str:
    """Something that is nearly a message, or not at all."""
    kind = draw.randrange(6)
    if kind == 0:
        return "".join(chr(draw.randrange(1, 0xD7FF)) for _ in range(draw.randrange(40)))
    if kind == 1:
        return "[" * draw.randrange(1, 3000)
    message: dict[str, Any] = dict(GOOD)
    if kind == 2:
        message["type"] = draw.choice([*ODD, "welcome", "credits"])
    elif kind == 3:
        message[draw.choice(["path", "id"])] = draw.choice([odd for odd in ODD if odd != "/forget"])
    elif kind == 4:
        message.pop(draw.choice(["type", "path", "id"]))
    text = json.dumps(message)
    return text[: draw.randrange(len(text))] if kind == 5 else text


def all_nack(where: str, texts: list[str | bytes]) -> None:
    """Each of these gets its nack, and the socket stays open."""
    with connect(where, compression=None, close_timeout=0.2) as client:
        for start in range(0, len(texts), 200):
            some = texts[start : start + 200]
            for text in some:
                client.send(text)
            for text in some:
                answer = json.loads(client.recv(timeout=PATIENCE_S))
                assert answer["type"] == "nack", (text, answer)


def test_ten_thousand_messages_that_are_none(stage: Stage, osc: Osc) -> None:
    draw = random.Random(7)
    texts: list[str | bytes] = [nonsense(draw) for _ in range(MESSAGES)]
    texts[::100] = [draw.randbytes(draw.randrange(50)) for _ in texts[::100]]
    texts[50::100] = ["x" * (stage.config.message_bytes + 1) for _ in texts[50::100]]
    all_nack(f"{stage.ws}/ws/control", texts)
    all_nack(f"{stage.ws}/ws/audio", texts)
    with stage.hand() as hand:
        assert hand.welcome["values"]["/forget"] == 0.0
        assert hand.done("/forget", 0.5)


def broken(draw: random.Random) -> bytes:
    """A datagram that is nearly OSC, or not at all."""
    whole = built(draw.choice(["/fugue/forget", "/fugue/grid/1", "/x", "/fugue/unit/1/1/strength"]), "much", 3, b"x")
    data = bytearray(whole.dgram)
    kind = draw.randrange(4)
    if kind == 0:
        return draw.randbytes(draw.randrange(1, 60))
    if kind == 1:
        return b"#bundle\x00" + draw.randbytes(draw.randrange(60))
    if kind == 2:
        return bytes(data[: draw.randrange(1, len(data))])
    data[draw.randrange(len(data))] = draw.randrange(256)
    return bytes(data)


def test_ten_thousand_datagrams_that_are_none(stage: Stage, osc: Osc, caplog: pytest.LogCaptureFixture) -> None:
    draw = random.Random(8)
    osc.back.settimeout(2)
    for _ in range(MESSAGES):
        osc.out.send(broken(draw))
        assert osc.next()[0] in {"/fugue/error", "/fugue/forget", "/fugue/unit/1/1/strength", "/fugue/grid/1"}
    osc.send("/fugue/layer/1/forget", 0.5)
    wait_for(lambda: stage.performance.values["/layer/1/forget"] == 0.5)


def test_a_message_too_long_for_the_socket_closes_it(stage: Stage) -> None:
    with connect(f"{stage.ws}/ws/control", compression=None, close_timeout=0.2) as client:
        client.send("x" * (stage.config.socket_bytes + 1))
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=PATIENCE_S)
    with stage.hand() as hand:
        assert hand.done("/ping")
