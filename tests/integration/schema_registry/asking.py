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
PATIENCE = 120.0


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


async def turns_beside(asked: Awaitable[object], turns: int) -> bool:
    """Whether the event loop goes round so often, at most every 10 ms, before this ends; then it is cancelled."""
    asking = asyncio.ensure_future(asked)
    for _ in range(turns):
        await asyncio.sleep(0.01)
    ended = asking.done()
    asking.cancel()
    await asyncio.wait([asking])
    return not ended
