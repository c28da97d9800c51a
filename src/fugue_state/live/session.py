"""The session: what has been set, by whom, and all that follows from it; lives on the loop of the server."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import secrets
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from fugue_state.bending.strengths import Strengths
from fugue_state.config import LiveConfig
from fugue_state.errors import FugueError, InputError, counted, unknown, why
from fugue_state.limits import HELLO_AGAIN
from fugue_state.live.aside import Aside, aside, be_patient
from fugue_state.live.audio import Ask, BlockClock, Performs, Report, Units
from fugue_state.live.board import Bank, History, Morph, gesture_key
from fugue_state.live.clients import Client, Listener, PageClient
from fugue_state.live.protocol import (
    Hello,
    RefusedError,
    Set,
    brightness,
    bytes_of,
    column,
    read_control,
    tree,
    write,
)
from fugue_state.live.takes import FINER, Recorder, listed, recover, render_finer, unfinished
from fugue_state.score.model import Score
from fugue_state.score.paths import Value, check, find, pressed, written
from fugue_state.score.text import load_score

QUIETEST, QUIETEST_LUFS = 1e-6, -70.0  # that meters show
PLAY = "/play"
# What is told of units, by the paths of layers and of single ones.
OF_LAYERS = {"/grid/<n>": "brushed", "/strengths/<n>": "strengths", "/frozen/<n>": "frozen"}
OF_WHOLE = ("/grid", "/hold")  # controls that are told of by these
OF_UNITS = OF_LAYERS | {"/unit/<n>/<k>/strength": "brushed", "/unit/<n>/<k>/freeze": "frozen"}
# What depends on how everything is, and so on what was asked for before.
ORDERED = {"/bank/<b>/store", "/bank/<b>/arm", "/bank/<b>/fire", "/undo", "/redo"}
Made = TypeVar("Made")
GOODBYE_S = 1.0  # in which everyone should have heard that the server ends


@dataclass(frozen=True)
class House:
    """What can be played: memories by name, how one is loaded and performed, and how takes are rendered, aside."""

    memories: tuple[str, ...]
    load: Callable[[str], Any]
    perform: Callable[[Score, Any], Performs]
    render: Callable[..., None] = render_finer


@dataclass(frozen=True)
class Wish:
    """What someone asks for, checked but not yet done."""

    client: Client
    path: str
    value: Value
    number: int
    by: str


@dataclass
class Part:
    """What belongs to one performance: what is set in it, and how it is undone."""

    memory: Any
    performance: Performs
    origin: int
    history: History
    values: dict[str, Any]
    units: Units

    def bank(self) -> Bank:
        """Return the strengths as they are."""
        return Bank.of(self.values, self.units.brushed, self.memory.layers)


class Session:
    """What several performers and watchers share.

    All but the player's reports happens on the loop. Whoever wants to hear of everything that all are told joins
    `followers`, with a function of its kind and its values.
    """

    def __init__(self, config: LiveConfig, house: House) -> None:
        self.config, self.house = config, house
        self.takes = Path(config.takes)
        self.name = secrets.token_hex(8)
        self.rev = 0
        self.followers: list[Callable[[str, Mapping[str, Any]], None]] = []
        self.clients: list[PageClient] = []
        self.listeners: list[Listener] = []
        self.banks: dict[int, Bank] = {}
        self.armed: int | None = None
        self.recorder: Recorder | None = None
        self._start_of_take: int | None = None
        self._ab: tuple[int, Bank] | None = None  # what was armed last, and what was then
        self._morph: tuple[Morph, int, int, str, str] | None = None
        self._patches: deque[tuple[int, str]] = deque(maxlen=config.patches)
        self._gestures = itertools.count()
        self._early: list[tuple[PageClient, Hello]] = []
        self._parked: Part | None = None
        self._replay_end: int | None = None
        self._asked = self._answered = 0
        self._later: deque[Wish] = deque()
        self._led: deque[tuple[int, Wish]] = deque()  # to the number of what was asked for last
        self._loading = ""  # what is
        self._notes: list[str] = []
        self._state = ""
        self._sent: dict[str, int] = {}
        self._gone: npt.NDArray[np.bool_] | None = None
        self._peak = 0.0
        self._finishing: set[Recorder] = set()
        self._rendering: tuple[str, Aside[None], asyncio.Task[None]] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._loader = ThreadPoolExecutor(1, initializer=be_patient)

    async def open(self, score: Score) -> None:
        """Load the memory of a score and wait, armed, for the first who plays; InputError if it cannot be."""
        self._loop = asyncio.get_running_loop()
        memory = await asyncio.to_thread(self.house.load, score.memory)
        performance = await asyncio.to_thread(self.house.perform, score, memory)
        self.part = self._part(memory, performance)
        self.player = BlockClock(
            performance, self.config, self._from_thread(self._heard), self._from_thread(self._warn)
        )
        self.player.start()
        for client, hello in self._early:
            self._welcome(client, hello)
        self._early.clear()

    async def recover(self) -> None:
        """Complete the takes that a killed server left, those that are there now."""
        if not (left := unfinished(self.takes)):
            return
        try:
            done, wrong = await asyncio.to_thread(aside, recover, left)
        except FugueError as error:
            done, wrong = [], [f"what a killed server left could not be completed ({error})"]
        self._notes += [*(f"{name} was completed: the server had been killed" for name in done), *wrong]
        if not self.ready:
            return
        for line in self._notes:
            self.tell("notice", level="info", text=line)
        for name in done:
            self._tell_take("completed", name)

    async def _loaded(self, work: Callable[..., Any], *given: Any) -> Any:
        """Do what takes its time, less urgent than what plays."""
        return await self._loop.run_in_executor(self._loader, work, *given)

    def _part(self, memory: Any, performance: Performs) -> Part:
        """Return what begins with a performance; on the clock's thread if it plays."""
        history = History(self.config.gestures, round(self.config.gesture_s * performance.rate))
        values = dict(performance.values)
        return Part(memory, performance, performance.origin, history, values, Units.of(performance))

    def _from_thread(self, hear: Callable[[Any], None]) -> Callable[[Any], None]:
        def tell(told: Any) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody is there any more
                self._loop.call_soon_threadsafe(hear, told)

        return tell

    async def close(self) -> None:
        """End: the take is completed, everyone is told."""
        if self.recorder is not None:
            self._stop_recording(at_once=True)
        if self.ready:
            self.player.stop()
            await asyncio.to_thread(self.player.join)
        for recorder in list(self._finishing):
            await asyncio.to_thread(recorder.join)
        if self._rendering is not None:
            _, work, task = self._rendering
            work.end()
            await task
        self._loader.shutdown(wait=False, cancel_futures=True)
        await asyncio.sleep(0)  # for what they still have to tell
        for client in self.clients:
            client.leave("the server ends")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_S):
                while self.clients:
                    await asyncio.sleep(GOODBYE_S / 50)

    @property
    def ready(self) -> bool:
        """Whether there is a performance."""
        return hasattr(self, "player")

    @property
    def state(self) -> str:
        """What is going on, in one word."""
        if not self.ready:
            return "loading"
        if self._parked is not None:
            return "replaying"
        if not self.player.running or not self.part.values.get(PLAY, 1):
            return "armed"
        return "frozen" if self.part.values.get("/freeze") else "playing"

    # Those who come and go.

    def join(self) -> PageClient:
        """Let someone in; RefusedError if there are too many."""
        if len(self.clients) >= self.config.clients:
            raise RefusedError("not_now", f"{counted(self.config.clients, 'client is', 'clients are')} here already")
        client = PageClient(self.config)
        self.clients.append(client)
        return client

    def leave(self, client: PageClient) -> None:
        """Forget someone who has gone."""
        self.clients.remove(client)
        self._early = [early for early in self._early if early[0] is not client]

    def read(self, client: PageClient, text: str | bytes) -> None:
        """Follow a message of a page, or say why not."""
        try:
            message = read_control(text, self.config.message_bytes)
            if isinstance(message, Hello):
                self._greet(client, message)
            elif not client.greeted:
                raise RefusedError("not_now", "say hello first", message.id)
            else:
                self._follow(client, message)
        except RefusedError as refused:
            if refused.code == "bad_message":
                client.bucket.take()
            client.answer("nack", id=refused.number, code=refused.code, message=refused.message)

    def _greet(self, client: PageClient, hello: Hello) -> None:
        self._let_through(client, HELLO_AGAIN.most if client.greeted else 1.0)
        client.greeted, client.view = True, hello.view
        client.name = hello.name if hello.name.isprintable() and hello.name.strip() else client.name
        if self.ready:
            self._welcome(client, hello)
        else:
            client.answer("notice", level="info", text="the memory is loading")
            self._early.append((client, hello))

    def _welcome(self, client: PageClient, hello: Hello | None) -> None:
        """Tell someone all there is, and what they have missed."""
        known = hello.rev if hello is not None and hello.session == self.name and hello.rev is not None else None
        oldest = self._patches[0][0] if self._patches else self.rev + 1
        resumed = known is not None and oldest - 1 <= known <= self.rev
        client.answer("welcome", **self._everything(), view=client.view, resumed=resumed)
        for line in self._notes if hello is not None and not resumed else ():
            client.answer("notice", level="info", text=line)
        for rev, text in self._patches:
            if resumed and known is not None and rev > known:
                client.say(text)

    def _everything(self) -> dict[str, Any]:
        part, memory = self.part, self.part.memory
        return {
            "session": self.name,
            "rev": self.rev,
            "tree": tree(),
            "values": self.values,
            "memory": {
                "name": memory.header.name,
                "layers": [list(layer) for layer in memory.layers.items()],
                "chords": list(memory.labels),
                "units": memory.units,
            },
            "memories": list(self.house.memories),
            "grid": {name: bytes_of(getattr(part.units, name)) for name in ("strengths", "brushed", "frozen")},
            "state": self.state,
            "recording": self.recorder is not None,
            "takes": listed(self.takes),
            "rendering": None if self._rendering is None else self._rendering[0],
            "banks": sorted(self.banks),
            "armed": self.armed,
            "rate": part.performance.rate,
            "block": part.performance.block,
            "latency_samples": round(self.config.buffer_ms / 1000.0 * part.performance.rate) + part.performance.latency,
        }

    @property
    def values(self) -> dict[str, Any]:
        """The present value of every control; nothing plays before the first `/play`."""
        told = {path: written(value) for path, value in self.part.values.items()}
        return told | {PLAY: int(self.state not in {"armed", "loading"})}

    def value(self, path: str) -> Any:
        """Return the present value of a control, bytes in base64; None where it has none or does not exist."""
        known, numbers = find(path)
        if not self.ready or known.kind == "trigger":
            return None
        if path in self.values or known.pattern not in OF_UNITS:
            return self.values.get(path)
        units = [*self._layers()][numbers[0] - 1 : numbers[0]] if numbers[0] else []
        if not units:
            return None
        inside = getattr(self.part.units, OF_UNITS[known.pattern])[units[0]]
        if known.kind == "bytes":
            return bytes_of(inside)
        return inside[numbers[-1] - 1].item() if 1 <= numbers[-1] <= len(inside) else None

    def _follow(self, client: Client, message: Set) -> None:
        try:
            self.set(client, message.path, message.args, message.id, message.by)
        except RefusedError as refused:
            refused.number = message.id
            raise

    def set(self, client: Client, path: str, args: Sequence[Any], number: int, by: str | None = None) -> None:
        """Move a control for someone, who gets the answer; RefusedError if it cannot be."""
        self._let_through(client)
        try:
            find(path)
        except InputError as error:
            raise RefusedError("unknown_path", str(error)[:200]) from None
        if client.view:
            raise RefusedError("view_only", "watchers cannot set anything")
        try:
            acts, value = pressed(path, args), check(path, args)
        except InputError as error:
            raise RefusedError("bad_value", str(error)) from None
        if not self.ready:
            raise RefusedError("not_now", "the memory is loading")
        if not acts:
            self._acknowledge(client, number, self.player.at)
            return
        if len(self._later) >= self.config.waiting:
            raise RefusedError("too_fast", "too much waits to be done")
        wish = Wish(client, path, value, number, by or client.name)
        if self._later or self._must_wait(wish):
            self._later.append(wish)
        else:
            self._do(wish)

    def _let_through(self, client: Client, count: float = 1.0) -> None:
        if not client.bucket.take(count):
            raise RefusedError("too_fast", f"more than {counted(self.config.messages_per_s, 'message')} in a second")

    def _must_wait(self, wish: Wish) -> bool:
        """Say whether something depends on what was asked for before and is not done yet."""
        return self._asked != self._answered and find(wish.path)[0].pattern in ORDERED

    def _do(self, wish: Wish) -> None:
        known, numbers = find(wish.path)
        if not known.recorded:
            asked = self._asked
            self._act(known.pattern, numbers[0] if numbers else 0, wish.value, wish.by)
            if self._asked > asked:
                self._led.append((self._asked, wish))
            else:
                self._acknowledge(wish.client, wish.number, self.player.at)
            return
        self._playable()
        if self.part.performance.needs(wish.path, wish.value):
            self._keep(self._carefully(self._measured(wish)))
            return
        if self._morph is not None:
            self._morph[0].leave(wish.path)
        gesture = gesture_key(str(wish.client.number), wish.path)
        self._ask(wish.path, wish.value, wish.by, gesture, (wish.client, wish.number))

    def _ask(self, path: str, value: Value, by: str, gesture: str, *waiting: tuple[Client, int]) -> None:
        self._asked += 1
        self.player.ask(Ask(path, value, by, gesture, self._asked, list(waiting)))

    def _do_later(self) -> None:
        """Do what had to wait, in its order."""
        while self._later and not self._must_wait(self._later[0]):
            wish = self._later.popleft()
            try:
                self._do(wish)
            except RefusedError as refused:
                wish.client.answer("nack", id=wish.number, code=refused.code, message=refused.message)

    async def _measured(self, wish: Wish) -> None:
        """Measure the memory beside what plays, and then do what needs it."""
        part = self.part
        self.tell("notice", level="info", text=f"the memory's units are measured for the order {wish.value!r}")
        try:
            await self._loaded(part.performance.measure)
            if part is not self.part:
                raise RefusedError("not_now", "something else plays by now")
            self._do(wish)
        except RefusedError as refused:
            wish.client.answer("nack", id=wish.number, code=refused.code, message=refused.message)
        except Exception as error:  # noqa: BLE001 - whatever it is, they wait for an answer
            wish.client.answer("nack", id=wish.number, code="not_now", message=why(error))

    # What is no control of the sound, but leads to some.

    def _act(self, pattern: str, number: int, value: Value, by: str) -> None:
        # A ping is answered like everything, and pages need no subscription: both do nothing.
        acts: dict[str, Callable[[], None]] = {
            "/bank/<b>/store": lambda: self._store(number, by),
            "/bank/<b>/arm": lambda: self._arm(number, by),
            "/bank/<b>/fire": lambda: self._fire(number, _number(value), by),
            "/ab": lambda: self._between(_number(value)),
            "/undo": lambda: self._undo("undo"),
            "/redo": lambda: self._undo("redo"),
            "/mark": lambda: self._mark(str(value), by),
            "/rec/start": self._start_recording,
            "/rec/stop": self._stop_recording,
            "/memory": lambda: self._change_memory(str(value)),
            "/replay": lambda: self._replay_or_return(str(value)),
            "/render": lambda: self._render(str(value)),
        }
        if pattern in acts:
            acts[pattern]()

    def _store(self, number: int, by: str) -> None:
        if self._parked is not None and self._parked.memory.layers != self.part.memory.layers:
            raise RefusedError("not_now", "the take that replays is of a memory with other layers")
        self.banks[number] = self.part.bank()
        self._tell_bank(number, "stored", by)

    def _arm(self, number: int, by: str) -> None:
        self._playable()
        self._bank(number)
        self.armed, self._ab = number, (number, self.part.bank())
        self._tell_bank(number, "armed", by)

    def _bank(self, number: int) -> Bank:
        if number not in self.banks:
            raise RefusedError("not_now", f"bank {number} is empty; store it first")
        return self.banks[number]

    def _tell_bank(self, number: int, did: str, by: str) -> None:
        self.tell("event", what="bank", at_sample=self.player.at, bank=number, did=did, by=by)

    def _fire(self, number: int, seconds: float, by: str) -> None:
        self._playable()
        bank, rate = self._bank(number), self.part.performance.rate
        length = round(seconds * rate) if self.player.running else 0
        key = f"bank {next(self._gestures)}"
        self._morph = (Morph(self.part.bank(), bank), self.player.at, length, f"bank {number}", key)
        self._step(self.player.at)
        self.armed = None if number == self.armed else self.armed
        self._tell_bank(number, "fired", by)

    def _between(self, share: float) -> None:
        self._playable()
        if self._ab is None:
            raise RefusedError("not_now", "no bank is armed to go to")
        number, start = self._ab
        self._play(Morph(start, self._bank(number)).at(share), "a/b", f"a/b {number}")

    def _playable(self) -> None:
        if self._parked is not None:
            raise RefusedError("not_now", "a take is replaying; end it first")

    def _step(self, at: int) -> None:
        """Go a step of the way to a bank."""
        if self._morph is None:
            return
        morph, start, length, by, key = self._morph
        share = min(1.0, max(0.0, (at - start) / length)) if length else 1.0
        self._play(morph.at(share), by, key)
        if share >= 1.0:
            self._morph = None

    def _play(self, moves: Sequence[tuple[str, Value]], by: str, gesture: str = "") -> None:
        for path, value in moves:
            self._ask(path, value, by, gesture)

    def _undo(self, what: str) -> None:
        self._playable()
        self._morph = None
        history = self.part.history
        moves = history.undo() if what == "undo" else history.redo()
        if moves is None:
            raise RefusedError("not_now", f"there is nothing to {what}")
        self._play(moves, what)

    def _mark(self, text: str, by: str) -> None:
        recorder, player = self.recorder, self.player
        if recorder is not None:
            player.do(lambda: recorder.mark(player.performance.position, text))
        self.tell("event", what="mark", at_sample=player.at, text=text, by=by)

    # Takes.

    def _start_recording(self) -> None:
        self._playable()
        if self.recorder is not None:
            raise RefusedError("not_now", "a take is being recorded already")
        if self._loading:
            raise RefusedError("not_now", f"{self._loading} is loading; record when it plays")
        from fugue_state.output.provenance import provenance

        player = self.player
        made_by = {k: v for k, v in provenance(Score(), self.part.memory).items() if k != "score"}
        recorder = Recorder(
            self.takes,
            made_by,
            self.config,
            self._from_thread(self._warn),
            self._from_thread(self._began),
            self._from_thread(lambda complete: self._taken(recorder, complete)),
        )
        self.recorder, self._start_of_take = recorder, None
        self._finishing.add(recorder)
        recorder.start()
        player.do(lambda: player.record(recorder))
        self._tell_take("armed", "")

    def _began(self, name: str) -> None:
        """Say that a take is recorded: its beginning is on the disk."""
        self._start_of_take = self.player.at
        self._tell_take("recording", name)

    def _stop_recording(self, *, at_once: bool = False) -> None:
        if self.recorder is None:
            raise RefusedError("not_now", "no take is being recorded")
        recorder, self.recorder, player = self.recorder, None, self.player
        player.do(lambda: player.end_take(recorder, at_once=at_once))

    def _taken(self, recorder: Recorder, finished: bool) -> None:
        self._finishing.discard(recorder)
        if self.recorder is recorder:  # it ended by itself
            self._stop_recording(at_once=True)
        self._tell_take("kept" if finished else "failed", recorder.take)

    def _tell_take(self, did: str, name: str, **more: Any) -> None:
        told = {"did": did, "take": name, "takes": listed(self.takes), "recording": self.recorder is not None}
        self.tell("event", what="take", at_sample=self.player.at, **told, **more)

    def _render(self, name: str) -> None:
        takes = listed(self.takes)
        _check_known("take", name, takes)
        if self._rendering is not None:
            raise RefusedError("not_now", f"{self._rendering[0]} is being rendered; one at a time")
        if FINER in takes[name]:
            raise RefusedError("not_now", f"{name}.{FINER} is there already")
        hear = self._from_thread(lambda share: self._tell_take("rendering", name, share=share))
        work = Aside(self.house.render, self.takes / f"{name}.toml", hear=hear)
        self._rendering = name, work, self._keep(self._carefully(self._rendered(name, work)))

    async def _rendered(self, name: str, work: Aside[None]) -> None:
        did = "not rendered"
        try:
            await asyncio.to_thread(work.result)
            did = "rendered"
        except FugueError as error:
            self._warn(f"{name} could not be rendered ({error})")
        finally:
            self._rendering = None
            self._tell_take(did, name)

    def _named(self, what: str, name: str, known: Collection[str]) -> str:
        """Return a name that is known, if something can be loaded now."""
        _check_known(what, name, known)
        if self._loading:
            raise RefusedError("not_now", f"{self._loading} is loading")
        return name

    def _change_memory(self, name: str) -> None:
        self._playable()
        self._start(f"memory {self._named('memory', name, self.house.memories)}", self._swap(name))

    def _replay_or_return(self, name: str) -> None:
        if name:
            self._playable()
            if self.recorder is not None:
                raise RefusedError("not_now", "a take is being recorded; end it first")
            self._start(self._named("take", name, listed(self.takes)), self._replay(name))
        elif self._parked is None:
            raise RefusedError("not_now", "no take is replaying")
        else:
            self._return()

    def _start(self, what: str, work: Coroutine[Any, Any, None]) -> None:
        self._loading = what

        async def load() -> None:
            try:
                await work
            finally:
                self._loading = ""

        self._keep(self._carefully(load()))

    def _keep(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Let something go on until it is done."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _carefully(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something that may fail, whatever it is: nobody else reads a task's errors; what plays plays on."""
        try:
            await work
        except Exception as error:  # noqa: BLE001 - see above
            self._warn(f"{why(error)}; what plays plays on")

    async def _swap(self, name: str) -> None:
        performance = self.part.performance
        memory = await self._loaded(self.house.load, name)
        prepared = await self._loaded(performance.prepare, memory, name)
        if self.recorder is not None:
            self._stop_recording(at_once=True)
            self._warn("the take ends here: it belongs to one memory")

        def swap() -> Part:
            performance.swap(prepared)
            return self._part(memory, performance)

        await self._on_clock(swap, self._swapped)
        self.tell("notice", level="info", text=f"memory {name} plays")

    def _swapped(self, part: Part) -> None:
        if part.memory.layers != self.part.memory.layers:
            self.banks.clear()
            self.armed = self._ab = None
        self._begin(part)

    async def _replay(self, name: str) -> None:
        take = await self._loaded(aside, load_score, self.takes / f"{name}.toml")
        if take.memory not in self.house.memories:
            raise unknown("memory", take.memory, self.house.memories)
        if take.file.sample_rate_hz != self.part.performance.rate:
            raise InputError(f"{name} has {take.file.sample_rate_hz} Hz, {self.part.performance.rate} Hz are played")
        memory = await self._loaded(self.house.load, take.memory)
        performance = await self._loaded(self.house.perform, take, memory)

        def change() -> tuple[Part, int]:
            part = self._part(memory, performance)
            self.player.change_to(performance)
            return part, self.player.at + take.samples

        def changed(now: tuple[Part, int]) -> None:
            self._parked = self.part
            part, self._replay_end = now
            self._begin(part)
            self._play([(PLAY, 1)], name)

        await self._on_clock(change, changed)

    def _return(self) -> None:
        """Go on where a replay began."""
        part, self._parked, self._replay_end = self._parked, None, None
        if part is None:
            return
        self.player.do(lambda: self.player.change_to(part.performance))
        self._begin(part)

    def _begin(self, part: Part) -> None:
        """Let everyone see another performance; what was told of the one before means nothing any more."""
        self.part = part
        self._patches.clear()
        self._morph = self._gone = None
        for client in self.clients:
            if client.greeted:
                self._welcome(client, None)

    async def _on_clock(self, job: Callable[[], Made], then: Callable[[Made], None]) -> None:
        """Do something between two blocks, and then something here, before the block after it is heard of.

        Errors of the job are raised here.
        """
        done = self._loop.create_future()

        def finish(made: Made) -> None:
            try:
                then(made)
            finally:
                done.set_result(None)

        tell = self._from_thread(finish)
        self.player.do(lambda: tell(job()), self._from_thread(done.set_exception))
        await done

    # What the clock brings.

    def _heard(self, report: Report) -> None:
        self._answered = max([self._answered, *(ask.number for ask, _ in report.asked)])
        if report.samples is not None:
            for listener in self.listeners:
                listener.push(report.at, report.samples, report.performance.rate)
            self._peak = max(self._peak, float(np.abs(report.samples).max()))
        if report.performance is self.part.performance:
            self._changed(report)
            self._show(report)
        self._answer(report)
        self._do_later()
        if report.samples is not None:
            self._step(report.at + len(report.samples))
            if self._replay_end is not None and report.at >= self._replay_end:
                self._return()
        if self.state != self._state:
            self._state = self.state
            self.tell("event", what="state", at_sample=report.at, state=self._state)

    def _changed(self, report: Report) -> None:
        """Note what was done, and tell everyone."""
        part = self.part
        done = [ask for ask, wrong in report.asked if not wrong]
        for ask in done:
            if ask.gesture and ask.origin == part.origin:
                part.history.add(ask.gesture, report.at, (ask.path, ask.value), ask.back)
        followed = self._followed(report)
        groups = [(by, list(asked)) for by, asked in itertools.groupby(done, key=lambda ask: ask.by)]
        for by, asked in groups or ([("score", [])] if followed else []):
            changes = {ask.path: written(ask.value) for ask in asked if not ask.path.startswith(OF_WHOLE)}
            self._patch(report.at, by, changes | followed)
            followed = {}

    def _answer(self, report: Report) -> None:
        """Tell those who asked what became of it."""
        for ask, wrong in report.asked:
            for client, number in ask.waiting:
                if wrong:
                    client.answer("nack", id=number, code="bad_value", message=wrong)
                else:
                    self._acknowledge(client, number, report.at)
        while self._led and self._led[0][0] <= self._answered:
            wish = self._led.popleft()[1]
            self._acknowledge(wish.client, wish.number, report.at)

    def _acknowledge(self, client: Client, number: int, at: int) -> None:
        client.answer("ack", id=number, rev=self.rev, at_sample=at)

    def _followed(self, report: Report) -> dict[str, Any]:
        """Take over what a block has led to, and return what is new."""
        part = self.part
        new = {path: written(value) for path, value in report.values.items() if part.values.get(path) != value}
        part.values = dict(report.values)
        if report.units is None or len(report.units.strengths) != part.memory.units:  # another memory just set in
            return new
        before, part.units = part.units, report.units
        for path, name in OF_LAYERS.items():
            old, now = getattr(before, name), getattr(part.units, name)
            for n, units in enumerate(self._layers(), 1):
                if not np.array_equal(old[units], now[units]):
                    new[path.replace("<n>", str(n))] = bytes_of(now[units])
        return new

    def _layers(self) -> Iterator[slice]:
        start = 0
        for size in self.part.memory.layers.values():
            yield slice(start, start + size)
            start += size

    def _patch(self, at: int, by: str, changes: dict[str, Any]) -> None:
        self.rev += 1
        values = {"rev": self.rev, "at_sample": at, "by": by, "changes": changes}
        self._patches.append((self.rev, write("patch", **values)))
        self.tell("patch", **values)

    def _show(self, report: Report) -> None:
        """Tell what sounds: frames, meters and statistics as often as they are due, and units that come and go."""
        sounding, at = report.sounding, report.at
        if sounding is None:
            return
        self._tell_lost(at, sounding.strengths)
        if self._due("frame", at, self.config.frames_per_s):
            self.show(
                "frame",
                at_sample=at,
                strengths=bytes_of(sounding.strengths),
                activations=brightness(sounding.activations),
                mel=column(sounding.mel),
                chord=sounding.chord,
            )
        if self._due("meter", at, self.config.meters_per_s):
            remembered = [round(float(sounding.strengths[units].mean()), 4) for units in self._layers()]
            peak_db = round(20.0 * math.log10(max(self._peak, QUIETEST)), 2)
            lufs = round(max(sounding.lufs, QUIETEST_LUFS), 2)
            self.show("meter", at_sample=at, peak_db=peak_db, lufs=lufs, remembered=remembered)
            self._peak = 0.0
        if self._due("stats", at, 1.0):
            self.show("stats", **self.stats)

    def _tell_lost(self, at: int, strengths: Strengths) -> None:
        """Tell which units are gone since the last block, and which are back."""
        gone, before = strengths <= 0.0, self._gone
        self._gone = gone
        if before is None or len(before) != len(gone) or np.array_equal(before, gone):
            return
        for n, units in enumerate(self._layers(), 1):
            for what, which in (("forgotten", gone & ~before), ("recalled", before & ~gone)):
                if which[units].any():
                    self.tell(
                        "event", what=what, at_sample=at, layer=n, units=(np.flatnonzero(which[units]) + 1).tolist()
                    )

    def _due(self, what: str, at: int, per_s: float) -> bool:
        """Say whether something that comes so often is due."""
        number = int(at * per_s / self.part.performance.rate)
        if number == self._sent.get(what):
            return False
        self._sent[what] = number
        return True

    @property
    def stats(self) -> dict[str, Any]:
        """How the engine keeps up."""
        player = self.player
        begun = player.at if self._start_of_take is None else self._start_of_take
        recording_s = (player.at - begun) / self.part.performance.rate if self.recorder else None
        return {
            "load": round(player.health.load, 3),
            "underruns": player.health.underruns,
            "rested": player.health.rested,
            "superseded": player.health.superseded,
            "left_out": sum(listener.left_out for listener in self.listeners),
            "buffer_ms": self.config.buffer_ms,
            "clients": len(self.clients),
            "quality": self.part.values["/quality"],
            "recording_s": recording_s,
        }

    def _warn(self, text: str) -> None:
        self.tell("notice", level="warning", text=text)

    def tell(self, kind: str, **values: Any) -> None:
        """Tell everyone something that must not be missed."""
        text = write(kind, **values)
        for client in self.clients:
            if client.greeted:
                client.say(text)
        for follow in self.followers:
            follow(kind, values)

    def show(self, kind: str, **values: Any) -> None:
        """Tell everyone something that what comes later replaces."""
        text = write(kind, **values)
        for client in self.clients:
            if client.greeted:
                client.show(kind, text)
        for follow in self.followers:
            follow(kind, values)


def _check_known(what: str, name: str, known: Collection[str]) -> None:
    """Refuse a name that is not on a list: nothing else that a client says may lead to a file."""
    if name not in known:
        raise RefusedError("bad_value", str(unknown(what, name, known)))


def _number(value: Value) -> float:
    """Return a checked value that is a number."""
    return float(value) if isinstance(value, int | float) else 0.0
