"""Batches of records into one store of a projection, a transaction each, however the store takes them."""

from collections.abc import Awaitable, Callable, Collection, Sequence

from ordering.application.failures import WriteRejected
from ordering.application.messages import Changes, DeadReason, DecodedEvent, Record, Undecodable
from ordering.application.ports import EventDecoder, ProjectionStore, Runtime
from ordering.application.projection import project

Stored = Callable[[Changes, Collection[str]], Awaitable[None]]


class BatchProjector:
    """Decodes, projects and stores; a record that the store refuses becomes a dead letter."""

    def __init__(self, decoder: EventDecoder, store: ProjectionStore, runtime: Runtime, topic: str) -> None:
        self._decoder, self._store, self._runtime, self._topic = decoder, store, runtime, topic

    async def __call__(self, records: Sequence[Record], stored: Stored) -> None:
        """Awaits ``stored`` after each transaction (there is one, as a rule), with it and the keys it is about.

        Raises what decoder and store raise; nothing after a transaction that failed is tried.
        """
        parts = [(records, await self._decoder.decode(records))]
        while parts:
            part, events = parts.pop()
            keys = dict.fromkeys(event.key for event in events if event.key is not None).keys()
            snapshot = await self._store.load(self._topic, keys)
            changes = project(self._topic, snapshot, part, events, self._runtime.now())
            try:
                await self._store.commit(changes)
            except WriteRejected as error:
                if len(part) > 1:  # halve until it stands alone, the first half first
                    middle = len(part) // 2
                    parts += [(part[middle:], events[middle:]), (part[:middle], events[:middle])]
                elif isinstance(events[0], DecodedEvent):
                    parts.append((part, [Undecodable(DeadReason.REFUSED, str(error), events[0].key)]))
                else:
                    raise
            else:
                await stored(changes, keys)
