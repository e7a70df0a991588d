"""Faults of PostgreSQL: its link cut at every step of the protocol, crashes, a transaction that stays open."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections import Counter
from contextlib import AsyncExitStack

import asyncpg
import httpx

from ordering.adapters.avro.codec import OrderCodec
from ordering.adapters.postgres.writes import rounds_of, store
from ordering.adapters.system import SystemRuntime
from ordering.application.commands import ChangeRecorder, Context
from ordering.domain.generation import draft_of
from ordering.domain.inputs import NumItemsInput
from ordering.domain.order import Order
from tests.faults.cluster import ACCEPTING, PATIENCE, Cluster
from tests.faults.cutting import Cutter, Step, steps, through
from tests.faults.load import SEED, details, load, place, until_ready
from tests.faults.outcome import Limit, Outcome, none, worst
from tests.faults.parts import Parts, Trial
from tests.faults.singles import singles, tried
from tests.faults.watch import Watch
from tests.services.proxy import Proxy

AT_ONCE = 32
REACH_SECONDS = 60.0
"""How long it may take until traffic comes to a step: it is the light load's matter, not the product's."""
AGAIN_SECONDS = 2.0
"""How soon after a cut, or after the database answers again, changes are taken again."""


def database_cut(parts: Parts, *, cuts: int) -> Outcome:
    """The link between cart service and database is cut at one step of the protocol after the other."""
    return asyncio.run(_database_cut(parts, cuts))


async def _database_cut(parts: Parts, cuts: int) -> Outcome:
    with parts.trial("database-cut") as trial:
        assert trial.cluster.database is not None
        cutter = Cutter()
        with Proxy(f"127.0.0.1:{parts.postgres.port}") as proxy:
            proxy.watch = cutter
            url = through(trial.cluster.database, proxy.port)
            cart = await asyncio.to_thread(trial.cluster.cart, CART_DATABASE_URL=url)
            await asyncio.to_thread(trial.cluster.order)
            cut: Counter[str] = Counter()
            again: list[float] = []
            async with AsyncExitStack() as working:
                await working.enter_async_context(singles([cart.url], trial.ledger, "one"))
                watch = await working.enter_async_context(Watch(cart.url, trial.ledger, "watch"))
                await watch.first(201, time.monotonic())
                for step in steps(cuts):
                    await _cut(proxy, cutter, step)
                    again.append(await watch.first(201, time.monotonic()))
                    cut[step.purpose] += 1
            findings = await trial.settled()
            kinds = ", ".join(f"{purpose} {count}" for purpose, count in cut.items())
            ambiguous, unknown = cart.said("commit.ambiguous"), cart.said("commit.unknown")
            figures = (
                f"{cuts} cuts ({kinds}), {trial.counts()}, {trial.statuses().get(500, 0)} outcome-unknown, "
                f"{ambiguous} ambiguous commits, {unknown} of them never resolved, "
                f"answering again after {statistics.median(again):.3f} s in the middle"
            )
            limits = (
                none("cuts that made no commit ambiguous, of all", int(ambiguous == 0)),
                none("requests without an answer", trial.statuses().get(None, 0)),
                none("restarts of the service", cart.said("service.serving") - 1),
                Limit("changes are taken again after", max(again), AGAIN_SECONDS),
            )
            return Outcome(figures, findings, limits)


async def _cut(proxy: Proxy, cutter: Cutter, step: Step) -> None:
    """Wait until traffic has come to the step and its link is cut."""
    proxy.was_cut.clear()
    cutter.arm(step)
    if step.purpose in ("startup", "prepare write"):
        await asyncio.to_thread(proxy.cut)  # connections last: a new one comes after all are lost
    reached = await asyncio.to_thread(proxy.was_cut.wait, REACH_SECONDS)
    assert reached, f"nothing came to '{step}' within {REACH_SECONDS} s; seen: {sorted(cutter.seen)}"


def database_restart(parts: Parts, *, restarts: int) -> Outcome:
    """The database crashes and comes back, again and again, with both services on it."""
    return asyncio.run(_database_restart(parts, restarts))


async def _database_restart(parts: Parts, restarts: int) -> Outcome:
    with parts.trial("database-restart") as trial:
        cart = await asyncio.to_thread(trial.cluster.cart)
        order = await asyncio.to_thread(trial.cluster.order)
        again: list[float] = []
        ready: list[float] = []
        async with AsyncExitStack() as working:
            await working.enter_async_context(load(cart.url, trial.ledger, "load"))
            await working.enter_async_context(singles([cart.url], trial.ledger, "one"))
            watch = await working.enter_async_context(Watch(cart.url, trial.ledger, "watch"))
            for _ in range(restarts):
                await watch.steadily(201, 20)
                await asyncio.to_thread(parts.postgres.restart_immediately)
                back = time.monotonic()
                again.append(await watch.first(201, back))
                ready += [await until_ready(cart, back), await until_ready(order, back)]
        findings = await trial.settled()
        figures = (
            f"{restarts} crashes, {trial.counts()}, {trial.statuses().get(500, 0)} outcome-unknown, "
            f"{cart.said('commit.ambiguous')} ambiguous commits"
        )
        limits = (
            none("requests without an answer", trial.statuses().get(None, 0)),
            none("restarts of the services", cart.said("service.serving") + order.said("service.serving") - 2),
            worst("changes are taken again after", again, AGAIN_SECONDS),
            worst("both services are ready again after", ready, 5.0),
        )
        return Outcome(figures, findings, limits)


def low_id(parts: Parts, *, orders: int) -> Outcome:
    """A transaction that took its place in the outbox early commits after so many others: nothing passes it over."""
    return asyncio.run(_low_id(parts, orders))


async def _low_id(parts: Parts, orders: int) -> Outcome:
    with parts.trial("low-id", **ACCEPTING) as trial:
        database = trial.cluster.database
        assert database is not None
        cart = await asyncio.to_thread(trial.cluster.cart)
        order = await asyncio.to_thread(trial.cluster.order)
        connection = await asyncpg.connect(database, server_settings={"search_path": "ordering_cart"})
        try:
            assert await place(cart, trial.ledger, "before") == 201
            await connection.execute("BEGIN")
            ticket = trial.ledger.attempt("low", "pending")
            await _store(connection, trial.cluster, "low")
            low = await connection.fetchval("SELECT seq FROM outbox WHERE aggregate_id = 'low'")
            await _place_many(trial, cart.url, orders)
            # The others are in the log and seen, while this one is still open: nothing waits for it.
            assert (await details(order, f"many-{orders}")).status_code == 200, "others wait for the open transaction"
            await _until_drained(database)
            highest = await connection.fetchval("SELECT last_value FROM ordering_cart.outbox_seq_seq")
            await connection.execute("COMMIT")
            committed = time.monotonic()
            trial.ledger.answer(ticket, 201, 1)
            assert (await details(order, "low")).status_code == 200, "what committed late is not seen within 30 s"
            seen = time.monotonic() - committed
        finally:
            await connection.close()
        findings = await trial.settled()
        figures = f"place {low} of the outbox committed when place {highest} was in the log, {trial.counts()}"
        limits = (
            none("others that did not pass it", int(highest - low < orders)),
            Limit("seen after its commit within", seen, 2.0),  # a sweep a second finds what nobody told of
        )
        return Outcome(figures, findings, limits)


async def _store(connection: asyncpg.Connection, cluster: Cluster, order_id: str) -> None:
    """What the cart service does for a create, in the transaction that is open."""
    runtime = SystemRuntime()
    recorder = ChangeRecorder(OrderCodec(), runtime, cluster.topic, "cart-service")
    order, event = Order.place(draft_of(NumItemsInput(order_id, 1), random.Random(SEED)), recorder.stamp())
    [outcome] = await store(connection, rounds_of([recorder.write(order, event, Context("open"))]))
    assert outcome.first_in_line  # type: ignore[union-attr] -- nothing else is an outcome of a first version here


async def _place_many(trial: Trial, url: str, orders: int) -> None:
    """So many orders, from several clients; the last one comes last."""
    async with httpx.AsyncClient(timeout=PATIENCE) as http:

        async def one(number: int) -> None:
            order = f"many-{number}"
            body = {"orderId": order, "numItems": 1}
            assert await tried(http, trial.ledger, "POST", url, body, order, "pending", {}) == 201

        for first in range(1, orders, AT_ONCE):
            await asyncio.gather(*(one(number) for number in range(first, min(first + AT_ONCE, orders))))
        await one(orders)


async def _until_drained(database: str) -> None:
    """Wait until nothing in the outbox can be seen: everything that was committed is in the log and marked."""
    connection = await asyncpg.connect(database)
    try:
        deadline = time.monotonic() + PATIENCE
        while waiting := await connection.fetchval("SELECT count(*) FROM ordering_cart.outbox"):
            assert time.monotonic() < deadline, f"{waiting} events are not published after {PATIENCE} s"
            await asyncio.sleep(0.05)  # a table tells nobody that it is empty
    finally:
        await connection.close()
