"""Pytest's way to the real parts: one of each for a run, started when a test first asks.

With INTEGRATION=compose they are those of docker-compose.yml, which somebody has started; else they are ours.
Where a part cannot run, its tests are skipped with one line that says what to install; under CI that is a failure.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn, TypeVar
from urllib.parse import urlsplit, urlunsplit

import attrs
import pytest

from tests.services.kafka import UNFENCED, Kafka
from tests.services.part import Part
from tests.services.postgres import Postgres
from tests.services.processes import Missing
from tests.services.registry import Registry
from tests.services.surroundings import composed

AnyPart = TypeVar("AnyPart", bound=Part)


@attrs.frozen
class GivenKafka:
    """A Kafka that somebody else runs."""

    bootstrap: str


@attrs.frozen
class GivenRegistry:
    """A schema registry that somebody else runs."""

    url: str


@attrs.frozen
class GivenPostgres:
    """A PostgreSQL that somebody else runs; *address* names a database whose user may make others."""

    address: str

    def url(self, database: str = "ordering") -> str:
        """Return the address of a database."""
        return urlunsplit(urlsplit(self.address)._replace(path=f"/{database}"))

    def create_database(self, name: str) -> str:
        """Make an empty database and return its address."""
        self.sql(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Remove a database, whoever still has it open."""
        self.sql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def sql(self, statements: str, database: str | None = None) -> None:
        """Run statements, in the database that the address names unless another one is given."""
        import asyncpg  # noqa: PLC0415 -- only with compose

        async def execute() -> None:
            connection = await asyncpg.connect(self.address if database is None else self.url(database))
            try:
                await connection.execute(statements)
            finally:
                await connection.close()

        with ThreadPoolExecutor(1) as thread:  # the caller may be on an event loop
            thread.submit(lambda: asyncio.run(execute())).result()


def unavailable(reason: Missing | str) -> NoReturn:
    """Skip the test that needs what is missing; fail it under CI, where everything is there or somebody must know."""
    if os.environ.get("CI", "") not in {"", "0", "false"}:
        pytest.fail(f"{reason} (CI is set, so this is no reason to skip)", pytrace=False)
    pytest.skip(str(reason))


def made(make: Callable[[], AnyPart]) -> AnyPart:
    """Make a part without starting it; skips or fails the test where it cannot run."""
    try:
        return make()
    except Missing as reason:
        unavailable(reason)


@contextlib.contextmanager
def real(make: Callable[[], AnyPart]) -> Iterator[AnyPart]:
    """Run a part of the test's own, to crash it or to start it with other settings: ``real(lambda: Kafka(...))``."""
    with made(make) as part:
        yield part


@pytest.fixture(scope="session")
def kafka() -> Iterator[Kafka | GivenKafka]:
    """A Kafka that no test of it may stop, with whatever topics other tests have made."""
    if composed():
        yield GivenKafka(os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9092"))
        return
    with real(lambda: Kafka(extra=UNFENCED)) as started:
        yield started


@pytest.fixture(scope="session")
def registry() -> Iterator[Registry | GivenRegistry]:
    """A schema registry that no test of it may stop, with whatever subjects other tests have made."""
    if composed():
        yield GivenRegistry(os.environ.get("SCHEMA_REGISTRY_URL", "http://127.0.0.1:8081/apis/ccompat/v7"))
        return
    with real(Registry) as started:
        yield started


def given_postgres() -> GivenPostgres:
    """The one of docker-compose.yml."""
    return GivenPostgres(os.environ.get("DATABASE_URL", "postgresql://ordering:ordering@127.0.0.1:5432/ordering"))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres | GivenPostgres]:
    """A PostgreSQL that no test of it may stop; a test makes and drops its own database."""
    if composed():
        yield given_postgres()
        return
    with real(Postgres) as started:
        yield started
