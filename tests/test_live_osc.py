"""OSC in and out, and what is no message at all, by every way in."""

from __future__ import annotations

import contextlib
import json
import random
import re
import socket
import struct
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Self, cast

import httpx
import pytest
from pythonosc.osc_bundle_builder import IMMEDIATELY, OscBundleBuilder
from pythonosc.osc_message import OscMessage
from pythonosc.osc_message_builder import OscMessageBuilder
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from fugue_state.errors import InputError
from fugue_state.limits import OSC_WAITING_EACH
from fugue_state.live import leases as leases_of
from fugue_state.live import osc as osc_of
from fugue_state.live import query as query_of
from fugue_state.live.addresses import fits, matching
from fugue_state.live.agenda import Agenda
from fugue_state.live.leases import Leases
from fugue_state.live.protocol import RefusedError

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


def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(InputError, match=r"OSC cannot be heard at 127\.0\.0\.1:.* choose another --osc-port"):
            osc_of.osc_socket("127.0.0.1", taken.getsockname()[1])


@pytest.mark.parametrize("host", ["203.0.113.7", "no-such-host.invalid", "a" * 70 + ".example"])
def test_osc_at_a_host_that_is_none_is_one_line(host: str) -> None:
    with pytest.raises(InputError, match="OSC cannot be heard"):
        osc_of.osc_socket(host, 0)


def sets_of(stage: Stage, count: int) -> list[tuple[str, list[Any]]]:
    """The first so many things that the session was asked for, once there are so many."""
    wait_for(lambda: len(stage.session.sets) >= count)
    return [(path, list(args)) for path, args in stage.session.sets]


def bundle(when: float, *parts: bytes) -> bytes:
    """A bundle for a time in seconds of the clock; 0 is at once."""
    tag = struct.pack(">Q", round((when + 2_208_988_800) * 2**32) if when else 1)
    return b"#bundle\x00" + tag + b"".join(struct.pack(">i", len(part)) + part for part in parts)


def typed(path: str, tags: str, data: bytes = b"") -> bytes:
    """A message whose types are written by hand."""
    words = [f"{path}\0", f",{tags}\0"]
    return b"".join(word.encode().ljust(-(-len(word) // 4) * 4, b"\0") for word in words) + data


def test_a_bundle_waits_for_its_time(stage: Stage, osc: Osc) -> None:
    now = time.time()
    late, later = built("/fugue/seed", 2).dgram, built("/fugue/seed", 3).dgram
    osc.out.send(bundle(now + 0.6, bundle(now + 0.8, later), late))
    osc.out.send(bundle(now + 0.6, bundle(0, built("/fugue/seed", 4).dgram)))  # never before the bundle around it
    osc.out.send(bundle(now - 60, built("/fugue/seed", 1).dgram))
    osc.out.send(bundle(0, built("/fugue/seed", 0).dgram))
    assert [args for _, args in sets_of(stage, 5)] == [[1], [0], [2], [4], [3]]


def test_a_bundle_too_far_ahead_is_refused(stage: Stage, osc: Osc) -> None:
    osc.out.send(bundle(time.time() + 86_400, built("/fugue/seed", 1).dgram))
    assert "from now: at most 600 s" in osc.until("/fugue/error")[0]


@pytest.mark.parametrize("size", [-4, -(2**31), 0, 2**31 - 1, 100])
def test_a_part_of_a_wrong_length_is_refused(stage: Stage, osc: Osc, size: int) -> None:
    osc.out.send(b"#bundle\x00" + bytes(7) + b"\x01" + struct.pack(">i", size) + built("/fugue/seed", 1).dgram)
    assert "not an OSC message" in osc.until("/fugue/error")[0]
    osc.send("/fugue/ping")
    assert osc.next() == ("/fugue/pong", [])


def test_bundles_are_only_so_deep(stage: Stage, osc: Osc) -> None:
    for depth, heard in ((8, "/fugue/pong"), (9, "/fugue/error"), (500, "/fugue/error")):
        data = built("/fugue/ping").dgram
        for _ in range(depth):
            data = bundle(0, data)
        osc.out.send(data[:8192])
        assert osc.next()[0] == heard


@pytest.mark.parametrize(
    ("tags", "data", "value"),
    [
        ("T", b"", 1), ("F", b"", 0), ("I", b"", 1), ("i", struct.pack(">i", 1), 1), ("h", struct.pack(">q", 1), 1),
        ("f", struct.pack(">f", 1), 1), ("d", struct.pack(">d", 0), 0),
    ],
)  # fmt: skip
def test_values_of_every_type(stage: Stage, osc: Osc, tags: str, data: bytes, value: int) -> None:
    osc.send("/fugue/freeze", 1 - value)
    osc.out.send(typed("/fugue/freeze", tags, data))
    sets_of(stage, 2)
    osc.send("/fugue/freeze")
    wait_for(lambda: stage.performance.values["/freeze"] == value)


@pytest.mark.parametrize(
    ("tags", "data", "said"),
    [
        ("N", b"", "got None"), ("r", bytes(4), "'r'"), ("m", bytes(4), "'m'"), ("t", bytes(8), "'t'"),
        ("[i]", bytes(4), "'['"), ("c", bytes(4), "'c'"), ("i", b"", "short"), ("h", bytes(4), "short"),
        ("b", struct.pack(">i", -4), "negative"), ("b", struct.pack(">i", 900), "short"),
        ("s", b"\xff\0\0\0", "decode"),
    ],
)  # fmt: skip
def test_values_that_are_not_read_are_answered(stage: Stage, osc: Osc, tags: str, data: bytes, said: str) -> None:
    osc.out.send(typed("/fugue/freeze", tags, data))
    assert said in osc.until("/fugue/error")[0]


TRIGGERS = ["undo", "redo", "bank/1/store", "bank/1/arm", "bank/1/fire", "mark", "recall", "layer/1/recall", "hush"]


@pytest.mark.parametrize("path", [*TRIGGERS, "rest", "rec/stop", "rec/start"])
def test_a_button_acts_once(stage: Stage, osc: Osc, path: str) -> None:
    def acted() -> int:
        return sum(said == f"/{path}" for said, _ in stage.session.sets)

    presses: list[tuple[str, bytes]] = [
        ("i", struct.pack(">i", 1)), ("f", struct.pack(">f", 1)), ("d", struct.pack(">d", 127)), ("T", b""), ("I", b""),
        ("", b""),
    ]  # fmt: skip
    releases = [("i", bytes(4)), ("f", bytes(4)), ("h", bytes(8)), ("d", bytes(8)), ("F", b"")]
    for number, (tags, data) in enumerate(presses, 1):
        osc.out.send(typed(f"/fugue/{path}", tags, data))
        for released in releases:
            osc.out.send(typed(f"/fugue/{path}", *released))
        osc.send("/fugue/seed", number)
        wait_for(partial(stage.session.sets.__contains__, ("/seed", [number])))
        assert acted() == number


def test_a_press_of_a_page_acts_once_too(stage: Stage) -> None:
    with stage.hand() as hand:
        for path in ("/seed", "/layer/1/forget", "/layer/2/forget"):
            hand.done(path, 1)
        hand.done("/undo", 1)
        hand.done("/undo", 0)
        hand.done("/undo", False)
        hand.done("/volume", 0.5)
        values = stage.performance.values
        assert [values[path] for path in ("/seed", "/layer/1/forget", "/layer/2/forget")] == [1, 1.0, 0.0]
        assert "0 does nothing" in hand.refused("bad_value", "/undo", "off")


def test_what_no_button_sends_presses_nothing(stage: Stage, osc: Osc) -> None:
    for tags, data in (("s", b"no\0\0"), ("N", b""), ("f", struct.pack(">f", float("nan")))):
        osc.out.send(typed("/fugue/recall", tags, data))
        assert "0 does nothing" in osc.until("/fugue/error")[0]
    osc.out.send(typed("/fugue/recall", "ii", struct.pack(">ii", 1, 1)))
    assert "one value" in osc.until("/fugue/error")[0]


def test_a_mark_says_something_or_nothing(stage: Stage, osc: Osc) -> None:
    osc.send("/fugue/mark", "dark")
    osc.send("/fugue/mark")
    osc.send("/fugue/mark", 1)
    assert sets_of(stage, 3) == [("/mark", ["dark"]), ("/mark", [""]), ("/mark", [""])]


@pytest.mark.parametrize(
    ("pattern", "name", "fit"),
    [
        ("*", "forget", True), ("*", "", True), ("f*t", "forget", True), ("f*x", "forget", False), ("**", "a", True),
        ("?", "7", True), ("?", "10", False), ("??", "10", True), ("[1-3]", "3", True), ("[1-3]", "4", False),
        ("[!a]", "b", True), ("[!a]", "a", False), ("[a-]", "-", True), ("[3-1]", "2", False), ("[]", "a", False),
        ("{1,2}", "2", True), ("{1,2}", "12", False), ("{1,12}3", "123", True), ("{,a}b", "b", True),
        ("*{a,ab}*cb", "xabcb", True), ("{abc,b}*cb", "abcb", False), ("*{abc,b}*cb", "abcb", True),
        ("a!b", "a!b", True),
        ("[!1-3]*", "40", True), ("1{0,1,2}", "12", True),
    ],
)  # fmt: skip
def test_patterns_as_osc_means_them(pattern: str, name: str, fit: bool) -> None:
    assert fits(pattern, name) is fit


def test_patterns_are_those_of_a_second_opinion() -> None:
    draw = random.Random(5)
    for _ in range(3000):
        pattern = "".join(draw.choice(["a", "b", "*", "?", "[ab]", "[!a]", "{a,ba}", "{b,}"]) for _ in range(5))
        name = "".join(draw.choice("ab") for _ in range(draw.randrange(7)))
        plain = pattern.replace("[!", "[^").replace("{a,ba}", "(a|ba)").replace("{b,}", "(b|)")
        expected = re.fullmatch(plain.replace("*", ".*").replace("?", "."), name) is not None
        assert fits(pattern, name) is expected, (pattern, name)


def test_a_pattern_moves_all_that_it_stands_for(stage: Stage, osc: Osc) -> None:
    osc.send("/fugue/layer/*/forget", 0.5)
    assert sets_of(stage, 2) == [("/layer/1/forget", [0.5]), ("/layer/2/forget", [0.5])]
    osc.send("/fugue/unit/{1,2}/[1-3]/strength", 0.25)
    assert len(sets_of(stage, 8)) == 8
    osc.send("/*/[!a-r]eed", 7)
    assert sets_of(stage, 9)[-1] == ("/seed", [7])
    osc.send("/fugue/bank/1?/store")
    assert [path for path, _ in sets_of(stage, 16)[9:]] == [f"/bank/{n}/store" for n in range(10, 17)]


def test_a_pattern_without_a_value_asks_and_presses_nothing(stage: Stage, osc: Osc) -> None:
    osc.send("/fugue/layer/*/forget")
    assert [osc.next() for _ in range(2)] == [(f"/fugue/layer/{n}/forget", [0.0]) for n in (1, 2)]
    osc.send("/fugue/*")
    asked = {osc.next()[0] for _ in range(4)}
    assert {"/fugue/forget", "/fugue/freeze"} <= asked
    osc.send("/fugue/seed", 1)
    assert sets_of(stage, 1) == [("/seed", [1])]


@pytest.mark.parametrize(
    ("pattern", "args", "said"),
    [
        ("/fugue/layer/[12/forget", [1], "do not fit"),
        ("/fugue/layer/12]/forget", [1], "do not fit"),
        ("/fugue/{a,b", [1], "do not fit"),
        ("/fugue/x*", [1], "no address fits"),
        ("/fugue/*/*/*/*/*", [1], "no address fits"),
        ("/fugue/layer/*/forget", [7], "0 to 1"),
        ("/fugue/meter/*", [1], "only told"),
        ("/" + "*" * 300, [1], "at most 256 characters"),
    ],
)
def test_a_pattern_that_cannot_be_is_answered_once(
    stage: Stage, osc: Osc, pattern: str, args: list[Any], said: str
) -> None:
    osc.send(pattern, *args)
    address, told = osc.next()
    assert address == "/fugue/error"
    assert said in told[0]
    osc.send("/fugue/ping")
    assert osc.next() == ("/fugue/pong", [])


def test_a_pattern_stands_for_no_more_than_is_good() -> None:
    assert len(matching("/fugue/unit/*/*/strength", ((512, 256, 128, 64, 32),))) == 992
    with pytest.raises(InputError, match="1984 addresses: at most 1,024"):
        matching("/fugue/unit/*/*/*", ((512, 256, 128, 64, 32),))


class Clock:
    """A loop whose time is moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.work: Callable[[], None] | None = None
        self.after: float | None = None

    def call_soon(self, work: Callable[[], None]) -> Clock:
        return self.call_later(0.0, work)

    def call_later(self, after: float, work: Callable[[], None]) -> Clock:
        self.work, self.after = work, after
        return self

    def cancel(self) -> None:
        self.work = None

    def turn(self, now: float = 0.0) -> None:
        self.now = max(self.now, now)
        assert self.work is not None
        work, self.work = self.work, None
        work()


def agenda_at(clock: Clock) -> Agenda:
    return Agenda(cast("Any", clock), lambda: clock.now)


def test_only_so_much_is_done_in_a_turn_and_all_in_order() -> None:
    clock, done = Clock(), list[int]()
    agenda = agenda_at(clock)
    agenda.add(lambda: [partial(done.append, n) for n in range(200)], "one")
    agenda.add(lambda: done.append(200), "two")
    assert done == list(range(63))
    for so_many in (127, 191, 201):
        clock.turn()
        assert done == list(range(so_many))


def test_what_fails_ends_nothing_but_itself() -> None:
    clock, done = Clock(), list[int]()
    agenda = agenda_at(clock)

    def fail() -> None:
        raise ZeroDivisionError

    agenda.add(fail, "one", 1.0)
    agenda.add(lambda: done.append(1), "one", 1.0)
    with pytest.raises(ZeroDivisionError):
        clock.turn(1.0)
    clock.turn()
    assert done == [1]


def test_a_clock_that_is_put_back_holds_up_nothing() -> None:
    clock, done = Clock(), list[int]()
    agenda = agenda_at(clock)
    clock.now = 1000.0
    agenda.add(lambda: done.append(1), "one", 1005.0)
    clock.now = 10.0
    agenda.add(lambda: done.append(0), "one")
    assert done == [0]


def test_so_much_waits_and_no_more_and_nobody_waits_for_all() -> None:
    clock, done = Clock(), list[str]()
    agenda = agenda_at(clock)
    for _ in range(int(OSC_WAITING_EACH.most)):
        agenda.add(lambda: done.append("one"), "one", 5.0)
    with pytest.raises(RefusedError, match="of yours wait already"):
        agenda.add(lambda: None, "one", 5.0)
    agenda.add(lambda: done.append("two"), "two", 4.0)
    assert clock.after == 4.0
    with pytest.raises(RefusedError, match="at most 600 s"):
        agenda.add(lambda: None, "two", 601.0)
    clock.turn(4.0)
    assert done == ["two"]
    assert clock.after == 1.0
    agenda.close()


# Who is told of everything.


FAR, NEAR = ("192.0.2.7", 9000), ("127.0.0.1", 9000)


def leased(now: list[float], lease_s: float = 30.0) -> Leases:
    return Leases(lease_s, lambda: now[0])


def test_an_address_proves_that_it_receives_before_it_is_told() -> None:
    now = [1000.0]
    leases = leased(now)
    assert not leases.take(FAR, None)
    assert not leases.take(FAR, leases.challenge(FAR) ^ 1)
    assert not leases.take(FAR, leases.challenge((FAR[0], 9001)))
    assert FAR not in leases
    assert leases.take(FAR, leases.challenge(FAR))
    assert leases.targets() == [FAR]
    now[0] += 29.0
    assert leases.take(FAR, None)  # goes on
    now[0] += 31.0
    assert FAR not in leases
    assert leases.targets() == []


def test_a_proof_grows_old() -> None:
    now = [0.0]
    leases = leased(now)
    said = leases.challenge(FAR)
    now[0] = 100.0
    assert not leases.take(FAR, said)
    assert leases.take(FAR, leases.challenge(FAR))
    for _ in range(15):
        now[0] += 20.0
        assert leases.take(FAR, None)
    now[0] += 20.0
    assert not leases.take(FAR, None)


def test_numbers_cannot_be_guessed_quickly() -> None:
    leases = leased([0.0])
    for guess in range(20):
        leases.take(FAR, guess)
    with pytest.raises(RefusedError, match="answers are wrong"):
        leases.take(FAR, 21)


def test_on_this_machine_nobody_has_to_prove_anything() -> None:
    assert leased([0.0]).take(NEAR, None)


def test_subscriptions_are_limited_and_nobody_ends_those_of_others() -> None:
    leases = leased([0.0])
    for host in range(4):
        for port in range(20):
            target = (f"192.0.2.{host}", 9000 + port)
            if port < 8:
                assert leases.take(target, leases.challenge(target))
                assert leases.take(target, None)  # one address is told once, however often it asks
            else:
                with pytest.raises(RefusedError, match="of one machine: at most 8"):
                    leases.take(target, leases.challenge(target))
    assert len(leases.targets()) == 32
    with pytest.raises(RefusedError, match="at most 32"):
        leases.take(NEAR, None)
    assert len(leases.targets()) == 32


def test_many_senders_end_no_subscription(stage: Stage, osc: Osc) -> None:
    osc.send("/fugue/subscribe")
    osc.until("/fugue/layer/2/forget")
    for _ in range(100):
        with Osc(stage.config.osc_port, 0) as other:
            other.send("/fugue/seed", 5)
    assert osc.until("/fugue/seed") == [5]


def test_nothing_is_sent_to_the_servers_own_port(stage: Stage, osc: Osc) -> None:
    osc.send("/fugue/subscribe", stage.config.osc_port)
    assert "the server's own" in osc.until("/fugue/error")[0]


def test_a_stranger_is_challenged_first(stage: Stage, osc: Osc, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (leases_of, osc_of):
        monkeypatch.setattr(module, "is_local", lambda _: False)
    osc.send("/fugue/subscribe")
    address, [number] = osc.next()
    assert address == "/fugue/challenge"
    with stage.hand() as hand:
        hand.done("/seed", 3)
        osc.send("/fugue/ping")
        assert osc.next() == ("/fugue/pong", [])
        osc.send("/fugue/subscribe", osc.port, number)
        assert osc.until("/fugue/seed") == [3]
        hand.done("/seed", 4)
        assert osc.until("/fugue/seed") == [4]


def test_a_stranger_is_told_little_more_than_they_say(stage: Stage, osc: Osc, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (leases_of, osc_of):
        monkeypatch.setattr(module, "is_local", lambda _: False)
    sent = 0
    for path in ("/fugue/*", "/fugue/unit/*/*/strength", "/fugue/nothing", "/fugue/grid/1"):
        sent += osc.out.send(built(path).dgram)
    sent += osc.out.send(built("/fugue/seed", 11).dgram)
    wait_for(lambda: ("/seed", [11]) in stage.session.sets)
    osc.back.setblocking(False)
    told = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            told += len(osc.back.recv(65_536))
    assert 0 < told <= 3 * sent


# What OSCQuery asks.


def test_what_a_client_of_oscquery_asks_is_answered(stage: Stage) -> None:
    def get(path: str, **headers: str) -> httpx.Response:
        return httpx.get(f"{stage.http}{path}", headers=headers)

    host = get("/?HOST_INFO").json()
    assert host["OSC_PORT"] == stage.config.osc_port
    assert host["EXTENSIONS"]["VALUE"] is True
    assert get("/fugue/forget?VALUE").json() == {"VALUE": [0.0]}
    assert get("/fugue/forget?RANGE").json() == {"RANGE": [{"MIN": 0, "MAX": 1}]}
    assert get("/fugue/forget").json()["FULL_PATH"] == "/fugue/forget"
    assert get("/fugue/unit/1/3/strength?VALUE").json() == {"VALUE": [1.0]}
    assert get("/fugue/undo?VALUE").status_code == 204
    assert get("/fugue/layer/2?VALUE").status_code == get("/fugue/forget?CONTENTS").status_code == 204
    assert get("/fugue/forget?UNIT").status_code == 204  # an attribute of the proposal that is not told
    assert "'VALU'" in get("/fugue/forget?VALU").json()["error"]
    assert get("/fugue/forget?VALU").status_code == 400
    assert get("/fugue/forget?TYPE&VALUE").json() == {"TYPE": "f", "VALUE": [0.0]}
    assert get("/fugue/meter/peak?VALUE").json() == {}  # nothing is told yet
    assert get("/fugue/nothing").status_code == 404
    assert get("/fugue/layer/2").json()["CONTENTS"]["forget"]["TYPE"] == "f"
    assert get("/").json() == get("/osc").json()
    assert "fugue" in get("/", accept="application/json").json()["CONTENTS"]
    assert get("/", accept="text/html,*/*;q=0.8").headers["content-type"].startswith("text/html")


def described(stage: Stage, path: str) -> dict[str, Any]:
    """What OSCQuery says of an address."""
    told: dict[str, Any] = httpx.get(f"{stage.http}/fugue{path}").json()
    return told


def test_every_control_has_the_types_and_ranges_that_osc_takes(stage: Stage) -> None:
    tells = {
        "/freeze": ("i", [{"MIN": 0, "MAX": 1}]),
        "/key/60": ("f", [{"MIN": 0, "MAX": 1}]),
        "/note": ("ii", [{"MIN": 0, "MAX": 127}, {"MIN": 0, "MAX": 127}]),
        "/tempo": ("f", [{"MIN": 0.05, "MAX": 600.0}]),
        "/chord": ("s", [{"VALS": ["", "Am", "C", "G"]}]),
        "/keys/3/chord": ("s", [{"VALS": ["", "Am", "C", "G"]}]),
        "/memory": ("s", [{"VALS": ["fake", "small", "damaged"]}]),
        "/mark": ("s", None),
        "/recall": ("I", None),
        "/strengths/1": ("b", None),
        "/state/remembered": ("if", None),
        "/event/forgotten": ("ii", None),
    }
    for path, (kind, ends) in tells.items():
        told = described(stage, path)
        assert (told["TYPE"], told.get("RANGE")) == (kind, ends), path
    assert "draft" in described(stage, "/quality")["RANGE"][0]["VALS"]
    assert described(stage, "/layer/1/order")["RANGE"][0]["VALS"][:2] == ["", "random"]
    assert described(stage, "/loop")["OVERLOADS"] == [{"TYPE": "T"}, {"TYPE": "F"}]
    assert described(stage, "/strengths/1")["VALUE"] == [None]
    layer = described(stage, "/layer/2")
    assert (layer["ACCESS"], layer["DESCRIPTION"]) == (0, "Layer deconv2, 16 units.")
    assert set(described(stage, "/layer")["CONTENTS"]) == {"1", "2"}


def everything(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """An address of OSCQuery and all below it."""
    yield node
    for inner in node.get("CONTENTS", {}).values():
        yield from everything(inner)


def test_all_of_the_tree_is_as_the_proposal_says_and_says_the_same_one_by_one(stage: Stage) -> None:
    nodes = list(everything(httpx.get(f"{stage.http}/osc").json()))
    optional = httpx.get(f"{stage.http}/?HOST_INFO").json()["EXTENSIONS"]
    for node in nodes:
        assert set(node) <= {"FULL_PATH", "CONTENTS", "TYPE", *optional}
        assert ("TYPE" in node) == (node["ACCESS"] > 0)
        assert "VALUE" not in node or (node["ACCESS"] & 1 and len(node["VALUE"]) == len(node["TYPE"]))
        assert len(node.get("RANGE", node.get("TYPE", ""))) == len(node.get("TYPE", ""))
    leaves = [node for node in nodes if "CONTENTS" not in node]
    some = {node["TYPE"]: node for node in leaves if node["ACCESS"] != 1}
    for node in [*some.values(), *leaves[::40]]:
        assert httpx.get(f"{stage.http}{node['FULL_PATH']}").json() == node


def test_a_note_is_found_and_played_but_no_pattern_plays_it(stage: Stage, osc: Osc) -> None:
    with stage.hand() as hand:
        hand.done("/play", 1)
        hand.until("event", what="state", state="playing")
        osc.send("/fugue/n?te", 60, 100)
        assert "no address fits" in osc.until("/fugue/error")[0]
        osc.send("/fugue/note", 60, 127)
        wait_for(lambda: ("/key/60", [1.0]) in stage.session.sets)


def test_the_list_of_addresses_is_made_once_per_change(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    made = list[int]()
    real = query_of.Query._values

    def values(query: query_of.Query) -> dict[str, Any]:
        made.append(1)
        return real(query)

    monkeypatch.setattr(query_of.Query, "_values", values)
    first = httpx.get(f"{stage.http}/osc").content
    assert all(httpx.get(f"{stage.http}/osc").content == first for _ in range(5))
    assert len(made) == 1
    with stage.hand() as hand:
        hand.done("/unit/1/3/strength", 0.5)
    told = httpx.get(f"{stage.http}/osc").json()
    assert len(made) == 2
    unit = told["CONTENTS"]["fugue"]["CONTENTS"]["unit"]["CONTENTS"]["1"]["CONTENTS"]["3"]["CONTENTS"]
    assert unit["strength"]["VALUE"] == [0.5]
    assert unit["freeze"]["VALUE"] == [0]


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
