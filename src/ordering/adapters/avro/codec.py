"""Order events as Avro bytes, and back, in any released version."""

from collections.abc import Callable, Iterable
from typing import Any, Final

from ordering.adapters.avro import binary, border, released, rules
from ordering.adapters.avro.binary import Schema, Unconvertible
from ordering.adapters.avro.released import Released
from ordering.adapters.avro.safety import hazard
from ordering.application.messages import Encoded
from ordering.domain.events import OrderEvent
from ordering.domain.order import Order

SUBJECT: Final = "order-events-value"

Data = dict[str, Any]
"""A record as fastavro has it."""

ReadEvent = Callable[[bytes], OrderEvent]
"""Body (without the prefix) to event. Raises Corrupt or Unconvertible."""

ReadOrder = Callable[[bytes], Order]
"""The same for an inherited record, which is an order at version 0."""


class OrderCodec:
    """Writes the newest released version of our schema and reads every version of it.

    Synchronous and free of I/O after construction. An order event is also the order's state (it carries the whole
    order), so stores keep what ``encode`` returns and use cases read it back with ``decode``.
    """

    def __init__(self, schemas: Iterable[Released] | None = None) -> None:
        """``schemas`` is the released ones unless a test says otherwise."""
        known = tuple(released.load() if schemas is None else schemas)
        own = [schema for schema in known if schema.entry.subject == SUBJECT]
        newest = max(own, key=lambda schema: schema.entry.version)
        self.schema: Final = newest.entry.name
        """The name of the version that ``encode`` writes."""
        self._newest = newest.definition
        self._newest_shape = rules.shape(newest.definition)
        self._prepared = _prepared(newest.definition)
        self._inherited = [_prepared(schema.definition) for schema in known if schema.entry.inherited][-1]
        self._records = {schema.entry.name: self._records_of(schema.definition) for schema in own}

    def encode(self, event: OrderEvent) -> Encoded:
        """The bytes that plain fastavro writes under the published schema, without registry id.

        Raises Unconvertible (a ValueError) for an amount that does not fit decimal(18,4).
        """
        return Encoded(self.schema, binary.write(self._prepared, border.to_data(event)))

    def decode(self, encoded: Encoded) -> OrderEvent:
        """The event, as written. Raises ValueError for a schema that was never released to this program (state
        stored by a newer one) and for bytes that are no event."""
        return border.to_event(self._record(encoded))

    def order(self, encoded: Encoded) -> Order:
        """The order alone, which costs less: whoever asks for an order asks for nothing else. Raises as ``decode``."""
        return border.to_order(self._record(encoded))

    def _record(self, encoded: Encoded) -> Data:
        read = self._records.get(encoded.schema)
        if read is None:
            raise ValueError(f"written with schema '{encoded.schema}', which this program does not know")
        return read(encoded.body)

    def writes(self, definition: Schema) -> bool:
        """Whether ``encode`` writes bytes of exactly this layout and meaning."""
        return bool(rules.shape(definition) == self._newest_shape)

    def reader_of(self, definition: Schema) -> ReadEvent:
        """A reader for events written with any version of our schema, also one released after this program.

        Raises Unconvertible if the schema is unsafe to read with or gives our fields another meaning.
        """
        record = self._records_of(definition)
        return lambda body: border.to_event(record(body))

    def _records_of(self, definition: Schema) -> Callable[[bytes], Data]:
        writer = _prepared(definition)
        if faults := rules.meaning_faults(definition, self._newest):
            raise Unconvertible("; ".join(faults))
        reader = None if self.writes(definition) else self._prepared
        return lambda body: binary.read(body, writer, reader)

    def inherited_reader_of(self, definition: Schema) -> ReadOrder:
        """A reader for inherited records. Raises Unconvertible if the schema is unsafe to read with."""
        writer = _prepared(definition)

        def read(body: bytes) -> Order:
            return border.to_inherited_order(binary.read(body, writer, self._inherited))

        return read


def _prepared(definition: Schema) -> Schema:
    if (danger := hazard(definition)) is not None:
        raise Unconvertible(danger)
    return binary.prepared(binary.physical(definition))
