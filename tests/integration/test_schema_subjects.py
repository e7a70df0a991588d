"""``ordering schemas diff|register``: what stands in a registry, what is put there, and what never is."""

import hashlib
import json
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from ordering.adapters.avro import released
from ordering.adapters.avro.codec import OrderCodec
from ordering.adapters.avro.confluent import ConfluentRegistry
from ordering.adapters.avro.decoder import OrderEventDecoder
from ordering.adapters.avro.registry_api import RegistryApi, SchemaRefused
from ordering.adapters.avro.subjects import SchemaSubjects, State
from ordering.application import framing
from ordering.application.errors import RegistryUnavailable
from ordering.application.messages import DecodedEvent, Lineage
from tests.services.registry_stub import RegistryStub
from tests.unit.adapters.avro.samples import INHERITED, INHERITED_ORDER, INHERITED_SCHEMA, OURS, our_record, plain_bytes

SCHEMAS = Path(__file__).parents[2] / "schemas"
PATIENCE = 60.0

pytestmark = pytest.mark.process


class Server:
    """A registry with a topic that nobody has used before."""

    def __init__(self, url: str, stub: RegistryStub | None = None) -> None:
        self.url, self.stub = url, stub
        self.topic = f"orders-{uuid4()}"
        self.subject, self.inherited_subject = f"{self.topic}-value", f"{self.topic}-inherited-value"
        self.api = RegistryApi(url, timeout_seconds=PATIENCE)

    async def texts(self, subject: str) -> list[Any]:
        """What stands under a subject."""
        return [json.loads(version.schema.text) for version in await self.api.versions(subject)]

    async def delete(self, subject: str) -> None:
        """What the advice tells people to do."""
        async with httpx.AsyncClient(timeout=PATIENCE) as client:
            (await client.delete(f"{self.url}/subjects/{subject}")).raise_for_status()


@pytest.fixture(params=["stand-in", pytest.param("real", marks=pytest.mark.slow)])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    """A stand-in and a real registry."""
    stub = RegistryStub(first_id=7) if request.param == "stand-in" else None
    running = Server(stub.url if stub else request.getfixturevalue("registry").url, stub)
    try:
        yield running
    finally:
        await running.api.close()
        if stub:
            stub.down()


Open = Callable[..., SchemaSubjects]


@pytest.fixture
async def administration(server: Server) -> AsyncIterator[Open]:
    """Opens the administration of the server's topic, for the released schemas or those of a folder."""
    async with AsyncExitStack() as exits:

        def opened(root: Path | None = None) -> SchemaSubjects:
            made = SchemaSubjects(RegistryApi(server.url, timeout_seconds=PATIENCE), server.topic, root)
            exits.push_async_callback(made.close)
            return made

        yield opened


@pytest.fixture
def later_release(tmp_path: Path) -> Callable[[dict[str, Any]], Path]:
    """Makes the schemas of a release with a second version of ours, which may break the rules."""

    def made(definition: dict[str, Any]) -> Path:
        root = tmp_path / "schemas"
        shutil.copytree(SCHEMAS, root)
        text = json.dumps(definition)
        (root / "order-events-value" / "v2.avsc").write_text(text)
        index = json.loads((root / released.INDEX).read_text())
        row = {"id": 3, "subject": "order-events-value", "version": 2, "name": "order-events-value/v2"}
        row |= {"file": "order-events-value/v2.avsc", "inherited": False}
        index["schemas"].append(row | {"sha256": hashlib.sha256(text.encode()).hexdigest()})
        (root / released.INDEX).write_text(json.dumps(index))
        return root

    return made


def ours_with(*fields: dict[str, Any]) -> dict[str, Any]:
    """Our schema and more fields."""
    definition: dict[str, Any] = json.loads(OURS.text)
    definition["fields"] += fields
    return definition


NOTE = {"name": "note", "type": ["null", "string"], "default": None, "doc": "What the customer added."}
BREAKING = {"name": "note", "type": "string", "doc": "A new field without a default."}


# ------------------------------------------------------------------------------------------------ the usual way


async def test_an_empty_registry_gets_every_released_schema(server: Server, administration: Open) -> None:
    """Missing first, then registered, under FULL_TRANSITIVE; a second time there is nothing left to do."""
    before = await administration().compare()
    assert [schema.state for report in before.subjects for schema in report.schemas] == [State.MISSING] * 2
    assert f"{server.subject}: schema order-events-value/v1 is not registered" in before.faults
    assert before.blocks == ()

    done = await administration().register(dry_run=False)
    assert done.faults == ()
    assert len(done.steps) == 4  # two levels, two schemas
    assert await server.texts(server.subject) == [json.loads(OURS.text)]
    assert await server.texts(server.inherited_subject) == [json.loads(INHERITED.text)]
    for subject in (server.subject, server.inherited_subject):
        assert await server.api.compatibility(subject) == "FULL_TRANSITIVE"

    after = await administration().compare()
    assert after.faults == ()
    assert [schema.state for report in after.subjects for schema in report.schemas] == [State.REGISTERED] * 2
    assert all(schema.id is not None for report in after.subjects for schema in report.schemas)
    again = await administration().register(dry_run=False)
    assert (again.steps, again.faults) == ((), ())


async def test_a_dry_run_tells_the_same_steps_and_does_none(server: Server, administration: Open) -> None:
    """What people check before they change a registry that others use too."""
    told = await administration().register(dry_run=True)
    assert len(told.steps) == 4
    assert await server.api.versions(server.subject) == []
    assert await server.api.compatibility(server.subject) != "FULL_TRANSITIVE"


async def test_a_compatible_version_is_added_and_older_ids_stay(
    server: Server, administration: Open, later_release: Callable[[dict[str, Any]], Path]
) -> None:
    """A release after this one adds its version; the older release then says that it is behind."""
    await administration().register(dry_run=False)
    [first] = await server.api.versions(server.subject)
    root = later_release(ours_with(NOTE))
    done = await administration(root).register(dry_run=False)
    assert done.faults == ()
    assert [step.partition(" has ")[0] for step in done.steps] == [f"{server.subject}: schema order-events-value/v2"]
    standing = await server.api.versions(server.subject)
    assert standing[0] == first
    assert len(standing) == 2
    assert (await administration(root).compare()).faults == ()

    behind = await administration().compare()
    assert behind.faults == (f"{server.subject}: version 2 of ordering.events.OrderEvent is not in this release",)
    assert (await administration().register(dry_run=False)).faults == ()


async def test_a_loosened_level_is_a_difference_and_is_set_again(server: Server, administration: Open) -> None:
    """Somebody changed it by hand."""
    await administration().register(dry_run=False)
    await server.api.set_compatibility(server.subject, "NONE")
    found = await administration().compare()
    assert found.faults == (f"{server.subject}: its compatibility is NONE, it should be FULL_TRANSITIVE",)
    assert (await administration().register(dry_run=False)).steps == (
        f"{server.subject}: compatibility FULL_TRANSITIVE",
    )
    assert (await administration().compare()).faults == ()


# ------------------------------------------------------------------------------------------------ what is refused


async def test_a_release_that_breaks_its_readers_is_refused_before_anything_changes(
    server: Server, administration: Open, later_release: Callable[[dict[str, Any]], Path]
) -> None:
    """Offline already, with the reasons; nothing is written to the registry."""
    root = later_release(ours_with(BREAKING))
    found = await administration(root).compare()
    assert any("cannot read" in fault and "note" in fault for fault in found.offline.faults)
    done = await administration(root).register(dry_run=False)
    assert done.faults
    assert done.steps == ()
    assert await server.api.versions(server.subject) == []
    assert await server.api.compatibility(server.subject) != "FULL_TRANSITIVE"


async def test_the_registry_itself_refuses_an_incompatible_schema(server: Server, administration: Open) -> None:
    """Whoever tries, with whatever tool: that is what FULL_TRANSITIVE is for."""
    await administration().register(dry_run=False)
    text = json.dumps(ours_with(BREAKING))
    assert await server.api.objections(server.subject, text) != ()
    with pytest.raises(SchemaRefused):
        await server.api.register(server.subject, text)
    assert len(await server.api.versions(server.subject)) == 1


async def test_what_others_registered_can_keep_ours_out(server: Server, administration: Open) -> None:
    """An incompatible version of our record that is not in this repository; its registry's level allowed it."""
    stranger = await server.api.register(server.subject, json.dumps(ours_with(BREAKING)))
    found = await administration().compare()
    against = f"{server.subject}: schema order-events-value/v1 against version 1: "
    assert any(fault.startswith(against) and "note" in fault for fault in found.blocks)
    done = await administration().register(dry_run=False)
    assert done.steps == ()
    assert set(done.faults) == set(found.blocks)
    assert [version.id for version in await server.api.versions(server.subject)] == [stranger]


async def test_another_scale_of_amounts_is_refused_although_avro_finds_it_compatible(
    server: Server, administration: Open
) -> None:
    """The bytes would be read, and every price would be wrong by a factor."""
    text = json.dumps(json.loads(OURS.text.replace('"scale": 4', '"scale": 2')))
    assert '"scale": 2' in text
    await server.api.register(server.subject, text)
    found = await administration().compare()
    assert any("decimal(18,2) against decimal(18,4)" in fault for fault in found.blocks)
    assert (await administration().register(dry_run=False)).steps == ()


async def test_an_inherited_topic_is_told_what_to_do_and_that_works(server: Server, administration: Open) -> None:
    """The seed's program registered its own record under our subject. Set aside as told, its records stay readable."""
    seed_id = await server.api.register(server.subject, INHERITED.text)
    refused = await administration().register(dry_run=False)
    [fault] = [fault for fault in refused.faults if "set it aside" in fault]
    assert f"(id {seed_id}) is com.ecommerce.order.Order" in fault
    assert server.inherited_subject in fault
    assert f"curl -X DELETE {server.url}/subjects/{server.subject}" in fault
    assert refused.steps == ()
    assert await server.api.compatibility(server.subject) != "FULL_TRANSITIVE"

    assert await server.api.register(server.inherited_subject, INHERITED.text) == seed_id
    await server.delete(server.subject)
    assert (await administration().register(dry_run=False)).faults == ()
    assert (await administration().compare()).faults == ()
    client = ConfluentRegistry(RegistryApi(server.url, timeout_seconds=PATIENCE), server.topic)
    try:
        assert await client.id_of(OURS.entry.name) != seed_id
        body = plain_bytes(INHERITED_SCHEMA, INHERITED_ORDER)
        key = framing.frame(seed_id, plain_bytes("string", "ORD-1"))
        [answer] = await OrderEventDecoder(client, OrderCodec()).decode([our_record(body, key=key, schema_id=seed_id)])
        assert isinstance(answer, DecodedEvent)
        assert (answer.key, answer.lineage) == ("ORD-1", Lineage.INHERITED)
    finally:
        await client.close()


async def test_a_foreign_record_under_our_subject_blocks(server: Server, administration: Open) -> None:
    """Something that has nothing to do with orders."""
    await server.api.register(server.subject, json.dumps({"type": "record", "name": "a.B", "fields": []}))
    found = await administration().compare()
    assert any("is a.B, which is no version of our event" in fault for fault in found.blocks)


# ------------------------------------------------------------------------------------------------ the stand-in alone


@pytest.fixture
def stub() -> Iterator[RegistryStub]:
    """A stand-in without any schema."""
    running = RegistryStub(first_id=7)
    try:
        yield running
    finally:
        running.down()


async def test_an_id_of_another_schema_is_a_difference(stub: RegistryStub) -> None:
    """A registry that contradicts itself is not touched."""
    subjects = SchemaSubjects(RegistryApi(stub.url, timeout_seconds=PATIENCE), "order-events")
    try:
        await subjects.register(dry_run=False)
        given = stub.put("order-events-value", OURS.text)
        stub.faults.under_id[given] = {"schema": INHERITED.text}
        found = await subjects.compare()
        assert State.DIFFERENT in [schema.state for report in found.subjects for schema in report.schemas]
        assert any(f"gives id {given}" in fault for fault in found.blocks)
        writes = stub.count("PUT")
        assert (await subjects.register(dry_run=False)).faults == found.blocks
        assert stub.count("PUT") == writes
    finally:
        await subjects.close()


async def test_a_registry_that_is_down_is_one_plain_reason(stub: RegistryStub) -> None:
    """Nothing is compared by halves."""
    stub.down()
    subjects = SchemaSubjects(RegistryApi(stub.url, timeout_seconds=PATIENCE), "order-events")
    try:
        with pytest.raises(RegistryUnavailable) as caught:
            await subjects.compare()
        assert caught.value.reason == "the schema registry cannot be reached"
    finally:
        await subjects.close()
