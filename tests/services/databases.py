"""One migrated PostgreSQL database for all tests of a run, emptied for each.

A conftest or test module that wants it imports the fixture ``databases``; the server starts with the first test that
asks for an address. One that imports ``unhurried`` as well has its tests give the server all the time it needs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from ordering.adapters.postgres import connections, lease, migrate, news
from tests.services.fixtures import given_postgres, made
from tests.services.postgres import Postgres
from tests.services.surroundings import composed

PATIENCE = 120.0
_EMPTY = """
DELETE FROM ordering_cart.orders; DELETE FROM ordering_cart.journal; DELETE FROM ordering_cart.outbox;
DELETE FROM ordering_cart.parked; DELETE FROM ordering_cart.answers; DELETE FROM ordering_cart.topics;
DELETE FROM ordering_cart.relay_lease;
DELETE FROM ordering_order.logs; DELETE FROM ordering_order.positions; DELETE FROM ordering_order.view_rows;
DELETE FROM ordering_order.held; DELETE FROM ordering_order.tallies; DELETE FROM ordering_order.discarded;
UPDATE ordering_order.pointer SET generation = 1 WHERE generation <> 1;
"""


class Databases:
    """The server, which starts when it is first needed, and its migrated database."""

    def __init__(self) -> None:
        self._server: Postgres | None = None
        self._given: str | None = None

    @property
    def server(self) -> Postgres:
        """The running server; the test is skipped (under CI: fails) where there can be none."""
        if self._server is None:
            self._server = server = made(Postgres).start()
            for part in migrate.SCHEMAS:
                server.sql(migrate.sql(part))
        return self._server

    def empty(self) -> str:
        """The address of the migrated database, which is empty now; on the server of docker-compose.yml if that is
        what the run tests."""
        if composed():
            return self._empty_there()
        self.server.sql(_EMPTY)
        return self.server.url()

    def _empty_there(self) -> str:
        there = given_postgres()
        if self._given is None:
            self._given = f"contract_{os.getpid()}"
            there.drop_database(self._given)  # of a run that had this number and was killed
            there.create_database(self._given)
            for part in migrate.SCHEMAS:
                there.sql(migrate.sql(part), self._given)
        there.sql(_EMPTY, self._given)
        return there.url(self._given)

    def deadlocks(self) -> int:
        """How many transactions the server has ended so far to solve a deadlock."""
        log = self.server.folder / "postgres.log"
        return log.read_text(errors="replace").count("deadlock detected")

    def stop(self) -> None:
        """End the server, if it was started, and leave nothing on one that others run."""
        if self._given is not None:
            given_postgres().drop_database(self._given)
            self._given = None
        if self._server is not None:
            self._server.stop()
            self._server = None


_shared = Databases()


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    """The databases of this run."""
    yield _shared
    _shared.stop()


def give_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process wait long for a server, and a server for it: what a loaded machine delays is no outage.
    ``monkeypatch.undo()`` brings the product's own limits back, to which a test may put a server that is away."""
    for module, name in (
        (connections, "_CONNECT_SECONDS"), (connections, "_SILENCE_SECONDS"), (migrate, "_CONNECT_SECONDS"),
        (news, "_SILENCE_SECONDS"), (lease, "_NUDGE_SECONDS"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, PATIENCE)
    monkeypatch.setitem(connections.Database.run.__kwdefaults__, "seconds", PATIENCE)
    for name in ("statement_timeout", "idle_in_transaction_session_timeout"):
        monkeypatch.setitem(connections._SETTINGS, name, f"{PATIENCE:g}s")


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test that sees this takes a machine that stands still for a moment for a server that does not answer."""
    give_time(monkeypatch)
