"""SQLite files of other releases: refused, or converted by the service that owns them."""

import hashlib
from functools import partial
from pathlib import Path

import apsw
import pytest

from ordering.adapters.sqlite import log, rows, store, views
from ordering.adapters.sqlite.database import Reader, Refused, open_writer
from ordering.adapters.sqlite.store import SqliteOrderStore, has_published_to
from ordering.adapters.sqlite.views import SqliteViews
from ordering.adapters.sqlite.writes import apply
from ordering.application.errors import StoreUnavailable
from ordering.application.messages import OutboxRow, Stored
from tests.contract.order_store.samples import event, write

SCHEMA = "CREATE TABLE things (name TEXT NOT NULL) STRICT"


@pytest.mark.parametrize("exclusive", [False, True])
async def test_an_older_file_is_refused(tmp_path: Path, exclusive: bool) -> None:
    """There is no way from there to here: one line with the file and both versions, and nothing is changed."""
    path = tmp_path / "things.db"
    await open_writer(path, SCHEMA, 1).close()
    with pytest.raises(Refused, match="has schema version 1, this release needs version 2") as refusal:
        open_writer(path, SCHEMA, 2, exclusive=exclusive)
    assert str(path) in str(refusal.value)
    with pytest.raises(StoreUnavailable):
        Reader(path, 2).query("SELECT 1")
    assert Reader(path, 1).query("PRAGMA user_version") == [(1,)]


SCHEMAS = {
    "order_store.sql": (store.SCHEMA_VERSION, 3, "1d7b9fc432bd4dfd"),
    "log.sql": (log.SCHEMA_VERSION, 1, "733d52bb9bd6b455"),
    "views.sql": (views.SCHEMA_VERSION, 2, "6ea1bf7471d0da0c"),
}


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_does_not_change_without_a_new_version(name: str) -> None:
    """Who changes a schema, or how headers are packed, raises its SCHEMA_VERSION and notes both here."""
    version, noted, digest = SCHEMAS[name]
    script = Path(store.__file__).with_name(name).read_bytes()
    found = hashlib.sha256(script + rows.HEADERS_FORMAT.encode()).hexdigest()[:16]
    assert (version, found) == (noted, digest)


async def test_a_read_model_of_the_first_release_is_converted(tmp_path: Path) -> None:
    """By the service that owns the file, at once or not at all; what it has then is what a new file has. Tools only say
    who converts it."""
    path, new = tmp_path / "view.db", tmp_path / "new.db"
    first = open_writer(path, Path(__file__).with_name("views_1.sql").read_text(), 1)

    def fill(connection: apsw.Connection) -> None:
        connection.execute(
            "INSERT INTO rows (generation, key, version, event_id, label, lineage, events_applied, first_timestamp, "
            "first_partition, first_offset, held, revision) VALUES (1, 'a', 3, 'e', 'x', 'own', 3, 1, 0, 0, 0, 3)"
        )

    await first.run(fill)
    await first.close()
    with pytest.raises(Refused, match="start the service of this release once, it converts the file"):
        SqliteViews.open(path, exclusive=False)

    opened = SqliteViews.open(path)
    found = await opened.get("a")
    assert found is not None
    assert (found.version, found.events_applied) == (3, 3)
    await opened.close()
    await SqliteViews.open(new).close()
    assert shape(path) == shape(new)
    await SqliteViews.open(path, exclusive=False).close()


async def test_an_order_store_of_the_first_release_is_converted(tmp_path: Path) -> None:
    """What is parked stays so if something of it waits; what had stopped an order for no reason does not any more."""
    path, new = tmp_path / "cart.db", tmp_path / "new.db"
    first = open_writer(path, Path(__file__).with_name("order_store_2.sql").read_text(), 2)

    def fill(connection: apsw.Connection) -> None:
        for order_id, version in [("a", 1), ("a", 2), ("b", 1), ("b", 2), ("c", 1)]:
            assert apply(connection, write(order_id, version)) == Stored(version == 1)
        connection.execute("DELETE FROM outbox WHERE aggregate_id = 'a' AND version = 1")
        connection.execute("INSERT INTO parked VALUES ('a', 'too large'), ('z', 'nothing of it waits')")
        connection.execute("INSERT INTO topics VALUES ('order-events', 3)")

    await first.run(fill)
    await first.close()
    for opening in (SqliteOrderStore.look, partial(SqliteOrderStore.open, exclusive=False)):
        with pytest.raises(Refused, match="start the service of this release once, it converts the file"):
            opening(path)
    assert has_published_to(path, "order-events")
    assert not has_published_to(path, "other-events")

    opened = SqliteOrderStore.open(path)
    assert [(row.event.aggregate_id, row.event.version) for row in await opened.heads(9, ())] == [("b", 1), ("c", 1)]
    assert await opened.waiting(9, parked_only=True) == [OutboxRow(event("a", 2), "too large")]
    assert (await opened.summary()).parked == 1
    await opened.mark_published([("a", 2)])
    assert (await opened.summary()).parked == 0
    await opened.close()
    await SqliteOrderStore.open(new).close()
    assert shape(path) == shape(new)
    assert has_published_to(path, "order-events")


def shape(path: Path) -> list[object]:
    """Everything that a file's schema has, but for spaces, and its version."""
    connection = apsw.Connection(str(path))
    entries = connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY type, name").fetchall()
    found = [connection.pragma("user_version"), *((kind, name, str(sql).split()) for kind, name, sql in entries)]
    connection.close()
    return found


def test_headers_are_packed_in_the_named_format() -> None:
    """The name stands for these bytes."""
    assert rows.HEADERS_FORMAT == "msgpack"
    assert rows.pack_headers((("a", b"\x00"), ("b", b""))) == b"\x92\x92\xa1a\xc4\x01\x00\x92\xa1b\xc4\x00"
