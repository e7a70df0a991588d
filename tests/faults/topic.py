"""The topic changes under its consumers: it grows, is made anew, is another cluster's, or loses its history."""

from __future__ import annotations

import asyncio
import io
import time
import uuid
from collections.abc import Callable
from typing import Any

import attrs
import fastavro
from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition

from tests.e2e.crash_checker import SCHEMA
from tests.e2e.running import carried_out
from tests.faults.cluster import PATIENCE, Instance
from tests.faults.load import details, load, place, until_not_ready, until_ready
from tests.faults.outcome import Limit, Outcome, none
from tests.faults.parts import Parts, Trial
from tests.services.kafka import Kafka
from tests.services.topics import Topics

PARTITIONS = 3
GROWN = 6
NOTICED_SECONDS = 20.0
"""Clients ask for a topic's metadata every 5 s, the cart service counts partitions every 10 s."""
ALARM_SECONDS = 10.0
STRANGER = "stranger"
KEPT = "kept"

_ROWS = """
SELECT key, version, events_applied FROM ordering_order.view_rows
WHERE generation = (SELECT generation FROM ordering_order.pointer) ORDER BY key
"""
_POSITIONS = """
SELECT partition, next FROM ordering_order.positions
WHERE generation = (SELECT generation FROM ordering_order.pointer) ORDER BY partition
"""


def grown(parts: Parts, *, events: int) -> Outcome:
    """Three partitions become six under load. ``events``: how many changes are acknowledged before, and after."""
    return asyncio.run(_grown(parts, events))


async def _grown(parts: Parts, events: int) -> Outcome:
    with parts.trial("topic-grown") as trial:
        bootstrap, topic = trial.cluster.bootstrap, trial.cluster.topic
        cart, orders = trial.cluster.cart(), [trial.cluster.order(), trial.cluster.order()]
        async with load(cart.url, trial.ledger, "G"):
            await acknowledged(trial, events)
            await asyncio.to_thread(Topics(bootstrap).grow, topic, GROWN)
            began = time.monotonic()
            await asyncio.to_thread(_publish_stranger, bootstrap, topic, GROWN - 1)
            shown = [(await details(order, STRANGER)).status_code for order in orders]
            applied = time.monotonic() - began
            await _said(cart, '"topic.partitions_differ"')
            warned = time.monotonic() - began
            await acknowledged(trial, events)
            await asyncio.to_thread(cart.stop)  # what it knows of the topic, it knows from its database
            await asyncio.to_thread(cart.start)
            await acknowledged(trial, events)
        findings = await trial.settled([STRANGER])
        keys = {partition: set[bytes | None]() for partition in range(GROWN)}
        for message in await asyncio.to_thread(records, bootstrap, topic):
            keys[message.partition() or 0].add(message.key())
        moved = sum(len(keys[partition] - {STRANGER.encode()}) for partition in range(PARTITIONS, GROWN))
        return Outcome(
            f"{PARTITIONS} partitions became {GROWN}: {trial.counts()}, order services' stops "
            f"{sum(order.said('consumer.halted') for order in orders)}",
            findings,
            (
                Limit("a record in a new partition is applied", applied, NOTICED_SECONDS),
                Limit("the cart service warns", warned, NOTICED_SECONDS),
                none("order services that do not show it", sum(status != 200 for status in shown)),
                none("orders that went to a new partition", moved),
                none("old partitions without an order", sum(not keys[partition] for partition in range(PARTITIONS))),
                none("order services that stopped", sum(order.said("consumer.halted") for order in orders)),
            ),
        )


@attrs.define
class _Halted:
    """An order service that must not go on: what it held when it stopped, and whether it keeps to that."""

    trial: Trial
    parts: Parts
    causes: list[str] = attrs.Factory(list)
    rows: str = ""
    positions: str = ""
    changed: int = 0
    silent: int = 0
    """Lives without the alarm."""

    async def expect(self, order: Instance, because: str) -> None:
        """Wait for the alarm and readiness; the first time note what is held, later compare."""
        told = await until_not_ready(order, because)
        self.causes.append(told)
        alarmed = order.said('"consumer.halted"')
        self.silent += alarmed < sum(because in cause for cause in self.causes)
        rows, positions = self._held()
        if self.rows:
            self.compare(rows, positions)
        self.rows, self.positions = rows, positions

    def compare(self, rows: str = "", positions: str = "") -> None:
        """With what was held when it stopped first."""
        held = (rows, positions) if rows else self._held()
        self.changed += held != (self.rows, self.positions)

    def _held(self) -> tuple[str, str]:
        database = self.trial.cluster.topic
        return self.parts.postgres.sql(_ROWS, database), self.parts.postgres.sql(_POSITIONS, database)

    async def limits(self, order: Instance) -> tuple[Limit, ...]:
        """Called while it is halted."""
        answered = (await details(order, KEPT, wait=0)).status_code
        return (
            none("halts without an alarm", self.silent),
            none("changes of rows or positions after the alarm", self.changed),
            none("orders that are not shown any more", int(answered != 200)),
        )


def recreated(parts: Parts, *, events: int) -> Outcome:
    """The topic is deleted and made again under load. ``events``: changes acknowledged before and after."""
    return asyncio.run(_recreated(parts, events))


async def _recreated(parts: Parts, events: int) -> Outcome:
    with parts.trial("topic-recreated") as trial:
        bootstrap, topic = trial.cluster.bootstrap, trial.cluster.topic
        cart, order = trial.cluster.cart(), trial.cluster.order()
        halted = _Halted(trial, parts)
        await _filled(trial, cart, order, events)
        findings = await trial.settled()  # up to here; what follows is what no log can give back
        async with load(cart.url, trial.ledger, "R"):
            await acknowledged(trial, events)
            await asyncio.to_thread(Topics(bootstrap).recreate_topic, topic, PARTITIONS)
            began = time.monotonic()
            await halted.expect(order, "was deleted and created again")
            alarmed = time.monotonic() - began
            await until_ready(cart, began)
            await acknowledged(trial, events)
            halted.compare()
            await asyncio.to_thread(order.stop)
            order.start(wait=False)
            await halted.expect(order, "was deleted and created again")
            await acknowledged(trial, events)
        halted.compare()
        versions = dict(line.split("|")[:2] for line in halted.rows.splitlines())
        fresh = [_event(message) for message in await asyncio.to_thread(records, bootstrap, topic)]
        taken = [event for event in fresh if int(versions.get(event["orderId"], 0)) >= event["version"]]
        return Outcome(
            f"made anew under load, {len(fresh)} records in the new one: {trial.counts()}, told '{halted.causes[0]}'",
            findings,
            (
                Limit("the alarm", alarmed, ALARM_SECONDS),
                none("records of the new topic applied", len(taken)),
                *await halted.limits(order),
            ),
        )


def elsewhere(parts: Parts, *, events: int) -> Outcome:
    """An order service is started against another cluster, with a topic of the same name; then against its own."""
    return asyncio.run(_elsewhere(parts, events))


async def _elsewhere(parts: Parts, events: int) -> Outcome:
    with parts.trial("topic-elsewhere") as trial:
        cart, order = trial.cluster.cart(), trial.cluster.order()
        halted = _Halted(trial, parts)
        await _filled(trial, cart, order, events)
        await trial.settled()
        await asyncio.to_thread(order.stop)
        limits: tuple[Limit, ...] = ()
        with Kafka() as other:
            Topics(other.bootstrap).create(trial.cluster.topic, PARTITIONS)
            misled = trial.cluster.order(start=False, KAFKA_BOOTSTRAP_SERVERS=other.bootstrap)
            for _ in range(2):
                misled.start(wait=False)
                await halted.expect(misled, f"this is {other.cluster_id}")
                limits = await halted.limits(misled)
                await asyncio.to_thread(misled.stop)
        async with load(cart.url, trial.ledger, "E"):
            await acknowledged(trial, events)
        await asyncio.to_thread(order.start)
        return Outcome(
            f"another cluster, twice, then its own again: {trial.counts()}, told '{halted.causes[0]}'",
            await trial.settled(),
            limits,
        )


def trimmed(parts: Parts, *, events: int) -> Outcome:
    """Records that an order service has read are deleted, and one more while it is away."""
    return asyncio.run(_trimmed(parts, events))


async def _trimmed(parts: Parts, events: int) -> Outcome:
    with parts.trial("topic-trimmed") as trial:
        bootstrap, topic = trial.cluster.bootstrap, trial.cluster.topic
        cart, order = trial.cluster.cart(), trial.cluster.order()
        halted = _Halted(trial, parts)
        await _filled(trial, cart, order, events)
        findings = await trial.settled()
        await asyncio.to_thread(order.stop)
        for partition, at in _positions(parts, trial).items():
            await asyncio.to_thread(Topics(bootstrap).trim, topic, partition, at)
        await asyncio.to_thread(order.start)
        assert await place(cart, trial.ledger, "after") == 201
        missed = (await details(order, "after")).status_code != 200
        tail = ("tail", "--from-beginning", "--no-follow", "--order", "after")
        told = await asyncio.to_thread(carried_out, *tail, env=trial.cluster.env)
        alarms = order.said("consumer.halted")
        await asyncio.to_thread(order.stop)
        async with load(cart.url, trial.ledger, "T"):
            await acknowledged(trial, events)
        ends: dict[int, int] = {}
        for message in await asyncio.to_thread(records, bootstrap, topic):
            ends[message.partition() or 0] = (message.offset() or 0) + 1
        positions = _positions(parts, trial)
        partition = max(ends, key=lambda one: ends[one] - positions[one])
        await asyncio.to_thread(Topics(bootstrap).trim, topic, partition, positions[partition] + 1)
        limits: tuple[Limit, ...] = ()
        for _ in range(2):
            order.start(wait=False)
            await halted.expect(order, f"the records from position {positions[partition]} on are gone")
            limits = await halted.limits(order)
            await asyncio.to_thread(order.stop)
        return Outcome(
            f"one record too many deleted: {trial.counts()}, told '{halted.causes[0]}'",
            findings,
            (
                *limits,
                none("alarms when only what was read was deleted", alarms),
                none("orders not shown after that", int(missed)),
                none("of them not told by `ordering tail --from-beginning`", int("after" not in told)),
            ),
        )


def _positions(parts: Parts, trial: Trial) -> dict[int, int]:
    lines = parts.postgres.sql(_POSITIONS, trial.cluster.topic).splitlines()
    return {int(partition): int(at) for partition, at in (line.split("|") for line in lines)}


# ------------------------------------------------------------------ what they share


async def _filled(trial: Trial, cart: Instance, order: Instance, events: int) -> None:
    assert await place(cart, trial.ledger, KEPT) == 201
    async with load(cart.url, trial.ledger, "F"):
        await acknowledged(trial, events)
    assert (await details(order, KEPT)).status_code == 200


async def acknowledged(trial: Trial, more: int) -> None:
    """Wait for so many more changes."""
    await _until(lambda goal=trial.ledger.acknowledged + more: trial.ledger.acknowledged >= goal, "changes")  # type: ignore[misc]


async def _said(instance: Instance, text: str) -> None:
    await _until(lambda: instance.said(text) > 0, f"{instance.name} says {text}")


async def _until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE} s"
        await asyncio.sleep(0.05)


def records(bootstrap: str, topic: str) -> list[Message]:
    """Everything in a topic now, each partition in order, read by a plain consumer outside any group."""
    settings = {"bootstrap.servers": bootstrap, "group.id": "faults", "enable.auto.commit": False}
    consumer = Consumer({**settings, "auto.offset.reset": "error"})
    found: list[Message] = []
    try:
        missing = {}
        for partition in consumer.list_topics(topic, PATIENCE).topics[topic].partitions:
            first, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), PATIENCE)
            if end > first:
                missing[partition] = (first, end)
        consumer.assign([TopicPartition(topic, partition, first) for partition, (first, _) in missing.items()])
        deadline = time.monotonic() + PATIENCE
        while missing:
            assert time.monotonic() < deadline, f"the topic could not be read to its ends: {missing}"
            for message in consumer.consume(1_000, 1.0):
                if message.error():
                    raise KafkaException(message.error())
                partition, offset = message.partition() or 0, message.offset() or 0
                found.append(message)
                if partition in missing and offset + 1 >= missing[partition][1]:
                    del missing[partition]
        return found
    finally:
        consumer.close()


def _event(message: Message) -> dict[str, Any]:
    value = message.value()
    assert value is not None, "a record without a value"
    event = fastavro.schemaless_reader(io.BytesIO(value[5:]), SCHEMA, None)
    assert isinstance(event, dict)
    return event


def _publish_stranger(bootstrap: str, topic: str, partition: int) -> None:
    """An order's first event as the cart service writes it, by another producer and where that would never put it."""
    sample = next(message for message in records(bootstrap, topic) if _event(message)["version"] == 1)
    value = sample.value()
    assert value is not None
    body = io.BytesIO(value[:5])
    body.seek(5)
    event = {**_event(sample), "orderId": STRANGER, "eventId": str(uuid.uuid4())}
    fastavro.schemaless_writer(body, SCHEMA, event)
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all"})
    producer.produce(topic, body.getvalue(), STRANGER.encode(), partition=partition)
    assert producer.flush(PATIENCE) == 0, "the stranger's event was not taken"
