"""The memory and the embedded system for the state machine: a broker that goes, and what the read model counted."""

import asyncio
from collections.abc import Mapping
from typing import Any

from ordering.adapters.memory.log import MemoryPublisher, MemorySource
from ordering.application.messages import OutgoingRecord
from ordering.entrypoints import container
from tests.http.systems import EmbeddedBody, MemoryBody
from tests.unit.application.runtime import VirtualLoop, VirtualRuntime


class VirtualBody(MemoryBody):
    """The memory system in virtual time, with a broker that can go away."""

    publisher: MemoryPublisher
    sources: list[MemorySource]
    views: container.ReadModel

    def parts(self) -> tuple[container.Cart, container.Order]:
        """The same containers on another clock."""
        cart, order = super().parts()
        for part in (cart, order):
            part.runtime.override(VirtualRuntime())
        self.publisher, self.views = cart.publisher(), order.views()  # type: ignore[assignment]
        readers = ("source", "log_view")  # the consumer's, and the queries' if they have one of their own
        self.sources = [provider() for name, provider in order.providers.items() if name in readers]
        return cart, order

    async def counters(self) -> Mapping[str, int]:
        """What the read model counted."""
        return (await self.views.stats()).counters

    def fail(self, *, takes_one_more: bool) -> None:
        """The broker goes: at once, or after the next record, whose acknowledgement gets lost."""

        def is_last(_record: OutgoingRecord) -> None:
            self.publisher.unavailable = "gone"

        for source in self.sources:
            source.unavailable = "gone"
        self.publisher.lose_acks = takes_one_more
        if takes_one_more:
            self.publisher.verdict = is_last
        else:
            self.publisher.unavailable = "gone"

    def heal(self) -> None:
        """The broker is back."""
        self.publisher.unavailable = None
        for source in self.sources:
            source.unavailable = None
        self.publisher.lose_acks, self.publisher.verdict = False, lambda _record: None


class DurableBody(EmbeddedBody):
    """The embedded system, with a look into its read model. Its log is a file, which does not go away."""

    def heal(self) -> None:
        """Nothing is ever broken."""

    async def counters(self) -> Mapping[str, int]:
        """What the read model counted in all its lives."""
        tools = container.Tools(self.settings)
        try:
            return (await tools.views.stats()).counters
        finally:
            await tools.close()


SYSTEMS: dict[str, Any] = {
    "memory": (VirtualBody, VirtualLoop),
    "embedded": (DurableBody, asyncio.new_event_loop),
}
