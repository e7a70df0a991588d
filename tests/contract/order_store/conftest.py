"""The stores under test. A new adapter joins by a case in ``Places.open``."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

import pytest

from ordering.adapters.memory.store import MemoryOrderStore
from ordering.adapters.postgres.store import PostgresOrderStore
from ordering.adapters.sqlite.store import SqliteOrderStore
from ordering.application.ports import (
    BatchWriter,
    Housekeeping,
    Journal,
    OrderRepository,
    Outbox,
    RelayLease,
    RepublishableStore,
    StandingStore,
)
from tests.services.databases import Databases, databases, unhurried
from tests.simulation.outside import Node, Outside
from tests.simulation.sim_store import SimStore
from tests.simulation.weather import STILL

__all__ = ["databases", "unhurried"]


class OrderStore(
    OrderRepository,
    BatchWriter,
    Outbox,
    Journal,
    StandingStore,
    RepublishableStore,
    Housekeeping,
    RelayLease,
    Protocol,
):
    """All ports of the write side in one, as every adapter offers them."""

    async def close(self) -> None: ...


class Places:
    """Where this test's store keeps its data, and how it is opened there."""

    def __init__(self, kind: str, folder: Path, databases: Databases) -> None:
        self._kind, self._folder = kind, folder
        self._url = databases.empty() if kind == "postgres" else ""
        self._outside = Outside(0, STILL)
        self._nodes = 0

    def open(self) -> OrderStore:
        """A store on what is there."""
        if self._kind == "postgres":
            return PostgresOrderStore(self._url)
        if self._kind == "sqlite":
            return SqliteOrderStore.open(self._folder / "data" / "cart.db")
        if self._kind == "simulated":
            self._nodes += 1
            return SimStore(Node(self._outside, self._nodes))
        return MemoryOrderStore()


POSTGRES = pytest.param("postgres", marks=pytest.mark.process)
KINDS = ["memory", "simulated", "sqlite", POSTGRES]
LASTING = ["simulated", "sqlite", POSTGRES]
HOLDS_NUL = {"memory", "simulated", "sqlite"}
"""Stores that take any text a Python program can hold but lone surrogates; the others refuse a NUL in it."""


class Restartable:
    """A store that can be closed and opened again."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self.store = places.open()

    async def restart(self) -> OrderStore:
        await self.store.close()
        self.store = self._places.open()
        return self.store


@pytest.fixture(params=KINDS)
async def store(request: pytest.FixtureRequest, tmp_path: Path, databases: Databases) -> AsyncIterator[OrderStore]:
    """An empty store."""
    opened = Places(request.param, tmp_path, databases).open()
    yield opened
    await opened.close()


@pytest.fixture
def holds_nul(request: pytest.FixtureRequest) -> bool:
    """Whether the store under test keeps a NUL in a text."""
    return request.node.callspec.params["store"] in HOLDS_NUL


@pytest.fixture(params=LASTING)
async def restartable(
    request: pytest.FixtureRequest, tmp_path: Path, databases: Databases
) -> AsyncIterator[Restartable]:
    """An empty store whose data outlives it."""
    place = Restartable(Places(request.param, tmp_path, databases))
    yield place
    await place.store.close()
