"""All that outlives a node, the weather around it, and what was seen of it: counted by name, and as one running hash.

A call's effect happens outside of its node, so a node can die before, during and after it: what was on its way is
done all the same or dies with it, and nobody hears of it.
"""

import asyncio
import hashlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from ordering.adapters.memory.log import MemoryLog
from ordering.adapters.memory.store import MemoryOrderStore
from ordering.adapters.memory.views import MemoryViews
from tests.simulation.weather import CALM, Weather
from tests.unit.application.runtime import VirtualRuntime

T = TypeVar("T")

TOPIC = "order-events"


class Outside:
    """The stores, the log, the weather, and the book that is kept of it."""

    def __init__(self, seed: int, weather: Weather | None = None) -> None:
        self.seed, self.rng = seed, random.Random(seed)
        self.runtime = VirtualRuntime(seed)
        self.seen: Counter[str] = Counter()
        """How often what happened, by the names of ``weather.FAULTS`` and whatever else was counted."""
        self._hash = hashlib.blake2b(digest_size=16)
        self.weather = Weather.drawn(self.rng) if weather is None else weather
        self.store, self.views = MemoryOrderStore(), MemoryViews()
        self.log = MemoryLog(TOPIC, self.rng.choice((1, 3)))
        self.log._waiting = _InOrder()  # type: ignore[assignment]
        self.broker_down: str | None = None
        self.store_down = False
        self.lease_owner, self.lease_until = 0, 0.0
        self.everybody_leads = self.rng.random() < 0.5
        self.hangs_up = self.rng.random() < 0.5
        self.at_port: Callable[[Node, str], None] = _nothing
        """Told of every call of a node, just before it begins: the world may crash or pause the node here."""

    # ------------------------------------------------------------------ the book

    def saw(self, what: str) -> None:
        """Something that coverage counts happened."""
        self.seen[what] += 1
        self.did(what)

    def did(self, what: str, *facts: object) -> None:
        """Something happened that a repetition of this seed has to repeat."""
        self._hash.update(f"{self.runtime.monotonic():.9f} {what} {facts}\n".encode())

    @property
    def trace(self) -> str:
        """The hash of everything that happened so far."""
        return self._hash.hexdigest()

    # ------------------------------------------------------------------ the weather

    def strikes(self, fault: str) -> bool:
        """Whether this fault strikes now; it is counted if so."""
        rate = self.weather.rates.get(fault)
        if rate is None or self.rng.random() >= rate:
            return False
        self.saw(fault)
        return True

    def happens(self, chance: float) -> bool:
        """Whether something of this likelihood comes true now."""
        return self.rng.random() < chance

    async def delay(self, slowest: float) -> None:
        """Some time, often none at all."""
        if slowest and self.rng.random() < 0.5:
            await self.runtime.sleep(self.rng.uniform(0, slowest))

    def heal(self, kept: tuple[str, ...] = ()) -> None:
        """End all trouble but these faults (names or what they begin with)."""
        self.weather = self.weather.only(kept) if kept else CALM
        self.broker_down, self.store_down = None, False


class Node:
    """One process: its tasks, and whether it still lives."""

    def __init__(self, outside: Outside, number: int) -> None:
        self.outside, self.number = outside, number
        self.runtime = VirtualRuntime(outside.rng.getrandbits(32), skew=outside.rng.randint(-(10**7), 10**7))
        self.died: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.paused_until = 0.0
        self._calls: dict[asyncio.Task[Any], None] = {}

    @property
    def alive(self) -> bool:
        """False after the crash."""
        return not self.died.done()

    def crash(self) -> None:
        """kill -9: all tasks and all memory are gone; what it had asked for happens all the same, or not."""
        if not self.alive:
            return
        self.died.set_result(None)
        for call in list(self._calls):
            if self.outside.happens(0.5):
                self.outside.saw("process.call_died_too")
                call.cancel()
        for task in list(self.runtime.tasks):
            task.cancel()

    async def call(self, what: str, act: Callable[[], Awaitable[T]]) -> T:
        """A call to the outside. The node may pause before and after it, or die meanwhile."""
        self.outside.at_port(self, what)
        await self._while_paused()
        self.outside.did(what, self.number)
        work = self.outside.runtime.spawn(_wrapped(act), name=what)
        self._calls[work] = None
        work.add_done_callback(self._calls.pop)
        answer, error = await asyncio.shield(work)
        await self._while_paused()
        if error is not None:
            raise error
        return answer  # type: ignore[no-any-return]

    async def _while_paused(self) -> None:
        while self.alive and self.paused_until > self.runtime.monotonic():
            await self.runtime.sleep(self.paused_until - self.runtime.monotonic())
        if not self.alive:
            await asyncio.get_running_loop().create_future()


class _InOrder(dict[Any, None]):
    """A set that is walked in the order of arrival: one of futures would be walked differently in every run."""

    def add(self, item: object) -> None:
        """As a set's."""
        self[item] = None

    def discard(self, item: object) -> None:
        """As a set's."""
        self.pop(item, None)


async def _wrapped(act: Callable[[], Awaitable[T]]) -> tuple[T | None, Exception | None]:
    try:
        return await act(), None
    except Exception as error:
        return None, error


def _nothing(_node: Node, _what: str) -> None:
    """Nobody interferes."""
