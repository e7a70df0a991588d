"""Several cart services on one database: killed, paused, racing for the same orders."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import Callable
from contextlib import AsyncExitStack

import attrs
import httpx

from tests.e2e.crash_clients import Ledger
from tests.faults.cluster import ACCEPTING, PATIENCE, Instance
from tests.faults.cutting import Cutter, Step, through
from tests.faults.load import load, until_ready
from tests.faults.outcome import Limit, Outcome, none
from tests.faults.parts import Parts, Trial
from tests.faults.singles import singles, tried
from tests.services.proxy import Direction, Proxy

_LEADING = '"relay.leading"'
LEASE_SECONDS = 2.0
SLOW_BROKER_SECONDS = 0.02
"""How much later everything reaches the broker, and its answers us: version 1 stays unpublished for a while."""
BURST = 16
"""How many orders are placed at the same moment through an instance that is killed before all are answered."""


def instance_killed(parts: Parts, *, kills: int) -> Outcome:
    """The instance that has just answered version 1 is killed, and version 2 goes through the other one at once.

    In turn the one that relays and the one that does not: an event that waits in the database for its relay, and one
    that was in its relay's hands.
    """
    return asyncio.run(_instance_killed(parts, kills))


async def _instance_killed(parts: Parts, kills: int) -> Outcome:
    kafka, postgres = parts.kafka, f"127.0.0.1:{parts.postgres.port}"
    with (
        Proxy(kafka.proxied, port=kafka.proxy_port) as to_broker,
        Proxy(postgres) as to_database,
        parts.trial("instance-killed") as trial,
    ):
        assert trial.cluster.database is not None
        to_broker.delay = SLOW_BROKER_SECONDS
        # An instance may die before it has told the relay of what it committed; here no such word ever arrives.
        to_database.watch = unheard = Cutter()
        unheard.arm(Step("nudge", Direction.TO_TARGET, 0), again=True)
        database = through(trial.cluster.database, to_database.port)
        pair = await _pair(trial, KAFKA_BOOTSTRAP_SERVERS=kafka.behind_proxy, CART_DATABASE_URL=database)
        await asyncio.to_thread(trial.cluster.order)
        changed = holders = 0
        for number in range(kills):
            holder, other = await _holder(pair), await _other(pair)
            victim, survivor = (other, holder) if number % 2 else (holder, other)
            led = _led(pair)
            holders += victim is holder
            burst = _Burst(trial.ledger, f"kill-{number}", victim, survivor, spare=number % BURST)
            await burst.run()
            changed += burst.changed
            await asyncio.to_thread(victim.start)
            if victim is holder:
                await _until(lambda before=led: _led(pair) > before, "somebody relays again")
        findings = await trial.settled()
        figures = f"{kills} kills ({holders} of the relay), {changed} orders changed elsewhere, {trial.counts()}"
        return Outcome(figures, findings, (none("kills without a change elsewhere", int(changed < kills)),))


@attrs.define
class _Burst:
    """Orders placed at once through one instance, which dies at an answer; each is changed through the other one."""

    ledger: Ledger
    name: str
    victim: Instance
    survivor: Instance
    spare: int
    """How many answers come before the one that it does not outlive."""
    answered: int = 0
    changed: int = 0

    async def run(self) -> None:
        async with httpx.AsyncClient(timeout=PATIENCE) as http:
            await asyncio.gather(*(self._one(http, f"{self.name}-{number}") for number in range(BURST)))
        assert self.answered > self.spare, f"{self.victim.name} answered {self.answered} of {BURST} orders"

    async def _one(self, http: httpx.AsyncClient, order: str) -> None:
        body = {"orderId": order, "numItems": 1}
        # A closed gate is a refusal (nobody relays until the lease has run out), so it is asked again; so is the
        # victim, which may just have stood still.
        deadline = time.monotonic() + PATIENCE
        while (status := await tried(http, self.ledger, "POST", self.victim.url, body, order, "pending", {})) == 503:
            assert time.monotonic() < deadline, f"{self.victim.name} takes no {order}"
            await asyncio.sleep(0.02)
        if status != 201:
            return
        self.answered += 1
        if self.answered == self.spare + 1:
            self.victim.kill()
        deadline = time.monotonic() + PATIENCE
        change = {"orderId": order, "status": "confirmed"}
        while await tried(http, self.ledger, "PUT", self.survivor.url, change, order, "confirmed", {}) != 200:
            assert time.monotonic() < deadline, f"{self.survivor.name} takes no change of {order}"
            await asyncio.sleep(0.02)
        self.changed += 1


def instance_paused(parts: Parts, *, pauses: int) -> Outcome:
    """The instance that relays stands still for two leases under load, and goes on as if nothing had happened."""
    return asyncio.run(_instance_paused(parts, pauses))


async def _instance_paused(parts: Parts, pauses: int) -> Outcome:
    with parts.trial("instance-paused") as trial:
        pair = await _pair(trial)
        await asyncio.to_thread(trial.cluster.order)
        taken: list[float] = []
        async with AsyncExitStack() as working:
            for instance in pair:
                await working.enter_async_context(load(instance.url, trial.ledger, instance.name, pause=0.2))
            await working.enter_async_context(singles([one.url for one in pair], trial.ledger, "one"))
            for _ in range(pauses):
                holder, other = await _holder(pair), await _other(pair)
                taken.append(await _paused(trial.ledger, holder, other))
        findings = await trial.settled()
        unanswered = trial.statuses().get(None, 0)
        figures = (
            f"{pauses} pauses of {2 * LEASE_SECONDS:g} s, {trial.counts()}, {unanswered} without an answer, "
            f"{findings.repeated} late repeats"
        )
        limits = (
            Limit("another one relays after", max(taken), LEASE_SECONDS + 1.0),  # it asks every half second
        )
        return Outcome(figures, findings, limits)


async def _paused(ledger: Ledger, holder: Instance, other: Instance) -> float:
    """Stop the holder for two leases in the middle of its work; how long the other one took to relay instead."""
    before = other.said(_LEADING)
    reached = ledger.acknowledged + 50  # so that there is something in its hands
    await _until(lambda: ledger.acknowledged >= reached, "50 changes are acknowledged")
    holder.pause()
    began = time.monotonic()
    try:
        await _until(lambda: other.said(_LEADING) > before, f"{other.name} relays")
        taken = time.monotonic() - began
        await asyncio.sleep(max(0.0, began + 2 * LEASE_SECONDS - time.monotonic()))  # the pause is the fault itself
    finally:
        holder.resume()
    await until_ready(holder, began)
    return taken


def seen_from_elsewhere(parts: Parts, *, orders: int) -> Outcome:
    """What is written where nobody relays is told to the one that does: it is not left to the sweep of each second."""
    return asyncio.run(_seen_from_elsewhere(parts, orders))


async def _seen_from_elsewhere(parts: Parts, orders: int) -> Outcome:
    with parts.trial("seen-from-elsewhere", **ACCEPTING) as trial:
        pair = await _pair(trial)
        order = await asyncio.to_thread(trial.cluster.order)
        times = {
            "there": await _seen(trial.ledger, "there", await _holder(pair), order, orders),
            "elsewhere": await _seen(trial.ledger, "elsewhere", await _other(pair), order, orders),
        }
        findings = await trial.settled()
        middle = {name: statistics.median(measured) for name, measured in times.items()}
        told = ", ".join(
            f"{name} {middle[name] * 1e3:.0f} ms (at most {max(measured) * 1e3:.0f})"
            for name, measured in times.items()
        )
        figures = f"{orders} orders each way, from answer to visible in the middle: {told}"
        return Outcome(figures, findings, (Limit("seen from elsewhere within", middle["elsewhere"], 0.25),))


async def _seen(ledger: Ledger, name: str, cart: Instance, order: Instance, orders: int) -> list[float]:
    """Seconds from the answer to a create until the order can be read, one order after the other."""
    times = []
    async with httpx.AsyncClient(timeout=PATIENCE) as http:
        for number in range(orders):
            one = f"{name}-{number}"
            assert (
                await tried(http, ledger, "POST", cart.url, {"orderId": one, "numItems": 1}, one, "pending", {}) == 201
            )
            answered = time.monotonic()
            said = await http.get(f"{order.url}/api/order-details", params={"orderId": one, "wait": 30})
            assert said.status_code == 200, said.text
            times.append(time.monotonic() - answered)
    return times


async def _pair(trial: Trial, **settings: str) -> tuple[Instance, Instance]:
    make = trial.cluster.cart
    return await asyncio.to_thread(make, **settings), await asyncio.to_thread(make, **settings)


async def _holder(pair: tuple[Instance, Instance]) -> Instance:
    """The instance that relays: the last one that said so."""
    await _until(lambda: _led(pair) > 0, "one of them relays")
    return max(pair, key=_led_since)


async def _other(pair: tuple[Instance, Instance]) -> Instance:
    holder = await _holder(pair)
    return pair[1] if holder is pair[0] else pair[0]


def _led(pair: tuple[Instance, Instance]) -> int:
    """How often one of them has begun to relay."""
    return sum(instance.said(_LEADING) for instance in pair)


def _led_since(instance: Instance) -> str:
    """When an instance last began to relay; all tell it by the same clock, in texts that sort by time."""
    lines = [line for line in instance.log.read_text(errors="replace").splitlines() if _LEADING in line]
    return str(json.loads(lines[-1])["timestamp"]) if lines else ""


async def _until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"not within {PATIENCE} s: {what}"
        await asyncio.sleep(0.02)
