"""The stores under test. A new adapter joins by one entry in PLACES."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Protocol

import pytest

from ordering.adapters.memory.store import MemoryOrderStore
from ordering.adapters.sqlite.store import SqliteOrderStore
from ordering.application.ports import BatchWriter, Housekeeping, Journal, OrderRepository, Outbox, RelayLease


class OrderStore(OrderRepository, BatchWriter, Outbox, Journal, Housekeeping, RelayLease, Protocol):
    """All ports of the write side in one, as every adapter offers them."""

    async def close(self) -> None: ...


Opener = Callable[[Path], OrderStore]


def _memory(_folder: Path) -> OrderStore:
    return MemoryOrderStore()


def _sqlite(folder: Path) -> OrderStore:
    return SqliteOrderStore.open(folder / "data" / "cart.db")


PLACES: dict[str, Opener] = {"memory": _memory, "sqlite": _sqlite}
LASTING = {"sqlite"}


class Restartable:
    """A store that can be closed and opened again."""

    def __init__(self, opener: Opener, folder: Path) -> None:
        self._opener, self._folder = opener, folder
        self.store = opener(folder)

    async def restart(self) -> OrderStore:
        await self.store.close()
        self.store = self._opener(self._folder)
        return self.store


@pytest.fixture(params=sorted(PLACES))
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[OrderStore]:
    """An empty store."""
    opened = PLACES[request.param](tmp_path)
    yield opened
    await opened.close()


@pytest.fixture(params=sorted(LASTING))
async def restartable(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Restartable]:
    """An empty store whose data outlives it."""
    place = Restartable(PLACES[request.param], tmp_path)
    yield place
    await place.store.close()
