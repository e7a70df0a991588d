"""The projection from Kafka (rows and positions durable in one transaction) against consuming and decoding alone.

``python -m benchmarks.kafka_projection FOLDER EVENTS`` with the settings of the cluster mode, and the addresses of
empty databases in BENCH_DATABASES: one round for each. The events are written first. A figure counts from the moment
the first records are there: what a consumer waits to join its group, or for its first fetch, is no work.
"""

import asyncio
import io
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import uvloop
from confluent_kafka import Consumer, TopicPartition
from fastavro import parse_schema, schemaless_reader

from benchmarks import projection
from benchmarks.projection import BATCH, PARTITIONS, Silent
from benchmarks.statistics import Spread
from ordering.adapters.avro.codec import OrderCodec
from ordering.adapters.avro.confluent import ConfluentRegistry
from ordering.adapters.avro.decoder import OrderEventDecoder
from ordering.adapters.avro.registry_api import RegistryApi
from ordering.adapters.kafka.connection import KafkaConnection
from ordering.adapters.kafka.publisher import KafkaPublisher
from ordering.adapters.kafka.source import KafkaReader, KafkaSource
from ordering.adapters.postgres.views import PostgresViews
from ordering.adapters.sqlite.views import SqliteViews
from ordering.adapters.system import SystemRuntime
from ordering.application.consume_events import EventConsumer
from ordering.application.dead_letters import HeldRecords
from ordering.application.framing import frame, unframe
from ordering.application.messages import Acked, Lag, LogIdentity, Polled
from ordering.application.waiters import Waiters

TOPIC = os.environ.get("KAFKA_TOPIC", "")
SCHEMA = Path(__file__).parents[1] / "schemas" / "order-events-value" / "v1.avsc"
PATIENCE = 120.0


class Timed:
    """An event source that knows when the first records came and when a position was stored behind the last one."""

    def __init__(self, source: KafkaSource, events: int) -> None:
        self._source, self._events = source, events
        self._reached: dict[int, int] = {}
        self.began = self.ended = 0.0
        self.first = 0
        self.done = asyncio.Event()

    async def poll(self, limit: int, wait: float) -> Polled:
        """As the source; the clock starts with the first records."""
        polled = await self._source.poll(limit, wait)
        if polled.records and not self.first:
            self.first, self.began = len(polled.records), time.perf_counter()
        return polled

    async def commit(self, positions: Mapping[int, int]) -> None:
        """As the source; these positions are durable, so the clock may stop."""
        self._reached.update(positions)
        if sum(self._reached.values()) >= self._events and not self.ended:
            self.ended = time.perf_counter()
            self.done.set()
        await self._source.commit(positions)

    async def identity(self) -> LogIdentity:
        """As the source."""
        return await self._source.identity()

    async def seek(self, positions: Mapping[int, int]) -> None:
        """As the source."""
        await self._source.seek(positions)

    async def end_offsets(self) -> Mapping[int, int]:
        """As the source."""
        return await self._source.end_offsets()

    async def lag(self, positions: Mapping[int, int]) -> Lag:
        """As the source."""
        return await self._source.lag(positions)

    @property
    def rate(self) -> float:
        """Events per second after the first records."""
        return (self._events - self.first) / (self.ended - self.began)


class Bench:
    """The topic, and what reads it."""

    def __init__(self, events: int) -> None:
        self.events, self.runtime = events, SystemRuntime()
        self.connection = KafkaConnection(os.environ["KAFKA_BOOTSTRAP_SERVERS"])
        self.registry = ConfluentRegistry(RegistryApi(os.environ["SCHEMA_REGISTRY_URL"]), TOPIC)
        self.groups = 0

    def decoder(self) -> OrderEventDecoder:
        """As the order service has it."""
        return OrderEventDecoder(self.registry, OrderCodec())

    async def fill(self) -> None:
        """Write the events, framed with the registry's id."""
        codec = OrderCodec()
        schema_id = await self.registry.id_of(codec.schema)
        publisher = KafkaPublisher(self.connection, TOPIC)
        made = projection.records(self.runtime, self.events, TOPIC, lambda body: frame(schema_id, body))
        for start in range(0, len(made), BATCH):
            results = await publisher.publish(made[start : start + BATCH])
            assert all(isinstance(result, Acked) for result in results), results
        await publisher.close()

    async def plain(self) -> float:
        """Events per second of consume(500) and fastavro, nothing of ours."""
        settings = {"enable.auto.commit": False, "fetch.queue.backoff.ms": 5, "group.id": "plain"}
        consumer = Consumer({"bootstrap.servers": self.connection.bootstrap_servers, **settings})
        consumer.assign([TopicPartition(TOPIC, number, 0) for number in range(PARTITIONS)])
        schema = parse_schema(json.loads(SCHEMA.read_text()))
        seen, first, began = 0, 0, 0.0
        while seen < self.events:
            # Short: a time-out waits for a full batch, and the last one never is.
            for message in (messages := consumer.consume(BATCH, 0.005)):
                _, body = unframe(message.value())
                schemaless_reader(io.BytesIO(body), schema, None)
            seen += len(messages)
            if messages and not first:
                first, began = len(messages), time.perf_counter()
        took = time.perf_counter() - began
        consumer.close()
        return (self.events - first) / took

    async def read_and_decode(self) -> float:
        """Events per second of our reader and our decoder."""
        reader, decoder = KafkaReader(self.connection, TOPIC, self.runtime.now), self.decoder()
        seen, first, began = 0, 0, 0.0
        while seen < self.events:
            polled = await reader.poll(BATCH, 1.0)
            if polled.assigned:
                await reader.seek(dict.fromkeys(polled.assigned, 0))
            if polled.records and not first:
                first, began = len(polled.records), time.perf_counter()
            seen += len(await decoder.decode(polled.records))
        took = time.perf_counter() - began
        await reader.close()
        return (self.events - first) / took

    async def project(self, views: SqliteViews | PostgresViews) -> float:
        """Events per second of the whole consumer, as a member of a new group, from an empty read model."""
        self.groups += 1
        source = KafkaSource(self.connection, f"bench-{self.groups}", TOPIC, self.runtime.now)
        timed, decoder, waiters = Timed(source, self.events), self.decoder(), Waiters(self.runtime)
        held = HeldRecords(views, decoder, self.runtime, TOPIC)
        consumer = EventConsumer(timed, decoder, views, held, waiters, self.runtime, Silent(), TOPIC)
        consuming = asyncio.get_running_loop().create_task(consumer.run())
        await asyncio.wait_for(timed.done.wait(), PATIENCE)
        consuming.cancel()
        await asyncio.wait([consuming])
        assert (await views.stats()).total == self.events
        await views.close()
        await source.close()
        return timed.rate


async def main(folder: Path, events: int, databases: Sequence[str]) -> None:
    """Fill, take turns, tell."""
    bench = Bench(events)
    await bench.fill()

    async def into_postgres(number: int) -> float:
        views = PostgresViews(databases[number])
        await views.open()
        return await bench.project(views)

    async def into_sqlite(number: int) -> float:
        return await bench.project(SqliteViews.open(folder / f"view-{number}.db"))

    turns: dict[str, Callable[[int], Awaitable[float]]] = {
        "consume and fastavro alone, nothing of ours": lambda _: bench.plain(),
        "our reader and decoder alone": lambda _: bench.read_and_decode(),
        "projection into PostgreSQL": into_postgres,
        "projection into SQLite": into_sqlite,
    }
    rates: dict[str, list[float]] = {name: [] for name in turns}
    for number in range(len(databases)):
        for name, turn in turns.items():
            rates[name].append(await turn(number))
    await bench.registry.close()
    plain, alone, *whole = rates
    print(f"### Projection of {events:,} events from Kafka, one process on one core\n")
    print("| what | events/s |\n|---|---|")
    for name, of_name in rates.items():
        print(f"| {name} | {Spread.of(of_name).text(0)} |")
    print()
    for name in whole:
        for base, goal in ((alone, 0.45), (plain, None)):
            ratio = Spread.of([a / b for a, b in zip(rates[name], rates[base], strict=True)])
            verdict = "" if goal is None else f" (at least {goal}: {'' if ratio.median >= goal else 'NOT '}reached)"
            print(f"- {name} / {base}: **{ratio.text()}**{verdict}")
    print()


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1]), int(sys.argv[2]), os.environ["BENCH_DATABASES"].split()))
