"""The session: connects all parts of a live performance with each other and the clock, on the server's loop."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fugue_state.config import LiveConfig
from fugue_state.errors import why
from fugue_state.live.acts import Acts
from fugue_state.live.audio import BlockClock
from fugue_state.live.clients import Client, PageClient
from fugue_state.live.desk import Desk
from fugue_state.live.held import Held
from fugue_state.live.part import OF_WHOLE, Part
from fugue_state.live.people import People
from fugue_state.live.pictures import Pictures
from fugue_state.live.programme import House, Programme
from fugue_state.live.protocol import RefusedError, Set, tree
from fugue_state.live.report import Report
from fugue_state.live.tapes import Tapes
from fugue_state.live.wish import PLAY, Wish
from fugue_state.live.wishes import Wishes
from fugue_state.live.work import Work
from fugue_state.score.model import Score
from fugue_state.score.paths import KEY, find, written

if TYPE_CHECKING:
    from fugue_state.engine.performance import Performance  # takes long to import

VOLUME = "/volume"
GOODBYE_S = 1.0  # seconds for telling all clients that the server ends


class Session:
    """The state that all performers and watchers share.

    `people` are the clients, `wishes` their requests, the `desk` keeps banks, `tapes` record takes and `pictures` are
    what pages draw. These know nothing of each other; they call functions they are given. The `programme` chooses what
    plays, `acts` does what needs several of them, `work` runs slow tasks. The clock reports from its own thread;
    everything else happens on the loop.
    """

    def __init__(self, config: LiveConfig, house: House) -> None:
        self.config, self.house = config, house
        self.people = People(config, self._overview)
        tell = self.people.tell
        self.work = Work(self.people.warn)
        self.wishes = Wishes(config.waiting, self._now, self._send, self._act, self._admit, self.people.acknowledge)
        self.desk = Desk(tell, self.wishes.ask)
        self.held = Held()
        self.tapes = Tapes(config, tell, self._now, self._on_clock, self.work.on_loop)
        self.pictures = Pictures(config, tell, self.people.show, self._stats)
        self.programme = Programme(config, house, self.work, self._begin, self.wishes.ask)
        self.acts = Acts(self.people, self.desk, self.tapes, self.programme, self._render)
        self._state = ""  # as told last

    async def open(self, score: Score) -> None:
        """Load the memory of a score and wait for someone to play; InputError if it cannot be played."""
        self.work.open()
        memory = await asyncio.to_thread(self.house.load, score.memory)
        performance = await asyncio.to_thread(self.house.perform, score, memory)
        self._set_volume(score, performance)
        hear, warn = self.work.on_loop(self._heard), self.work.on_loop(self.people.warn)
        player = BlockClock(performance, self.config, hear, warn)
        self.programme.open(Part.of(memory, performance, self.config), player)
        player.start()
        self.people.greet_early()

    def _set_volume(self, score: Score, performance: Performance) -> None:
        """Set the volume to start with, as a change that every take keeps; takes and scores that set it keep theirs."""
        sets_own = score.played_s is not None or any(change.path == VOLUME for change in score.changes)
        if not sets_own and performance.values[VOLUME] != self.config.volume:
            performance.change(VOLUME, self.config.volume)

    async def recover(self) -> None:
        """Complete the takes that a killed server left behind."""
        await self.tapes.recover(self.people.notes.extend)

    async def close(self) -> None:
        """End: complete the take, tell all clients."""
        if self.tapes.recorder is not None:
            self.tapes.stop(at_once=True)
        if self.ready:
            self.player.stop()
            await asyncio.to_thread(self.player.join)
        await self.tapes.close()
        self.work.close()
        await asyncio.sleep(0)  # so that pending calls can still run
        self.people.dismiss("the server ends")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_S):
                while self.people.clients:
                    await asyncio.sleep(GOODBYE_S / 50)

    @property
    def ready(self) -> bool:
        """Whether there is a performance."""
        return self.programme.is_open

    @property
    def part(self) -> Part:
        """The part that plays."""
        return self.programme.part

    @property
    def player(self) -> BlockClock:
        """The clock that plays it."""
        return self.programme.player

    @property
    def state(self) -> str:
        """The state in one word, as pages show it."""
        if not self.ready:
            return "loading"
        if self.programme.parked is not None:
            return "replaying"
        if not self.player.running or not self.part.values.get(PLAY, 1):
            return "armed"
        return "frozen" if self.part.values.get("/freeze") else "playing"

    def _now(self) -> int | None:
        """Return the first sample of the next block; None while nothing can be played."""
        return self.player.at if self.ready else None

    @property
    def values(self) -> dict[str, Any]:
        """The current value of every control; `/play` is 0 until it is first asked for."""
        told = {path: written(value) for path, value in self.part.values.items()}
        return told | {PLAY: int(self.state not in {"armed", "loading"})}

    def value(self, path: str) -> Any:
        """Return the current value of a control, bytes as base64; None if it has none or does not exist."""
        if not self.ready or find(path)[0].kind == "trigger":
            return None
        values = self.values
        return values[path] if path in values else self.part.value(path)

    def _overview(self) -> Mapping[str, Any] | None:
        """Return the content of a welcome; None while nothing can be played."""
        if not self.ready:
            return None
        part, performance = self.part, self.part.performance
        buffer = round(self.config.buffer_ms / 1000.0 * performance.rate)
        return {
            "tree": tree(),
            "values": self.values,
            "memory": part.about_memory(),
            "parts": part.about_parts(),
            "memories": list(self.house.memories),
            "grid": part.grid(),
            "state": self.state,
            **self.tapes.overview(),
            "banks": sorted(self.desk.banks),
            "armed": self.desk.armed,
            "rate": performance.rate,
            "block": performance.block,
            "latency_samples": buffer + performance.latency,
        }

    # Requests of clients.

    def read(self, client: PageClient, text: str | bytes) -> None:
        """Act on a message of a page, or answer why not."""
        self.people.read(client, text, self._follow)

    def _follow(self, client: Client, message: Set) -> None:
        try:
            self.set(client, message.path, message.args, message.id, message.by)
        except RefusedError as refused:
            refused.number = message.id
            raise

    def set(self, client: Client, path: str, args: Sequence[Any], number: int, by: str | None = None) -> None:
        """Move a control for a client, who gets an answer; RefusedError if it cannot be moved."""
        self.people.let_through(client)
        self.wishes.take(client, path, args, number, by)
        if find(path)[0].each and args:
            self.held.note(client, path, args[0])
            if args[0] and (line := self.held.octave(path, self.part.keyed.labels)):
                self.people.inform(line)

    def leave(self, client: PageClient) -> None:
        """Let go of what a client held who has left."""
        self.people.leave(client)
        self.wishes.ask(self.held.leave(client), client.name)

    def _admit(self, wish: Wish) -> bool:
        """Return whether a control may be moved now. If the memory must be measured first, it is moved later."""
        self.programme.check_playable()
        if find(wish.path)[0].pattern == KEY and wish.value and not self.player.running:
            raise RefusedError("not_now", "nothing plays yet; press Play first")
        if self.part.performance.needs(wish.path, wish.value):
            self.work.keep(self._measured(wish))
            return False
        for path in self.part.moved(wish.path):
            self.desk.let_go(path)
        return True

    async def _measured(self, wish: Wish) -> None:
        """Measure the memory while it plays, then do the wish that needs it."""
        part = self.part
        self.people.inform(f"the memory's units are measured for the order {wish.value!r}")
        try:
            await self.work.load(part.performance.measure)
            if part is not self.part:
                raise RefusedError("not_now", "something else plays by now")
            self.wishes.do(wish)
        except RefusedError as refused:
            wish.refuse(refused.code, refused.message)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client waits for an answer
            wish.refuse("not_now", why(error))

    def _render(self, name: str) -> None:
        self.tapes.render(name, self.house.render, self.work.keep)

    def _send(self, wish: Wish) -> None:
        self.player.ask(wish)

    def _act(self, wish: Wish) -> None:
        self.acts.do(wish)

    def _on_clock(self, job: Callable[[BlockClock], None]) -> None:
        """Run a job on the clock between two blocks."""
        player = self.player
        player.do(lambda: job(player))

    def _begin(self, keeps_banks: bool) -> None:
        """Show all clients another part; what they know of the previous one no longer holds."""
        if not keeps_banks:
            self.desk.clear()
        self.desk.halt()
        self.held.clear()
        self.pictures.begin_anew()
        self.people.begin_anew()

    # Reports of the clock.

    def _heard(self, report: Report) -> None:
        self.wishes.note(report.asked)
        if report.samples is not None:
            for listener in self.people.listeners:
                listener.push(report.at, report.samples, report.performance.rate)
            self.pictures.hear(report.samples)
        if report.performance is self.part.performance:
            self._changed(report)
            if report.sounding is not None:
                self.pictures.see(report.sounding, report.at, report.performance.rate, self.part.layers())
        self.wishes.answer(report.asked, report.at)
        self.wishes.go_on()
        if report.samples is not None:
            self.desk.step(report.at + len(report.samples))
            self.programme.end_replay(report.at)
        if self.state != self._state:
            self._state = self.state
            self.people.tell("event", what="state", at_sample=report.at, state=self._state)

    def _changed(self, report: Report) -> None:
        """Tell all clients what a block changed, and who asked for it."""
        self.part.note(report)
        followed = self.part.follow(report)
        done = [wish for wish, wrong in report.asked if not wrong]
        groups = [(by, list(wishes)) for by, wishes in itertools.groupby(done, key=lambda wish: wish.by)]
        for by, wishes in groups or ([("score", [])] if followed else []):
            changes = {wish.path: written(wish.value) for wish in wishes if not wish.path.startswith(OF_WHOLE)}
            self.people.patch(report.at, by, changes | followed)
            followed = {}

    def _stats(self) -> dict[str, Any]:
        """Return statistics of the engine and the clients."""
        player, begun = self.player, self.tapes.begun_at
        recorded_s = (player.at - (player.at if begun is None else begun)) / self.part.performance.rate
        return {
            **player.stats,
            "left_out": sum(listener.left_out for listener in self.people.listeners),
            "buffer_ms": self.config.buffer_ms,
            "clients": len(self.people.clients),
            "quality": self.part.values["/quality"],
            "recording_s": recorded_s if self.tapes.recorder else None,
        }
