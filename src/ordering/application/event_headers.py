"""Record headers: CloudEvents 1.0 in Kafka's binary content mode, the request's id and its trace context.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md
https://www.w3.org/TR/trace-context/
"""

from typing import Final

from ordering.application.messages import Headers
from ordering.domain.events import EventType, OrderEvent

CE_TYPES: Final = {kind: b"ordering." + kind.value.lower().replace("_", ".", 1).encode() for kind in EventType}
"""``ce_type`` of each event type: ``ordering.order.placed`` and so on. Permanent, like the symbols themselves."""

_FIXED: Final[Headers] = (("ce_specversion", b"1.0"), ("content-type", b"application/avro"))


def event_headers(
    event: OrderEvent, source: str, request_id: str, traceparent: str | None, tracestate: str | None
) -> Headers:
    """All headers of an order event's record."""
    headers: Headers = (
        *_FIXED,
        ("ce_id", event.event_id.encode()),
        ("ce_type", CE_TYPES[event.event_type]),
        ("ce_source", source.encode()),
        ("ce_subject", event.order.order_id.encode()),
        ("ce_time", event.occurred_at.isoformat(timespec="microseconds").replace("+00:00", "Z").encode()),
        ("x-request-id", request_id.encode()),
    )
    if traceparent is not None:
        headers += (("traceparent", traceparent.encode()),)
        if tracestate is not None:
            headers += (("tracestate", tracestate.encode()),)
    return headers
