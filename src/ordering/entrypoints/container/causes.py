"""What keeps each service from being ready: all of it at once, whoever finds it out."""

from collections.abc import Awaitable, Callable, Sequence

from ordering.application.causes import Cause, CauseCode
from ordering.application.consume_events import EventConsumer
from ordering.application.failures import BrokerUnavailable, LogChanged, ShuttingDown
from ordering.application.group_commit import GroupCommit
from ordering.application.outage_gate import OutageGate
from ordering.application.ports import EventSource
from ordering.application.relay_outbox import OutboxRelay
from ordering.application.waiters import Waiters
from ordering.entrypoints.settings import Settings

Causes = Callable[[], Awaitable[Sequence[Cause]]]

_ENDING = Cause(CauseCode.SHUTTING_DOWN, str(ShuttingDown()))


class CartCauses:
    """Of the cart service. An instance without the relay's lease is ready: another one publishes what it stores, and
    the gate closes when none does."""

    def __init__(self, gate: OutageGate, commit: GroupCommit, relay: OutboxRelay) -> None:
        self._gate, self._commit, self._relay = gate, commit, relay

    async def __call__(self) -> Sequence[Cause]:
        found = [_ENDING] if self._commit.stopping else []
        if (closed := self._gate.cause) is not None:
            found.append(closed)
        # Commands tell what the store answers them; without traffic the relay, which asks for its lease, still knows.
        trouble = self._commit.trouble or self._relay.store_trouble
        if trouble is not None:
            found.append(Cause(CauseCode.STORE_UNAVAILABLE, trouble))
        return found


class OrderCauses:
    """Of the order service. A read model in a file is filled by one instance alone, so that one must read every
    partition: what another member of the group reads would be missing here. One in PostgreSQL is everybody's: an
    instance without partitions answers from what the others store, so it is ready."""

    def __init__(self, consumer: EventConsumer, log_view: EventSource, waiters: Waiters, settings: Settings) -> None:
        self._consumer, self._log_view, self._waiters = consumer, log_view, waiters
        self._alone = settings.order_database is None

    async def __call__(self) -> Sequence[Cause]:
        found = [_ENDING] if self._waiters.stopping else []
        if (trouble := self._consumer.cause) is not None:
            found.append(trouble)
        elif self._alone and (unread := await self._unread()) is not None:
            found.append(unread)
        return found

    async def _unread(self) -> Cause | None:
        try:
            partitions = len(await self._log_view.end_offsets())
        except BrokerUnavailable as error:
            return Cause(CauseCode.LOG_UNAVAILABLE, error.reason)
        except LogChanged as error:
            return Cause(CauseCode.LOG_CHANGED, str(error))
        held = len(self._consumer.assigned)
        if held >= partitions:
            return None
        return Cause(
            CauseCode.PARTITIONS_MISSING,
            f"this instance reads {held} of {partitions} partitions: a read model in a file needs all of them, "
            "so it must be the only member of its consumer group",
        )
