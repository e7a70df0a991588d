"""``ordering outbox``: what is stored and not published yet."""

from ordering.application.messages import OutboxRow
from ordering.entrypoints.cli import output as out
from ordering.entrypoints.cli.tools import Tools, use
from ordering.entrypoints.process import CalledWrongly


def list_waiting(limit: int, output: out.Output, *, parked_only: bool) -> int:
    """Print unpublished events, oldest first."""

    async def work(tools: Tools) -> int:
        found = [_row(row) for row in await tools.store.waiting(limit, parked_only=parked_only)]
        columns = ("orderId", "version", "eventId", "occurredAt", "parked")
        out.rows(found, columns, output, empty="the outbox is empty: every stored event is published")
        return 0

    return use(work)


def retry(order_id: str | None, *, every: bool) -> int:
    """Let the relay publish parked events again."""
    if (order_id is None) != every:
        raise CalledWrongly("name an order, or give --all")

    async def work(tools: Tools) -> int:
        count = await tools.store.retry(order_id)
        if order_id is not None and not count:
            print(f"nothing of {out.cell(order_id)} is parked")
            return 1
        print(f"{count} parked {'order' if count == 1 else 'orders'} will be published again")
        return 0

    return use(work)


def _row(row: OutboxRow) -> out.Row:
    event = row.event
    return {
        "orderId": event.aggregate_id,
        "version": event.version,
        "eventId": event.event_id,
        "topic": event.topic,
        "occurredAt": out.moment(event.occurred_at),
        "parked": row.parked,
    }
