"""Clients that never repeat a request, so that each answer stands alone against what is stored.

A client that repeats what was refused would hide a refusal that had stored something behind the success that follows.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx

from tests.e2e.crash_clients import STEPS, Ledger
from tests.faults.cluster import PATIENCE

_RACERS = 4


class Single:
    """Creates orders of its own and moves each along its life, leaving an order alone at the first answer that is no
    success. Half of the changes carry an Idempotency-Key."""

    def __init__(self, name: str, urls: Sequence[str], ledger: Ledger, seed: int, pause: float) -> None:
        self._name, self._urls, self._ledger, self._pause = name, urls, ledger, pause
        self._random = random.Random(seed)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until told to stop."""
        async with httpx.AsyncClient(timeout=PATIENCE) as http:
            number = 0
            while not stop.is_set():
                number += 1
                await self._one_order(http, f"{self._name}-{number}", stop)

    async def _one_order(self, http: httpx.AsyncClient, order: str, stop: asyncio.Event) -> None:
        status = "pending"
        stored = await self._change(http, "POST", {"orderId": order, "numItems": 3}, order, status)
        while stored and status in STEPS and not stop.is_set():
            status = STEPS[status]
            stored = await self._change(http, "PUT", {"orderId": order, "status": status}, order, status)

    async def _change(self, http: httpx.AsyncClient, method: str, body: Any, order: str, target: str) -> bool:  # noqa: ANN401
        await asyncio.sleep(self._random.uniform(0, self._pause))
        headers = {"Idempotency-Key": f"{order}-{target}"} if self._random.random() < 0.5 else {}
        url = self._random.choice(self._urls)
        return await tried(http, self._ledger, method, url, body, order, target, headers) in (200, 201)


class Racers:
    """Several clients that ask for the same change of the same order at the same moment: their writes come into one
    batch, which is then a transaction of several statements."""

    def __init__(self, name: str, urls: Sequence[str], ledger: Ledger, seed: int, pause: float) -> None:
        self._name, self._urls, self._ledger, self._pause = name, urls, ledger, pause
        self._random = random.Random(seed)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until told to stop."""
        async with httpx.AsyncClient(timeout=PATIENCE) as http:
            number = 0
            while not stop.is_set():
                number += 1
                order = f"{self._name}-{number}"
                await asyncio.sleep(self._random.uniform(0, self._pause))
                body = {"orderId": order, "numItems": 1}
                if await tried(http, self._ledger, "POST", self._urls[0], body, order, "pending", {}) != 201:
                    continue
                change = {"orderId": order, "status": "confirmed"}
                urls = [self._urls[racer % len(self._urls)] for racer in range(_RACERS)]
                await asyncio.gather(
                    *(tried(http, self._ledger, "PUT", url, change, order, "confirmed", {}) for url in urls)
                )


async def tried(
    http: httpx.AsyncClient,
    ledger: Ledger,
    method: str,
    url: str,
    body: Any,  # noqa: ANN401 -- what JSON can say
    order: str,
    target: str,
    headers: dict[str, str],
) -> int | None:
    """Ask once, note attempt and answer; the status, None if there was none. A refusal other than a 503 would be
    about something that nobody else did, so it is an error: 409 for one's own order, for example."""
    path = "/api/create-order" if method == "POST" else "/api/update-order"
    ticket = ledger.attempt(order, target)
    try:
        answer = await http.request(method, f"{url}{path}", json=body, headers=headers)
    except httpx.HTTPError:
        ledger.answer(ticket, None, None)
        return None
    ledger.answer(ticket, answer.status_code, int(answer.headers["etag"].strip('"')) if answer.is_success else None)
    if not answer.is_success and answer.status_code not in (500, 503):
        raise AssertionError(f"{method} {order} {target}, the only one, answered {answer.status_code}: {answer.text}")
    if answer.status_code == 500 and answer.json()["code"] != "outcome-unknown":
        raise AssertionError(f"{method} {order} {target} answered {answer.text}")
    return answer.status_code


@asynccontextmanager
async def singles(
    urls: Sequence[str], ledger: Ledger, name: str, *, clients: int = 4, racers: int = 2, pause: float = 0.05
) -> AsyncIterator[None]:
    """So many of both work during the block; each ends what it has begun, and its errors are raised at the end."""
    stop = asyncio.Event()
    made: list[Single | Racers] = [Single(f"{name}-S{one}", urls, ledger, one, pause) for one in range(clients)]
    made += [Racers(f"{name}-R{one}", urls, ledger, one, pause) for one in range(racers)]
    tasks = [asyncio.create_task(client.run(stop)) for client in made]
    try:
        yield
    finally:
        stop.set()
        await asyncio.gather(*tasks)
