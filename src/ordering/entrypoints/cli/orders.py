"""``ordering orders show``: where is an order, and why is it stuck?"""

from typing import Final

from ordering.application.failures import StoreUnavailable
from ordering.application.inspect_order import InspectOrder, OrderTrace
from ordering.entrypoints import container
from ordering.entrypoints.cli import output as out
from ordering.entrypoints.cli.dlq import letter_row
from ordering.entrypoints.cli.search import SourceSearch
from ordering.entrypoints.cli.tail import describe
from ordering.entrypoints.cli.tools import Tools, use
from ordering.entrypoints.process import StartupError
from ordering.entrypoints.settings import Mode

PARTS: Final = 5
"""What an order's trace consists of."""


def show(order_id: str, output: out.Output) -> int:
    """Print what can be read of one order; 1 if nothing is known of it."""

    async def work(tools: Tools) -> int:
        inspect = InspectOrder(
            lambda: tools.store,
            lambda: tools.store,
            lambda: SourceSearch(tools.source, lambda found: _recorded(tools, found)),
            lambda: tools.views,
            lambda: tools.views,
            container.REFUSALS,
        )
        trace = await inspect(order_id)
        if len(trace.unread) == PARTS:
            raise StartupError(next(iter(trace.unread.values())))
        found = await _facts(order_id, trace, tools)
        if output == "json":
            out.line(found)
        else:
            _print(found)
        return 0 if trace.stored or trace.view or trace.held or trace.records else 1

    return use(work)


async def _recorded(tools: Tools, found: int) -> int:
    """The count that keys are placed by; without a store to ask, the log's own (a log in a file never grows)."""
    if tools.settings.effective_mode is Mode.EMBEDDED:
        return found
    try:
        # Asked, never recorded: what is found now must not become the number for ever because somebody has looked.
        return await tools.store.recorded_partitions(tools.settings.topic) or found
    except (*container.REFUSALS, StoreUnavailable):
        return found


async def _facts(order_id: str, trace: OrderTrace, tools: Tools) -> dict[str, object]:
    stored, view = trace.stored, trace.view
    status = tools.codec.order(stored.encoded).status.value if stored else None
    return {
        "orderId": order_id,
        "verdict": trace.verdict,
        "stored": {"version": stored.version, "status": status} if stored else None,
        "notReadable": dict(trace.unread),
        "partition": trace.partition,
        "view": {"version": view.version, "status": view.label or None, "held": view.held} if view else None,
        "journal": [
            {
                "version": entry.event.version,
                "eventId": entry.event.event_id,
                "occurredAt": out.moment(entry.event.occurred_at),
                "state": "published" if entry.published else f"parked: {entry.parked}" if entry.parked else "waiting",
            }
            for entry in trace.timeline
        ],
        "log": [await describe(record, tools) for record in trace.records],
        "held": [letter_row(letter) for letter in trace.held],
    }


def _print(found: dict[str, object]) -> None:
    print(f"{found['orderId']}: {found['verdict']}")
    unread = found["notReadable"]
    assert isinstance(unread, dict)
    for title, name in (("store", "stored"), ("read model", "view")):
        print(f"{title + ':':<12} {_unread(unread[name]) if name in unread else _fields(found[name])}")
    if found["partition"] is not None:
        print(f"{'partition:':<12} {found['partition']}")
    for name in ("journal", "log", "held"):
        if name in unread:
            print(f"{name + ':':<12} {_unread(unread[name])}")
    _part("journal", found["journal"], ("version", "state", "occurredAt", "eventId"))
    _part("log", found["log"], ("partition", "offset", "version", "eventType", "timestamp", "eventId"))
    _part("held", found["held"], ("partition", "offset", "reason", "detail"))


def _unread(reason: str) -> str:
    return f"not readable: {out.cell(reason)}"


def _fields(value: object) -> str:
    if not isinstance(value, dict):
        return "not there"
    return ", ".join(f"{name} {out.cell(part)}" for name, part in value.items())


def _part(title: str, rows: object, columns: tuple[str, ...]) -> None:
    assert isinstance(rows, list)
    if rows:
        print(f"\n{title}\n{out.table(rows, columns)}")
