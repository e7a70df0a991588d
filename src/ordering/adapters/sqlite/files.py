"""Opening a database file: private, ours alone, in WAL mode, its schema known, what it shows durable.

Why opening makes the file durable: a crash of an earlier life may have left commits in the WAL that it never synced.
Whoever opens the file sees them and acts on them (the relay publishes them, a repeated request is answered from them),
so they must survive a power cut from then on. Two ways lead there:

- A TRUNCATE checkpoint writes all of it again, through the database file, and syncs that. It is the only way after a
  failed sync: the kernel may have marked the lost pages clean, and a second sync of the WAL would succeed without
  writing them. It needs every reader to leave the WAL.
- A sync of the WAL by a descriptor of its own. It is enough as long as no sync failed before: then the kernel still
  owes what it has not written. It needs nobody to leave. The database file needs no sync: SQLite syncs it before it
  counts a frame as written back.

So a process that starts tries the first without waiting, and takes the second while somebody reads (a backup over
night must not keep the service from starting). A process whose own sync failed insists on the first.
"""

import fcntl
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import apsw
import attrs

from ordering.adapters.sqlite.errors import (
    AlreadyRunning,
    NewerSchema,
    NotSetUp,
    OlderSchema,
    UnsafeSqlite,
    WalRefused,
)
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


def sqlite_build() -> str:
    """The version of the SQLite that is used here. Raises UnsafeSqlite."""
    version = apsw.sqlite_lib_version()
    refuse_unsafe_sqlite(version)
    return version


def create_private(path: Path) -> None:
    """Make folder (0700) and file (0600) if they are missing; SQLite gives -wal and -shm the file's own mode.

    Each new folder's entry is synced: a database in a folder that is gone after a power cut is not durable.
    """
    missing = [folder for folder in (path.parent, *path.parent.parents) if not folder.is_dir()]
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)
        _sync_folder(folder.parent)
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
    exclusive: bool = True
    """Whether this process alone writes the file; only such a one sets up a new file, or converts an older one."""
    upgrades: Mapping[int, str] = attrs.Factory(dict)
    """By version: the script that brings a file from there to the next version."""

    def place(self) -> tuple[int, int]:
        """Which file lies at the path now: device and inode. Raises OSError."""
        found = os.stat(self.path)  # noqa: PTH116 -- half the price of Path.stat, with every transaction
        return found.st_dev, found.st_ino

    def writer(self, *, after_failure: bool) -> apsw.Connection:
        """A read-write connection to the existing file. What it shows is durable, see above; ``after_failure``: a
        connection of this process was lost, so a sync may have failed.
        """
        connection = apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READWRITE, vfs=self.vfs)
        try:
            self._configure(connection)
            if after_failure:
                self._rewrite(connection)
            elif not self.exclusive or not self._try_rewrite(connection):
                self.sync_wal()
        except BaseException:
            discard(connection)
            raise
        return connection

    def reader(self, *, traceless: bool = False) -> apsw.Connection:
        """A read-only connection that never checkpoints.

        SQLite makes a WAL and its index beside a file that has none, even for a reader. ``traceless`` is for those
        who only look and must leave nothing behind: a file that nobody has open is read alone, as it is, without the
        locks (a service that starts in this very moment may so spoil the look, but not the other way round).
        """
        name, flags = str(self.path), apsw.SQLITE_OPEN_READONLY
        if traceless and not Path(f"{name}-shm").exists():
            self.place()  # SQLite would tell less of a file that is not there
            name, flags = f"{self.path.absolute().as_uri()}?immutable=1", flags | apsw.SQLITE_OPEN_URI
        connection = apsw.Connection(name, flags=flags, vfs=self.vfs)
        try:
            connection.set_busy_timeout(int(self.busy_timeout * 1000))
            connection.pragma("query_only", True)
            connection.pragma("wal_autocheckpoint", 0)
            if not self._is_set_up(connection):
                raise NotSetUp(self.path)
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
        if self._is_set_up(connection):
            return
        if not self.exclusive:
            raise NotSetUp(self.path)
        found = connection.pragma("user_version")
        self._run(connection, [self.schema] if not found else self._upgrades_from(found))

    def _run(self, connection: apsw.Connection, scripts: Sequence[str]) -> None:
        """All of it, or after a crash nothing."""
        connection.execute("BEGIN IMMEDIATE")
        for script in scripts:
            connection.execute(script)
        connection.pragma("user_version", self.version)
        connection.execute("COMMIT")

    def _upgrades_from(self, found: int) -> list[str]:
        return [self.upgrades[version] for version in range(found, self.version)]

    def _is_set_up(self, connection: apsw.Connection) -> bool:
        """Whether the file has this version. Raises for every other but 0, which a new file has, and one that this
        process may convert."""
        found: int = connection.pragma("user_version")
        if found > self.version:
            raise NewerSchema(self.path, found, self.version)
        if 0 < found < self.version:
            known = all(version in self.upgrades for version in range(found, self.version))
            if not (known and self.exclusive):
                raise OlderSchema(self.path, found, self.version, convertible=known)
        return found == self.version

    def sync_wal(self) -> None:
        """Sync the WAL and its entry in the folder. SQLite locks the database file and -shm but never the WAL, so
        closing another descriptor of it drops no lock of this process."""
        path = f"{self.path}-wal"
        if not Path(path).exists():
            return
        flags = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_READONLY
        wal = apsw.VFSFile(self.vfs or "", path, [flags, 0])
        try:
            wal.xSync(apsw.SQLITE_SYNC_FULL)
        finally:
            wal.xClose()
        _sync_folder(self.path.parent)

    def _try_rewrite(self, connection: apsw.Connection) -> bool:
        """Write the WAL back into the database file and begin it anew; False if somebody uses it just now."""
        connection.set_busy_timeout(0)
        busy, _, _ = connection.pragma("wal_checkpoint", "truncate")
        connection.set_busy_timeout(int(self.busy_timeout * 1000))
        return not busy

    def _rewrite(self, connection: apsw.Connection) -> None:
        """The same, waiting for the readers. Raises StoreUnavailable if one stays: what remains of the WAL would be
        believed after a power cut, with whatever the failed sync lost in the middle of it."""
        busy, _, _ = connection.pragma("wal_checkpoint", "truncate")
        if busy:
            raise StoreUnavailable("a long read holds up the database file")
