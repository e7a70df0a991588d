"""Records become events or verdicts, for our schema in any version and for the inherited record."""

import copy
import json
from decimal import Decimal
from typing import Any
from uuid import UUID

import attrs
import pytest

from ordering.adapters.avro.binary import Schema
from ordering.adapters.avro.codec import OrderCodec
from ordering.adapters.avro.decoder import OrderEventDecoder, inherited_event_id, key_of
from ordering.adapters.avro.registry import BuiltInRegistry
from ordering.application import framing
from ordering.application.errors import RegistryUnavailable
from ordering.application.messages import DecodedEvent, Lineage, Record, Undecodable
from ordering.domain.events import EventType
from tests.unit.adapters.avro.samples import (
    EVENT,
    INHERITED_SCHEMA,
    OUR_SCHEMA,
    as_published,
    event_in,
    inherited_record,
    our_record,
    plain_bytes,
)

CODEC = OrderCodec()
BODY = CODEC.encode(EVENT).body


class Registry(BuiltInRegistry):
    """The built-in one with more schemas, some of which it learns later, and which can be out of reach."""

    def __init__(self, **more: object) -> None:
        super().__init__()
        self.more = {int(name.removeprefix("id")): json.dumps(schema) for name, schema in more.items()}
        self.reachable = True
        self.asked: list[int] = []

    async def schema_of(self, schema_id: int) -> str | None:
        self.asked.append(schema_id)
        if not self.reachable:
            raise RegistryUnavailable("connection refused")
        return self.more.get(schema_id) or await super().schema_of(schema_id)


async def decode(record: Record, registry: Registry | None = None) -> DecodedEvent | Undecodable:
    """The answer for a single record."""
    [answer] = await OrderEventDecoder(registry or Registry(), CODEC).decode([record])
    return answer


def written(**changes: object) -> Record:
    """A record of ours whose fields differ from the sample."""
    return our_record(plain_bytes(OUR_SCHEMA, as_published(EVENT) | changes))


def version_2(**changes: object) -> dict[str, Any]:
    """A later release of our schema: one more field, one more symbol."""
    schema = copy.deepcopy(OUR_SCHEMA)
    schema["fields"][1]["type"]["symbols"].append("ORDER_RETURNED")
    schema["fields"].append({"name": "channel", "type": "string", "default": "web", "doc": "Where it was ordered."})
    return schema | changes


# ------------------------------------------------------------------------------------------------ ours


async def test_our_event_keeps_its_bytes_as_the_state() -> None:
    """No second encoding: the body is stored as it came."""
    assert await decode(our_record(BODY)) == DecodedEvent("ORD-1", EVENT.event_id, 1, "pending", CODEC.encode(EVENT))


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (attrs.evolve(our_record(BODY), value=None), "empty"),
        (attrs.evolve(our_record(BODY), value=b""), "not-framed"),
        (attrs.evolve(our_record(BODY), value=b"\0\0\0\0"), "not-framed"),
        (attrs.evolve(our_record(BODY), value=b"\1" + framing.frame(1, BODY)[1:]), "not-framed"),
        (attrs.evolve(our_record(BODY), value=b'{"orderId": "ORD-1"}'), "not-framed"),
        (our_record(BODY, schema_id=99), "unknown-schema"),
        (our_record(b""), "corrupt"),
        (our_record(BODY[:-1]), "corrupt"),
        (our_record(BODY + b"\0"), "corrupt"),
        (our_record(bytes(256 * 1024 + 1)), "too-large"),
        (our_record(BODY, key=None), "bad-key"),
        (our_record(BODY, key=b""), "bad-key"),
        (our_record(BODY, key=b"\xff"), "bad-key"),
        (our_record(BODY, key=b"A" * 513), "bad-key"),
        (our_record(BODY, key=b"A\nB"), "bad-key"),
        (our_record(BODY, key=b"\0ORD-1"), "bad-key"),
        (our_record(BODY, key=b"ORD-2"), "key-mismatch"),
        (written(status="lost"), "unconvertible"),
        (written(currency="euros"), "unconvertible"),
        (written(version=0), "unconvertible"),
        (written(version=-1), "unconvertible"),
    ],
)
async def test_a_record_that_is_no_event_gets_its_reason(record: Record, reason: str) -> None:
    """Each kind of fault has one of the fixed reasons, and a detail that any database can store."""
    answer = await decode(record)
    assert isinstance(answer, Undecodable)
    assert answer.reason == reason
    assert 0 < len(answer.detail) <= 300
    assert "\0" not in answer.detail


async def test_an_unknown_event_type_is_an_event_since_the_status_tells_the_state() -> None:
    """UNKNOWN is what readers make of newer types."""
    assert event_in(await decode(written(eventType="UNKNOWN"))).label == "pending"


async def test_the_event_id_is_always_in_its_canonical_form() -> None:
    """Duplicates are recognised by comparing texts."""
    assert event_in(await decode(written(eventId=EVENT.event_id.upper()))).event_id == EVENT.event_id


async def test_a_newer_version_of_our_schema_is_read_by_schema_resolution() -> None:
    """A field we do not know is dropped, a symbol we do not know is UNKNOWN, the state is encoded in our version."""
    value = as_published(EVENT) | {"channel": "shop", "eventType": "ORDER_RETURNED"}
    event = event_in(await decode(our_record(plain_bytes(version_2(), value), schema_id=7), Registry(id7=version_2())))
    expected = attrs.evolve(EVENT, event_type=EventType.UNKNOWN)
    assert event.encoded.schema == "order-events-value/v1"
    assert CODEC.decode(event.encoded) == expected


async def test_the_same_schema_under_another_id_with_other_docs_is_ours() -> None:
    """Registries give their own ids and may strip docs; the bytes are the same."""
    schema = json.loads(json.dumps(OUR_SCHEMA).replace('"doc"', '"comment"'))
    for field in schema["fields"]:
        field.pop("comment")
    event = event_in(await decode(our_record(BODY, schema_id=800), Registry(id800=schema)))
    assert event.encoded == CODEC.encode(EVENT)


@pytest.mark.parametrize(
    "schema",
    [
        "string",
        {"type": "record", "name": "Invoice", "namespace": "billing", "fields": []},
        version_2(fields=OUR_SCHEMA["fields"][:5]),
        json.loads(json.dumps(version_2()).replace('"scale": 4', '"scale": 2')),
        version_2(fields=[*OUR_SCHEMA["fields"], {"name": "x", "type": {"type": "array", "items": "null"}}]),
        version_2(fields=[*OUR_SCHEMA["fields"], {"name": "x", "type": ["null", "ordering.events.OrderEvent"]}]),
        version_2(fields="none"),
        ["null", "string"],
    ],
    ids=["primitive", "foreign", "fields missing", "scale", "empty items", "recursive", "broken", "union"],
)
async def test_a_schema_that_cannot_be_an_order_event_is_refused(schema: Schema) -> None:
    """Among them those that would cost memory without bound or read every amount wrong by a factor of 100."""
    answer = await decode(our_record(BODY, schema_id=7), Registry(id7=schema))
    assert isinstance(answer, Undecodable)
    assert answer.reason == "unconvertible"


async def test_a_registry_out_of_reach_pauses_and_an_unknown_id_is_asked_for_again() -> None:
    """Neither is remembered, while a known id is asked for once."""
    registry = Registry()
    decoder = OrderEventDecoder(registry, CODEC)
    record = our_record(plain_bytes(version_2(), as_published(EVENT) | {"channel": "web"}), schema_id=7)
    registry.reachable = False
    with pytest.raises(RegistryUnavailable):
        await decoder.decode([record])
    registry.reachable = True
    [unknown, again] = await decoder.decode([record, record])
    assert isinstance(unknown, Undecodable)
    assert unknown == again
    registry.more[7] = json.dumps(version_2())
    assert [event_in(answer).key for answer in await decoder.decode([record, record])] == ["ORD-1", "ORD-1"]
    assert [event_in(answer).key for answer in await decoder.decode([record])] == ["ORD-1"]
    assert registry.asked == [7, 7, 7]


# ------------------------------------------------------------------------------------------------ inherited


@pytest.mark.parametrize("key", [b"ORD-1", framing.frame(5, plain_bytes("string", "ORD-1"))], ids=["plain", "framed"])
async def test_the_inherited_record_becomes_an_event_without_a_version(key: bytes) -> None:
    """Its amounts are the decimals their doubles mean, its event id comes from its place in the log."""
    event = event_in(await decode(inherited_record(key=key)))
    assert (event.key, event.version, event.label, event.lineage) == ("ORD-1", None, "pending", Lineage.INHERITED)
    assert event.event_id == inherited_event_id("order-events", 3, 42)
    assert UUID(event.event_id).version == 5
    order = CODEC.decode(event.encoded).order
    assert (str(order.total), str(order.lines[0].price)) == ("79.80", "39.90")
    assert order.order_date == EVENT.order.order_date


async def test_equal_inherited_states_have_equal_bytes_wherever_they_lie_in_the_log() -> None:
    """That is how a projection sees whether an inherited record changed anything."""
    first, repeated, changed = [
        event_in(await decode(record))
        for record in (inherited_record(), inherited_record(offset=43), inherited_record({"status": "confirmed"}))
    ]
    assert first.event_id != repeated.event_id
    assert first.encoded == repeated.encoded != changed.encoded


@pytest.mark.parametrize(
    ("changes", "total"),
    [
        ({"totalAmount": 0.1 + 0.7}, None),
        ({"totalAmount": 1999.98}, "1999.98"),
        ({"totalAmount": -24.75}, "-24.75"),
        ({"totalAmount": 123.45, "currency": "JPY"}, "123.45"),
        ({"totalAmount": 123.0, "currency": "JPY"}, "123"),
        ({"totalAmount": 0.0001}, "0.0001"),
        ({"totalAmount": 0.00001}, None),
        ({"totalAmount": 9007199254740993.0}, None),
        ({"totalAmount": 1e300}, None),
        ({"totalAmount": float("nan")}, None),
        ({"totalAmount": float("inf")}, None),
        ({"items": [{"itemId": "A", "quantity": 1, "price": 1e-300}]}, None),
    ],
)
async def test_inherited_amounts_are_converted_exactly_or_not_at_all(
    changes: dict[str, Any], total: str | None
) -> None:
    """A double whose shortest decimal does not fit decimal(18,4) is a dead letter, never a rounded amount."""
    answer = await decode(inherited_record(changes))
    if total is None:
        assert isinstance(answer, Undecodable)
        assert answer.reason == "unconvertible"
    else:
        assert CODEC.decode(event_in(answer).encoded).order.total == Decimal(total)


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-03-01T12:30:15.123456Z", "2026-03-01T12:30:15.123456+00:00"),
        ("2026-03-01T12:30:15", "2026-03-01T12:30:15+00:00"),
        ("2026-03-01T12:30:15+02:00", "2026-03-01T10:30:15+00:00"),
        ("no date", None),
        ("", None),
        ("0001-01-01T00:00:00+14:00", None),
    ],
)
async def test_inherited_dates_are_iso_8601_in_utc(text: str, utc: str | None) -> None:
    """A time without an offset is UTC; what is no date is a dead letter."""
    answer = await decode(inherited_record({"orderDate": text}))
    if utc is None:
        assert isinstance(answer, Undecodable)
        assert answer.reason == "unconvertible"
    else:
        assert CODEC.decode(event_in(answer).encoded).order.order_date.isoformat() == utc


@pytest.mark.parametrize(
    "changes", [{"status": "LOST"}, {"status": ""}, {"currency": "euros"}, {"currency": "usd"}, {"currency": ""}]
)
async def test_inherited_words_that_mean_nothing_are_dead_letters(changes: dict[str, Any]) -> None:
    """The inherited consumer stored anything; we keep such a record with its reason instead."""
    answer = await decode(inherited_record(changes))
    assert isinstance(answer, Undecodable)
    assert answer.reason == "unconvertible"


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (b"ORD-1", "ORD-1"),
        ("Größe 1".encode(), "Größe 1"),
        (framing.frame(9, b"\x0aORD-1"), "ORD-1"),
        (framing.frame(9, b"\x0aORD-1!"), None),
        (framing.frame(9, b"\x0cORD-1"), None),
        (framing.frame(9, b"\x00"), None),
        (framing.frame(9, b"\x02\xff"), None),
        (None, None),
    ],
)
def test_a_key_is_plain_text_or_a_framed_avro_string(key: bytes | None, text: str | None) -> None:
    """Both give the same id, so one order has one row whoever wrote about it."""
    assert key_of(key) == text


@pytest.mark.parametrize("key", [b"ORD-1", framing.frame(9, b"\x0aORD-1")])
async def test_what_cannot_be_decoded_still_names_the_order_it_blocks(key: bytes) -> None:
    """Later records of that order park behind it, whichever producer wrote the key."""
    answer = await decode(Record("order-events", 0, 0, 0, key, b"no frame"))
    assert answer == Undecodable("not-framed", "not framed: expected a zero byte and a four-byte schema id", "ORD-1")


def test_the_inherited_schema_has_the_fields_of_the_first_program() -> None:
    """Doubles, no envelope."""
    assert [field["name"] for field in INHERITED_SCHEMA["fields"]] == [
        "orderId",
        "customerId",
        "orderDate",
        "items",
        "totalAmount",
        "currency",
        "status",
    ]
