"""Opening a database file: private, ours alone, in WAL mode, its schema known, what it shows durable."""

import fcntl
import os
import sys
from contextlib import suppress
from pathlib import Path

import apsw
import attrs

from ordering.adapters.sqlite.errors import AlreadyRunning, NewerSchema, UnsafeSqlite, WalRefused
from ordering.application.errors import StoreUnavailable

_WAL_PAGES = 4000  # checkpoint from 16 MiB on: scattered pages are written once for many commits
_WAL_KEPT = 64 << 20  # a WAL that grew beyond (a long reader) is cut back to this
_CACHE_KIB = 16 << 10
_FIXED_BEFORE = {(3, 44): 6, (3, 50): 7}  # release lines that got the fix of 3.51.3 as well


def refuse_unsafe_sqlite(version: str) -> None:
    """Raises UnsafeSqlite for a release inside the range of the WAL-reset bug."""
    major, minor, patch = (int(part) for part in version.split(".")[:3])
    fixed_line = _FIXED_BEFORE.get((major, minor))
    if (major, minor, patch) < (3, 51, 3) and (fixed_line is None or patch < fixed_line):
        raise UnsafeSqlite(version)


def create_private(path: Path) -> None:
    """Make folder (0700) and file (0600) if they are missing; SQLite gives -wal and -shm the file's own mode.

    The folder's entry is synced: a database in a folder that is gone after a power cut is not durable.
    """
    if not path.parent.is_dir():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _sync_folder(path.parent.parent)
    if not path.exists():
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def discard(connection: apsw.Connection) -> None:
    """Close, whatever the disk says to it: an open transaction is rolled back."""
    with suppress(Exception):
        connection.close(True)


class ProcessLock:
    """The exclusive right to write one file, held from construction to ``release`` or the process's end.

    The kernel drops it with the process, so a crash leaves nothing to clean up; the lock file itself stays.
    """

    def __init__(self, path: Path) -> None:
        """Raises AlreadyRunning with the holder's process id."""
        self._handle = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            text = os.pread(self._handle, 20, 0).strip()
            os.close(self._handle)
            raise AlreadyRunning(path, int(text) if text.isdigit() else None) from error
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        os.close(self._handle)


@attrs.frozen
class Database:
    """One file and how it is used; every connection to it is made here."""

    path: Path
    schema: str
    version: int
    busy_timeout: float
    vfs: str | None = None
    synchronous: str = "FULL"

    def writer(self) -> apsw.Connection:
        """A read-write connection to the existing file. What it shows is durable: all of it was checkpointed and
        synced first, so commits that a crash or a failed sync left unsynced do not count as stored unless they are.
        """
        connection = apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READWRITE, vfs=self.vfs)
        try:
            self._configure(connection)
            self._checkpoint(connection)
        except BaseException:
            discard(connection)
            raise
        return connection

    def reader(self) -> apsw.Connection:
        """A read-only connection that never checkpoints."""
        connection = apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READONLY, vfs=self.vfs)
        try:
            connection.set_busy_timeout(int(self.busy_timeout * 1000))
            connection.pragma("query_only", True)
            connection.pragma("wal_autocheckpoint", 0)
            if self._found(connection) < self.version:
                raise StoreUnavailable("the database file is not set up yet")
        except BaseException:
            discard(connection)
            raise
        return connection

    def _configure(self, connection: apsw.Connection) -> None:
        connection.set_busy_timeout(int(self.busy_timeout * 1000))
        if connection.pragma("journal_mode", "wal") != "wal":
            raise WalRefused(self.path)
        connection.pragma("synchronous", self.synchronous)
        connection.pragma("wal_autocheckpoint", _WAL_PAGES)
        connection.pragma("journal_size_limit", _WAL_KEPT)
        connection.pragma("cache_size", -_CACHE_KIB)
        connection.pragma("temp_store", "memory")
        if sys.platform == "darwin":  # there, fsync alone does not reach the platter
            connection.pragma("fullfsync", True)
            connection.pragma("checkpoint_fullfsync", True)
        if self._found(connection) < self.version:
            self._set_up(connection)

    def _set_up(self, connection: apsw.Connection) -> None:
        """The schema creates what is absent, so it also brings a file of an older version up to date."""
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(self.schema)
        connection.pragma("user_version", self.version)
        connection.execute("COMMIT")

    def _found(self, connection: apsw.Connection) -> int:
        found: int = connection.pragma("user_version")
        if found > self.version:
            raise NewerSchema(self.path, found, self.version)
        return found

    def _checkpoint(self, connection: apsw.Connection) -> None:
        """Raises StoreUnavailable while a reader keeps part of the WAL from being written back."""
        _, in_wal, written_back = connection.pragma("wal_checkpoint", "truncate")
        if in_wal != written_back:
            raise StoreUnavailable("a long read holds up the database file")
