"""What a SQLite file goes through around its use: readers at start, tools beside it, replacement."""

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import pytest

from ordering.adapters.sqlite.database import Reader, Refused, Writer, open_writer
from ordering.adapters.sqlite.log import SqlitePublisher, log_path
from ordering.adapters.sqlite.store import SqliteOrderStore
from ordering.adapters.sqlite.views import SqliteViews
from ordering.application.errors import BrokerUnavailable, CommitAmbiguous, StoreUnavailable
from ordering.application.messages import Acked, LogIdentity, Stored, Unsent
from tests.contract.event_log.conftest import TOPIC
from tests.contract.event_log.reading import records
from tests.contract.order_store.samples import write
from tests.integration.faulty_disk import faulty_disk

SCHEMA = "CREATE TABLE things (name TEXT NOT NULL) STRICT"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "things.db"


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[SqliteOrderStore]:
    """A service's store with one parked order."""
    opened = SqliteOrderStore.open(tmp_path / "cart.db")
    await opened.write([write("a")])
    await opened.park("a", 1, "too large")
    yield opened
    await opened.close()


def long_read(path: Path) -> apsw.Connection:
    """A read transaction that stays open, as a backup's does."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    connection.execute("BEGIN")
    connection.execute("SELECT * FROM sqlite_schema").fetchall()
    return connection


async def insert(writer: Writer, name: str) -> None:
    def job(connection: apsw.Connection) -> None:
        connection.execute("INSERT INTO things VALUES (?)", (name,))

    await writer.run(job)


# ---------------------------------------------------------------------------------------------- readers at start


async def test_a_service_starts_while_somebody_reads(tmp_path: Path, service: SqliteOrderStore) -> None:
    """A backup that runs when the service restarts is no outage, and nothing is lost by it."""
    backup = long_read(tmp_path / "cart.db")
    await service.write([write("b")])
    await service.close()
    again = SqliteOrderStore.open(tmp_path / "cart.db")
    assert await again.write([write("c")]) == [Stored(True)]
    assert await again.get("b") is not None
    await again.close()
    backup.close()


async def test_what_a_start_beside_a_reader_shows_is_synced(tmp_path: Path) -> None:
    """Commits that a crash left unsynced are durable before anybody acts on them, whether or not somebody reads."""
    with faulty_disk("beside-a-reader") as disk:
        crashed = open_writer(tmp_path / "x.db", SCHEMA, 1, vfs=disk.name, synchronous="NORMAL")
        backup = long_read(tmp_path / "x.db")
        await insert(crashed, "a")
        assert not disk.is_synced("x.db-wal")
        (tmp_path / "x.db.lock").unlink()  # its process is gone, as far as anybody can tell
        opened = open_writer(tmp_path / "x.db", SCHEMA, 1, vfs=disk.name)
        assert disk.is_synced("x.db-wal")
        backup.close()
        await opened.close()
        await crashed.close()


async def test_after_a_failed_sync_a_reader_is_waited_for(tmp_path: Path) -> None:
    """Another sync would prove nothing, so nothing is stored until all of the WAL can be written again."""
    with faulty_disk("failed-sync") as disk:
        writer = open_writer(tmp_path / "x.db", SCHEMA, 1, vfs=disk.name, busy_timeout=0)
        await insert(writer, "a")
        backup = long_read(tmp_path / "x.db")
        disk.failing_syncs = 1
        with pytest.raises(CommitAmbiguous):
            await insert(writer, "b")
        with pytest.raises(StoreUnavailable, match="long read"):
            await insert(writer, "c")
        backup.close()
        await insert(writer, "c")
        await writer.close()


async def test_after_a_failed_sync_a_reader_at_the_end_of_the_wal_is_waited_for(tmp_path: Path) -> None:
    """It keeps nothing from being written back, yet the WAL with its hole would still be believed."""
    with faulty_disk("failed-sync-at-end") as disk:
        writer = open_writer(tmp_path / "x.db", SCHEMA, 1, vfs=disk.name, busy_timeout=0)
        await insert(writer, "a")
        holder = Reader(tmp_path / "x.db", 1)
        holder.query("SELECT 1 FROM things")  # the file stays open, so the failed connection leaves the WAL alone
        disk.failing_syncs = 1
        with pytest.raises(CommitAmbiguous):
            await insert(writer, "b")
        backup = long_read(tmp_path / "x.db")
        with pytest.raises(StoreUnavailable, match="long read"):
            await insert(writer, "c")
        backup.close()
        await insert(writer, "c")
        holder.close()
        await writer.close()


# ---------------------------------------------------------------------------------------------- tools


async def test_tools_look_and_repair_while_somebody_reads(tmp_path: Path, service: SqliteOrderStore) -> None:
    """A backup that runs is no reason not to look; looking neither writes nor rewrites anything."""
    backup = long_read(tmp_path / "cart.db")
    await service.write([write("b")])
    wal = tmp_path / "cart.db-wal"
    before = wal.read_bytes()
    tool = SqliteOrderStore.open(tmp_path / "cart.db", exclusive=False)
    assert [row.parked for row in await tool.waiting(10)] == ["too large", None]
    assert wal.read_bytes() == before
    assert await tool.retry("a") == 1
    await tool.close()
    backup.close()


async def test_looking_waits_for_no_writer(tmp_path: Path, service: SqliteOrderStore) -> None:
    """A tool that only looks needs none of the locks that writing needs."""
    other = apsw.Connection(str(tmp_path / "cart.db"))
    other.execute("BEGIN IMMEDIATE")
    tool = SqliteOrderStore.open(tmp_path / "cart.db", exclusive=False)
    assert len(await tool.waiting(10)) == 1
    other.execute("ROLLBACK")
    other.close()
    await tool.close()


async def test_looking_leaves_the_log_of_a_live_service_as_it_is(tmp_path: Path, service: SqliteOrderStore) -> None:
    """A tool used to cut the WAL back by opening the file."""
    wal = tmp_path / "cart.db-wal"
    before = wal.read_bytes()
    assert before
    tool = SqliteOrderStore.open(tmp_path / "cart.db", exclusive=False)
    await tool.summary()
    await tool.close()
    assert wal.read_bytes() == before


@pytest.mark.parametrize("opening", [SqliteOrderStore.open, SqliteViews.open])
def test_a_tool_sets_nothing_up(path: Path, opening: "type[SqliteOrderStore.open]") -> None:
    """An empty file is refused in one line and stays empty."""
    path.write_bytes(b"")
    with pytest.raises(Refused) as refusal:
        opening(path, exclusive=False)
    assert str(refusal.value) == f"{path} is empty: no service has set it up yet"
    assert path.read_bytes() == b""


async def test_a_tool_whose_sync_failed_does_not_believe_the_next_one(tmp_path: Path) -> None:
    """Its first writing connection could not sync what it saw; the second must write it again."""
    with faulty_disk("tool-sync") as disk:
        service = open_writer(tmp_path / "x.db", SCHEMA, 1, vfs=disk.name, synchronous="NORMAL")
        tool = open_writer(tmp_path / "x.db", SCHEMA, 1, exclusive=False, vfs=disk.name, busy_timeout=0)
        await insert(service, "a")
        backup = long_read(tmp_path / "x.db")
        disk.failing_syncs = 1
        with pytest.raises(StoreUnavailable):
            await insert(tool, "b")
        with pytest.raises(StoreUnavailable, match="long read"):
            await insert(tool, "b")
        backup.close()
        await insert(tool, "b")
        await tool.close()
        await service.close()


# ---------------------------------------------------------------------------------------------- replacement


async def test_a_deleted_log_takes_nothing(tmp_path: Path) -> None:
    """Events acknowledged into a file that nobody can open any more would be lost."""
    publisher = SqlitePublisher.open(tmp_path, TOPIC, 3)
    assert await publisher.publish(records(0, 1)) == [Acked(0)]
    log_path(tmp_path, TOPIC).rename(tmp_path / "away")
    (result,) = await publisher.publish(records(0, 1))
    assert isinstance(result, Unsent)
    assert "deleted or replaced" in result.reason
    with pytest.raises(BrokerUnavailable, match="deleted or replaced"):
        await publisher.probe()
    (tmp_path / "away").rename(log_path(tmp_path, TOPIC))
    await publisher.probe()
    assert await publisher.publish(records(0, 1)) == [Acked(1)]
    await publisher.close()


async def test_the_probe_notices_a_replaced_log_without_an_earlier_failure(tmp_path: Path) -> None:
    """Before any event is lost on it."""
    publisher = SqlitePublisher.open(tmp_path, TOPIC, 3)
    log_path(tmp_path, TOPIC).rename(tmp_path / "away")
    log_path(tmp_path, TOPIC).write_bytes((tmp_path / "away").read_bytes())
    with pytest.raises(BrokerUnavailable, match="deleted or replaced"):
        await publisher.probe()
    await publisher.close()


async def test_a_file_that_is_replaced_during_a_job_makes_it_unknown(path: Path) -> None:
    """The commit went somewhere; nobody may count on it."""
    writer = open_writer(path, SCHEMA, 1)

    def job(connection: apsw.Connection) -> None:
        connection.execute("INSERT INTO things VALUES ('a')")
        path.rename(path.with_suffix(".old"))

    with pytest.raises(CommitAmbiguous, match="deleted or replaced"):
        await writer.run(job)
    with pytest.raises(StoreUnavailable, match="deleted or replaced"):
        await insert(writer, "b")
    await writer.close()


# ---------------------------------------------------------------------------------------------- the rest


async def test_a_job_may_not_return_a_cursor(path: Path) -> None:
    """The connection belongs to the thread; what would run on it elsewhere is rolled back instead."""
    writer = open_writer(path, SCHEMA, 1)
    with pytest.raises(AssertionError, match="cursor"):
        await writer.run(lambda connection: connection.execute("INSERT INTO things VALUES ('a')"))
    assert await writer.run(lambda connection: connection.execute("SELECT count(*) FROM things").get) == 0
    await writer.close()


async def test_no_job_of_ours_returns_a_cursor(tmp_path: Path) -> None:
    """The two that used to: a publisher's probe after a failure, and the identity of a log."""
    publisher = SqlitePublisher.open(tmp_path, TOPIC, 3)
    log_path(tmp_path, TOPIC).rename(tmp_path / "away")
    await publisher.publish(records(0, 1))
    (tmp_path / "away").rename(log_path(tmp_path, TOPIC))
    await publisher.probe()
    await publisher.close()
    opened = SqliteViews.open(tmp_path / "view.db")
    await opened.record_identity(TOPIC, LogIdentity("cluster", "topic"))
    assert await opened.identity(TOPIC) == LogIdentity("cluster", "topic")
    await opened.close()


async def test_every_new_folder_is_synced_into_its_parent(tmp_path: Path) -> None:
    """A power cut may take any level whose entry was not."""
    opened: set[str] = set()
    listening = [True]

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if listening and event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_DIRECTORY:
            opened.add(str(arguments[0]))

    sys.addaudithook(hook)
    writer = open_writer(tmp_path / "a" / "b" / "c" / "x.db", SCHEMA, 1)
    listening.clear()
    assert opened >= {str(tmp_path), str(tmp_path / "a"), str(tmp_path / "a" / "b"), str(tmp_path / "a" / "b" / "c")}
    assert {oct((tmp_path / part).stat().st_mode & 0o777) for part in ("a", "a/b", "a/b/c")} == {"0o700"}
    await writer.close()


@pytest.mark.parametrize("exclusive", [False, True])
def test_what_cannot_be_opened_is_named(path: Path, exclusive: bool) -> None:
    """People see the line as it is."""
    path.write_bytes(b"not a database" * 1_000)
    with pytest.raises(Refused) as refusal:
        open_writer(path, SCHEMA, 1, exclusive=exclusive)
    assert str(refusal.value) == f"{path}: the database file is not a database"


def damage(path: Path) -> None:
    """Overwrite all pages but the first."""
    with path.open("r+b") as file:
        file.seek(4_096)
        file.write(b"\xff" * (path.stat().st_size - 4_096))


async def test_a_damaged_log_is_named(tmp_path: Path) -> None:
    """Also when its first page is sound, so that only reading from it shows the damage."""
    await SqlitePublisher.open(tmp_path, TOPIC, 3).close()
    path = log_path(tmp_path, TOPIC)
    damage(path)
    with pytest.raises(Refused) as refusal:
        SqlitePublisher.open(tmp_path, TOPIC, 3)
    assert str(refusal.value) == f"{path}: the database file is damaged"
    with pytest.raises(Refused, match="damaged"):  # and not "in use": the first attempt let go of it
        SqlitePublisher.open(tmp_path, TOPIC, 3)
