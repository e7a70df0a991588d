"""A stand-in for a registry, and clients of it whose caches see a clock that stands still."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from ordering.adapters.avro.confluent import ConfluentRegistry
from ordering.adapters.avro.registry_api import RegistryApi
from tests.integration.schema_registry.asking import PATIENCE, TOPIC, Clock, Connect
from tests.services.registry_stub import RegistryStub


@pytest.fixture
def stub() -> Iterator[RegistryStub]:
    """A stand-in without any schema."""
    running = RegistryStub(first_id=7)
    try:
        yield running
    finally:
        running.faults.drip = False
        running.down()


@pytest.fixture
def clock() -> Clock:
    """Stands still until a test moves it."""
    return Clock()


@pytest.fixture
async def connect(stub: RegistryStub, clock: Clock) -> AsyncIterator[Connect]:
    """Makes clients of the stand-in; they are closed at the end."""
    async with AsyncExitStack() as exits:

        def connected(
            url: str | None = None,
            *,
            topic: str = TOPIC,
            auto_register: bool = False,
            **access: Any,  # noqa: ANN401
        ) -> ConfluentRegistry:
            api = RegistryApi(url or stub.url, **{"timeout_seconds": PATIENCE, **access})
            made = ConfluentRegistry(api, topic, auto_register=auto_register, monotonic=clock)
            exits.push_async_callback(made.close)
            return made

        yield connected
