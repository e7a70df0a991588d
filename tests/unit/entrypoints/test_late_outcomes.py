"""Operators' commands beside others, and beside what happens meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from ordering.adapters.sqlite.log import SqlitePublisher
from ordering.adapters.sqlite.store import SqliteOrderStore
from ordering.application.failures import Refused
from ordering.entrypoints import container
from ordering.entrypoints.cli import orders
from ordering.entrypoints.container import Tools
from ordering.entrypoints.settings import Mode, Settings
from tests.contract.order_store.samples import write


async def test_looking_at_an_order_records_no_number_of_partitions(tmp_path: Path) -> None:
    """What the topic has grown to must not become the number for ever, because somebody looked before the service."""
    await SqliteOrderStore.open(tmp_path / "cart.db").close()
    tools = Tools(Settings(mode=Mode.CLUSTER, data_dir=tmp_path, kafka_bootstrap_servers="localhost:1"))
    assert await orders._recorded(tools, 12) == 12
    assert await tools.store.recorded_partitions(tools.settings.topic) is None
    assert await tools.store.partitions(tools.settings.topic, 6) == 6
    assert await orders._recorded(tools, 12) == 6
    await tools.close()


async def test_a_folder_made_meanwhile_is_told_in_one_line(tmp_path: Path) -> None:
    """By another backup, for one; what is in it stays."""
    data = tmp_path / "data"
    data.mkdir()
    await SqliteOrderStore.open(data / "cart.db").close()
    copying = container.back_up(Settings(mode=Mode.EMBEDDED, data_dir=data), tmp_path / "copy")
    next(copying)
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "cart.db").touch()
    with pytest.raises(Refused, match="exists already"):
        list(copying)


async def test_what_a_backup_publishes_again_is_not_parked_in_it(tmp_path: Path) -> None:
    """While the backup was made the event was refused and then published at another try, or it was published and the
    next one refused: nobody has to retry it."""
    data = tmp_path / "data"
    log = SqlitePublisher.open(data, "order-events", 6)
    store = SqliteOrderStore.open(data / "cart.db")
    await store.write([write("a"), write("b"), write("c"), write("c", 2)])
    await store.park("b", 1, "too large")
    copying = container.back_up(Settings(mode=Mode.EMBEDDED, data_dir=data), tmp_path / "copy")
    assert [next(copying).name for _ in range(2)] == ["view.db", "log-order-events.db"]
    await store.park("a", 1, "too large")
    await store.mark_published([("a", 1), ("c", 1)])
    await store.park("c", 2, "too large")
    list(copying)
    await store.close()
    await log.close()
    copied = SqliteOrderStore.look(tmp_path / "copy" / "cart.db")
    assert [(row.event.aggregate_id, row.event.version) for row in await copied.heads(9, ())] == [("a", 1), ("c", 1)]
    assert [row.event.aggregate_id for row in await copied.waiting(9, parked_only=True)] == ["b"]
    await copied.close()


async def test_what_was_published_and_trimmed_while_a_backup_was_made_is_missed(tmp_path: Path) -> None:
    """The log's copy was made before it was published, the store's after it was trimmed: neither has it."""
    data = tmp_path / "data"
    log = SqlitePublisher.open(data, "order-events", 6)
    store = SqliteOrderStore.open(data / "cart.db")
    await store.write([write("a", at=1), write("b", at=99)])
    await store.park("a", 1, "too large")
    copying = container.back_up(Settings(mode=Mode.EMBEDDED, data_dir=data), tmp_path / "copy")
    assert [next(copying).name for _ in range(2)] == ["view.db", "log-order-events.db"]
    await store.retry("a")
    await store.mark_published([("a", 1), ("b", 1)])
    await store.trim(answers_before=0, journal_before=50, limit=10)
    with pytest.raises(Refused, match=r"make the backup again"):
        list(copying)
    assert not (tmp_path / "copy.part").exists()
    list(container.back_up(Settings(mode=Mode.EMBEDDED, data_dir=data), tmp_path / "copy"))
    await store.close()
    await log.close()
