"""The broker dies, hangs, or is not there yet, while clients work: what they are told meanwhile, and what is left."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
import attrs

from tests.faults import load
from tests.faults.cluster import PATIENCE, PATIENT
from tests.faults.outcome import Limit, Outcome, none, worst
from tests.faults.parts import Parts, Trial
from tests.faults.watch import Watch
from tests.services.part import Part
from tests.services.proxy import Proxy

STEADY = 10
"""So many answers in a row say that a state lasts."""
REFUSED_SECONDS = 2.0
HANGING_SECONDS = 6.0
BACK_SECONDS = 2.0
DRAINED_SECONDS = 30.0
UNREACHABLE = ("no broker can be reached", "the broker does not answer in time")

_LAST = "SELECT coalesce(max(seq), 0) FROM ordering_cart.outbox"
_ALL = "SELECT count(*) FROM ordering_cart.outbox"
_WAITING = "SELECT count(*) FROM ordering_cart.outbox WHERE seq <= $1"


@contextmanager
def repaired(part: Part) -> Iterator[None]:
    """Whatever happens in the block, the part runs afterwards: others need it."""
    try:
        yield
    finally:
        try:
            part.process  # noqa: B018 -- asks whether there is one
        except RuntimeError:
            part.start()
        part.resume()


@attrs.define
class _Times:
    """Of all rounds: seconds until the first 503, and until the first 201 once there is a broker again."""

    refused: list[float] = attrs.Factory(list)
    back: list[float] = attrs.Factory(list)
    taken: int = 0
    """Changes that were accepted during an outage, after it was known."""


def kill_reject(parts: Parts, *, rounds: int, down: float) -> Outcome:
    """kill -9 of the broker under load, several times, with BROKER_OUTAGE=reject. ``down``: seconds without it."""
    return asyncio.run(_kill_reject(parts, rounds, down))


async def _kill_reject(parts: Parts, rounds: int, down: float) -> Outcome:
    with repaired(parts.kafka), parts.trial("broker-kill-reject", BROKER_OUTAGE="reject", **PATIENT) as trial:
        cart, times = trial.cluster.cart(), _Times()
        trial.cluster.order()
        async with load.load(cart.url, trial.ledger, "K"), Watch(cart.url, trial.ledger, "W") as watch:
            for _ in range(rounds):
                await watch.steadily(201, STEADY)
                killed = time.monotonic()
                await asyncio.to_thread(parts.kafka.kill)
                await _outage(watch, times, killed, down, REFUSED_SECONDS)
                await asyncio.to_thread(parts.kafka.start)
                await _recovery(watch, times, time.monotonic())
            await watch.steadily(201, STEADY)
        return await _rejected(trial, watch, times, f"{rounds} kills of the broker, {down:g} s each", REFUSED_SECONDS)


def black_hole(parts: Parts, *, rounds: int, down: float) -> Outcome:
    """The cart's way to the broker swallows everything, several times. ``down``: seconds of it."""
    return asyncio.run(_black_hole(parts, rounds, down))


async def _black_hole(parts: Parts, rounds: int, down: float) -> Outcome:
    kafka = parts.kafka
    with (
        Proxy(kafka.proxied, port=kafka.proxy_port) as proxy,
        parts.trial("broker-black-hole", BROKER_OUTAGE="reject", **PATIENT) as trial,
    ):
        cart, times = trial.cluster.cart(KAFKA_BOOTSTRAP_SERVERS=kafka.behind_proxy), _Times()
        trial.cluster.order()
        async with load.load(cart.url, trial.ledger, "H"), Watch(cart.url, trial.ledger, "W") as watch:
            for _ in range(rounds):
                await watch.steadily(201, STEADY)
                began = time.monotonic()
                proxy.black_hole()
                await _outage(watch, times, began, down, HANGING_SECONDS)
                proxy.restore()
                await _recovery(watch, times, time.monotonic())
            await watch.steadily(201, STEADY)
        return await _rejected(trial, watch, times, f"{rounds} black holes, {down:g} s each", HANGING_SECONDS)


async def _outage(watch: Watch, times: _Times, began: float, seconds: float, limit: float) -> None:
    """The first 503, and the rest of the outage: from its first 503 on nothing may be taken."""
    times.refused.append(await watch.first(503, began, limit * 10))
    known = time.monotonic()
    await asyncio.sleep(max(0.0, began + seconds - known))  # how long the fault lasts is the scenario's input
    times.taken += sum(answer.sent > known and answer.status == 201 for answer in watch.answers)


async def _recovery(watch: Watch, times: _Times, answering: float) -> None:
    times.back.append(await watch.first(201, answering, PATIENCE))


async def _rejected(trial: Trial, watch: Watch, times: _Times, what: str, limit: float) -> Outcome:
    """Called while the cluster runs and the load has ended."""
    findings = await trial.settled()
    others = sum(count for status, count in trial.statuses().items() if status not in {200, 201, 503})
    return Outcome(
        f"{what}, {load.CLIENTS} clients and one watch: {trial.counts()}",
        findings,
        (
            worst("first 503", times.refused, limit),
            worst("back (201) after the broker answers", times.back, BACK_SECONDS),
            none("changes taken in a known outage", times.taken),
            none("answers that were neither success nor 503", others),
        ),
    )


def kill_accept(parts: Parts, *, rounds: int, down: float) -> Outcome:
    """kill -9 of the broker under load, several times, with BROKER_OUTAGE=accept. ``down``: seconds without it."""
    return asyncio.run(_kill_accept(parts, rounds, down))


async def _kill_accept(parts: Parts, rounds: int, down: float) -> Outcome:
    with repaired(parts.kafka), parts.trial("broker-kill-accept", BROKER_OUTAGE="accept", **PATIENT) as trial:
        cart, waiting, drained = trial.cluster.cart(), [], []
        trial.cluster.order()
        async with load.load(cart.url, trial.ledger, "A"), Watch(cart.url, trial.ledger, "W") as watch:
            for _ in range(rounds):
                await watch.steadily(201, STEADY)
                killed = time.monotonic()
                await asyncio.to_thread(parts.kafka.kill)
                await asyncio.sleep(max(0.0, killed + down - time.monotonic()))  # the fault's length is the input
                waiting.append(await _backlog(trial))
                await asyncio.to_thread(parts.kafka.start)
                drained.append(await _drained(trial))
        findings = await trial.settled()
        others = sum(count for status, count in trial.statuses().items() if status not in {200, 201})
        return Outcome(
            f"{rounds} kills of the broker, {down:g} s each, accepting: {trial.counts()}, "
            f"{'/'.join(map(str, waiting))} events waited",
            findings,
            (
                none("answers that were no success", others),
                none("rounds in which nothing waited for the broker", waiting.count(0)),
                worst("drained after the broker answers", drained, DRAINED_SECONDS),
            ),
        )


async def _backlog(trial: Trial) -> int:
    """How many events wait for the broker, which is away; none if after a long time there are none."""
    connection, deadline = await asyncpg.connect(trial.cluster.database), time.monotonic() + PATIENCE
    try:
        while not (waiting := await connection.fetchval(_ALL)) and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        return int(waiting)
    finally:
        await connection.close()


async def _drained(trial: Trial) -> float:
    """The seconds until the last of the events that wait now is published."""
    connection, began = await asyncpg.connect(trial.cluster.database), time.monotonic()
    try:
        last = await connection.fetchval(_LAST)
        while left := await connection.fetchval(_WAITING, last):
            assert time.monotonic() < began + 2 * PATIENCE, f"{left} events still wait for the broker"
            await asyncio.sleep(0.05)
        return time.monotonic() - began
    finally:
        await connection.close()


def down_at_start(parts: Parts) -> Outcome:
    """Both services start while there is no broker; then it comes."""
    return asyncio.run(_down_at_start(parts))


async def _down_at_start(parts: Parts) -> Outcome:
    with repaired(parts.kafka), parts.trial("broker-down-at-start", BROKER_OUTAGE="reject") as trial:
        cart, order = trial.cluster.cart(start=False), trial.cluster.order(start=False)
        await asyncio.to_thread(parts.kafka.kill)
        cart.start(wait=False)
        order.start(wait=False)
        causes = {one.name: await load.until_not_ready(one, *UNREACHABLE) for one in (cart, order)}
        refused = [await load.place(cart, trial.ledger, f"early-{number}") for number in range(3)]
        await asyncio.to_thread(parts.kafka.start)
        return await _comes_up(trial, f"started without a broker ({causes})", refused)


def topic_missing_at_start(parts: Parts) -> Outcome:
    """Both services start before the topic exists; then `ordering topics ensure` makes it."""
    return asyncio.run(_topic_missing_at_start(parts))


async def _topic_missing_at_start(parts: Parts) -> Outcome:
    with parts.trial("topic-missing-at-start", topic=False, BROKER_OUTAGE="reject") as trial:
        cart, order = trial.cluster.cart(start=False).start(wait=False), trial.cluster.order(start=False)
        order.start(wait=False)
        about = f"topic {trial.cluster.topic}"
        causes = {one.name: await load.until_not_ready(one, about) for one in (cart, order)}
        refused = [await load.place(cart, trial.ledger, f"early-{number}") for number in range(3)]
        await asyncio.to_thread(trial.cluster.ensure_topic)
        return await _comes_up(trial, f"started without the topic ({causes})", refused)


async def _comes_up(trial: Trial, what: str, refused: list[int]) -> Outcome:
    """Both become ready by themselves, and the first order flows."""
    cart, order = trial.cluster.instances
    began = time.monotonic()
    ready = [await load.until_ready(one, began) for one in (cart, order)]
    placed = await load.place(cart, trial.ledger, "first")
    shown = await load.details(order, "first")
    return Outcome(
        f"{what}: {trial.counts()}, cart ready after {ready[0]:.2f} s, order after {ready[1]:.2f} s",
        await trial.settled(),
        (
            none("changes not refused before", sum(status != 503 for status in refused)),
            none("orders refused once it says it is ready", int(placed != 201)),
            none("orders that did not flow", int(shown.status_code != 200)),
            Limit("both ready", max(ready), PATIENCE),
        ),
    )
