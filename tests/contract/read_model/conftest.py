"""Read models under test. A new adapter joins the suite with one more class here."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

import pytest

from ordering.adapters.memory.views import MemoryViews
from ordering.adapters.postgres.views import PostgresViews
from ordering.adapters.sqlite.views import SqliteViews
from ordering.application.ports import DeadLetters, Generations, OrderViews, ProjectionStore
from tests.services.databases import Databases, databases, unhurried
from tests.simulation.outside import Node, Outside
from tests.simulation.sim_views import SimViews
from tests.simulation.weather import STILL

__all__ = ["databases", "unhurried"]

KINDS = ["memory", "simulated", "sqlite", pytest.param("postgres", marks=pytest.mark.process)]


class Views(ProjectionStore, OrderViews, DeadLetters, Protocol):
    """One store behind all ports."""

    def generations(self) -> Generations:
        """A process that may rebuild."""


class ReadModel(Protocol):
    """A read model, and what a test needs to do to it from outside."""

    @property
    def views(self) -> Views:
        """The store of the process that runs now."""

    async def restart(self) -> None:
        """End the process and start another on what it left."""

    def beside(self) -> Views:
        """The store of another process, a tool's: ``restart`` and ``close`` end it too."""

    async def close(self) -> None: ...


class InMemory:
    """A restart keeps the object: it stands for the disk."""

    def __init__(self) -> None:
        self.views = MemoryViews()

    async def restart(self) -> None: ...

    def beside(self) -> Views:
        return self.views

    async def close(self) -> None: ...


class InSimulation:
    """The simulated read model in still weather. A restart kills the processes."""

    def __init__(self) -> None:
        self._outside = Outside(0, STILL)
        self._nodes: list[Node] = []
        self.views = self._opened()

    def _opened(self) -> SimViews:
        self._nodes.append(Node(self._outside, len(self._nodes)))
        return SimViews(self._nodes[-1])

    async def restart(self) -> None:
        await self.close()
        self.views = self._opened()

    def beside(self) -> Views:
        return self._opened()

    async def close(self) -> None:
        for node in self._nodes:
            node.crash()


class InSqlite:
    """One file in a folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "view.db"
        self.views = SqliteViews.open(self._path)
        self._tools: list[SqliteViews] = []

    async def restart(self) -> None:
        await self.close()
        self.views = SqliteViews.open(self._path)

    def beside(self) -> Views:
        self._tools.append(SqliteViews.open(self._path, exclusive=False))
        return self._tools[-1]

    async def close(self) -> None:
        for opened in (self.views, *self._tools):
            await opened.close()
        self._tools.clear()


class InPostgres:
    """One schema of a database."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.views = PostgresViews(url)
        self._tools: list[PostgresViews] = []

    async def restart(self) -> None:
        await self.close()
        self.views = PostgresViews(self._url)

    def beside(self) -> Views:
        self._tools.append(PostgresViews(self._url))
        return self._tools[-1]

    async def close(self) -> None:
        for opened in (self.views, *self._tools):
            await opened.close()
        self._tools.clear()


@asynccontextmanager
async def empty(kind: str, databases: Databases) -> AsyncIterator[ReadModel]:
    """A new, empty read model of this kind."""
    with tempfile.TemporaryDirectory() as folder:
        model: ReadModel
        if kind == "postgres":
            model = InPostgres(databases.empty())
        else:
            model = {"memory": InMemory, "simulated": InSimulation}.get(kind, lambda: InSqlite(Path(folder)))()
        yield model
        await model.close()


@pytest.fixture(params=KINDS)
async def model(request: pytest.FixtureRequest, databases: Databases) -> AsyncIterator[ReadModel]:
    """An empty read model."""
    async with empty(request.param, databases) as under_test:
        yield under_test


@pytest.fixture
def views(model: ReadModel) -> Views:
    """Its store."""
    return model.views
