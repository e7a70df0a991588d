"""Copies of database files in use: each shows one moment, and nobody who writes has to wait.

A copy is read through a transaction of its own, so it is what the file held when the copy began, however long it takes
and whatever is written meanwhile (SQLite's online backup, https://www.sqlite.org/backup.html, would begin anew at every
write otherwise). The file's owner goes on; its WAL grows until the copy is done.
"""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

import apsw
import attrs

from ordering.adapters.sqlite.errors import raise_refused
from ordering.adapters.sqlite.files import Database, create_private, discard
from ordering.application.failures import Refused

PAGES_AT_ONCE: Final = 2_048

_LAST: Final = "SELECT seq, event_id FROM journal ORDER BY seq DESC LIMIT 1"
_KNOWN: Final = "SELECT EXISTS (SELECT 1 FROM journal WHERE seq = ? AND event_id = ?)"
_MISSING: Final = "SELECT count(*) FROM waited WHERE seq NOT IN (SELECT seq FROM journal)"
_UNPARK: Final = """
DELETE FROM parked AS p
WHERE NOT EXISTS (SELECT 1 FROM outbox e WHERE e.aggregate_id = p.aggregate_id AND e.version <= p.version)
"""
_UNPARK_LATER: Final = """
DELETE FROM parked AS p
WHERE EXISTS (SELECT 1 FROM outbox e WHERE e.aggregate_id = p.aggregate_id AND e.version < p.version)
"""
_UNMARK: Final = """
INSERT OR IGNORE INTO outbox (seq, aggregate_id, version)
SELECT seq, aggregate_id, version FROM journal WHERE seq > ?1 OR seq IN (SELECT seq FROM waited)
"""


@attrs.frozen
class Unpublished:
    """What an order store had not marked as published at a moment: those rows, and whatever came after ``last``."""

    waiting: tuple[int, ...]
    last: tuple[int, str] | None


def copy(source: Path, version: int, upgrades: Collection[int], target: Path, told: Callable[[int, int], None]) -> None:
    """Copy a database file, in use or not, to a path where nothing is; ``told`` hears how many pages of how many are
    done. The copy is synced and was checked. Raises Refused with one line for people; of a file of one of the versions
    from which there are ``upgrades`` that says that a service converts it."""
    opened: list[apsw.Connection] = []
    try:
        origin = _reader(source, version, upgrades)
        opened.append(origin)
        create_private(target)
        made = apsw.Connection(str(target), flags=apsw.SQLITE_OPEN_READWRITE)
        opened.append(made)
        origin.execute("BEGIN")
        origin.execute("SELECT count(*) FROM sqlite_schema").fetchall()  # from here on it sees one moment
        with made.backup("main", origin, "main") as copying:
            while not copying.done:
                copying.step(PAGES_AT_ONCE)
                told(copying.page_count - copying.remaining, copying.page_count)
        _settle(made, target)
    except Exception as error:
        raise_refused(source, error)
    finally:
        for connection in reversed(opened):
            discard(connection)


def _reader(path: Path, version: int, upgrades: Collection[int]) -> apsw.Connection:
    return Database(path, "", version, 5.0, exclusive=False, upgrades=dict.fromkeys(upgrades, "")).reader()


def _settle(made: apsw.Connection, target: Path) -> None:
    """Everything in the one file, on the disk, and whole."""
    made.pragma("synchronous", "FULL")
    made.pragma("journal_mode", "wal")
    made.pragma("wal_checkpoint", "truncate")
    found = made.pragma("quick_check")
    if found != "ok":
        raise Refused(f"{target}: the copy is damaged ({found}), so its source may be: look at it before anything else")


def unpublished(store: Path, version: int, upgrades: Collection[int]) -> Unpublished:
    """What the order store at the path has not published now. Raises Refused, see ``copy``."""
    opened: list[apsw.Connection] = []
    try:
        opened.append(_reader(store, version, upgrades))
        opened[0].execute("BEGIN")
        waiting = tuple(seq for (seq,) in opened[0].execute("SELECT seq FROM outbox"))
        return Unpublished(waiting, opened[0].execute(_LAST).get)
    except Exception as error:
        raise_refused(store, error)
    finally:
        for connection in opened:
            discard(connection)


def forget_marks(store: Path, since: Unpublished) -> None:
    """Have a copied order store publish everything again that was not published at a moment before it was copied.

    Between that moment and the copy events may have reached the log, and were marked, that the log's own copy does
    not have. To publish one twice is harmless. Raises Refused, also if one of them is not in the copy any more: it was
    old enough to be trimmed as soon as it was published.
    """
    opened: list[apsw.Connection] = []
    try:
        opened.append(apsw.Connection(str(store), flags=apsw.SQLITE_OPEN_READWRITE))
        copied = opened[0]
        last = 0
        # Numbers are given again when the newest row was trimmed: then nobody knows what came after it.
        if since.last is not None and copied.execute(_KNOWN, since.last).get:
            last = since.last[0]
        copied.execute("BEGIN IMMEDIATE; CREATE TEMP TABLE waited (seq INTEGER PRIMARY KEY)")
        copied.executemany("INSERT INTO waited (seq) VALUES (?)", [(seq,) for seq in since.waiting])
        missing = copied.execute(_MISSING).get
        if missing:
            raise Refused(
                f"events that had waited for long were published and trimmed meanwhile ({missing}), and no copy has "
                "them: make the backup again"
            )
        copied.execute(_UNPARK)  # the refused event was published after all, and may wait again from now on
        copied.execute(_UNMARK, (last,))
        copied.execute(_UNPARK_LATER)  # what came before the refused event was taken, and may be missing in the log
        copied.execute("COMMIT")
        copied.pragma("wal_checkpoint", "truncate")
    except Exception as error:
        raise_refused(store, error)
    finally:
        for connection in opened:
            discard(connection)
