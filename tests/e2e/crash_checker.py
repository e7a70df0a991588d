"""The checker of the crash test: what clients were told, against what store, journal, log and read model hold.

It reads the files itself and decodes records with plain fastavro, so that no fault of ours can hide behind our code.
``cluster_checker`` reads PostgreSQL and Kafka instead; the comparison is the same.
"""

import io
from collections import defaultdict
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import apsw
import attrs
import fastavro

from tests.e2e.crash_clients import Attempt

SCHEMA = fastavro.schema.load_schema(str(files("ordering") / "schemas" / "order-events-value" / "v1.avsc"))


@attrs.define
class Findings:
    """The five counts, with examples, and how much was looked at."""

    acknowledged_missing: list[str] = attrs.Factory(list)
    refused_present: list[str] = attrs.Factory(list)
    events_missing: list[str] = attrs.Factory(list)
    applied_twice: list[str] = attrs.Factory(list)
    inversions: list[str] = attrs.Factory(list)
    events: int = 0
    repeated: int = 0

    @property
    def all_zero(self) -> bool:
        """Whether every promise held."""
        return not any(examples for _, examples in self._rows())

    def table(self) -> str:
        """One line per count, with up to three examples."""
        return "\n".join(
            f"{name:<36} {len(examples):>6}" + (f"  e.g. {'; '.join(examples[:3])}" if examples else "")
            for name, examples in self._rows()
        )

    def _rows(self) -> list[tuple[str, list[str]]]:
        return [
            ("acknowledged orders missing", self.acknowledged_missing),
            ("orders behind a 503 present", self.refused_present),
            ("events missing", self.events_missing),
            ("effects applied twice", self.applied_twice),
            ("per-order inversions", self.inversions),
        ]


@attrs.frozen
class Logged:
    """One record of the log, decoded."""

    version: int
    event_id: str
    status: str


@attrs.frozen
class Evidence:
    """What the system holds, as somebody read it who does not use our code for that."""

    stored: dict[str, int]
    """Per order: the version in the store."""
    journal: dict[str, dict[int, tuple[str, str]]]
    """Per order and version: event id and status."""
    log: dict[str, list[Logged]]
    """Per key, in the order of the log: an order lives in one partition."""
    views: dict[str, tuple[int, int]]
    """Per key: the read model's version, and how many events made it."""
    counted: int
    """How many orders the statistics count."""


def check(data: Path, ledger: Mapping[str, list[Attempt]]) -> Findings:
    """Compare everything with everything; callers repeat it until the system had time to catch up."""
    return compare(_evidence(data), ledger)


def compare(held: Evidence, ledger: Mapping[str, list[Attempt]]) -> Findings:
    """What clients were told against what the system holds, and that with itself."""
    found = Findings(events=sum(map(len, held.log.values())))
    for order, attempts in ledger.items():
        _check_answers(order, attempts, held.stored.get(order, 0), held.journal.get(order, {}), found)
    for order in {*held.stored, *held.log, *held.views}:
        stored = held.stored.get(order, 0)
        _check_events(order, stored, held.journal.get(order, {}), held.log.get(order, []), found)
        version, applied = held.views.get(order, (0, 0))
        if (version, applied) != (stored, stored):
            problem = f"{order}: stored version {stored}, view at {version}, {applied} events applied"
            (found.applied_twice if applied > version else found.events_missing).append(problem)
    _check_statistics(held, found)
    return found


def _check_answers(
    order: str, attempts: list[Attempt], version: int, journal: dict[int, tuple[str, str]], found: Findings
) -> None:
    status_of = {number: status for number, (_, status) in journal.items()}
    for attempt in attempts:
        if attempt.acknowledged and status_of.get(attempt.version or 0) != attempt.target:
            found.acknowledged_missing.append(
                f"{order}: {attempt.target} was acknowledged as version {attempt.version}"
            )
    for number in range(1, version + 1):
        behind = [attempt for attempt in attempts if attempt.target == status_of.get(number)]
        if behind and all(attempt.refused for attempt in behind):
            found.refused_present.append(f"{order}: version {number}, every attempt at {behind[0].target} answered 503")


def _check_events(
    order: str, version: int, journal: dict[int, tuple[str, str]], logged: list[Logged], found: Findings
) -> None:
    first: dict[int, str] = {}
    for record in logged:
        if record.version in first:
            found.repeated += 1
            if first[record.version] != record.event_id:
                found.inversions.append(f"{order}: two different events are version {record.version}")
            continue
        if record.version != len(first) + 1:
            found.inversions.append(f"{order}: version {record.version} first appears after {sorted(first)}")
        first[record.version] = record.event_id
    for number in range(1, version + 1):
        if first.get(number) != journal.get(number, (None,))[0]:
            found.events_missing.append(f"{order}: version {number} of {version} is not in the log as stored")
    if any(number > version for number in first):
        found.events_missing.append(f"{order}: the log has version {max(first)}, the store {version}")


def _check_statistics(held: Evidence, found: Findings) -> None:
    problem = f"the statistics count {held.counted} orders, {len(held.stored)} are stored"
    if held.counted > len(held.stored):
        found.applied_twice.append(problem)
    elif held.counted < len(held.stored):
        found.events_missing.append(problem)


def _evidence(data: Path) -> Evidence:
    """From the files of the embedded mode."""
    cart, view, log = data / "cart.db", data / "view.db", data / "log-order-events.db"
    views = _rows(view, "SELECT key, version, events_applied FROM live_rows")
    return Evidence(
        stored=dict(_rows(cart, "SELECT order_id, version FROM orders")),
        journal=journal_of(_rows(cart, "SELECT aggregate_id, version, event_id, body FROM journal")),
        log=log_of(_rows(log, 'SELECT partition, key, value FROM records ORDER BY partition, "offset"')),
        views={key: (version, applied) for key, version, applied in views},
        counted=sum(count for (count,) in _rows(view, "SELECT amount FROM live_tallies WHERE kind = 'label'")),
    )


def journal_of(rows: Iterable[tuple[str, int, str, bytes]]) -> dict[str, dict[int, tuple[str, str]]]:
    """From order id, version, event id and Avro body of each row."""
    journal: dict[str, dict[int, tuple[str, str]]] = defaultdict(dict)
    for order, version, event_id, body in rows:
        journal[order][version] = event_id, _decoded(body)["status"]
    return journal


def log_of(records: Iterable[tuple[int, bytes, bytes]]) -> dict[str, list[Logged]]:
    """From partition, key and framed value of each record, by partition and offset."""
    log: dict[str, list[Logged]] = defaultdict(list)
    partitions: dict[str, set[int]] = defaultdict(set)
    for partition, key, value in records:
        event = _decoded(value[5:])
        order = bytes(key).decode()
        log[order].append(Logged(event["version"], str(event["eventId"]), event["status"]))
        partitions[order].add(partition)
    assert all(len(found) == 1 for found in partitions.values()), "an order's events are in several partitions"
    return log


def _decoded(body: bytes) -> dict[str, Any]:
    event = fastavro.schemaless_reader(io.BytesIO(body), SCHEMA, None)
    assert isinstance(event, dict)
    return event


def _rows(path: Path, query: str) -> list[Any]:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    connection.set_busy_timeout(5_000)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()
