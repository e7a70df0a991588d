"""Clients at work, and what single requests are answered."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import httpx

from tests.e2e.crash_clients import Client, Ledger
from tests.faults.cluster import PATIENCE, Instance

SEED = 20_261_126
CLIENTS = 16
PAUSE = 0.1
"""The longest rest of a client before a change: some 200 to 300 changes a second from all of them."""

AGAIN_SECONDS = 0.25
"""Rest before a repetition: sixteen clients that only hear 503 must not take the machine from the broker's start."""


@asynccontextmanager
async def load(
    url: str,
    ledger: Ledger,
    name: str,
    *,
    pause: float = PAUSE,
    seed: int = SEED,
    strange: list[str] | None = None,
) -> AsyncIterator[None]:
    """So many clients create and move orders during the block; each ends what it has begun. Answers that no promise
    allows end it, or are collected in ``strange``."""
    rng, stop = random.Random(seed), asyncio.Event()
    made = [
        Client(f"{name}-{number}", url, ledger, rng.randrange(2**32), pause, again=AGAIN_SECONDS, strange=strange)
        for number in range(CLIENTS)
    ]
    clients = [asyncio.create_task(client.run(stop)) for client in made]
    try:
        yield
    finally:
        stop.set()
        await asyncio.gather(*clients)


@attrs.frozen
class Readiness:
    """What a service says about itself; status 0 while it does not answer."""

    status: int
    causes: tuple[str, ...] = ()


async def readiness(instance: Instance) -> Readiness:
    """What it says now."""
    try:
        async with httpx.AsyncClient(base_url=instance.url, timeout=PATIENCE) as http:
            answer = await http.get("/health/ready")
    except httpx.HTTPError:
        return Readiness(0)
    return Readiness(answer.status_code, tuple(answer.json()["causes"]))


async def until_not_ready(instance: Instance, *because: str) -> str:
    """Wait until it answers that it is not ready, with a cause that holds one of these texts; that cause."""
    deadline = time.monotonic() + PATIENCE
    while True:
        said = await readiness(instance)
        _assert_alive(instance)
        told = [cause for cause in said.causes if any(text in cause for text in because)]
        if said.status == 503 and told:
            return told[0]
        assert time.monotonic() < deadline, f"{instance.name} does not say {because}, it says {said}"
        await asyncio.sleep(0.02)


async def until_ready(instance: Instance, since: float, seconds: float = PATIENCE) -> float:
    """Wait until it answers that it is ready; the seconds since a moment."""
    deadline = time.monotonic() + seconds
    while (said := await readiness(instance)).status != 200:
        _assert_alive(instance)
        assert time.monotonic() < deadline, f"{instance.name} is not ready after {seconds} s, it says {said}"
        await asyncio.sleep(0.02)
    return time.monotonic() - since


def _assert_alive(instance: Instance) -> None:
    process = instance.process
    assert process is not None, f"{instance.name} does not run"
    assert instance.lives(), f"{instance.name} ended with {process.status}:\n{instance.last_words()}"


async def place(instance: Instance, ledger: Ledger, order: str) -> int:
    """Create one order, noted in the ledger; the status."""
    ticket = ledger.attempt(order, "pending")
    async with httpx.AsyncClient(base_url=instance.url, timeout=PATIENCE) as http:
        answer = await http.post("/api/create-order", json={"orderId": order, "numItems": 1})
    ledger.answer(ticket, answer.status_code, 1 if answer.is_success else None)
    return answer.status_code


async def details(instance: Instance, order: str, *, version: int = 1, wait: int = 30) -> httpx.Response:
    """What the order service tells of an order, once it has this version."""
    query: dict[str, Any] = {"orderId": order, "minVersion": version, "wait": wait}
    async with httpx.AsyncClient(base_url=instance.url, timeout=PATIENCE) as http:
        return await http.get("/api/order-details", params=query)


class Pulse:
    """Asks one path of a service again and again during the block: what matters is how long answers take."""

    def __init__(self, instance: Instance, path: str) -> None:
        self._instance, self._path = instance, path
        self.slowest = 0.0
        """Seconds; an answer that did not come counts as long as it was waited for."""
        self.answers = 0
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Pulse:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        async with httpx.AsyncClient(base_url=self._instance.url, timeout=PATIENCE) as http:
            while True:
                sent = time.monotonic()
                try:
                    await http.get(self._path)
                finally:
                    self.slowest = max(self.slowest, time.monotonic() - sent)
                self.answers += 1
                await asyncio.sleep(0.02)  # its rate, not a wait for something
