"""Who is let in, by which names, and what is printed for those who come."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.responses import PlainTextResponse

from fugue_state.cli.playing import _drawn
from fugue_state.config import LiveConfig
from fugue_state.errors import InputError
from fugue_state.live import server
from fugue_state.live.guard import Guard, Origin, address, is_local
from fugue_state.live.programme import House
from fugue_state.score.model import Score

from .live_stage import HOUSE

TOKEN = "secret-token"  # noqa: S105 - of these tests


async def here(scope: Any, receive: Any, send: Any) -> None:
    await PlainTextResponse("here")(scope, receive, send)


def got(app: Any, path: str, headers: dict[str, str], cookies: httpx.Cookies | None = None) -> httpx.Response:
    """The answer to a request that names its host in its headers; `cookies` are taken along and kept."""

    async def get() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
            if cookies is not None:
                client.cookies = cookies
            answer = await client.get(path, headers=headers)
            if cookies is not None:
                cookies.update(client.cookies)
            return answer

    return asyncio.run(get())


def asked(
    headers: dict[str, str], host: str = "127.0.0.1", token: str | None = None, origins: tuple[str, ...] = (),
    path: str = "/health",
) -> int:  # fmt: skip
    door = Guard(here, host, token, [Origin.named(text) for text in origins])
    return got(door, f"{path}?token={token}" if token else path, headers).status_code


@pytest.mark.parametrize(
    "host",
    [
        "localhost:8000", "LOCALHOST:8000", "LocalHost", "localhost.", "localhost.:8000", "127.0.0.1", "127.0.0.1:9000",
        "[::1]", "[::1]:8000", "[0:0:0:0:0:0:0:1]:8000",
    ],
)  # fmt: skip
def test_this_machines_own_names_in_any_spelling(host: str) -> None:
    assert asked({"host": host}) == 200
    assert asked({"host": host, "origin": f"http://{host}"}) == 200
    assert asked({"host": host, "origin": f"http://{host.upper()}"}) == 200


@pytest.mark.parametrize(
    "host",
    [
        "JOHNS-MacBook-Pro.local:8000", "johns-macbook-pro.local.", "Johns-MacBook-Pro", "johns-macbook-pro.fritz.box",
        "192.168.1.7:8000", "[fe80::1]:8000", "[2001:DB8::7]", "localhost",
    ],
)  # fmt: skip
@pytest.mark.parametrize("own", ["Johns-MacBook-Pro.local", "JOHNS-MACBOOK-PRO", "johns-macbook-pro.lan"])
def test_a_machine_on_a_network_by_all_its_names(monkeypatch: pytest.MonkeyPatch, host: str, own: str) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: own)
    assert asked({"host": host}, "0.0.0.0", TOKEN) == 200  # noqa: S104 - only named
    assert asked({"host": host, "origin": f"http://{host.lower()}"}, "0.0.0.0", TOKEN) == 200  # noqa: S104
    assert asked({"host": host}) == (200 if host == "localhost" else 403)  # opened to nobody


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "",
        "[::1",
        "a b",
        "x@localhost",
        "192.168.1.9",
    ],
)  # fmt: skip
def test_a_name_of_others_is_refused(host: str) -> None:
    assert asked({"host": host}) == 403


def test_default_ports_are_the_same_as_none() -> None:
    assert asked({"host": "localhost", "origin": "http://localhost:80"}) == 200
    assert asked({"host": "localhost:80", "origin": "http://localhost"}) == 200
    assert asked({"host": "localhost:8000", "origin": "http://localhost"}) == 403
    assert asked({"host": "localhost:8000", "origin": "http://127.0.0.1:8000"}) == 403


@pytest.mark.parametrize(
    "origin", ["null", "", "file://", "http://", "https://localhost:8000", "http://localhost:x", "http://[::1"]
)
def test_an_origin_that_is_not_ours_is_refused(origin: str) -> None:
    assert asked({"host": "localhost:8000", "origin": origin}) == 403


def test_a_proxy_that_is_named_leads_here() -> None:
    stage = ("https://Stage.example.", "https://[2001:db8::1]:8443")
    for host in ("stage.example", "STAGE.example:443", "127.0.0.1:8000", "[2001:db8::1]:8443"):
        for origin in ("https://stage.example", "https://stage.example:443", "https://[2001:db8:0::1]:8443"):
            assert asked({"host": host, "origin": origin}, token=TOKEN, origins=stage) == 200
        assert asked({"host": host}, token=TOKEN, origins=stage) == 200
        assert asked({"host": host, "origin": "http://stage.example:1"}, token=TOKEN, origins=stage) == 403
    assert asked({"host": "stage.example", "origin": "https://stage.example"}) == 403


@pytest.mark.parametrize("text", ["stage.example", "ftp://a", "https://a/b", "https://", "https://a b", "https://a:x"])
def test_an_origin_that_names_nothing_is_one_line(text: str) -> None:
    with pytest.raises(InputError, match="--origin is a page's address"):
        Origin.named(text)


def test_another_page_may_link_here_and_ask_for_nothing() -> None:
    def by(site: str, mode: str, dest: str, path: str = "/osc") -> int:
        fetched = {"sec-fetch-site": site, "sec-fetch-mode": mode, "sec-fetch-dest": dest}
        return asked({"host": "localhost:8000", **fetched}, path=path)

    for site in ("cross-site", "same-site"):
        assert by(site, "no-cors", "image") == 403
        assert by(site, "no-cors", "script", "/") == 403
        assert by(site, "navigate", "iframe", "/") == 403
        assert by(site, "navigate", "document") == 403
        assert by(site, "navigate", "document", "/") == 200
    assert by("same-origin", "cors", "empty") == 200
    assert by("none", "navigate", "document") == 200


def test_each_server_knows_its_own_cookie() -> None:
    doors = {token: Guard(here, "0.0.0.0", token) for token in ("one", "two")}  # noqa: S104 - only named
    cookies = httpx.Cookies()  # of one machine, whatever the port
    for token, door in doors.items():
        assert got(door, f"/?token={token}", {}, cookies).status_code == 200
    assert [got(door, "/health", {}, cookies).status_code for door in doors.values()] == [200, 200]
    assert got(doors["one"], "/health", {}).status_code == 403


def test_addresses_that_are_this_machines_alone() -> None:
    local = ["localhost", "LOCALHOST.", "127.0.0.9", "::1", "[::1]", "0:0:0:0:0:0:0:1", "::ffff:127.0.0.1"]
    assert all(map(is_local, local))
    assert not any(map(is_local, ["10.0.0.2", "stage", "0.0.0.0", "::", "localhost.example", "::2"]))  # noqa: S104


def test_the_address_is_the_machines_on_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    class Probe(socket.socket):
        def connect(self, _: Any) -> None:
            pass

        def getsockname(self) -> tuple[str, int]:
            return ("2001:db8::5" if self.family == socket.AF_INET6 else "192.168.7.5"), 1

    monkeypatch.setattr(socket, "socket", Probe)
    assert address("0.0.0.0", 8000, "abc") == "http://192.168.7.5:8000/?token=abc"  # noqa: S104
    assert address("::", 8000, "abc") == "http://[2001:db8::5]:8000/?token=abc"
    assert address("Stage.local", 80, "abc") == "http://stage.local/?token=abc"
    assert address("127.0.0.1", 8000, "abc", Origin.named("https://x.example")) == "https://x.example/?token=abc"


def test_without_a_network_the_address_is_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "gethostname", lambda: "DESKTOP-ABC")
    assert address("0.0.0.0", 8000, "abc") == "http://desktop-abc:8000/?token=abc"  # noqa: S104


@pytest.mark.parametrize("host", ["a" * 64, "x" * 253, "no such host"])
def test_a_host_that_is_none_is_one_line(host: str) -> None:
    with pytest.raises(InputError, match="cannot be used"):
        server.bound(host, 0)


def test_an_address_in_brackets_can_be_listened_at() -> None:
    with server.bound("[::1]", 0) as listening:
        assert listening.getsockname()[0] == "::1"


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., list[str]]:
    """What `play` tells of its addresses; nothing is served."""
    monkeypatch.setattr(server.Server, "run", lambda *_, **__: None)
    house: House = HOUSE

    def play(**settings: Any) -> list[str]:
        heard: list[str] = []
        config = LiveConfig.model_validate({"port": 0, "osc": False, "takes": str(tmp_path), **settings})
        server.play(Score(memory="fake"), config, house, heard.extend)
        return heard

    return play


def test_who_comes_from_elsewhere_needs_a_token(told: Callable[..., list[str]]) -> None:
    assert "token" not in told()[0]
    assert "token" not in told(origins=["http://localhost:3000"])[0]
    by_proxy, direct = told(origins=["https://stage.example"])
    assert by_proxy.startswith("https://stage.example/?token=")
    assert direct.startswith("http://127.0.0.1:")
    assert by_proxy.partition("?")[2] == direct.partition("?")[2]


def test_a_qr_code_is_drawn_where_it_can_be() -> None:
    lines = _drawn("http://192.168.1.23:8000/?token=abcdefghijklmnop", "utf-8").splitlines()
    assert len({len(line) for line in lines}) == 1
    assert set("".join(lines)) == set(" ▀▄█")
    assert "cannot show a QR code" in _drawn("http://192.168.1.23:8000/", "ascii")
