"""Who answers: an instance that another one reads for, and an instance that must read everything itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import apsw
import attrs
import httpx

from ordering.application.partitioning import partition_of
from tests.e2e.crash_checker import Evidence, Findings, compare, journal_of, log_of
from tests.e2e.crash_clients import read_ledger
from tests.faults.cluster import PATIENCE, Instance
from tests.faults.load import details, load, place, until_not_ready, until_ready
from tests.faults.members import Members
from tests.faults.outcome import Limit, Outcome, none
from tests.faults.parts import SETTLE_SECONDS, Parts, Trial
from tests.faults.topic import acknowledged, records

T = TypeVar("T")

PARTITIONS = 3
SHOWN_SECONDS = 1.0
"""From the answer to a write until an instance that does not read its partition shows it."""
IDS_SECONDS = 5.0
TAKEN_ALONE_SECONDS = 15.0

_STORED = "SELECT order_id, version FROM ordering_cart.orders"
_JOURNAL = "SELECT aggregate_id, version, event_id, encode(body, 'hex') FROM ordering_cart.journal"


def read_elsewhere(parts: Parts, *, orders: int) -> Outcome:
    """Each order is waited for at instances that do not read its partition; then each lists all ids."""
    return asyncio.run(_read_elsewhere(parts, orders))


async def _read_elsewhere(parts: Parts, orders: int) -> Outcome:
    with parts.trial("group-read-elsewhere") as trial:
        cart, members = trial.cluster.cart(), Members(trial.cluster, 3)
        await members.start()
        shares = await members.shared(PARTITIONS)
        shown: list[float] = []
        listed: list[float] = []
        unseen, incomplete = 0, 0
        for number in range(orders):
            order = f"elsewhere-{number}"
            strangers = [
                member for member in members.all if partition_of(order.encode(), PARTITIONS) not in shares[member.name]
            ]
            # They ask before it is there: who comes late finds it without waiting for any news.
            waiting = [asyncio.create_task(_timed(details(member, order))) for member in strangers]
            assert await place(cart, trial.ledger, order) == 201
            taken = time.monotonic()
            answers = await asyncio.gather(*waiting)
            shown += [max(0.0, answered - taken) for answered, _ in answers]
            unseen += sum(answer.status_code != 200 for _, answer in answers)
            asked = time.monotonic()
            lists = await asyncio.gather(*(_timed(_ids(member, trial)) for member in members.all))
            listed += [answered - asked for answered, _ in lists]
            incomplete += sum(sorted(ids) != sorted(read_ledger(trial.path)) for _, ids in lists)
        assert members.shares() == shares, "the group moved partitions: nobody knows who read what"
        return Outcome(
            f"{orders} orders read from {len(shown)} instances that do not read their partition: {trial.counts()}",
            await trial.settled(),
            (
                Limit("slowest to show an order", max(shown), SHOWN_SECONDS),
                Limit("slowest list of all ids", max(listed), IDS_SECONDS),
                none("orders not shown", unseen),
                none("lists that were not exactly what was created", incomplete),
            ),
        )


async def _timed(question: Coroutine[Any, Any, T]) -> tuple[float, T]:
    """When it was answered, and how."""
    answer = await question
    return time.monotonic(), answer


async def _ids(member: Instance, trial: Trial) -> list[str]:
    async with httpx.AsyncClient(base_url=member.url, timeout=PATIENCE) as http:
        answer = await http.get("/api/getAllOrderIdsFromTopic", params={"topicName": trial.cluster.topic})
    told = answer.json()
    return list(told["orderIds"]) if answer.status_code == 200 else [str(told)]


@attrs.frozen
class _Alone:
    """An order service whose read model is a file in a folder of its own."""

    instance: Instance
    folder: Path

    @classmethod
    def of(cls, trial: Trial, name: str) -> _Alone:
        folder = trial.cluster.folder / name
        url = f"sqlite:///{folder}"
        return cls(trial.cluster.order(start=False, ORDER_DATABASE_URL=url, ORDERING_DATA_DIR=str(folder)), folder)


def files_in_a_group(parts: Parts, *, events: int) -> Outcome:
    """Two order services with read models in files come into one group; then one of them leaves it."""
    return asyncio.run(_files_in_a_group(parts, events))


async def _files_in_a_group(parts: Parts, events: int) -> Outcome:
    with parts.trial("group-of-files") as trial:
        cart, first, second = trial.cluster.cart(), _Alone.of(trial, "one"), _Alone.of(trial, "two")
        await asyncio.to_thread(first.instance.start)
        async with load(cart.url, trial.ledger, "L"):
            await acknowledged(trial, events)
            second.instance.start(wait=False)
            causes = [await until_not_ready(one.instance, "of 3 partitions") for one in (second, first)]
            await acknowledged(trial, events)
            causes += [await until_not_ready(one.instance, "of 3 partitions") for one in (second, first)]
            stopped = await asyncio.to_thread(first.instance.stop)
            alone = await until_ready(second.instance, time.monotonic())
            await acknowledged(trial, events)
        findings = await _settled(parts, trial, second)
        unexplained = sum("only member of its consumer group" not in cause for cause in causes)
        return Outcome(
            f"two read models in files in one group, then one: {trial.counts()}, told '{causes[0]}'",
            findings,
            (
                Limit("ready once it is alone", alone, TAKEN_ALONE_SECONDS),
                none("causes that do not say what to do", unexplained),
                none("stops that were not clean", int(stopped != 0)),
            ),
        )


async def _settled(parts: Parts, trial: Trial, reader: _Alone) -> Findings:
    """As ``Trial.settled``, with the rows of a file."""
    ledger, deadline = read_ledger(trial.path), time.monotonic() + SETTLE_SECONDS
    while True:
        findings = compare(await asyncio.to_thread(_evidence, parts, trial, reader), ledger)
        if findings.all_zero or time.monotonic() > deadline:
            return findings
        await asyncio.sleep(0.5)  # a database, a broker, a file and two processes: nothing tells when they agree


def _evidence(parts: Parts, trial: Trial, reader: _Alone) -> Evidence:
    database = trial.cluster.topic
    stored = [line.split("|") for line in parts.postgres.sql(_STORED, database).splitlines()]
    journal = [
        (order, int(version), event, bytes.fromhex(body))
        for order, version, event, body in (
            line.split("|") for line in parts.postgres.sql(_JOURNAL, database).splitlines()
        )
    ]
    log = [
        (message.partition() or 0, message.key() or b"", message.value() or b"")
        for message in records(trial.cluster.bootstrap, database)
    ]
    [counted] = _rows(reader.folder / "view.db", "SELECT sum(amount) FROM live_tallies WHERE kind = 'label'")[0]
    views = _rows(reader.folder / "view.db", "SELECT key, version, events_applied FROM live_rows")
    return Evidence(
        stored={order: int(version) for order, version in stored},
        journal=journal_of(journal),
        log=log_of(log),
        views={key: (version, applied) for key, version, applied in views},
        counted=int(counted or 0),
    )


def _rows(path: Path, query: str) -> list[Any]:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    connection.set_busy_timeout(5_000)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()
