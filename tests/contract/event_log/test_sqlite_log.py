"""What only a log file can go through: it comes late, is replaced, is locked, its disk fails."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from ordering.adapters.sqlite.database import AlreadyRunning, Refused, open_writer
from ordering.adapters.sqlite.log import SCHEMA_VERSION, SqlitePublisher, SqliteSource, log_path
from ordering.application.failures import BrokerUnavailable, LogChanged
from ordering.application.messages import Acked, Polled, Unsent
from tests.contract.event_log.conftest import NOW, PARTITIONS, TOPIC, InSqlite
from tests.contract.event_log.reading import MANY, read_all, record, records, started


class BrokenDisk(apsw.VFS):
    """The system's own file access, whose fsync fails while ``broken``, and whose reads fail while ``unreadable``."""

    def __init__(self) -> None:
        super().__init__("broken-disk", "")
        self.broken = self.unreadable = False

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> "BrokenDiskFile":  # noqa: N802 -- apsw's name
        return BrokenDiskFile(self, name, flags)


class BrokenDiskFile(apsw.VFSFile):
    """A file that asks its ``vfs`` whether syncing works."""

    def __init__(self, vfs: BrokenDisk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        self._vfs = vfs
        super().__init__("", name, flags)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802 -- apsw's name
        if self._vfs.unreadable:
            raise apsw.IOError
        return super().xRead(amount, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802 -- apsw's name
        if self._vfs.broken:
            raise apsw.IOError
        super().xSync(flags)


@pytest.fixture
def disk() -> Iterator[BrokenDisk]:
    """A disk whose syncs and reads can be made to fail."""
    vfs = BrokenDisk()
    yield vfs
    vfs.unregister()


async def test_a_reader_may_come_before_the_file(tmp_path: Path) -> None:
    """Until the log is created every question is refused; then the same reader goes on."""
    source = SqliteSource(tmp_path, TOPIC, lambda: NOW)
    for question in (source.identity, source.end_offsets, lambda: source.poll(1, 0), lambda: source.lag({})):
        with pytest.raises(BrokerUnavailable, match="does not exist yet"):
            await question()
    log_path(tmp_path, TOPIC).touch()  # an empty file is what a publisher that is just starting leaves for a moment
    with pytest.raises(BrokerUnavailable):
        await source.identity()
    publisher = SqlitePublisher.open(tmp_path, TOPIC, PARTITIONS)
    await publisher.publish(records(0, 2))
    assert len(await read_all(source)) == 2
    source.close()
    await publisher.close()


async def test_a_replaced_file_is_noticed_by_a_reader_that_has_it_open(tmp_path: Path) -> None:
    """It would wait for ever on the deleted one."""
    log = InSqlite(tmp_path)
    await log.publisher.publish(records(0, 2))
    source = await started(log.source())
    await source.poll(MANY, 0)
    await log.recreate()
    with pytest.raises(LogChanged, match="created again"):
        await source.poll(MANY, 0)
    await log.close()


async def test_a_replaced_file_alarms_every_caller_every_time(tmp_path: Path) -> None:
    """Whoever asks first does not swallow the alarm of the others."""
    log = InSqlite(tmp_path)
    await log.publisher.publish(records(0, 2))
    source = await started(log.source())
    await source.poll(MANY, 0)
    await log.recreate()
    for question in (source.end_offsets, lambda: source.poll(MANY, 0), source.identity, lambda: source.lag({})) * 2:
        with pytest.raises(LogChanged, match="created again"):
            await question()
    await log.close()


async def test_a_log_whose_first_records_were_deleted_begins_later(tmp_path: Path) -> None:
    """Retention of files is the operator's: by hand, when no service runs."""
    log = InSqlite(tmp_path)
    await log.publisher.publish(records(0, 5) + records(1, 2))
    shell = apsw.Connection(str(log_path(tmp_path, TOPIC)))
    shell.execute("DELETE FROM records WHERE partition = 0 AND offset < 3")
    shell.close()
    assert dict(await log.source().begin_offsets()) == {0: 3, 1: 0, 2: 0}
    await log.close()


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_a_file_that_goes_while_somebody_waits_is_unavailable(tmp_path: Path, elsewhere: bool) -> None:
    """Whether the waiting caller notices it or another one does."""
    log = InSqlite(tmp_path)
    source = await started(log.source())
    waiting = asyncio.ensure_future(source.poll(MANY, 30))
    for _ in range(10):  # turns of the loop: enough to begin, and to go to sleep
        await asyncio.sleep(0)
    log_path(tmp_path, TOPIC).rename(tmp_path / "away")
    if elsewhere:
        with pytest.raises(BrokerUnavailable, match="does not exist"):
            await source.end_offsets()
    with pytest.raises(BrokerUnavailable, match="does not exist"):
        await waiting
    await log.close()


async def test_a_path_that_cannot_be_looked_at_is_unavailable(tmp_path: Path) -> None:
    """Any error of the operating system: here a folder that became a file."""
    log = InSqlite(tmp_path / "data")
    source = await started(log.source())
    (tmp_path / "data").rename(tmp_path / "away")
    (tmp_path / "data").write_bytes(b"")
    with pytest.raises(BrokerUnavailable, match="Not a directory"):
        await source.poll(MANY, 0)
    await log.close()


async def test_a_reader_that_had_to_reconnect_hides_nothing(tmp_path: Path, disk: BrokenDisk) -> None:
    """A new connection counts the file's changes anew and may arrive at the number that meant no news before."""
    publisher = SqlitePublisher.open(tmp_path, TOPIC, PARTITIONS)
    source = SqliteSource(tmp_path, TOPIC, lambda: NOW, vfs="broken-disk")
    await started(source)
    for number in range(5):
        assert await source.poll(MANY, 0) == Polled()
        await publisher.publish(records(0, 1))
        disk.unreadable = True
        with pytest.raises(BrokerUnavailable):
            await source.poll(MANY, 0)
        disk.unreadable = False
        assert [found.offset for found in (await source.poll(MANY, 0)).records] == [number]
    source.close()
    await publisher.close()


async def test_a_record_that_is_not_as_it_was_written_is_a_damaged_file(tmp_path: Path) -> None:
    """Named, as any other damage; nobody reads past it."""
    log = InSqlite(tmp_path)
    await log.publisher.publish(records(0, 5))
    source = await started(log.source())
    tool = apsw.Connection(str(log_path(tmp_path, TOPIC)))
    tool.execute("UPDATE records SET headers = x'93' WHERE partition = 0 AND offset = 2")
    tool.close()
    for question in (lambda: source.poll(MANY, 0), lambda: source.newest(MANY)):
        with pytest.raises(BrokerUnavailable, match="partition 0 is damaged"):
            await question()
    await log.close()


async def test_records_that_vanished_from_the_file_are_noticed(tmp_path: Path) -> None:
    """Whoever deleted them: history is never skipped silently."""
    log = InSqlite(tmp_path)
    await log.publisher.publish(records(0, 5))
    source = await started(log.source())
    tool = apsw.Connection(str(log_path(tmp_path, TOPIC)))
    tool.execute("DELETE FROM records WHERE offset = 2")
    tool.close()
    with pytest.raises(LogChanged, match="missing"):
        await source.poll(MANY, 0)
    await log.close()


async def test_a_second_process_may_not_write(tmp_path: Path) -> None:
    """One log, one producing service."""
    log = InSqlite(tmp_path)
    with pytest.raises(AlreadyRunning):
        SqlitePublisher.open(tmp_path, TOPIC, PARTITIONS)
    await log.close()


async def test_the_partition_count_is_the_one_of_the_creation(tmp_path: Path) -> None:
    """A later setting moves no key to another partition."""
    await SqlitePublisher.open(tmp_path, TOPIC, 3).close()
    publisher = SqlitePublisher.open(tmp_path, TOPIC, 12)
    assert await publisher.partition_count(TOPIC) == 3
    await publisher.close()


@pytest.mark.parametrize("topic", ["", "../cart", "a/b", "a b", "a'b", "ä", "x" * 201])
def test_a_topic_name_cannot_lead_elsewhere(tmp_path: Path, topic: str) -> None:
    """Only what Kafka would take becomes a file's name."""
    with pytest.raises(Refused):
        log_path(tmp_path, topic)


async def test_a_locked_file_keeps_records_unsent_until_it_is_free(tmp_path: Path) -> None:
    """And the probe knows when."""
    await SqlitePublisher.open(tmp_path, TOPIC, PARTITIONS).close()
    path = log_path(tmp_path, TOPIC)
    publisher = SqlitePublisher(open_writer(path, "", SCHEMA_VERSION, busy_timeout=0), TOPIC, PARTITIONS)
    tool = apsw.Connection(str(path))
    tool.execute("BEGIN IMMEDIATE")
    assert [type(result) for result in await publisher.publish(records(0, 2))] == [Unsent, Unsent]
    with pytest.raises(BrokerUnavailable, match="locked"):
        await publisher.probe()
    tool.execute("ROLLBACK")
    tool.close()
    await publisher.probe()
    assert await publisher.publish(records(0, 2)) == [Acked(0), Acked(1)]
    await publisher.close()


async def test_a_failed_sync_acknowledges_nothing_and_leaves_no_hole(tmp_path: Path, disk: BrokenDisk) -> None:
    """Nobody knows what such a commit left; the records are sent again and offsets go on from what is there."""
    publisher = SqlitePublisher.open(tmp_path, TOPIC, PARTITIONS, vfs="broken-disk")
    await publisher.publish(records(0, 3))
    source = SqliteSource(tmp_path, TOPIC, lambda: NOW)
    assert len(await read_all(source)) == 3
    disk.broken = True
    assert [type(result) for result in await publisher.publish(records(0, 2))] == [Unsent, Unsent]
    with pytest.raises(BrokerUnavailable):
        await publisher.probe()
    disk.broken = False
    await publisher.probe()
    assert all(isinstance(result, Acked) for result in await publisher.publish(records(0, 2)))
    await source.seek({0: 0})
    found = [r.offset for r in (await source.poll(MANY, 0)).records]
    assert found == list(range(len(found)))
    assert len(found) in (5, 7)
    source.close()
    await publisher.close()


async def test_a_record_the_file_cannot_hold_fails_alone(tmp_path: Path) -> None:
    """A number over 64 bits is refused by the driver, its neighbours are stored."""
    log = InSqlite(tmp_path)
    results = await log.publisher.publish([record(0, b"a"), record(0, b"b", timestamp=1 << 70), record(0, b"c")])
    assert (results[0], results[2]) == (Acked(0), Acked(1))
    assert not isinstance(results[1], Acked | Unsent)
    await log.close()


async def test_files_are_private(tmp_path: Path) -> None:
    """Orders are nobody else's business."""
    log = InSqlite(tmp_path / "data")
    await log.publisher.publish(records(0, 1))
    assert {oct(os.stat(path).st_mode & 0o777) for path in (tmp_path / "data").iterdir()} == {"0o600"}  # noqa: PTH116
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    await log.close()
