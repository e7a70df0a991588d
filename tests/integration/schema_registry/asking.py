"""What the tests of the registry's client share: names, a clock, and what a refusal tells."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from ordering.adapters.avro.confluent import ConfluentRegistry
from ordering.application.errors import RegistryUnavailable
from tests.unit.adapters.avro.samples import OURS

TOPIC = "order-events"
SUBJECT = "order-events-value"
NAME = OURS.entry.name
PATIENCE = 60.0


class Clock:
    """Time as the client's caches see it."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


Connect = Callable[..., ConfluentRegistry]
"""Makes a client; by default of the stand-in."""


async def refusal(asked: Awaitable[object]) -> str:
    """The reason of a RegistryUnavailable."""
    with pytest.raises(RegistryUnavailable) as caught:
        await asked
    return caught.value.reason


async def ticks_during(asked: Awaitable[object]) -> int:
    """How often the event loop went round, at most every 10 ms, until this ended."""
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.01)
            turns += 1

    turning = asyncio.create_task(turn())
    try:
        await asked
    finally:
        turning.cancel()
    return turns
