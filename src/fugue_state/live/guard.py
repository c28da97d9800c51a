"""Access: which host names are this server's, which pages may connect, and who knows the token."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import ipaddress
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from fugue_state.errors import InputError, shown

COOKIE = "fugue-"
LOCAL = ("localhost", "127.0.0.1", "::1")
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - only compared
PORTS = {"http": 80, "https": 443}
NO_NETWORK = "192.0.2.1", "2001:db8::1"  # addresses of documentation: nothing is sent to them
HEADERS = (
    (b"content-security-policy", b"default-src 'self'; img-src 'self' data:; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-cache"),
)
CLOSED = 1008  # for a socket that breaks the rules
NAME = re.compile(r"[^\s/?#@\\%]+")


def plain_name(name: str) -> str:
    """Return a host's name in the form used for comparing: lower case, no brackets, no final dot, short address."""
    bare = name.strip().removeprefix("[").removesuffix("]").removesuffix(".").lower()
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        return bare


def is_address(name: str) -> bool:
    """Return whether a plain name is a numeric address."""
    with contextlib.suppress(ValueError):
        return bool(ipaddress.ip_address(name))
    return False


def is_local(host: str) -> bool:
    """Return whether an address can be reached only from this machine."""
    name = plain_name(host)
    if name in LOCAL:
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


@dataclass(frozen=True)
class Origin:
    """The origin of a page, as browsers send it: https://stage.example:8443."""

    scheme: str
    name: str
    port: int

    @classmethod
    def read(cls, text: str) -> Self:
        """Read an origin from a text; ValueError if it is none."""
        parts = urlsplit(text)
        if parts.scheme not in PORTS or not NAME.fullmatch(parts.netloc) or parts.path.strip("/") or parts.query:
            raise ValueError(text)
        return cls(parts.scheme, plain_name(parts.hostname or ""), parts.port or PORTS[parts.scheme])

    @classmethod
    def named(cls, text: str) -> Self:
        """Read an origin given by the user; InputError if it is none."""
        try:
            found = cls.read(text)
        except ValueError:
            found = cls("http", "", 0)
        if not found.name:
            raise InputError(f"--origin is a page's address like https://stage.example, not {shown(text)}")
        return found

    def __str__(self) -> str:
        name = f"[{self.name}]" if ":" in self.name else self.name
        return f"{self.scheme}://{name}" + ("" if self.port == PORTS[self.scheme] else f":{self.port}")


def own_name() -> str:
    """Return the name of this machine, without its domain."""
    return plain_name(socket.gethostname()).partition(".")[0]


def own_address(host: str) -> str:
    """Return the address at which others reach a server that listens at `host`."""
    name = plain_name(host)
    if name not in EVERYWHERE:
        return name
    kinds = (socket.AF_INET6, socket.AF_INET) if ":" in name else (socket.AF_INET,)
    for kind in kinds:
        with contextlib.suppress(OSError), socket.socket(kind, socket.SOCK_DGRAM) as probe:
            probe.connect((NO_NETWORK[kind == socket.AF_INET6], 9))
            found = plain_name(str(probe.getsockname()[0]))
            if not is_local(found):
                return found
    return plain_name(socket.gethostname())


def address(host: str, port: int, token: str | None, origin: Origin | None = None) -> str:
    """Return the address of the page, with the token if there is one; with an origin, that of the proxy."""
    where = origin or Origin("http", own_address(host), port)
    return f"{where}/" + (f"?token={token}" if token else "")


class Guard:
    """Admits requests from this server's own pages or from no page at all, with the token if there is one.

    The Host must be a name of this server, so a foreign name that points here is refused. With a token, which a foreign
    page cannot know, any numeric address is accepted, and this machine's name in any domain. The Origin, which browsers
    add and pages cannot change, must be the same host, or one that the user has named.
    """

    def __init__(self, app: ASGIApp, host: str, token: str | None, origins: Iterable[Origin] = ()) -> None:
        self._app, self._token, self._origins = app, token, frozenset(origins)
        self._names = {*LOCAL, plain_name(host), *(origin.name for origin in self._origins)}
        self._short = own_name() if token else None
        self._cookie = COOKIE + hashlib.sha256((token or "").encode()).hexdigest()[:8]  # ports share cookies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on requests that are admitted."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        wrong = self._wrong(scope, headers)
        if wrong and scope["type"] == "websocket":
            await WebSocket(scope, receive, send).close(CLOSED, wrong)
        elif wrong:
            await PlainTextResponse(f"{wrong}\n", 403)(scope, receive, self._adding(send, ()))
        else:
            await self._app(scope, receive, self._adding(send, self._cookies(scope)))

    def _wrong(self, scope: Scope, headers: Headers) -> str:
        host = headers.get("host", "")
        if not self._is_ours(host):
            return "this name is not one of this server's; behind a proxy, name its address with --origin"
        if not self._is_our_page(scope, headers, host):
            return "another page may not reach this server; behind a proxy, name its address with --origin"
        if self._token is not None and not any(
            hmac.compare_digest(t, self._token) for t in self._tokens(scope, headers)
        ):
            return "the token is missing; use the address that was printed at the start"
        return ""

    def _is_ours(self, host: str) -> bool:
        try:
            name = Origin.read(f"http://{host}").name
        except ValueError:
            return False
        if name in self._names:
            return True
        return self._token is not None and (is_address(name) or name.partition(".")[0] == self._short)

    def _is_our_page(self, scope: Scope, headers: Headers, host: str) -> bool:
        said = headers.get("origin")
        if said is None:
            return _is_asked_by_us(scope, headers)
        try:
            origin = Origin.read(said)
            return origin in self._origins or origin == Origin.read(f"http://{host}")
        except ValueError:
            return False

    def _tokens(self, scope: Scope, headers: Headers) -> list[str]:
        """Return the token of a request, from its address or its cookie."""
        said = parse_qs(scope["query_string"].decode("latin-1")).get("token", [])
        with contextlib.suppress(CookieError):
            cookie = SimpleCookie(headers.get("cookie", "")).get(self._cookie)
            said += [cookie.value] if cookie else []
        return [token for token in said if token.isascii()]

    def _cookies(self, scope: Scope) -> tuple[tuple[bytes, bytes], ...]:
        """Set a cookie with the token, for the page's further requests."""
        if self._token is None or scope["type"] != "http" or scope["path"] != "/":
            return ()
        return ((b"set-cookie", f"{self._cookie}={self._token}; HttpOnly; SameSite=Strict; Path=/".encode()),)

    @staticmethod
    def _adding(send: Send, more: tuple[tuple[bytes, bytes], ...]) -> Send:
        async def adding(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *HEADERS, *more]
            await send(message)

        return adding


def _is_asked_by_us(scope: Scope, headers: Headers) -> bool:
    """Return whether a request without an Origin may pass: another page may link here but load nothing."""
    if headers.get("sec-fetch-site", "none") in {"none", "same-origin"}:
        return True
    follows = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    return follows and scope["type"] == "http" and scope["path"] == "/"
