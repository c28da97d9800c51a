"""The programme: which memory plays, and which take is replayed in its place."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from fugue_state.config import LiveConfig
from fugue_state.errors import InputError, unknown
from fugue_state.live.aside import aside
from fugue_state.live.audio import BlockClock
from fugue_state.live.part import Part
from fugue_state.live.protocol import RefusedError
from fugue_state.live.takes import listed, render_finer
from fugue_state.live.tapes import check_known
from fugue_state.live.wish import PLAY, Move
from fugue_state.live.work import Work
from fugue_state.score.model import Score
from fugue_state.score.text import load_score

if TYPE_CHECKING:
    from fugue_state.engine.performance import Performance  # takes long to import

Made = TypeVar("Made")


@dataclass(frozen=True)
class House:
    """What can be played: the names of memories, and functions that load and perform them and render takes."""

    memories: tuple[str, ...]
    load: Callable[[str], Any]
    perform: Callable[[Score, Any], Performance]
    render: Callable[..., None] = render_finer


class Programme:
    """Swaps memories and replays takes: loads them while playing goes on, then changes between two blocks.

    At each change `begin(keeps_banks)` is called on the loop; it says whether the banks still fit. A take starts
    through `ask(moves, by)`, in its own name.
    """

    def __init__(
        self,
        config: LiveConfig,
        house: House,
        work: Work,
        begin: Callable[[bool], None],
        ask: Callable[[Sequence[Move], str], None],
    ) -> None:
        self.loading = ""  # name of the memory or take being loaded
        self.parked: Part | None = None  # the part to return to after a replay
        self._config, self._house, self._work = config, house, work
        self._begin, self._ask = begin, ask
        self._replay_end: int | None = None

    def open(self, part: Part, player: BlockClock) -> None:
        """Start with a part and the clock that plays it."""
        self.part, self.player = part, player

    @property
    def is_open(self) -> bool:
        """Whether something can be played."""
        return hasattr(self, "player")

    def check_playable(self) -> None:
        """Raise RefusedError while a take replays."""
        if self.parked is not None:
            raise RefusedError("not_now", "a take is replaying; end it first")

    def change_memory(self, name: str, ready: Callable[[], None], done: Callable[[], None]) -> None:
        """Swap the memory; `ready` is called when the new one is loaded, `done` once it plays."""
        self._check_loadable("memory", name, self._house.memories)
        self._start(f"memory {name}", self._swap(name, ready, done))

    def replay(self, name: str, takes: Path) -> None:
        """Replay a take, and park what plays."""
        self._check_loadable("take", name, listed(takes))
        self._start(name, self._replay(name, takes))

    def _check_loadable(self, what: str, name: str, known: Collection[str]) -> None:
        check_known(what, name, known)
        if self.loading:
            raise RefusedError("not_now", f"{self.loading} is loading")

    def _start(self, what: str, work: Coroutine[Any, Any, None]) -> None:
        self.loading = what

        async def load() -> None:
            try:
                await work
            finally:
                self.loading = ""

        self._work.keep(load())

    async def _swap(self, name: str, ready: Callable[[], None], done: Callable[[], None]) -> None:
        performance = self.part.performance
        memory = await self._work.load(self._house.load, name)
        prepared = await self._work.load(performance.prepare, memory, name)
        ready()

        def swap() -> Part:
            performance.swap(prepared)
            return Part.of(memory, performance, self._config)

        def swapped(part: Part) -> None:
            self._change_to(part, keeps_banks=part.named == self.part.named)

        await self._on_clock(swap, swapped)
        done()

    async def _replay(self, name: str, takes: Path) -> None:
        take = await self._work.load(aside, load_score, takes / f"{name}.toml")
        rate, playing = take.file.sample_rate_hz, self.part.performance.rate
        for wanted, _, _ in take.memories():
            if wanted not in self._house.memories:
                raise unknown("memory", wanted, self._house.memories)
        if rate != playing:
            raise InputError(f"{name} has {rate} Hz, {playing} Hz are played")
        memory = await self._work.load(self._house.load, take.memory)
        performance = await self._work.load(self._house.perform, take, memory)

        def change() -> tuple[Part, int]:
            part = Part.of(memory, performance, self._config)
            self.player.change_to(performance)
            return part, self.player.at + take.samples

        def changed(now: tuple[Part, int]) -> None:
            self.parked = self.part
            part, self._replay_end = now
            self._change_to(part)
            self._ask([(PLAY, 1)], name)

        await self._on_clock(change, changed)

    def go_back(self) -> None:
        """End the replay and return to what played before; RefusedError if there is none."""
        part, self.parked, self._replay_end = self.parked, None, None
        if part is None:
            raise RefusedError("not_now", "no take is replaying")
        performance = part.performance
        self.player.do(lambda: self.player.change_to(performance))
        self._change_to(part)

    def end_replay(self, at: int) -> None:
        """End the replay if sample `at` is past the end of the take."""
        if self._replay_end is not None and at >= self._replay_end:
            self.go_back()

    def _change_to(self, part: Part, *, keeps_banks: bool = True) -> None:
        self.part = part
        self._begin(keeps_banks)

    async def _on_clock(self, job: Callable[[], Made], then: Callable[[Made], None]) -> None:
        """Run a job between two blocks, then call `then` on the loop before the next block is reported.

        Errors of the job are raised here.
        """
        done = self._work.loop.create_future()

        def finish(made: Made) -> None:
            try:
                then(made)
            finally:
                done.set_result(None)

        tell = self._work.on_loop(finish)
        self.player.do(lambda: tell(job()), self._work.on_loop(done.set_exception))
        await done
