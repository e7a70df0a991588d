"""Clients that ask running services at a steady rate and remember what they were told."""

import asyncio
import contextlib
import random
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count

import attrs

from benchmarks.paced import Connection, cart_of
from tests.e2e.running import System


@attrs.define
class Answers:
    """What clients were told: milliseconds by what they asked for, and failures."""

    milliseconds: dict[str, list[float]] = attrs.Factory(lambda: defaultdict(list))
    failures: list[str] = attrs.Factory(list)


Ask = Callable[[int], Awaitable[int]]
"""One request of a running number; the status."""


def questions(system: System, topic: str, ids: list[str]) -> dict[str, tuple[float, int, Ask]]:
    """What is asked how often a second, and the status that is due."""
    cart, order = (Connection(int(url.rsplit(":", 1)[1])) for url in (system.cart, system.order))
    choice, run = random.Random(1), time.time_ns()

    async def details(_number: int) -> int:
        return (await order.ask("GET", f"/api/order-details?orderId={choice.choice(ids)}"))[0]

    async def place(number: int) -> int:
        return (await cart.ask("POST", "/api/create-order", cart_of(f"during-{run}-{number}").encode()))[0]

    async def page(_number: int) -> int:  # its answer comes in chunks, which the small client does not know
        url = f"{system.order}/api/getAllOrderIdsFromTopic?topicName={topic}&limit=1000"
        return (await asyncio.to_thread(system.call, "GET", url))[0]

    return {"details": (100.0, 200, details), "new orders": (5.0, 201, place), "pages of ids": (2.0, 200, page)}


async def keep_asking(what: str, rate: float, due_status: int, ask: Ask, answers: Answers) -> None:
    """Open loop: each request has its time, whatever the one before it did."""
    began = time.perf_counter()
    for number in count():
        due = began + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        try:
            status = await ask(number)
        except (OSError, asyncio.IncompleteReadError) as error:
            answers.failures.append(f"{what}: {error!r}")
            continue
        answers.milliseconds[what].append((time.perf_counter() - due) * 1e3)
        if status != due_status:
            answers.failures.append(f"{what}: {status}")


@contextlib.asynccontextmanager
async def asked(system: System, topic: str, ids: list[str]) -> AsyncIterator[Answers]:
    """Clients at work."""
    answers = Answers()
    asked_for = questions(system, topic, ids)
    asking = [asyncio.create_task(keep_asking(what, *question, answers)) for what, question in asked_for.items()]
    try:
        yield answers
    finally:
        for task in asking:
            task.cancel()
        for outcome in await asyncio.gather(*asking, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome
