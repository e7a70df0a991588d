"""The one border between SQLite's errors and ours, as a table; and why a file may be refused at start."""

from pathlib import Path
from typing import NoReturn

import apsw

from ordering.application.failures import Refused, StoreUnavailable, WriteRejected


class AlreadyRunning(Refused):
    """Another process writes this file."""

    def __init__(self, path: Path, pid: int | None) -> None:
        self.path, self.pid = path, pid
        holder = f"process {pid}" if pid else "another process"
        super().__init__(f"data folder {path.parent} is in use by {holder} (it holds {path.name})")


class NewerSchema(Refused):
    """The file was written by a newer release."""

    def __init__(self, path: Path, found: int, known: int) -> None:
        super().__init__(f"{path} has schema version {found}, this release knows up to {known}: use a newer release")


class OlderSchema(Refused):
    """The file was written by an older release, and this process may not convert it, or there is no way;
    ``convertible`` tells which."""

    def __init__(self, path: Path, found: int, known: int, *, convertible: bool = False) -> None:
        self.convertible = convertible
        if convertible:
            way = ": start the service of this release once, it converts the file"
        else:
            way = " and cannot convert it: use the release that wrote it, or another data folder"
        super().__init__(f"{path} has schema version {found}, this release needs version {known}{way}")


class NotSetUp(Refused):
    """A tool was pointed at a file that no service has set up."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is empty: no service has set it up yet")


class CannotOpen(Refused):
    """The file cannot be opened, for a reason of the table below."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")


class UnsafeSqlite(Refused):
    """This SQLite can corrupt a WAL database that two connections use (the WAL-reset bug)."""

    def __init__(self, version: str) -> None:
        super().__init__(f"SQLite {version} may damage data (WAL-reset bug): use 3.51.3 or newer, 3.50.7 or 3.44.6")


class WalRefused(Refused):
    """Write-ahead logging does not work where the file is (a network share, for example)."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path}: SQLite cannot use write-ahead logging there; put the data folder on a local disk")


# What we tell about each error. The driver's own text stays in ``__cause__``, for logs only.
_UNAVAILABLE: tuple[tuple[type[BaseException], str], ...] = (
    (apsw.FullError, "the disk is full"),
    (apsw.BusyError, "the database is locked by another process"),
    (apsw.LockedError, "the database is locked by another process"),
    (apsw.ProtocolError, "the database is locked by another process"),
    (apsw.CantOpenError, "the database file cannot be opened"),
    (apsw.ReadOnlyError, "the database file is read-only"),
    (apsw.PermissionsError, "the database file may not be used"),
    (apsw.IOError, "the disk reports an input or output error"),
    (apsw.CorruptError, "the database file is damaged"),
    (apsw.NotADBError, "the database file is not a database"),
    (MemoryError, "memory is exhausted"),
    (apsw.Error, "unexpected database error"),
    (OSError, "the database file cannot be opened"),
    (NotSetUp, "the database file is not set up yet"),
    (Refused, "this release cannot use the database file"),
)

# Binding a value SQLite cannot hold raises Python's own errors: wrong type, over 64 bits, a lone surrogate.
_REJECTED: tuple[tuple[type[BaseException], str], ...] = (
    (apsw.ConstraintError, "a row breaks a constraint"),
    (apsw.MismatchError, "a row holds a value of the wrong type"),
    (apsw.TooBigError, "a row is too big"),
    (TypeError, "a row holds a value of the wrong type"),
    (OverflowError, "a row holds a number out of range"),
    (UnicodeEncodeError, "a row holds text that is not Unicode"),
)

# After these the connection's own view of the file is not to be trusted: the next job starts on a new one.
SUSPECT = (apsw.IOError, apsw.CorruptError, apsw.NotADBError, apsw.CantOpenError, MemoryError)

# COMMIT failed, yet the commit frame cannot be in the file: it was the write itself that found no room, or no lock.
DEFINITE_AT_COMMIT = (apsw.FullError, apsw.BusyError, apsw.ConstraintError)


def raise_translated(error: BaseException) -> NoReturn:
    """Raise ours for SQLite's; anything else (an application's exception) as it is."""
    for kind, reason in _REJECTED:
        if isinstance(error, kind):
            raise WriteRejected(reason) from error
    for kind, reason in _UNAVAILABLE:
        if isinstance(error, kind):
            raise StoreUnavailable(reason) from error
    raise error


def raise_refused(path: Path, error: BaseException) -> NoReturn:
    """The same for people who open the file: they are always told which one it is about."""
    if isinstance(error, Refused):
        raise error
    if isinstance(error, StoreUnavailable):
        raise CannotOpen(path, error.reason) from error
    for kind, reason in _UNAVAILABLE:
        if isinstance(error, kind):
            raise CannotOpen(path, reason) from error
    raise error
