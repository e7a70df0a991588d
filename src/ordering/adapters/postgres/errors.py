"""The one border between PostgreSQL's errors and ours, as a table; and why a database may be refused at start."""

import socket
import ssl
from typing import Final, NoReturn

import asyncpg

from ordering.application.failures import Refused, StalePosition, StoreUnavailable, WriteRejected


class Unusable(Refused):
    """The address is wrong, or the server knows no such user, password or database."""


class ServerTooOld(Refused):
    """This server lacks what the statements need."""

    def __init__(self, found: str, oldest: int) -> None:
        super().__init__(f"the server is PostgreSQL {found}, the oldest supported one is {oldest}")


class NotDurable(Refused):
    """A commit answered by this server could be lost."""

    def __init__(self, settings: str) -> None:
        super().__init__(f"the server is not durable ({settings}): an acknowledged order could be lost; turn it on")


class NotMigrated(Refused):
    """The schema is missing, or older than this release needs."""

    def __init__(self, schema: str, found: int | None, needed: int) -> None:
        state = "does not exist" if found is None else f"is at level {found}, this release needs {needed}"
        super().__init__(f"schema {schema} {state}: run `ordering migrate up`")


class ReleaseTooOld(Refused):
    """A newer release has changed the schema in a way that this one cannot live with."""

    def __init__(self, schema: str, found: int, oldest: int, ours: int) -> None:
        super().__init__(
            f"schema {schema} is at level {found}, which needs an application of level {oldest} or newer, "
            f"this one is level {ours}: use a newer release"
        )


STALE: Final = "OS001"
"""What our own function raises for a lost compare-and-set; PostgreSQL leaves classes from I to Z to applications."""

# What we tell about each SQLSTATE, the longest prefix first. The server's own text stays in ``__cause__``, for logs.
_REJECTED: Final = {
    "22": "a row holds a value that PostgreSQL does not take",
    "23": "a row breaks a constraint",
    "54": "a row is too big",
}
_UNAVAILABLE: Final = {
    "25006": "the database is read-only",
    "25": "the transaction was ended by the server",
    "28000": "the database does not let this user in from here (pg_hba.conf: user, address, TLS or certificate)",
    "28": "the database refuses this user or password",
    "3D000": "there is no such database",
    "3F000": "the database is not migrated (run `ordering migrate up`)",
    "40": "the database is busy with other changes",
    "42501": "the database user lacks a privilege",
    "42P01": "the database is not migrated (run `ordering migrate up`)",
    "42703": "the database is not migrated (run `ordering migrate up`)",
    "42883": "the database is not migrated (run `ordering migrate up`)",
    "53100": "the disk is full",
    "53200": "the server's memory is exhausted",
    "53300": "the server has no connection left",
    "53": "the server's resources are exhausted",
    "55P03": "the database is busy with other changes",
    "57014": "the database took too long",
    "57P01": "the server is shutting down",
    "57P02": "the server has crashed",
    "57P03": "the server is starting or shutting down",
    "57P04": "there is no such database any more",
    "58": "the server's disk reports an error",
    "XX001": "the database is damaged",
    "XX002": "the database is damaged",
}
_BROKEN: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (ssl.SSLCertVerificationError, "the server's certificate is not accepted"),
    (ssl.SSLError, "TLS with the server fails"),
    (FileNotFoundError, "a file or socket that the database's address names is missing"),
    (TimeoutError, "the database does not answer"),
    (ConnectionRefusedError, "the database cannot be reached"),
    (socket.gaierror, "the database's host name is not known"),
    (ConnectionError, "the connection to the database broke"),
    (OSError, "the database cannot be reached"),
    (asyncpg.PostgresConnectionError, "the connection to the database broke"),
    (asyncpg.InternalClientError, "no server of the wanted kind can be reached"),
    (asyncpg.InterfaceError, "the connection to the database broke"),
)
_NO_TLS: Final = ("rejected SSL upgrade", "the server does not speak TLS, which the database's address asks for")
"""What the driver says when a server has no TLS, as a broken connection like any other; and what that means."""
_UNEXPECTED: Final = "unexpected database error"

# Rolled back by the server because of others' transactions: the same again may well succeed.
RACES: Final = frozenset({"40001", "40P01"})

# After these the next call goes to a new connection: this one leads to a server that cannot write, or not for long.
_SUSPECT: Final = ("25006", "57P", "58", "XX")

# What the server says about users, passwords and databases does not change by waiting.
_FOR_GOOD: Final = ("28", "3D000")


def is_answered(error: BaseException) -> bool:
    """Whether this is the server's own word that the statement, and its transaction, came to nothing.

    A statement that ends with severity ERROR is rolled back. FATAL and PANIC end the connection, and may come after
    the commit; an error without a severity is the driver's, and proves nothing but for values it could not send.
    """
    if is_refused_by_driver(error):
        return True
    return isinstance(error, asyncpg.PostgresError) and _severity(error) == "ERROR"


def is_refused_by_driver(error: BaseException) -> bool:
    """Whether the driver could not put a value into a message: nothing was sent."""
    return isinstance(error, asyncpg.DataError) and _severity(error) is None


def is_race(error: BaseException) -> bool:
    """Whether the server rolled the transaction back for others' sake."""
    return isinstance(error, asyncpg.PostgresError) and error.sqlstate in RACES


def is_suspect(error: BaseException) -> bool:
    """Whether the connection should not be used again."""
    if not is_answered(error):
        return True
    return isinstance(error, asyncpg.PostgresError) and str(error.sqlstate).startswith(_SUSPECT)


def reason_of(error: BaseException) -> str:
    """What people are told about an error that is nobody's row's fault."""
    if isinstance(error, Refused):
        return str(error)
    if isinstance(error, asyncpg.ConnectionDoesNotExistError) and isinstance(error.__cause__, asyncpg.PostgresError):
        error = error.__cause__  # the server's last word before it hung up
    state = str(error.sqlstate) if isinstance(error, asyncpg.PostgresError) else ""
    for length in (5, 2):
        if state[:length] in _UNAVAILABLE:
            return _UNAVAILABLE[state[:length]]
    if isinstance(error, ConnectionError) and _NO_TLS[0] in str(error):
        return _NO_TLS[1]
    for kind, reason in _BROKEN:
        if isinstance(error, kind):
            verdict = error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else ""
            return f"{reason}: {verdict.rstrip('.')}" if verdict else reason
    return _UNEXPECTED


def raise_translated(error: BaseException) -> NoReturn:
    """Raise ours for PostgreSQL's, for an attempt that is known to have come to nothing."""
    if isinstance(error, asyncpg.PostgresError):
        state = str(error.sqlstate)
        if state == STALE:
            raise StalePosition(str(error)) from error
        if state[:2] in _REJECTED:
            raise WriteRejected(_REJECTED[state[:2]]) from error
    if is_refused_by_driver(error):
        raise WriteRejected(_REJECTED["22"]) from error
    if isinstance(
        error, asyncpg.PostgresError | asyncpg.InterfaceError | asyncpg.InternalClientError | OSError | Refused
    ):
        raise StoreUnavailable(reason_of(error)) from error
    raise error


def raise_refused(error: BaseException) -> NoReturn:
    """The same for people who start a program: what waiting does not change is Refused."""
    for_good = isinstance(error, asyncpg.PostgresError) and str(error.sqlstate).startswith(_FOR_GOOD)
    if for_good or isinstance(error, ssl.SSLError):
        raise Unusable(reason_of(error)) from error
    if isinstance(error, asyncpg.PostgresError | asyncpg.InternalClientError | OSError):
        raise StoreUnavailable(reason_of(error)) from error
    if isinstance(error, asyncpg.InterfaceError | ValueError | IndexError | OverflowError):  # the driver's parser
        raise Unusable("the database's address is not understood") from error
    raise error


def _severity(error: BaseException) -> str | None:
    return getattr(error, "severity_en", None) or getattr(error, "severity", None)
