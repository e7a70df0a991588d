"""The write path: a batch as arrays for one call of the database's own function, and its rows as outcomes."""

from collections.abc import Sequence
from typing import Any, Final

import asyncpg

from ordering.adapters.postgres.rows import columns, pack_headers
from ordering.application.errors import StoreUnavailable
from ordering.application.messages import AnswerTaken, Conflict, Outcome, RecordedAnswer, Stored, Write

_STORE: Final = "SELECT * FROM store_writes({})".format(", ".join(f"${number}" for number in range(1, 19)))  # noqa: S608
_LOCK: Final = "SELECT FROM orders WHERE order_id = ANY ($1::text[]) ORDER BY order_id FOR UPDATE"

Round = Sequence[tuple[int, Write]]
"""Writes with their places in the batch; no aggregate and no answer's key occurs twice."""


async def store(connection: asyncpg.Connection, batch: Sequence[Write]) -> list[Outcome]:
    """Store a batch in one transaction and answer in its order. Raises what the driver raises.

    Nearly every batch is one round, so one statement and one round trip: an aggregate comes back in the same batch
    only when commands race for it.
    """
    rounds = rounds_of(batch)
    outcomes: dict[int, Outcome] = {}
    if len(rounds) == 1:
        outcomes.update(await _store_round(connection, rounds[0]))
    elif rounds:
        await _in_transaction(connection, rounds, outcomes)
    return [outcomes[place] for place in range(len(batch))]


def rounds_of(batch: Sequence[Write]) -> list[Round]:
    """Cut the batch, in its order, wherever an aggregate or a key comes again."""
    rounds: list[list[tuple[int, Write]]] = []
    seen: set[tuple[str, str]] = set()
    for place, write in enumerate(batch):
        names = {("aggregate", write.aggregate_id)} if write.event is not None else set()
        if write.answer is not None:
            names.add(("key", write.answer.key))
        if not rounds or not seen.isdisjoint(names):
            rounds.append([])
            seen.clear()
        seen |= names
        rounds[-1].append((place, write))
    return list(rounds)


async def _in_transaction(
    connection: asyncpg.Connection, rounds: Sequence[Round], outcomes: dict[int, Outcome]
) -> None:
    await connection.execute("BEGIN")
    try:
        # All rows that any round changes, in everybody's order.
        changed = {w.aggregate_id for one in rounds for _, w in one if w.event is not None and w.expected_version}
        await connection.fetch(_LOCK, sorted(changed))
        for one in rounds:
            outcomes.update(await _store_round(connection, one))
    except asyncpg.PostgresError:
        if not connection.is_closed():
            await connection.execute("ROLLBACK")
        raise
    if await connection.execute("COMMIT") != "COMMIT":
        raise StoreUnavailable("the transaction was ended by the server")


async def _store_round(connection: asyncpg.Connection, one: Round) -> dict[int, Outcome]:
    rows = await connection.fetch(_STORE, *_arrays(one))
    writes = dict(one)
    return {row[0]: _outcome(row, writes[row[0]]) for row in rows}


def _arrays(one: Round) -> tuple[list[Any], ...]:
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
        for place, write in one
        if (event := write.event) is not None
    ]
    answers = [
        (place, answer.key, answer.fingerprint, answer.status, answer.etag, answer.body, answer.recorded_at)
        for place, write in one
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
