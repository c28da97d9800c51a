"""The connected clients, and the messages that all of them get."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from fugue_state.config import LiveConfig
from fugue_state.errors import counted
from fugue_state.limits import HELLO_AGAIN
from fugue_state.live.clients import Client, Listener, PageClient
from fugue_state.live.protocol import Hello, RefusedError, Set, read_control, write

Follow = Callable[[str, Mapping[str, Any]], None]


class People:
    """Admits clients, welcomes them, and sends messages to all.

    `overview` returns the content of a welcome, or None as long as nothing can be played. To get every message that
    goes to all, append `callback(kind, values)` to `followers`.
    """

    def __init__(self, config: LiveConfig, overview: Callable[[], Mapping[str, Any] | None]) -> None:
        self.name = secrets.token_hex(8)
        self.rev = 0
        self.clients: list[PageClient] = []
        self.listeners: list[Listener] = []
        self.followers: list[Follow] = []
        self.notes: list[str] = []  # for all who connect for the first time
        self._config, self._overview = config, overview
        self._patches: deque[tuple[int, str]] = deque(maxlen=config.patches)
        self._early: list[tuple[PageClient, Hello]] = []  # clients that said hello before anything could be played

    def join(self) -> PageClient:
        """Admit a client; RefusedError if there are too many."""
        if len(self.clients) >= self._config.clients:
            raise RefusedError("not_now", f"{counted(self._config.clients, 'client is', 'clients are')} here already")
        client = PageClient(self._config)
        self.clients.append(client)
        return client

    def leave(self, client: PageClient) -> None:
        """Remove a client that has left."""
        self.clients.remove(client)
        self._early = [early for early in self._early if early[0] is not client]

    def dismiss(self, why: str) -> None:
        """Disconnect all clients."""
        for client in self.clients:
            client.leave(why)

    def read(self, client: PageClient, text: str | bytes, follow: Callable[[Client, Set], None]) -> None:
        """Read a message of a page: welcome its sender or `follow` the request; answer why if that fails."""
        try:
            message = read_control(text, self._config.message_bytes)
            if isinstance(message, Hello):
                self._greet(client, message)
            elif not client.greeted:
                raise RefusedError("not_now", "say hello first", message.id)
            else:
                follow(client, message)
        except RefusedError as refused:
            if refused.code == "bad_message":
                client.bucket.take()
            client.answer("nack", id=refused.number, code=refused.code, message=refused.message)

    def let_through(self, client: Client, count: float = 1.0) -> None:
        """Count a message of a client as `count` messages; RefusedError if they send too fast."""
        if not client.bucket.take(count):
            limit = counted(self._config.messages_per_s, "message")
            raise RefusedError("too_fast", f"more than {limit} in a second")

    def _greet(self, client: PageClient, hello: Hello) -> None:
        self.let_through(client, HELLO_AGAIN.most if client.greeted else 1.0)
        client.greeted, client.view = True, hello.view
        client.name = hello.name if hello.name.isprintable() and hello.name.strip() else client.name
        overview = self._overview()
        if overview is None:
            client.answer("notice", level="info", text="the memory is loading")
            self._early.append((client, hello))
        else:
            self._welcome(client, overview, hello)

    def greet_early(self) -> None:
        """Welcome the clients that came before anything could be played."""
        early, self._early = self._early, []
        for client, hello in early:
            self._welcome(client, self._overview() or {}, hello)

    def begin_anew(self) -> None:
        """Welcome all clients again, because something else plays now."""
        self._patches.clear()
        for client in self.clients:
            if client.greeted:
                self._welcome(client, self._overview() or {}, None)

    def _welcome(self, client: PageClient, overview: Mapping[str, Any], hello: Hello | None) -> None:
        """Send a client the welcome, and the patches it missed."""
        known = self._resumed(hello)
        told = {"session": self.name, "rev": self.rev, **overview, "view": client.view, "resumed": known is not None}
        client.answer("welcome", **told)
        for line in self.notes if hello is not None and known is None else ():
            client.answer("notice", level="info", text=line)
        for rev, text in self._patches:
            if known is not None and rev > known:
                client.say(text)

    def _resumed(self, hello: Hello | None) -> int | None:
        """Return the last revision a client knows, if all later patches are still kept."""
        if hello is None or hello.session != self.name or hello.rev is None:
            return None
        oldest = self._patches[0][0] if self._patches else self.rev + 1
        return hello.rev if oldest - 1 <= hello.rev <= self.rev else None

    def acknowledge(self, client: Client, number: int, at: int) -> None:
        """Tell a client that its message took effect at a sample."""
        client.answer("ack", id=number, rev=self.rev, at_sample=at)

    def patch(self, at: int, by: str, changes: Mapping[str, Any]) -> None:
        """Tell all clients what changed, and keep it for those who reconnect."""
        self.rev += 1
        values = {"rev": self.rev, "at_sample": at, "by": by, "changes": changes}
        self._patches.append((self.rev, write("patch", **values)))
        self.tell("patch", **values)

    def tell(self, kind: str, **values: Any) -> None:
        """Tell all clients something that none may miss."""
        self._spread(kind, values, PageClient.say)

    def show(self, kind: str, **values: Any) -> None:
        """Tell all clients something that the next of its kind replaces."""
        self._spread(kind, values, lambda client, text: client.show(kind, text))

    def _spread(self, kind: str, values: Mapping[str, Any], give: Callable[[PageClient, str], None]) -> None:
        text = write(kind, **values)
        for client in self.clients:
            if client.greeted:
                give(client, text)
        for follow in self.followers:
            follow(kind, values)

    def inform(self, text: str) -> None:
        """Send all clients a line of information."""
        self.tell("notice", level="info", text=text)

    def warn(self, text: str) -> None:
        """Send all clients a warning."""
        self.tell("notice", level="warning", text=text)
