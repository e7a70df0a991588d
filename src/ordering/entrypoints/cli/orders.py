"""``ordering orders show``: where is an order, and why is it stuck?"""

from ordering.application.inspect_order import InspectOrder, OrderTrace
from ordering.entrypoints.cli import output as out
from ordering.entrypoints.cli.dlq import letter_row
from ordering.entrypoints.cli.search import SourceSearch
from ordering.entrypoints.cli.tail import describe
from ordering.entrypoints.cli.tools import Tools, use


def show(order_id: str, output: out.Output) -> int:
    """Print everything known of one order; 1 if nothing is."""

    async def work(tools: Tools) -> int:
        search = SourceSearch(tools.source)
        trace = await InspectOrder(tools.store, tools.store, search, tools.views, tools.views)(order_id)
        found = await _facts(order_id, trace, tools)
        if output == "json":
            out.line(found)
        else:
            _print(found)
        return 0 if trace.stored or trace.view or trace.held or trace.records else 1

    return use(work)


async def _facts(order_id: str, trace: OrderTrace, tools: Tools) -> dict[str, object]:
    stored, view = trace.stored, trace.view
    status = tools.codec.decode(stored.encoded).order.status.value if stored else None
    return {
        "orderId": order_id,
        "verdict": trace.verdict,
        "stored": {"version": stored.version, "status": status} if stored else None,
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
    for title, name in (("store", "stored"), ("read model", "view")):
        print(f"{title + ':':<12} {_fields(found[name])}")
    print(f"{'partition:':<12} {found['partition']}")
    _part("journal", found["journal"], ("version", "state", "occurredAt", "eventId"))
    _part("log", found["log"], ("partition", "offset", "version", "eventType", "timestamp", "eventId"))
    _part("held", found["held"], ("partition", "offset", "reason", "detail"))


def _fields(value: object) -> str:
    if not isinstance(value, dict):
        return "not there"
    return ", ".join(f"{name} {out.cell(part)}" for name, part in value.items())


def _part(title: str, rows: object, columns: tuple[str, ...]) -> None:
    assert isinstance(rows, list)
    if rows:
        print(f"\n{title}\n{out.table(rows, columns)}")
