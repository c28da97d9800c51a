"""Who is here, and what all are told; without a server, a loop or a clock."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from fugue_state.config import LiveConfig
from fugue_state.live.clients import Client, PageClient
from fugue_state.live.people import People
from fugue_state.live.protocol import RefusedError, Set


def heard(client: PageClient) -> list[dict[str, Any]]:
    """All that someone was told and has not read yet."""
    told: list[dict[str, Any]] = []
    while client._waiting or client._newest:
        with pytest.raises(StopIteration) as said:
            client.next().send(None)
        told.append(json.loads(said.value.value))
    return told


class Hall:
    """People who are told how all is once it is open."""

    def __init__(self, **settings: Any) -> None:
        self.overview: dict[str, Any] | None = {"state": "armed"}
        self.people = People(LiveConfig(**settings), lambda: self.overview)
        self.followed: list[Set] = []

    def say(self, client: PageClient, kind: str, **values: Any) -> list[dict[str, Any]]:
        self.people.read(client, json.dumps({"type": kind, **values}), self._follow)
        return heard(client)

    def _follow(self, _: Client, message: Set) -> None:
        self.followed.append(message)

    def come(self, **hello: Any) -> tuple[PageClient, dict[str, Any]]:
        client = self.people.join()
        [welcome] = self.say(client, "hello", **hello)
        return client, welcome


def test_a_newcomer_is_welcomed_and_may_ask_then() -> None:
    hall = Hall()
    client = hall.people.join()
    assert hall.say(client, "set", path="/forget", args=[1], id=7)[0]["message"] == "say hello first"
    [welcome] = hall.say(client, "hello", name="one")
    assert welcome == {
        "type": "welcome", "session": hall.people.name, "rev": 0, "state": "armed", "view": False, "resumed": False,
    }  # fmt: skip
    assert client.name == "one"
    assert hall.say(client, "set", path="/forget", args=[1], id=8) == []
    assert [message.id for message in hall.followed] == [8]


def test_those_who_come_too_early_are_welcomed_later() -> None:
    hall = Hall()
    overview, hall.overview = hall.overview, None
    early, gone = hall.people.join(), hall.people.join()
    for client in (early, gone):
        assert [told["type"] for told in hall.say(client, "hello")] == ["notice"]
    hall.people.leave(gone)
    hall.overview = overview
    hall.people.greet_early()
    assert [told["type"] for told in heard(early)] == ["welcome"]
    assert heard(gone) == []


def test_who_comes_back_is_told_the_patches_they_missed() -> None:
    hall = Hall(patches=2)
    for i in range(4):
        hall.people.patch(i, "one", {"/forget": i})
    name = hall.people.name
    for rev, missed in ((4, []), (3, [4]), (2, [3, 4]), (1, None), (5, None)):
        welcome, *patches = hall.say(hall.people.join(), "hello", session=name, rev=rev)
        assert welcome["resumed"] == (missed is not None)
        assert [patch["rev"] for patch in patches] == (missed or [])
    assert hall.come(session="another", rev=4)[1]["resumed"] is False


def test_notes_are_for_those_who_come_for_the_first_time() -> None:
    hall = Hall()
    hall.people.notes.append("take-001 was completed")
    client = hall.people.join()
    assert [told["type"] for told in hall.say(client, "hello")] == ["welcome", "notice"]
    again = hall.say(client, "hello", session=hall.people.name, rev=0)
    assert [told["type"] for told in again] == ["welcome"]


def test_all_who_said_hello_and_all_followers_are_told() -> None:
    hall = Hall()
    told: list[tuple[str, Mapping[str, Any]]] = []
    hall.people.followers.append(lambda kind, values: told.append((kind, values)))
    here, _ = hall.come()
    silent = hall.people.join()
    hall.people.warn("the disk is full")
    hall.people.show("meter", lufs=-23.0)
    hall.people.show("meter", lufs=-20.0)
    assert told == [
        ("notice", {"level": "warning", "text": "the disk is full"}), ("meter", {"lufs": -23.0}),
        ("meter", {"lufs": -20.0}),
    ]  # fmt: skip
    assert [(said["type"], said.get("lufs")) for said in heard(here)] == [("notice", None), ("meter", -20.0)]
    assert heard(silent) == []


def test_when_something_else_plays_nothing_can_be_missed_any_more() -> None:
    hall = Hall()
    here, _ = hall.come()
    hall.people.patch(0, "one", {"/forget": 1.0})
    hall.people.patch(0, "one", {"/forget": 0.0})
    heard(here)
    hall.people.begin_anew()
    [again] = heard(here)
    assert (again["type"], again["rev"], again["resumed"]) == ("welcome", 2, False)
    assert hall.come(session=hall.people.name, rev=1)[1]["resumed"] is False


def test_too_many_and_too_fast_are_refused() -> None:
    hall = Hall(clients=1, messages_per_s=1, messages_at_once=2)
    client, _ = hall.come()
    with pytest.raises(RefusedError, match="1 client is here already"):
        hall.people.join()
    hall.people.let_through(client)
    with pytest.raises(RefusedError, match="more than 1 message in a second"):
        hall.people.let_through(client)
    hall.people.dismiss("the server ends")
    assert [told["type"] for told in heard(client)] == ["bye"]
