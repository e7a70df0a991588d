"""The registry dies, hangs, is not there yet, or does not know an id: who notices, and who goes on."""

from __future__ import annotations

import asyncio
import io
import json
import time
import uuid
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import asyncpg
import confluent_kafka
import fastavro
import httpx

from tests.e2e.crash_checker import SCHEMA
from tests.faults import load
from tests.faults.broker import STEADY, repaired
from tests.faults.cluster import PATIENCE, PATIENT, Instance
from tests.faults.outcome import Limit, Outcome, none, worst
from tests.faults.parts import Parts, Trial
from tests.faults.watch import Watch
from tests.services.registry import Registry

LIVE_SECONDS = 1.0
"""A service whose registry hangs answers what does not need it within this time."""

_APPLIED = "SELECT key, version, events_applied FROM ordering_order.view_rows WHERE key = ANY($1)"


def down_under_load(parts: Parts, *, down: float) -> Outcome:
    """kill -9 of the registry under load, its schema known to both services. ``down``: seconds without it."""
    return asyncio.run(_down_under_load(parts, down))


async def _down_under_load(parts: Parts, down: float) -> Outcome:
    registry = parts.lasting_registry
    settings = {"BROKER_OUTAGE": "reject", **PATIENT}
    with repaired(registry), parts.trial("registry-down-under-load", lasting=True, **settings) as trial:
        cart, order = trial.cluster.cart(), trial.cluster.order()
        invisible = 0
        async with load.load(cart.url, trial.ledger, "R"), Watch(cart.url, trial.ledger, "W") as watch:
            await watch.steadily(201, STEADY)
            await load.details(order, "W-1")  # now the order service knows the schema, too
            await asyncio.to_thread(registry.kill)
            began, seen = time.monotonic(), len(watch.answers)
            while time.monotonic() < began + down or len(watch.answers) < seen + STEADY:
                await watch.steadily(201, 1)
                shown = await load.details(order, f"W-{len(watch.answers)}")
                invisible += shown.status_code != 200
            made = len(watch.answers) - seen
            await asyncio.to_thread(registry.start)
            await watch.steadily(201, STEADY)
        refused = trial.statuses().get(503, 0)
        return Outcome(
            f"registry killed for {down:g} s, {load.CLIENTS} clients and one watch: {trial.counts()}, "
            f"{made} orders of the watch meanwhile",
            await trial.settled(),
            (
                none("answers 503", refused),
                none("answers that were no success", sum(trial.statuses().values()) - _good(trial)),
                none("orders not visible while it was down", invisible),
            ),
        )


def _good(trial: Trial) -> int:
    return sum(count for status, count in trial.statuses().items() if status in {200, 201})


def down_at_cold_start(parts: Parts) -> Outcome:
    """Both services start, with events to publish and to project, while there is no registry; then it comes."""
    return asyncio.run(_cold(parts, "registry-down-at-cold-start", _killed, 0.0))


def hangs(parts: Parts, *, hanging: float) -> Outcome:
    """The same with a registry that accepts connections and answers nothing (SIGSTOP), for so many seconds."""
    return asyncio.run(_cold(parts, "registry-hangs", _paused, hanging))


@contextmanager
def _killed(registry: Registry) -> Iterator[None]:
    registry.kill()
    yield
    registry.start()


@contextmanager
def _paused(registry: Registry) -> Iterator[None]:
    registry.pause()
    yield
    registry.resume()


async def _cold(parts: Parts, name: str, fault: Any, seconds: float) -> Outcome:  # noqa: ANN401 -- a context manager
    registry = parts.lasting_registry
    with repaired(registry), parts.trial(name, lasting=True, BROKER_OUTAGE="reject") as trial:
        cart, order = await _earlier_life(trial)
        with fault(registry):
            cart.start(wait=False)
            order.start(wait=False)
            causes = {one.name: await load.until_not_ready(one, "registry") for one in (cart, order)}
            began = time.monotonic()
            async with AsyncExitStack() as stack:
                pulses = [
                    await stack.enter_async_context(load.Pulse(one, path))
                    for one in (cart, order)
                    for path in ("/health/live", "/health/ready")
                ]
                refused, refusing = [], []
                for number in range(3):
                    sent = time.monotonic()
                    refused.append(await load.place(cart, trial.ledger, f"early-{number}"))
                    refusing.append(time.monotonic() - sent)
                known = await load.details(order, "seen", wait=0)
                await asyncio.sleep(max(0.0, began + seconds - time.monotonic()))  # the fault's length is the input
        began = time.monotonic()
        ready = [await load.until_ready(one, began) for one in (cart, order)]
        placed = await load.place(cart, trial.ledger, "first")
        shown = [(await load.details(order, one)).status_code for one in ("unseen-1", "unseen-2", "first")]
        return Outcome(
            f"{name} ({causes}): {trial.counts()}, cart ready {ready[0]:.2f} s and order {ready[1]:.2f} s after it, "
            f"{sum(pulse.answers for pulse in pulses)} questions about health meanwhile",
            await trial.settled(),
            (
                none("changes not refused before", sum(status != 503 for status in refused)),
                none("orders refused once it says it is ready", int(placed != 201)),
                none("orders that did not flow", sum(status != 200 for status in shown)),
                none("known orders not shown meanwhile", int(known.status_code != 200)),
                worst("refused", refusing, LIVE_SECONDS),
                Limit("slowest answer about health", max(pulse.slowest for pulse in pulses), LIVE_SECONDS),
            ),
        )


async def _earlier_life(trial: Trial) -> tuple[Instance, Instance]:
    """One order that is projected and two that are not; then both services are stopped."""
    cart, order = trial.cluster.cart(), trial.cluster.order()
    for name in ("seen", "unseen-1", "unseen-2"):
        assert await load.place(cart, trial.ledger, name) == 201
        if name == "seen":
            assert (await load.details(order, name)).status_code == 200
            order.stop()
    cart.stop()
    return cart, order


def unknown_then_known(parts: Parts, *, orders: int) -> Outcome:
    """Somebody else's events come under an id that the registry does not know yet, for so many orders; then it does."""
    return asyncio.run(_unknown_then_known(parts, orders))


async def _unknown_then_known(parts: Parts, orders: int) -> Outcome:
    with parts.trial("unknown-schema-then-known", BROKER_OUTAGE="reject", **PATIENT) as trial:
        cart, order = trial.cluster.cart(), trial.cluster.order()
        strangers = [f"stranger-{number}" for number in range(orders)]
        async with httpx.AsyncClient(base_url=parts.registry.url, timeout=PATIENCE) as registry:
            known = await _registered(registry, f"{trial.cluster.topic}-value", None)
            last = await _registered(registry, "numbers", {"type": "fixed", "name": "n", "size": _size()})
            unknown = last + 1
            assert (await registry.get(f"/schemas/ids/{unknown}")).status_code == 404
            async with load.load(cart.url, trial.ledger, "U"), Watch(cart.url, trial.ledger, "W") as watch:
                await watch.steadily(201, STEADY)
                _publish(trial, strangers, [(1, "pending", unknown), (2, "confirmed", known)])
                held = [await _stats(order, "parked", orders), await _stats(order, "deadLetters", orders)]
                early = [(await load.details(order, one, wait=0)).status_code for one in strangers]
                # Behind those records in every partition, so that only going on past them shows these.
                began, invisible = len(watch.answers), 0
                for number in range(STEADY):
                    await watch.steadily(201, 1)
                    shown = await load.details(order, f"W-{began + number + 1}")
                    invisible += shown.status_code != 200
                given = await _registered(registry, f"{trial.cluster.topic}-strangers", _stranger_schema())
                assert given == unknown, f"the registry gave id {given}, not {unknown}"
                became = time.monotonic()
                late = await asyncio.gather(*(load.details(order, one, version=2) for one in strangers))
                took = time.monotonic() - became
        rows = await _rows(trial, strangers)
        return Outcome(
            f"{orders} orders under unknown id {unknown}, {load.CLIENTS} clients and one watch: {trial.counts()}, "
            f"held {held}, all at version 2 {took:.2f} s after the id became known",
            await trial.settled(strangers),
            (
                none("orders shown before their schema was known", sum(status != 404 for status in early)),
                none("other orders not visible meanwhile", invisible),
                none("orders that did not go on by themselves", sum(answer.status_code != 200 for answer in late)),
                none("orders with other than two events in order", sum(row != (2, 2) for row in rows.values())),
                none("orders without a row", orders - len(rows)),
                none("orders still held", await _stats(order, "deadLetters", 0)),
            ),
        )


async def _registered(registry: httpx.AsyncClient, subject: str, schema: object) -> int:
    """The id of a schema, registered now; of the subject's latest one without a schema."""
    if schema is None:
        return int((await registry.get(f"/subjects/{subject}/versions/latest")).raise_for_status().json()["id"])
    answer = await registry.post(f"/subjects/{subject}/versions", json={"schema": json.dumps(schema)})
    return int(answer.raise_for_status().json()["id"])


def _size() -> int:
    """Different at every call: a schema that is registered already gives no new number."""
    return 1 + uuid.uuid4().int % 1_000_000


def _stranger_schema() -> Any:  # noqa: ANN401 -- JSON
    """Ours as a later release might have it: the same fields, other words about them; so another id.

    Under one subject the registry finds both the same, so each has a subject of its own.
    """
    from importlib.resources import files  # noqa: PLC0415

    schema = json.loads((files("ordering") / "schemas" / "order-events-value" / "v1.avsc").read_text())
    schema["doc"] = f"{schema.get('doc', '')} ({uuid.uuid4()})"
    return schema


def _publish(trial: Trial, orders: list[str], events: list[tuple[int, str, int]]) -> None:
    """Events of these orders as (version, status, schema id), like one that the cart service has written."""
    written = _one_event(trial)
    producer = confluent_kafka.Producer({"bootstrap.servers": trial.cluster.bootstrap, "acks": "all"})
    for order in orders:
        for version, status, schema_id in events:
            event = {**written, "orderId": order, "version": version, "status": status, "eventId": str(uuid.uuid4())}
            body = io.BytesIO()
            fastavro.schemaless_writer(body, SCHEMA, event)
            value = b"\0" + schema_id.to_bytes(4, "big") + body.getvalue()
            producer.produce(trial.cluster.topic, value, order.encode(), partition=len(order) % 3)
    assert producer.flush(PATIENCE) == 0, "the strangers' events were not taken"


def _one_event(trial: Trial) -> dict[str, Any]:
    """Some event of the topic."""
    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": trial.cluster.bootstrap, "group.id": "strangers", "enable.auto.commit": False}
    )
    try:
        consumer.assign([confluent_kafka.TopicPartition(trial.cluster.topic, number, 0) for number in range(3)])
        message = consumer.poll(PATIENCE)
        assert message is not None, "the topic is empty"
        value = message.value()
        assert value is not None, "no order event"
        event = fastavro.schemaless_reader(io.BytesIO(value[5:]), SCHEMA, None)
        assert isinstance(event, dict)
        return event
    finally:
        consumer.close()


async def _stats(order: Instance, name: str, wanted: int) -> int:
    """A figure of the statistics, once it is this one."""
    deadline = time.monotonic() + PATIENCE
    async with httpx.AsyncClient(base_url=order.url, timeout=PATIENCE) as http:
        while True:
            told = (await http.get("/api/stats", params={"ids": "false"})).json()
            if told.get(name) == wanted:
                return wanted
            assert time.monotonic() < deadline, f"{name} is {told.get(name)}, not {wanted}"
            await asyncio.sleep(0.05)


async def _rows(trial: Trial, keys: list[str]) -> dict[str, tuple[int, int]]:
    """Version and number of applied events of these keys."""
    connection = await asyncpg.connect(trial.cluster.database)
    try:
        return {key: (version, applied) for key, version, applied in await connection.fetch(_APPLIED, keys)}
    finally:
        await connection.close()
