"""The small pure parts: partitions, framing, headers, trimming, and the sentence about an order."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ordering.application.event_headers import CE_TYPES, event_headers
from ordering.application.failures import BrokerUnavailable, CommitAmbiguous, LogChanged, StoreUnavailable
from ordering.application.framing import frame, unframe
from ordering.application.housekeeping import Retention, Trimmer
from ordering.application.inspect_order import InspectOrder, OrderTrace
from ordering.application.messages import (
    Encoded,
    HeldRecord,
    JournalEntry,
    Lineage,
    NewEvent,
    Place,
    Record,
    StoredState,
    ViewRow,
)
from ordering.application.partitioning import murmur2, partition_of, spread_over
from ordering.domain.currencies import CURRENCIES
from ordering.domain.events import EventType, Stamp
from ordering.domain.order import Order, OrderDraft, OrderLine
from ordering.domain.status import OrderStatus
from tests.unit.application.runtime import MIDNIGHT, VirtualRuntime, passing

# The vectors of Apache Kafka's own test (UtilsTest.testMurmur2), as signed 32-bit integers.
KAFKA_VECTORS = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@pytest.mark.parametrize(("key", "signed"), KAFKA_VECTORS.items())
def test_keys_are_hashed_as_java_clients_do(key: bytes, signed: int) -> None:
    """Any producer of the ecosystem puts the same key into the same partition."""
    assert murmur2(key) == signed % 2**32
    assert partition_of(key, 7) == (signed & 0x7FFFFFFF) % 7


@given(st.binary(max_size=64), st.integers(1, 1000))
def test_every_key_has_a_partition(key: bytes, partitions: int) -> None:
    """Never negative, never beyond the count."""
    assert 0 <= partition_of(key, partitions) < partitions


@given(st.sets(st.binary(max_size=20), min_size=60, max_size=80), st.integers(1, 12), st.integers(0, 20))
def test_enough_keys_tell_over_how_many_partitions_they_are_spread(keys: set[bytes], used: int, grown: int) -> None:
    """However much the topic has grown since; a topic with fewer partitions cannot hold them."""
    places = [(key, partition_of(key, used)) for key in sorted(keys)]
    assert spread_over(places, used + grown) == used
    assert used == 1 or spread_over(places, used - 1) is None


def test_without_keys_any_number_will_do() -> None:
    """The largest is taken: nothing is lost by it."""
    assert spread_over([], 7) == 7
    assert spread_over([(b"a", 9)], 7) is None


@given(st.integers(0, 2**32 - 1), st.binary(max_size=64))
def test_what_was_framed_is_unframed(schema_id: int, body: bytes) -> None:
    """A zero byte, four bytes of id, the body."""
    value = frame(schema_id, body)
    assert value == b"\0" + schema_id.to_bytes(4, "big") + body
    assert unframe(value) == (schema_id, body)


@pytest.mark.parametrize("value", [b"", b"\0", b"\0\0\0\0", b"\1\0\0\0\1body", b"{}", b"\xff" * 9])
def test_what_is_not_framed_is_refused(value: bytes) -> None:
    """Plain JSON, short values, other magic bytes."""
    with pytest.raises(ValueError, match="not framed"):
        unframe(value)


# ------------------------------------------------------------------ headers


@pytest.mark.parametrize("trace", [None, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"])
@pytest.mark.parametrize("state", [None, "vendor=1"])
def test_headers_are_cloudevents_with_the_request_and_its_trace(trace: str | None, state: str | None) -> None:
    """Kafka's binary content mode; a trace state without a trace parent means nothing."""
    at = datetime(2026, 3, 4, 5, 6, 7, 89, tzinfo=UTC)
    draft = OrderDraft("o-1", "c", CURRENCIES["USD"], (OrderLine("i", 1, Decimal("1.00")),))
    order, placed = Order.place(draft, Stamp("e1", at))
    headers = event_headers(placed, "/cart", "r-1", trace, state)
    expected = {
        "ce_specversion": b"1.0",
        "content-type": b"application/avro",
        "ce_id": b"e1",
        "ce_type": b"ordering.order.placed",
        "ce_source": b"/cart",
        "ce_subject": b"o-1",
        "ce_time": b"2026-03-04T05:06:07.000089Z",
        "x-request-id": b"r-1",
    }
    if trace:
        expected["traceparent"] = trace.encode()
        if state:
            expected["tracestate"] = state.encode()
    assert dict(headers) == expected
    assert len(headers) == len(expected)
    _, confirmed = order.change_status(OrderStatus.CONFIRMED, Stamp("e2", at))
    assert dict(event_headers(confirmed, "/cart", "r", None, None))["ce_type"] == b"ordering.order.confirmed"


def test_every_event_type_has_a_cloudevents_type() -> None:
    """They are as permanent as the symbols."""
    assert len(set(CE_TYPES.values())) == len(EventType)
    assert all(kind.startswith(b"ordering.") and kind.islower() for kind in CE_TYPES.values())


# ------------------------------------------------------------------ trimming


class Rows:
    """A Housekeeping port with so many rows to trim."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.faults: list[Exception] = []
        self.calls: list[tuple[int, int, int]] = []

    async def trim(self, *, answers_before: int, journal_before: int, limit: int) -> int:
        if self.faults:
            raise self.faults.pop(0)
        self.calls.append((answers_before, journal_before, limit))
        went = min(self.rows, limit)
        self.rows -= went
        return went


async def test_trimming_goes_in_small_batches_with_pauses(runtime: VirtualRuntime) -> None:
    """Each batch waits a little, a finished round waits long."""
    rows = Rows(450)
    running = runtime.spawn(Trimmer(rows, runtime, Retention()).run(), name="trim")
    await passing(1)
    assert rows.rows == 0
    assert len(rows.calls) == 3
    await passing(60)
    assert len(rows.calls) == 4
    running.cancel()
    answers_before, journal_before, limit = rows.calls[0]
    assert (MIDNIGHT - answers_before, MIDNIGHT - journal_before, limit) == (86_400_000_000, 604_800_000_000, 200)


async def test_trimming_outlives_a_busy_store(runtime: VirtualRuntime) -> None:
    """It is tried again with the next round."""
    rows = Rows(10)
    rows.faults = [StoreUnavailable("busy"), CommitAmbiguous("disk")]
    running = runtime.spawn(Trimmer(rows, runtime, Retention()).run(), name="trim")
    await passing(130)
    assert rows.rows == 0
    assert not running.done()


# ------------------------------------------------------------------ where is my order


def _entry(version: int, *, published: bool = True, parked: str | None = None) -> JournalEntry:
    event = NewEvent(f"e{version}", "o", version, "t", b"o", (), Encoded("s", b""), 0)
    return JournalEntry(event, published, parked)


_STATE = StoredState("o", 2, "e2", Encoded("s", b""))
_LETTER = HeldRecord(Record("t", 1, 7, 0, b"o", b"x"), "o", "corrupt", "truncated", 0)


def _view(version: int, lineage: Lineage = Lineage.OWN) -> ViewRow:
    return ViewRow("o", version, f"e{version}", "l", None, lineage, version, Place(0, 0, 0), 0, 1)


_AHEAD = "the read model is ahead of the store (version 3, stored {}): was an older store restored?"


@pytest.mark.parametrize(
    ("trace", "verdict"),
    [
        (OrderTrace(None, [], 0, [], None, []), "unknown: not stored, not in the read model"),
        (
            OrderTrace(_STATE, [_entry(1), _entry(2, published=False, parked="too large")], 0, [], _view(1), []),
            "its events are parked in the outbox: too large",
        ),
        (
            OrderTrace(_STATE, [_entry(1), _entry(2, published=False)], 0, [], _view(1), []),
            "version 2 waits to be published",
        ),
        (
            OrderTrace(_STATE, [_entry(1), _entry(2)], 0, [], _view(1), [_LETTER]),
            "the read model holds it back: corrupt at partition 1, offset 7: truncated",
        ),
        (
            OrderTrace(_STATE, [_entry(1), _entry(2)], 0, [], _view(1), []),
            "published up to version 2, the read model is at version 1",
        ),
        (OrderTrace(_STATE, [_entry(1), _entry(2)], 0, [], _view(2), []), "complete: version 2 is in the read model"),
        (
            OrderTrace(None, [], 0, [], _view(3, Lineage.INHERITED), []),
            "complete: version 3 is in the read model",
        ),
        (OrderTrace(None, [], 0, [], _view(3), []), _AHEAD.format("nothing")),
        (OrderTrace(_STATE, [_entry(1), _entry(2)], 0, [], _view(3), []), _AHEAD.format("2")),
        (
            OrderTrace(_STATE, [_entry(1), _entry(2)], 0, [], None, [], {"view": "gone", "held": "gone"}),
            "stored at version 2 and published; the read model is not readable: gone",
        ),
        (
            OrderTrace(_STATE, [], 0, [], None, [], {"view": "gone", "journal": "busy"}),
            "stored at version 2; the read model is not readable: gone",
        ),
        (
            OrderTrace(None, [], 0, [], _view(3), [], {"stored": "gone", "journal": "gone"}),
            "version 3 is in the read model; the order store is not readable: gone",
        ),
        (
            OrderTrace(None, [], 0, [], None, [], {"stored": "gone", "journal": "gone"}),
            "not found in what is readable; the order store is not readable: gone",
        ),
        (
            OrderTrace(None, [], None, [], None, [], {"log": "gone"}),
            "unknown: not stored, not in the read model",
        ),
    ],
)
def test_one_sentence_says_where_an_order_is(trace: OrderTrace, verdict: str) -> None:
    """The first thing that holds it up, from the store to the read model."""
    assert trace.verdict == verdict


class Refused(Exception):
    """What opening a part that is not there raises."""


class Parts:
    """Every part of an order's trace; those named in ``broken`` cannot be opened or read."""

    def __init__(self, **broken: Exception) -> None:
        self.broken = broken

    def store(self) -> "Parts":
        return self._opened("store")

    def log(self) -> "Parts":
        return self._opened("log")

    def views(self) -> "Parts":
        return self._opened("views")

    def _opened(self, name: str) -> "Parts":
        if name in self.broken:
            raise self.broken[name]
        return self

    async def get(self, _order_id: str) -> object:
        return self._read("get", _STATE)

    async def timeline(self, _order_id: str) -> object:
        return self._read("timeline", [_entry(2)])

    async def partition_count(self) -> object:
        return self._read("count", 3)

    async def find(self, partition: int, key: bytes, _limit: int) -> object:
        return self._read("find", [(partition, key)])

    async def letters(self, _limit: int, *, key: str) -> object:
        return self._read("letters", [key])

    def _read(self, name: str, found: object) -> object:
        if name in self.broken:
            raise self.broken[name]
        return found


@pytest.mark.parametrize(
    ("broken", "unread"),
    [
        ({}, {}),
        ({"store": Refused("no file")}, {"stored": "no file", "journal": "no file"}),
        ({"views": Refused("no file")}, {"view": "no file", "held": "no file"}),
        ({"log": Refused("no file")}, {"log": "no file"}),
        ({"count": BrokerUnavailable("no log")}, {"log": "no log"}),
        ({"find": LogChanged("another log")}, {"log": "another log"}),
        ({"timeline": StoreUnavailable("busy")}, {"journal": "busy"}),
    ],
)
async def test_one_unreadable_part_of_an_order_does_not_hide_the_others(
    broken: dict[str, Exception], unread: dict[str, str]
) -> None:
    """Each is asked for itself, and says why it cannot tell."""
    parts = Parts(**broken)
    inspect = InspectOrder(parts.store, parts.store, parts.log, parts.views, parts.views, (Refused,))  # type: ignore[arg-type]
    trace = await inspect("o")

    assert dict(trace.unread) == unread
    told = {
        "stored": trace.stored,
        "journal": trace.timeline,
        "log": trace.records,
        "view": trace.view,
        "held": trace.held,
    }
    assert {name for name, found in told.items() if not found} == set(unread)
    assert trace.partition == (None if {"log", "count"} & set(broken) else partition_of(b"o", 3))
