"""Builds that look broken and are not, because the design needs no more: the simulation must find nothing.

They show which mechanism a promise rests on, and which are there for speed.
"""

from collections.abc import Collection, Sequence

from ordering.application.messages import OutboxRow, Record
from tests.mutants.patching import Sound, mutant


@mutant(
    "lease-lost-and-kept-on",
    "H10",
    at="ordering.application.relay_outbox:OutboxRelay._step_down",
    harmless="What is in hand was taken with evidence, and evidence is a fact whoever has the lease: it only repeats.",
)
def _(_sound: Sound) -> Sound:
    """A relay that lost its lease publishes what it still has in hand."""
    return lambda _self: None


@mutant(
    "broker-told-before-the-store",
    "H16",
    at="ordering.application.consume_events:EventConsumer._apply",
    harmless="Nobody reads on from the broker's positions: they are for its tools.",
)
def _(sound: Sound) -> Sound:
    """The broker hears of positions that are not stored yet, and may never be."""

    async def apply(self: Sound, records: Sequence[Record]) -> None:
        await self._source.commit({record.partition: record.offset + 1 for record in records})
        await sound(self, records)

    return apply


@mutant(
    "every-row-is-a-head",
    "H9",
    at="ordering.adapters.memory.store:MemoryOrderStore.heads",
    harmless="The lowest row of an order comes first, and the relay has one event of an order under way at a time.",
)
def _(_sound: Sound) -> Sound:
    """The store gives out several unpublished rows of one order."""

    async def heads(self: Sound, limit: int, exclude: Collection[str]) -> Sequence[OutboxRow]:
        passed = {*exclude, *self._stopped()}
        return [OutboxRow(self._journal[ref]) for ref in self._outbox if ref[0] not in passed][:limit]

    return heads
