"""The shared ground of the SQLite adapters: opening, the writer's thread, readers, refusals."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import apsw
import pytest

from ordering.adapters.sqlite.database import AlreadyRunning, Reader, Refused, Writer, open_writer
from ordering.adapters.sqlite.errors import NewerSchema, UnsafeSqlite
from ordering.adapters.sqlite.files import refuse_unsafe_sqlite
from ordering.application.errors import StoreUnavailable, WriteRejected

PATIENCE = 120.0
SCHEMA = "CREATE TABLE IF NOT EXISTS things (name TEXT NOT NULL PRIMARY KEY CHECK (name <> '')) STRICT"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "data" / "things.db"


@pytest.fixture
async def writer(path: Path) -> AsyncIterator[Writer]:
    opened = open_writer(path, SCHEMA, 1, busy_timeout=0.1)
    yield opened
    await opened.close()


async def add(writer: Writer, name: object) -> None:
    def job(connection: apsw.Connection) -> None:
        connection.execute("INSERT INTO things VALUES (?)", (name,))

    await writer.run(job)


def lay_down(path: Path, content: bytes) -> None:
    """What is found at the path before anything of ours runs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def damage(path: Path) -> None:
    """Overwrite all pages but the first."""
    with path.open("r+b") as file:
        file.seek(4_096)
        file.write(b"\xff" * (path.stat().st_size - 4_096))


def names(path: Path) -> list[str]:
    reader = Reader(path, 1)
    try:
        return [name for (name,) in reader.query("SELECT name FROM things ORDER BY rowid")]
    finally:
        reader.close()


# ---------------------------------------------------------------------------------------------- opening


async def test_files_are_private(writer: Writer, path: Path) -> None:
    """The folder 0700, each file in it 0600, whatever the umask allows."""
    await add(writer, "a")
    assert oct(path.parent.stat().st_mode & 0o777) == "0o700"
    found = {file.name: oct(file.stat().st_mode & 0o777) for file in path.parent.iterdir()}
    assert found == dict.fromkeys(["things.db", "things.db-shm", "things.db-wal", "things.db.lock"], "0o600")


async def test_files_are_private_under_an_open_umask(tmp_path: Path) -> None:
    """A umask of 0 opens nothing."""
    before = os.umask(0)
    try:
        writer = open_writer(tmp_path / "data" / "x.db", SCHEMA, 1)
        await add(writer, "a")
        assert {file.stat().st_mode & 0o077 for file in (tmp_path / "data").iterdir()} == {0}
        await writer.close()
    finally:
        os.umask(before)


async def test_a_second_writer_is_refused_in_one_line(writer: Writer, path: Path) -> None:
    """It names the data folder and who holds it, and does no harm to the first."""
    with pytest.raises(AlreadyRunning) as refusal:
        open_writer(path, SCHEMA, 1)
    assert str(refusal.value) == f"data folder {path.parent} is in use by process {os.getpid()} (it holds things.db)"
    await add(writer, "a")


async def test_a_closed_writer_frees_the_file(path: Path) -> None:
    """Opening, closing, opening again."""
    for name in "abc":
        writer = open_writer(path, SCHEMA, 1)
        await add(writer, name)
        await writer.close()
    assert names(path) == ["a", "b", "c"]


_HOLDER = """
import sys, pathlib
from ordering.adapters.sqlite.database import open_writer
writer = open_writer(pathlib.Path(sys.argv[1]), "", 1)
print("open", flush=True)
sys.stdin.read()
"""


def _hold(path: Path) -> "subprocess.Popen[str]":
    """A process that holds the file's lock until it is killed."""
    source = str(Path(__file__).parents[2] / "src")
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": source},
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "open\n"
    return holder


@pytest.mark.process
def test_another_process_is_named_and_its_death_frees_the_file(path: Path) -> None:
    """The kernel holds the lock, so a killed holder leaves nothing behind."""
    holder = _hold(path)
    with holder:
        with pytest.raises(AlreadyRunning, match=f"in use by process {holder.pid} "):
            open_writer(path, SCHEMA, 1)
        holder.kill()
        holder.wait()
    asyncio.run(open_writer(path, SCHEMA, 1).close())


async def test_a_repair_tool_may_write_beside_the_service(path: Path) -> None:
    """Without the exclusive lock SQLite's own locks order the two, however long the disk takes for a sync."""
    service = open_writer(path, SCHEMA, 1, busy_timeout=PATIENCE)
    tool = open_writer(path, SCHEMA, 1, exclusive=False, busy_timeout=PATIENCE)
    for number in range(50):
        await asyncio.gather(add(service, f"service {number}"), add(tool, f"tool {number}"))
    await tool.close()
    await service.close()
    assert len(names(path)) == 100


def test_a_repair_tool_creates_nothing(path: Path) -> None:
    """A mistyped data folder is an error, not a new database."""
    with pytest.raises(Refused, match="cannot be opened"):
        open_writer(path, SCHEMA, 1, exclusive=False)
    assert not path.parent.exists()


async def test_a_newer_file_is_refused(path: Path) -> None:
    """In one line, for the writer; a reader is unavailable. Nothing is changed."""
    await open_writer(path, SCHEMA, 7).close()
    with pytest.raises(NewerSchema, match="has schema version 7, this release knows up to 6: use a newer release"):
        open_writer(path, SCHEMA, 6)
    with pytest.raises(StoreUnavailable):
        Reader(path, 6).query("SELECT 1")
    await open_writer(path, SCHEMA, 7).close()


@pytest.mark.parametrize("version", ["3.7.0", "3.40.1", "3.44.5", "3.45.0", "3.50.6", "3.51.0", "3.51.2"])
def test_an_unsafe_sqlite_is_refused(version: str) -> None:
    """Releases inside the range of the WAL-reset bug."""
    with pytest.raises(UnsafeSqlite, match=version):
        refuse_unsafe_sqlite(version)


@pytest.mark.parametrize("version", ["3.44.6", "3.50.7", "3.51.3", "3.52.0", "3.54.1", "4.0.0"])
def test_a_safe_sqlite_is_taken(version: str) -> None:
    """The fix and its backports."""
    refuse_unsafe_sqlite(version)


def test_what_is_no_database_is_refused(path: Path) -> None:
    """A file of something else is left alone."""
    lay_down(path, b"not a database" * 1_000)
    with pytest.raises(Refused, match="not a database"):
        open_writer(path, SCHEMA, 1)
    assert path.read_bytes() == b"not a database" * 1_000


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """The operating system's own errors become one line too."""
    lay_down(tmp_path / "file", b"")
    with pytest.raises(Refused, match="cannot be opened"):
        open_writer(tmp_path / "file" / "data" / "x.db", SCHEMA, 1)


async def test_a_failed_opening_gives_the_lock_back(path: Path) -> None:
    """The next attempt, with the file repaired, works."""
    lay_down(path, b"not a database" * 1_000)
    with pytest.raises(Refused):
        open_writer(path, SCHEMA, 1)
    lay_down(path, b"")
    await open_writer(path, SCHEMA, 1).close()


# ---------------------------------------------------------------------------------------------- jobs


async def test_jobs_run_in_order_in_one_thread_that_is_not_ours(writer: Writer) -> None:
    """All jobs of a writer see the same thread, one after another."""
    seen: list[tuple[int, int]] = []

    def job(number: int, _: apsw.Connection) -> None:
        seen.append((number, threading.get_ident()))

    await asyncio.gather(*(writer.run(partial(job, number)) for number in range(100)))
    assert [number for number, _ in seen] == list(range(100))
    assert len({thread for _, thread in seen}) == 1
    assert seen[0][1] != threading.get_ident()


async def test_an_applications_exception_rolls_back_and_comes_through(writer: Writer, path: Path) -> None:
    """Whatever a job raises is its caller's, and nothing of the job is stored."""

    class MyError(Exception):
        pass

    def job(connection: apsw.Connection) -> None:
        connection.execute("INSERT INTO things VALUES ('half')")
        raise MyError

    with pytest.raises(MyError):
        await writer.run(job)
    await add(writer, "whole")
    assert names(path) == ["whole"]


@pytest.mark.parametrize("name", ["", "twice", object(), 1 << 64, "\ud800", None, b"bytes"])
async def test_a_row_at_fault_is_rejected(writer: Writer, path: Path, name: object) -> None:
    """Constraints, types, ranges, text that is not Unicode: rolled back, and the writer goes on."""
    await add(writer, "twice")
    with pytest.raises(WriteRejected):
        await add(writer, name)
    await add(writer, "after")
    assert names(path)[-1] == "after"


async def test_a_value_too_big_for_sqlite_is_rejected(writer: Writer) -> None:
    """The row is at fault, not the store."""
    with pytest.raises(WriteRejected):
        await writer.run(lambda connection: connection.execute("SELECT zeroblob(2000000000)").get)


async def test_a_foreign_lock_means_unavailable_in_time(writer: Writer, path: Path) -> None:
    """Another process in a long transaction: refused after the busy time-out, and fine once it is gone."""
    assert await writer.run(lambda connection: connection.pragma("busy_timeout")) == 100  # not its own idea of in time
    foreign = apsw.Connection(str(path))
    foreign.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="locked"):
        await add(writer, "a")
    assert names(path) == []
    foreign.execute("ROLLBACK")
    foreign.close()
    await add(writer, "a")


async def test_a_job_that_reads_first_keeps_others_from_writing_meanwhile(writer: Writer, path: Path) -> None:
    """Its transaction is a writer's from the beginning: what it has read is still true when it writes, and nobody's
    commit in between makes it fail."""
    foreign = apsw.Connection(str(path))

    def job(connection: apsw.Connection) -> int:
        before: int = connection.execute("SELECT count(*) FROM things").get
        with pytest.raises(apsw.BusyError):
            foreign.execute("INSERT INTO things VALUES ('foreign')")
        connection.execute("INSERT INTO things VALUES (?)", (f"number {before}",))
        return before

    assert await writer.run(job) == 0
    foreign.execute("INSERT INTO things VALUES ('foreign')")
    foreign.close()
    assert names(path) == ["number 0", "foreign"]


async def test_a_cancelled_caller_does_not_cancel_its_job(writer: Writer, path: Path) -> None:
    """What was handed over happens, whether or not somebody waits for it."""
    go = threading.Event()
    blocked = asyncio.ensure_future(writer.run(lambda _: go.wait()))
    waiting = asyncio.ensure_future(add(writer, "a"))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    go.set()
    await blocked
    await writer.run(lambda _: None)
    assert names(path) == ["a"]


async def test_close_finishes_what_is_queued(path: Path) -> None:
    """Every job handed over before has its answer; later ones are told the database is closed."""
    writer = open_writer(path, SCHEMA, 1)
    jobs = [asyncio.ensure_future(add(writer, f"{number}")) for number in range(20)]
    await asyncio.sleep(0)
    await writer.close()
    await asyncio.gather(*jobs)
    assert len(names(path)) == 20
    assert not [thread for thread in threading.enumerate() if "things.db" in thread.name]
    with pytest.raises(StoreUnavailable, match="closed"):
        await add(writer, "late")
    await writer.close()


# ---------------------------------------------------------------------------------------------- readers


async def test_a_reader_may_come_before_its_file(path: Path) -> None:
    """Unavailable until there is a database of its version, then it works by itself."""
    reader = Reader(path, 1)
    with pytest.raises(StoreUnavailable):
        reader.query("SELECT 1")
    lay_down(path, b"")
    with pytest.raises(StoreUnavailable):
        reader.query("SELECT 1")
    writer = open_writer(path, SCHEMA, 1)
    assert reader.query("SELECT count(*) FROM things") == [(0,)]
    await writer.close()
    reader.close()


async def test_a_reader_sees_each_commit_and_changes_nothing(writer: Writer, path: Path) -> None:
    """At once, and it cannot write."""
    reader = Reader(path, 1)
    for number in range(50):
        await add(writer, f"{number}")
        assert reader.query("SELECT count(*) FROM things") == [(number + 1,)]
    with pytest.raises(StoreUnavailable):
        reader.query("INSERT INTO things VALUES ('x')")
    assert reader.query("SELECT name FROM things WHERE name = :name", {"name": "7"}) == [("7",)]
    reader.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        reader.query("SELECT 1")


async def test_a_snapshot_is_one_moment(writer: Writer, path: Path) -> None:
    """Statements of one snapshot agree although another connection commits in between."""
    reader, other = Reader(path, 1), apsw.Connection(str(path))
    await add(writer, "a")

    def job(connection: apsw.Connection) -> tuple[int, int]:
        before = connection.execute("SELECT count(*) FROM things").get
        other.execute("INSERT INTO things VALUES ('b')")
        return before, connection.execute("SELECT count(*) FROM things").get

    assert reader.snapshot(job) == (1, 1)
    assert reader.query("SELECT count(*) FROM things") == [(2,)]
    with pytest.raises(ZeroDivisionError):
        reader.snapshot(lambda _: 1 // 0)
    other.execute("DELETE FROM things WHERE name = 'b'")
    assert reader.snapshot(job) == (1, 1)
    other.close()
    reader.close()


async def test_readers_never_checkpoint(writer: Writer, path: Path) -> None:
    """The WAL is only ever written back by the writer."""
    reader = Reader(path, 1)
    assert reader.query("PRAGMA wal_autocheckpoint") == [(0,)]
    assert reader.query("PRAGMA query_only") == [(1,)]
    reader.close()


async def test_a_damaged_file_is_unavailable_not_a_crash(path: Path) -> None:
    """Reads and writes both say so, with nothing of SQLite's own text."""
    writer = open_writer(path, SCHEMA, 1)
    for number in range(500):
        await add(writer, f"name {number:>100}")
    await writer.close()
    damage(path)
    reader = Reader(path, 1)
    with pytest.raises(StoreUnavailable, match="damaged"):
        reader.query("SELECT * FROM things")
    again = open_writer(path, SCHEMA, 1)
    with pytest.raises(StoreUnavailable, match="damaged"):
        await add(again, "x")
    await again.close()
    reader.close()


def test_every_refusal_is_one_line(path: Path) -> None:
    """They are printed as they are."""
    for refusal in (AlreadyRunning(path, 7), AlreadyRunning(path, None), NewerSchema(path, 2, 1), UnsafeSqlite("3.40")):
        assert isinstance(refusal, Refused)
        assert "\n" not in str(refusal)
