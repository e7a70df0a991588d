"""Writes and what is expected of them, in short words."""

from ordering.application.messages import Encoded, NewEvent, RecordedAnswer, StoredState, Write

LONE_SURROGATE = "\ud800"  # no database can hold it, so a row with it is at fault


def event(order_id: str, version: int = 1, event_id: str | None = None, at: int = 1_000) -> NewEvent:
    return NewEvent(
        event_id or f"event-{order_id}-{version}",
        order_id,
        version,
        "order-events",
        order_id.encode(errors="replace"),
        (("ce_id", b"1"), ("empty", b""), ("bytes", bytes(range(256))), ("名前", "é".encode())),
        Encoded("order-events-value/1", f"state {version} of {order_id!a}".encode() + b"\x00\xff"),
        at,
    )


def answer(key: str, body: bytes = b"{}", at: int = 1_000) -> RecordedAnswer:
    return RecordedAnswer(key, b"\x00fingerprint", 201, 1, body, at)


def write(
    order_id: str,
    version: int = 1,
    event_id: str | None = None,
    *,
    key: str | None = None,
    body: bytes = b"{}",
    at: int = 1_000,
) -> Write:
    """Version ``version`` of an order, decided on the version before it."""
    recorded = answer(key, body, at) if key is not None else None
    return Write(order_id, version - 1, event(order_id, version, event_id, at), recorded)


def only_answer(order_id: str, version: int, key: str, body: bytes = b"{}") -> Write:
    return Write(order_id, version, None, answer(key, body))


def state(written: Write) -> StoredState:
    """What ``get`` gives once the write is stored."""
    assert written.event is not None
    stored = written.event
    return StoredState(stored.aggregate_id, stored.version, stored.event_id, stored.encoded)
