"""Registries under test. A new one joins the suite with one more class here."""

from collections.abc import AsyncIterator, Callable
from typing import Protocol
from uuid import uuid4

import pytest

from ordering.adapters.avro import released
from ordering.adapters.avro.confluent import ConfluentRegistry
from ordering.adapters.avro.registry import BuiltInRegistry
from ordering.adapters.avro.registry_api import RegistryApi
from ordering.adapters.avro.subjects import SchemaSubjects
from tests.services.registry_stub import RegistryStub
from tests.simulation.outside import Node, Outside
from tests.simulation.sim_registry import SimRegistry
from tests.simulation.weather import STILL

OURS, INHERITED = released.load()


class Client(Protocol):
    """What the relay and the decoder ask."""

    async def id_of(self, schema: str) -> int: ...

    async def schema_of(self, schema_id: int) -> str | None: ...


class Place(Protocol):
    """One registry with every released schema."""

    def client(self) -> Client:
        """A new process's way to it."""

    async def close(self) -> None: ...


class BuiltIn:
    """The index in this installation."""

    def client(self) -> Client:
        return BuiltInRegistry()

    async def close(self) -> None: ...


class Simulated:
    """The simulated registry in still weather."""

    def __init__(self) -> None:
        self._outside = Outside(0, STILL)

    def client(self) -> Client:
        return SimRegistry(Node(self._outside, 1))

    async def close(self) -> None: ...


class OverHttp:
    """A server with Confluent's API at ``url``, whose schemas were registered as people do it. Its topic is new."""

    def __init__(self, url: str) -> None:
        self.url, self.topic = url, f"orders-{uuid4()}"
        self._clients: list[ConfluentRegistry] = []

    async def fill(self) -> None:
        subjects = SchemaSubjects(RegistryApi(self.url, timeout_seconds=60.0), self.topic)
        try:
            assert (await subjects.register(dry_run=False)).faults == ()
        finally:
            await subjects.close()

    def client(self) -> ConfluentRegistry:
        made = ConfluentRegistry(RegistryApi(self.url, timeout_seconds=60.0), self.topic)
        self._clients.append(made)
        return made

    async def close(self) -> None:
        for made in self._clients:
            await made.close()


IN_PROCESS: dict[str, Callable[[], Place]] = {"built in": BuiltIn, "simulated": Simulated}


@pytest.fixture(
    params=[
        "built in",
        "simulated",
        pytest.param("stand-in", marks=pytest.mark.process),
        pytest.param("real", marks=[pytest.mark.process, pytest.mark.slow]),
    ]
)
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """Each registry in turn."""
    if request.param in IN_PROCESS:
        yield IN_PROCESS[request.param]()
        return
    stub = RegistryStub(first_id=41) if request.param == "stand-in" else None
    filled = OverHttp(stub.url if stub else request.getfixturevalue("registry").url)
    try:
        await filled.fill()
        yield filled
    finally:
        await filled.close()
        if stub:
            stub.down()
