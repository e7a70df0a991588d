"""Broken builds between the outbox and the log: evidence, acknowledgements, parking, outages."""

from collections.abc import Collection, Sequence
from contextlib import suppress

import attrs

from ordering.application.failures import StoreUnavailable
from ordering.application.group_commit import StoredEvents
from ordering.application.messages import Acked, NewEvent, OutboxRow, OutgoingRecord, PublishResult, Stored
from tests.mutants.patching import Sound, mutant

RELAY = "ordering.application.relay_outbox:OutboxRelay"
STORE = "ordering.adapters.memory.store:MemoryOrderStore"
TESTS = "tests/unit/application/test_relay_outbox.py"
GATE = "tests/unit/application/test_relay_gate.py"
OUTBOX = "tests/contract/order_store/test_outbox.py"


# ---------------------------------------------------------------------------------------------- losing events


@mutant("marks-before-the-append", "H1", at=f"{RELAY}._publish")
def _(sound: Sound) -> Sound:
    """Marks events as published, then gives them to the producer."""

    async def publish(self: Sound, batch: list[NewEvent]) -> None:
        with suppress(StoreUnavailable):
            await self._outbox.mark_published([(event.aggregate_id, event.version) for event in batch])
        await sound(self, batch)

    return publish


@mutant("never-reloads", "H1", "H8", at=f"{RELAY}._sweep")
def _(_sound: Sound) -> Sound:
    """Publishes only what its own process committed: no sweep."""

    async def sweep(_self: Sound) -> bool:
        return False

    return sweep


@mutant("unsent-is-sent", "H11", at=f"{RELAY}._unsent")
def _(_sound: Sound) -> Sound:
    """Treats "nobody knows" as "it is in the log"."""

    def unsent(self: Sound, event: NewEvent, _reason: str) -> None:
        self._acknowledged(event)

    return unsent


@mutant("never-sends-again", "H11", at=f"{RELAY}._unsent")
def _(_sound: Sound) -> Sound:
    """An event whose acknowledgement did not come is under way for ever."""

    def unsent(self: Sound, _event: NewEvent, reason: str) -> None:
        self._doubt = reason
        self._cannot_deliver(reason)

    return unsent


@mutant("outbox-as-a-cursor", "H8", at=f"{STORE}.heads")
def _(sound: Sound) -> Sound:
    """Reads on from the highest row it has ever seen, as one that follows a sequence does."""

    async def heads(self: Sound, limit: int, exclude: Collection[str]) -> Sequence[OutboxRow]:
        order = {ref: place for place, ref in enumerate(self._journal)}
        found = await sound(self, limit, exclude)
        places = [order[row.event.aggregate_id, row.event.version] for row in found]
        last = getattr(self, "cursor", -1)
        self.cursor = max([last, *places])
        return [row for row, place in zip(found, places, strict=True) if place > last]

    return heads


# ---------------------------------------------------------------------------------------------- order of events


def _tolerant(sound: Sound) -> Sound:
    def acknowledged(self: Sound, event: NewEvent) -> None:
        self._busy.setdefault(event.aggregate_id, event.version)
        sound(self, event)

    return acknowledged


@mutant("takes-without-evidence", "H7", at=f"{RELAY}.offer", also={f"{RELAY}._acknowledged": _tolerant})
def _(_sound: Sound) -> Sound:
    """Gives every fresh event to the producer at once and leaves failures to a later try."""

    def offer(self: Sound, stored: StoredEvents) -> None:
        for event, _ in stored:
            self._take(event)

    return offer


@mutant("no-evidence-for-the-hand-off", "H7", "H10", at=f"{RELAY}.offer", slow=True)
def _(sound: Sound) -> Sound:
    """Only the hand-off takes an event for the first in line; sweeps keep to the rule."""

    def offer(self: Sound, stored: StoredEvents) -> None:
        sound(self, [(event, Stored(True)) for event, _ in stored])

    return offer


@mutant("always-first-in-line", "H7", at=f"{STORE}._is_first_in_line", slow=True)
def _(_sound: Sound) -> Sound:
    """A store whose transaction claims that it saw no unpublished earlier event."""
    return lambda _self, _event: True


@mutant(
    "sqlite-always-first-in-line",
    "H7",
    at="ordering.adapters.sqlite.writes:_is_first_in_line",
    by="tests/contract/order_store/test_write.py::test_first_in_line_means_no_unpublished_earlier_event[sqlite]",
)
def _(_sound: Sound) -> Sound:
    """The same of the file."""
    return lambda _connection, _event: True


@mutant("any-acknowledgement-is-evidence", "H7", at=f"{RELAY}.offer", slow=True)
def _(sound: Sound) -> Sound:
    """An acknowledged version lets every later one pass, not only the next."""

    def offer(self: Sound, stored: StoredEvents) -> None:
        sound(self, [(e, Stored(True) if e.aggregate_id in self._acked else outcome) for e, outcome in stored])

    return offer


@mutant("chain-with-a-hole", "H7", at=f"{RELAY}._acknowledged", slow=True)
def _(sound: Sound) -> Sound:
    """Whatever waits behind an event in memory goes next, also if a version between them is missing."""

    def acknowledged(self: Sound, event: NewEvent) -> None:
        followers = self._behind.pop(event.aggregate_id, None)
        sound(self, event)
        if followers:
            self._take(followers.popleft())
            self._behind[event.aggregate_id] = followers

    return acknowledged


@mutant("newest-row-first", "H9", at=f"{STORE}.heads")
def _(_sound: Sound) -> Sound:
    """Claims rows, not orders: an order's newest unpublished event may be the one."""

    async def heads(self: Sound, limit: int, exclude: Collection[str]) -> Sequence[OutboxRow]:
        newest = {ref[0]: ref for ref in self._outbox if ref[0] not in {*exclude, *self._stopped()}}
        return [OutboxRow(self._journal[ref]) for ref in newest.values()][:limit]

    return heads


@mutant(
    "sqlite-heads-are-rows",
    "H9",
    at="ordering.adapters.sqlite.store:_HEADS",
    by=f"{OUTBOX}::test_a_later_version_never_shows_before_an_earlier_one[sqlite]",
)
def _(sound: Sound) -> Sound:
    """The file gives out every unpublished row, several of one order."""
    head, rest = sound.split("WHERE NOT EXISTS", 1)
    return head + "WHERE true" + rest[rest.index(")") + 1 :]


@mutant("sweeps-up-what-is-under-way", "H10", at=f"{RELAY}._sweep")
def _(_sound: Sound) -> Sound:
    """Does not look whether the lowest unpublished event is at the producer already, or acknowledged."""

    async def sweep(self: Sound) -> bool:
        with suppress(StoreUnavailable):
            for row in await self._outbox.heads(self._limits.batch_max, ()):
                self._take(row.event)
        return False

    return sweep


# ---------------------------------------------------------------------------------------------- marks


@mutant("marks-further-than-acknowledged", "H10", at=f"{RELAY}._acknowledged")
def _(sound: Sound) -> Sound:
    """Marks every version up to the acknowledged one and the next, as a cursor would."""

    def acknowledged(self: Sound, event: NewEvent) -> None:
        sound(self, event)
        self._to_mark += [(event.aggregate_id, version) for version in range(1, event.version + 2)]

    return acknowledged


class _AckedFirst:
    """A publisher whose answers are counted, not matched to their records."""

    def __init__(self, real: Sound) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Sound:
        return getattr(self._real, name)

    async def publish(self, batch: Sequence[OutgoingRecord]) -> Sequence[PublishResult]:
        return sorted(await self._real.publish(batch), key=lambda result: not isinstance(result, Acked))


@mutant("ack-marks-the-wrong-row", "H11", at=f"{RELAY}._publish", slow=True)
def _(sound: Sound) -> Sound:
    """So many acknowledgements came, so the first so many of the batch are marked."""

    async def publish(self: Sound, batch: list[NewEvent]) -> None:
        if not isinstance(self._publisher, _AckedFirst):
            self._publisher = _AckedFirst(self._publisher)
        await sound(self, batch)

    return publish


# ---------------------------------------------------------------------------------------------- bounds and parking


@mutant(
    "window-without-an-end",
    "H13",
    at=f"{RELAY}.offer",
    by=f"{TESTS}::test_what_overflows_the_window_waits_in_the_database",
)
def _(sound: Sound) -> Sound:
    """Takes over in memory whatever is committed."""

    def offer(self: Sound, stored: StoredEvents) -> None:
        limits, self._limits = self._limits, attrs.evolve(self._limits, window_max=1 << 40)
        try:
            sound(self, stored)
        finally:
            self._limits = limits

    return offer


@mutant(
    "rejected-is-an-outage",
    "H14",
    at=f"{RELAY}._park",
    by=f"{TESTS}::test_a_rejected_event_parks_its_aggregate_and_nobody_else",
)
def _(_sound: Sound) -> Sound:
    """A record that the broker will never take closes the gate for everybody."""

    async def park(self: Sound, event: NewEvent, reason: str) -> None:
        self._unsent(event, reason)

    return park


@mutant(
    "parked-in-memory-only",
    "H14",
    at=f"{RELAY}._park",
    by=f"{TESTS}::test_a_parked_aggregate_stays_parked_through_a_restart_until_it_is_retried",
)
def _(_sound: Sound) -> Sound:
    """The next life tries a parked order again."""

    async def park(self: Sound, event: NewEvent, _reason: str) -> None:
        self._ready = type(self._ready)(one for one in self._ready if one.aggregate_id != event.aggregate_id)
        self._behind.pop(event.aggregate_id, None)
        self._seen.pop((event.aggregate_id, event.version), None)

    return park


@mutant("parked-order-is-overtaken", "H14", at=f"{STORE}.heads", slow=True)
def _(_sound: Sound) -> Sound:
    """Only the rejected event waits for its release; the order's next one goes out before it."""

    async def heads(self: Sound, limit: int, exclude: Collection[str]) -> Sequence[OutboxRow]:
        found: list[OutboxRow] = []
        passed, skipped = set(exclude), set(self._stopped())
        for ref in self._outbox:
            if ref[0] in skipped:
                skipped.discard(ref[0])
            elif ref[0] not in passed:
                passed.add(ref[0])
                found.append(OutboxRow(self._journal[ref]))
        return found[:limit]

    return heads


# ---------------------------------------------------------------------------------------------- partitions


@mutant(
    "partition-by-the-present-count",
    "H15",
    at="ordering.application.addressing:Addressing.count",
    by=f"{GATE}::test_a_topic_that_grew_keeps_its_recorded_partition_count",
)
def _(_sound: Sound) -> Sound:
    """A topic that grew moves its keys to other partitions."""

    async def count(self: Sound, topic: str) -> int:
        found: int = await self._publisher.partition_count(topic)
        self._partitions[topic] = found
        return found

    return count


@mutant(
    "recorded-count-follows-the-topic",
    "H15",
    at="ordering.adapters.sqlite.store:_RECORD_PARTITIONS",
    by=f"{OUTBOX}::test_recorded_partitions_never_change_while_open[sqlite]",
)
def _(sound: Sound) -> Sound:
    """What was recorded at first use is overwritten with what is there now."""
    return sound.replace("DO NOTHING", "DO UPDATE SET partitions = excluded.partitions")


# ---------------------------------------------------------------------------------------------- outages


@mutant(
    "lateness-by-the-wall-clock",
    "H28",
    at=f"{RELAY}._take",
    by=f"{GATE}::test_an_old_event_is_no_outage_for_a_relay_that_just_saw_it",
)
def _(sound: Sound) -> Sound:
    """How long an event waits is counted from the time that is written on it."""

    def take(self: Sound, event: NewEvent) -> None:
        sound(self, event)
        age = (self._runtime.now() - event.occurred_at) / 1e6
        self._seen[event.aggregate_id, event.version] = self._runtime.monotonic() - age

    return take


@mutant(
    "outage-ignored",
    at="ordering.application.outage_gate:OutageGate.outage",
    by=f"{GATE}::test_the_gate_closes_on_the_first_failure_and_reopens_by_the_probe_alone",
)
def _(_sound: Sound) -> Sound:
    """Outages are seen and do not close the gate."""
    return lambda _self, _reason: None


@mutant(
    "disk-never-asked",
    "H27",
    at="ordering.application.outage_gate:OutageGate._disk_full",
    by=f"{GATE}::test_the_backlog_is_limited_by_age_and_by_free_disk",
)
def _(_sound: Sound) -> Sound:
    """The backlog may fill the disk to the last byte."""
    return lambda _self: None


@mutant(
    "lease-without-an-end",
    "H10",
    "H28",
    at="ordering.adapters.postgres.lease:_RENEW",
    by="tests/integration/test_postgres_store.py::test_a_lease_lasts_two_seconds_of_the_databases_clock",
    slow=True,
)
def _(sound: Sound) -> Sound:
    """Who relays is settled for ever, however long it stands still."""
    return sound.replace("OR l.expires_at <= clock_timestamp()", "")
