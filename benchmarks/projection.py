"""The projection (rows and positions durable in one transaction) against reading and decoding the same log alone.

``python -m benchmarks.projection FOLDER ROUNDS`` fills a log once and lets both take turns in one process.
"""

import asyncio
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from random import Random

import uvloop

from benchmarks.statistics import Spread
from ordering.adapters.avro.codec import OrderCodec
from ordering.adapters.avro.decoder import OrderEventDecoder
from ordering.adapters.avro.registry import BuiltInRegistry
from ordering.adapters.sqlite.log import SqlitePublisher, SqliteSource
from ordering.adapters.sqlite.views import SqliteViews
from ordering.adapters.system import SystemRuntime
from ordering.application.commands import ChangeRecorder, Context
from ordering.application.consume_events import EventConsumer
from ordering.application.dead_letters import HeldRecords
from ordering.application.framing import frame
from ordering.application.messages import OutgoingRecord
from ordering.application.partitioning import partition_of
from ordering.application.waiters import Waiters
from ordering.domain.currencies import find
from ordering.domain.order import Order, OrderDraft, OrderLine

TOPIC, PARTITIONS, EVENTS, BATCH = "order-events", 3, 100_000, 500


class Silent:
    """An observer that drops everything."""

    def changed(self, what: str, **facts: object) -> None:
        """Nothing."""

    def alarmed(self, what: str, **facts: object) -> None:
        """Nothing."""

    def noted(self, what: str, **facts: object) -> None:
        """Nothing."""

    def counted(self, what: str, amount: int = 1, *, of: str | None = None) -> None:
        """Nothing."""

    def measured(self, what: str, value: float) -> None:
        """Nothing."""


def records(
    runtime: SystemRuntime, events: int, topic: str, framed: Callable[[bytes], bytes], seed: int = 1
) -> list[OutgoingRecord]:
    """A log's worth of placed orders with scattered ids and three items each; ``framed`` puts a schema's id before the
    body of an event. Other seeds make other orders."""
    recorder, random = ChangeRecorder(OrderCodec(), runtime, topic, "urn:benchmark"), Random(seed)
    dollars = find("USD")
    assert dollars is not None
    lines = tuple(OrderLine(f"ITEM-{n}", n, Decimal("10.25") * n) for n in (1, 2, 3))
    made = []
    for _ in range(events):
        draft = OrderDraft(f"ORDER-{random.getrandbits(48):012x}", "CUST-1", dollars, lines)
        event = recorder.write(*Order.place(draft, recorder.stamp()), Context("benchmark")).event
        assert event is not None
        partition = partition_of(event.key, PARTITIONS)
        value = framed(event.encoded.body)
        made.append(OutgoingRecord(topic, partition, event.key, value, event.headers, event.occurred_at // 1000))
    return made


async def fill(folder: Path, runtime: SystemRuntime) -> None:
    """Write the log."""
    publisher = SqlitePublisher.open(folder, TOPIC, PARTITIONS)
    made = records(runtime, EVENTS, TOPIC, lambda body: frame(1, body))
    for start in range(0, len(made), BATCH):
        await publisher.publish(made[start : start + BATCH])
    await publisher.close()


async def read_and_decode(folder: Path, runtime: SystemRuntime) -> float:
    """Events per second of poll and decode alone."""
    source = SqliteSource(folder, TOPIC, runtime.now)
    decoder = OrderEventDecoder(BuiltInRegistry(), OrderCodec())
    await source.seek(dict.fromkeys(range(PARTITIONS), 0))
    seen, began = 0, time.perf_counter()
    while seen < EVENTS:
        polled = await source.poll(BATCH, 1.0)
        seen += len(await decoder.decode(polled.records))
        if polled.assigned:
            await source.seek(dict.fromkeys(polled.assigned, 0))
    took = time.perf_counter() - began
    source.close()
    return EVENTS / took


async def project(folder: Path, runtime: SystemRuntime, view: Path) -> float:
    """Events per second of the whole consumer, from an empty read model to the end of the log."""
    source, views = SqliteSource(folder, TOPIC, runtime.now), SqliteViews.open(view)
    decoder, waiters = OrderEventDecoder(BuiltInRegistry(), OrderCodec()), Waiters(runtime)
    held = HeldRecords(views, decoder, runtime, TOPIC)
    consumer = EventConsumer(source, decoder, views, held, waiters, runtime, Silent(), TOPIC)
    began = time.perf_counter()
    consuming = asyncio.get_running_loop().create_task(consumer.run())
    with waiters.waiting(None) as waiter:
        while sum((await views.positions(TOPIC)).values()) < EVENTS:
            await waiter.next(1.0)
    took = time.perf_counter() - began
    consuming.cancel()
    await asyncio.wait([consuming])
    assert (await views.stats()).total == EVENTS
    await views.close()
    source.close()
    return EVENTS / took


async def main(folder: Path, rounds: int) -> None:
    """Fill, take turns, tell."""
    runtime = SystemRuntime()
    await fill(folder, runtime)
    alone, whole = [], []
    for number in range(rounds):
        alone.append(await read_and_decode(folder, runtime))
        whole.append(await project(folder, runtime, folder / f"view-{number}.db"))
    ratio = Spread.of([a / b for a, b in zip(whole, alone, strict=True)])
    verdict = "reached" if ratio.median >= 0.5 else "NOT reached"
    print(f"## Projection of {EVENTS:,} events, one process on one core\n")
    print("| what | events/s |\n|---|---|")
    print(f"| read and decode alone | {Spread.of(alone).text(0)} |")
    print(f"| projection, rows and positions durable | {Spread.of(whole).text(0)} |")
    print(f"\n- projection / read and decode: **{ratio.text()}** (at least 0.5, aim 0.65: {verdict})\n")


if __name__ == "__main__":
    Path(sys.argv[1]).mkdir(mode=0o700)
    uvloop.run(main(Path(sys.argv[1]), int(sys.argv[2])))
