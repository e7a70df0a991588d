"""Queries: what the read model says, and how long they wait for it."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from ordering.adapters.avro.codec import OrderCodec
from ordering.adapters.memory.log import MemoryLog
from ordering.application.errors import OrderNotFound, ReadModelBehind, TopicNotFound, VersionNotReached
from ordering.application.failures import BrokerUnavailable, LogChanged, Overloaded, ShuttingDown
from ordering.application.messages import DecodedEvent, Encoded, Lineage, OutgoingRecord, Place, Record, Snapshot
from ordering.application.projection import project
from ordering.application.queries import OrderDetails, ReadStats, TopicIds
from ordering.application.waiters import Waiters
from ordering.domain.currencies import CURRENCIES
from ordering.domain.events import EventType, OrderEvent, Stamp
from ordering.domain.order import Order, OrderDraft, OrderLine
from ordering.domain.status import OrderStatus
from tests.unit.application.read_bench import TOPIC, StrictViews, WatchedSource, decoded
from tests.unit.application.runtime import VirtualRuntime, outcome_of, passing

RATE = Decimal("0.02")
AT = datetime(2026, 1, 1, tzinfo=UTC)


def event_id(number: int) -> str:
    """A UUIDv7."""
    return f"00000000-0000-7000-8000-{number:012}"


def history(order_id: str, length: int) -> list[OrderEvent]:
    """An order's first events."""
    lines = (OrderLine("ITEM-1", 2, Decimal("999.99")),)
    order, event = Order.place(OrderDraft(order_id, "CUST-1", CURRENCIES["USD"], lines), Stamp(event_id(1), AT))
    events = [event]
    for number, status in enumerate([OrderStatus.CONFIRMED, OrderStatus.SHIPPED, OrderStatus.DELIVERED], 2):
        order, event = order.change_status(status, Stamp(event_id(number), AT))
        events.append(event)
    return events[:length]


class Readers:
    """The three queries over one read model that ``show`` fills."""

    def __init__(self, runtime: VirtualRuntime) -> None:
        self.runtime, self.codec, self.views = runtime, OrderCodec(), StrictViews()
        self.log, self.waiters = MemoryLog(TOPIC, 2), Waiters(runtime, at_most=3)
        self.source = WatchedSource(self.log, runtime)
        self.details = OrderDetails(self.views, self.codec, self.waiters, runtime, RATE)
        self.ids = TopicIds(self.views, self.source, self.waiters, runtime, TOPIC)
        self.stats = ReadStats(self.views, self.source, TOPIC)

    def append(self, key: str, partition: int = 0) -> None:
        """A record the read model does not have yet."""
        record = OutgoingRecord(TOPIC, partition, key.encode(), b"x", (), self.runtime.now() // 1000)
        self.log.append(record)

    def show(self, *events: DecodedEvent) -> None:
        """Append records and project them, as the consumer does."""
        for event in events:
            self.append(event.key)
            self.apply(event)

    def apply(self, event: DecodedEvent) -> None:
        """Project the next record."""
        at = self.views.at.get(0, 0)
        record = Record(TOPIC, 0, at, 1000 + at, event.key.encode(), b"x")
        rows = {event.key: self.views.rows[event.key]} if event.key in self.views.rows else {}
        self.views.apply(project(TOPIC, Snapshot(1, dict(self.views.at), rows), [record], [event], 0))
        self.waiters.notify([event.key])

    def of(self, event: OrderEvent) -> DecodedEvent:
        order = event.order
        return DecodedEvent(order.order_id, event.event_id, order.version, order.status, self.codec.encode(event))

    def later(self, seconds: float, *events: DecodedEvent) -> None:
        """Show after a while."""
        self.runtime.call_later(seconds, lambda: self.show(*events))

    async def all_ids(self, **how: object) -> list[list[str]]:
        """Pages of ids."""
        return [[key for _, key in page] async for page in await self.ids(TOPIC, **how)]  # type: ignore[arg-type]


@pytest.fixture
def readers(runtime: VirtualRuntime) -> Readers:
    """An empty read model."""
    return Readers(runtime)


# ------------------------------------------------------------------ order details


async def test_details_are_the_order_and_what_shipping_costs(readers: Readers) -> None:
    """Two per cent, rounded down: the seed's example."""
    (event,) = history("o", 1)
    readers.show(readers.of(event))
    details = await readers.details("o")
    assert details.order == event.order
    assert (details.order.total, details.shipping_cost) == (Decimal("1999.98"), Decimal("39.99"))


async def test_an_unknown_order_is_not_found_at_once(readers: Readers) -> None:
    """Without ``wait`` nobody waits."""
    with pytest.raises(OrderNotFound):
        await readers.details("o", min_version=3)
    assert readers.runtime.monotonic() == 0


async def test_a_version_that_is_not_there_is_told_with_the_present_one(readers: Readers) -> None:
    """409 with currentVersion."""
    readers.show(*map(readers.of, history("o", 2)))
    assert (await readers.details("o", min_version=2)).order.version == 2
    with pytest.raises(VersionNotReached) as refused:
        await readers.details("o", min_version=3)
    assert (refused.value.wanted, refused.value.current) == (3, 2)


async def test_a_query_waits_for_its_version_and_no_longer(readers: Readers) -> None:
    """It is answered the moment the version is applied; other orders and lower versions do not end the wait."""
    one, two, three = map(readers.of, history("o", 3))
    readers.show(one)
    readers.later(1, two)
    readers.later(2, readers.of(history("p", 1)[0]))
    readers.later(3, three)
    assert (await readers.details("o", min_version=3, wait=30)).order.version == 3
    assert readers.runtime.monotonic() == pytest.approx(3)
    assert readers.waiters.count == 0


async def test_an_unknown_order_is_waited_for_too(readers: Readers) -> None:
    """Read your own create."""
    readers.later(0.5, readers.of(history("o", 1)[0]))
    assert (await readers.details("o", wait=5)).order.version == 1
    assert readers.runtime.monotonic() == pytest.approx(0.5)


@pytest.mark.parametrize(("there", "error"), [(0, OrderNotFound), (1, VersionNotReached)])
async def test_a_wait_ends_with_its_time(readers: Readers, there: int, error: type[Exception]) -> None:
    """The answer is then what it would have been without waiting."""
    readers.show(*map(readers.of, history("o", there)))
    with pytest.raises(error):
        await readers.details("o", min_version=2, wait=4)
    assert readers.runtime.monotonic() == pytest.approx(4)
    assert readers.waiters.count == 0


async def test_what_arrives_between_the_first_look_and_the_wait_is_seen(readers: Readers) -> None:
    """The waiter is armed before it looks again."""
    event, looks = readers.of(history("o", 1)[0]), []
    get = readers.views.get

    async def look_then_arrive(key: str) -> object:
        looks.append(key)
        row = await get(key)
        if len(looks) == 2:
            readers.show(event)
        return row

    readers.views.get = look_then_arrive  # type: ignore[method-assign, assignment]
    assert (await readers.details("o", wait=5)).order.version == 1
    assert readers.runtime.monotonic() == 0


async def test_too_many_waiting_queries_are_refused(readers: Readers) -> None:
    """Bounded memory: overload is a fast refusal."""
    waiting = [asyncio.ensure_future(outcome_of(readers.details("o", wait=5))) for _ in range(3)]
    await passing(0.1)
    with pytest.raises(Overloaded):
        await readers.details("o", wait=5)
    assert [type(outcome) for outcome in await asyncio.gather(*waiting)] == [OrderNotFound] * 3


async def test_a_stop_ends_every_wait(readers: Readers) -> None:
    """Those who wait and those who come later are told at once; what is there already is still answered."""
    readers.show(*map(readers.of, history("o", 1)))
    readers.append("unread")
    waiting = [asyncio.ensure_future(outcome_of(readers.details("p", wait=30)))]
    waiting.append(asyncio.ensure_future(outcome_of(readers.ids(TOPIC))))
    await passing(0.1)
    readers.waiters.stop()
    assert [type(outcome) for outcome in await asyncio.gather(*waiting)] == [ShuttingDown] * 2
    with pytest.raises(ShuttingDown):
        await readers.details("p", wait=30)
    assert (await readers.details("o", wait=30)).order.version == 1
    assert readers.waiters.count == 0


async def test_a_query_whose_client_hangs_up_leaves_no_waiter(readers: Readers) -> None:
    """Cancelled waits are forgotten."""
    waiting = asyncio.ensure_future(readers.details("o", wait=5))
    await passing(0.1)
    waiting.cancel()
    await passing(0.1)
    assert readers.waiters.count == 0


async def test_an_inherited_order_has_the_version_of_its_row(readers: Readers) -> None:
    """Its record carries none."""
    (event,) = history("o", 1)
    state = readers.codec.encode(OrderEvent(event_id(0), EventType.UNKNOWN, AT, event.order))
    readers.show(DecodedEvent("o", "x1", None, "pending", Encoded(state.schema, state.body), Lineage.INHERITED))
    assert (await readers.details("o")).order.version == 1


# ------------------------------------------------------------------ ids of a topic


async def test_ids_come_in_the_order_of_their_first_appearance(readers: Readers) -> None:
    """Distinct, however many events an order has."""
    readers.show(decoded("b", 1), decoded("a", 1), decoded("b", 2), decoded("c", 1))
    assert await readers.all_ids() == [["b", "a", "c"]]


async def test_ids_come_in_pages(readers: Readers) -> None:
    """``limit`` gives one page, ``after`` the next one."""
    readers.show(*(decoded(f"k{number}", 1) for number in range(5)))
    assert await readers.all_ids(limit=2) == [["k0", "k1"]]
    assert await readers.all_ids(limit=2, after=Place(1001, 0, 1)) == [["k2", "k3"]]
    assert await readers.all_ids(after=Place(1004, 0, 4)) == []


async def test_another_topic_is_not_found(readers: Readers) -> None:
    """Only what is projected can be answered."""
    with pytest.raises(TopicNotFound):
        await readers.ids("another")


async def test_ids_are_complete_up_to_the_end_at_the_call(readers: Readers) -> None:
    """The answer waits until the read model has passed the ends it read; later records do not prolong the wait."""
    readers.append("a")
    readers.append("b")
    readers.runtime.call_later(1, lambda: readers.apply(decoded("a", 1)))
    readers.runtime.call_later(1.5, lambda: readers.append("c"))
    readers.runtime.call_later(2, lambda: readers.apply(decoded("b", 1)))
    assert await readers.all_ids() == [["a", "b"]]
    assert readers.runtime.monotonic() == pytest.approx(2)


async def test_ids_wait_at_most_five_seconds(readers: Readers) -> None:
    """503 when the read model does not get there, before anything was sent."""
    readers.append("a", partition=1)
    with pytest.raises(ReadModelBehind):
        await readers.ids(TOPIC)
    assert readers.runtime.monotonic() == pytest.approx(5)


async def test_ids_need_the_broker(readers: Readers) -> None:
    """Without the end offsets nobody can say "complete"."""
    readers.source.unavailable = "all brokers down"
    with pytest.raises(BrokerUnavailable):
        await readers.ids(TOPIC)


@pytest.mark.parametrize("query", ["ids", "stats"])
async def test_a_log_that_is_another_one_is_an_outage_not_a_failure(readers: Readers, query: str) -> None:
    """The consumer has halted; whoever asks for ends or lag is told that nobody knows them."""

    async def changed(*_: object) -> None:
        raise LogChanged("the topic was recreated")

    readers.source.end_offsets = readers.source.lag = changed  # type: ignore[assignment, method-assign]
    with pytest.raises(BrokerUnavailable, match="recreated"):
        await (readers.ids(TOPIC) if query == "ids" else readers.stats(ids=0))


# ------------------------------------------------------------------ statistics


async def test_statistics_count_what_is_there(readers: Readers) -> None:
    """Totals, labels, alarms and lag."""
    readers.show(decoded("a", 1), decoded("a", 3), decoded("a", 2), decoded("b", 1))
    readers.append("c")
    await passing(7)
    stats = await readers.stats(ids=10)
    assert (stats.total, dict(stats.by_status)) == (2, {"s1": 1, "s3": 1})
    assert (stats.gaps, stats.late, stats.parked, stats.dead_letters) == (1, 1, 0, 0)
    assert (stats.lag_events, stats.lag_seconds) == (1, pytest.approx(7))
    assert (stats.order_ids, stats.truncated) == (["a", "b"], False)


@pytest.mark.parametrize(("ids", "listed", "truncated"), [(0, 0, False), (1, 1, True), (2, 2, False), (3, 2, False)])
async def test_statistics_list_no_more_ids_than_asked(readers: Readers, ids: int, listed: int, truncated: bool) -> None:
    """And say when there are more."""
    readers.show(decoded("a", 1), decoded("b", 1))
    stats = await readers.stats(ids=ids)
    assert (len(stats.order_ids), stats.truncated) == (listed, truncated)
