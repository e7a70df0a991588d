"""How a SQLite file is used: one writing connection in a thread of its own, and short reads beside it."""

import asyncio
import queue
import threading
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import apsw
import attrs

from ordering.adapters.sqlite.errors import (
    DEFINITE_AT_COMMIT,
    SUSPECT,
    AlreadyRunning,
    raise_refused,
    raise_translated,
)
from ordering.adapters.sqlite.files import Database, ProcessLock, create_private, discard, sqlite_build
from ordering.application.failures import CommitAmbiguous, Refused, StoreUnavailable

__all__ = ["AlreadyRunning", "NoWriter", "Reader", "Refused", "Writer", "open_reader", "open_writer"]

T = TypeVar("T")
Job = Callable[[apsw.Connection], Any]

_WRITER_WAITS = 2.0
_READER_WAITS = 0.1  # it waits on the event loop
_REPLACED = "the database file was deleted or replaced while in use"


@attrs.frozen
class _Ticket:
    """A job in the queue, and where its result is awaited. Without a job: the end of the queue."""

    job: Job | None
    durable: bool
    loop: asyncio.AbstractEventLoop
    result: "asyncio.Future[Any]"

    def answer(self, result: object, error: BaseException | None) -> None:
        """From the writer's thread: one wake-up of the waiting loop."""
        try:
            self.loop.call_soon_threadsafe(self._resolve, result, error)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return

    def _resolve(self, result: object, error: BaseException | None) -> None:
        if self.result.done():  # the waiter was cancelled; what it asked for has happened all the same
            return
        if error is None:
            self.result.set_result(result)
        else:
            self.result.set_exception(error)


def open_writer(
    path: Path,
    schema: str,
    version: int,
    *,
    exclusive: bool = True,
    busy_timeout: float = _WRITER_WAITS,
    vfs: str | None = None,
    synchronous: str = "FULL",
    upgrades: Mapping[int, str] | None = None,
) -> "Writer":
    """Open or create the file and start its writer.

    ``schema`` is the script that sets up a new file; ``upgrades`` are those that bring an older one further, by the
    version from which. ``exclusive``: refuse a second process (AlreadyRunning). Tools open without, beside a service:
    only a file that a service has set up, and nothing is written or locked before the first job; then SQLite's own
    locks order the transactions. Raises Refused with one line for people that names the file. ``vfs`` and
    ``synchronous`` are there for tests of durability.
    """
    sqlite_build()
    database = Database(path, schema, version, busy_timeout, vfs, synchronous, exclusive, upgrades or {})
    lock, connection = None, None
    try:
        if exclusive:
            create_private(path)
            lock = ProcessLock(path)
            connection = database.writer(after_failure=False)
        else:
            discard(database.reader())
            database.sync_wal()
        return Writer(database, connection, lock)
    except BaseException as error:
        if connection is not None:
            discard(connection)
        if lock is not None:
            lock.release()
        raise_refused(path, error)


class Writer:
    """The only writing connection of this process to one file, in one thread; jobs run one after another.

    A job is one transaction: it is stored and durable when ``run`` returns, and not stored when ``run`` raises
    anything but CommitAmbiguous. A cancelled caller does not cancel its job. A job returns values; one that returns
    a cursor fails, because the connection belongs to the thread. A file that no longer lies at its path takes nothing.
    """

    def __init__(self, database: Database, connection: apsw.Connection | None, lock: ProcessLock | None) -> None:
        """Without a connection the first job opens it."""
        self._database = database
        self._connection = connection
        self._lock = lock
        self._place = database.place()
        self._opened = connection is not None
        """Whether it was tried before to open a connection: if so, that one was lost, and a sync may have failed."""
        self._relaxed = False
        self._closed = False
        self._queue: queue.SimpleQueue[_Ticket | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=f"sqlite {database.path.name}", daemon=True)
        self._thread.start()

    async def run(self, job: Callable[[apsw.Connection], T], *, durable: bool = True) -> T:
        """Run the job in a transaction and return its result once that is committed and synced.

        Raises StoreUnavailable or WriteRejected (rolled back), CommitAmbiguous (unknown: the connection was dropped,
        repeat on the next; or the file is gone), or what the job raised itself (rolled back). ``durable=False`` leaves
        out the sync, for changes that may be forgotten at a power cut: the next durable commit syncs them too.
        """
        if self._closed:
            raise StoreUnavailable("the database is closed")
        loop = asyncio.get_running_loop()
        ticket = _Ticket(job, durable, loop, loop.create_future())
        self._queue.put(ticket)
        result: T = await ticket.result
        return result

    def require_place(self) -> None:
        """Raises StoreUnavailable if the file at the path is not the one that was opened."""
        if not self._in_place():
            raise StoreUnavailable(_REPLACED)

    async def close(self) -> None:
        """Finish the queued jobs, close the connection, end the thread, give up the lock."""
        if self._closed:
            return
        self._closed = True
        loop = asyncio.get_running_loop()
        last = _Ticket(None, False, loop, loop.create_future())
        self._queue.put(last)
        await last.result
        self._end()

    def abandon(self) -> None:
        """The same for an opening that came to nothing: no job was ever queued, nobody waits."""
        self._closed = True
        self._queue.put(None)
        self._end()

    def _end(self) -> None:
        self._thread.join()
        if self._lock is not None:
            self._lock.release()

    # ------------------------------------------------------------------------------ in the writer's thread

    def _work(self) -> None:
        while (ticket := self._queue.get()) is not None and ticket.job is not None:
            try:
                result = self._transact(ticket.job, ticket.durable)
            except BaseException as error:  # whatever it is, its waiter must hear of it
                ticket.answer(None, error)
            else:
                ticket.answer(result, None)
        self._drop()
        if ticket is not None:
            ticket.answer(None, None)

    def _transact(self, job: Callable[[apsw.Connection], T], durable: bool) -> T:
        try:
            self.require_place()
            connection = self._connected()
            self._set_durability(connection, durable)
            connection.execute("BEGIN IMMEDIATE")
            result = job(connection)
            assert not isinstance(result, apsw.Cursor), "a job returned a cursor"
        except BaseException as error:
            self._roll_back(error)
            raise_translated(error)
        self._commit(connection)
        if not self._in_place():
            raise CommitAmbiguous(_REPLACED)
        return result

    def _in_place(self) -> bool:
        """One look at the path, with every transaction: what goes into a deleted file is lost."""
        try:
            return self._database.place() == self._place
        except OSError:
            return False

    def _connected(self) -> apsw.Connection:
        if self._connection is None:
            after_failure, self._opened = self._opened, True
            self._connection = self._database.writer(after_failure=after_failure)
            self._relaxed = False
        return self._connection

    def _set_durability(self, connection: apsw.Connection, durable: bool) -> None:
        if durable == self._relaxed:
            connection.pragma("synchronous", self._database.synchronous if durable else "NORMAL")
            self._relaxed = not durable

    def _commit(self, connection: apsw.Connection) -> None:
        try:
            connection.execute("COMMIT")
        except BaseException as error:
            definite = isinstance(error, DEFINITE_AT_COMMIT) and self._roll_back(error)
            if definite:
                raise_translated(error)
            # The commit's frames may be in the file and may come back with recovery. A second sync proves nothing
            # (the kernel may have dropped the pages that failed), so only a new connection tells, see Database.writer.
            self._drop()
            raise CommitAmbiguous("the disk failed while committing") from error

    def _roll_back(self, error: BaseException) -> bool:
        """Whether the transaction is known to be gone; a connection in doubt is dropped, which rolls back as well."""
        if self._connection is None:
            return True
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except Exception:  # the error that led here is the one to tell
            self._drop()
            return False
        if isinstance(error, SUSPECT):
            self._drop()
        return True

    def _drop(self) -> None:
        if self._connection is not None:
            discard(self._connection)
            self._connection = None


class NoWriter(Writer):
    """Stands where a file is only looked at: takes nothing."""

    def __init__(self) -> None:
        """No file, no thread."""

    async def run(self, job: Callable[[apsw.Connection], T], *, durable: bool = True) -> T:
        raise StoreUnavailable("it was opened to be looked at only")

    async def close(self) -> None:
        """Nothing was opened."""


def open_reader(path: Path, version: int, *, upgrades: Collection[int] = ()) -> "Reader":
    """Look at a file that a service has set up, beside it or without it, and leave no trace. Raises Refused; of a file
    of one of the versions from which there are ``upgrades`` that says that a service converts it."""
    try:
        database = Database(path, "", version, _WRITER_WAITS, exclusive=False, upgrades=dict.fromkeys(upgrades, ""))
        discard(database.reader(traceless=True))
    except BaseException as error:
        raise_refused(path, error)
    return Reader(path, version, busy_timeout=_WRITER_WAITS, traceless=True)


class Reader:
    """A read-only connection for short reads on the event loop; it sees every commit that was answered before.

    The file is opened at first use and again after an error, so a reader may exist before its file does: until then
    it raises StoreUnavailable, as for everything else that goes wrong with the file.
    """

    def __init__(
        self,
        path: Path,
        version: int,
        *,
        busy_timeout: float = _READER_WAITS,
        vfs: str | None = None,
        traceless: bool = False,
    ) -> None:
        """``traceless``: see ``Database.reader``."""
        self._database = Database(path, "", version, busy_timeout, vfs)
        self._traceless = traceless
        self._connection: apsw.Connection | None = None
        self._closed = False

    def query(self, sql: str, bindings: "apsw.Bindings" = ()) -> list[tuple[Any, ...]]:
        """All rows of one statement, which sees one moment."""
        try:
            return self._connected().execute(sql, bindings).fetchall()
        except Exception as error:
            self._after(error)

    def snapshot(self, job: Callable[[apsw.Connection], T]) -> T:
        """Run a short job whose statements all see the same moment."""
        try:
            connection = self._connected()
            connection.execute("BEGIN")
            try:
                return job(connection)
            finally:
                connection.execute("ROLLBACK")
        except Exception as error:
            self._after(error)

    def close(self) -> None:
        self._closed = True
        self._drop()

    def _connected(self) -> apsw.Connection:
        if self._connection is None:
            if self._closed:
                raise StoreUnavailable("the database is closed")
            self._connection = self._database.reader(traceless=self._traceless)
        return self._connection

    def _after(self, error: Exception) -> NoReturn:
        if isinstance(error, SUSPECT):
            self._drop()
        raise_translated(error)

    def _drop(self) -> None:
        if self._connection is not None:
            discard(self._connection)
            self._connection = None
