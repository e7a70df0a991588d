"""What must work once all is well again: a write is taken, who waits for it is told as soon as it is there, and whoever
was not told what became of a request hears it by asking once more."""

import asyncio
from types import NoneType
from typing import TYPE_CHECKING, Final

from ordering.application.errors import KeyInFlight
from ordering.application.failures import BrokerUnavailable, NotStored, OutcomeUnknown
from ordering.application.queries import Details
from ordering.domain.order import Order
from tests.simulation.clients import Client
from tests.simulation.nodes import Reader
from tests.simulation.oracle import change, create
from tests.simulation.sim_store import REFUSED

if TYPE_CHECKING:
    from tests.simulation.world import World

WAIT_SECONDS: Final = 30.0
ASKED_AGAIN: Final = 10
BACKLOG_SECONDS: Final = 2.0
"""By then what waits is published and marked, and every gate has looked."""
UNTOLD: Final = (NoneType, NotStored, OutcomeUnknown, KeyInFlight)
"""What says nothing final about a request."""
SOON_SECONDS: Final = 10.0
"""Far more than it takes in calm weather, far less than who waits would wait without being told."""


async def read_own_writes(world: "World") -> None:
    """On every reader somebody waits for an order that does not exist yet, and then for its next version."""
    client, order_id = Client(world, patience=(None,)), f"order-{len(world.ids)}"
    world.ids.append(order_id)
    for version, write in enumerate((create(order_id, 1), change(order_id, "confirmed")), start=1):
        looks = [
            world.runtime.spawn(_soon(client, order_id, version, reader), name="look")
            for reader in world.readers
            if reader.alive
        ]
        await world.runtime.sleep(0.1)
        answer = (await client.send(write)).answer
        assert isinstance(answer, Order), f"all is well, and {write.method} was answered with {answer!r}"
        assert answer.version == version
        await asyncio.gather(*looks)
    world.outside.saw("own writes were read")


async def _soon(client: Client, order_id: str, version: int, reader: Reader) -> None:
    began = reader.runtime.monotonic()
    answer = (await client.look(order_id, version, WAIT_SECONDS, reader)).answer
    took = reader.runtime.monotonic() - began
    assert isinstance(answer, Details), f"{order_id} {version} was waited for: {answer!r}"
    assert took <= SOON_SECONDS, f"{order_id} {version} was shown after {took:.1f} s: nobody was woken"


async def ask_again(world: "World") -> None:
    """The same request once more: now it has a final answer. That it fits the first one is checked with all others."""
    client = Client(world, patience=(None,))
    open_ones = {
        (one.write.key, one.write.body): one.write
        for one in world.attempts
        if (one.write.key or isinstance(one.answer, OutcomeUnknown))
        and isinstance(one.answer, UNTOLD)
        and not one.write.order_id.startswith(REFUSED)
    }
    for write in world.rng.sample(list(open_ones.values()), min(ASKED_AGAIN, len(open_ones))):
        answer = (await client.send(write)).answer
        if isinstance(answer, BrokerUnavailable):  # so many at once may fill the smallest backlog for a moment
            await world.runtime.sleep(BACKLOG_SECONDS)
            answer = (await client.send(write)).answer
        assert not isinstance(answer, UNTOLD), f"I11: all is well, and {write} is answered once more with {answer!r}"
        world.outside.saw("asked again")
