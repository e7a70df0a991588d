"""``ordering tail``: the log's events, decoded, as they come."""

import sys
from collections.abc import AsyncIterator
from typing import Final

from ordering.application.messages import Record, Undecodable
from ordering.application.ports import WholeLog
from ordering.entrypoints.cli.output import Output, Row, cell, line, moment, reader_gone
from ordering.entrypoints.cli.tools import Tools, use

BATCH: Final = 500
WAIT_SECONDS: Final = 0.5


def tail_log(*, from_beginning: bool, follow: bool, order: str | None, output: Output) -> int:
    """Print events until the end (or for ever); 0, also when Ctrl-C ended it."""

    async def work(tools: Tools) -> int:
        async for record in _records(tools.source, from_beginning=from_beginning, follow=follow):
            row = await describe(record, tools)
            if order is None or order in (row.get("orderId"), row["key"]):
                _print(row, output)
        return 0

    try:
        return use(work)
    except KeyboardInterrupt:
        return 0


async def _records(source: WholeLog, *, from_beginning: bool, follow: bool) -> AsyncIterator[Record]:
    """The log's records as they come; without ``follow`` up to the end that it had at the call."""
    ends = dict(await source.end_offsets())
    # Older records may have been deleted: the beginning is where the log begins now.
    reached = dict(await source.begin_offsets()) if from_beginning else dict(ends)
    while (follow and not reader_gone(sys.stdout)) or any(reached[partition] < end for partition, end in ends.items()):
        polled = await source.poll(BATCH, WAIT_SECONDS)
        if polled.assigned:
            await source.seek({partition: reached.get(partition, 0) for partition in polled.assigned})
        for record in polled.records:
            reached[record.partition] = record.offset + 1
            if follow or record.offset < ends.get(record.partition, 0):
                yield record


async def describe(record: Record, tools: Tools) -> dict[str, object]:
    """A record as people and programs see it, whatever its bytes are."""
    (event,) = await tools.decoder.decode([record])
    where = {
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": moment(record.timestamp * 1_000),
        "key": None if record.key is None else record.key.decode("utf-8", "backslashreplace"),
    }
    if isinstance(event, Undecodable):
        return {**where, "undecodable": event.reason, "detail": event.detail}
    decoded = tools.codec.decode(event.encoded)
    return {
        "orderId": event.key,
        "version": event.version,
        "eventId": event.event_id,
        "eventType": decoded.event_type.value,
        "status": decoded.order.status.value,
        **where,
        "customerId": decoded.order.customer_id,
        "totalAmount": str(decoded.order.total),
        "currency": decoded.order.currency.code,
        "lineage": event.lineage.value,
        "headers": {name: value.decode("utf-8", "backslashreplace") for name, value in record.headers},
    }


def _print(row: Row, output: Output) -> None:
    if output == "json":
        line(row)
        return
    place = f"{row['partition']}/{row['offset']}"
    if "undecodable" in row:
        told = f"{row['key']}  {row['undecodable']}: {row['detail']}"
    else:
        names = ("orderId", "version", "eventType", "status", "totalAmount", "currency")
        told = "  ".join(cell(row[name]) for name in names)
    print(f"{row['timestamp']}  {place:>8}  {cell(told)}", flush=True)
