"""The machinery knows no order: it serves a stock counter with JSON bodies, from the command to the view."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import attrs
import pytest

from ordering.application.consume_events import ConsumerLimits, EventConsumer
from ordering.application.dead_letters import HeldRecords, Released
from ordering.application.framing import frame, unframe
from ordering.application.group_commit import CommitLimits, GroupCommit
from ordering.application.messages import (
    Acked,
    Conflict,
    DeadReason,
    DecodedEvent,
    Encoded,
    NewEvent,
    OutgoingRecord,
    Record,
    Stored,
    Undecodable,
    Write,
)
from ordering.application.outage_gate import OutageGate
from ordering.application.partitioning import partition_of
from ordering.application.relay_limits import RelayLimits
from ordering.application.relay_outbox import OutboxRelay
from ordering.application.waiters import Waiters
from tests.services.databases import Databases, databases, unhurried
from tests.simulation.places import PLACES, OnPostgres, Place
from tests.unit.application.runtime import RecordingObserver, VirtualLoop

__all__ = ["databases", "unhurried"]

PATIENCE = 120.0
TOPIC, SCHEMA, SCHEMA_ID = "stock-events", "stock-events-value/v1", 42


@attrs.frozen
class Stock:
    """The whole toy: how many pieces of an article there are. Its events carry the state, as JSON."""

    article: str
    pieces: int = 0
    version: int = 0

    def moved(self, pieces: int) -> "Stock":
        return attrs.evolve(self, pieces=self.pieces + pieces, version=self.version + 1)

    def write(self, event_id: str) -> Write:
        encoded = Encoded(SCHEMA, json.dumps(attrs.asdict(self)).encode())
        key = self.article.encode()
        headers = (("id", event_id.encode()),)
        event = NewEvent(event_id, self.article, self.version, TOPIC, key, headers, encoded, 1_700_000_000_000_000)
        return Write(self.article, self.version - 1, event)

    @classmethod
    def read(cls, encoded: Encoded) -> "Stock":
        return cls(**json.loads(encoded.body))


class StockDecoder:
    """EventDecoder of the toy; its event ids travel in a header."""

    async def decode(self, records: Sequence[Record]) -> Sequence[DecodedEvent | Undecodable]:
        return [self._one(record) for record in records]

    def _one(self, record: Record) -> DecodedEvent | Undecodable:
        key = (record.key or b"").decode() or None
        try:
            body = unframe(record.value or b"")[1]
            stock = Stock(**json.loads(body))
        except (ValueError, TypeError) as error:
            return Undecodable(DeadReason.CORRUPT, str(error), key)
        label, event_id = "low" if stock.pieces < 5 else "fine", dict(record.headers)["id"].decode()
        return DecodedEvent(stock.article, event_id, stock.version, label, Encoded(SCHEMA, body))


class StockSchemas:
    """SchemaIds of the toy."""

    async def id_of(self, schema: str) -> int:
        assert schema == SCHEMA
        return SCHEMA_ID


class Warehouse:
    """The generic parts around the toy, on one set of adapters."""

    def __init__(self, place: Place) -> None:
        self.place, self.runtime, observer = place, place.runtime, RecordingObserver()
        self.gate, self.waiters = OutageGate(), Waiters(place.runtime)
        limits = RelayLimits(tick_seconds=0.05, sweep_seconds=0.1)
        self.relay = OutboxRelay(
            place.store, place.publisher, StockSchemas(), place.store, self.gate, place.runtime, observer,
            TOPIC, SCHEMA, limits,
        )  # fmt: skip
        patient = CommitLimits(wait_seconds=PATIENCE, resolve_seconds=PATIENCE)
        self.commit = GroupCommit(place.store, place.runtime, observer, self.relay.offer, patient)
        self.held = HeldRecords(place.views, StockDecoder(), place.runtime, TOPIC)
        self.consumer = EventConsumer(
            place.source, StockDecoder(), place.views, self.held, self.waiters, place.runtime, observer, TOPIC,
            ConsumerLimits(poll_seconds=0.1),
        )  # fmt: skip
        self.tasks = [
            place.runtime.spawn(work, name="part")
            for work in (self.relay.run(), self.commit.run(), self.consumer.run())
        ]

    async def move(self, article: str, pieces: int) -> Stock | Conflict:
        """The toy's only command: load, decide, store."""
        stored = await self.place.store.get(article)
        stock = (Stock.read(stored.encoded) if stored else Stock(article)).moved(pieces)
        outcome = await self.commit.submit(stock.write(self.runtime.new_id()))
        assert isinstance(outcome, Stored | Conflict)
        return stock if isinstance(outcome, Stored) else outcome

    async def seen(self, article: str, version: int, held: int = 0) -> Stock:
        """The toy's only query: the article at that version."""
        with self.waiters.waiting(article) as waiter:
            given_up = self.runtime.monotonic() + PATIENCE
            while self.runtime.monotonic() < given_up:
                row = await self.place.views.get(article)
                if row is not None and row.version >= version and row.held == held:
                    assert row.encoded is not None
                    return Stock.read(row.encoded)
                await waiter.next(0.1)
        raise AssertionError(f"{article} never reached version {version}")

    async def append(self, article: str, body: bytes) -> None:
        """A foreign record in the log."""
        key = article.encode()
        record = OutgoingRecord(TOPIC, partition_of(key, 3), key, frame(SCHEMA_ID, body), (), 1_700_000_000_000)
        (result,) = await self.place.publisher.publish([record])
        assert isinstance(result, Acked)

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.wait(self.tasks)
        await self.place.close()


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.process)])
def place(request: pytest.FixtureRequest, tmp_path: Path, databases: Databases) -> Place:
    """An empty place for data."""
    if request.param == "postgres":
        return OnPostgres(tmp_path, TOPIC, databases.empty())
    return PLACES[request.param](tmp_path, TOPIC)


@pytest.fixture
def anyio_backend(place: Place) -> tuple[str, dict[str, object]]:
    """Virtual time in memory; SQLite's threads need a real loop."""
    return "asyncio", {"loop_factory": VirtualLoop} if place.loop is VirtualLoop else {}


@pytest.fixture
async def warehouse(place: Place) -> AsyncIterator[Warehouse]:
    """A running warehouse, with its log."""
    place.open()
    warehouse = Warehouse(place)
    yield warehouse
    await warehouse.end()


async def test_a_command_ends_up_in_the_view(warehouse: Warehouse) -> None:
    """Store, outbox, log, projection: the toy only says what it is."""
    for pieces in (10, -3, -4):
        await warehouse.move("bolt", pieces)
    await warehouse.move("nut", 1)
    assert await warehouse.seen("bolt", 3) == Stock("bolt", 3, 3)
    assert await warehouse.seen("nut", 1) == Stock("nut", 1, 1)
    stats = await warehouse.place.views.stats()
    assert (stats.total, dict(stats.by_label), stats.counters["applied"]) == (2, {"low": 2}, 4)
    assert await warehouse.relay.drain(PATIENCE)
    assert (await warehouse.place.store.summary()).unpublished == 0


async def test_concurrent_commands_on_one_aggregate_have_one_winner(warehouse: Warehouse) -> None:
    """Optimistic concurrency is the store's, whatever the aggregate."""
    ids = [warehouse.runtime.new_id() for _ in range(8)]
    writes = [Stock("bolt").moved(1).write(event_id) for event_id in ids]  # all decided on the same state
    outcomes = await asyncio.gather(*(warehouse.commit.submit(write) for write in writes))
    assert sum(isinstance(outcome, Stored) for outcome in outcomes) == 1
    assert [outcome for outcome in outcomes if not isinstance(outcome, Stored)] == [Conflict(1)] * 7
    stored = await warehouse.place.store.get("bolt")
    assert stored is not None
    assert Stock.read(stored.encoded) == Stock("bolt", 1, 1)


async def test_poison_stops_one_aggregate_until_it_is_discarded(warehouse: Warehouse) -> None:
    """Dead letters, parking and release know nothing but bytes and keys."""
    await warehouse.move("bolt", 10)
    await warehouse.seen("bolt", 1)
    await warehouse.append("bolt", b"not json")
    for _ in range(2):
        await warehouse.move("bolt", 1)
    await warehouse.move("nut", 1)
    assert await warehouse.seen("nut", 1) == Stock("nut", 1, 1)
    assert await warehouse.seen("bolt", 1, held=3) == Stock("bolt", 10, 1)
    assert [letter.reason for letter in await warehouse.place.views.held("bolt")] == ["corrupt", "parked", "parked"]
    assert await warehouse.held.discard("bolt") == Released(released=2, discarded=1, still_held=0, reason=None)
    assert await warehouse.seen("bolt", 3) == Stock("bolt", 12, 3)


async def test_a_new_life_goes_on_where_the_last_one_ended(warehouse: Warehouse) -> None:
    """What was stored and not published, published and not projected, arrives once."""
    place = warehouse.place
    await warehouse.move("bolt", 1)
    for task in warehouse.tasks:
        task.cancel()
    await asyncio.wait(warehouse.tasks)
    for version in (2, 3):
        await place.store.write([Stock("bolt", version, version).write(place.runtime.new_id())])
    await place.close()
    place.open()
    again = Warehouse(place)
    warehouse.tasks = again.tasks  # the fixture ends this life
    assert await again.seen("bolt", 3) == Stock("bolt", 3, 3)
    row = await place.views.get("bolt")
    assert row is not None
    assert row.events_applied == 3
