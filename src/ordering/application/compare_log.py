"""Is the order store as new as the log? A restored backup, or a replica that took over too early, is not.

Such a store does not know changes that everybody else has seen. It would give their versions to other changes, which
readers refuse (``version-conflict``), and take orders that exist. So nothing may be published, and no change taken,
before the newest records of the log have been compared with it.

Ours are records of an event of ours with a version, sent under our name. What other producers write, and records that
cannot be read, say nothing about our store. Every event is durable in the store before it is given to the log, and the
log is read before the store is asked: so with a sound store nothing is ever found, whatever other instances do
meanwhile, and whatever was trimmed from the journal (an order's version and event id are kept for ever).
"""

from collections import Counter as Multiset
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from enum import Enum, auto
from typing import Final

import attrs

from ordering.application.failures import Refused
from ordering.application.messages import DecodedEvent, Lineage, NewEvent, Record, Standing, Undecodable
from ordering.application.partitioning import Places
from ordering.application.ports import EventDecoder, LogTail, Observer, StandingStore, WholeLog
from ordering.application.read_up_to import ReadUpTo

NEWEST: Final = 300
"""Records of each partition that are compared at start: what came after a backup lies at the end."""
FARTHEST: Final = 16 * NEWEST
"""How far back a partition is looked at whose newest records are all somebody else's."""
WIDER: Final = 4
AT_ONCE: Final = 4 * FARTHEST
"""Records that are asked for in one go then: a log has limited time for each."""
PLACES: Final = 1_000
"""Keys whose partitions are looked at: far more than can be where they belong by chance."""
NAMED: Final = 5
BATCH: Final = 500
WAIT_SECONDS: Final = 0.5
SOURCE_HEADER: Final = "ce_source"


class StoreBehindLog(Refused):
    """The log has changes that the order store does not know: the service must not run before somebody acts."""

    def __init__(self, found: "Sequence[Unknown]") -> None:
        self.found = found
        keys = list(dict.fromkeys(one.key for one in found))
        named = ", ".join(keys[:NAMED]) + (f" and {len(keys) - NAMED} more" if len(keys) > NAMED else "")
        count = f"{len(found)} change" + ("s" if len(found) != 1 else "")
        super().__init__(
            f"the order store is older than the log, which has {count} that it does not know (orders {named}): "
            "a restored backup? Publishing now would give their versions to other changes (version-conflict). "
            "`ordering restore check` lists them, `ordering restore reconcile` brings the store up to the log"
        )


class Verdict(Enum):
    """What a record of ours says about the store."""

    KNOWN = auto()
    UNKNOWN = auto()
    """The store has not come to this version, or would publish another event as this version."""
    DIVERGED = auto()
    """Another event was published as this version: the log has both, and readers have kept the first."""


@attrs.frozen
class Unknown:
    """A change in the log that the store does not know; ``stored`` is the version it has, 0 if it has no such order."""

    key: str
    version: int
    event_id: str
    stored: int


def judge(version: int, event_id: str, standing: Standing | None) -> Verdict:
    """Compare an event in the log with how its aggregate stands in the store."""
    if standing is None or version > standing.version:
        return Verdict.UNKNOWN
    waiting = standing.unpublished.get(version)
    if waiting is not None:
        return Verdict.KNOWN if waiting == event_id else Verdict.UNKNOWN
    if version == standing.version and event_id != standing.event_id:
        return Verdict.DIVERGED
    return Verdict.KNOWN


@attrs.frozen
class Own:
    """An event of ours in the log, with its version."""

    record: Record
    event: DecodedEvent
    version: int


def own_events(records: Sequence[Record], events: Sequence[DecodedEvent | Undecodable], source: bytes) -> Iterator[Own]:
    """Those that are ours; ``source`` is what our own records bear as their CloudEvents source."""
    for record, event in zip(records, events, strict=True):
        if (
            isinstance(event, DecodedEvent)
            and event.lineage is Lineage.OWN
            and event.version is not None
            and (SOURCE_HEADER, source) in record.headers
        ):
            yield Own(record, event, event.version)


class StartCheck:
    """Compares the end of the log with the store, once, before anything is published."""

    def __init__(
        self, tail: LogTail, decoder: EventDecoder, store: StandingStore, observer: Observer | None, source: str
    ) -> None:
        """``source`` is what our own records bear as their CloudEvents source; who only looks has no ``observer``."""
        self._tail, self._decoder, self._store, self._observer = tail, decoder, store, observer
        self._source = source.encode()

    async def __call__(self) -> Places:
        """Where records of ours lie, at most ``PLACES`` of them, from all partitions.

        Raises StoreBehindLog, or BrokerUnavailable, LogChanged, RegistryUnavailable, StoreUnavailable: not now.
        """
        places: dict[tuple[bytes, int], None] = {}
        silent = await self._look(NEWEST, None, Multiset(), places)
        each = NEWEST
        while silent and each < FARTHEST:
            # Where others publish much, what tells whether the store is old lies further back.
            each *= WIDER
            size, wanted, told = max(1, AT_ONCE // each), list(silent), Multiset[int]()
            for begin in range(0, len(wanted), size):
                told += await self._look(each, wanted[begin : begin + size], silent, places)
            silent = told
        return list(places)[:: 1 + len(places) // PLACES]

    async def _look(
        self,
        each: int,
        partitions: Collection[int] | None,
        before: Multiset[int],
        places: dict[tuple[bytes, int], None],
    ) -> Multiset[int]:
        """Compare the newest of these partitions, and add where those of ours lie. How many records each one has that
        has none of ours, if those are more than ``before``."""
        records = await self._tail.newest(each, partitions)
        places |= await self._compare(records)
        ours = {partition for _, partition in places}
        counts = Multiset(record.partition for record in records if record.partition not in ours)
        return Multiset({partition: count for partition, count in counts.items() if count > before[partition]})

    async def _compare(self, records: Sequence[Record]) -> dict[tuple[bytes, int], None]:
        """Where those of ours lie. Raises StoreBehindLog."""
        found: list[Unknown] = []
        places: dict[tuple[bytes, int], None] = {}
        for begin in range(0, len(records), BATCH):
            part = records[begin : begin + BATCH]
            ours = list(own_events(part, await self._decoder.decode(part), self._source))
            standings = await self._store.standings({one.event.key for one in ours})
            found += unknown(ours, standings)
            places |= {(one.record.key or b"", one.record.partition): None for one in ours}
        if found:
            error = StoreBehindLog(found)
            if self._observer is not None:
                self._observer.alarmed("store.behind_log", changes=len(found), reason=str(error))
            raise error
        return places


def unknown(ours: Iterable[Own], standings: Mapping[str, Standing]) -> Iterator[Unknown]:
    """Those of them that the store does not know."""
    for one in ours:
        standing = standings.get(one.event.key)
        if judge(one.version, one.event.event_id, standing) is Verdict.UNKNOWN:
            yield Unknown(one.event.key, one.version, one.event.event_id, standing.version if standing else 0)


# ---------------------------------------------------------------------------------------------- the way out


@attrs.define
class Reconciled:
    """What comparing the whole log found, and what was adopted. ``orders`` are those that were behind, ``dropped`` the
    changes (order, version) that the store had and never published, and that the log's history rules out; ``diverged``
    the versions (order, version) that the log has twice, as different events."""

    records: int = 0
    changes: int = 0
    orders: dict[str, None] = attrs.Factory(dict)
    dropped: list[tuple[str, int]] = attrs.Factory(list)
    diverged: list[tuple[str, int]] = attrs.Factory(list)


class Reconciler:
    """Reads the log from its beginning and has the store adopt what it does not know, in the log's order.

    Events carry the whole state, so the store ends where the log does. May be repeated and may break off: what the
    store has adopted it knows. No cart service may run meanwhile.
    """

    def __init__(self, log: WholeLog, decoder: EventDecoder, store: StandingStore, source: str) -> None:
        self._log, self._decoder, self._store, self._source = log, decoder, store, source.encode()

    async def run(self, *, dry_run: bool) -> Reconciled:
        """Up to the end that the log has now; with ``dry_run`` nothing changes. Raises BrokerUnavailable, LogChanged,
        RegistryUnavailable, StoreUnavailable."""
        told = Reconciled()
        ends, reading = await self._log.end_offsets(), ReadUpTo(self._log)
        await reading.go_on(await self._log.begin_offsets())
        imagined: dict[str, Standing] = {}
        while reading.missing(ends):
            records = await reading.take(ends, BATCH, WAIT_SECONDS)
            told.records += len(records)
            await self._batch(records, told, imagined if dry_run else None)
        return told

    async def _batch(self, records: Sequence[Record], told: Reconciled, imagined: dict[str, Standing] | None) -> None:
        ours = list(own_events(records, await self._decoder.decode(records), self._source)) if records else []
        standings = dict(await self._store.standings({one.event.key for one in ours}))
        if imagined is not None:
            standings |= {one.event.key: imagined[one.event.key] for one in ours if one.event.key in imagined}
        adopted: list[NewEvent] = []
        for one in ours:
            key, standing = one.event.key, standings.get(one.event.key)
            verdict = judge(one.version, one.event.event_id, standing)
            if verdict is Verdict.DIVERGED:
                told.diverged.append((key, one.version))
            if verdict is not Verdict.UNKNOWN:
                continue
            adopted.append(_event(one))
            told.changes += 1
            told.orders[key] = None
            if standing is not None:
                told.dropped += [(key, version) for version in sorted(standing.unpublished) if version >= one.version]
            standings[key] = Standing(one.version, one.event.event_id, {})
            if imagined is not None:
                imagined[key] = standings[key]
        if adopted and imagined is None:
            await self._store.adopt(adopted)


def _event(one: Own) -> NewEvent:
    record, event = one.record, one.event
    return NewEvent(
        event.event_id,
        event.key,
        one.version,
        record.topic,
        record.key or b"",
        record.headers,
        event.encoded,
        record.timestamp * 1_000,
    )
