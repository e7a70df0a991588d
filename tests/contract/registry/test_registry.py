"""The ids of released schemas, whoever gives them: this installation, a stand-in server, a real registry."""

import json

import pytest

from ordering.adapters.avro import rules
from ordering.application.errors import RegistryUnavailable
from tests.contract.registry.conftest import INHERITED, OURS, Place


async def test_a_released_schema_has_an_id_and_that_id_stands_for_it(place: Place) -> None:
    """Whoever reads the id gets a schema that reads our bytes alike."""
    client = place.client()
    for schema in (OURS, INHERITED):
        text = await client.schema_of(await client.id_of(schema.entry.name))
        assert text is not None
        assert rules.shape(json.loads(text)) == rules.shape(schema.definition)


async def test_two_schemas_have_two_ids(place: Place) -> None:
    """An id names one schema."""
    client = place.client()
    assert await client.id_of(OURS.entry.name) != await client.id_of(INHERITED.entry.name)


async def test_an_id_is_the_same_for_every_process_and_every_time(place: Place) -> None:
    """What one service writes, another one reads."""
    one, other = place.client(), place.client()
    first = await one.id_of(OURS.entry.name)
    assert [await other.id_of(OURS.entry.name), await one.id_of(OURS.entry.name)] == [first, first]


async def test_an_id_that_was_never_given_is_unknown(place: Place) -> None:
    """Unknown is an answer, not a failure: the record is held and tried again."""
    client = place.client()
    for schema_id in (2**31 - 1, 2**31, 2**32 - 1):
        assert await client.schema_of(schema_id) is None


async def test_a_schema_that_was_never_released_has_no_id(place: Place) -> None:
    """Nothing can be published under a name that this program does not know."""
    with pytest.raises(RegistryUnavailable, match="order-events-value/v999"):
        await place.client().id_of("order-events-value/v999")
