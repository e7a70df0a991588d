"""The kills of the crash test: at random moments, or at a point that the process itself reaches."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Sequence
from typing import Final

import attrs
import httpx

from ordering.entrypoints.kill_points import KillPoint
from tests.e2e import plain_http
from tests.e2e.crash_clients import Client
from tests.e2e.crash_system import System
from tests.faults.cluster import PATIENCE, Instance

LIFE_SECONDS: Final = (0.2, 1.2)
"""How long all is well before a random kill."""
START_SECONDS: Final = (0.0, 0.8)
"""When a process that has just been started again is killed once more."""
FREEZES: Final = 0.3
"""The share of random kills with a process that stands still before, or that still stands when it happens."""
TWICE: Final = 0.2
"""The share of random kills with another one before the system is back."""
REACH_SECONDS: Final = 120.0
"""Until then a process has reached its kill point, or it counts as never reached."""

BACK_SECONDS: Final = 120.0
"""Until then the system is back after a kill, or it counts as never back: generous, a loaded machine is no failure."""

OF_ORDER: Final = frozenset(
    {KillPoint.POLL_APPLY, KillPoint.APPLY_COMMIT, KillPoint.COMMIT_OFFSET, KillPoint.OFFSET_POLL}
)
"""Points that the order service reaches; the cart service reaches all others."""
NTH: Final = {KillPoint.RELOAD: (1, 1), KillPoint.IN_TRIMMING: (1, 1), KillPoint.LEASE: (1, 3)}
"""The bounds of how often a point is passed before; of the others, which are reached all the time, 2 to 20."""


Time = tuple[float, str]
"""So many seconds, after what."""


@attrs.define
class Tally:
    """What was done, and how the system came back."""

    killed: Counter[str] = attrs.Factory(Counter)
    frozen: int = 0
    answering: list[Time] = attrs.Factory(list)
    """Seconds from each kill until both services answer."""
    visible: list[Time] = attrs.Factory(list)
    """Seconds from each kill until an order that was created after it is visible."""
    asked: Counter[KillPoint] = attrs.Factory(Counter)
    reached: Counter[KillPoint] = attrs.Factory(Counter)

    def points(self) -> str:
        """One line for each kill point."""
        return "\n".join(
            f"  reached {self.reached[point]:>3} of {count:>3}  {point}" for point, count in self.asked.items()
        )


class NotBack(Exception):
    """After a kill the system did not answer, or did not show what was written, however long it was waited for."""


class Reaper:
    """Kills the services of a system that clients work on, and sees to it that it comes back."""

    def __init__(self, system: System, seed: int) -> None:
        self._system, self._random = system, random.Random(seed)
        self._probe = Client("probe", system.cart.url, system.ledger, seed, again=0.02)
        self._probes = 0
        self.tally = Tally()

    async def first(self) -> None:
        """Wait until the system, which was just started, answers and shows what is written."""
        await self.back(time.monotonic(), "the start")
        self.tally = Tally()

    async def at_random(self, cycles: int) -> None:
        """Kill one service or both at a random moment, as often as asked."""
        for _ in range(cycles):
            victims = self._random.choice([(self._system.cart,), (self._system.order,), self._system.both])
            # The moment of a kill is the test's random input, not a wait for something.
            await asyncio.sleep(self._random.uniform(*LIFE_SECONDS))
            frozen = await self._freeze() if self._random.random() < FREEZES else None
            began = await self._kill(*victims)
            if frozen is not None and frozen not in victims:
                frozen.resume()
            _start(*victims)
            if self._random.random() < TWICE:
                await asyncio.sleep(self._random.uniform(*START_SECONDS))
                began = await self._kill(*victims)
                _start(*victims)
            await self.back(began, f"the end of {_names(victims)}")

    async def at_points(self, points: Sequence[KillPoint], times: int) -> None:
        """Have a service kill itself at each of these points, as often as asked."""
        for point in points:
            for _ in range(times):
                await self._at_point(point)

    async def back(self, began: float, after: str) -> None:
        """Wait until both services answer again, and until what is written now is visible. Raises NotBack."""
        self._probes += 1
        try:
            async with asyncio.timeout(BACK_SECONDS):
                await self._back(f"probe-{self._probes}", began, after)
        except TimeoutError:
            words = "\n".join(instance.last_words() for instance in self._system.both)
            raise NotBack(f"not back {BACK_SECONDS:g} s after {after}; their last words:\n{words}") from None

    async def _back(self, order: str, began: float, after: str) -> None:
        cart_url, order_url = self._system.cart.url, self._system.order.url
        async with (
            plain_http.client(cart_url, PATIENCE) as cart,
            plain_http.client(order_url, PATIENCE) as orders,
        ):
            created = self._probe.place(cart, order, asyncio.Event())
            await asyncio.gather(created, _told(orders, {200, 404}, orderId=order))
            self.tally.answering.append((time.monotonic() - began, after))
            await _told(orders, {200}, orderId=order, minVersion=1, wait=5)
            self.tally.visible.append((time.monotonic() - began, after))

    # ------------------------------------------------------------------ one kill

    async def _freeze(self) -> Instance | None:
        """SIGSTOP for a while; the process, if it shall still stand at the moment of the kill."""
        instance = self._random.choice(self._system.both)
        self.tally.frozen += 1
        instance.pause()
        await asyncio.sleep(self._random.uniform(*self._system.mode.freeze))
        if self._random.random() < 0.5:
            return instance
        instance.resume()
        return None

    async def _kill(self, *victims: Instance) -> float:
        """When it was done."""
        self.tally.killed[_names(victims)] += 1
        for victim in victims:
            await asyncio.to_thread(victim.kill)
        return time.monotonic()

    async def _at_point(self, point: KillPoint) -> None:
        instance = self._system.order if point in OF_ORDER else self._system.cart
        await asyncio.sleep(self._random.uniform(*LIFE_SECONDS) / 2)
        if instance is self._system.cart:
            await asyncio.to_thread(instance.kill)  # so that it leaves something behind for the next life
        else:
            await asyncio.to_thread(instance.stop)
        self.tally.asked[point] += 1
        before = instance.said('"kill_point.reached"')
        nth = self._random.randint(*NTH.get(point, (2, 20)))
        instance.start(wait=False, ORDERING_KILL_AT=f"{point}:{nth}")
        began = await _ended(instance)
        self.tally.reached[point] += instance.said('"kill_point.reached"') > before
        _start(instance)
        await self.back(began, point)


def _names(victims: Sequence[Instance]) -> str:
    return "both" if len(victims) > 1 else victims[0].part


def _start(*instances: Instance) -> None:
    for instance in instances:
        instance.start(wait=False)


async def _ended(instance: Instance) -> float:
    """Wait until it has killed itself; when that was. One that lives on is killed."""
    while True:
        began, status = await _end_of(instance)
        if status == -signal.SIGKILL or not instance.lives():  # started again where it found no database in time
            break
    assert status == -signal.SIGKILL, f"{instance.name} ended with {status}:\n{instance.last_words()}"
    return began


async def _end_of(instance: Instance) -> tuple[float, int]:
    """When it ended, or was killed because it lived on, and its exit status."""
    assert instance.process is not None
    ended = asyncio.create_task(asyncio.to_thread(instance.process.wait))
    try:
        await asyncio.wait([ended], timeout=REACH_SECONDS)
    finally:  # also when the run is ended meanwhile: the thread that waits would hold it up
        began = time.monotonic()
        if not ended.done():
            instance.kill()
    return began, await ended


async def _told(orders: httpx.AsyncClient, statuses: set[int], **query: str | int) -> None:
    """Ask the order service again and again until it answers so."""
    while True:
        try:
            answer = await orders.get("/api/order-details", params=query)
        except httpx.HTTPError:
            await asyncio.sleep(0.02)  # it is down or coming up; there is no event to wait for
            continue
        if answer.status_code in statuses:
            return
        await asyncio.sleep(0.02)  # it does not wait where it cannot
