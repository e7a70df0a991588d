"""Log records to events: the place where foreign bytes meet the system. See ``DeadReason`` for the verdicts."""

import json
from collections.abc import Callable, Sequence
from typing import Final
from uuid import NAMESPACE_URL, UUID, uuid5

import attrs

from ordering.adapters.avro import binary, border, rules
from ordering.adapters.avro.binary import Corrupt, Schema, Unconvertible
from ordering.adapters.avro.codec import OrderCodec
from ordering.adapters.avro.registry import SchemaRegistry
from ordering.application import framing
from ordering.application.messages import DeadReason, DecodedEvent, Encoded, Lineage, Record, Undecodable
from ordering.domain.events import EventType, OrderEvent

OUR_RECORD: Final = "ordering.events.OrderEvent"
INHERITED_RECORD: Final = "com.ecommerce.order.Order"

MAX_BODY_BYTES: Final = 256 * 1024
"""Three times our largest order (1,000 items). Decoding takes up to 100 times a body's size in memory, so a cap on
the body is the cap on memory."""

MAX_KEY_BYTES: Final = 512
"""More than any id has, and short enough for every database's index."""

INHERITED_IDS: Final = uuid5(NAMESPACE_URL, "urn:ordering:inherited-record")
"""The UUIDv5 namespace of the event ids of inherited records."""

_NO_EVENT: Final = str(UUID(int=0))
_INT: Final = range(1, border.INT_MAX + 1)
_KEY_SCHEMA: Final = binary.prepared("string")
_DETAIL_LENGTH: Final = 300

Decode = Callable[[str, Record, bytes], DecodedEvent]
"""Key, record and body to event. Raises Corrupt, Unconvertible or _KeyMismatch."""


class _KeyMismatch(ValueError):
    pass


def key_of(key: bytes | None) -> str | None:
    """The order id in a record's key, or None for a key that cannot be one.

    A key is plain UTF-8 or, as the inherited producer writes it, a framed Avro string (any schema id). Ids are at
    most 512 bytes of printable text: databases index them, and some take no NUL.
    """
    if not key or len(key) > MAX_KEY_BYTES:
        return None
    try:
        text = key.decode() if key[0] else binary.read(framing.unframe(key)[1], _KEY_SCHEMA)
    except ValueError:
        return None
    return text if text and text.isprintable() else None


def inherited_event_id(topic: str, partition: int, offset: int) -> str:
    """The event id of an inherited record, which carries none: UUIDv5 of its place in the log."""
    return str(uuid5(INHERITED_IDS, f"{topic}/{partition}/{offset}"))


class OrderEventDecoder:
    """The port ``EventDecoder`` for order events: ours in any version, and the inherited record.

    Our event as this program writes it keeps its body verbatim as the state; one of another version is encoded again.

    An inherited record has neither event id nor version. Its state is encoded with our schema and fixed values in
    their place (nil event id, type UNKNOWN, version 0, occurredAt = orderDate), so two inherited records tell the
    same state exactly if ``encoded`` is equal, and a projection can see "the state differs" without decoding. The
    truth about event id and version of such a state is in the row that holds it, not in its bytes.
    """

    def __init__(self, registry: SchemaRegistry, codec: OrderCodec, *, max_body: int = MAX_BODY_BYTES) -> None:
        self._registry = registry
        self._codec = codec
        self._max_value = max_body + framing.PREFIX_BYTES
        self._known: dict[int, Decode | Undecodable] = {}

    async def decode(self, records: Sequence[Record]) -> Sequence[DecodedEvent | Undecodable]:
        """One answer per record, whatever its bytes are; only a registry that cannot be asked (RegistryUnavailable)
        ends the call. Ids are asked for once; unknown ones again with the next call."""
        opened = [self._open(record) for record in records]
        decoders: dict[int, Decode | Undecodable] = {}
        for item in opened:
            if isinstance(item, _Opened) and item.schema_id not in decoders:
                decoders[item.schema_id] = await self._decoder_for(item.schema_id)
        answers = [_judge(item, decoders[item.schema_id]) if isinstance(item, _Opened) else item for item in opened]
        return [
            answer if isinstance(answer, DecodedEvent) else attrs.evolve(answer, key=key_of(record.key))
            for record, answer in zip(records, answers, strict=True)
        ]

    def _open(self, record: Record) -> "_Opened | Undecodable":
        value = record.value
        if value is None:
            return _dead(DeadReason.EMPTY, "the record has no value")
        if len(value) > self._max_value:
            return _dead(DeadReason.TOO_LARGE, f"{len(value)} bytes, at most {self._max_value} are read")
        key = key_of(record.key)
        if key is None:
            return _dead(DeadReason.BAD_KEY, f"the key {(record.key or b'')[:80]!r} is no order id")
        try:
            schema_id, body = framing.unframe(value)
        except ValueError as error:
            return _dead(DeadReason.NOT_FRAMED, str(error))
        return _Opened(record, key, schema_id, body)

    async def _decoder_for(self, schema_id: int) -> Decode | Undecodable:
        """What to do with records of this id. An id means the same for ever, so what is known is kept."""
        known = self._known.get(schema_id)
        if known is not None:
            return known
        decoder: Decode | Undecodable
        try:
            text = await self._registry.schema_of(schema_id)
            if text is None:
                return _dead(DeadReason.UNKNOWN_SCHEMA, f"the registry knows no schema with the id {schema_id}")
            decoder = self._decode_with(json.loads(text))
        except (ValueError, RecursionError) as error:  # also Unconvertible
            decoder = _dead(DeadReason.UNCONVERTIBLE, f"schema id {schema_id}: {error}")
        self._known[schema_id] = decoder
        return decoder

    def _decode_with(self, definition: Schema) -> Decode:
        name = rules.full_name(definition)
        if name == OUR_RECORD:
            return self._ours(definition)
        if name == INHERITED_RECORD:
            return self._inherited(definition)
        raise Unconvertible(f"'{name}' is no order event")

    def _ours(self, definition: Schema) -> Decode:
        read = self._codec.reader_of(definition)
        verbatim = self._codec.writes(definition)

        def decode(key: str, record: Record, body: bytes) -> DecodedEvent:
            event = read(body)
            order = event.order
            if order.order_id != key:
                raise _KeyMismatch(f"the key is {key[:80]!r}, the event's orderId {order.order_id[:80]!r}")
            if order.version not in _INT:
                raise Unconvertible(f"the version {order.version}")
            encoded = Encoded(self._codec.schema, body) if verbatim else self._codec.encode(event)
            return DecodedEvent(key, event.event_id, order.version, order.status.value, encoded)

        return decode

    def _inherited(self, definition: Schema) -> Decode:
        read = self._codec.inherited_reader_of(definition)

        def decode(key: str, record: Record, body: bytes) -> DecodedEvent:
            order = read(body)
            if order.order_id != key:
                raise _KeyMismatch(f"the key is {key[:80]!r}, the record's orderId {order.order_id[:80]!r}")
            state = self._codec.encode(OrderEvent(_NO_EVENT, EventType.UNKNOWN, order.order_date, order))
            event_id = inherited_event_id(record.topic, record.partition, record.offset)
            return DecodedEvent(key, event_id, None, order.status.value, state, Lineage.INHERITED)

        return decode


@attrs.frozen
class _Opened:
    """A record whose envelope is sound; the body is still unread."""

    record: Record
    key: str
    schema_id: int
    body: bytes


def _dead(reason: DeadReason, detail: str) -> Undecodable:
    """A verdict whose detail any database can store: short, without NUL."""
    return Undecodable(reason.value, detail[:_DETAIL_LENGTH].replace("\0", "\\0"))


def _judge(opened: _Opened, decode: Decode | Undecodable) -> DecodedEvent | Undecodable:
    if isinstance(decode, Undecodable):
        return decode
    try:
        return decode(opened.key, opened.record, opened.body)
    except Corrupt as error:
        return _dead(DeadReason.CORRUPT, str(error))
    except _KeyMismatch as error:
        return _dead(DeadReason.KEY_MISMATCH, str(error))
    except Unconvertible as error:
        return _dead(DeadReason.UNCONVERTIBLE, str(error))
    except MemoryError:
        raise
    except Exception as error:  # one record must never stop its partition, not even by a fault of ours
        return _dead(DeadReason.UNCONVERTIBLE, f"{type(error).__name__}: {error}")
