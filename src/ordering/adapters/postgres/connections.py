"""How the database is used: one connection for what must not be lost, a few for everything else, each bounded in time.

Connections go straight to PostgreSQL or through a pooler that keeps sessions: statements are prepared, settings belong
to the session, and LISTEN needs a session of its own.
"""

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVar

import asyncpg

from ordering.adapters.postgres.errors import (
    is_answered,
    is_race,
    is_suspect,
    raise_refused,
    raise_translated,
    reason_of,
)
from ordering.adapters.postgres.schema import Schema, require_fit
from ordering.application.failures import CommitAmbiguous, StoreUnavailable

T = TypeVar("T")
Job = Callable[[asyncpg.Connection], Awaitable[T]]

_CONNECT_SECONDS: Final = 2.0
_STATEMENT_SECONDS: Final = 5.0
"""The server gives up a statement after this, and says so: a definite answer."""
_SILENCE_SECONDS: Final = 7.0
"""A connection that answers nothing for this long is dropped: what was under way is unknown."""
_RACES_MAX: Final = 5
_POOL_SIZE: Final = 4
_CLOSED: Final = "the database is closed"

_SETTINGS: Final = {
    # A plan made on a nearly empty table is kept while the table grows. Every statement here is meant to look things
    # up by an index, so the planner is not offered anything else where an index will do.
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
    # Statements must see what was committed while they waited for a lock, whatever this database has as its default.
    "default_transaction_isolation": "read committed",
    "statement_timeout": f"{_STATEMENT_SECONDS:g}s",
    "idle_in_transaction_session_timeout": "10s",  # a transaction left behind by a dead client holds locks
    "client_connection_check_interval": "1s",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "10s",
}
_KEEPALIVE: Final = (
    ("TCP_KEEPIDLE", 5),
    ("TCP_KEEPINTVL", 2),
    ("TCP_KEEPCNT", 3),
    ("TCP_USER_TIMEOUT", 10_000),  # milliseconds that sent bytes may stay without an acknowledgement
)


class _Connection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg has no types
    """A connection whose socket notices a peer that is gone."""

    __slots__ = ()

    def __init__(self, protocol: object, transport: asyncio.Transport, *others: object) -> None:
        super().__init__(protocol, transport, *others)
        peer = transport.get_extra_info("socket")
        if peer is None or peer.family not in (socket.AF_INET, socket.AF_INET6):
            return
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE:
            if hasattr(socket, name):  # macOS has not all of them
                peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


class Database:
    """One service's schema on one server.

    Nothing is connected before the first use. Every new connection is checked as ``open`` does, so a server that was
    exchanged for a less safe one takes nothing.
    """

    def __init__(self, url: str, schema: Schema) -> None:
        self._url, self._schema = url, schema
        self._writer: asyncpg.Connection | None = None
        self._writing = asyncio.Lock()
        self._idle: list[asyncpg.Connection] = []
        self._in_use: set[asyncpg.Connection] = set()
        self._slots = asyncio.Semaphore(_POOL_SIZE)
        self._closed = False

    async def open(self) -> None:
        """Connect and check. Idempotent. Raises Refused (waiting changes nothing) or StoreUnavailable."""
        async with self._writing:
            if self._writer is None or self._writer.is_closed():
                try:
                    self._writer = await self.connect()
                except Exception as error:  # whatever it is, people are told by the table
                    raise_refused(error)

    async def close(self) -> None:
        """Finish the write under way, cut everything else; later calls raise StoreUnavailable."""
        self._closed = True
        async with self._writing:
            connections = [*self._idle, *self._in_use, *([self._writer] if self._writer else [])]
            self._idle.clear()
            self._writer = None
        for connection in connections:
            await _hang_up(connection)

    async def connect(self) -> asyncpg.Connection:
        """A new, checked connection that belongs to the caller. Raises Refused and the driver's own errors."""
        if self._closed:
            raise StoreUnavailable(_CLOSED)
        settings = {**_SETTINGS, "application_name": "ordering", "search_path": self._schema.name}
        connection = await asyncpg.connect(
            self._url, timeout=_CONNECT_SECONDS, server_settings=settings, connection_class=_Connection
        )
        try:
            with _bounded(connection, _CONNECT_SECONDS):
                await require_fit(connection, self._schema)
            if self._closed:  # meanwhile
                raise StoreUnavailable(_CLOSED)
        except BaseException:
            connection.terminate()
            raise
        return connection

    # ------------------------------------------------------------------ what must not be lost

    async def write(self, job: Job[T]) -> T:
        """Run one transaction on the writing connection: stored and durable when this returns.

        The job either is one statement, or begins and commits itself. Raises what the server's own word translates to
        (StoreUnavailable, WriteRejected, StalePosition: nothing stored) or CommitAmbiguous: the connection was dropped
        and the next call uses another. What was rolled back for others' sake is tried again.
        """
        async with self._writing:
            for _ in range(_RACES_MAX):
                connection = await self._writing_connection()
                try:
                    with _bounded(connection, _SILENCE_SECONDS):
                        return await job(connection)
                except BaseException as error:
                    if isinstance(error, StoreUnavailable):  # the job's own word
                        connection.terminate()
                        raise
                    if not is_answered(error):
                        connection.terminate()
                        if not isinstance(error, Exception):  # cancelled: nobody waits for the outcome
                            raise
                        raise CommitAmbiguous(reason_of(error)) from error
                    if is_suspect(error) or connection.is_in_transaction():
                        connection.terminate()
                    if not is_race(error):
                        raise_translated(error)
                await asyncio.sleep(random.uniform(0.001, 0.02))  # noqa: S311 -- so that two do not meet again
            raise StoreUnavailable("the database is busy with other changes")

    async def _writing_connection(self) -> asyncpg.Connection:
        if self._closed:
            raise StoreUnavailable(_CLOSED)
        if self._writer is None or self._writer.is_closed():
            self._writer = None
            try:
                self._writer = await self.connect()
            except Exception as error:  # nothing was sent yet
                raise_translated(error)
        return self._writer

    # ------------------------------------------------------------------ what may be asked or done again

    async def run(self, job: Job[T], *, seconds: float = _SILENCE_SECONDS) -> T:
        """Run what may be done twice: not to know whether it happened is StoreUnavailable, as if it had not."""
        try:
            async with self._borrowed(seconds) as connection:
                with _bounded(connection, seconds):
                    return await job(connection)
        except Exception as error:
            raise_translated(error)

    async def fetch(self, sql: str, *values: object) -> list[asyncpg.Record]:
        """All rows of one statement, which sees one moment."""

        async def job(connection: asyncpg.Connection) -> list[asyncpg.Record]:
            return list(await connection.fetch(sql, *values))

        return await self.run(job)

    @asynccontextmanager
    async def _borrowed(self, seconds: float) -> AsyncIterator[asyncpg.Connection]:
        try:
            async with asyncio.timeout(seconds):
                await self._slots.acquire()
        except TimeoutError:
            raise StoreUnavailable("every connection is in use") from None
        try:
            connection = await self._take()
            self._in_use.add(connection)
            try:
                yield connection
            except BaseException as error:
                if is_suspect(error):
                    connection.terminate()
                raise
            finally:
                self._in_use.discard(connection)
                if self._closed:
                    connection.terminate()
                elif not connection.is_closed():
                    self._idle.append(connection)
        finally:
            self._slots.release()

    async def _take(self) -> asyncpg.Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        return await self.connect()


class _bounded:  # noqa: N801 -- it reads as a function
    """Cut the connection when its answer takes longer than this.

    The driver's own time-outs, and cancelling a statement, open a second connection to cancel the first one's work;
    to a server that does not answer, that would hang as well.
    """

    def __init__(self, connection: asyncpg.Connection, seconds: float) -> None:
        self._connection, self._seconds = connection, seconds

    def __enter__(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._connection.terminate)

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()


async def _hang_up(connection: asyncpg.Connection) -> None:
    try:
        with _bounded(connection, _CONNECT_SECONDS):
            await connection.close()
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        connection.terminate()
