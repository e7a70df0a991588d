"""A log that was lost, or put back from an older backup, is filled up from the order store.

The store keeps every aggregate's newest event for ever (events carry the whole state), and the events before it as long
as its journal does. All of these are held for unpublished, then what the log has is marked published: so what is left
is what the log lacks, and the relay publishes it as it publishes everything, in order. Whoever follows the log has
every aggregate again; where the events between are not kept, readers count a gap.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import attrs

from ordering.application.compare_log import Reconciler, own_events
from ordering.application.failures import Refused
from ordering.application.messages import NewEvent, Record, StoredState
from ordering.application.ports import EventDecoder, Outbox, RepublishableStore, StandingStore, WholeLog
from ordering.application.read_up_to import ReadUpTo

PAGE: Final = 1_000
"""Aggregates that are requeued in one transaction."""
BATCH: Final = 500
WAIT_SECONDS: Final = 0.5

Again = Callable[[StoredState], NewEvent]
"""An aggregate's newest event once more. Raises ValueError for a state that cannot be read."""
Begin = Callable[[], Awaitable[None]]
"""Begin a log anew."""


class LogAhead(Refused):
    """The log knows what the store does not: both are older than each other, and the store has to learn first."""

    def __init__(self, orders: int) -> None:
        some = f"{orders} order" + ("s" if orders != 1 else "")
        super().__init__(
            f"the log has changes of {some} that the order store does not know: first `ordering restore reconcile`"
        )


@attrs.define
class Republished:
    """What was found: aggregates in the store, records in the log; of how many aggregates the journal keeps only the
    newest events; and how many events wait to be published now, all told."""

    orders: int = 0
    records: int = 0
    shortened: int = 0
    waiting: int = 0


class Store(RepublishableStore, StandingStore, Outbox, Protocol):
    """What of the order store is needed."""


class Republisher:
    """Has the outbox hold exactly what the log lacks.

    May be repeated. Broken off, it has to be repeated before a cart service starts: of some aggregates nothing may wait
    yet, of others too much, which is published a second time with the same event ids. No cart service may run
    meanwhile, for the same reason.
    """

    def __init__(
        self,
        log: WholeLog,
        decoder: EventDecoder,
        store: Store,
        reconciler: Reconciler,
        again: Again,
        source: str,
        begin: Begin | None = None,
    ) -> None:
        """The reconciler reads the log by itself; ``source`` is what our own records bear as their CloudEvents
        source. ``begin`` is there where there is no log: it is begun when everything waits, for without it no service
        starts on half of that."""
        self._log, self._decoder, self._store, self._begin = log, decoder, store, begin
        self._reconciler, self._again, self._source = reconciler, again, source.encode()

    async def run(self) -> Republished:
        """Raises LogAhead (nothing was changed), Refused (a state that this program cannot read), BrokerUnavailable,
        LogChanged, RegistryUnavailable, StoreUnavailable."""
        if self._begin is None:
            known = await self._reconciler.run(dry_run=True)
            if known.orders:
                raise LogAhead(len(known.orders))
        told = Republished()
        await self._requeue(told)
        if self._begin is not None:
            await self._begin()
        await self._mark(told)
        told.waiting = (await self._store.summary()).unpublished
        return told

    async def _requeue(self, told: Republished) -> None:
        after = ""
        while page := await self._store.states(after, PAGE):
            lost = [self._event(one.state) for one in page if not one.newest]
            after = page[-1].state.aggregate_id
            told.orders += len(page)
            told.shortened += sum(one.events + (not one.newest) < one.state.version for one in page)
            await self._store.requeue([one.state.aggregate_id for one in page], lost)

    def _event(self, state: StoredState) -> NewEvent:
        try:
            return self._again(state)
        except ValueError as error:
            raise Refused(f"order {state.aggregate_id} cannot be published again: {error}") from error

    async def _mark(self, told: Republished) -> None:
        """Whatever the log has of an aggregate, everything up to it is in the log, or would come too late."""
        ends, reading = await self._log.end_offsets(), ReadUpTo(self._log)
        await reading.go_on(await self._log.begin_offsets())
        while reading.missing(ends):
            records = await reading.take(ends, BATCH, WAIT_SECONDS)
            told.records += len(records)
            reached = await self._reached(records)
            standings = await self._store.standings(reached)
            await self._store.mark_published(
                [
                    (key, version)
                    for key, standing in standings.items()
                    for version in standing.unpublished
                    if version <= reached[key]
                ]
            )

    async def _reached(self, records: Sequence[Record]) -> dict[str, int]:
        """The highest version of ours of each aggregate in these records."""
        reached: dict[str, int] = {}
        events = await self._decoder.decode(records) if records else ()
        for one in own_events(records, events, self._source):
            reached[one.event.key] = max(one.version, reached.get(one.event.key, 0))
        return reached
