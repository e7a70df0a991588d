"""``ordering backup``: files copied one after the other while services work fit together."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from ordering.application.failures import Refused
from ordering.entrypoints import container
from ordering.entrypoints.settings import Mode, Settings
from tests.http.systems import EmbeddedBody, System, system_of

PATIENCE = 60.0
FILES = ["view.db", "log-order-events.db", "cart.db"]


def settings(folder: Path) -> Settings:
    """The embedded mode on a folder."""
    return Settings(mode=Mode.EMBEDDED, data_dir=folder, seed=1)


async def placed(system: System, order_id: str) -> None:
    """A new order, as far as the read model: published and marked by then."""
    await system.given("pending", order_id)
    await system.visible(order_id)


async def marked(folder: Path) -> None:
    """Return when nothing waits to be marked as published any more."""
    tools = container.Tools(settings(folder))
    async with asyncio.timeout(PATIENCE):
        while (await tools.store.summary()).unpublished:  # noqa: ASYNC110 -- no event tells it
            await asyncio.sleep(0.005)
    await tools.close()


async def test_what_happens_between_two_files_fits_together_after_a_restore(tmp_path: Path) -> None:
    """Whatever the store's copy knows reaches the read model, once, and the restored system goes on: no order is lost,
    none refused at start, none in the log under two events."""
    async with system_of(EmbeddedBody(tmp_path / "data")) as system:
        await placed(system, "before")
        copying: Iterator[container.Copied] = container.back_up(settings(tmp_path / "data"), tmp_path / "copy")
        for number, name in enumerate(FILES):
            assert next(copying).name == name
            await placed(system, f"after-{number}")
            await system.cart.put("/api/update-order", json={"orderId": "before", "status": STEPS[number]})
            await system.visible("before", number + 2)
            await marked(tmp_path / "data")
        assert list(copying) == []
    shutil.copytree(tmp_path / "copy", tmp_path / "restored")

    async with system_of(EmbeddedBody(tmp_path / "restored")) as system:
        for order_id, version in (("before", 3), ("after-0", 1), ("after-1", 1)):
            await system.visible(order_id, version)
        again = await system.order.get("/api/order-details", params={"orderId": "after-2"})
        assert again.status_code == 404
        await placed(system, "after-2")
        assert await system.given("pending", "new") == 1
        await system.visible("new")
        stats = (await system.order.get("/api/stats")).json()
    assert stats["totalOrders"] == 5
    assert (stats["gaps"], stats["late"], stats["deadLetters"], stats["lagEvents"]) == (0, 0, 0, 0)


STEPS = ("confirmed", "shipped", "delivered")


async def test_copies_are_private_whole_and_alone_in_their_folder(tmp_path: Path) -> None:
    """One file each, nothing of SQLite's beside it, nothing of the folder's name while it is being made."""
    async with system_of(EmbeddedBody(tmp_path / "data")) as system:
        await placed(system, "a")
        copied = container.back_up(settings(tmp_path / "data"), tmp_path / "copy")
        assert next(copied).size > 0
        assert not (tmp_path / "copy").exists()
        for each in copied:
            assert each.size > 0
    assert sorted(path.name for path in (tmp_path / "copy").iterdir()) == sorted(FILES)
    for path in (tmp_path / "copy").iterdir():
        assert path.stat().st_mode & 0o077 == 0
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        assert connection.pragma("integrity_check") == "ok"
        connection.close()


def test_a_backup_never_writes_over_anything(tmp_path: Path) -> None:
    """A folder that exists, what an earlier try left, nothing to copy at all: one line each, and nothing changes."""
    data = settings(tmp_path / "data")
    with pytest.raises(Refused, match="nothing to copy"):
        list(container.back_up(data, tmp_path / "copy"))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "copy").mkdir()
    with pytest.raises(Refused, match="exists already"):
        list(container.back_up(data, tmp_path / "copy"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data/view.db").touch()
    (tmp_path / "other.part").mkdir()
    with pytest.raises(Refused, match="remove it first"):
        list(container.back_up(data, tmp_path / "other"))


def test_a_backup_that_fails_leaves_nothing_in_the_way_of_the_next_one(tmp_path: Path) -> None:
    """A nightly job goes on by itself once the cause is gone; what was killed half way is for somebody to look at."""
    data = settings(tmp_path / "data")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/view.db").write_text("this is no database, and long enough to be looked at as one" * 20)
    for _ in range(2):
        with pytest.raises(Refused, match="not a database"):
            list(container.back_up(data, tmp_path / "copy"))
        assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("lost", ["log-order-events.db", "cart.db"])
async def test_a_backup_without_what_was_lost_is_none(tmp_path: Path, lost: str) -> None:
    """Its rest could not be started after a restore, and the last good backup might be thrown away for it."""
    async with system_of(EmbeddedBody(tmp_path / "data")) as system:
        await placed(system, "a")
    (tmp_path / "data" / lost).unlink()

    with pytest.raises(Refused, match=f"there is no .*{lost}, but there was one"):
        list(container.back_up(settings(tmp_path / "data"), tmp_path / "copy"))
    assert not (tmp_path / "copy").exists()


def test_where_nothing_lies_in_files_a_backup_says_who_has_one(tmp_path: Path) -> None:
    """On PostgreSQL there is no file to wait for."""
    url = "postgresql://ordering@127.0.0.1:1/ordering"
    cluster = Settings(
        mode=Mode.CLUSTER,
        data_dir=tmp_path,
        database_url=url,
        kafka_bootstrap_servers="127.0.0.1:1",
        schema_registry_url="http://127.0.0.1:1",
    )
    with pytest.raises(Refused, match=r"nothing of it lies in files.*PostgreSQL"):
        list(container.back_up(cluster, tmp_path / "copy"))
