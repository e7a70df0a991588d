"""Stuck orders: what the commands show, and how they set things right while the services run."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
import apsw
import pytest
import structlog

from ordering.adapters.sqlite.log import SqlitePublisher
from ordering.application.commands import Context
from ordering.application.messages import Acked, OutgoingRecord
from ordering.application.partitioning import partition_of
from ordering.domain.status import OrderStatus
from ordering.entrypoints.container import embedded_cart
from ordering.entrypoints.observe import ServiceObserver
from ordering.entrypoints.settings import Settings
from tests.e2e.running import command, environment, running, until

pytestmark = pytest.mark.process

POISON = b"\x00\x00\x00\x00\x01 no event at all"


def rows(data: Path, *arguments: str) -> list[dict[str, Any]]:
    """What a command prints as JSON lines."""
    ended = command(*arguments, "--output", "json", env=environment(data))
    assert ended.stderr == ""
    return [json.loads(line) for line in ended.stdout.splitlines()]


def poison(data: Path, order_id: str) -> None:
    """Append a record that is no event, as a foreign producer might; no service runs."""

    async def append() -> None:
        publisher = SqlitePublisher.open(data, "order-events", 3)
        key = order_id.encode()
        record = OutgoingRecord("order-events", partition_of(key, 3), key, POISON, (), 1_700_000_000_000)
        (result,) = await publisher.publish([record])
        await publisher.close()
        assert isinstance(result, Acked)

    anyio.run(append)


def test_a_poisoned_order_is_shown_and_set_right(tmp_path: Path) -> None:
    """One bad record holds one order; discarding it lets what is parked behind it through, in order."""
    data = tmp_path / "data"
    with running(data) as system:
        assert system.place("stuck") == 201
        assert system.stop() == 0
    poison(data, "stuck")
    with running(data) as system:
        confirm = {"orderId": "stuck", "status": "confirmed"}
        assert system.call("PUT", f"{system.cart}/api/update-order", confirm)[0] == 200
        until(lambda: len(rows(data, "dlq", "show", "stuck")) == 2, "poison and what is parked behind it are held")

        (letter,) = rows(data, "dlq", "list")
        (shown,) = rows(data, "orders", "show", "stuck")
        (tried,) = rows(data, "dlq", "discard", "stuck", "--dry-run")
        assert letter["orderId"] == "stuck"
        assert letter["reason"] == "corrupt"
        assert "the read model holds it back: corrupt" in shown["verdict"]
        assert (tried["discarded"], tried["released"], tried["dryRun"]) == (1, 1, True)
        assert len(rows(data, "dlq", "show", "stuck")) == 2

        (done,) = rows(data, "dlq", "discard", "stuck")
        status, answer = system.call("GET", f"{system.order}/api/order-details?orderId=stuck&minVersion=2&wait=30")
        assert (done["discarded"], done["released"], done["stillHeld"]) == (1, 1, 0)
        assert status == 200
        assert answer["data"]["status"] == "confirmed"
        assert rows(data, "dlq", "list") == []


def test_a_gap_that_people_open_is_told_to_them(tmp_path: Path) -> None:
    """From which version to which, by what opened it and by what would; it is no failure."""
    data = tmp_path / "data"
    with running(data) as system:
        assert system.place("gappy") == 201
        for status in ("confirmed", "shipped"):
            body = {"orderId": "gappy", "status": status}
            assert system.call("PUT", f"{system.cart}/api/update-order", body)[0] == 200
        assert system.stop() == 0
    damaged = apsw.Connection(str(data / "log-order-events.db"))
    damaged.execute("UPDATE records SET value = ? WHERE arrival = 2", (POISON,))
    damaged.close()
    for left in data.glob("view.db*"):  # it has read the log as it was
        left.unlink()
    with running(data) as system:
        until(lambda: len(rows(data, "dlq", "show", "gappy")) == 2, "the damaged one and the next are held")
        assert rows(data, "dlq", "discard", "gappy", "--dry-run")[0]["gaps"] == [{"from": 1, "to": 3}]
        done = command("dlq", "discard", "gappy", env=environment(data))
        assert system.stop() == 0

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "gappy: released 1, discarded 1\ngappy: a gap: it went from version 1 to 3\n"


def test_releasing_what_cannot_be_read_yet_changes_nothing(tmp_path: Path) -> None:
    """It says why, and exits 1."""
    data = tmp_path / "data"
    with running(data) as system:
        assert system.stop() == 0
    poison(data, "poisoned")
    with running(data):
        until(lambda: rows(data, "dlq", "list") != [], "the poison is held")
        ended = command("dlq", "release", "poisoned", env=environment(data))

    assert ended.returncode == 1
    assert ended.stdout == "poisoned: released 0, discarded 0; 1 still held: corrupt\n"


def park(data: Path, order_id: str) -> None:
    """Confirm an order and park its outbox, as if the log had refused the event; no service runs."""

    async def confirm() -> None:
        async with AsyncExitStack() as exits:
            cart = embedded_cart(
                Settings(data_dir=data), ServiceObserver(structlog.wrap_logger(structlog.testing.ReturnLogger())), exits
            )
            stored = await cart.store().get(order_id)
            assert stored is not None
            placed = cart.codec().decode(stored.encoded).order
            changed, event = placed.change_status(OrderStatus.CONFIRMED, cart.recorder().stamp())
            await cart.store().write([cart.recorder().write(changed, event, Context("by-hand"))])
            await cart.store().park(order_id, changed.version, "the record is too large")

    anyio.run(confirm)


def test_a_parked_order_is_shown_and_published_again(tmp_path: Path) -> None:
    """An order whose event the log refused waits for people, and goes on when they say so."""
    data = tmp_path / "data"
    with running(data) as system:
        assert system.place("parked") == 201
        assert system.stop() == 0
    park(data, "parked")
    with running(data) as system:
        (waiting,) = rows(data, "outbox", "list", "--parked")
        (shown,) = rows(data, "orders", "show", "parked")
        retried = command("outbox", "retry", "parked", env=environment(data))
        status, _ = system.call("GET", f"{system.order}/api/order-details?orderId=parked&minVersion=2&wait=30")
        until(lambda: rows(data, "outbox", "list") == [], "the event is marked published")

    assert (waiting["orderId"], waiting["version"], waiting["parked"]) == ("parked", 2, "the record is too large")
    assert shown["verdict"] == "its events are parked in the outbox: the record is too large"
    assert [entry["state"] for entry in shown["journal"]] == ["published", "parked: the record is too large"]
    assert retried.stdout == "1 parked order will be published again\n"
    assert status == 200
