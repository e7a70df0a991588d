"""The write path: a batch as arrays for one call of the database's own function, and its rows as outcomes."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import asyncpg
import attrs

from ordering.adapters.postgres.rows import columns, pack_headers, taken_or_rejected
from ordering.application.errors import StoreUnavailable
from ordering.application.messages import AnswerTaken, Conflict, Outcome, RecordedAnswer, Stored, Write

_STORE: Final = "SELECT * FROM store_writes({})".format(", ".join(f"${number}" for number in range(1, 19)))  # noqa: S608
_LOCK: Final = "SELECT FROM orders WHERE order_id = ANY ($1::text[]) ORDER BY order_id FOR UPDATE"


@attrs.frozen
class Round:
    """Writes by their places in the batch, and the function's arguments for them."""

    writes: Mapping[int, Write]
    arguments: Sequence[Sequence[Any]]


async def store(connection: asyncpg.Connection, rounds: Sequence[Round]) -> list[Outcome]:
    """Store a batch in one transaction and answer in its order. Raises what the driver raises.

    Nearly every batch is one round, so one statement and one round trip: an aggregate comes back in the same batch
    only when commands race for it.
    """
    outcomes: dict[int, Outcome] = {}
    if len(rounds) == 1:
        await _store_round(connection, rounds[0], outcomes)
    elif rounds:
        await _in_transaction(connection, rounds, outcomes)
    return [outcomes[place] for place in range(len(outcomes))]


def rounds_of(batch: Sequence[Write]) -> list[Round]:
    """Cut the batch, in its order, wherever an aggregate or a key comes again. Raises WriteRejected."""
    with taken_or_rejected():
        return [Round(writes, _arrays(writes)) for writes in _cut(batch)]


def _cut(batch: Sequence[Write]) -> list[dict[int, Write]]:
    rounds: list[dict[int, Write]] = []
    seen: set[tuple[str, str]] = set()
    for place, write in enumerate(batch):
        names = {("aggregate", write.aggregate_id)} if write.event is not None else set()
        if write.answer is not None:
            names.add(("key", write.answer.key))
        if not rounds or not seen.isdisjoint(names):
            rounds.append({})
            seen.clear()
        seen |= names
        rounds[-1][place] = write
    return rounds


async def _in_transaction(
    connection: asyncpg.Connection, rounds: Sequence[Round], outcomes: dict[int, Outcome]
) -> None:
    await connection.execute("BEGIN")
    try:
        # All rows that any round changes, in everybody's order.
        writes = [write for one in rounds for write in one.writes.values()]
        changed = {write.aggregate_id for write in writes if write.event is not None and write.expected_version}
        await connection.fetch(_LOCK, sorted(changed))
        for one in rounds:
            await _store_round(connection, one, outcomes)
    except asyncpg.PostgresError:
        if not connection.is_closed():
            await connection.execute("ROLLBACK")
        raise
    if await connection.execute("COMMIT") != "COMMIT":
        raise StoreUnavailable("the transaction was ended by the server")


async def _store_round(connection: asyncpg.Connection, one: Round, outcomes: dict[int, Outcome]) -> None:
    for row in await connection.fetch(_STORE, *one.arguments):
        place = row[0]
        outcomes[place] = _outcome(row, one.writes[place])


def _arrays(writes: Mapping[int, Write]) -> tuple[list[Any], ...]:
    """The function's arguments: a column per array."""
    events = [
        (
            place,
            write.expected_version,
            event.aggregate_id,
            event.version,
            event.event_id,
            event.topic,
            event.key,
            pack_headers(event.headers),
            event.encoded.schema,
            event.encoded.body,
            event.occurred_at,
        )
        for place, write in writes.items()
        if (event := write.event) is not None
    ]
    answers = [
        (place, answer.key, answer.fingerprint, answer.status, answer.etag, answer.body, answer.recorded_at)
        for place, write in writes.items()
        if (answer := write.answer) is not None
    ]
    return *columns(events, 11), *columns(answers, 7)


def _outcome(row: asyncpg.Record, write: Write) -> Outcome:
    _, is_stored, is_first, present, key, *answer = row
    if is_stored:
        return Stored(is_first)
    if key is None:
        return Conflict(present)
    recorded = RecordedAnswer(key, *answer)
    if write.event is None and recorded == write.answer:
        return Stored(first_in_line=False)  # this very answer, stored by an earlier try
    return AnswerTaken(recorded)
