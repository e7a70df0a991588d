"""A registry over the network that fails in every way: bounded time, a free event loop, nothing wrong kept."""

import asyncio
from contextlib import nullcontext
from typing import Any

import pytest

from ordering.adapters.avro import confluent
from ordering.adapters.avro.codec import OrderCodec
from ordering.adapters.avro.confluent import FAILURE_SECONDS, UNKNOWN_SECONDS
from ordering.adapters.avro.decoder import OrderEventDecoder
from ordering.adapters.avro.registry_api import RegistryApi
from ordering.application.errors import RegistryUnavailable
from ordering.application.messages import DeadReason, DecodedEvent, Undecodable
from tests.integration.schema_registry.asking import (
    NAME,
    PATIENCE,
    SUBJECT,
    Clock,
    Connect,
    refusal,
    turns_beside,
)
from tests.services.registry_stub import RegistryStub
from tests.unit.adapters.avro.samples import EVENT, INHERITED, OURS, our_record

CODEC = OrderCodec()
BODY = CODEC.encode(EVENT).body

pytestmark = pytest.mark.process


# ------------------------------------------------------------------------------------------------ ids of our schemas


@pytest.mark.parametrize("topic", ["order-events", "shop.Orders_2"])
async def test_our_schema_stands_under_the_subject_of_the_topic(
    stub: RegistryStub, connect: Connect, topic: str
) -> None:
    """TopicNameStrategy, whatever the topic is called; the inherited record has a subject of its own."""
    ours, inherited = stub.put(f"{topic}-value", OURS.text), stub.put(f"{topic}-inherited-value", INHERITED.text)
    client = connect(topic=topic)
    assert [await client.id_of(NAME), await client.id_of(INHERITED.entry.name)] == [ours, inherited]


async def test_an_id_is_asked_for_once_and_kept_for_ever(stub: RegistryStub, connect: Connect, clock: Clock) -> None:
    """With a known schema nothing needs the registry, so its outage goes unnoticed."""
    given = stub.put(SUBJECT, OURS.text)
    client = connect()
    assert await client.id_of(NAME) == given
    assert await client.schema_of(given) is not None
    asked = len(stub.requests)
    stub.down()
    clock.now += 1e9
    assert await client.id_of(NAME) == given
    assert await client.schema_of(given) is not None
    assert len(stub.requests) == asked


async def test_a_schema_that_is_not_registered_is_told_with_the_remedy(stub: RegistryStub, connect: Connect) -> None:
    """Nothing is registered by the way: what stands in a registry is for people to decide."""
    told = await refusal(connect().id_of(NAME))
    assert told == f"schema {NAME} is not registered under subject {SUBJECT}: run `ordering schemas register`"
    assert stub.count("POST", f"/subjects/{SUBJECT}/versions") == 0


async def test_a_schema_registered_later_is_found_later(stub: RegistryStub, connect: Connect, clock: Clock) -> None:
    """A missing schema is missing for a moment, not for ever."""
    client = connect()
    await refusal(client.id_of(NAME))
    given = stub.put(SUBJECT, OURS.text)
    clock.now += FAILURE_SECONDS
    assert await client.id_of(NAME) == given


async def test_a_demonstration_registers_what_is_missing(stub: RegistryStub, connect: Connect) -> None:
    """Only by the setting; the subject gets its compatibility level too."""
    given = await connect(auto_register=True).id_of(NAME)
    assert len(stub.texts(SUBJECT)) == 1
    assert stub.level(SUBJECT) == "FULL_TRANSITIVE"
    assert await connect().id_of(NAME) == given


async def test_a_demonstration_tells_when_the_registry_refuses(stub: RegistryStub, connect: Connect) -> None:
    """The seed's schema under our subject keeps ours out."""
    stub.put(SUBJECT, INHERITED.text)
    assert "does not take schema" in await refusal(connect(auto_register=True).id_of(NAME))


async def test_an_id_under_which_another_schema_stands_is_never_used(
    stub: RegistryStub, connect: Connect, clock: Clock
) -> None:
    """A confused registry must not make us publish what nobody can read; once it is healed, nothing wrong stays."""
    given = stub.put(SUBJECT, OURS.text)
    client = connect()
    for wrong in ({"schema": INHERITED.text}, {"schema": OURS.text, "schemaType": "JSON"}, {"schema": "{"}):
        stub.faults.under_id[given] = wrong
        assert "another schema stands under it" in await refusal(client.id_of(NAME))
        clock.now += FAILURE_SECONDS
    stub.faults.under_id.clear()
    assert await client.id_of(NAME) == given


# ------------------------------------------------------------------------------------------------ the registry fails


async def test_a_registry_that_is_down_at_first_is_found_when_it_is_up(
    stub: RegistryStub, connect: Connect, clock: Clock
) -> None:
    """A cold start in the wrong order heals by itself."""
    given = stub.put(SUBJECT, OURS.text)
    stub.down()
    client = connect()
    assert await refusal(client.id_of(NAME)) == "the schema registry cannot be reached"
    stub.up()
    clock.now += FAILURE_SECONDS
    assert await client.id_of(NAME) == given


async def test_for_a_moment_a_failure_stands_for_the_next_ones(
    stub: RegistryStub, connect: Connect, clock: Clock
) -> None:
    """During an outage not every caller waits for an answer of its own."""
    client = connect()
    stub.down()
    told = await refusal(client.schema_of(1))
    stub.up()
    assert await refusal(client.schema_of(2)) == told
    assert await refusal(client.id_of(NAME)) == told
    assert stub.requests == []
    clock.now += FAILURE_SECONDS
    assert await client.schema_of(2) is None


async def test_a_bad_answer_to_one_question_does_not_answer_the_others(stub: RegistryStub, connect: Connect) -> None:
    """Only silence says something about the whole registry."""
    given = stub.put(SUBJECT, OURS.text)
    client = connect()
    stub.faults.status = 500
    await refusal(client.schema_of(given + 1))
    stub.faults.status = None
    assert await client.schema_of(given) is not None


@pytest.mark.parametrize("way", ["takes requests and is silent", "sends a byte now and then"])
async def test_a_hanging_registry_ends_the_call_in_bounded_time_and_never_blocks_the_loop(
    stub: RegistryStub, connect: Connect, way: str
) -> None:
    """Whatever it does, the call ends on its own, and the event loop served others all the while."""
    stub.faults.drip = way.startswith("sends")
    patient, client = connect(timeout_seconds=PATIENCE / 4), connect(timeout_seconds=1.0)
    with stub.holding() if way.startswith("takes") else nullcontext():
        assert await turns_beside(patient.schema_of(1), 20)  # a blocked loop: it ends in the first turn
        async with asyncio.timeout(PATIENCE):
            assert await refusal(client.schema_of(1)) == "the schema registry does not answer in time"


async def test_each_request_of_the_administration_is_bounded_too(stub: RegistryStub) -> None:
    """A server that always sends another byte would satisfy a timeout between bytes for ever."""
    stub.faults.drip = True
    api = RegistryApi(stub.url, timeout_seconds=1.0)
    try:
        async with asyncio.timeout(PATIENCE):
            assert await refusal(api.schema(1)) == "the schema registry does not answer in time"
    finally:
        await api.close()


async def test_after_silence_the_next_callers_do_not_wait(stub: RegistryStub, connect: Connect) -> None:
    """One caller waits for a hanging registry; those right behind it hear what it heard."""
    client = connect(timeout_seconds=1.0)
    with stub.holding():
        told = await refusal(client.schema_of(1))
        for number in range(2, 100):
            assert await refusal(client.schema_of(number)) == told
        assert stub.count("GET") <= 1  # none, where the machine did not get round to taking it within its second


async def test_callers_at_the_same_time_share_one_request(stub: RegistryStub, connect: Connect) -> None:
    """A start under load asks once."""
    given = stub.put(SUBJECT, OURS.text)
    client = connect()
    with stub.holding():
        callers = [asyncio.create_task(client.id_of(NAME)) for _ in range(50)]
        await asyncio.to_thread(stub.wait_for_request)
    assert await asyncio.gather(*callers) == [given] * 50
    assert stub.count("POST") == stub.count("GET") == 1


async def test_a_caller_who_leaves_takes_nothing_from_the_others(stub: RegistryStub, connect: Connect) -> None:
    """The one that began the request may be cancelled; those that wait for it get the answer."""
    given = stub.put(SUBJECT, OURS.text)
    client = connect()
    with stub.holding():
        first, second = asyncio.create_task(client.id_of(NAME)), asyncio.create_task(client.id_of(NAME))
        await asyncio.to_thread(stub.wait_for_request)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
    assert await second == given
    assert stub.count("POST") == 1


async def test_closing_ends_what_is_being_asked(stub: RegistryStub, connect: Connect) -> None:
    """A stop waits for no registry, and whoever waited is told so."""
    client = connect()
    with stub.holding():
        waiting = asyncio.create_task(client.schema_of(1))
        await asyncio.to_thread(stub.wait_for_request)
        await client.close()
        assert "closed" in await refusal(waiting)
        assert "closed" in await refusal(client.schema_of(1))


@pytest.mark.parametrize(
    ("fault", "value", "told"),
    [
        ("status", 500, "answers with status 500"),
        ("status", 502, "answers with status 502"),
        ("status", 301, "answers with status 301"),
        ("status", 401, "does not accept our user or password"),
        ("status", 403, "does not allow this to our user"),
        ("status", 404, "is the path in its address right?"),
        ("page", True, "is not a schema registry"),
        ("noise", True, "does not answer in HTTP"),
    ],
)
async def test_every_other_answer_is_an_outage_with_a_plain_reason(
    stub: RegistryStub, connect: Connect, fault: str, value: object, told: str
) -> None:
    """Never "unknown id": a proxy's error page must not send a whole topic to the dead letters."""
    setattr(stub.faults, fault, value)
    assert told in await refusal(connect().schema_of(1))
    assert told in await refusal(connect().id_of(NAME))


async def test_an_address_without_its_path_is_an_outage_too(stub: RegistryStub, connect: Connect) -> None:
    """The registry's host answers, but not as a registry."""
    assert "is the path in its address right?" in await refusal(connect(stub.url.removesuffix("/v7")).schema_of(1))


async def test_an_endless_answer_is_cut_off(stub: RegistryStub, connect: Connect) -> None:
    """Memory is bounded, whoever answers."""
    stub.faults.under_id[1] = {"schema": "x" * (5 * 1024 * 1024)}
    assert "too long" in await refusal(connect().schema_of(1))


# ------------------------------------------------------------------------------------------------ foreign ids


async def test_an_unknown_id_is_asked_for_again_after_a_moment(
    stub: RegistryStub, connect: Connect, clock: Clock
) -> None:
    """The record is held; when the registry has caught up, the same record is read. Nothing is unknown for ever."""
    decoder = OrderEventDecoder(connect(), CODEC)
    record = our_record(BODY, schema_id=7)
    for _ in range(20):
        [answer] = await decoder.decode([record])
        assert isinstance(answer, Undecodable)
        assert (answer.reason, answer.key) == (DeadReason.UNKNOWN_SCHEMA, "ORD-1")
    assert stub.count("GET") == 1  # a stream of such records does not hammer the registry
    assert stub.put(SUBJECT, OURS.text) == 7
    clock.now += UNKNOWN_SECONDS
    [answer] = await decoder.decode([record])
    assert isinstance(answer, DecodedEvent)
    assert answer.encoded.body == BODY


async def test_what_is_remembered_of_unknown_ids_is_bounded(
    stub: RegistryStub, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Foreign bytes can name four billion ids; the oldest are forgotten first."""
    monkeypatch.setattr(confluent, "_KEPT_MAX", 3)
    client = connect()
    for schema_id in (1, 2, 3, 4, 4, 2, 1):
        assert await client.schema_of(schema_id) is None
    asked = [path.rpartition("/")[2] for _, path in stub.requests]
    assert asked == ["1", "2", "3", "4", "1"]


async def test_an_id_that_no_registry_gives_is_not_asked_for(stub: RegistryStub, connect: Connect) -> None:
    """Some registries fail when asked for more than 31 bits, and that would look like an outage."""
    assert await connect().schema_of(2**32 - 1) is None
    assert stub.requests == []


@pytest.mark.parametrize(
    "stored",
    [
        {"schema": '{"type": "object"}', "schemaType": "JSON"},
        {"schema": 'syntax = "proto3"; message Order {}', "schemaType": "PROTOBUF"},
        {"schema": OURS.text, "schemaType": "JSON"},
        {"schema": OURS.text, "references": [{"name": "a", "subject": "b", "version": 1}]},
        {"schema": "no schema"},
    ],
)
async def test_a_schema_that_no_event_has_makes_dead_letters(
    stub: RegistryStub, connect: Connect, stored: dict[str, Any]
) -> None:
    """It will never be another one, so it is neither an outage nor unknown, and is asked for once."""
    stub.faults.under_id[9] = stored
    decoder = OrderEventDecoder(connect(), CODEC)
    for _ in range(3):
        [answer] = await decoder.decode([our_record(BODY, schema_id=9)])
        assert isinstance(answer, Undecodable)
        assert answer.reason == DeadReason.UNCONVERTIBLE
    assert len(stub.requests) == 1


async def test_a_registry_out_of_reach_stops_the_decoder_instead_of_judging(
    stub: RegistryStub, connect: Connect
) -> None:
    """An outage is no verdict about records."""
    stub.down()
    with pytest.raises(RegistryUnavailable):
        await OrderEventDecoder(connect(), CODEC).decode([our_record(BODY, schema_id=7)])
