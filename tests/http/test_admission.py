"""The guard before everything else: who is admitted, and what those who are not are told."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import httpx
import pytest

from ordering.entrypoints.http.admission import SURPLUS, Admission, AdmissionLimits, Load
from tests.http.stand_ins import StandIns

pytestmark = pytest.mark.anyio


class Guarded:
    """An admission around the cart service's app, at work or not as the test says."""

    def __init__(self, in_hand: int = 2) -> None:
        self.stand_ins, self.refused, self.waiting, self.age = StandIns(), 0, 0, 0.0
        self.reached = asyncio.Semaphore(0)
        """One more for every request that was admitted."""
        self.going_on = asyncio.Event()
        self.going_on.set()
        limits = AdmissionLimits(in_hand, 1.0)
        load = Load(lambda: self.waiting, lambda: self.age)
        self._app = self.stand_ins.apps()[0]
        self.admission = Admission(self._inner, limits, load, lambda: "made-up", self._count)
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(self.admission), base_url="http://127.0.0.1")

    async def _inner(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
        self.reached.release()
        await self.going_on.wait()
        await self._app(scope, receive, send)

    def _count(self) -> None:
        self.refused += 1

    async def create(self, order_id: str, **headers: str) -> httpx.Response:
        """One order."""
        return await self.http.post("/api/create-order", json={"orderId": order_id, "numItems": 1}, headers=headers)

    async def begun(self, *order_ids: str) -> list[asyncio.Task[httpx.Response]]:
        """Requests that stay in hand until ``going_on`` is set."""
        self.going_on.clear()
        return [await self.admitted(self.create(order_id)) for order_id in order_ids]

    async def admitted(self, asking: Coroutine[Any, Any, httpx.Response]) -> asyncio.Task[httpx.Response]:
        """The request, when it is in hand."""
        while not self.reached.locked():
            await self.reached.acquire()
        task = asyncio.create_task(asking)
        await self.reached.acquire()
        return task


@pytest.fixture
async def guarded() -> Any:  # noqa: ANN401 -- an async generator
    """With room for two requests."""
    made = Guarded()
    async with made.http:
        yield made


async def test_one_request_too_many_is_refused_and_stores_nothing(guarded: Guarded) -> None:
    """Those in hand are answered as always, and then there is room again."""
    tasks = await guarded.begun("a", "b")
    refused = await guarded.create("c")
    guarded.going_on.set()

    assert refused.status_code == 503
    assert [(await task).status_code for task in tasks] == [201, 201]
    assert set(guarded.stand_ins.orders) == {"a", "b"}
    assert (await guarded.create("c")).status_code == 201
    assert (guarded.refused, guarded.admission.in_hand) == (1, 0)


async def test_a_refusal_looks_like_every_other_one(guarded: Guarded) -> None:
    """A problem document with its code, when to come back, and the client's own request id."""
    tasks = await guarded.begun("a", "b")
    refused = await guarded.create("c", **{"X-Request-Id": "mine"})
    unnamed = await guarded.http.get("/no/such/path")
    guarded.going_on.set()
    await asyncio.gather(*tasks)

    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.headers["retry-after"] == "1"
    assert refused.headers["x-request-id"] == "mine"
    assert refused.headers["cache-control"] == "no-store"
    problem = refused.json()
    assert problem["type"] == "urn:ordering:problem:overloaded"
    assert (problem["status"], problem["code"], problem["success"], problem["errors"]) == (503, "overloaded", False, [])
    assert problem["message"] == problem["detail"] == "Too much work is waiting: 2 requests are in hand already"
    assert unnamed.status_code == 503
    assert unnamed.headers["x-request-id"] == "made-up"


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready", "/metrics"])
async def test_how_the_service_is_is_always_told(guarded: Guarded, path: str) -> None:
    """An orchestrator must not take a busy service for a dead one."""
    tasks = await guarded.begun("a")
    guarded.age = 100.0
    asked = await guarded.admitted(guarded.http.get(path))
    assert (await guarded.http.get("/")).status_code == 503
    guarded.going_on.set()

    assert (await asked).status_code == 200
    await asyncio.gather(*tasks)


async def test_nothing_is_taken_while_the_store_keeps_somebody_waiting(guarded: Guarded) -> None:
    """However few they are: whoever comes now would wait as long."""
    guarded.age = 1.0
    refused = await guarded.create("a")
    guarded.age = 0.99
    taken = await guarded.create("a")

    assert refused.status_code == 503
    assert refused.json()["message"] == "Too much work is waiting: the store has kept a request waiting for 1 s"
    assert taken.status_code == 201


async def test_who_waits_for_the_read_model_takes_nobodys_place(guarded: Guarded) -> None:
    """They do nothing, and have a bound of their own."""
    tasks = await guarded.begun("a", "b")
    guarded.waiting = 1
    asked = await guarded.admitted(guarded.create("c"))
    refused = await guarded.create("d")
    guarded.going_on.set()

    assert (await asked).status_code == 201
    assert refused.status_code == 503
    await asyncio.gather(*tasks)


async def test_a_request_on_a_connection_too_many_is_refused_with_room_for_it_or_not(guarded: Guarded) -> None:
    """The server marks it; the health of the service is told all the same."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def status_of(path: str) -> int:
        sent.clear()
        request = {"type": "http", "http_version": "1.1", "method": "GET", "path": path, "raw_path": path.encode()}
        others = {"headers": [(b"host", b"here")], "query_string": b"", "root_path": "", "extensions": {SURPLUS: {}}}
        await guarded.admission({**request, **others}, receive, send)
        return int(sent[0]["status"])

    assert await status_of("/") == 503
    assert await status_of("/health/live") == 200


async def test_a_request_that_fails_gives_its_place_back(guarded: Guarded) -> None:
    """Cancelled ones, too."""
    (task,) = await guarded.begun("a")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert guarded.admission.in_hand == 0
