"""One broker and one database for all the ways of being right or wrong."""

from collections.abc import Iterator

import pytest

from tests.integration.security.secured import (
    REGISTRY_PASSWORD,
    REGISTRY_USER,
    World,
    secured_kafka,
    secured_postgres,
)
from tests.services.certificates import Authority
from tests.services.fixtures import real
from tests.services.postgres import Postgres
from tests.services.processes import HOST
from tests.services.registry_stub import RegistryStub


@pytest.fixture(scope="package")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One broker for all the ways of being right or wrong."""
    folder = tmp_path_factory.mktemp("certificates")
    authority, stranger = Authority(folder), Authority(folder, "stranger")
    with real(lambda: secured_kafka(authority, folder)) as kafka:
        yield World(kafka, authority, stranger, folder)


@pytest.fixture(scope="package")
def server(world: World) -> Iterator[Postgres]:
    """A PostgreSQL that lets nobody in without TLS."""
    with real(lambda: secured_postgres(world.authority, HOST)) as started:
        yield started


@pytest.fixture
def registry(world: World) -> Iterator[RegistryStub]:
    """A registry behind HTTPS that wants to know who asks."""
    started = RegistryStub(user=REGISTRY_USER, password=REGISTRY_PASSWORD, tls=world.authority.server(HOST))
    try:
        yield started
    finally:
        started.down()
