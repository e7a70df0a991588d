"""What travels through the generic machinery: journal rows, log records, projection rows.

Nothing here knows the business: a state or an event is bytes under a schema's name, a key and a version. Every
service built on this machinery (orders, inventory, billing, shipping) uses these types unchanged.
"""

from collections.abc import Mapping
from enum import StrEnum

import attrs

Headers = tuple[tuple[str, bytes], ...]


@attrs.frozen
class Encoded:
    """Avro bytes without any registry id; ``schema`` names the released schema they were written with."""

    schema: str
    body: bytes


# ---------------------------------------------------------------------------------------------- write side


@attrs.frozen
class NewEvent:
    """An event to be stored in its aggregate's transaction and published afterwards.

    ``occurred_at`` is UTC microseconds since 1970. ``encoded`` is also the aggregate's new state: events carry the
    whole state, so state and event are one encoding.
    """

    event_id: str
    aggregate_id: str
    version: int
    topic: str
    key: bytes
    headers: Headers
    encoded: Encoded
    occurred_at: int


@attrs.frozen
class RecordedAnswer:
    """The first answer to an idempotency key. ``key`` holds the scope (method and path) and the client's key."""

    key: str
    fingerprint: bytes
    status: int
    etag: int
    body: bytes
    recorded_at: int


@attrs.frozen
class Write:
    """All that one command makes durable, together or not at all.

    ``expected_version`` is the aggregate's stored version this was decided on (0: it must not exist yet). Without an
    event only the answer is recorded (a repeated command that changed nothing).
    """

    aggregate_id: str
    expected_version: int
    event: NewEvent | None
    answer: RecordedAnswer | None = None


@attrs.frozen
class StoredState:
    """An aggregate as stored: the state after event ``event_id``, its ``version``-th."""

    aggregate_id: str
    version: int
    event_id: str
    encoded: Encoded


@attrs.frozen
class KeptState:
    """An aggregate as stored, with how many of its events the journal still has, and whether the newest is one."""

    state: StoredState
    events: int
    newest: bool


@attrs.frozen
class Stored:
    """The write is durable. ``first_in_line``: its own transaction saw no unpublished earlier event of the aggregate,
    which is the evidence that lets the event be handed to a producer at once."""

    first_in_line: bool


@attrs.frozen
class Conflict:
    """Nothing was stored: the aggregate stands at ``version``, not at the expected one."""

    version: int


@attrs.frozen
class AnswerTaken:
    """Nothing was stored: the idempotency key already has an answer."""

    answer: RecordedAnswer


Outcome = Stored | Conflict | AnswerTaken


@attrs.frozen
class OutboxRow:
    """A stored event that is not marked published; ``parked`` holds the reason if its aggregate's outbox is parked."""

    event: NewEvent
    parked: str | None = None


@attrs.frozen
class OutboxSummary:
    """How much waits: unpublished events, aggregates parked, the oldest unparked event's time (UTC microseconds)."""

    unpublished: int
    parked: int
    oldest_at: int | None


@attrs.frozen
class JournalEntry:
    """One line of an aggregate's timeline, as ``ordering orders show`` prints it."""

    event: NewEvent
    published: bool
    parked: str | None


@attrs.frozen
class Standing:
    """How an aggregate stands in the store: its version, that version's event, and which of its events are not marked
    published (version -> event id)."""

    version: int
    event_id: str
    unpublished: Mapping[int, str]


# ---------------------------------------------------------------------------------------------- log


@attrs.frozen
class OutgoingRecord:
    """A record for the log: framed value, partition already computed from the key."""

    topic: str
    partition: int
    key: bytes
    value: bytes
    headers: Headers
    timestamp: int
    """UTC milliseconds since 1970: when the event occurred."""


@attrs.frozen
class Acked:
    """The log has the record durably. An adapter that is not told the ``offset`` has to know otherwise that it has."""

    offset: int | None


@attrs.frozen
class Rejected:
    """The log refuses this record for good (too large, not allowed): retrying changes nothing."""

    reason: str


@attrs.frozen
class Unsent:
    """The log could not take the record now, or nobody knows whether it did: it stays unpublished and is sent again."""

    reason: str


PublishResult = Acked | Rejected | Unsent


@attrs.frozen
class Record:
    """A record read from the log. ``timestamp`` is UTC milliseconds since 1970; a tombstone has no value."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


@attrs.frozen
class LogIdentity:
    """Which log this is. ``topic_id`` is None where a broker does not tell it."""

    cluster_id: str
    topic_id: str | None


@attrs.frozen
class Polled:
    """What one poll brought: partitions gained, partitions lost, records (ascending offsets per partition)."""

    assigned: tuple[int, ...] = ()
    revoked: tuple[int, ...] = ()
    records: tuple[Record, ...] = ()


@attrs.frozen
class Lag:
    """How far positions are behind the log's end: events, and the age in seconds of the oldest one not applied."""

    events: int
    seconds: float


# ---------------------------------------------------------------------------------------------- read side


class Lineage(StrEnum):
    """Whose record formed a row: our own versioned events, or the inherited unversioned format."""

    OWN = "own"
    INHERITED = "inherited"


@attrs.frozen
class DecodedEvent:
    """An event as the projection needs it.

    ``version`` is None for inherited records, which carry none. ``label`` is what statistics count by (an order's
    status). ``encoded`` is the state after the event.
    """

    key: str
    event_id: str
    version: int | None
    label: str
    encoded: Encoded
    lineage: Lineage = Lineage.OWN


@attrs.frozen
class Undecodable:
    """Why a record is no event; ``reason`` is one of DeadReason's values, ``detail`` is for people. ``key`` is what can
    be read of the record's key: later records of that key park behind it."""

    reason: str
    detail: str
    key: str | None = None


class DeadReason(StrEnum):
    """Why a record is held back from the read model."""

    NOT_FRAMED = "not-framed"
    UNKNOWN_SCHEMA = "unknown-schema"
    CORRUPT = "corrupt"
    EMPTY = "empty"
    TOO_LARGE = "too-large"
    BAD_KEY = "bad-key"
    KEY_MISMATCH = "key-mismatch"
    UNCONVERTIBLE = "unconvertible"
    VERSION_CONFLICT = "version-conflict"
    REFUSED = "refused"
    """The read model's store does not take what this record holds."""
    DISCARDED = "discarded"
    """People have discarded it. Only while a rebuild does that again, in the log's order."""
    PARKED = "parked"
    """Nothing wrong with this record itself: an earlier one of its key is held, and order is kept."""


@attrs.frozen
class Place:
    """A record's place in first-appearance order: timestamp (ms), then partition, then offset."""

    timestamp: int
    partition: int
    offset: int


@attrs.frozen
class ViewRow:
    """One aggregate in the read model.

    ``version`` 0 with ``encoded`` None is a key known only by a held record. ``revision`` counts the row's changes of
    any kind and guards every write by compare-and-set; ``events_applied`` counts applied events, so that a double
    application shows. ``held`` is the number of records held back for this key: while it is not 0 the key is parked.
    """

    key: str
    version: int
    event_id: str
    label: str
    encoded: Encoded | None
    lineage: Lineage
    events_applied: int
    first: Place
    held: int
    revision: int
    missing: tuple[tuple[int, int], ...] = ()
    """Version ranges (first, last) that a gap jumped over; a store keeps them with the row."""


@attrs.frozen
class HeldRecord:
    """A record kept back with its raw bytes: a dead letter, or one parked behind it (reason ``parked``)."""

    record: Record
    key: str | None
    reason: str
    detail: str
    held_at: int
    """UTC microseconds."""

    @property
    def place(self) -> tuple[int, int]:
        """Partition and offset."""
        return self.record.partition, self.record.offset


@attrs.frozen
class Snapshot:
    """What a projection batch is decided on: generation, positions and rows as of one moment."""

    generation: int
    positions: Mapping[int, int]
    rows: Mapping[str, ViewRow]


@attrs.frozen
class Changes:
    """One projection transaction; all of it is stored or, on a lost compare-and-set, nothing.

    ``positions`` maps a partition to (expected next offset, new next offset). ``rows`` carry the revision after the
    change; the stored one must be exactly one less (absent for revision 1). ``labels`` are deltas of the count per
    label, ``counters`` deltas of the named counters. ``released`` are held records that leave (partition, offset); they
    leave before ``held`` comes in, so one record may be held anew for another reason. ``discarded`` are those of them
    that were never applied: people's decision, which the log does not hold, so the store remembers it for rebuilds.
    """

    topic: str
    generation: int
    positions: Mapping[int, tuple[int, int]]
    rows: tuple[ViewRow, ...] = ()
    held: tuple[HeldRecord, ...] = ()
    released: tuple[tuple[int, int], ...] = ()
    labels: Mapping[str, int] = attrs.Factory(dict)
    counters: Mapping[str, int] = attrs.Factory(dict)
    discarded: tuple[tuple[int, int], ...] = ()


class Counter(StrEnum):
    """The read model's incremental counters."""

    APPLIED = "applied"
    DUPLICATES = "duplicates"
    GAPS = "gaps"
    LATE = "late"


@attrs.frozen
class ViewStats:
    """The read model in figures. ``parked`` counts parked keys, ``dead_letters`` held records with a reason of their
    own, ``by_label`` the aggregates per label."""

    total: int
    by_label: Mapping[str, int]
    counters: Mapping[str, int]
    parked: int
    dead_letters: int
